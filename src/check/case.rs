//! One operation with operands, and how far its kernels may be from its definition.

use std::fmt;
use std::sync::Arc;

use ndarray::IxDyn;

use crate::error::Result;
use crate::graph::{Graph, Tensor};
use crate::ops::{Array, Op};
use crate::rng::Rng;
use crate::shape::{DType, Spec};

/// How far a kernel in f32 may be from the f64 definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerance {
    /// The same bits: copies, indices, counts.
    Exact,
    /// A few roundings an element: 4e-6 of the element or of 1, whichever is larger.
    Elementwise,
    /// Sums and products: 2e-5 of the tensor's largest magnitude or of 1, whichever is larger.
    Accumulated,
    /// Results stored in f16: 2⁻¹¹ for the rounding and the bound of [`Self::Accumulated`], of the tensor's largest
    /// magnitude or of 1, whichever is larger.
    F16,
}

impl Tolerance {
    /// The largest error that is allowed.
    pub fn bound(self) -> f64 {
        match self {
            Self::Exact => 0.0,
            Self::Elementwise => 4e-6,
            Self::Accumulated => 2e-5,
            Self::F16 => 1.0 / 2048.0 + 2e-5,
        }
    }

    /// The error of `got`, in the unit of [`Tolerance::bound`]; `largest` is the tensor's largest magnitude. What is not a
    /// number is infinitely far from all others.
    pub fn error(self, got: f64, wanted: f64, largest: f64) -> f64 {
        if got == wanted {
            return 0.0;
        }
        let error = match self {
            Self::Exact => (got - wanted).abs(),
            Self::Elementwise => (got - wanted).abs() / wanted.abs().max(1.0),
            Self::Accumulated | Self::F16 => (got - wanted).abs() / largest.max(1.0),
        };
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

/// One operand of a case.
#[derive(Debug, Clone)]
pub struct Arg {
    /// Its type.
    pub dtype: DType,
    /// Its values, as its type holds them.
    pub values: Array,
}

impl Arg {
    fn new(dtype: DType, dims: &[usize], values: impl Iterator<Item = f64>) -> Self {
        let mut values = values;
        let values = Array::from_shape_simple_fn(IxDyn(dims), || values.next().unwrap_or_default());
        Self { dtype, values }
    }

    /// An f32 operand; the values are rounded to f32 so that both executors see the same.
    pub fn f32(dims: &[usize], values: impl FnMut(usize) -> f64) -> Self {
        Self::new(DType::F32, dims, (0..).map(values).map(|x| f64::from(x as f32)))
    }

    /// Standard normal values.
    pub fn normal(dims: &[usize], seed: u32) -> Self {
        let mut rng = Rng::new(&[seed, 77]);
        Self::f32(dims, |_| rng.normal())
    }

    /// A u32 operand.
    pub fn u32(dims: &[usize], values: impl FnMut(usize) -> u32) -> Self {
        Self::new(DType::U32, dims, (0..).map(values).map(f64::from))
    }

    /// Shape and type.
    pub fn spec(&self) -> Spec {
        Spec { shape: self.values.shape().into(), dtype: self.dtype }
    }

    /// Element `i` in row-major order, or 0 beyond the last.
    pub fn at(&self, i: usize) -> f64 {
        self.values.as_slice().and_then(|values| values.get(i)).copied().unwrap_or_default()
    }

    /// The bits of its elements, as a device takes them.
    pub fn bits(&self) -> Vec<u32> {
        bits(&self.values, self.dtype)
    }
}

/// The f16 next to `x`.
pub(super) fn nearest_f16(x: f64) -> f64 {
    f64::from(half::f16::from_f64(x))
}

/// The elements of `values` as words of type `dtype`.
pub(super) fn bits(values: &Array, dtype: DType) -> Vec<u32> {
    values.iter().map(|&x| if dtype == DType::U32 { x as u32 } else { (x as f32).to_bits() }).collect()
}

/// Adds the operation to a graph.
type Apply = dyn Fn(&Graph, &[&Tensor]) -> Result<Vec<Tensor>> + Send + Sync;

/// An operation with operands: what its kernels give is compared with its definition, and where gradients arrive what its
/// derivative's kernels give with the derivative's.
#[derive(Clone)]
pub struct Case {
    /// The operation.
    pub op: Arc<dyn Op>,
    /// Its operands.
    pub args: Vec<Arg>,
    /// How far its kernels may be off.
    pub tolerance: Tolerance,
    /// So many of its outputs, the first ones, get a gradient.
    pub differentiable: usize,
    /// Whether its operands, its results and their gradients are stored in f16, where kernels can.
    pub in_f16: bool,
    apply: Arc<Apply>,
}

impl Case {
    /// A case with a gradient that arrives at the operation's first output.
    pub fn new(op: impl Op + 'static, args: &[Arg], tolerance: Tolerance) -> Self {
        Self::outputs(op, args, tolerance, 1)
    }

    /// A case of an operation without a derivative, or one that is not looked at.
    pub fn forward(op: impl Op + 'static, args: &[Arg], tolerance: Tolerance) -> Self {
        Self::outputs(op, args, tolerance, 0)
    }

    /// A case with gradients that arrive at the first `differentiable` outputs.
    pub fn outputs(op: impl Op + 'static, args: &[Arg], tolerance: Tolerance, differentiable: usize) -> Self {
        let op = Arc::new(op);
        let node = op.clone();
        let apply = move |graph: &Graph, inputs: &[&Tensor]| graph.apply(node.clone(), inputs);
        Self { op, args: args.to_vec(), tolerance, differentiable, in_f16: false, apply: Arc::new(apply) }
    }

    /// The same case, of operands that f16 holds exactly, in a plan of [`Compute::F16`](crate::exec::Compute::F16).
    #[must_use]
    pub fn in_f16(mut self) -> Self {
        let floats = self.args.iter_mut().filter(|arg| arg.dtype == DType::F32);
        floats.for_each(|arg| arg.values.mapv_inplace(nearest_f16));
        Self { tolerance: Tolerance::F16, in_f16: true, ..self }
    }

    /// The operation's results in `graph`.
    pub(super) fn apply(&self, graph: &Graph, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        (self.apply)(graph, inputs)
    }

    /// Elements of all operands.
    pub fn elements(&self) -> usize {
        self.args.iter().map(|arg| arg.values.len()).sum()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<String> = self.args.iter().map(|arg| arg.spec().shape.to_string()).collect();
        write!(f, "{:?} of {}", self.op, shapes.join(", "))
    }
}
