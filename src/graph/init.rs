//! Initialization of parameters.

use crate::rng::{Rng, stream};
use crate::shape::Shape;

/// The distribution of a parameter's first value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// All elements equal.
    Constant(f32),
    /// N(0, std²).
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// U(−bound, bound).
    Uniform {
        /// Largest magnitude.
        bound: f32,
    },
    /// N(0, 1) rows, each divided by its l2 norm.
    UnitRows,
    /// ln 1, ln 2, ln 3, … in every row.
    LogCount,
    /// x such that softplus(x) is drawn log-uniformly from `low` to `high`.
    InverseSoftplus {
        /// Smallest softplus(x), above 0.
        low: f32,
        /// Largest softplus(x).
        high: f32,
    },
}

impl Init {
    /// Xavier-normal: N(0, 2/(fan_in + fan_out)).
    pub fn xavier_normal(fan_in: usize, fan_out: usize) -> Self {
        Self::Normal { std: (2.0 / (fan_in + fan_out) as f64).sqrt() as f32 }
    }

    /// Xavier-uniform: U(−b, b), b = √(6/(fan_in + fan_out)).
    pub fn xavier_uniform(fan_in: usize, fan_out: usize) -> Self {
        Self::Uniform { bound: (6.0 / (fan_in + fan_out) as f64).sqrt() as f32 }
    }

    /// U(−b, b), b = 1/√fan_in.
    pub fn fan_in_uniform(fan_in: usize) -> Self {
        Self::Uniform { bound: (1.0 / fan_in as f64).sqrt() as f32 }
    }

    /// The elements of the parameter `name`, drawn from a stream of its own.
    pub fn draw(self, name: &str, shape: &Shape, seed: u32) -> Vec<f32> {
        let mut rng = Rng::new(&[seed, stream(name)]);
        let n = shape.elements();
        match self {
            Self::Constant(value) => vec![value; n],
            Self::Normal { std } => (0..n).map(|_| (rng.normal() * f64::from(std)) as f32).collect(),
            Self::Uniform { bound } => (0..n).map(|_| (2.0 * rng.unit() - 1.0) * bound).collect(),
            Self::UnitRows => {
                let mut values: Vec<f32> = (0..n).map(|_| rng.normal() as f32).collect();
                for row in values.chunks_mut(shape.last().max(1)) {
                    let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
                    row.iter_mut().for_each(|x| *x /= norm);
                }
                values
            }
            Self::LogCount => {
                let columns = shape.last().max(1);
                (0..n).map(|i| ((i % columns + 1) as f64).ln() as f32).collect()
            }
            Self::InverseSoftplus { low, high } => {
                let [low, high] = [low, high].map(f32::ln);
                let softplus = std::iter::repeat_with(|| (low + rng.unit() * (high - low)).exp());
                softplus.map(|y| y.exp_m1().ln()).take(n).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_rates_of_a_scan() {
        let draw = |init: Init, dims: [usize; 2]| init.draw("x", &dims.into(), 1);
        let [two, three] = [2.0_f32, 3.0].map(f32::ln);
        assert_eq!(draw(Init::LogCount, [2, 3]), [0.0, two, three, 0.0, two, three]);
        let (low, high) = (1e-3, 0.1);
        let values = draw(Init::InverseSoftplus { low, high }, [100, 10]);
        let steps: Vec<f32> = values.iter().map(|x| x.exp().ln_1p()).collect();
        assert!(steps.iter().all(|step| (0.999 * low..=1.001 * high).contains(step)));
        let below = steps.iter().filter(|&&step| step < (low * high).sqrt()).count();
        assert!((400..600).contains(&below), "{below} of 1000 below the geometric mean");
    }
}
