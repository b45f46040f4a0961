//! What a device can do, as plain data that kernels are chosen by.

use serde::Serialize;

use super::cooperative::{self, MatrixSize};

const LOOP_PASSES: u32 = 30_000;

/// The kind of processor behind an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// A software driver: invocations are SIMD lanes, barriers are expensive.
    Cpu,
    /// A GPU that shares memory with the CPU.
    Integrated,
    /// A GPU with memory of its own, or an unknown one.
    Discrete,
}

/// Limits and features that decide how an operation is dispatched.
#[derive(Debug, Clone, Serialize)]
pub struct Capabilities {
    /// The adapter's name.
    pub adapter: String,
    /// The backend's name: vulkan, gl, metal, dx12, webgpu.
    pub backend: String,
    /// The kind of processor.
    pub tier: Tier,
    /// Invocations that run in lockstep; 0 where unknown.
    pub subgroup: u32,
    /// Whether kernels may use subgroup operations, with subgroups of exactly `subgroup` invocations.
    pub subgroup_operations: bool,
    /// Whether kernels may use integers of 64 bits.
    pub int64: bool,
    /// The cooperative matrices that kernels may use.
    pub cooperative: Option<MatrixSize>,
    /// Largest storage binding in bytes.
    pub max_binding: u64,
    /// Largest buffer in bytes.
    pub max_buffer: u64,
    /// Largest number of workgroups along one axis.
    pub max_groups: u32,
    /// Alignment of offsets into uniform buffers, bytes.
    pub uniform_alignment: u32,
    /// Alignment of offsets into storage buffers, bytes.
    pub storage_alignment: u32,
    /// Whether the device can time its passes.
    pub timestamps: bool,
    /// Grids with more workgroups than this fold over two axes: `max_groups`, or less to test the indexing of large
    /// grids on small tensors.
    pub fold_grids_at: u32,
    /// Passes through loops that one invocation makes in a dispatch at most: llvmpipe leaves all loops after 65 535.
    pub loop_passes: u32,
    /// 0: kernels in the variant for this device. n, for tests: in the n-th of those that run on it.
    pub alternative: u32,
}

impl Capabilities {
    pub(super) fn new(adapter: &wgpu::Adapter, limits: &wgpu::Limits, features: wgpu::Features) -> Self {
        let info = adapter.get_info();
        Self {
            adapter: info.name.clone(),
            backend: info.backend.to_str().to_owned(),
            tier: match info.device_type {
                wgpu::DeviceType::Cpu => Tier::Cpu,
                // A GL driver in software does not say so in its type.
                _ if ["llvmpipe", "swiftshader", "softpipe"]
                    .iter()
                    .any(|n| info.name.to_lowercase().contains(n)) =>
                {
                    Tier::Cpu
                }
                wgpu::DeviceType::IntegratedGpu => Tier::Integrated,
                _ => Tier::Discrete,
            },
            subgroup: info.subgroup_min_size,
            subgroup_operations: features.contains(wgpu::Features::SUBGROUP)
                && info.subgroup_min_size == info.subgroup_max_size,
            int64: features.contains(wgpu::Features::SHADER_INT64),
            cooperative: cooperative::matrix_size(adapter),
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            max_groups: limits.max_compute_workgroups_per_dimension,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
            storage_alignment: limits.min_storage_buffer_offset_alignment,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            fold_grids_at: limits.max_compute_workgroups_per_dimension,
            loop_passes: LOOP_PASSES,
            alternative: 0,
        }
    }

    /// A discrete GPU with the limits that every WebGPU device has: for plans where there is no adapter.
    pub fn assumed() -> Self {
        let limits = wgpu::Limits::default();
        Self {
            adapter: "a GPU with WebGPU's default limits".to_owned(),
            backend: "assumed".to_owned(),
            tier: Tier::Discrete,
            subgroup: 0,
            subgroup_operations: false,
            int64: false,
            cooperative: None,
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            max_groups: limits.max_compute_workgroups_per_dimension,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
            storage_alignment: limits.min_storage_buffer_offset_alignment,
            timestamps: false,
            fold_grids_at: limits.max_compute_workgroups_per_dimension,
            loop_passes: LOOP_PASSES,
            alternative: 0,
        }
    }

    /// "`<backend> <adapter's name>`", as `--device` takes it.
    pub fn label(&self) -> String {
        format!("{} {}", self.backend, self.adapter)
    }

    /// Workgroup size of kernels whose invocations are independent.
    pub fn map_workgroup(&self) -> u32 {
        64
    }

    /// Workgroup size of kernels that reduce a row in one workgroup: the SIMD width on a CPU, where a
    /// barrier between subgroups costs 10 to 100 times as much as the reduction.
    pub fn row_workgroup(&self) -> u32 {
        match (self.tier, self.subgroup) {
            (Tier::Cpu, 4) => 4,
            (Tier::Cpu, _) => 8,
            _ => 64,
        }
    }
}
