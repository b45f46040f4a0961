//! `polymix tune-device`, and the same before the first training on an adapter.

use std::collections::{BTreeMap, BTreeSet};

use pollster::block_on;

use super::adapter::Device;
use super::arguments::{Global, TuneDevice};
use super::output::{note, print, print_json, table};
use super::progress::Reporter;
use crate::check::cases::SUBJECTS;
use crate::check::{Tuning, tune};
use crate::error::{Error, Result};
use crate::gpu::DeviceClass;
use crate::train::Progress;

/// Seconds that the first training on an adapter spends on it.
const AT_FIRST: f64 = 5.0;

/// Measures the adapter's kernels and keeps the fastest.
pub(super) fn run(command: &TuneDevice, global: &Global) -> Result<()> {
    let names: BTreeSet<&str> = SUBJECTS.iter().map(|(name, _)| *name).collect();
    if let Some(op) = command.ops.iter().find(|op| !names.contains(op.as_str())) {
        let names: Vec<&str> = names.into_iter().collect();
        return Err(Error::usage(format!("no operation {op} is measured; there are {}", names.join(", "))));
    }
    global.note_without_recipe("tune-device");
    let mut device = Device::open(global)?;
    if command.forget {
        device.tune(BTreeMap::new());
        return print("the static rules choose all kernels of this adapter");
    }
    let chosen = |name: &str| command.ops.is_empty() || command.ops.iter().any(|op| op == name);
    let subjects: Vec<_> = SUBJECTS.into_iter().filter(|(name, _)| chosen(name)).collect();
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("operations", subjects.len() as u64);
    let mut begun = 0;
    let tell = &mut |_: &str| {
        reporter.advance(begun);
        begun += 1;
    };
    let tuning = block_on(tune(&device.gpu, &subjects, command.seconds, tell))?;
    reporter.end();
    device.tune(tuning.over(device.tuned().cloned().unwrap_or_default()));
    if command.json {
        return print_json(&tuning);
    }
    show(&tuning)
}

/// Before the first training on a GPU. A software adapter is so slow that it takes long, and little is won there.
pub(super) fn tune_at_first(device: &mut Device, quiet: bool) -> Result<()> {
    let capabilities = device.gpu.capabilities();
    if device.tuned().is_some() || capabilities.class == DeviceClass::Cpu || !capabilities.timestamps {
        return Ok(());
    }
    let tuning = match block_on(tune(&device.gpu, &SUBJECTS, AT_FIRST, &mut |_| {})) {
        Ok(tuning) => tuning,
        Err(error @ Error::DeviceLost(_)) => return Err(error),
        Err(error) => {
            tracing::warn!("this adapter's kernels are not measured ({error}); the static rules stay");
            return Ok(());
        }
    };
    device.tune(tuning.over(BTreeMap::new()));
    if !quiet {
        note(format!(
            "measured this adapter's kernels in {:.1} s, once: {} of {} classes get another than the rules' one; \
             `polymix devices` names them, --no-tune skips this",
            tuning.seconds,
            tuning.changed(),
            tuning.measured.len()
        ));
    }
    Ok(())
}

fn show(tuning: &Tuning) -> Result<()> {
    let mut rows = vec![["class", "kernel", "ms", ""].map(str::to_owned)];
    for measured in &tuning.measured {
        for (index, (kernel, milliseconds)) in measured.times.iter().enumerate() {
            rows.push([
                if index == 0 { measured.class.clone() } else { String::new() },
                (*kernel).to_owned(),
                format!("{milliseconds:.3}"),
                if *kernel == measured.chosen { "*" } else { "" }.to_owned(),
            ]);
        }
    }
    print(table(&rows))?;
    for wrong in &tuning.wrong {
        print(format!("WRONG {wrong}"))?;
    }
    for left in &tuning.left {
        note(format!("not measured: {left}; give it more --seconds"));
    }
    print(format!(
        "* is taken: {} of {} classes get another kernel than the rules' one, measured in {:.1} s",
        tuning.changed(),
        tuning.measured.len(),
        tuning.seconds
    ))
}
