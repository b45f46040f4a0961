//! Self-test of cooperative matrices: correctness and speed of an adapter's driver; not compiled for browsers, which have
//! none.

use std::sync::Arc;

use ndarray::Array2;
use web_time::Instant;

use super::executor::{Executor, Loaded};
use super::options::PlanOptions;
use super::plan::Plan;
use crate::error::Result;
use crate::gpu::{Capabilities, DeviceClass, Gpu, MatrixSelfTest};
use crate::graph::Graph;
use crate::ops::matmul::{MatMul, PlannedMatMul};
use crate::shape::Spec;

/// Runs whose bits are compared: a race shows in some of them.
const RUNS: usize = 8;
/// A driver that emulates matrices needs a thousand times as long; one that needs this much longer is not given a large matmul.
const EMULATED: f64 = 8.0;

/// A matmul of m by k and k by n whose elements are whole numbers that f16 and the sums hold exactly.
#[derive(Clone, Copy)]
struct Sample {
    m: usize,
    n: usize,
    k: usize,
    transpose_a: bool,
    transpose_b: bool,
    /// Elements of the arena before each factor.
    offset: usize,
}

fn element(seed: usize, row: usize, column: usize) -> f32 {
    ((row * 7 + column * 13 + row * column * 3 + seed * 5) % 17) as f32 - 8.0
}

impl Sample {
    fn factors(&self) -> [Array2<f32>; 2] {
        [
            Array2::from_shape_fn((self.m, self.k), |(row, column)| element(1, row, column)),
            Array2::from_shape_fn((self.k, self.n), |(row, column)| element(2, row, column)),
        ]
    }

    /// The plan of the matmul on the device, with its operands there.
    async fn load(&self, gpu: &Arc<Gpu>, capabilities: &Capabilities) -> Result<(Executor, Loaded)> {
        let stored = |[rows, columns]: [usize; 2], transposed| {
            if transposed { [columns, rows] } else { [rows, columns] }
        };
        let a = Spec::f32(stored([self.m, self.k], self.transpose_a));
        let b = Spec::f32(stored([self.k, self.n], self.transpose_b));
        let graph = Graph::new();
        let matmul = MatMul { transpose_a: self.transpose_a, transpose_b: self.transpose_b, ..MatMul::PLAIN };
        let op = PlannedMatMul { f16_inputs: true, ..matmul.into() };
        let c = graph.stored("a", a.clone()).apply(op, &[&graph.stored("b", b.clone())])?;
        let plan = Plan::compile(&graph, &[("c", &c)], PlanOptions::default(), capabilities)?;
        let mut executor = Executor::new(gpu.clone());
        let gap = |name: &str| (name.to_owned(), Spec::f32([self.offset.max(1)]));
        let parts = match self.offset {
            0 => vec![("a".to_owned(), a), ("b".to_owned(), b)],
            _ => vec![gap("before a"), ("a".to_owned(), a), gap("before b"), ("b".to_owned(), b)],
        };
        executor.store.arena(gpu, "a sample's factors", &parts)?;
        for ((name, transposed), factor) in
            [("a", self.transpose_a), ("b", self.transpose_b)].into_iter().zip(self.factors())
        {
            let factor = if transposed { factor.reversed_axes() } else { factor };
            let elements: Vec<f32> = factor.iter().copied().collect();
            executor.store.write(gpu, name, &elements)?;
        }
        let loaded = executor.load(plan).await?;
        Ok((executor, loaded))
    }

    /// The fault of the result, if any.
    async fn fault(&self, gpu: &Arc<Gpu>, capabilities: &Capabilities) -> Result<Option<&'static str>> {
        let [a, b] = self.factors();
        let wanted = a.dot(&b);
        let (executor, mut loaded) = self.load(gpu, capabilities).await?;
        for _ in 0..RUNS {
            executor.poison(&loaded)?;
            executor.run(&mut loaded)?;
            let got: Vec<f32> = executor.read(&loaded, "c").await?;
            if !got.iter().eq(wanted.iter()) {
                return Ok(Some("they give wrong results"));
            }
        }
        Ok(None)
    }

    /// Milliseconds of the matmul, the fastest of three.
    async fn milliseconds(&self, gpu: &Arc<Gpu>, capabilities: &Capabilities) -> Result<f64> {
        let (executor, mut loaded) = self.load(gpu, capabilities).await?;
        let mut best = f64::INFINITY;
        for run in 0..4 {
            gpu.wait()?;
            let began = Instant::now();
            let times = executor.time(&mut loaded).await?;
            gpu.wait()?;
            let elapsed = match times.is_empty() {
                true => began.elapsed().as_secs_f64() * 1e3,
                false => times.iter().map(|time| time.milliseconds).sum(),
            };
            // The first one warms up.
            best = if run == 0 { best } else { best.min(elapsed) };
        }
        Ok(best)
    }
}

/// Multiplies with cooperative matrices what has one exact result in any arithmetic, at several sizes, forms and offsets, and
/// times them beside the kernel that would take their place.
pub(crate) async fn matrices(gpu: &Arc<Gpu>) -> MatrixSelfTest {
    let mut self_test = MatrixSelfTest::default();
    if let Err(error) = attempt(gpu, &mut self_test).await {
        self_test.fault = Some(error.to_string());
    }
    self_test
}

async fn attempt(gpu: &Arc<Gpu>, self_test: &mut MatrixSelfTest) -> Result<()> {
    let own = gpu.capabilities();
    // Also where the rule would take another kernel, so that tests may run this one.
    let with = Capabilities { class: DeviceClass::Discrete, ..own.clone() };
    let sample = |[m, n, k]: [usize; 3], (transpose_a, transpose_b), offset| Sample {
        m,
        n,
        k,
        transpose_a,
        transpose_b,
        offset,
    };
    let (by_rows, by_columns) = ((false, true), (true, false));
    // Together they load either factor by rows and by columns; whole tiles, and edges.
    for sample in [
        sample([256; 3], by_rows, 0),
        sample([256; 3], by_columns, 64),
        sample([256; 3], by_rows, 192),
        sample([132, 264, 68], by_columns, 0),
        sample([260, 136, 100], by_rows, 64),
    ] {
        self_test.fault = sample.fault(gpu, &with).await?.map(str::to_owned);
        if self_test.fault.is_some() {
            return Ok(());
        }
    }
    // Software adapters do not use them, so their speed does not matter.
    if own.class == DeviceClass::Cpu {
        return Ok(());
    }
    let without = Capabilities { cooperative: None, ..with.clone() };
    for (size, most) in [(256, EMULATED), (1024, 1.0)] {
        let sample = sample([size; 3], by_rows, 0);
        self_test.milliseconds = sample.milliseconds(gpu, &with).await?;
        self_test.plain_milliseconds = sample.milliseconds(gpu, &without).await?;
        if self_test.milliseconds > most * self_test.plain_milliseconds {
            let MatrixSelfTest { milliseconds, plain_milliseconds, .. } = self_test;
            self_test.fault = Some(format!(
                "they need {milliseconds:.2} ms for a matmul of {size}³, the plain kernel {plain_milliseconds:.2} ms"
            ));
            return Ok(());
        }
    }
    Ok(())
}
