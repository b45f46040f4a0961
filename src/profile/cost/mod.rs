//! A model of time: what the dispatches of a plan take on a card that need not be here.
//!
//! A dispatch takes the longer of its matmuls at the rate of the unit that makes them and its bytes at the memory's
//! bandwidth, and a launch. The shares of these peaks that kernels reach are measured on an H100 (RESULTS.md).

mod card;
mod ranks;

use std::collections::BTreeMap;

use serde::Serialize;

pub use card::{Card, names};
pub use ranks::{Link, RanksCost, StepCost};

use super::{Estimate, gib};
use crate::exec::{Dispatch, KernelTime, Plan, Region};

/// The cost of a kernel, or of a family of kernels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelCost {
    /// `family/stem`, or `family`.
    pub kernel: String,
    /// Number of dispatches.
    pub dispatches: usize,
    /// Operations of their matmuls and convolutions, as [`Plan::flops`].
    pub flops: u64,
    /// Bytes that they bind, as [`Dispatch::bytes`].
    pub bytes: u64,
    /// Milliseconds of all of them.
    pub modelled_ms: f64,
    /// Milliseconds at the card's peaks, without launches: no kernel that computes the same can be faster.
    pub floor_ms: f64,
    /// Of `modelled_ms`, what dispatches take whose arithmetic takes longer than their bytes.
    pub compute_ms: f64,
    /// Of `modelled_ms`, what the others take.
    pub memory_ms: f64,
    /// Of `modelled_ms`, launches.
    pub launch_ms: f64,
    /// Measured milliseconds, where it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_ms: Option<f64>,
}

impl KernelCost {
    fn new(kernel: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            dispatches: 0,
            flops: 0,
            bytes: 0,
            modelled_ms: 0.0,
            floor_ms: 0.0,
            compute_ms: 0.0,
            memory_ms: 0.0,
            launch_ms: 0.0,
            measured_ms: None,
        }
    }

    fn add(&mut self, dispatch: &Dispatch, card: &Card) {
        let time = Work::of(dispatch).time(card);
        self.dispatches += 1;
        self.flops += dispatch.flops;
        self.bytes += dispatch.bytes();
        self.modelled_ms += time.milliseconds();
        self.floor_ms += time.floor;
        self.compute_ms += if time.compute > time.memory { time.compute } else { 0.0 };
        self.memory_ms += if time.compute > time.memory { 0.0 } else { time.memory };
        self.launch_ms += time.launch;
    }

    /// The measured time, or the modelled one where nothing ran, over the floor.
    pub fn times_the_floor(&self) -> f64 {
        self.measured_ms.unwrap_or(self.modelled_ms) / self.floor_ms.max(1e-9)
    }
}

/// The cost of a plan on a card.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// The card's name.
    pub gpu: String,
    /// Milliseconds of a run.
    pub modelled_ms: f64,
    /// Milliseconds of the optimizer's update, which is no part of a run; in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_ms: Option<f64>,
    /// Milliseconds of a run at the card's peaks, without launches.
    pub floor_ms: f64,
    /// By family of kernels, the slowest first.
    pub classes: Vec<KernelCost>,
    /// By kernel, the slowest first.
    pub kernels: Vec<KernelCost>,
    /// By what share times on the card were seen to differ from those modelled at most, where some were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// A training step of several ranks, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranks: Option<RanksCost>,
}

impl Cost {
    /// Of the dispatches of `plan`; `update` is the plan of the optimizer's update that follows it in training.
    pub fn of(plan: &Plan, update: Option<&Plan>, card: &Card) -> Self {
        let by = |name: fn(&'static str) -> &'static str| {
            let mut all: BTreeMap<&str, KernelCost> = BTreeMap::new();
            for dispatch in &plan.dispatches {
                let name = name(dispatch.kernel.name);
                all.entry(name).or_insert_with(|| KernelCost::new(name)).add(dispatch, card);
            }
            let mut all: Vec<KernelCost> = all.into_values().collect();
            all.sort_by(|a, b| b.modelled_ms.total_cmp(&a.modelled_ms));
            all
        };
        let (classes, kernels) = (by(family), by(|name| name));
        let sum = |value: fn(&KernelCost) -> f64| classes.iter().map(value).sum();
        Self {
            gpu: card.name.clone(),
            modelled_ms: sum(|class| class.modelled_ms),
            update_ms: update.map(|update| milliseconds(update, card)),
            floor_ms: sum(|class| class.floor_ms),
            classes,
            kernels,
            accuracy: (card.accuracy > 0.0).then_some(card.accuracy),
            ranks: None,
        }
    }

    /// Puts measured times beside the modelled ones.
    pub fn measured(&mut self, times: &[KernelTime]) {
        for time in times {
            let name = time.kernel;
            let class = self.classes.iter_mut().filter(|class| class.kernel == family(name));
            for one in class.chain(self.kernels.iter_mut().filter(|kernel| kernel.kernel == name)) {
                *one.measured_ms.get_or_insert(0.0) += time.milliseconds;
            }
        }
    }

    /// Kernels that take over three times their floor, and over a fiftieth of the time: the one with the most to gain first.
    pub fn far_from_their_floor(&self) -> Vec<&KernelCost> {
        let taken = |kernel: &KernelCost| kernel.measured_ms.unwrap_or(kernel.modelled_ms);
        let all: f64 = self.kernels.iter().map(taken).sum();
        let far = |kernel: &&KernelCost| kernel.times_the_floor() > 3.0 && taken(kernel) > 0.02 * all;
        let mut far: Vec<&KernelCost> = self.kernels.iter().filter(far).collect();
        far.sort_by(|a, b| (taken(b) - b.floor_ms).total_cmp(&(taken(a) - a.floor_ms)));
        far
    }
}

impl Card {
    /// Why a run that needs `estimate` would fail on it: drivers keep a little of the memory.
    pub(super) fn obstacle(&self, estimate: &Estimate) -> Option<String> {
        let (needed, room) = (estimate.peak_bytes, self.memory());
        (needed as f64 > 0.95 * room as f64)
            .then(|| format!("holds {:.2} GiB, {} has {:.2} GiB", gib(needed), self.name, gib(room)))
    }
}

/// Milliseconds of all dispatches.
fn milliseconds(plan: &Plan, card: &Card) -> f64 {
    plan.dispatches.iter().map(|dispatch| Work::of(dispatch).time(card).milliseconds()).sum()
}

fn family(kernel: &str) -> &str {
    kernel.split('/').next().unwrap_or(kernel)
}

/// What a dispatch is asked for.
#[derive(Debug, Clone, Copy)]
struct Work<'a> {
    kernel: &'a str,
    /// Workgroups.
    groups: f64,
    /// Operations of its matmuls and convolutions.
    flops: f64,
    /// Bytes that it binds, and those of them that it reads.
    bytes: f64,
    read: f64,
}

