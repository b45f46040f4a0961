//! `polymix profile`: time and memory by the length of the audio, and time by kernel.

use std::time::Duration;

use super::adapter::Device;
use super::arguments::{Global, Profile};
use super::output::{note, print, print_json, table};
use super::train::stop_on_interrupt;
use crate::error::{Error, Result};
use crate::gpu::Capabilities;
use crate::profile::{
    Card, Cost, FIGURE, KernelCost, LeftOut, Link, News, Report, Row, Subject, Sweep, Workload, gib,
};
use crate::recipe::Recipe;

/// Plans or runs the models, prints a table and leaves the files.
pub(super) fn run(command: &Profile, global: &Global) -> Result<()> {
    let sweep = sweep(command, global)?;
    if command.dry_run {
        let capabilities = match &sweep.card {
            Some(card) => card.capabilities(),
            None => capabilities(global)?,
        };
        let report = sweep.estimate(&capabilities, &mut |news| tell(news, global))?;
        if command.plan {
            dump(&sweep, &capabilities)?;
        }
        for row in report.rows.iter().filter(|_| !global.quiet) {
            if let Some(obstacle) = &row.obstacle {
                note(format!("would not run: {}, {} s: {obstacle}", row.mixer, row.seconds));
            }
        }
        return finish(command, &report);
    }
    let device = Device::open(global)?;
    stop_on_interrupt();
    let mut written = Ok(());
    let report = sweep.measure(&device.gpu, &mut |news| {
        tell(news, global);
        // What was measured so far stays if the rest fails or is stopped.
        if let (News::Row(_, report), Some(folder)) = (news, &command.out) {
            let now = report.write(folder);
            if written.is_ok() {
                written = now;
            }
        }
    })?;
    written?;
    finish(command, &report)
}

/// The requests of the command line.
fn sweep(command: &Profile, global: &Global) -> Result<Sweep> {
    let overrides = global.overrides();
    let mut subjects = Vec::new();
    match (&command.recipe, command.mixers.as_slice()) {
        (Some(recipe), []) => subjects.push(Subject::new(Recipe::load(recipe, &overrides)?)),
        (Some(recipe), mixers) => {
            for mixer in mixers {
                let named = [overrides.as_slice(), &[format!("model.mixer={mixer}")]].concat();
                subjects.push(Subject::new(Recipe::load(recipe, &named)?));
            }
        }
        (None, []) => {
            for mixer in FIGURE {
                subjects.push(Subject::base(mixer, &overrides)?);
            }
        }
        (None, mixers) => {
            for mixer in mixers {
                subjects.push(Subject::base(*mixer, &overrides)?);
            }
        }
    }
    for (index, subject) in subjects.iter().enumerate() {
        if subjects[..index].iter().any(|other| other.mixer == subject.mixer) {
            return Err(Error::usage(format!("--mixers names {} twice; name it once", subject.mixer)));
        }
    }
    let card = command.gpu.as_deref().map(Card::load).transpose()?;
    if command.ranks.is_some() && matches!(command.mode, Workload::Infer | Workload::Forward) {
        return Err(Error::usage("--ranks needs --mode train or finetune: other modes have no gradients"));
    }
    let mut seconds = command.seconds.clone();
    seconds.sort_by(f64::total_cmp);
    seconds.dedup();
    Ok(Sweep {
        subjects,
        seconds,
        batch: command.batch,
        mode: command.mode,
        repeat: command.repeat,
        kernels: command.kernels,
        budget: Some(Duration::from_secs_f64(command.budget_seconds)),
        card,
        link: command.ranks.zip(command.link).map(|(ranks, gbps)| Link { ranks, gbps }),
    })
}

