//! The polynomial mixer (PoM): products of activated projections averaged over the time, and the gate.

mod aggregate;
mod aggregate_backward;
mod select;

pub use aggregate::PomAggregate;
pub use select::PomSelect;

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
