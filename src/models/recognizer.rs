//! Speech to text with a CTC model: windows of long audio, batches, one plan a shape, a decoder.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use web_time::Instant;

use super::handover::Handover;
use super::inference::{Forward, InferenceSession, batch, bucket, check_waveforms};
use super::output::{ModelOutput, Recognized, Timing};
use super::{CtcModel, DeviceModel, Encoder, STRIDE, SavedModel, frames_after};
use crate::audio::{HOP, Preprocessor, SAMPLE_RATE};
use crate::decode::{Decoder, Emissions};
use crate::error::{Error, Result};
use crate::exec::Plan;
use crate::gpu::Gpu;
use crate::graph::{Scope, Tensor};
use crate::nn::Context;
use crate::text::Vocabulary;

/// Longer audio is cut into windows of at most this many samples (60 s).
const LONGEST: usize = 60 * SAMPLE_RATE as usize;
/// A window ends at the quietest moment of its last 15 s.
const SEARCH: usize = 15 * SAMPLE_RATE as usize;
/// Hops (10 ms) over which quietness is judged.
const QUIET_HOPS: usize = 20;
/// Feature frames of a batch, padding included, unless one row alone has more.
const BATCH_FRAMES: usize = 8192;

/// A CTC model on a device.
pub struct Recognizer {
    session: InferenceSession,
    model: Arc<CtcModel>,
    handover: Handover,
    decoder: Arc<Decoder>,
    /// Texts that are found of each waveform.
    count: usize,
    /// The tokens of which the device's log-probabilities are kept, where it is not all that it hands over.
    kept: Option<BTreeSet<u32>>,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
}

/// A part of a waveform.
struct Window {
    waveform: usize,
    samples: Range<usize>,
}

impl Recognizer {
    /// Places the model's weights on the device.
    ///
    /// # Errors
    /// When the model is no CTC model or the device has no room for it.
    pub fn new(gpu: Arc<Gpu>, saved: SavedModel) -> Result<Self> {
        Self::of(&DeviceModel::new(gpu, &saved)?)
    }

    /// Recognizes with a model that is on a device.
    ///
    /// # Errors
    /// When it is no CTC model.
    pub fn of(on_device: &DeviceModel) -> Result<Self> {
        let (head, vocabulary) = on_device.ctc()?;
        let encoder = Encoder::new(&on_device.config.model, on_device.config.bands);
        let model = Arc::new(CtcModel::new(encoder, head));
        let decoder = Arc::new(Decoder::greedy(&vocabulary)?);
        let handover = Handover::of(decoder.token_prune(), vocabulary.len());
        let preprocessor = on_device.preprocessor.preprocessor();
        let session =
            InferenceSession::new(on_device, on_device.config.clone(), forward(model.clone(), handover));
        Ok(Self { session, model, handover, decoder, count: 1, kept: None, vocabulary, preprocessor })
    }

    /// Goes on with `decoder`, instead of a greedy one, which finds `count` texts of each waveform.
    ///
    /// # Errors
    /// When the decoder is for another vocabulary.
    pub fn set_decoder(&mut self, decoder: Arc<Decoder>, count: usize) -> Result<()> {
        check_decoder(&decoder, &self.vocabulary)?;
        // What was handed over for one decoder does for those that look at less, with the same plans.
        let handover = Handover::of(decoder.token_prune(), self.vocabulary.len());
        if !self.handover.holds(handover) {
            self.handover = handover;
            self.session.set_forward(forward(self.model.clone(), handover));
        }
        (self.decoder, self.count, self.kept) = (decoder, count, None);
        Ok(())
    }

    /// From now on, [`Recognizer::forward`] tells the log-probabilities of these tokens alone, however small they are: what
    /// [`ModelOutput::align`] reads.
    pub fn keep_tokens(&mut self, tokens: BTreeSet<u32>) {
        if self.handover != Handover::Whole {
            self.handover = Handover::Whole;
            self.session.set_forward(forward(self.model.clone(), Handover::Whole));
        }
        self.kept = Some(tokens);
    }

