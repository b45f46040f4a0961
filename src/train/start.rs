//! The start of a run: from scratch, from a checkpoint, or from a saved model; and the keys that these fix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::checkpoint::{Checkpoint, State};
use super::lock::RunLock;
use super::metrics::Phase;
use super::setup::Request;
use crate::audio::Normalization;
use crate::data::{Corpus, Identity, Utterance};
use crate::error::{Error, Remedy, Result};
use crate::files::{self, read_text};
use crate::graph::Parameter;
use crate::models::{CtcHead, ModelKind, PreprocessorConfig, SavedConfig, SavedModel, UtteranceHead, within};
use crate::recipe::{
    BatchUtterances, Difference, FinetuneConfig, Head, ModelConfig, Normalization as Wanted, Recipe,
    TaskKind, VocabularySource, listed,
};
use crate::text::{Pieces, Vocabulary, normalize};
use crate::weights::Weights;

/// The start of a run, checked against the request.
pub(super) struct Start {
    /// Held as long as the run goes on, by the rank that writes.
    pub _lock: Option<RunLock>,
    pub checkpoint: Option<Checkpoint>,
    pub init: Option<SavedModel>,
    /// Whether the head of `init` is of use.
    pub keeps_head: bool,
    /// What of clips fits in a batch of each length, where that was asked for and the run knows it already.
    pub fitted: Option<Vec<usize>>,
    /// Keys that may change when a run is resumed, and have.
    changed: Vec<Difference>,
}

impl Start {
    /// Of a rank that is told by the one that leads what a checkpoint or a model fixes.
    pub fn following() -> Self {
        Self {
            _lock: None,
            checkpoint: None,
            init: None,
            keeps_head: false,
            fitted: None,
            changed: Vec::new(),
        }
    }

    /// # Errors
    /// When another process has the run, it holds what was not asked for, or the recipe contradicts what a checkpoint
    /// or model fixes, key by key.
    pub fn new(request: &Request, phase: Phase) -> Result<Self> {
        let lock = RunLock::take(&request.out)?;
        if !request.resume && request.out.join("checkpoints").is_dir() {
            let error = Error::file(&request.out, "holds a run already");
            return Err(error.advise(Remedy::ResumeOrOtherFolder));
        }
        let mut start = Self { _lock: Some(lock), ..Self::following() };
        if request.resume {
            Checkpoint::clean(&request.out)?;
            start.checkpoint = Checkpoint::newest(&request.out)?;
            match &mut start.checkpoint {
                None => tracing::warn!(
                    "{}: there is no checkpoint to resume from; the run begins anew",
                    request.out.display()
                ),
                Some(checkpoint) => {
                    complete(&mut checkpoint.state, &request.out)?;
                    let before = before(&checkpoint.state, request)?;
                    let mut recipe = request.recipe.clone();
                    if let Some(before) = before.as_ref().filter(|_| !request.other_data) {
                        start.fitted = fitted(&mut recipe, before, phase);
                    }
                    start.changed = resumable(&checkpoint.state, before, &recipe, request, phase)?;
                }
            }
        }
        if let (None, Some(path)) = (&start.checkpoint, &request.init) {
            let model = SavedModel::load(path)?;
            start.keeps_head = initial(path, &model, &request.recipe, phase)?;
            start.init = Some(model);
        }
        Ok(start)
    }

    /// How audio becomes features, where that is fixed already.
    pub fn preprocessor(&self) -> Option<&PreprocessorConfig> {
        let resumed = self.checkpoint.as_ref().map(|checkpoint| &checkpoint.state.preprocessor);
        resumed.or(self.init.as_ref().map(|model| &model.preprocessor))
    }

