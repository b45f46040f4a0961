//! What a peer brings to the comparison, and what all contenders share: operands, layouts, the check of results.

use std::collections::HashMap;

use polymix::ops::map::ActivationKind;
use polymix::recipe::ModelConfig;
use polymix::shape::Spec;
use polymix::train::BatchShape;
use polymix::{Error, Result};

use crate::harness::noise;
use crate::harness::step::Transformer;
use crate::harness::works::Multiplication;

/// Work that a contender has prepared, with its operands on the device.
pub trait Run {
    /// Milliseconds from submission to completion.
    fn time(&mut self) -> Result<f64>;

    /// What it computes, in the order and layout of polymix; of a training step the loss.
    fn results(&mut self) -> Result<Vec<Vec<f32>>>;
}

/// Prepared work, or why the peer has no figure for it.
pub type Entry = Result<Box<dyn Run>>;

/// Another framework on the same adapter: each work as its users write it.
pub trait Peer {
    /// A matmul.
    fn matmul(&self, work: &Multiplication) -> Entry;

    /// LayerNorm over the last axis.
    fn layer_norm(&self) -> Entry;

    /// Softmax over the last axis.
    fn softmax(&self) -> Entry;

    /// Depthwise convolution over time, on the layout that the peer wants.
    fn depthwise(&self) -> Entry;

    /// Attention of one utterance, with the gradients of queries, keys and values if `backward`.
    fn attention(&self, backward: bool) -> Entry;

    /// The feed-forward module, with the gradients of input and parameters.
    fn feed_forward(&self, activation: ActivationKind) -> Entry;

    /// A training step of the transformer.
    fn transformer(&self, example: &Example) -> Entry;

    /// A training step of the Conformer, with dropout.
    fn conformer(&self, config: &ModelConfig, shape: BatchShape) -> Entry;
}

/// A model with its parameters and a batch.
pub struct Example {
    /// The model.
    pub model: Transformer,
    /// The shape of the batch.
    pub shape: BatchShape,
    /// Features of the batch.
    pub features: Vec<f32>,
    /// Classes of its frames.
    pub targets: Vec<u32>,
    /// Parameters by their names in polymix.
    pub parameters: HashMap<String, Vec<f32>>,
}

/// The values of a parameter by its name and dimensions in polymix.
pub type Source<'a> = &'a dyn Fn(&str, &[usize]) -> Result<Vec<f32>>;

impl Example {
    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Result<Vec<f32>> {
        let found = self.parameters.get(name).cloned();
        found.ok_or_else(|| Error::invalid(format!("the model has no parameter {name}")))
    }
}

/// What is stored under a name: a gradient is 1 everywhere, as of a sum; all else is noise around 0, that of a Linear's
/// weight so small that its results are as large as its operands.
pub fn operand(name: &str, spec: &Spec) -> Vec<f32> {
    if name == "dy" {
        return vec![1.0; spec.shape.elements()];
    }
    let dims = spec.shape.dims();
    let scale = match dims {
        [_, inputs] if name.ends_with("weight") => (3.0 / *inputs as f32).sqrt(),
        _ => 1.0,
    };
    noise(name, spec).iter().map(|value| scale * (2.0 * value - 1.0)).collect()
}

/// [`operand`] of these dimensions.
pub fn values(name: &str, dims: &[usize]) -> Vec<f32> {
    operand(name, &Spec::f32(dims))
}

/// [outer, rows, columns, inner] → [outer, columns, rows, inner].
pub fn swapped(values: &[f32], [outer, rows, columns, inner]: [usize; 4]) -> Vec<f32> {
    let mut result = Vec::with_capacity(values.len());
    for part in 0..outer {
        for column in 0..columns {
            for row in 0..rows {
                let first = ((part * rows + row) * columns + column) * inner;
                result.extend_from_slice(&values[first..first + inner]);
            }
        }
    }
    result
}

/// [rows, columns] → [columns, rows]: a Linear's weight in polymix is [outputs, inputs], in the peers [inputs, outputs].
pub fn transposed(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    swapped(values, [1, rows, columns, 1])
}

/// Greatest difference of an f32 result, as a share of its greatest value.
const TOLERANCE: f32 = 1e-4;

/// An error unless `theirs` are `ours` but for rounding.
pub fn check(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> Result<()> {
    if ours.len() != theirs.len() {
        return Err(Error::invalid(format!("it has {} results, polymix {}", theirs.len(), ours.len())));
    }
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        if ours.len() != theirs.len() {
            let (a, b) = (theirs.len(), ours.len());
            return Err(Error::invalid(format!("its result {index} has {a} values, polymix's {b}")));
        }
        let greatest = ours.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let differences = || ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
        // A NaN is not within the tolerance.
        if !differences().all(|difference| difference <= TOLERANCE * greatest) {
            let worst = differences().fold(0.0_f32, f32::max);
            return Err(Error::invalid(format!(
                "its result {index} differs by up to {worst:e} where the greatest value is {greatest:e}"
            )));
        }
    }
    Ok(())
}
