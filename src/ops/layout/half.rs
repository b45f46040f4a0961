//! f32 tensors as halves, two to a u32: what a training step keeps for its backward pass in half the memory.

use half::f16;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::{Array, Op, expect, mismatch, shaped};
use crate::shader::layout::{from_half, to_half};
use crate::shape::{DType, Shape, Spec};

/// Elements that an invocation converts, and the words that hold them.
const QUAD: usize = 4;
const WORDS: usize = 2;

/// The halves nearest to a tensor of a multiple of 4 elements, [elements / 2] words; what is beyond the largest half
/// becomes the largest.
#[derive(Debug, Clone, Copy)]
pub struct ToHalf;

/// The tensor of this shape that [`ToHalf`] was given, as far as halves tell.
#[derive(Debug, Clone)]
pub struct FromHalf(pub Shape);

impl Op for ToHalf {
    fn name(&self) -> &'static str {
        "to_half"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        match inputs[0].shape.elements() {
            elements if elements.is_multiple_of(QUAD) => Ok(vec![Spec::u32([elements / 2])]),
            _ => Err(mismatch(self.name(), inputs, "a multiple of 4 elements")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for quads in rec.tiles(inputs[0].elements() / QUAD, &[QUAD, WORDS])? {
            let params = to_half::Params { quads: quads.len() as u32 };
            let bindings = [&inputs[0].rows(&quads, QUAD), &outputs[0].rows(&quads, WORDS)];
            rec.dispatch(to_half::VARIANTS, &[], &params, &bindings, quads.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let largest = f64::from(f16::MAX);
        let halves: Vec<u32> =
            inputs[0].iter().map(|x| f16::from_f64(x.clamp(-largest, largest)).to_bits().into()).collect();
        let words = halves.chunks_exact(2).map(|pair| f64::from(pair[0] | (pair[1] << 16)));
        vec![ndarray::Array1::from_iter(words).into_dyn()]
    }
}

impl Op for FromHalf {
    fn name(&self) -> &'static str {
        "from_half"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::U32])?;
        let elements = self.0.elements();
        match inputs[0].shape.elements() {
            words if 2 * words == elements && elements.is_multiple_of(QUAD) => {
                Ok(vec![Spec::f32(self.0.clone())])
            }
            _ => Err(mismatch(self.name(), inputs, &format!("the {} words of {}", elements / 2, self.0))),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for quads in rec.tiles(outputs[0].elements() / QUAD, &[WORDS, QUAD])? {
            let params = from_half::Params { quads: quads.len() as u32 };
            let bindings = [&inputs[0].rows(&quads, WORDS), &outputs[0].rows(&quads, QUAD)];
            rec.dispatch(from_half::VARIANTS, &[], &params, &bindings, quads.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let halves = inputs[0].iter().flat_map(|&word| [word as u32 as u16, (word as u32 >> 16) as u16]);
        let values: Vec<f64> = halves.map(|bits| f64::from(f16::from_bits(bits))).collect();
        vec![shaped(self.0.dims(), values)]
    }
}
