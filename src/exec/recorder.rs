//! The recorder of dispatches.

use std::collections::HashSet;
use std::ops::Range;

use super::dispatch::Dispatch;
use super::variant::{Choice, Constants, Facts, Work};
use crate::error::{Error, Result};
use crate::gpu::Capabilities;
use crate::graph::ValueId;
use crate::shader::{InPlace, Variant};
use crate::shape::{DType, Shape, Spec};

/// The override constant that [`Recorder::dispatch`] sets.
const WORKGROUP_SIZE: &str = "WORKGROUP_SIZE";

/// The owner of an operand's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// A value of the graph.
    Value(ValueId),
    /// Temporary memory of the operation being recorded.
    Scratch(usize),
}

/// A tensor, or a range of its rows, as an operation binds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// The owner of the bytes.
    pub memory: Memory,
    /// Shape and type of the whole tensor.
    pub spec: Spec,
    /// First byte that is bound.
    pub offset: u64,
    /// Bytes that are bound.
    pub bytes: u64,
}

impl Operand {
    pub(super) fn whole(memory: Memory, spec: Spec) -> Self {
        let bytes = spec.bytes();
        Self { memory, spec, offset: 0, bytes }
    }

    /// Whether it binds the bytes that `other` binds.
    pub fn is_same_memory(&self, other: &Self) -> bool {
        (self.memory, self.offset, self.bytes) == (other.memory, other.offset, other.bytes)
    }

    /// Sizes of the axes.
    pub fn dims(&self) -> &[usize] {
        self.spec.shape.dims()
    }

    /// Shape.
    pub fn shape(&self) -> &Shape {
        &self.spec.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.spec.shape.elements()
    }

    /// The same memory, bound in place of a missing operand and not read.
    pub fn unread(&self) -> Self {
        let spec = Spec { dtype: DType::U32, ..self.spec.clone() };
        Self { spec, ..self.clone() }
    }

    /// The elements `range` alone; its start must come from [`Recorder::tiles`].
    pub fn slice(&self, range: Range<usize>) -> Self {
        let size = self.spec.dtype.bytes() as u64;
        let (offset, bytes) = (range.start as u64 * size, range.len() as u64 * size);
        Self { offset: self.offset + offset, bytes, ..self.clone() }
    }

    /// The rows `rows` alone, each of `width` elements; the start must come from [`Recorder::tiles`].
    pub fn rows(&self, rows: &Range<usize>, width: usize) -> Self {
        self.slice(rows.start * width..rows.end * width)
    }
}

/// Collects the dispatches of one operation.
#[derive(Debug)]
pub struct Recorder<'a> {
    capabilities: &'a Capabilities,
    pub(super) dispatches: Vec<Dispatch<Operand>>,
    pub(super) scratch: Vec<u64>,
    /// The parameters of all dispatches of the plan so far.
    pub(super) uniforms: Vec<u8>,
    /// Whether operands may be in f16, so that alignments are of those.
    f16: bool,
    /// If requested, the values that the device's kernels take in f32 only.
    in_f32: Option<HashSet<ValueId>>,
}

/// A bit for each operand, set where it is in f16.
fn f16_bits(bindings: &[&Operand]) -> u32 {
    let is_f16 = |operand: &Operand| u32::from(operand.spec.dtype == DType::F16);
    bindings.iter().enumerate().map(|(index, operand)| is_f16(operand) << index).sum()
}

impl<'a> Recorder<'a> {
    pub(super) fn new(capabilities: &'a Capabilities, uniforms: Vec<u8>) -> Self {
        Self { capabilities, dispatches: Vec::new(), scratch: Vec::new(), uniforms, f16: false, in_f32: None }
    }

    /// This, for an operation with operands in f16.
    pub(super) fn with_f16(self) -> Self {
        Self { f16: true, ..self }
    }

    /// The f32 values that the kernels dispatched by `record` do not take in f16.
    ///
    /// # Errors
    /// As `record`.
    pub(super) fn values_in_f32(
        capabilities: &'a Capabilities,
        record: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<HashSet<ValueId>> {
        let mut recorder = Self { in_f32: Some(HashSet::new()), ..Self::new(capabilities, Vec::new()) };
        record(&mut recorder)?;
        Ok(recorder.in_f32.unwrap_or_default())
    }

    /// The capabilities of the device.
    pub fn capabilities(&self) -> &Capabilities {
        self.capabilities
    }

    /// Temporary memory that lives as long as this operation; its content is undefined.
    pub fn scratch(&mut self, dtype: DType, shape: impl Into<Shape>) -> Operand {
        let spec = Spec { shape: shape.into(), dtype };
        self.scratch.push(spec.bytes());
        Operand::whole(Memory::Scratch(self.scratch.len() - 1), spec)
    }

    /// The grid of `count` workgroups, folded over two axes where one does not hold them:
    /// kernels take `linear_group(group, groups)` of `shared/grid` and guard the excess.
    fn grid(&self, count: usize) -> [u32; 3] {
        let most = self.capabilities.fold_grids_at as usize;
        let y = count.div_ceil(most).clamp(1, self.capabilities.max_groups as usize);
        [count.div_ceil(y) as u32, y as u32, 1]
    }

    /// The variant that [`Recorder::dispatch`] takes, for operations whose sizes depend on it. Of `params` only the members
    /// count that the kernel's header names, and of `bindings`, which may be the first ones alone, the types.
    ///
    /// # Errors
    /// When the device runs none.
    pub fn choose<P: bytemuck::Pod>(
        &self,
        variants: &'static [&'static Variant],
        constants: Constants<'_>,
        params: &P,
        bindings: &[&Operand],
        work: impl Into<Work>,
    ) -> Result<Choice> {
        let (params, f16) = (bytemuck::bytes_of(params), f16_bits(bindings));
        Facts { capabilities: self.capabilities, constants, params, work: work.into(), f16 }.choose(variants)
    }

