//! The range of every value of a recipe.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::{
    AugmentationConfig, BatchSeconds, BatchUtterances, DataConfig, FeatureConfig, FinetuneConfig, MixerKind,
    MixerSpec, ModelConfig, ModelOptions, Normalization, OptimizerConfig, PaddedFrames, PretrainConfig,
    Recipe, RunConfig, ScheduleConfig, TaskKind, VocabularySource,
};
use crate::error::{Error, Result};

/// NaN is in no range.
fn within<T: PartialOrd + Display>(key: impl Display, value: T, range: RangeInclusive<T>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = range.into_inner();
    Err(Error::usage(format!("{key} = {value} is out of range; give a number from {low} to {high}")))
}

fn ordered<T: PartialOrd + Display>(key: impl Display, [low, high]: [T; 2]) -> Result<()> {
    if low <= high {
        return Ok(());
    }
    Err(Error::usage(format!("{key} = [{low}, {high}] is not a range; give the smaller number first")))
}

const STEPS: RangeInclusive<u64> = 1..=u32::MAX as u64;
const DROPOUT: RangeInclusive<f64> = 0.0..=0.95;

impl Recipe {
    /// Checks that every value is in its range and fits the others.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the first key that is not, its value and what to give instead.
    pub fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.options.validate()?;
        self.features.validate()?;
        if self.model.causal_chunk.is_some() && self.features.normalization == Normalization::Sentence {
            return Err(Error::usage(
                "features.normalization = \"sentence\" needs the whole utterance, which model.causal_chunk does not wait \
                 for; give \"global\"",
            ));
        }
        self.pretrain.validate()?;
        self.finetune.validate()?;
        self.run.validate()
    }
}

impl ModelConfig {
    /// Checks that every value is in its range and fits the others.
    ///
    /// # Errors
    /// As [`Recipe::validate`].
    pub fn validate(&self) -> Result<()> {
        within("model.d_model", self.d_model, 1..=16_384)?;
        within("model.layers", self.layers, 1..=256)?;
        within("model.ffn", self.ffn, 1..=65_536)?;
        within("model.kernel", self.kernel, 1..=255)?;
        within("model.heads", self.heads, 1..=1024)?;
        within("model.degree", self.degree, 1..=8)?;
        within("model.expand", self.expand, 1..=64)?;
        within("model.summary_hidden", self.summary_hidden, 1..=65_536)?;
        if let Some(frames) = self.causal_chunk {
            within("model.causal_chunk", frames, 1..=1000)?;
            if self.padding == PaddedFrames::Reference {
                return Err(Error::usage(
                    "model.padding = \"reference\" lets padded frames into the mean, which a stream with \
                     model.causal_chunk does not have; give \"masked\"",
                ));
            }
        }
        within("model.summary_local", self.summary_local, 1..=65_536)?;
        for (i, channels) in self.channels.into_iter().enumerate() {
            within(format_args!("model.channels[{i}]"), channels, 1..=4096)?;
        }
        let Self { kernel, degree, expand, d_model, .. } = *self;
        if kernel.is_multiple_of(2) {
            return Err(Error::usage(format!(
                "model.kernel = {kernel} is even; give an odd number of frames"
            )));
        }
        within("model.degree x model.expand x model.d_model", degree * expand * d_model, 1..=262_144)?;
        self.validate_mixer()
    }

    fn validate_mixer(&self) -> Result<()> {
        let layers = self.layers;
        match &self.mixer {
            MixerSpec::PerLayer(kinds) if kinds.len() != layers => {
                return Err(Error::usage(format!(
                    "model.mixer lists {} names for model.layers = {layers}; give one a layer",
                    kinds.len()
                )));
            }
            MixerSpec::Split { split, .. } => within("model.mixer.split", *split, 0..=layers)?,
            _ => {}
        }
        self.mixer.kinds().into_iter().try_for_each(|kind| self.validate_kind(kind))
    }

    fn validate_kind(&self, mixer: MixerKind) -> Result<()> {
        if self.causal_chunk.is_some() && !mixer.streams() {
            return Err(Error::usage(format!(
                "model.causal_chunk needs mixers with a running state, which {mixer} does not have; give one of the pom \
                 forms"
            )));
        }
        let heads = self.heads;
        let widths = mixer.head_widths(self);
        match widths.into_iter().find(|(_, width)| !width.is_multiple_of(heads)) {
            None if mixer.rotates_pairs() && !(self.d_model / heads).is_multiple_of(2) => {
                Err(Error::usage(format!(
                    "model.d_model = {} in model.heads = {heads} makes heads of {} channels, which {mixer} cannot \
                 rotate in pairs; give heads of an even number",
                    self.d_model,
                    self.d_model / heads
                )))
            }
            None => Ok(()),
            Some((key, width)) => Err(Error::usage(format!(
                "model.heads = {heads} does not divide model.{key} = {width}, as {mixer} needs it; change one of them"
            ))),
        }
    }
}

