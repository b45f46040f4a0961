//! From a request to a run: data, statistics, model, optimizer, checkpoint.

use std::path::PathBuf;
use std::sync::Arc;

use pollster::block_on;

use super::checkpoint::{Checkpoint, SinceLog, State};
use super::finetune::Finetune;
use super::loss_scale::LossScale;
use super::pretrain::Pretrain;
use super::run::{Outcome, Progress, Run, Source};
use super::schedule::Schedule;
use super::stepper::{StepTotals, Stepper};
use super::task::Task;
use crate::audio::{Augmentation, Normalization, Padding as AudioPadding, Preprocessor, Stats};
use crate::data::{
    BatchIndex, BatchSize, BucketConfig, Corpus, ExampleConfig, Examples, LeftOut, LoaderConfig, Order,
    statistics,
};
use crate::error::{Error, Result};
use crate::exec::Executor;
use crate::files::write_whole;
use crate::gpu::Gpu;
use crate::models::{PreprocessorConfig, SavedModel};
use crate::recipe::{
    AugmentationConfig, DataConfig, Duration, Normalization as Wanted, OptimizerConfig, Padding, Recipe,
    VocabularySource,
};
use crate::text::Vocabulary;
use crate::weights::Weights;

/// What a user asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The recipe, with the command line's values.
    pub recipe: Recipe,
    /// The command line, for the model card.
    pub command: String,
    /// Training data.
    pub data: Vec<PathBuf>,
    /// Validation data.
    pub valid: Vec<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    /// A model or run whose encoder to start from.
    pub init: Option<PathBuf>,
    /// Whether to go on from the newest checkpoint.
    pub resume: bool,
    /// Steps after which to stop.
    pub limit_steps: Option<u64>,
    /// Whether a bad file is an error.
    pub strict: bool,
}

/// What a run starts from.
struct Start {
    checkpoint: Option<Checkpoint>,
    init: Option<SavedModel>,
}

impl Start {
    fn new(request: &Request) -> Result<Self> {
        let checkpoint = match request.resume {
            true => {
                Checkpoint::clean(&request.out)?;
                Checkpoint::newest(&request.out)?
            }
            false => None,
        };
        if !request.resume && request.out.join("checkpoints").is_dir() {
            let message = "holds a run already; go on with --resume, or give another --out";
            return Err(Error::file(&request.out, message));
        }
        let init = match &request.init {
            Some(path) => Some(SavedModel::load(path)?),
            None => None,
        };
        if let Some(model) = init.as_ref().filter(|model| !same_encoder(&model.config.model, &request.recipe))
        {
            return Err(Error::usage(format!(
                "--init holds an encoder of width {} with {} layers that the recipe does not describe; give the \
                 recipe that it was trained with",
                model.config.model.d_model, model.config.model.layers
            )));
        }
        Ok(Self { checkpoint, init })
    }

    fn preprocessor(&self) -> Option<&PreprocessorConfig> {
        let resumed = self.checkpoint.as_ref().map(|checkpoint| &checkpoint.state.preprocessor);
        resumed.or(self.init.as_ref().map(|model| &model.preprocessor))
    }
}

/// Whether weights of `model` fit the recipe's encoder; dropout may differ.
fn same_encoder(model: &crate::recipe::ModelConfig, recipe: &Recipe) -> bool {
    let wanted = &recipe.model;
    crate::recipe::ModelConfig {
        dropout: wanted.dropout,
        layer_drop: wanted.layer_drop,
        initialization: wanted.initialization,
        checkpoint: wanted.checkpoint,
        ..model.clone()
    } == *wanted
}

fn audio_padding(model: &crate::recipe::ModelConfig, reference: AudioPadding) -> AudioPadding {
    match (model.padding, model.causal_chunk) {
        (Padding::Reference, _) => reference,
        (Padding::Masked, None) => AudioPadding::Masked,
        (Padding::Masked, Some(_)) => AudioPadding::Causal,
    }
}

/// Pre-trains with BEST-RQ.
///
/// # Errors
/// When the data, the recipe, the device or the disk do not do; [`Error::Interrupted`] after a requested stop.
pub fn pretrain(gpu: Arc<Gpu>, request: &Request, progress: &mut dyn Progress) -> Result<Outcome> {
    let start = Start::new(request)?;
    let recipe = &request.recipe;
    let config = &recipe.pretrain;
    let padding = audio_padding(&recipe.model, AudioPadding::ReferencePretrain);
    let data = Data { request, config: &config.data, silence: 0.0, padding, augmentation: None };
    let corpus = Arc::new(Corpus::load(&request.data)?);
    let (train, preprocessor) = data.train(corpus, &start, progress)?;
    let valid = data.valid(&preprocessor)?;
    let task = Pretrain { model: recipe.model.clone(), config: config.clone(), seed: recipe.run.seed };
    let plan =
        Phase { optimizer: &config.optimizer, steps: config.steps, task: Box::new(task), vocabulary: None };
    plan.run(gpu, request, start, train, valid, preprocessor, progress)
}

