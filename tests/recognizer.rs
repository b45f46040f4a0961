//! Recognition does not depend on what else is in the batch, on the rounding of shapes, or on plans made before.

use std::sync::Arc;

use polymix::audio::{BANDS, Normalization, Padding, SAMPLE_RATE, Stats};
use polymix::gpu::{Gpu, Selection};
use polymix::models::{CtcHead, ModelKind, PreprocessorConfig, Recognizer, SavedConfig, SavedModel};
use polymix::recipe::{self, FinetuneConfig, Head, ModelConfig};
use polymix::rng::Rng;
use polymix::text::Vocabulary;
use polymix::weights::Weights;

fn gpu() -> Option<Arc<Gpu>> {
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
    match pollster::block_on(Gpu::new(&Selection { device, cache: None })) {
        Ok(gpu) => Some(Arc::new(gpu)),
        Err(error) => {
            assert_ne!(std::env::var("GPU").as_deref(), Ok("required"), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn recognizer(gpu: Arc<Gpu>, padding: Padding) -> Recognizer {
    let vocabulary = Vocabulary::english();
    let finetune = FinetuneConfig { head: Head::Linear, ..FinetuneConfig::default() };
    let model = ModelConfig {
        d_model: 16,
        layers: 2,
        ffn: 32,
        kernel: 7,
        channels: [4, 4],
        padding: match padding {
            Padding::Masked => recipe::Padding::Masked,
            _ => recipe::Padding::Reference,
        },
        ..ModelConfig::default()
    };
    let kind = ModelKind::Ctc(CtcHead::new(&finetune, vocabulary.len()));
    let config = SavedConfig { kind, model, bands: BANDS };
    let mut weights = Weights::default();
    for parameter in config.parameters().unwrap() {
        let mut values = parameter.init.draw(&parameter.name, &parameter.shape, 3);
        if parameter.name.starts_with("head.") {
            // Decisions that change from frame to frame.
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
    Recognizer::new(gpu, SavedModel { config, weights, preprocessor, vocabulary: Some(vocabulary) }).unwrap()
}

/// Tones of random pitch, 0.1 s each.
fn wave(seconds: f64, seed: u32) -> Vec<f32> {
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

#[test]
fn batches_and_plans_do_not_matter() {
    let Some(gpu) = gpu() else { return };
    for padding in [Padding::Masked, Padding::ReferenceFinetune] {
        let waves = [wave(1.0, 1), wave(0.31, 2), wave(2.6, 3)];
        let waves: Vec<&[f32]> = waves.iter().map(Vec::as_slice).collect();
        let mut first = recognizer(gpu.clone(), padding);
        let together = pollster::block_on(first.recognize(&waves)).unwrap();
        let mut second = recognizer(gpu.clone(), padding);
        for (one, wave) in together.iter().zip(&waves).rev() {
            let alone = pollster::block_on(second.recognize(&[wave])).unwrap().remove(0);
            assert_eq!(alone.text, one.text);
            assert!(!alone.text.is_empty());
            for (a, b) in alone.words.iter().zip(&one.words) {
                assert_eq!((a.start, a.end), (b.start, b.end));
                assert!((a.confidence - b.confidence).abs() < 1e-4, "{a:?} {b:?}");
            }
        }
        assert!(pollster::block_on(first.recognize(&[])).unwrap().is_empty());
        assert!(pollster::block_on(first.recognize(&[&[]])).is_err());
        assert!(pollster::block_on(first.recognize(&[&[0.0, f32::NAN]])).is_err());
    }
}

#[test]
fn long_audio_is_the_sum_of_its_parts() {
    let Some(gpu) = gpu() else { return };
    let mut recognizer = recognizer(gpu, Padding::Masked);
    let part = wave(50.0, 4);
    // One second of silence, in which the long wave is cut.
    let mut long = [part.as_slice(), &vec![0.0; 16_000], &part].concat();
    long.truncate(75 * 16_000);
    let heard = pollster::block_on(recognizer.recognize(&[&long])).unwrap().remove(0);
    let last = heard.words.last().expect("words");
    assert!(heard.words.is_sorted_by(|a, b| a.start <= b.start) && last.end <= 75.0 && last.end > 60.0);
    let start = heard.words.iter().position(|word| word.start >= 50.9).expect("a second window");
    assert!(start > 0);
}
