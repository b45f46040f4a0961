//! The fields of a JSON object that stands on one line.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// An object, and where it stands.
pub(super) struct Object<'a> {
    name: &'a Path,
    line: usize,
    fields: &'a Map<String, Value>,
}

/// Parses a line.
///
/// # Errors
/// When it is no JSON object.
pub(super) fn parse(name: &Path, line: usize, text: &str) -> Result<Map<String, Value>> {
    const ONE_A_LINE: &str = "write one object a line, as `jq -c` does";
    if text.trim_start().starts_with('[') {
        return Err(Error::line(name, line, format!("is not a JSON object but an array; {ONE_A_LINE}")));
    }
    serde_json::from_str(text).map_err(|error| {
        let reason =
            if error.is_eof() { "it does not end on its line".to_owned() } else { error.to_string() };
        Error::line(name, line, format!("is not a JSON object ({reason}); {ONE_A_LINE}"))
    })
}

impl<'a> Object<'a> {
    /// The fields of line `line` of `name`.
    pub fn new(name: &'a Path, line: usize, fields: &'a Map<String, Value>) -> Self {
        Self { name, line, fields }
    }

    /// An error about this line.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::line(self.name, self.line, message)
    }

    /// A field that is there and not `null`.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, kind: &str) -> Error {
        self.error(format!("field `{key}` must be {kind}"))
    }

    /// A text.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn string(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key).map(|value| value.as_str().ok_or_else(|| self.wrong(key, "a string"))).transpose()
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// When it is not, or is empty.
    pub fn required(&self, key: &str, what: &str) -> Result<&'a str> {
        let field = self.string(key)?.filter(|text| !text.is_empty());
        field.ok_or_else(|| self.error(format!("has no field `{key}`; add {what}")))
    }

    /// A name or a number that stands for one.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn label(&self, key: &str) -> Result<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(truth)) => Ok(Some(truth.to_string())),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// A truth, which is not said where it is false.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn flag(&self, key: &str) -> Result<bool> {
        self.get(key)
            .map_or(Ok(false), |value| value.as_bool().ok_or_else(|| self.wrong(key, "true or false")))
    }

    /// A number.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|value| value.as_f64().ok_or_else(|| self.wrong(key, "a number"))).transpose()
    }

    /// A duration in seconds.
    ///
    /// # Errors
    /// When the field is no positive number.
    pub fn duration(&self, key: &str) -> Result<Option<f64>> {
        match self.number(key)? {
            Some(seconds) if !(seconds > 0.0 && seconds.is_finite()) => {
                Err(self.error(format!("field `{key}` is {seconds}; give a positive number of seconds")))
            }
            seconds => Ok(seconds),
        }
    }

    /// A time in seconds from the beginning of something.
    ///
    /// # Errors
    /// When the field is a negative number, or none.
    pub fn time(&self, key: &str) -> Result<Option<f64>> {
        match self.number(key)? {
            Some(seconds) if !(seconds >= 0.0 && seconds.is_finite()) => {
                Err(self
                    .error(format!("field `{key}` is {seconds}; give seconds from the beginning, 0 or more")))
            }
            seconds => Ok(seconds),
        }
    }
}
