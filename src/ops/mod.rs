//! Operations, one folder a family, mirrored by `shaders/<family>/`.
//!
//! An operation holds hyper-parameters only. It checks shapes in [`Op::infer`], chooses and dispatches
//! kernels in [`Op::record`], is defined by [`Op::reference`] and differentiated by [`Op::vjp`].

pub mod attention;
pub mod conv;
pub mod ctc;
pub mod finish;
pub mod layout;
pub mod loss;
pub mod map;
pub mod mask;
pub mod matmul;
pub mod norm;
pub mod optimizer;
pub mod pom;
pub mod quantizer;
pub mod random;
pub mod reduce;
pub mod scan;

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::shape::{DType, Spec};

/// An f64 array of the reference executor; u32 tensors are exact whole numbers.
pub type Array = ndarray::ArrayD<f64>;

/// The array of shape `dims` with the elements `flat`, for definitions.
///
/// # Panics
/// When they are not as many: a definition that gave zeros instead would agree with a kernel that gives zeros.
fn shaped(dims: &[usize], flat: Vec<f64>) -> Array {
    Array::from_shape_vec(dims, flat).expect("a definition makes as many elements as its shape has")
}

/// The context of a node's derivative.
#[derive(Debug)]
pub struct Vjp {
    /// The node's operands.
    pub inputs: Vec<Tensor>,
    /// The node's results.
    pub outputs: Vec<Tensor>,
    /// The gradient of each result, where one arrives.
    pub grads: Vec<Option<Tensor>>,
    /// Which operands need a gradient.
    pub needed: Vec<bool>,
}

impl Vjp {
    /// The gradient of the first result.
    ///
    /// # Errors
    /// When no gradient arrives there: the loss depends on an auxiliary output only.
    pub fn dy(&self) -> Result<&Tensor> {
        let first = self.grads.first().and_then(Option::as_ref);
        first.ok_or_else(|| Error::invalid("a gradient arrives at an auxiliary output only"))
    }
}

/// One operation of the graph.
pub trait Op: Debug + Send + Sync {
    /// The stem of its kernel.
    fn name(&self) -> &'static str;

    /// Shapes and types of the results; the only place where operands are checked.
    ///
    /// # Errors
    /// When the operands do not fit, with their shapes.
    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>>;

    /// Chooses the kernel variant, fills its parameters and dispatches it.
    ///
    /// # Errors
    /// When the device's limits do not suffice.
    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()>;

    /// The definition of the operation: plain f64 loops.
    fn reference(&self, inputs: &[&Array]) -> Vec<Array>;

    /// Gradients of the operands (`None` where there is none), as nodes of the graph.
    ///
    /// # Errors
    /// When a node cannot be built.
    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None; ctx.inputs.len()])
    }

    /// Whether results are as well recomputed as kept for a derivative that reads them: copies, and work element by
    /// element or row by row.
    fn recomputable(&self) -> bool {
        false
    }

    /// The operands whose memory output `output` may take, the better ones first: the invocation that writes an
    /// element has read it before, and no dispatch reads it later. The kernel says in WGSL that the one binding "may be" the other.
    fn in_place(&self, output: usize) -> &[usize] {
        let _ = output;
        &[]
    }

    /// The operand whose memory output `output` always is.
    fn alias(&self, output: usize) -> Option<Alias> {
        let _ = output;
        None
    }

    /// The same operation with operands rounded to f16, for plans of [`Compute::F16`](crate::exec::Compute::F16); `None` where there is none.
    fn with_f16_inputs(&self) -> Option<Arc<NodeOp>> {
        None
    }

    /// The epilogue that this elementwise operation is, if it can be one: another operation may compute it with its own
    /// result.
    fn epilogue(&self) -> Option<Epilogue> {
        None
    }

    /// This operation on its `operands` operands with `epilogue` on its first result. The epilogue's further operand
    /// follows them.
    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        let _ = (epilogue, operands);
        None
    }

    /// The prologue that recomputes its first result from its first operand, if another operation can apply it as it reads.
    fn prologue(&self) -> Option<Prologue> {
        None
    }

    /// This operation with `prologue` applied to operand `operand`. The first operand of the operation that made it
    /// stands in its place then, and that operation's further operands and results follow all others.
    fn with_prologue(&self, prologue: Prologue, operand: usize) -> Option<Arc<NodeOp>> {
        let _ = (prologue, operand);
        None
    }
}

