//! The tokens of a recognizer: a label encoder's file, or a tokenizer.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::text::{Pieces, Vocabulary};

/// Parts the label encoder's labels from what it adds.
const RULE: &str = "====";

/// The tokens of `outputs` outputs, of the bytes of `label_encoder.txt`, of a SentencePiece model, of a `tokenizer.json` or
/// of a `vocab.json`. The blank is output 0; in a SentencePiece model with as many pieces as outputs, in the place of the
/// first one.
///
/// # Errors
/// When it is none of these, is damaged, or its blank is another output.
pub fn tokens(bytes: &[u8], outputs: usize) -> Result<Vocabulary> {
    let text = std::str::from_utf8(bytes).ok();
    match text.map(str::trim_start) {
        Some(text) if text.starts_with(['\'', '"', '=']) => {
            Vocabulary::try_from(labels(text)?).map_err(Error::invalid)
        }
        Some(text) if text.starts_with(['{', '[']) => {
            let value: serde_json::Value = serde_json::from_str(text)
                .map_err(|error| Error::invalid(format!("is no JSON of tokens ({error})")))?;
            match value.get("model") {
                Some(model) if model.is_object() => Vocabulary::from_pieces(Pieces::parse(bytes)?),
                _ => Vocabulary::from_json(text),
            }
        }
        _ => {
            let pieces = Pieces::parse(bytes)?;
            let in_place = pieces.tokens().len() == outputs + 1;
            Vocabulary::from_pieces(if in_place { Pieces::with_blank_in_place(bytes)? } else { pieces })
        }
    }
}

/// The labels of a `label_encoder.txt` in the order of their indices: lines `'label' => index`, a rule, and lines
/// `'key' => value`.
fn labels(text: &str) -> Result<Vec<String>> {
    let mut labels: BTreeMap<usize, String> = BTreeMap::new();
    let mut blank = None;
    let mut extras = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with(RULE) {
            extras = true;
            continue;
        }
        let wrong = |what: String| Error::invalid(format!("line {number}, {line:?}, {what}"));
        let (label, value) =
            line.rsplit_once(" => ").ok_or_else(|| wrong("is not `'label' => index`".into()))?;
        let literal = |text: &str| literal(text.trim()).ok_or_else(|| wrong("is no label in quotes".into()));
        match extras {
            true if literal(label)? == "blank_label" => blank = Some(literal(value)?),
            true => {}
            false => {
                let index = value.trim().parse().map_err(|_| wrong("has no index".into()))?;
                if let Some(other) = labels.insert(index, literal(label)?) {
                    return Err(wrong(format!("has the index of {other:?}")));
                }
            }
        }
    }
    if let Some((wanted, _)) = (0..).zip(labels.keys()).find(|(wanted, index)| wanted != *index) {
        return Err(Error::invalid(format!(
            "no label has the index {wanted}; indices count from 0 without gaps"
        )));
    }
    match (blank, labels.get(&0)) {
        (Some(blank), Some(first)) if *first != blank => Err(Error::invalid(format!(
            "the blank {blank:?} is not at index 0, where {first:?} is; only blank_index 0 can be imported"
        ))),
        _ => Ok(labels.into_values().collect()),
    }
}

/// The text that a literal of Python is, as `repr` writes it.
fn literal(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut value = String::new();
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        if character == quote {
            return None;
        }
        if character != '\\' {
            value.push(character);
            continue;
        }
        let digits = match rest.next()? {
            'n' => {
                value.push('\n');
                continue;
            }
            't' => {
                value.push('\t');
                continue;
            }
            'r' => {
                value.push('\r');
                continue;
            }
            plain @ ('\\' | '\'' | '"') => {
                value.push(plain);
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let code: String = rest.by_ref().take(digits).collect();
        value.push(char::from_u32(u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits)?)?);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "'A' => 1\n\"'\" => 3\n'<blank>' => 0\n' ' => 2\n'\\xe9' => 4\n================\n\
                        'starting_index' => 0\n'blank_label' => '<blank>'\n'unk_label' => None\n";

    #[test]
    fn label_encoders_are_read() {
        let vocabulary = tokens(FILE.as_bytes(), 5).unwrap();
        let found: Vec<_> = (0..5).filter_map(|id| vocabulary.token(id)).collect();
        assert_eq!(found, ["<blank>", "A", " ", "'", "\u{e9}"]);
        assert_eq!(literal(r"'a\\\'\u00e9\n'").unwrap(), "a\\'\u{e9}\n");
        assert_eq!(tokens(br#"["", "a", "b"]"#, 3).unwrap().len(), 3);
    }

    #[test]
    fn wrong_ones_are_named_by_line() {
        for (from, to, part) in [
            ("'A' => 1", "'A' => 2", "line 4"),
            ("'A' => 1", "'A' => 7", "index 1"),
            ("'A' => 1", "'A' => one", "line 1"),
            ("'A' => 1", "'A", "line 1"),
            ("'A' => 1", "('A', 'B') => 1", "SentencePiece"),
            ("'A' => 1", "'A' 'B' => 1", "line 1"),
            ("'<blank>' => 0", "'<s>' => 0", "blank_index"),
            ("'A' => 1", "'AB' => 1", "one character"),
        ] {
            let error = tokens(FILE.replace(from, to).as_bytes(), 5).unwrap_err().to_string();
            assert!(error.contains(part), "{to}: {error}");
        }
        for bytes in [&b""[..], b"{", b"[1]", b"\xff\xfe", b"'", b"'\\x' => 0", b"'\\xzz' => 0"] {
            assert!(tokens(bytes, 3).is_err());
        }
    }
}
