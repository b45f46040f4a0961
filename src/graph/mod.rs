//! The tensor graph: values, the operations that make them, and the names they are stored under.
//!
//! Nothing runs here. A [`Graph`] is built once a batch shape, differentiated by
//! [`crate::autograd`], compiled to a [`crate::exec::Plan`] and replayed.

mod init;
mod scope;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use init::Init;
pub use scope::Scope;

use crate::error::{Error, Result};
use crate::ops::{Alias, NodeOp, Op};
use crate::shape::{DType, Shape, Spec};

/// Index of a value in its graph.
pub type ValueId = usize;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueSource {
    /// Fed by name before every run.
    Input(String),
    /// Lives under this name in the persistent store, across runs and plans.
    Stored(String),
    /// The same in every run: written to the persistent store under a name when a plan is first loaded.
    Constant(String, Arc<[f32]>),
    /// A result of a node.
    Node,
}

/// One value of a graph.
#[derive(Debug, Clone)]
pub struct Value {
    /// Shape and element type.
    pub spec: Spec,
    /// Where it comes from.
    pub source: ValueSource,
    /// The persistent store's name that the value is written to, if any.
    pub store: Option<String>,
}

/// One application of an operation.
#[derive(Debug, Clone)]
pub struct Node {
    /// The operation.
    pub op: Arc<NodeOp>,
    /// Its operands.
    pub inputs: Vec<ValueId>,
    /// Its results.
    pub outputs: Vec<ValueId>,
    /// Path of the layer that asked for it, for labels.
    pub path: String,
    /// The section that it was made in, see [`Graph::section`].
    pub section: Option<usize>,
    /// Whether it is part of a derivative, which [`crate::autograd`] made.
    pub derivative: bool,
}

/// A named tensor that outlives a step: a weight, or frozen state such as a codebook.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Field path, such as `encoder.layers.3.mixer.value.weight`.
    pub name: String,
    /// Shape.
    pub shape: Shape,
    /// How its first value is drawn.
    pub init: Init,
    /// Whether the optimizer changes it.
    pub trainable: bool,
}

#[derive(Debug, Default)]
struct Data {
    values: Vec<Value>,
    nodes: Vec<Node>,
    parameters: Vec<(Parameter, ValueId)>,
    path: String,
    sections: usize,
    section: Option<usize>,
    derivative: bool,
    frozen: bool,
}