impl<'a> Work<'a> {
    fn of(dispatch: &'a Dispatch) -> Self {
        let bound = dispatch.kernel.bindings.iter().zip(&dispatch.bindings);
        let mut read: Vec<Region> = Vec::new();
        for (_, region) in bound.filter(|(binding, _)| !binding.write) {
            if !read.contains(region) {
                read.push(*region);
            }
        }
        Self {
            kernel: dispatch.kernel.name,
            groups: dispatch.groups.iter().map(|&axis| f64::from(axis)).product(),
            flops: dispatch.flops as f64,
            bytes: dispatch.bytes() as f64,
            read: read.iter().map(|region| region.bytes as f64).sum(),
        }
    }

    fn time(&self, card: &Card) -> Time {
        let form = Form::of(self.kernel, card);
        let bandwidth = 1e6 * card.bandwidth_gbps;
        let peak = 1e9 * if form.matrices { card.matrix_tflops } else { card.f32_tflops };
        Time {
            compute: if self.flops > 0.0 { form.milliseconds(self, card, peak) } else { 0.0 },
            memory: self.bytes / (bandwidth * card.memory_share),
            launch: 1e-3 * card.launch_us,
            floor: (self.flops / peak).max(self.bytes / bandwidth),
        }
    }

    /// Whether workgroups wait for memory: the operands do not stay in the cache, and few share what is fetched.
    fn streams(&self, card: &Card) -> bool {
        self.read > 0.5 * card.cache_mib * f64::from(1 << 20) && self.flops < 512.0 * self.read
    }
}

/// The time of one dispatch, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Time {
    compute: f64,
    memory: f64,
    launch: f64,
    floor: f64,
}

impl Time {
    fn milliseconds(self) -> f64 {
        self.compute.max(self.memory) + self.launch
    }
}

/// How a kernel multiplies. Constants are fitted to the times of RESULTS.md.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// Whether matrix units make them.
    matrices: bool,
    /// What workgroups that keep all units busy reach of the unit's peak.
    share: f64,
    /// Workgroups that a unit needs for that.
    resident: f64,
    /// What is left of the share where workgroups wait for memory.
    streamed: f64,
    /// Microseconds of a workgroup beside its arithmetic: the first fetch, the store.
    fixed_us: f64,
}

impl Form {
    fn of(kernel: &str, card: &Card) -> Self {
        let (vector, matrix) = (card.vector_share, card.matrix_share);
        let plain = Self { matrices: false, share: vector, resident: 1.0, streamed: 1.0, fixed_us: 20.0 };
        let has = |part: &str| kernel.contains(part);
        match family(kernel) {
            "matmul" if has("cooperative") => {
                Self { matrices: true, share: matrix, streamed: 0.37, fixed_us: 14.0, ..plain }
            }
            "matmul" if has("tiled_large_vec4") => plain,
            "matmul" if has("tiled_large") => Self { share: 0.79 * vector, ..plain },
            "matmul" if has("tiled") => Self { share: 0.69 * vector, resident: 2.0, fixed_us: 8.0, ..plain },
            "matmul" => Self { share: 0.35 * vector, fixed_us: 0.0, ..plain },
            "attention" => Self { share: 0.125 * vector, fixed_us: 0.0, ..plain },
            _ => Self { share: 0.22 * vector, fixed_us: 0.0, ..plain },
        }
    }

    fn milliseconds(&self, work: &Work<'_>, card: &Card, peak: f64) -> f64 {
        // Workgroups that run at once, and how often as many follow each other.
        let slots = card.units * self.resident;
        let waves = (work.groups / slots).ceil();
        let share = self.share * if work.streams(card) { self.streamed } else { 1.0 };
        let group = work.flops / work.groups / (peak * share / slots);
        waves * (group + 1e-3 * self.fixed_us)
    }
}

#[cfg(test)]
mod tests;
