//! Checkpoints: everything that makes a resumed run bit-equal to an unbroken one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use web_time::Instant;

use super::kernels::Kernels;
use super::loss_scale::LossScale;
use super::metrics::Phase;
use super::schedule::ScheduleState;
use super::trainer::StepTotals;
use super::valid::Scored;
use crate::data::{BatchIndex, Identity};
use crate::error::{Error, Remedy, Result};
use crate::files::{self, NewFolder};
use crate::models::{PreprocessorConfig, within};
use crate::text::{Pieces, Vocabulary};
use crate::weights::{Precision, Weights};

/// `state.json`: all that is not a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Optimizer steps done.
    pub step: u64,
    /// The next batch. Random draws are functions of the seed and the step, so they need no state.
    pub next: BatchIndex,
    /// Seed of all draws.
    pub seed: u32,
    /// Memory of the learning rates.
    pub schedule: ScheduleState,
    /// The scale of the loss, in mixed precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// Sums since the last logged step.
    pub totals: StepTotals,
    /// Steps, predictions and seconds of audio since the last logged step.
    pub since_log: SinceLog,
    /// The best validation so far: word error rate, or loss in pre-training.
    pub best: Option<f64>,
    /// Loss of the first and the last logged step.
    pub losses: Option<(f64, f64)>,
    /// How audio becomes features.
    pub preprocessor: PreprocessorConfig,
    /// Which phase the run is of. This and what follows is absent in checkpoints of earlier versions.
    #[serde(default)]
    pub phase: Option<Phase>,
    /// The recipe, as JSON, so that a version with other keys can still read the rest.
    #[serde(default)]
    pub recipe: Option<Value>,
    /// Tokens of a CTC model.
    #[serde(default)]
    pub vocabulary: Option<Vocabulary>,
    /// Classes of a model of utterances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// How texts become sub-words, as `tokenizer.json`, where tokens are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Value>,
    /// The training data.
    #[serde(default)]
    pub corpus: Option<Identity>,
    /// The validation data.
    #[serde(default)]
    pub valid: Option<Identity>,
    /// The utterances that the score of `best` covers.
    #[serde(default)]
    pub best_of: Option<Scored>,
    /// A hash of the utterances of the last validation loss.
    #[serde(default)]
    pub valid_set: Option<u64>,
    /// Whether the validation of this step was cut off by a request to stop.
    #[serde(default)]
    pub validation_due: bool,
    /// The kernels that the run keeps; empty in checkpoints of versions that knew static rules alone.
    #[serde(default)]
    pub kernels: Kernels,
}

/// Sums on the CPU since the last logged step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SinceLog {
    /// Steps.
    pub steps: u64,
    /// Micro-batches.
    pub micro_batches: u64,
    /// Predictions that accuracy is a share of.
    #[serde(rename = "decisions")]
    pub predictions: u64,
    /// Seconds of audio.
    pub audio_seconds: f64,
}

/// A whole checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// All that is not a tensor.
    pub state: State,
    /// Parameters and frozen state.
    pub values: Weights,
    /// The optimizer's moments.
    pub moments: Weights,
}

impl Checkpoint {
    /// Writes `checkpoints/<step>` of `run` aside, renames it, and removes all but the newest `keep`.
    ///
    /// # Errors
    /// When the disk is full or the folder cannot be written; earlier checkpoints stay.
    pub fn save(&self, run: &Path, keep: usize) -> Result<()> {
        let begun = Instant::now();
        let folder = run.join("checkpoints").join(self.state.step.to_string());
        let state = serde_json::to_vec_pretty(&self.state).map_err(|e| Error::invalid(e.to_string()))?;
        let mut new = NewFolder::create(&folder)?;
        new.write("model.safetensors", &self.values.serialize(Precision::F32)?)?;
        new.write("optimizer.safetensors", &self.moments.serialize(Precision::F32)?)?;
        new.write("state.json", &state)?;
        new.finish()?;
        tracing::debug!("wrote {} in {:.1} ms", folder.display(), begun.elapsed().as_secs_f64() * 1e3);
        Self::prune(run, self.state.step, keep)
    }

