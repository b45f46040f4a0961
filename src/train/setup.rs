//! From a request to a run: data, model, optimizer, checkpoint.

use std::path::PathBuf;
use std::sync::Arc;

use pollster::block_on;

use super::checkpoint::{Checkpoint, SinceLog, State};
use super::collective::Ranks;
use super::data::Data;
use super::finetune::Finetune;
use super::fit::fit;
use super::kernels::{Kernels, kept};
use super::loss_scale::LossScale;
use super::metrics::Phase;
use super::named::Named;
use super::pretrain::Pretrain;
use super::run::{Outcome, Progress, Run, Source, Spent};
use super::schedule::Schedule;
use super::start::{Start, initial_weights};
use super::stop;
use super::task::{Measure, Task};
use super::trainer::{StepTotals, Trainer};
use super::utterance::Utterances;
use crate::audio::{Channel, Padding as AudioPadding};
use crate::data::{BatchIndex, Corpus, Share, Why};
use crate::decode::lm::LanguageModel;
use crate::decode::{Alphabet, Decoder, Kind, Resources};
use crate::error::Result;
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::models::{PreprocessorConfig, UtteranceHead};
use crate::recipe::{Duration, FinetuneConfig, ModelConfig, OptimizerConfig, PaddedFrames, Recipe, TaskKind};
use crate::text::{Pieces, Vocabulary};

/// The request of a user.
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
    /// Whether a resumed run may go on with other training data than it was begun with.
    pub other_data: bool,
    /// The channel of files with several, over what the data say.
    pub channel: Option<Channel>,
    /// Steps after which to stop.
    pub limit_steps: Option<u64>,
    /// Whether a bad file is an error.
    pub strict: bool,
    /// Bytes that a device may hold where batches are as large as fit; else what it tells is free.
    pub memory_limit: Option<u64>,
}

fn audio_padding(model: &ModelConfig, reference: AudioPadding) -> AudioPadding {
    match (model.padding, model.causal_chunk) {
        (PaddedFrames::Reference, _) => reference,
        (PaddedFrames::Masked, None) => AudioPadding::Masked,
        (PaddedFrames::Masked, Some(_)) => AudioPadding::Causal,
    }
}

/// Pre-trains with BEST-RQ.
///
/// # Errors
/// When the data, the recipe, the device or the disk do not do; [`Error::Interrupted`](crate::error::Error::Interrupted) after a requested stop. What is
/// refused changes nothing in the run's folder.
pub fn pretrain(gpu: Arc<Gpu>, request: &Request, progress: &mut dyn Progress) -> Result<Outcome> {
    pretrain_among(&Ranks::one(), gpu, request, progress)
}

/// As [`pretrain`], as one of several ranks, all of which call it with the same request; rank 0 writes.
///
/// # Errors
/// As [`pretrain`]; when micro-batches and ranks do not divide, ranks find other data, or one fails or is silent.
pub fn pretrain_among(
    ranks: &Ranks,
    gpu: Arc<Gpu>,
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let begin = || {
        let accumulation = request.recipe.pretrain.optimizer.accumulation;
        ranks.check_share("pretrain.optimizer.accumulation", accumulation)?;
        let start = start(ranks, request, Phase::Pretrain)?;
        let mut recipe = request.recipe.clone();
        if let Some(utterances) = &start.fitted {
            recipe.pretrain.data.fitted(utterances);
        }
        let config = recipe.pretrain.clone();
        let task = Pretrain {
            model: recipe.model.clone(),
            options: recipe.options,
            config: config.clone(),
            seed: recipe.run.seed,
        };
        let mut plan = Plan {
            ranks,
            request,
            recipe,
            phase: Phase::Pretrain,
            measure: Measure::Loss,
            optimizer: &config.optimizer,
            kernels: Kernels::new(),
            train_named: Named::new("training"),
            valid_named: Named::new("validation"),
        };
        if let Some(outcome) = plan.done(&start, config.steps, progress)? {
            return Ok(outcome);
        }
        let padding = audio_padding(&request.recipe.model, AudioPadding::ReferencePretrain);
        let data = Data {
            ranks,
            request,
            config: &config.data,
            silence: 0.0,
            padding,
            augmentation: None,
            target: None,
        };
        let corpus = data.load(&request.data)?;
        // Before the statistics, which may take long.
        let valid = data.valid(&mut plan.valid_named, progress)?;
        let (mut train, preprocessor) = data.train(corpus, &start, &mut plan.train_named, progress)?;
        let valid = valid.map(|listed| data.valid_source(listed, &preprocessor, &train));
        let mut valid = valid.transpose()?;
        let gpu = plan.keep_kernels(gpu, &start)?;
        if config.data.fits() {
            let utterances = plan.fit(&gpu, &task, &mut train, &mut valid, progress)?;
            plan.recipe.pretrain.data.fitted(&utterances);
        }
        plan.run(gpu, start, Box::new(task), config.steps, train, valid, preprocessor, None, progress)
    };
    stop::answered(begin())
}

