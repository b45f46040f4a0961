//! From sound to features: decoding, resampling, log-mel energies, normalization, padding, augmentation.
//!
//! Everything here runs on the CPU and uses no tensors. Waveforms are `f32` slices at 16 kHz, mono, in
//! [-1, 1]; features are row-major `[frames, 80]`. File formats and augmentation need the `cli`
//! feature; the rest also serves the browser.

#[cfg(feature = "cli")]
mod augment;
#[cfg(feature = "cli")]
mod decode;
mod features;
mod normalization;
mod preprocess;
#[cfg(feature = "cli")]
mod recording;
mod resample;
mod stream;
mod waveform;

#[cfg(feature = "cli")]
pub use augment::Augmentation;
#[cfg(feature = "cli")]
pub use decode::{Audio, duration, is_audio_name, looks_like_audio, read};
pub use features::{BANDS, Features, HOP, LogMel, SAMPLE_RATE, frame_count};
pub use normalization::{Accumulator, Normalization, Stats};
pub(crate) use preprocess::silent_samples;
pub use preprocess::{PaddedBatch, Padding, Preprocessor, STRIDE, pad_silence};
#[cfg(feature = "cli")]
pub use recording::{Channel, Pieces, Place, Recording, Span};
pub use resample::{Resampler, resample};
pub use stream::FeatureStream;
pub use waveform::{check_length, check_waveform};

/// Loading the golden values that the tests compare with.
#[cfg(test)]
pub(crate) mod golden {
    use std::path::PathBuf;

    use safetensors::SafeTensors;

    /// The shared data folder, or `None` with a printed reason.
    pub fn shared() -> Option<PathBuf> {
        let folder = std::env::var_os("POLYMIX_SHARED")
            .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
        if !folder.is_dir() {
            eprintln!("skipped: no folder {}", folder.display());
            return None;
        }
        Some(folder)
    }

    /// The bytes of `golden/<name>.safetensors`.
    pub fn bytes(name: &str) -> Option<Vec<u8>> {
        let path = shared()?.join("golden").join(name).with_extension("safetensors");
        Some(std::fs::read(path).expect("the golden folder is complete"))
    }

    /// Shape and values of an f32 tensor.
    pub fn f32s(tensors: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
        let view = tensors.tensor(name).expect("a tensor of this name");
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        (view.shape().to_vec(), values.collect())
    }

    /// The batch's waveforms `[rows, samples]`, from int16.
    pub fn waveforms(tensors: &SafeTensors) -> Vec<Vec<f32>> {
        let view = tensors.tensor("pcm").expect("the waveforms");
        let samples = |row: &[u8]| {
            row.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0).collect()
        };
        view.data().chunks_exact(2 * view.shape()[1]).map(samples).collect()
    }
}
