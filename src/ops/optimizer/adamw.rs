//! AdamW (Loshchilov and Hutter 2019) as PyTorch computes it.

use std::sync::Arc;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Alias, Array, Op, expect, mismatch};
use crate::shader::optimizer::adamw;
use crate::shape::{DType, Spec};

/// One step on a flat arena, in place: operands parameter `[n]`, gradient `[n]`, first moment m `[n]`, second moment
/// v `[n]`, stats `[3]` of [`super::ClipGradNorm`] and hyper `[4]` = (lr, weight decay, 1 − β1^t, 1 − β2^t);
/// results parameter, m and v in the memory of operands 0, 2 and 3.
///
/// g = scale·gradient, m ← β1·m + (1 − β1)·g, v ← β2·v + (1 − β2)·g²,
/// p ← p·(1 − lr·decay) − lr·(m/(1 − β1^t)) / (√(v/(1 − β2^t)) + ε).
///
/// Where stats say that the gradient is not finite, nothing changes.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Decay of the first moment, β1.
    pub beta1: f64,
    /// Decay of the second moment, β2.
    pub beta2: f64,
    /// Summand of the denominator, ε.
    pub eps: f64,
}

impl Op for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 6])?;
        let flat = inputs[0].shape.rank() == 1 && inputs[1..4].iter().all(|spec| *spec == inputs[0]);
        if !flat || inputs[4].shape.dims() != [3] || inputs[5].shape.dims() != [4] {
            return Err(mismatch(self.name(), inputs, "takes four arenas [n], stats [3] and hyper [4]"));
        }
        Ok(vec![inputs[0].clone(); 3])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], _: &[Operand]) -> Result<()> {
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            // 1 − β in f64: in f32 it keeps four digits of 1 − 0.999.
            let params = adamw::Params {
                elements: tile.len() as u32,
                beta1: self.beta1 as f32,
                rest1: (1.0 - self.beta1) as f32,
                beta2: self.beta2 as f32,
                rest2: (1.0 - self.beta2) as f32,
                eps: self.eps as f32,
            };
            let [p, gradient, m, v] = [0, 1, 2, 3].map(|i: usize| inputs[i].slice(tile.clone()));
            let bindings = [&p, &gradient, &m, &v, &inputs[4], &inputs[5]];
            rec.dispatch(adamw::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let [mut p, mut m, mut v] = [0, 2, 3].map(|i: usize| inputs[i].clone());
        let stats: Vec<f64> = inputs[4].iter().copied().collect();
        let hyper: Vec<f64> = inputs[5].iter().copied().collect();
        if stats[2] == 0.0 {
            for (((p, gradient), m), v) in p.iter_mut().zip(inputs[1]).zip(&mut m).zip(&mut v) {
                let g = stats[1] * gradient;
                *m = self.beta1 * *m + (1.0 - self.beta1) * g;
                *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
                let step = (*m / hyper[2]) / ((*v / hyper[3]).sqrt() + self.eps);
                *p = *p * (1.0 - hyper[0] * hyper[1]) - hyper[0] * step;
            }
        }
        vec![p, m, v]
    }

    fn alias(&self, output: usize) -> Option<Alias> {
        [0, 2, 3].get(output).copied().map(Alias::Update)
    }
}

impl Tensor {
    /// One step of `rule` on this arena of parameters `[n]` and its `moments` (m, v), all in place; returns the
    /// new parameters, m and v. See [`AdamW`] for `stats` `[3]` and `hyper` `[4]`.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn adamw(
        &self,
        rule: AdamW,
        gradient: &Tensor,
        moments: [&Tensor; 2],
        stats: &Tensor,
        hyper: &Tensor,
    ) -> Result<Vec<Tensor>> {
        let inputs = [self, gradient, moments[0], moments[1], stats, hyper];
        self.graph().apply(Arc::new(rule), &inputs)
    }
}
