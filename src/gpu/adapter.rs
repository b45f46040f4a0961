//! Enumeration and choice of adapters.

use serde::Serialize;

use super::{Capabilities, DeviceClass, Gpu};
use crate::error::{Error, Result};

/// Which adapter to open.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `auto`, an index of [`adapters`], or a part of "`<backend> <adapter's name>`".
    pub device: String,
    /// What [`Gpu::pipeline_cache`] gave in an earlier process on the same adapter.
    pub cache: Option<Vec<u8>>,
    /// What [`Gpu::finding`] gave in earlier processes.
    #[cfg(not(target_arch = "wasm32"))]
    pub findings: super::Findings,
}

/// One adapter as `polymix devices` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterReport {
    /// Its index for `--device`.
    pub index: usize,
    /// Limits and features.
    #[serde(flatten)]
    pub capabilities: Capabilities,
    /// Driver and version.
    pub driver: String,
    /// Names of the features that it has.
    pub features: Vec<String>,
    /// Workgroup memory, bytes.
    pub workgroup_memory: u32,
    /// Largest number of invocations in a workgroup.
    pub workgroup_invocations: u32,
    /// Whether `auto` picks it.
    pub chosen: bool,
    /// Adapter, driver and its version, as of [`Gpu::identity`].
    #[cfg(not(target_arch = "wasm32"))]
    pub identity: String,
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::all();
    wgpu::Instance::new(descriptor)
}

/// All adapters that can compute, in a fixed order.
async fn enumerate() -> Vec<wgpu::Adapter> {
    let adapters = instance().enumerate_adapters(wgpu::Backends::all()).await;
    let flag = wgpu::DownlevelFlags::COMPUTE_SHADERS;
    adapters.into_iter().filter(|a| a.get_downlevel_capabilities().flags.contains(flag)).collect()
}

fn capabilities(adapter: &wgpu::Adapter) -> Capabilities {
    Capabilities::new(adapter, &adapter.limits(), adapter.features())
}

/// The adapters of this machine.
pub async fn adapters() -> Vec<AdapterReport> {
    let all = enumerate().await;
    let chosen = pick(&all, "auto").ok().map(|(index, _)| index);
    let reports = all.iter().enumerate().map(|(index, adapter)| {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        AdapterReport {
            index,
            capabilities: capabilities(adapter),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            features: adapter.features().iter_names().map(|(name, _)| name.to_lowercase()).collect(),
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            chosen: chosen == Some(index),
            #[cfg(not(target_arch = "wasm32"))]
            identity: super::identity(&info),
        }
    });
    reports.collect()
}

/// The indices of all adapters that are as good an answer to `device` as the one that [`Gpu::new`] opens: of the same
/// kind, by the same backend. An index is the only answer to itself.
///
/// # Errors
/// When no adapter is there or none matches.
#[cfg(not(target_arch = "wasm32"))]
pub async fn equals(device: &str) -> Result<Vec<usize>> {
    let all = enumerate().await;
    let (best, _) = pick(&all, device)?;
    if device.trim().parse::<usize>().is_ok() {
        return Ok(vec![best]);
    }
    let wanted = device.trim().to_lowercase();
    let kind = |index: usize| {
        let capabilities = capabilities(&all[index]);
        (preference(&capabilities), capabilities.backend)
    };
    let matches = |index: &usize| matches!(wanted.as_str(), "" | "auto") || answers(&all[*index], &wanted);
    Ok((0..all.len()).filter(|&index| kind(index) == kind(best)).filter(matches).collect())
}

/// Discrete before integrated before software; Vulkan before DirectX, which may have but a slow compiler, before GL; the
/// first of equals.
fn preference(capabilities: &Capabilities) -> (u8, u8) {
    let class = match capabilities.class {
        DeviceClass::Discrete => 0,
        DeviceClass::Integrated => 1,
        DeviceClass::Cpu => 2,
    };
    let interface = match capabilities.backend.as_str() {
        "gl" => 2,
        "dx12" => 1,
        _ => 0,
    };
    (class, interface)
}

fn label(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    format!("{} {}", info.backend.to_str(), info.name)
}

/// Whether every word of `text`, as of "gl llvmpipe", occurs in "<backend> <name>", the first one at its start or anywhere.
fn answers(adapter: &wgpu::Adapter, text: &str) -> bool {
    let label = label(adapter).to_lowercase();
    let starts = |word: &str| {
        label.split_whitespace().any(|part| part.trim_matches(['(', ')', ',']).starts_with(word))
    };
    label.contains(text) || text.split_whitespace().all(starts)
}

fn pick<'a>(all: &'a [wgpu::Adapter], device: &str) -> Result<(usize, &'a wgpu::Adapter)> {
    if all.is_empty() {
        return Err(Error::NoAdapter(
            "no GPU adapter was found; install a Vulkan driver (Debian: mesa-vulkan-drivers, which also runs \
             without a GPU)"
                .into(),
        ));
    }
    let numbered = || all.iter().enumerate();
    let wanted = device.trim().to_lowercase();
    let found = match wanted.as_str() {
        "" | "auto" => numbered().min_by_key(|(_, adapter)| preference(&capabilities(adapter))),
        text => match text.parse::<usize>() {
            Ok(index) => numbered().nth(index),
            Err(_) => numbered()
                .filter(|(_, adapter)| answers(adapter, text))
                .min_by_key(|(_, adapter)| preference(&capabilities(adapter))),
        },
    };
    found.ok_or_else(|| {
        let names: Vec<String> = numbered().map(|(i, adapter)| format!("{i}: {}", label(adapter))).collect();
        Error::NoAdapter(format!("no adapter matches `{device}`; there is {}", names.join("; ")))
    })
}

impl Gpu {
    /// Opens the selected adapter. A software driver is taken by `auto` only where nothing else is.
    ///
    /// # Errors
    /// When no adapter is there, none matches, or its device cannot be opened.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn new(selection: &Selection) -> Result<Self> {
        let all = enumerate().await;
        let (_, adapter) = pick(&all, &selection.device)?;
        Self::open(adapter, selection.cache.as_deref()).await?.with(&selection.findings).await
    }

    /// Opens the browser's high-performance adapter.
    ///
    /// # Errors
    /// When the browser has no WebGPU or its device cannot be opened.
    #[cfg(target_arch = "wasm32")]
    pub async fn new(selection: &Selection) -> Result<Self> {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance().request_adapter(&options).await;
        let adapter =
            adapter.map_err(|e| Error::NoAdapter(format!("this browser offers no WebGPU adapter: {e}")))?;
        let all = [adapter];
        let (_, adapter) = pick(&all, &selection.device)?;
        Self::open(adapter, None).await
    }
}
