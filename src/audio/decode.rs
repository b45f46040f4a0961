//! Audio files: WAV by hound; FLAC, MP3 and OGG Vorbis by symphonia.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use hound::{SampleFormat, WavReader};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;

use super::features::SAMPLE_RATE;
use super::resample::resample;
use crate::error::{Error, Result};

const LONGEST_SECONDS: f64 = 24.0 * 3600.0;
const RATES: std::ops::RangeInclusive<u32> = 1000..=768_000;
const FORMATS: &str = "WAV, FLAC, MP3 and OGG Vorbis are supported";

/// A decoded file.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// 16 kHz, mono, nominally in [-1, 1].
    pub samples: Vec<f32>,
    /// Sample rate of the file, in Hz.
    pub source_rate: u32,
    /// Channels of the file; their mean was taken.
    pub channels: usize,
}

impl Audio {
    /// Duration in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Whether the file's name ends like that of an audio file that [`read`] understands.
pub fn is_audio_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("wav" | "flac" | "mp3" | "ogg" | "oga"))
}

/// Reads an audio file as 16 kHz mono. The format is told by the content.
///
/// Integer samples of n bits are divided by 2^(n−1), channels averaged, other rates resampled to
/// round(n · 16000 / rate) samples.
///
/// # Errors
/// When the file is absent, empty, of another format, cut short, damaged, longer than 24 hours, or holds
/// no sample or one that is not a finite number.
pub fn read(path: impl AsRef<Path>) -> Result<Audio> {
    let path = path.as_ref();
    let (wave, source_rate, channels) = match open(path)? {
        Source::Wav(reader) => read_wav(path, reader)?,
        Source::Compressed(format) => read_compressed(path, format)?,
    };
    if wave.is_empty() {
        return Err(Error::file(path, "holds no audio samples; remove it from the data"));
    }
    if let Some(at) = wave.iter().position(|x| !x.is_finite()) {
        return Err(Error::file(
            path,
            format!("sample {at} is {}, which is not a number of a wave; export the file again", wave[at]),
        ));
    }
    let samples = if source_rate == SAMPLE_RATE { wave } else { resample(&wave, source_rate, SAMPLE_RATE)? };
    Ok(Audio { samples, source_rate, channels })
}

/// The duration in seconds, from the header where it tells, else by decoding.
///
/// # Errors
/// As for [`read`], as far as the header shows it.
pub fn duration(path: impl AsRef<Path>) -> Result<f64> {
    let path = path.as_ref();
    match open(path)? {
        Source::Wav(reader) => {
            check_rate(path, reader.spec().sample_rate)?;
            Ok(f64::from(reader.duration()) / f64::from(reader.spec().sample_rate))
        }
        Source::Compressed(format) => {
            let track = format.default_track(TrackType::Audio);
            let rate = track.and_then(|t| t.codec_params.as_ref()?.audio()?.sample_rate);
            // Only FLAC counts its samples exactly; an MP3's header may be an estimate.
            match (track.and_then(|t| t.num_frames), rate) {
                (Some(frames), Some(rate)) if is_flac(&*format) && RATES.contains(&rate) => {
                    Ok(frames as f64 / f64::from(rate))
                }
                _ => Ok(read(path)?.seconds()),
            }
        }
    }
}

/// The sample rate of a file in Hz, from its header.
///
/// # Errors
/// As for [`read`], as far as the header shows it.
pub fn sample_rate(path: impl AsRef<Path>) -> Result<u32> {
    let path = path.as_ref();
    let rate = match open(path)? {
        Source::Wav(reader) => Some(reader.spec().sample_rate),
        Source::Compressed(format) => {
            let track = format.default_track(TrackType::Audio);
            track.and_then(|track| track.codec_params.as_ref()?.audio()?.sample_rate)
        }
    };
    let rate = rate.ok_or_else(|| Error::file(path, format!("holds no audio track; {FORMATS}")))?;
    check_rate(path, rate)?;
    Ok(rate)
}

enum Source {
    Wav(WavReader<BufReader<File>>),
    Compressed(Box<dyn FormatReader>),
}

fn is_flac(format: &dyn FormatReader) -> bool {
    format.format_info().short_name == "flac"
}

fn open(path: &Path) -> Result<Source> {
    let unreadable = |error: std::io::Error| Error::file(path, format!("cannot be read: {error}"));
    let mut file = File::open(path).map_err(unreadable)?;
    let mut magic = Vec::new();
    (&mut file).take(12).read_to_end(&mut magic).map_err(unreadable)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mp3_name = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("mp3"));
    match magic.as_slice() {
        [] => Err(Error::file(path, "is empty (0 bytes); remove it or fetch it again")),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => {
            let reader = WavReader::new(BufReader::new(file)).map_err(|error| wav_error(path, error))?;
            Ok(Source::Wav(reader))
        }
        [b'f', b'L', b'a', b'C', ..] | [b'O', b'g', b'g', b'S', ..] | [b'I', b'D', b'3', ..] => {
            probe(path, file)
        }
        [0xFF, second, ..] if second & 0xE0 == 0xE0 => probe(path, file),
        _ if mp3_name => probe(path, file),
        _ => Err(Error::file(path, format!("is not audio of a known format; {FORMATS}"))),
    }
}