/// Fine-tunes on transcripts or classes, from `request.init` or from scratch.
///
/// # Errors
/// As [`pretrain`].
pub fn finetune(gpu: Arc<Gpu>, request: &Request, progress: &mut dyn Progress) -> Result<Outcome> {
    finetune_among(&Ranks::one(), gpu, request, progress)
}

/// As [`finetune`], as one of several ranks.
///
/// # Errors
/// As [`pretrain_among`].
pub fn finetune_among(
    ranks: &Ranks,
    gpu: Arc<Gpu>,
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let begin = || {
        let accumulation = request.recipe.finetune.optimizer.accumulation;
        ranks.check_share("finetune.optimizer.accumulation", accumulation)?;
        let start = start(ranks, request, Phase::Finetune)?;
        let mut recipe = request.recipe.clone();
        if let Some(utterances) = &start.fitted {
            recipe.finetune.data.fitted(utterances);
        }
        let config = recipe.finetune.clone();
        let mut plan = Plan {
            ranks,
            request,
            recipe,
            phase: Phase::Finetune,
            measure: match config.task {
                TaskKind::Ctc => Measure::WordErrorRate,
                TaskKind::Classify => Measure::Accuracy,
                TaskKind::Verify => Measure::EqualErrorRate,
            },
            optimizer: &config.optimizer,
            kernels: Kernels::new(),
            train_named: Named::new("training"),
            valid_named: Named::new("validation"),
        };
        if let Duration::Steps(steps) = config.duration()
            && let Some(outcome) = plan.done(&start, steps, progress)?
        {
            return Ok(outcome);
        }
        let recipe = &request.recipe;
        let padding = audio_padding(&recipe.model, AudioPadding::ReferenceFinetune);
        let augmentation = Some(&config.augmentation).filter(|a| a.enabled);
        let data = Data {
            ranks,
            request,
            config: &config.data,
            silence: recipe.features.silence,
            padding,
            augmentation,
            target: (config.task != TaskKind::Ctc).then(|| config.target()),
        };
        let corpus = data.load(&request.data)?;
        corpus.texts()?;
        let outputs = match config.task {
            TaskKind::Ctc => Outputs::Tokens(vocabulary(ranks, &start, &corpus, recipe)?),
            TaskKind::Classify | TaskKind::Verify => Outputs::Labels(ranks.lead(|_| start.labels(&corpus))?),
        };
        // Before the statistics, which may take long.
        let valid = data.valid(&mut plan.valid_named, progress)?;
        if let Some(valid) = &valid {
            valid.corpus.texts()?;
        }
        let (mut train, preprocessor) =
            data.train(corpus.clone(), &start, &mut plan.train_named, progress)?;
        let valid = valid.map(|listed| data.valid_source(listed, &preprocessor, &train));
        let mut valid = valid.transpose()?;
        let (model, options, seed) = (recipe.model.clone(), recipe.options, recipe.run.seed);
        let task: Box<dyn Task> = match outputs.clone() {
            Outputs::Tokens(vocabulary) => {
                let mut max_target_length = longest(&vocabulary, &corpus)?;
                if let Some(valid) = &valid {
                    max_target_length = max_target_length.max(longest(&vocabulary, &valid.corpus)?);
                }
                let max_target_length = max_target_length.next_multiple_of(8).max(8);
                let (decoder, config) = (decoder(&config, &vocabulary)?, config.clone());
                Box::new(Finetune { model, options, config, vocabulary, decoder, max_target_length, seed })
            }
            Outputs::Labels(labels) => {
                let (head, config) = (UtteranceHead::new(&config, labels), config.clone());
                Box::new(Utterances { model, options, config, head, seed })
            }
        };
        let gpu = plan.keep_kernels(gpu, &start)?;
        if config.data.fits() {
            let utterances = plan.fit(&gpu, &*task, &mut train, &mut valid, progress)?;
            plan.recipe.finetune.data.fitted(&utterances);
        }
        let steps = match config.duration() {
            Duration::Steps(steps) => steps,
            Duration::Epochs(epochs) => {
                let batches = train.config.sampler(&train.examples)?.epoch(0).len() as u64;
                epochs * batches.div_ceil(config.optimizer.accumulation.max(1) as u64)
            }
        };
        if let Some(outcome) = plan.done(&start, steps, progress)? {
            return Ok(outcome);
        }
        plan.run(gpu, start, task, steps, train, valid, preprocessor, Some(outputs), progress)
    };
    stop::answered(begin())
}