/// Fine-tunes with CTC, from `request.init` or from scratch.
///
/// # Errors
/// When the data, the recipe, the device or the disk do not do; [`Error::Interrupted`] after a requested stop.
pub fn finetune(gpu: Arc<Gpu>, request: &Request, progress: &mut dyn Progress) -> Result<Outcome> {
    let start = Start::new(request)?;
    let recipe = &request.recipe;
    let config = &recipe.finetune;
    let padding = audio_padding(&recipe.model, AudioPadding::ReferenceFinetune);
    let augmentation = Some(&config.augmentation).filter(|a| a.enabled);
    let data =
        Data { request, config: &config.data, silence: recipe.features.silence, padding, augmentation };
    let corpus = Arc::new(Corpus::load(&request.data)?);
    let texts = corpus.texts()?;
    let known = start.init.as_ref().and_then(|model| model.vocabulary.clone());
    let vocabulary = match (known, config.vocabulary) {
        (Some(known), _) => known,
        (None, VocabularySource::English) => Vocabulary::english(),
        (None, VocabularySource::Transcripts) => Vocabulary::from_transcripts(&texts)?,
    };
    let longest = |corpus: &Corpus| -> Result<usize> {
        let lengths = corpus.texts()?.into_iter().zip(&corpus.utterances).map(|(text, utterance)| {
            let ids = vocabulary
                .encode(text)
                .map_err(|e| Error::file(utterance.audio.to_string(), e.to_string()))?;
            Ok(ids.len())
        });
        lengths.collect::<Result<Vec<_>>>().map(|all| all.into_iter().max().unwrap_or(0))
    };
    let mut capacity = longest(&corpus)?;
    let (train, preprocessor) = data.train(corpus.clone(), &start, progress)?;
    let valid = data.valid(&preprocessor)?;
    if let Some(valid) = &valid {
        capacity = capacity.max(longest(&valid.corpus)?);
    }
    let steps = match config.duration() {
        Duration::Steps(steps) => steps,
        Duration::Epochs(epochs) => {
            let batches = train.config.sampler(&train.examples)?.epoch(0).len() as u64;
            epochs * batches.div_ceil(config.optimizer.accumulation.max(1) as u64)
        }
    };
    let task = Finetune {
        model: recipe.model.clone(),
        config: config.clone(),
        vocabulary: vocabulary.clone(),
        capacity: capacity.next_multiple_of(8).max(8),
        seed: recipe.run.seed,
    };
    let plan =
        Phase { optimizer: &config.optimizer, steps, task: Box::new(task), vocabulary: Some(vocabulary) };
    plan.run(gpu, request, start, train, valid, preprocessor, progress)
}

/// How a phase reads audio.
struct Data<'a> {
    request: &'a Request,
    config: &'a DataConfig,
    silence: f64,
    padding: AudioPadding,
    augmentation: Option<&'a AugmentationConfig>,
}

impl Data<'_> {
    fn examples(&self, corpus: &Corpus) -> Result<Examples> {
        let config = ExampleConfig {
            min_seconds: self.config.min_seconds,
            max_seconds: Some(self.config.max_seconds),
            window_seconds: self.config.window_seconds,
            string_seconds: self.config.string_seconds,
            string_gap_seconds: self.config.string_gap_seconds,
        };
        let examples = Examples::build(corpus, &config, self.request.recipe.run.seed, self.request.strict)?;
        if examples.list.is_empty() {
            return Err(Error::invalid(format!(
                "no example is left of {} recordings ({} too short, {} too long, {} unreadable); change \
                 min_seconds or max_seconds, or the data",
                corpus.utterances.len(),
                examples.too_short,
                examples.too_long,
                examples.unreadable.len()
            )));
        }
        Ok(examples)
    }

    fn loader(&self, preprocessor: &PreprocessorConfig, order: Order) -> LoaderConfig {
        let batch = match (self.config.batch_utterances, self.config.batch_seconds) {
            (Some(utterances), _) => BatchSize::Utterances(utterances),
            (None, seconds) => BatchSize::Seconds(seconds.unwrap_or(60.0)),
        };
        let (buckets, group_by_length) = (self.config.buckets, self.config.group_by_length);
        let buckets = BucketConfig { batch, buckets, group_by_length };
        let seed = self.request.recipe.run.seed;
        let mut config = LoaderConfig::new(preprocessor.preprocessor(), buckets, order, seed);
        config.strict = self.request.strict;
        if let (Order::Shuffled, Some(wanted)) = (order, self.augmentation) {
            config.augmentation = Some(augmentation(wanted));
        }
        config
    }

    fn train(
        &self,
        corpus: Arc<Corpus>,
        start: &Start,
        progress: &mut dyn Progress,
    ) -> Result<(Source, PreprocessorConfig)> {
        let examples = self.examples(&corpus)?;
        progress.message(&format!(
            "{} examples, {:.2} hours, {} too short, {} too long, {} unreadable",
            examples.list.len(),
            examples.hours(),
            examples.too_short,
            examples.too_long,
            examples.unreadable.len()
        ));
        for LeftOut { reason, .. } in &examples.unreadable {
            progress.message(&format!("left out: {reason}"));
        }
        let known = start.preprocessor().map(|config| config.normalization.clone());
        let normalization = match (known, self.request.recipe.features.normalization) {
            (Some(known), _) => known,
            (None, Wanted::Sentence) => Normalization::Sentence,
            (None, Wanted::Global) => {
                let identity = Normalization::Global(Stats::identity());
                let plain = Preprocessor::new(self.silence, identity, self.padding);
                progress.begin("statistics", examples.list.len() as u64);
                let stats = statistics(&corpus, &examples, &plain, self.request.strict, &mut |done, _| {
                    progress.advance(done as u64);
                    Ok(())
                })?;
                Normalization::Global(stats)
            }
        };
        let preprocessor = PreprocessorConfig {
            sampling_rate: crate::audio::SAMPLE_RATE,
            silence: self.silence,
            normalization,
            padding: self.padding,
        };
        let config = self.loader(&preprocessor, Order::Shuffled);
        Ok((Source::new(corpus, examples, config), preprocessor))
    }

    fn valid(&self, preprocessor: &PreprocessorConfig) -> Result<Option<Source>> {
        if self.request.valid.is_empty() {
            return Ok(None);
        }
        let corpus = Arc::new(Corpus::load(&self.request.valid)?);
        let examples = self.examples(&corpus)?;
        Ok(Some(Source::new(corpus, examples, self.loader(preprocessor, Order::Sorted))))
    }
}

