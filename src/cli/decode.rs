//! `polymix decode`

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Serialize;

use super::arguments::{Decode, Global};
use super::decoding::{beside, within};
use super::output::{note, print, print_json};
use crate::decode::{Alphabet, Emissions, Hypothesis, Settings};
use crate::error::{Error, Result};
use crate::files::{self, read_text};

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
    let alphabet = within(&command.vocab, Alphabet::from_json(&read_text(&command.vocab)?))?;
    let decoding = &command.decoding;
    let decoder = decoding.decoder(alphabet, Settings::default(), command.n_best, global)?;
    let file = files::read(&command.emissions)?;
    let tensors = tensors(&command.emissions, &file, decoder.alphabet().len(), global)?;
    let work = |(name, values): &(String, Vec<f32>)| -> Result<Vec<Hypothesis>> {
        let emissions = Emissions::dense(values, decoder.alphabet().len(), decoder.token_prune());
        let emissions = emissions
            .map_err(|error| Error::file(&command.emissions, format!("the tensor {name}: {error}")))?;
        Ok(decoder.decode(&emissions, command.n_best))
    };
    let ((), found) = beside(work, |give| {
        tensors.iter().for_each(give);
        Ok(())
    })?;
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
            if command.n_best == 1 {
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
