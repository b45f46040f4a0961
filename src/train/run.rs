//! The loop of both phases: batches, steps, logs, validation, checkpoints.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pollster::block_on;
use web_time::Instant;

use super::checkpoint::{Checkpoint, State};
use super::metrics::{MetricsWriter, Phase, TrainLine, ValidLine};
use super::schedule::Schedule;
use super::stepper::{StepTotals, Stepper};
use super::task::{BatchShape, Task, Totals};
use crate::audio::BANDS;
use crate::data::{BatchIndex, Corpus, Examples, FeatureCache, Loader, LoaderConfig, Order};
use crate::error::{Error, Result};
use crate::models::{SavedConfig, SavedModel};
use crate::recipe::Recipe;
use crate::text::{Vocabulary, evaluate};
use crate::weights::{Precision, Weights};

static STOP: AtomicBool = AtomicBool::new(false);

/// Asks the run under way to save a checkpoint and stop.
pub fn interrupt() {
    STOP.store(true, Ordering::Relaxed);
}

/// Whether [`interrupt`] was called since the last run began.
pub fn interrupted() -> bool {
    STOP.load(Ordering::Relaxed)
}

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
    /// The best model.
    pub best: PathBuf,
    /// Its word error rate on the validation data.
    pub wer: Option<f64>,
    /// Whether all steps were done.
    pub finished: bool,
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
    /// Features of past batches.
    cache: Arc<FeatureCache>,
}

impl Source {
    /// Takes the memory of the cache.
    pub fn new(corpus: Arc<Corpus>, examples: Examples, config: LoaderConfig) -> Self {
        let cache = Arc::new(config.cache(&examples));
        Self { corpus, examples: Arc::new(examples), config, cache }
    }

    fn shapes(&self) -> Result<Vec<BatchShape>> {
        let shapes = self.config.shapes(&self.examples)?;
        Ok(shapes.into_iter().map(|(utterances, frames)| BatchShape { utterances, frames }).collect())
    }

    fn start(&self, from: BatchIndex) -> Result<Loader> {
        let (corpus, examples, cache) = (self.corpus.clone(), self.examples.clone(), self.cache.clone());
        Loader::start(corpus, examples, cache, self.config.clone(), from)
    }
}

/// Everything that a run is made of.
pub struct Run<'a> {
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
    pub stepper: Stepper,
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
}

