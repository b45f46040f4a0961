//! A model on a device: its weights, which sessions share, and the plans of the last batch shapes.

use std::sync::Arc;

use web_time::Instant;

use super::handover::{Handed, Handover};
use super::{CtcHead, EncoderInputs, ModelKind, PreprocessorConfig, SavedConfig, SavedModel, frames_after};
use crate::audio::{PaddedBatch, Preprocessor};
use crate::error::{Error, Result};
use crate::exec::{Executor, Loaded, Plan, Store, arena_bytes};
use crate::gpu::Gpu;
use crate::graph::{Graph, Parameter, Scope, Tensor};
use crate::nn::{Context, Mode};
use crate::shape::Spec;
use crate::text::Vocabulary;

/// Plans that are kept; the one that was not used for longest goes.
const MOST_PLANS: usize = 24;

/// Adds the model to a graph whose features are given; returns what is read, by name.
pub(super) type Forward = dyn Fn(&Scope, &Context, &Tensor) -> Result<Vec<(String, Tensor)>> + Send + Sync;

/// A model whose weights are on a device. Recognizers, extractors and streams of it, and its clones, share them.
#[derive(Clone)]
pub struct DeviceModel {
    pub(super) gpu: Arc<Gpu>,
    pub(super) config: SavedConfig,
    pub(super) preprocessor: PreprocessorConfig,
    pub(super) vocabulary: Option<Vocabulary>,
    store: Store,
}

impl DeviceModel {
    /// Places the model's weights on the device.
    ///
    /// # Errors
    /// When a weight is missing or the device has no room for them.
    pub fn new(gpu: Arc<Gpu>, saved: &SavedModel) -> Result<Self> {
        let SavedModel { config, weights, preprocessor, vocabulary } = saved;
        let mut store = Store::default();
        let parameters = config.parameters()?;
        place(&gpu, &mut store, &parameters)?;
        for parameter in &parameters {
            store.write(&gpu, &parameter.name, weights.values(parameter)?)?;
        }
        let (config, preprocessor) = (config.clone(), preprocessor.clone());
        Ok(Self { gpu, config, preprocessor, vocabulary: vocabulary.clone(), store })
    }

    /// An executor that finds the weights there.
    pub(super) fn executor(&self) -> Executor {
        Executor::with_store(self.gpu.clone(), self.store.clone())
    }

    /// The head and the tokens of a CTC model.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn ctc(&self) -> Result<(CtcHead, Vocabulary)> {
        match (&self.config.kind, &self.vocabulary) {
            (ModelKind::Ctc(head), Some(vocabulary)) => Ok((head.clone(), vocabulary.clone())),
            (ModelKind::Utterance(_), _) => Err(Error::invalid(format!(
                "the model is {}, which writes no text; give a recognizer",
                self.config.kind.noun()
            ))),
            _ => Err(Error::invalid("the model has no CTC head; fine-tune it first, then give its run")),
        }
    }
}

/// Checks waveforms (16 kHz, mono).
///
/// # Errors
/// When one is empty or holds a sample that is not finite; the message says which of several.
pub(super) fn check_waveforms(waveforms: &[&[f32]]) -> Result<()> {
    for (waveform, samples) in waveforms.iter().enumerate() {
        let name = if waveforms.len() == 1 { "the audio".to_owned() } else { format!("waveform {waveform}") };
        if samples.is_empty() {
            return Err(Error::invalid(format!("{name} holds no samples; leave it out")));
        }
        if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
            let value = samples[at];
            return Err(Error::invalid(format!(
                "{name} has {value} as sample {at}, not a number; leave it out"
            )));
        }
    }
    Ok(())
}

/// A model for inference, on a device.
pub(super) struct InferenceSession {
    executor: Executor,
    config: SavedConfig,
    forward: Box<Forward>,
    /// By rows and feature frames, the most recently used last.
    plans: Vec<((usize, usize), Loaded)>,
}

impl InferenceSession {
    /// The model, whose encoder is `config`'s.
    pub fn new(model: &DeviceModel, config: SavedConfig, forward: Box<Forward>) -> Self {
        Self { executor: model.executor(), config, forward, plans: Vec::new() }
    }

    /// Goes on with another `forward`, and other plans.
    pub fn set_forward(&mut self, forward: Box<Forward>) {
        self.forward = forward;
        self.plans.clear();
    }

