//! The only module that uses `wgpu`: adapters, buffers, pipelines, submission, read-back, lost devices.

mod adapter;
mod architecture;
mod buffer;
mod capabilities;
mod cooperative;
#[cfg(not(target_arch = "wasm32"))]
mod findings;
#[cfg(feature = "cli")]
mod memory;
mod pipeline;
#[cfg(not(target_arch = "wasm32"))]
mod staging;
mod submit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(not(target_arch = "wasm32"))]
pub use adapter::equals;
pub use adapter::{AdapterReport, Selection, adapters};
pub use architecture::{Architecture, Vendor};
pub use buffer::Buffer;
#[cfg(not(target_arch = "wasm32"))]
pub use capabilities::Preferred;
pub use capabilities::{Capabilities, DeviceClass};
pub use cooperative::MatrixSize;
#[cfg(not(target_arch = "wasm32"))]
pub use findings::{Faster, Finding, Findings, MatrixSelfTest};
#[cfg(feature = "cli")]
pub use memory::available;
pub use pipeline::Pipeline;
#[cfg(not(target_arch = "wasm32"))]
pub use staging::Staging;
pub use submit::{BindGroup, Launch, Timing};

use crate::error::{Error, Result};

/// An open device with its queue and its pipelines.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    capabilities: Capabilities,
    modules: Mutex<HashMap<(&'static str, u32), wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    disk_cache: Option<wgpu::PipelineCache>,
    failure: Arc<Mutex<Option<Error>>>,
    allocated: Arc<std::sync::atomic::AtomicU64>,
    pace: Mutex<submit::Pace>,
    #[cfg(not(target_arch = "wasm32"))]
    finding: Finding,
}

impl Gpu {
    /// Opens the device of an adapter; `cache` is what [`Gpu::pipeline_cache`] gave in an earlier process.
    async fn open(adapter: &wgpu::Adapter, cache: Option<&[u8]>) -> Result<Self> {
        let info = adapter.get_info();
        let wanted = wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::PIPELINE_CACHE
            | wgpu::Features::SUBGROUP
            | wgpu::Features::SHADER_INT64;
        let mut features = adapter.features() & wanted;
        let mut experimental = wgpu::ExperimentalFeatures::disabled();
        if cooperative::matrix_size(adapter).is_some() {
            features |= cooperative::features();
            // SAFETY: kernels with cooperative matrices are tested before they are used.
            experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("polymix"),
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features: experimental,
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::Gpu(format!("{}: the device cannot be opened: {e}", info.name)))?;

        let failure = Arc::new(Mutex::new(None));
        let slot = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error| keep_first(&slot, translate(error))));
        let slot = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                let text = format!("the device was lost ({message}); try again");
                keep_first(&slot, Error::DeviceLost(text));
            }
        });
        let disk_cache = features.contains(wgpu::Features::PIPELINE_CACHE).then(|| {
            let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: cache, fallback: true };
            // SAFETY: `fallback` makes the driver ignore data that is not its own.
            unsafe { device.create_pipeline_cache(&descriptor) }
        });
        let capabilities = Capabilities::new(adapter, &device.limits(), features);
        let gpu = Self {
            device,
            queue,
            capabilities,
            modules: Mutex::default(),
            pipelines: Mutex::default(),
            disk_cache,
            failure,
            allocated: Arc::default(),
            pace: Mutex::default(),
            #[cfg(not(target_arch = "wasm32"))]
            finding: Finding::default(),
        };
        Ok(gpu)
    }

    /// Uses what an earlier process found out about the adapter; the rest is tested now.
    #[cfg(not(target_arch = "wasm32"))]
    async fn with(mut self, findings: &Findings) -> Result<Self> {
        self.finding = findings.of(&self.identity()).cloned().unwrap_or_default();
        self.capabilities.set_aside = self.finding.set_aside.keys().cloned().collect();
        self.capabilities.preferred = self.finding.preferred();
        if self.capabilities.cooperative.is_none() {
            return Ok(self);
        }
        if self.finding.matrices.is_none() {
            let gpu = Arc::new(self);
            let self_test = crate::exec::matrices(&gpu).await;
            let own = Arc::into_inner(gpu);
            self = own
                .ok_or_else(|| Error::Gpu("a self-test keeps the device; report this as a defect".into()))?;
            self.finding.matrices = Some(self_test);
        }
        if let Some(fault) = self.finding.matrices.as_ref().and_then(|test| test.fault.as_ref()) {
            tracing::warn!("{} is used without its cooperative matrices: {fault}", self.capabilities.adapter);
            self.capabilities.cooperative = None;
        }
        Ok(self)
    }

    /// The same device, for plans with these kernels in place of the static rules' ones. Buffers are of both, pipelines are
    /// compiled anew.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn preferring(&self, preferred: Preferred) -> Self {
        Self {
            device: self.device.clone(),
            queue: self.queue.clone(),
            capabilities: Capabilities { preferred, ..self.capabilities.clone() },
            modules: Mutex::default(),
            pipelines: Mutex::default(),
            disk_cache: self.disk_cache.clone(),
            failure: self.failure.clone(),
            allocated: self.allocated.clone(),
            pace: Mutex::default(),
            finding: self.finding.clone(),
        }
    }

    /// Findings about the adapter's driver, for [`Selection::findings`] of a later process.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn finding(&self) -> &Finding {
        &self.finding
    }

    /// Adapter, driver and its version: devices that have the same compute the same bits, with the same kernels set aside and preferred.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn identity(&self) -> String {
        identity(&self.device.adapter_info())
    }

    /// The capabilities of the device.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Bytes of all live buffers.
    pub fn allocated(&self) -> u64 {
        self.allocated.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Compiled pipelines for [`Selection::cache`] of a later process, where the adapter can.
    pub fn pipeline_cache(&self) -> Option<Vec<u8>> {
        self.disk_cache.as_ref().and_then(wgpu::PipelineCache::get_data)
    }

    /// The first failure that the device reported since the last call.
    ///
    /// # Errors
    /// That failure: out of memory, a refused command, a lost device.
    pub fn check(&self) -> Result<()> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match failure.take() {
            // A lost device stays lost.
            Some(Error::DeviceLost(text)) => {
                *failure = Some(Error::DeviceLost(text.clone()));
                Err(Error::DeviceLost(text))
            }
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn identity(info: &wgpu::AdapterInfo) -> String {
    format!("{} {} {} {}", info.backend.to_str(), info.name, info.driver, info.driver_info)
}

fn keep_first(slot: &Mutex<Option<Error>>, error: Error) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() || matches!(error, Error::DeviceLost(_)) {
        *slot = Some(error);
    }
}

fn translate(error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => {
            Error::OutOfMemory("the GPU is out of memory; use a smaller batch or a smaller model".into())
        }
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Gpu(description.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}
