//! Limits and features of a device, as plain data for the choice of kernels.

#[cfg(not(target_arch = "wasm32"))]
use std::collections::BTreeMap;

use serde::Serialize;

use super::architecture::{Architecture, Vendor};
use super::cooperative::{self, MatrixSize};

const LOOP_PASSES: u32 = 30_000;

/// The class of the processor behind an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceClass {
    /// A software driver: invocations are SIMD lanes, barriers are expensive.
    Cpu,
    /// A GPU that shares memory with the CPU, or an unknown one.
    Integrated,
    /// A GPU with memory of its own.
    Discrete,
}

/// Limits and features that decide how an operation is dispatched.
#[derive(Debug, Clone, Serialize)]
pub struct Capabilities {
    /// The adapter's name.
    pub adapter: String,
    /// The backend's name: vulkan, gl, metal, dx12, webgpu.
    pub backend: String,
    /// The class of the processor, in JSON the `tier`.
    #[serde(rename = "tier")]
    pub class: DeviceClass,
    /// Who made it.
    pub vendor: Vendor,
    /// Invocations that run in lockstep, the fewest where that varies; 0 where unknown.
    pub subgroup: u32,
    /// The most of them.
    pub subgroup_most: u32,
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
    /// Kernels that this adapter's driver computes wrongly or slowly; another variant takes their place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<String>,
    /// Kernels that were measured to be faster on this adapter than those of the static rules.
    #[cfg(not(target_arch = "wasm32"))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub preferred: Preferred,
}

/// The kernel that takes the place of the static rules' one, by [`Class`](crate::exec::Class).
#[cfg(not(target_arch = "wasm32"))]
pub type Preferred = BTreeMap<String, String>;

impl Capabilities {
    pub(super) fn new(adapter: &wgpu::Adapter, limits: &wgpu::Limits, features: wgpu::Features) -> Self {
        let info = adapter.get_info();
        let vendor = Vendor::new(info.vendor, &info.name);
        Self {
            adapter: info.name.clone(),
            backend: info.backend.to_str().to_owned(),
            class: Architecture::class(info.device_type, vendor, &info.name),
            vendor,
            subgroup: info.subgroup_min_size,
            subgroup_most: info.subgroup_max_size,
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
            set_aside: Vec::new(),
            #[cfg(not(target_arch = "wasm32"))]
            preferred: Preferred::new(),
        }
    }

    /// A discrete GPU with the limits that every WebGPU device has: for plans where there is no adapter.
    pub fn assumed() -> Self {
        let limits = wgpu::Limits::default();
        Self {
            adapter: "a GPU with WebGPU's default limits".to_owned(),
            backend: "assumed".to_owned(),
            class: DeviceClass::Discrete,
            vendor: Vendor::Unknown,
            subgroup: 0,
            subgroup_most: 0,
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
            set_aside: Vec::new(),
            #[cfg(not(target_arch = "wasm32"))]
            preferred: Preferred::new(),
        }
    }

    /// "`<backend> <adapter's name>`", as `--device` takes it.
    pub fn label(&self) -> String {
        format!("{} {}", self.backend, self.adapter)
    }

    /// The kind of processor.
    pub fn architecture(&self) -> Architecture {
        let subgroups = [self.subgroup, self.subgroup_most];
        Architecture { vendor: self.vendor, class: self.class, subgroups }
    }

    /// Workgroup size of kernels whose invocations are independent.
    pub fn map_workgroup(&self) -> u32 {
        64
    }

    /// Workgroup size of kernels that reduce a row in one workgroup: the SIMD width on a CPU, where a
    /// barrier between subgroups costs 10 to 100 times as much as the reduction.
    pub fn row_workgroup(&self) -> u32 {
        match (self.class, self.subgroup) {
            (DeviceClass::Cpu, lanes @ (4 | 16 | 32)) => lanes,
            (DeviceClass::Cpu, _) => 8,
            _ => 64,
        }
    }
}
