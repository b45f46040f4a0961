//! Linears in independent blocks of channels: the heads of the mixers that have no scores.

use super::linear::weight_init;
use crate::error::{Error, Result};
use crate::graph::{Init, Scope, Tensor};
use crate::recipe::Initialization;

/// y = x·Wᵀ + b in each of `blocks` blocks of channels, with W [blocks, outputs/blocks, inputs/blocks] and b
/// [blocks, outputs/blocks].
#[derive(Debug, Clone, Copy)]
pub struct BlockLinear {
    /// Number of blocks.
    pub blocks: usize,
    /// Width of x, all blocks together.
    pub inputs: usize,
    /// Width of y, all blocks together.
    pub outputs: usize,
    /// How W is drawn; b is always U(±1/√(inputs/blocks)).
    pub initialization: Initialization,
}

impl BlockLinear {
    /// [blocks, rows, inputs/blocks] → [blocks, rows, outputs/blocks].
    ///
    /// # Errors
    /// When x has another shape, or the blocks do not divide the widths.
    pub fn forward(&self, scope: &Scope, x: &Tensor) -> Result<Tensor> {
        let [inputs, outputs] = [self.inputs, self.outputs].map(|width| block_width(width, self.blocks));
        let (inputs, outputs) = (inputs?, outputs?);
        let init = weight_init(self.initialization, inputs, outputs);
        let weight = scope.parameter("weight", [self.blocks, outputs, inputs], init)?;
        let bias = scope.parameter("bias", [self.blocks, outputs], Init::fan_in_uniform(inputs))?;
        x.linear(&weight, None)?.add(&bias.reshape([self.blocks, 1, outputs])?)
    }
}

/// Channels of each of `blocks` blocks.
///
/// # Errors
/// When they do not divide the width.
pub fn block_width(width: usize, blocks: usize) -> Result<usize> {
    if blocks > 0 && width.is_multiple_of(blocks) {
        return Ok(width / blocks);
    }
    Err(Error::usage(format!("{blocks} heads do not divide {width} channels; give a divisor as model.heads")))
}

/// [.., width] → [blocks, rows, width/blocks].
///
/// # Errors
/// When the blocks do not divide the width.
pub fn split_blocks(x: &Tensor, blocks: usize) -> Result<Tensor> {
    let width = block_width(x.shape().last(), blocks)?;
    x.reshape([x.shape().rows(), blocks, width])?.permute(&[1, 0, 2])
}

/// [blocks, batch·time, width/blocks] → [batch, time, width].
///
/// # Errors
/// When x has another shape.
pub fn join_blocks(x: &Tensor, batch: usize, time: usize) -> Result<Tensor> {
    let width = x.dims()[0] * x.shape().last();
    x.permute(&[1, 0, 2])?.reshape([batch, time, width])
}
