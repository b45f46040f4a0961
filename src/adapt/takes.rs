//! Takes: which can be learned, and which are held back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::characters::grow;
use crate::audio::{SAMPLE_RATE, check_length};
use crate::error::{Error, Result};
use crate::models::{SavedModel, frames_after};
use crate::rng::{Rng, stream};
use crate::text::{least_frames, normalize};

/// The longest take, in seconds.
const LONGEST: usize = 60;
/// Seconds of all takes together: more is a corpus.
const MOST: usize = 7200;

/// Something that is said, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Take {
    /// 16 kHz, mono, in [-1, 1].
    pub wave: Vec<f32>,
    /// What is said.
    pub target: Target,
}

/// What is to be heard of a take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A text; an empty one where nothing is said.
    Text(String),
}

/// A take that cannot be learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Which one, from 0.
    pub take: usize,
    /// Why, and what to do about it.
    pub reason: String,
}

/// A take that is learned or held back.
#[derive(Debug, Clone)]
pub(super) struct Example {
    pub take: usize,
    pub text: String,
    pub ids: Vec<u32>,
}

/// The takes, and the model whose vocabulary writes them all.
pub(super) struct Prepared {
    pub model: SavedModel,
    pub new_characters: Vec<char>,
    pub learned: Vec<Example>,
    pub held: Vec<Example>,
    pub left_out: Vec<LeftOut>,
}

pub(super) fn prepare(model: &SavedModel, takes: &[Take], seed: u32) -> Result<Prepared> {
    let Some(vocabulary) = &model.vocabulary else {
        return Err(Error::invalid("the model has no vocabulary; give one that recognizes speech"));
    };
    let seconds = takes.iter().map(|take| take.wave.len()).sum::<usize>() / SAMPLE_RATE as usize;
    if seconds > MOST {
        return Err(Error::invalid(format!(
            "{seconds} s of takes are more than the {MOST} s that are learned so; give fewer, or fine-tune the model"
        )));
    }
    let (mut left_out, mut lacking) = (Vec::new(), BTreeSet::new());
    let mut kept = Vec::new();
    for (take, Take { wave, target: Target::Text(text) }) in takes.iter().enumerate() {
        let length = wave.len() as f64 / f64::from(SAMPLE_RATE);
        let reason = match check_length(wave.len(), length) {
            Err(error) => Some(error.to_string()),
            Ok(()) if wave.len() > LONGEST * SAMPLE_RATE as usize => {
                Some(format!("lasts {length:.1} s, above {LONGEST} s; cut it"))
            }
            Ok(()) if !wave.iter().all(|sample| sample.is_finite()) => {
                Some("has samples that are no numbers; record it again".to_owned())
            }
            Ok(()) => None,
        };
        match reason {
            Some(reason) => left_out.push(LeftOut { take, reason }),
            None => {
                lacking.extend(vocabulary.lacking(text)?);
                kept.push(take);
            }
        }
    }
    let new_characters: Vec<char> = lacking.into_iter().collect();
    let grown = grow(model, &new_characters)?;
    let vocabulary = grown.vocabulary.as_ref().unwrap_or(vocabulary);
    let preprocessor = model.preprocessor.preprocessor();
    let mut examples = Vec::new();
    for take in kept {
        let Target::Text(text) = &takes[take].target;
        let ids = vocabulary.encode(text)?;
        let (needs, frames) = (least_frames(&ids), frames_after(preprocessor.frames(takes[take].wave.len())));
        if needs > frames {
            let reason = format!(
                "its text {text:?} needs {needs} frames of 40 ms, and it has {frames}; correct the text or record it again"
            );
            left_out.push(LeftOut { take, reason });
        } else {
            examples.push(Example { take, text: normalize(text), ids });
        }
    }
    if examples.len() < 2 {
        let first = left_out.first().map(|one| format!("; take {} {}", one.take + 1, one.reason));
        return Err(Error::invalid(format!(
            "{} of {} takes can be learned, and one is held back to see whether it helps; give at least two{}",
            examples.len(),
            takes.len(),
            first.unwrap_or_default()
        )));
    }
    let (learned, held) = hold_back(examples, seed);
    Ok(Prepared { model: grown, new_characters, learned, held, left_out })
}

/// Of every text that there are several takes of, one in five is held back, at least one; where there is none such, one in
/// five of all.
fn hold_back(examples: Vec<Example>, seed: u32) -> (Vec<Example>, Vec<Example>) {
    let mut texts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, example) in examples.iter().enumerate() {
        texts.entry(&example.text).or_default().push(at);
    }
    let mut groups: Vec<Vec<usize>> = texts.into_values().filter(|takes| takes.len() > 1).collect();
    if groups.is_empty() {
        groups = vec![(0..examples.len()).collect()];
    }
    let mut held = vec![false; examples.len()];
    for (number, mut group) in groups.into_iter().enumerate() {
        Rng::new(&[seed, stream("hold back"), number as u32]).shuffle(&mut group);
        group.iter().take((group.len() / 5).max(1)).for_each(|&at| held[at] = true);
    }
    let (mut learned, mut back) = (Vec::new(), Vec::new());
    for (example, held) in examples.into_iter().zip(held) {
        if held { back.push(example) } else { learned.push(example) }
    }
    (learned, back)
}
