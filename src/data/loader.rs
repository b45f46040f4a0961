//! Batches made in the background.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use web_time::Instant;

use super::cache::FeatureCache;
use super::examples::{Example, ExampleAudio, Examples, Refused};
use super::left_out::{Exclusions, LeftOut, Why};
use super::manifest::Corpus;
use super::sampler::{BatchIndex, BucketConfig, Order, PlannedBatch, Sampler};
use crate::audio::{Augmentation, BANDS, PaddedBatch, Preprocessor, SAMPLE_RATE};
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Which batches of the sequence a loader makes: runs of `run` that follow each other, in turns with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Whose turn, from 0.
    pub rank: usize,
    /// Of how many.
    pub of: usize,
    /// Batches of a turn.
    pub run: usize,
}

impl Share {
    /// All batches.
    pub const WHOLE: Self = Self { rank: 0, of: 1, run: 1 };

    fn has(self, turn: usize) -> bool {
        turn / self.run % self.of == self.rank
    }
}

/// Settings of a [`Loader`].
#[derive(Clone)]
pub struct LoaderConfig {
    /// Silence, energies, normalization, padding.
    pub preprocessor: Preprocessor,
    /// Shapes of batches.
    pub buckets: BucketConfig,
    /// Order, and whether there is an end.
    pub order: Order,
    /// Seed of the order and of augmentation.
    pub seed: u32,
    /// Adds an augmented copy of every row, which doubles B: row B/2 + i is the copy of row i.
    pub augmentation: Option<Augmentation>,
    /// Whether a bad file is an error; otherwise its row stays empty, see [`Loader::left_out`].
    pub strict: bool,
    /// Threads that make batches.
    pub threads: usize,
    /// Batches ready in advance.
    pub prefetch: usize,
    /// Which of the batches are made.
    pub share: Share,
}

impl LoaderConfig {
    /// Without augmentation, lenient, four batches in advance.
    pub fn new(preprocessor: Preprocessor, buckets: BucketConfig, order: Order, seed: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            preprocessor,
            buckets,
            order,
            seed,
            augmentation: None,
            strict: false,
            // One core is left for the thread that keeps the device busy; each thread holds a batch or two.
            threads: cores.saturating_sub(1).clamp(1, 64),
            prefetch: 4,
            share: Share::WHOLE,
        }
    }

    /// The most feature frames that an example can have, augmented or not.
    fn frames(&self, example: &Example) -> usize {
        self.preprocessor.frames(self.most_samples(example.longest()))
    }

    /// The most samples that a waveform of `samples` can have, augmented or not.
    fn most_samples(&self, samples: usize) -> usize {
        self.augmentation.as_ref().map_or(samples, |a| a.longest(samples).max(samples))
    }

    fn all_frames(&self, examples: &[Example]) -> Vec<usize> {
        examples.iter().map(|example| self.frames(example)).collect()
    }

    /// The order and the shapes of the examples' batches.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn sampler(&self, examples: &Examples) -> Result<Sampler> {
        let longest = self.preprocessor.frames(self.most_samples(examples.longest()));
        Sampler::bounded(self.all_frames(&examples.list), longest, &self.buckets, self.order, self.seed)
    }

    /// Every shape (B, F) that a batch can have, shortest first.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn shapes(&self, examples: &Examples) -> Result<Vec<(usize, usize)>> {
        let sampler = self.sampler(examples)?;
        Ok(sampler
            .shapes()
            .iter()
            .map(|&(utterances, frames)| (self.copies() * utterances, frames))
            .collect())
    }

    /// The part of a batch's frames that is padding, rows without an example among it: over an epoch, by the lengths that
    /// are expected.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn padding(&self, examples: &Examples) -> Result<f64> {
        let epoch = self.sampler(examples)?.epoch(0);
        let planned: usize = epoch.iter().map(|batch| batch.utterances * batch.frames).sum();
        let filled: usize =
            examples.list.iter().map(|example| self.preprocessor.frames(example.samples)).sum();
        Ok(1.0 - filled as f64 / planned.max(1) as f64)
    }

    /// Rows of each example.
    pub(crate) fn copies(&self) -> usize {
        if self.augmentation.is_some() { 2 } else { 1 }
    }

    /// A cache for the examples' features, of 512 MiB at the most; of nothing where features differ from
    /// epoch to epoch or with the batch, or where that is less than a tenth of them.
    pub fn cache(&self, examples: &Examples) -> FeatureCache {
        const MOST_FRAMES: usize = (512 << 20) / (BANDS * size_of::<f32>());
        let frames = examples.list.iter().map(|example| self.frames(example)).sum::<usize>();
        let worth_it = self.features_last(examples) && frames <= 10 * MOST_FRAMES;
        FeatureCache::new(if worth_it { frames.min(MOST_FRAMES) } else { 0 })
    }

    fn features_last(&self, examples: &Examples) -> bool {
        self.augmentation.is_none() && self.preprocessor.padding.by_own_length() && !examples.differ()
    }
}

