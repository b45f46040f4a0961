//! Plans and runs over mixers and lengths, within a budget of time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pollster::block_on;
use web_time::Instant;

use super::report::{LeftOut, Report, Row};
use super::{Card, Cost, Link, Planned, Point, Subject, Workload, no_room, obstacle};
use crate::error::{Error, Result};
use crate::exec::{Executor, KernelTime, Loaded};
use crate::gpu::{Capabilities, Gpu, available};
use crate::train::{Inputs, Rates, Task, Trainer, common_inputs, interrupted, write_inputs};

/// Models, lengths, and how they are run.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The models.
    pub subjects: Vec<Subject>,
    /// Lengths of the utterances in seconds, ascending: so that long ones are left out if time runs out.
    pub seconds: Vec<f64>,
    /// Utterances in a batch.
    pub batch: usize,
    /// The workload of a run.
    pub mode: Workload,
    /// Timed runs.
    pub repeat: usize,
    /// Whether every kernel is timed as well.
    pub kernels: bool,
    /// After this time nothing more begins.
    pub budget: Option<Duration>,
    /// The card whose times are modelled; every kernel is timed then, as far as something runs.
    pub card: Option<Card>,
    /// Ranks that train together, each on such a card.
    pub link: Option<Link>,
}

/// What a sweep tells as it goes.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// A row was measured; the report holds it and all before it.
    Row(&'a Row, &'a Report),
    /// A row is left out.
    LeftOut(&'a LeftOut),
}

/// Runs before the timed ones: at least one, for what drivers put off to the first run, and more while they are
/// shorter than this together, for clocks that rise under load.
const WARM_UP: Duration = Duration::from_millis(500);
const WARM_UP_RUNS: usize = 10;

/// Milliseconds of the timed runs, and what else was seen.
struct Measured {
    /// Ascending.
    milliseconds: Vec<f64>,
    update: Option<f64>,
    bytes: u64,
    kernels: Vec<KernelTime>,
}

impl Sweep {
    /// Every row in order: all models at the shortest length first.
    pub fn points(&self) -> impl Iterator<Item = (&Subject, Point)> {
        self.seconds.iter().flat_map(move |&seconds| {
            let point = Point { seconds, batch: self.batch, mode: self.mode };
            self.subjects.iter().map(move |subject| (subject, point))
        })
    }

