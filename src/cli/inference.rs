//! Inference over a corpus: recordings are prefetched and batched by length.

use pollster::block_on;

use super::sources::{Ahead, about};
use crate::audio::{Place, Recording, SAMPLE_RATE};
use crate::data::{Exclusions, LeftOut, TOLERANCE_SECONDS, Utterance, Why};
use crate::error::{Error, Result};
use crate::models::{ModelOutput, Recognizer};
use crate::text::{Vocabulary, least_frames};
use crate::train::Progress;

/// Samples that are recognized together, unless one recording has more: ten minutes.
const TOGETHER: usize = 600 * SAMPLE_RATE as usize;
/// Recordings that are named, as left out or as of another length; `--json` names all that are left out.
pub(super) const NAMED: usize = 20;

/// Totals of an inference.
pub(super) struct Processed {
    pub audio_seconds: f64,
    /// Utterances that cannot be scored, in the order of the corpus.
    pub left_out: Exclusions,
}

/// Gives `give` what the device hands over of each utterance that can be scored, with its number; `progress` has begun.
/// Left out are, as in validation, recordings that cannot be read, and texts that no alignment to so few frames exists for.
///
/// # Errors
/// When one is left out and `strict`, or the device fails.
pub(super) fn recognize_corpus(
    recognizer: &mut Recognizer,
    utterances: &[Utterance],
    strict: bool,
    progress: &mut dyn Progress,
    give: &mut dyn FnMut(usize, ModelOutput),
) -> Result<Processed> {
    let vocabulary = recognizer.vocabulary().clone();
    let mut forward = |waveforms: &[&[f32]]| block_on(recognizer.forward(waveforms, &mut |_| Ok(())));
    let judge = |at: usize, output: &ModelOutput| beyond(&utterances[at], &vocabulary, output.frames());
    process_corpus(&mut forward, &judge, utterances, strict, progress, give)
}

/// What computes a result for each of several waveforms.
pub(super) type Forward<'a, T> = dyn FnMut(&[&[f32]]) -> Result<Vec<T>> + 'a;

/// As [`recognize_corpus`], with the results of `forward`; `judge` gives the reason if a text is infeasible.
///
/// # Errors
/// When one is left out and `strict`, or `forward` fails.
pub(super) fn process_corpus<T>(
    forward: &mut Forward<'_, T>,
    judge: &dyn Fn(usize, &T) -> Option<LeftOut>,
    utterances: &[Utterance],
    strict: bool,
    progress: &mut dyn Progress,
    give: &mut dyn FnMut(usize, T),
) -> Result<Processed> {
    // Recordings of one length share a batch; which is which matters for nothing else.
    let lengths: Vec<f64> = utterances.iter().map(guess).collect();
    let mut order: Vec<usize> = (0..utterances.len()).collect();
    order.sort_by(|&a, &b| lengths[b].total_cmp(&lengths[a]));

    let (mut audio_seconds, mut left_out, mut disagreeing, mut done) = (0.0, Vec::new(), 0, 0);
    let mut ahead = Ahead::start(order.iter().map(|&at| utterances[at].audio.clone()).collect())?;
    loop {
        let group = ahead.group(TOGETHER);
        if group.is_empty() {
            break;
        }
        done += group.len();
        let mut audios = Vec::with_capacity(group.len());
        for (place, read) in group {
            let at = order[place];
            match read {
                Ok(audio) => audios.push((at, audio)),
                Err(error @ Error::Interrupted) => return Err(error),
                Err(error) => {
                    let error = about(&utterances[at], error);
                    if strict {
                        return Err(error);
                    }
                    let one = LeftOut::refused(&utterances[at], &error);
                    tracing::warn!("left out: {one}");
                    left_out.push((at, Why::Unreadable, one));
                }
            }
        }
        let waveforms: Vec<&[f32]> = audios.iter().map(|(_, audio)| audio.samples.as_slice()).collect();
        let outputs = forward(&waveforms)?;
        for ((at, audio), output) in audios.iter().zip(outputs) {
            audio_seconds += audio.seconds();
            if let Some(stated) = utterances[*at].duration
                && (stated - audio.seconds()).abs() > TOLERANCE_SECONDS
            {
                disagreeing += 1;
                if disagreeing <= NAMED {
                    let (name, origin) = (&utterances[*at].audio, &utterances[*at].origin);
                    let seconds = audio.seconds();
                    tracing::warn!(
                        "{name} ({origin}) lasts {seconds:.2} s, not {stated} s; its own length counts"
                    );
                }
            }
            match judge(*at, &output) {
                None => give(*at, output),
                Some(one) if strict => return Err(about(&utterances[*at], Error::invalid(one.reason))),
                Some(one) => {
                    tracing::warn!("left out: {one}");
                    left_out.push((*at, Why::Impossible, one));
                }
            }
        }
        progress.advance(done as u64);
    }
    if disagreeing > NAMED {
        tracing::warn!("{} other recordings do not last as long as their manifest says", disagreeing - NAMED);
    }
    left_out.sort_by_key(|(at, ..)| *at);
    let mut all = Exclusions::default();
    left_out.into_iter().for_each(|(_, why, one)| {
        all.add(why, one);
    });
    Ok(Processed { audio_seconds, left_out: all })
}

/// Why no output of so few encoder frames says the utterance's text, if so. A text with characters that the vocabulary
/// lacks has no tokens to count.
fn beyond(utterance: &Utterance, vocabulary: &Vocabulary, frames: usize) -> Option<LeftOut> {
    let needs = least_frames(&vocabulary.encode(utterance.text.as_deref()?).ok()?);
    (needs > frames).then(|| LeftOut::impossible(utterance, needs, frames, "it", 1))
}

/// About how long a recording is, without opening it: seconds where they are known, else by its bytes.
fn guess(utterance: &Utterance) -> f64 {
    let Recording { place, span, .. } = &utterance.audio;
    let known = utterance.duration.or_else(|| span.and_then(|span| span.seconds));
    known.unwrap_or_else(|| {
        let bytes = match place {
            Place::File(path) => path.metadata().map_or(0, |file| file.len()),
            Place::Member { bytes, .. } => *bytes,
            Place::Memory { bytes, .. } => bytes.len() as u64,
            Place::Stdin => 0,
        };
        bytes as f64 / f64::from(2 * SAMPLE_RATE)
    })
}