    /// Transcribes waveforms (16 kHz, mono, in [-1, 1]) of any length.
    ///
    /// With masked padding a waveform's words do not depend on the others; with the reference's, waveforms are
    /// not batched, so that they do not either.
    ///
    /// # Errors
    /// When a waveform is empty or holds a sample that is not finite, or the device fails.
    pub async fn recognize(&mut self, waveforms: &[&[f32]]) -> Result<Vec<Recognized>> {
        self.recognize_watched(waveforms, &mut |_| Ok(())).await
    }

    /// As [`Recognizer::recognize`]; `watch` is called with the samples done after every batch, and may end the work.
    ///
    /// # Errors
    /// See [`Recognizer::recognize`], and what `watch` returns.
    pub async fn recognize_watched(
        &mut self,
        waveforms: &[&[f32]],
        watch: &mut (dyn FnMut(usize) -> Result<()> + Send),
    ) -> Result<Vec<Recognized>> {
        let outputs = self.forward(waveforms, watch).await?;
        Ok(outputs.iter().map(|output| output.decode(&self.decoder, self.count)).collect())
    }

    /// The outputs of the model for waveforms, as in [`Recognizer::recognize_watched`]: decoding, which needs no device, is
    /// left to the caller.
    ///
    /// # Errors
    /// See [`Recognizer::recognize_watched`].
    pub async fn forward(
        &mut self,
        waveforms: &[&[f32]],
        watch: &mut (dyn FnMut(usize) -> Result<()> + Send),
    ) -> Result<Vec<ModelOutput>> {
        check_waveforms(waveforms)?;
        let mut windows = Vec::new();
        for (waveform, samples) in waveforms.iter().enumerate() {
            windows.extend(split(samples).into_iter().map(|samples| Window { waveform, samples }));
        }
        let mut parts: Vec<Option<(Emissions, Timing)>> = windows.iter().map(|_| None).collect();
        let mut done = 0;
        for group in self.groups(&windows) {
            let waveforms: Vec<&[f32]> = group
                .iter()
                .map(|&at| &waveforms[windows[at].waveform][windows[at].samples.clone()])
                .collect();
            for (at, (emissions, offset)) in group.into_iter().zip(self.emit(&waveforms).await?) {
                let seconds = |samples: usize| samples as f64 / f64::from(SAMPLE_RATE);
                let samples = &windows[at].samples;
                let (start, duration) = (seconds(samples.start), seconds(samples.len()));
                done += samples.len();
                parts[at] = Some((emissions, Timing { start, offset, duration }));
            }
            watch(done)?;
        }
        let mut outputs = vec![ModelOutput::default(); waveforms.len()];
        for (window, part) in windows.iter().zip(parts) {
            outputs[window.waveform].parts.extend(part);
        }
        Ok(outputs)
    }

