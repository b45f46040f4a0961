//! The polynomial mixer (PoM): products of activated projections averaged over the time, and the gate.

mod aggregate;
mod aggregate_backward;
mod select;

use std::ops::Range;

pub use aggregate::PomAggregate;
pub use select::PomSelect;

use crate::error::{Error, Result};
use crate::exec::Recorder;

/// Frames in chunks, so that sums over the time have two levels.
#[derive(Debug, Clone, Copy)]
struct Chunks {
    /// Frames of a chunk.
    size: usize,
    /// Number of chunks, at least one.
    count: usize,
}

impl Chunks {
    fn of(time: usize, size: usize) -> Self {
        Self { size, count: time.div_ceil(size).max(1) }
    }

    /// Chunks to be summed: 32 frames and more, 64 chunks and fewer.
    fn to_sum(time: usize) -> Self {
        Self::of(time, time.div_ceil(64).max(32))
    }

    /// Chunks of independent frames that share a row.
    fn to_map(time: usize) -> Self {
        Self::of(time, 8)
    }
}

/// Ranges of utterances that can be bound at once: of tensors of `width` elements an utterance and of some of
/// up to `most` times as many.
pub(crate) fn utterances(
    rec: &Recorder,
    batch: usize,
    width: usize,
    most: usize,
) -> Result<Vec<Range<usize>>> {
    let limit = (rec.capabilities().max_binding / 4) as usize;
    let alignment = (rec.capabilities().storage_alignment / 4).max(1) as usize;
    let aligned = |count: &usize| (count * width).is_multiple_of(alignment);
    let step = (1..alignment).find(aligned).unwrap_or(alignment);
    let width = width * most;
    let tile = if batch * width <= limit { batch.max(1) } else { limit / width / step * step };
    if tile == 0 {
        return Err(Error::OutOfMemory(format!(
            "{step} utterances of {width} elements pass the {} bytes that {} binds at once; cut them or use a \
             smaller model",
            rec.capabilities().max_binding,
            rec.capabilities().adapter
        )));
    }
    Ok((0..batch).step_by(tile).map(|start| start..batch.min(start + tile)).collect())
}
