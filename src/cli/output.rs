//! Results on stdout, messages on stderr.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::progress::BARS;
use crate::error::{Error, Result};

static READER_IS_GONE: AtomicBool = AtomicBool::new(false);

/// Whether nobody reads stdout any more, as after `| head`.
pub(super) fn reader_is_gone() -> bool {
    READER_IS_GONE.load(Ordering::Relaxed)
}

/// Writes a result and a line feed to stdout.
///
/// # Errors
/// When stdout cannot be written, such as on a full disk; [`Error::Interrupted`] when nobody reads it.
pub(super) fn print(text: impl Display) -> Result<()> {
    let text = text.to_string();
    let written = BARS.suspend(|| {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush())
    });
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            READER_IS_GONE.store(true, Ordering::Relaxed);
            Err(Error::Interrupted)
        }
        written => written.map_err(|error| Error::invalid(format!("stdout cannot be written: {error}"))),
    }
}

/// Prints `value` as one JSON document.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    print(to_json(value)?)
}

/// `value` as a JSON document.
///
/// # Errors
/// When it is none.
pub(super) fn to_json(value: &(impl Serialize + ?Sized)) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(no_json)
}

/// `value` as JSON in one line.
///
/// # Errors
/// When it is none.
pub(super) fn to_json_line(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(no_json)
}

fn no_json(error: serde_json::Error) -> Error {
    Error::invalid(format!("the result is no JSON: {error}"))
}

/// Writes lines to stderr. Where nobody reads it, nothing is lost.
pub(super) fn note(text: impl Display) {
    let text = text.to_string();
    BARS.suspend(|| {
        let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end_matches('\n'));
    });
}

/// Writes an error to stderr, in one line.
pub(super) fn report(error: impl Display) {
    note(format!("error: {}", one_line(&error.to_string())));
}

/// Errors about single recordings: each is told, and the command fails after the others are done.
pub(super) struct Failures {
    strict: bool,
    last: Option<Error>,
}

impl Failures {
    /// None yet; the first ends the command if `strict`.
    pub fn new(strict: bool) -> Self {
        Self { strict, last: None }
    }

    /// Another one.
    ///
    /// # Errors
    /// The error itself if it is about no single recording, or `strict`.
    pub fn add(&mut self, error: Error) -> Result<()> {
        if self.strict || !matches!(error, Error::File { .. } | Error::Invalid(_)) {
            return Err(error);
        }
        if let Some(earlier) = self.last.replace(error) {
            report(earlier);
        }
        Ok(())
    }

    /// The end of the command.
    ///
    /// # Errors
    /// The last failure that was not reported yet.
    pub fn finish(mut self) -> Result<()> {
        self.last.take().map_or(Ok(()), Err)
    }
}

impl Drop for Failures {
    /// Another error ends the command.
    fn drop(&mut self) {
        if let Some(error) = self.last.take() {
            report(error);
        }
    }
}

/// The text with every run of white space as one space.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Rows with the columns aligned, two spaces between them.
pub(super) fn table(rows: &[impl AsRef<[String]>]) -> String {
    let columns = rows.first().map_or(0, |row| row.as_ref().len());
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &_| {
        let row = AsRef::<[String]>::as_ref(row);
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// A fraction as a percentage with two decimals.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_tables() {
        for (number, text) in [(7, "7"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(percent(0.0512), "5.12 %");
        assert_eq!(one_line(" a\n  b "), "a b");
        let rows = [["a", "bc"], ["def", "g"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a    bc\ndef  g");
    }
}