    /// Removes all checkpoints of `run` but that of `step`, which is whole, and the newest before it, `keep` together.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn prune(run: &Path, step: u64, keep: usize) -> Result<()> {
        // Those of later steps are of a course that the run has left, since it could not go on from them.
        let (mut old, left) = list(run)?.into_iter().partition::<Vec<_>, _>(|&(other, _)| other <= step);
        old.truncate(old.len().saturating_sub(keep.max(1)));
        old.into_iter().chain(left).try_for_each(|(_, old)| files::remove_folder(&old))
    }

    /// Removes what a killed process left half done in `run`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn clean(run: &Path) -> Result<()> {
        let folder = run.join("checkpoints");
        let entries = std::fs::read_dir(&folder).into_iter().flatten();
        let names: BTreeSet<u64> =
            entries.filter_map(|entry| entry.ok()?.path().file_stem()?.to_str()?.parse().ok()).collect();
        let steps = names.into_iter().map(|step| folder.join(step.to_string()));
        let others = ["recipe.toml", "metrics.jsonl", "loss.svg", "best", "last"].map(|name| run.join(name));
        steps.chain(others).try_for_each(|path| files::clean(&path))
    }

    /// The newest checkpoint of `run` that can be read; `None` where there is none at all. One that is damaged is
    /// named, and the one before is taken; one that the system does not let this user read is not damaged.
    ///
    /// # Errors
    /// When all are damaged, or the system refuses to read one.
    pub fn newest(run: &Path) -> Result<Option<Self>> {
        let mut damaged = None;
        for (_, folder) in list(run)?.into_iter().rev() {
            let begun = Instant::now();
            match Self::read(&folder) {
                Ok(checkpoint) => {
                    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
                    tracing::debug!("read {} in {milliseconds:.1} ms", folder.display());
                    return Ok(Some(checkpoint));
                }
                Err(error) => {
                    reachable(&folder)?;
                    tracing::warn!("passed over for the checkpoint before: {error}");
                    damaged.get_or_insert(error);
                }
            }
        }
        match damaged {
            None => Ok(None),
            Some(error) => {
                let message = format!("holds no checkpoint that can be read ({error})");
                Err(Error::file(run.join("checkpoints"), message).advise(Remedy::NewRun))
            }
        }
    }

    /// Reads the checkpoint `folder`.
    fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| files::read(&folder.join(name));
        let weights = |name: &str| {
            let path = folder.join(name);
            let weights = within(&path, Weights::parse(&read(name)?))?;
            within(&path, finite(&weights))?;
            Ok::<_, Error>(weights)
        };
        let path = folder.join("state.json");
        let mut state: State = serde_json::from_slice(&read("state.json")?)
            .map_err(|e| Error::file(&path, format!("is damaged, or of a loss that was not finite ({e})")))?;
        if let Some(tokenizer) = &state.tokenizer {
            let pieces = within(&path, Pieces::parse(tokenizer.to_string().as_bytes()))?;
            let joined = state.vocabulary.take().map(|vocabulary| vocabulary.with_pieces(pieces));
            state.vocabulary = within(&path, joined.transpose())?;
        }
        Ok(Self { state, values: weights("model.safetensors")?, moments: weights("optimizer.safetensors")? })
    }
}

/// # Errors
/// When the system refuses to read a file of the checkpoint `folder` that is there.
fn reachable(folder: &Path) -> Result<()> {
    for name in ["state.json", "model.safetensors", "optimizer.safetensors"].map(|name| folder.join(name)) {
        if files::about(&name)?.is_some() {
            files::open(&name)?;
        }
    }
    Ok(())
}

