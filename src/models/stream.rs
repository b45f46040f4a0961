//! Speech to text while it is spoken: a CTC model with a running state, chunk by chunk.

use std::sync::Arc;

use super::endpoint::{End, Endpointing, Sentence};
use super::handover::Handover;
use super::output::{Recognized, Timing, with_alternatives};
use super::recognizer::check_decoder;
use super::{CtcModel, DeviceModel, Encoder, STRIDE, SavedConfig, SavedModel};
use crate::audio::{FeatureStream, Preprocessor, SAMPLE_RATE};
use crate::decode::{Decoder, Running};
use crate::error::{Error, Result};
use crate::exec::{Executor, Loaded, Plan};
use crate::gpu::Gpu;
use crate::graph::{Graph, Tensor};
use crate::nn::{Context, STATE_PREFIX, sinusoid_from};
use crate::shape::Spec;
use crate::text::{SECONDS_PER_FRAME, Vocabulary};

/// A CTC model on a device that transcribes one stream at a time.
///
/// Whatever pieces the audio comes in, chunks of encoder frames are what the device works on: the text of a
/// stream is that of [`super::Recognizer`] on the whole waveform, where the chunk is the one that the model was
/// trained with. Each layer carries the sum of its mixer's products and the last frames of its convolution.
///
/// With [`StreamRecognizer::set_endpointing`] a stream is cut into sentences, each of which is transcribed as a stream of its
/// own: however long one listens, memory and the time of a chunk stay what they are.
pub struct StreamRecognizer {
    executor: Executor,
    config: SavedConfig,
    model: CtcModel,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    /// Encoder frames of a chunk.
    chunk: usize,
    /// By encoder frames, and whether the chunk is the stream's first.
    plans: Vec<((usize, bool), Loaded)>,
    /// The state of layers, by name and elements.
    state: Vec<(String, usize)>,
    features: FeatureStream,
    /// Feature frames that wait for the rest of their chunk, after the last ones of the chunk before.
    pending: Vec<f32>,
    /// Samples received.
    samples: usize,
    /// Encoder frames before the sentence.
    before: usize,
    /// Encoder frames of the sentence so far; without endpointing all is one.
    frames: usize,
    /// When sentences end, and what is known of the one that has not ended.
    endpoint: Option<(Endpointing, Sentence)>,
    /// Sentences that have ended.
    ended: Vec<Recognized>,
    handover: Handover,
    decoder: Arc<Decoder>,
    /// Texts that are found at the end.
    count: usize,
    running: Running,
}

impl StreamRecognizer {
    /// Places the model's weights on the device; `chunk` encoder frames (of 40 ms) go together, by default as
    /// many as in training.
    ///
    /// # Errors
    /// When the model is no CTC model, was not trained with `model.causal_chunk`, or the device has no room.
    pub async fn new(gpu: Arc<Gpu>, saved: SavedModel, chunk: Option<usize>) -> Result<Self> {
        Self::of(&DeviceModel::new(gpu, &saved)?, chunk).await
    }

    /// Transcribes a stream with a model that is on a device; `chunk` as of [`StreamRecognizer::new`]. Streams of one model
    /// know nothing of each other.
    ///
    /// # Errors
    /// When the model is no CTC model or was not trained with `model.causal_chunk`, or the device has no room.
    pub async fn of(on_device: &DeviceModel, chunk: Option<usize>) -> Result<Self> {
        let (head, vocabulary) = on_device.ctc()?;
        let config = on_device.config.clone();
        let Some(trained) = config.model.causal_chunk else {
            return Err(Error::invalid(
                "the model takes whole utterances and cannot transcribe a stream; train one with \
                 model.causal_chunk, or give the whole utterance",
            ));
        };
        let chunk = chunk.unwrap_or(trained).max(1);
        let model = CtcModel::new(Encoder::new(&config.model, config.bands), head);
        let preprocessor = on_device.preprocessor.preprocessor();
        let features = FeatureStream::new(&preprocessor)?;
        let decoder = Arc::new(Decoder::greedy(&vocabulary)?);
        let mut stream = Self {
            executor: on_device.executor(),
            config,
            model,
            vocabulary,
            preprocessor,
            chunk,
            plans: Vec::new(),
            state: Vec::new(),
            features,
            pending: Vec::new(),
            samples: 0,
            before: 0,
            frames: 0,
            endpoint: None,
            ended: Vec::new(),
            handover: Handover::of(decoder.token_prune(), decoder.alphabet().len()),
            running: decoder.begin(),
            decoder,
            count: 1,
        };
        let plan = stream.plan(chunk, true)?;
        let state: Vec<(String, Spec)> =
            plan.stored.iter().filter(|(name, _)| name.starts_with(STATE_PREFIX)).cloned().collect();
        let gpu = stream.executor.gpu().clone();
        stream.executor.store.arena(&gpu, "state", &state)?;
        stream.state = state.into_iter().map(|(name, spec)| (name, spec.shape.elements())).collect();
        let loaded = stream.executor.load(plan).await?;
        stream.plans.push(((chunk, true), loaded));
        stream.reset()?;
        Ok(stream)
    }

