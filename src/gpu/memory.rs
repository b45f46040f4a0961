//! Free memory of system and device.

use std::fs::read_to_string;

use super::{DeviceClass, Gpu};

impl Gpu {
    /// Bytes of memory that the device can still give, where driver and system say so: of a device with memory of its own
    /// what Vulkan's heaps have left, of others what the system has.
    pub fn free_memory(&self) -> Option<u64> {
        let own = self.heap();
        match self.capabilities().class {
            DeviceClass::Discrete => own,
            DeviceClass::Integrated | DeviceClass::Cpu => {
                available().map(|system| own.map_or(system, |own| own.min(system))).or(own)
            }
        }
    }

    /// Identifies this device among those of the machine: ranks with the same value share its memory.
    pub fn place(&self) -> String {
        let machine = read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match self.capabilities().class {
            // Whatever drivers there are, they take it from the system.
            DeviceClass::Integrated | DeviceClass::Cpu => format!("{} memory", machine.trim()),
            DeviceClass::Discrete => {
                let bus = self.device.adapter_info().device_pci_bus_id;
                format!("{} {} {bus}", machine.trim(), self.capabilities().adapter)
            }
        }
    }

    /// What the largest heap of the device's own memory has left; all of it, where the driver does not say what others use.
    #[cfg(any(windows, target_os = "linux", target_os = "android"))]
    fn heap(&self) -> Option<u64> {
        use ash::vk;

        // SAFETY: nothing is destroyed or changed through it.
        let device = unsafe { self.device.as_hal::<wgpu::hal::api::Vulkan>() }?;
        let (physical, shared) = (device.raw_physical_device(), device.shared_instance());
        let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
        let budgets = device.enabled_device_extensions().contains(&ash::ext::memory_budget::NAME)
            && shared.instance_api_version() >= vk::API_VERSION_1_1;
        let memory = if budgets {
            let mut properties = vk::PhysicalDeviceMemoryProperties2::default().push_next(&mut budget);
            // SAFETY: the physical device belongs to this instance, which lives as long as the device, and whose version
            // has the function.
            unsafe {
                shared.raw_instance().get_physical_device_memory_properties2(physical, &mut properties)
            };
            properties.memory_properties
        } else {
            // SAFETY: as above.
            unsafe { shared.raw_instance().get_physical_device_memory_properties(physical) }
        };
        let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize).enumerate();
        heaps
            .filter(|(_, heap)| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL))
            .map(|(at, heap)| match budget.heap_budget[at] {
                0 => heap.size,
                most => most.saturating_sub(budget.heap_usage[at]),
            })
            .max()
    }

    #[cfg(not(any(windows, target_os = "linux", target_os = "android")))]
    fn heap(&self) -> Option<u64> {
        None
    }
}

/// Bytes of memory that this process can still have, where the system says so (on Linux): what is free or can be
/// freed, within the limit of the container.
pub fn available() -> Option<u64> {
    let system = free(&read_to_string("/proc/meminfo").ok()?)?;
    let group = |name: &str| read_to_string(format!("/sys/fs/cgroup/memory.{name}")).unwrap_or_default();
    let container = left(&group("max"), &group("current"), &group("stat"));
    Some(container.map_or(system, |left| left.min(system)))
}

/// `MemAvailable` of `/proc/meminfo`.
fn free(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// What a control group leaves: its limit less what is in use, but for cached files. `None` without a limit.
fn left(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
    Some(max.saturating_sub(current.saturating_sub(cached.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_and_containers_are_understood() {
        let meminfo =
            "MemTotal:       24684092 kB\nMemFree:        12676588 kB\nMemAvailable:   23100756 kB\n";
        assert_eq!(free(meminfo), Some(23_100_756 * 1024));
        assert_eq!(free("MemTotal: 1 kB\n"), None);
        assert_eq!(free("MemAvailable: many kB\n"), None);
        assert_eq!(left("max\n", "5\n", ""), None);
        assert_eq!(left("", "", ""), None);
        assert_eq!(left("1000\n", "600\n", "anon 1\ninactive_file 200\n"), Some(600));
        assert_eq!(left("1000", "1600", ""), Some(0));
    }
}