/// The data of a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rows B, empty ones included.
    pub utterances: usize,
    /// Frames F of a row, a multiple of 4.
    pub frames: usize,
    /// `[B, F, 80]`, normalized and padded.
    pub features: Vec<f32>,
    /// `[B]`: valid feature frames, the padding on the left included; 0 for an empty row.
    pub lengths: Vec<u32>,
    /// `[B]`: what is said, where known; a space between the texts of concatenated clips.
    pub texts: Vec<Option<String>>,
    /// `[B]`: indices in the corpus of the recordings that the row has, in order; none for an empty row.
    pub ids: Vec<Vec<usize>>,
    /// Duration of the examples, silence and augmented copies not counted.
    pub audio_seconds: f64,
    /// Position in the order of batches.
    pub index: BatchIndex,
}

/// Makes batches in background threads, ahead of the caller. Dropping it stops them.
///
/// The sequence of batches depends on corpus, examples and settings alone, not on threads or timing, and
/// one started from [`BatchIndex::following`] of a batch goes on exactly as an unbroken one.
pub struct Loader {
    maker: Arc<BatchMaker>,
    queues: Vec<Receiver<Result<Prepared>>>,
    workers: Vec<Option<JoinHandle<()>>>,
    turn: usize,
    batches_per_epoch: usize,
    left_out: Exclusions,
    differing: Vec<LeftOut>,
}

/// What a thread made of a planned batch.
#[derive(Default)]
struct Prepared {
    /// `None` where all its files are bad.
    batch: Option<Batch>,
    left_out: Vec<(Why, LeftOut)>,
    differing: Vec<LeftOut>,
}

impl Loader {
    /// Starts at `from`. The cache may be shared by loaders of the same examples and preprocessor.
    ///
    /// # Errors
    /// When the settings are wrong or a thread cannot be started.
    pub fn start(
        corpus: Arc<Corpus>,
        examples: Arc<Examples>,
        cache: Arc<FeatureCache>,
        config: LoaderConfig,
        from: BatchIndex,
    ) -> Result<Self> {
        if let Some(augmentation) = &config.augmentation {
            augmentation.check()?;
        }
        let sampler = config.sampler(&examples)?;
        // A resumed run counts as an unbroken one, also where epochs differ.
        let batches_per_epoch = sampler.epoch(0).len();
        let (threads, prefetch) = (config.threads.max(1), config.prefetch);
        let maker = Arc::new(BatchMaker {
            windows: windows(&examples),
            cache,
            stop: AtomicBool::new(false),
            corpus,
            examples,
            sampler,
            config,
        });
        let mut loader = Self {
            maker,
            queues: Vec::new(),
            workers: Vec::new(),
            turn: 0,
            batches_per_epoch,
            left_out: Exclusions::default(),
            differing: Vec::new(),
        };
        for worker in 0..threads {
            let (sender, queue) = sync_channel(prefetch.div_ceil(threads).max(1));
            let maker = Arc::clone(&loader.maker);
            let thread = std::thread::Builder::new()
                .name(format!("loader {worker}"))
                .spawn(move || maker.work(worker, threads, from, &sender))
                .map_err(|error| {
                    Error::invalid(format!("cannot start a thread for loading data: {error}"))
                })?;
            loader.queues.push(queue);
            loader.workers.push(Some(thread));
        }
        Ok(loader)
    }

