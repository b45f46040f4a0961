//! SpeechBrain's names and layouts of the parameters.

use crate::audio::BANDS;
use crate::error::{Error, Result};
use crate::graph::Parameter;
use crate::recipe::{MixerKind, ModelConfig};

/// How the elements of SpeechBrain's tensor lie, compared with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In the same way.
    Same,
    /// With the last two axes swapped: kernels over [frequency, time] instead of [time, frequency], weights that x is
    /// multiplied by from the left.
    Transposed,
    /// In the same order, as a convolution over one frame.
    Pointwise,
    /// In the same order, as this many rows.
    Rows(usize),
    /// In the same order, with the sizes of the axes reversed.
    Reshaped,
}

/// The tensor that a parameter comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Our parameter.
    pub parameter: Parameter,
    /// Name of SpeechBrain's tensor.
    pub tensor: String,
    /// Shape of SpeechBrain's tensor.
    pub dims: Vec<usize>,
    /// How its elements lie.
    pub layout: Layout,
}

impl Origin {
    /// The elements of SpeechBrain's tensor in our order.
    pub fn arrange<T: Copy>(&self, theirs: &[T]) -> Vec<T> {
        match (self.layout, self.parameter.shape.dims()) {
            (Layout::Transposed, &[.., rows, columns]) => theirs
                .chunks_exact((rows * columns).max(1))
                .flat_map(|block| (0..rows * columns).map(move |i| block[i % columns * rows + i / columns]))
                .collect(),
            _ => theirs.to_vec(),
        }
    }
}

/// A stem or the whole of our name, the same of theirs, and the layout.
type Row = (&'static str, &'static str, Layout);

use Layout::{Pointwise, Reshaped, Rows, Same, Transposed};

/// Outside the layers.
const MODEL: &[Row] = &[
    ("frontend.blocks.0.conv.weight", "0.convblock_0.convs.conv_0.conv.weight", Transposed),
    ("frontend.blocks.0.conv.bias", "0.convblock_0.convs.conv_0.conv.bias", Same),
    ("frontend.blocks.0.norm", "0.convblock_0.convs.norm_0.norm", Rows(BANDS / 2)),
    ("frontend.blocks.1.conv.weight", "0.convblock_1.convs.conv_0.conv.weight", Transposed),
    ("frontend.blocks.1.conv.bias", "0.convblock_1.convs.conv_0.conv.bias", Same),
    ("frontend.blocks.1.norm", "0.convblock_1.convs.norm_0.norm", Rows(BANDS / 4)),
    ("frontend.linear", "1.transformer.custom_src_module.layers.0.w", Same),
    ("encoder.norm", "1.transformer.encoder.norm.norm", Same),
    ("head.blocks.0.linear", "back_end_ffn.linear1.w", Same),
    ("head.blocks.0.norm", "back_end_ffn.bn1.norm", Same),
    ("head.blocks.1.linear", "back_end_ffn.linear2.w", Same),
    ("head.blocks.1.norm", "back_end_ffn.bn2.norm", Same),
    ("head.blocks.2.linear", "back_end_ffn.linear3.w", Same),
    ("head.blocks.2.norm", "back_end_ffn.bn3.norm", Same),
    ("head.linear", "ctc_lin.w", Same),
    ("head", "linear.w", Same),
    ("quantizer.projection", "quantizer.P", Same),
    ("quantizer.codebook", "quantizer.CB", Same),
];

/// Within a layer, the mixer aside.
const LAYER: &[Row] = &[
    ("ffn1.norm", "ffn_module1.0", Same),
    ("ffn1.linear1", "ffn_module1.1.ffn.0", Same),
    ("ffn1.linear2", "ffn_module1.1.ffn.3", Same),
    ("mixer_norm", "norm1.norm", Same),
    ("conv.norm", "convolution_module.layer_norm", Same),
    ("conv.pointwise.weight", "convolution_module.bottleneck.0.weight", Pointwise),
    ("conv.pointwise.bias", "convolution_module.bottleneck.0.bias", Same),
    ("conv.depthwise", "convolution_module.conv", Same),
    ("conv.after_norm", "convolution_module.after_conv.0", Same),
    ("conv.project", "convolution_module.after_conv.2", Same),
    ("ffn2.norm", "ffn_module2.0", Same),
    ("ffn2.linear1", "ffn_module2.1.ffn.0", Same),
    ("ffn2.linear2", "ffn_module2.1.ffn.3", Same),
    ("norm", "norm2.norm", Same),
];