    /// The tokens of the run.
    ///
    /// # Errors
    /// When a training text has characters that fixed tokens lack, which the message names; a tokenizer cannot be read,
    /// or is not that of the checkpoint or model that the run goes on from.
    pub fn vocabulary(&self, corpus: &Corpus, recipe: &Recipe) -> Result<Vocabulary> {
        let fixed = match (&self.checkpoint, &self.init) {
            (Some(checkpoint), _) => checkpoint.state.vocabulary.as_ref(),
            (None, Some(model)) if self.keeps_head => model.vocabulary.as_ref(),
            _ => None,
        };
        let source = &recipe.finetune.vocabulary;
        let (vocabulary, remedy) = match (fixed, source) {
            (Some(fixed), source) => {
                let resumed = self.checkpoint.is_some();
                same_tokens(fixed, source, resumed)?;
                let remedy = match resumed {
                    true => "a resumed run keeps its alphabet; correct the texts, or begin a new run",
                    false => {
                        "the model that training starts from keeps its alphabet; correct the texts, or set finetune.new_head = \
                         true for a new head"
                    }
                };
                (fixed.clone(), remedy)
            }
            (None, VocabularySource::English) => (
                Vocabulary::english(),
                "correct the texts, or train with finetune.vocabulary = \"transcripts\"",
            ),
            (None, VocabularySource::Transcripts) => (Vocabulary::from_transcripts(corpus.texts()?)?, ""),
            (None, VocabularySource::Pieces(pieces)) => {
                let vocabulary = Vocabulary::from_pieces(Pieces::train(corpus.texts()?, *pieces)?)?;
                let made = vocabulary.len() - 1;
                if made < *pieces {
                    tracing::warn!(
                        "the training texts give {made} sub-words, not finetune.vocabulary.pieces = {pieces}: every word \
                         is one by then"
                    );
                }
                (vocabulary, "")
            }
            (None, VocabularySource::Tokenizer(file)) => {
                (tokenizer(file)?, "correct the texts, or give a tokenizer that was trained on such texts")
            }
        };
        let mut lacking: BTreeMap<char, usize> = BTreeMap::new();
        let mut first = None;
        for utterance in &corpus.utterances {
            let text = normalize(utterance.text.as_deref().unwrap_or_default());
            let foreign = vocabulary.lacking(&text)?;
            if !foreign.is_empty() {
                first.get_or_insert((&utterance.origin, text));
            }
            foreign.into_iter().for_each(|character| *lacking.entry(character).or_default() += 1);
        }
        let Some((origin, text)) = first else { return Ok(vocabulary) };
        let counts: Vec<String> =
            lacking.iter().map(|(character, texts)| format!("{character:?} in {texts}")).collect();
        Err(Error::file(
            origin,
            format!(
                "the text {text:?} has characters outside the vocabulary of {}; in all texts: {}; {remedy}",
                vocabulary.len() - 1,
                counts.join(", ")
            ),
        ))
    }

    /// The classes of the run, which training data have in the place of texts: those of the checkpoint or the model that it
    /// goes on from, else those of the data, sorted.
    ///
    /// # Errors
    /// When the data have fewer than two, or one that fixed ones lack.
    pub fn labels(&self, corpus: &Corpus) -> Result<Vec<String>> {
        let of_model = self.init.as_ref().filter(|_| self.keeps_head);
        let fixed = match (&self.checkpoint, of_model) {
            (Some(checkpoint), _) => checkpoint.state.labels.as_ref(),
            (None, model) => model.and_then(|model| model.config.kind.utterance()).map(|head| &head.labels),
        };
        let found: BTreeSet<&str> = corpus.texts()?.into_iter().collect();
        let Some(fixed) = fixed else {
            if found.len() < 2 {
                return Err(Error::invalid(format!(
                    "the training data have one class, {:?}; give data of several",
                    found.first().unwrap_or(&"")
                )));
            }
            return Ok(found.into_iter().map(str::to_owned).collect());
        };
        let known: BTreeSet<&str> = fixed.iter().map(String::as_str).collect();
        let lacks =
            |utterance: &&Utterance| utterance.text.as_deref().is_some_and(|class| !known.contains(class));
        let Some(utterance) = corpus.utterances.iter().find(lacks) else { return Ok(fixed.clone()) };
        let others = found.iter().filter(|class| !known.contains(*class)).count();
        let remedy = match self.checkpoint.is_some() {
            true => "a resumed run keeps its classes; correct the data, or begin a new run",
            false => {
                "the model that training starts from keeps its classes; correct the data, or set finetune.new_head = true for a \
                 new head"
            }
        };
        Err(Error::file(
            &utterance.origin,
            format!(
                "is of the class {:?}, which is none of the {} known ones, as {others} of the data; {remedy}",
                utterance.text.as_deref().unwrap_or_default(),
                fixed.len()
            ),
        ))
    }

