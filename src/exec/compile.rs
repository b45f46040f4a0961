//! From a graph to a plan: passes, recording, memory.

use std::collections::{BTreeMap, HashMap};

use super::dispatch::{Dispatch, Place, Region};
use super::in_place::work_in_place;
use super::memory::{Lifetime, pack};
use super::options::PlanOptions;
use super::passes::Draft;
use super::plan::{Plan, Port};
use super::recorder::{Memory, Operand, Recorder};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Capabilities};
use crate::graph::{Graph, Node, Tensor, Value, ValueId, ValueSource, roots};
use crate::shape::DType;

/// The cost of a byte, in operations: machines do 16 to 25 of them in the time that memory takes for one.
const OPERATIONS_A_BYTE: f64 = 16.0;

impl Plan {
    /// Compiles what `outputs` and the stored values need.
    ///
    /// # Errors
    /// When an operation cannot be dispatched within the device's limits.
    pub fn compile(
        graph: &Graph,
        outputs: &[(&str, &Tensor)],
        options: PlanOptions,
        capabilities: &Capabilities,
    ) -> Result<Self> {
        let draft = Draft::new(graph, outputs, options, capabilities);
        Compiler::new(&draft, capabilities)?.run()
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
    plan: Plan,
    /// Values and scratch in the plan's own memory, by number.
    lifetimes: Vec<Lifetime>,
    numbers: HashMap<ValueId, usize>,
    /// The dispatches and their nodes; scratch is bound by its number in `lifetimes`.
    dispatches: Vec<(usize, Dispatch<Operand>)>,
}

impl<'a> Compiler<'a> {
    fn new(draft: &'a Draft<'a>, capabilities: &'a Capabilities) -> Result<Self> {
        let Draft { values, nodes, outputs } = draft;
        let mut roots = roots(values, nodes);
        let mut names = HashMap::new();
        for (id, value) in values.iter().enumerate() {
            let own = match &value.source {
                ValueSource::Stored(name) | ValueSource::Constant(name, _) => Some(name),
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
        work_in_place(values, nodes, &mut roots, &names, draft.results());
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
                ValueSource::Input(name) => {
                    let number = self.number(id);
                    self.lifetimes[number].input = true;
                    inputs.push((name.clone(), id));
                }
                ValueSource::Constant(name, elements) => {
                    self.plan.constants.push((name.clone(), value.spec.clone(), elements.clone()));
                }
                ValueSource::Stored(_) | ValueSource::Node => {}
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
        let bytes = Buffer::size_for(self.values[root].spec.bytes());
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
        let over = |(output, result): (usize, &Operand)| {
            node.op.in_place(output).iter().any(|&input| inputs[input].is_same_memory(result))
        };
        self.plan.in_place += usize::from(outputs.iter().enumerate().any(over));
        let mut recorder = Recorder::new(self.capabilities, std::mem::take(&mut self.plan.uniforms));
        if inputs.iter().chain(&outputs).any(|operand| operand.spec.dtype == DType::F16) {
            recorder = recorder.with_f16();
        }
        node.op.record(&mut recorder, &inputs, &outputs)?;
        let Recorder { dispatches, scratch, uniforms, .. } = recorder;
        self.plan.uniforms = uniforms;
        let first = self.lifetimes.len();
        let scratch = scratch
            .into_iter()
            .map(|bytes| Lifetime { bytes: Buffer::size_for(bytes), ..Lifetime::default() });
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
            dispatch.path.clone_from(&node.path);
            self.dispatches.push((index, dispatch));
        }
        Ok(())
    }

    /// Packs what was noted and binds dispatches to it.
    fn place(mut self, inputs: &[(String, ValueId)]) -> Result<Plan> {
        let packing = pack(&self.lifetimes);
        self.plan.live = self.live(packing.peak);
        let region = |plan: &mut Plan, memory: Memory, offset: u64, bytes: u64| -> Region {
            let bytes = Buffer::size_for(bytes);
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
        for (_, dispatch) in &self.dispatches {
            let bindings = dispatch.bindings.iter();
            let bindings = bindings.map(|one| region(plan, one.memory, one.offset, one.bytes)).collect();
            let mut dispatch = dispatch.binding(bindings);
            dispatch.work =
                dispatch.work.max(dispatch.flops as f64) + OPERATIONS_A_BYTE * dispatch.bytes() as f64;
            plan.dispatches.push(dispatch);
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

    /// Bytes that are live at dispatch `at`, by the operation and the path that made them.
    fn live(&self, at: usize) -> Vec<(String, u64)> {
        let values: HashMap<usize, ValueId> =
            self.numbers.iter().map(|(&id, &number)| (number, id)).collect();
        let made = self.nodes.iter().flat_map(|node| node.outputs.iter().map(move |&id| (id, node)));
        let makers: HashMap<ValueId, &Node> = made.collect();
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (number, lifetime) in self.lifetimes.iter().enumerate().filter(|(_, one)| one.covers(at)) {
            let value = values.get(&number).map(|&id| (&self.values[id].source, makers.get(&id)));
            let label = match value {
                Some((ValueSource::Input(name), _)) => format!("input {name}"),
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