/// Of a mixer: SpeechBrain's `attention_type`, ours, and the rows within `mixer` and `mha_layer`.
type MixerRows = (&'static str, MixerKind, &'static [Row]);

/// Where several have one attention type, the first that fits is taken.
const MIXERS: &[MixerRows] = &[
    ("PoM", MixerKind::Pom, POM),
    ("PoM", MixerKind::PomSelective, POM),
    ("PoM", MixerKind::Pom2Way, POM_2WAY),
    ("PoM", MixerKind::Pom3Way, POM_3WAY),
    ("regularMHA", MixerKind::RegularMha, REGULAR_MHA),
    ("RoPEMHA", MixerKind::RopeMha, ROPE_MHA),
    ("RelPosMHAXL", MixerKind::RelposMha, RELPOS_MHA),
    ("SummaryMixing", MixerKind::SummaryMixing, SUMMARY_MIXING),
    ("hypermixing", MixerKind::HyperMixing, HYPER_MIXING),
    ("fastformer", MixerKind::FastFormer, FASTFORMER),
];

const POM: &[Row] = &[
    ("value", "mh_pom.po_proj", Same),
    ("gate", "mh_pom.se_proj", Same),
    ("output", "mh_pom.ag_proj", Same),
    ("norm", "layer_norm", Same),
];

const POM_2WAY: &[Row] = &[
    ("value.0", "mh_pom.po_proj_hf", Same),
    ("value.1", "mh_pom.po_proj_bf", Same),
    ("gate.0", "mh_pom.se_proj_hf", Same),
    ("gate.1", "mh_pom.se_proj_bf", Same),
    ("output", "mh_pom.ag_proj", Same),
    ("norm", "layer_norm", Same),
];

const POM_3WAY: &[Row] = &[
    ("value.0", "mh_pom.po_proj_1", Same),
    ("value.1", "mh_pom.po_proj_2", Same),
    ("value.2", "mh_pom.po_proj_3", Same),
    ("gate.0", "mh_pom.se_proj_1", Same),
    ("gate.1", "mh_pom.se_proj_2", Same),
    ("gate.2", "mh_pom.se_proj_3", Same),
    ("output", "mh_pom.ag_proj", Same),
    ("norm", "layer_norm", Same),
];

const REGULAR_MHA: &[Row] = &[
    ("input.weight", "att.in_proj_weight", Same),
    ("input.bias", "att.in_proj_bias", Same),
    ("output", "att.out_proj", Same),
];

const ROPE_MHA: &[Row] = &[("input.weight", "in_proj_weight", Same), ("output", "out_proj", Same)];

const RELPOS_MHA: &[Row] = &[
    ("input.weight", "in_proj_weight", Same),
    ("position", "linear_pos", Same),
    ("content_bias", "pos_bias_u", Reshaped),
    ("position_bias", "pos_bias_v", Reshaped),
    ("output", "out_proj", Same),
];

const SUMMARY_MIXING: &[Row] = &[
    ("local.0.weight", "local_proj.linear.weights", Transposed),
    ("local.0.bias", "local_proj.linear.biases", Same),
    ("local.1.weight", "local_proj.linear_0.weights", Transposed),
    ("local.1.bias", "local_proj.linear_0.biases", Same),
    ("summary.0.weight", "summary_proj.linear.weights", Transposed),
    ("summary.0.bias", "summary_proj.linear.biases", Same),
    ("summary.1.weight", "summary_proj.linear_0.weights", Transposed),
    ("summary.1.bias", "summary_proj.linear_0.biases", Same),
    ("combine", "summary_local_merging.linear.w", Same),
];

