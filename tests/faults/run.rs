//! A run without a GPU, which writes all files of a real one, in the same order, with values that follow from the step.

use std::path::Path;

use polymix::audio::{BANDS, Normalization, Padding, SAMPLE_RATE};
use polymix::error::Result;
use polymix::files;
use polymix::models::{CtcHead, ModelKind, PreprocessorConfig, SavedConfig, SavedModel};
use polymix::recipe::{FinetuneConfig, Head, ModelConfig, ModelOptions};
use polymix::text::Vocabulary;
use polymix::train::metrics::{MetricsWriter, Phase, TrainLine, ValidLine};
use polymix::train::{Checkpoint, State};
use polymix::weights::{Precision, Weights};
use serde_json::json;

const STEPS: u64 = 7;
const CHECKPOINT_EVERY: u64 = 2;
const VALIDATE_EVERY: u64 = 3;
const KEEP: usize = 2;

/// A model whose every value tells the step.
fn model(step: u64) -> SavedModel {
    let vocabulary = Vocabulary::english();
    let finetune = FinetuneConfig { head: Head::Linear, ..FinetuneConfig::default() };
    let model =
        ModelConfig { d_model: 8, layers: 1, ffn: 8, kernel: 3, channels: [2, 2], ..ModelConfig::default() };
    let kind = ModelKind::Ctc(CtcHead::new(&finetune, vocabulary.len()));
    let config = SavedConfig { kind, model, options: ModelOptions::default(), bands: BANDS };
    let mut weights = Weights::default();
    for parameter in config.parameters().unwrap() {
        let values = vec![step as f32; parameter.shape.elements()];
        weights.insert(parameter.name, parameter.shape, values).unwrap();
    }
    SavedModel { config, weights, preprocessor: preprocessor(), vocabulary: Some(vocabulary) }
}

fn preprocessor() -> PreprocessorConfig {
    PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.1,
        normalization: Normalization::Sentence,
        padding: Padding::Masked,
    }
}

fn checkpoint(step: u64, best: Option<f64>) -> Checkpoint {
    let rates = json!({"encoder": 1.0, "head": 1.0});
    let state: State = serde_json::from_value(json!({
        "step": step,
        "next": {"epoch": 0, "batch": step},
        "seed": 1,
        "schedule": {"previous": null, "factors": rates},
        "totals": {"loss": 0.0, "count": 0.0, "grad_norm": 0.0, "non_finite": 0.0},
        "since_log": {"steps": 0, "micro_batches": 0, "decisions": 0, "audio_seconds": 0.0},
        "best": best,
        "losses": [1.0, 1.0 / (step + 1) as f64],
        "preprocessor": serde_json::to_value(preprocessor()).unwrap(),
    }))
    .unwrap();
    let values = model(step).weights;
    Checkpoint { state, moments: values.clone(), values }
}

/// Begins or resumes the run in `folder` and tells which checkpoints are saved.
pub fn go(folder: &Path, saved: &mut dyn FnMut(u64)) -> Result<()> {
    Checkpoint::clean(folder)?;
    files::write_whole(&folder.join("recipe.toml"), b"[model]\n")?;
    let start = Checkpoint::newest(folder)?.map(|checkpoint| checkpoint.state);
    let (mut step, mut best) = start.map_or((0, None), |state| (state.step, state.best));
    let mut metrics = MetricsWriter::open(folder, step)?;
    let mut save = |step: u64, best: Option<f64>| -> Result<()> {
        model(step).save(&folder.join("last"), Precision::F32, "last\n")?;
        checkpoint(step, best).save(folder, KEEP)?;
        saved(step);
        Ok(())
    };
    if step == 0 {
        save(0, None)?;
    } else {
        Checkpoint::prune(folder, step, KEEP)?;
    }
    while step < STEPS {
        step += 1;
        let last = step == STEPS;
        metrics.train(&train_line(step))?;
        if step % VALIDATE_EVERY == 0 || last {
            let loss = 1.0 / step as f64;
            metrics.valid(&valid_line(step, loss))?;
            if best.is_none_or(|best| loss < best) {
                best = Some(loss);
                model(step).save(&folder.join("best"), Precision::F32, "best\n")?;
            }
        }
        if step % CHECKPOINT_EVERY == 0 || last {
            save(step, best)?;
            metrics.plot()?;
        }
    }
    metrics.plot()
}

/// What stands there is whole: a checkpoint's values are its step's, `best` and `last` are a model or absent.
#[track_caller]
pub fn check(folder: &Path) {
    if let Some(found) = Checkpoint::newest(folder).unwrap() {
        let expected = model(found.state.step).weights;
        assert!(found.values == expected && found.moments == expected);
    }
    for name in ["best", "last"] {
        let path = files::standing(&folder.join(name));
        if path.exists() {
            let found = SavedModel::load(&path).unwrap();
            let (_, _, values) = found.weights.iter().next().unwrap();
            assert_eq!(found.weights, model(values[0] as u64).weights);
        }
    }
}

fn train_line(step: u64) -> TrainLine {
    serde_json::from_value(json!({
        "step": step, "phase": Phase::Finetune, "loss": 1.0 / step as f64, "grad_norm": 1.0, "lr": 1e-3,
        "audio_seconds": 1.0, "step_ms": 1.0, "gpu_bytes": 1,
    }))
    .unwrap()
}

fn valid_line(step: u64, loss: f64) -> ValidLine {
    serde_json::from_value(json!({"step": step, "valid_loss": loss, "wer": loss, "cer": loss})).unwrap()
}
