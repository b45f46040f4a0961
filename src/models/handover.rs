//! Reading back a model's logits: as much as a decoder needs.

use std::ops::Range;

use crate::decode::Emissions;
use crate::error::Result;
use crate::exec::{Executor, Loaded};
use crate::graph::Tensor;
use crate::ops::loss::Likely;

/// The outputs that are read back for each encoder frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Handover {
    /// The most probable token.
    Best,
    /// The tokens from a log-probability up, found on the device.
    Likely(Likely),
    /// The logits of all tokens.
    Whole,
}

/// The outputs of a batch.
#[derive(Debug, Clone)]
pub enum Handed {
    /// Of each frame the most probable token.
    Best {
        /// Their ids.
        ids: Vec<u32>,
        /// Their probabilities.
        probabilities: Vec<f32>,
    },
    /// Of each frame the tokens from a log-probability up, and room for as many as there can be.
    Likely {
        /// How many there are.
        counts: Vec<u32>,
        /// Their ids.
        ids: Vec<u32>,
        /// Their log-probabilities.
        logs: Vec<f32>,
    },
    /// Of each frame all tokens.
    Whole {
        /// Their logits.
        logits: Vec<f32>,
    },
}

impl Handover {
    /// For a decoder that looks at tokens from `prune` up, or at the best alone, of a vocabulary of `tokens`.
    pub fn of(prune: Option<f64>, tokens: usize) -> Self {
        let Some(prune) = prune else { return Self::Best };
        let likely = Likely::from(prune, tokens);
        // A token is handed over as two numbers.
        let fewer = 2 * likely.room < tokens && tokens <= Likely::MOST_CLASSES;
        if fewer { Self::Likely(likely) } else { Self::Whole }
    }

    /// Whether this has all that `other` has.
    pub fn holds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole, _) | (_, Self::Best) => true,
            (Self::Likely(own), Self::Likely(other)) => own.least <= other.least,
            _ => false,
        }
    }

    /// The outputs of a plan for logits `[rows, tokens]`.
    ///
    /// # Errors
    /// When the tensor is none of logits.
    pub fn outputs(self, logits: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let outputs = match self {
            Self::Best => {
                let (ids, probabilities) = logits.argmax()?;
                vec![("ids", ids), ("probabilities", probabilities)]
            }
            Self::Likely(likely) => {
                let [counts, ids, logs] = logits.likely(likely)?;
                vec![("counts", counts), ("ids", ids), ("logs", logs)]
            }
            Self::Whole => vec![("logits", logits.clone())],
        };
        Ok(outputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect())
    }

    /// Reads the outputs of the last run.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn read(self, executor: &Executor, loaded: &Loaded) -> Result<Handed> {
        Ok(match self {
            Self::Best => Handed::Best {
                ids: executor.read(loaded, "ids").await?,
                probabilities: executor.read(loaded, "probabilities").await?,
            },
            Self::Likely(_) => Handed::Likely {
                counts: executor.read(loaded, "counts").await?,
                ids: executor.read(loaded, "ids").await?,
                logs: executor.read(loaded, "logs").await?,
            },
            Self::Whole => Handed::Whole { logits: executor.read(loaded, "logits").await? },
        })
    }
}

impl Handed {
    /// The emissions of the frames `rows` of a vocabulary of `tokens`: the tokens from `prune` up, or the best alone, as
    /// [`Emissions::dense`] has it.
    ///
    /// # Errors
    /// When the device computed no number.
    pub fn emissions(&self, rows: Range<usize>, tokens: usize, prune: Option<f64>) -> Result<Emissions> {
        let mut emissions = Emissions::new();
        match self {
            Self::Best { ids, probabilities } => {
                for (&id, &probability) in ids[rows.clone()].iter().zip(&probabilities[rows]) {
                    emissions.push(&[(id, probability.ln())])?;
                }
            }
            Self::Likely { counts, ids, logs } => {
                let room = ids.len() / counts.len().max(1);
                for row in rows {
                    let found = row * room..row * room + (counts[row] as usize).min(room);
                    let frame = ids[found.clone()].iter().copied().zip(logs[found].iter().copied());
                    emissions.push(&frame.collect::<Vec<_>>())?;
                }
            }
            Self::Whole { logits } => {
                let values = &logits[rows.start * tokens..rows.end * tokens];
                emissions = Emissions::dense(values, tokens, prune)?;
            }
        }
        Ok(emissions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_vocabulary_does_not_cross_whole() {
        assert_eq!(Handover::of(None, 5000), Handover::Best);
        assert_eq!(Handover::of(Some(-5.0), 29), Handover::Whole);
        assert_eq!(Handover::of(Some(-12.0), 5000), Handover::Whole);
        let Handover::Likely(likely) = Handover::of(Some(-5.0), 5000) else { panic!("all is handed over") };
        // So many tokens can have a probability of exp(-5) or more.
        assert!((148..=150).contains(&likely.room), "{likely:?}");
        assert!(
            Handover::Whole.holds(Handover::Likely(likely)) && Handover::Likely(likely).holds(Handover::Best)
        );
        assert!(!Handover::Best.holds(Handover::Likely(likely)));
        assert!(!Handover::Likely(likely).holds(Handover::of(Some(-6.0), 5000)));
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        let handed = Handed::Best { ids: vec![1, 2], probabilities: vec![0.5, f32::NAN] };
        assert_eq!(handed.emissions(0..1, 3, None).unwrap().len(), 1);
        assert!(handed.emissions(0..2, 3, None).is_err());
    }
}
