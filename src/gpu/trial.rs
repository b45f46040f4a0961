//! Whether an adapter's driver computes with cooperative matrices what it should; not compiled for browsers, which have
//! none.

use super::{Gpu, Launch, MatrixSize};
use crate::error::Result;
use crate::shader::matmul::matmul;
use crate::shader::{Variant, Workgroup};

/// A product whose every number is a whole one that halves and sums hold exactly.
struct Sample {
    m: usize,
    n: usize,
    k: usize,
    transpose_a: bool,
    transpose_b: bool,
}

impl Sample {
    fn element(seed: usize, row: usize, column: usize) -> f32 {
        ((row * 7 + column * 13 + seed * 5) % 17) as f32 - 8.0
    }

    /// The elements of a factor as they are stored.
    fn factor(seed: usize, rows: usize, columns: usize, transposed: bool) -> Vec<f32> {
        match transposed {
            false => (0..rows * columns).map(|i| Self::element(seed, i / columns, i % columns)).collect(),
            true => (0..rows * columns).map(|i| Self::element(seed, i % rows, i / rows)).collect(),
        }
    }

    fn product(&self) -> Vec<f32> {
        let one = |row: usize, column: usize| -> f32 {
            (0..self.k).map(|i| Self::element(1, row, i) * Self::element(2, i, column)).sum()
        };
        (0..self.m * self.n).map(|i| one(i / self.n, i % self.n)).collect()
    }
}

impl Gpu {
    /// Multiplies with cooperative matrices what has one exact result in any arithmetic; a driver that gets another, or
    /// refuses the kernel, is used without them.
    pub(super) async fn with_tried_matrices(mut self) -> Self {
        let Some(variant) = self.capabilities.cooperative.and_then(MatrixSize::variant) else { return self };
        let edge = variant.tile as usize;
        let sample = |transpose_a, transpose_b| Sample {
            m: edge + 4,
            n: edge + 8,
            k: edge / 2 + 4,
            transpose_a,
            transpose_b,
        };
        // Together they load either factor by rows and by columns.
        for sample in [sample(false, true), sample(true, false)] {
            let outcome = self.multiply(variant, &sample).await;
            if outcome.as_ref().is_ok_and(|product| *product == sample.product()) {
                continue;
            }
            let fault = outcome.map_or_else(|error| error.to_string(), |_| "they give wrong products".into());
            tracing::warn!("{} is used without its cooperative matrices: {fault}", self.capabilities.adapter);
            self.capabilities.cooperative = None;
            break;
        }
        self
    }

    async fn multiply(&self, variant: &'static Variant, sample: &Sample) -> Result<Vec<f32>> {
        let &Sample { m, n, k, transpose_a, transpose_b } = sample;
        let flag = |set: bool| f64::from(u8::from(set));
        let Workgroup::Subgroups(subgroups) = variant.workgroup else {
            return Err(crate::Error::Gpu(format!("kernel {} has no subgroups", variant.kernel.name)));
        };
        let overrides = [
            ("TRANSPOSE_A", flag(transpose_a)),
            ("TRANSPOSE_B", flag(transpose_b)),
            ("HAS_BIAS", 0.0),
            ("F16_INPUTS", 1.0),
            ("WORKGROUP_SIZE", f64::from(subgroups * self.capabilities.subgroup)),
        ];
        let pipeline = self.pipeline(&variant.kernel, &overrides).await?;
        let [m32, n32, k32] = [m, n, k].map(|size| size as u32);
        let params =
            matmul::Params { m: m32, n: n32, k: k32, batch: 1, alpha: 1.0, scale: 1.0, ..Default::default() };
        let uniform = self.uniform("a sample's parameters", size_of_val(&params) as u64)?;
        self.write(&uniform, 0, bytemuck::bytes_of(&params))?;
        let filled = |elements: Vec<f32>| {
            let buffer = self.storage("a sample's factor", 4 * elements.len() as u64)?;
            self.write(&buffer, 0, bytemuck::cast_slice(&elements))?;
            Ok::<_, crate::Error>(buffer)
        };
        let a = filled(Sample::factor(1, m, k, transpose_a))?;
        let b = filled(Sample::factor(2, k, n, transpose_b))?;
        let bytes = 4 * (m * n) as u64;
        let c = self.storage("a sample's product", bytes)?;
        let storage = [&a, &b, &b, &b, &b, &c].map(|buffer| (buffer, 0, buffer.bytes()));
        let bind_group = self.bind(&pipeline, &uniform, &storage);
        let groups = [4, 1, 1]; // 2 by 2 tiles
        self.submit([Launch { pipeline: &pipeline, bind_group: &bind_group, params: 0, groups, work: 1.0 }])?;
        Ok(bytemuck::pod_collect_to_vec(&self.read(&c, 0, bytes).await?))
    }
}
