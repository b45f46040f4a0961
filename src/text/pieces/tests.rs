use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audio::golden::shared;

fn parted(pieces: &Pieces, text: &str) -> Vec<String> {
    let (ids, foreign) = pieces.encode(&normalize(text));
    assert_eq!(foreign, [], "{text}");
    ids.into_iter().map(|id| pieces.tokens[id as usize].clone()).collect()
}

const SENTENCES: [&str; 3] = ["The cat sat on the mat", "that man has no hat", "on the mat a cat"];

#[test]
fn training_gives_what_the_tokenizers_library_gives() {
    let pieces = Pieces::train(SENTENCES, 25).unwrap();
    // Of tokenizers 0.23, BpeTrainer behind Metaspace.
    let expected = "<blank> a c e h m n o s t ▁ at th ▁th ▁m ▁the cat on ▁h ▁cat ▁on ▁mat an as no sat";
    assert_eq!(pieces.tokens().join(" "), expected);
    assert_eq!(parted(&pieces, "the hatman sat"), ["▁the", "▁h", "at", "m", "an", "▁", "sat"]);
    let mut others = SENTENCES;
    others.reverse();
    assert_eq!(Pieces::train(others, 25).unwrap(), pieces, "in any order");
    // Every word is one.
    let all = Pieces::train(SENTENCES, 500).unwrap();
    assert!(all.tokens().len() < 60);
    assert_eq!(parted(&all, "that man has"), ["▁that", "▁man", "▁has"]);
    assert_eq!(Pieces::train(["aaa aaaa"], 4).unwrap().tokens()[1..], ["a", "▁", "aa", "▁aa"]);
}

#[test]
fn too_few_pieces_and_texts_without_words_are_errors() {
    let few = Pieces::train(["abc"], 3).unwrap_err().to_string();
    assert!(few.contains("3 sub-words") && few.contains("the 4 characters"), "{few}");
    assert!(Pieces::train(["", "  "], 9).unwrap_err().to_string().contains("no word"));
}

#[test]
fn characters_have_the_form_of_all_texts() {
    let pieces = Pieces::train(["Cafe\u{301} cafe\u{301}"], 20).unwrap();
    assert_eq!(parted(&pieces, "CAF\u{c9}"), ["▁caf\u{e9}"]);
    let (ids, foreign) = pieces.encode("caf\u{e9} caf\u{ea}x");
    assert_eq!((ids[0] as usize, foreign), (pieces.tokens().len() - 1, vec!['\u{ea}', 'x']));
}

#[test]
fn a_tokenizer_that_was_written_is_the_same() {
    let trained = Pieces::train(SENTENCES, 25).unwrap();
    let json = trained.to_value().to_string();
    assert_eq!(Pieces::parse(json.as_bytes()).unwrap(), trained);
    let unigram = sentencepiece(1, &UNIGRAM);
    let again = Pieces::parse(unigram.to_value().to_string().as_bytes()).unwrap();
    assert_eq!(again, unigram);
    // Without a blank in front, ids are the file's plus one.
    let bare = json!({
        "pre_tokenizer": {"type": "Metaspace"},
        "model": {"type": "BPE", "unk_token": "?", "vocab": {"?": 0, "▁": 1, "a": 2, "▁a": 3}, "merges": ["▁ a"]},
    });
    let bare = Pieces::parse(bare.to_string().as_bytes()).unwrap();
    assert_eq!(bare.tokens(), ["<blank>", "?", "▁", "a", "▁a"]);
    assert_eq!(bare.encode("a aa ?"), (vec![4, 4, 3, 2], vec!['?']));
}

