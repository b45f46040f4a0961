//! Fine-tuning on a few takes: the last layers of a model, or all of it, on words and short phrases, or on
//! classes.
//!
//! Frozen layers run once for each take. Some takes are held out and evaluated after every tenth of the steps; the
//! weights with the fewest errors on them are kept, and the old ones where none is better.

mod characters;
mod classes;
mod hidden;
mod objective;
mod settings;
mod takes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

use crate::decode::{Decoder, Emissions};
use crate::error::{Error, Result};
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::models::{ModelKind, SavedModel};
use crate::rng::{Rng, stream};
use crate::text::{normalize, score};
use crate::train::{Schedule, StepTotals, Trainer};
use crate::weights::Weights;

use hidden::{Shape, hidden_states, parts};
use objective::{Head, Tail};
pub use settings::{Layers, Settings};
pub use takes::{LeftOut, Take, Target};
use takes::{Prepared, prepare};

/// Results on the held-out takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldOut {
    /// Takes whose text, or label, is recognized.
    pub right: usize,
    /// All of them.
    pub takes: usize,
    /// Characters that are wrong, or labels.
    pub errors: usize,
    /// Mean CTC loss of a token, or mean cross-entropy of a take; `null` where it is not finite.
    pub loss: f64,
}

impl HeldOut {
    /// Whether these are better than `other`: fewer characters, or labels, are wrong, or as many with a lower loss.
    fn better(&self, other: &Self) -> bool {
        self.loss.is_finite()
            && (self.errors < other.errors
                || (self.errors == other.errors && (self.loss < other.loss || !other.loss.is_finite())))
    }
}

/// How learning goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The loss of the step's batch before its update; none before the first.
    pub loss: Option<f64>,
    /// Results on the held-out takes after this step, where they were evaluated.
    pub held_out: Option<HeldOut>,
}

/// The result.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The model with the fewest errors on the held-out takes: the old one where nothing was better.
    pub model: SavedModel,
    /// Whether it is another than before.
    pub better: bool,
    /// The step whose weights it has; 0: those of before.
    pub best_step: u64,
    /// Results on the held-out takes before learning, and those of `model`.
    pub before: HeldOut,
    /// See `before`.
    pub after: HeldOut,
    /// The loss of every step's batch.
    pub losses: Vec<f64>,
    /// Characters that the vocabulary has gained.
    pub new_characters: Vec<char>,
    /// The held-out takes, with the texts of the old model and the new one.
    pub held_out: Vec<HeldOutTake>,
    /// Takes that cannot be learned.
    pub left_out: Vec<LeftOut>,
    /// Values that learned.
    pub trainable: usize,
}

impl Outcome {
    /// The text for the model's card; `by` names the program, `takes` the number of takes.
    pub fn card(&self, by: &str, settings: &Settings, takes: usize) -> String {
        let Self { before, after, .. } = self;
        if !self.better {
            return format!(
                "Not changed by {by}: the held-out takes were not recognized better than before."
            );
        }
        format!(
            "Adapted by {by}: {} on {takes} takes, seed {}, step {} of {}. Of {} held-out takes, {} were recognized \
             rightly before and {} after.",
            settings.layers,
            settings.seed,
            self.best_step,
            settings.steps(),
            after.takes,
            before.right,
            after.right
        )
    }
}

/// A held-out take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldOutTake {
    /// Which take.
    pub take: usize,
    /// The text, or the label.
    pub text: String,
    /// The text or label before learning; of labels that are new, by a head that has not learned yet.
    pub before: String,
    /// The text or label after learning.
    pub after: String,
}

