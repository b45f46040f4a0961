//! What decoders read: language models, settings, hot words.

use polymix::decode::lm::{LanguageModel, State};
use polymix::decode::{HotWords, Kind, Settings};
use polymix::error::Result;

use super::harness::{Target, text};
use super::models::words;

/// Inputs of a target in a run of all tests: these parsers are quick.
const MANY: u64 = 100_000;

const ARPA: [&str; 3] = [
    "\n\\data\\\nngram 1=5\nngram 2=4\nngram 3=2\n\n\\1-grams:\n-1.5\t<unk>\n-99\t<s>\t-0.5\n-0.7\t</s>\n\
     -0.9\ta\t-0.25\n-1.1\tb\t-0.125\n\n\\2-grams:\n-0.3\t<s> a\t-0.1\n-0.4\ta b\n-0.6\tb a\t-0.2\n\
     -0.2\tb </s>\n\n\\3-grams:\n-0.05\t<s> a b\n-0.15 b a a\n\n\\end\\\n",
    "\\data\\\nngram 1=4\n\\1-grams:\n-2 <UNK>\n-99 <s>\n-1 </s>\n-0.1 a\n\\end\\\n",
    "\\data\\\nngram 1=3\nngram 2=1\nngram 3=1\nngram 4=1\n\\1-grams:\n-99 <s> -1\n-1 </s>\n-0.1 a -0.3\n\
     \\2-grams:\n-0.1 a a -0.1\n\\3-grams:\n-0.1 a a a\n\\4-grams:\n-0.1 a a a </s>\n\\end\\\n",
];

/// Looks words up, and writes a sound model out; the bytes of the stored form.
fn used(model: &LanguageModel) -> Result<usize> {
    for mut state in [model.beginning(), State::nothing()] {
        for word in ["a", "b", "a", "a", "x", "a", "a", "a", "<UNK>"] {
            let (score, next) = model.score(&state, model.id(word).unwrap_or(model.unknown()));
            assert!(score.is_finite(), "a score that is no number");
            state = next;
        }
        assert!(model.score(&state, model.end()).0.is_finite(), "a score that is no number");
    }
    model.verify()?;
    let mut arpa = Vec::new();
    model.write_arpa(&mut arpa).expect("memory can be written");
    Ok(model.bytes().len())
}

#[test]
fn arpa() {
    let target = Target {
        name: "arpa",
        seeds: ARPA.map(|arpa| arpa.as_bytes().to_vec()).to_vec(),
        tokens: &[
            b"\\data\\",
            b"\\1-grams:",
            b"\\2-grams:",
            b"\\end\\",
            b"ngram ",
            b"=",
            b"\t",
            b"\n",
            b"\r\n",
            b" a",
            b"<s>",
            b"</s>",
            b"<unk>",
            b"<UNK>",
            b"-99",
            b"-1e39",
            b"0.0",
            b"nan",
            b"inf",
            b"-",
            b"18446744073709551615",
            b"4294967295",
            b"\xEF\xBB\xBF",
            b"\xC2\xA0",
            b"mmap lm http",
        ],
        parse: &mut |bytes| {
            let model = LanguageModel::read_arpa(bytes, "lm.arpa")?;
            // What is accepted is written as something that is accepted.
            let bytes = used(&model).expect("what was built is sound");
            let mut arpa = Vec::new();
            model.write_arpa(&mut arpa).expect("memory can be written");
            let again = LanguageModel::read_arpa(&*arpa, "again.arpa")?;
            assert_eq!(again.counts(), model.counts());
            Ok(bytes)
        },
        share: 1,
    };
    target.run_of(MANY);
}

#[test]
fn language_model() {
    let stored = |arpa: &str| LanguageModel::read_arpa(arpa.as_bytes(), "lm.arpa").unwrap().bytes().to_vec();
    let target = Target {
        name: "language_model",
        seeds: ARPA.map(stored).to_vec(),
        tokens: &[b"PMXNGRAM", b"<s>\n", b"</s>\n", b"<unk>\n", b"\n", b"\0\0\0\0\0\0\0\0", b"\0\0\xC0\x7F"],
        parse: &mut |bytes| {
            if let Ok(model) = LanguageModel::parse(bytes.to_vec()) {
                used(&model)?;
            }
            // Checksums stand before what they are of, and mutations would not get behind them.
            used(&LanguageModel::parse(sealed(bytes.to_vec()))?)
        },
        share: 1,
    };
    target.run_of(MANY);
}

/// The file with the length and the checksums that its bytes have.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    const HEADER: usize = 48;
    const LINE: usize = 56;
    const UNIGRAM: usize = 12;
    let number = |file: &[u8], at: usize| u64::from_le_bytes(std::array::from_fn(|i| file[at + i])) as usize;
    if file.len() < HEADER {
        return file;
    }
    let length = file.len() as u64;
    file[16..24].copy_from_slice(&length.to_le_bytes());
    let lines = LINE * ((number(&file, 8) >> 32).wrapping_sub(1) & 7);
    if file.len() < HEADER + lines {
        return file;
    }
    for line in (HEADER..HEADER + lines).step_by(LINE) {
        let (offset, bytes) = (number(&file, line + 8), number(&file, line + 16));
        if let Some(level) = offset.checked_add(bytes).and_then(|end| file.get(offset..end)) {
            let sum = checksum(level);
            file[line + 24..line + 32].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let (count, text) = (number(&file, 32), number(&file, 40));
    let unigrams = count.checked_add(1).and_then(|count| count.checked_mul(UNIGRAM));
    let end = unigrams.and_then(|bytes| bytes.checked_add(text)?.checked_add(HEADER + lines));
    if let Some(checked) = end.and_then(|end| file.get(32..end)) {
        let sum = checksum(checked);
        file[24..32].copy_from_slice(&sum.to_le_bytes());
    }
    file
}

/// As the stored form describes it.
fn checksum(bytes: &[u8]) -> u64 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut sum = bytes.len() as u64;
    for &eight in eights.iter().chain([&last]) {
        sum = (sum ^ u64::from_le_bytes(eight)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    sum
}

#[test]
fn decoder_json() {
    let beam = Settings { decoder: Kind::Beam, lm: Some("lm".into()), ..Settings::default() };
    let seeds = [Settings::default(), beam].map(|settings| settings.to_json().unwrap().into_bytes());
    let target = Target {
        name: "decoder_json",
        seeds: seeds.to_vec(),
        tokens: &words(&[
            b"\"decoder\":",
            b"\"beam\"",
            b"\"greedy\"",
            b"\"beam_prune\":",
            b"\"alpha\":",
            b"\"lm\":",
            b"\"../lm\"",
            b"65536",
            b"65537",
            b"1e3",
        ]),
        parse: &mut |bytes| {
            let settings = Settings::from_json(&text(bytes))?;
            let written = settings.to_json()?;
            assert_eq!(Settings::from_json(&written)?, settings);
            Ok(written.len())
        },
        share: 1,
    };
    target.run_of(MANY);
}

#[test]
fn hot_words() {
    let target = Target {
        name: "hot_words",
        seeds: vec![b"polymix\n\nnew york\t5\nconformer 2.5\r\nParis -3\n".to_vec()],
        tokens: &[
            b" 1e3",
            b" -1001",
            b" nan",
            b" inf",
            b"\n",
            b"\t",
            b"\xC3\xA9",
            b"\xE2\x80\xA8",
            b" 1e-400",
        ],
        parse: &mut |bytes| {
            HotWords::parse(&text(bytes), 10.0)?;
            Ok(0)
        },
        share: 1,
    };
    target.run();
}
