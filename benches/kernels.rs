//! Kernels beside the adapter's peaks, and the matrix products' variants beside each other.
//!
//! `cargo bench --bench kernels`; `POLYMIX_DEVICE` names the adapter. Times are medians by the device's clock. The
//! last column is the share of the roofline: the time that a copy of operands and results, or as many multiply-adds
//! in registers, would take at least. `cargo bench --bench kernels -- --model` times the base model's own products in
//! f32 and f16 instead, as they are chosen; a software driver skips them.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::peaks::Peaks;
use harness::works::{self, Product};
use harness::{Case, Contender, Work, race, table};
use polymix::Result;
use polymix::exec::{Compute, Operand, Recorder};
use polymix::gpu::{Capabilities, Gpu, Tier};
use polymix::graph::Graph;
use polymix::ops::matmul::MatMul;
use polymix::ops::{Array, Op};
use polymix::shader::Kernel;
use polymix::shader::matmul::{
    matmul_register, matmul_register_vec4, matmul_subgroup, matmul_subgroup_u64, matmul_subgroup_vec4,
    matmul_tiled, matmul_tiled_large, matmul_tiled_large_vec4,
};
use polymix::shape::Spec;

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
    for product in works::products(gpu.capabilities().tier) {
        let rungs = Rung::all(gpu.capabilities(), &product);
        let works = std::iter::once(product.work()).chain(rungs.iter().map(|rung| rung.work(&product)));
        let mut cases = works.map(|work| Case::new(&gpu, &work?)).collect::<Result<Vec<_>>>()?;
        let (flops, bytes) = (cases[0].flops, cases[0].bytes);
        let mut contenders: Vec<Contender<'_>> =
            cases.iter_mut().map(|case| Box::new(|| case.kernels()) as Contender<'_>).collect();
        let times = race(&mut contenders, BUDGET)?;
        let names = std::iter::once("as chosen").chain(rungs.iter().map(|rung| rung.kernel.name));
        for (name, time) in names.zip(times) {
            rows.push(row(name.to_owned(), product.shape(), time, peaks.columns(flops, bytes, time)));
        }
    }
    println!("{}", table(&header, &rows));
    Ok(())
}

/// The model's own products, f32 beside f16.
fn model(gpu: &Arc<Gpu>, peaks: &Peaks) -> Result<()> {
    if gpu.capabilities().tier == Tier::Cpu {
        eprintln!("skipped: the base model's products take minutes on a software driver");
        return Ok(());
    }
    let header = ["product", "shape", "compute", "ms", "GFLOP/s", "GB/s", "roofline"];
    let mut rows = Vec::new();
    for compute in [Compute::F32, Compute::F16] {
        for product in works::model_products(compute) {
            let mut case = Case::new(gpu, &product.work()?)?;
            let (flops, bytes) = (case.flops, case.bytes);
            let time = race(&mut [Box::new(|| case.kernels())], MODEL_BUDGET)?[0];
            let mut cells =
                row(product.name.to_owned(), product.shape(), time, peaks.columns(flops, bytes, time));
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

/// One way to multiply.
#[derive(Debug, Clone, Copy)]
struct Rung {
    op: MatMul,
    kernel: &'static Kernel,
    /// Rows and columns of a tile, and how many a workgroup makes.
    tile: [usize; 2],
    tiles: usize,
    /// Invocations of a workgroup, for kernels that ask.
    width: usize,
}

impl Rung {
    /// The kernels that can compute the product on this device.
    fn all(capabilities: &Capabilities, product: &Product) -> Vec<Self> {
        let op = product.op;
        let aligned = op.reads_fours(product.sizes);
        let shares = capabilities.subgroup_operations && capabilities.subgroup == 8;
        let width = capabilities.row_width() as usize;
        let each = |kernel| Self { op, kernel, tile: [16, 16], tiles: width, width };
        let own = |kernel, tile, width| Self { op, kernel, tile, tiles: 1, width };
        let mut rungs = vec![each(&matmul_register::KERNEL)];
        if aligned {
            rungs.push(each(&matmul_register_vec4::KERNEL));
        }
        if shares {
            rungs.push(own(&matmul_subgroup::KERNEL, [32, 32], 1));
        }
        if shares && aligned {
            rungs.push(own(&matmul_subgroup_vec4::KERNEL, [32, 32], 1));
        }
        if shares && aligned && capabilities.int64 {
            rungs.push(own(&matmul_subgroup_u64::KERNEL, [32, 32], 1));
        }
        // Barriers between subgroups take a software driver minutes.
        if capabilities.tier != Tier::Cpu {
            rungs.push(own(&matmul_tiled::KERNEL, [64, 64], 1));
            rungs.push(own(&matmul_tiled_large::KERNEL, [128, 128], 1));
            if aligned {
                rungs.push(own(&matmul_tiled_large_vec4::KERNEL, [128, 128], 1));
            }
            // These round their operands to halves.
            let width = 8 * capabilities.subgroup as usize;
            if let Some(size) = capabilities.cooperative.filter(|_| aligned) {
                rungs.push(own(size.kernel(), [size.tile(); 2], width));
            }
        }
        rungs
    }

    fn work(&self, product: &Product) -> Result<Work> {
        let graph = Graph::new();
        let (a, b) = works::factors(&graph, product.batch, product.sizes, product.op);
        let own = OwnProduct { rung: *self, batch: product.batch, sizes: product.sizes };
        Ok(Work::new(self.kernel.name, product.shape(), &[a.apply(own, &[&b])?]))
    }
}

/// A product by a kernel of one's own choice.
#[derive(Debug, Clone, Copy)]
struct OwnProduct {
    rung: Rung,
    batch: usize,
    sizes: works::Sizes,
}

impl Op for OwnProduct {
    fn name(&self) -> &'static str {
        self.rung.kernel.name
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        self.rung.op.infer(inputs)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let Self { rung, batch, sizes: [m, n, k] } = *self;
        let params = matmul_register::Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            batch: batch as u32,
            batch_stride_a: (m * k) as u32,
            batch_stride_b: (k * n) as u32,
            batch_stride_c: (m * n) as u32,
            alpha: 1.0,
            scale: 1.0,
            ..Default::default()
        };
        let mut overrides = vec![
            ("TRANSPOSE_A", f64::from(u8::from(rung.op.transpose_a))),
            ("TRANSPOSE_B", f64::from(u8::from(rung.op.transpose_b))),
            ("HAS_BIAS", 0.0),
        ];
        if rung.kernel.overrides.contains(&"WIDTH") {
            overrides.push(("WIDTH", rung.width as f64));
        }
        let tiles = batch * m.div_ceil(rung.tile[0]) * n.div_ceil(rung.tile[1]);
        let groups = rec.grid(tiles.div_ceil(rung.tiles));
        let [a, b] = [&inputs[0], &inputs[1]];
        let bindings = [a, b, b, b, b, &outputs[0]];
        rec.dispatch(rung.kernel, &overrides, &params, &bindings, groups)?;
        rec.products(2 * (batch * m * n * k) as u64);
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        self.rung.op.reference(inputs)
    }
}
