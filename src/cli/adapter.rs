//! The device that `--device` names, and its compiled kernels on disk.

use std::path::PathBuf;
use std::sync::Arc;

use pollster::block_on;

use super::arguments::Global;
use super::output::note;
use crate::error::Result;
use crate::files::write_whole;
use crate::gpu::{Gpu, Selection, Tier};

/// An open device. When it is dropped, its compiled kernels are kept for the next process.
pub(super) struct Device {
    pub gpu: Arc<Gpu>,
    cache: Option<PathBuf>,
    cached: Vec<u8>,
}

impl Device {
    /// Opens the device and says which one it is.
    ///
    /// # Errors
    /// When no adapter is there, none matches, or its device cannot be opened.
    pub fn open(global: &Global) -> Result<Self> {
        Self::named(&global.device, global.quiet, None)
    }

    /// Opens the device that `device` names, as `rank` of several.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn named(device: &str, quiet: bool, rank: Option<usize>) -> Result<Self> {
        let cache = cache_file(device);
        // A cache is an advantage, never a condition.
        let cached = cache.as_deref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let selection =
            Selection { device: device.to_owned(), cache: (!cached.is_empty()).then(|| cached.clone()) };
        let gpu = Arc::new(block_on(Gpu::new(&selection))?);
        let opened = Self { gpu, cache, cached };
        let capabilities = opened.gpu.capabilities();
        tracing::debug!(
            "opened {} for --device {}: tier {:?}, bindings of {} MiB, {} bytes of compiled kernels{}",
            opened.name(),
            device,
            capabilities.tier,
            capabilities.max_binding >> 20,
            opened.cached.len(),
            opened.cache.as_ref().map_or(String::new(), |path| format!(" from {}", path.display()))
        );
        if !quiet {
            let software = if capabilities.tier == Tier::Cpu { ", a software driver" } else { "" };
            let rank = rank.map_or(String::new(), |rank| format!(" of rank {rank}"));
            note(format!("device{rank}: {}{software}", opened.name()));
        }
        Ok(opened)
    }

    /// "`<backend> <adapter's name>`".
    pub fn name(&self) -> String {
        self.gpu.capabilities().label()
    }

    fn save(&self) -> Option<()> {
        let (path, data) = (self.cache.as_deref()?, self.gpu.pipeline_cache()?);
        if data.is_empty() || data == self.cached {
            return None;
        }
        write_whole(path, &data).ok()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.save();
    }
}

/// One file for each way to name a device; the driver ignores a file that is not its own.
fn cache_file(device: &str) -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = given("XDG_CACHE_HOME").or_else(|| given("HOME").map(|home| home.join(".cache")))?;
    let slug: String = device
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    Some(folder.join("polymix").join(format!("pipelines-{slug}.bin")))
}
