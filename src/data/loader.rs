//! Batches made in the background.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::cache::FeatureCache;
use super::examples::{Example, Examples};
use super::manifest::Corpus;
use super::sampler::{BatchIndex, BucketConfig, Order, PlannedBatch, Sampler};
use crate::audio::{Augmentation, BANDS, PaddedBatch, Preprocessor};
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Settings of a [`Loader`].
#[derive(Clone)]
pub struct LoaderConfig {
    /// Silence, energies, normalisation, padding.
    pub preprocessor: Preprocessor,
    /// Shapes of batches.
    pub buckets: BucketConfig,
    /// Order, and whether there is an end.
    pub order: Order,
    /// Seed of the order and of augmentation.
    pub seed: u32,
    /// Adds an augmented copy of every row, which doubles B: row B/2 + i is the copy of row i.
    pub augmentation: Option<Augmentation>,
    /// Whether a bad file is an error; otherwise its row stays empty, and it is named and counted.
    pub strict: bool,
    /// Threads that make batches.
    pub threads: usize,
    /// Batches ready in advance.
    pub prefetch: usize,
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
            threads: cores.div_ceil(2).min(8),
            prefetch: 4,
        }
    }

    /// The most feature frames that an example can have, augmented or not.
    fn frames(&self, example: &Example) -> usize {
        let samples = example.longest();
        let longest = self.augmentation.as_ref().map_or(samples, |a| a.longest(samples).max(samples));
        self.preprocessor.frames(longest)
    }

    /// The order and the shapes of the examples' batches.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn sampler(&self, examples: &Examples) -> Result<Sampler> {
        let frames = examples.list.iter().map(|example| self.frames(example)).collect();
        Sampler::new(frames, &self.buckets, self.order, self.seed)
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

    /// Rows of each example.
    fn copies(&self) -> usize {
        if self.augmentation.is_some() { 2 } else { 1 }
    }

    /// A cache for the examples' features, of 512 MiB at the most; of nothing where features differ from
    /// epoch to epoch or with the batch.
    pub fn cache(&self, examples: &Examples) -> FeatureCache {
        const MOST_FRAMES: usize = (512 << 20) / (BANDS * size_of::<f32>());
        if !self.features_last() {
            return FeatureCache::new(0);
        }
        let frames = examples.list.iter().map(|example| self.frames(example)).sum::<usize>();
        FeatureCache::new(frames.min(MOST_FRAMES))
    }

    fn features_last(&self) -> bool {
        self.augmentation.is_none() && self.preprocessor.padding.by_own_length()
    }
}

/// What a training step needs from the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Rows B, empty ones included.
    pub utterances: usize,
    /// Frames F of a row, a multiple of 4.
    pub frames: usize,
    /// `[B, F, 80]`, normalised and padded.
    pub features: Vec<f32>,
    /// `[B]`: valid feature frames, the padding on the left included; 0 for an empty row.
    pub lengths: Vec<u32>,
    /// `[B]`: what is said, where known.
    pub texts: Vec<Option<String>>,
    /// `[B]`: index in the corpus (of the first part, where clips are strung together); `None` for an
    /// empty row.
    pub ids: Vec<Option<usize>>,
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
    queues: Vec<Receiver<Prepared>>,
    workers: Vec<Option<JoinHandle<()>>>,
    turn: usize,
    batches_per_epoch: usize,
}

