use std::f32::consts::TAU;

use pollster::block_on;

use super::*;
use crate::audio::{BANDS, Normalization, Padding, SAMPLE_RATE, Stats};
use crate::gpu::Selection;
use crate::models::{Classifier, CtcHead, DeviceModel, PreprocessorConfig, Recognizer, SavedConfig};
use crate::recipe::{FinetuneConfig, Head, ModelConfig, ModelOptions};
use crate::text::Vocabulary;

/// A small model with drawn weights, which writes "a" and "b".
fn model() -> SavedModel {
    let vocabulary = Vocabulary::from_transcripts(["ab"]).unwrap();
    let finetune = FinetuneConfig { head: Head::Linear, ..FinetuneConfig::default() };
    let model = ModelConfig {
        d_model: 16,
        layers: 2,
        ffn: 16,
        kernel: 3,
        channels: [4, 2],
        ..ModelConfig::default()
    };
    let kind = ModelKind::Ctc(CtcHead::new(&finetune, vocabulary.len()));
    let config = SavedConfig { kind, model, options: ModelOptions::default(), bands: BANDS };
    let mut weights = Weights::default();
    for parameter in config.parameters().unwrap() {
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 1);
        weights.insert(parameter.name, parameter.shape, values).unwrap();
    }
    let preprocessor = PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.1,
        normalization: Normalization::Global(Stats { mean: vec![-40.0; BANDS], std: vec![15.0; BANDS] }),
        padding: Padding::Masked,
    };
    SavedModel { config, weights, preprocessor, vocabulary: Some(vocabulary) }
}

/// Takes of two tones, each a little different, with their texts.
fn takes(low: &str, high: &str) -> Vec<Take> {
    let tone = |number: usize| {
        let hertz = [300.0, 2000.0][number % 2] * (1.0 + 0.01 * number as f32);
        let samples = 4000 + 200 * number;
        let waveform = (0..samples).map(|at| 0.3 * (TAU * hertz * at as f32 / SAMPLE_RATE as f32).sin());
        let text = [low, high][number % 2].to_owned();
        Take { waveform: waveform.collect(), target: Target::Text(text) }
    };
    (0..8).map(tone).collect()
}

/// The device of the tests, or a reason to skip.
fn device() -> Option<Arc<Gpu>> {
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
    match block_on(Gpu::new(&Selection { device, ..Selection::default() })) {
        Err(Error::NoAdapter(reason)) if std::env::var("GPU").as_deref() != Ok("required") => {
            eprintln!("skipped: {reason}");
            None
        }
        gpu => Some(Arc::new(gpu.unwrap())),
    }
}

fn learn(gpu: &Arc<Gpu>, model: &SavedModel, takes: &[Take], settings: Settings) -> Result<Outcome> {
    block_on(adapt(gpu.clone(), model, takes, &settings, &mut |_| Ok(())))
}

/// The text that a model recognizes in a take.
fn recognize_alone(gpu: &Arc<Gpu>, model: &SavedModel, waveform: &[f32]) -> String {
    let mut recognizer = Recognizer::new(gpu.clone(), model.clone()).unwrap();
    block_on(recognizer.recognize(&[waveform])).unwrap().remove(0).text
}

#[test]
fn two_tones_are_learned_with_the_same_bits_twice_and_a_letter_that_is_new() {
    let Some(gpu) = device() else { return };
    let (model, takes) = (model(), takes("a", "é"));
    let settings = Settings {
        steps: Some(120),
        layers: Layers::Last(1),
        head_rate: Some(0.05),
        encoder_rate: Some(0.02),
        seed: 3,
    };
    let outcome = learn(&gpu, &model, &takes, settings).unwrap();
    assert_eq!((outcome.new_characters.as_slice(), outcome.losses.len()), (&['é'][..], 120));
    let (first, last) = (outcome.losses[0], outcome.losses[119]);
    assert!(first.is_finite() && last < 0.2 * first, "{first} → {last}");
    assert!(outcome.better && outcome.best_step > 0);
    assert_eq!((outcome.before.right, outcome.before.takes), (0, 2));
    assert_eq!((outcome.after.right, outcome.after.errors), (2, 0));
    // The recognizer gives the held-out takes the texts that learning reported.
    for one in &outcome.held_out {
        assert_eq!(recognize_alone(&gpu, &outcome.model, &takes[one.take].waveform), one.after);
        assert_eq!(one.after, one.text);
    }
    // Layers that did not learn are as they were.
    let changed = |name: &str| outcome.model.weights.get(name) != model.weights.get(name);
    assert!(!changed("frontend.linear.weight") && !changed("encoder.layers.0.ffn1.linear1.weight"));
    assert!(changed("head.linear.weight") && changed("encoder.norm.weight"));
    let again = learn(&gpu, &model, &takes, settings).unwrap();
    assert_eq!(again.losses, outcome.losses);
    assert_eq!(again.model.weights, outcome.model.weights);
}

#[test]
fn whatever_learns_the_loss_begins_at_the_same_place() {
    let Some(gpu) = device() else { return };
    let (mut model, takes) = (model(), takes("a", "b"));
    // Without dropout, layers that learn compute what they do where they stay.
    model.config.options.dropout = 0.0;
    let first = |layers| {
        let settings = Settings { steps: Some(2), layers, ..Settings::default() };
        learn(&gpu, &model, &takes, settings).unwrap()
    };
    let all = first(Layers::All);
    for layers in [Layers::Head, Layers::Last(1), Layers::Last(2)] {
        let outcome = first(layers);
        assert!((outcome.losses[0] - all.losses[0]).abs() < 1e-4 * all.losses[0], "{layers}");
        assert!((outcome.before.loss - all.before.loss).abs() < 1e-4 * all.before.loss, "{layers}");
        assert!(outcome.trainable <= all.trainable);
    }
}

