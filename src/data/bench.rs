//! How fast data become batches, stage by stage.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use web_time::Instant;

use super::check::format;
use super::left_out::nothing;
use super::{
    BatchIndex, BatchSize, BucketConfig, Corpus, ExampleConfig, Examples, FeatureCache, LeftOut, Lengths,
    Loader, LoaderConfig, Order, Utterance,
};
use crate::audio::{
    Channel, Normalization, PaddedBatch, Padding, Place, Preprocessor, Recording, SAMPLE_RATE, STRIDE,
    resample,
};
use crate::error::{Error, Result};

/// Silence before and after an utterance, in seconds.
const SILENCE: f64 = 0.1;
/// Seconds of the batches that the threads make.
const BATCH_SECONDS: f64 = 60.0;

/// What is timed.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Seconds of audio of each format.
    pub seconds: f64,
    /// Threads that make batches; `None`: all cores but one.
    pub threads: Option<usize>,
    /// Takes a channel over the data's own.
    pub channel: Option<Channel>,
    /// Whether a bad file is an error.
    pub strict: bool,
}

/// How fast data become batches.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bench {
    /// Recordings of the sources.
    pub utterances: usize,
    /// Seconds in which they were listed.
    pub load_seconds: f64,
    /// Memory that the list took, where the system tells it.
    pub load_bytes: Option<u64>,
    /// Threads that made batches.
    pub threads: usize,
    /// By the ending of the files' names.
    pub formats: Vec<Rates>,
    /// Recordings that could not be read, and why.
    pub left_out: Vec<LeftOut>,
}

/// Seconds of audio that are done in a second. `read` is by the clock, the other stages by the time that the processor worked,
/// where the system tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rates {
    /// The ending of the files' names.
    pub format: String,
    /// Their sample rates, in Hz.
    pub rates: Vec<u32>,
    /// Recordings that were timed.
    pub utterances: usize,
    /// Their seconds.
    pub audio_seconds: f64,
    /// From where the files are into memory.
    pub read: f64,
    /// From encoded bytes to one channel of samples.
    pub decode: f64,
    /// From their rate to 16 kHz, where that is another.
    pub resample: Option<f64>,
    /// From samples to normalized features.
    pub features: f64,
    /// From features to the rows of a batch.
    pub batch: f64,
    /// All stages, one after the other.
    pub per_core: f64,
    /// Batches of all threads, by the clock.
    pub in_all: f64,
}

/// Seconds of work.
#[derive(Debug, Default)]
struct Spent {
    read: f64,
    decode: f64,
    resample: f64,
    features: f64,
    batch: f64,
}

/// Loads the sources and times `config.seconds` of each format, taken from all over them.
///
/// # Errors
/// When sources cannot be loaded, nothing can be read, or `strict` and a recording cannot be read.
pub fn bench<P: AsRef<Path>>(sources: &[P], config: &Config) -> Result<Bench> {
    let (begun, before) = (Instant::now(), resident());
    let mut corpus = Corpus::load(sources)?;
    let (load_seconds, after) = (begun.elapsed().as_secs_f64(), resident());
    corpus.choose_channel(config.channel);
    let preprocessor = Preprocessor::new(SILENCE, Normalization::Sentence, Padding::Masked);
    let buckets = BucketConfig::new(BatchSize::Seconds(BATCH_SECONDS));
    let mut loader = LoaderConfig::new(preprocessor, buckets, Order::Sorted, 0);
    loader.threads = config.threads.unwrap_or(loader.threads);
    let mut bench = Bench {
        utterances: corpus.utterances.len(),
        load_seconds,
        load_bytes: before.zip(after).map(|(before, after)| after.saturating_sub(before)),
        threads: loader.threads,
        ..Bench::default()
    };
    let mut formats: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, utterance) in corpus.utterances.iter().enumerate() {
        formats.entry(format(utterance)).or_default().push(at);
    }
    for (format, utterances) in formats {
        let mut rates = Rates { format, ..Rates::default() };
        let mut spent = Spent::default();
        let mut timed = Corpus::default();
        for at in scattered(utterances.len()) {
            if rates.audio_seconds >= config.seconds {
                break;
            }
            let utterance = &corpus.utterances[utterances[at]];
            match spent.work(utterance, &loader.preprocessor) {
                Ok((seconds, rate)) => {
                    rates.audio_seconds += seconds;
                    if let Err(at) = rates.rates.binary_search(&rate) {
                        rates.rates.insert(at, rate);
                    }
                    timed.utterances.push(utterance.clone());
                }
                Err(error) if config.strict => return Err(error),
                Err(error) => bench.left_out.push(LeftOut::refused(utterance, &error)),
            }
        }
        if timed.utterances.is_empty() {
            continue;
        }
        rates.utterances = timed.utterances.len();
        rates.take(&spent);
        rates.in_all = in_all(Arc::new(timed), loader.clone())?;
        bench.formats.push(rates);
    }
    if bench.formats.is_empty() {
        return Err(nothing(&bench.left_out));
    }
    Ok(bench)
}

