//! `polymix devices`

use std::fmt::Write as _;

use pollster::block_on;

use super::adapter::findings;
use super::arguments::{Devices, Global};
use super::output::{print, print_json, table};
use crate::error::Result;
use crate::gpu::{AdapterReport, Gpu, Selection, adapters};

/// Lists the adapters.
pub(super) fn run(command: &Devices, global: &Global) -> Result<()> {
    let mut reports = block_on(adapters());
    if reports.is_empty() || global.device != "auto" {
        let selection = Selection { device: global.device.clone(), findings: findings(), cache: None };
        let used = block_on(Gpu::new(&selection))?;
        let used = used.capabilities();
        for report in &mut reports {
            let capabilities = &report.capabilities;
            report.chosen = (&capabilities.adapter, &capabilities.backend) == (&used.adapter, &used.backend);
        }
    }
    let known = findings();
    for report in &mut reports {
        if let Some(finding) = known.of(&report.identity) {
            report.capabilities.set_aside = finding.set_aside.keys().cloned().collect();
            report.capabilities.preferred = finding.preferred();
            if finding.matrices.as_ref().is_some_and(|test| test.fault.is_some()) {
                report.capabilities.cooperative = None;
            }
        }
    }
    if command.json {
        return print_json(&reports);
    }
    let header = [
        "",
        "#",
        "backend",
        "adapter",
        "tier",
        "binding",
        "workgroup",
        "subgroup",
        "matrices",
        "timing",
        "driver",
    ];
    let rows: Vec<[String; 11]> =
        std::iter::once(header.map(str::to_owned)).chain(reports.iter().map(row)).collect();
    let mut notes = String::new();
    for report in &reports {
        let Some(finding) = known.of(&report.identity) else { continue };
        let matrices = finding.matrices.as_ref().and_then(|test| test.fault.as_ref());
        let matrices = matrices.map(|fault| ("cooperative matrices".to_owned(), fault.clone()));
        for (kernel, reason) in matrices.into_iter().chain(finding.set_aside.clone()) {
            let _ = writeln!(notes, "{} leaves aside {kernel}: {reason}", report.index);
        }
        for (class, faster) in finding.tuned.iter().flatten() {
            let _ =
                writeln!(notes, "{} takes {} for {class}: {}", report.index, faster.kernel, faster.reason);
        }
    }
    print(format!("{}\n\n{notes}* is used; --json lists all limits and features", table(&rows)))
}

fn row(report: &AdapterReport) -> [String; 11] {
    let capabilities = &report.capabilities;
    let subgroup = match capabilities.subgroup {
        0 => "?".to_owned(),
        size => size.to_string(),
    };
    [
        if report.chosen { "*" } else { "" }.to_owned(),
        report.index.to_string(),
        capabilities.backend.clone(),
        capabilities.adapter.clone(),
        format!("{:?}", capabilities.class).to_lowercase(),
        format!("{} MiB", capabilities.max_binding >> 20),
        format!("{} × {} KiB", report.workgroup_invocations, report.workgroup_memory >> 10),
        subgroup,
        match capabilities.cooperative {
            Some(size) => format!("{0}×{0}", size as usize),
            None => "-".to_owned(),
        },
        if capabilities.timestamps { "yes" } else { "no" }.to_owned(),
        report.driver.clone(),
    ]
}