/// A graph under construction; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Graph(Arc<Mutex<Data>>);

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // A panic elsewhere cannot leave the vectors half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A scope at the root, for layers.
    pub fn root(&self) -> Scope {
        Scope::new(self.clone(), String::new())
    }

    fn add_value(&self, spec: Spec, source: ValueSource) -> Tensor {
        let mut data = self.data();
        let id = data.values.len();
        data.values.push(Value { spec: spec.clone(), source, store: None });
        drop(data);
        Tensor { graph: self.clone(), id, spec }
    }

    /// The input `name`, which is set before every run.
    pub fn input(&self, name: impl Into<String>, spec: Spec) -> Tensor {
        let name = name.into();
        let found = self
            .data()
            .values
            .iter()
            .position(|value| value.spec == spec && value.source == ValueSource::Input(name.clone()));
        match found {
            Some(id) => Tensor { graph: self.clone(), id, spec },
            None => self.add_value(spec, ValueSource::Input(name)),
        }
    }

    /// A value that lives in the persistent store under `name`.
    pub fn stored(&self, name: impl Into<String>, spec: Spec) -> Tensor {
        self.add_value(spec, ValueSource::Stored(name.into()))
    }

    /// The f32 value that `make` computes once, for all runs and plans that have a constant of this name; so
    /// the name tells all that the elements follow from.
    pub fn constant(
        &self,
        name: &str,
        shape: impl Into<Shape>,
        make: impl FnOnce(&Shape) -> Vec<f32>,
    ) -> Tensor {
        let spec = Spec::f32(shape);
        let known = |value: &Value| matches!(&value.source, ValueSource::Constant(own, _) if own == name);
        let found = self.data().values.iter().position(|value| value.spec == spec && known(value));
        match found {
            Some(id) => Tensor { graph: self.clone(), id, spec },
            None => {
                let elements = make(&spec.shape).into();
                self.add_value(spec, ValueSource::Constant(name.to_owned(), elements))
            }
        }
    }

    /// The parameter `name`; asked for twice, it is the same value.
    ///
    /// # Errors
    /// When the name was used before with another shape.
    pub fn parameter(&self, name: &str, shape: Shape, init: Init, trainable: bool) -> Result<Tensor> {
        let found =
            self.data().parameters.iter().find(|(p, _)| p.name == name).map(|(p, id)| (p.shape.clone(), *id));
        if let Some((known, id)) = found {
            if known != shape {
                return Err(Error::shape(name, format!("declared as {known} and again as {shape}")));
            }
            return Ok(Tensor { graph: self.clone(), id, spec: Spec::f32(shape) });
        }
        let tensor = self.stored(name, Spec::f32(shape.clone()));
        let trainable = trainable && !self.data().frozen;
        let parameter = Parameter { name: name.to_owned(), shape, init, trainable };
        self.data().parameters.push((parameter, tensor.id));
        Ok(tensor)
    }

    /// All parameters in the order of their first use.
    pub fn parameters(&self) -> Vec<(Parameter, Tensor)> {
        let data = self.data();
        let tensors = data.parameters.iter().map(|(parameter, id)| {
            let tensor = Tensor { graph: self.clone(), id: *id, spec: Spec::f32(parameter.shape.clone()) };
            (parameter.clone(), tensor)
        });
        tensors.collect()
    }

    /// Applies `op`; the only way to make a node. Shapes are checked by [`Op::infer`].
    ///
    /// # Errors
    /// When the operation refuses the shapes.
    pub fn apply<O: Op + 'static>(&self, op: Arc<O>, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let specs: Vec<Spec> = inputs.iter().map(|tensor| tensor.spec.clone()).collect();
        let outputs = Op::infer(&*op, &specs)?;
        let mut data = self.data();
        let first = data.values.len();
        let values =
            outputs.iter().map(|spec| Value { spec: spec.clone(), source: ValueSource::Node, store: None });
        data.values.extend(values);
        let (path, section, derivative) = (data.path.clone(), data.section, data.derivative);
        data.nodes.push(Node {
            op,
            inputs: inputs.iter().map(|tensor| tensor.id).collect(),
            outputs: (first..first + outputs.len()).collect(),
            path,
            section,
            derivative,
        });
        drop(data);
        let tensors = outputs.into_iter().enumerate();
        Ok(tensors.map(|(i, spec)| Tensor { graph: self.clone(), id: first + i, spec }).collect())
    }

    /// Sets the path that labels the nodes made from now on.
    pub(crate) fn set_path(&self, path: &str) {
        path.clone_into(&mut self.data().path);
    }

    /// Marks the nodes that `build` makes as one section, such as a layer: under [`Recompute::Layer`](crate::exec::Recompute::Layer) what
    /// derivatives read inside of it is recomputed from the values that it takes from outside.
    pub fn section<T>(&self, build: impl FnOnce() -> T) -> T {
        let outer = {
            let mut data = self.data();
            data.sections += 1;
            let own = data.sections;
            data.section.replace(own)
        };
        let built = build();
        self.data().section = outer;
        built
    }

    /// Parameters that `build` declares are not trained.
    pub fn frozen<T>(&self, build: impl FnOnce() -> T) -> T {
        let outer = std::mem::replace(&mut self.data().frozen, true);
        let built = build();
        self.data().frozen = outer;
        built
    }

    /// Marks the nodes that `build` makes as parts of a derivative.
    #[cfg(feature = "autograd")]
    pub(crate) fn derivative<T>(&self, build: impl FnOnce() -> T) -> T {
        let outer = std::mem::replace(&mut self.data().derivative, true);
        let built = build();
        self.data().derivative = outer;
        built
    }

    /// A copy of the values and nodes, in the order in which they were made: a topological order.
    pub fn snapshot(&self) -> (Vec<Value>, Vec<Node>) {
        let data = self.data();
        (data.values.clone(), data.nodes.clone())
    }

    /// The tensor of value `id`.
    #[cfg(feature = "autograd")]
    pub(crate) fn tensor(&self, id: ValueId) -> Tensor {
        let spec = self.data().values[id].spec.clone();
        Tensor { graph: self.clone(), id, spec }
    }
}

/// The value whose memory each value shares, through views and updates in place.
pub(crate) fn roots(values: &[Value], nodes: &[Node]) -> Vec<ValueId> {
    let mut roots: Vec<ValueId> = (0..values.len()).collect();
    for node in nodes {
        for (output, &id) in node.outputs.iter().enumerate() {
            if let Some(input) = node.op.alias(output).map(Alias::operand) {
                roots[id] = roots[node.inputs[input]];
            }
        }
    }
    roots
}

/// A cheap handle to a value of a graph.
#[derive(Debug, Clone)]
pub struct Tensor {
    graph: Graph,
    id: ValueId,
    spec: Spec,
}

impl Tensor {
    /// The graph that the tensor belongs to.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Its index there.
    pub fn id(&self) -> ValueId {
        self.id
    }

    /// Shape and element type.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Sizes of the axes.
    pub fn dims(&self) -> &[usize] {
        self.spec.shape.dims()
    }

    /// Shape.
    pub fn shape(&self) -> &Shape {
        &self.spec.shape
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.spec.dtype
    }

    /// Applies `op` to this tensor and `others`, for an operation of one output.
    ///
    /// # Errors
    /// When the operation refuses the shapes.
    pub fn apply(&self, op: impl Op + 'static, others: &[&Tensor]) -> Result<Tensor> {
        let mut inputs = vec![self];
        inputs.extend(others);
        let mut outputs = self.graph.apply(Arc::new(op), &inputs)?;
        Ok(outputs.swap_remove(0))
    }

    /// Writes this value to `name` in the persistent store, at every run; a copy of it where its memory
    /// is an input's or is stored under another name already.
    ///
    /// # Errors
    /// When a copy is needed and the tensor is not f32.
    pub fn store(&self, name: impl Into<String>) -> Result<()> {
        let mut data = self.graph.data();
        let roots = roots(&data.values, &data.nodes);
        let taken = (0..roots.len()).any(|id| roots[id] == roots[self.id] && data.values[id].store.is_some());
        let made = matches!(data.values[roots[self.id]].source, ValueSource::Node);
        if made && !taken {
            data.values[self.id].store = Some(name.into());
            return Ok(());
        }
        drop(data);
        self.copy()?.store(name)
    }
}
