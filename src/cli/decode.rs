//! `polymix decode`

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Serialize;

use super::arguments::{self, Decode, Decoding, Global};
use super::output::{note, print, print_json};
use crate::decode::lm::LanguageModel;
use crate::decode::{Alphabet, Decoder, Emissions, HotWords, Hypothesis, Kind, Resources, Settings};
use crate::error::{Error, Result};
use crate::files;

/// One tensor of what `--json` prints.
#[derive(Debug, Serialize)]
struct Decoded<'a> {
    name: &'a str,
    beams: Vec<Beam>,
}

#[derive(Debug, Serialize)]
struct Beam {
    text: String,
    ctc_score: f64,
    score: f64,
    words: Vec<Word>,
}

#[derive(Debug, Serialize)]
struct Word {
    word: String,
    start_frame: usize,
    end_frame: usize,
}

/// Decodes the log-probabilities of a file.
pub(super) fn run(command: &Decode, global: &Global) -> Result<()> {
    global.note_without_recipe("decode");
    let alphabet = within(&command.vocab, Alphabet::from_json(&text(&command.vocab)?))?;
    let decoding = &command.decoding;
    let settings = decoding.settings(Settings::default());
    if !global.quiet {
        decoding.note_unread(&settings);
    }
    let resources = decoding.resources(&settings)?;
    let decoder = Decoder::new(alphabet, settings, &resources)?;
    let file = files::read(&command.emissions)?;
    let tensors = tensors(&command.emissions, &file, decoder.alphabet().len(), global)?;
    let found = on_all_cores(&tensors, |(name, values)| -> Result<Vec<Hypothesis>> {
        let emissions = Emissions::dense(values, decoder.alphabet().len(), decoder.token_prune());
        let emissions = emissions
            .map_err(|error| Error::file(&command.emissions, format!("the tensor {name}: {error}")))?;
        Ok(decoder.decode(&emissions, decoding.n_best))
    });
    let mut results = Vec::with_capacity(found.len());
    for ((name, _), beams) in tensors.iter().zip(found) {
        results.push((name, beams?));
    }
    if command.json {
        let beams = |beams: Vec<Hypothesis>| beams.into_iter().map(Beam::from).collect();
        let decoded = results.into_iter().map(|(name, found)| Decoded { name, beams: beams(found) });
        return print_json(&decoded.collect::<Vec<_>>());
    }
    for (name, beams) in results {
        for beam in &beams {
            if decoding.n_best == 1 {
                print(format!("{name}: {}", beam.text))?;
            } else {
                print(format!("{name}: {:10.3}  {}", beam.score, beam.text))?;
            }
        }
    }
    Ok(())
}

impl From<Hypothesis> for Beam {
    fn from(found: Hypothesis) -> Self {
        let words = found.words.into_iter().map(|word| Word {
            word: word.word,
            start_frame: word.start_frame,
            end_frame: word.end_frame,
        });
        Self { text: found.text, ctc_score: found.ctc_score, score: found.score, words: words.collect() }
    }
}

impl Decoding {
    /// `base` with what was given on the command line.
    pub(super) fn settings(&self, base: Settings) -> Settings {
        let beam_only = self.beam.is_some()
            || self.beam_prune.is_some()
            || self.token_prune.is_some()
            || self.prune_history.is_some()
            || self.lm.is_some()
            || self.hot_words.is_some()
            || self.n_best > 1;
        let decoder = match self.decoder {
            Some(arguments::Decoder::Greedy) => Kind::Greedy,
            Some(arguments::Decoder::Beam) => Kind::Beam,
            None if beam_only => Kind::Beam,
            None => base.decoder,
        };
        Settings {
            decoder,
            beam: self.beam.unwrap_or(base.beam),
            beam_prune: self.beam_prune.unwrap_or(base.beam_prune),
            token_prune: self.token_prune.unwrap_or(base.token_prune),
            prune_history: self.prune_history.unwrap_or(base.prune_history),
            alpha: self.alpha.unwrap_or(base.alpha),
            beta: self.beta.unwrap_or(base.beta),
            unknown: self.unknown.unwrap_or(base.unknown),
            score_boundary: self.score_boundary.unwrap_or(base.score_boundary),
            hot_word_weight: self.hot_word_weight.unwrap_or(base.hot_word_weight),
            lm: self.lm.clone().or(base.lm),
        }
    }

