//! Selection of kernel variants.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::Plan;
use crate::error::{Error, Result};
use crate::gpu::{Capabilities, DeviceClass};
use crate::shader::{Condition, Need, Takes, Variant, Workgroup};

/// Values of override constants by name.
pub type Constants<'a> = &'a [(&'static str, f64)];

/// The work of a dispatch, in units that its kernel's header shares out.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// So many rows, elements or other units.
    Units(usize),
    /// All tiles of `batch` matrices of m rows and n columns. How large a tile is depends on the variant.
    Tiles {
        /// Matrices.
        batch: usize,
        /// Rows.
        m: usize,
        /// Columns.
        n: usize,
    },
}

impl From<usize> for Work {
    fn from(units: usize) -> Self {
        Self::Units(units)
    }
}

impl Work {
    fn units(self, variant: &Variant) -> usize {
        let tile = (variant.tile as usize).max(1);
        match self {
            Self::Units(units) => units,
            Self::Tiles { batch, m, n } => batch * m.div_ceil(tile) * n.div_ceil(tile),
        }
    }
}

/// What a kernel of [`Capabilities::set_aside`] lacks.
const SET_ASIDE: &str = "a driver that computes it rightly and fast";

/// What a kernel lacks that takes one of the bindings in f32 only.
const IN_F32: &str = "f32 in memory";

/// What a kernel of the static rules lacks where another one was measured to be faster.
#[cfg(not(target_arch = "wasm32"))]
const MEASURED: &str = "the shortest time on this adapter";

/// Elements of a result from which a matmul counts as large: with tiles of 64 these are 256, which keep a GPU busy.
const LARGE: usize = 1 << 20;

/// The dispatches for which one measurement counts: those that the static rules give the same kernel, so that it is known
/// what they share (alignment, precision, room for large tiles). Matmuls count as small or large besides, since it depends
/// on the size of the result which tiles keep a device busy. Other operations ask [`super::Recorder::choose`] for their
/// variant before they know how much work there is, so size cannot matter there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// The kernel that the static rules take.
    pub rule: &'static str,
    /// Of a matmul, whether it is large.
    pub large: Option<bool>,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)?;
        match self.large {
            None => Ok(()),
            Some(large) => f.write_str(if large { ", large" } else { ", small" }),
        }
    }
}

/// A kernel, and the text of a condition that did not hold for it.
pub type Unmet = (&'static str, &'static str);

/// The variant that a device gets.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The variant.
    pub variant: &'static Variant,
    /// Invocations of its workgroups.
    pub workgroup_size: u32,
    /// The class by which [`Capabilities::preferred`] may name another one.
    pub class: Class,
    /// Why it is none of those before it.
    pub unmet: Vec<Unmet>,
}

/// The facts that conditions refer to.
pub(super) struct Facts<'a> {
    pub capabilities: &'a Capabilities,
    pub constants: Constants<'a>,
    /// The bytes of `Params`.
    pub params: &'a [u8],
    pub work: Work,
    /// A bit for each storage binding, set where it is in f16.
    pub f16: u32,
}

