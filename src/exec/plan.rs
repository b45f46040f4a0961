//! A graph compiled for a device: dispatches, buffer assignment and one uniform blob.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::memory::Slots;
use super::recorder::{Memory, Operand, Recorder};
use crate::error::{Error, Result};
use crate::gpu::Capabilities;
use crate::graph::{Graph, Node, Source, Tensor, Value, ValueId, roots};
use crate::shader::Kernel;
use crate::shape::Spec;

/// The buffer that a region lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A slot of the plan.
    Slot(usize),
    /// An entry of the persistent store: an index of [`Plan::stored`].
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

/// One dispatch.
#[derive(Debug, Clone)]
pub struct Step {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its override constants.
    pub overrides: Vec<(&'static str, f64)>,
    /// Its storage bindings.
    pub bindings: Vec<Region>,
    /// Where its parameters start in [`Plan::uniforms`].
    pub params: u32,
    /// Workgroups along each axis.
    pub groups: [u32; 3],
    /// Path of the layer that asked for it.
    pub path: String,
    /// Estimated operations plus bytes moved.
    pub work: f64,
    /// Operations of its products; see [`Plan::flops`].
    pub flops: u64,
}

impl Step {
    /// Bytes that it binds, each counted once: what it moves if it reads and writes nothing twice.
    pub fn bytes(&self) -> u64 {
        let known = |index: usize| self.bindings[..index].contains(&self.bindings[index]);
        let new = (0..self.bindings.len()).filter(|&index| !known(index));
        new.map(|index| self.bindings[index].bytes).sum()
    }
}

/// A value that is fed or read.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Shape and type.
    pub spec: Spec,
    /// Where it lies.
    pub place: Place,
}

/// Everything that a run needs, as plain data.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The dispatches in order.
    pub steps: Vec<Step>,
    /// Bytes of every slot.
    pub slots: Vec<u64>,
    /// Names of the store's entries that the plan reads or writes.
    pub stored: Vec<(String, Spec)>,
    /// Those of them that are the same in every run, with their elements; loading the plan writes them.
    pub constants: Vec<(String, Spec, Arc<[f32]>)>,
    /// Values fed before a run.
    pub inputs: Vec<Port>,
    /// Values that can be read after it.
    pub outputs: Vec<Port>,
    /// The parameters of all dispatches.
    pub uniforms: Vec<u8>,
    /// The largest sum of bytes alive at once: no assignment of slots needs less.
    pub lower_bound: u64,
}

impl Plan {
    /// Compiles what `outputs` and the stored values need.
    ///
    /// # Errors
    /// When an operation cannot be dispatched within the device's limits.
    pub fn compile(graph: &Graph, outputs: &[(&str, &Tensor)], capabilities: &Capabilities) -> Result<Self> {
        let (values, nodes) = graph.snapshot();
        Compiler::new(&values, &nodes, outputs, capabilities)?.run()
    }

    /// Bytes of all slots: what a run holds beside the persistent store.
    pub fn peak_bytes(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// Estimated operations plus bytes moved by a run.
    pub fn work(&self) -> f64 {
        self.steps.iter().map(|step| step.work).sum()
    }

    /// Operations of the products of a run, two a multiply-add, exactly and on every device alike: 2·m·n·k of
    /// an [m, k] by [k, n] product, the taps of the convolutions (those on zero padding as well), the scores and
    /// sums of attention, the quantizer's cosines. Element-wise work, reductions, norms and recurrences are not
    /// counted. A training plan has those of forward and backward.
    pub fn flops(&self) -> u64 {
        self.steps.iter().map(|step| step.flops).sum()
    }

    /// The plan as text: a line a dispatch, then the memory.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            let _ = write!(text, "{index:4} {:32} {:?}", step.kernel.name, step.groups);
            for (binding, region) in step.kernel.bindings.iter().zip(&step.bindings) {
                let place = match region.place {
                    Place::Slot(slot) => format!("#{slot}"),
                    Place::Stored(entry) => self.stored[entry].0.clone(),
                };
                let _ = write!(text, " {}={place}[{}]", binding.name, region.bytes);
            }
            let _ = writeln!(text, "  {}", step.path);
        }
        let _ = writeln!(
            text,
            "{} dispatches, {} slots, {} bytes (lower bound {})",
            self.steps.len(),
            self.slots.len(),
            self.peak_bytes(),
            self.lower_bound
        );
        text
    }
}

struct Compiler<'a> {
    values: &'a [Value],
    nodes: &'a [Node],
    outputs: &'a [(&'a str, &'a Tensor)],
    capabilities: &'a Capabilities,
    /// The value whose memory each value shares.
    roots: Vec<ValueId>,
    /// The store's name of each root that has one.
    names: HashMap<ValueId, String>,
    needed: Vec<bool>,
    /// The last node that uses each root; `usize::MAX` for outputs.
    last_use: HashMap<ValueId, usize>,
    slots: Slots,
    places: HashMap<ValueId, Place>,
    plan: Plan,
}

impl<'a> Compiler<'a> {
    fn new(
        values: &'a [Value],
        nodes: &'a [Node],
        outputs: &'a [(&'a str, &'a Tensor)],
        capabilities: &'a Capabilities,
    ) -> Result<Self> {
        let roots = roots(values, nodes);
        let mut names = HashMap::new();
        for (id, value) in values.iter().enumerate() {
            let own = match &value.source {
                Source::Stored(name) | Source::Constant(name, _) => Some(name),
                _ => value.store.as_ref(),
            };
            if let Some(name) = own {
                let previous = names.insert(roots[id], name.clone());
                if previous.as_ref().is_some_and(|p| p != name) {
                    return Err(Error::invalid(format!(
                        "{name} shares memory with {previous:?}; copy it first"
                    )));
                }
            }
        }
        let mut compiler = Self {
            values,
            nodes,
            outputs,
            capabilities,
            roots,
            names,
            needed: vec![false; nodes.len()],
            last_use: HashMap::new(),
            slots: Slots::default(),
            places: HashMap::new(),
            plan: Plan::default(),
        };
        compiler.find_needed();
        Ok(compiler)
    }