/// The device's, or those of a GPU that every WebGPU device comes up to where there is no adapter.
fn capabilities(global: &Global) -> Result<Capabilities> {
    match Device::open(global) {
        Ok(device) => Ok(device.gpu.capabilities().clone()),
        Err(Error::NoAdapter(reason)) if global.device == "auto" => {
            let assumed = Capabilities::assumed();
            if !global.quiet {
                let (binding, buffer) = (assumed.max_binding >> 20, assumed.max_buffer >> 20);
                note(format!(
                    "{reason}; planning for {}: bindings of {binding} MiB, buffers of {buffer} MiB",
                    assumed.adapter
                ));
            }
            Ok(assumed)
        }
        Err(error) => Err(error),
    }
}

fn tell(news: News<'_>, global: &Global) {
    match news {
        News::Row(row, _) if !global.quiet => note(format!(
            "{}, {} s: {} ms, {:.2} GiB",
            row.mixer,
            row.seconds,
            milliseconds(row.ms_median),
            gib(row.peak_bytes)
        )),
        News::Row(..) => {}
        // Also if quiet: the result lacks it.
        News::LeftOut(LeftOut { mixer, seconds, reason }) => {
            note(format!("left out: {mixer}, {seconds} s: {reason}"));
        }
    }
}

/// Prints every dispatch of the plans.
fn dump(sweep: &Sweep, capabilities: &Capabilities) -> Result<()> {
    for (subject, point) in sweep.points() {
        if let Ok(planned) = subject.plan(point, capabilities) {
            let (dump, variants) = (planned.plan.dump(), planned.plan.dump_variants());
            note(format!("{}, {} s\n{dump}kernels:\n{variants}", subject.mixer, point.seconds));
        }
    }
    Ok(())
}

fn finish(command: &Profile, report: &Report) -> Result<()> {
    if let Some(folder) = &command.out {
        report.write(folder)?;
    }
    if command.json {
        return print_json(report);
    }
    let header = ["mixer", "parameters", "seconds", "batch", "mode", "ms", "fastest", "slowest", "memory"]
        .into_iter()
        .chain(["GFLOP", "GFLOP/s", "update ms"]);
    let header: Vec<String> = header.map(str::to_owned).collect();
    let rows: Vec<[String; 12]> =
        header.try_into().into_iter().chain(report.rows.iter().map(cells)).collect();
    let mut text = table(&rows);
    for row in report.rows.iter().filter(|_| command.kernels) {
        text.push_str(&format!("\n\n{}, {} s\n{}", row.mixer, row.seconds, kernels(row)));
    }
    for row in &report.rows {
        if let Some(cost) = &row.cost {
            text.push_str(&format!("\n\n{}, {} s\n{}", row.mixer, row.seconds, modelled(cost, row)));
        }
    }
    if let Some(folder) = &command.out {
        text.push_str(&format!("\n\nprofile.csv, profile.json, profile.svg: {}", folder.display()));
    }
    print(text)
}

fn milliseconds(value: Option<f64>) -> String {
    match value {
        Some(ms) if ms < 10.0 => format!("{ms:.3}"),
        Some(ms) => format!("{ms:.1}"),
        None => "-".to_owned(),
    }
}

fn cells(row: &Row) -> [String; 12] {
    [
        row.mixer.clone(),
        format!("{:.2} M", row.parameters as f64 * 1e-6),
        row.seconds.to_string(),
        row.batch.to_string(),
        row.mode.name().to_owned(),
        milliseconds(row.ms_median),
        milliseconds(row.ms_min),
        milliseconds(row.ms_max),
        format!("{:.2} GiB", gib(row.peak_bytes)),
        format!("{:.1}", row.flops as f64 * 1e-9),
        row.gflops_per_second.map_or("-".to_owned(), |rate| format!("{rate:.1}")),
        milliseconds(row.update_ms),
    ]
}