/// `None` stands for a batch whose files are all bad.
type Prepared = Option<Result<Batch>>;

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
        let batches_per_epoch = sampler.epoch(from.epoch).len();
        let (threads, prefetch) = (config.threads.max(1), config.prefetch);
        let maker = Arc::new(BatchMaker {
            windows: windows(&examples),
            cache,
            bad: Mutex::default(),
            stop: AtomicBool::new(false),
            corpus,
            examples,
            sampler,
            config,
        });
        let mut loader = Self { maker, queues: Vec::new(), workers: Vec::new(), turn: 0, batches_per_epoch };
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
            let worker = self.turn % self.queues.len();
            self.turn += 1;
            match self.queues[worker].recv() {
                Ok(Some(batch)) => return Some(batch),
                Ok(None) => {}
                Err(_) => {
                    let panicked = self.workers[worker].take().is_some_and(|thread| thread.join().is_err());
                    return panicked.then(|| {
                        Err(Error::invalid("a thread that loads data panicked; report this as a defect"))
                    });
                }
            }
        }
        Some(Err(Error::invalid("no audio file can be read; check the paths in the manifest")))
    }

    /// Batches of the first epoch; with [`BatchSize::Utterances`](super::BatchSize) of any epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.batches_per_epoch
    }

    /// Examples left out so far because a file of theirs is bad.
    pub fn skipped(&self) -> usize {
        self.maker.bad_examples().len()
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

/// What the threads share.
struct BatchMaker {
    corpus: Arc<Corpus>,
    examples: Arc<Examples>,
    config: LoaderConfig,
    sampler: Sampler,
    cache: Arc<FeatureCache>,
    /// The examples cut from a recording, where there are several.
    windows: HashMap<usize, Vec<usize>>,
    bad: Mutex<BTreeSet<usize>>,
    stop: AtomicBool,
}

impl BatchMaker {
    fn bad_examples(&self) -> std::sync::MutexGuard<'_, BTreeSet<usize>> {
        // Inserting a number leaves the set sound whatever happens.
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every `workers`-th batch from the `worker`-th on, so that the queues, read in turn, give the
    /// batches in order.
    fn work(&self, worker: usize, workers: usize, from: BatchIndex, queue: &SyncSender<Prepared>) {
        let mut count = 0;
        let mut first = from.batch as usize;
        for epoch in from.epoch.. {
            for (batch, planned) in self.sampler.epoch(epoch).iter().enumerate().skip(first) {
                count += 1;
                if (count - 1) % workers != worker {
                    continue;
                }
                let batch = self.batch(planned, BatchIndex { epoch, batch: batch as u32 }).transpose();
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

    fn batch(&self, planned: &PlannedBatch, index: BatchIndex) -> Result<Option<Batch>> {
        let rows = planned.utterances * self.config.copies();
        let mut padded = PaddedBatch::empty(rows, planned.frames);
        let (mut texts, mut ids, mut audio_seconds) = (vec![None; rows], vec![None; rows], 0.0);
        for (row, &at) in planned.examples.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if self.bad_examples().contains(&at) {
                continue;
            }
            match self.fill(&mut padded, [row, planned.utterances + row], at, index.epoch) {
                Ok(()) => {}
                Err(error) if self.config.strict => return Err(error),
                Err(error) => {
                    tracing::warn!("left out: {error}");
                    self.bad_examples().insert(at);
                    continue;
                }
            }
            let example = &self.examples.list[at];
            audio_seconds += example.seconds();
            for row in (row..rows).step_by(planned.utterances) {
                ids[row] = example.segments.first().map(|segment| segment.utterance);
                texts[row] = ids[row].and_then(|id| self.corpus.utterances[id].text.clone());
            }
        }
        if ids.iter().all(Option::is_none) {
            return Ok(None);
        }
        let PaddedBatch { utterances, frames, features, lengths, .. } = padded;
        Ok(Some(Batch { utterances, frames, features, lengths, texts, ids, audio_seconds, index }))
    }

    /// Writes example `at` into its row, and its augmented copy into the other.
    fn fill(&self, padded: &mut PaddedBatch, rows: [usize; 2], at: usize, epoch: u32) -> Result<()> {
        let preprocessor = &self.config.preprocessor;
        if self.config.features_last() {
            if let Some(features) = self.cache.get(at) {
                return preprocessor.place(padded, rows[0], &features);
            }
            let features = preprocessor.features(&self.wave(at)?);
            self.cache.offer(at, &features);
            return preprocessor.place(padded, rows[0], &features);
        }
        let wave = self.wave(at)?;
        let copy = match &self.config.augmentation {
            None => None,
            Some(augmentation) => {
                let mut rng = Rng::new(&[self.config.seed, stream("augmentation"), epoch, at as u32]);
                Some(augmentation.apply(&wave, &mut rng)?)
            }
        };
        for (row, wave) in rows.into_iter().zip([Some(wave), copy]) {
            let Some(wave) = wave else { continue };
            if preprocessor.padding.by_own_length() {
                preprocessor.place(padded, row, &preprocessor.features(&wave))?;
                continue;
            }
            let longest = preprocessor.samples(padded.frames);
            preprocessor.place_reference(padded, row, &wave, longest)?;
        }
        Ok(())
    }

    /// The wave of example `at`. A recording that is decoded for one of its windows gives the features of
    /// the others as well, as long as they can be kept.
    fn wave(&self, at: usize) -> Result<Vec<f32>> {
        let mut recording = None;
        let mut read = |utterance: usize| {
            let samples = self.corpus.utterances[utterance].audio.read()?.samples;
            let samples = Arc::new(samples);
            recording = Some((utterance, Arc::clone(&samples)));
            Ok(samples)
        };
        let wave = self.examples.list[at].wave(&self.corpus, &mut read)?;
        let Some((utterance, samples)) = recording.filter(|_| self.config.features_last()) else {
            return Ok(wave);
        };
        for &other in self.windows.get(&utterance).into_iter().flatten().filter(|&&other| other != at) {
            let example = &self.examples.list[other];
            if !self.cache.has_room(self.config.frames(example)) {
                break;
            }
            // A window beyond the recording's end is named when it is its turn.
            if let Ok(wave) = example.wave(&self.corpus, &mut |_| Ok(Arc::clone(&samples))) {
                self.cache.offer(other, &self.config.preprocessor.features(&wave));
            }
        }
        Ok(wave)
    }
}

/// The examples cut from each recording that gives several.
fn windows(examples: &Examples) -> HashMap<usize, Vec<usize>> {
    let mut windows: HashMap<usize, Vec<usize>> = HashMap::new();
    for (index, example) in examples.list.iter().enumerate() {
        if let [segment] = &example.segments[..] {
            windows.entry(segment.utterance).or_default().push(index);
        }
    }
    windows.retain(|_, examples| examples.len() > 1);
    windows
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
