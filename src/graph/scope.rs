//! A place in a model: the graph and the path that names its parameters.

use super::{Graph, Init, Tensor};
use crate::error::Result;
use crate::shape::{Shape, Spec};

/// The graph together with a field path such as `encoder.layers.3`.
///
/// Layers ask it for parameters (`scope.parameter("weight", …)`), sub-layers get `scope.at("linear")`.
#[derive(Debug, Clone)]
pub struct Scope {
    graph: Graph,
    path: String,
}

impl Scope {
    pub(super) fn new(graph: Graph, path: String) -> Self {
        Self { graph, path }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The field path; empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of the field `name` below this one.
    pub fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The scope of the field `name`; nodes made from now on carry its path.
    pub fn at(&self, name: impl AsRef<str>) -> Self {
        let path = self.join(name.as_ref());
        self.graph.set_path(&path);
        Self { graph: self.graph.clone(), path }
    }

    /// A trainable parameter.
    ///
    /// # Errors
    /// When the name was used before with another shape.
    pub fn parameter(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        self.graph.parameter(&self.join(name), shape.into(), init, true)
    }

    /// Frozen state that is saved with the model.
    ///
    /// # Errors
    /// When the name was used before with another shape.
    pub fn frozen(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        self.graph.parameter(&self.join(name), shape.into(), init, false)
    }

    /// The constant `name` (of the whole graph, not of this path), see [`Graph::constant`].
    pub fn constant(
        &self,
        name: &str,
        shape: impl Into<Shape>,
        make: impl FnOnce(&Shape) -> Vec<f32>,
    ) -> Tensor {
        self.graph.constant(name, shape, make)
    }

    /// The input `name` (of the whole graph, not of this path).
    pub fn input(&self, name: &str, spec: Spec) -> Tensor {
        self.graph.input(name, spec)
    }
}
