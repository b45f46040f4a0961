//! Shared code of the benchmarks: work on the device, the adapter's peaks, interleaved timing, tables.
//!
//! Times are compared in one run: contenders take turns, and the median counts, since other processes take turns too.

#![allow(dead_code, reason = "each benchmark uses a part")]

pub mod peaks;
pub mod step;
pub mod works;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pollster::block_on;
use polymix::Result;
use polymix::exec::{Executor, Loaded, Plan};
use polymix::gpu::{Capabilities, Gpu, Selection};
use polymix::graph::Tensor;
use polymix::rng::{Rng, stream};
use polymix::shape::{DType, Spec};
use polymix::train::{Inputs, write_inputs};

pub use works::Work;

/// The adapter that `POLYMIX_DEVICE` names, `auto` without it.
pub fn device() -> Result<Arc<Gpu>> {
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or_else(|_| "auto".to_owned());
    let gpu = Arc::new(block_on(Gpu::new(&Selection { device, ..Default::default() }))?);
    eprintln!("device: {}", gpu.capabilities().label());
    Ok(gpu)
}

/// A plan with its operands on the device.
pub struct Case {
    executor: Executor,
    loaded: Loaded,
    inputs: Inputs,
    /// Operations of its matmuls and convolutions.
    pub flops: u64,
    /// Bytes of its operands and results, each counted once.
    pub bytes: u64,
}

impl Case {
    /// Compiles the work and fills what it stores with noise.
    pub fn new(gpu: &Arc<Gpu>, work: &Work) -> Result<Self> {
        Self::filled(gpu, work, noise)
    }

    /// As [`Case::new`], with `values` for what is stored.
    pub fn filled(gpu: &Arc<Gpu>, work: &Work, values: Values) -> Result<Self> {
        let plan = Self::plan(gpu.capabilities(), work)?;
        Self::place(gpu, work, plan, values)
    }

    /// The plan of the work.
    pub fn plan(capabilities: &Capabilities, work: &Work) -> Result<Plan> {
        let names: Vec<String> = (0..work.outputs.len()).map(|index| format!("output {index}")).collect();
        let outputs: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&work.outputs).collect();
        Plan::compile(&work.graph, &outputs, work.options, capabilities)
    }

    /// As [`Case::new`], of a plan of the work.
    pub fn of(gpu: &Arc<Gpu>, work: &Work, plan: Plan) -> Result<Self> {
        Self::place(gpu, work, plan, noise)
    }

    fn place(gpu: &Arc<Gpu>, work: &Work, plan: Plan, values: Values) -> Result<Self> {
        let mut executor = Executor::new(gpu.clone());
        for (name, spec) in &plan.stored {
            executor.store.arena(gpu, name, &[(name.clone(), spec.clone())])?;
            if spec.dtype == DType::F32 {
                executor.store.write(gpu, name, &values(name, spec))?;
            }
        }
        let ports = plan.inputs.iter().chain(&plan.outputs).map(|port| port.spec.bytes());
        let bytes = plan.stored.iter().map(|(_, spec)| spec.bytes()).chain(ports).sum();
        let flops = plan.flops();
        let loaded = block_on(executor.load(plan))?;
        Ok(Self { executor, loaded, inputs: work.inputs.clone(), flops, bytes })
    }

    fn prepare(&mut self) -> Result<()> {
        write_inputs(&self.executor, &self.loaded, &self.inputs)?;
        self.executor.gpu().flush();
        self.executor.gpu().wait()
    }

    /// Milliseconds from submitting the work to its end.
    pub fn wall(&mut self) -> Result<f64> {
        self.prepare()?;
        let begun = Instant::now();
        self.executor.run(&mut self.loaded)?;
        self.executor.gpu().wait()?;
        Ok(1e3 * begun.elapsed().as_secs_f64())
    }

    /// Milliseconds of its kernels by the device's clock; of [`Case::wall`] where it has none.
    pub fn kernels(&mut self) -> Result<f64> {
        if !self.executor.gpu().capabilities().timestamps {
            return self.wall();
        }
        self.prepare()?;
        let times = block_on(self.executor.time(&mut self.loaded))?;
        Ok(times.iter().map(|kernel| kernel.milliseconds).sum())
    }

    /// The first result.
    pub fn read(&self) -> Result<Vec<f32>> {
        block_on(self.executor.read(&self.loaded, "output 0"))
    }

    /// Every result, after running the work.
    pub fn results(&mut self) -> Result<Vec<Vec<f32>>> {
        self.wall()?;
        let outputs = &self.loaded.plan().outputs;
        outputs.iter().map(|output| block_on(self.executor.read(&self.loaded, &output.name))).collect()
    }

    /// Milliseconds until the work is submitted, and how many dispatches it has.
    pub fn submission(&mut self) -> Result<(f64, usize)> {
        self.prepare()?;
        let begun = Instant::now();
        self.executor.run(&mut self.loaded)?;
        let milliseconds = 1e3 * begun.elapsed().as_secs_f64();
        self.executor.gpu().wait()?;
        Ok((milliseconds, self.loaded.plan().dispatches.len()))
    }
}

/// Values of a stored tensor by its name.
pub type Values = fn(&str, &Spec) -> Vec<f32>;

/// Uniform in [0, 1), as second moments must not be negative.
pub fn noise(name: &str, spec: &Spec) -> Vec<f32> {
    let mut rng = Rng::new(&[stream(name)]);
    (0..spec.shape.elements()).map(|_| rng.unit()).collect()
}

/// Something that runs once and says how many milliseconds it took.
pub type Contender<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

const WARM_UP: Duration = Duration::from_millis(300);
const FEWEST: usize = 5;
const MOST: usize = 100;

/// The medians of the contenders' times: warmed one by one, then run by turns until each turn was taken at least
/// [`FEWEST`] times and `budget` is over.
pub fn race(contenders: &mut [Contender<'_>], budget: Duration) -> Result<Vec<f64>> {
    for contender in contenders.iter_mut() {
        let begun = Instant::now();
        let mut runs = 0;
        while runs < 2 || runs < 20 && begun.elapsed() < WARM_UP {
            contender()?;
            runs += 1;
        }
    }
    let mut times = vec![Vec::new(); contenders.len()];
    let begun = Instant::now();
    while times[0].len() < FEWEST || times[0].len() < MOST && begun.elapsed() < budget {
        for (times, contender) in times.iter_mut().zip(contenders.iter_mut()) {
            times.push(contender()?);
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// The middle one, or the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    0.5 * (values[(values.len() - 1) / 2] + values[values.len() / 2])
}

/// Rows under a header, the first two columns to the left, the others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let lines = || std::iter::once(&header).chain(rows);
    let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<String>| -> String {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: String = widths.iter().map(|&width| format!("|{}", "-".repeat(width + 2))).collect();
    let body: String = rows.iter().map(line).collect();
    format!("{}{rule}|\n{body}", line(&header))
}

/// The share as a percentage.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
