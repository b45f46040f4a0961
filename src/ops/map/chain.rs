//! Several operations on every element in one.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::finish::Finish;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp, expect};
use crate::shader::map::chain;
use crate::shape::{DType, Spec};

/// What a plan makes of operations on every element that follow one another: y is x after its [`Finish`], whose operands
/// follow x. It has no derivative of its own: a plan is made when derivatives are nodes already.
#[derive(Debug, Clone, Copy)]
pub struct Chain(pub Finish);

impl Op for Chain {
    fn name(&self) -> &'static str {
        "chain"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let own = self.0.parts(inputs).own;
        expect(self.name(), own, &[DType::F32])?;
        self.0.check(self.name(), inputs, &own[0])?;
        Ok(own.to_vec())
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let parts = self.0.parts(inputs);
        // Bound for what is not there, and not read.
        let nothing = rec.scratch(DType::U32, [4]);
        for tile in rec.tiles(outputs[0].elements(), &[1])? {
            let (dropout, elements) = (self.0.dropout, tile.len());
            let (x, y) = (parts.own[0].slice(tile.clone()), outputs[0].slice(tile.clone()));
            let other = parts.other.map(|other| other.slice(tile.clone()));
            let params = chain::Params {
                elements: elements as u32,
                first: ((dropout.map_or(0, |dropout| dropout.first) + tile.start) / 4) as u32,
                threshold: dropout.map_or(0, |dropout| dropout.threshold()),
                scale: self.0.factor(),
                stream: dropout.map_or(0, |dropout| dropout.stream),
                place: Finish::place(other.as_ref(), &y),
                time: self.0.frames(outputs[0].dims().get(1).copied().unwrap_or_default()),
                channels: outputs[0].shape().last() as u32,
                start: tile.start as u32,
            };
            let other = other.as_ref().filter(|other| !other.is_same_memory(&y)).unwrap_or(&nothing);
            let [rng, lengths] = [parts.rng, parts.lengths].map(|operand| operand.unwrap_or(&nothing));
            let bindings = [&x, rng, lengths, other, &y];
            rec.dispatch(chain::VARIANTS, &self.0.constants(), &params, &bindings, elements)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let parts = self.0.parts(inputs);
        let x = parts.own[0].as_standard_layout().into_owned();
        vec![self.0.reference(x, &parts)]
    }

    fn vjp(&self, _: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Err(Error::invalid("a chain has no derivative; differentiate the operations that a plan makes it of"))
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        match self.0.other.map(|other| other.operand) {
            Some(1) => &[0, 1],
            Some(2) => &[0, 2],
            Some(3) => &[0, 3],
            _ => &[0],
        }
    }

    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        Some(Arc::new(Self(self.0.with(epilogue, operands)?)))
    }
}
