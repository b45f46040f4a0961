//! `profile.csv`, `profile.json`, `profile.svg`.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::measure::{News, Sweep};
use super::{Cost, Estimate, Point, Subject, Workload, gib};
use crate::error::{Error, Result};
use crate::exec::KernelTime;
use crate::files::write_whole;
use crate::gpu::Capabilities;
use crate::train::metrics::chart::{self, COLORS, Curve, Panel, Points};

/// One model at one length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Names of its mixers.
    pub mixer: String,
    /// Values that training changes, the head's included; see [`Estimate::parameters`].
    pub parameters: usize,
    /// Seconds of every utterance.
    pub seconds: f64,
    /// Utterances.
    pub batch: usize,
    /// The workload of a run.
    pub mode: Workload,
    /// Milliseconds of a run, the median; `None` where nothing ran, here and below.
    pub ms_median: Option<f64>,
    /// Of the fastest.
    pub ms_min: Option<f64>,
    /// Of the slowest.
    pub ms_max: Option<f64>,
    /// Bytes of all buffers of the run: allocated, or planned where nothing ran.
    pub peak_bytes: u64,
    /// "`<backend> <adapter's name>`".
    pub adapter: String,
    /// Timed runs.
    pub runs: usize,
    /// Operations of the matmuls and convolutions of a run, as of [`crate::exec::Plan::flops`].
    pub flops: u64,
    /// Billions of them a second, at the median.
    pub gflops_per_second: Option<f64>,
    /// Milliseconds of the optimizer's update, which is no part of a run; in training.
    pub update_ms: Option<f64>,
    /// Bytes of the plan's slots, a part of `peak_bytes`.
    pub slot_bytes: u64,
    /// No assignment of slots needs less.
    pub lower_bound_bytes: u64,
    /// Dispatches of a run.
    pub dispatches: usize,
    /// Bytes that they bind, every region once a dispatch.
    pub bound_bytes: u64,
    /// Milliseconds of a run on the card that was asked for, from the plan alone; the rest of it is in `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modelled_ms: Option<f64>,
    /// The cost of the run on that card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Why the device would not run it, where nothing ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// Time by kernel, where asked for and the device can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelTime>,
}

impl Row {
    /// What is known beforehand.
    pub(super) fn new(mixer: &str, point: Point, estimate: &Estimate, capabilities: &Capabilities) -> Self {
        Self {
            mixer: mixer.to_owned(),
            parameters: estimate.parameters,
            seconds: point.seconds,
            batch: point.batch,
            mode: point.mode,
            ms_median: None,
            ms_min: None,
            ms_max: None,
            peak_bytes: estimate.peak_bytes,
            adapter: capabilities.label(),
            runs: 0,
            flops: estimate.flops,
            gflops_per_second: None,
            update_ms: None,
            slot_bytes: estimate.slot_bytes,
            lower_bound_bytes: estimate.lower_bound_bytes,
            dispatches: estimate.dispatches,
            bound_bytes: estimate.bound_bytes,
            modelled_ms: None,
            cost: None,
            obstacle: None,
            kernels: Vec::new(),
        }
    }

    pub(super) fn set_cost(&mut self, cost: Option<Cost>) {
        self.modelled_ms = cost.as_ref().map(|cost| cost.modelled_ms);
        self.cost = cost;
    }
}

/// A row that is not there, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    /// Names of the model's mixers.
    pub mixer: String,
    /// Seconds of every utterance.
    pub seconds: f64,
    /// What the device lacks.
    pub reason: String,
}

/// `profile.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// "`<backend> <adapter's name>`".
    pub adapter: String,
    /// Whether the numbers are the plans' and nothing ran.
    pub dry_run: bool,
    /// The limits that the plans keep.
    pub limits: Limits,
    /// The workload of a run.
    pub mode: Workload,
    /// Utterances in a batch.
    pub batch: usize,
    /// By model, then by length.
    pub rows: Vec<Row>,
    /// What is missing.
    pub left_out: Vec<LeftOut>,
}

/// Limits that plans depend on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Largest storage binding in bytes.
    pub max_binding: u64,
    /// Largest buffer in bytes.
    pub max_buffer: u64,
}

