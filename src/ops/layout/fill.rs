//! Constant tensors.

use std::sync::Arc;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::{Graph, Tensor};
use crate::ops::{Array, Op, expect};
use crate::shader::layout::fill;
use crate::shape::{Shape, Spec};

/// An f32 tensor whose elements are all `value`; it takes no operand.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Its shape.
    pub shape: Shape,
    /// Its elements.
    pub value: f32,
}

/// Records y = value; 0 clears tensors of either type.
pub(super) fn record(rec: &mut Recorder, y: &Operand, value: f32) -> Result<()> {
    for tile in rec.tiles(y.elements(), &[1])? {
        let params = fill::Params { elements: tile.len() as u32, value };
        rec.dispatch(fill::VARIANTS, &[], &params, &[&y.slice(tile.clone())], tile.len())?;
    }
    Ok(())
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[])?;
        Ok(vec![Spec::f32(self.shape.clone())])
    }

    fn record(&self, rec: &mut Recorder, _: &[Operand], outputs: &[Operand]) -> Result<()> {
        record(rec, &outputs[0], self.value)
    }

    fn reference(&self, _: &[&Array]) -> Vec<Array> {
        vec![Array::from_elem(self.shape.dims(), f64::from(self.value))]
    }

    fn recomputable(&self) -> bool {
        true
    }
}

impl Graph {
    /// A constant f32 tensor whose elements are all `value`.
    ///
    /// # Errors
    /// Never today; making a node is fallible in general.
    pub fn fill(&self, shape: impl Into<Shape>, value: f32) -> Result<Tensor> {
        let mut outputs = self.apply(Arc::new(Fill { shape: shape.into(), value }), &[])?;
        Ok(outputs.swap_remove(0))
    }
}
