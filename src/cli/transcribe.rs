//! `polymix transcribe`

use pollster::block_on;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Format, Global, Transcribe};
use super::decoding::beside;
use super::evaluate::recognizer;
use super::output::{Failures, note};
use super::progress::Reporter;
use super::sources::{Ahead, about, gather, stems};
use super::train::stop_on_interrupt;
use super::transcripts::{Partial, Sentence, Sink, Transcript, beams};
use crate::audio::{Audio, Recording, SAMPLE_RATE, check_length};
use crate::data::Utterance;
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::models::{ModelOutput, Recognized, Recognizer, SavedModel, StreamRecognizer, within};
use crate::train::{Progress, interrupted};

/// Samples that are recognized together, unless one recording has more: a minute, so that the first words do not
/// wait for the last.
const TOGETHER: usize = 60 * SAMPLE_RATE as usize;

/// Transcribes recordings in turn; a bad one is named, and fails the command after the others are done.
pub(super) fn run(command: &Transcribe, global: &Global) -> Result<()> {
    global.note_without_recipe("transcribe");
    let format = if command.json { Format::Json } else { command.format };
    let model = SavedModel::load(&command.model)?;
    if command.n_best > 1 && matches!(format, Format::Srt | Format::Vtt) {
        return Err(Error::usage("subtitles show one text; give --format txt or json with --n-best"));
    }
    let decoder = command.decoding.of_model(&command.model, &model, command.n_best, global)?;
    let mut failures = Failures::new(command.strict);
    let utterances = gather(&command.audio, command.channel, &mut failures)?;
    let mut sink = Sink::new(format, command.out.as_deref(), utterances.len())?;
    if utterances.is_empty() {
        sink.close()?;
        return failures.finish();
    }
    let device = Device::open(global)?;
    if command.stream {
        let chunk = command.chunk_ms.map(|milliseconds| milliseconds / 40);
        let stream = block_on(StreamRecognizer::new(device.gpu.clone(), model, chunk));
        let mut stream = within(&command.model, stream)?;
        if let Some(decoder) = decoder {
            stream.set_decoder(decoder, command.n_best)?;
        }
        stream.set_endpointing(command.endpoint.rule())?;
        transcribe_streams(&mut stream, &utterances, command, format, global, &mut sink, &mut failures)?;
    } else {
        let mut recognizer = recognizer(&device, model, &command.model)?;
        if let Some(decoder) = decoder {
            recognizer.set_decoder(decoder, command.n_best)?;
        }
        transcribe_whole(&mut recognizer, &utterances, command.n_best, global, &mut sink, &mut failures)?;
    }
    sink.close()?;
    failures.finish()
}

fn reporter(utterances: &[Utterance], global: &Global) -> Reporter {
    stop_on_interrupt();
    let mut reporter = Reporter::new(global.quiet || utterances.len() == 1);
    reporter.begin("transcribing", utterances.len() as u64);
    reporter
}

/// Whether to go on.
fn go_on() -> Result<()> {
    if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

/// The transcript of a recording of `audio_seconds`, recognized in `seconds`; `count` texts.
fn transcript(
    recording: &Recording,
    recognized: Recognized,
    count: usize,
    audio_seconds: f64,
    seconds: f64,
) -> Transcript {
    let beams = (count > 1).then(|| beams(&recognized));
    let Recognized { text, words, .. } = recognized;
    let (audio_filepath, partials) = (recording.to_string(), Vec::new());
    Transcript { audio_filepath, text, words, audio_seconds, seconds, beams, sentences: None, partials }
}

/// Whole recordings, several at once.
fn transcribe_whole(
    recognizer: &mut Recognizer,
    utterances: &[Utterance],
    count: usize,
    global: &Global,
    sink: &mut Sink,
    failures: &mut Failures,
) -> Result<()> {
    let (stems, mut reporter) = (stems(utterances), reporter(utterances, global));
    let mut ahead = Ahead::start(utterances.iter().map(|utterance| utterance.audio.clone()).collect())?;
    let mut done = 0;
    loop {
        let group = ahead.group(TOGETHER);
        if group.is_empty() {
            break;
        }
        done += group.len() as u64;
        let (mut numbers, mut audios) = (Vec::new(), Vec::new());
        for (at, read) in group {
            match read {
                Ok(audio) => {
                    numbers.push(at);
                    audios.push(audio);
                }
                Err(error) => failures.add(about(&utterances[at], error))?,
            }
        }
        go_on()?;
        let begun = Instant::now();
        let waveforms: Vec<&[f32]> = audios.iter().map(|audio| audio.samples.as_slice()).collect();
        let outputs = block_on(recognizer.forward(&waveforms, &mut |_| go_on()))?;
        let texts = decoded(&outputs, recognizer.decoder(), count)?;
        let factor = begun.elapsed().as_secs_f64() / audios.iter().map(Audio::seconds).sum::<f64>();
        for ((at, audio), recognized) in numbers.into_iter().zip(&audios).zip(texts) {
            let (recording, seconds) = (&utterances[at].audio, audio.seconds());
            let transcript = transcript(recording, recognized, count, seconds, factor * seconds);
            sink.write(&stems[at], &transcript)?;
        }
        reporter.advance(done);
    }
    reporter.end();
    Ok(())
}

/// Recordings one after another, chunk by chunk as they are read.
fn transcribe_streams(
    recognizer: &mut StreamRecognizer,
    utterances: &[Utterance],
    command: &Transcribe,
    format: Format,
    global: &Global,
    sink: &mut Sink,
    failures: &mut Failures,
) -> Result<()> {
    let (stems, mut reporter) = (stems(utterances), reporter(utterances, global));
    // Texts on their way are shown, or are part of the document.
    let way = match format {
        Format::Json => Way::Kept,
        _ if global.quiet => Way::Untold,
        _ => Way::Shown,
    };
    for ((done, utterance), stem) in (1..).zip(utterances).zip(&stems) {
        match transcribe_stream(recognizer, &utterance.audio, command, way, sink) {
            Ok(transcript) => sink.write(stem, &transcript)?,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                recognizer.reset()?;
                failures.add(about(utterance, error))?;
            }
        }
        reporter.advance(done);
    }
    reporter.end();
    Ok(())
}

