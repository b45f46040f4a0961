//! `polymix data`: checks and conversions of data.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::arguments::{Data, DataBench, DataCheck, DataConvert, DataPack, Global};
use super::output::{note, print, print_json, table, thousands};
use super::progress::Reporter;
use crate::data::bench::{self, Bench, Config};
use crate::data::check::{self, Bar, Kind, Report};
use crate::data::{Corpus, LeftOut, convert, pack};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::train::Progress;
use crate::train::metrics::chart::{self, COLORS, Curve, Panel};

/// Lines of a kind that the table shows.
const SHOWN: usize = 10;

/// Runs a command on data.
pub(super) fn run(command: &Data, global: &Global) -> Result<()> {
    match command {
        Data::Check(command) => check(command, global),
        Data::Convert(command) => convert(command, global),
        Data::Pack(command) => pack(command, global),
        Data::Bench(command) => bench(command, global),
    }
}

/// Calls `work` with what tells that one more of `total` is done.
fn told<T>(what: &str, total: usize, global: &Global, work: impl FnOnce(&(dyn Fn() + Sync)) -> T) -> T {
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin(what, total as u64);
    let (reporter, done) = (Mutex::new(reporter), AtomicU64::new(0));
    work(&|| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        // A bar that somebody else moves just now need not be moved once more.
        if let Ok(mut reporter) = reporter.try_lock() {
            reporter.advance(done);
        }
    })
}

fn check(command: &DataCheck, global: &Global) -> Result<()> {
    global.note_without_recipe("data check");
    let (mut corpus, broken) = Corpus::read_with_errors(&command.sources)?;
    corpus.choose_channel(command.channel);
    let report =
        told("reading", corpus.utterances.len(), global, |done| check::check(&corpus, &broken, done));
    if let Some(path) = &command.svg {
        let svg = histogram(&report.histogram)
            .map_err(|error| Error::file(path, format!("the histogram cannot be drawn: {error}")))?;
        write_whole(path, svg.as_bytes())?;
    }
    if command.json {
        print_json(&report)?
    } else {
        print(summary(&report))?
    }
    match report.problems() {
        0 => Ok(()),
        count if command.strict => Err(Error::invalid(format!(
            "the check has found faults ({count}); correct or remove what it names"
        ))),
        _ => Ok(()),
    }
}

fn convert(command: &DataConvert, global: &Global) -> Result<()> {
    global.note_without_recipe("data convert");
    let mut corpus = Corpus::load(&command.sources)?;
    corpus.choose_channel(command.channel);
    let converted = told("converting", corpus.utterances.len(), global, |done| {
        convert::convert(&corpus, &command.sources, &command.out, command.strict, done)
    })?;
    say("left out", &converted.left_out, global);
    say("cut off", &converted.clipped, global);
    if command.json {
        return print_json(&converted);
    }
    let mut rows = vec![
        ["manifest".to_owned(), converted.manifest.display().to_string()],
        ["utterances".to_owned(), thousands(converted.utterances)],
        ["hours".to_owned(), format!("{:.3}", converted.audio_seconds / 3600.0)],
    ];
    for (name, count) in [
        ("files kept of an earlier run", converted.kept),
        ("left out, could not be read", converted.left_out.len()),
        ("cut off at full scale", converted.clipped.len()),
    ] {
        if count > 0 {
            rows.push([name.to_owned(), thousands(count)]);
        }
    }
    print(table(&rows))
}

/// Names recordings one by one.
fn say(what: &str, list: &[LeftOut], global: &Global) {
    for left in list.iter().filter(|_| !global.quiet) {
        note(format!("{what}: {left}"));
    }
}

