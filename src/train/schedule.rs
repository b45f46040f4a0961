//! Learning rates over the steps.

use serde::{Deserialize, Serialize};

use crate::recipe::{OptimizerConfig, ScheduleConfig};

/// The learning rate of each parameter group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Of the front-end and the encoder.
    pub encoder: f64,
    /// Of what stands on the encoder.
    pub head: f64,
}

/// The state of a [`Schedule`] in a checkpoint: only NewBob has a memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScheduleState {
    /// The last finite validation loss.
    pub previous: Option<f64>,
    /// The factor of the peak rates.
    pub factors: Rates,
}

/// Learning rates as a function of the step, and for NewBob of the validation losses so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
    peak: Rates,
    steps: u64,
    state: ScheduleState,
}

impl Schedule {
    /// The schedule of `config` over `steps` steps.
    pub fn new(config: &OptimizerConfig, steps: u64) -> Self {
        Self {
            config: config.schedule,
            peak: Rates { encoder: config.encoder_lr, head: config.head_lr },
            steps,
            state: ScheduleState { previous: None, factors: Rates { encoder: 1.0, head: 1.0 } },
        }
    }

    /// The rates of `step`, counted from 1.
    ///
    /// With w warm-up steps of n:
    /// * Noam: min(step / w, √(w / step)) of the peak;
    /// * cosine: step / w up to w, then ½(1 + cos(π (step − 1 − w) / (n − w)));
    /// * constant: the peak; NewBob: what [`Schedule::update`] left of the peak.
    pub fn rates(&self, step: u64) -> Rates {
        let step = step.max(1) as f64;
        let factor = match self.config {
            ScheduleConfig::Noam { warmup } => {
                let warmup = warmup.max(1) as f64;
                (step / warmup).min((warmup / step).sqrt())
            }
            ScheduleConfig::Cosine { warmup_fraction } => {
                let steps = self.steps as f64;
                let warmup = (warmup_fraction * steps).round();
                if step <= warmup {
                    step / warmup
                } else {
                    let part = (step - 1.0 - warmup) / (steps - warmup).max(1.0);
                    0.5 * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos())
                }
            }
            ScheduleConfig::Newbob { .. } | ScheduleConfig::Constant {} => 1.0,
        };
        let ScheduleState { factors, .. } = self.state;
        Rates {
            encoder: self.peak.encoder * factor * factors.encoder,
            head: self.peak.head * factor * factors.head,
        }
    }

    /// Tells the validation loss. NewBob multiplies the rates by its factors unless the loss has
    /// fallen, since the one before, by `threshold` of that one; a loss that is not finite has not.
    pub fn update(&mut self, loss: f64) {
        let ScheduleConfig::Newbob { threshold, head_factor, encoder_factor } = self.config else { return };
        let ScheduleState { previous, factors } = &mut self.state;
        let fallen = match *previous {
            Some(previous) => previous - loss >= threshold * previous.abs(),
            None => loss.is_finite(),
        };
        if !fallen {
            factors.encoder *= encoder_factor;
            factors.head *= head_factor;
        }
        if loss.is_finite() {
            *previous = Some(loss);
        }
    }

    /// Forgets the last loss, which the next one is not to be compared with.
    pub fn forget(&mut self) {
        self.state.previous = None;
    }

    /// For a checkpoint.
    pub fn state(&self) -> ScheduleState {
        self.state
    }

    /// Goes on from a checkpoint.
    pub fn restore(&mut self, state: ScheduleState) {
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::FinetuneConfig;

    fn schedule(schedule: ScheduleConfig, lr: f64, steps: u64) -> Schedule {
        let optimizer = FinetuneConfig::default().optimizer;
        Schedule::new(&OptimizerConfig { encoder_lr: lr, head_lr: 2.0 * lr, schedule, ..optimizer }, steps)
    }

    #[track_caller]
    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn noam_peaks_at_the_rate() {
        let noam = schedule(ScheduleConfig::Noam { warmup: 8 }, 1e-3, 12);
        let golden =
            [0.000125, 0.00025, 0.000375, 0.0005, 0.000625, 0.00075, 0.000875, 0.001].into_iter().chain([
                0.0009428090415820635,
                0.000894427190999916,
                0.0008528028654224419,
                0.0008164965809277261,
            ]);
        for (step, rate) in (1..).zip(golden) {
            assert_close(noam.rates(step).encoder, rate);
            assert_close(noam.rates(step).head, 2.0 * rate);
        }
    }

    #[test]
    fn noam_agrees_with_the_golden_trajectory() {
        let folder = std::env::var("POLYMIX_SHARED")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_owned());
        let Ok(text) = std::fs::read_to_string(format!("{folder}/golden/train12_pom_k2d2.json")) else {
            eprintln!("skipped: no golden trajectory in {folder}");
            return;
        };
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let noam = schedule(ScheduleConfig::Noam { warmup: 8 }, 1e-3, 12);
        let rates: Vec<f64> = serde_json::from_value(golden["lr"].clone()).unwrap();
        assert_eq!(rates.len(), 12);
        for (step, rate) in (1..).zip(rates) {
            assert_close(noam.rates(step).encoder, rate);
        }
    }

    #[test]
    fn cosine_warms_up_and_ends_near_zero() {
        let cosine = schedule(ScheduleConfig::Cosine { warmup_fraction: 0.1 }, 1.0, 100);
        assert_close(cosine.rates(1).encoder, 0.1);
        assert_close(cosine.rates(10).encoder, 1.0);
        assert_close(cosine.rates(11).encoder, 1.0);
        assert_close(cosine.rates(56).encoder, 0.5);
        assert!(cosine.rates(100).encoder < 1e-3 && cosine.rates(100).encoder > 0.0);
        assert_close(cosine.rates(1000).encoder, 0.0);
        for fraction in [0.0, 1.0] {
            let edge = schedule(ScheduleConfig::Cosine { warmup_fraction: fraction }, 1.0, 1);
            assert_close(edge.rates(1).encoder, 1.0);
        }
    }

    #[test]
    fn newbob_anneals_each_group_when_the_loss_stalls() {
        let config = ScheduleConfig::Newbob { threshold: 0.0025, head_factor: 0.5, encoder_factor: 0.7 };
        let mut newbob = schedule(config, 1.0, 0);
        newbob.update(2.0);
        newbob.update(1.5);
        assert_eq!(newbob.rates(7), Rates { encoder: 1.0, head: 2.0 });
        newbob.update(1.4999);
        assert_eq!(newbob.rates(8), Rates { encoder: 0.7, head: 1.0 });
        newbob.update(f64::NAN);
        assert_close(newbob.rates(9).head, 0.5);
        assert_eq!(newbob.state().previous, Some(1.4999));

        let json = serde_json::to_string(&newbob.state()).unwrap();
        let mut resumed = schedule(config, 1.0, 0);
        resumed.restore(serde_json::from_str(&json).unwrap());
        assert_eq!(resumed, newbob);
        newbob.update(1.6);
        resumed.update(1.6);
        assert_eq!(resumed.rates(10), newbob.rates(10));
        let rates = newbob.rates(11);
        newbob.forget();
        newbob.update(9.0);
        assert_eq!((newbob.rates(11), newbob.state().previous), (rates, Some(9.0)));
    }

    #[test]
    fn constant_stays() {
        let mut constant = schedule(ScheduleConfig::Constant {}, 0.5, 10);
        constant.update(9.0);
        constant.update(9.0);
        assert_eq!(constant.rates(1), constant.rates(1_000_000));
    }
}
