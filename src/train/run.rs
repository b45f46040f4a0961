//! The loop of both phases: batches, steps, logs, validation, checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pollster::block_on;
use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::checkpoint::{Checkpoint, State, finite};
use super::collective::Ranks;
use super::metrics::{MetricsWriter, Phase, TrainLine, ValidLine};
use super::named::Named;
use super::objective::BatchShape;
use super::schedule::Schedule;
use super::stop;
use super::task::{Measure, Row, Task};
use super::trainer::{StepTotals, Trainer};
use super::valid::{Scored, excluded};
use crate::audio::BANDS;
use crate::data::{
    Batch, BatchIndex, BatchSize, Corpus, Examples, Exclusions, FeatureCache, Identity, LeftOut, Loader,
    LoaderConfig, Order, Share, Why,
};
use crate::error::{Error, Remedy, Result};
use crate::files::write_whole;
use crate::models::{SavedConfig, SavedModel};
use crate::recipe::Recipe;
use crate::text::Vocabulary;
use crate::weights::{Precision, Weights};

/// Steps after which ranks whose devices differ in rounding take over what rank 0 holds.
const SPREAD_EVERY: u64 = 100;

/// Who is told how a run goes.
pub trait Progress {
    /// One line of news.
    fn message(&mut self, text: &str);
    /// A stretch of `total` units begins.
    fn begin(&mut self, what: &str, total: u64);
    /// `done` units of it are done.
    fn advance(&mut self, done: u64);
    /// A logged step.
    fn train(&mut self, line: &TrainLine);
    /// A validation.
    fn valid(&mut self, line: &ValidLine);
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Optimizer steps done.
    pub steps: u64,
    /// Loss of the first logged step.
    pub loss_first: f64,
    /// Loss of the last logged step.
    pub loss_last: f64,
    /// The best model, or the last where none was validated.
    pub best: PathBuf,
    /// Its score on the validation data, of which less is better, and what that is.
    pub score: Option<(Measure, f64)>,
    /// What its score is of.
    pub best_of: Option<Scored>,
    /// What the training data lack.
    pub left_out: Exclusions,
    /// Training recordings that are not as long as their manifest says.
    pub differing: usize,
    /// Whether all steps were done.
    pub finished: bool,
}

impl Outcome {
    /// A finished run on a rank other than 0, which reports nothing.
    pub(super) fn elsewhere() -> Self {
        Self {
            steps: 0,
            loss_first: f64::NAN,
            loss_last: f64::NAN,
            best: PathBuf::new(),
            score: None,
            best_of: None,
            left_out: Exclusions::default(),
            differing: 0,
            finished: true,
        }
    }
}

/// Where the time since the last logged step went, besides the computation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// Waiting for batches.
    pub data: Duration,
    /// Exchanging gradients, the wait for slower ranks included.
    pub exchange: Duration,
}

/// What a rank tells of a micro-batch, so that all count as a single process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Told {
    next: BatchIndex,
    counts: bool,
    predictions: u64,
    audio_seconds: f64,
    left_out: Vec<(Why, LeftOut)>,
    differing: Vec<LeftOut>,
}

/// Data that a loop reads batches from.
#[derive(Clone)]
pub struct Source {
    /// The recordings.
    pub corpus: Arc<Corpus>,
    /// The rows made of them.
    pub examples: Arc<Examples>,
    /// How they are batched.
    pub config: LoaderConfig,
    /// What they are told from others by.
    pub identity: Identity,
    /// Features of past batches.
    cache: Arc<FeatureCache>,
}

impl Source {
    /// Takes the memory of the cache.
    pub fn new(corpus: Arc<Corpus>, identity: Identity, examples: Examples, config: LoaderConfig) -> Self {
        let cache = Arc::new(config.cache(&examples));
        Self { corpus, examples: Arc::new(examples), config, identity, cache }
    }

    /// Every shape that a batch can have, shortest first.
    pub(super) fn shapes(&self) -> Result<Vec<BatchShape>> {
        let shapes = self.config.shapes(&self.examples)?;
        Ok(shapes.into_iter().map(|(utterances, frames)| BatchShape { utterances, frames }).collect())
    }

