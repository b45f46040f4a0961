//! A graph compiled for a device: dispatches, buffer assignment and one uniform blob.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use super::fuse::{fuse, multiply_as};
use super::memory::{Lifetime, pack};
use super::recorder::{Dispatch, Memory, Operand, Recorder};
use crate::error::{Error, Result};
use crate::gpu::Capabilities;
use crate::graph::{Graph, Node, Source, Tensor, Value, ValueId, roots};
#[cfg(feature = "autograd")]
use crate::recipe::SavedActivations;
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
    /// Variants that would be better, and the condition that each misses.
    pub unmet: Vec<(&'static str, &'static str)>,
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
    pub region: Region,
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
    /// Path and kernel where they are.
    pub peak: String,
    /// Whose bytes they are: sums by operation and path, layers' numbers left out, the largest first.
    pub held: Vec<(String, u64)>,
}

impl Plan {
    /// Compiles what `outputs` and the stored values need.
    ///
    /// # Errors
    /// When an operation cannot be dispatched within the device's limits.
    pub fn compile(graph: &Graph, outputs: &[(&str, &Tensor)], capabilities: &Capabilities) -> Result<Self> {
        let (values, mut nodes) = graph.snapshot();
        keep_needed(&values, &mut nodes, outputs);
        multiply_as(graph.compute(), &mut nodes);
        fuse(&values, &mut nodes, outputs);
        #[cfg(feature = "autograd")]
        let (values, nodes) = super::recompute::recompute(graph.recompute(), values, nodes, outputs);
        #[cfg(feature = "autograd")]
        let (values, nodes) = match graph.saved_activations() {
            SavedActivations::F32 => (values, nodes),
            SavedActivations::F16 => super::saved::save_halves(values, nodes, outputs),
        };
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
                let _ = write!(text, " {}={place}+{}[{}]", binding.name, region.offset, region.bytes);
            }
            let _ = writeln!(text, "  {}", step.path);
        }
        text + &self.dump_memory()
    }

    /// The memory as text: how well the slots are filled, and whose bytes are held where they are the most.
    pub fn dump_memory(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} dispatches; {} bytes in {} slots, {:.3} times the {} that are held at once in {}:",
            self.steps.len(),
            self.peak_bytes(),
            self.slots.len(),
            self.peak_bytes() as f64 / self.lower_bound.max(1) as f64,
            self.lower_bound,
            self.peak,
        );
        for (path, bytes) in &self.held {
            let _ = writeln!(text, "{bytes:14} {path}");
        }
        text
    }
}

/// Leaves the nodes that outputs, stored values and updates in place depend on.
pub(super) fn keep_needed(values: &[Value], nodes: &mut Vec<Node>, outputs: &[(&str, &Tensor)]) {
    let roots = roots(values, nodes);
    let mut wanted = vec![false; values.len()];
    let mut named = vec![false; values.len()];
    outputs.iter().for_each(|(_, tensor)| wanted[tensor.id()] = true);
    for (id, value) in values.iter().enumerate() {
        let stored = matches!(value.source, Source::Stored(_) | Source::Constant(..));
        named[roots[id]] |= stored || value.store.is_some();
    }
    let mut needed = vec![false; nodes.len()];
    for (index, node) in nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|&id| wanted[id] || named[roots[id]]) {
            needed[index] = true;
            node.inputs.iter().for_each(|&id| wanted[id] = true);
        }
    }
    let mut needed = needed.into_iter();
    nodes.retain(|_| needed.next() == Some(true));
}

