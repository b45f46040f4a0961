//! f32 tensors as f16, two to a u32: what a training step keeps for its backward pass in half the memory.

use half::f16;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::{Array, Op, expect, mismatch, shaped};
use crate::shader::layout::{from_f16, to_f16};
use crate::shape::{DType, Shape, Spec};

/// Elements that an invocation converts, and the words that hold them.
const VEC4: usize = 4;
const WORDS: usize = 2;

/// The f16 values nearest to a tensor of a multiple of 4 elements, [elements / 2] words; what is beyond the largest f16
/// becomes the largest.
#[derive(Debug, Clone, Copy)]
pub struct ToF16;

/// The tensor of this shape that [`ToF16`] was given, rounded to f16.
#[derive(Debug, Clone)]
pub struct FromF16(pub Shape);

impl Op for ToF16 {
    fn name(&self) -> &'static str {
        "to_f16"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        match inputs[0].shape.elements() {
            elements if elements.is_multiple_of(VEC4) => Ok(vec![Spec::u32([elements / 2])]),
            _ => Err(mismatch(self.name(), inputs, "a multiple of 4 elements")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for vec4s in rec.tiles(inputs[0].elements() / VEC4, &[VEC4, WORDS])? {
            let params = to_f16::Params { vec4s: vec4s.len() as u32 };
            let bindings = [&inputs[0].rows(&vec4s, VEC4), &outputs[0].rows(&vec4s, WORDS)];
            rec.dispatch(to_f16::VARIANTS, &[], &params, &bindings, vec4s.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let largest = f64::from(f16::MAX);
        let values: Vec<u32> =
            inputs[0].iter().map(|x| f16::from_f64(x.clamp(-largest, largest)).to_bits().into()).collect();
        let words = values.chunks_exact(2).map(|pair| f64::from(pair[0] | (pair[1] << 16)));
        vec![ndarray::Array1::from_iter(words).into_dyn()]
    }
}

impl Op for FromF16 {
    fn name(&self) -> &'static str {
        "from_f16"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::U32])?;
        let elements = self.0.elements();
        match inputs[0].shape.elements() {
            words if 2 * words == elements && elements.is_multiple_of(VEC4) => {
                Ok(vec![Spec::f32(self.0.clone())])
            }
            _ => Err(mismatch(self.name(), inputs, &format!("the {} words of {}", elements / 2, self.0))),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for vec4s in rec.tiles(outputs[0].elements() / VEC4, &[WORDS, VEC4])? {
            let params = from_f16::Params { vec4s: vec4s.len() as u32 };
            let bindings = [&inputs[0].rows(&vec4s, WORDS), &outputs[0].rows(&vec4s, VEC4)];
            rec.dispatch(from_f16::VARIANTS, &[], &params, &bindings, vec4s.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let values = inputs[0].iter().flat_map(|&word| [word as u32 as u16, (word as u32 >> 16) as u16]);
        let values: Vec<f64> = values.map(|bits| f64::from(f16::from_bits(bits))).collect();
        vec![shaped(self.0.dims(), values)]
    }
}