    /// The next batch, waiting for it; `None` at the end, which [`Order::Shuffled`] does not have. A bad
    /// file under `strict` is an error.
    #[allow(clippy::should_implement_trait, reason = "an endless iterator of results invites `collect`")]
    pub fn next(&mut self) -> Option<Result<Batch>> {
        // An epoch, and a part of the next, without one good file.
        for _ in 0..=2 * self.batches_per_epoch {
            match self.next_turn() {
                Some(Ok(None)) => {}
                Some(Ok(Some(batch))) => return Some(Ok(batch)),
                Some(Err(error)) => return Some(Err(error)),
                None => return None,
            }
        }
        let first = self.left_out.iter().next().map(|(_, first)| format!("; the first: {first}"));
        Some(Err(Error::invalid(format!(
            "no audio file can be read; check the paths in the manifest{}",
            first.unwrap_or_default()
        ))))
    }

    /// As [`Loader::next`], but a batch that was planned and has not one good file counts, as `Some(Ok(None))`.
    pub fn next_turn(&mut self) -> Option<Result<Option<Batch>>> {
        let worker = self.turn % self.queues.len();
        self.turn += 1;
        let begun = Instant::now();
        match self.queues[worker].recv() {
            Ok(Err(error)) => Some(Err(error)),
            Ok(Ok(prepared)) => {
                for (why, left_out) in prepared.left_out {
                    self.left_out.add(why, left_out);
                }
                self.differing.extend(prepared.differing);
                if let Some(batch) = &prepared.batch {
                    tracing::debug!(
                        "batch {} of epoch {}: {} × {} frames, waited for {:.1} ms",
                        batch.index.batch,
                        batch.index.epoch,
                        batch.utterances,
                        batch.frames,
                        begun.elapsed().as_secs_f64() * 1e3
                    );
                }
                Some(Ok(prepared.batch))
            }
            Err(_) => {
                let panicked = self.workers[worker].take().is_some_and(|thread| thread.join().is_err());
                panicked.then(|| {
                    Err(Error::invalid("a thread that loads data panicked; report this as a defect"))
                })
            }
        }
    }

    /// Batches of an epoch, on all ranks: of the first, where they differ by a few.
    pub fn batches_per_epoch(&self) -> usize {
        self.batches_per_epoch
    }

    /// Recordings that the batches so far lack, because they gave nothing.
    pub fn left_out(&self) -> &Exclusions {
        &self.left_out
    }

    /// Takes the recordings of the batches so far that are not as long as was expected.
    pub fn take_differing(&mut self) -> Vec<LeftOut> {
        std::mem::take(&mut self.differing)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.maker.stop.store(true, Ordering::Relaxed);
        // A worker that waits for room in its queue wakes up when the queue is gone.
        self.queues.clear();
        for thread in self.workers.iter_mut().filter_map(Option::take) {
            // A panic has been reported by `next`, or the batches are no longer wanted.
            let _ = thread.join();
        }
    }
}

/// The shared state of the threads.
struct BatchMaker {
    corpus: Arc<Corpus>,
    examples: Arc<Examples>,
    config: LoaderConfig,
    sampler: Sampler,
    cache: Arc<FeatureCache>,
    /// The examples cut from a recording, where there are several.
    windows: HashMap<usize, Vec<usize>>,
    stop: AtomicBool,
}

