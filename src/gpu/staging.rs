//! Staging buffers for reads and writes at every step, allocated once.

use std::sync::mpsc;

use super::{Buffer, Gpu};
use crate::error::{Error, Result};

/// Two kept buffers that the host can map, one each way.
#[derive(Debug)]
pub struct Staging {
    down: Buffer,
    up: Buffer,
}

impl Gpu {
    /// Staging for parts of at most `bytes`.
    ///
    /// # Errors
    /// When it passes the device's limits or memory.
    pub fn staging(&self, bytes: u64) -> Result<Staging> {
        use wgpu::BufferUsages as Usage;
        let down = self.buffer("staging down", bytes, Usage::MAP_READ | Usage::COPY_DST)?;
        let up = self.buffer("staging up", bytes, Usage::MAP_WRITE | Usage::COPY_SRC)?;
        Ok(Staging { down, up })
    }

    /// Copies what lies in `buffer` from byte `offset` to `out`, after all work that was submitted before.
    ///
    /// # Errors
    /// When the staging is too small, or the device fails or is lost.
    pub fn fetch(&self, staging: &Staging, buffer: &Buffer, offset: u64, out: &mut [f32]) -> Result<()> {
        let bytes = size_of_val(out) as u64;
        self.copy(buffer, offset, &staging.down, 0, bytes)?;
        let read = self.map(&staging.down, wgpu::MapMode::Read, bytes)?;
        let range = staging.down.raw.get_mapped_range(0..bytes).ok().filter(|_| read).ok_or_else(unmapped)?;
        bytemuck::cast_slice_mut(out).copy_from_slice(&range);
        drop(range);
        staging.down.raw.unmap();
        Ok(())
    }

    /// Copies `data` into `buffer` at byte `offset`, before the work that is submitted next.
    ///
    /// # Errors
    /// When the staging is too small, or the device fails or is lost.
    pub fn put(&self, staging: &Staging, buffer: &Buffer, offset: u64, data: &[f32]) -> Result<()> {
        let bytes = size_of_val(data) as u64;
        let mapped = self.map(&staging.up, wgpu::MapMode::Write, bytes)?;
        let range = staging.up.raw.get_mapped_range_mut(0..bytes);
        let mut range = range.ok().filter(|_| mapped).ok_or_else(unmapped)?;
        range.copy_from_slice(bytemuck::cast_slice(data));
        drop(range);
        staging.up.raw.unmap();
        self.copy(&staging.up, 0, buffer, offset, bytes)
    }

    fn copy(&self, from: &Buffer, at: u64, to: &Buffer, offset: u64, bytes: u64) -> Result<()> {
        if at + bytes > from.bytes() || offset + bytes > to.bytes() {
            return Err(Error::invalid(format!(
                "{bytes} bytes do not fit the staging; report this as a defect"
            )));
        }
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&from.raw, at, &to.raw, offset, bytes);
        self.queue.submit([encoder.finish()]);
        self.check()
    }

    /// Whether the buffer was mapped.
    fn map(&self, buffer: &Buffer, mode: wgpu::MapMode, bytes: u64) -> Result<bool> {
        let (tell, told) = mpsc::channel();
        buffer.raw.map_async(mode, 0..bytes, move |result| {
            let _ = tell.send(result.is_ok());
        });
        self.wait()?;
        // Where threads share a device, another one's wait may be what tells, and a moment later than this one ends.
        Ok(told.recv().unwrap_or(false))
    }
}

fn unmapped() -> Error {
    Error::DeviceLost("the device gave no memory to the host, as after a driver's reset; try again".into())
}