    /// So many elements of any operand lie between places that can be bound.
    pub fn alignment(&self) -> usize {
        let narrowest = if self.f16 { 2 } else { 4 };
        (self.capabilities.storage_alignment / narrowest).max(1) as usize
    }

    /// Ranges of `rows` such that every operand, of `widths[i]` elements of 4 bytes a row, can be bound
    /// and every start is aligned. One range where the device's binding limit holds everything.
    ///
    /// # Errors
    /// When a few rows alone pass the limit.
    pub fn tiles(&self, rows: usize, widths: &[usize]) -> Result<Vec<Range<usize>>> {
        let limit = self.capabilities.max_binding / 4;
        let widest = widths.iter().copied().max().unwrap_or(1).max(1) as u64;
        if rows as u64 * widest <= limit {
            return Ok(std::iter::once(0..rows).collect());
        }
        // As many rows as make an aligned start whatever the width.
        let step = self.alignment() as u64;
        let tile = (limit / widest) / step * step;
        if tile == 0 {
            return Err(Error::OutOfMemory(format!(
                "rows of {widest} elements pass the {} bytes that {} binds at once; use a smaller model",
                self.capabilities.max_binding, self.capabilities.adapter
            )));
        }
        let starts = (0..rows).step_by(tile as usize);
        Ok(starts.map(|start| start..rows.min(start + tile as usize)).collect())
    }

    /// Ranges of utterances that can be bound at once: of tensors of `width` elements an utterance, and of some of up to
    /// `most` times as many.
    ///
    /// # Errors
    /// When a few utterances alone pass the binding limit.
    pub fn utterances(&self, batch: usize, width: usize, most: usize) -> Result<Vec<Range<usize>>> {
        let limit = (self.capabilities.max_binding / 4) as usize;
        let alignment = self.alignment();
        let aligned = |count: &usize| (count * width).is_multiple_of(alignment);
        let step = (1..alignment).find(aligned).unwrap_or(alignment);
        let width = width * most;
        let tile = if batch * width <= limit { batch.max(1) } else { limit / width / step * step };
        if tile == 0 {
            return Err(Error::OutOfMemory(format!(
                "{step} utterances of {width} elements pass the {} bytes that {} binds at once; cut them or use a \
                 smaller model",
                self.capabilities.max_binding, self.capabilities.adapter
            )));
        }
        Ok((0..batch).step_by(tile).map(|start| start..batch.min(start + tile)).collect())
    }