    /// Says which options change nothing with `settings`.
    fn note_unread(&self, settings: &Settings) {
        let beam = settings.decoder == Kind::Beam;
        let with_model = [
            ("--alpha", self.alpha.is_some()),
            ("--beta", self.beta.is_some()),
            ("--unknown", self.unknown.is_some()),
            ("--score-boundary", self.score_boundary.is_some()),
            ("--words", self.words.is_some()),
        ];
        let with_beam = [
            ("--lm", self.lm.is_some()),
            ("--hot-words", self.hot_words.is_some()),
            ("--n-best", self.n_best > 1),
            ("--beam", self.beam.is_some()),
            ("--beam-prune", self.beam_prune.is_some()),
            ("--token-prune", self.token_prune.is_some()),
            ("--prune-history", self.prune_history.is_some()),
        ];
        let given = |options: &[(&'static str, bool)]| -> Vec<&'static str> {
            options.iter().filter(|(_, given)| *given).map(|&(name, _)| name).collect()
        };
        let unread = match (beam, settings.lm.is_some()) {
            (false, _) => (given(&[&with_model[..], &with_beam].concat()), "with --decoder greedy"),
            (true, false) => (given(&with_model), "without --lm"),
            (true, true) => (Vec::new(), ""),
        };
        if !unread.0.is_empty() {
            note(format!("without effect {}: {}", unread.1, unread.0.join(", ")));
        }
    }

    /// Opens what a decoder with `settings` reads.
    ///
    /// # Errors
    /// Names the file that cannot be read or understood.
    pub(super) fn resources(&self, settings: &Settings) -> Result<Resources> {
        if settings.decoder == Kind::Greedy {
            return Ok(Resources::default());
        }
        let known = self.words.as_ref().map(|path| -> Result<Vec<String>> {
            let words = text(path)?;
            Ok(words.split_whitespace().map(str::to_owned).collect())
        });
        let hot_words = match &self.hot_words {
            Some(path) => within(path, HotWords::parse(&text(path)?, settings.hot_word_weight))?,
            None => HotWords::default(),
        };
        let lm = settings.lm.as_deref().map(LanguageModel::open).transpose()?;
        Ok(Resources { lm: lm.map(Arc::new), known: known.transpose()?, hot_words })
    }
}

/// The text of a file.
fn text(path: &Path) -> Result<String> {
    String::from_utf8(files::read(path)?).map_err(|_| Error::file(path, "is no UTF-8 text; save it as UTF-8"))
}

fn within<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| Error::file(path, error.to_string()))
}

/// The f32 tensors `[frames, tokens]` of a safetensors file by name; the others are named on stderr.
///
/// # Errors
/// When the file is damaged, or there is no such tensor.
fn tensors(path: &Path, file: &[u8], tokens: usize, global: &Global) -> Result<Vec<(String, Vec<f32>)>> {
    let tensors = SafeTensors::deserialize(file).map_err(|error| {
        Error::file(path, format!("is no whole safetensors file ({error}); copy or save it again"))
    })?;
    let mut found = Vec::new();
    let mut others = Vec::new();
    for (name, view) in tensors.iter() {
        if view.dtype() == Dtype::F32 && view.shape().len() == 2 && view.shape()[1] == tokens {
            let values = view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            found.push((name.to_owned(), values.collect()));
        } else {
            others.push(format!("{name} {:?} {:?}", view.dtype(), view.shape()));
        }
    }
    found.sort_by(|a: &(String, _), b| a.0.cmp(&b.0));
    others.sort();
    let wanted = format!("f32 tensors [frames, {tokens}], as many as the vocabulary has tokens");
    if found.is_empty() {
        return Err(Error::file(path, format!("holds no {wanted}, but {}", listed(&others))));
    }
    if !others.is_empty() && !global.quiet {
        note(format!("left out, no {wanted}: {}", listed(&others)));
    }
    Ok(found)
}

/// The first few of `names`, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = names.get(..SHOWN).unwrap_or(names).join(", ");
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > SHOWN => format!("{shown} and {} more", count - SHOWN),
        _ => shown,
    }
}

/// What `work` makes of each item, in their order, by as many threads as the machine has cores.
pub(super) fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..cores {
            scope.spawn(run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}
