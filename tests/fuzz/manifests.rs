//! Manifests: every format of a source of data.

use std::io::Write;
use std::path::Path;

use polymix::data::Corpus;

use super::allocator::peak;
use super::harness::{Target, scratch};
use super::models::words;

/// Tries a kind of manifest: `file` changes, `others` are beside it, `source` is loaded.
fn load(
    name: &str,
    others: &[(&str, &[u8])],
    file: &str,
    source: &str,
    seeds: Vec<Vec<u8>>,
    tokens: &[&[u8]],
) {
    load_as(name, others, file, source, seeds, tokens, &<[u8]>::to_vec);
}

/// As [`load`]; what is mutated is what `pack` makes a file of.
fn load_as(
    name: &str,
    others: &[(&str, &[u8])],
    file: &str,
    source: &str,
    seeds: Vec<Vec<u8>>,
    tokens: &[&[u8]],
    pack: &dyn Fn(&[u8]) -> Vec<u8>,
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
            std::fs::write(&path, pack(bytes)).unwrap();
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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn gzip_around_json() {
    let seeds = vec![gzip(NEMO.as_bytes()), [gzip(NEMO.as_bytes()), gzip(b"\n")].concat()];
    load("gzip_around_json", &[], "m.jsonl.gz", "m.jsonl.gz", seeds, &[b"\x1F\x8B\x08", b"\0\0"]);
}

/// What little bytes promise is not held at once.
#[test]
fn gzip_of_much() {
    let line = [br#"{"audio_filepath": "a.wav", "text": ""#.to_vec(), vec![b' '; 1 << 20], b"\"}\n".to_vec()]
        .concat();
    let seeds = vec![gzip(&line.repeat(80))];
    let folder = scratch();
    let path = folder.path().join("m.jsonl.gz");
    for seed in seeds {
        std::fs::write(&path, &seed).unwrap();
        let (corpus, peak) = peak(|| Corpus::load(&[&path]));
        let given: usize = corpus.map_or(0, |corpus| {
            corpus.utterances.iter().map(|u| u.text.as_ref().map_or(0, String::len)).sum()
        });
        assert!(peak < (64 << 20) + 3 * given, "{} MiB for {} bytes", peak >> 20, seed.len());
    }
}

/// Members of an archive, each with its header.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in members {
        let mut head = vec![0; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..108].copy_from_slice(b"0000644\0");
        head[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        head[136..148].copy_from_slice(b"00000000000\0");
        head[148..156].fill(b' ');
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(head);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn webdataset_tar() {
    let seed = tar(&[
        ("a/1.wav", &[1; 100]),
        ("a/1.txt", b"one two"),
        ("2.flac", &[2; 700]),
        ("2.json", br#"{"text": "x", "speaker": 3}"#),
        ("3.mp3", b"m"),
        ("3.cls", b"4"),
    ]);
    load(
        "webdataset_tar",
        &[],
        "m.tar",
        "m.tar",
        vec![seed],
        &[b"ustar", b"L", b"x", b"00000000777\0", b".json", b".wav"],
    );
}

/// Every header has its checksum, behind which mutations would not get.
#[test]
fn webdataset_with_right_checksums() {
    let seed = tar(&[
        ("a/1.wav", &[1; 100]),
        ("a/1.txt", b"one two"),
        ("2.flac", &[2; 700]),
        ("2.json", br#"{"text": "x", "speaker": 3}"#),
    ]);
    let sealed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for head in bytes.chunks_exact_mut(512).filter(|head| head[257..262] == *b"ustar") {
            head[148..156].fill(b' ');
            let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
            head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        bytes
    };
    load_as(
        "webdataset_with_right_checksums",
        &[],
        "m.tar",
        "m.tar",
        vec![seed],
        &[b"L", b"x", b"g", b"K", b"\x80\0\0\0", b"00000000777\0"],
        &sealed,
    );
}

#[test]
fn nemo_tarred() {
    let others = tar(&[("1.wav", &[1; 100]), ("2.wav", &[2; 100])]);
    let seed = "{\"audio_filepath\": \"1.wav\", \"duration\": 1.5, \"text\": \"one\", \"shard_id\": 0}\n\
                {\"audio_filepath\": \"2-sub1.wav\", \"duration\": 1.5, \"text\": \"two\", \"shard_id\": 0}\n";
    let tokens = words(&[b"\"shard_id\": 4294967296", b"-sub1", b"../", b"\n"]);
    load(
        "nemo_tarred",
        &[("audio_0.tar", &others)],
        "tarred_audio_manifest.json",
        "tarred_audio_manifest.json",
        vec![seed.into()],
        &tokens,
    );
}

const CUT: &str = concat!(
    r#"{"id": "c1", "start": 0.5, "duration": 1.0, "channel": 0, "supervisions": [{"id": "s", "recording_id": "r", "start": 0.0, "duration": 1.0, "text": "one", "speaker": "a"}], "#,
    r#""recording": {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "a.wav"}], "sampling_rate": 16000, "num_samples": 32000, "duration": 2.0}, "type": "MonoCut"}"#,
    "\n"
);
const RECORDING: &str = concat!(
    r#"{"id": "r", "sources": [{"type": "file", "channels": [0], "source": "a.wav"}], "sampling_rate": 16000, "num_samples": 32000, "duration": 2.0, "channel_ids": [0]}"#,
    "\n"
);
const SUPERVISION: &str = concat!(
    r#"{"id": "s", "recording_id": "r", "start": 0.5, "duration": 1.0, "channel": 0, "text": "one two", "speaker": "a"}"#,
    "\n"
);

#[test]
fn lhotse() {
    let tokens = words(&[
        b"\"type\": \"MixedCut\"",
        b"\"url\"",
        b"\"command\"",
        b"\"start\":",
        b"\"duration\":",
        b"\"channels\":",
        b"\n",
    ]);
    load("lhotse_cuts", &[], "cuts.jsonl", "cuts.jsonl", vec![CUT.into()], &tokens);
    let recordings: [(&str, &[u8]); 1] = [("recordings.jsonl", RECORDING.as_bytes())];
    load(
        "lhotse_supervisions",
        &recordings,
        "supervisions.jsonl",
        "supervisions.jsonl",
        vec![SUPERVISION.into()],
        &tokens,
    );
    let supervisions: [(&str, &[u8]); 1] = [("supervisions.jsonl", SUPERVISION.as_bytes())];
    load(
        "lhotse_recordings",
        &supervisions,
        "recordings.jsonl",
        "recordings.jsonl",
        vec![RECORDING.into()],
        &tokens,
    );
}

#[test]
fn common_voice_tsv() {
    let seed = "client_id\tpath\tsentence\tup_votes\n0a\tx.mp3\tOne, \"two\".\t2\n0b\ty.mp3\tÉté\t0\n";
    load(
        "common_voice_tsv",
        &[],
        "m.tsv",
        "m.tsv",
        vec![seed.into()],
        &[b"\t", b"\n", b"\"", b"\r\n", b"path", b"sentence"],
    );
}

#[test]
fn kaldi() {
    let files: [(&str, &[u8]); 4] = [
        ("wav.scp", b"r1 a/1.wav\nr2 b.flac\n"),
        ("segments", b"u1 r1 0.0 1.5\nu2 r2 0.25 1.0\n"),
        ("text", b"u1 ONE TWO\nu2 THREE\n"),
        ("utt2spk", b"u1 s1\nu2 s2\n"),
    ];
    let tokens: [&[u8]; 9] =
        [b" ", b"\n", b"|", b"sph2pipe -f wav x.sph |", b"-1", b"1e999", b"nan", b"r1", b"u2"];
    for (file, seed) in files {
        let others: Vec<(&str, &[u8])> = files.into_iter().filter(|(other, _)| *other != file).collect();
        load(&format!("kaldi_{file}"), &others, file, ".", vec![seed.to_vec()], &tokens);
    }
}

/// Columns as Hugging Face writes them: the audio in a group, and texts.
#[cfg(feature = "parquet")]
#[test]
fn hugging_face_parquet() {
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message schema { optional group audio { optional binary bytes; optional binary path (UTF8); } \
                  optional binary text (UTF8); }";
    let table = |compression| {
        let (schema, mut bytes) = (parse_message_type(schema).unwrap(), Vec::new());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema.into(), properties.into()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for values in [["RIFF", "fLaC"], ["a.wav", "b.flac"], ["one two", "three"]] {
            let mut column = group.next_column().unwrap().unwrap();
            let levels = if values[0].contains(' ') { [1; 2] } else { [2; 2] };
            let values = values.map(ByteArray::from);
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    };
    let seeds = vec![table(Compression::UNCOMPRESSED), table(Compression::SNAPPY)];
    load(
        "hugging_face_parquet",
        &[],
        "m.parquet",
        "m.parquet",
        seeds,
        &[b"PAR1", b"audio", b"bytes", b"\x15"],
    );
}
