//! New classes: the model gets a new head.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::models::{ModelKind, SavedModel, UtteranceHead};
use crate::recipe::{FinetuneConfig, TaskKind};
use crate::weights::Weights;

/// The scope of every head.
const HEAD: &str = "head.";

/// The model with the classes `labels`: itself if it has all of them, else its encoder with a head that is drawn anew
/// for these labels alone.
///
/// # Errors
/// When there are fewer than two labels.
pub(super) fn classes<'a>(
    model: &SavedModel,
    labels: impl Iterator<Item = &'a str>,
    seed: u32,
) -> Result<SavedModel> {
    let labels: BTreeSet<&str> = labels.collect();
    let known = |head: &UtteranceHead| {
        head.embedding.is_none() && labels.iter().all(|label| head.class(label).is_some())
    };
    if model.config.kind.utterance().is_some_and(known) {
        return Ok(model.clone());
    }
    if labels.len() < 2 {
        return Err(Error::invalid(format!(
            "{} labels are nothing to tell apart; give takes of two or more",
            labels.len()
        )));
    }
    let config = FinetuneConfig { task: TaskKind::Classify, ..FinetuneConfig::default() };
    let head = UtteranceHead::new(&config, labels.into_iter().map(str::to_owned).collect());
    let mut adapted = SavedModel { vocabulary: None, weights: Weights::default(), ..model.clone() };
    adapted.config.kind = ModelKind::Utterance(head);
    for parameter in adapted.config.parameters()? {
        let values = match parameter.name.starts_with(HEAD) {
            true => parameter.init.draw(&parameter.name, &parameter.shape, seed),
            false => model.weights.values(&parameter)?.to_vec(),
        };
        adapted.weights.insert(parameter.name, parameter.shape, values)?;
    }
    adapted.check()?;
    Ok(adapted)
}