/// How an output shares the memory of an operand, by the operand's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// The same elements under another shape.
    View(usize),
    /// New elements in place of the operand's.
    Update(usize),
}

impl Alias {
    /// The operand's index.
    pub fn operand(self) -> usize {
        match self {
            Self::View(operand) | Self::Update(operand) => operand,
        }
    }
}

/// Work element by element that needs nothing but the element and its number.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Epilogue {
    /// Applies an activation.
    Activation(map::ActivationKind),
    /// Drops elements at random; the further operand is rng.
    Dropout(random::Dropout),
    /// Multiplies by a constant.
    Scale(f32),
    /// Sets frames behind the lengths, the further operand, to 0.
    Mask,
    /// Adds the further operand. The two may change places.
    Add,
    /// Multiplies by the derivative of an activation at the further operand.
    Derivative(map::ActivationKind),
}

/// A transformation of an operand as it is read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Prologue {
    /// Normalizes it, by the mean and rstd that were found before.
    LayerNorm(norm::LayerNorm),
}

/// The part of an operation that plans need: without the feature `autograd` a graph keeps no more of it, and definitions,
/// derivatives and their kernels are left out of the program.
pub trait Recorded: Debug + Send + Sync {
    /// See [`Op::name`].
    fn name(&self) -> &'static str;

    /// See [`Op::record`].
    ///
    /// # Errors
    /// See [`Op::record`].
    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()>;

    /// See [`Op::in_place`].
    fn in_place(&self, output: usize) -> &[usize];

    /// See [`Op::alias`].
    fn alias(&self, output: usize) -> Option<Alias>;

    /// See [`Op::with_f16_inputs`].
    fn with_f16_inputs(&self) -> Option<Arc<NodeOp>>;

    /// See [`Op::epilogue`].
    fn epilogue(&self) -> Option<Epilogue>;

    /// See [`Op::with_epilogue`].
    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>>;
}

impl<O: Op> Recorded for O {
    fn name(&self) -> &'static str {
        Op::name(self)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        Op::record(self, rec, inputs, outputs)
    }

    fn in_place(&self, output: usize) -> &[usize] {
        Op::in_place(self, output)
    }

    fn alias(&self, output: usize) -> Option<Alias> {
        Op::alias(self, output)
    }

    fn with_f16_inputs(&self) -> Option<Arc<NodeOp>> {
        Op::with_f16_inputs(self)
    }

    fn epilogue(&self) -> Option<Epilogue> {
        Op::epilogue(self)
    }

    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        Op::with_epilogue(self, epilogue, operands)
    }
}

/// The operation of a graph's node.
#[cfg(feature = "autograd")]
pub type NodeOp = dyn Op;
/// The operation of a graph's node.
#[cfg(not(feature = "autograd"))]
pub type NodeOp = dyn Recorded;

/// Checks the number of operands and their types.
///
/// # Errors
/// With the operation's name, what it takes and what it got.
pub fn expect(op: &str, inputs: &[Spec], types: &[DType]) -> Result<()> {
    let got: Vec<DType> = inputs.iter().map(|spec| spec.dtype).collect();
    if got == types {
        return Ok(());
    }
    Err(Error::shape(op, format!("takes operands of types {types:?}, got {got:?}")))
}

/// A shape error of `op` that shows all operands.
pub fn mismatch(op: &str, inputs: &[Spec], wanted: &str) -> Error {
    let shapes: Vec<String> = inputs.iter().map(|spec| spec.shape.to_string()).collect();
    Error::shape(op, format!("{wanted}; got {}", shapes.join(", ")))
}
