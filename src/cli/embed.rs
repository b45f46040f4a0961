//! `polymix embed`

use pollster::block_on;

use super::adapter::Device;
use super::arguments::{Embed, Global};
use super::output::Failures;
use super::progress::Reporter;
use super::sources::{Ahead, about, gather, stems};
use super::train::stop_on_interrupt;
use crate::audio::SAMPLE_RATE;
use crate::error::{Error, Result};
use crate::models::{DeviceModel, Embedder, SavedModel};
use crate::train::{Progress, interrupted};
use crate::weights::TensorWriter;

/// Samples that are embedded together, unless one recording has more: ten minutes.
const TOGETHER: usize = 600 * SAMPLE_RATE as usize;

/// Writes the embedding of each recording. A bad one is named, and fails the command after the others are written; where
/// all are bad, or the command ends before, there is no file.
pub(super) fn run(command: &Embed, global: &Global) -> Result<()> {
    global.note_without_recipe("embed");
    let model = SavedModel::load(&command.model)?;
    let mut failures = Failures::new(command.strict);
    let utterances = gather(&command.audio, command.channel, &mut failures)?;
    if utterances.is_empty() {
        return failures.finish();
    }
    let device = Device::open(global)?;
    let on_device = DeviceModel::new(device.gpu.clone(), &model)?;
    let mut embedder = Embedder::of(&on_device).map_err(|error| match error {
        Error::Invalid(message) => Error::file(&command.model, message),
        other => other,
    })?;
    let stems = stems(&utterances);
    let names: Vec<String> = stems.iter().map(|stem| format!("{stem}.embedding")).collect();
    let mut writer = TensorWriter::create(&command.out, names.iter().map(String::as_str))?;
    stop_on_interrupt();
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("embedding", utterances.len() as u64);
    let mut ahead = Ahead::start(utterances.iter().map(|utterance| utterance.audio.clone()).collect())?;
    let (mut done, mut written) = (0, 0);
    while done < utterances.len() {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let mut audios = Vec::new();
        for (at, read) in ahead.group(TOGETHER) {
            done = at + 1;
            match read {
                Ok(audio) => audios.push((at, audio)),
                Err(error @ Error::Interrupted) => return Err(error),
                Err(error) => failures.add(about(&utterances[at], error))?,
            }
        }
        let waveforms: Vec<&[f32]> = audios.iter().map(|(_, audio)| audio.samples.as_slice()).collect();
        for ((at, _), embedding) in audios.iter().zip(block_on(embedder.embed(&waveforms))?) {
            writer.write(&names[*at], [1, embedding.len()], &embedding)?;
            written += 1;
        }
        reporter.advance(done as u64);
    }
    reporter.end();
    if written > 0 {
        writer.finish()?;
    }
    failures.finish()
}
