//! Which kernel walks over the frames, in how many dispatches.

use std::ops::Range;

use super::scaled_dot_product::{Attention, Positions, Sizes};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::shader::Kernel;
use crate::shader::attention::{
    attention, attention_backward_key, attention_backward_key_scalar, attention_backward_key_subgroup,
    attention_backward_position, attention_backward_position_scalar, attention_backward_position_subgroup,
    attention_backward_query, attention_backward_query_scalar, attention_backward_query_subgroup,
    attention_scalar, attention_subgroup,
};

/// One kernel in its forms: for heads whose columns divide by four, for others, and for subgroups of 8.
pub(super) struct Forms {
    four: &'static Kernel,
    scalar: &'static Kernel,
    subgroup: &'static Kernel,
    /// How often it goes through the columns for a tile of weights.
    products: usize,
    /// How often it goes through the span for a tile of the result.
    sweeps: usize,
    /// Operations of the definition's products for a pair of frames and a column, without and with relative
    /// positions: what is made anew is not counted.
    operations: [u64; 2],
}

pub(super) static FORWARD: Forms = Forms {
    four: &attention::KERNEL,
    scalar: &attention_scalar::KERNEL,
    subgroup: &attention_subgroup::KERNEL,
    products: 1,
    sweeps: 1,
    // q·k, (q + v)·p, w·v.
    operations: [4, 6],
};
pub(super) static QUERIES: Forms = Forms {
    four: &attention_backward_query::KERNEL,
    scalar: &attention_backward_query_scalar::KERNEL,
    subgroup: &attention_backward_query_subgroup::KERNEL,
    products: 2,
    sweeps: 2,
    // dy·v, s·k, s·p.
    operations: [4, 6],
};
/// Of the keys or the values.
pub(super) static KEYS: Forms = Forms {
    four: &attention_backward_key::KERNEL,
    scalar: &attention_backward_key_scalar::KERNEL,
    subgroup: &attention_backward_key_subgroup::KERNEL,
    products: 2,
    sweeps: 2,
    // s·(q + u), or w·dy.
    operations: [2, 2],
};
pub(super) static DISTANCES: Forms = Forms {
    four: &attention_backward_position::KERNEL,
    scalar: &attention_backward_position_scalar::KERNEL,
    subgroup: &attention_backward_position_subgroup::KERNEL,
    products: 2,
    sweeps: 2,
    // s·(q + v), in two walks of half the pairs each.
    operations: [0, 1],
};

/// What a dispatch does beside its kernel.
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

/// Rows of a tile and frames of a span, as in `shaders/shared/attention.wgsl`.
const TILE: usize = 32;
const SPAN: usize = 64;
/// Tasks of a tile for the invocations: weights of 4 rows by 16 of the span.
const UNITS: usize = 32;
/// Operations of one dispatch at most, beyond a tile: systems reset a GPU that is busy for too long.
const WORK: f64 = 2e10;

impl Walk<'_> {
    /// Dispatches `forms` over all tiles, in runs of spans.
    pub fn record(&self, rec: &mut Recorder, forms: &Forms, part: Part, bindings: &[&Operand]) -> Result<()> {
        let Sizes { time, heads, columns, .. } = self.sizes;
        let (kernel, width) = choose(rec, forms, columns);
        let relative = self.op.positions == Positions::Relative;
        let mut overrides = vec![(
            "POSITION",
            match self.op.positions {
                Positions::Absent => 0.0,
                Positions::Rotary => 1.0,
                Positions::Relative => 2.0,
            },
        )];
        // Broadcasts have a fixed width.
        if kernel.overrides.contains(&"WIDTH") {
            overrides.push(("WIDTH", width as f64));
        }
        if kernel.overrides.contains(&"VALUES") {
            overrides.push(("VALUES", f64::from(u8::from(part.values))));
        }

        let quads = columns.div_ceil(4);
        let outputs = TILE / 4 * quads.div_ceil(4);
        let passes = UNITS.div_ceil(width) * (2 + forms.products * quads)
            + outputs.div_ceil(width) * (24 + SPAN / 4 * forms.sweeps);
        let run = (rec.capabilities().loop_passes as usize / passes).max(1) * SPAN;
        let products = (forms.products + forms.sweeps) * if relative { 2 } else { 1 };
        let work = |frames: usize| (TILE * frames) as f64 * (2 * columns * products + 32) as f64;
        let operations = forms.operations[usize::from(relative)] * columns as u64;
        let tiles = self.utterances.len() * heads * time.div_ceil(TILE);
        let most = (WORK / work(run.min(time)).max(1.0)).max(1.0) as usize;
        let [head_stride, part_stride] = self.op.strides(&self.sizes);
        for begin in (0..time).step_by(run) {
            for first in (0..tiles).step_by(most) {
                let count = most.min(tiles - first);
                let params = attention::Params {
                    first_tile: first as u32,
                    tiles: count as u32,
                    first_batch: self.utterances.start as u32,
                    time: time as u32,
                    heads: heads as u32,
                    columns: columns as u32,
                    head_stride: head_stride as u32,
                    part_stride: part_stride as u32,
                    begin: begin as u32,
                    end: (begin + run) as u32,
                    reversed: u32::from(part.reversed),
                    added: u32::from(part.added),
                    scale: self.op.scale,
                };
                rec.dispatch(kernel, &overrides, &params, bindings, rec.grid(count))?;
                let frames = run.min(time - begin);
                let pairs = (self.utterances.len() * heads * time) as u64 * frames as u64;
                rec.share_of_products(pairs * operations, &(first..first + count), tiles);
                // With the weights that are made anew, and exponentials.
                rec.work(count as f64 * work(frames));
            }
        }
        Ok(())
    }
}

/// The form for heads of `columns` and the workgroup's width. On a CPU that is a subgroup, as where heads are not cut
/// into four columns: such models are small.
fn choose(rec: &Recorder, forms: &Forms, columns: usize) -> (&'static Kernel, usize) {
    let capabilities = rec.capabilities();
    let shares = capabilities.shares_lanes() && capabilities.int64;
    match columns.is_multiple_of(4) {
        true if shares => (forms.subgroup, 8),
        true => (forms.four, capabilities.row_width().min(32) as usize),
        false => (forms.scalar, 8),
    }
}
