//! Batches made in the background.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::cache::Cache;
use super::examples::{Example, Examples};
use super::manifest::Corpus;
use super::sampler::{BatchIndex, BucketConfig, Order, PlannedBatch, Sampler};
use crate::audio::{self, Augmentation, Features, PaddedBatch, Padding, Preprocessor};
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
    /// The most bytes of decoded data to keep for later epochs.
    pub cache_bytes: usize,
    /// Threads that make batches.
    pub threads: usize,
    /// Batches ready in advance.
    pub prefetch: usize,
}

impl LoaderConfig {
    /// Without augmentation, lenient, a cache of 512 MiB, four batches in advance.
    pub fn new(preprocessor: Preprocessor, buckets: BucketConfig, order: Order, seed: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            preprocessor,
            buckets,
            order,
            seed,
            augmentation: None,
            strict: false,
            cache_bytes: 512 << 20,
            threads: cores.div_ceil(2).min(8),
            prefetch: 4,
        }
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
    /// Starts at `from`.
    ///
    /// # Errors
    /// When the settings are wrong or a thread cannot be started.
    pub fn start(
        corpus: Arc<Corpus>,
        examples: Arc<Examples>,
        config: LoaderConfig,
        from: BatchIndex,
    ) -> Result<Self> {
        if let Some(augmentation) = &config.augmentation {
            augmentation.check()?;
        }
        let frames = |example: &Example| {
            let samples = example.longest();
            let longest = config.augmentation.as_ref().map_or(samples, |a| a.longest(samples).max(samples));
            config.preprocessor.frames(longest)
        };
        let frames = examples.list.iter().map(frames).collect();
        let sampler = Sampler::new(frames, &config.buckets, config.order, config.seed)?;
        let batches_per_epoch = sampler.epoch(from.epoch).len();
        let (threads, prefetch) = (config.threads.max(1), config.prefetch);
        let maker = Arc::new(BatchMaker {
            features: Cache::new(config.cache_bytes / 4 * 3),
            recordings: Cache::new(config.cache_bytes / 4),
            shared_recordings: examples.shared_recordings(),
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

    /// Every shape (B, F) that a batch can have.
    pub fn shapes(&self) -> Vec<(usize, usize)> {
        let copies = self.maker.copies();
        self.maker
            .sampler
            .shapes()
            .iter()
            .map(|&(utterances, frames)| (copies * utterances, frames))
            .collect()
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
    features: Cache<Features>,
    recordings: Cache<Vec<f32>>,
    shared_recordings: BTreeSet<usize>,
    bad: Mutex<BTreeSet<usize>>,
    stop: AtomicBool,
}

impl BatchMaker {
    fn copies(&self) -> usize {
        if self.config.augmentation.is_some() { 2 } else { 1 }
    }

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
        let rows = planned.utterances * self.copies();
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
        let PaddedBatch { utterances, frames, features, lengths } = padded;
        Ok(Some(Batch { utterances, frames, features, lengths, texts, ids, audio_seconds, index }))
    }

    /// Writes example `at` into its row, and its augmented copy into the other.
    fn fill(&self, padded: &mut PaddedBatch, rows: [usize; 2], at: usize, epoch: u32) -> Result<()> {
        let preprocessor = &self.config.preprocessor;
        let masked = preprocessor.padding == Padding::Masked;
        if let (None, true, Some(features)) = (&self.config.augmentation, masked, self.features.get(at)) {
            return padded.place_masked(rows[0], &features);
        }
        let wave = self.examples.list[at].wave(&self.corpus, &mut |utterance| self.recording(utterance))?;
        let copy = match &self.config.augmentation {
            None => None,
            Some(augmentation) => {
                let mut rng = Rng::new(&[self.config.seed, stream("augmentation"), epoch, at as u32]);
                Some(augmentation.apply(&wave, &mut rng)?)
            }
        };
        for (row, wave) in rows.into_iter().zip([Some(wave), copy]) {
            let Some(wave) = wave else { continue };
            if !masked {
                let longest = preprocessor.samples(padded.frames);
                preprocessor.place_reference(padded, row, &wave, longest)?;
                continue;
            }
            let features = Arc::new(preprocessor.features(&wave));
            padded.place_masked(row, &features)?;
            if self.config.augmentation.is_none() {
                self.features.offer(at, &features, size_of_val(&features.data[..]));
            }
        }
        Ok(())
    }

    /// The wave of a recording; kept where several examples are cut from it.
    fn recording(&self, utterance: usize) -> Result<Arc<Vec<f32>>> {
        if let Some(wave) = self.recordings.get(utterance) {
            return Ok(wave);
        }
        let wave = Arc::new(audio::read(&self.corpus.utterances[utterance].path)?.samples);
        if self.shared_recordings.contains(&utterance) {
            self.recordings.offer(utterance, &wave, size_of_val(&wave[..]));
        }
        Ok(wave)
    }
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
