//! Peak rates of the adapter: multiply-adds in registers, copies between buffers.

use std::sync::Arc;
use std::time::Duration;

use polymix::exec::{Operand, Recorder};
use polymix::gpu::{DeviceClass, Gpu};
use polymix::graph::Graph;
use polymix::ops::{Array, Op};
use polymix::shader::peak::multiply_add;
use polymix::shape::Spec;
use polymix::{Error, Result};

use super::{Case, Work, percent, race};

/// Rates that no kernel of this device passes by much.
#[derive(Debug, Clone, Copy)]
pub struct Peaks {
    /// Billions of multiply-adds' operations a second, two each.
    pub gflops: f64,
    /// Billions of bytes a second of a copy, read and written.
    pub gbps: f64,
}

/// Elements of the copied tensor: 16 MiB on a CPU; more than a GPU's caches hold.
const COPIED: usize = 1 << 22;
const COPIED_BY_GPU: usize = 1 << 26;
/// Passes of the multiply-add kernel's loop, and operations of an invocation in each.
const PASSES: u32 = 1024;
const OPERATIONS: u64 = 2 * 12 * 8;
/// Invocations: enough to fill a CPU's lanes, and a GPU's.
const INVOCATIONS: usize = 1 << 14;
const INVOCATIONS_OF_GPU: usize = 1 << 20;

/// Chains of multiply-adds over registers.
#[derive(Debug, Clone, Copy)]
struct MultiplyAdd;

impl Op for MultiplyAdd {
    fn name(&self) -> &'static str {
        "multiply_add"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        match inputs {
            [x] => Ok(vec![x.clone()]),
            _ => Err(Error::invalid("multiply_add takes one operand")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let threads = inputs[0].elements();
        let params = multiply_add::Params { elements: threads as u32, passes: PASSES };
        let bindings = [&inputs[0], &outputs[0]];
        rec.dispatch(multiply_add::VARIANTS, &[], &params, &bindings, threads)?;
        rec.flops(u64::from(PASSES) * OPERATIONS * threads as u64);
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0].clone()]
    }
}

impl Peaks {
    /// Measures both, by the device's clock where it has one.
    pub fn measure(gpu: &Arc<Gpu>) -> Result<Self> {
        let (invocations, copied) = match gpu.capabilities().class {
            DeviceClass::Cpu => (INVOCATIONS, COPIED),
            _ => (INVOCATIONS_OF_GPU, COPIED_BY_GPU.min(gpu.capabilities().max_binding as usize / 4)),
        };
        let graph = Graph::new();
        let y = graph.stored("x", Spec::f32([invocations])).apply(MultiplyAdd, &[])?;
        let mut multiply = Case::new(gpu, &Work::new("multiply-add", "", &[y]))?;
        let graph = Graph::new();
        let y = graph.stored("x", Spec::f32([copied])).copy()?;
        let mut copy = Case::new(gpu, &Work::new("copy", "", &[y]))?;
        let (flops, bytes) = (multiply.flops as f64, copy.bytes as f64);
        let times = race(
            &mut [Box::new(|| multiply.kernels()), Box::new(|| copy.kernels())],
            Duration::from_secs(2),
        )?;
        let peaks = Self { gflops: 1e-6 * flops / times[0], gbps: 1e-6 * bytes / times[1] };
        println!("peaks: {:.1} GFLOP/s of multiply-adds, {:.1} GB/s of a copy\n", peaks.gflops, peaks.gbps);
        Ok(peaks)
    }

    /// The share of the roofline: the least milliseconds that the peaks allow by those that were measured.
    pub fn share(&self, flops: u64, bytes: u64, milliseconds: f64) -> f64 {
        let least = 1e-6 * (flops as f64 / self.gflops).max(bytes as f64 / self.gbps);
        least / milliseconds
    }

    /// The columns GFLOP/s, GB/s and share of the roofline.
    pub fn columns(&self, flops: u64, bytes: u64, milliseconds: f64) -> Vec<String> {
        let rate = |amount: u64| match amount {
            0 => String::new(),
            amount => format!("{:.1}", 1e-6 * amount as f64 / milliseconds),
        };
        vec![rate(flops), rate(bytes), percent(self.share(flops, bytes, milliseconds))]
    }
}
