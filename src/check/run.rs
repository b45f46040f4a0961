//! The check of an adapter: all cases by all kernels that it may run, which kernel causes a wrong result, and
//! which is slower than its replacement.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use web_time::Instant;

use super::case::Case;
use super::prepared::{Outcome, Prepared};
use super::report::{KernelReport, Left, Report};
use crate::error::{Error, Result};
use crate::exec::{KernelTime, Plan};
use crate::gpu::{Capabilities, DeviceClass, Gpu};
use crate::shader::MOST_VARIANTS;

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The kernels that the adapter is given, at small and edge shapes, as far as the time goes.
    Quick,
    /// Every variant that runs on the adapter, large shapes too, and rates.
    Full,
    /// Quick at first, then full where that was fast.
    Adapted,
}

/// Seconds of the quick part, without the training steps.
const QUICK_SECONDS: f64 = 80.0;
/// An adapter that needs longer for the quick part is a slow one.
const FAST_SECONDS: f64 = 30.0;
/// A variant is left aside when what takes its place needs at most this share of its time.
const FASTER: f64 = 0.8;
/// A kernel's error and what it may be, as a share; above 1 it is wrong.
fn share(error: f64, bound: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / bound }
}

/// Checks the adapter on `cases`, and on the `large` ones where it is checked in full. `tell` is called with what is under way.
///
/// # Errors
/// When the device is lost, or a case is none of its operation's.
pub async fn run(
    gpu: &Arc<Gpu>,
    cases: Vec<Case>,
    large: Vec<Case>,
    extent: Extent,
    tell: &mut dyn FnMut(&str),
) -> Result<Report> {
    let mut own = gpu.capabilities().clone();
    // What an earlier check found out is found out anew.
    own.set_aside.clear();
    let began = Instant::now();
    let seconds = || began.elapsed().as_secs_f64();
    let mut check = Check { gpu, own: own.clone(), report: Report::default(), rows: BTreeMap::new() };
    let mut prepared: Vec<Prepared> = Vec::new();
    let cases = breadth_first(cases);
    check.report.cases[1] = cases.len() + large.len();

    let mut later: Vec<Case> = Vec::new();
    for case in cases {
        if extent != Extent::Full && (seconds() > QUICK_SECONDS || is_large(&case)) {
            later.push(case);
            continue;
        }
        tell(case.op.name());
        let mut case = Prepared::new(case)?;
        check.own_kernels(&mut case).await?;
        prepared.push(case);
    }
    let full = match extent {
        Extent::Full => true,
        Extent::Quick => false,
        Extent::Adapted => own.class != DeviceClass::Cpu && seconds() < FAST_SECONDS,
    };
    if full {
        for case in later.drain(..).chain(large) {
            tell(case.op.name());
            let mut case = Prepared::new(case)?;
            check.own_kernels(&mut case).await?;
            prepared.push(case);
        }
        for case in &mut prepared {
            tell(case.case().op.name());
            for alternative in 1..=MOST_VARIANTS as u32 {
                check.kernels(case, &Capabilities { alternative, ..own.clone() }).await?;
            }
            if is_large(case.case()) && own.class != DeviceClass::Cpu {
                check.compare_rates(case).await?;
            }
        }
    } else {
        later.extend(large);
        check.leave(&later);
    }
    let mut report = check.finish();
    report.seconds = seconds();
    Ok(report)
}

/// Cases that the quick part leaves out: their definitions alone take long.
fn is_large(case: &Case) -> bool {
    case.elements() > 60_000
}

/// One case of each operation in turns, so that what there is no time for is the least telling.
fn breadth_first(cases: Vec<Case>) -> Vec<Case> {
    let mut turns: HashMap<&'static str, usize> = HashMap::new();
    let mut numbered: Vec<(usize, Case)> = cases
        .into_iter()
        .map(|case| {
            let turn = turns.entry(case.op.name()).or_default();
            *turn += 1;
            (*turn, case)
        })
        .collect();
    numbered.sort_by_key(|(turn, _)| *turn);
    numbered.into_iter().map(|(_, case)| case).collect()
}