fn pack(command: &DataPack, global: &Global) -> Result<()> {
    global.note_without_recipe("data pack");
    let mut corpus = Corpus::load(&command.sources)?;
    corpus.choose_channel(command.channel);
    let packed = told("packing", corpus.utterances.len(), global, |done| {
        pack::pack(&corpus, &command.out, command.shard_mb * 1_000_000, command.strict, done)
    })?;
    say("left out", &packed.left_out, global);
    say("cut off", &packed.clipped, global);
    if command.json {
        return print_json(&packed);
    }
    let mut rows = vec![
        ["index".to_owned(), packed.index.display().to_string()],
        ["utterances".to_owned(), thousands(packed.utterances)],
        ["archives".to_owned(), thousands(packed.shards)],
        ["MB".to_owned(), format!("{:.1}", packed.bytes as f64 / 1e6)],
    ];
    for (name, count) in [
        ("parts of files, as FLAC", packed.parts),
        ("left out, could not be read", packed.left_out.len()),
        ("cut off at full scale", packed.clipped.len()),
    ] {
        if count > 0 {
            rows.push([name.to_owned(), thousands(count)]);
        }
    }
    print(table(&rows))
}

fn bench(command: &DataBench, global: &Global) -> Result<()> {
    global.note_without_recipe("data bench");
    let DataBench { minutes, threads, channel, strict, .. } = *command;
    let bench =
        bench::bench(&command.sources, &Config { seconds: minutes as f64 * 60.0, threads, channel, strict })?;
    say("left out", &bench.left_out, global);
    if command.json { print_json(&bench) } else { print(rates(&bench)) }
}

/// What is timed, a row a format.
fn rates(bench: &Bench) -> String {
    let memory = bench.load_bytes.map_or(String::new(), |bytes| format!(", {:.0} MB", bytes as f64 / 1e6));
    let lines = [
        ["utterances".to_owned(), thousands(bench.utterances)],
        ["read the list".to_owned(), format!("{:.2} s{memory}", bench.load_seconds)],
    ];
    let threads = match bench.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let mut rows = vec![
        [
            "format",
            "Hz",
            "seconds",
            "read",
            "decode",
            "resample",
            "features",
            "batch",
            "a core",
            threads.as_str(),
        ]
        .map(str::to_owned),
    ];
    let times = |rate: f64| thousands(rate.round() as usize);
    for format in &bench.formats {
        let hertz: Vec<String> = format.rates.iter().map(u32::to_string).collect();
        rows.push([
            format.format.clone(),
            hertz.join(", "),
            thousands(format.audio_seconds.round() as usize),
            times(format.read),
            times(format.decode),
            format.resample.map_or("-".to_owned(), times),
            times(format.features),
            times(format.batch),
            times(format.per_core),
            times(format.in_all),
        ]);
    }
    format!("{}\n\ntimes real time\n{}", table(&lines), table(&rows))
}