    /// The size of batches of other data that are like these: as it is, or as many seconds as the smallest of these has.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub(super) fn like(&self) -> Result<BatchSize> {
        let size = &self.config.buckets.batch;
        if !matches!(size, BatchSize::Each(_)) {
            return Ok(size.clone());
        }
        let sampler = self.config.sampler(&self.examples)?;
        let frames = sampler.shapes().iter().map(|&(utterances, frames)| utterances * frames).min();
        Ok(BatchSize::Seconds(frames.unwrap_or(1) as f64 / 100.0))
    }

    /// The batches of this rank's share.
    pub(super) fn start(&self, from: BatchIndex) -> Result<Loader> {
        self.load(from, self.config.clone())
    }

    /// All batches.
    pub(super) fn start_whole(&self, from: BatchIndex) -> Result<Loader> {
        self.load(from, LoaderConfig { share: Share::WHOLE, ..self.config.clone() })
    }

    fn load(&self, from: BatchIndex, config: LoaderConfig) -> Result<Loader> {
        Loader::start(self.corpus.clone(), self.examples.clone(), self.cache.clone(), config, from)
    }
}

/// Everything that a run is made of.
pub struct Run<'a> {
    /// Who else trains.
    pub ranks: Ranks,
    /// Whether their devices may differ in rounding.
    pub(super) unlike: bool,
    pub(super) spent: Spent,
    /// The run's folder.
    pub folder: &'a Path,
    /// The recipe, resolved.
    pub recipe: &'a Recipe,
    /// The phase.
    pub task: Box<dyn Task>,
    /// Training data.
    pub train: Source,
    /// Validation data.
    pub valid: Option<Source>,
    /// The device's side.
    pub trainer: Trainer,
    /// Learning rates.
    pub schedule: Schedule,
    /// Micro-batches of a step.
    pub accumulation: usize,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps at which this process stops, at most `steps`.
    pub stop_at: u64,
    /// Where it stands.
    pub state: State,
    /// Tokens of a CTC model.
    pub vocabulary: Option<Vocabulary>,
    /// The command, for the model card.
    pub command: String,
    /// Recordings left out of training.
    pub(super) train_named: Named,
    /// Recordings left out of validation.
    pub(super) valid_named: Named,
    /// How much of what the loader left out was named.
    pub(super) train_left_out: usize,
}

