//! WGSL with its `#import` and `#if` lines resolved.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One variant of a kernel, as far as its text depends on it.
pub struct Source<'a> {
    /// The folder `shaders/`.
    pub root: &'a Path,
    /// The words of the variant's name, for which `#if` holds.
    pub words: BTreeSet<&'a str>,
    /// The words of all variants of all kernels: `#if` on another is a slip.
    pub known: &'a BTreeSet<String>,
}

struct Branch {
    is_active: bool,
    was_taken: bool,
}

impl Source<'_> {
    /// The text of `file`. Each import comes once, where it is named first.
    pub fn expand(&self, file: &Path) -> Result<String, String> {
        let mut text = String::new();
        self.append(file, &mut BTreeSet::new(), &mut text)?;
        Ok(text)
    }

    fn append(&self, file: &Path, imported: &mut BTreeSet<String>, text: &mut String) -> Result<(), String> {
        let source = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let mut branches: Vec<Branch> = Vec::new();
        for (number, line) in (1..).zip(source.lines()) {
            let at = |e: String| format!("{}:{number}: {e}", file.display());
            let outside = || at("there is no #if for it".into());
            let (directive, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            match directive {
                "#if" => {
                    let holds = self.holds(rest).map_err(at)?;
                    branches.push(Branch { is_active: holds, was_taken: holds });
                }
                "#elif" => {
                    let holds = self.holds(rest).map_err(at)?;
                    let branch = branches.last_mut().ok_or_else(outside)?;
                    branch.is_active = holds && !branch.was_taken;
                    branch.was_taken |= holds;
                }
                "#else" => {
                    let branch = branches.last_mut().ok_or_else(outside)?;
                    branch.is_active = !branch.was_taken;
                    branch.was_taken = true;
                }
                "#endif" => {
                    branches.pop().ok_or_else(outside)?;
                }
                _ if !branches.iter().all(|branch| branch.is_active) => {}
                "#import" => {
                    if imported.insert(rest.trim().to_owned()) {
                        self.append(&self.root.join(rest.trim()).with_extension("wgsl"), imported, text)?;
                    }
                }
                _ if directive.starts_with('#') => return Err(at(format!("there is no {directive}"))),
                _ => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        match branches.is_empty() {
            true => Ok(()),
            false => Err(format!("{}: an #if has no #endif", file.display())),
        }
    }

    /// Whether the variant has one of the words of `condition`, "a | b".
    fn holds(&self, condition: &str) -> Result<bool, String> {
        let mut holds = false;
        for word in condition.split('|').map(str::trim) {
            if !self.known.contains(word) {
                return Err(format!("no variant has the word {word:?}"));
            }
            holds |= self.words.contains(word);
        }
        Ok(holds)
    }
}

/// The source without comments and indentation, which a browser would have to fetch. WGSL has no text in quotes.
pub fn compact(source: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().trim().to_owned();
    let lines: Vec<String> = source.lines().map(code).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// Pairs (x, y) of storage bindings: the comment behind x says that it "may be y".
pub fn may_be(source: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (declaration, comment) = line.split_once("//")?;
        let name = declaration.split_once("var<storage, read> ")?.1.split_once(':')?.0;
        let other = comment.split_once("; may be ")?.1;
        Some((name.to_owned(), other.trim().to_owned()))
    };
    source.lines().filter_map(pair).collect()
}

/// The storage bindings of which the comment says that they may be "in f16 too".
pub fn in_f16_too(source: &str) -> Vec<String> {
    let named = |line: &str| {
        let (declaration, comment) = line.split_once("//")?;
        let name = declaration.split_once("var<storage")?.1.split_once("> ")?.1.split_once(':')?.0;
        comment.contains("; in f16 too").then(|| name.to_owned())
    };
    source.lines().filter_map(named).collect()
}

/// The source without the binding `x`, whose elements are read from `y`.
pub fn replace(source: &str, x: &str, y: &str) -> String {
    let (mut text, mut removed) = (String::new(), None);
    for line in source.lines() {
        let number = line.split_once("@binding(").and_then(|(_, rest)| rest.split_once(')'));
        let number = number.and_then(|(number, _)| number.parse::<u32>().ok());
        match (number, removed) {
            (Some(own), None) if line.contains(&format!("var<storage, read> {x}:")) => removed = Some(own),
            (Some(own), Some(before)) if own > before => {
                text += &line.replace(&format!("@binding({own})"), &format!("@binding({})", own - 1));
            }
            (_, Some(_)) => text += &indexed(line, x, y),
            (_, None) => text += line,
        }
        text.push('\n');
    }
    text
}

/// `line` with `y[` for every `x[`.
fn indexed(line: &str, x: &str, y: &str) -> String {
    let wanted = format!("{x}[");
    let (mut text, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(&wanted) {
        let within = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let (before, after) = rest.split_at(at);
        text += before;
        text += if before.ends_with(within) { x } else { y };
        text.push('[');
        rest = &after[wanted.len()..];
    }
    text + rest
}