/// # Errors
/// Names a tensor with a value that is no finite number.
pub(super) fn finite(weights: &Weights) -> Result<()> {
    match weights.iter().find(|(.., values)| values.iter().any(|value| !value.is_finite())) {
        None => Ok(()),
        Some((name, ..)) => Err(Error::invalid(format!("the tensor {name} is not finite"))),
    }
}

/// Whole checkpoints by step.
fn list(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let folder = run.join("checkpoints");
    if files::about(&folder)?.is_none() {
        return Ok(Vec::new());
    }
    let step = |path: PathBuf| Some((path.file_name()?.to_str()?.parse::<u64>().ok()?, path));
    let mut whole: Vec<(u64, PathBuf)> = files::entries(&folder)?.into_iter().filter_map(step).collect();
    whole.sort();
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Rates;
    use super::*;
    use crate::audio::{Normalization, Padding, SAMPLE_RATE};

    fn checkpoint(step: u64) -> Checkpoint {
        let mut values = Weights::default();
        values.insert("a", [2], vec![step as f32, 1.0]).unwrap();
        let state = State {
            step,
            next: BatchIndex::default(),
            seed: 1,
            schedule: ScheduleState { previous: None, factors: Rates { encoder: 1.0, head: 1.0 } },
            loss_scale: None,
            totals: StepTotals::default(),
            since_log: SinceLog::default(),
            best: None,
            losses: None,
            preprocessor: PreprocessorConfig {
                sampling_rate: SAMPLE_RATE,
                silence: 0.0,
                normalization: Normalization::Sentence,
                padding: Padding::Masked,
            },
            phase: Some(Phase::Finetune),
            recipe: Some(crate::recipe::Recipe::default().to_json()),
            vocabulary: Some(Vocabulary::english()),
            labels: None,
            tokenizer: None,
            corpus: None,
            valid: None,
            best_of: None,
            valid_set: None,
            validation_due: false,
            kernels: Kernels::new(),
        };
        Checkpoint { state, moments: values.clone(), values }
    }

    #[test]
    fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let newest = || Checkpoint::newest(folder.path()).map(|found| found.map(|found| found.state.step));
        assert_eq!(newest().unwrap(), None);
        for step in [3, 6, 9] {
            checkpoint(step).save(folder.path(), 3).unwrap();
        }
        assert_eq!(Checkpoint::newest(folder.path()).unwrap().unwrap().state, checkpoint(9).state);
        let at = |step: u64| folder.path().join("checkpoints").join(step.to_string());
        // What earlier versions wrote of a loss that was not finite.
        let state = std::fs::read_to_string(at(9).join("state.json")).unwrap();
        std::fs::write(at(9).join("state.json"), state.replacen("\"loss\": 0.0", "\"loss\": null", 1))
            .unwrap();
        assert_eq!(newest().unwrap(), Some(6));
        std::fs::write(at(6).join("optimizer.safetensors"), b"cut").unwrap();
        assert_eq!(newest().unwrap(), Some(3));
        // The next one keeps its place, though damaged ones of later steps are there.
        checkpoint(5).save(folder.path(), 1).unwrap();
        assert_eq!(newest().unwrap(), Some(5));
        assert_eq!(list(folder.path()).unwrap().len(), 1);
        #[cfg(unix)]
        {
            // What the system refuses is there again when that is mended: later checkpoints are not given up for it.
            checkpoint(7).save(folder.path(), 2).unwrap();
            std::fs::rename(at(7).join("state.json"), at(7).join("away")).unwrap();
            std::os::unix::fs::symlink("state.json", at(7).join("state.json")).unwrap();
            let error = newest().unwrap_err().to_string();
            assert!(error.contains("7/state.json") && error.contains("mend its links"), "{error}");
            files::remove_folder(&at(7)).unwrap();
        }
        std::fs::remove_file(at(5).join("state.json")).unwrap();
        let error = newest().unwrap_err().to_string();
        assert!(error.contains("state.json") && error.contains("another folder"), "{error}");
    }
}
