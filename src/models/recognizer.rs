//! Speech to text with a CTC model: windows of long audio, batches, one plan a shape, greedy decisions.

use std::ops::Range;
use std::sync::Arc;

use web_time::Instant;

use super::resident::{Resident, batch, bucket, check_waves};
use super::{CtcModel, DeviceModel, Encoder, STRIDE, SavedModel, frames_after};
use crate::audio::{HOP, Preprocessor, SAMPLE_RATE};
use crate::error::Result;
use crate::exec::Plan;
use crate::gpu::Gpu;
use crate::graph::{Scope, Tensor};
use crate::nn::Context;
use crate::text::{SECONDS_PER_FRAME, Timing, Vocabulary, Word, words};

/// Longer audio is cut into windows of at most this many samples (60 s).
const LONGEST: usize = 60 * SAMPLE_RATE as usize;
/// A window ends at the quietest moment of its last 15 s.
const SEARCH: usize = 15 * SAMPLE_RATE as usize;
/// Hops (10 ms) over which quietness is judged.
const QUIET_HOPS: usize = 20;
/// Feature frames of a batch, padding included, unless one row alone has more.
const BATCH_FRAMES: usize = 8192;

/// What was heard in one wave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recognized {
    /// The words, with single spaces between them.
    pub text: String,
    /// Their times, in seconds from the wave's beginning, and confidence.
    pub words: Vec<Word>,
}

impl From<Vec<Word>> for Recognized {
    fn from(words: Vec<Word>) -> Self {
        let text = words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
        Self { text, words }
    }
}

/// A CTC model on a device.
pub struct Recognizer {
    resident: Resident,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
}

/// A part of a wave.
struct Window {
    wave: usize,
    samples: Range<usize>,
}

/// The most probable token of each encoder frame of a window.
struct Decisions {
    ids: Vec<u32>,
    probabilities: Vec<f32>,
    /// Seconds of the first frame before the window's beginning.
    offset: f64,
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
    pub fn of(placed: &DeviceModel) -> Result<Self> {
        let (head, vocabulary) = placed.ctc()?;
        let encoder = Encoder::new(&placed.config.model, placed.config.bands);
        let model = CtcModel::new(encoder, head);
        let forward = move |scope: &Scope, ctx: &Context, features: &Tensor| {
            let (logits, _) = model.forward(scope, ctx, features)?;
            let tokens = logits.dims()[2];
            let (ids, probabilities) = logits.reshape([ctx.batch * ctx.time, tokens])?.argmax()?;
            Ok(vec![("ids".to_owned(), ids), ("probabilities".to_owned(), probabilities)])
        };
        let preprocessor = placed.preprocessor.preprocessor();
        let resident = Resident::new(placed, placed.config.clone(), Box::new(forward));
        Ok(Self { resident, vocabulary, preprocessor })
    }

    /// Transcribes waves (16 kHz, mono, in [-1, 1]) of any length.
    ///
    /// With masked padding a wave's words do not depend on the others; with the reference's, waves are
    /// not batched, so that they do not either.
    ///
    /// # Errors
    /// When a wave is empty or holds a sample that is not finite, or the device fails.
    pub async fn recognize(&mut self, waves: &[&[f32]]) -> Result<Vec<Recognized>> {
        self.recognize_watched(waves, &mut |_| Ok(())).await
    }

    /// As [`Recognizer::recognize`]; `watch` hears of the samples done after every batch, and may end the work.
    ///
    /// # Errors
    /// As of [`Recognizer::recognize`], and what `watch` returns.
    pub async fn recognize_watched(
        &mut self,
        waves: &[&[f32]],
        watch: &mut (dyn FnMut(usize) -> Result<()> + Send),
    ) -> Result<Vec<Recognized>> {
        check_waves(waves)?;
        let mut windows = Vec::new();
        for (wave, samples) in waves.iter().enumerate() {
            windows.extend(split(samples).into_iter().map(|samples| Window { wave, samples }));
        }
        let mut decisions: Vec<Option<Decisions>> = windows.iter().map(|_| None).collect();
        let mut done = 0;
        for group in self.groups(&windows) {
            let parts: Vec<&[f32]> =
                group.iter().map(|&at| &waves[windows[at].wave][windows[at].samples.clone()]).collect();
            for (at, found) in group.into_iter().zip(self.decide(&parts).await?) {
                done += windows[at].samples.len();
                decisions[at] = Some(found);
            }
            watch(done)?;
        }
        let mut recognized: Vec<Vec<Word>> = vec![Vec::new(); waves.len()];
        for (window, found) in windows.iter().zip(decisions) {
            let Some(found) = found else { continue };
            let seconds = |samples: usize| samples as f64 / f64::from(SAMPLE_RATE);
            let timing = Timing {
                seconds_per_frame: SECONDS_PER_FRAME,
                offset: found.offset,
                duration: seconds(window.samples.len()),
            };
            let start = seconds(window.samples.start);
            let heard = words(&self.vocabulary, &found.ids, &found.probabilities, timing)?;
            let heard = heard.into_iter().map(|w| Word { start: w.start + start, end: w.end + start, ..w });
            recognized[window.wave].extend(heard);
        }
        Ok(recognized.into_iter().map(Recognized::from).collect())
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

    /// The decisions on one batch of windows.
    async fn decide(&mut self, parts: &[&[f32]]) -> Result<Vec<Decisions>> {
        let begun = Instant::now();
        let batch = batch(&self.preprocessor, parts)?;
        self.resident.run(&batch).await?;
        let ids: Vec<u32> = self.resident.read("ids").await?;
        let probabilities: Vec<f32> = self.resident.read("probabilities").await?;
        tracing::debug!(
            "recognized {} windows in a batch of {} × {} frames in {:.1} ms",
            parts.len(),
            batch.utterances,
            batch.frames,
            begun.elapsed().as_secs_f64() * 1e3
        );
        let time = frames_after(batch.frames);
        let decisions = batch.starts.iter().enumerate().take(parts.len()).map(|(row, &start)| {
            let length = batch.lengths[row] as usize;
            let valid = row * time..row * time + length.div_ceil(STRIDE).min(time);
            Decisions {
                ids: ids[valid.clone()].to_vec(),
                probabilities: probabilities[valid].to_vec(),
                offset: self.preprocessor.silence + f64::from(start) * HOP as f64 / f64::from(SAMPLE_RATE),
            }
        });
        Ok(decisions.collect())
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
        self.resident.plan(rows, frames)
    }
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
        let mut wave = vec![0.5; 150 * second];
        wave[50 * second..51 * second].fill(0.001);
        wave[100 * second..101 * second].fill(0.001);
        let windows = split(&wave);
        assert_eq!((windows[0].start, windows.last().map(|w| w.end)), (0, Some(wave.len())));
        assert_eq!(windows.len(), 3);
        for (pair, pause) in windows.windows(2).zip([50, 100]) {
            assert_eq!(pair[0].end, pair[1].start);
            assert!((pause * second..(pause + 1) * second).contains(&pair[0].end), "{windows:?}");
        }
        assert!(windows.iter().all(|window| window.len() <= LONGEST));
        assert_eq!(split(&wave[..LONGEST]).len(), 1);
    }
}
