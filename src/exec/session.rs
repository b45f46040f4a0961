//! A graph that runs: its plan, its parameters and a device in one.

use std::sync::Arc;

use super::executor::{Executor, Loaded};
use super::options::PlanOptions;
use super::plan::Plan;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::graph::{Graph, Tensor};

/// A compiled graph on a device, with memory for everything that it stores. It runs as often as its inputs are set.
///
/// ```
/// # pollster::block_on(async {
/// # let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
/// # let selection = polymix::gpu::Selection { device, ..Default::default() };
/// # let gpu = match polymix::gpu::Gpu::new(&selection).await {
/// #     Err(polymix::Error::NoAdapter(_)) if std::env::var("GPU").as_deref() != Ok("required") => return Ok(()),
/// #     gpu => gpu?,
/// # };
/// # let gpu = std::sync::Arc::new(gpu);
/// use polymix::autograd::gradients;
/// use polymix::exec::{PlanOptions, Session};
/// use polymix::graph::{Graph, Init};
/// use polymix::shape::Spec;
///
/// let graph = Graph::new();
/// let x = graph.input("x", Spec::f32([1, 3]));
/// let w = graph.parameter("w", [3, 2].into(), Init::Constant(0.5), true)?;
/// let y = x.matmul(&w)?;
/// let loss = y.mul(&y)?.sum(0, 2)?; // Σ y²
/// let one = graph.fill([1, 1], 1.0)?;
/// let dw = gradients(&[(&loss, &one)], &[&w])?.remove(0).expect("the loss depends on w");
///
/// let outputs = [("loss", &loss), ("dw", &dw)];
/// let mut session = Session::new(gpu, &graph, &outputs, PlanOptions::default(), 0).await?;
/// session.write_input("x", &[1.0_f32, 2.0, 3.0])?;
/// session.run()?;
/// assert_eq!(session.read::<f32>("loss").await?, [18.0]); // y = [3, 3]
/// assert_eq!(session.read::<f32>("dw").await?, [6.0, 6.0, 12.0, 12.0, 18.0, 18.0]);
/// # Ok::<_, polymix::Error>(())
/// # }).unwrap();
/// ```
///
/// [`Executor`] is for what needs more: several plans that share parameters and memory.
#[derive(Debug)]
pub struct Session {
    executor: Executor,
    loaded: Loaded,
}

impl Session {
    /// Compiles what `outputs` and the stored values need, makes room for all that is stored, and draws the parameters
    /// from `seed`. Other stored values are zeros.
    ///
    /// # Errors
    /// When the graph does not fit the device's limits or memory, or a kernel is refused.
    pub async fn new(
        gpu: Arc<Gpu>,
        graph: &Graph,
        outputs: &[(&str, &Tensor)],
        options: PlanOptions,
        seed: u32,
    ) -> Result<Self> {
        let plan = Plan::compile(graph, outputs, options, gpu.capabilities())?;
        let mut executor = Executor::new(gpu.clone());
        let constant = |name: &str| plan.constants.iter().any(|(constant, ..)| constant == name);
        for (name, spec) in plan.stored.iter().filter(|(name, _)| !constant(name)) {
            executor.store.arena(&gpu, name, &[(name.clone(), spec.clone())])?;
        }
        let loaded = executor.load(plan).await?;
        let session = Self { executor, loaded };
        for (parameter, _) in graph.parameters() {
            // The plan need not read all of them.
            if session.executor.store.contains(&parameter.name) {
                session
                    .set(&parameter.name, &parameter.init.draw(&parameter.name, &parameter.shape, seed))?;
            }
        }
        Ok(session)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.loaded.plan()
    }

    /// Writes the input `name` for the next run.
    ///
    /// # Errors
    /// When the plan has no such input or the length differs.
    pub fn write_input<T: bytemuck::NoUninit>(&self, name: &str, data: &[T]) -> Result<()> {
        self.executor.write_input(&self.loaded, name, data)
    }

    /// Runs the plan; returns once its work is submitted.
    ///
    /// # Errors
    /// When an input has not been set since the last run, or what the device reported.
    pub fn run(&mut self) -> Result<()> {
        self.executor.run(&mut self.loaded)
    }

    /// Reads the output `name` of the last run.
    ///
    /// # Errors
    /// When the plan has no such output or the device fails.
    pub async fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, name: &str) -> Result<Vec<T>> {
        self.executor.read(&self.loaded, name).await
    }

    /// Replaces a parameter or another stored value.
    ///
    /// # Errors
    /// When nothing is stored as `name` or the length differs.
    pub fn set<T: bytemuck::NoUninit>(&self, name: &str, data: &[T]) -> Result<()> {
        self.executor.store.write(self.executor.gpu(), name, data)
    }

    /// Reads a parameter or another stored value.
    ///
    /// # Errors
    /// When nothing is stored as `name` or the device fails.
    pub async fn get<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, name: &str) -> Result<Vec<T>> {
        self.executor.store.read(self.executor.gpu(), name).await
    }
}