    /// Compares the training data with those of the checkpoint, and tells where to go on: whether the position in
    /// them still means the same. `news` is told what differs.
    ///
    /// # Errors
    /// When the recordings are others, and that was not asked for.
    pub fn same_batches(
        &self,
        now: &Identity,
        request: &Request,
        news: &mut dyn FnMut(String),
    ) -> Result<bool> {
        let told =
            |identity: &Identity| format!("{} recordings, {:.3} s", identity.recordings, identity.seconds);
        let mut same = true;
        // A checkpoint of an earlier version does not name its data.
        if let Some(before) = self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.state.corpus) {
            if before.audio != now.audio {
                let differs = format!("the training data are {} (were {})", told(now), told(&before));
                if !request.other_data {
                    return Err(Error::file(&request.out, differs).advise(Remedy::OtherData));
                }
                news(format!("{differs}; the run goes on with them from the next epoch"));
                same = false;
            } else if before.texts != now.texts {
                news("training texts are others than before; the run goes on with them".to_owned());
            }
        }
        if !self.changed.is_empty() {
            news(format!("the run goes on with {}", listed(&self.changed)));
        }
        if self.changed.iter().any(|change| of_batches(&change.key)) {
            news("what makes batches has changed: they begin with the next epoch".to_owned());
            same = false;
        }
        Ok(same)
    }
}

/// The sub-words of a tokenizer's file.
fn tokenizer(file: &Path) -> Result<Vocabulary> {
    within(file, Pieces::parse(&files::read(file)?).and_then(Vocabulary::from_pieces))
}

/// Checks that a recipe that asks for sub-words asks for those of the run or model that training goes on from. Which
/// characters are in an alphabet is compared with the texts.
fn same_tokens(fixed: &Vocabulary, source: &VocabularySource, resumed: bool) -> Result<()> {
    let (place, remedy) = match resumed {
        true => ("the run", "a run keeps its tokens: give the tokenizer as it was, or begin a new run"),
        false => (
            "the model that training starts from",
            "it keeps its tokens: leave finetune.vocabulary out, or set finetune.new_head = true for a new head",
        ),
    };
    let count = |vocabulary: &Vocabulary| match vocabulary.has_pieces() {
        true => format!("{} sub-words", vocabulary.len() - 1),
        false => format!("{} characters", vocabulary.len() - 1),
    };
    let refuse = |now: String| Err(Error::usage(format!("{now}, {place} has {}; {remedy}", count(fixed))));
    match source {
        VocabularySource::English | VocabularySource::Transcripts => Ok(()),
        // Texts that gave fewer did so again when they are those of the run; the count is compared with the recipe's.
        VocabularySource::Pieces(_) if resumed => Ok(()),
        VocabularySource::Pieces(pieces) if fixed.has_pieces() && fixed.len() - 1 == *pieces => Ok(()),
        VocabularySource::Pieces(pieces) => refuse(format!("finetune.vocabulary.pieces = {pieces}")),
        VocabularySource::Tokenizer(file) => {
            let asked = tokenizer(file)?;
            if asked == *fixed {
                return Ok(());
            }
            let name = file.display();
            let asked_tokens = count(&asked);
            let first =
                (0..asked.len().max(fixed.len()) as u32).find(|&id| asked.token(id) != fixed.token(id));
            let differs = match first {
                Some(id) => {
                    let token = |vocabulary: &Vocabulary| match vocabulary.token(id) {
                        Some(token) => format!("{token:?}"),
                        None => "none".to_owned(),
                    };
                    format!("token {id} is {} (was {})", token(&asked), token(fixed))
                }
                None => "it parts words in another way".to_owned(),
            };
            refuse(format!("finetune.vocabulary.tokenizer = {name} has {asked_tokens}, and {differs}"))
        }
    }
}

/// Fills what a checkpoint of an earlier version lacks from what its run wrote beside it.
fn complete(state: &mut State, run: &Path) -> Result<()> {
    if state.recipe.is_some() && state.phase.is_some() {
        return Ok(());
    }
    tracing::warn!(
        "the checkpoint of step {} is of an earlier version: what fixes the run is taken from recipe.toml and last in \
         {}, and its training data are not compared",
        state.step,
        run.display()
    );
    let recipe = Recipe::load::<&str>(run.join("recipe.toml"), &[])?;
    state.recipe = Some(recipe.to_json());
    let read = |name: &str| read_text(&run.join("last").join(name));
    let config = SavedConfig::from_json(&read("config.json")?)?;
    state.phase = Some(match config.kind {
        ModelKind::BestRq { .. } => Phase::Pretrain,
        ModelKind::Ctc(_) | ModelKind::Utterance(_) => Phase::Finetune,
    });
    if matches!(config.kind, ModelKind::Ctc(_)) {
        state.vocabulary = Some(Vocabulary::from_json(&read("vocab.json")?)?);
    }
    Ok(())
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Pretrain => "pretrain",
        Phase::Finetune => "finetune",
    }
}

