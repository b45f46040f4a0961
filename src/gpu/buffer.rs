//! Buffers: created, written, read back, destroyed.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::Gpu;
use crate::error::{Error, Result};

/// GPU memory that is given back when the handle is dropped.
#[derive(Debug)]
pub struct Buffer {
    pub(super) raw: wgpu::Buffer,
    bytes: u64,
    allocated: Arc<AtomicU64>,
}

impl Buffer {
    /// The size of a buffer or a binding that holds `bytes`: not empty, and with no end within four elements.
    pub fn size_for(bytes: u64) -> u64 {
        bytes.max(16).next_multiple_of(16)
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.raw.destroy();
        self.allocated.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Gpu {
    /// A zeroed storage buffer of at least `bytes`. The zeros are written now, so that a driver whose memory is
    /// the process's own takes it now and not bit by bit.
    ///
    /// # Errors
    /// When it passes the device's limits or memory.
    pub fn storage(&self, label: &str, bytes: u64) -> Result<Buffer> {
        use wgpu::BufferUsages as Usage;
        let buffer = self.buffer(label, bytes, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST)?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&buffer.raw, 0, None);
        self.queue.submit([encoder.finish()]);
        Ok(buffer)
    }

    /// A uniform buffer of at least `bytes`.
    ///
    /// # Errors
    /// When it passes the device's limits or memory.
    pub fn uniform(&self, label: &str, bytes: u64) -> Result<Buffer> {
        self.buffer(label, bytes, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST)
    }

    pub(super) fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Buffer> {
        let bytes = Buffer::size_for(bytes);
        if bytes > self.capabilities.max_buffer {
            return Err(Error::OutOfMemory(format!(
                "{label} needs {bytes} bytes in one buffer, {} allows {}; use a smaller batch or a smaller model",
                self.capabilities.adapter, self.capabilities.max_buffer
            )));
        }
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let raw = self.device.create_buffer(&descriptor);
        self.allocated.fetch_add(bytes, Ordering::Relaxed);
        let buffer = Buffer { raw, bytes, allocated: self.allocated.clone() };
        self.check()?;
        Ok(buffer)
    }

    /// Writes `data` at byte `offset`, before the work that is submitted next.
    ///
    /// # Errors
    /// When the data does not fit or its length is no multiple of 4.
    pub fn write(&self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<()> {
        if !data.len().is_multiple_of(4) || offset + data.len() as u64 > buffer.bytes {
            let message = format!("{} bytes at {offset} do not fit a buffer of {}", data.len(), buffer.bytes);
            return Err(Error::invalid(message));
        }
        self.queue.write_buffer(&buffer.raw, offset, data);
        Ok(())
    }

    /// Reads `bytes` at byte `offset`, after all work that was submitted before.
    ///
    /// # Errors
    /// When the device fails or is lost.
    pub async fn read(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer("read-back", bytes, usage)?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&buffer.raw, offset, &staging.raw, 0, bytes);
        self.queue.submit([encoder.finish()]);

        let state: Arc<Mutex<(Option<bool>, Option<Waker>)>> = Arc::default();
        let shared = state.clone();
        staging.raw.map_async(wgpu::MapMode::Read, 0..bytes, move |mapped| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = Some(mapped.is_ok());
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        self.wait()?;
        let mapped = poll_fn(|context| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match state.0 {
                Some(mapped) => Poll::Ready(mapped),
                None => {
                    state.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        self.check()?;
        let range = staging.raw.get_mapped_range(0..bytes).ok().filter(|_| mapped);
        let range = range.ok_or_else(|| {
            Error::DeviceLost("the device gave nothing back, as after a driver's reset; try again".into())
        })?;
        Ok(range.to_vec())
    }

    /// Waits until all submitted work is done; does nothing in a browser, which does not block.
    ///
    /// # Errors
    /// When the device fails or is lost.
    pub fn wait(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        match self.device.poll(wgpu::PollType::wait_indefinitely()) {
            Ok(_) => self.pace().done(),
            Err(error) => {
                self.check()?;
                return Err(Error::DeviceLost(format!("waiting for the device failed: {error}")));
            }
        }
        self.check()
    }
}
