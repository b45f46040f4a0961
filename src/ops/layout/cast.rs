//! Copies that a plan stores in f16.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::{Array, Op, mismatch};
use crate::shader::layout::cast;
use crate::shape::{DType, Shape, Spec};

/// Copies of up to four tensors, each of a multiple of 4 elements, for a plan to store in f16: weights, once for all of their
/// readers. Where it does not, they are the same numbers.
#[derive(Debug, Clone, Copy)]
pub struct Cast;

impl Cast {
    /// Tensors that one dispatch copies: two bindings each are as many as WebGPU allows.
    pub(crate) const MOST: usize = 4;

    /// Whether it copies tensors of this shape.
    pub(crate) fn takes(shape: &Shape) -> bool {
        shape.elements().is_multiple_of(4)
    }
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let fits = |spec: &Spec| spec.dtype == DType::F32 && Self::takes(&spec.shape);
        match (1..=Self::MOST).contains(&inputs.len()) && inputs.iter().all(fits) {
            true => Ok(inputs.to_vec()),
            false => Err(mismatch(self.name(), inputs, "up to 4 of f32, each of a multiple of 4 elements")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        // Bound for what is not there.
        let nothing: Vec<Operand> =
            (inputs.len()..Self::MOST).map(|_| rec.scratch(DType::U32, [4])).collect();
        let unread = inputs[0].unread();
        let mut ends = [0; Self::MOST];
        let mut end = 0;
        for (index, own) in ends.iter_mut().enumerate() {
            end += inputs.get(index).map_or(0, |input| input.elements() / 4);
            *own = end as u32;
        }
        let params = cast::Params { end_0: ends[0], end_1: ends[1], end_2: ends[2], end_3: ends[3] };
        let x = |index: usize| inputs.get(index).unwrap_or(&unread);
        let y = |index: usize| outputs.get(index).unwrap_or_else(|| &nothing[index - inputs.len()]);
        let bindings = [x(0), x(1), x(2), x(3), y(0), y(1), y(2), y(3)];
        rec.dispatch(cast::VARIANTS, &[], &params, &bindings, end)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        inputs.iter().map(|&input| input.clone()).collect()
    }
}
