//! The kind of processor of an adapter, as plain data.

use serde::Serialize;

use super::DeviceClass;

/// Who made a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// AMD.
    Amd,
    /// Apple.
    Apple,
    /// ARM: Mali, Immortalis.
    Arm,
    /// Imagination: PowerVR.
    Imagination,
    /// Intel.
    Intel,
    /// NVIDIA.
    Nvidia,
    /// Qualcomm: Adreno.
    Qualcomm,
    /// Another one, or the browser does not say.
    Unknown,
}

impl Vendor {
    /// The vendor with this PCI or Khronos number, or else the one whose GPUs have such a name: OpenGL has no numbers.
    pub fn new(id: u32, name: &str) -> Self {
        let name = name.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| name.contains(word));
        match id {
            0x1002 | 0x1022 => Self::Amd,
            0x106b => Self::Apple,
            0x13b5 => Self::Arm,
            0x1010 => Self::Imagination,
            0x8086 => Self::Intel,
            0x10de => Self::Nvidia,
            0x5143 => Self::Qualcomm,
            _ if says(&["nvidia", "geforce", "quadro"]) => Self::Nvidia,
            _ if says(&["amd ", "radeon"]) => Self::Amd,
            _ if says(&["intel"]) => Self::Intel,
            _ if says(&["apple"]) => Self::Apple,
            _ if says(&["adreno", "qualcomm"]) => Self::Qualcomm,
            _ if says(&["mali", "immortalis"]) => Self::Arm,
            _ if says(&["powervr", "imagination"]) => Self::Imagination,
            _ => Self::Unknown,
        }
    }
}

/// The properties of a processor that choose kernels, beside limits and features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Architecture {
    /// Who made it.
    pub vendor: Vendor,
    /// Its class.
    pub class: DeviceClass,
    /// The fewest and the most invocations of its subgroups; 0 where unknown.
    pub subgroups: [u32; 2],
}

impl Architecture {
    /// The class of an adapter that says to be of `device_type`. Phones call their GPUs what they like, and what says nothing,
    /// as in browsers, is taken for a small one: kernels for small GPUs cost large ones a fifth, those for large ones cost
    /// small ones more than half.
    pub(super) fn class(device_type: wgpu::DeviceType, vendor: Vendor, name: &str) -> DeviceClass {
        let name = name.to_lowercase();
        // A GL driver in software does not say so in its type.
        if device_type == wgpu::DeviceType::Cpu
            || ["llvmpipe", "swiftshader", "softpipe"].iter().any(|software| name.contains(software))
        {
            return DeviceClass::Cpu;
        }
        match (device_type, vendor) {
            (_, Vendor::Arm | Vendor::Imagination | Vendor::Qualcomm | Vendor::Apple) => {
                DeviceClass::Integrated
            }
            (wgpu::DeviceType::DiscreteGpu, _) => DeviceClass::Discrete,
            // Parts of a server's card, and OpenGL, which knows no types.
            (wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other, Vendor::Nvidia) => DeviceClass::Discrete,
            (wgpu::DeviceType::VirtualGpu, Vendor::Amd) => DeviceClass::Discrete,
            _ => DeviceClass::Integrated,
        }
    }

    /// Sums that an invocation holds in registers beside what it works with. Intel's have 32 to 64 registers for each
    /// invocation, those of phones lose all but one wave; of Apple's only the largest would gain by more.
    pub fn accumulators(&self) -> u32 {
        match (self.class, self.vendor) {
            (DeviceClass::Discrete, Vendor::Intel) => 16,
            (DeviceClass::Discrete, _) => 64,
            (DeviceClass::Integrated | DeviceClass::Cpu, _) => 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};

    use super::*;

    #[test]
    fn adapters_are_told_apart() {
        let all = [
            (0x10de, DiscreteGpu, "NVIDIA H100", Vendor::Nvidia, DeviceClass::Discrete, 64),
            (
                0x1002,
                DiscreteGpu,
                "AMD Radeon RX 7900 XTX (RADV NAVI31)",
                Vendor::Amd,
                DeviceClass::Discrete,
                64,
            ),
            (0x1002, IntegratedGpu, "AMD Radeon 890M (RADV)", Vendor::Amd, DeviceClass::Integrated, 16),
            (0x8086, DiscreteGpu, "Intel(R) Arc(TM) B580", Vendor::Intel, DeviceClass::Discrete, 16),
            (0x8086, IntegratedGpu, "Intel(R) Iris(R) Xe", Vendor::Intel, DeviceClass::Integrated, 16),
            (0x106b, IntegratedGpu, "Apple M4 Max", Vendor::Apple, DeviceClass::Integrated, 16),
            (0x5143, DiscreteGpu, "Adreno (TM) 750", Vendor::Qualcomm, DeviceClass::Integrated, 16),
            (0x13b5, Other, "Mali-G715", Vendor::Arm, DeviceClass::Integrated, 16),
            (0x10de, VirtualGpu, "NVIDIA A10-8Q", Vendor::Nvidia, DeviceClass::Discrete, 64),
            (0, Other, "NVIDIA GeForce RTX 3060/PCIe/SSE2", Vendor::Nvidia, DeviceClass::Discrete, 64),
            // A browser says nothing.
            (0, Other, "", Vendor::Unknown, DeviceClass::Integrated, 16),
            (0x10005, Cpu, "llvmpipe (LLVM 15.0.6, 256 bits)", Vendor::Unknown, DeviceClass::Cpu, 16),
            (0, Other, "llvmpipe (LLVM 15.0.6, 256 bits)", Vendor::Unknown, DeviceClass::Cpu, 16),
        ];
        for (id, device_type, name, vendor, class, accumulators) in all {
            assert_eq!(Vendor::new(id, name), vendor, "{name}");
            assert_eq!(Architecture::class(device_type, vendor, name), class, "{name}");
            let architecture = Architecture { vendor, class, subgroups: [32, 32] };
            assert_eq!(architecture.accumulators(), accumulators, "{name}");
        }
    }
}
