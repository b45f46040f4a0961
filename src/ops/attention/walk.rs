//! The loop over KV blocks, split into dispatches.

use std::ops::Range;

use super::scaled_dot_product::{Attention, Positions, Sizes};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::shader::Variant;
use crate::shader::attention::{
    attention, attention_backward_key, attention_backward_position, attention_backward_query,
};

/// One kernel and what it costs.
pub(super) struct Walker {
    variants: &'static [&'static Variant],
    /// How often it goes through head_dim for a tile of weights.
    matmuls: usize,
    /// How often it goes through the KV block for a tile of the result.
    sweeps: usize,
    /// Operations of the definition's matmuls for a pair of frames and an element of a head, without and with relative
    /// positions: recomputation is not counted.
    operations: [u64; 2],
    /// Whether it makes the gradient of the values too.
    has_values: bool,
}

pub(super) static FORWARD: Walker = Walker {
    variants: attention::VARIANTS,
    matmuls: 1,
    sweeps: 1,
    // q·k, (q + v)·p, w·v.
    operations: [4, 6],
    has_values: false,
};
pub(super) static QUERIES: Walker = Walker {
    variants: attention_backward_query::VARIANTS,
    matmuls: 2,
    sweeps: 2,
    // dy·v, s·k, s·p.
    operations: [4, 6],
    has_values: false,
};
/// The gradient of the keys, or that of the values.
pub(super) static KEYS: Walker = Walker {
    variants: attention_backward_key::VARIANTS,
    matmuls: 2,
    sweeps: 2,
    // s·(q + u), or w·dy.
    operations: [2, 2],
    has_values: true,
};
pub(super) static DISTANCES: Walker = Walker {
    variants: attention_backward_position::VARIANTS,
    matmuls: 2,
    sweeps: 2,
    // s·(q + v), in two walks of half the pairs each.
    operations: [0, 1],
    has_values: false,
};

/// Options of a dispatch beside its kernel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    /// Makes the values' gradient instead of the keys'.
    pub values: bool,
    /// Walks over the keys behind the queries.
    pub reversed: bool,
    /// Adds to what is there.
    pub added: bool,
}

/// The tiles of all heads of some utterances.
pub(super) struct Walk<'a> {
    pub op: &'a Attention,
    pub sizes: Sizes,
    pub utterances: Range<usize>,
}

/// Rows of a tile and frames of a KV block, as in `shaders/attention/blocks.wgsl`.
const TILE: usize = 32;
const KV_BLOCK: usize = 64;
/// Tasks of a tile for the invocations: weights of 4 rows by 16 of the KV block.
const UNITS: usize = 32;
/// Operations of one dispatch at most, beyond a tile: systems reset a GPU that is busy for too long.
const WORK: f64 = 2e10;

impl Walk<'_> {
    /// Dispatches the kernel over all tiles, in runs of KV blocks.
    pub fn record(
        &self,
        rec: &mut Recorder,
        walker: &Walker,
        part: Part,
        bindings: &[&Operand],
    ) -> Result<()> {
        let Sizes { time, heads, head_dim, .. } = self.sizes;
        let relative = self.op.positions == Positions::Relative;
        let position = match self.op.positions {
            Positions::Absent => 0.0,
            Positions::Rotary => 1.0,
            Positions::Relative => 2.0,
        };
        let constants = [("POSITION", position), ("VALUES", f64::from(u8::from(part.values)))];
        let constants = if walker.has_values { &constants[..] } else { &constants[..1] };
        let [head_stride, part_stride] = self.op.strides(&self.sizes);
        let params = attention::Params {
            first_tile: 0,
            tiles: 0,
            first_batch: self.utterances.start as u32,
            time: time as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            head_stride: head_stride as u32,
            part_stride: part_stride as u32,
            begin: 0,
            end: 0,
            reversed: u32::from(part.reversed),
            added: u32::from(part.added),
            scale: self.op.scale,
        };
        let width = rec.choose(walker.variants, constants, &params, &[], 0)?.workgroup_size as usize;

        let columns4 = head_dim.div_ceil(4);
        let outputs = TILE / 4 * columns4.div_ceil(4);
        let passes = UNITS.div_ceil(width) * (2 + walker.matmuls * columns4)
            + outputs.div_ceil(width) * (24 + KV_BLOCK / 4 * walker.sweeps);
        let run = (rec.capabilities().loop_passes as usize / passes).max(1) * KV_BLOCK;
        let matmuls = (walker.matmuls + walker.sweeps) * if relative { 2 } else { 1 };
        let work = |frames: usize| (TILE * frames) as f64 * (2 * head_dim * matmuls + 32) as f64;
        let operations = walker.operations[usize::from(relative)] * head_dim as u64;
        let tiles = self.utterances.len() * heads * time.div_ceil(TILE);
        let most = (WORK / work(run.min(time)).max(1.0)).max(1.0) as usize;
        for begin in (0..time).step_by(run) {
            for first in (0..tiles).step_by(most) {
                let count = most.min(tiles - first);
                let params = attention::Params {
                    first_tile: first as u32,
                    tiles: count as u32,
                    begin: begin as u32,
                    end: (begin + run) as u32,
                    ..params
                };
                rec.dispatch(walker.variants, constants, &params, bindings, count)?;
                let frames = run.min(time - begin);
                let pairs = (self.utterances.len() * heads * time) as u64 * frames as u64;
                rec.share_of_flops(pairs * operations, &(first..first + count), tiles);
                // With the recomputed weights, and exponentials.
                rec.work(count as f64 * work(frames));
            }
        }
        Ok(())
    }
}
