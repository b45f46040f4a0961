//! New characters: the head gains a row for each.

use crate::error::{Error, Result};
use crate::models::{ModelKind, SavedModel};

/// The last layer of every head.
const LAST: &str = "head.linear";

/// The model with a token for each of `characters`. A new token begins as the mean of those that are there, the blank aside,
/// which is never the most probable one.
///
/// # Errors
/// When the model writes sub-words.
pub(super) fn grow(model: &SavedModel, characters: &[char]) -> Result<SavedModel> {
    let mut model = model.clone();
    if characters.is_empty() {
        return Ok(model);
    }
    let (Some(vocabulary), ModelKind::Ctc(head)) = (model.vocabulary.take(), &mut model.config.kind) else {
        return Err(Error::invalid("the model has no CTC head; give one that recognizes speech"));
    };
    let tokens = vocabulary.len();
    let vocabulary = vocabulary.with_characters(characters)?;
    head.vocabulary = vocabulary.len();
    model.vocabulary = Some(vocabulary);
    for parameter in model.config.parameters()? {
        if !parameter.name.starts_with(LAST) {
            continue;
        }
        let Some((shape, values)) = model.weights.get(&parameter.name) else { continue };
        let (old, new) = (shape.dims().to_vec(), parameter.shape.dims().to_vec());
        // The axis of the tokens is the one that has grown.
        let Some(axis) = (0..old.len()).find(|&axis| old[axis] != new[axis]) else { continue };
        let inner: usize = old[axis + 1..].iter().product();
        let mut grown = Vec::with_capacity(parameter.shape.elements());
        for block in values.chunks(tokens * inner) {
            grown.extend_from_slice(block);
            let mean = (0..inner).map(|at| {
                let sum: f64 = (1..tokens).map(|token| f64::from(block[token * inner + at])).sum();
                (sum / (tokens - 1) as f64) as f32
            });
            let mean: Vec<f32> = mean.collect();
            (0..characters.len()).for_each(|_| grown.extend_from_slice(&mean));
        }
        model.weights.insert(parameter.name, parameter.shape, grown)?;
    }
    model.check()?;
    Ok(model)
}
