//! Import of SpeechBrain's BEST-RQ checkpoints.
//!
//! A checkpoint is the tensors of the recipe's modules under their `state_dict` names: `0.*` the front-end, `1.*`
//! the encoder with its wrapper, `linear.*` the prediction head, `quantizer.P` and `quantizer.CB`,
//! `normalize.glob_mean` and `normalize.glob_std`; and the recipe's values as a flat JSON object. `names` has a row
//! for every tensor, `hyper_parameters` the meaning of every value.

mod hyper_parameters;
mod names;

pub use hyper_parameters::HyperParameters;
pub use names::{Layout, Origin, mixer_origin};

use crate::audio::{BANDS, Normalization, Padding, SAMPLE_RATE, Stats};
use crate::error::{Error, Result};
use crate::models::{ModelKind, PreprocessorConfig, SavedConfig, SavedModel};
use crate::recipe::{MixerSpec, ModelConfig};
use crate::weights::Weights;

/// Statistics of the input normalization.
const STATISTICS: [&str; 2] = ["normalize.glob_mean", "normalize.glob_std"];
/// Ends of the names of tensors that SpeechBrain computes again: tables and frequencies of positions.
const COMPUTED: [&str; 2] = [".pe", ".inv_freq"];

/// A pre-trained model from a checkpoint. It pads as SpeechBrain does.
///
/// # Errors
/// When a tensor is missing, unknown, of another shape than the hyper-parameters say, or not finite.
pub fn import(weights: &Weights, hyper_parameters: &HyperParameters) -> Result<SavedModel> {
    let (config, origins) = fitting(weights, hyper_parameters)?;
    check_names(weights, &origins)?;
    let mut imported = Weights::default();
    for origin in &origins {
        let values = tensor(weights, &origin.tensor, &origin.dims)?;
        imported.insert(&origin.parameter.name, origin.parameter.shape.clone(), origin.arrange(values))?;
    }
    let [mean, std] = STATISTICS.map(|name| tensor(weights, name, &[BANDS]).map(<[f32]>::to_vec));
    let stats = Stats { mean: mean?, std: std? };
    stats.check()?;
    let preprocessor = PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.0,
        normalization: Normalization::Global(stats),
        padding: Padding::ReferencePretrain,
    };
    let model = SavedModel { config, weights: imported, preprocessor, vocabulary: None };
    model.check()?;
    Ok(model)
}

/// Where every parameter of a pre-trained model comes from.
///
/// # Errors
/// When the configuration is out of range, or SpeechBrain has no such mixer.
pub fn origins(config: &SavedConfig) -> Result<Vec<Origin>> {
    config.parameters()?.into_iter().map(|parameter| names::origin(&config.model, parameter)).collect()
}

/// The configuration that the tensors are of. One attention type can stand for several mixers; of those, the one
/// that finds most of its tensors in their shapes.
fn fitting(weights: &Weights, hyper_parameters: &HyperParameters) -> Result<(SavedConfig, Vec<Origin>)> {
    let mut best: Option<(usize, SavedConfig, Vec<Origin>)> = None;
    for mixer in names::mixers(&hyper_parameters.attention_type)? {
        let model = ModelConfig { mixer: MixerSpec::Every(mixer), ..hyper_parameters.model.clone() };
        model.validate()?;
        let kind = ModelKind::BestRq { codes: hyper_parameters.codes, code_dim: hyper_parameters.code_dim };
        let config = SavedConfig { kind, model, options: hyper_parameters.options, bands: BANDS };
        let origins = origins(&config)?;
        let fits = |origin: &&Origin| {
            weights.get(&origin.tensor).is_some_and(|(shape, _)| shape.dims() == origin.dims)
        };
        let found = origins.iter().filter(fits).count();
        if best.as_ref().is_none_or(|(most, ..)| found > *most) {
            best = Some((found, config, origins));
        }
    }
    let (_, config, origins) = best.ok_or_else(|| Error::invalid("there is no mixer to import"))?;
    Ok((config, origins))
}

/// Every tensor has its place, and every place its tensor.
fn check_names(weights: &Weights, origins: &[Origin]) -> Result<()> {
    let wanted = || origins.iter().map(|origin| origin.tensor.as_str()).chain(STATISTICS);
    let computed = |name: &str| COMPUTED.iter().any(|end| name.ends_with(end));
    let missing: Vec<&str> = wanted().filter(|name| weights.get(name).is_none()).collect();
    let places: std::collections::BTreeSet<&str> = wanted().collect();
    let unknown: Vec<&str> = weights
        .iter()
        .map(|(name, ..)| name)
        .filter(|name| !places.contains(name) && !computed(name))
        .collect();
    let list = |what: &str, names: &[&str]| match names {
        [] => None,
        [one] => Some(format!("the tensor {one} is {what}")),
        many => Some(format!("the tensors {} are {what}", many.join(", "))),
    };
    let found: Vec<String> =
        [list("missing", &missing), list("unknown", &unknown)].into_iter().flatten().collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("{}; check attention_type and num_encoder_layers", found.join(", and "))))
}

/// The values of a tensor of shape `dims`.
fn tensor<'a>(weights: &'a Weights, name: &str, dims: &[usize]) -> Result<&'a [f32]> {
    let (shape, values) =
        weights.get(name).ok_or_else(|| Error::invalid(format!("the tensor {name} is missing")))?;
    if shape.dims() != dims {
        return Err(Error::invalid(format!(
            "the tensor {name} has shape {shape}, the hyper-parameters say {dims:?}; give those that it was \
             trained with"
        )));
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(format!(
            "element {at} of the tensor {name} is {}, which is not finite; save the checkpoint again",
            values[at]
        )));
    }
    Ok(values)
}
