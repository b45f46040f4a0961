//! ARPA files.

use std::io::{self, BufRead, Read, Write};

use super::builder::{Builder, LOWEST, Word};
use super::stored::Node;
use super::{LONGEST, LanguageModel};
use crate::error::{Error, Result};

/// A longer line is none of an ARPA file.
const LONGEST_LINE: u64 = 1 << 20;

/// The lines of a file that are not empty.
struct Lines<'a, R> {
    source: R,
    name: &'a str,
    number: usize,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line that is not empty; `None` at the end.
    fn next(&mut self) -> Result<Option<&str>> {
        loop {
            self.line.clear();
            let read = self.source.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line);
            let read = read.map_err(|e| {
                Error::line(self.name, self.number + 1, format!("cannot be read ({e}); copy the file again"))
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 == LONGEST_LINE {
                return Err(self.error("the line is longer than a megabyte; this is no ARPA file"));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let line = std::str::from_utf8(self.line.trim_ascii());
        line.map(Some).map_err(|_| {
            Error::line(self.name, self.number, "the line is no UTF-8; save the language model as UTF-8")
        })
    }

    /// The next line that is not empty; the file must have one.
    fn expect(&mut self, what: &str) -> Result<&str> {
        if self.next()?.is_none() {
            return Err(self.error(&format!("the file ends where {what} is expected; copy it again")));
        }
        Ok(self.current())
    }

    /// The line that was read last.
    fn current(&self) -> &str {
        std::str::from_utf8(self.line.trim_ascii()).unwrap_or_default()
    }

    fn error(&self, message: &str) -> Error {
        Error::line(self.name, self.number.max(1), message)
    }
}

/// The stored form of the ARPA file `source`.
///
/// # Errors
/// Names the line that is malformed; what cannot be read.
pub(super) fn read(source: impl BufRead, name: &str) -> Result<Vec<u8>> {
    let mut lines = Lines { source, name, number: 0, line: Vec::new() };
    let first = lines.expect(r"\data\")?;
    if first.starts_with("mmap lm http") {
        return Err(lines.error("this is a binary of KenLM; give the ARPA file that it was made of"));
    }
    if first != r"\data\" {
        return Err(lines.error(r"an ARPA file begins with \data\; give one, or a model of polymix lm build"));
    }
    let counts = counts(&mut lines)?;
    let order = counts.len();
    let mut unigrams = Vec::new();
    section(&mut lines, 1, &counts, |line, words, probability, backoff| {
        unigrams.push(Word { text: words[0].to_owned(), probability, backoff, line });
        Ok(())
    })?;
    let mut builder = Builder::new(order, unigrams).map_err(|(error, line)| {
        let line = line.map_or(lines.number, |line| line as usize);
        Error::line(name, line, error.to_string())
    })?;
    for length in 2..=order {
        section(&mut lines, length, &counts, |line, words, probability, backoff| {
            let mut ids = [0; LONGEST];
            for (id, word) in ids.iter_mut().zip(words) {
                *id = builder.id(word).ok_or_else(|| {
                    format!("the word {word:?} is not among the 1-grams; add it there or remove the line")
                })?;
            }
            builder.push(&ids[..length], probability, backoff, line);
            Ok(())
        })?;
    }
    builder.finish().map_err(|twice| {
        let words = twice.words.join(" ");
        let message = format!("the {}-gram {words:?} is there twice; remove one", twice.words.len());
        Error::line(name, twice.line as usize, message)
    })
}

/// The numbers of n-grams after `\data\`. The line `\1-grams:` is read too.
fn counts<R: BufRead>(lines: &mut Lines<'_, R>) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    loop {
        let line = lines.expect(r"\1-grams:")?;
        if line == r"\1-grams:" {
            break;
        }
        let parsed = line.strip_prefix("ngram ").and_then(|rest| rest.split_once('='));
        let parsed = parsed.and_then(|(n, count)| Some((n.trim().parse().ok()?, count.trim().parse().ok()?)));
        let Some((order, count)) = parsed else {
            let message = format!("{line:?} is neither `ngram N=count` nor `\\1-grams:`; correct the line");
            return Err(lines.error(&message));
        };
        let (order, count): (usize, u64) = (order, count);
        if order != counts.len() + 1 {
            let message =
                format!("the number of {order}-grams comes where that of {} is due", counts.len() + 1);
            return Err(lines.error(&message));
        }
        if order > LONGEST {
            return Err(lines.error(&format!("{order}-grams are too long; models have order 1 to {LONGEST}")));
        }
        if count > u64::from(u32::MAX) {
            return Err(lines.error(&format!("{count} n-grams are too many; an order holds {}", u32::MAX)));
        }
        counts.push(count);
    }
    if counts.is_empty() {
        return Err(lines.error(r"no `ngram 1=count` stands between \data\ and \1-grams:"));
    }
    Ok(counts)
}

/// Reads the n-grams of `length` words, and the line behind them, which is the next section's name.
fn section<R: BufRead>(
    lines: &mut Lines<'_, R>,
    length: usize,
    counts: &[u64],
    mut take: impl FnMut(u32, &[&str], f32, f32) -> Result<(), String>,
) -> Result<()> {
    let due = counts[length - 1];
    let after = if length == counts.len() { r"\end\".to_owned() } else { format!("\\{}-grams:", length + 1) };
    let mut found = 0;
    loop {
        lines.expect(&after)?;
        let (number, line) = (u32::try_from(lines.number).unwrap_or(u32::MAX), lines.current());
        if line.starts_with('\\') && line == after {
            break;
        }
        let taken = entry(line, length)
            .and_then(|(words, probability, backoff)| take(number, &words[..length], probability, backoff));
        taken.map_err(|message| lines.error(&message))?;
        found += 1;
        if found > due {
            let message =
                format!("more {length}-grams than the {due} that \\data\\ promises; is the file damaged?");
            return Err(lines.error(&message));
        }
    }
    if found != due {
        let message =
            format!("only {found} {length}-grams of the {due} that \\data\\ promises; copy the file again");
        return Err(lines.error(&message));
    }
    Ok(())
}

/// Words, probability and backoff of a line.
fn entry(line: &str, length: usize) -> Result<([&str; LONGEST], f32, f32), String> {
    let wrong =
        || format!("{line:?} is no line of {length}-grams: log10 probability, words, and perhaps backoff");
    let mut fields = line.split_ascii_whitespace();
    let number = |text: &str| text.parse::<f32>().ok().filter(|number| !number.is_nan());
    let probability = fields.next().and_then(number).ok_or_else(wrong)?;
    if probability > 0.0 {
        return Err(format!("the log10 probability {probability} is above 0; correct the line"));
    }
    let mut words = [""; LONGEST];
    for word in &mut words[..length] {
        *word = fields.next().ok_or_else(wrong)?;
    }
    let backoff = match fields.next() {
        Some(text) => number(text).ok_or_else(wrong)?,
        None => 0.0,
    };
    if fields.next().is_some() {
        return Err(wrong());
    }
    if backoff > -LOWEST {
        return Err(format!("the log10 backoff {backoff} is above {}; correct the line", -LOWEST));
    }
    Ok((words, probability.max(LOWEST), backoff.max(LOWEST)))
}

/// Writes `model` as an ARPA file.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn write(model: &LanguageModel, out: &mut impl Write) -> io::Result<()> {
    let counts = model.counts();
    writeln!(out, "\\data\\")?;
    for (count, order) in counts.iter().zip(1..) {
        writeln!(out, "ngram {order}={count}")?;
    }
    for order in 1..=counts.len() {
        writeln!(out, "\n\\{order}-grams:")?;
        for word in 0..counts[0] as u32 {
            let node = model.layout.unigram(&model.bytes, word);
            write_longer(model, out, order, &mut vec![word], &node)?;
        }
    }
    writeln!(out, "\n\\end\\")
}

/// Writes the n-grams of `order` words that end in `words`, the last of which comes first.
fn write_longer(
    model: &LanguageModel,
    out: &mut impl Write,
    order: usize,
    words: &mut Vec<u32>,
    node: &Node,
) -> io::Result<()> {
    if words.len() < order {
        let level = words.len() - 1;
        for index in node.longer.0..node.longer.1 {
            let (word, longer) = model.layout.node(&model.bytes, level, index);
            words.push(word);
            write_longer(model, out, order, words, &longer)?;
            words.pop();
        }
        return Ok(());
    }
    write!(out, "{:.7}", node.probability)?;
    for (place, &word) in words.iter().rev().enumerate() {
        let word =
            if (word as usize) < model.layout.count() { model.layout.word(&model.bytes, word) } else { "?" };
        write!(out, "{}{word}", if place == 0 { '\t' } else { ' ' })?;
    }
    if order < model.order() && node.backoff != 0.0 {
        write!(out, "\t{:.7}", node.backoff)?;
    }
    writeln!(out)
}
