//! A dispatch and what it binds, as plain data.

use super::variant::{Class, Unmet};
use crate::shader::{Kernel, Variant};

/// The buffer that a region lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A slot of the plan.
    Slot(usize),
    /// An entry of the persistent store: an index of `[`Plan::stored`]`.
    Stored(usize),
}

/// Bytes that a dispatch binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The buffer.
    pub place: Place,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// One dispatch as plain data. It binds `[`Operand`]`s while an operation is recorded, and [`Region`]s in a plan.
#[derive(Debug, Clone)]
pub struct Dispatch<Binding = Region> {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// All variants of the kernel.
    pub variants: &'static [&'static Variant],
    /// The class by which a measured variant takes the kernel's place.
    pub class: Class,
    /// Variants that would be better, and the condition that each misses.
    pub unmet: Vec<Unmet>,
    /// Its override constants.
    pub overrides: Vec<(&'static str, f64)>,
    /// A bit for each storage binding, set where it is in f16.
    pub f16: u32,
    /// Its storage bindings.
    pub bindings: Vec<Binding>,
    /// Where its parameters start in [`super::Plan::uniforms`].
    pub params: u32,
    /// Workgroups along each axis.
    pub groups: [u32; 3],
    /// Path of the layer that asked for it.
    pub path: String,
    /// Estimated operations; in a plan, plus those that take as long as its bytes.
    pub work: f64,
    /// Operations of its matmuls and convolutions; see [`super::Plan::flops`].
    pub flops: u64,
}

impl<Binding> Dispatch<Binding> {
    /// The same dispatch with other bindings.
    pub(super) fn binding<Other>(&self, bindings: Vec<Other>) -> Dispatch<Other> {
        let Self { kernel, variants, class, f16, params, groups, work, flops, .. } = *self;
        let (unmet, overrides, path) = (self.unmet.clone(), self.overrides.clone(), self.path.clone());
        Dispatch {
            kernel,
            variants,
            class,
            unmet,
            overrides,
            f16,
            bindings,
            params,
            groups,
            path,
            work,
            flops,
        }
    }
}

impl Dispatch {
    /// Bytes that it binds, each counted once: what it moves if it reads and writes nothing twice.
    pub fn bytes(&self) -> u64 {
        let known = |index: usize| self.bindings[..index].contains(&self.bindings[index]);
        let new = (0..self.bindings.len()).filter(|&index| !known(index));
        new.map(|index| self.bindings[index].bytes).sum()
    }
}
