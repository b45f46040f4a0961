//! A graph compiled for a device: dispatches, buffer assignment and one uniform blob.

use std::fmt::Write as _;
use std::sync::Arc;

use super::dispatch::{Dispatch, Place, Region};
use super::store::arena_bytes;
use crate::gpu::Buffer;
use crate::shape::Spec;

/// An input or an output.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Shape and type.
    pub spec: Spec,
    /// Where it lies.
    pub region: Region,
}

/// Everything that a run needs, as plain data.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The dispatches in order.
    pub dispatches: Vec<Dispatch>,
    /// Operations whose result takes the memory of an operand.
    pub in_place: usize,
    /// Bytes of every slot.
    pub slots: Vec<u64>,
    /// Names of the store's entries that the plan reads or writes.
    pub stored: Vec<(String, Spec)>,
    /// Those of them that are the same in every run, with their elements; loading the plan writes them.
    pub constants: Vec<(String, Spec, Arc<[f32]>)>,
    /// Inputs, set before a run.
    pub inputs: Vec<Port>,
    /// Values that can be read after it.
    pub outputs: Vec<Port>,
    /// The parameters of all dispatches.
    pub uniforms: Vec<u8>,
    /// The largest sum of bytes alive at once: no assignment of slots needs less.
    pub lower_bound: u64,
    /// Path and kernel where they are.
    pub peak: String,
    /// Whose bytes they are: sums by operation and path, layers' numbers left out, the largest first.
    pub live: Vec<(String, u64)>,
}

impl Plan {
    /// Bytes of all slots: what a run holds beside the persistent store.
    pub fn peak_bytes(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// The slots, the largest first: the i-th of them is in the i-th buffer of the pool that all plans share.
    pub fn slots_by_size(&self) -> Vec<usize> {
        let mut slots: Vec<usize> = (0..self.slots.len()).collect();
        slots.sort_by_key(|&slot| std::cmp::Reverse(self.slots[slot]));
        slots
    }

    /// Bytes of every buffer of the pool that `plans` share.
    pub fn pool_bytes<'a>(plans: impl IntoIterator<Item = &'a Self>) -> Vec<u64> {
        let mut pool: Vec<u64> = Vec::new();
        for plan in plans {
            let slots = plan.slots_by_size();
            pool.resize(pool.len().max(slots.len()), 0);
            pool.iter_mut().zip(slots).for_each(|(buffer, slot)| *buffer = (*buffer).max(plan.slots[slot]));
        }
        pool
    }

    /// Bytes of the buffer of all dispatches' parameters.
    pub fn uniform_bytes(&self) -> u64 {
        Buffer::size_for(self.uniforms.len() as u64)
    }

    /// Bytes of each constant, which is an arena of its own.
    pub fn constant_bytes(&self) -> impl Iterator<Item = u64> {
        self.constants.iter().map(|(_, spec, _)| arena_bytes(spec))
    }

    /// Estimated operations of a run, and those that take as long as its bytes.
    pub fn work(&self) -> f64 {
        self.dispatches.iter().map(|dispatch| dispatch.work).sum()
    }

    /// Operations of the matmuls and convolutions of a run, two a multiply-add, exactly and on every device alike:
    /// 2·m·n·k of an [m, k] by [k, n] matmul, the taps of the convolutions (those on zero padding as well), the scores and
    /// sums of attention, the quantizer's cosines. Element-wise work, reductions, norms and recurrences are not
    /// counted. A training plan has those of forward and backward.
    pub fn flops(&self) -> u64 {
        self.dispatches.iter().map(|dispatch| dispatch.flops).sum()
    }

    /// The plan as text: a line a dispatch, then the memory.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            let _ = write!(text, "{index:4} {:32} {:?}", dispatch.kernel.name, dispatch.groups);
            for (number, (binding, region)) in
                dispatch.kernel.bindings.iter().zip(&dispatch.bindings).enumerate()
            {
                let place = match region.place {
                    Place::Slot(slot) => format!("#{slot}"),
                    Place::Stored(entry) => self.stored[entry].0.clone(),
                };
                let dtype = if dispatch.f16 >> number & 1 == 1 { ".f16" } else { "" };
                let _ = write!(text, " {}{dtype}={place}+{}[{}]", binding.name, region.offset, region.bytes);
            }
            let _ = writeln!(text, "  {}", dispatch.path);
        }
        text + &self.dump_memory()
    }

    /// The memory as text: how well the slots are filled, and whose bytes are live at the peak.
    pub fn dump_memory(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} dispatches; {} bytes in {} slots, {:.3} times the {} that are live at once in {}:",
            self.dispatches.len(),
            self.peak_bytes(),
            self.slots.len(),
            self.peak_bytes() as f64 / self.lower_bound.max(1) as f64,
            self.lower_bound,
            self.peak,
        );
        for (path, bytes) in &self.live {
            let _ = writeln!(text, "{bytes:14} {path}");
        }
        text
    }
}
