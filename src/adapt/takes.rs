//! Takes: which can be used, and which are held out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::characters::grow;
use super::classes::classes;
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
    pub waveform: Vec<f32>,
    /// The text.
    pub target: Target,
}

/// The target of a take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A text; an empty one where nothing is said.
    Text(String),
    /// The class. All takes have one, or none has.
    Label(String),
}

impl Target {
    /// The text or the label.
    fn told(&self) -> &str {
        match self {
            Self::Text(told) | Self::Label(told) => told,
        }
    }
}

/// A take that cannot be learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Which one, from 0.
    pub take: usize,
    /// Why, and what to do about it.
    pub reason: String,
}

/// A take that is learned or held out.
#[derive(Debug, Clone)]
pub(super) struct Example {
    pub take: usize,
    /// Its text or its label.
    pub text: String,
    /// Tokens of the text, or the one class.
    pub ids: Vec<u32>,
}

/// The takes, and the model that writes, or tells apart, all of them.
pub(super) struct Prepared {
    pub model: SavedModel,
    pub new_characters: Vec<char>,
    pub learned: Vec<Example>,
    pub held: Vec<Example>,
    pub left_out: Vec<LeftOut>,
}

pub(super) fn prepare(model: &SavedModel, takes: &[Take], seed: u32) -> Result<Prepared> {
    let labels = takes.iter().filter(|take| matches!(take.target, Target::Label(_))).count();
    if labels != 0 && labels != takes.len() {
        return Err(Error::invalid(format!(
            "{labels} of {} takes have a label and the others a text; give all of them a label, or all a text",
            takes.len()
        )));
    }
    let seconds = takes.iter().map(|take| take.waveform.len()).sum::<usize>() / SAMPLE_RATE as usize;
    if seconds > MOST {
        return Err(Error::invalid(format!(
            "{seconds} s of takes are more than the {MOST} s that are learned so; give fewer, or fine-tune the model"
        )));
    }
    let (mut left_out, mut kept) = (Vec::new(), Vec::new());
    for (take, Take { waveform, .. }) in takes.iter().enumerate() {
        match unusable(waveform) {
            Some(reason) => left_out.push(LeftOut { take, reason }),
            None => kept.push(take),
        }
    }
    let told = |take: &usize| takes[*take].target.told();
    let (model, new_characters, examples) = match labels {
        0 => texts(model, takes, &kept, &mut left_out)?,
        _ => {
            let classes = classes(model, kept.iter().map(told), seed)?;
            let examples = kept.iter().map(|take| {
                let class = classes.config.kind.utterance().and_then(|head| head.class(told(take)));
                let ids = class.map(|class| class as u32).into_iter().collect();
                Example { take: *take, text: told(take).to_owned(), ids }
            });
            let examples = examples.collect();
            (classes, Vec::new(), examples)
        }
    };
    if examples.len() < 2 {
        let first = left_out.first().map(|one| format!("; take {} {}", one.take + 1, one.reason));
        return Err(Error::invalid(format!(
            "{} of {} takes can be learned, and one is held out to see whether it helps; give at least two{}",
            examples.len(),
            takes.len(),
            first.unwrap_or_default()
        )));
    }
    let (learned, held) = hold_back(examples, seed);
    Ok(Prepared { model, new_characters, learned, held, left_out })
}

/// Why nothing can be learned of a waveform.
fn unusable(waveform: &[f32]) -> Option<String> {
    let length = waveform.len() as f64 / f64::from(SAMPLE_RATE);
    match check_length(waveform.len(), length) {
        Err(error) => Some(error.to_string()),
        Ok(()) if waveform.len() > LONGEST * SAMPLE_RATE as usize => {
            Some(format!("lasts {length:.1} s, above {LONGEST} s; cut it"))
        }
        Ok(()) if !waveform.iter().all(|sample| sample.is_finite()) => {
            Some("has samples that are no numbers; record it again".to_owned())
        }
        Ok(()) => None,
    }
}

/// The model that writes the texts of `kept`, the characters that it has gained, and the takes; those whose text does not
/// fit are left out.
fn texts(
    model: &SavedModel,
    takes: &[Take],
    kept: &[usize],
    left_out: &mut Vec<LeftOut>,
) -> Result<(SavedModel, Vec<char>, Vec<Example>)> {
    let Some(vocabulary) = &model.vocabulary else {
        return Err(Error::invalid("the model has no vocabulary; give one that recognizes speech"));
    };
    let mut lacking = BTreeSet::new();
    for &take in kept {
        lacking.extend(vocabulary.lacking(takes[take].target.told())?);
    }
    let new_characters: Vec<char> = lacking.into_iter().collect();
    let grown = grow(model, &new_characters)?;
    let vocabulary = grown.vocabulary.as_ref().unwrap_or(vocabulary);
    let preprocessor = model.preprocessor.preprocessor();
    let mut examples = Vec::new();
    for &take in kept {
        let text = takes[take].target.told();
        let ids = vocabulary.encode(text)?;
        let (needs, frames) =
            (least_frames(&ids), frames_after(preprocessor.frames(takes[take].waveform.len())));
        if needs > frames {
            let reason = format!(
                "its text {text:?} needs {needs} frames of 40 ms, and it has {frames}; correct the text or record it again"
            );
            left_out.push(LeftOut { take, reason });
        } else {
            examples.push(Example { take, text: normalize(text), ids });
        }
    }
    Ok((grown, new_characters, examples))
}

/// Of every text that there are several takes of, one in five is held out, at least one; where there is none such, one in
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
