//! `polymix encode`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pollster::block_on;

use super::adapter::Device;
use super::arguments::{Encode, Global, PaddingForm};
use super::progress::Reporter;
use crate::audio;
use crate::error::Result;
use crate::models::{Extractor, SavedModel};
use crate::recipe::Padding;
use crate::train::Progress;
use crate::weights::TensorWriter;

/// Writes what the model computes of each file. A bad file fails the command, since its absence would change the
/// batches of the others; nothing is written then.
pub(super) fn run(command: &Encode, global: &Global) -> Result<()> {
    global.note_without_recipe("encode");
    let model = SavedModel::load(&command.model)?;
    for path in &command.audio {
        // Most bad files show here, before the others are computed.
        audio::duration(path)?;
    }
    let device = Device::open(global)?;
    let padding = command.padding.map(|padding| match padding {
        PaddingForm::Masked => Padding::Masked,
        PaddingForm::Reference => Padding::Reference,
    });
    let mut extractor = Extractor::new(device.gpu.clone(), model, padding)?;
    let stems = stems(&command.audio);
    let tensors = extractor.names();
    let names: Vec<String> =
        stems.iter().flat_map(|stem| tensors.iter().map(move |tensor| format!("{stem}.{tensor}"))).collect();
    let mut writer = TensorWriter::create(&command.out, names.iter().map(String::as_str))?;
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("encoding", command.audio.len() as u64);
    let (size, mut done) = (command.batch as usize, 0);
    for (paths, stems) in command.audio.chunks(size).zip(stems.chunks(size)) {
        let audios = paths.iter().map(audio::read).collect::<Result<Vec<_>>>()?;
        let waves: Vec<&[f32]> = audios.iter().map(|audio| audio.samples.as_slice()).collect();
        for (stem, tensors) in stems.iter().zip(block_on(extractor.extract(&waves))?) {
            for tensor in tensors {
                let shape = [tensor.frames(), tensor.width];
                writer.write(&format!("{stem}.{}", tensor.name), shape, &tensor.values)?;
            }
        }
        done += paths.len() as u64;
        reporter.advance(done);
    }
    reporter.end();
    writer.finish()
}

/// A name for each file: its stem, from the second of equal ones on with `#2`, `#3` and so forth.
fn stems(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let plain: BTreeSet<String> = paths.iter().map(stem).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let name = |stem: String| {
        let number = seen.entry(stem.clone()).or_default();
        *number += 1;
        if *number == 1 {
            return stem;
        }
        // A file may have `#2` in its own name.
        while plain.contains(&format!("{stem}#{number}")) {
            *number += 1;
        }
        format!("{stem}#{number}")
    };
    paths.iter().map(stem).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stems_are_numbered() {
        let named = |paths: &[&str]| stems(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(named(&["a/x.wav", "b.flac", "b/x.mp3", "x.wav"]), ["x", "b", "x#2", "x#3"]);
        assert_eq!(named(&["x.wav", "a/x.wav", "x#2.wav"]), ["x", "x#3", "x#2"]);
        assert_eq!(named(&["a.b.wav"]), ["a.b"]);
    }
}