    /// Marks the nodes that outputs, stored values and updates in place depend on.
    fn find_needed(&mut self) {
        let mut wanted = vec![false; self.values.len()];
        self.outputs.iter().for_each(|(_, tensor)| wanted[tensor.id()] = true);
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let effect = node.outputs.iter().any(|&id| self.names.contains_key(&self.roots[id]));
            if effect || node.outputs.iter().any(|&id| wanted[id]) {
                self.needed[index] = true;
                node.inputs.iter().for_each(|&id| wanted[id] = true);
            }
        }
        for (index, node) in self.nodes.iter().enumerate().filter(|(index, _)| self.needed[*index]) {
            for &id in node.inputs.iter().chain(&node.outputs) {
                self.last_use.insert(self.roots[id], index);
            }
        }
        for (_, tensor) in self.outputs {
            self.last_use.insert(self.roots[tensor.id()], usize::MAX);
        }
    }

    fn run(mut self) -> Result<Plan> {
        for (id, value) in self.values.iter().enumerate() {
            if !self.last_use.contains_key(&id) {
                continue;
            }
            let spec = value.spec.clone();
            match &value.source {
                Source::Input(name) => {
                    let place = self.place(id);
                    self.plan.inputs.push(Port { name: name.clone(), spec, place });
                }
                Source::Constant(name, elements) => {
                    self.plan.constants.push((name.clone(), spec, elements.clone()));
                }
                Source::Stored(_) | Source::Node { .. } => {}
            }
        }
        for index in 0..self.nodes.len() {
            if self.needed[index] {
                self.record(index)?;
            }
        }
        for (name, tensor) in self.outputs {
            let place = self.place(self.roots[tensor.id()]);
            self.plan.outputs.push(Port { name: (*name).to_owned(), spec: tensor.spec().clone(), place });
        }
        self.plan.lower_bound = self.slots.bound;
        self.plan.slots = self.slots.sizes();
        Ok(self.plan)
    }

    fn bytes(&self, root: ValueId) -> u64 {
        self.values[root].spec.bytes().max(16).next_multiple_of(16)
    }

    /// Where a root lies; it gets a place when it is first asked for.
    fn place(&mut self, root: ValueId) -> Place {
        if let Some(&place) = self.places.get(&root) {
            return place;
        }
        let place = match self.names.get(&root) {
            Some(name) => {
                let known = self.plan.stored.iter().position(|(other, _)| other == name);
                Place::Stored(known.unwrap_or_else(|| {
                    self.plan.stored.push((name.clone(), self.values[root].spec.clone()));
                    self.plan.stored.len() - 1
                }))
            }
            None => Place::Slot(self.slots.take(self.bytes(root))),
        };
        self.places.insert(root, place);
        place
    }

    fn record(&mut self, index: usize) -> Result<()> {
        let node = &self.nodes[index];
        let operand =
            |&id: &ValueId| Operand::whole(Memory::Value(self.roots[id]), self.values[id].spec.clone());
        let inputs: Vec<Operand> = node.inputs.iter().map(operand).collect();
        let outputs: Vec<Operand> = node.outputs.iter().map(operand).collect();
        let mut recorder = Recorder::new(self.capabilities);
        node.op.record(&mut recorder, &inputs, &outputs)?;
        let (dispatches, sizes) = (recorder.dispatches, recorder.scratch);

        let sizes: Vec<u64> = sizes.iter().map(|bytes| (*bytes).max(16).next_multiple_of(16)).collect();
        node.outputs.iter().for_each(|&id| {
            self.place(self.roots[id]);
        });
        let scratch: Vec<usize> = sizes.iter().map(|&bytes| self.slots.take(bytes)).collect();
        for dispatch in dispatches {
            let mut bindings = Vec::with_capacity(dispatch.bindings.len());
            for operand in &dispatch.bindings {
                let place = match operand.memory {
                    Memory::Value(root) => self.place(root),
                    Memory::Scratch(number) => Place::Slot(scratch[number]),
                };
                let bytes = operand.bytes.max(16).next_multiple_of(16);
                bindings.push(Region { place, offset: operand.offset, bytes });
            }
            let (work, flops) = (dispatch.work(), dispatch.flops);
            let params = self.plan.uniforms.len() as u32;
            self.plan.uniforms.extend(&dispatch.params);
            let alignment = self.capabilities.uniform_alignment as usize;
            self.plan.uniforms.resize(self.plan.uniforms.len().next_multiple_of(alignment), 0);
            self.plan.steps.push(Step {
                kernel: dispatch.kernel,
                overrides: dispatch.overrides,
                bindings,
                params,
                groups: dispatch.groups,
                path: node.path.clone(),
                work,
                flops,
            });
        }
        sizes.iter().zip(&scratch).for_each(|(&bytes, &slot)| self.slots.give(slot, bytes));
        let mut dead: Vec<ValueId> =
            node.inputs.iter().chain(&node.outputs).map(|&id| self.roots[id]).collect();
        dead.sort_unstable();
        dead.dedup();
        for root in dead.into_iter().filter(|root| self.last_use.get(root) == Some(&index)) {
            if let Some(Place::Slot(slot)) = self.places.get(&root) {
                self.slots.give(*slot, self.bytes(root));
            }
        }
        Ok(())
    }
}