impl Run<'_> {
    /// Trains to the end, or until [`interrupt`](super::interrupt) is called. Nothing in the folder changes before
    /// everything is ready for the first step.
    ///
    /// # Errors
    /// When data, device or disk fail, or the loss is not finite any more; what the last checkpoint holds
    /// is never lost. [`Error::Interrupted`] after a requested stop.
    pub fn go(&mut self, progress: &mut dyn Progress) -> Result<Outcome> {
        let first = self.state.step == 0;
        if first {
            self.data_statistics(progress)?;
        }
        let mut loader = self.train.start(self.state.next)?;
        self.prepare()?;
        self.check_validation()?;
        stop::check()?;
        let mut metrics = match self.ranks.leads() {
            true => {
                write_whole(&self.folder.join("recipe.toml"), self.recipe.to_toml().as_bytes())?;
                Some(MetricsWriter::open(self.folder, self.state.step)?)
            }
            false => None,
        };
        let metrics = &mut metrics;
        if first {
            // A folder or a disk that takes no checkpoint is known before the first step, and so is the memory.
            self.checkpoint(false)?;
        } else if self.ranks.leads() {
            // It may have been killed before it had removed the old ones.
            Checkpoint::prune(self.folder, self.state.step, self.recipe.run.keep_checkpoints)?;
        }
        if self.state.validation_due && self.valid.is_some() {
            self.validated(metrics, progress)?;
            metrics.as_ref().map_or(Ok(()), MetricsWriter::plot)?;
            self.checkpoint(false)?;
        }
        let run = &self.recipe.run;
        let epoch = (loader.batches_per_epoch() / self.accumulation).max(1) as u64;
        let validate_every = if run.validate_every == 0 { epoch } else { run.validate_every };
        let mut clock = Instant::now();
        progress.begin("training", self.stop_at);
        progress.advance(self.state.step);
        while self.state.step < self.stop_at {
            self.step(&mut loader)?;
            let step = self.state.step;
            progress.advance(step);
            let last = step == self.stop_at;
            if step.is_multiple_of(run.log_every) || last {
                if let Some(line) = self.log(clock)? {
                    metrics.as_mut().map_or(Ok(()), |metrics| metrics.train(&line))?;
                    progress.train(&line);
                }
                (clock, self.spent) = (Instant::now(), Spent::default());
            }
            let validates = self.valid.is_some() && (step.is_multiple_of(validate_every) || last);
            if validates {
                let before = (self.schedule.state(), self.state.valid_set);
                self.validated(metrics, progress)?;
                // A run without --limit-steps does not validate here, and one that goes on gives the same bits.
                if !step.is_multiple_of(validate_every) && step != self.steps {
                    self.schedule.restore(before.0);
                    self.state.valid_set = before.1;
                }
            }
            let stopped = self.ranks.any(stop::interrupted())?;
            if step.is_multiple_of(run.checkpoint_every) || last || stopped {
                metrics.as_ref().map_or(Ok(()), MetricsWriter::plot)?;
                // Last, so that a run that has its last checkpoint lacks nothing.
                self.checkpoint(last)?;
            }
            if stopped && !last {
                progress.message(&format!("saved after step {step}"));
                return Err(Error::Interrupted);
            }
            if validates {
                (clock, self.spent) = (Instant::now(), Spent::default());
            }
        }
        Ok(self.outcome())
    }

    /// How the run stands.
    pub(super) fn outcome(&self) -> Outcome {
        let (loss_first, loss_last) = self.state.losses.unwrap_or((f64::NAN, f64::NAN));
        let best = ["best", "last"].map(|name| self.folder.join(name));
        Outcome {
            steps: self.state.step,
            loss_first,
            loss_last,
            best: best.iter().find(|folder| folder.is_dir()).unwrap_or(&best[1]).clone(),
            score: self.state.best.map(|best| (self.task.measure(), best)),
            best_of: self.state.best_of.clone(),
            left_out: self.train_named.all().clone(),
            differing: self.train_named.differing(),
            finished: self.state.step >= self.steps,
        }
    }

    /// Validates; a stop that is asked for meanwhile leaves a checkpoint that does so first.
    fn validated(&mut self, metrics: &mut Option<MetricsWriter>, progress: &mut dyn Progress) -> Result<()> {
        if self.validate(metrics, progress)? {
            return Ok(());
        }
        self.state.validation_due = true;
        self.checkpoint(false)?;
        metrics.as_ref().map_or(Ok(()), MetricsWriter::plot)?;
        progress.message(&format!("saved after step {}", self.state.step));
        Err(Error::Interrupted)
    }

    /// Makes all plans, so that what the device cannot hold is known before the first step, and memory does
    /// not grow after it.
    fn prepare(&mut self) -> Result<()> {
        // The largest first: what smaller shapes need is there then.
        for shape in self.train.shapes()?.into_iter().rev() {
            for accumulate in [false, true].into_iter().take(self.ranks.share(self.accumulation).len()) {
                stop::check()?;
                block_on(self.trainer.prepare(&*self.task, shape, accumulate))?;
            }
        }
        for shape in self.valid.as_ref().map_or_else(|| Ok(Vec::new()), Source::shapes)?.into_iter().rev() {
            stop::check()?;
            block_on(self.trainer.prepare_validation(&*self.task, shape))?;
        }
        Ok(())
    }

    /// One epoch in order of length, for what the task says of its data.
    fn data_statistics(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let mut source = self.train.clone();
        (source.config.order, source.config.augmentation) = (Order::Sorted, None);
        let (task, executor) = (&self.task, &mut self.trainer.executor);
        let news = self.ranks.lead(|beat| {
            // Nothing is loaded for a task that asks for nothing.
            let mut loader = None;
            let mut next = || match (stop::check().and_then(|()| beat()), &mut loader) {
                (Err(stop), _) => Some(Err(stop)),
                (_, None) => match source.start_whole(BatchIndex::default()) {
                    Ok(started) => loader.insert(started).next(),
                    Err(error) => Some(Err(error)),
                },
                (_, Some(loader)) => loader.next(),
            };
            task.data_statistics(executor, &mut next)
        })?;
        if let Some(news) = news {
            progress.message(&news);
        }
        Ok(())
    }

    fn step(&mut self, loader: &mut Loader) -> Result<()> {
        let step = self.state.step + 1;
        let share = self.ranks.share(self.accumulation);
        let mut batches = match self.ranks.size() {
            1 => Vec::new(),
            _ => self.own_batches(loader)?,
        }
        .into_iter();
        let mut told = Vec::with_capacity(share.len());
        for micro in share.clone() {
            let begun = Instant::now();
            let batch = match self.ranks.size() {
                1 => loader.next().transpose()?,
                _ => batches.next(),
            };
            self.spent.data += begun.elapsed();
            let batch = batch.ok_or_else(|| Error::invalid("the training data has ended"))?;
            let (inputs, predictions) = self.task.inputs(&batch, step, micro as u32, true)?;
            self.trainer.micro_batch(BatchShape::of(&batch), &inputs, micro > share.start)?;
            let rows = self.task.rows(&batch);
            // A batch without one loss is in no mean.
            let counts =
                rows.contains(&Row::Whole) && (self.task.phase() == Phase::Finetune || predictions > 0);
            let (left_out, differing) = self.lacks(loader, &batch, rows);
            told.push(Told {
                next: batch.index.following(),
                counts,
                predictions: predictions as u64,
                audio_seconds: batch.audio_seconds,
                left_out,
                differing,
            });
        }
        for one in self.ranks.all(told)?.into_iter().flatten() {
            self.state.next = one.next;
            let since = &mut self.state.since_log;
            since.micro_batches += u64::from(one.counts);
            since.predictions += one.predictions;
            since.audio_seconds += one.audio_seconds;
            one.left_out.iter().for_each(|(why, left_out)| self.train_named.say(*why, left_out));
            self.train_named.say_differing(one.differing);
        }
        if self.ranks.size() > 1 {
            self.trainer.executor.gpu().wait()?;
            let begun = Instant::now();
            self.trainer.exchange(&self.ranks)?;
            self.spent.exchange += begun.elapsed();
        }
        self.trainer.update(step, self.schedule.rates(step), self.accumulation)?;
        self.state.step = step;
        self.state.since_log.steps += 1;
        if self.unlike && step.is_multiple_of(SPREAD_EVERY) {
            self.trainer.spread(&self.ranks, true)?;
        }
        Ok(())
    }

    /// This rank's part of the batches of a step: together the ranks take those that follow each other.
    fn own_batches(&mut self, loader: &mut Loader) -> Result<Vec<Batch>> {
        let begun = Instant::now();
        let share = self.ranks.share(self.accumulation);
        let turns: Vec<Option<Batch>> =
            share.clone().map_while(|_| loader.next_turn()).collect::<Result<_>>()?;
        let whole = turns.len() == share.len() && turns.iter().all(Option::is_some);
        self.spent.data += begun.elapsed();
        let whole = self.ranks.all(whole)?;
        if whole.iter().all(|&whole| whole) {
            return Ok(turns.into_iter().flatten().collect());
        }
        // A batch without one good file is none, and the next takes its place: all look for the step's batches.
        let begun = Instant::now();
        let mut all = self.train.start_whole(self.state.next)?;
        let mut batches = Vec::with_capacity(self.accumulation);
        let mut next = self.state.next;
        for _ in 0..self.accumulation {
            let batch = all.next().ok_or_else(|| Error::invalid("the training data has ended"))??;
            next = batch.index.following();
            batches.push(batch);
        }
        all.left_out().iter().for_each(|(why, one)| self.train_named.say(why, one));
        self.train_named.say_differing(all.take_differing());
        *loader = self.train.start(next)?;
        self.train_left_out = 0;
        self.spent.data += begun.elapsed();
        Ok(batches.drain(share).collect())
    }

    /// What `batch` lacks, and those of its clips that add nothing to the loss.
    fn lacks(
        &mut self,
        loader: &mut Loader,
        batch: &Batch,
        rows: Vec<Row>,
    ) -> (Vec<(Why, LeftOut)>, Vec<LeftOut>) {
        // They only grow.
        let told = std::mem::replace(&mut self.train_left_out, loader.left_out().len());
        let mut left_out: Vec<(Why, LeftOut)> =
            loader.left_out().iter().skip(told).map(|(why, one)| (why, one.clone())).collect();
        let rows = rows.into_iter().enumerate();
        left_out.extend(rows.flat_map(|(row, judged)| excluded(&self.train, batch, row, judged)));
        (left_out, loader.take_differing())
    }

    /// # Errors
    /// When the sums since the last log say that the run has diverged.
    fn check_finite(&self, totals: &StepTotals, searching: bool) -> Result<()> {
        // Mixed precision finds its scale by steps that overflow; there is none below the smallest.
        if (totals.non_finite > 0.0 && !searching) || !totals.loss.is_finite() {
            let (step, steps) = (self.state.step, self.state.since_log.steps.max(1));
            return Err(Error::invalid(format!(
                "loss or gradient is not finite between steps {} and {step}; lower the learning rate, or check \
                 the data, and go on from the last checkpoint",
                step + 1 - steps
            ))
            .advise(Remedy::Resume));
        }
        Ok(())
    }

    /// What rank 0 holds.
    fn totals(&self) -> Result<StepTotals> {
        let totals = block_on(self.trainer.totals())?;
        Ok(self.ranks.all(totals.to_bits())?.first().copied().map_or(totals, StepTotals::from_bits))
    }

    /// The means since the last log, if there is anything to take the mean of; what the device holds of them starts
    /// anew.
    fn log(&mut self, clock: Instant) -> Result<Option<TrainLine>> {
        let totals = self.totals()?;
        let loss_scale = block_on(self.trainer.loss_scale())?;
        self.check_finite(&totals, loss_scale.is_some_and(|scale| !scale.is_smallest()))?;
        let since = std::mem::take(&mut self.state.since_log);
        let step = self.state.step;
        let steps = since.steps.max(1) as f64;
        self.trainer.set_totals(StepTotals::default())?;
        if since.micro_batches == 0 {
            tracing::warn!("step {step}: no clip since the last logged step has a loss; nothing is logged");
            return Ok(None);
        }
        let loss = totals.loss / since.micro_batches as f64;
        let skipped = totals.non_finite as u64;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3 / steps;
        let (step_ms, data_ms, exchange_ms) =
            (milliseconds(clock.elapsed()), milliseconds(self.spent.data), milliseconds(self.spent.exchange));
        self.state.losses = Some((self.state.losses.map_or(loss, |(first, _)| first), loss));
        Ok(Some(TrainLine {
            step,
            phase: self.task.phase(),
            loss,
            accuracy: (since.predictions > 0).then(|| totals.count / since.predictions as f64),
            grad_norm: totals.grad_norm / since.steps.saturating_sub(skipped).max(1) as f64,
            lr: self.schedule.rates(step).encoder,
            audio_seconds: since.audio_seconds / steps,
            step_ms,
            compute_ms: Some(step_ms - data_ms - exchange_ms),
            exchange_ms: Some(exchange_ms),
            data_ms: Some(data_ms),
            gpu_bytes: self.trainer.executor.gpu().allocated(),
            loss_scale: loss_scale.map(|scale| f64::from(scale.scale)),
            skipped_steps: loss_scale.map(|_| skipped),
        }))
    }

    /// Saves `last` and `checkpoints/<step>`, unless what they would hold could not be gone on from; at the last step
    /// also `best`, where nothing was validated.
    fn checkpoint(&mut self, last: bool) -> Result<()> {
        if self.unlike {
            self.trainer.spread(&self.ranks, true)?;
        }
        self.state.totals = self.totals()?;
        self.state.loss_scale = block_on(self.trainer.loss_scale())?;
        let searching = self.state.loss_scale.is_some_and(|scale| !scale.is_smallest());
        self.check_finite(&self.state.totals, searching)?;
        self.state.schedule = self.schedule.state();
        let (values, moments) = self.trainer.agreed(&self.ranks, self.state.step)?;
        for weights in [&values, &moments] {
            finite(weights).map_err(|error| {
                Error::invalid(format!(
                    "step {} is not saved: {error}; lower the learning rate, and go on from the last checkpoint",
                    self.state.step
                ))
                .advise(Remedy::Resume)
            })?;
        }
        if !self.ranks.leads() {
            return Ok(());
        }
        // Models first, so that they are never older than the checkpoint: a run that is killed between comes here again.
        let best = last && self.valid.is_none() && self.state.best.is_none();
        let values = if best { self.save_model("best", values)? } else { values };
        let values = self.save_model("last", values)?;
        let checkpoint = Checkpoint { state: self.state.clone(), values, moments };
        checkpoint.save(self.folder, self.recipe.run.keep_checkpoints)
    }

    pub(super) fn weights(&self) -> Result<Weights> {
        block_on(self.trainer.parameters.values(&self.trainer.executor))
    }

    /// Saves a model and gives its weights back.
    pub(super) fn save_model(&self, name: &str, weights: Weights) -> Result<Weights> {
        let model = SavedModel {
            config: SavedConfig {
                kind: self.task.kind(),
                model: self.recipe.model.clone(),
                options: self.recipe.options,
                bands: BANDS,
            },
            weights,
            preprocessor: self.state.preprocessor.clone(),
            vocabulary: self.vocabulary.clone(),
        };
        model.save(&self.folder.join(name), Precision::F32, &self.card())?;
        Ok(model.weights)
    }
}
