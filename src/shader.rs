//! The kernel catalogue that `build.rs` makes from `shaders/`.

#![allow(clippy::all, clippy::pedantic)]

/// One storage binding of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Its name in WGSL.
    pub name: &'static str,
    /// Whether the kernel writes it.
    pub write: bool,
}

/// A WGSL kernel: binding 0 is its uniform `Params`, storage bindings follow from 1.
#[derive(Debug)]
pub struct Kernel {
    /// `family/stem`.
    pub name: &'static str,
    /// WGSL with imports resolved.
    pub source: &'static str,
    /// Storage bindings in order, from binding 1.
    pub bindings: &'static [Binding],
    /// Names of its override constants.
    pub overrides: &'static [&'static str],
    /// Bytes of its `Params`.
    pub params: u32,
    /// Its siblings that work in place.
    pub in_place: &'static [InPlace],
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

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));
