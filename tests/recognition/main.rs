//! Recognition of whole waveforms and of streams, with a small model of random weights.

#[path = "../adapter/mod.rs"]
mod adapter;
mod stream;
mod whole;

use std::sync::Arc;

use adapter::gpu;
use polymix::audio::{BANDS, Normalization, Padding, SAMPLE_RATE, Stats};
use polymix::gpu::Gpu;
use polymix::models::{CtcHead, ModelKind, PreprocessorConfig, Recognizer, SavedConfig, SavedModel};
use polymix::recipe::{self, FinetuneConfig, Head, ModelConfig, ModelOptions};
use polymix::rng::Rng;
use polymix::text::Vocabulary;
use polymix::weights::Weights;

/// A model for whole waveforms under `padding`; for chunks of a stream where that is causal.
fn model(padding: Padding) -> SavedModel {
    let vocabulary = Vocabulary::english();
    let finetune = FinetuneConfig { head: Head::Linear, ..FinetuneConfig::default() };
    let model = ModelConfig {
        d_model: 16,
        layers: 2,
        ffn: 32,
        kernel: 7,
        channels: [4, 4],
        padding: match padding {
            Padding::Masked | Padding::Causal => recipe::PaddedFrames::Masked,
            _ => recipe::PaddedFrames::Reference,
        },
        causal_chunk: (padding == Padding::Causal).then_some(5),
        ..ModelConfig::default()
    };
    let kind = ModelKind::Ctc(CtcHead::new(&finetune, vocabulary.len()));
    let config = SavedConfig { kind, model, options: ModelOptions::default(), bands: BANDS };
    let mut weights = Weights::default();
    for parameter in config.parameters().unwrap() {
        let mut values = parameter.init.draw(&parameter.name, &parameter.shape, 3);
        if parameter.name.starts_with("head.") {
            // Predictions that change from frame to frame.
            values.iter_mut().for_each(|x| *x *= 8.0);
        }
        weights.insert(parameter.name, parameter.shape, values).unwrap();
    }
    let preprocessor = PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.1,
        normalization: Normalization::Global(Stats { mean: vec![-40.0; BANDS], std: vec![15.0; BANDS] }),
        padding,
    };
    SavedModel { config, weights, preprocessor, vocabulary: Some(vocabulary) }
}

fn recognizer(gpu: Arc<Gpu>, padding: Padding) -> Recognizer {
    Recognizer::new(gpu, model(padding)).unwrap()
}

/// Tones of random pitch, 0.1 s each.
fn waveform(seconds: f64, seed: u32) -> Vec<f32> {
    let mut rng = Rng::new(&[seed]);
    let mut pitch = 0.0;
    let samples = 0..(seconds * 16_000.0) as usize;
    samples
        .map(|i| {
            if i % 1600 == 0 {
                pitch = 0.02 + 0.5 * rng.unit();
            }
            0.3 * (i as f32 * pitch).sin()
        })
        .collect()
}