    /// Goes on with `decoder`, instead of a greedy one, which finds `count` texts at the end. What was received is forgotten.
    ///
    /// # Errors
    /// When the decoder is for another vocabulary, or the device fails.
    pub fn set_decoder(&mut self, decoder: Arc<Decoder>, count: usize) -> Result<()> {
        check_decoder(&decoder, &self.vocabulary)?;
        let handover = Handover::of(decoder.token_prune(), self.vocabulary.len());
        if !self.handover.holds(handover) {
            self.handover = handover;
            self.plans.clear();
        }
        (self.decoder, self.count) = (decoder, count);
        self.reset()
    }

    /// Ends sentences by this rule from now on; `None`: all is one. What was received is forgotten.
    ///
    /// # Errors
    /// When a number is out of its range, or the device fails.
    pub fn set_endpointing(&mut self, rule: Option<Endpointing>) -> Result<()> {
        if let Some(Endpointing { pause, quiet_db, longest }) = rule
            && !(pause >= SECONDS_PER_FRAME && quiet_db >= 0.0 && longest >= 1.0)
        {
            return Err(Error::invalid(format!(
                "a sentence cannot end with a pause of {pause} s, {quiet_db} dB quieter, or after {longest} s in all; the \
                 least are 0.04 s, 0 dB and 1 s"
            )));
        }
        self.endpoint = rule.map(|rule| (rule, Sentence::default()));
        self.reset()
    }

    /// The sentences that have ended since this was last asked for, with the times of their words in the stream.
    pub fn sentences(&mut self) -> Vec<Recognized> {
        std::mem::take(&mut self.ended)
    }

    /// Milliseconds of audio in a chunk.
    pub fn chunk_milliseconds(&self) -> f64 {
        self.chunk as f64 * SECONDS_PER_FRAME * 1e3
    }

    /// Forgets what was received.
    ///
    /// # Errors
    /// When the device fails.
    pub fn reset(&mut self) -> Result<()> {
        self.clear_state()?;
        self.features = FeatureStream::new(&self.preprocessor)?;
        (self.samples, self.before, self.frames) = (0, 0, 0);
        (self.pending, self.ended) = (Vec::new(), Vec::new());
        if let Some((_, sentence)) = &mut self.endpoint {
            *sentence = Sentence::first(self.preprocessor.silence);
        }
        self.running = self.decoder.begin();
        Ok(())
    }

    /// Sets the state of layers to that of a stream's beginning.
    fn clear_state(&mut self) -> Result<()> {
        for (name, elements) in &self.state {
            self.executor.store.write(self.executor.gpu(), name, &vec![0.0_f32; *elements])?;
        }
        Ok(())
    }

    /// Takes more of the waveform (16 kHz, mono, in [-1, 1]); `true` where this completed a chunk.
    ///
    /// # Errors
    /// When a sample is not finite, or the device fails.
    pub async fn push(&mut self, samples: &[f32]) -> Result<bool> {
        if samples.iter().any(|sample| !sample.is_finite()) {
            return Err(Error::invalid("the stream holds a sample that is not finite; leave it out"));
        }
        self.samples += samples.len();
        if let Some((_, sentence)) = &mut self.endpoint {
            sentence.push(samples);
        }
        let features = self.features.push(samples);
        self.pending.extend(features.data);
        let mut advanced = false;
        while self.waiting() >= self.chunk * STRIDE {
            self.advance(self.chunk).await?;
            self.end_sentence()?;
            advanced = true;
        }
        Ok(advanced)
    }

    /// Gives away the sentence that the last chunk has ended, and begins another with that chunk's last frame, which the
    /// front-end would look back to.
    fn end_sentence(&mut self) -> Result<()> {
        let Some((rule, sentence)) = &mut self.endpoint else { return Ok(()) };
        let Some(end) = sentence.end(rule) else { return Ok(()) };
        *sentence = std::mem::take(sentence).next(1);
        let running = std::mem::replace(&mut self.running, self.decoder.begin());
        if end == End::Sentence {
            // A search may find that nothing was said.
            let said = self.finished(running);
            self.ended.extend((!said.text.is_empty()).then_some(said));
        }
        self.before += self.frames - 1;
        self.frames = 0;
        self.clear_state()
    }

