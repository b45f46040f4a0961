//! From sources to batches: lengths, examples, statistics.

use std::path::PathBuf;
use std::sync::Arc;

use super::collective::Ranks;
use super::named::Named;
use super::run::{Progress, Source};
use super::setup::Request;
use super::start::Start;
use super::stop;
use crate::audio::{Augmentation, Normalization, Padding, Preprocessor, Stats};
use crate::data::{
    BatchSize, BucketConfig, Corpus, ExampleConfig, Examples, Exclusions, Identity, Lengths, LoaderConfig,
    Order, Utterance, statistics, statistics_sample,
};
use crate::error::{Error, Result};
use crate::models::PreprocessorConfig;
use crate::recipe::{
    AugmentationConfig, BatchSeconds, BatchUtterances, DataConfig, Normalization as Wanted, Target,
};
use crate::text::Vocabulary;

/// How a phase reads audio.
pub(super) struct Data<'a> {
    pub ranks: &'a Ranks,
    pub request: &'a Request,
    pub config: &'a DataConfig,
    pub silence: f64,
    pub padding: Padding,
    pub augmentation: Option<&'a AugmentationConfig>,
    /// What is told of recordings in the place of their texts, if their classes are learned.
    pub target: Option<Target>,
    /// The tokens of the texts, where these are learned.
    pub vocabulary: Option<&'a Vocabulary>,
}

