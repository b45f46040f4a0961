//! Passes over a copy of the graph, before its dispatches are recorded.

mod fuse;
mod matmul_f16;
#[cfg(feature = "autograd")]
mod read_norms;
#[cfg(feature = "autograd")]
mod recompute;
#[cfg(feature = "autograd")]
mod save_f16;
mod store_f16;
mod unused;

use std::collections::HashSet;
use std::fmt::Debug;

use super::options::{Compute, PlanOptions};
#[cfg(feature = "autograd")]
use super::options::{Recompute, SavedActivations};
use crate::gpu::Capabilities;
use crate::graph::{Graph, Node, Tensor, Value, ValueId, ValueSource};
use crate::ops::Alias;
use crate::shape::DType;

/// A copy of a graph that passes change before it is recorded.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    /// The values. Passes add to them and never renumber.
    pub values: Vec<Value>,
    /// The nodes in a topological order.
    pub nodes: Vec<Node>,
    /// The values that can be read after a run, by name.
    pub outputs: &'a [(&'a str, &'a Tensor)],
}

impl<'a> Draft<'a> {
    /// The graph after all passes that `options` ask for.
    pub fn new(
        graph: &Graph,
        outputs: &'a [(&'a str, &'a Tensor)],
        options: PlanOptions,
        capabilities: &Capabilities,
    ) -> Self {
        let (values, nodes) = graph.snapshot();
        let mut draft = Self { values, nodes, outputs };
        unused::drop_unused(&mut draft);
        for pass in passes(options, capabilities) {
            pass.run(&mut draft);
            // What a pass replaces has no reader any more.
            unused::drop_unused(&mut draft);
        }
        draft
    }

    /// A new value like `id`, that a node is to make.
    fn copy_of(&mut self, id: ValueId) -> ValueId {
        let spec = self.values[id].spec.clone();
        self.values.push(Value { spec, source: ValueSource::Node, store: None });
        self.values.len() - 1
    }

    /// Whether half the bytes of a value are worth a conversion, and can be had: four lie in two words.
    fn is_worth_f16(&self, id: ValueId) -> bool {
        /// Smaller values stay as they are: dispatches would cost more than they save.
        const SMALLEST: u64 = 1 << 12;
        let spec = &self.values[id].spec;
        spec.dtype == DType::F32 && spec.shape.elements().is_multiple_of(4) && spec.bytes() >= SMALLEST
    }

    /// The `roots` of values that are read behind the plan: results, and what is stored or updates the store.
    fn read_behind(&self, roots: &[ValueId]) -> HashSet<ValueId> {
        let updated = self.nodes.iter().flat_map(|node| {
            let is_update = |output: usize| matches!(node.op.alias(output), Some(Alias::Update(_)));
            node.outputs.iter().enumerate().filter(move |(output, _)| is_update(*output)).map(|(_, &id)| id)
        });
        let named = (0..self.values.len()).filter(|&id| self.values[id].store.is_some());
        named.chain(self.results()).chain(updated).map(|id| roots[id]).collect()
    }

    /// The outputs' values.
    pub fn results(&self) -> impl Iterator<Item = ValueId> + Clone {
        self.outputs.iter().map(|(_, tensor)| tensor.id())
    }
}

/// One change to a graph. Its results are the same afterwards, up to the rounding that [`PlanOptions`] asks for.
trait Pass: Debug {
    /// Changes the graph.
    fn run(&self, draft: &mut Draft);
}

/// The passes that `options` ask for, in their order.
fn passes(options: PlanOptions, capabilities: &Capabilities) -> Vec<Box<dyn Pass + '_>> {
    let mut passes: Vec<Box<dyn Pass + '_>> = Vec::new();
    if options.compute == Compute::F16 {
        passes.push(Box::new(matmul_f16::MatMulF16));
    }
    passes.push(Box::new(fuse::FuseEpilogues));
    #[cfg(feature = "autograd")]
    {
        passes.push(Box::new(read_norms::ReadNorms));
        match options.recompute {
            Recompute::None => {}
            Recompute::Cheap => passes.push(Box::new(recompute::RecomputePass::Cheap)),
            Recompute::Layer => {
                passes.push(Box::new(recompute::RecomputePass::Sections));
                passes.push(Box::new(recompute::RecomputePass::Cheap));
            }
        }
    }
    if options.compute == Compute::F16 {
        passes.push(Box::new(store_f16::StoreF16(capabilities)));
    }
    #[cfg(feature = "autograd")]
    {
        if options.saved_activations == SavedActivations::F16 {
            passes.push(Box::new(save_f16::SaveF16));
        }
    }
    passes
}
