//! `metrics.jsonl`: one JSON object a line.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::data::{LeftOut, Why};
use crate::error::{Error, Result};
use crate::files::{self, Log, about, write_whole};

/// Which phase of training a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// BEST-RQ.
    Pretrain,
    /// On labels.
    Finetune,
}

/// A logged training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainLine {
    /// Optimizer step, from 1.
    pub step: u64,
    /// Phase of training.
    pub phase: Phase,
    /// Loss before the step's update; `null` in the file if it is not finite.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Masked accuracy (pre-training), or the share of utterances whose class is the best one (classes), a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Global norm of the gradient before clipping; `null` in the file if it is not finite.
    #[serde(deserialize_with = "number_or_null")]
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
    /// Seconds of audio in the step's batches, without padding.
    pub audio_seconds: f64,
    /// Milliseconds that the step took.
    pub step_ms: f64,
    /// Of these, neither waiting for data nor exchanging gradients. This and the next two are absent in lines of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_ms: Option<f64>,
    /// Of these, exchanging gradients with other ranks, the wait for slower ones included; 0 in a world of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_ms: Option<f64>,
    /// Of these, waiting for data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_ms: Option<f64>,
    /// Bytes allocated on the device.
    pub gpu_bytes: u64,
    /// The loss scale (mixed precision).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Steps since the last line that were left out because their gradient was not finite (mixed precision).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_steps: Option<u64>,
}

/// A validation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidLine {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean loss over the utterances that have one; `null` in the file if none has, or it is not finite.
    #[serde(deserialize_with = "number_or_null")]
    pub valid_loss: f64,
    /// Word error rate, a fraction (fine-tuning).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wer: Option<f64>,
    /// Character error rate, a fraction (fine-tuning).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cer: Option<f64>,
    /// Masked accuracy (pre-training), or the share of utterances whose class is found (classification).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Equal error rate of all pairs, a fraction (verification).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eer: Option<f64>,
    /// Utterances that the rates are of.
    #[serde(default)]
    pub utterances: usize,
    /// Utterances that the loss is of, where it is of others than the rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_utterances: Option<usize>,
    /// What the loss or the rates do not include, the first few.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// How many recordings are left out for which reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out_reasons: BTreeMap<Why, usize>,
}

/// Any line of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// A logged training step.
    Train(TrainLine),
    /// A validation.
    Valid(ValidLine),
}

impl Line {
    /// The step that the line is about.
    pub fn step(&self) -> u64 {
        match self {
            Self::Train(line) => line.step,
            Self::Valid(line) => line.step,
        }
    }
}

/// JSON has no NaN and no infinity: both are written as `null`.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The lines of a `metrics.jsonl`; none if there is no such file. A last line without its end, which
/// a killed run leaves, does not count.
///
/// # Errors
/// When the file cannot be read or a whole line is not understood.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Line>> {
    let path = path.as_ref();
    if about(path)?.is_none() {
        return Ok(Vec::new());
    }
    let bytes = files::read(path)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let lines = bytes[..whole]
        .split(|&byte| byte == b'\n')
        .zip(1..)
        .filter(|(line, _)| !line.trim_ascii().is_empty());
    let parse = |(line, number): (&[u8], usize)| {
        serde_json::from_slice(line).map_err(|_| {
            Error::line(
                path,
                number,
                "is neither a training step nor a validation; repair or remove the line",
            )
        })
    };
    lines.map(parse).collect()
}

/// The file, open for more lines.
#[derive(Debug)]
pub(super) struct Journal(Log);

impl Journal {
    /// Opens `path` and drops what is there of steps after `step`.
    pub(super) fn open(path: &Path, step: u64) -> Result<Self> {
        let mut kept = Vec::new();
        if step > 0 {
            for line in read(path)?.iter().filter(|line| line.step() <= step) {
                match line {
                    Line::Train(line) => push(&mut kept, line),
                    Line::Valid(line) => push(&mut kept, line),
                }
            }
        }
        write_whole(path, &kept)?;
        Ok(Self(Log::open(path)?))
    }