/// Whether the order of batches follows from the key.
fn of_batches(key: &str) -> bool {
    let of = |section: &str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with(".data."));
    of("pretrain") || of("finetune") || key.starts_with("finetune.augmentation.")
}

/// The recipe of a checkpoint.
///
/// # Errors
/// When it is not understood.
fn before(state: &State, request: &Request) -> Result<Option<Recipe>> {
    state.recipe.as_ref().map(Recipe::from_json).transpose().map_err(|error| {
        let message =
            format!("the recipe in the checkpoint of step {} is not understood: {error}", state.step);
        Error::file(&request.out, message)
    })
}

/// Takes what fits in batches from the recipe `before`, where `recipe` asks for what fits of the same data.
fn fitted(recipe: &mut Recipe, before: &Recipe, phase: Phase) -> Option<Vec<usize>> {
    let (data, known) = match phase {
        Phase::Pretrain => (&mut recipe.pretrain.data, &before.pretrain.data),
        Phase::Finetune => (&mut recipe.finetune.data, &before.finetune.data),
    };
    let Some(BatchUtterances::Each(utterances)) = &known.batch_utterances else { return None };
    let mut as_known = data.clone();
    as_known.fitted(utterances);
    if !data.fits() || as_known != *known {
        return None;
    }
    *data = as_known;
    Some(utterances.clone())
}

/// The keys in which `recipe` differs from that of the checkpoint, `before`, and may.
///
/// # Errors
/// When the run is of the other phase, or a key that it fixes differs; all of them are named.
fn resumable(
    state: &State,
    before: Option<Recipe>,
    recipe: &Recipe,
    request: &Request,
    phase: Phase,
) -> Result<Vec<Difference>> {
    if let Some(began) = state.phase.filter(|&began| began != phase) {
        let message = format!("is a run of `polymix {}`; resume it with that", name(began));
        return Err(Error::usage(format!("{}: {message}", request.out.display())));
    }
    let Some(before) = before else { return Ok(Vec::new()) };
    let architecture = recipe.model.differences(&before.model);
    let fixes = |key: &str| {
        let own: &[&str] = match phase {
            Phase::Pretrain => &["pretrain.codes", "pretrain.code_dim"],
            Phase::Finetune => &[
                "finetune.task",
                "finetune.target",
                "finetune.freeze_encoder",
                "finetune.head",
                "finetune.head_width",
                "finetune.vocabulary",
                "finetune.new_head",
                "finetune.pooling_width",
                "finetune.embedding_width",
            ],
        };
        // Sub-words are a table in place of a name.
        key == "run.seed"
            || key.starts_with("finetune.vocabulary.") && phase == Phase::Finetune
            // The best model is that of the rates that it decides.
            || key.starts_with("finetune.decoder") && phase == Phase::Finetune
            || key.starts_with("features.")
            || own.contains(&key)
    };
    let other = match phase {
        Phase::Pretrain => "finetune.",
        Phase::Finetune => "pretrain.",
    };
    let all = recipe.differences(&before).into_iter().filter(|one| !one.key.starts_with(other));
    let (mut fixed, free): (Vec<_>, Vec<_>) = all.partition(|one| fixes(&one.key));
    fixed.extend(architecture);
    if fixed.is_empty() {
        return Ok(free);
    }
    Err(Error::usage(format!(
        "{}: the recipe has {}; a run keeps these: give them as they were",
        request.out.display(),
        listed(&fixed)
    ))
    .advise(Remedy::NewRun))
}