impl Report {
    pub(super) fn new(sweep: &Sweep, capabilities: &Capabilities, dry_run: bool) -> Self {
        let Capabilities { max_binding, max_buffer, .. } = *capabilities;
        Self {
            adapter: capabilities.label(),
            dry_run,
            limits: Limits { max_binding, max_buffer },
            mode: sweep.mode,
            batch: sweep.batch,
            rows: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub(super) fn leave_out(
        &mut self,
        subject: &Subject,
        point: Point,
        reason: String,
        news: &mut dyn FnMut(News<'_>),
    ) {
        let left_out = LeftOut { mixer: subject.mixer.clone(), seconds: point.seconds, reason };
        news(News::LeftOut(&left_out));
        self.left_out.push(left_out);
    }

    /// With the rows in the order of the models, then of the lengths.
    pub(super) fn sorted(mut self, sweep: &Sweep) -> Self {
        let place = |row: &Row| sweep.subjects.iter().position(|subject| subject.mixer == row.mixer);
        self.rows.sort_by(|a, b| place(a).cmp(&place(b)).then(a.seconds.total_cmp(&b.seconds)));
        self
    }

    /// `profile.csv`: a header and a line a row.
    pub fn to_csv(&self) -> String {
        let mut csv =
            "mixer,parameters,seconds,batch,mode,ms_median,ms_min,ms_max,peak_bytes,adapter,runs,flops,\
                       gflops_per_second,update_ms,bound_bytes,modelled_ms\n"
                .to_owned();
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
        for row in &self.rows {
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{},{},{},{},\"{}\",{},{},{},{},{},{}",
                row.mixer,
                row.parameters,
                row.seconds,
                row.batch,
                row.mode.name(),
                number(row.ms_median),
                number(row.ms_min),
                number(row.ms_max),
                row.peak_bytes,
                row.adapter.replace('"', "\"\""),
                row.runs,
                row.flops,
                number(row.gflops_per_second),
                number(row.update_ms),
                row.bound_bytes,
                number(row.modelled_ms),
            );
        }
        csv
    }

    /// Writes `profile.csv`, `profile.json` and `profile.svg` into `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_whole(&folder.join("profile.csv"), self.to_csv().as_bytes())?;
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::invalid(error.to_string()))?;
        write_whole(&folder.join("profile.json"), &json)?;
        let path = folder.join("profile.svg");
        let svg = chart::svg(&self.panels(), (620, 520))
            .map_err(|error| Error::file(&path, format!("cannot draw the profile: {error}")))?;
        write_whole(&path, svg.as_bytes())
    }

    /// Time and memory by length, a curve a model; operations in place of time where nothing ran.
    fn panels(&self) -> [Panel; 2] {
        let what = match self.mode {
            Workload::Infer => "forward",
            Workload::Forward => "forward in training mode",
            Workload::Train => "forward and backward, BEST-RQ",
            Workload::Finetune => "forward and backward, CTC",
        };
        let panel = |title: String, y: &str, value: &dyn Fn(&Row) -> Option<f64>| Panel {
            title,
            x: "seconds".to_owned(),
            y: y.to_owned(),
            curves: self.curves(value),
            from_zero: true,
            legend_left: true,
        };
        let batch = format!("batch {}", self.batch);
        let modelled = self.rows.iter().find_map(|row| row.cost.as_ref()).filter(|_| self.dry_run);
        let first = if let Some(cost) = modelled {
            panel(format!("Time as modelled, {}, {what}", cost.gpu), "ms", &|row| row.modelled_ms)
        } else if self.dry_run {
            panel(format!("Operations, {what}"), "10¹² operations", &|row| Some(row.flops as f64 * 1e-12))
        } else {
            panel(format!("Time, {what}"), "ms", &|row| row.ms_median)
        };
        [first, panel(format!("Memory, {batch}"), "GiB", &|row| Some(gib(row.peak_bytes)))]
    }

    fn curves(&self, value: &dyn Fn(&Row) -> Option<f64>) -> Vec<Curve> {
        let mut curves: Vec<Curve> = Vec::new();
        for row in &self.rows {
            let Some(value) = value(row) else { continue };
            match curves.last_mut().filter(|curve| curve.label == row.mixer) {
                Some(curve) => curve.points.push((row.seconds, value)),
                None => curves.push(Curve {
                    label: row.mixer.clone(),
                    points: Points::from([(row.seconds, value)]),
                    color: COLORS[curves.len() % COLORS.len()],
                    width: 2,
                    dots: true,
                }),
            }
        }
        curves
    }
}
