//! Cooperative matrices: whether an adapter has those that kernels use.

use serde::Serialize;

use crate::shader::matmul::matmul;
use crate::shader::{Condition, Variant, Workgroup};

/// Rows and columns of the matrices that a subgroup multiplies as one: f16, with sums of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum MatrixSize {
    /// 8×8, as on Apple's GPUs.
    Eight = 8,
    /// 16×16, as on NVIDIA's, AMD's and Intel's.
    Sixteen = 16,
}

impl MatrixSize {
    /// The kernel that multiplies with them.
    pub(super) fn variant(self) -> Option<&'static Variant> {
        let is_own = |variant: &&&Variant| {
            let size = |condition: &Condition| matches!(condition, Condition::Matrices(size) if *size == self as u32);
            variant.needs.iter().any(|need| size(&need.condition))
        };
        matmul::VARIANTS.iter().find(is_own).copied()
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
        let Some(variant) = size.variant() else { return false };
        let Workgroup::Subgroups(subgroups) = variant.workgroup else { return false };
        variant.kernel.workgroup_bytes <= limits.max_compute_workgroup_storage_size
            && subgroups * lanes <= limits.max_compute_invocations_per_workgroup
            && properties.iter().any(|one| {
                [one.m_size, one.n_size, one.k_size] == [edge; 3]
                    && one.ab_type == wgpu::CooperativeScalarType::F16
                    && one.cr_type == wgpu::CooperativeScalarType::F32
            })
    };
    [MatrixSize::Sixteen, MatrixSize::Eight].into_iter().find(|size| fits(*size))
}
