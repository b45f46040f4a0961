//! Validation: a score, its number of utterances, and what is left out.

use std::collections::BTreeMap;

use pollster::block_on;
use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::metrics::{MetricsWriter, ValidLine};
use super::objective::BatchShape;
use super::run::{Progress, Run, Source};
use super::stop;
use super::task::{Embedding, Measure, Row, Totals};
use crate::data::{Batch, BatchIndex, Exclusions, Hash, LeftOut, Why, counted};
use crate::error::{Error, Result};
use crate::tasks::{Detection, all_pairs};
use crate::text::evaluate;

/// So many recordings that are left out are listed beside a score.
const LISTED: usize = 10;

/// The utterances of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// The step of the validation.
    pub step: u64,
    /// Utterances in the score.
    pub utterances: usize,
    /// A hash of their names and texts.
    pub set: u64,
    /// How many recordings are left out for which reason.
    pub left_out_reasons: BTreeMap<Why, usize>,
    /// The first few of them.
    pub left_out: Vec<LeftOut>,
}

impl Scored {
    /// As `of 12 utterances; left out: 1 unreadable`.
    pub fn of(&self) -> String {
        let utterances = if self.utterances == 1 { "utterance" } else { "utterances" };
        let of = format!("of {} {utterances}", self.utterances);
        match self.left_out_reasons.is_empty() {
            true => of,
            false => format!("{of}; left out: {}", counted(&self.left_out_reasons)),
        }
    }
}

/// The results of one pass over the validation data.
struct Pass {
    totals: Totals,
    left_out: Exclusions,
    /// Hashes of the utterances of the rates and of the loss.
    sets: [Hash; 2],
}

/// The results of one batch of it, as exchanged between ranks.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    totals: Totals,
    /// Rows that are in no mean.
    left_out: Vec<(Why, LeftOut)>,
    /// Utterances, and whether they are in the rates and in the loss.
    rows: Vec<(usize, [bool; 2])>,
    /// Recordings that could not be read.
    unread: Vec<(Why, LeftOut)>,
    differing: Vec<LeftOut>,
}

/// Why a row is in no mean, or not in the loss, for each of its recordings.
pub(super) fn excluded(source: &Source, batch: &Batch, row: usize, judged: Row) -> Vec<(Why, LeftOut)> {
    let parts = &batch.ids[row];
    let of = |&id: &usize| {
        let utterance = &source.corpus.utterances[id];
        match judged {
            Row::Empty | Row::Whole => None,
            Row::Impossible { needs, frames } => {
                let copied = source.config.augmentation.is_some() && row >= batch.utterances / 2;
                let who = if copied { "an augmented copy" } else { "it" };
                Some((Why::Impossible, LeftOut::impossible(utterance, needs, frames, who, parts.len())))
            }
            Row::Foreign => {
                let reason =
                    "its text has characters that the vocabulary lacks; they are errors in the rates";
                Some((Why::OutsideVocabulary, LeftOut::new(utterance, reason)))
            }
            Row::Unknown => {
                let class = utterance.text.as_deref().unwrap_or_default();
                let reason = format!("its class {class:?} is none of the learned ones");
                Some((Why::UnknownClass, LeftOut::new(utterance, reason)))
            }
        }
    };
    parts.iter().filter_map(of).collect()
}

/// The equal error rate of all pairs of the first utterances, evenly taken of many; `None` where there are no two of one
/// class, or of two, or an embedding is not finite.
fn equal_error_rate(embeddings: &[Embedding]) -> Option<f64> {
    /// Two million pairs.
    const MOST: usize = 2000;
    let step = embeddings.len().div_ceil(MOST).max(1);
    let taken: Vec<(&str, Vec<f32>)> =
        embeddings.iter().step_by(step).map(|one| (one.class.as_str(), one.values())).collect();
    if taken.iter().any(|(_, values)| values.iter().any(|value| !value.is_finite())) {
        return None;
    }
    let trials = all_pairs(&taken);
    Detection::of(&trials, &vec![1.0; trials.len()]).map(|detection| detection.eer)
}