    /// Indices of windows that share a batch: of similar length, within the bound on frames.
    fn groups(&self, windows: &[Window]) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..windows.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(windows[at].samples.len()));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut room = 0;
        for at in order {
            match groups.last_mut() {
                Some(group) if group.len() < room => group.push(at),
                _ => {
                    let frames = bucket(self.preprocessor.frames(windows[at].samples.len()));
                    // The largest power of two that fits, since rows are rounded up to one.
                    room = 1 << (BATCH_FRAMES / frames).max(1).ilog2();
                    if !self.preprocessor.padding.by_own_length() {
                        room = 1;
                    }
                    groups.push(vec![at]);
                }
            }
        }
        groups
    }

    /// The emissions of one batch of windows, each with the seconds of its first frame before its beginning.
    async fn emit(&mut self, parts: &[&[f32]]) -> Result<Vec<(Emissions, f64)>> {
        let begun = Instant::now();
        let batch = batch(&self.preprocessor, parts)?;
        self.session.run(&batch).await?;
        let handed = self.session.hand_over(self.handover).await?;
        let handed = handed.ok_or_else(|| Error::invalid("the model was not run; please report it"))?;
        tracing::debug!(
            "recognized {} windows in a batch of {} × {} frames in {:.1} ms",
            parts.len(),
            batch.utterances,
            batch.frames,
            begun.elapsed().as_secs_f64() * 1e3
        );
        let time = frames_after(batch.frames);
        let emissions = batch.starts.iter().enumerate().take(parts.len()).map(|(row, &start)| {
            let length = batch.lengths[row] as usize;
            let valid = row * time..row * time + length.div_ceil(STRIDE).min(time);
            let offset = self.preprocessor.silence + f64::from(start) * HOP as f64 / f64::from(SAMPLE_RATE);
            let prune = match &self.kept {
                Some(_) => Some(f64::NEG_INFINITY),
                None => self.decoder.token_prune(),
            };
            let mut emissions = handed.emissions(valid, self.vocabulary.len(), prune)?;
            if let Some(kept) = &self.kept {
                emissions.retain(|id| kept.contains(&id));
            }
            Ok((emissions, offset))
        });
        emissions.collect()
    }

    /// The decoder.
    pub fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// The tokens that the model writes.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The plan for `rows` rows of `frames` feature frames.
    ///
    /// # Errors
    /// When the model does not fit the device's limits.
    pub fn plan(&self, rows: usize, frames: usize) -> Result<Plan> {
        self.session.plan(rows, frames)
    }
}

/// The model up to what is handed over.
fn forward(model: Arc<CtcModel>, handover: Handover) -> Box<Forward> {
    Box::new(move |scope: &Scope, ctx: &Context, features: &Tensor| {
        let (logits, _) = model.forward(scope, ctx, features)?;
        let tokens = logits.dims()[2];
        handover.outputs(&logits.reshape([ctx.batch * ctx.time, tokens])?)
    })
}

/// Checks that `decoder` reads the tokens of `vocabulary`.
pub(super) fn check_decoder(decoder: &Decoder, vocabulary: &Vocabulary) -> Result<()> {
    let (own, of_model) = (decoder.alphabet().len(), vocabulary.len());
    if own == of_model {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a decoder of {own} tokens cannot read a model of {of_model}; make one of its own"
    )))
}

/// Windows of at most [`LONGEST`] samples, parted where it is quiet.
fn split(samples: &[f32]) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let mut start = 0;
    while samples.len() - start > LONGEST {
        let from = start + LONGEST - SEARCH;
        let energy = |hop: &[f32]| hop.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let energies: Vec<f64> = samples[from..start + LONGEST].chunks(HOP).map(energy).collect();
        let sums = energies.windows(QUIET_HOPS).map(|hops| hops.iter().sum::<f64>());
        let quietest = sums.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(at, _)| at);
        let cut = from + (quietest + QUIET_HOPS / 2) * HOP;
        windows.push(start..cut);
        start = cut;
    }
    windows.push(start..samples.len());
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_audio_is_parted_in_its_pauses() {
        let second = SAMPLE_RATE as usize;
        let mut waveform = vec![0.5; 150 * second];
        waveform[50 * second..51 * second].fill(0.001);
        waveform[100 * second..101 * second].fill(0.001);
        let windows = split(&waveform);
        assert_eq!((windows[0].start, windows.last().map(|w| w.end)), (0, Some(waveform.len())));
        assert_eq!(windows.len(), 3);
        for (pair, pause) in windows.windows(2).zip([50, 100]) {
            assert_eq!(pair[0].end, pair[1].start);
            assert!((pause * second..(pause + 1) * second).contains(&pair[0].end), "{windows:?}");
        }
        assert!(windows.iter().all(|window| window.len() <= LONGEST));
        assert_eq!(split(&waveform[..LONGEST]).len(), 1);
    }
}
