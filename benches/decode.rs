//! Beam search beside pyctcdecode, where Python has it, on one core with equal settings; and language models: made, built,
//! opened.
//!
//! `cargo bench --bench decode`; `PYTHON` names the interpreter, `python3` without it; `SENTENCES` and `ORDER` make the
//! language model larger.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use polymix::decode::lm::{Counts, LanguageModel};
use polymix::decode::{Alphabet, Decoder, Emissions, HotWords, Kind, Resources, Settings};
use polymix::rng::{Rng, stream};
use polymix::weights::{Precision, Weights};
use polymix::{Error, Result};

/// Utterances, words of each, and seconds of a frame.
const UTTERANCES: usize = 24;
const WORDS: usize = 12;
const SECONDS_PER_FRAME: f64 = 0.04;
/// Sentences of the language model's text and its order, unless `SENTENCES` and `ORDER` say otherwise; different words.
const SENTENCES: usize = 40_000;
const ORDER: usize = 3;
const DIFFERENT: usize = 5_000;

/// What pyctcdecode does with the same numbers: prints the seconds and the best texts of each case.
const PEER: &str = r#"
import json, logging, sys, time
logging.disable(logging.WARNING)
import kenlm
from pyctcdecode import Alphabet, BeamSearchDecoderCTC, LanguageModel
from pyctcdecode.language_model import load_unigram_set_from_arpa
from safetensors.numpy import load_file
folder = sys.argv[1]
tokens = json.load(open(folder + "/vocab.json"))
emissions = [value for _, value in sorted(load_file(folder + "/emissions.safetensors").items())]
lm = LanguageModel(kenlm.Model(folder + "/lm.arpa"), load_unigram_set_from_arpa(folder + "/lm.arpa"), 0.8, 1.2, -10.0)
for model in (None, lm):
    decoder = BeamSearchDecoderCTC(Alphabet.build_alphabet([""] + tokens[1:]), model)
    start = time.process_time()
    texts = [decoder.decode_beams(e, 100, -10.0, -5.0)[0][0] for e in emissions]
    print(json.dumps([time.process_time() - start, texts]))
"#;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("decode: {error}");
            ExitCode::FAILURE
        }
    }
}

fn io(what: &str) -> impl Fn(std::io::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::invalid(format!("{what}: {error}"))
}