/// `0..count` in an order in which any beginning is spread over all of it.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    let near = (count as f64 * 0.618) as usize;
    let step = (near.max(1)..).find(|&step| divisor(step, count) == 1).unwrap_or(1);
    (0..count).map(move |i| i * step % count)
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

impl Spent {
    /// Does all stages for an utterance; gives its seconds and its own rate.
    fn work(&mut self, utterance: &Utterance, preprocessor: &Preprocessor) -> Result<(f64, u32)> {
        let audio = &utterance.audio;
        let begun = Instant::now();
        let (length, mut reader) = audio.stored()?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| Error::file(audio.to_string(), crate::files::not_read(None, &error)))?;
        let read = begun.elapsed().as_secs_f64();
        let place = Place::Memory { name: audio.to_string(), bytes: bytes.into() };
        let memory = Recording { place, ..audio.clone() };
        let (decoded, mut decode) = timed(|| memory.read());
        let decoded = decoded?;
        if decoded.source_rate != SAMPLE_RATE {
            let source = resample(&decoded.samples, SAMPLE_RATE, decoded.source_rate)?;
            let (resampled, seconds) = timed(|| resample(&source, decoded.source_rate, SAMPLE_RATE));
            resampled?;
            self.resample += seconds;
            decode = (decode - seconds).max(0.0);
        }
        let (features, seconds) = timed(|| preprocessor.features(&decoded.samples));
        self.features += seconds;
        let (result, seconds) = timed(|| {
            let frames = (features.frames + preprocessor.left_pad(features.frames)).next_multiple_of(STRIDE);
            preprocessor.place(&mut PaddedBatch::empty(1, frames), 0, &features)
        });
        result?;
        self.batch += seconds;
        self.read += read;
        self.decode += decode;
        Ok((decoded.seconds(), decoded.source_rate))
    }
}

impl Rates {
    fn take(&mut self, spent: &Spent) {
        // The clocks of some systems have coarse ticks.
        let rate = |seconds: f64| self.audio_seconds / seconds.max(1e-9);
        let all = spent.read + spent.decode + spent.resample + spent.features + spent.batch;
        let resampled = self.rates.iter().any(|&rate| rate != SAMPLE_RATE);
        (self.read, self.decode) = (rate(spent.read), rate(spent.decode));
        self.resample = resampled.then(|| rate(spent.resample));
        (self.features, self.batch, self.per_core) = (rate(spent.features), rate(spent.batch), rate(all));
    }
}

/// Seconds of audio in a second that a loader makes batches of.
fn in_all(corpus: Arc<Corpus>, config: LoaderConfig) -> Result<f64> {
    let lengths = Lengths::measure(&corpus, true, &mut |_, _| Ok(()))?;
    let examples = Examples::build(&corpus, &lengths, &ExampleConfig::default(), 0)?;
    let cache = Arc::new(FeatureCache::new(0));
    let begun = Instant::now();
    let mut loader = Loader::start(corpus, Arc::new(examples), cache, config, BatchIndex::default())?;
    let mut seconds = 0.0;
    while let Some(batch) = loader.next() {
        seconds += batch?.audio_seconds;
    }
    Ok(seconds / begun.elapsed().as_secs_f64().max(1e-9))
}

