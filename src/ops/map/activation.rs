//! Activations: GELU (erf), SiLU, ReLU, LeakyReLU, sigmoid, two with bounds, softplus.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Chain;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::finish::Finish;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp, expect};
use crate::shader::map::{activation, activation_backward};
use crate::shape::{DType, Spec};

/// Which activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ActivationKind {
    /// x·Φ(x) with the normal distribution function Φ, the exact erf form.
    Gelu,
    /// x·σ(x).
    Silu,
    /// max(x, 0).
    Relu,
    /// x above 0, 0.01·x below.
    LeakyRelu,
    /// σ(x) = 1/(1 + e^−x).
    Sigmoid,
    /// LeakyReLU between −0.1 and 6.
    BoundedLeakyRelu,
    /// min(max(x + 3, 0), 6)/6.
    HardSigmoid,
    /// ln(1 + e^x); its derivative is σ(x).
    Softplus,
}

impl ActivationKind {
    /// Its number in `shared/activation`.
    pub(crate) fn code(self) -> f64 {
        f64::from(self as u8)
    }

    /// f(x) and f'(x) in f64.
    pub fn value_and_derivative(self, x: f64) -> (f64, f64) {
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Gelu => {
                let cdf = 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2));
                let pdf = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                (x * cdf, cdf + x * pdf)
            }
            Self::Silu => (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid))),
            Self::Relu => (x.max(0.0), f64::from(u8::from(x > 0.0))),
            Self::LeakyRelu if x > 0.0 => (x, 1.0),
            Self::LeakyRelu => (0.01 * x, 0.01),
            Self::Sigmoid => (sigmoid, sigmoid * (1.0 - sigmoid)),
            Self::BoundedLeakyRelu => {
                let (value, derivative) = Self::LeakyRelu.value_and_derivative(x);
                (value.clamp(-0.1, 6.0), if (-0.1..=6.0).contains(&value) { derivative } else { 0.0 })
            }
            Self::HardSigmoid => {
                let inside = x > -3.0 && x < 3.0;
                ((x + 3.0).clamp(0.0, 6.0) / 6.0, if inside { 1.0 / 6.0 } else { 0.0 })
            }
            Self::Softplus => (x.max(0.0) + (-x.abs()).exp().ln_1p(), sigmoid),
        }
    }
}

/// erf by its Taylor series below 3 and its continued fraction above; within 1e-12.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-18 * sum.abs() && n < 200.0 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..=60).rev().fold(a, |f, k| a + f64::from(k) / 2.0 / f);
        1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

/// y = f(x), element by element.
#[derive(Debug, Clone, Copy)]
pub struct Activation(pub ActivationKind);

impl Op for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = activation::Params { elements: tile.len() as u32 };
            let bindings = [&inputs[0].slice(tile.clone()), &outputs[0].slice(tile.clone())];
            rec.dispatch(activation::VARIANTS, &[("KIND", self.0.code())], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0].mapv(|x| self.0.value_and_derivative(x).0)]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.apply(ActivationBackward(self.0), &[&ctx.inputs[0]])?)])
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }

    fn epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue::Activation(self.0))
    }

    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        Chain(Finish { activation: Some(self.0), ..Finish::NONE }).with_epilogue(epilogue, operands)
    }
}

/// dy, x → dx = f'(x) ∘ dy.
#[derive(Debug, Clone, Copy)]
struct ActivationBackward(ActivationKind);

impl Op for ActivationBackward {
    fn name(&self) -> &'static str {
        "activation_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = activation_backward::Params { elements: tile.len() as u32 };
            let [dy, x] = [0, 1].map(|i: usize| inputs[i].slice(tile.clone()));
            let bindings = [&x, &dy, &outputs[0].slice(tile.clone())];
            rec.dispatch(
                activation_backward::VARIANTS,
                &[("KIND", self.0.code())],
                &params,
                &bindings,
                tile.len(),
            )?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut dx = inputs[1].mapv(|x| self.0.value_and_derivative(x).1);
        dx *= inputs[0];
        vec![dx]
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }

    fn epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue::Derivative(self.0))
    }
}

impl Tensor {
    /// f(x), element by element.
    ///
    /// # Errors
    /// When the tensor is not f32.
    pub fn activation(&self, kind: ActivationKind) -> Result<Tensor> {
        self.apply(Activation(kind), &[])
    }
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn erf_known_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, value) in
            [(0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0), (3.5, 0.999_999_256_9)]
        {
            assert!((erf(x) - value).abs() < 1e-10 && erf(-x) == -erf(x), "{x}");
        }
        assert!((erf(2.999_999_999) - erf(3.0)).abs() < 1e-12, "the two forms meet");
    }
}
