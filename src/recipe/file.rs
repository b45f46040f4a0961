//! Recipes as TOML: the file's values over the defaults, the command line's over the file's.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{ALTERNATIVES, Recipe, WHOLE};
use crate::error::{Error, Result};

/// More parts than any key has; few enough to walk its tables by recursion.
const MAX_DEPTH: usize = 8;

impl Recipe {
    /// Reads the recipe `path`, sets `overrides` (`table.key=value`, the value in TOML or a bare
    /// word) over it, and checks all values.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read; [`Error::Usage`] that names file, line, key and
    /// remedy when it is no TOML, has an unknown key or a value that does not do.
    pub fn load<S: AsRef<str>>(path: impl AsRef<Path>, overrides: &[S]) -> Result<Self> {
        let path = path.as_ref();
        let text = crate::files::read_text(path)?;
        Self::parse(&path.display().to_string(), &text, overrides)
    }

    /// As [`Recipe::load`], of the text of the file `name`.
    ///
    /// # Errors
    /// [`Error::Usage`] as of [`Recipe::load`].
    pub fn parse<S: AsRef<str>>(name: &str, text: &str, overrides: &[S]) -> Result<Self> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line(text, span.start));
            Error::usage(format!("{name}:{line}: not TOML: {}", one_line(error.message())))
        })?;
        let place = |key: &[String]| match line_of(text, key) {
            Some(line) => format!("{name}:{line}"),
            None => name.to_owned(),
        };
        let mut base = Base::new()?;
        let mut leaves = Vec::new();
        collect_leaves(table, &mut Vec::new(), &mut leaves);
        exclude_alternatives(&leaves, &place)?;
        for (key, value) in leaves {
            base.set(&key, value).map_err(|message| Error::usage(format!("{}: {message}", place(&key))))?;
        }
        for setting in overrides {
            let setting = setting.as_ref();
            base.set_text(setting)
                .map_err(|message| Error::usage(format!("setting {}: {message}", one_line(setting))))?;
        }
        let recipe = base.recipe().map_err(|message| Error::usage(format!("{name}: {message}")))?;
        recipe.validate().map_err(|error| Error::usage(format!("{name}: {error}")))?;
        Ok(recipe)
    }

    /// The recipe as TOML, with all values.
    pub fn to_toml(&self) -> String {
        toml::to_string(self)
            .unwrap_or_else(|_| unreachable!("a recipe is tables of numbers, texts and lists"))
    }
}

/// The tables that grow from the defaults to the resolved recipe.
struct Base(Table);

impl Base {
    fn new() -> Result<Self> {
        let table = Table::try_from(Recipe::default())
            .map_err(|error| Error::invalid(format!("the default recipe is no TOML: {error}")))?;
        Ok(Self(table))
    }

    fn recipe(&self) -> Result<Recipe, String> {
        self.0.clone().try_into().map_err(|error: toml::de::Error| one_line(error.message()))
    }

    /// Sets `key` to `value` and checks that a recipe with it can be read.
    fn set(&mut self, key: &[String], value: Value) -> Result<(), String> {
        let Some((last, tables)) = key.split_last() else {
            return Err("no key; write table.key=value".to_owned());
        };
        let mut table = &mut self.0;
        for (depth, name) in tables.iter().enumerate() {
            let inner = table.entry(name.as_str()).or_insert_with(|| Value::Table(Table::new()));
            // A name gives way to the table that may stand in its place.
            if name == "vocabulary" && inner.is_str() {
                *inner = Value::Table(Table::new());
            }
            let Value::Table(inner) = inner else {
                return Err(format!("{} is a value, not a table; set it itself", key[..=depth].join(".")));
            };
            table = inner;
        }
        for pair in ALTERNATIVES {
            if let Some(other) = pair.iter().position(|name| name == last).map(|i| pair[1 - i]) {
                table.remove(other);
            }
        }
        match value {
            // An empty section says nothing, provided that there is such a section.
            Value::Table(section) if section.is_empty() && table.get(last).is_some_and(Value::is_table) => {}
            value if last == "lr" && table.contains_key("encoder_lr") => {
                table.insert("encoder_lr".to_owned(), value.clone());
                table.insert("head_lr".to_owned(), value);
            }
            value => drop(table.insert(last.clone(), value)),
        }
        self.recipe().map(drop).map_err(|message| format!("{}: {message}", key.join(".")))
    }

    /// Sets `table.key=value`.
    fn set_text(&mut self, setting: &str) -> Result<(), String> {
        let (key, text) = setting.split_once('=').ok_or("no `=`; write table.key=value")?;
        let key: Vec<String> = key.trim().split('.').map(|part| part.trim().to_owned()).collect();
        if key.len() > MAX_DEPTH {
            return Err(format!("no key has {} parts; write table.key=value", key.len()));
        }
        let parsed = format!("value = {text}").parse::<Table>().ok().filter(|table| table.len() == 1);
        let value = parsed.and_then(|mut table| table.remove("value"));
        let value = value.unwrap_or_else(|| Value::String(text.trim().to_owned()));
        let mut leaves = Vec::new();
        collect_value(value, &mut key.clone(), &mut leaves);
        leaves.into_iter().try_for_each(|(key, value)| self.set(&key, value))
    }
}

type Leaf = (Vec<String>, Value);

/// Every value of `table` with its whole key; `lr` before the rates that it stands for.
fn collect_leaves(table: Table, key: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let (shorthand, rest): (Vec<_>, Vec<_>) = table.into_iter().partition(|(name, _)| name == "lr");
    for (name, value) in shorthand.into_iter().chain(rest) {
        key.push(name);
        collect_value(value, key, leaves);
        key.pop();
    }
}

fn collect_value(value: Value, key: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let whole = key.last().is_some_and(|name| WHOLE.contains(&name.as_str()));
    match value {
        Value::Table(inner) if !whole && !inner.is_empty() => collect_leaves(inner, key, leaves),
        value => leaves.push((key.clone(), value)),
    }
}

/// Refuses a file that gives both keys of a pair of alternatives.
fn exclude_alternatives(leaves: &[Leaf], place: &dyn Fn(&[String]) -> String) -> Result<()> {
    for (key, _) in leaves {
        let Some((last, table)) = key.split_last() else { continue };
        let Some([_, other]) = ALTERNATIVES.into_iter().find(|[name, _]| name == last) else { continue };
        let rival = [table, &[other.to_owned()]].concat();
        if leaves.iter().any(|(key, _)| *key == rival) {
            let message = format!("{} and {other} exclude each other; give one of them", key.join("."));
            return Err(Error::usage(format!("{}: {message}", place(key))));
        }
    }
    Ok(())
}

/// The line, from 1, of the byte `offset` of `text`.
pub(crate) fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// The line on which `text` gives `key`.
fn line_of(text: &str, key: &[String]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for name in key {
        let (name, value) = table.iter().find(|(known, _)| known.get_ref().as_ref() == name.as_str())?;
        found = Some(line(text, name.span().start));
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

/// The words of `message`, a space between them.
pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
