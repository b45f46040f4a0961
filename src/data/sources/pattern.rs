//! Patterns of file names: `audio_{0..7}.tar`, `audio__OP_0..7_CL_.tar`, `{train,dev}.jsonl`.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// No corpus has more shards.
const MOST: usize = 100_000;
/// NeMo's way to write braces where a shell would expand them, and braces.
const BRACES: [(&str, &str); 2] = [("_OP_", "_CL_"), ("{", "}")];

/// The paths with patterns expanded; a path that is there is none.
///
/// # Errors
/// When a pattern stands for too many files.
pub(super) fn expand(paths: &[&Path]) -> Result<Vec<PathBuf>> {
    let mut expanded = Vec::new();
    for &path in paths {
        match path.to_str().filter(|_| !path.exists()) {
            None => expanded.push(path.to_path_buf()),
            Some(text) => {
                let names = expand_text(text).ok_or_else(|| {
                    Error::file(path, format!("stands for more than {MOST} files; name fewer"))
                })?;
                expanded.extend(names.into_iter().map(PathBuf::from));
            }
        }
    }
    Ok(expanded)
}

fn expand_text(text: &str) -> Option<Vec<String>> {
    let found = BRACES.iter().find_map(|(open, close)| {
        let start = text.find(open)?;
        let inside = start + open.len();
        let end = inside + text[inside..].find(close)?;
        Some((&text[..start], alternatives(&text[inside..end])?, &text[end + close.len()..]))
    });
    let Some((before, alternatives, after)) = found else { return Some(vec![text.to_owned()]) };
    let rest = expand_text(after)?;
    if alternatives.len().checked_mul(rest.len()).is_none_or(|count| count > MOST) {
        return None;
    }
    let join = |alternative: &String| {
        let before = format!("{before}{alternative}");
        rest.iter().map(move |rest| format!("{before}{rest}")).collect::<Vec<_>>()
    };
    Some(alternatives.iter().flat_map(join).collect())
}

/// What stands in braces: `0..7`, as wide as its first number, or names between commas.
fn alternatives(inside: &str) -> Option<Vec<String>> {
    if let Some((first, last)) = inside.split_once("..") {
        let width = first.len();
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        let last = last.min(first.saturating_add(MOST));
        return (first <= last).then(|| (first..=last).map(|number| format!("{number:0width$}")).collect());
    }
    inside.contains(',').then(|| inside.split(',').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_their_files() {
        let names = |text: &str| expand_text(text).expect("few files");
        assert_eq!(names("a/audio__OP_0..2_CL_.tar"), ["a/audio_0.tar", "a/audio_1.tar", "a/audio_2.tar"]);
        assert_eq!(names("x{08..10}.tar"), ["x08.tar", "x09.tar", "x10.tar"]);
        assert_eq!(names("{a,b}_{0..1}"), ["a_0", "a_1", "b_0", "b_1"]);
        for plain in ["a.jsonl", "{}", "{3..1}", "{a..b}", "{x}.wav", "_OP_0..1", "}{"] {
            assert_eq!(names(plain), [plain]);
        }
        assert_eq!(expand_text("{0..99999999999}"), None);
        assert_eq!(expand_text("{0..999}{0..999}"), None);
    }
}