fn probe(path: &Path, file: File) -> Result<Source> {
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, Default::default(), Default::default())
        .map_err(|error| Error::file(path, format!("cannot be decoded ({error}); {FORMATS}")))?;
    Ok(Source::Compressed(format))
}

fn check_rate(path: &Path, rate: u32) -> Result<()> {
    if RATES.contains(&rate) {
        return Ok(());
    }
    Err(Error::file(path, format!("has a sample rate of {rate} Hz; it must lie between 1 and 768 kHz")))
}

fn check_length(path: &Path, frames: u64, rate: u32) -> Result<()> {
    if frames as f64 <= LONGEST_SECONDS * f64::from(rate) {
        return Ok(());
    }
    let hours = frames as f64 / f64::from(rate) / 3600.0;
    Err(Error::file(path, format!("is {hours:.0} hours long; cut it into files of at most 24 hours")))
}

fn wav_error(path: &Path, error: hound::Error) -> Error {
    let message = match error {
        hound::Error::IoError(_) => {
            "is cut short: it has less data than its header says; fetch it again".into()
        }
        hound::Error::FormatError(reason) => format!("is not a valid WAV file ({reason}); export it again"),
        other => format!("is a WAV file of an unsupported kind ({other}); export it as 16-bit PCM"),
    };
    Error::file(path, message)
}

fn read_wav(path: &Path, mut reader: WavReader<BufReader<File>>) -> Result<(Vec<f32>, u32, usize)> {
    let spec = reader.spec();
    check_rate(path, spec.sample_rate)?;
    check_length(path, u64::from(reader.duration()), spec.sample_rate)?;
    let mut mono = MonoWave::new(usize::from(spec.channels));
    match spec.sample_format {
        SampleFormat::Float => {
            for sample in reader.samples::<f32>() {
                mono.push(sample.map_err(|error| wav_error(path, error))?);
            }
        }
        SampleFormat::Int => {
            let scale = 1.0 / 2f64.powi(i32::from(spec.bits_per_sample) - 1);
            for sample in reader.samples::<i32>() {
                mono.push((f64::from(sample.map_err(|error| wav_error(path, error))?) * scale) as f32);
            }
        }
    }
    Ok((mono.samples, spec.sample_rate, usize::from(spec.channels)))
}

fn read_compressed(path: &Path, mut format: Box<dyn FormatReader>) -> Result<(Vec<f32>, u32, usize)> {
    let damaged = |error: symphonia::core::errors::Error| {
        Error::file(path, format!("is cut short or damaged ({error}); fetch it again"))
    };
    let exact = is_flac(&*format);
    let track = format.default_track(TrackType::Audio);
    let (id, parameters, expected) = track
        .and_then(|track| Some((track.id, track.codec_params.as_ref()?.audio()?.clone(), track.num_frames)))
        .ok_or_else(|| Error::file(path, format!("holds no audio track; {FORMATS}")))?;
    if let (Some(frames), Some(rate)) = (expected.filter(|_| exact), parameters.sample_rate) {
        check_length(path, frames, rate.max(1))?;
    }
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder: Box<dyn AudioDecoder> = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &options)
        .map_err(|error| Error::file(path, format!("cannot be decoded ({error}); {FORMATS}")))?;
    let mut wave: Option<(u32, MonoWave)> = None;
    let mut interleaved: Vec<f32> = Vec::new();
    while let Some(packet) = format.next_packet().map_err(damaged)? {
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(damaged)?;
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
        if wave.is_none() {
            check_rate(path, rate)?;
        }
        let (first_rate, mono) = wave.get_or_insert_with(|| (rate, MonoWave::new(channels)));
        if *first_rate != rate || mono.channels != channels {
            return Err(Error::file(path, "changes its sample rate or channels midway; export it again"));
        }
        interleaved.resize(decoded.samples_interleaved(), 0.0);
        decoded.copy_to_slice_interleaved(&mut interleaved);
        interleaved.iter().for_each(|&sample| mono.push(sample));
        check_length(path, mono.samples.len() as u64, rate)?;
    }
    let (rate, mono) = wave.unwrap_or((SAMPLE_RATE, MonoWave::new(1)));
    let decoded = mono.samples.len() as u64;
    if let Some(expected) = expected.filter(|&expected| exact && expected != decoded) {
        return Err(Error::file(
            path,
            format!("is cut short: its header says {expected} samples, it holds {decoded}; fetch it again"),
        ));
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err(Error::file(path, "is damaged: its samples do not match its checksum; fetch it again"));
    }
    Ok((mono.samples, rate, mono.channels))
}

/// Averages interleaved channels as they come.
struct MonoWave {
    channels: usize,
    seen: usize,
    sum: f32,
    samples: Vec<f32>,
}

impl MonoWave {
    fn new(channels: usize) -> Self {
        Self { channels: channels.max(1), seen: 0, sum: 0.0, samples: Vec::new() }
    }

    fn push(&mut self, sample: f32) {
        self.sum += sample;
        self.seen += 1;
        if self.seen == self.channels {
            self.samples.push(self.sum / self.channels as f32);
            (self.seen, self.sum) = (0, 0.0);
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
