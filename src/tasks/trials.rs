//! Lists of trials: which recordings are compared, and whether they are of one speaker.

use std::collections::HashMap;
use std::path::Path;

use crate::data::Utterance;
use crate::error::{Error, Result};

/// A line of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The numbers of the two recordings.
    pub sides: [usize; 2],
    /// Whether they are of one speaker.
    pub same: bool,
}

/// Recordings by what a list may call them: any number of the last parts of their path, with or without the ending. Behind
/// that, a part of a file may have `@` and the second at which it begins.
pub struct Names<'a> {
    utterances: &'a [Utterance],
    /// The first of a name, and the second where there is one.
    places: HashMap<String, (usize, Option<usize>)>,
}

impl<'a> Names<'a> {
    /// The names of these recordings.
    pub fn of(utterances: &'a [Utterance]) -> Self {
        let mut places: HashMap<String, (usize, Option<usize>)> = HashMap::new();
        for (at, utterance) in utterances.iter().enumerate() {
            let path = utterance.audio.stored_name().replace('\\', "/");
            let stem = match path.rsplit_once('.') {
                Some((stem, ending)) if !ending.contains('/') => stem,
                _ => &path,
            };
            for whole in [path.as_str(), stem] {
                let cuts = whole.match_indices('/').map(|(at, _)| at + 1);
                for from in std::iter::once(0).chain(cuts) {
                    let name = &whole[from..];
                    let part = utterance.audio.span.map(|span| format!("{name}@{}", span.start));
                    for name in [Some(name.to_owned()), part].into_iter().flatten() {
                        let known = places.entry(name).or_insert((at, None));
                        if known.0 != at {
                            known.1.get_or_insert(at);
                        }
                    }
                }
            }
        }
        Self { utterances, places }
    }

    /// # Errors
    /// When no recording has the name, or several.
    fn find(&self, name: &str) -> Result<usize, String> {
        let plain = name.strip_prefix("./").unwrap_or(name);
        match self.places.get(plain) {
            Some((at, None)) => Ok(*at),
            Some((at, Some(other))) => {
                let [one, other] = [at, other].map(|&at| &self.utterances[at]);
                Err(format!(
                    "names {name}, which may be {} ({}) or {} ({}); give more of its path, and of a part of a file its \
                     beginning, as {name}@SECONDS",
                    one.audio, one.origin, other.audio, other.origin
                ))
            }
            None => Err(format!("names {name}, which is none of the recordings of the data; correct it")),
        }
    }
}

/// Reads a list: two names and whether they are of one speaker a line, `1 a.wav b.wav` or `a.wav b.wav target`.
///
/// # Errors
/// When a line is neither, or names a recording that is not there; the message has its number.
pub fn parse(path: &Path, text: &str, names: &Names<'_>) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = match line.contains('\t') {
            true => line.split('\t').map(str::trim).collect(),
            false => line.split_whitespace().collect(),
        };
        let wrong = |message: String| Error::line(path, number, message);
        let [first, middle, last] = fields[..] else {
            return Err(wrong(format!(
                "has {} fields; write two names and 1 or 0, with tabs where a name has spaces",
                fields.len()
            )));
        };
        let (same, sides) = match (same(first), same(last)) {
            (Some(same), _) => (same, [middle, last]),
            (None, Some(same)) => (same, [first, middle]),
            (None, None) => {
                return Err(wrong(format!(
                    "says neither 1 nor 0 of {first} and {last}; write 1 (or target) before or behind two recordings of \
                     one speaker, 0 (or nontarget) of two"
                )));
            }
        };
        let [one, other] = sides.map(|name| names.find(name));
        listed.push(Listed { sides: [one.map_err(wrong)?, other.map_err(wrong)?], same });
    }
    if listed.is_empty() {
        return Err(Error::file(path, "holds no trial; write two names and 1 or 0 a line"));
    }
    Ok(listed)
}

fn same(word: &str) -> Option<bool> {
    match word {
        "1" | "target" => Some(true),
        "0" | "nontarget" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Recording, Span};

    #[test]
    fn both_forms_are_read_and_names_are_found() {
        let of = |path: &str, line: usize| Utterance::new(Recording::file(path), format!("m.jsonl:{line}"));
        let part = |path: &str, start: f64| {
            let mut one = of(path, 9);
            one.audio.span = Some(Span { start, seconds: Some(1.0) });
            one
        };
        let utterances = [
            of("d/ann/1.wav", 1),
            of("d/bob/1.wav", 2),
            of("d/bob/2.wav", 3),
            part("d/c.wav", 0.0),
            part("d/c.wav", 1.5),
        ];
        let names = Names::of(&utterances);
        let read = |text: &str| parse(Path::new("t.txt"), text, &names);
        let listed =
            read("# a list\n1 bob/1.wav bob/2\n\nann/1.wav\td/bob/2.wav\tnontarget\n0 c.wav@1.5 c@0\n")
                .unwrap();
        let one = |sides, same| Listed { sides, same };
        assert_eq!(listed, [one([1, 2], true), one([0, 2], false), one([4, 3], false)]);
        for (text, parts) in [
            ("1 1.wav 2.wav", &["t.txt:1", "d/ann/1.wav", "d/bob/1.wav", "more of its path"][..]),
            ("\n1 2.wav 3.wav", &["t.txt:2", "3.wav", "none of the recordings"]),
            ("2.wav 2.wav", &["t.txt:1", "2 fields"]),
            ("2.wav 2.wav maybe", &["t.txt:1", "neither 1 nor 0"]),
            ("1 c.wav 2.wav", &["c.wav", "@SECONDS"]),
            ("# none", &["t.txt", "no trial"]),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