    /// The outputs of the last run; nothing before the first.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn hand_over(&self, handover: Handover) -> Result<Option<Handed>> {
        match self.plans.last() {
            Some((_, loaded)) => Ok(Some(handover.read(&self.executor, loaded).await?)),
            None => Ok(None),
        }
    }

    /// The plan for `rows` rows of `frames` feature frames.
    ///
    /// # Errors
    /// When the model does not fit the device's limits.
    pub fn plan(&self, rows: usize, frames: usize) -> Result<Plan> {
        let graph = Graph::new();
        let scope = graph.root();
        let padding = self.config.model.padding;
        let ctx = Context::new(&scope, rows, frames_after(frames), Mode::Inference, padding);
        let features = scope.input("features", Spec::f32([rows, frames, self.config.bands]));
        let outputs = (self.forward)(&scope, &ctx, &features)?;
        let outputs: Vec<(&str, &Tensor)> =
            outputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        Plan::compile(&graph, &outputs, self.config.options.plan, self.executor.gpu().capabilities())
    }

    /// Runs the model on a batch; [`InferenceSession::read`] reads what it computed.
    ///
    /// # Errors
    /// When the model does not fit the device's limits, or the device fails.
    pub async fn run(&mut self, batch: &PaddedBatch) -> Result<()> {
        let shape = (batch.utterances, batch.frames);
        let mut loaded = match self.plans.iter().position(|(known, _)| *known == shape) {
            Some(at) => self.plans.remove(at).1,
            None => {
                let begun = Instant::now();
                let plan = self.plan(batch.utterances, batch.frames)?;
                if self.plans.len() == MOST_PLANS {
                    self.plans.remove(0);
                }
                let (dispatches, bytes) = (plan.dispatches.len(), plan.peak_bytes());
                let loaded = self.executor.load(plan).await?;
                tracing::debug!(
                    "compiled the plan of {} × {} frames in {:.1} ms: {dispatches} dispatches, {bytes} bytes",
                    batch.utterances,
                    batch.frames,
                    begun.elapsed().as_secs_f64() * 1e3
                );
                loaded
            }
        };
        let inputs = EncoderInputs::new(&batch.lengths, batch.frames);
        let executor = &self.executor;
        executor.write_input(&loaded, "features", &batch.features)?;
        for (name, lengths) in [("lengths", &inputs.lengths), ("full_lengths", &inputs.full_lengths)] {
            if executor.takes(&loaded, name) {
                executor.write_input(&loaded, name, lengths)?;
            }
        }
        if executor.takes(&loaded, "valid") {
            executor.write_input(&loaded, "valid", &inputs.valid)?;
        }
        executor.run(&mut loaded)?;
        self.plans.push((shape, loaded));
        Ok(())
    }

    /// The output `name` of the last run; nothing before the first.
    ///
    /// # Errors
    /// When there is no such output or the device fails.
    pub async fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, name: &str) -> Result<Vec<T>> {
        match self.plans.last() {
            Some((_, loaded)) => self.executor.read(loaded, name).await,
            None => Ok(Vec::new()),
        }
    }
}

/// A batch of waveforms. Where they are padded by their own lengths, so that a batch may be larger than its waveforms, rows
/// and frames are rounded up: the shapes are few then.
///
/// # Errors
/// When there is no waveform.
pub(super) fn batch(preprocessor: &Preprocessor, waveforms: &[&[f32]]) -> Result<PaddedBatch> {
    if !preprocessor.padding.by_own_length() {
        return preprocessor.batch(waveforms);
    }
    let longest = waveforms.iter().map(|waveform| preprocessor.frames(waveform.len())).max().unwrap_or(0);
    let mut batch = PaddedBatch::empty(waveforms.len().next_power_of_two(), bucket(longest));
    for (row, waveform) in waveforms.iter().enumerate() {
        preprocessor.place(&mut batch, row, &preprocessor.features(waveform))?;
    }
    Ok(batch)
}

/// The number of frames that a batch is padded to: multiples of 64 up to 512, then steps of a quarter.
pub(super) fn bucket(frames: usize) -> usize {
    if frames <= 512 {
        return frames.max(1).next_multiple_of(64);
    }
    let mut bucket = 512_usize;
    while bucket < frames {
        bucket = (bucket + bucket / 4).next_multiple_of(64);
    }
    bucket
}

/// Makes room for the parameters in buffers that the device can bind.
fn place(gpu: &Gpu, store: &mut Store, parameters: &[Parameter]) -> Result<()> {
    let most = gpu.capabilities().max_binding.min(gpu.capabilities().max_buffer);
    let mut arenas: Vec<(Vec<(String, Spec)>, u64)> = Vec::new();
    for parameter in parameters {
        let spec = Spec::f32(parameter.shape.clone());
        let bytes = arena_bytes(&spec);
        match arenas.last_mut() {
            Some((parts, used)) if *used + bytes <= most => {
                parts.push((parameter.name.clone(), spec));
                *used += bytes;
            }
            _ => arenas.push((vec![(parameter.name.clone(), spec)], bytes)),
        }
    }
    for (index, (parts, _)) in arenas.iter().enumerate() {
        store.arena(gpu, &format!("parameters.{index}"), parts)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::STRIDE;

    #[test]
    fn buckets_are_few_and_hold_what_they_must() {
        let mut seen = std::collections::BTreeSet::new();
        for frames in 1..=6400 {
            let bucket = bucket(frames);
            assert!(bucket >= frames && bucket.is_multiple_of(STRIDE));
            assert!(bucket < frames + 64 || bucket as f64 <= 1.35 * frames as f64, "{frames} {bucket}");
            seen.insert(bucket);
        }
        assert!(seen.len() <= 24, "{seen:?}");
    }
}
