//! The kernel catalog that `build.rs` makes from `shaders/`.

#![allow(clippy::all, clippy::pedantic)]

mod f16;

use std::borrow::Cow;

/// One storage binding of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Its name in WGSL.
    pub name: &'static str,
    /// Whether the kernel writes it.
    pub write: bool,
    /// Whether it may lie in memory as f16.
    pub in_f16: bool,
}

/// An override constant of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Override {
    /// Its name in WGSL.
    pub name: &'static str,
    /// The values that it may have, the usual one first.
    pub values: &'static [f64],
}

/// A WGSL kernel: binding 0 is its uniform `Params`, storage bindings follow from 1.
#[derive(Debug)]
pub struct Kernel {
    /// `family/stem`, and `_variant` where there are several.
    pub name: &'static str,
    /// WGSL with imports resolved.
    pub source: &'static str,
    /// Storage bindings in order, from binding 1.
    pub bindings: &'static [Binding],
    /// Its override constants.
    pub overrides: &'static [Override],
    /// Bytes of its `Params`.
    pub params: u32,
    /// Bytes of its workgroup memory whose size no override constant decides.
    pub workgroup_bytes: u32,
    /// Its forms that work in place.
    pub in_place: &'static [InPlace],
}

impl Kernel {
    /// The WGSL with the storage bindings of the set bits in f16.
    ///
    /// # Errors
    /// When one of them cannot be.
    pub fn source_in_f16(&self, bits: u32) -> Result<Cow<'static, str>, String> {
        if bits == 0 {
            return Ok(Cow::Borrowed(self.source));
        }
        f16::in_f16(self.source, &self.names_of(bits)).map(Cow::Owned)
    }

    /// The names of the storage bindings of the set bits.
    pub fn names_of(&self, bits: u32) -> Vec<&'static str> {
        let numbered = self.bindings.iter().enumerate();
        numbered.filter(|(index, _)| bits >> index & 1 == 1).map(|(_, binding)| binding.name).collect()
    }

    /// A bit for each storage binding, set where it may be in f16.
    pub fn in_f16(&self) -> u32 {
        let numbered = self.bindings.iter().enumerate();
        numbered.map(|(index, binding)| u32::from(binding.in_f16) << index).sum()
    }
}

/// A kernel for the case that two storage bindings of another are the same memory.
#[derive(Debug)]
pub struct InPlace {
    /// Index of the binding that is read, which this kernel lacks.
    pub input: usize,
    /// Index of the binding that is written.
    pub output: usize,
    /// The kernel.
    pub kernel: &'static Kernel,
}

/// One way to compute what all variants of a kernel compute, from the same `Params` and bindings.
#[derive(Debug)]
pub struct Variant {
    /// What is compiled.
    pub kernel: Kernel,
    /// The size of its workgroup.
    pub workgroup: Workgroup,
    /// How much of the work a workgroup does.
    pub takes: Takes,
    /// Rows and columns of a tile of a matrix, or what the operation makes of it; 0 where there are no tiles.
    pub tile: u32,
    /// Without these it is wrong or does not run.
    pub needs: &'static [Need],
    /// Without these another is faster.
    pub prefers: &'static [Need],
    /// Values of its override constants.
    pub constants: &'static [(&'static str, f64)],
}

/// Classes of workgroup sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Workgroup {
    /// That of independent invocations.
    Map,
    /// That of invocations that reduce a row together.
    Row {
        /// The largest that the kernel allows.
        most: u32,
    },
    /// So many invocations.
    Fixed(u32),
    /// So many subgroups.
    Subgroups(u32),
}

/// Units of work, as an operation counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// So many for each invocation.
    Invocation(u32),
    /// So many for each workgroup.
    Workgroup(u32),
}

/// A condition with its text in the kernel's header.
#[derive(Debug)]
pub struct Need {
    /// The text.
    pub text: &'static str,
    /// The condition.
    pub condition: Condition,
    /// The override constant for which it counts, and whether that is set then.
    pub guard: Option<(&'static str, bool)>,
}

/// A condition of a variant on the device, on sizes, or on override constants.
#[derive(Debug)]
#[non_exhaustive]
pub enum Condition {
    /// The u32 at this byte of `Params` is a multiple.
    Multiple {
        /// Where it stands.
        offset: usize,
        /// Of what.
        of: u32,
    },
    /// The u32 at this byte of `Params` has this value.
    Equal {
        /// Where it stands.
        offset: usize,
        /// The value.
        to: u32,
    },
    /// The override constant is not 0.
    Constant(&'static str),
    /// There are so many tiles and more.
    Tiles(u32),
    /// So many sums of an invocation stay in registers.
    Accumulators(u32),
    /// Subgroup operations, and subgroups of no other sizes.
    Subgroup {
        /// The smallest size.
        least: u32,
        /// The largest.
        most: u32,
    },
    /// Integers of 64 bits.
    Int64,
    /// Arithmetic in f16.
    F16,
    /// Cooperative matrices of f16 with so many rows and columns.
    Matrices(u32),
    /// The device is of one of these classes: cpu, integrated, discrete.
    Class(&'static [&'static str]),
}

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));
