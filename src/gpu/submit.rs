//! Bind groups and bounded submission of recorded work.

use super::{Buffer, Gpu, Pipeline};
use crate::error::Result;

/// The buffers of one dispatch.
#[derive(Debug)]
pub struct BindGroup(wgpu::BindGroup);

/// One dispatch, ready to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The compiled kernel.
    pub pipeline: &'a Pipeline,
    /// Its buffers.
    pub bind_group: &'a BindGroup,
    /// Where its parameters start in the uniform buffer, bytes.
    pub params: u32,
    /// Workgroups along each axis.
    pub groups: [u32; 3],
    /// Estimated operations plus bytes moved.
    pub work: f64,
}

/// How long a launch took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Index of the launch.
    pub launch: usize,
    /// Nanoseconds on the device.
    pub nanoseconds: f64,
}

/// A submit is closed after this much estimated work: a system may reset a GPU after 2 s in one submit.
const WORK_PER_SUBMIT: f64 = 2e10;

impl Gpu {
    /// Binds `params` (with a dynamic offset) and the storage regions `(buffer, offset, bytes)`.
    pub fn bind(&self, pipeline: &Pipeline, params: &Buffer, storage: &[(&Buffer, u64, u64)]) -> BindGroup {
        let uniform = (params, 0, pipeline.params);
        let regions = std::iter::once(&uniform).chain(storage);
        let entries: Vec<_> = (0..)
            .zip(regions)
            .map(|(binding, &(buffer, offset, bytes))| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffer.raw,
                    offset,
                    size: wgpu::BufferSize::new(bytes),
                }),
            })
            .collect();
        let descriptor =
            wgpu::BindGroupDescriptor { label: None, layout: &pipeline.layout, entries: &entries };
        BindGroup(self.device.create_bind_group(&descriptor))
    }

    /// Encodes the launches in order and submits them in bounded amounts of work.
    ///
    /// # Errors
    /// What the device reported.
    pub fn submit<'a>(&self, launches: impl IntoIterator<Item = Launch<'a>>) -> Result<()> {
        let mut launches = launches.into_iter().peekable();
        while launches.peek().is_some() {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let mut work = 0.0;
            while let Some(launch) = launches.next_if(|_| work < WORK_PER_SUBMIT) {
                encode(&mut pass, &launch);
                work += launch.work;
            }
            drop(pass);
            self.queue.submit([encoder.finish()]);
        }
        self.check()
    }

    /// Begins with what was written, which otherwise waits for the next submission.
    pub fn flush(&self) {
        self.queue.submit([]);
    }

    /// Runs the launches one by one, each timed by the device; empty where it cannot.
    ///
    /// # Errors
    /// What the device reported.
    pub async fn time(&self, launches: &[Launch<'_>]) -> Result<Vec<Timing>> {
        let mut timings = Vec::new();
        if !self.capabilities.timestamps {
            self.submit(launches.iter().copied())?;
            return Ok(timings);
        }
        let period = f64::from(self.queue.get_timestamp_period());
        while timings.len() < launches.len() {
            let (first, mut work) = (timings.len(), 0.0);
            let bounded = |launch: &&Launch<'_>| {
                let before = work;
                work += launch.work;
                before < WORK_PER_SUBMIT
            };
            // A query set holds at most 4096 queries.
            let length = launches[first..].iter().take(2048).take_while(bounded).count();
            let chunk = &launches[first..first + length];
            let count = 2 * chunk.len() as u32;
            let queries = self.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            let resolved = self.buffer("timestamps", u64::from(count) * 8, usage)?;
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for (index, launch) in (0..).zip(chunk) {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set: &queries,
                        beginning_of_pass_write_index: Some(2 * index),
                        end_of_pass_write_index: Some(2 * index + 1),
                    }),
                });
                encode(&mut pass, launch);
            }
            encoder.resolve_query_set(&queries, 0..count, &resolved.raw, 0);
            self.queue.submit([encoder.finish()]);
            let bytes = self.read(&resolved, 0, u64::from(count) * 8).await?;
            let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
            timings.extend(stamps.chunks_exact(2).enumerate().map(|(i, pair)| Timing {
                launch: first + i,
                nanoseconds: pair[1].saturating_sub(pair[0]) as f64 * period,
            }));
        }
        Ok(timings)
    }
}

fn encode(pass: &mut wgpu::ComputePass<'_>, launch: &Launch<'_>) {
    pass.set_pipeline(&launch.pipeline.raw);
    pass.set_bind_group(0, &launch.bind_group.0, &[launch.params]);
    pass.dispatch_workgroups(launch.groups[0], launch.groups[1], launch.groups[2]);
}