/// Time by kernel, the slowest first, and the sum.
fn kernels(row: &Row) -> String {
    if row.kernels.is_empty() {
        return format!("{} has no timestamps, so its kernels cannot be timed", row.adapter);
    }
    let total: f64 = row.kernels.iter().map(|kernel| kernel.milliseconds).sum();
    let header = ["kernel", "dispatches", "ms", "share", "GFLOP/s", "GB/s"].map(str::to_owned);
    let lines = row.kernels.iter().map(|kernel| {
        let rate =
            |rate: f64| if rate > 0.0 && rate.is_finite() { format!("{rate:.1}") } else { "-".to_owned() };
        [
            kernel.kernel.to_owned(),
            kernel.dispatches.to_string(),
            milliseconds(Some(kernel.milliseconds)),
            format!("{:.1} %", 100.0 * kernel.milliseconds / total.max(f64::MIN_POSITIVE)),
            rate(kernel.gflops_per_second()),
            rate(kernel.gigabytes_per_second()),
        ]
    });
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(lines).collect();
    format!(
        "{}\n{total:.1} ms dispatch by dispatch, {} ms in one go",
        table(&rows),
        milliseconds(row.ms_median)
    )
}

/// Modelled time by family of kernels, or by kernel beside measured times, and what is far from its floor.
fn modelled(cost: &Cost, row: &Row) -> String {
    let measured = !row.kernels.is_empty();
    let header = ["kernels", "dispatches", "GFLOP", "GB", "modelled ms", "share"]
        .into_iter()
        .chain(["arithmetic", "memory", "launches", "floor ms", "measured ms", "of the floor"])
        .map(str::to_owned)
        .collect();
    let ms = |value: f64| format!("{value:.2}");
    let line = |kernel: &KernelCost| {
        vec![
            kernel.kernel.clone(),
            kernel.dispatches.to_string(),
            format!("{:.1}", kernel.flops as f64 * 1e-9),
            format!("{:.2}", kernel.bytes as f64 * 1e-9),
            ms(kernel.modelled_ms),
            format!("{:.1} %", 100.0 * kernel.modelled_ms / cost.modelled_ms.max(f64::MIN_POSITIVE)),
            ms(kernel.compute_ms),
            ms(kernel.memory_ms),
            ms(kernel.launch_ms),
            ms(kernel.floor_ms),
            kernel.measured_ms.map_or("-".to_owned(), ms),
            format!("{:.1}", kernel.times_the_floor()),
        ]
    };
    let lines = if measured { &cost.kernels } else { &cost.classes };
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(lines.iter().map(line)).collect();
    let table = match measured {
        true => table(&columns::<12>(&rows)),
        false => table(&columns::<10>(&rows)),
    };
    let mut text = format!(
        "{}\n{}: {:.1} ms as modelled, {:.1} ms at its peaks",
        table, cost.gpu, cost.modelled_ms, cost.floor_ms
    );
    if let Some(update) = cost.update_ms {
        text.push_str(&format!("; an update takes {update:.1} ms"));
    }
    text.push_str(&match cost.accuracy {
        Some(share) => format!("; measured times differed by up to {:.0} %", 100.0 * share),
        None => "; no time was measured on it yet".to_owned(),
    });
    if let Some(ranks) = &cost.ranks {
        text.push_str(&format!(
            "\n{} ranks with links of {} GB/s: {:.1} ms a step, {:.1} of them for the gradients, {:.0} % of {} times one \
             rank's speed",
            ranks.ranks,
            ranks.link_gbps,
            ranks.step_ms,
            ranks.exchange_ms,
            100.0 * ranks.efficiency,
            ranks.ranks
        ));
    }
    let far = if measured { cost.far_from_their_floor() } else { Vec::new() };
    if !far.is_empty() {
        let far = far.iter().map(|kernel| {
            let measured = kernel.measured_ms.unwrap_or(kernel.modelled_ms);
            format!("{} ({measured:.2} ms of {:.2})", kernel.kernel, kernel.floor_ms)
        });
        text.push_str(&format!("\nfar from their floor: {}", far.collect::<Vec<_>>().join(", ")));
    }
    text
}

/// The first `N` columns.
fn columns<const N: usize>(rows: &[Vec<String>]) -> Vec<[String; N]> {
    rows.iter().map(|row| std::array::from_fn(|column| row[column].clone())).collect()
}
