//! One pass over the training data for global normalisation.

use std::sync::Arc;

use super::examples::{Example, Examples};
use super::manifest::Corpus;
use crate::audio::{Accumulator, Preprocessor, Stats};
use crate::error::{Error, Result};

const BLOCK: usize = 64;

/// Mean and standard deviation per band over all frames of all examples, silence included.
///
/// `progress(done, total)` is told after every block of examples, and may stop the pass with an error. The
/// result depends neither on the number of threads nor on their timing.
///
/// # Errors
/// When `strict` and a file is bad, when every file is, or what `progress` returns.
pub fn statistics(
    corpus: &Corpus,
    examples: &Examples,
    preprocessor: &Preprocessor,
    strict: bool,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Stats> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(BLOCK);
    let mut total = Accumulator::default();
    for (block, list) in examples.list.chunks(BLOCK).enumerate() {
        let sums = std::thread::scope(|scope| {
            let parts = list.chunks(list.len().div_ceil(threads));
            let workers: Vec<_> =
                parts.map(|part| scope.spawn(move || sums_of(corpus, part, preprocessor))).collect();
            workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
        });
        for sums in sums {
            let sums =
                sums.map_err(|_| Error::invalid("computing the statistics failed; report this as a defect"))?;
            for sum in sums {
                match sum {
                    Ok(sum) => total.merge(&sum),
                    Err(error) if strict => return Err(error),
                    Err(error) => tracing::warn!("left out of the statistics: {error}"),
                }
            }
        }
        progress((block * BLOCK + list.len()).min(examples.list.len()), examples.list.len())?;
    }
    total.stats().ok_or_else(|| {
        Error::invalid("no audio file can be read, so there are no statistics; check the data")
    })
}

fn sums_of(corpus: &Corpus, examples: &[Example], preprocessor: &Preprocessor) -> Vec<Result<Accumulator>> {
    // Windows of one recording follow each other.
    let mut last: Option<(usize, Arc<Vec<f32>>)> = None;
    let mut read = |utterance: usize| match &last {
        Some((held, wave)) if *held == utterance => Ok(Arc::clone(wave)),
        _ => {
            let wave = Arc::new(corpus.utterances[utterance].audio.read()?.samples);
            last = Some((utterance, Arc::clone(&wave)));
            Ok(wave)
        }
    };
    let mut sum = |example: &Example| {
        let wave = example.wave(corpus, &mut read)?;
        let mut sum = Accumulator::default();
        sum.add(&preprocessor.energies(&wave).data);
        Ok(sum)
    };
    examples.iter().map(&mut sum).collect()
}
