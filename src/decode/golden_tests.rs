//! Beam search beside pyctcdecode 0.5 with KenLM: the values of `tests/golden/decode.*`, and the shared ones where they
//! are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;
use serde::Deserialize;

use super::lm::LanguageModel;
use super::{Alphabet, Decoder, Emissions, HotWords, Hypothesis, Kind, Resources, Settings};
use crate::audio::golden;

/// A text that pyctcdecode finds.
#[derive(Deserialize)]
struct Expected {
    text: String,
    words: Vec<(String, usize, usize)>,
    ctc_score: f64,
    score: f64,
}

/// How much of what pyctcdecode finds is found.
#[derive(Default)]
struct Tally {
    utterances: usize,
    texts: usize,
    words: usize,
    frames: usize,
    lists: usize,
}

impl Tally {
    /// Compares the texts of an utterance.
    #[track_caller]
    fn add(&mut self, name: &str, found: &[Hypothesis], expected: &[Expected]) {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b.abs().max(1.0);
        self.utterances += 1;
        let same = found.len() >= expected.len() && found.iter().zip(expected).all(|(a, b)| a.text == b.text);
        self.lists += usize::from(same);
        if found[0].text != expected[0].text {
            eprintln!("{name}: {:?} for {:?}", found[0].text, expected[0].text);
            return;
        }
        self.texts += 1;
        for expected in expected {
            let Some(found) = found.iter().find(|found| found.text == expected.text) else { continue };
            assert!(
                close(found.ctc_score, expected.ctc_score),
                "{name}: {} {}",
                found.ctc_score,
                expected.ctc_score
            );
            assert!(close(found.score, expected.score), "{name}: {} {}", found.score, expected.score);
            for (a, b) in found.words.iter().zip(&expected.words) {
                self.words += 1;
                self.frames +=
                    usize::from((a.word.as_str(), a.start_frame, a.end_frame) == (b.0.as_str(), b.1, b.2));
                assert!((0.0..=1.0).contains(&a.confidence), "{a:?}");
            }
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn emissions(tensors: &SafeTensors, name: &str, decoder: &Decoder) -> Emissions {
    let (shape, values) = golden::f32s(tensors, name);
    Emissions::dense(&values, shape[1], decoder.token_prune()).unwrap()
}

#[test]
fn the_texts_scores_and_frames_are_those_of_pyctcdecode() {
    #[derive(Deserialize)]
    struct Golden {
        characters: Vec<String>,
        pieces: Vec<String>,
        cases: BTreeMap<String, Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        settings: Settings,
        lm: bool,
        hot_words: Vec<String>,
        found: BTreeMap<String, Vec<Expected>>,
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let golden: Golden = serde_json::from_slice(&read(&folder.join("decode.json"))).unwrap();
    let file = read(&folder.join("decode.safetensors"));
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let model = LanguageModel::read_arpa(&*read(&folder.join("decode.arpa")), "decode.arpa").unwrap();
    let stored = LanguageModel::parse(model.bytes().to_vec()).unwrap();
    let model = Arc::new(stored);
    assert_eq!(golden.cases.len(), 12);
    let mut tally = Tally::default();
    for (name, case) in golden.cases {
        let tokens = if name.starts_with("pieces") { &golden.pieces } else { &golden.characters };
        let hot_words = HotWords::parse(&case.hot_words.join("\n"), case.settings.hot_word_weight).unwrap();
        let resources = Resources { lm: case.lm.then(|| model.clone()), known: None, hot_words };
        let decoder = Decoder::new(Alphabet::new(tokens).unwrap(), case.settings, &resources).unwrap();
        for (tensor, expected) in case.found {
            let found = decoder.decode(&emissions(&tensors, &tensor, &decoder), 5);
            tally.add(&format!("{name} {tensor}"), &found, &expected);
        }
    }
    assert_eq!((tally.utterances, tally.texts, tally.lists), (24, 24, 24));
    assert!(tally.words > 300 && tally.frames == tally.words, "{} of {}", tally.frames, tally.words);
}

#[test]
fn the_shared_sentences_are_those_of_pyctcdecode() {
    #[derive(Deserialize)]
    struct Golden {
        tokens: Vec<String>,
        piece_tokens: Vec<String>,
        unigrams: Vec<String>,
        cases: BTreeMap<String, Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        lm: Option<BTreeMap<String, f64>>,
        #[serde(default)]
        hotwords: Vec<String>,
        beams: Vec<Vec<Shared>>,
    }
    #[derive(Deserialize)]
    struct Shared {
        text: String,
        words: Vec<(String, (usize, usize))>,
        ctc_score: f64,
        score: f64,
    }
    let Some(folder) = golden::shared().map(|shared| shared.join("golden")) else { return };
    let golden: Golden = serde_json::from_slice(&read(&folder.join("decode.json"))).unwrap();
    let file = read(&folder.join("decode.safetensors"));
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let model = LanguageModel::open(&folder.join("decode.arpa")).unwrap();
    let model = Arc::new(model);
    for (name, case) in golden.cases {
        let (tokens, first) = match name.starts_with("piece") {
            true => (&golden.piece_tokens, 'p'),
            false => (&golden.tokens, 'c'),
        };
        let settings = Settings { decoder: Kind::Beam, beam: 100, ..Settings::default() };
        let resources = Resources {
            lm: case.lm.is_some().then(|| model.clone()),
            known: case.lm.is_some().then(|| golden.unigrams.clone()),
            hot_words: HotWords::parse(&case.hotwords.join("\n"), 10.0).unwrap(),
        };
        let decoder = Decoder::new(Alphabet::new(tokens).unwrap(), settings, &resources).unwrap();
        let mut names: Vec<&str> = tensors.names().into_iter().filter(|n| n.starts_with(first)).collect();
        names.sort_unstable();
        // A part of them, since this also runs without optimization.
        let mut tally = Tally::default();
        for (tensor, expected) in names.iter().zip(case.beams).step_by(4) {
            let found = decoder.decode(&emissions(&tensors, tensor, &decoder), 5);
            let expected: Vec<Expected> = expected
                .into_iter()
                .map(|Shared { text, words, ctc_score, score }| {
                    let words = words.into_iter().map(|(word, (start, end))| (word, start, end)).collect();
                    Expected { text, words, ctc_score, score }
                })
                .collect();
            tally.add(&format!("{name} {tensor}"), &found, &expected);
        }
        assert_eq!((tally.utterances, tally.texts), (12, 12), "{name}");
        assert!(tally.frames * 100 >= tally.words * 98, "{name}: {} of {} words", tally.frames, tally.words);
    }
}

#[test]
fn greedy_and_a_narrow_beam_agree_on_clear_frames() {
    let alphabet = Alphabet::new(&["", "▁a", "b", "▁c", "▁"]).unwrap();
    let path = [0, 1, 1, 0, 2, 2, 3, 0, 4, 2, 0];
    let row = |id: usize| (0..5).map(move |token| if token == id { -0.04_f32 } else { -4.6 });
    let values: Vec<f32> = path.into_iter().flat_map(row).collect();
    for kind in [Kind::Greedy, Kind::Beam] {
        let settings = Settings { decoder: kind, token_prune: -2.0, ..Settings::default() };
        let decoder = Decoder::new(alphabet.clone(), settings, &Resources::default()).unwrap();
        let found = &decoder.decode(&Emissions::dense(&values, 5, decoder.token_prune()).unwrap(), 3)[0];
        // In pyctcdecode, and so in the beam search, a lone ▁ also ends what it begins.
        assert_eq!(found.words[0].word, "ab");
        let frames: Vec<_> = found.words.iter().map(|word| (word.start_frame, word.end_frame)).collect();
        assert_eq!(frames[..2], [(1, 6), (6, 7)], "{kind:?}");
        assert!((found.ctc_score - 11.0 * -0.041).abs() < 0.01, "{}", found.ctc_score);
        if kind == Kind::Greedy {
            assert_eq!((found.text.as_str(), frames[2]), ("ab c b", (8, 10)));
            assert!((found.words[0].confidence - 0.957).abs() < 0.01);
        }
    }
    let none = Decoder::new(
        alphabet,
        Settings { decoder: Kind::Beam, ..Settings::default() },
        &Resources::default(),
    );
    let found = none.unwrap().decode(&Emissions::new(), 5);
    assert_eq!((found.len(), found[0].text.as_str(), found[0].score), (1, "", 0.0));
}

#[test]
fn partial_texts_settle_and_end_as_the_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let file = read(&folder.join("decode.safetensors"));
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let model = LanguageModel::read_arpa(&*read(&folder.join("decode.arpa")), "decode.arpa").unwrap();
    let tokens = ["", "a", "c", "e", "h", "m", "n", "o", "s", "t", "'", " "];
    let settings = Settings { decoder: Kind::Beam, beam: 20, ..Settings::default() };
    let resources = Resources { lm: Some(Arc::new(model)), ..Resources::default() };
    let decoder = Decoder::new(Alphabet::new(&tokens).unwrap(), settings, &resources).unwrap();
    let emissions = emissions(&tensors, "characters.a", &decoder);
    let mut under = decoder.begin();
    let words = |found: &Hypothesis, count: usize| {
        found.words[..count].iter().map(|word| word.word.clone()).collect::<Vec<_>>()
    };
    let mut settled = Vec::new();
    for frame in emissions.frames() {
        let mut one = Emissions::new();
        one.push(&frame.iter().map(|&(id, log)| (id, log as f32)).collect::<Vec<_>>()).unwrap();
        under.push(&one);
        let now = words(&under.hypothesis(), under.settled());
        assert!(now.starts_with(&settled), "{settled:?}, {now:?}");
        settled = now;
    }
    let whole = decoder.decode(&emissions, 1);
    assert!(words(&whole[0], settled.len()) == settled && !settled.is_empty(), "{settled:?}");
    let ended = under.finish(1);
    assert_eq!(ended[0].text, whole[0].text);
    assert!((ended[0].score - whole[0].score).abs() < 1e-4);
}