#[test]
fn what_a_tokenizer_cannot_be_is_named() {
    let model = json!({"type": "BPE", "vocab": {"▁": 0, "a": 1}, "merges": []});
    let space = json!({"type": "Metaspace"});
    let with = |key: &str, value: serde_json::Value| {
        let mut file = json!({"pre_tokenizer": space, "model": model});
        match key.split_once('.') {
            Some((table, key)) => file[table][key] = value,
            None => file[key] = value,
        }
        Pieces::parse(file.to_string().as_bytes()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with("version", json!("1.0")), Ok(()));
    for (key, value, part) in [
        ("pre_tokenizer", json!({"type": "ByteLevel"}), "ByteLevel"),
        ("pre_tokenizer", json!(null), "Metaspace"),
        ("pre_tokenizer", json!({"type": "Metaspace", "prepend_scheme": "never"}), "first word"),
        ("normalizer", json!({"type": "BertNormalizer"}), "BertNormalizer"),
        (
            "normalizer",
            json!({"type": "Sequence", "normalizers": [{"type": "StripAccents"}]}),
            "StripAccents",
        ),
        ("model.type", json!("WordPiece"), "WordPiece"),
        ("model.dropout", json!(0.1), "dropout"),
        ("model.end_of_word_suffix", json!("</w>"), "</w>"),
        ("model.vocab", json!({"▁": 0, "a": 2}), "gap"),
        ("model.vocab", json!({"▁": 0, "a▁b": 1}), "a▁b"),
        ("model.vocab", json!({"▁": 0, "a b": 1}), "white space"),
        ("model.vocab", json!({"b": 0, "a": 1}), "▁"),
        ("model.vocab", json!(3), "tokenizer.json"),
        ("model.merges", json!([["a", "a"]]), "merge 0"),
        ("added_tokens", json!([{"id": 1, "content": "<s>"}]), "<s>"),
    ] {
        let error = with(key, value.clone()).unwrap_err();
        assert!(error.contains(part), "{key} = {value}: {error}");
    }
}

/// Bytes of a model: its kind (1 unigram, 2 pairs) and pieces with scores and kinds.
fn model(kind: u8, pieces: &[(&str, f32, u8)]) -> Vec<u8> {
    prepared(kind, pieces, b"\x0a\x08identity")
}

/// The same with the part that says how texts are prepared.
fn prepared(kind: u8, pieces: &[(&str, f32, u8)], normalizer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (text, score, kind) in pieces {
        let mut piece = vec![0x0a, text.len() as u8];
        piece.extend_from_slice(text.as_bytes());
        piece.push(0x15);
        piece.extend_from_slice(&score.to_le_bytes());
        piece.extend_from_slice(&[0x18, *kind]);
        bytes.extend_from_slice(&[0x0a, piece.len() as u8]);
        bytes.extend_from_slice(&piece);
    }
    bytes.extend_from_slice(&[0x12, 2, 0x18, kind]);
    bytes.extend_from_slice(&[0x1a, normalizer.len() as u8]);
    bytes.extend_from_slice(normalizer);
    bytes
}

fn sentencepiece(kind: u8, pieces: &[(&str, f32, u8)]) -> Pieces {
    Pieces::parse(&model(kind, pieces)).unwrap()
}

const UNIGRAM: [(&str, f32, u8); 8] = [
    ("<unk>", 0.0, 2),
    ("▁", -3.0, 1),
    ("a", -2.0, 1),
    ("b", -2.5, 1),
    ("▁a", -2.0, 1),
    ("ab", -3.5, 1),
    ("▁ab", -6.0, 1),
    ("xy", -5.0, 1),
];

#[test]
fn the_most_probable_parts_are_taken() {
    let pieces = sentencepiece(1, &UNIGRAM);
    assert_eq!((pieces.kind(), pieces.tokens().len()), ("unigram", 9));
    // ▁a b: -4.5; ▁ab: -6; ▁ ab: -6.5.
    assert_eq!(parted(&pieces, "ab AABxy"), ["▁a", "b", "▁a", "ab", "xy"]);
    assert_eq!(pieces.encode("axb"), (vec![5, 4], vec!['x']), "alone, x is in no token");
    let in_place = Pieces::with_blank_in_place(&model(1, &UNIGRAM)).unwrap();
    assert_eq!(in_place.encode("ab"), (vec![4, 3], vec![]));
    assert_eq!(in_place.tokens()[0], "<blank>");
}

#[test]
fn pairs_are_merged_by_score() {
    let pieces = [("<unk>", 0.0, 2), ("ab", -0.0, 1), ("▁a", -1.0, 1), ("▁ab", -2.0, 1), ("abab", -3.0, 1)];
    let letters = [("▁", -4.0, 1), ("a", -5.0, 1), ("b", -6.0, 1), ("abc", -7.0, 5), ("c", -8.0, 1)];
    let pieces = sentencepiece(2, &[&pieces[..], &letters[..]].concat());
    assert_eq!(parted(&pieces, "ab a abababc"), ["▁ab", "▁a", "▁ab", "abab", "c"]);
    assert_eq!(Pieces::parse(pieces.to_value().to_string().as_bytes()).unwrap(), pieces);
}

#[test]
fn models_that_cannot_be_read_are_errors() {
    let good = model(1, &UNIGRAM);
    for cut in 0..good.len() {
        let _ = Pieces::parse(&good[..cut]);
    }
    let message = |bytes: &[u8]| Pieces::parse(bytes).unwrap_err().to_string();
    assert!(message(b"").contains("SentencePiece"));
    assert!(
        message(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fab").contains("damaged"),
        "a size of a header alone"
    );
    assert!(message(&model(3, &UNIGRAM)).contains("whole words"));
    assert!(message(&model(1, &[("▁a▁b", 0.0, 1), ("▁c▁", 0.0, 1)])).contains("▁a▁b"));
    assert!(message(&model(1, &[("▁a", 0.0, 1), ("▁a", 0.0, 1)])).contains("twice"));
    assert!(message(&model(1, &[("▁a", f32::NAN, 1)])).contains("damaged"));
    let rules =
        |normalizer: &[u8]| Pieces::parse(&prepared(1, &UNIGRAM, normalizer)).map(|pieces| pieces.compatible);
    assert!(!rules(b"").unwrap() && rules(b"\x0a\x08nmt_nfkc\x12\x01x").unwrap());
    assert!(rules(b"\x0a\x04mine\x12\x01x").unwrap_err().to_string().contains("\"mine\""));
    assert!(rules(b"\x18\x00").unwrap_err().to_string().contains("add_dummy_prefix"));
}

#[test]
fn a_model_parts_texts_as_sentencepiece_does() {
    let Some(folder) = shared() else { return };
    let bytes = std::fs::read(folder.join("golden/decode-pieces.model")).unwrap();
    let pieces = Pieces::parse(&bytes).unwrap();
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("golden/decode.json")).unwrap()).unwrap();
    assert_eq!(json!(pieces.tokens()), golden["piece_tokens"]);
    // The ids that SentencePiece 0.2 makes of the lines, by their number and their FNV-1a hash.
    let text = std::fs::read_to_string(folder.join("golden/decode-train.txt")).unwrap();
    let (mut count, mut hash) = (0, 0xcbf2_9ce4_8422_2325_u64);
    for line in text.lines() {
        let (ids, foreign) = pieces.encode(&normalize(line));
        assert_eq!(foreign, []);
        count += ids.len();
        hash = ids.iter().fold(hash, |hash, &id| (hash ^ u64::from(id)).wrapping_mul(0x100_0000_01b3));
    }
    assert_eq!((count, hash), (27_549, 0xc81d_72ee_a015_c9bb));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200, byte: u8) {
        let _ = Pieces::parse(&bytes);
        let mut changed = model(2, &UNIGRAM);
        let at = at % changed.len();
        changed[at] = byte;
        if let Ok(pieces) = Pieces::parse(&changed) {
            let _ = pieces.encode("abba xyb");
            prop_assert_eq!(Pieces::parse(pieces.to_value().to_string().as_bytes()).unwrap(), pieces);
        }
    }

    #[test]
    fn what_is_trained_writes_its_texts(texts in prop::collection::vec("[a-cé ]{0,12}", 1..6), count in 6_usize..20) {
        if let Ok(pieces) = Pieces::train(&texts, count) {
            let vocabulary = Vocabulary::from_pieces(pieces).unwrap();
            for text in &texts {
                let ids = vocabulary.encode(text).unwrap();
                prop_assert_eq!(vocabulary.decode(&ids), normalize(text));
            }
        }
    }
}
