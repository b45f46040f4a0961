//! Checkpoints: everything that makes a resumed run bit-equal to an unbroken one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::loss_scale::LossScale;
use super::schedule::ScheduleState;
use super::stepper::StepTotals;
use crate::data::BatchIndex;
use crate::error::{Error, Result};
use crate::files::{self, NewFolder};
use crate::models::{PreprocessorConfig, within};
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
    /// Steps, decisions and seconds of audio since the last logged step.
    pub since_log: SinceLog,
    /// The best validation so far: word error rate, or loss in pre-training.
    pub best: Option<f64>,
    /// Loss of the first and the last logged step.
    pub losses: Option<(f64, f64)>,
    /// How audio becomes features.
    pub preprocessor: PreprocessorConfig,
}

/// What was summed on the CPU since the last logged step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SinceLog {
    /// Steps.
    pub steps: u64,
    /// Micro-batches.
    pub micro_batches: u64,
    /// Decisions that accuracy is a share of.
    pub decisions: u64,
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
        let folder = run.join("checkpoints").join(self.state.step.to_string());
        let state = serde_json::to_vec_pretty(&self.state).map_err(|e| Error::invalid(e.to_string()))?;
        let mut new = NewFolder::create(&folder)?;
        new.write("model.safetensors", &self.values.serialize(Precision::F32)?)?;
        new.write("optimizer.safetensors", &self.moments.serialize(Precision::F32)?)?;
        new.write("state.json", &state)?;
        new.finish()?;
        let mut whole = list(run)?;
        whole.truncate(whole.len().saturating_sub(keep.max(1)));
        whole.into_iter().try_for_each(|(_, old)| files::remove_folder(&old))
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

    /// The newest checkpoint of `run`; `None` where there is none.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn newest(run: &Path) -> Result<Option<Self>> {
        let Some((_, folder)) = list(run)?.pop() else { return Ok(None) };
        let read = |name: &str| {
            let path = folder.join(name);
            let advice = "remove this folder to resume from the checkpoint before";
            std::fs::read(&path).map_err(|e| Error::file(&path, format!("cannot be read ({e}); {advice}")))
        };
        let weights =
            |name: &str| within(&folder.join(name), read(name).and_then(|bytes| Weights::parse(&bytes)));
        let path = folder.join("state.json");
        let state =
            serde_json::from_slice(&read("state.json")?).map_err(|e| Error::file(&path, e.to_string()))?;
        Ok(Some(Self {
            state,
            values: weights("model.safetensors")?,
            moments: weights("optimizer.safetensors")?,
        }))
    }
}

/// Whole checkpoints by step.
fn list(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let folder = run.join("checkpoints");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::file(&folder, format!("cannot be read ({e})"))),
    };
    let step = |path: PathBuf| Some((path.file_name()?.to_str()?.parse().ok()?, path));
    let mut whole: Vec<(u64, PathBuf)> = entries.filter_map(|entry| step(entry.ok()?.path())).collect();
    whole.sort();
    Ok(whole)
}