const HYPER_MIXING: &[Row] = &[
    ("w1.0.weight", "hyper.w1_gen.fc1_weights", Same),
    ("w1.0.bias", "hyper.w1_gen.fc1_biases", Same),
    ("w1.1.weight", "hyper.w1_gen.fc2_weights", Same),
    ("w1.1.bias", "hyper.w1_gen.fc2_biases", Same),
    ("w2.0.weight", "hyper.w2_gen.fc1_weights", Same),
    ("w2.0.bias", "hyper.w2_gen.fc1_biases", Same),
    ("w2.1.weight", "hyper.w2_gen.fc2_weights", Same),
    ("w2.1.bias", "hyper.w2_gen.fc2_biases", Same),
    ("norm", "layer_norm", Same),
];

const FASTFORMER: &[Row] = &[
    ("query", "query_proj", Same),
    ("key", "key_proj", Same),
    ("query_attention", "query_attn", Same),
    ("key_attention", "key_attn", Same),
    ("output", "out_proj", Same),
];

/// The mixers that `attention_type` may mean; SpeechBrain's spelling varies in its capitals.
///
/// # Errors
/// When there is none.
pub(super) fn mixers(attention_type: &str) -> Result<Vec<MixerKind>> {
    let mixers: Vec<MixerKind> = MIXERS
        .iter()
        .filter(|(known, ..)| known.eq_ignore_ascii_case(attention_type))
        .map(|(_, mixer, _)| *mixer)
        .collect();
    if mixers.is_empty() {
        let mut known: Vec<&str> = MIXERS.iter().map(|(known, ..)| *known).collect();
        known.dedup();
        return Err(Error::invalid(format!(
            "attention_type {attention_type:?} is not known; known are {}",
            known.join(", ")
        )));
    }
    Ok(mixers)
}

/// Where a parameter of a model comes from.
///
/// # Errors
/// When SpeechBrain has no such mixer.
pub(super) fn origin(config: &ModelConfig, parameter: Parameter) -> Result<Origin> {
    let Some((layer, within)) =
        parameter.name.strip_prefix("encoder.layers.").and_then(|rest| rest.split_once('.'))
    else {
        let found = find(MODEL, &parameter.name);
        return with_layout(parameter, found);
    };
    let found = match within.strip_prefix("mixer.") {
        None => find(LAYER, within),
        Some(within) => {
            let mixer = config.mixer.for_layer(layer.parse().unwrap_or(0));
            find(mixer_rows(mixer), within).map(|(theirs, layout)| (format!("mha_layer.{theirs}"), layout))
        }
    };
    let found =
        found.map(|(theirs, layout)| (format!("1.transformer.encoder.layers.{layer}.{theirs}"), layout));
    with_layout(parameter, found)
}

/// Where a parameter of the mixer `mixer` alone comes from, whose tensors are those of SpeechBrain's module.
///
/// # Errors
/// When SpeechBrain has no such mixer.
pub fn mixer_origin(mixer: MixerKind, parameter: Parameter) -> Result<Origin> {
    let found = find(mixer_rows(mixer), &parameter.name);
    with_layout(parameter, found)
}

fn mixer_rows(mixer: MixerKind) -> &'static [Row] {
    MIXERS.iter().find(|(_, known, _)| *known == mixer).map_or(&[], |(.., rows)| rows)
}

/// The parameter with the shape of its tensor.
fn with_layout(parameter: Parameter, found: Option<(String, Layout)>) -> Result<Origin> {
    let Some((tensor, layout)) = found else {
        let name = parameter.name;
        return Err(Error::invalid(format!("SpeechBrain has no counterpart of the parameter {name}")));
    };
    let mut dims = parameter.shape.dims().to_vec();
    match layout {
        Same => {}
        Transposed => {
            let last = dims.len().saturating_sub(1);
            dims.swap(last.saturating_sub(1), last);
        }
        Pointwise => dims.push(1),
        Rows(rows) => dims = vec![rows, parameter.shape.elements() / rows],
        Reshaped => dims.reverse(),
    }
    Ok(Origin { parameter, tensor, dims, layout })
}

/// Their name and the layout, by the row that is a stem of `name`.
fn find(rows: &[Row], name: &str) -> Option<(String, Layout)> {
    rows.iter().find_map(|(ours, theirs, layout)| {
        let rest = name.strip_prefix(ours)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| (format!("{theirs}{rest}"), *layout))
    })
}