impl ModelOptions {
    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// As [`Recipe::validate`].
    pub fn validate(&self) -> Result<()> {
        within("model.dropout", self.dropout, DROPOUT)?;
        within("model.layer_drop", self.layer_drop, DROPOUT)
    }
}

impl FeatureConfig {
    fn validate(&self) -> Result<()> {
        within("features.silence", self.silence, 0.0..=10.0)
    }
}

impl PretrainConfig {
    /// Checks that every value is in its range and fits the others.
    ///
    /// # Errors
    /// As [`Recipe::validate`].
    pub fn validate(&self) -> Result<()> {
        within("pretrain.steps", self.steps, STEPS)?;
        within("pretrain.codes", self.codes, 2..=65_536)?;
        within("pretrain.code_dim", self.code_dim, 1..=1024)?;
        within("pretrain.mask_frames", self.mask_frames, 4..=4000)?;
        if !self.mask_frames.is_multiple_of(4) {
            return Err(Error::usage(format!(
                "pretrain.mask_frames = {} does not align with the codes of 4 frames; give a multiple of 4",
                self.mask_frames
            )));
        }
        within("pretrain.mask_probability", self.mask_probability, f64::MIN_POSITIVE..=1.0)?;
        within(
            "pretrain.mask_probability x pretrain.mask_frames, the masked part,",
            self.mask_probability * self.mask_frames as f64,
            0.0..=1.0,
        )?;
        within("pretrain.noise_std", self.noise_std, 0.0..=100.0)?;
        within("pretrain.dropout", self.dropout.unwrap_or(0.0), DROPOUT)?;
        self.data.validate("pretrain.data")?;
        self.optimizer.validate("pretrain.optimizer")
    }
}

impl FinetuneConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        match (self.steps, self.epochs) {
            (Some(_), Some(_)) | (None, None) => {
                return Err(Error::usage(
                    "finetune.steps and finetune.epochs exclude each other; give one of them",
                ));
            }
            (Some(steps), None) => within("finetune.steps", steps, STEPS)?,
            (None, Some(epochs)) => within("finetune.epochs", epochs, 1..=1_000_000)?,
        }
        if let VocabularySource::Pieces(pieces) = self.vocabulary {
            within("finetune.vocabulary.pieces", pieces, 2..=65_536)?;
        }
        if let Some(decoder) = &self.decoder {
            decoder.validate().map_err(|error| Error::usage(format!("finetune.decoder: {error}")))?;
        }
        within("finetune.head_width", self.head_width, 1..=65_536)?;
        within("finetune.head_dropout", self.head_dropout, DROPOUT)?;
        within("finetune.dropout", self.dropout.unwrap_or(0.0), DROPOUT)?;
        within("finetune.pooling_width", self.pooling_width, 1..=65_536)?;
        within("finetune.embedding_width", self.embedding_width, 1..=65_536)?;
        within("finetune.margin", self.margin, 0.0..=1.5)?;
        within("finetune.margin_scale", self.margin_scale, 1e-3..=1000.0)?;
        if let (TaskKind::Ctc, Some(target)) = (self.task, self.target) {
            return Err(Error::usage(format!(
                "finetune.target = \"{}\" is of tasks with classes, and finetune.task is \"ctc\"; leave it out, or give \
                 task = \"classify\"",
                target.name()
            )));
        }
        if self.data.window_seconds.is_some() {
            return Err(Error::usage(
                "finetune.data.window_seconds would part clips from their text; leave it to pretrain.data",
            ));
        }
        if self.task != TaskKind::Ctc && self.data.string_seconds.is_some() {
            return Err(Error::usage(format!(
                "finetune.data.string_seconds joins clips of several classes, and finetune.task = \"{}\" tells one of each; \
                 leave it out",
                self.task.name()
            )));
        }
        self.data.validate("finetune.data")?;
        self.optimizer.validate("finetune.optimizer")?;
        self.augmentation.validate()
    }
}