/// Gives results the memory of operands that nobody needs any more, where the operation can work in place.
/// Parameters, what is fed, and what the store holds keep their memory.
fn work_in_place(
    values: &[Value],
    nodes: &[Node],
    roots: &mut [ValueId],
    names: &HashMap<ValueId, String>,
    results: impl Iterator<Item = ValueId>,
) {
    let mut last_use = vec![0; values.len()];
    for (index, node) in nodes.iter().enumerate() {
        node.inputs.iter().chain(&node.outputs).for_each(|&id| last_use[roots[id]] = index);
    }
    results.for_each(|id| last_use[roots[id]] = usize::MAX);
    // The memory that a root has taken.
    let mut taken: Vec<ValueId> = (0..values.len()).collect();
    for (index, node) in nodes.iter().enumerate() {
        let operands: Vec<ValueId> = node.inputs.iter().map(|&id| taken[roots[id]]).collect();
        for (output, &id) in node.outputs.iter().enumerate() {
            let fits = |&&input: &&usize| {
                let memory = operands[input];
                values[memory].source == Source::Node
                    && !names.contains_key(&memory)
                    && last_use[memory] == index
                    && operands.iter().filter(|&&other| other == memory).count() == 1
                    && values[memory].spec.bytes() == values[id].spec.bytes()
            };
            if roots[id] != id || names.contains_key(&id) {
                continue;
            }
            if let Some(&input) = node.op.in_place(output).iter().find(fits) {
                taken[id] = operands[input];
                last_use[operands[input]] = last_use[id];
            }
        }
    }
    roots.iter_mut().for_each(|root| *root = taken[*root]);
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
    plan: Plan,
    /// What takes memory of the plan's own, and by which number values and scratch are in it.
    lifetimes: Vec<Lifetime>,
    numbers: HashMap<ValueId, usize>,
    /// The dispatches and their nodes; scratch is bound by its number in `lifetimes`.
    dispatches: Vec<(usize, Dispatch)>,
}

