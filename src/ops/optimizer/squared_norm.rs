//! Σ x².

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::reduce::Sum;
use crate::ops::{Array, Op, expect};
use crate::shader::optimizer::squared_norm;
use crate::shape::{DType, Spec};

/// y `[1]` = Σ x² over all elements of x, by a tree of sums of fixed order.
#[derive(Debug, Clone, Copy)]
pub struct SquaredNorm;

/// Groups of four elements that one invocation sums.
const CHUNK: usize = 128;

impl Op for SquaredNorm {
    fn name(&self) -> &'static str {
        "squared_norm"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        Ok(vec![Spec::f32([1])])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let elements = inputs[0].elements();
        let width =
            rec.choose(squared_norm::VARIANTS, &[], &squared_norm::Params::default(), &[], 0)?.workgroup_size;
        let blocks = (elements / 4).div_ceil(CHUNK * width as usize).max(1);
        let count = blocks * width as usize;
        let parts = rec.scratch(DType::F32, [count]);
        let params =
            squared_norm::Params { elements: elements as u32, chunk: CHUNK as u32, parts: count as u32 };
        rec.dispatch(squared_norm::VARIANTS, &[], &params, &[&inputs[0], &parts], blocks)?;
        Sum { first: 0, last: 1 }.record(rec, &[parts], outputs)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![Array::from_elem(ndarray::IxDyn(&[1]), inputs[0].iter().map(|x| x * x).sum())]
    }
}

impl Tensor {
    /// Σ x² as a tensor of one element. No derivative.
    ///
    /// # Errors
    /// When the tensor is not f32.
    pub fn squared_norm(&self) -> Result<Tensor> {
        self.apply(SquaredNorm, &[])
    }
}