impl DataConfig {
    fn validate(&self, section: &str) -> Result<()> {
        const SECONDS: RangeInclusive<f64> = 0.1..=3600.0;
        within(format_args!("{section}.min_seconds"), self.min_seconds, 0.0..=3600.0)?;
        within(format_args!("{section}.max_seconds"), self.max_seconds, SECONDS)?;
        ordered(format_args!("{section}.min_seconds and max_seconds"), [self.min_seconds, self.max_seconds])?;
        for (key, seconds) in
            [("window_seconds", self.window_seconds), ("string_seconds", self.string_seconds)]
        {
            let Some(seconds) = seconds else { continue };
            within(format_args!("{section}.{key}"), seconds, SECONDS)?;
            within(format_args!("{section}.{key}"), seconds, self.min_seconds..=self.max_seconds)?;
        }
        let gap = self.string_gap_seconds.range();
        gap.into_iter().try_for_each(|seconds| {
            within(format_args!("{section}.string_gap_seconds"), seconds, 0.0..=60.0)
        })?;
        ordered(format_args!("{section}.string_gap_seconds"), gap)?;
        within(format_args!("{section}.buckets"), self.buckets, 1..=256)?;
        if !self.group_by_length && !matches!(self.batch_utterances, Some(BatchUtterances::Same(_))) {
            return Err(Error::usage(format!(
                "{section}.group_by_length = false needs batches of a fixed number of clips; give {section}.batch_utterances"
            )));
        }
        const UTTERANCES: RangeInclusive<usize> = 1..=65_536;
        match (self.batch_seconds, &self.batch_utterances) {
            (Some(BatchSeconds::Given(seconds)), None) => {
                within(format_args!("{section}.batch_seconds"), seconds, 0.1..=1e6)
            }
            (Some(BatchSeconds::Fit(_)), None) => Ok(()),
            (None, Some(BatchUtterances::Same(utterances))) => {
                within(format_args!("{section}.batch_utterances"), *utterances, UTTERANCES)
            }
            (None, Some(BatchUtterances::Each(list))) => {
                within(format_args!("the number of {section}.batch_utterances"), list.len(), 1..=256)?;
                list.iter().enumerate().try_for_each(|(i, &utterances)| {
                    within(format_args!("{section}.batch_utterances[{i}]"), utterances, UTTERANCES)
                })
            }
            _ => Err(Error::usage(format!(
                "{section}.batch_seconds and {section}.batch_utterances exclude each other; give one of them"
            ))),
        }
    }
}

impl OptimizerConfig {
    fn validate(&self, section: &str) -> Result<()> {
        within(format_args!("{section}.encoder_lr"), self.encoder_lr, 0.0..=100.0)?;
        within(format_args!("{section}.head_lr"), self.head_lr, 0.0..=100.0)?;
        for (i, beta) in self.betas.into_iter().enumerate() {
            within(format_args!("{section}.betas[{i}]"), beta, 0.0..=0.999_999)?;
        }
        within(format_args!("{section}.eps"), self.eps, 1e-20..=1.0)?;
        within(format_args!("{section}.weight_decay"), self.weight_decay, 0.0..=100.0)?;
        within(format_args!("{section}.clip"), self.clip, 1e-6..=1e9)?;
        within(format_args!("{section}.accumulation"), self.accumulation, 1..=65_536)?;
        match self.schedule {
            ScheduleConfig::Noam { warmup } => {
                within(format_args!("{section}.schedule.warmup"), warmup, STEPS)
            }
            ScheduleConfig::Cosine { warmup_fraction } => {
                within(format_args!("{section}.schedule.warmup_fraction"), warmup_fraction, 0.0..=1.0)
            }
            ScheduleConfig::Newbob { threshold, head_factor, encoder_factor } => {
                within(format_args!("{section}.schedule.threshold"), threshold, 0.0..=1.0)?;
                within(format_args!("{section}.schedule.head_factor"), head_factor, 0.0..=1.0)?;
                within(format_args!("{section}.schedule.encoder_factor"), encoder_factor, 0.0..=1.0)
            }
            ScheduleConfig::Constant {} => Ok(()),
        }
    }
}

impl AugmentationConfig {
    fn validate(&self) -> Result<()> {
        const SECTION: &str = "finetune.augmentation";
        if self.speeds.is_empty() {
            return Err(Error::usage(format!("{SECTION}.speeds is empty; give [100] to keep the speed")));
        }
        for (i, &speed) in self.speeds.iter().enumerate() {
            within(format_args!("{SECTION}.speeds[{i}]"), speed, 50..=200)?;
        }
        let ranges = [
            ("notch_bands", self.notch_bands, 16),
            ("zero_chunks", self.zero_chunks, 1000),
            ("chunk_samples", self.chunk_samples, 160_000),
        ];
        for (key, [low, high], most) in ranges {
            ordered(format_args!("{SECTION}.{key}"), [low, high])?;
            within(format_args!("{SECTION}.{key}[1]"), high, 0..=most)?;
        }
        for (key, decibels) in [("noise_db", self.noise_db), ("gain_db", self.gain_db)] {
            let Some(decibels) = decibels else { continue };
            for (i, value) in decibels.into_iter().enumerate() {
                within(format_args!("{SECTION}.{key}[{i}]"), value, -100.0..=100.0)?;
            }
            ordered(format_args!("{SECTION}.{key}"), decibels)?;
        }
        Ok(())
    }
}

impl RunConfig {
    fn validate(&self) -> Result<()> {
        within("run.log_every", self.log_every, STEPS)?;
        within("run.checkpoint_every", self.checkpoint_every, STEPS)?;
        within("run.keep_checkpoints", self.keep_checkpoints, 1..=1_000_000)?;
        within("run.validate_every", self.validate_every, 0..=*STEPS.end())
    }
}
