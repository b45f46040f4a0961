//! Import of SpeechBrain's BEST-RQ checkpoints, pre-trained or fine-tuned.
//!
//! A checkpoint is the tensors of the recipe's modules under their `state_dict` names: `0.*` the front-end, `1.*`
//! the encoder with its wrapper, `linear.*` the prediction head, `quantizer.P` and `quantizer.CB`,
//! `normalize.glob_mean` and `normalize.glob_std`; of a recognizer `back_end_ffn.*` and `ctc_lin.*` in place of head and
//! quantizer; and the recipe's values as a flat JSON object. `names` has a row for every tensor, `modules` the names of
//! the modules, `hyper_parameters` the meaning of every value, `labels` the tokens.

mod hyper_parameters;
mod labels;
mod modules;
mod names;

pub use hyper_parameters::HyperParameters;
pub use labels::tokens;
pub use names::{Layout, Origin, mixer_origin};

use self::modules::Tensors;
use crate::audio::{BANDS, Normalization, Padding, SAMPLE_RATE, Stats};
use crate::error::{Error, Result};
use crate::models::{CtcHead, ModelKind, PreprocessorConfig, SavedConfig, SavedModel};
use crate::recipe::{Head, MixerSpec, ModelConfig};
use crate::text::Vocabulary;
use crate::weights::Weights;

/// Statistics of the input normalization.
const STATISTICS: [&str; 2] = ["normalize.glob_mean", "normalize.glob_std"];
/// Ends of the names of tensors that SpeechBrain computes again: tables and frequencies of positions.
const COMPUTED: [&str; 2] = [".pe", ".inv_freq"];
/// Tensors of pre-training that a recognizer may still have.
const PRETRAINING: [&str; 4] = ["linear.w.weight", "linear.w.bias", "quantizer.P", "quantizer.CB"];
/// The first and the last layer of a recognizer's head.
const HEAD: [&str; 2] = ["back_end_ffn.linear1.w.weight", "ctc_lin.w.weight"];

/// A pre-trained model from a checkpoint. It pads as SpeechBrain does.
///
/// # Errors
/// When a tensor is missing, unknown, of another shape than the hyper-parameters say, or not finite.
pub fn import(weights: &Weights, hyper_parameters: &HyperParameters) -> Result<SavedModel> {
    let tensors = Tensors::new(weights)?;
    let (codes, code_dim) = hyper_parameters.quantizer()?;
    let kind = ModelKind::BestRq { codes, code_dim };
    assemble(&tensors, hyper_parameters, kind, Padding::ReferencePretrain, None)
}

/// How many tokens the recognizer in `weights` tells apart; `None` of a pre-trained model.
///
/// # Errors
/// When a tensor is there under two names.
pub fn outputs(weights: &Weights) -> Result<Option<usize>> {
    let tensors = Tensors::new(weights)?;
    Ok(tensors.get(HEAD[1]).and_then(|(shape, _)| shape.dims().first().copied()))
}

/// A recognizer from the checkpoint of a fine-tuning. It pads as SpeechBrain does.
///
/// # Errors
/// See [`import`], and when there are more or fewer tokens than outputs.
pub fn import_recognizer(
    weights: &Weights,
    hyper_parameters: &HyperParameters,
    vocabulary: Vocabulary,
) -> Result<SavedModel> {
    let tensors = Tensors::new(weights)?;
    let rows = |name: &str| tensors.get(name).and_then(|(shape, _)| shape.dims().first().copied());
    let outputs =
        rows(HEAD[1]).ok_or_else(|| Error::invalid(format!("the tensor {} is missing", HEAD[1])))?;
    hyper_parameters.check_outputs(outputs)?;
    if vocabulary.len() != outputs {
        let tokens = vocabulary.len();
        return Err(Error::invalid(format!(
            "ctc_lin has {outputs} outputs, the label encoder or tokenizer {tokens} tokens; give the one that it was \
             trained with"
        )));
    }
    let width = rows(HEAD[0]);
    let head = CtcHead {
        head: if width.is_some() { Head::Mlp } else { Head::Linear },
        width: width.unwrap_or(hyper_parameters.model.d_model),
        dropout: hyper_parameters.head_dropout(),
        vocabulary: outputs,
    };
    let kind = ModelKind::Ctc(head);
    assemble(&tensors, hyper_parameters, kind, Padding::ReferenceFinetune, Some(vocabulary))
}

fn assemble(
    tensors: &Tensors,
    hyper_parameters: &HyperParameters,
    kind: ModelKind,
    padding: Padding,
    vocabulary: Option<Vocabulary>,
) -> Result<SavedModel> {
    let (config, origins) = fitting(tensors, hyper_parameters, &kind)?;
    check_names(tensors, &origins, &kind)?;
    let mut imported = Weights::default();
    for origin in &origins {
        let values = tensor(tensors, &origin.tensor, &origin.dims)?;
        imported.insert(&origin.parameter.name, origin.parameter.shape.clone(), origin.arrange(values))?;
    }
    let [mean, std] = STATISTICS.map(|name| tensor(tensors, name, &[BANDS]).map(<[f32]>::to_vec));
    let stats = Stats { mean: mean?, std: std? };
    stats.check()?;
    let preprocessor = PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.0,
        normalization: Normalization::Global(stats),
        padding,
    };
    let model = SavedModel { config, weights: imported, preprocessor, vocabulary };
    model.check()?;
    Ok(model)
}

/// Where every parameter of a model comes from.
///
/// # Errors
/// When the configuration is out of range, or SpeechBrain has no such mixer.
pub fn origins(config: &SavedConfig) -> Result<Vec<Origin>> {
    config.parameters()?.into_iter().map(|parameter| names::origin(&config.model, parameter)).collect()
}

/// The configuration that the tensors are of. One attention type can stand for several mixers; of those, the one
/// that finds most of its tensors in their shapes.
fn fitting(
    tensors: &Tensors,
    hyper_parameters: &HyperParameters,
    kind: &ModelKind,
) -> Result<(SavedConfig, Vec<Origin>)> {
    let mut best: Option<(usize, SavedConfig, Vec<Origin>)> = None;
    for mixer in names::mixers(&hyper_parameters.attention_type)? {
        let model = ModelConfig { mixer: MixerSpec::Every(mixer), ..hyper_parameters.model.clone() };
        model.validate()?;
        let config =
            SavedConfig { kind: kind.clone(), model, options: hyper_parameters.options, bands: BANDS };
        let origins = origins(&config)?;
        let fits = |origin: &&Origin| {
            tensors.get(&origin.tensor).is_some_and(|(shape, _)| shape.dims() == origin.dims)
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
fn check_names(tensors: &Tensors, origins: &[Origin], kind: &ModelKind) -> Result<()> {
    let recognizer = matches!(kind, ModelKind::Ctc(_));
    let wanted = || origins.iter().map(|origin| origin.tensor.as_str()).chain(STATISTICS);
    let unneeded = |name: &str| {
        COMPUTED.iter().any(|end| name.ends_with(end)) || recognizer && PRETRAINING.contains(&name)
    };
    let missing: Vec<&str> = wanted().filter(|name| tensors.get(name).is_none()).collect();
    let places: std::collections::BTreeSet<&str> = wanted().collect();
    let unknown: Vec<&str> =
        tensors.names().filter(|name| !places.contains(name) && !unneeded(name)).collect();
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
fn tensor<'a>(tensors: &Tensors<'a>, name: &str, dims: &[usize]) -> Result<&'a [f32]> {
    let (shape, values) =
        tensors.get(name).ok_or_else(|| Error::invalid(format!("the tensor {name} is missing")))?;
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