impl Data<'_> {
    /// The recordings of sources.
    pub fn load(&self, sources: &[PathBuf]) -> Result<Arc<Corpus>> {
        let mut corpus = Corpus::load(sources)?;
        corpus.choose_channel(self.request.channel);
        if let Some(target) = self.target {
            corpus.tell(target)?;
        }
        Ok(Arc::new(corpus))
    }

    /// The examples of a corpus, for training or validation; what it lacks is named.
    fn list(
        &self,
        corpus: Arc<Corpus>,
        training: bool,
        named: &mut Named,
        progress: &mut dyn Progress,
    ) -> Result<Listed> {
        let config = ExampleConfig {
            min_seconds: self.config.min_seconds,
            max_seconds: Some(self.config.max_seconds),
            window_seconds: self.config.window_seconds,
            // Texts are scored as they are.
            string_seconds: self.config.string_seconds.filter(|_| training || self.vocabulary.is_none()),
            string_gap_seconds: self.config.string_gap_seconds.range(),
            string_whole: self.vocabulary.is_some(),
        };
        stop::check()?;
        progress.begin("lengths", corpus.utterances.len() as u64);
        let mut lengths = Lengths::measure(&corpus, self.request.strict, &mut |done, _| {
            progress.advance(done as u64);
            stop::check()
        })?;
        named.say_differing(std::mem::take(&mut lengths.differing));
        // A text that the vocabulary cannot write would take those beside it out of the loss.
        let joins = |utterance: &Utterance| match (self.vocabulary, &utterance.text) {
            (Some(vocabulary), Some(text)) => vocabulary.encode(text).is_ok(),
            _ => true,
        };
        let seed = self.request.recipe.run.seed;
        let examples = Examples::build_joining(&corpus, &lengths, &config, seed, &joins)?;
        named.say_all(&examples.left_out);
        let identity = Identity::of(&corpus, &lengths);
        Ok(Listed { corpus, identity, examples })
    }

    fn loader(&self, preprocessor: &PreprocessorConfig, order: Order) -> LoaderConfig {
        let batch = match (&self.config.batch_utterances, self.config.batch_seconds) {
            (Some(BatchUtterances::Same(utterances)), _) => BatchSize::Utterances(*utterances),
            (Some(BatchUtterances::Each(list)), _) => BatchSize::Each(list.clone()),
            (None, Some(BatchSeconds::Given(seconds))) => BatchSize::Seconds(seconds),
            // Until it is known what fits.
            (None, _) => BatchSize::Utterances(1),
        };
        let (buckets, group_by_length) = (self.config.buckets, self.config.group_by_length);
        let buckets = BucketConfig { batch, buckets, group_by_length };
        let seed = self.request.recipe.run.seed;
        let mut config = LoaderConfig::new(preprocessor.preprocessor(), buckets, order, seed);
        config.strict = self.request.strict;
        config.threads = (config.threads / self.ranks.beside()).max(1);
        if let (Order::Shuffled, Some(wanted)) = (order, self.augmentation) {
            config.augmentation = Some(augmentation(wanted));
        }
        config
    }

    /// Training data, and how audio becomes features: as `start` says, else by the statistics of these data.
    pub fn train(
        &self,
        corpus: Arc<Corpus>,
        start: &Start,
        named: &mut Named,
        progress: &mut dyn Progress,
    ) -> Result<(Source, PreprocessorConfig)> {
        let Listed { corpus, identity, examples } = self.list(corpus, true, named, progress)?;
        progress.message(&format!(
            "{} examples, {:.2} hours; left out: {}",
            examples.list.len(),
            examples.hours(),
            examples.left_out
        ));
        let known = start.preprocessor().map(|config| config.normalization.clone());
        let normalization =
            self.ranks.lead(|beat| match (known, self.request.recipe.features.normalization) {
                (Some(known), _) => Ok(known),
                (None, Wanted::Sentence) => Ok(Normalization::Sentence),
                (None, Wanted::Global) => {
                    let identity = Normalization::Global(Stats::identity());
                    let plain = Preprocessor::new(self.silence, identity, self.padding);
                    let sample = statistics_sample(&examples);
                    if sample.len() < examples.list.len() {
                        progress.message(&format!(
                            "normalization by the statistics of {} of {} examples, spread over all",
                            sample.len(),
                            examples.list.len()
                        ));
                    }
                    progress.begin("statistics", sample.len() as u64);
                    let (strict, mut left_out) = (self.request.strict, Exclusions::default());
                    let stats = statistics(
                        &corpus,
                        &examples,
                        &sample,
                        &plain,
                        strict,
                        &mut left_out,
                        &mut |done, _| {
                            progress.advance(done as u64);
                            stop::check()?;
                            beat()
                        },
                    );
                    named.say_all(&left_out);
                    Ok(Normalization::Global(stats?))
                }
            })?;
        let preprocessor = PreprocessorConfig {
            sampling_rate: crate::audio::SAMPLE_RATE,
            silence: self.silence,
            normalization,
            padding: self.padding,
        };
        let config = self.loader(&preprocessor, Order::Shuffled);
        Ok((Source::new(corpus, identity, examples, config), preprocessor))
    }

    /// What there is of validation data, if they were asked for.
    pub fn valid(&self, named: &mut Named, progress: &mut dyn Progress) -> Result<Option<Listed>> {
        if self.request.valid.is_empty() {
            return Ok(None);
        }
        let corpus = self.load(&self.request.valid)?;
        let listed = self.list(corpus, false, named, progress).map_err(|error| match error {
            Error::Invalid(message) => Error::invalid(format!("the validation data: {message}")),
            other => other,
        });
        listed.map(Some)
    }

    /// Batches of validation data.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn valid_source(
        &self,
        listed: Listed,
        preprocessor: &PreprocessorConfig,
        train: &Source,
    ) -> Result<Source> {
        let Listed { corpus, identity, examples } = listed;
        let mut config = self.loader(preprocessor, Order::Sorted);
        config.buckets.batch = train.like()?;
        Ok(Source::new(corpus, identity, examples, config))
    }
}

/// The examples of a corpus.
pub(super) struct Listed {
    pub corpus: Arc<Corpus>,
    identity: Identity,
    examples: Examples,
}

fn augmentation(config: &AugmentationConfig) -> Augmentation {
    Augmentation {
        speeds: config.speeds.clone(),
        bands: config.notch_bands,
        chunks: config.zero_chunks,
        chunk_samples: config.chunk_samples,
        noise_db: config.noise_db,
        gain_db: config.gain_db,
        ..Augmentation::default()
    }
}