    /// Dispatches the first of `variants` whose conditions hold, with as many workgroups as `work` asks for: none where there
    /// is nothing to do. `constants` are its override constants but for the workgroup's size, `params` is its uniform,
    /// `bindings` its storage in order.
    ///
    /// # Errors
    /// When no variant runs, a constant has a value that its WGSL does not declare, a binding passes the device's limit or
    /// the grid its largest size.
    pub fn dispatch<P: bytemuck::Pod>(
        &mut self,
        variants: &'static [&'static Variant],
        constants: Constants<'_>,
        params: &P,
        bindings: &[&Operand],
        work: impl Into<Work>,
    ) -> Result<()> {
        self.dispatch_bytes(variants, constants, bytemuck::bytes_of(params), bindings, work.into())
    }

    // Apart, so that it is compiled once and not for every kernel.
    fn dispatch_bytes(
        &mut self,
        variants: &'static [&'static Variant],
        constants: Constants<'_>,
        params: &[u8],
        bindings: &[&Operand],
        work: Work,
    ) -> Result<()> {
        let limits = self.capabilities;
        let facts = Facts { capabilities: limits, constants, params, work, f16: f16_bits(bindings) };
        let choice = facts.choose(variants)?;
        if let Some(in_f32) = &mut self.in_f32 {
            for (index, operand) in bindings.iter().enumerate() {
                let takes_f16 = || Facts { f16: 1 << index, ..facts }.choose(variants).is_ok();
                match operand.memory {
                    Memory::Value(id) if operand.spec.dtype == DType::F32 && !takes_f16() => {
                        in_f32.insert(id)
                    }
                    _ => false,
                };
            }
        }
        let groups = self.grid(facts.workgroups(&choice));
        if groups.contains(&0) {
            return Ok(());
        }
        let kernel = &choice.variant.kernel;
        let refuse = |message: String| Err(Error::Gpu(format!("kernel {}: {message}", kernel.name)));
        let mut overrides = Vec::new();
        if kernel.overrides.iter().any(|one| one.name == WORKGROUP_SIZE) {
            overrides.push((WORKGROUP_SIZE, f64::from(choice.workgroup_size)));
        }
        overrides.extend(constants.iter().chain(choice.variant.constants));
        for (name, value) in overrides.iter().filter(|(name, _)| *name != WORKGROUP_SIZE) {
            let declared = kernel.overrides.iter().find(|one| one.name == *name);
            if !declared.is_some_and(|one| one.values.contains(value)) {
                return refuse(format!("its WGSL declares no {name} = {value}"));
            }
        }
        if bindings.len() != kernel.bindings.len() || params.len() != kernel.params as usize {
            return refuse("bindings or parameters do not match its WGSL".into());
        }
        if groups.iter().any(|&n| n > limits.max_groups) {
            return refuse(format!("a grid of {groups:?} passes {} workgroups an axis", limits.max_groups));
        }
        for (operand, binding) in bindings.iter().zip(kernel.bindings) {
            if operand.bytes > limits.max_binding {
                return Err(Error::OutOfMemory(format!(
                    "kernel {} binds {} bytes as {}, {} allows {}; use a smaller batch or a smaller model",
                    kernel.name, operand.bytes, binding.name, limits.adapter, limits.max_binding
                )));
            }
            if operand.offset % u64::from(limits.storage_alignment) != 0 {
                return refuse(format!(
                    "{} starts at {}, which is not aligned",
                    binding.name, operand.offset
                ));
            }
        }
        // Memory that is read and written takes the kernel's form that works in place.
        let is_same = |one: &&InPlace| bindings[one.input].is_same_memory(bindings[one.output]);
        let in_place = kernel.in_place.iter().find(is_same);
        let mut bindings = bindings.to_vec();
        let mut kernel = kernel;
        if let Some(in_place) = in_place {
            bindings.remove(in_place.input);
            kernel = in_place.kernel;
        }
        let of = |write: bool| {
            let all = bindings.iter().zip(kernel.bindings);
            all.filter(move |(_, binding)| binding.write == write).map(|(operand, _)| operand.memory)
        };
        if let Some(memory) = of(true).find(|written| of(false).any(|read| read == *written)) {
            return refuse(format!("reads and writes {memory:?} in one dispatch"));
        }
        let f16 = f16_bits(&bindings);
        if f16 & !kernel.in_f16() != 0 {
            let names = kernel.names_of(f16 & !kernel.in_f16()).join(", ");
            return refuse(format!("takes {names} in f32 only"));
        }
        let start = self.uniforms.len() as u32;
        self.uniforms.extend(params);
        let aligned = self.uniforms.len().next_multiple_of(limits.uniform_alignment as usize);
        self.uniforms.resize(aligned, 0);
        self.dispatches.push(Dispatch {
            kernel,
            variants,
            class: choice.class,
            unmet: choice.unmet,
            overrides,
            f16,
            bindings: bindings.into_iter().cloned().collect(),
            params: start,
            groups,
            path: String::new(),
            work: 0.0,
            flops: 0,
        });
        Ok(())
    }

    /// Adds `operations`, an estimate, to the work of the last dispatch, beside the bytes that it binds. What
    /// [`Recorder::flops`] counts is work by itself; this is for dispatches that do more.
    pub fn work(&mut self, operations: f64) {
        if let Some(dispatch) = self.dispatches.last_mut() {
            dispatch.work += operations;
        }
    }

    /// Counts `operations` of matmuls and convolutions in the last dispatch, two a multiply-add, for
    /// [`super::Plan::flops`]: those of the definition, whatever a kernel pads or computes twice.
    pub fn flops(&mut self, operations: u64) {
        if let Some(dispatch) = self.dispatches.last_mut() {
            dispatch.flops += operations;
        }
    }

    /// Counts the share of the operations that the dispatch of `part` of `all` equal pieces makes of `operations`:
    /// [`Recorder::flops`] where dispatches part the work otherwise than the definition. The shares add up.
    pub fn share_of_flops(&mut self, operations: u64, part: &Range<usize>, all: usize) {
        let until = |piece: usize| {
            operations / all.max(1) as u64 * piece as u64
                + operations % all.max(1) as u64 * piece as u64 / all.max(1) as u64
        };
        self.flops(until(part.end) - until(part.start));
    }
}