/// What `work` gives, and the seconds that it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begun = worked();
    let result = work();
    (result, worked() - begun)
}

/// Seconds that the processor has worked for this thread.
#[cfg(unix)]
fn worked() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Seconds by the clock.
#[cfg(not(unix))]
fn worked() -> f64 {
    use std::sync::LazyLock;
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_secs_f64()
}

/// The memory of this process, where the system tells it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use hound::{SampleFormat, WavSpec, WavWriter};

    use super::*;

    fn config() -> Config {
        Config { seconds: 1.0, threads: Some(2), channel: None, strict: false }
    }

    #[test]
    fn every_format_has_its_rates() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for i in 0..8 {
            let rate = if i % 2 == 0 { 16_000 } else { 8000 };
            let spec = WavSpec {
                channels: 1,
                sample_rate: rate,
                bits_per_sample: 16,
                sample_format: SampleFormat::Int,
            };
            let mut writer = WavWriter::create(at(&format!("{i}.wav")), spec).expect("a file");
            (0..rate / 2).for_each(|i| writer.write_sample((i % 100) as i16 * 90).expect("a sample"));
            writer.finalize().expect("a file");
        }
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audio/fixtures");
        std::fs::copy(fixtures.join("tone.flac"), at("tone.flac")).expect("a file");
        std::fs::write(at("bad.mp3"), b"no audio at all").expect("a file");
        let bench = bench(&[folder.path()], &config()).expect("rates");
        assert_eq!((bench.utterances, bench.threads), (10, 2));
        let formats: Vec<&str> = bench.formats.iter().map(|rates| rates.format.as_str()).collect();
        assert_eq!(formats, ["flac", "wav"]);
        let [flac, wav] = &bench.formats[..] else { panic!("{bench:?}") };
        // A second is two clips of half a second each.
        assert_eq!((wav.utterances, wav.audio_seconds), (2, 1.0));
        assert_eq!(wav.resample.is_some(), wav.rates.contains(&8000));
        assert_eq!(flac.utterances, 1);
        for rates in &bench.formats {
            let stages = [
                rates.read,
                rates.decode,
                rates.resample.unwrap_or(f64::INFINITY),
                rates.features,
                rates.batch,
            ];
            let slowest = stages.into_iter().fold(f64::INFINITY, f64::min);
            assert!(rates.per_core > 0.0 && rates.per_core <= slowest && rates.in_all > 0.0, "{rates:?}");
            // As a sum of times, so are the rates.
            let sum: f64 = stages.iter().map(|rate| 1.0 / rate).sum();
            assert!((sum * rates.per_core - 1.0).abs() < 1e-6, "{rates:?}");
        }
        assert!(bench.left_out.len() == 1 && bench.left_out[0].audio_filepath.ends_with("bad.mp3"));
        let all = Config { seconds: 1e9, ..config() };
        let whole = super::bench(&[folder.path()], &all).expect("rates");
        assert_eq!((whole.formats[1].utterances, &whole.formats[1].rates), (8, &vec![8000, 16_000]));
        assert!(whole.formats[1].resample.is_some());
        let error =
            super::bench(&[folder.path()], &Config { strict: true, ..config() }).expect_err("a bad file");
        assert!(error.to_string().contains("bad.mp3"));
        let error = super::bench(&[at("bad.mp3")], &config()).expect_err("nothing").to_string();
        assert!(error.contains("no recording can be read") && error.contains("bad.mp3"), "{error}");
    }

    #[test]
    fn a_sample_is_spread() {
        for count in [0, 1, 2, 3, 7, 10, 100, 251] {
            let mut all: Vec<usize> = scattered(count).collect();
            let half = all.iter().take(count.div_ceil(2)).filter(|&&at| at < count / 2).count();
            assert!(count < 7 || half.abs_diff(count / 4) <= 1 + count / 20, "{count}: {half}");
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
