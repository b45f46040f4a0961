//! What is measured where a device has several kernels: operations at the sizes of models, and small cases by which their
//! kernels are checked first.

use super::{Arg, Case, Tolerance, attention, matmul, norm};
use crate::gpu::DeviceClass;
use crate::ops::attention::Positions;
use crate::ops::matmul::{MatMul, PlannedMatMul, WeightGradient};
use crate::ops::norm::{LayerNorm, Softmax};

/// An operation that is measured.
pub struct Subject {
    /// Cases that are timed, at sizes of models.
    pub timed: Vec<Case>,
    /// Cases by which a kernel is checked: small, and at the edges of tiles.
    pub checked: Vec<Case>,
}

/// What makes a subject for a class of devices: software adapters get less work. Large operands are made only when it is its
/// turn.
pub type Make<'a> = &'a dyn Fn(DeviceClass) -> Subject;

/// All of them by operation, what models spend most time in first.
pub const SUBJECTS: [(&str, Make<'static>); 6] = [
    ("matmul", &|class| matmuls(class, false)),
    ("matmul", &|class| matmuls(class, true)),
    ("weight_gradient", &weight_gradients),
    ("attention", &attentions),
    ("layer_norm", &layer_norms),
    ("softmax", &softmaxes),
];

fn is_slow(class: DeviceClass) -> bool {
    class == DeviceClass::Cpu
}

/// Rows of a norm.
fn rows(class: DeviceClass) -> usize {
    if is_slow(class) { 512 } else { 8192 }
}

/// Values that are fast to make, between -0.5 and 0.5.
fn filled(dims: &[usize]) -> Arg {
    Arg::f32(dims, |i| ((i * 7919) % 257) as f64 / 257.0 - 0.5)
}

/// By rows, as layers use their weights, and not transposed, as their derivatives do.
fn matmuls(class: DeviceClass, f16_inputs: bool) -> Subject {
    let case = |[m, n, k]: [usize; 3], transpose_b| {
        let op = PlannedMatMul { f16_inputs, ..MatMul { transpose_b, ..MatMul::PLAIN }.into() };
        let args = [filled(&[m, k]), filled(&matmul::stored(k, n, transpose_b))];
        Case::forward(op, &args, Tolerance::Accumulated)
    };
    let both = |sizes: &[[usize; 3]]| -> Vec<Case> {
        sizes.iter().flat_map(|&sizes| [true, false].map(|transpose_b| case(sizes, transpose_b))).collect()
    };
    let timed = if is_slow(class) { [[256; 3], [1024, 1024, 128]] } else { [[512; 3], [2048, 1024, 512]] };
    Subject { timed: both(&timed), checked: both(&[[20, 36, 12], [132, 136, 68]]) }
}

fn weight_gradients(class: DeviceClass) -> Subject {
    let case = |[rows, outputs, inputs]: [usize; 3], f16_inputs| {
        let op = WeightGradient { alpha: 1.0, f16_inputs, norm: None };
        Case::forward(op, &[filled(&[rows, outputs]), filled(&[rows, inputs])], Tolerance::Accumulated)
    };
    let both = |sizes: &[[usize; 3]]| -> Vec<Case> {
        sizes.iter().flat_map(|&sizes| [false, true].map(|f16_inputs| case(sizes, f16_inputs))).collect()
    };
    let timed = if is_slow(class) {
        [[512, 128, 128], [1024, 256, 256]]
    } else {
        [[1024, 256, 256], [4096, 1024, 512]]
    };
    Subject { timed: both(&timed), checked: both(&[[600, 8, 4], [2049, 132, 4]]) }
}

fn attentions(class: DeviceClass) -> Subject {
    let case = |heads, time, columns, lengths: &[u32]| {
        let op = attention::op(heads, Positions::Absent);
        Case::new(op, &attention::args(op, time, columns, lengths), Tolerance::Accumulated)
    };
    Subject {
        timed: vec![if is_slow(class) { case(2, 128, 64, &[128]) } else { case(4, 512, 64, &[512, 400]) }],
        checked: vec![case(2, 9, 8, &[9]), case(3, 70, 4, &[70, 0, 1, 33])],
    }
}

fn layer_norms(class: DeviceClass) -> Subject {
    let case = |dims: [usize; 2]| {
        let args = [filled(&dims), filled(&dims[1..]), filled(&dims[1..])];
        Case::new(LayerNorm { eps: 1e-5 }, &args, Tolerance::Accumulated)
    };
    let checked = [[3, 8], [300, 12], [5, 260]].map(|dims| {
        Case::new(LayerNorm { eps: 1e-5 }, &norm::layer_norm_args(&dims), Tolerance::Accumulated)
    });
    Subject { timed: vec![case([rows(class), 512])], checked: checked.to_vec() }
}

fn softmaxes(class: DeviceClass) -> Subject {
    let case = |args| Case::new(Softmax, &[args], Tolerance::Accumulated);
    Subject {
        timed: vec![case(filled(&[rows(class), 512]))],
        checked: [[3, 4], [70, 64], [5, 260]].map(|dims| case(Arg::normal(&dims, 4))).to_vec(),
    }
}
