//! Comma-separated values with quoted fields.

/// One record: its first line (from 1) and its fields.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub line: usize,
    pub fields: Vec<String>,
}

/// Splits a text into records, blank lines left out.
///
/// A field in double quotes may hold commas, line breaks and doubled quotes; spaces before a field are
/// dropped. The error is the line where a quote opens that never closes.
pub(super) fn records(text: &str) -> Result<Vec<Record>, usize> {
    let mut records = Vec::new();
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut line, mut first_line, mut quote_line) = (1, 1, None);
    let mut was_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\n' {
            line += 1;
        }
        match character {
            '"' if quote_line.is_some() => {
                if characters.next_if_eq(&'"').is_some() {
                    field.push('"');
                } else {
                    quote_line = None;
                }
            }
            _ if quote_line.is_some() => field.push(character),
            '"' if field.is_empty() && !was_quoted => (quote_line, was_quoted) = (Some(line), true),
            ' ' if field.is_empty() && !was_quoted => {}
            '\r' if characters.peek() == Some(&'\n') => {}
            ',' => {
                fields.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            '\n' => {
                if !(fields.is_empty() && field.is_empty() && !was_quoted) {
                    fields.push(std::mem::take(&mut field));
                    records.push(Record { line: first_line, fields: std::mem::take(&mut fields) });
                }
                (first_line, was_quoted) = (line, false);
            }
            _ => field.push(character),
        }
    }
    if let Some(line) = quote_line {
        return Err(line);
    }
    if !(fields.is_empty() && field.is_empty() && !was_quoted) {
        fields.push(field);
        records.push(Record { line: first_line, fields });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(usize, Vec<String>)> {
        records(text).expect("valid").into_iter().map(|r| (r.line, r.fields)).collect()
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
        assert_eq!(fields(text), expected);
        assert_eq!(fields(""), []);
        assert_eq!(records("a,b\nc,\"d"), Err(2));
    }

    #[test]
    fn a_quote_within_a_field_is_a_character() {
        assert_eq!(fields("5\" disk,it's"), [(1, owned(&["5\" disk", "it's"]))]);
    }
}
