//! Kernels beside the adapter's peaks, and the variants of the matmul beside each other.
//!
//! `cargo bench --bench kernels`; `POLYMIX_DEVICE` names the adapter. Times are medians by the device's clock. The
//! last column is the share of the roofline: the time that a copy of operands and results, or as many multiply-adds
//! in registers, would take at least. `cargo bench --bench kernels -- --model` times the base model's own matmuls in
//! f32 and f16 instead, as they are chosen; a software driver skips them.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::peaks::Peaks;
use harness::works;
use harness::{Case, Contender, Work, race, table};
use polymix::Result;
use polymix::exec::{Compute, Plan};
use polymix::gpu::{Capabilities, DeviceClass, Gpu};
use polymix::shader::matmul::matmul;
use polymix::shader::{Variant, Workgroup};

/// Time for one comparison.
const BUDGET: Duration = Duration::from_millis(1500);
const MODEL_BUDGET: Duration = Duration::from_millis(300);

fn main() -> Result<()> {
    let gpu = harness::device()?;
    let peaks = Peaks::measure(&gpu)?;
    if std::env::args().any(|argument| argument == "--model") {
        return model(&gpu, &peaks);
    }
    let header = ["kernel", "shape", "ms", "GFLOP/s", "GB/s", "roofline"];
    let mut rows = Vec::new();
    for work in works::kernels()? {
        let mut case = Case::new(&gpu, &work)?;
        let (flops, bytes) = (case.flops, case.bytes);
        let time = race(&mut [Box::new(|| case.kernels())], BUDGET)?[0];
        rows.push(row(work.name, work.shape, time, peaks.columns(flops, bytes, time)));
    }
    println!("{}", table(&header, &rows));

    let mut rows = Vec::new();
    for matmul in works::matmuls(gpu.capabilities().class) {
        let works = [matmul.work()?, matmul.work_in_f16()?];
        let (mut names, mut cases) = (vec!["as chosen"], vec![Case::new(&gpu, &works[0])?]);
        for work in &works {
            for plan in plans(gpu.capabilities(), work)? {
                let name = plan.dispatches[0].kernel.name;
                if !names.contains(&name) {
                    names.push(name);
                    cases.push(Case::of(&gpu, work, plan)?);
                }
            }
        }
        let (flops, bytes) = (cases[0].flops, cases[0].bytes);
        let mut contenders: Vec<Contender<'_>> =
            cases.iter_mut().map(|case| Box::new(|| case.kernels()) as Contender<'_>).collect();
        let times = race(&mut contenders, BUDGET)?;
        for (name, time) in names.into_iter().zip(times) {
            rows.push(row(name.to_owned(), matmul.shape(), time, peaks.columns(flops, bytes, time)));
        }
    }
    println!("{}", table(&header, &rows));
    Ok(())
}

/// The model's own matmuls, f32 beside f16.
fn model(gpu: &Arc<Gpu>, peaks: &Peaks) -> Result<()> {
    if gpu.capabilities().class == DeviceClass::Cpu {
        eprintln!("skipped: the base model's matmuls take minutes on a software driver");
        return Ok(());
    }
    let header = ["matmul", "shape", "compute", "ms", "GFLOP/s", "GB/s", "roofline"];
    let mut rows = Vec::new();
    for compute in [Compute::F32, Compute::F16] {
        for matmul in works::model_matmuls(compute) {
            let mut case = Case::new(gpu, &matmul.work()?)?;
            let (flops, bytes) = (case.flops, case.bytes);
            let time = race(&mut [Box::new(|| case.kernels())], MODEL_BUDGET)?[0];
            let mut cells =
                row(matmul.name.to_owned(), matmul.shape(), time, peaks.columns(flops, bytes, time));
            cells.insert(2, format!("{compute:?}").to_lowercase());
            rows.push(cells);
        }
    }
    println!("{}", table(&header, &rows));
    Ok(())
}

fn row(name: String, shape: String, milliseconds: f64, rates: Vec<String>) -> Vec<String> {
    [vec![name, shape, format!("{milliseconds:.3}")], rates].concat()
}

/// Plans of a matmul in all variants that run on this device.
fn plans(own: &Capabilities, work: &Work) -> Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for alternative in 1..=matmul::VARIANTS.len() as u32 {
        let plan = Case::plan(&Capabilities { alternative, ..own.clone() }, work)?;
        // Barriers between subgroups take a software driver minutes.
        let large =
            |variant: &Variant| matches!(variant.workgroup, Workgroup::Fixed(size) if size > own.subgroup);
        let is_slow =
            |variant: &&Variant| variant.kernel.name == plan.dispatches[0].kernel.name && large(variant);
        if own.class != DeviceClass::Cpu || !matmul::VARIANTS.iter().copied().any(|variant| is_slow(&variant))
        {
            plans.push(plan);
        }
    }
    Ok(plans)
}