#[test]
fn what_does_not_help_leaves_the_model_as_it_was_and_a_stop_ends_it() {
    let Some(gpu) = device() else { return };
    let (model, mut takes) = (model(), takes("a", "b"));
    let settings = Settings {
        steps: Some(30),
        layers: Layers::Last(1),
        head_rate: Some(0.02),
        encoder_rate: Some(0.01),
        seed: 3,
    };
    let adapted = learn(&gpu, &model, &takes, settings).unwrap();
    assert!(adapted.better);
    // The takes that are held out stay as they are, and in all others the tones are exchanged.
    let held: Vec<usize> = adapted.held_out.iter().map(|one| one.take).collect();
    let learned: Vec<usize> = (0..takes.len()).filter(|at| !held.contains(at)).collect();
    let waveforms: Vec<Vec<f32>> = takes.iter().map(|take| take.waveform.clone()).collect();
    for &at in &learned {
        let other = learned.iter().find(|&&other| other % 2 != at % 2).unwrap();
        takes[at].waveform.clone_from(&waveforms[*other]);
    }
    let mut stopped = 0;
    let end = block_on(adapt(gpu.clone(), &model, &takes, &settings, &mut |progress| {
        stopped = progress.step;
        if progress.step == 2 { Err(Error::Interrupted) } else { Ok(()) }
    }));
    assert!(matches!(end, Err(Error::Interrupted)) && stopped == 2);
    let worse = learn(&gpu, &adapted.model, &takes, settings).unwrap();
    assert_eq!((worse.better, worse.best_step, worse.after), (false, 0, worse.before));
    assert_eq!(worse.after.right, 2);
    assert_eq!(worse.model.weights, adapted.model.weights);
}

#[test]
fn labels_are_told_apart_by_a_head_of_their_own() {
    let Some(gpu) = device() else { return };
    let (model, mut takes) = (model(), takes("low", "high"));
    for take in &mut takes {
        let Target::Text(text) = &take.target else { continue };
        take.target = Target::Label(text.clone());
    }
    for layers in [Layers::Head, Layers::Last(1), Layers::Last(2), Layers::All] {
        let settings =
            Settings { steps: Some(40), layers, head_rate: Some(0.02), encoder_rate: Some(0.002), seed: 3 };
        let outcome = learn(&gpu, &model, &takes, settings).unwrap();
        let (first, last) = (outcome.losses[0], outcome.losses[39]);
        assert!(first > 0.3 && last < 0.3 * first, "{layers}: {first} → {last}");
        assert_eq!((outcome.after.right, outcome.after.errors), (2, 0), "{layers}");
        let head = outcome.model.config.kind.utterance().unwrap();
        assert_eq!(
            (head.labels.as_slice(), head.embedding),
            (&["high".to_owned(), "low".to_owned()][..], None)
        );
        outcome.model.check().unwrap();
        // What the classifier makes of the held out takes is what learning said it would.
        let on_device = DeviceModel::new(gpu.clone(), &outcome.model).unwrap();
        let mut classifier = Classifier::of(&on_device).unwrap();
        for one in &outcome.held_out {
            let classified = block_on(classifier.classify(&[&takes[one.take].waveform])).unwrap();
            assert_eq!(classifier.labels()[classified[0].class], one.after, "{layers}");
        }
        // A head that knows the labels learns on.
        let settings = Settings { steps: Some(1), ..settings };
        let again = learn(&gpu, &outcome.model, &takes, settings).unwrap();
        assert_eq!(again.before.right, 2, "{layers}");
        assert!(again.losses[0] < 0.5 * first, "{layers}");
    }
    takes[3].target = Target::Text("low".to_owned());
    let message = learn(&gpu, &model, &takes, Settings::default()).unwrap_err().to_string();
    assert!(message.contains("7 of 8 takes have a label"), "{message}");
    let one: Vec<Take> =
        takes.drain(..).map(|take| Take { target: Target::Label("a".to_owned()), ..take }).collect();
    let message = learn(&gpu, &model, &one, Settings::default()).unwrap_err().to_string();
    assert!(message.contains("nothing to tell apart"), "{message}");
}

#[test]
fn what_cannot_be_learned_is_named() {
    let Some(gpu) = device() else { return };
    let (model, mut takes) = (model(), takes("a", "b"));
    takes[0].waveform.truncate(100);
    takes[1].target = Target::Text("ab".repeat(40));
    takes[2].waveform[7] = f32::NAN;
    let settings = Settings { steps: Some(1), layers: Layers::Head, ..Settings::default() };
    let outcome = learn(&gpu, &model, &takes, settings).unwrap();
    let named: Vec<usize> = outcome.left_out.iter().map(|one| one.take).collect();
    assert_eq!(named, [0, 1, 2]);
    assert!(outcome.left_out[0].reason.contains("too little"), "{:?}", outcome.left_out);
    assert!(outcome.left_out[1].reason.contains("needs 80 frames"), "{:?}", outcome.left_out);
    for (takes, settings, part) in [
        (&takes[..3], settings, "give at least two"),
        (&takes[..], Settings { layers: Layers::Last(3), ..settings }, "the model has 2; give 1 to 2"),
        (&takes[..], Settings { steps: Some(0), ..settings }, "0 steps"),
        (&takes[..], Settings { head_rate: Some(f64::NAN), ..settings }, "a learning rate of NaN"),
    ] {
        let message = learn(&gpu, &model, takes, settings).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
