//! What is recorded: every form of a source of data.

use std::path::Path;

use polymix::data::Corpus;

use super::harness::{Target, scratch};
use super::models::words;

/// Tries a kind of manifest: `file` of `others` beside it changes, `source` is loaded.
fn load(
    name: &str,
    others: &[(&str, &[u8])],
    file: &str,
    source: &str,
    seeds: Vec<Vec<u8>>,
    tokens: &[&[u8]],
) {
    let folder = scratch();
    let at = |name: &str| folder.path().join(name);
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    others.iter().for_each(|(name, bytes)| write(&at(name), bytes));
    write(&at(file), b"");
    let (path, source) = (at(file), at(source));
    let target = Target {
        name,
        seeds,
        tokens,
        parse: &mut |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let corpus = Corpus::load(&[&source])?;
            let _ = corpus.texts();
            let bytes = corpus.utterances.iter().map(|utterance| {
                let text = utterance.text.as_ref().map_or(0, String::len);
                size_of_val(utterance) + utterance.audio.to_string().len() + utterance.origin.len() + text
            });
            Ok(bytes.sum())
        },
        share: 1,
    };
    target.run();
}

const NEMO: &str = "{\"audio_filepath\": \"a/1.wav\", \"duration\": 1.5, \"text\": \"one two\", \"speaker\": 7}\n\
                    {\"audio_filepath\": \"2.flac\", \"text\": \"né\"}\n";

#[test]
fn nemo_jsonl() {
    let tokens = words(&[
        b"\"offset\": 0.5",
        b"\"duration\":",
        b"\"audio_filepath\":",
        b"\n",
        b"\r\n",
        b"\xEF\xBB\xBF",
    ]);
    load("nemo_jsonl", &[], "m.jsonl", "m.jsonl", vec![NEMO.into()], &tokens);
}

#[test]
fn speechbrain_csv() {
    let seeds = [
        "ID,duration,wav,spk_id,wrd\n1,1.5,$data_root/1.wav,a,ONE TWO\n2,0.5,\"x, y.flac\",b,\"a \"\"b\"\"\"\n",
        "wav,wrd\r\na.wav,ONE\r\n",
    ];
    let tokens: [&[u8]; 11] = [
        b",",
        b"\"",
        b"\n",
        b"\r\n",
        b"wav",
        b"duration",
        b"start",
        b"stop",
        b"-1",
        b"1e999",
        b"{data_root}/",
    ];
    load(
        "speechbrain_csv",
        &[],
        "m.csv",
        "m.csv",
        seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(),
        &tokens,
    );
}

#[test]
fn librispeech_transcripts() {
    let seed = b"84-1-0000 ONE TWO\n84-1-0001 THREE\n".to_vec();
    let others: [(&str, &[u8]); 2] = [("84/1/84-1-0000.flac", b""), ("84/1/84-1-0001.flac", b"")];
    let tokens: [&[u8]; 5] = [b"84-1-0001", b"\n", b"\t", b"../", b"\xC2\xA0"];
    load("librispeech_transcripts", &others, "84/1/84-1.trans.txt", ".", vec![seed], &tokens);
}