/// Checks that the encoder of `model` can start the recipe's; whether its head can, too.
fn initial(path: &Path, model: &SavedModel, recipe: &Recipe, phase: Phase) -> Result<bool> {
    let refuse = |differences: &[Difference], remedy: &str| {
        let (path, listed) = (path.display(), listed(differences));
        Err(Error::usage(format!("{path}: the recipe has {listed} in that model; {remedy}")))
    };
    let (adaptable, mut differing): (Vec<_>, Vec<_>) =
        recipe.model.differences(&model.config.model).into_iter().partition(|one| {
            one.key.strip_prefix("model.").is_some_and(|key| ModelConfig::ADAPTABLE.contains(&key))
        });
    let kind = |kind: Wanted| format!("{kind:?}").to_lowercase();
    let normalization = match model.preprocessor.normalization {
        Normalization::Global(_) => Wanted::Global,
        Normalization::Sentence => Wanted::Sentence,
    };
    if recipe.features.normalization != normalization {
        differing.push(Difference {
            key: "features.normalization".to_owned(),
            before: kind(normalization),
            now: kind(recipe.features.normalization),
        });
    }
    if !differing.is_empty() {
        return refuse(
            &differing,
            "its weights are of no use there: give the recipe that it was trained with",
        );
    }
    for difference in adaptable.iter().filter(|one| one.key != "model.initialization") {
        tracing::warn!("{}: {difference} in that model; its weights start it nonetheless", path.display());
    }
    let task = recipe.finetune.task;
    let head = match (&model.config.kind, phase) {
        (ModelKind::Utterance(head), Phase::Finetune) if !recipe.finetune.new_head && head.task() == task => {
            let differing = head_differences(head, &recipe.finetune);
            return match differing.is_empty() {
                true => Ok(true),
                false => refuse(&differing, NEW_HEAD),
            };
        }
        (ModelKind::Ctc(head), Phase::Finetune) if !recipe.finetune.new_head && task == TaskKind::Ctc => head,
        (ModelKind::BestRq { codes, code_dim }, Phase::Pretrain) => {
            return Ok((*codes, *code_dim) == (recipe.pretrain.codes, recipe.pretrain.code_dim));
        }
        _ => return Ok(false),
    };
    if (model.preprocessor.silence - recipe.features.silence).abs() > 1e-9 {
        tracing::warn!(
            "{}: features.silence = {} (was {}) in that model",
            path.display(),
            recipe.features.silence,
            model.preprocessor.silence
        );
    }
    let wanted = CtcHead::new(&recipe.finetune, head.vocabulary);
    let mut differing = Vec::new();
    let label = |head: Head| format!("{head:?}").to_lowercase();
    if wanted.head != head.head {
        let (before, now) = (label(head.head), label(wanted.head));
        differing.push(Difference { key: "finetune.head".to_owned(), before, now });
    } else if wanted.head == Head::Mlp && wanted.width != head.width {
        let (before, now) = (head.width.to_string(), wanted.width.to_string());
        differing.push(Difference { key: "finetune.head_width".to_owned(), before, now });
    }
    match differing.is_empty() {
        true => Ok(true),
        false => refuse(&differing, NEW_HEAD),
    }
}

const NEW_HEAD: &str = "give it as it was, or set finetune.new_head = true for a new head";

/// What a recipe asks of a head of classes otherwise than `head` is.
fn head_differences(head: &UtteranceHead, recipe: &FinetuneConfig) -> Vec<Difference> {
    let wanted = UtteranceHead::new(recipe, Vec::new());
    let width = |width: Option<usize>| width.map_or("none".to_owned(), |width| width.to_string());
    [
        ("target", format!("{:?}", head.target.name()), format!("{:?}", wanted.target.name())),
        ("pooling_width", head.pooling.to_string(), wanted.pooling.to_string()),
        ("embedding_width", width(head.embedding), width(wanted.embedding)),
    ]
    .into_iter()
    .filter(|(_, before, now)| before != now)
    .map(|(key, before, now)| Difference { key: format!("finetune.{key}"), before, now })
    .collect()
}

/// What of a saved model starts the new one: all of it, or front-end and encoder.
///
/// # Errors
/// When one of their parameters is missing, or has another shape; it is named.
pub(super) fn initial_weights<'a>(
    model: &SavedModel,
    keeps_head: bool,
    parameters: impl Iterator<Item = &'a Parameter>,
) -> Result<Weights> {
    let mut weights = Weights::default();
    for parameter in parameters {
        let name = &parameter.name;
        if keeps_head || name.starts_with("frontend.") || name.starts_with("encoder.") {
            let values = model.weights.values(parameter).map_err(|error| {
                Error::usage(format!(
                    "{error} of the model to start from; give the recipe that the model was trained with"
                ))
            })?;
            weights.insert(name, parameter.shape.clone(), values.to_vec())?;
        }
    }
    Ok(weights)
}
