//! The report of a check.

use std::collections::BTreeMap;

use serde::Serialize;

/// One kernel of one operation.
#[derive(Debug, Clone, Serialize)]
pub struct KernelReport {
    /// The operation.
    pub op: &'static str,
    /// The kernel: family, stem and variant.
    pub kernel: &'static str,
    /// Runs that it was part of.
    pub runs: usize,
    /// The error of these runs that came closest to what is allowed, or passed it farthest.
    pub worst_error: f64,
    /// The error that is allowed there.
    pub bound: f64,
    /// Milliseconds of the run that bound most; nothing where the adapter cannot tell.
    pub milliseconds: Option<f64>,
    /// Billions of operations of products a second in that run.
    pub gflops_per_second: Option<f64>,
    /// Billions of bound bytes a second in it.
    pub gigabytes_per_second: Option<f64>,
    /// Bytes bound in it.
    #[serde(skip)]
    pub bytes: u64,
}

/// A training step beside that of the reference executor.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Precision of the products.
    pub compute: String,
    /// Number of the step, from 1.
    pub step: usize,
    /// The compared value: the loss, a gradient, a parameter.
    pub value: String,
    /// The largest error of all values of the step, of the largest magnitude of its tensor.
    pub worst_error: f64,
    /// The error that is allowed.
    pub bound: f64,
}

/// A part that was skipped, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Left {
    /// The operation or kernel.
    pub what: String,
    /// The reason.
    pub reason: String,
}

/// All that a check found out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Every kernel that ran.
    pub kernels: Vec<KernelReport>,
    /// Training steps.
    pub steps: Vec<StepReport>,
    /// The fault, in words.
    pub wrong: Vec<String>,
    /// Kernels that are wrong, or slower than what takes their place, with the reason.
    pub set_aside: BTreeMap<String, String>,
    /// The part that was skipped.
    pub left: Vec<Left>,
    /// Cases that ran, of so many.
    pub cases: [usize; 2],
    /// Seconds that it took.
    pub seconds: f64,
}

impl Report {
    /// Adds training steps.
    pub fn add_steps(&mut self, steps: Vec<StepReport>) {
        let wrong = steps.iter().filter(|step| step.worst_error.is_nan() || step.worst_error > step.bound);
        self.wrong.extend(wrong.map(|StepReport { compute, step, value, worst_error, bound }| {
            format!("training in {compute}, step {step}: {value} are off by {worst_error:.1e}, {bound:.0e} is allowed")
        }));
        self.steps.extend(steps);
    }

    /// Whether everything that ran was right.
    pub fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }
}