impl Run<'_> {
    /// Trains to the end, or until [`interrupt`] is called.
    ///
    /// # Errors
    /// When data, device or disk fail, or the loss is not finite any more; what the last checkpoint holds
    /// is never lost. [`Error::Interrupted`] after a requested stop.
    pub fn go(&mut self, progress: &mut dyn Progress) -> Result<Outcome> {
        STOP.store(false, Ordering::Relaxed);
        let mut metrics = MetricsWriter::open(self.folder, self.state.step)?;
        if self.state.step == 0 {
            self.survey(progress)?;
        }
        let mut loader = self.train.start(self.state.next)?;
        self.prepare()?;
        if self.state.step == 0 {
            // A folder or a disk that takes no checkpoint is known before the first step, and so is the memory.
            self.checkpoint()?;
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
                let line = self.log(clock)?;
                metrics.train(&line)?;
                progress.train(&line);
                clock = Instant::now();
            }
            let validated = self.valid.is_some() && (step.is_multiple_of(validate_every) || last);
            if validated {
                self.validate(&mut metrics, progress)?;
            }
            let stopped = interrupted();
            if step.is_multiple_of(run.checkpoint_every) || last || stopped {
                self.checkpoint()?;
                metrics.plot()?;
            }
            if stopped && !last {
                progress.message(&format!("saved after step {step}; go on with --resume"));
                return Err(Error::Interrupted);
            }
            if validated {
                clock = Instant::now();
            }
        }
        metrics.plot()?;
        if loader.skipped() > 0 {
            progress.message(&format!("{} bad examples were left out", loader.skipped()));
        }
        if self.valid.is_none() || !self.folder.join("best").is_dir() {
            self.save_model("best", self.weights()?)?;
        }
        let (loss_first, loss_last) = self.state.losses.unwrap_or((f64::NAN, f64::NAN));
        Ok(Outcome {
            steps: self.state.step,
            loss_first,
            loss_last,
            best: self.folder.join("best"),
            wer: self.state.best.filter(|_| self.task.phase() == Phase::Finetune),
            finished: self.state.step == self.steps,
        })
    }

    /// Makes all plans, so that what the device cannot hold is known before the first step, and memory does
    /// not grow after it.
    fn prepare(&mut self) -> Result<()> {
        // The largest first: what smaller shapes need is there then.
        for shape in self.train.shapes()?.into_iter().rev() {
            for more in [false, true].into_iter().take(self.accumulation) {
                block_on(self.stepper.prepare(&*self.task, shape, more))?;
            }
        }
        for shape in self.valid.as_ref().map_or_else(|| Ok(Vec::new()), Source::shapes)?.into_iter().rev() {
            block_on(self.stepper.prepare_validation(&*self.task, shape))?;
        }
        Ok(())
    }

    /// One epoch in order of length, for what the task says of its data.
    fn survey(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let mut source = self.train.clone();
        (source.config.order, source.config.augmentation) = (Order::Sorted, None);
        // Nothing is loaded for a task that asks for nothing.
        let mut loader = None;
        let mut next = || match &mut loader {
            None => match source.start(BatchIndex::default()) {
                Ok(started) => loader.insert(started).next(),
                Err(error) => Some(Err(error)),
            },
            Some(loader) => loader.next(),
        };
        let news = self.task.survey(&mut self.stepper.executor, &mut next)?;
        if let Some(news) = news {
            progress.message(&news);
        }
        Ok(())
    }

    fn step(&mut self, loader: &mut Loader) -> Result<()> {
        let step = self.state.step + 1;
        for micro in 0..self.accumulation {
            let batch = loader.next().ok_or_else(|| Error::invalid("the training data has ended"))??;
            let (feeds, decisions) = self.task.feeds(&batch, step, micro as u32, true)?;
            self.stepper.micro_batch(BatchShape::of(&batch), &feeds, micro > 0)?;
            self.state.next = batch.index.following();
            let since = &mut self.state.since_log;
            since.micro_batches += 1;
            since.decisions += decisions as u64;
            since.audio_seconds += batch.audio_seconds;
        }
        self.stepper.update(step, self.schedule.rates(step), self.accumulation)?;
        self.state.step = step;
        self.state.since_log.steps += 1;
        Ok(())
    }

    /// The means since the last log; what the device holds of them starts anew.
    fn log(&mut self, clock: Instant) -> Result<TrainLine> {
        let totals = block_on(self.stepper.totals())?;
        let since = std::mem::take(&mut self.state.since_log);
        let step = self.state.step;
        let steps = since.steps.max(1) as f64;
        let loss = totals.loss / since.micro_batches.max(1) as f64;
        let loss_scale = block_on(self.stepper.loss_scale())?;
        let skipped = totals.non_finite as u64;
        // Mixed precision finds its scale by steps that overflow; there is none below the smallest.
        let searching = loss_scale.is_some_and(|scale| !scale.is_smallest());
        if (skipped > 0 && !searching) || !loss.is_finite() {
            return Err(Error::invalid(format!(
                "loss or gradient is not finite between steps {} and {step}; lower the learning rate, or check \
                 the data, and go on from the last checkpoint with --resume",
                step - since.steps + 1
            )));
        }
        self.stepper.set_totals(StepTotals::default())?;
        if self.task.phase() == Phase::Finetune && totals.count > 0.0 {
            tracing::warn!(
                "{} texts since the last logged step do not fit their audio and taught nothing; add silence \
                 (features.silence) or leave such clips out",
                totals.count
            );
        }
        self.state.losses = Some((self.state.losses.map_or(loss, |(first, _)| first), loss));
        Ok(TrainLine {
            step,
            phase: self.task.phase(),
            loss,
            accuracy: (since.decisions > 0).then(|| totals.count / since.decisions as f64),
            grad_norm: totals.grad_norm / since.steps.saturating_sub(skipped).max(1) as f64,
            lr: self.schedule.rates(step).encoder,
            audio_seconds: since.audio_seconds / steps,
            step_ms: clock.elapsed().as_secs_f64() * 1e3 / steps,
            gpu_bytes: self.stepper.executor.gpu().allocated(),
            loss_scale: loss_scale.map(|scale| f64::from(scale.scale)),
            skipped_steps: loss_scale.map(|_| skipped),
        })
    }

    fn validate(&mut self, metrics: &mut MetricsWriter, progress: &mut dyn Progress) -> Result<()> {
        let Some(source) = &self.valid else { return Ok(()) };
        let mut loader = source.start(BatchIndex::default())?;
        let mut totals = Totals::default();
        let mut number = 0;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            // Masks differ between batches, and are the same at every validation.
            let (feeds, decisions) = self.task.feeds(&batch, number, 0, false)?;
            let results = block_on(self.stepper.validate(BatchShape::of(&batch), &feeds))?;
            self.task.observe(&mut totals, &batch, decisions, &results)?;
            number += 1;
        }
        let scores = (!totals.scores.is_empty()).then(|| evaluate(&totals.scores));
        let line = ValidLine {
            step: self.state.step,
            valid_loss: totals.loss / totals.weight.max(1.0),
            wer: scores.as_ref().and_then(|s| s.wer),
            cer: scores.as_ref().and_then(|s| s.cer),
            accuracy: (self.task.phase() == Phase::Pretrain).then(|| totals.correct / totals.weight.max(1.0)),
        };
        metrics.valid(&line)?;
        progress.valid(&line);
        self.schedule.observe(line.valid_loss);
        let score = line.wer.unwrap_or(line.valid_loss);
        if score.is_finite() && self.state.best.is_none_or(|best| score < best) {
            self.state.best = Some(score);
            self.save_model("best", self.weights()?)?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.state.totals = block_on(self.stepper.totals())?;
        self.state.loss_scale = block_on(self.stepper.loss_scale())?;
        self.state.schedule = self.schedule.state();
        // First, so that `last` is never older than the checkpoint: a run that is killed between comes here again.
        let values = self.save_model("last", self.weights()?)?;
        let moments = block_on(self.stepper.parameters.moments(&self.stepper.executor))?;
        let checkpoint = Checkpoint { state: self.state.clone(), values, moments };
        checkpoint.save(self.folder, self.recipe.run.keep_checkpoints)
    }

    fn weights(&self) -> Result<Weights> {
        block_on(self.stepper.parameters.values(&self.stepper.executor))
    }

    /// Saves a model and gives its weights back.
    fn save_model(&self, name: &str, weights: Weights) -> Result<Weights> {
        let model = SavedModel {
            config: SavedConfig { kind: self.task.kind(), model: self.recipe.model.clone(), bands: BANDS },
            weights,
            preprocessor: self.state.preprocessor.clone(),
            vocabulary: self.vocabulary.clone(),
        };
        model.save(&self.folder.join(name), Precision::F32, &self.card())?;
        Ok(model.weights)
    }

    /// The model card.
    fn card(&self) -> String {
        let phase = match self.task.phase() {
            Phase::Pretrain => "BEST-RQ pre-training",
            Phase::Finetune => "CTC fine-tuning",
        };
        let best = self.state.best.map_or("not validated".to_owned(), |best| match self.task.phase() {
            Phase::Pretrain => format!("validation loss {best:.4}"),
            Phase::Finetune => format!("validation WER {:.2} %", 100.0 * best),
        });
        let capabilities = self.stepper.executor.gpu().capabilities();
        format!(
            "# polymix model\n\n\
             A Conformer of {layers} layers, width {width}, mixer {mixer}, with {parameters} trainable \
             parameters, after {phase}.\n\n\
             | | |\n|---|---|\n\
             | data | {examples} examples, {hours:.2} hours |\n\
             | steps | {step} of {steps} |\n\
             | result | {best} |\n\
             | seed | {seed} |\n\
             | adapter | {backend} {adapter} |\n\
             | command | `{command}` |\n",
            layers = self.recipe.model.layers,
            width = self.recipe.model.d_model,
            mixer = self.recipe.model.mixer.label(),
            parameters = self.stepper.parameters.trainable(),
            examples = self.train.examples.list.len(),
            hours = self.train.examples.hours(),
            step = self.state.step,
            steps = self.steps,
            seed = self.state.seed,
            backend = capabilities.backend,
            adapter = capabilities.adapter,
            command = self.command,
        )
    }
}
