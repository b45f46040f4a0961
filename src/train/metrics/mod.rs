//! Metrics of a run: `metrics.jsonl`, TensorBoard events, `loss.svg`.

pub(crate) mod chart;
mod jsonl;
mod plot;
mod tensorboard;

use std::path::{Path, PathBuf};

pub use jsonl::{Line, Phase, TrainLine, ValidLine, read};
pub use plot::plot_loss;
pub use tensorboard::EventWriter;

use crate::error::Result;
use jsonl::Journal;

/// Writes the metrics of one run; every line is on disk when its call returns.
#[derive(Debug)]
pub struct MetricsWriter {
    folder: PathBuf,
    journal: Journal,
    events: EventWriter,
}

impl MetricsWriter {
    /// Begins in the run folder `folder` after `step` steps (0 for a new run): lines of later steps,
    /// left by a run that was cut off, go.
    ///
    /// # Errors
    /// When a file there cannot be read or written.
    pub fn open(folder: impl AsRef<Path>, step: u64) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let journal = Journal::open(&folder.join("metrics.jsonl"), step)?;
        let mut events = EventWriter::create(&folder)?;
        if step > 0 {
            events.restart(step + 1)?;
        }
        Ok(Self { folder, journal, events })
    }

    /// Records a training step.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn train(&mut self, line: &TrainLine) -> Result<()> {
        self.journal.append(line)?;
        let mut scalars = vec![
            ("train/loss", line.loss),
            ("train/grad_norm", line.grad_norm),
            ("train/lr", line.lr),
            ("train/step_ms", line.step_ms),
            ("train/gpu_bytes", line.gpu_bytes as f64),
        ];
        let parts = [
            ("train/compute_ms", line.compute_ms),
            ("train/exchange_ms", line.exchange_ms),
            ("train/data_ms", line.data_ms),
        ];
        scalars.extend(parts.into_iter().filter_map(|(name, value)| Some((name, value?))));
        scalars.extend(line.accuracy.map(|accuracy| ("train/accuracy", accuracy)));
        scalars.extend(line.loss_scale.map(|scale| ("train/loss_scale", scale)));
        scalars.extend(line.skipped_steps.map(|steps| ("train/skipped_steps", steps as f64)));
        self.events.scalars(line.step, &scalars)
    }

    /// Records a validation.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn valid(&mut self, line: &ValidLine) -> Result<()> {
        self.journal.append(line)?;
        let mut scalars = vec![("valid/loss", line.valid_loss)];
        scalars.retain(|(_, loss)| !loss.is_nan());
        let optional = [
            ("valid/wer", line.wer),
            ("valid/cer", line.cer),
            ("valid/accuracy", line.accuracy),
            ("valid/eer", line.eer),
        ];
        scalars.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        self.events.scalars(line.step, &scalars)
    }

    /// Draws `loss.svg` of all lines so far.
    ///
    /// # Errors
    /// When `metrics.jsonl` cannot be read or `loss.svg` not be written.
    pub fn plot(&self) -> Result<()> {
        plot_loss(&read(self.folder.join("metrics.jsonl"))?, self.folder.join("loss.svg"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_forgets_what_came_after_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let train = |step| TrainLine { step, ..jsonl::tests::train_line() };
        let valid = ValidLine { step: 20, valid_loss: 2.0, wer: Some(0.5), ..ValidLine::default() };
        let mut metrics = MetricsWriter::open(folder.path(), 0).unwrap();
        for step in [10, 20, 30] {
            metrics.train(&train(step)).unwrap();
        }
        metrics.valid(&valid).unwrap();
        drop(metrics);
        let mut metrics = MetricsWriter::open(folder.path(), 20).unwrap();
        metrics.train(&train(40)).unwrap();
        metrics.plot().unwrap();
        let lines = read(folder.path().join("metrics.jsonl")).unwrap();
        assert_eq!(
            lines,
            [Line::Train(train(10)), Line::Train(train(20)), Line::Valid(valid), Line::Train(train(40))]
        );
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            names.iter().any(|name| name.to_string_lossy().starts_with("events.out.tfevents.")),
            "{names:?}"
        );
        assert!(names.iter().any(|name| name == "loss.svg"));
    }
}