/// What the outputs of a fine-tuned model mean.
#[derive(Clone)]
enum Outputs {
    Tokens(Vocabulary),
    Labels(Vec<String>),
}

/// The decoder of validation.
fn decoder(config: &FinetuneConfig, vocabulary: &Vocabulary) -> Result<Arc<Decoder>> {
    let settings = config.decoder.clone().unwrap_or_default();
    let lm = match (settings.decoder, &settings.lm) {
        (Kind::Beam, Some(lm)) => Some(Arc::new(LanguageModel::open(lm)?)),
        _ => None,
    };
    let resources = Resources { lm, ..Resources::default() };
    Ok(Arc::new(Decoder::new(Alphabet::of(vocabulary)?, settings, &resources)?))
}

/// The tokens that all ranks train.
fn vocabulary(ranks: &Ranks, start: &Start, corpus: &Corpus, recipe: &Recipe) -> Result<Vocabulary> {
    // Written out, a vocabulary does not have its tokenizer.
    let (vocabulary, tokenizer) = ranks.lead(|_| {
        let vocabulary = start.vocabulary(corpus, recipe)?;
        let tokenizer = vocabulary.pieces().map(|pieces| pieces.to_value().to_string());
        Ok((vocabulary, tokenizer))
    })?;
    match tokenizer {
        Some(tokenizer) => vocabulary.with_pieces(Pieces::parse(tokenizer.as_bytes())?),
        None => Ok(vocabulary),
    }
}

/// Tokens of the longest text that the vocabulary can write; others are in no loss.
fn longest(vocabulary: &Vocabulary, corpus: &Corpus) -> Result<usize> {
    let lengths = corpus.texts()?.into_iter().filter_map(|text| Some(vocabulary.encode(text).ok()?.len()));
    Ok(lengths.max().unwrap_or(0))
}

/// What the rank that leads starts from; the others are told.
fn start(ranks: &Ranks, request: &Request, phase: Phase) -> Result<Start> {
    // The others wait until it has its lock and its checkpoint.
    let mut start = Start::following();
    start.fitted = ranks.lead(|_| {
        let led = Start::new(request, phase)?;
        let fitted = led.fitted.clone();
        start = led;
        Ok(fitted)
    })?;
    Ok(start)
}

/// A phase of training, as it was asked for.
struct Plan<'a> {
    ranks: &'a Ranks,
    request: &'a Request,
    /// The request's, with what fits where that was asked for.
    recipe: Recipe,
    phase: Phase,
    measure: Measure,
    optimizer: &'a OptimizerConfig,
    kernels: Kernels,
    train_named: Named,
    valid_named: Named,
}