impl Run<'_> {
    /// Checks that something of the validation data can be scored.
    pub(super) fn check_validation(&mut self) -> Result<()> {
        let Some(source) = &self.valid else { return Ok(()) };
        let mut left_out = source.examples.left_out.clone();
        let mut loader = source.start_whole(BatchIndex::default())?;
        while let Some(batch) = loader.next() {
            stop::check()?;
            let batch = batch?;
            for (row, judged) in self.task.rows(&batch).into_iter().enumerate() {
                if matches!(judged, Row::Whole | Row::Foreign | Row::Unknown) {
                    return Ok(());
                }
                for (why, one) in excluded(source, &batch, row, judged) {
                    left_out.add(why, one);
                }
            }
        }
        left_out.extend(loader.left_out());
        let first = left_out.iter().next().map(|(_, first)| format!("; the first: {first}"));
        Err(Error::invalid(format!(
            "nothing of the validation data can be scored: {left_out}{}; correct them",
            first.unwrap_or_default()
        )))
    }

    /// One pass over the validation data, by all ranks; `None` when a stop is asked for. Everything is added in the
    /// order of batches, from all ranks.
    fn pass(&mut self) -> Result<Option<Pass>> {
        let Some(source) = &self.valid else { return Ok(None) };
        let begun = Instant::now();
        let mut loader = source.start(BatchIndex::default())?;
        let (totals, left_out) = (Totals::default(), source.examples.left_out.clone());
        let mut pass = Pass { totals, left_out, sets: Default::default() };
        let (mut number, mut told, mut unread, mut differing) = (0, 0, Vec::new(), Vec::new());
        // A round has a batch for every rank.
        for _ in 0..loader.batches_per_epoch().div_ceil(self.ranks.size()) {
            let stop = stop::interrupted();
            let batch = if stop { None } else { loader.next_turn().transpose()?.flatten() };
            let round = self.ranks.all((stop, batch.is_some()))?;
            if round.iter().any(|(stop, _)| *stop) {
                return Ok(None);
            }
            let seen = |ranks: &[(bool, bool)]| ranks.iter().filter(|(_, batch)| *batch).count() as u64;
            let before = number + seen(&round[..self.ranks.rank()]);
            number += seen(&round);
            let new = loader.left_out().iter().skip(told).map(|(why, one)| (why, one.clone()));
            let mut own = Seen { unread: new.collect(), ..Seen::default() };
            told = loader.left_out().len();
            own.differing = loader.take_differing();
            if let Some(batch) = batch {
                for (row, &judged) in self.task.rows(&batch).iter().enumerate() {
                    own.left_out.extend(excluded(source, &batch, row, judged));
                    let of =
                        [matches!(judged, Row::Whole | Row::Foreign | Row::Unknown), judged == Row::Whole];
                    own.rows.extend(batch.ids[row].first().map(|&id| (id, of)));
                }
                // Masks differ between batches, and are the same at every validation.
                let (inputs, predictions) = self.task.inputs(&batch, before, 0, false)?;
                let results = block_on(self.trainer.validate(BatchShape::of(&batch), &inputs))?;
                self.task.update_metrics(&mut own.totals, &batch, predictions, &results)?;
            }
            for seen in self.ranks.all(own)? {
                seen.left_out.into_iter().for_each(|(why, one)| {
                    pass.left_out.add(why, one);
                });
                for (id, of) in seen.rows {
                    for (set, _) in pass.sets.iter_mut().zip(of).filter(|(_, of)| *of) {
                        set.add_utterance(&source.corpus.utterances[id]);
                    }
                }
                pass.totals.add(seen.totals);
                unread.extend(seen.unread);
                differing.extend(seen.differing);
            }
        }
        tracing::debug!("validated {number} batches in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
        unread.into_iter().for_each(|(why, one)| {
            pass.left_out.add(why, one);
        });
        self.valid_named.say_all(&pass.left_out);
        self.valid_named.say_differing(differing);
        Ok(Some(pass))
    }

    /// Validates, and saves `best` where it is the best so far; `false` when a stop is asked for meanwhile.
    pub(super) fn validate(
        &mut self,
        metrics: &mut Option<MetricsWriter>,
        progress: &mut dyn Progress,
    ) -> Result<bool> {
        let Some(Pass { totals, left_out, sets: [set, loss_set] }) = self.pass()? else { return Ok(false) };
        let step = self.state.step;
        // The rates have recordings that the loss has not.
        let mut of_rates = Exclusions::default();
        let of_loss = |why: Why| matches!(why, Why::OutsideVocabulary | Why::UnknownClass);
        left_out.iter().filter(|(why, _)| !of_loss(*why)).for_each(|(why, one)| {
            of_rates.add(why, one.clone());
        });
        let scored = Scored {
            step,
            utterances: totals.rows,
            set: set.0,
            left_out: of_rates.first(LISTED),
            left_out_reasons: of_rates.counts(),
        };
        let mean = |sum: f64| if totals.weight > 0.0 { sum / totals.weight } else { f64::NAN };
        let measure = self.task.measure();
        let rates = (!totals.scores.is_empty()).then(|| evaluate(&totals.scores));
        let accuracy = match measure {
            Measure::Loss => Some(mean(totals.correct)).filter(|accuracy| accuracy.is_finite()),
            Measure::Accuracy if totals.rows > 0 => Some(totals.right as f64 / totals.rows as f64),
            Measure::Accuracy | Measure::WordErrorRate | Measure::EqualErrorRate => None,
        };
        let eer = match measure {
            Measure::EqualErrorRate => equal_error_rate(&totals.embeddings),
            _ => None,
        };
        let line = ValidLine {
            step,
            valid_loss: mean(totals.loss),
            wer: rates.as_ref().and_then(|rates| rates.wer),
            cer: rates.as_ref().and_then(|rates| rates.cer),
            accuracy,
            eer,
            utterances: totals.rows,
            loss_utterances: (totals.loss_rows != totals.rows).then_some(totals.loss_rows),
            left_out: left_out.first(LISTED),
            left_out_reasons: left_out.counts(),
        };
        metrics.as_mut().map_or(Ok(()), |metrics| metrics.valid(&line))?;
        progress.valid(&line);
        self.state.validation_due = false;
        // The rates follow the losses of one set of utterances, never a loss of nothing.
        if totals.loss_rows > 0 {
            if self.state.valid_set.is_some_and(|before| before != loss_set.0) {
                self.schedule.forget();
            }
            self.state.valid_set = Some(loss_set.0);
            self.schedule.update(line.valid_loss);
        }
        let score = match measure {
            Measure::Loss => Some(line.valid_loss),
            Measure::WordErrorRate => line.wer,
            Measure::Accuracy => line.accuracy.map(|accuracy| 1.0 - accuracy),
            Measure::EqualErrorRate => line.eer,
        };
        let score = score.unwrap_or(f64::NAN);
        if self.is_best(score, &scored) {
            (self.state.best, self.state.best_of) = (Some(score), Some(scored));
            if self.ranks.leads() {
                self.save_model("best", self.weights()?)?;
            }
        }
        Ok(true)
    }

    /// Whether `score` takes the place of the best so far. Scores of other utterances are not compared.
    fn is_best(&self, score: f64, scored: &Scored) -> bool {
        if scored.utterances == 0 {
            tracing::warn!(
                "nothing of the validation data could be scored at step {}; best stays",
                scored.step
            );
        }
        if scored.utterances == 0 || !score.is_finite() {
            return false;
        }
        match (self.state.best, &self.state.best_of) {
            (None, _) => true,
            (Some(best), Some(of)) if of.set == scored.set => score < best,
            (Some(_), Some(of)) if of.utterances > scored.utterances => {
                tracing::warn!(
                    "the validation of step {} is {}, that of the best was {}: they are not compared, best stays",
                    scored.step,
                    scored.of(),
                    of.of()
                );
                false
            }
            (Some(_), of) => {
                let before = of.as_ref().map_or("of unknown utterances".to_owned(), Scored::of);
                tracing::warn!(
                    "the validation of step {} is {}, that of the best was {before}: they are not compared, best \
                     begins anew",
                    scored.step,
                    scored.of()
                );
                true
            }
        }
    }
}
