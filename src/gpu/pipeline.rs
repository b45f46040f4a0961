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

impl Gpu {
    /// The pipeline of `kernel` with these overrides, compiled at its first use.
    ///
    /// # Errors
    /// When the driver refuses the kernel, with its name.
    pub async fn pipeline(
        &self,
        kernel: &'static Kernel,
        overrides: &[(&'static str, f64)],
    ) -> Result<Arc<Pipeline>> {
        let mut key = kernel.name.to_owned();
        for (name, value) in overrides {
            let _ = write!(key, " {name}={value}");
        }
        let cached = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(pipeline) = cached {
            return Ok(pipeline);
        }
        if let Some((name, _)) = overrides.iter().find(|(name, _)| !kernel.overrides.contains(name)) {
            return Err(Error::Gpu(format!("kernel {} has no override {name}", kernel.name)));
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = Arc::new(self.compile(kernel, &key, overrides));
        if let Some(error) = scope.pop().await {
            return Err(Error::Gpu(format!("kernel {key} was refused: {error}")));
        }
        self.check()?;
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, kernel: &'static Kernel, key: &str, overrides: &[(&'static str, f64)]) -> Pipeline {
        let source = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
        };
        // SAFETY: every kernel guards its own indices and terminates; tests fence every output.
        let module = unsafe {
            self.device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
        };
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
            module: &module,
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