/// The name of a kernel, also of its forms that work in place: `name, output in place of input`.
pub(super) fn base(name: &'static str) -> &'static str {
    name.split(", ").next().unwrap_or(name)
}

pub(super) fn kernels(plan: &Plan) -> BTreeSet<&'static str> {
    plan.dispatches.iter().map(|dispatch| base(dispatch.kernel.name)).collect()
}

struct Check<'a> {
    gpu: &'a Arc<Gpu>,
    own: Capabilities,
    report: Report,
    rows: BTreeMap<(&'static str, &'static str), KernelReport>,
}

impl Check<'_> {
    async fn own_kernels(&mut self, case: &mut Prepared) -> Result<()> {
        self.report.cases[0] += 1;
        let own = self.own.clone();
        self.kernels(case, &own).await
    }

    /// Runs the plans of the case that these capabilities give and that have not been run.
    async fn kernels(&mut self, case: &mut Prepared, capabilities: &Capabilities) -> Result<()> {
        let op = case.case().op.name();
        let plans = match case.plans(capabilities) {
            Err(Error::OutOfMemory(reason)) => {
                self.report.left.push(Left { what: format!("{:?}", case.case()), reason });
                return Ok(());
            }
            plans => plans?,
        };
        for plan in plans {
            let names = kernels(&plan);
            let outcome = match self.outcome(case, plan.clone()).await? {
                Ok(outcome) => outcome,
                Err(reason) => {
                    self.report.left.push(Left { what: format!("{:?}", case.case()), reason });
                    continue;
                }
            };
            if !outcome.faults.is_empty() {
                let blamed = self.blame(case, &plan, capabilities).await?;
                let fault = format!("{op}: {}", outcome.faults.join("; "));
                let named = if blamed.is_empty() { names.iter().copied().collect() } else { blamed.clone() };
                self.report.wrong.push(format!("{} ({:?})", fault, case.case()));
                tracing::debug!("{fault}, by {}", named.join(", "));
                for name in blamed {
                    self.report.set_aside.entry(name.to_owned()).or_insert_with(|| format!("wrong: {fault}"));
                }
            }
            self.note(op, &names, case.case().tolerance.bound(), &outcome);
        }
        Ok(())
    }

    /// What the plan's run shows; the reason where there is no room for it. A kernel that the driver refuses is wrong.
    async fn outcome(&self, case: &Prepared, plan: Plan) -> Result<Result<Outcome, String>> {
        match case.run(self.gpu, plan).await {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(Error::OutOfMemory(reason)) => Ok(Err(reason)),
            Err(Error::Gpu(fault)) => Ok(Ok(Outcome { faults: vec![fault], ..Outcome::default() })),
            Err(error) => Err(error),
        }
    }

    /// The kernels without which the plan is right; none where no other can take their place.
    async fn blame(
        &self,
        case: &Prepared,
        plan: &Plan,
        capabilities: &Capabilities,
    ) -> Result<Vec<&'static str>> {
        let names = kernels(plan);
        let one_by_one = names.iter().map(|name| vec![*name]);
        let together = std::iter::once(names.iter().copied().collect());
        for suspects in one_by_one.chain(together) {
            let set_aside = suspects.iter().map(|name| (*name).to_owned()).collect();
            let without = Capabilities { set_aside, ..capabilities.clone() };
            let other = case.same_plan(plan, &without)?;
            let gone: Vec<&'static str> =
                suspects.into_iter().filter(|name| !kernels(&other).contains(name)).collect();
            if gone.is_empty() {
                continue;
            }
            if self.outcome(case, other).await?.is_ok_and(|outcome| outcome.faults.is_empty()) {
                return Ok(gone);
            }
        }
        Ok(Vec::new())
    }

    /// Sets aside what is slower than the kernel that would take its place.
    async fn compare_rates(&mut self, case: &Prepared) -> Result<()> {
        let plan = case.sample().plan(&self.own)?;
        let own = case.sample().times(self.gpu, &plan).await?;
        for name in kernels(&plan) {
            let without = Capabilities { set_aside: vec![name.to_owned()], ..self.own.clone() };
            let other = case.sample().plan(&without)?;
            if kernels(&other).contains(name) {
                continue;
            }
            let theirs = case.sample().times(self.gpu, &other).await?;
            // What both plans run is in both sums.
            let sum = |times: &[KernelTime]| times.iter().map(|time| time.milliseconds).sum::<f64>();
            let [mine, other_ms] = [&own, &theirs].map(|times| {
                let shared = |time: &&KernelTime| {
                    own.iter().any(|one| one.kernel == time.kernel)
                        && theirs.iter().any(|one| one.kernel == time.kernel)
                };
                sum(times) - times.iter().filter(shared).map(|time| time.milliseconds).sum::<f64>()
            });
            if other_ms > 0.0 && other_ms < FASTER * mine {
                let instead: Vec<&str> = kernels(&other).difference(&kernels(&plan)).copied().collect();
                let reason = format!("slow: {mine:.3} ms, {} {other_ms:.3} ms", instead.join(", "));
                self.report.set_aside.entry(name.to_owned()).or_insert(reason);
            }
        }
        Ok(())
    }

    /// Adds what a run showed to the rows of its kernels.
    fn note(&mut self, op: &'static str, names: &BTreeSet<&'static str>, bound: f64, outcome: &Outcome) {
        let worst = |of: &dyn Fn(&'static str) -> bool| {
            let errors = outcome.differences.iter().filter(|one| of(base(one.kernel))).map(|one| one.error);
            errors.fold(None, |worst: Option<f64>, error| Some(worst.unwrap_or(0.0).max(error)))
        };
        for &kernel in names {
            // What writes no result has a part in all of them.
            let error =
                worst(&|writer| writer == kernel).or_else(|| worst(&|_| true)).unwrap_or(f64::INFINITY);
            let row = self.rows.entry((op, kernel)).or_insert(KernelReport {
                op,
                kernel,
                runs: 0,
                worst_error: 0.0,
                bound,
                milliseconds: None,
                gflops_per_second: None,
                gigabytes_per_second: None,
                bytes: 0,
            });
            row.runs += 1;
            if row.runs == 1 || share(error, bound) > share(row.worst_error, row.bound) {
                (row.worst_error, row.bound) = (error, bound);
            }
            for time in outcome.times.iter().filter(|time| base(time.kernel) == kernel) {
                if time.bytes >= row.bytes && time.milliseconds > 0.0 {
                    row.bytes = time.bytes;
                    row.milliseconds = Some(time.milliseconds);
                    row.gflops_per_second = (time.flops > 0).then(|| time.gflops_per_second());
                    row.gigabytes_per_second = Some(time.gigabytes_per_second());
                }
            }
        }
    }

    /// Says which cases did not run.
    fn leave(&mut self, cases: &[Case]) {
        let mut by_op: BTreeMap<&'static str, usize> = BTreeMap::new();
        cases.iter().for_each(|case| *by_op.entry(case.op.name()).or_default() += 1);
        self.report.left.extend(by_op.into_iter().map(|(op, count)| Left {
            what: op.to_owned(),
            reason: format!("{count} cases, large ones or those that there was no time for"),
        }));
        self.report.left.push(Left {
            what: "variants of kernels".to_owned(),
            reason: "those that this adapter would not be given".to_owned(),
        });
    }

    fn finish(self) -> Report {
        let mut report = self.report;
        report.kernels = self.rows.into_values().collect();
        report
    }
}