/// Learns `takes`, texts or labels; a model that does not tell the labels apart yet gets a head that does. `watch` is called for every step, and ends the work where it returns an error: nothing is changed then.
/// Equal seeds give equal bits on equal adapters.
///
/// # Errors
/// When the model is no recognizer of text and the takes have one, a setting is out of range, too few takes can be learned, the device fails, or `watch`
/// says so.
pub async fn adapt(
    gpu: Arc<Gpu>,
    model: &SavedModel,
    takes: &[Take],
    settings: &Settings,
    watch: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<Outcome> {
    settings.check(model.config.model.layers)?;
    let Prepared { model: grown, new_characters, learned, held, mut left_out } =
        prepare(model, takes, settings.seed)?;
    left_out.sort_by_key(|one| one.take);
    let waveforms: Vec<&[f32]> =
        learned.iter().chain(&held).map(|example| takes[example.take].waveform.as_slice()).collect();
    let steps = settings.steps();
    let classes = grown.config.kind.utterance();
    let parts = parts(settings.layers, grown.config.model.layers, classes.is_some());
    let hidden = hidden_states(gpu.clone(), model, &parts, &waveforms, &mut || {
        watch(&Progress { step: 0, steps, loss: None, held_out: None })
    })
    .await?;
    let shape = Shape::of(&hidden, learned.len());
    let longest = learned.iter().chain(&held).map(|example| example.ids.len()).max().unwrap_or(0);
    let (head, decoder) = match (&grown.config.kind, &grown.vocabulary) {
        (ModelKind::Ctc(head), Some(vocabulary)) => {
            let max_target_length = longest.next_multiple_of(8).max(8);
            (Head::Ctc { head: head.clone(), max_target_length }, Some(Decoder::greedy(vocabulary)?))
        }
        (ModelKind::Utterance(head), _) => (Head::Classes(head.clone()), None),
        _ => return Err(Error::invalid("the model has no CTC head; give one that recognizes speech")),
    };
    let tail = Tail { config: grown.config.clone(), head, layers: settings.layers, parts: parts.len() };
    let (hidden, held_hidden) = hidden.split_at(learned.len());

    let optimizer = settings.optimizer();
    let mut trainer = Trainer::new(Executor::new(gpu), &tail, &optimizer).await?;
    trainer.parameters.fill(&trainer.executor, Some(&grown.weights), settings.seed)?;
    let schedule = Schedule::new(&optimizer, steps);
    let too_few = || Error::invalid("validation returned too few predictions");
    let judge = async |trainer: &mut Trainer| -> Result<(HeldOut, Vec<String>)> {
        trainer.prepare_validation(&tail, shape.batch()).await?;
        let mut sum = HeldOut { right: 0, takes: held.len(), errors: 0, loss: 0.0 };
        let mut texts = Vec::with_capacity(held.len());
        for (examples, hidden) in held.chunks(shape.rows).zip(held_hidden.chunks(shape.rows)) {
            let rows: Vec<_> = examples.iter().zip(hidden).collect();
            let inputs = tail.inputs(shape, &rows, [settings.seed, 0, 0])?;
            let results = trainer.validate(shape.batch(), &inputs).await?;
            sum.loss += results.loss * rows.len() as f64 / held.len() as f64;
            for (row, (example, hidden)) in rows.iter().enumerate() {
                let (text, wrong) = match (&decoder, classes) {
                    (Some(decoder), _) => {
                        let first = row * shape.batch().time();
                        let ids = results.best().get(first..first + hidden.time()).ok_or_else(too_few)?;
                        let best = decoder.decode(&Emissions::certain(ids), 1);
                        let text = best.first().map_or_else(String::new, |best| best.text.clone());
                        let wrong = score(&normalize(&example.text), &text).characters.errors();
                        (text, wrong)
                    }
                    (None, head) => {
                        let class = *results.best().get(row).ok_or_else(too_few)? as usize;
                        let label = head.and_then(|head| head.labels.get(class)).ok_or_else(too_few)?;
                        (label.clone(), usize::from(*label != example.text))
                    }
                };
                sum.errors += wrong;
                sum.right += usize::from(wrong == 0);
                texts.push(text);
            }
        }
        Ok((sum, texts))
    };

    let (before, texts_before) = judge(&mut trainer).await?;
    watch(&Progress { step: 0, steps, loss: None, held_out: Some(before) })?;
    let mut best: (u64, HeldOut, Option<Weights>, Vec<String>) = (0, before, None, texts_before.clone());
    trainer.prepare(&tail, shape.batch(), false).await?;
    let mut losses = Vec::with_capacity(steps as usize);
    let mut order = Order { seed: settings.seed, epoch: 0, left: Vec::new(), examples: learned.len() };
    for step in 1..=steps {
        let rows: Vec<_> =
            (0..shape.rows).map(|_| order.next()).map(|at| (&learned[at], &hidden[at])).collect();
        let inputs = tail.inputs(shape, &rows, [settings.seed, step as u32, 0])?;
        trainer.micro_batch(shape.batch(), &inputs, false)?;
        trainer.update(step, schedule.rates(step), 1)?;
        let loss = trainer.totals().await?.loss;
        trainer.set_totals(StepTotals::default())?;
        losses.push(loss);
        let mut held_out = None;
        if step.is_multiple_of(steps.div_ceil(10)) || step == steps {
            let (now, texts) = judge(&mut trainer).await?;
            held_out = Some(now);
            if now.better(&best.1) {
                let values = trainer.parameters.values(&trainer.executor).await?;
                // Weights that are not finite recognize nothing.
                if values.iter().all(|(_, _, values)| values.iter().all(|value| value.is_finite())) {
                    best = (step, now, Some(values), texts);
                }
            }
        }
        watch(&Progress { step, steps, loss: Some(loss), held_out })?;
    }

    let (best_step, after, values, texts) = best;
    let better = values.is_some();
    let model = match values {
        Some(values) => {
            let mut model = grown.clone();
            for (name, shape, values) in values.iter() {
                model.weights.insert(name, shape.clone(), values.to_vec())?;
            }
            model
        }
        None => model.clone(),
    };
    let texts = texts_before.into_iter().zip(texts);
    let held_out = held.iter().zip(texts).map(|(example, (before, after))| HeldOutTake {
        take: example.take,
        text: example.text.clone(),
        before,
        after,
    });
    Ok(Outcome {
        model,
        better,
        best_step,
        before,
        after,
        losses,
        new_characters: if better { new_characters } else { Vec::new() },
        held_out: held_out.collect(),
        left_out,
        trainable: trainer.parameters.trainable(),
    })
}

/// The order in which examples are learned: shuffled anew whenever all were there.
struct Order {
    seed: u32,
    epoch: u32,
    left: Vec<usize>,
    examples: usize,
}

impl Order {
    fn next(&mut self) -> usize {
        if self.left.is_empty() {
            self.left = (0..self.examples).collect();
            Rng::new(&[self.seed, stream("adapt"), self.epoch]).shuffle(&mut self.left);
            self.epoch += 1;
        }
        self.left.pop().unwrap_or(0)
    }
}
