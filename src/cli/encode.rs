//! `polymix encode`

use pollster::block_on;

use super::adapter::Device;
use super::arguments::{Encode, Global, PaddingForm};
use super::output::Failures;
use super::progress::Reporter;
use super::sources::{Ahead, about, gather, stems};
use super::train::stop_on_interrupt;
use crate::error::{Error, Result};
use crate::models::{Extractor, SavedModel};
use crate::recipe::PaddedFrames;
use crate::train::{Progress, interrupted};
use crate::weights::TensorWriter;

/// Writes what the model computes of each recording. A bad one is named, and fails the command after the others are
/// written; where all are bad, or the command ends before, there is no file.
pub(super) fn run(command: &Encode, global: &Global) -> Result<()> {
    global.note_without_recipe("encode");
    let model = SavedModel::load(&command.model)?;
    let mut failures = Failures::new(command.strict);
    let utterances = gather(&command.audio, command.channel, &mut failures)?;
    if utterances.is_empty() {
        return failures.finish();
    }
    let device = Device::open(global)?;
    let padding = command.padding.map(|padding| match padding {
        PaddingForm::Masked => PaddedFrames::Masked,
        PaddingForm::Reference => PaddedFrames::Reference,
    });
    let mut extractor = Extractor::new(device.gpu.clone(), model, padding)?;
    let stems = stems(&utterances);
    let tensors = extractor.names();
    let names: Vec<String> =
        stems.iter().flat_map(|stem| tensors.iter().map(move |tensor| format!("{stem}.{tensor}"))).collect();
    let mut writer = TensorWriter::create(&command.out, names.iter().map(String::as_str))?;
    stop_on_interrupt();
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("encoding", utterances.len() as u64);
    let mut ahead = Ahead::start(utterances.iter().map(|utterance| utterance.audio.clone()).collect())?;
    let (mut done, mut written) = (0, 0);
    while done < utterances.len() {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        // A bad recording leaves its place in the batch empty; others do not move up.
        let batch = std::iter::from_fn(|| ahead.next()).take(command.batch as usize);
        let mut audios = Vec::new();
        for (at, read) in batch {
            done = at + 1;
            match read {
                Ok(audio) => audios.push((at, audio)),
                Err(error) => failures.add(about(&utterances[at], error))?,
            }
        }
        let waveforms: Vec<&[f32]> = audios.iter().map(|(_, audio)| audio.samples.as_slice()).collect();
        for ((at, _), tensors) in audios.iter().zip(block_on(extractor.extract(&waveforms))?) {
            for tensor in tensors {
                let shape = [tensor.frames(), tensor.width];
                writer.write(&format!("{}.{}", stems[*at], tensor.name), shape, &tensor.values)?;
            }
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
