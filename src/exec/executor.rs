//! Runs plans on a GPU. Plans of all shapes share the persistent store and one pool of slots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dispatch::{Place, Region};
use super::plan::{Plan, Port};
use super::store::Store;
use crate::error::{Error, Result};
use crate::gpu::{BindGroup, Buffer, Gpu, Launch, Pipeline};

/// Runs plans on a GPU.
#[derive(Debug)]
pub struct Executor {
    gpu: Arc<Gpu>,
    /// Persistent tensors.
    pub store: Store,
    /// Buffer `i` holds the `i`-th largest slot of every plan, so that memory is that of the largest plans.
    pool: Vec<Buffer>,
    /// Counts replacements in the pool; older bind groups are made anew.
    generation: u64,
    fenced: bool,
}

/// A plan with its pipelines and parameters on the device.
#[derive(Debug)]
pub struct Loaded {
    plan: Plan,
    pipelines: Vec<Arc<Pipeline>>,
    uniforms: Buffer,
    /// The pool's buffer of each slot.
    ranks: Vec<usize>,
    bind_groups: Vec<BindGroup>,
    generation: u64,
    /// Which inputs have been set since the last run, which may have left other values in their memory.
    set: Vec<AtomicBool>,
}

impl Loaded {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Checks that every input was set, and forgets it.
    fn take_fed(&mut self) -> Result<()> {
        for (input, set) in self.plan.inputs.iter().zip(&mut self.set) {
            if !std::mem::take(set.get_mut()) {
                return Err(Error::invalid(format!("input {} was not set before the run", input.name)));
            }
        }
        Ok(())
    }

    fn port<'a>(&'a self, ports: &'a [Port], name: &str) -> Result<&'a Port> {
        ports.iter().find(|port| port.name == name).ok_or_else(|| {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            Error::invalid(format!("the plan has no tensor {name} there; it has {}", names.join(", ")))
        })
    }
}

/// Time spent in one kernel.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct KernelTime {
    /// `family/stem`.
    pub kernel: &'static str,
    /// Number of dispatches.
    pub dispatches: usize,
    /// Milliseconds of all of them.
    pub milliseconds: f64,
    /// Operations of their matmuls and convolutions, as [`Plan::flops`].
    pub flops: u64,
    /// Bytes that they bind, as [`super::Dispatch::bytes`].
    pub bytes: u64,
}

impl KernelTime {
    /// Billions of these operations a second.
    pub fn gflops_per_second(&self) -> f64 {
        self.flops as f64 / (1e6 * self.milliseconds)
    }

    /// Billions of bound bytes a second.
    pub fn gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / (1e6 * self.milliseconds)
    }
}

/// Bytes behind every slot that a fenced run checks.
const FENCE: u64 = 256;
const SENTINEL: u8 = 0xA5;

impl Executor {
    /// An executor without plans.
    pub fn new(gpu: Arc<Gpu>) -> Self {
        Self::with_store(gpu, Store::default())
    }

    /// An executor without plans, that finds `store` there.
    pub fn with_store(gpu: Arc<Gpu>, store: Store) -> Self {
        Self { gpu, store, pool: Vec::new(), generation: 0, fenced: false }
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Surrounds slots with sentinels and fills them with NaN before every run, for tests.
    pub fn fence(&mut self) {
        self.fenced = true;
    }

    /// Compiles the plan's kernels and makes room for it.
    ///
    /// # Errors
    /// When a kernel is refused, an entry is not in the store or has another size, or memory is out.
    pub async fn load(&mut self, plan: Plan) -> Result<Loaded> {
        for (name, spec, elements) in &plan.constants {
            if !self.store.contains(name) {
                self.store.arena(&self.gpu, name, &[(name.clone(), spec.clone())])?;
                self.store.write(&self.gpu, name, elements)?;
            }
        }
        for (name, spec) in &plan.stored {
            let entry = self.store.entry(name)?;
            if entry.spec.shape.elements() != spec.shape.elements() {
                let message =
                    format!("{name} is stored as {}, the plan needs {}", entry.spec.shape, spec.shape);
                return Err(Error::invalid(message));
            }
        }
        let variants: Vec<_> =
            plan.dispatches.iter().map(|one| (one.kernel, &one.overrides[..], one.f16)).collect();
        let pipelines = self.gpu.pipelines(&variants).await?;
        let uniforms = self.gpu.uniform("parameters", plan.uniform_bytes())?;
        self.gpu.write(&uniforms, 0, &plan.uniforms)?;

        let mut ranks = vec![0; plan.slots.len()];
        for (rank, slot) in plan.slots_by_size().into_iter().enumerate() {
            ranks[slot] = rank;
            self.grow(rank, plan.slots[slot] + if self.fenced { FENCE } else { 0 })?;
        }
        let set = plan.inputs.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Loaded { plan, pipelines, uniforms, ranks, bind_groups: Vec::new(), generation: 0, set })
    }

    fn grow(&mut self, rank: usize, bytes: u64) -> Result<()> {
        let label = format!("slot {rank}");
        match self.pool.get_mut(rank) {
            Some(buffer) if buffer.bytes() >= bytes => return Ok(()),
            // Work that still uses the old buffer keeps it alive in the driver.
            Some(buffer) => *buffer = self.gpu.storage(&label, bytes)?,
            None => self.pool.push(self.gpu.storage(&label, bytes)?),
        }
        self.generation += 1;
        Ok(())
    }

