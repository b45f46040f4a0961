//! Bind groups and bounded submission of recorded work.

use std::sync::{MutexGuard, PoisonError};

use web_time::Instant;

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
    /// Estimated operations, and those that take as long as its bytes.
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

/// How much estimated work closes a submit: a system may reset a GPU after 2 s in one. It begins with what takes weak GPUs
/// less than that, and is a tenth of a second's as soon as the adapter has shown what it does.
#[derive(Debug)]
pub(super) struct Pace {
    work_per_submit: f64,
    /// When the unfinished work began, and its amount.
    under_way: Option<(Instant, f64)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { work_per_submit: 2e10, under_way: None }
    }
}

/// Seconds of a submit.
#[cfg(not(target_arch = "wasm32"))]
const SUBMIT: f64 = 0.1;
/// Less work says nothing of the adapter.
#[cfg(not(target_arch = "wasm32"))]
const TELLING: f64 = 2e9;

impl Pace {
    fn submitted(&mut self, work: f64) {
        self.under_way.get_or_insert_with(|| (Instant::now(), 0.0)).1 += work;
    }

    /// All that was submitted is done.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn done(&mut self) {
        if let Some((began, work)) = self.under_way.take() {
            self.done_in(began.elapsed().as_secs_f64(), work);
        }
    }

    /// Whatever else the time holds makes the adapter look slower than it is, so that submits are rather too small.
    #[cfg(not(target_arch = "wasm32"))]
    fn done_in(&mut self, seconds: f64, work: f64) {
        if work >= TELLING && seconds > 0.0 {
            self.work_per_submit = (SUBMIT * work / seconds).clamp(1e9, 2e12);
        }
    }
}

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
    /// When the device fails.
    pub fn submit<'a>(&self, launches: impl IntoIterator<Item = Launch<'a>>) -> Result<()> {
        let mut launches = launches.into_iter().peekable();
        let most = self.pace().work_per_submit;
        while launches.peek().is_some() {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let mut work = 0.0;
            while let Some(launch) = launches.next_if(|_| work < most) {
                encode(&mut pass, &launch);
                work += launch.work;
            }
            drop(pass);
            self.pace().submitted(work);
            self.queue.submit([encoder.finish()]);
        }
        self.check()
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with what was written, which otherwise waits for the next submission.
    pub fn flush(&self) {
        self.queue.submit([]);
    }

    /// Runs the launches one by one, each timed by the device; empty where it cannot.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn time(&self, launches: &[Launch<'_>]) -> Result<Vec<Timing>> {
        let mut timings = Vec::new();
        if !self.capabilities.timestamps {
            self.submit(launches.iter().copied())?;
            return Ok(timings);
        }
        let most = self.pace().work_per_submit;
        let period = f64::from(self.queue.get_timestamp_period());
        while timings.len() < launches.len() {
            let (first, mut work) = (timings.len(), 0.0);
            let bounded = |launch: &&Launch<'_>| {
                let before = work;
                work += launch.work;
                before < most
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submits_take_a_tenth_of_a_second() {
        let mut pace = Pace::default();
        pace.done_in(1e-3, 1e6);
        assert_eq!(pace.work_per_submit, 2e10, "too little work to tell");
        // A GPU of 50 billion a second, one that is too slow for any bound, and a fast one.
        for (seconds, work, most) in [(2.0, 1e11, 5e9), (10.0, 1e10, 1e9), (0.3, 8.8e12, 2e12)] {
            pace.done_in(seconds, work);
            assert_eq!(pace.work_per_submit, most);
        }
    }
}