impl Plan<'_> {
    /// The steps at which the process stops.
    fn stop_at(&self, steps: u64) -> u64 {
        self.request.limit_steps.map_or(steps, |limit| limit.min(steps))
    }

    /// How a run stands that has nothing left to do; nothing of it is changed, but that old checkpoints go which a
    /// killed process had no time to remove.
    fn done(&self, start: &Start, steps: u64, progress: &mut dyn Progress) -> Result<Option<Outcome>> {
        let mut done = None;
        let ends = self.ranks.lead(|_| {
            done = self.nothing_left(start, steps, progress)?;
            Ok(done.is_some())
        })?;
        Ok(done.or_else(|| ends.then(Outcome::elsewhere)))
    }

    fn nothing_left(
        &self,
        start: &Start,
        steps: u64,
        progress: &mut dyn Progress,
    ) -> Result<Option<Outcome>> {
        let Some(checkpoint) = &start.checkpoint else { return Ok(None) };
        let state = &checkpoint.state;
        if state.step < self.stop_at(steps) || state.validation_due {
            return Ok(None);
        }
        Checkpoint::prune(&self.request.out, state.step, self.request.recipe.run.keep_checkpoints)?;
        let run = self.request.out.display();
        progress.message(&match state.step < steps {
            true => format!("{run} stands at step {} of {steps}; raise the limit to go on", state.step),
            false => {
                format!("{run} is finished: it has {} of {steps} steps; raise the steps to go on", state.step)
            }
        });
        let (loss_first, loss_last) = state.losses.unwrap_or((f64::NAN, f64::NAN));
        let models = ["best", "last"].map(|name| self.request.out.join(name));
        Ok(Some(Outcome {
            steps: state.step,
            loss_first,
            loss_last,
            best: models.iter().find(|model| model.is_dir()).unwrap_or(&models[1]).clone(),
            score: state.best.map(|best| (self.measure, best)),
            best_of: state.best_of.clone(),
            left_out: Default::default(),
            differing: 0,
            finished: state.step >= steps,
        }))
    }

    /// The device with the kernels that the run keeps.
    fn keep_kernels(&mut self, gpu: Arc<Gpu>, start: &Start) -> Result<Arc<Gpu>> {
        let checkpoint = start.checkpoint.as_ref().map(|checkpoint| &checkpoint.state);
        let (gpu, kernels) = kept(self.ranks, gpu, checkpoint)?;
        self.kernels = kernels;
        Ok(gpu)
    }

    /// What fits in batches, which `train` and `valid` have from then on.
    fn fit(
        &self,
        gpu: &Gpu,
        task: &dyn Task,
        train: &mut Source,
        valid: &mut Option<Source>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<usize>> {
        let limit = self.request.memory_limit;
        let news = &mut |line: &str| progress.message(line);
        fit(self.ranks, gpu, limit, task, self.optimizer, train, valid, news)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a run, each made by a step of its own")]
    fn run(
        self,
        gpu: Arc<Gpu>,
        start: Start,
        task: Box<dyn Task>,
        steps: u64,
        train: Source,
        valid: Option<Source>,
        preprocessor: PreprocessorConfig,
        outputs: Option<Outputs>,
        progress: &mut dyn Progress,
    ) -> Result<Outcome> {
        let recipe = &self.recipe;
        let seed = recipe.run.seed;
        let ranks = self.ranks;
        progress.message(&format!(
            "batches of {} lengths, {:.1} % of them padding",
            train.shapes()?.len(),
            100.0 * train.config.padding(&train.examples)?
        ));
        let same_batches = ranks.lead(|_| {
            start.same_batches(&train.identity, self.request, &mut |news| tracing::warn!("{news}"))
        })?;
        ranks.same(
            (
                recipe.to_json(),
                train.identity,
                train.examples.list.len(),
                valid.as_ref().map(|valid| valid.identity),
            ),
            "has another recipe or other data than the others; give all ranks the same files",
        )?;
        stop::check()?;
        let most = ranks.all(gpu.capabilities().max_binding)?.into_iter().min().unwrap_or(u64::MAX);
        // Devices of one kind compute the same bits.
        let identities = ranks.all((gpu.identity(), gpu.capabilities().set_aside.clone()))?;
        let unlike = identities.iter().any(|other| *other != identities[0]);
        let mut trainer = block_on(Trainer::bounded(Executor::new(gpu), &*task, self.optimizer, most))?;
        let mut schedule = Schedule::new(self.optimizer, steps);
        let mut state = ranks.lead(|_| {
            Ok(match start.checkpoint {
                Some(checkpoint) => {
                    let mut state = checkpoint.state;
                    // What is missing would be drawn anew.
                    trainer.parameters.iter().try_for_each(|p| checkpoint.values.values(p).map(drop))?;
                    trainer.parameters.fill(&trainer.executor, Some(&checkpoint.values), seed)?;
                    trainer.parameters.restore_moments(&trainer.executor, &checkpoint.moments)?;
                    trainer.set_totals(state.totals)?;
                    // A run that goes on in f32 has none.
                    if let (Some(scale), Some(_)) =
                        (state.loss_scale, LossScale::of(recipe.options.plan.compute))
                    {
                        trainer.set_loss_scale(scale)?;
                    }
                    if !same_batches && state.next.batch > 0 {
                        state.next = BatchIndex { epoch: state.next.epoch + 1, batch: 0 };
                    }
                    progress.message(&format!("going on after step {}", state.step));
                    state
                }
                None => {
                    let parameters = trainer.parameters.iter();
                    let weights =
                        start.init.as_ref().map(|model| initial_weights(model, start.keeps_head, parameters));
                    trainer.parameters.fill(&trainer.executor, weights.transpose()?.as_ref(), seed)?;
                    State {
                        step: 0,
                        next: BatchIndex::default(),
                        seed,
                        schedule: schedule.state(),
                        loss_scale: LossScale::of(recipe.options.plan.compute),
                        totals: StepTotals::default(),
                        since_log: SinceLog::default(),
                        best: None,
                        losses: None,
                        preprocessor,
                        phase: None,
                        recipe: None,
                        vocabulary: None,
                        labels: None,
                        tokenizer: None,
                        corpus: None,
                        valid: None,
                        best_of: None,
                        valid_set: None,
                        validation_due: false,
                        kernels: Kernels::new(),
                    }
                }
            })
        })?;
        schedule.restore(state.schedule);
        if ranks.size() > 1 {
            trainer.spread(ranks, false)?;
            trainer.agreed(ranks, state.step)?;
        }
        let validated = valid.as_ref().map(|valid| valid.identity);
        let gone = valid.as_ref().map_or(0, |valid| valid.examples.left_out.count(Why::Unreadable));
        let missing =
            gone > 0 && matches!((validated, state.valid), (Some(now), Some(before)) if now.lists(&before));
        if missing && validated != state.valid {
            tracing::warn!(
                "{gone} of the validation recordings cannot be read that could be before: best stays until all that \
                 it is of are scored again"
            );
        } else if let (Some(now), Some(before), Some(_)) = (validated, state.valid, state.best)
            && now != before
        {
            tracing::warn!(
                "the validation data are not those of before, {} recordings of {:.3} s (were {} of {:.3} s): best begins \
                 anew",
                now.recordings,
                now.seconds,
                before.recordings,
                before.seconds
            );
            (state.best, state.best_of) = (None, None);
        }
        (state.phase, state.recipe) = (Some(self.phase), Some(recipe.to_json()));
        state.kernels.clone_from(&self.kernels);
        let (vocabulary, labels) = match outputs {
            Some(Outputs::Tokens(vocabulary)) => (Some(vocabulary), None),
            Some(Outputs::Labels(labels)) => (None, Some(labels)),
            None => (None, None),
        };
        state.labels = labels;
        state.tokenizer = vocabulary.as_ref().and_then(|vocabulary| Some(vocabulary.pieces()?.to_value()));
        (state.vocabulary, state.corpus) = (vocabulary.clone(), Some(train.identity));
        // What is missing comes back: they are compared with what they were when all was there.
        state.valid = if missing { state.valid } else { validated.or(state.valid) };
        progress.message(&format!("{} trainable parameters", trainer.parameters.trainable()));
        let accumulation = self.optimizer.accumulation.max(1);
        let mut train = train;
        train.config.share = Share { rank: ranks.rank(), of: ranks.size(), run: accumulation / ranks.size() };
        let mut valid = valid;
        if let Some(valid) = &mut valid {
            valid.config.share = Share { rank: ranks.rank(), of: ranks.size(), run: 1 };
        }
        let stop_at = self.stop_at(steps);
        let mut run = Run {
            ranks: ranks.clone(),
            unlike,
            spent: Spent::default(),
            folder: &self.request.out,
            recipe,
            task,
            train,
            valid,
            trainer,
            schedule,
            accumulation,
            steps,
            stop_at,
            state,
            vocabulary,
            command: self.request.command.clone(),
            train_named: self.train_named,
            valid_named: self.valid_named,
            train_left_out: 0,
        };
        run.go(progress)
    }
}
