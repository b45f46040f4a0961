//! The device that `--device` names, and its compiled kernels on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pollster::block_on;

use super::arguments::Global;
use super::output::note;
use crate::error::Result;
use crate::files::write_whole;
use crate::gpu::{DeviceClass, Faster, Finding, Findings, Gpu, Selection};

/// An open device. When it is dropped, its compiled kernels are kept for the next process.
pub(super) struct Device {
    pub gpu: Arc<Gpu>,
    cache: Option<PathBuf>,
    cached: Vec<u8>,
    /// Findings about the adapter's driver.
    finding: Finding,
    kept: Option<Finding>,
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
        let findings = findings();
        // A cache is an advantage, never a condition.
        let cached = cache.as_deref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let selection = Selection {
            device: device.to_owned(),
            cache: (!cached.is_empty()).then(|| cached.clone()),
            findings,
        };
        let gpu = Arc::new(block_on(Gpu::new(&selection))?);
        let kept = selection.findings.of(&gpu.identity()).cloned();
        let finding = gpu.finding().clone();
        let opened = Self { gpu, cache, cached, finding, kept };
        let capabilities = opened.gpu.capabilities();
        tracing::debug!(
            "opened {} for --device {}: class {:?}, bindings of {} MiB, {} bytes of compiled kernels{}",
            opened.name(),
            device,
            capabilities.class,
            capabilities.max_binding >> 20,
            opened.cached.len(),
            opened.cache.as_ref().map_or(String::new(), |path| format!(" from {}", path.display()))
        );
        if !quiet {
            let software = if capabilities.class == DeviceClass::Cpu { ", a software driver" } else { "" };
            let rank = rank.map_or(String::new(), |rank| format!(" of rank {rank}"));
            note(format!("device{rank}: {}{software}", opened.name()));
        }
        Ok(opened)
    }

    /// "`<backend> <adapter's name>`".
    pub fn name(&self) -> String {
        self.gpu.capabilities().label()
    }

    /// Keeps which kernels are left aside on this adapter from the next process on.
    pub fn set_aside(&mut self, kernels: BTreeMap<String, String>) {
        self.finding.set_aside = kernels;
    }

    /// What was measured on this adapter, by class; `None` where nothing was.
    pub fn tuned(&self) -> Option<&BTreeMap<String, Faster>> {
        self.finding.tuned.as_ref()
    }

    /// Takes these kernels from now on, and keeps them for later processes.
    pub fn tune(&mut self, tuned: BTreeMap<String, Faster>) {
        self.finding.tuned = Some(tuned);
        self.gpu = Arc::new(self.gpu.preferring(self.finding.preferred()));
        // A training that follows may be killed.
        if self.save_finding().is_some() {
            self.kept = Some(self.finding.clone());
        }
    }

    fn save_finding(&self) -> Option<()> {
        if self.kept.as_ref().unwrap_or(&Finding::default()) == &self.finding {
            return None;
        }
        // Another process may have written since.
        let mut all = findings();
        all.put(&self.gpu.identity(), self.finding.clone());
        write_whole(&cache_folder()?.join(FINDINGS), serde_json::to_string_pretty(&all).ok()?.as_bytes()).ok()
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
        self.save_finding();
        self.save();
    }
}

/// The file in the cache's folder with what is known of adapters' drivers.
const FINDINGS: &str = "adapters.json";

/// Findings about adapters' drivers; nothing where the file is none.
pub(super) fn findings() -> Findings {
    let text = cache_folder().and_then(|folder| std::fs::read(folder.join(FINDINGS)).ok());
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn cache_folder() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = given("XDG_CACHE_HOME").or_else(|| given("HOME").map(|home| home.join(".cache")))?;
    Some(folder.join("polymix"))
}

/// One file for each way to name a device; the driver ignores a file that is not its own.
fn cache_file(device: &str) -> Option<PathBuf> {
    let slug: String = device
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    Some(cache_folder()?.join(format!("pipelines-{slug}.bin")))
}