    /// What the plans tell; nothing runs.
    ///
    /// # Errors
    /// When a model cannot be built.
    pub fn estimate(&self, capabilities: &Capabilities, news: &mut dyn FnMut(News<'_>)) -> Result<Report> {
        let mut report = Report::new(self, capabilities, true);
        for (subject, point) in self.points() {
            match subject.plan(point, capabilities) {
                Ok(planned) => {
                    let mut row = Row::new(&subject.mixer, point, &planned.estimate, capabilities);
                    row.obstacle = match &self.card {
                        Some(card) => obstacle(&planned.estimate, capabilities, None)
                            .or_else(|| card.obstacle(&planned.estimate)),
                        None => obstacle(&planned.estimate, capabilities, available()),
                    };
                    row.set_cost(self.cost(&planned));
                    report.rows.push(row);
                }
                Err(error) => report.leave_out(subject, point, no_room(error)?, news),
            }
        }
        Ok(report.sorted(self))
    }

    /// Runs every model at every length; rows that the device has no room or no time for are left out.
    ///
    /// # Errors
    /// When a model cannot be built or the device fails; [`Error::Interrupted`] after a requested stop.
    pub fn measure(&self, gpu: &Arc<Gpu>, news: &mut dyn FnMut(News<'_>)) -> Result<Report> {
        let begun = Instant::now();
        let mut report = Report::new(self, gpu.capabilities(), false);
        // Seconds for a unit of estimated work: each model's own, and the last of any.
        let mut rates: HashMap<&str, f64> = HashMap::new();
        let mut last_rate = None;
        for (subject, point) in self.points() {
            let left = self.budget.map(|budget| budget.saturating_sub(begun.elapsed()));
            let rate = rates.get(subject.mixer.as_str()).copied().or(last_rate);
            let deadline = left.map(|left| Instant::now() + left);
            match self.row(gpu, subject, point, rate, deadline) {
                Ok(Ok((row, work))) => {
                    let rate = row.ms_median.unwrap_or(0.0) * 1e-3 / work;
                    rates.insert(&subject.mixer, rate);
                    last_rate = Some(rate);
                    report.rows.push(row);
                    report = report.sorted(self);
                    let own = |row: &&Row| row.mixer == subject.mixer && row.seconds == point.seconds;
                    if let Some(row) = report.rows.iter().find(own) {
                        news(News::Row(row, &report));
                    }
                }
                Ok(Err(reason)) => report.leave_out(subject, point, reason, news),
                Err(error) => report.leave_out(subject, point, no_room(error)?, news),
            }
        }
        Ok(report)
    }

    /// The cost of the plan on the card.
    fn cost(&self, planned: &Planned) -> Option<Cost> {
        let mut cost = planned.cost(self.card.as_ref()?);
        cost.ranks = self.link.and_then(|link| Some(planned.step_cost(&cost)?.on(link)));
        Some(cost)
    }

    /// One row and the work of its plan, or why it is left out.
    fn row(
        &self,
        gpu: &Arc<Gpu>,
        subject: &Subject,
        point: Point,
        rate: Option<f64>,
        deadline: Option<Instant>,
    ) -> Result<std::result::Result<(Row, f64), String>> {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let capabilities = gpu.capabilities();
        let planned = subject.plan(point, capabilities)?;
        if let Some(reason) = obstacle(&planned.estimate, capabilities, available()) {
            return Ok(Err(reason));
        }
        let work = planned.plan.work();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if let Some(reason) = left.and_then(|left| too_long(left, rate, work)) {
            return Ok(Err(reason));
        }
        let (estimate, mut cost) = (planned.estimate, self.cost(&planned));
        let Some(measured) = self.run(gpu, subject, point, planned, deadline)? else {
            return Ok(Err("took all that was left of the budget".to_owned()));
        };
        let all = &measured.milliseconds;
        let mut row = Row::new(&subject.mixer, point, &estimate, capabilities);
        row.runs = all.len();
        row.ms_median = Some(0.5 * (all[(all.len() - 1) / 2] + all[all.len() / 2]));
        row.ms_min = all.first().copied();
        row.ms_max = all.last().copied();
        row.gflops_per_second = row.ms_median.map(|ms| estimate.flops as f64 / (1e6 * ms));
        row.peak_bytes = measured.bytes;
        row.update_ms = measured.update;
        row.kernels = measured.kernels;
        if let Some(cost) = &mut cost {
            cost.measured(&row.kernels);
        }
        row.set_cost(cost);
        Ok(Ok((row, work)))
    }

    /// Runs a plan on a batch of noise; `None` where the time is up before a run could be timed.
    fn run(
        &self,
        gpu: &Arc<Gpu>,
        subject: &Subject,
        point: Point,
        planned: Planned,
        deadline: Option<Instant>,
    ) -> Result<Option<Measured>> {
        let Planned { plan, task, parameters, .. } = planned;
        let (inputs, seed) = (self.inputs(subject, point, &*task)?, subject.recipe.run.seed);
        let mut executor = Executor::new(gpu.clone());
        let mut trainer = None;
        let executor = match point.mode.updates() {
            true => {
                let new = block_on(Trainer::new(executor, &*task, subject.optimizer(point.mode)))?;
                &mut trainer.insert(new).executor
            }
            false => {
                parameters.allocate(&mut executor, point.mode.kinds())?;
                &mut executor
            }
        };
        parameters.fill(executor, None, seed)?;
        let mut loaded = block_on(executor.load(plan))?;
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let (mut spent, mut runs) = (0.0, 0);
        while runs == 0 || runs < WARM_UP_RUNS && spent < WARM_UP.as_secs_f64() {
            spent += 1e-3 * timed(executor, &mut loaded, &inputs)?;
            runs += 1;
        }
        let mut milliseconds = Vec::with_capacity(self.repeat);
        while milliseconds.len() < self.repeat && !late() && !interrupted() {
            milliseconds.push(timed(executor, &mut loaded, &inputs)?);
        }
        if milliseconds.is_empty() {
            return if interrupted() { Err(Error::Interrupted) } else { Ok(None) };
        }
        milliseconds.sort_by(f64::total_cmp);
        let bytes = gpu.allocated();
        let mut kernels = Vec::new();
        if self.kernels || self.card.is_some() {
            write_inputs(executor, &loaded, &inputs)?;
            kernels = block_on(executor.time(&mut loaded))?;
        }
        let update = match &mut trainer {
            Some(trainer) => Some(updated(trainer, subject, point)?),
            None => None,
        };
        Ok(Some(Measured { milliseconds, update, bytes, kernels }))
    }

    fn inputs(&self, subject: &Subject, point: Point, task: &dyn Task) -> Result<Inputs> {
        let batch = point.batch();
        match point.mode {
            Workload::Infer => Ok(common_inputs(&batch, subject.recipe.run.seed, 1, 0)),
            _ => Ok(task.inputs(&batch, 1, 0, true)?.0),
        }
    }
}

/// Why one run to warm up and one to time, of `work` at `rate` seconds a unit, do not fit into the time left.
fn too_long(left: Duration, rate: Option<f64>, work: f64) -> Option<String> {
    let (left, wanted) = (left.as_secs_f64(), rate.map_or(0.0, |rate| 2.0 * rate * work));
    let reason = || format!("would take {wanted:.0} s or more, {left:.0} s of the budget are left");
    (left <= wanted).then(reason)
}

/// Milliseconds from submitting a run to its end, with the inputs on the device beforehand.
fn timed(executor: &Executor, loaded: &mut Loaded, inputs: &Inputs) -> Result<f64> {
    let gpu = executor.gpu();
    write_inputs(executor, loaded, inputs)?;
    gpu.flush();
    gpu.wait()?;
    let begun = Instant::now();
    executor.run(loaded)?;
    gpu.wait()?;
    Ok(1e3 * begun.elapsed().as_secs_f64())
}

/// Milliseconds of an update, the second of two.
fn updated(trainer: &mut Trainer, subject: &Subject, point: Point) -> Result<f64> {
    let config = subject.optimizer(point.mode);
    let rates = Rates { encoder: config.encoder_lr, head: config.head_lr };
    let mut milliseconds = 0.0;
    for step in 1..=2 {
        let begun = Instant::now();
        trainer.update(step, rates, 1)?;
        trainer.executor.gpu().wait()?;
        milliseconds = 1e3 * begun.elapsed().as_secs_f64();
    }
    Ok(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_foreseen_from_shorter_ones() {
        let left = Duration::from_secs(60);
        assert_eq!(too_long(left, None, 1e12), None);
        assert_eq!(too_long(left, Some(1e-9), 1e10), None);
        let reason = too_long(left, Some(1e-9), 4e10).unwrap();
        assert_eq!(reason, "would take 80 s or more, 60 s of the budget are left");
        assert!(too_long(Duration::ZERO, None, 1.0).is_some());
    }
}
