//! Buffers that outlive a run and are shared by the plans of all shapes: parameters, gradients, moments.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::Staging;
use crate::gpu::{Buffer, Gpu};
use crate::shape::Spec;

/// Where an entry lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Index of the buffer.
    pub buffer: usize,
    /// First byte.
    pub offset: u64,
    /// Shape and type.
    pub spec: Spec,
}

/// Named persistent tensors in a few buffers. A clone shares the buffers of what is stored so far; what either stores
/// after that is its own.
#[derive(Debug, Clone, Default)]
pub struct Store {
    buffers: Vec<Arc<Buffer>>,
    entries: HashMap<String, Entry>,
}

/// Every entry of an arena starts at a multiple of this many elements, as bindings must.
const ARENA_ALIGNMENT: usize = 64;

/// Elements that an entry of `elements` elements takes of an arena, the gap behind it included.
pub fn arena_elements(elements: usize) -> usize {
    elements.next_multiple_of(ARENA_ALIGNMENT)
}

/// Bytes that an entry takes of an arena, the gap behind it included.
pub fn arena_bytes(spec: &Spec) -> u64 {
    (arena_elements(spec.shape.elements()) * spec.dtype.bytes()) as u64
}

impl Store {
    /// A zeroed buffer that holds `parts` one after another, aligned, and is an entry `name` itself.
    ///
    /// # Errors
    /// When a name is taken or the device has no room.
    pub fn arena(&mut self, gpu: &Gpu, name: &str, parts: &[(String, Spec)]) -> Result<()> {
        let mut offset = 0;
        for (part, spec) in parts {
            self.insert(part, Entry { buffer: self.buffers.len(), offset, spec: spec.clone() })?;
            offset += arena_bytes(spec);
        }
        let spec = Spec::f32([offset as usize / 4]);
        if !parts.iter().any(|(part, _)| part == name) {
            self.insert(name, Entry { buffer: self.buffers.len(), offset: 0, spec })?;
        }
        self.buffers.push(Arc::new(gpu.storage(name, offset)?));
        Ok(())
    }

    fn insert(&mut self, name: &str, entry: Entry) -> Result<()> {
        match self.entries.insert(name.to_owned(), entry) {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!("{name} is stored twice"))),
        }
    }

    /// The entry `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| Error::invalid(format!("nothing is stored as {name}")))
    }

    /// Whether there is an entry `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The buffer of an entry.
    pub(super) fn buffer(&self, entry: &Entry) -> &Buffer {
        &self.buffers[entry.buffer]
    }

    /// Replaces the content of the entry `name`.
    ///
    /// # Errors
    /// When there is none or the length differs.
    pub fn write<T: bytemuck::NoUninit>(&self, gpu: &Gpu, name: &str, data: &[T]) -> Result<()> {
        let entry = self.entry(name)?;
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if bytes.len() as u64 != entry.spec.bytes() {
            let wanted = entry.spec.bytes();
            return Err(Error::invalid(format!("{name} holds {wanted} bytes, {} were given", bytes.len())));
        }
        gpu.write(self.buffer(entry), entry.offset, bytes)
    }

    /// Reads the entry `name` from element `first` on through kept memory, as much as `out` holds.
    ///
    /// # Errors
    /// When there is none or it is shorter, or the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fetch(
        &self,
        gpu: &Gpu,
        staging: &Staging,
        name: &str,
        first: usize,
        out: &mut [f32],
    ) -> Result<()> {
        let entry = self.entry(name)?;
        gpu.fetch(staging, self.buffer(entry), entry.offset + 4 * first as u64, out)
    }

    /// Writes `data` over the entry `name` from element `first` on, through kept memory.
    ///
    /// # Errors
    /// When there is none or it is shorter, or the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn put(&self, gpu: &Gpu, staging: &Staging, name: &str, first: usize, data: &[f32]) -> Result<()> {
        let entry = self.entry(name)?;
        gpu.put(staging, self.buffer(entry), entry.offset + 4 * first as u64, data)
    }

    /// The content of the entry `name`.
    ///
    /// # Errors
    /// When there is none or the device fails.
    pub async fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &self,
        gpu: &Gpu,
        name: &str,
    ) -> Result<Vec<T>> {
        let entry = self.entry(name)?;
        let bytes = gpu.read(self.buffer(entry), entry.offset, entry.spec.bytes()).await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}
