//! Cooperative matrices: whether an adapter has those that kernels use.

use serde::Serialize;

use crate::shader::Kernel;
use crate::shader::matmul::{matmul_cooperative_8, matmul_cooperative_16};

/// Rows and columns of the matrices that a subgroup multiplies as one: halves, with sums of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum MatrixSize {
    /// 8×8, as on Apple's GPUs.
    Eight = 8,
    /// 16×16, as on NVIDIA's, AMD's and Intel's.
    Sixteen = 16,
}

impl MatrixSize {
    /// The kernel that multiplies with them, by 8 subgroups.
    pub fn kernel(self) -> &'static Kernel {
        match self {
            Self::Eight => &matmul_cooperative_8::KERNEL,
            Self::Sixteen => &matmul_cooperative_16::KERNEL,
        }
    }

    /// Rows and columns of the tile of the result that a workgroup of the kernel makes.
    pub fn tile(self) -> usize {
        8 * self as usize
    }
}

/// The features that kernels with cooperative matrices need.
pub(super) fn features() -> wgpu::Features {
    wgpu::Features::SHADER_F16 | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP
}

/// The larger size that the adapter has and whose kernel fits its limits.
pub(super) fn matrix_size(adapter: &wgpu::Adapter) -> Option<MatrixSize> {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let lanes = info.subgroup_min_size;
    if !adapter.features().contains(features()) || lanes == 0 || lanes != info.subgroup_max_size {
        return None;
    }
    let properties = adapter.cooperative_matrix_properties();
    let fits = |size: MatrixSize| {
        let edge = size as u32;
        // As the kernel's declarations: a slice of either operand, and a block of the result for each subgroup.
        let slices = 2 * (8 * edge) * (2 * edge / 4 + 2) * 8;
        slices + 8 * edge * edge * 4 <= limits.max_compute_workgroup_storage_size
            && 8 * lanes <= limits.max_compute_invocations_per_workgroup
            && properties.iter().any(|one| {
                [one.m_size, one.n_size, one.k_size] == [edge; 3]
                    && one.ab_type == wgpu::CooperativeScalarType::F16
                    && one.cr_type == wgpu::CooperativeScalarType::F32
            })
    };
    [MatrixSize::Sixteen, MatrixSize::Eight].into_iter().find(|size| fits(*size))
}