impl BatchMaker {
    /// Makes every `workers`-th batch from the `worker`-th on, so that the queues, read in turn, give the
    /// batches in order.
    fn work(&self, worker: usize, workers: usize, from: BatchIndex, queue: &SyncSender<Result<Prepared>>) {
        let (mut turn, mut own) = (0, 0);
        let mut first = from.batch as usize;
        for epoch in from.epoch.. {
            let (examples, planned) = self.epoch(epoch);
            for (batch, planned) in planned.iter().enumerate().skip(first) {
                turn += 1;
                if !self.config.share.has(turn - 1) {
                    continue;
                }
                own += 1;
                if (own - 1) % workers != worker {
                    continue;
                }
                let batch = self.batch(&examples, planned, BatchIndex { epoch, batch: batch as u32 });
                if self.stop.load(Ordering::Relaxed) || queue.send(batch).is_err() {
                    return;
                }
            }
            first = 0;
            if self.config.order == Order::Sorted || self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// The examples of an epoch, and its batches.
    fn epoch(&self, epoch: u32) -> (Cow<'_, [Example]>, Vec<PlannedBatch>) {
        let examples = self.examples.epoch(epoch);
        let planned = match &examples {
            Cow::Borrowed(_) => self.sampler.epoch(epoch),
            Cow::Owned(drawn) => self.sampler.with(self.config.all_frames(drawn)).epoch(epoch),
        };
        (examples, planned)
    }

    fn batch(&self, examples: &[Example], planned: &PlannedBatch, index: BatchIndex) -> Result<Prepared> {
        let rows = planned.utterances * self.config.copies();
        let mut padded = PaddedBatch::empty(rows, planned.frames);
        let (mut texts, mut ids, mut samples) = (vec![None; rows], vec![Vec::new(); rows], 0);
        let mut prepared = Prepared::default();
        for (row, &at) in planned.examples.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Prepared::default());
            }
            let places = [row, planned.utterances + row];
            let filled = self.fill(&mut padded, places, &examples[at], at, index.epoch)?;
            for refused in filled.refused {
                if self.config.strict {
                    return Err(refused.error);
                }
                prepared.left_out.push((refused.why, refused.left_out(&self.corpus)));
            }
            prepared.differing.extend(filled.differing);
            let Some(length) = filled.samples else { continue };
            samples += length;
            for row in (row..rows).step_by(planned.utterances) {
                texts[row] = self.text(&filled.parts);
                ids[row] = filled.parts.clone();
            }
        }
        if ids.iter().any(|parts| !parts.is_empty()) {
            let PaddedBatch { utterances, frames, features, lengths, .. } = padded;
            let audio_seconds = samples as f64 / f64::from(SAMPLE_RATE);
            prepared.batch =
                Some(Batch { utterances, frames, features, lengths, texts, ids, audio_seconds, index });
        }
        Ok(prepared)
    }

    /// What is said in recordings of the corpus, one after the other; `None` where that is known of none of them.
    fn text(&self, parts: &[usize]) -> Option<String> {
        let texts: Vec<&str> = parts
            .iter()
            .filter_map(|&id| self.corpus.utterances[id].text.as_deref())
            .map(str::trim)
            .collect();
        let said = texts.iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>();
        (!texts.is_empty()).then(|| said.join(" "))
    }

    /// Writes an example, the epoch's `at`-th, into its row, and its augmented copy into the other.
    fn fill(
        &self,
        padded: &mut PaddedBatch,
        rows: [usize; 2],
        example: &Example,
        at: usize,
        epoch: u32,
    ) -> Result<Filled> {
        let preprocessor = &self.config.preprocessor;
        let features_last = self.config.features_last(&self.examples);
        if features_last && let Some((features, samples)) = self.cache.get(at) {
            preprocessor.place(padded, rows[0], &features)?;
            // It is kept only where nothing of it was refused.
            let parts = example.segments.iter().map(|segment| segment.utterance).collect();
            return Ok(Filled { samples: Some(samples), parts, ..Filled::default() });
        }
        let ExampleAudio { waveform, parts, mut refused, differing } = self.audio(example, at);
        let longest = self.config.most_samples(waveform.len());
        if waveform.len() < self.examples.least {
            if refused.is_empty() {
                refused.push(self.examples.too_short(&self.corpus, example, waveform.len()));
            }
            return Ok(Filled { refused, ..Filled::default() });
        }
        if preprocessor.frames(longest) > padded.frames {
            refused.push(self.too_long(example, waveform.len()));
            return Ok(Filled { refused, ..Filled::default() });
        }
        let filled = Filled { samples: Some(waveform.len()), parts, refused, differing };
        if features_last {
            let features = preprocessor.features(&waveform);
            // What is kept is not read again, and so would not be named again.
            if filled.refused.is_empty() && filled.differing.is_empty() {
                self.cache.offer(at, &features, waveform.len());
            }
            preprocessor.place(padded, rows[0], &features)?;
            return Ok(filled);
        }
        let copy = match &self.config.augmentation {
            None => None,
            Some(augmentation) => {
                let mut rng = Rng::new(&[self.config.seed, stream("augmentation"), epoch, at as u32]);
                Some(augmentation.apply(&waveform, &mut rng)?)
            }
        };
        for (row, waveform) in rows.into_iter().zip([Some(waveform), copy]) {
            let Some(waveform) = waveform else { continue };
            if preprocessor.padding.by_own_length() {
                preprocessor.place(padded, row, &preprocessor.features(&waveform))?;
                continue;
            }
            let longest = preprocessor.samples(padded.frames);
            preprocessor.place_reference(padded, row, &waveform, longest)?;
        }
        Ok(filled)
    }

    /// That an example has no room in its batch.
    fn too_long(&self, example: &Example, samples: usize) -> Refused {
        let utterance = example.segments.first().map_or(0, |segment| segment.utterance);
        let message = format!(
            "lasts {:.3} s, for which a batch of clips of {:.3} s has no room; correct its duration in the manifest",
            samples as f64 / f64::from(SAMPLE_RATE),
            example.seconds()
        );
        let error = Error::file(self.corpus.utterances[utterance].audio.to_string(), message);
        Refused { why: Why::TooLong, utterance, error }
    }

    /// The audio of an example, the epoch's `at`-th. A recording that is decoded for one of its windows gives the
    /// features of the others as well, as long as they can be kept.
    fn audio(&self, example: &Example, at: usize) -> ExampleAudio {
        let mut recording = None;
        let mut read = |utterance: usize| {
            let samples = self.corpus.utterances[utterance].audio.read()?.samples;
            let samples = Arc::new(samples);
            recording = Some((utterance, Arc::clone(&samples)));
            Ok(samples)
        };
        let audio = example.waveform(&self.corpus, &mut read);
        let Some((utterance, samples)) = recording.filter(|_| self.config.features_last(&self.examples))
        else {
            return audio;
        };
        for &other in self.windows.get(&utterance).into_iter().flatten().filter(|&&other| other != at) {
            let example = &self.examples.list[other];
            if !self.cache.has_room(self.config.frames(example)) {
                break;
            }
            let window = example.waveform(&self.corpus, &mut |_| Ok(Arc::clone(&samples)));
            // A window beyond the recording's end is named when it is its turn.
            if window.waveform.len() >= self.examples.least && window.differing.is_empty() {
                let features = self.config.preprocessor.features(&window.waveform);
                self.cache.offer(other, &features, window.waveform.len());
            }
        }
        audio
    }
}

/// The result of filling an example's rows.
#[derive(Default)]
struct Filled {
    /// Samples of its waveform; `None` where the rows stay empty.
    samples: Option<usize>,
    /// The recordings that it has.
    parts: Vec<usize>,
    refused: Vec<Refused>,
    differing: Vec<LeftOut>,
}

/// The examples cut from each recording that gives several.
fn windows(examples: &Examples) -> HashMap<usize, Vec<usize>> {
    let alone = |example: &Example| match &example.segments[..] {
        [segment] => Some(segment.utterance),
        _ => None,
    };
    let (mut windows, mut first) = (HashMap::new(), 0);
    // They follow each other.
    for run in examples.list.chunk_by(|a, b| alone(a).is_some() && alone(a) == alone(b)) {
        if let (Some(utterance), 2..) = (alone(&run[0]), run.len()) {
            windows.insert(utterance, (first..first + run.len()).collect());
        }
        first += run.len();
    }
    windows
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
