//! Additive angular margin: classes that are told apart by angles.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::loss::{angular_margin, angular_margin_backward};
use crate::shape::{DType, Spec};

/// Of cosines `[rows, classes]` and targets u32 `[rows]`: the cosines, of which that of each row's target has the
/// margin m added to its angle θ: cos(θ + m) where θ + m < π, and beyond cos θ − m·sin m, which keeps falling.
///
/// sin θ is taken as 1e-3 where it is smaller. A row whose target is no class stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct AngularMargin {
    /// Radians.
    pub margin: f32,
}

/// The lower bound of sin² θ.
const LEAST_SQUARE: f64 = 1e-6;

impl AngularMargin {
    fn value_and_derivative(self, x: f64) -> (f64, f64) {
        let (sine, cosine) = f64::from(self.margin).sin_cos();
        if x <= -cosine {
            return (x - f64::from(self.margin) * sine, 1.0);
        }
        let square = (1.0 - x * x).max(LEAST_SQUARE);
        let inner = if square > LEAST_SQUARE { sine * x / square.sqrt() } else { 0.0 };
        (x * cosine - square.sqrt() * sine, cosine + inner)
    }

    /// cos m, sin m, m·sin m.
    fn constants(self) -> [f32; 3] {
        let margin = f64::from(self.margin);
        [margin.cos(), margin.sin(), margin * margin.sin()].map(|value| value as f32)
    }
}

fn check(op: &str, inputs: &[Spec]) -> Result<()> {
    match [inputs[0].shape.dims(), inputs[1].shape.dims()] {
        [[rows, classes], [targets]] if rows == targets && *classes > 0 => Ok(()),
        _ => Err(mismatch(op, inputs, "cosines [rows, classes] with classes above 0 and targets [rows]")),
    }
}

impl Op for AngularMargin {
    fn name(&self) -> &'static str {
        "angular_margin"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32])?;
        check(self.name(), inputs)?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [cosine, sine, shift] = self.constants();
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = angular_margin::Params {
                elements: tile.len() as u32,
                columns: inputs[0].shape().last() as u32,
                first: tile.start as u32,
                cosine,
                sine,
                shift,
            };
            let bindings = [&inputs[0].slice(tile.clone()), &inputs[1], &outputs[0].slice(tile.clone())];
            rec.dispatch(angular_margin::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut y = inputs[0].clone();
        for (mut row, &target) in y.rows_mut().into_iter().zip(inputs[1]) {
            if let Some(own) = row.get_mut(target as usize) {
                *own = self.value_and_derivative(*own).0;
            }
        }
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let op = AngularMarginBackward(*self);
        Ok(vec![Some(ctx.inputs[0].apply(op, &[&ctx.inputs[1], ctx.dy()?])?), None])
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }
}

/// cosines, targets, dy → dx.
#[derive(Debug, Clone, Copy)]
struct AngularMarginBackward(AngularMargin);

impl Op for AngularMarginBackward {
    fn name(&self) -> &'static str {
        "angular_margin_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32, DType::F32])?;
        check(self.name(), inputs)?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [cosine, sine, shift] = self.0.constants();
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = angular_margin_backward::Params {
                elements: tile.len() as u32,
                columns: inputs[0].shape().last() as u32,
                first: tile.start as u32,
                cosine,
                sine,
                shift,
            };
            let [x, dy] = [0, 2].map(|i: usize| inputs[i].slice(tile.clone()));
            let bindings = [&x, &inputs[1], &dy, &outputs[0].slice(tile.clone())];
            rec.dispatch(angular_margin_backward::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut dx = inputs[2].clone();
        let rows = inputs[0].rows().into_iter().zip(inputs[1]);
        for (mut dx, (row, &target)) in dx.rows_mut().into_iter().zip(rows) {
            if let Some((own, &x)) = dx.get_mut(target as usize).zip(row.get(target as usize)) {
                *own *= self.0.value_and_derivative(x).1;
            }
        }
        vec![dx]
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[2]
    }
}

impl Tensor {
    /// These cosines `[rows, classes]` with `margin` radians added to the angle of each row's target, u32 `[rows]`.
    ///
    /// # Errors
    /// When the shapes or types are others.
    pub fn angular_margin(&self, targets: &Tensor, margin: f32) -> Result<Tensor> {
        self.apply(AngularMargin { margin }, &[targets])
    }
}
