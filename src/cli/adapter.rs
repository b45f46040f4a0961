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
        let cache = cache_file(&global.device);
        // A cache is an advantage, never a condition.
        let cached = cache.as_deref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let selection =
            Selection { device: global.device.clone(), cache: (!cached.is_empty()).then(|| cached.clone()) };
        let gpu = Arc::new(block_on(Gpu::new(&selection))?);
        let device = Self { gpu, cache, cached };
        let capabilities = device.gpu.capabilities();
        tracing::debug!(
            "opened {} for --device {}: tier {:?}, bindings of {} MiB, {} bytes of compiled kernels{}",
            device.name(),
            global.device,
            capabilities.tier,
            capabilities.max_binding >> 20,
            device.cached.len(),
            device.cache.as_ref().map_or(String::new(), |path| format!(" from {}", path.display()))
        );
        if !global.quiet {
            let software = device.gpu.capabilities().tier == Tier::Cpu;
            note(format!("device: {}{}", device.name(), if software { ", a software driver" } else { "" }));
        }
        Ok(device)
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
