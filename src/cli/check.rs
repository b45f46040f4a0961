//! `polymix check`

use std::collections::BTreeMap;
use std::path::Path;

use pollster::block_on;
use serde::Serialize;

use super::adapter::Device;
use super::arguments::{Check, Global};
use super::output::{note, print, table, to_json};
use super::progress::Reporter;
use crate::check::{Extent, KernelReport, Report, cases, run as check, steps};
use crate::error::{Error, Result};
use crate::exec::Compute;
use crate::files::write_whole;
use crate::gpu::Capabilities;
use crate::train::Progress;

/// The file of `--report`.
#[derive(Serialize)]
struct Document<'a> {
    polymix: &'static str,
    identity: String,
    capabilities: &'a Capabilities,
    right: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Runs the adapter's kernels beside their definitions; fails where one is wrong.
pub(super) fn run(command: &Check, global: &Global) -> Result<()> {
    let mut device = Device::open(global)?;
    let extent = match (command.quick, command.full) {
        (true, _) => Extent::Quick,
        (_, true) => Extent::Full,
        _ => Extent::Adapted,
    };
    let of = |list: Vec<crate::check::Case>| -> Vec<_> {
        let named = |case: &crate::check::Case| {
            command.ops.is_empty() || command.ops.iter().any(|op| op == case.op.name())
        };
        list.into_iter().filter(named).collect()
    };
    let all = cases::all();
    for op in &command.ops {
        if !all.iter().any(|case| case.op.name() == op) {
            let names: std::collections::BTreeSet<&str> = all.iter().map(|case| case.op.name()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            return Err(Error::usage(format!("no operation is called {op}; there are {}", names.join(", "))));
        }
    }
    let mut reporter = Reporter::new(global.quiet);
    let (all, large) = (of(all), of(cases::large()));
    reporter.begin("cases", (all.len() + large.len()) as u64);
    let mut done = 0;
    let tell = &mut |_: &str| {
        done += 1;
        reporter.advance(done);
    };
    let mut report = block_on(check(&device.gpu, all, large, extent, tell))?;
    reporter.end();
    if command.ops.is_empty() {
        for compute in [Compute::F32, Compute::F16] {
            report.add_steps(block_on(steps::steps(&device.gpu, compute))?);
        }
    }
    if command.ops.is_empty() {
        device.set_aside(report.set_aside.clone());
    }
    show(&report, global.quiet)?;
    if let Some(path) = &command.report {
        write(path, &device, &report)?;
    }
    verdict(&report)
}

fn write(path: &Path, device: &Device, report: &Report) -> Result<()> {
    let document = Document {
        polymix: env!("CARGO_PKG_VERSION"),
        identity: device.gpu.identity(),
        capabilities: device.gpu.capabilities(),
        right: report.is_right(),
        report,
    };
    write_whole(path, to_json(&document)?.as_bytes())
}

fn show(report: &Report, quiet: bool) -> Result<()> {
    let header = ["op", "kernel", "runs", "worst error", "allowed", "GFLOP/s", "GB/s", ""].map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(header)
        .chain(report.kernels.iter().map(|row| line(row, &report.set_aside)))
        .collect();
    print(table(&rows))?;
    for step in &report.steps {
        print(format!(
            "{} training, step {}, {}: error {:.1e}, allowed {:.0e}",
            step.compute, step.step, step.value, step.worst_error, step.bound
        ))?;
    }
    for (kernel, reason) in &report.set_aside {
        print(format!("left aside on this adapter: {kernel}, {reason}"))?;
    }
    for fault in &report.wrong {
        print(format!("WRONG {fault}"))?;
    }
    if !quiet {
        for left in &report.left {
            note(format!("not checked: {}: {}", left.what, left.reason));
        }
    }
    let [done, all] = report.cases;
    print(format!("{done} of {all} cases in {:.0} s", report.seconds))
}

fn line(row: &KernelReport, set_aside: &BTreeMap<String, String>) -> [String; 8] {
    let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let verdict = match set_aside.get(row.kernel) {
        _ if row.worst_error > row.bound => "WRONG",
        Some(_) => "left aside",
        None => "",
    };
    [
        row.op.to_owned(),
        row.kernel.to_owned(),
        row.runs.to_string(),
        format!("{:.1e}", row.worst_error),
        format!("{:.0e}", row.bound),
        rate(row.gflops_per_second),
        rate(row.gigabytes_per_second),
        verdict.to_owned(),
    ]
}

/// The end of the command: an error, and so exit 1, where something is wrong.
fn verdict(report: &Report) -> Result<()> {
    if report.is_right() {
        return Ok(());
    }
    let count = report.wrong.len();
    Err(Error::Gpu(format!(
        "{count} {} wrong on this adapter; update its driver, and send a report in",
        if count == 1 { "result is" } else { "results are" }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_ends_with_an_error() {
        assert!(verdict(&Report::default()).is_ok());
        let report = Report { wrong: vec!["softmax: y0[3]".into()], ..Report::default() };
        let error = verdict(&report).unwrap_err();
        assert_eq!(crate::cli::code(&error), 1);
    }
}
