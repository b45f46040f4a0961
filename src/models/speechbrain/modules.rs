//! The names of a checkpoint's modules.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::weights::Weights;

/// Beginnings of names, and what they stand for. A recipe keeps modules in lists and under names of its own, and its
/// checkpoints have one file a list.
const MODULES: &[(&str, &str)] = &[
    ("pt_model.0.", "0."),
    ("pt_model.1.", "1."),
    ("pt_model.2.", "quantizer."),
    ("pt_model.3.", "linear."),
    ("2.", "quantizer."),
    ("3.", "linear."),
    ("model.0.", "back_end_ffn."),
    ("model.1.", "ctc_lin."),
];

/// A checkpoint's tensors by the names that [`super::names`] has.
#[derive(Debug)]
pub(super) struct Tensors<'a> {
    weights: &'a Weights,
    /// The name in the checkpoint of each tensor.
    names: BTreeMap<String, &'a str>,
}

impl<'a> Tensors<'a> {
    /// # Errors
    /// When two tensors are the same one.
    pub fn new(weights: &'a Weights) -> Result<Self> {
        let mut names = BTreeMap::new();
        for (name, ..) in weights.iter() {
            let module = MODULES.iter().find_map(|(theirs, ours)| Some((ours, name.strip_prefix(theirs)?)));
            let known = module.map_or_else(|| name.to_owned(), |(ours, rest)| format!("{ours}{rest}"));
            if let Some(other) = names.insert(known, name) {
                return Err(Error::invalid(format!(
                    "the tensors {other} and {name} are the same one; leave one of them out"
                )));
            }
        }
        Ok(Self { weights, names })
    }

    pub fn get(&self, name: &str) -> Option<(&'a Shape, &'a [f32])> {
        self.weights.get(self.names.get(name)?)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}