fn run() -> Result<()> {
    let folder = tempfile::tempdir().map_err(io("no temporary folder"))?;
    let path = |name: &str| folder.path().join(name);
    let mut random = Rng::new(&[5, stream("decode")]);
    let words: Vec<String> = (0..DIFFERENT).map(|_| word(&mut random)).collect();
    let (sentences, order) = (setting("SENTENCES", SENTENCES)?, setting("ORDER", ORDER)?);
    let start = Instant::now();
    let mut counts = Counts::new(order)?;
    for _ in 0..sentences {
        counts.add(&sentence(&mut random, &words))?;
    }
    let model = counts.train()?.model;
    let ngrams: u64 = model.counts().iter().sum();
    println!(
        "{order}-gram of {sentences} sentences: {ngrams} n-grams, made in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    model.save(&path("lm.arpa"))?;
    model.save(&path("lm"))?;
    for name in ["lm.arpa", "lm"] {
        let bytes = std::fs::metadata(path(name)).map_err(io(name))?.len();
        let start = Instant::now();
        LanguageModel::open(&path(name))?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{name}: {:.2} bytes an n-gram, opened in {seconds:.4} s", bytes as f64 / ngrams as f64);
    }

    let tokens: Vec<String> =
        ["<blank>".to_owned()].into_iter().chain(('a'..='z').chain(['\'', ' ']).map(String::from)).collect();
    let mut weights = Weights::default();
    let mut frames = 0;
    for index in 0..UTTERANCES {
        let values = emissions(&mut random, &words, &tokens);
        frames += values.len() / tokens.len();
        weights.insert(format!("{index:03}"), [values.len() / tokens.len(), tokens.len()], values)?;
    }
    let json = serde_json::to_string(&tokens).map_err(|error| Error::invalid(error.to_string()))?;
    std::fs::write(path("vocab.json"), json).map_err(io("vocab.json"))?;
    std::fs::write(path("emissions.safetensors"), weights.serialize(Precision::F32)?)
        .map_err(io("emissions"))?;

    let peer = peer(folder.path());
    println!("\n{UTTERANCES} utterances, {frames} frames of 40 ms, beam 100, one core");
    println!(
        "{:<24}{:>12}{:>14}{:>16}{:>8}{:>12}",
        "", "µs a frame", "of real time", "pyctcdecode µs", "times", "same texts"
    );
    let model = Arc::new(LanguageModel::open(&path("lm"))?);
    for (index, (name, lm)) in [("beam", None), ("beam, language model", Some(model))].into_iter().enumerate()
    {
        let settings = Settings { decoder: Kind::Beam, beam: 100, ..Settings::default() };
        let resources = Resources { lm, known: None, hot_words: HotWords::default() };
        let decoder = Decoder::new(Alphabet::new(&tokens)?, settings, &resources)?;
        let mut best = f64::INFINITY;
        let mut texts = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            texts.clear();
            for (_, _, values) in weights.iter() {
                let emissions = Emissions::dense(values, tokens.len(), decoder.token_prune())?;
                texts.push(decoder.decode(&emissions, 1).remove(0).text);
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        let each = best / frames as f64;
        let mut line = format!("{name:<24}{:>12.1}{:>12.2} %", 1e6 * each, 100.0 * each / SECONDS_PER_FRAME);
        if let Some((seconds, expected)) = peer.as_ref().and_then(|peer| peer.get(index)) {
            let same = texts.iter().zip(expected).filter(|(a, b)| a == b).count();
            let _ = write!(
                line,
                "{:>16.1}{:>8.1}{:>12}",
                1e6 * seconds / frames as f64,
                seconds / best,
                format!("{same} of {UTTERANCES}")
            );
        }
        println!("{line}");
    }
    Ok(())
}

/// A number of the environment.
fn setting(name: &str, default: usize) -> Result<usize> {
    let Ok(text) = std::env::var(name) else { return Ok(default) };
    text.parse().map_err(|_| Error::invalid(format!("{name} is {text:?}; give a number")))
}

/// Seconds and texts of pyctcdecode; `None`, with the reason on stderr, where Python does not have it.
fn peer(folder: &Path) -> Option<Vec<(f64, Vec<String>)>> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python).args(["-c", PEER]).arg(folder).output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!("without pyctcdecode: {}", said.lines().last().unwrap_or_default());
            return None;
        }
        Err(error) => {
            eprintln!("without pyctcdecode: {python}: {error}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

/// Letters that take turns, so that it can be told from others as words can.
fn word(random: &mut Rng) -> String {
    let syllables = 1 + random.below(3);
    (0..syllables)
        .flat_map(|_| {
            let consonant = b"bcdfghjklmnprstvw"[random.below(17)];
            [consonant, b"aeiou"[random.below(5)]]
        })
        .map(char::from)
        .collect()
}

/// Words after Zipf's law.
fn sentence(random: &mut Rng, words: &[String]) -> String {
    let draw = |random: &mut Rng| {
        let rank = (words.len() as f64).powf(f64::from(random.unit())) as usize;
        words[rank.min(words.len() - 1)].as_str()
    };
    (0..WORDS).map(|_| draw(random)).collect::<Vec<_>>().join(" ")
}

/// Log-probabilities of a sentence, two frames a letter and a blank after some, with noise.
fn emissions(random: &mut Rng, words: &[String], tokens: &[String]) -> Vec<f32> {
    let text = sentence(random, words);
    let mut values = Vec::new();
    let mut frame = |random: &mut Rng, token: usize| {
        let mut row: Vec<f32> = (0..tokens.len()).map(|_| 1.5 * random.normal() as f32).collect();
        row[token] += 5.0;
        let sum = row.iter().map(|value| value.exp()).sum::<f32>().ln();
        values.extend(row.iter().map(|value| value - sum));
    };
    for letter in text.chars() {
        let token = tokens.iter().position(|token| token.starts_with(letter)).unwrap_or_default();
        frame(random, token);
        frame(random, token);
        frame(random, 0);
    }
    values
}
