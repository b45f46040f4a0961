//! Bars on a terminal, plain lines elsewhere; warnings above the bars.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::level_filters::LevelFilter;

use super::output::note;
use crate::data::counted;
use crate::train::Progress;
use crate::train::metrics::{TrainLine, ValidLine};

/// Every bar, so that lines can be written above them.
pub(super) static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Tells a user how work goes.
pub(super) struct Reporter {
    style: Style,
    bar: Option<ProgressBar>,
    total: u64,
}

enum Style {
    Bars,
    Lines,
    Quiet,
}

impl Reporter {
    /// Bars where stderr is a terminal, nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let style = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Bars,
            (false, false) => Style::Lines,
        };
        Self { style, bar: None, total: 0 }
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.end();
    }
}

impl Progress for Reporter {
    fn message(&mut self, text: &str) {
        if !matches!(self.style, Style::Quiet) {
            note(text);
        }
    }

    fn begin(&mut self, what: &str, total: u64) {
        self.end();
        self.total = total;
        match self.style {
            Style::Bars => {
                let template = "{prefix} {wide_bar} {pos}/{len} {msg} [{elapsed}, {eta} left]";
                let style =
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = BARS.add(ProgressBar::new(total));
                bar.set_style(style);
                bar.set_prefix(what.to_owned());
                self.bar = Some(bar);
            }
            Style::Lines => note(format!("{what} ({total})")),
            Style::Quiet => {}
        }
    }

    fn advance(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn train(&mut self, line: &TrainLine) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("loss {:.3}", line.loss));
        } else if let Style::Lines = self.style {
            let accuracy = line.accuracy.map_or(String::new(), |a| format!("  accuracy {a:.3}"));
            note(format!(
                "step {}/{}  loss {:.4}{accuracy}  gradient {:.2}  rate {:.2e}  {:.0} ms a step",
                line.step, self.total, line.loss, line.grad_norm, line.lr, line.step_ms
            ));
        }
    }

    fn valid(&mut self, line: &ValidLine) {
        let part =
            |name: &str, value: Option<f64>| value.map_or(String::new(), |v| format!("  {name} {v:.4}"));
        let rates = [
            part("WER", line.wer),
            part("CER", line.cer),
            part("accuracy", line.accuracy),
            part("EER", line.eer),
        ]
        .concat();
        let loss =
            if line.valid_loss.is_nan() { "none".to_owned() } else { format!("{:.4}", line.valid_loss) };
        let of = line.loss_utterances.map_or(String::new(), |of| format!(" (the loss of {of})"));
        let left_out = match line.left_out_reasons.is_empty() {
            true => String::new(),
            false => format!("; left out: {}", counted(&line.left_out_reasons)),
        };
        self.message(&format!(
            "step {}  validation loss {loss}{rates}  of {} utterances{of}{left_out}",
            line.step, line.utterances
        ));
    }
}

/// Warnings of the library go to stderr; `POLYMIX_LOG=debug` shows more.
pub(super) fn start_logging() {
    let wanted = std::env::var_os("POLYMIX_LOG").filter(|level| !level.is_empty());
    let level = wanted.as_ref().map(|level| level.to_str().and_then(|level| level.trim().parse().ok()));
    if let (Some(wanted), Some(None)) = (wanted, level) {
        note(format!(
            "POLYMIX_LOG={} is no level, so that warnings are shown; give off, error, warn, info, debug or trace",
            wanted.to_string_lossy()
        ));
    }
    let level = level.flatten().unwrap_or(LevelFilter::WARN);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .with_writer(|| AboveBars)
        .finish();
    // It fails only where the process has one already, which then gets the events.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        BARS.suspend(|| std::io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().lock().flush()
    }
}
