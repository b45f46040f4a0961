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
use super::transcripts::{Partial, Sink, Transcript, beams};
use crate::audio::{Audio, SAMPLE_RATE};
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::models::{Heard, Recognized, Recognizer, SavedModel, StreamRecognizer, within};
use crate::train::{Progress, interrupted};

/// Samples that are recognized together, unless one recording has more: a minute, so that the first words do not
/// wait for the last.
const TOGETHER: usize = 60 * SAMPLE_RATE as usize;

enum Ear {
    Whole(Box<Recognizer>),
    Stream(Box<StreamRecognizer>),
}

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
    let mut ear = match command.stream {
        false => {
            let mut recognizer = recognizer(&device, model, &command.model)?;
            if let Some(decoder) = decoder {
                recognizer.set_decoder(decoder, command.n_best)?;
            }
            Ear::Whole(Box::new(recognizer))
        }
        true => {
            let chunk = command.chunk_ms.map(|milliseconds| milliseconds / 40);
            let stream = block_on(StreamRecognizer::new(device.gpu.clone(), model, chunk));
            let mut stream = within(&command.model, stream)?;
            if let Some(decoder) = decoder {
                stream.set_decoder(decoder, command.n_best)?;
            }
            Ear::Stream(Box::new(stream))
        }
    };
    stop_on_interrupt();
    let stems = stems(&utterances);
    let quiet = global.quiet || utterances.len() == 1;
    let mut reporter = Reporter::new(quiet);
    reporter.begin("transcribing", utterances.len() as u64);
    let mut ahead = Ahead::start(utterances.iter().map(|utterance| utterance.audio.clone()).collect())?;
    let mut done = 0;
    loop {
        let group = ahead.group(TOGETHER);
        if group.is_empty() {
            break;
        }
        done += group.len() as u64;
        let mut audios = Vec::with_capacity(group.len());
        for (at, read) in group {
            match read {
                Ok(audio) => audios.push((at, audio)),
                Err(error) => failures.add(about(&utterances[at], error))?,
            }
        }
        for (at, mut transcript) in
            hear(&mut ear, &audios, command.n_best, global.quiet || format == Format::Json)?
        {
            transcript.audio_filepath = utterances[at].audio.to_string();
            sink.write(&stems[at], &transcript)?;
        }
        reporter.advance(done);
    }
    reporter.end();
    sink.close()?;
    failures.finish()
}

/// Whether to go on.
fn go_on() -> Result<()> {
    if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

/// What was said in the recordings, whose names are still to be filled in; `count` texts of each.
fn hear(
    ear: &mut Ear,
    audios: &[(usize, Audio)],
    count: usize,
    quiet: bool,
) -> Result<Vec<(usize, Transcript)>> {
    go_on()?;
    let transcript = |heard: Recognized, audio: &Audio, seconds: f64, partials: Vec<Partial>| {
        let beams = (count > 1).then(|| beams(&heard));
        let Recognized { text, words, .. } = heard;
        let (audio_filepath, audio_seconds) = (String::new(), audio.seconds());
        Transcript { audio_filepath, text, words, audio_seconds, seconds, beams, partials }
    };
    match ear {
        Ear::Whole(recognizer) => {
            let begun = Instant::now();
            let waves: Vec<&[f32]> = audios.iter().map(|(_, audio)| audio.samples.as_slice()).collect();
            let heard = block_on(recognizer.hear(&waves, &mut |_| go_on()))?;
            let heard = decoded(&heard, recognizer.decoder(), count)?;
            let factor = begun.elapsed().as_secs_f64() / audios.iter().map(|(_, a)| a.seconds()).sum::<f64>();
            let each = audios.iter().zip(heard);
            Ok(each
                .map(|((at, audio), heard)| (*at, transcript(heard, audio, factor * audio.seconds(), vec![])))
                .collect())
        }
        Ear::Stream(recognizer) => audios
            .iter()
            .map(|(at, audio)| {
                let begun = Instant::now();
                let (heard, partials) = listen(recognizer, audio, quiet)?;
                Ok((*at, transcript(heard, audio, begun.elapsed().as_secs_f64(), partials)))
            })
            .collect(),
    }
}

/// What the decoder finds, part by part on all cores.
fn decoded(heard: &[Heard], decoder: &Decoder, count: usize) -> Result<Vec<Recognized>> {
    let work = |(heard, part): (&Heard, usize)| heard.decode_part(part, decoder, count);
    let ((), found) = beside(work, |give| {
        heard.iter().flat_map(|heard| (0..heard.parts()).map(move |part| (heard, part))).for_each(give);
        Ok(())
    })?;
    let mut found = found.into_iter();
    Ok(heard.iter().map(|heard| Heard::join(found.by_ref().take(heard.parts()), count)).collect())
}

/// Hears the audio chunk by chunk, and tells the words so far unless `quiet`.
fn listen(
    recognizer: &mut StreamRecognizer,
    audio: &Audio,
    quiet: bool,
) -> Result<(Recognized, Vec<Partial>)> {
    let rate = f64::from(SAMPLE_RATE);
    let chunk = (recognizer.chunk_milliseconds() * 1e-3 * rate) as usize;
    let (mut samples, mut partials) = (0, Vec::new());
    for piece in audio.samples.chunks(chunk.max(1)) {
        go_on()?;
        samples += piece.len();
        if !block_on(recognizer.push(piece))? {
            continue;
        }
        let Recognized { text, words, settled, .. } = recognizer.heard();
        let settled = words[..settled].iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
        let last = partials.last().map_or(("", ""), |last: &Partial| (&last.text, &last.settled));
        if last != (&text, &settled) {
            let audio_seconds = samples as f64 / rate;
            if !quiet && last.0 != text {
                note(format!("{audio_seconds:7.2} s  {text}"));
            }
            partials.push(Partial { audio_seconds, text, settled });
        }
    }
    Ok((block_on(recognizer.finish())?, partials))
}