impl<'a> Compiler<'a> {
    fn new(
        values: &'a [Value],
        nodes: &'a [Node],
        outputs: &'a [(&'a str, &'a Tensor)],
        capabilities: &'a Capabilities,
    ) -> Result<Self> {
        let mut roots = roots(values, nodes);
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
        let results = outputs.iter().map(|(_, tensor)| tensor.id());
        work_in_place(values, nodes, &mut roots, &names, results);
        Ok(Self {
            values,
            nodes,
            outputs,
            capabilities,
            roots,
            names,
            plan: Plan::default(),
            lifetimes: Vec::new(),
            numbers: HashMap::new(),
            dispatches: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Plan> {
        let mut used: Vec<bool> = vec![false; self.values.len()];
        for node in self.nodes {
            node.inputs.iter().for_each(|&id| used[self.roots[id]] = true);
        }
        self.outputs.iter().for_each(|(_, tensor)| used[self.roots[tensor.id()]] = true);
        let mut inputs = Vec::new();
        for (id, value) in self.values.iter().enumerate().filter(|(id, _)| used[*id]) {
            match &value.source {
                Source::Input(name) => {
                    let number = self.number(id);
                    self.lifetimes[number].fed = true;
                    inputs.push((name.clone(), id));
                }
                Source::Constant(name, elements) => {
                    self.plan.constants.push((name.clone(), value.spec.clone(), elements.clone()));
                }
                Source::Stored(_) | Source::Node => {}
            }
        }
        for index in 0..self.nodes.len() {
            self.record(index)?;
        }
        for (_, tensor) in self.outputs {
            let root = self.roots[tensor.id()];
            if !self.names.contains_key(&root) {
                let number = self.number(root);
                self.lifetimes[number].read = true;
            }
        }
        self.place(&inputs)
    }

    /// The number of a root's lifetime.
    fn number(&mut self, root: ValueId) -> usize {
        let bytes = rounded(self.values[root].spec.bytes());
        *self.numbers.entry(root).or_insert_with(|| {
            self.lifetimes.push(Lifetime { bytes, ..Lifetime::default() });
            self.lifetimes.len() - 1
        })
    }

    fn record(&mut self, index: usize) -> Result<()> {
        let node = &self.nodes[index];
        let operand =
            |&id: &ValueId| Operand::whole(Memory::Value(self.roots[id]), self.values[id].spec.clone());
        let inputs: Vec<Operand> = node.inputs.iter().map(operand).collect();
        let outputs: Vec<Operand> = node.outputs.iter().map(operand).collect();
        let mut recorder = Recorder::new(self.capabilities);
        node.op.record(&mut recorder, &inputs, &outputs)?;
        let Recorder { dispatches, scratch, .. } = recorder;
        let first = self.lifetimes.len();
        let scratch =
            scratch.into_iter().map(|bytes| Lifetime { bytes: rounded(bytes), ..Lifetime::default() });
        self.lifetimes.extend(scratch);
        for mut dispatch in dispatches {
            let number = self.dispatches.len();
            for (operand, binding) in dispatch.bindings.iter_mut().zip(dispatch.kernel.bindings) {
                let lifetime = match &mut operand.memory {
                    Memory::Scratch(scratch) => {
                        *scratch += first;
                        *scratch
                    }
                    Memory::Value(root) if self.names.contains_key(root) => continue,
                    Memory::Value(root) => self.number(*root),
                };
                self.lifetimes[lifetime].bind(number, binding.write);
            }
            self.dispatches.push((index, dispatch));
        }
        Ok(())
    }

    /// Packs what was noted and turns dispatches into steps.
    fn place(mut self, inputs: &[(String, ValueId)]) -> Result<Plan> {
        let packing = pack(&self.lifetimes);
        self.plan.held = self.held(packing.peak);
        let region = |plan: &mut Plan, memory: Memory, offset: u64, bytes: u64| -> Region {
            let bytes = rounded(bytes);
            let slot = |number: usize| {
                let (slot, start) = packing.places[number];
                Region { place: Place::Slot(slot), offset: start + offset, bytes }
            };
            let root = match memory {
                Memory::Scratch(number) => return slot(number),
                Memory::Value(root) => root,
            };
            let Some(name) = self.names.get(&root) else { return slot(self.numbers[&root]) };
            let known = plan.stored.iter().position(|(other, _)| other == name);
            let index = known.unwrap_or_else(|| {
                plan.stored.push((name.clone(), self.values[root].spec.clone()));
                plan.stored.len() - 1
            });
            Region { place: Place::Stored(index), offset, bytes }
        };
        let plan = &mut self.plan;
        for (name, id) in inputs {
            let spec = self.values[*id].spec.clone();
            let region = region(plan, Memory::Value(*id), 0, spec.bytes());
            plan.inputs.push(Port { name: name.clone(), spec, region });
        }
        for (index, dispatch) in &self.dispatches {
            let bindings = dispatch.bindings.iter();
            let bindings = bindings.map(|one| region(plan, one.memory, one.offset, one.bytes)).collect();
            let params = plan.uniforms.len() as u32;
            plan.uniforms.extend(&dispatch.params);
            let alignment = self.capabilities.uniform_alignment as usize;
            plan.uniforms.resize(plan.uniforms.len().next_multiple_of(alignment), 0);
            let mut step = Step {
                kernel: dispatch.kernel,
                unmet: dispatch.unmet.clone(),
                overrides: dispatch.overrides.clone(),
                bindings,
                params,
                groups: dispatch.groups,
                path: self.nodes[*index].path.clone(),
                work: dispatch.operations(),
                flops: dispatch.flops,
            };
            step.work += step.bytes() as f64;
            plan.steps.push(step);
        }
        for (name, tensor) in self.outputs {
            let region = region(plan, Memory::Value(self.roots[tensor.id()]), 0, tensor.spec().bytes());
            plan.outputs.push(Port { name: (*name).to_owned(), spec: tensor.spec().clone(), region });
        }
        plan.lower_bound = packing.bound;
        if let Some((node, _)) = self.dispatches.get(packing.peak) {
            plan.peak = format!("{} of {}", self.nodes[*node].op.name(), self.nodes[*node].path);
        }
        plan.slots = packing.slots;
        Ok(self.plan)
    }

    /// Bytes that are held at dispatch `at`, by the operation and the path that made them.
    fn held(&self, at: usize) -> Vec<(String, u64)> {
        let values: HashMap<usize, ValueId> =
            self.numbers.iter().map(|(&id, &number)| (number, id)).collect();
        let made = self.nodes.iter().flat_map(|node| node.outputs.iter().map(move |&id| (id, node)));
        let makers: HashMap<ValueId, &Node> = made.collect();
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (number, lifetime) in self.lifetimes.iter().enumerate().filter(|(_, one)| one.covers(at)) {
            let value = values.get(&number).map(|&id| (&self.values[id].source, makers.get(&id)));
            let label = match value {
                Some((Source::Input(name), _)) => format!("input {name}"),
                Some((_, Some(node))) => format!("{} of {}", node.op.name(), unnumbered(&node.path)),
                _ => "scratch".to_owned(),
            };
            *sums.entry(label).or_default() += lifetime.bytes;
        }
        let mut sums: Vec<(String, u64)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        sums
    }
}

/// `path` with `*` for the numbers of layers and blocks.
fn unnumbered(path: &str) -> String {
    let field = |field: &str| if field.parse::<usize>().is_ok() { "*".to_owned() } else { field.to_owned() };
    path.split('.').map(field).collect::<Vec<_>>().join(".")
}

/// Bytes of memory for `bytes` of a value: bindings are neither empty nor end within four elements.
fn rounded(bytes: u64) -> u64 {
    bytes.max(16).next_multiple_of(16)
}