    /// The buffer that `region` lies in, and its first byte there.
    fn buffer<'a>(&'a self, loaded: &'a Loaded, region: &Region) -> Result<(&'a Buffer, u64)> {
        match region.place {
            Place::Slot(slot) => Ok((&self.pool[loaded.ranks[slot]], region.offset)),
            Place::Stored(index) => {
                let entry = self.store.entry(&loaded.plan.stored[index].0)?;
                Ok((self.store.buffer(entry), entry.offset + region.offset))
            }
        }
    }

    fn bind(&self, loaded: &mut Loaded) -> Result<()> {
        if loaded.generation == self.generation && !loaded.bind_groups.is_empty() {
            return Ok(());
        }
        let mut groups = Vec::with_capacity(loaded.plan.dispatches.len());
        for (dispatch, pipeline) in loaded.plan.dispatches.iter().zip(&loaded.pipelines) {
            let mut storage = Vec::with_capacity(dispatch.bindings.len());
            for region in &dispatch.bindings {
                let (buffer, offset) = self.buffer(loaded, region)?;
                storage.push((buffer, offset, region.bytes));
            }
            groups.push(self.gpu.bind(pipeline, &loaded.uniforms, &storage));
        }
        self.gpu.check()?;
        loaded.bind_groups = groups;
        loaded.generation = self.generation;
        Ok(())
    }

    /// Writes the input `name`, for the next run. In a fenced run [`Executor::poison`] comes first.
    ///
    /// # Errors
    /// When the plan has no such input or the length differs.
    pub fn write_input<T: bytemuck::NoUninit>(&self, loaded: &Loaded, name: &str, data: &[T]) -> Result<()> {
        let port = loaded.port(&loaded.plan.inputs, name)?;
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if bytes.len() as u64 != port.spec.bytes() {
            let shape = &port.spec.shape;
            return Err(Error::invalid(format!("input {name} is {shape}, {} bytes were given", bytes.len())));
        }
        let (buffer, offset) = self.buffer(loaded, &port.region)?;
        self.gpu.write(buffer, offset, bytes)?;
        let index = loaded.plan.inputs.iter().position(|input| input.name == name);
        if let Some(set) = index.and_then(|index| loaded.set.get(index)) {
            set.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the plan reads the input `name`.
    pub fn takes(&self, loaded: &Loaded, name: &str) -> bool {
        loaded.plan.inputs.iter().any(|port| port.name == name)
    }

    /// Runs the plan; returns once its work is submitted.
    ///
    /// # Errors
    /// When an input has not been set since the last run, or what the device reported.
    pub fn run(&self, loaded: &mut Loaded) -> Result<()> {
        loaded.take_fed()?;
        self.bind(loaded)?;
        self.gpu.submit(launches(loaded))
    }

    /// Runs the plan with every dispatch timed by the device, the slowest kernel first; empty where it cannot.
    ///
    /// # Errors
    /// See [`Executor::run`].
    pub async fn time(&self, loaded: &mut Loaded) -> Result<Vec<KernelTime>> {
        loaded.take_fed()?;
        self.bind(loaded)?;
        let all: Vec<Launch<'_>> = launches(loaded).collect();
        let mut kernels: BTreeMap<&'static str, KernelTime> = BTreeMap::new();
        for timing in self.gpu.time(&all).await? {
            let dispatch = &loaded.plan.dispatches[timing.launch];
            let kernel = dispatch.kernel.name;
            let none = KernelTime { kernel, dispatches: 0, milliseconds: 0.0, flops: 0, bytes: 0 };
            let sum = kernels.entry(kernel).or_insert(none);
            sum.dispatches += 1;
            sum.milliseconds += timing.nanoseconds * 1e-6;
            sum.flops += dispatch.flops;
            sum.bytes += dispatch.bytes();
        }
        let mut times: Vec<KernelTime> = kernels.into_values().collect();
        times.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
        Ok(times)
    }

    /// Reads the output `name` of the last run.
    ///
    /// # Errors
    /// When the plan has no such output or the device fails.
    pub async fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &self,
        loaded: &Loaded,
        name: &str,
    ) -> Result<Vec<T>> {
        let port = loaded.port(&loaded.plan.outputs, name)?;
        let (buffer, offset) = self.buffer(loaded, &port.region)?;
        let bytes = self.gpu.read(buffer, offset, port.spec.bytes()).await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Fills every slot with NaN and its fence with a sentinel.
    ///
    /// # Errors
    /// When the device fails.
    pub fn poison(&self, loaded: &Loaded) -> Result<()> {
        for (slot, &bytes) in loaded.plan.slots.iter().enumerate() {
            let buffer = &self.pool[loaded.ranks[slot]];
            // All bits set is a NaN and an index far out of range.
            let mut fill = vec![0xFF; buffer.bytes() as usize];
            fill[bytes as usize..].fill(SENTINEL);
            self.gpu.write(buffer, 0, &fill)?;
        }
        Ok(())
    }

    /// Checks the fences of a fenced run.
    ///
    /// # Errors
    /// When a kernel wrote behind a slot.
    pub async fn check_fences(&self, loaded: &Loaded) -> Result<()> {
        for (slot, &bytes) in loaded.plan.slots.iter().enumerate() {
            let buffer = &self.pool[loaded.ranks[slot]];
            let fence = self.gpu.read(buffer, bytes, buffer.bytes() - bytes).await?;
            if fence.iter().any(|&byte| byte != SENTINEL) {
                return Err(Error::Gpu(format!("a kernel wrote behind slot {slot} of {bytes} bytes")));
            }
        }
        Ok(())
    }
}

fn launches(loaded: &Loaded) -> impl Iterator<Item = Launch<'_>> {
    let compiled = loaded.pipelines.iter().zip(&loaded.bind_groups);
    loaded.plan.dispatches.iter().zip(compiled).map(|(dispatch, (pipeline, bind_group))| Launch {
        pipeline,
        bind_group,
        params: dispatch.params,
        groups: dispatch.groups,
        work: dispatch.work,
    })
}