    pub(super) fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut bytes = Vec::new();
        push(&mut bytes, line);
        self.0.append(&bytes)
    }
}

fn push(bytes: &mut Vec<u8>, line: &impl Serialize) {
    let json = serde_json::to_vec(line).unwrap_or_else(|_| unreachable!("numbers and names are always JSON"));
    bytes.extend(json);
    bytes.push(b'\n');
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn train_line() -> TrainLine {
        TrainLine {
            step: 10,
            phase: Phase::Pretrain,
            loss: 9.0,
            accuracy: Some(0.25),
            grad_norm: 1.5,
            lr: 1e-3,
            audio_seconds: 64.0,
            step_ms: 250.5,
            compute_ms: Some(200.25),
            exchange_ms: Some(50.0),
            data_ms: Some(0.25),
            gpu_bytes: 1 << 30,
            loss_scale: None,
            skipped_steps: None,
        }
    }

    #[test]
    fn lines_have_the_documented_keys() {
        let json = serde_json::to_string(&train_line()).unwrap();
        assert_eq!(
            json,
            r#"{"step":10,"phase":"pretrain","loss":9.0,"accuracy":0.25,"grad_norm":1.5,"lr":0.001,"audio_seconds":64.0,"step_ms":250.5,"compute_ms":200.25,"exchange_ms":50.0,"data_ms":0.25,"gpu_bytes":1073741824}"#
        );
        let valid = ValidLine {
            step: 3,
            valid_loss: 1.5,
            wer: Some(0.5),
            cer: Some(0.25),
            utterances: 7,
            left_out: vec![LeftOut {
                audio_filepath: "a.wav".into(),
                origin: "m.jsonl:3".into(),
                reason: "is empty".into(),
            }],
            left_out_reasons: BTreeMap::from([(Why::Unreadable, 1)]),
            ..ValidLine::default()
        };
        let json = serde_json::to_string(&valid).unwrap();
        assert_eq!(
            json,
            r#"{"step":3,"valid_loss":1.5,"wer":0.5,"cer":0.25,"utterances":7,"left_out":[{"audio_filepath":"a.wav","origin":"m.jsonl:3","reason":"is empty"}],"left_out_reasons":{"unreadable":1}}"#
        );
        assert_eq!(serde_json::from_str::<ValidLine>(&json).unwrap(), valid);
        // As earlier versions wrote it.
        let old: ValidLine = serde_json::from_str(r#"{"step":3,"valid_loss":1.5,"wer":0.5}"#).unwrap();
        assert_eq!(old, ValidLine { step: 3, valid_loss: 1.5, wer: Some(0.5), ..ValidLine::default() });
    }

    #[test]
    fn a_loss_that_is_not_finite_is_null() {
        let line = TrainLine { loss: f64::NAN, grad_norm: f64::INFINITY, ..train_line() };
        let json = serde_json::to_string(&line).unwrap();
        assert!(json.contains(r#""loss":null"#), "{json}");
        let Line::Train(line) = serde_json::from_str(&json).unwrap() else { panic!("{json}") };
        assert!(line.loss.is_nan() && line.grad_norm.is_nan());
    }

    #[test]
    fn a_torn_last_line_does_not_count_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        assert_eq!(read(&path).unwrap(), []);
        let line = serde_json::to_string(&train_line()).unwrap();
        std::fs::write(&path, format!("{line}\n{{\"step\":1")).unwrap();
        assert_eq!(read(&path).unwrap(), [Line::Train(train_line())]);
        std::fs::write(&path, format!("{line}\n{{\"step\":1}}\n")).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("metrics.jsonl:2: "));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in r#"[{}":,a-z0-9_\n]{0,80}"#) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("metrics.jsonl");
            for content in [bytes, text.into_bytes()] {
                std::fs::write(&path, content).unwrap();
                let _ = read(&path);
                let _ = Journal::open(&path, 3);
            }
        }
    }
}