fn augmentation(config: &AugmentationConfig) -> Augmentation {
    Augmentation {
        speeds: config.speeds.clone(),
        bands: config.notch_bands,
        chunks: config.zero_chunks,
        chunk_samples: config.chunk_samples,
        ..Augmentation::default()
    }
}

/// One phase, ready but for the device.
struct Phase<'a> {
    optimizer: &'a OptimizerConfig,
    steps: u64,
    task: Box<dyn Task>,
    vocabulary: Option<Vocabulary>,
}

impl Phase<'_> {
    #[allow(clippy::too_many_arguments, reason = "the parts of a run, each made by a step of its own")]
    fn run(
        self,
        gpu: Arc<Gpu>,
        request: &Request,
        start: Start,
        train: Source,
        valid: Option<Source>,
        preprocessor: PreprocessorConfig,
        progress: &mut dyn Progress,
    ) -> Result<Outcome> {
        let recipe = &request.recipe;
        let seed = recipe.run.seed;
        write_whole(&request.out.join("recipe.toml"), recipe.to_toml().as_bytes())?;
        let stepper = block_on(Stepper::new(Executor::new(gpu), &*self.task, self.optimizer))?;
        let mut schedule = Schedule::new(self.optimizer, self.steps);
        let state = match start.checkpoint {
            Some(checkpoint) => {
                let state = checkpoint.state;
                if state.seed != seed {
                    let message =
                        format!("the run was begun with --seed {}; resume it with that", state.seed);
                    return Err(Error::usage(message));
                }
                stepper.parameters.fill(&stepper.executor, Some(&checkpoint.values), seed)?;
                stepper.parameters.restore_moments(&stepper.executor, &checkpoint.moments)?;
                stepper.set_totals(state.totals)?;
                if let Some(scale) = state.loss_scale {
                    stepper.set_loss_scale(scale)?;
                }
                schedule.restore(state.schedule);
                progress.message(&format!("going on after step {}", state.step));
                state
            }
            None => {
                let encoder = match &start.init {
                    Some(model) => Some(encoder_weights(model, &*self.task)?),
                    None => None,
                };
                stepper.parameters.fill(&stepper.executor, encoder.as_ref(), seed)?;
                State {
                    step: 0,
                    next: BatchIndex::default(),
                    seed,
                    schedule: schedule.state(),
                    loss_scale: LossScale::of(recipe.model.compute),
                    totals: StepTotals::default(),
                    since_log: SinceLog::default(),
                    best: None,
                    losses: None,
                    preprocessor,
                }
            }
        };
        progress.message(&format!("{} trainable parameters", stepper.parameters.trainable()));
        let mut run = Run {
            folder: &request.out,
            recipe,
            task: self.task,
            train,
            valid,
            stepper,
            schedule,
            accumulation: self.optimizer.accumulation.max(1),
            steps: self.steps,
            stop_at: request.limit_steps.map_or(self.steps, |limit| limit.min(self.steps)),
            state,
            vocabulary: self.vocabulary,
            command: request.command.clone(),
        };
        run.go(progress)
    }
}

/// What of a saved model starts the new one: all of it for the same kind, else front-end and encoder.
fn encoder_weights(model: &SavedModel, task: &dyn Task) -> Result<Weights> {
    let whole = model.config.kind == task.kind();
    let mut weights = Weights::default();
    for (name, shape, values) in model.weights.iter() {
        if whole || name.starts_with("frontend.") || name.starts_with("encoder.") {
            weights.insert(name, shape.clone(), values.to_vec())?;
        }
    }
    Ok(weights)
}
