//! Exchange of gradients and parameters between the devices of ranks.

use pollster::block_on;

use super::Ranks;
use crate::error::{Error, Result};
use crate::gpu::Staging;
use crate::train::loss_scale::{LOSS_SCALE, LossScale};
use crate::train::parameters::Kind;
use crate::train::trainer::{LOSS_TOTALS, Trainer, UPDATE_TOTALS};
use crate::weights::Weights;

/// Values that are exchanged at a time, at most: 32 MiB.
const PIECE: usize = 8 << 20;

/// How far the parameters of unlike adapters may be apart, relative to their norm, when they are made the same again.
/// Rounding over a hundred steps stays far below, another gradient far above.
const MOST_DRIFT: f64 = 1e-2;

/// Memory of the exchange, made once.
#[derive(Debug)]
pub(in crate::train) struct Exchange {
    staging: Staging,
    values: Vec<f32>,
    theirs: Vec<f32>,
}

impl Trainer {
    /// Does `each` for every piece of the entry `name`, which it may change, and writes it back if it says so.
    fn pieces(
        &mut self,
        name: &str,
        mut each: impl FnMut(&mut Vec<f32>, &mut Vec<f32>) -> Result<bool>,
    ) -> Result<()> {
        let gpu = self.executor.gpu().clone();
        let exchange = match &mut self.exchange {
            Some(exchange) => exchange,
            None => {
                let shapes =
                    (0..self.parameters.arenas.len()).map(|index| self.parameters.arena_shape(index));
                let frozen = self.parameters.frozen.iter().map(|parameter| parameter.shape.clone());
                let largest = shapes.chain(frozen).map(|shape| shape.elements()).max().unwrap_or(0);
                let staging = gpu.staging(4 * largest.min(PIECE) as u64)?;
                self.exchange.insert(Exchange { staging, values: Vec::new(), theirs: Vec::new() })
            }
        };
        let store = &self.executor.store;
        let elements = store.entry(name)?.spec.shape.elements();
        for first in (0..elements).step_by(PIECE) {
            exchange.values.resize(PIECE.min(elements - first), 0.0);
            store.fetch(&gpu, &exchange.staging, name, first, &mut exchange.values)?;
            if each(&mut exchange.values, &mut exchange.theirs)? {
                store.put(&gpu, &exchange.staging, name, first, &exchange.values)?;
            }
        }
        Ok(())
    }

    /// Adds the gradients of all ranks, and their sums of loss and count to those of rank 0.
    ///
    /// # Errors
    /// When the device fails; when a rank failed or is silent.
    pub(in crate::train) fn exchange(&mut self, ranks: &Ranks) -> Result<()> {
        for index in 0..self.parameters.arenas.len() {
            self.pieces(&Kind::Gradient.arena(index), |values, _| ranks.sum(values).map(|()| true))?;
        }
        // In full, whatever form gradients have; rank 0 goes on from its own values.
        self.pieces(LOSS_TOTALS, |values, _| {
            let all: Vec<Vec<u32>> = ranks.all(values.iter().map(|value| value.to_bits()).collect())?;
            let add = |sum: Vec<f32>, one: &Vec<u32>| -> Vec<f32> {
                sum.iter().zip(one).map(|(sum, &value)| sum + f32::from_bits(value)).collect()
            };
            let mut all = all.iter();
            let first =
                all.next().map_or(Vec::new(), |first| first.iter().copied().map(f32::from_bits).collect());
            let sum = all.fold(first, add);
            match ranks.leads() {
                true => *values = sum,
                false => values.fill(0.0),
            }
            Ok(true)
        })
    }

    /// Gives all ranks what rank 0 holds of parameters, moments and the scale of the loss; with `drift`, where they are
    /// no further apart than rounding takes them.
    ///
    /// # Errors
    /// When the device fails; when a rank failed or is silent; when a rank has left the others, with its number.
    pub(in crate::train) fn spread(&mut self, ranks: &Ranks, drift: bool) -> Result<()> {
        let mut names: Vec<String> = self.parameters.frozen.iter().map(|p| p.name.clone()).collect();
        for kind in [Kind::Value, Kind::First, Kind::Second] {
            names.extend((0..self.parameters.arenas.len()).map(|index| kind.arena(index)));
        }
        names.push(UPDATE_TOTALS.to_owned());
        names.extend(LossScale::of(self.parameters.compute).map(|_| LOSS_SCALE.to_owned()));
        let (mut apart, mut norm) = (0.0, 0.0);
        for name in names {
            let compared = drift && name.starts_with("values.");
            self.pieces(&name, |values, theirs| {
                theirs.clone_from(values);
                ranks.broadcast(theirs)?;
                if compared {
                    let square = |x: f32| f64::from(x) * f64::from(x);
                    apart += values.iter().zip(&*theirs).map(|(own, first)| square(own - first)).sum::<f64>();
                    norm += theirs.iter().copied().map(square).sum::<f64>();
                }
                std::mem::swap(values, theirs);
                Ok(!ranks.leads())
            })?;
        }
        let near = apart <= norm * MOST_DRIFT * MOST_DRIFT;
        let far = ranks.all(drift && !near)?;
        match far.iter().position(|&far| far) {
            None => Ok(()),
            Some(rank) => Err(Error::invalid(format!(
                "rank {rank}: its parameters have gone far from those of rank 0, which rounding does not do; check that \
                 machine's device and driver, and go on from the last checkpoint"
            ))),
        }
    }

    /// Reads all parameters and moments, and checks that all ranks hold the same bits of them.
    ///
    /// # Errors
    /// When they do not, with the number of the rank that has others; what the device reported.
    pub(in crate::train) fn agreed(&self, ranks: &Ranks, step: u64) -> Result<(Weights, Weights)> {
        let values = block_on(self.parameters.values(&self.executor))?;
        let moments = block_on(self.parameters.moments(&self.executor))?;
        if ranks.size() > 1 {
            ranks.same([hash(&values), hash(&moments)], &format!(
                "holds other parameters after step {step} than the others do; check that machine's memory, device and \
                 driver, and go on from the last checkpoint"
            ))?;
        }
        Ok((values, moments))
    }
}

/// A hash of the bits of all values, in the order of names.
fn hash(weights: &Weights) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for (.., values) in weights.iter() {
        for value in values {
            hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01B3);
            hash ^= hash >> 29;
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bit_makes_another_hash() {
        let of = |values: [f32; 3]| {
            let mut weights = Weights::default();
            weights.insert("a", [3], values.to_vec()).unwrap();
            hash(&weights)
        };
        assert_eq!(of([1.0, 2.0, 3.0]), of([1.0, 2.0, 3.0]));
        for bit in 0..32 {
            assert_ne!(of([1.0, 2.0, 3.0]), of([1.0, f32::from_bits(2.0_f32.to_bits() ^ 1 << bit), 3.0]));
        }
        assert_ne!(of([1.0, 2.0, 3.0]), of([2.0, 1.0, 3.0]));
    }
}
