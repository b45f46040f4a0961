//! Compiled kernels, one for each set of override constants.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError};

use super::Gpu;
use crate::error::{Error, Result};
use crate::shader::Kernel;

/// A kernel compiled with its override constants.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) raw: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) params: u64,
}

/// A kernel with its override constants, and a bit for each storage binding, set where it is in f16.
pub type Variant<'a> = (&'static Kernel, &'a [(&'static str, f64)], u32);

impl Gpu {
    /// The pipelines of `wanted`, in order. Those that are not there yet are compiled on all cores, where there are threads.
    ///
    /// # Errors
    /// As for [`Gpu::pipeline`].
    pub async fn pipelines(&self, wanted: &[Variant<'_>]) -> Result<Vec<Arc<Pipeline>>> {
        #[cfg(not(target_arch = "wasm32"))]
        self.compile_ahead(wanted)?;
        let mut pipelines = Vec::with_capacity(wanted.len());
        for variant in wanted {
            pipelines.push(self.pipeline(*variant).await?);
        }
        Ok(pipelines)
    }

    /// Compiles what is not there yet, each kernel once. A GL context serves one thread, so there it does nothing.
    #[cfg(not(target_arch = "wasm32"))]
    fn compile_ahead(&self, wanted: &[Variant<'_>]) -> Result<()> {
        let mut missing = std::collections::BTreeMap::new();
        let known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        missing.extend(wanted.iter().map(|variant| (key(variant), variant)));
        missing.retain(|key, _| !known.contains_key(key));
        drop(known);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if self.capabilities.backend == "gl" || cores.min(missing.len()) < 2 {
            return Ok(());
        }
        let missing: Vec<&Variant<'_>> = missing.into_values().collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let compile = || -> Result<()> {
            while let Some(variant) = missing.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                self.compile_now(**variant)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores.min(missing.len())).map(|_| scope.spawn(compile)).collect();
            let failed =
                |_| Error::Gpu("a thread that compiles kernels panicked; report this as a defect".into());
            workers.into_iter().try_for_each(|worker| worker.join().map_err(failed)?)
        })
    }

    /// [`Gpu::pipeline`] for a thread of its own: natively, wgpu has the result at once.
    #[cfg(not(target_arch = "wasm32"))]
    fn compile_now(&self, variant: Variant<'_>) -> Result<()> {
        let compiled = std::pin::pin!(self.pipeline(variant));
        match compiled.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(compiled) => compiled.map(drop),
            // It is compiled when its turn comes.
            std::task::Poll::Pending => Ok(()),
        }
    }

    /// The pipeline of a kernel with these overrides, compiled at its first use.
    ///
    /// # Errors
    /// When the driver refuses the kernel, with its name.
    pub async fn pipeline(&self, variant: Variant<'_>) -> Result<Arc<Pipeline>> {
        let (key, (kernel, overrides, f16)) = (key(&variant), variant);
        let cached = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(pipeline) = cached {
            return Ok(pipeline);
        }
        if let Some((name, _)) =
            overrides.iter().find(|(name, _)| !kernel.overrides.iter().any(|one| one.name == *name))
        {
            return Err(Error::Gpu(format!("kernel {} has no override {name}", kernel.name)));
        }
        let refused =
            |error: &dyn std::fmt::Display| Error::Gpu(format!("kernel {key} was refused: {error}"));
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self.module(kernel, f16).map_err(|error| refused(&error))?;
        let pipeline = Arc::new(self.compile(kernel, &module, &key, overrides));
        if let Some(error) = scope.pop().await {
            return Err(refused(&error));
        }
        self.check()?;
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// A kernel's WGSL with the storage bindings of the set bits in f16, made and parsed once for all of its override constants.
    fn module(&self, kernel: &'static Kernel, f16: u32) -> std::result::Result<wgpu::ShaderModule, String> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&(kernel.name, f16)) {
            return Ok(module.clone());
        }
        let source = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(kernel.source_in_f16(f16)?),
        };
        // SAFETY: every kernel guards its own indices and terminates; tests fence every output.
        let module = unsafe {
            self.device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
        };
        modules.insert((kernel.name, f16), module.clone());
        Ok(module)
    }

    fn compile(
        &self,
        kernel: &'static Kernel,
        module: &wgpu::ShaderModule,
        key: &str,
        overrides: &[(&'static str, f64)],
    ) -> Pipeline {
        let entry = |binding, ty, dynamic, size| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size: size },
            count: None,
        };
        let params = u64::from(kernel.params);
        let size = wgpu::BufferSize::new(params);
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, true, size)];
        for (binding, storage) in (1..).zip(kernel.bindings) {
            let ty = wgpu::BufferBindingType::Storage { read_only: !storage.write };
            entries.push(entry(binding, ty, false, None));
        }
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(kernel.name),
            entries: &entries,
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let raw = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(key),
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: overrides,
                zero_initialize_workgroup_memory: false,
            },
            cache: self.disk_cache.as_ref(),
        });
        Pipeline { raw, layout, params }
    }
}

/// The name of a pipeline: its kernel, its override constants and what is in f16.
fn key((kernel, overrides, f16): &Variant<'_>) -> String {
    let mut key = kernel.name.to_owned();
    for (name, value) in *overrides {
        let _ = write!(key, " {name}={value}");
    }
    for name in kernel.names_of(*f16) {
        let _ = write!(key, " {name}.f16");
    }
    key
}