/// What the decoder finds, part by part on all cores.
fn decoded(outputs: &[ModelOutput], decoder: &Decoder, count: usize) -> Result<Vec<Recognized>> {
    let work = |(output, part): (&ModelOutput, usize)| output.decode_part(part, decoder, count);
    let ((), found) = beside(work, |give| {
        outputs.iter().flat_map(|output| (0..output.parts()).map(move |part| (output, part))).for_each(give);
        Ok(())
    })?;
    let mut found = found.into_iter();
    Ok(outputs.iter().map(|output| ModelOutput::join(found.by_ref().take(output.parts()), count)).collect())
}

/// What is done with texts before they are whole.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Kept,
    Shown,
    Untold,
}

/// Transcribes a recording chunk by chunk.
fn transcribe_stream(
    recognizer: &mut StreamRecognizer,
    recording: &Recording,
    command: &Transcribe,
    way: Way,
    sink: &Sink,
) -> Result<Transcript> {
    let (rate, name) = (f64::from(SAMPLE_RATE), recording.to_string());
    let chunk = (recognizer.chunk_milliseconds() * 1e-3 * rate) as usize;
    let begun = Instant::now();
    let (mut samples, mut partials, mut said) = (0, Vec::new(), Vec::new());
    let mut pieces = recording.pieces()?;
    let mut waveform = Vec::new();
    loop {
        go_on()?;
        let piece = pieces.next().transpose()?;
        let ended = piece.is_none();
        waveform.extend(piece.unwrap_or_default());
        let whole = if ended { waveform.len() } else { waveform.len() / chunk * chunk };
        for part in waveform[..whole].chunks(chunk) {
            go_on()?;
            samples += part.len();
            let advanced = block_on(recognizer.push(part))?;
            for recognized in recognizer.sentences() {
                sink.sentence(&name, &recognized)?;
                said.push(recognized);
            }
            if advanced {
                partial(&recognizer.recognized(), samples as f64 / rate, way, &mut partials);
            }
        }
        waveform.drain(..whole);
        if ended {
            break;
        }
    }
    let audio_seconds = samples as f64 / rate;
    check_length(samples, audio_seconds)?;
    let mut recognized = block_on(recognizer.finish())?;
    let mut sentences = None;
    if command.endpoint.rule().is_some() {
        sink.sentence(&name, &recognized)?;
        said.push(recognized);
        sentences = Some(said.iter().filter_map(Sentence::of).collect());
        recognized = ModelOutput::join(said.into_iter().map(|sentence| vec![sentence]), 1);
    }
    if way != Way::Kept {
        partials.clear();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let transcript = transcript(recording, recognized, command.n_best, audio_seconds, seconds);
    Ok(Transcript { sentences, partials, ..transcript })
}

/// Adds the text after a chunk, where the chunk changed it; in place of the one before where they are not kept.
fn partial(recognized: &Recognized, audio_seconds: f64, way: Way, partials: &mut Vec<Partial>) {
    let Recognized { text, words, settled, .. } = recognized;
    let settled = words[..*settled].iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
    let last = partials.last().map_or(("", ""), |last: &Partial| (&last.text, &last.settled));
    if last == (text, &settled) {
        return;
    }
    if way == Way::Shown && last.0 != text {
        note(format!("{audio_seconds:7.2} s  {text}"));
    }
    if way != Way::Kept {
        partials.clear();
    }
    partials.push(Partial { audio_seconds, text: text.clone(), settled });
}
