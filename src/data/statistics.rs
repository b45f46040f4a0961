//! One pass over the training data for global normalization.

use std::sync::Arc;

use web_time::Instant;

use super::examples::{Examples, Refused};
use super::left_out::Exclusions;
use super::manifest::Corpus;
use crate::audio::{Accumulator, Preprocessor, Stats};
use crate::error::{Error, Result};

const BLOCK: usize = 64;

/// Hours of which statistics are taken at the most, so that the first batch of a large corpus is there in seconds.
const MOST_HOURS: f64 = 1.0;

/// The examples whose statistics stand for all: each, or of more than an hour every n-th, which last about an
/// hour.
pub fn statistics_sample(examples: &Examples) -> Vec<usize> {
    let step = (examples.hours() / MOST_HOURS).ceil().max(1.0) as usize;
    (0..examples.list.len()).step_by(step).collect()
}

/// Mean and standard deviation per band over all frames of the examples `sample`, silence included.
///
/// `progress(done, total)` is told after every block of examples, and may stop the pass with an error. The
/// result depends neither on the number of threads nor on their timing. What gives nothing is added to `left_out`.
///
/// # Errors
/// When `strict` and a file is bad, when every file is, or what `progress` returns.
pub fn statistics(
    corpus: &Corpus,
    examples: &Examples,
    sample: &[usize],
    preprocessor: &Preprocessor,
    strict: bool,
    left_out: &mut Exclusions,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Stats> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(BLOCK);
    let mut total = Accumulator::default();
    let (count, begun) = (sample.len(), Instant::now());
    let mut end = 0;
    for block in sample.chunks(BLOCK) {
        end += block.len();
        let sums = std::thread::scope(|scope| {
            let workers: Vec<_> = block
                .chunks(block.len().div_ceil(threads))
                .map(|part| scope.spawn(move || sums_of(corpus, examples, part, preprocessor)))
                .collect();
            workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
        });
        for sums in sums {
            let sums =
                sums.map_err(|_| Error::invalid("computing the statistics failed; report this as a defect"))?;
            for (sum, refused) in sums {
                for refused in refused {
                    if strict {
                        return Err(refused.error);
                    }
                    left_out.add(refused.why, refused.left_out(corpus));
                }
                total.merge(&sum);
            }
        }
        progress(end, count)?;
    }
    tracing::debug!("statistics of {count} examples in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    total.stats().ok_or_else(|| {
        Error::invalid("no audio file can be read, so there are no statistics; check the data")
    })
}

/// The sums of each of the examples `part`, and what of it gave nothing.
fn sums_of(
    corpus: &Corpus,
    examples: &Examples,
    part: &[usize],
    preprocessor: &Preprocessor,
) -> Vec<(Accumulator, Vec<Refused>)> {
    // Windows of one recording follow each other.
    let mut last: Option<(usize, Arc<Vec<f32>>)> = None;
    let mut read = |utterance: usize| match &last {
        Some((last_utterance, waveform)) if *last_utterance == utterance => Ok(Arc::clone(waveform)),
        _ => {
            let waveform = Arc::new(corpus.utterances[utterance].audio.read()?.samples);
            last = Some((utterance, Arc::clone(&waveform)));
            Ok(waveform)
        }
    };
    let mut sum = |at: usize| {
        let mut audio = examples.list[at].waveform(corpus, &mut read);
        let mut sum = Accumulator::default();
        if audio.waveform.len() >= examples.least {
            sum.add(&preprocessor.energies(&audio.waveform).data);
        } else if audio.refused.is_empty() {
            audio.refused.push(examples.too_short(corpus, &examples.list[at], audio.waveform.len()));
        }
        (sum, audio.refused)
    };
    part.iter().map(|&at| sum(at)).collect()
}
