//! Tokenizers of sub-words and SpeechBrain's label encoders.

use polymix::models::speechbrain;
use polymix::text::{Pieces, Vocabulary};

use super::harness::{Target, text};

/// Parts a text by the tokenizer, and reads again what is written of it.
fn used(pieces: Pieces) -> polymix::error::Result<usize> {
    let again = Pieces::parse(pieces.to_value().to_string().as_bytes())?;
    assert!(again == pieces, "another tokenizer than was written");
    let tokens = pieces.tokens().iter().map(String::len).sum();
    let vocabulary = Vocabulary::from_pieces(pieces)?;
    if let Ok(ids) = vocabulary.encode("The cat sat on the mat, abababababab") {
        let _ = vocabulary.decode(&ids);
    }
    Ok(tokens)
}

const TEXTS: [&str; 3] = ["the cat sat on the mat", "that man has no hat", "caf\u{e9}"];

#[test]
fn tokenizer_json() {
    let trained = Pieces::train(TEXTS, 25).unwrap();
    let unigram = r#"{"pre_tokenizer": {"type": "Metaspace"}, "normalizer": {"type": "NFKC"}, "model":
        {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁", -2.0], ["a", -3.0], ["▁a", -2.5]]}}"#;
    let target = Target {
        name: "tokenizer_json",
        seeds: vec![trained.to_value().to_string().into_bytes(), unigram.as_bytes().to_vec()],
        tokens: &[
            b"null",
            b"\"\"",
            b"[]",
            b"{}",
            b"-1",
            b"1e999",
            b"merges",
            b"\\u2581",
            b"Sequence",
            b"BPE",
        ],
        parse: &mut |bytes| used(Pieces::parse(bytes)?),
        share: 1,
    };
    target.run();
}

#[test]
fn sentencepiece() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/speechbrain-pieces.model");
    let unigram = std::fs::read(golden).unwrap();
    // The kind of the model is the third field of its second part.
    let mut pairs = unigram.clone();
    pairs.extend_from_slice(&[0x12, 2, 0x18, 2]);
    let target = Target {
        name: "sentencepiece",
        seeds: vec![unigram, pairs],
        tokens: &[
            b"\x0a\xff\xff\xff\xff\x0f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x18\x04",
            b"\xe2\x96\x81",
        ],
        parse: &mut |bytes| {
            let _ = Pieces::with_blank_in_place(bytes);
            used(Pieces::parse(bytes)?)
        },
        share: 1,
    };
    target.run();
}

#[test]
fn label_encoder() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/speechbrain-characters.txt");
    let target = Target {
        name: "label_encoder",
        seeds: vec![
            std::fs::read(golden).unwrap(),
            b"'\\xe9' => 1\n\"'\" => 0\n====\n'blank_label' => \"'\"\n".to_vec(),
        ],
        tokens: &[b" => ", b"'", b"\\U0010ffff", b"====", b"18446744073709551615", b"'blank_label'"],
        parse: &mut |bytes| {
            let vocabulary = speechbrain::tokens(bytes, 14)?;
            let _ = vocabulary.decode(&[1, 2, 3]);
            Ok(text(bytes).len())
        },
        share: 1,
    };
    target.run();
}
