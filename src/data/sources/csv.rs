//! Comma-separated values with quoted fields.

use super::Found;
use super::lines::Lines;
use crate::error::{Error, Result};

/// One record: its first line (from 1) and its fields.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub line: usize,
    pub fields: Vec<String>,
}

/// A record over more bytes is none: a quote was opened that never closes.
const LONGEST: usize = 16 << 20;

/// The next record of `lines`, blank lines left out.
///
/// A field in double quotes may hold commas, line breaks and doubled quotes; spaces before a field are
/// dropped. A record with a line that is wrong is none.
///
/// # Errors
/// Where a quote opens that never closes, and as for [`Lines::next`].
pub(super) fn next(lines: &mut Lines<'_>, found: &mut Found) -> Result<Option<Record>> {
    let mut record: Option<Record> = None;
    let mut field = String::new();
    // The line where the open quote stands, and whether the field at hand is or was quoted.
    let (mut quote, mut was_quoted) = (None, false);
    let (mut length, mut whole) = (0, true);
    while let Some((line, text)) = lines.next(found)? {
        let Some(text) = text else {
            whole &= quote.is_none();
            continue;
        };
        if quote.is_some() {
            field.push('\n');
        } else if text.is_empty() {
            continue;
        }
        length += text.len();
        let fields = &mut record.get_or_insert_with(|| Record { line, fields: Vec::new() }).fields;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '"' if quote.is_some() => {
                    if characters.next_if_eq(&'"').is_some() {
                        field.push('"');
                    } else {
                        quote = None;
                    }
                }
                _ if quote.is_some() => field.push(character),
                '"' if field.is_empty() && !was_quoted => (quote, was_quoted) = (Some(line), true),
                ' ' if field.is_empty() && !was_quoted => {}
                ',' => {
                    fields.push(std::mem::take(&mut field));
                    was_quoted = false;
                }
                _ => field.push(character),
            }
        }
        if quote.is_none() && !whole {
            (record, field, was_quoted, whole, length) = (None, String::new(), false, true, 0);
        } else if quote.is_none() || length > LONGEST {
            break;
        }
    }
    if let Some(line) = quote {
        let message = "opens a quote that never closes, so that no row from here on is read; close it, or double the \
                       quotes within a field";
        return Err(Error::line(lines.name(), line, message));
    }
    Ok(record.map(|mut record| {
        record.fields.push(field);
        record
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>> {
        let mut lines = Lines::of_bytes(Path::new("m.csv"), text.as_bytes())?;
        let mut records = Vec::new();
        while let Some(record) = next(&mut lines, &mut Found::default())? {
            records.push((record.line, record.fields));
        }
        Ok(records)
    }

    fn owned(fields: &[&str]) -> Vec<String> {
        fields.iter().map(|&f| f.into()).collect()
    }

    #[test]
    fn quotes_breaks_and_blank_lines() {
        let text = "a, b ,\"c, \"\"d\"\"\"\r\n\n\"two\nlines\",,x\n\"\"";
        let expected = vec![
            (1, owned(&["a", "b ", "c, \"d\""])),
            (3, owned(&["two\nlines", "", "x"])),
            (5, owned(&[""])),
        ];
        assert_eq!(records(text).expect("records"), expected);
        assert_eq!(records("").expect("nothing"), []);
        let message = records("a,b\nc,\"d\ne").expect_err("an open quote").to_string();
        assert!(message.contains("m.csv:2: opens a quote"), "{message}");
    }

    #[test]
    fn a_quote_within_a_field_is_a_character() {
        assert_eq!(records("5\" disk,it's").expect("a record"), [(1, owned(&["5\" disk", "it's"]))]);
    }
}