    /// The texts that the sentence's frames say.
    fn finished(&self, running: Running) -> Recognized {
        let timing = self.timing();
        let found = running.finish(self.count.max(1));
        with_alternatives(found.into_iter().map(|text| timing.recognized(text)).collect())
    }

    /// Ends the stream, and forgets it: the text of all, or with endpointing since the last sentence ended
    /// ([`StreamRecognizer::sentences`] are to be taken before).
    ///
    /// # Errors
    /// When the device fails.
    pub async fn finish(&mut self) -> Result<Recognized> {
        let features = self.features.finish();
        self.pending.extend(features.data);
        while self.waiting() > 0 {
            let frames = self.waiting().div_ceil(STRIDE).min(self.chunk);
            let missing = (frames * STRIDE).saturating_sub(self.waiting());
            self.pending.extend(std::iter::repeat_n(0.0, missing * self.config.bands));
            self.advance(frames).await?;
        }
        let running = std::mem::replace(&mut self.running, self.decoder.begin());
        let said = self.finished(running);
        self.reset()?;
        Ok(said)
    }

    /// The text so far, with endpointing of the sentence that has not ended. The first [`Recognized::settled`] words stay, the others may still change.
    pub fn recognized(&self) -> Recognized {
        let settled = self.running.settled();
        Recognized { settled, ..self.timing().recognized(self.running.hypothesis()) }
    }

    fn timing(&self) -> Timing {
        let duration = self.samples as f64 / f64::from(SAMPLE_RATE);
        let before = self.before as f64 * SECONDS_PER_FRAME;
        Timing { start: 0.0, offset: self.preprocessor.silence - before, duration }
    }

    /// Feature frames of the encoder frame before the next chunk, which the front-end looks back to.
    fn context(&self) -> usize {
        if self.frames == 0 { 0 } else { STRIDE }
    }

    /// Feature frames that no chunk has had yet.
    fn waiting(&self) -> usize {
        (self.pending.len() / self.config.bands).saturating_sub(self.context())
    }

    /// Runs the next chunk of `frames` encoder frames.
    async fn advance(&mut self, frames: usize) -> Result<()> {
        let (bands, first) = (self.config.bands, self.frames);
        let key = (frames, first == 0);
        let mut loaded = match self.plans.iter().position(|(known, _)| *known == key) {
            Some(at) => self.plans.swap_remove(at).1,
            None => {
                let plan = self.plan(frames, first == 0)?;
                self.executor.load(plan).await?
            }
        };
        let used = (self.context() + frames * STRIDE) * bands;
        let executor = &self.executor;
        executor.write_input(&loaded, "features", &self.pending[..used])?;
        executor.write_input(&loaded, "lengths", &[frames as u32])?;
        executor.write_input(&loaded, "valid", &vec![1.0_f32; frames])?;
        executor.write_input(&loaded, "inverse_frames", &[1.0 / (first + frames) as f32])?;
        let context = self.config.model.kernel - 1;
        if executor.takes(&loaded, "frames_with_context") {
            executor.write_input(&loaded, "frames_with_context", &[(frames + context) as u32])?;
        }
        if executor.takes(&loaded, "positions") {
            let positions = sinusoid_from(first, frames, self.config.model.d_model);
            executor.write_input(&loaded, "positions", &positions)?;
        }
        executor.run(&mut loaded)?;
        let handed = self.handover.read(executor, &loaded).await?;
        let prune = self.decoder.token_prune();
        let emissions = handed.emissions(0..frames, self.vocabulary.len(), prune)?;
        if let Some((_, sentence)) = &mut self.endpoint {
            sentence.chunk(emissions.best().map(|id| !self.decoder.alphabet().is_silent(id)));
        }
        self.running.push(&emissions);
        self.frames += frames;
        self.plans.push((key, loaded));
        self.pending.drain(..used - STRIDE * bands);
        Ok(())
    }

    /// The plan for a chunk of `frames` encoder frames.
    fn plan(&self, frames: usize, first: bool) -> Result<Plan> {
        let graph = Graph::new();
        let scope = graph.root();
        let ctx = Context::chunk(&scope, frames);
        let context = if first { 0 } else { STRIDE };
        let features = Spec::f32([1, context + frames * STRIDE, self.config.bands]);
        let (logits, _) = self.model.forward(&scope, &ctx, &scope.input("features", features))?;
        let outputs = self.handover.outputs(&logits.reshape([frames, self.vocabulary.len()])?)?;
        let outputs: Vec<(&str, &Tensor)> =
            outputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        Plan::compile(&graph, &outputs, self.config.options.plan, self.executor.gpu().capabilities())
    }
}