impl Facts<'_> {
    /// The one of [`Capabilities::preferred`] whose needs hold; else the first variant whose needs and preferences hold; with
    /// [`Capabilities::alternative`], another one whose needs hold.
    pub fn choose(&self, variants: &'static [&'static Variant]) -> Result<Choice> {
        if let Some(variant) = self.alternative(variants) {
            return Ok(self.choice(variant, Vec::new()));
        }
        let rule = self.rule(variants)?;
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(variant) = self.preferred(variants, rule.class) {
            let unmet = vec![(rule.class.rule, MEASURED)];
            let workgroup_size = self.workgroup_size(variant);
            return Ok(Choice { variant, workgroup_size, unmet, ..rule });
        }
        Ok(rule)
    }

    /// What the static rules take.
    fn rule(&self, variants: &'static [&'static Variant]) -> Result<Choice> {
        let mut unmet = Vec::new();
        // The plainest one is there whatever was found out about it.
        let plainest = variants.iter().rposition(|variant| variant.needs.is_empty());
        let plainest = plainest.unwrap_or(variants.len().saturating_sub(1));
        for (index, variant) in variants.iter().enumerate() {
            if index != plainest && self.is_set_aside(variant) {
                unmet.push((variant.kernel.name, SET_ASIDE));
                continue;
            }
            if !self.takes_f16(variant) {
                unmet.push((variant.kernel.name, IN_F32));
                continue;
            }
            match variant.needs.iter().chain(variant.prefers).find(|need| !self.holds(need, variant)) {
                Some(need) => unmet.push((variant.kernel.name, need.text)),
                None => return Ok(self.choice(variant, unmet)),
            }
        }
        let reasons: Vec<String> = unmet.iter().map(|(name, need)| format!("{name} needs {need}")).collect();
        Err(Error::Gpu(format!("{} runs no kernel: {}", self.capabilities.adapter, reasons.join(", "))))
    }

    fn choice(&self, variant: &'static Variant, unmet: Vec<Unmet>) -> Choice {
        let large = match self.work {
            Work::Units(_) => None,
            Work::Tiles { batch, m, n } => Some(batch * m * n >= LARGE),
        };
        let class = Class { rule: variant.kernel.name, large };
        Choice { variant, workgroup_size: self.workgroup_size(variant), class, unmet }
    }

    /// The variant that was measured to be faster than the rules' one. What kernels prefer of sizes and registers is a guess that
    /// a measurement corrects; kernels of another class of devices are not measured.
    #[cfg(not(target_arch = "wasm32"))]
    fn preferred(&self, variants: &'static [&'static Variant], class: Class) -> Option<&'static Variant> {
        let preferred = &self.capabilities.preferred;
        if preferred.is_empty() {
            return None;
        }
        let name = preferred.get(&class.to_string()).filter(|name| *name != class.rule)?;
        let variant = variants.iter().find(|variant| variant.kernel.name == name)?;
        let of_class = variant.prefers.iter().filter(|need| matches!(need.condition, Condition::Class(_)));
        let holds = variant.needs.iter().chain(of_class).all(|need| self.holds(need, variant));
        (holds && self.takes_f16(variant) && !self.is_set_aside(variant)).then_some(*variant)
    }

    fn alternative(&self, variants: &'static [&'static Variant]) -> Option<&'static Variant> {
        let number = (self.capabilities.alternative as usize).checked_sub(1)?;
        let fits = |variant: &&&Variant| {
            !self.is_set_aside(variant)
                && self.takes_f16(variant)
                && variant.needs.iter().all(|need| self.holds(need, variant))
        };
        variants.iter().filter(fits).nth(number).copied()
    }

    /// Whether the bindings in f16 may be.
    fn takes_f16(&self, variant: &Variant) -> bool {
        self.f16 & !variant.kernel.in_f16() == 0
    }

    fn is_set_aside(&self, variant: &Variant) -> bool {
        self.capabilities.set_aside.iter().any(|name| name == variant.kernel.name)
    }

    /// Workgroups that do the work.
    pub fn workgroups(&self, choice: &Choice) -> usize {
        let of_one = match choice.variant.takes {
            Takes::Invocation(units) => units * choice.workgroup_size,
            Takes::Workgroup(units) => units,
        };
        self.work.units(choice.variant).div_ceil(of_one as usize)
    }

    fn workgroup_size(&self, variant: &Variant) -> u32 {
        match variant.workgroup {
            Workgroup::Map => self.capabilities.map_workgroup(),
            Workgroup::Row { most } => self.capabilities.row_workgroup().min(most),
            Workgroup::Fixed(size) => size,
            Workgroup::Subgroups(count) => count * self.capabilities.subgroup,
        }
    }

    fn holds(&self, need: &Need, variant: &Variant) -> bool {
        if need.guard.is_some_and(|(name, is_set)| self.is_set(name) != is_set) {
            return true;
        }
        let capabilities = self.capabilities;
        match need.condition {
            Condition::Multiple { offset, of } => self.param(offset).is_multiple_of(of),
            Condition::Equal { offset, to } => self.param(offset) == to,
            Condition::Constant(name) => self.is_set(name),
            Condition::Tiles(least) => self.work.units(variant) >= least as usize,
            Condition::Accumulators(least) => capabilities.architecture().accumulators() >= least,
            Condition::Subgroup { least, most } => {
                capabilities.subgroup_operations && (least..=most).contains(&capabilities.subgroup)
            }
            Condition::Int64 => capabilities.int64,
            Condition::F16 | Condition::Matrices(_) if capabilities.cooperative.is_none() => false,
            Condition::F16 => true,
            Condition::Matrices(size) => capabilities.cooperative.is_some_and(|own| own as u32 == size),
            Condition::Class(classes) => classes.contains(&match capabilities.class {
                DeviceClass::Cpu => "cpu",
                DeviceClass::Integrated => "integrated",
                DeviceClass::Discrete => "discrete",
            }),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        self.constants.iter().any(|(own, value)| *own == name && *value != 0.0)
    }

    fn param(&self, offset: usize) -> u32 {
        let bytes = self.params.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }
}

impl Plan {
    /// The kernels of the plan as text, a line each: the variant that the device gets, and why it is none of those that
    /// are better.
    pub fn dump_variants(&self) -> String {
        let mut lines = BTreeSet::new();
        for step in &self.dispatches {
            let mut line = step.kernel.name.to_owned();
            for (number, (name, need)) in step.unmet.iter().enumerate() {
                let _ = write!(line, "{} {name} needs {need}", if number == 0 { ":" } else { "," });
            }
            lines.insert(line + "\n");
        }
        lines.into_iter().collect()
    }
}