fn summary(report: &Report) -> String {
    let lengths = &report.seconds;
    let mut rows = [
        ["utterances", &thousands(report.utterances)],
        ["left out, could not be read", &thousands(report.left_out.len())],
        ["hours", &format!("{:.3}", report.hours)],
        [
            "seconds, shortest to longest",
            &format!("{:.2} to {:.2}, mean {:.2}", lengths.min, lengths.max, lengths.mean),
        ],
        [
            "  5, 25, 50, 75, 95 %",
            &[lengths.p5, lengths.p25, lengths.median, lengths.p75, lengths.p95]
                .map(|s| format!("{s:.2}"))
                .join(", "),
        ],
        ["sample rates", &counts(report.rates.iter().map(|(rate, &count)| (format!("{rate} Hz"), count)))],
        ["channels", &counts(report.channels.iter().map(|(channels, &count)| (channels.to_string(), count)))],
        ["formats", &counts(report.formats.iter().map(|(format, &count)| (format.clone(), count)))],
        ["speakers", &thousands(report.speakers)],
        ["texts", &texts(report)],
    ]
    .map(|row| row.map(str::to_owned))
    .to_vec();
    if !report.labels.is_empty() {
        rows.push([
            "labels".to_owned(),
            counts(report.labels.iter().map(|(label, &count)| (label.clone(), count))),
        ]);
    }
    let mut text = table(&rows);
    if !report.alphabet.is_empty() {
        let shown = |c: &char| match c {
            ' ' => "space".to_owned(),
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        };
        let alphabet = report.alphabet.iter().map(|(c, count)| format!("{} {count}", shown(c)));
        let _ = write!(
            text,
            "\n\nalphabet, {} characters\n{}",
            report.alphabet.len(),
            alphabet.collect::<Vec<_>>().join("  ")
        );
    }
    let unread =
        report.left_out.iter().map(|LeftOut { audio_filepath, origin, reason }| match audio_filepath {
            name if name.is_empty() => format!("{origin}: {reason}"),
            _ => format!("{audio_filepath}: {reason} ({origin})"),
        });
    list(&mut text, "could not be read", unread.collect());
    for (kind, title) in KINDS {
        let of = report.findings.iter().filter(|finding| finding.kind == kind);
        list(
            &mut text,
            title,
            of.map(|f| format!("{} {} ({})", f.audio_filepath, f.reason, f.origin)).collect(),
        );
    }
    if report.problems() == 0 {
        text.push_str("\n\nnothing is wrong");
    }
    text
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::TooMuchText, "have more text than frames"),
    (Kind::Duration, "have another duration than stated"),
    (Kind::SameRecording, "are there twice"),
    (Kind::SameAudio, "have the samples of another"),
    (Kind::Silent, "are silent"),
    (Kind::Clipped, "are clipped"),
    (Kind::NoText, "have no text"),
    (Kind::Doubtful, "are doubtful"),
];

fn texts(report: &Report) -> String {
    let empty =
        if report.empty_texts > 0 { format!(" ({} empty)", report.empty_texts) } else { String::new() };
    format!("{}{empty}, {} words", thousands(report.texts), thousands(report.words))
}

/// `16000 Hz 12, 8000 Hz 3`, the most frequent first.
fn counts(counts: impl Iterator<Item = (String, usize)>) -> String {
    let mut counts: Vec<(String, usize)> = counts.collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = counts.len().saturating_sub(SHOWN);
    let shown = counts.iter().take(SHOWN).map(|(name, count)| format!("{name} ({count})"));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(text, ", {more} others");
    }
    text
}

fn list(text: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(text, "\n\n{} {title}", lines.len());
    lines.iter().take(SHOWN).for_each(|line| {
        let _ = write!(text, "\n  {line}");
    });
    if lines.len() > SHOWN {
        let _ = write!(text, "\n  … and {} more, all with --json", lines.len() - SHOWN);
    }
}

/// The outline of the bars.
fn histogram(bars: &[Bar]) -> Result<String, Box<dyn std::error::Error>> {
    let outline = bars.iter().flat_map(|bar| [(bar.from, bar.count as f64), (bar.to, bar.count as f64)]);
    let end = bars.last().map(|bar| (bar.to, 0.0));
    let curve = Curve {
        label: "recordings".to_owned(),
        points: outline.chain(end).collect(),
        color: COLORS[0],
        width: 2,
        dots: false,
    };
    let panel = Panel {
        title: "Lengths".to_owned(),
        x: "seconds".to_owned(),
        y: "recordings".to_owned(),
        curves: vec![curve],
        from_zero: true,
        legend_left: false,
    };
    chart::svg(&[panel], (900, 500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_drawn() {
        let bars = [Bar { from: 0.0, to: 0.5, count: 3 }, Bar { from: 0.5, to: 1.0, count: 1 }];
        let svg = histogram(&bars).expect("a chart");
        assert!(svg.contains("<svg") && svg.contains("seconds"));
        assert!(histogram(&[]).expect("axes alone").contains("<svg"));
        assert_eq!(counts([("a".to_owned(), 1), ("b".to_owned(), 3)].into_iter()), "b (3), a (1)");
    }
}
