//! The models of the comparison in burn's layers.

use burn::module::{Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{
    Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig1d,
    PaddingConfig2d,
};
use burn::prelude::*;
use burn::tensor::activation::{gelu, glu, leaky_relu, silu};
use polymix::Result;
use polymix::recipe::{ModelConfig, ModelOptions};

use super::{noise, tensor};
use crate::harness::step::{CLASSES, STACKED};
use crate::peer::{Example, Source, transposed};

/// Mel bands.
pub const BANDS: usize = polymix::audio::BANDS;

/// A model that gives every frame the logits of its classes.
pub trait Classifier: Module {
    /// [batch, frames, bands] → logits [batch · time, classes].
    fn forward(&self, features: Tensor<3>) -> Tensor<2>;
}

/// A vector of parameters.
fn vector(device: &Device, source: Source, name: &str, width: usize) -> Result<Param<Tensor<1>>> {
    Ok(Param::from_tensor(tensor(device, source(name, &[width])?, [width])))
}

/// The Linear of that name.
fn linear(device: &Device, source: Source, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
    let weight = transposed(&source(&format!("{name}.weight"), &[outputs, inputs])?, [outputs, inputs]);
    let weight = Param::from_tensor(tensor(device, weight, [inputs, outputs]));
    let bias = Some(vector(device, source, &format!("{name}.bias"), outputs)?);
    Ok(Linear { weight, bias })
}

/// The LayerNorm of that name.
fn layer_norm(device: &Device, source: Source, name: &str, width: usize) -> Result<LayerNorm> {
    let mut norm = LayerNormConfig::new(width).init(device);
    norm.gamma = vector(device, source, &format!("{name}.weight"), width)?;
    norm.beta = Some(vector(device, source, &format!("{name}.bias"), width)?);
    Ok(norm)
}

/// LayerNorm → Linear → activation → dropout → Linear → dropout.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// LayerNorm.
    pub norm: LayerNorm,
    /// The first Linear.
    pub up: Linear,
    /// The second one.
    pub down: Linear,
    dropout: Dropout,
    /// SiLU instead of GELU.
    silu: bool,
}

impl FeedForward {
    fn new(device: &Device, width: usize, hidden: usize, dropout: f64) -> Self {
        Self {
            norm: LayerNormConfig::new(width).init(device),
            up: LinearConfig::new(width, hidden).init(device),
            down: LinearConfig::new(hidden, width).init(device),
            dropout: DropoutConfig::new(dropout).init(),
            silu: false,
        }
    }

    /// Of these parameters, without dropout.
    pub fn of(device: &Device, source: Source, [width, hidden]: [usize; 2], silu: bool) -> Result<Self> {
        Ok(Self {
            norm: layer_norm(device, source, "norm", width)?,
            up: linear(device, source, "linear1", width, hidden)?,
            down: linear(device, source, "linear2", hidden, width)?,
            dropout: DropoutConfig::new(0.0).init(),
            silu,
        })
    }

    /// [batch, time, d] → [batch, time, d].
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.up.forward(self.norm.forward(x));
        let x = if self.silu { silu(x) } else { gelu(x) };
        self.dropout.forward(self.down.forward(self.dropout.forward(x)))
    }
}

/// Attention and feed-forward module, each behind a LayerNorm and with a residual.
#[derive(Module, Debug)]
struct Block {
    norm: LayerNorm,
    attention: MultiHeadAttention,
    feed_forward: FeedForward,
}

/// Four frames side by side → Linear → blocks → LayerNorm → Linear.
#[derive(Module, Debug)]
pub struct Transformer {
    input: Linear,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

impl Transformer {
    /// Of the example's parameters.
    pub fn of(device: &Device, example: &Example) -> Result<Self> {
        let (d, hidden, heads) = (example.model.width, example.model.hidden, example.model.heads);
        let all = |name: &str, _: &[usize]| example.parameter(name);
        let encoder = |name: &str, _: &[usize]| example.parameter(&format!("encoder.{name}"));
        let block = |index: usize| -> Result<Block> {
            let source =
                |name: &str, _: &[usize]| example.parameter(&format!("encoder.layers.{index}.{name}"));
            let inner = |name: &str, dims: &[usize]| source(&format!("feed_forward.{name}"), dims);
            // polymix has one Linear for queries, keys and values.
            let part = |part: usize| -> Result<Linear> {
                let third = |name: &str, dims: &[usize]| {
                    let size = dims.iter().product::<usize>();
                    Ok(source(&format!("attention.{name}"), dims)?[part * size..][..size].to_vec())
                };
                linear(device, &third, "input", d, d)
            };
            let mut attention = MultiHeadAttentionConfig::new(d, heads).with_dropout(0.0).init(device);
            (attention.query, attention.key, attention.value) = (part(0)?, part(1)?, part(2)?);
            attention.output = linear(device, &source, "attention.output", d, d)?;
            Ok(Block {
                norm: layer_norm(device, &source, "norm", d)?,
                attention,
                feed_forward: FeedForward::of(device, &inner, [d, hidden], true)?,
            })
        };
        Ok(Self {
            input: linear(device, &encoder, "input", STACKED * BANDS, d)?,
            blocks: (0..example.model.layers).map(block).collect::<Result<_>>()?,
            norm: layer_norm(device, &encoder, "norm", d)?,
            head: linear(device, &all, "head", d, CLASSES)?,
        })
    }
}

impl Classifier for Transformer {
    fn forward(&self, features: Tensor<3>) -> Tensor<2> {
        let [batch, frames, bands] = features.dims();
        let mut x = self.input.forward(features.reshape([batch, frames / STACKED, STACKED * bands]));
        for block in &self.blocks {
            let normalized = block.norm.forward(x.clone());
            x = x + block.attention.forward(MhaInput::self_attn(normalized)).context;
            x = x.clone() + block.feed_forward.forward(x);
        }
        let [batch, time, d] = x.dims();
        self.head.forward(self.norm.forward(x).reshape([batch * time, d]))
    }
}

/// LayerNorm → pointwise d → 2d → GLU → depthwise convolution → LayerNorm → GELU → Linear → dropout.
#[derive(Module, Debug)]
struct Convolution {
    norm: LayerNorm,
    pointwise: Linear,
    depthwise: Conv1d,
    after_norm: LayerNorm,
    project: Linear,
    dropout: Dropout,
}

impl Convolution {
    fn new(device: &Device, config: &ModelConfig) -> Self {
        let d = config.d_model;
        let depthwise =
            Conv1dConfig::new(d, d, config.kernel).with_groups(d).with_padding(PaddingConfig1d::Same);
        Self {
            norm: LayerNormConfig::new(d).init(device),
            pointwise: LinearConfig::new(d, 2 * d).init(device),
            depthwise: depthwise.init(device),
            after_norm: LayerNormConfig::new(d).init(device),
            project: LinearConfig::new(d, d).init(device),
            dropout: DropoutConfig::new(ModelOptions::default().dropout).init(),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = glu(self.pointwise.forward(self.norm.forward(x)), 2);
        let x = self.depthwise.forward(x.swap_dims(1, 2)).swap_dims(1, 2);
        self.dropout.forward(self.project.forward(gelu(self.after_norm.forward(x))))
    }
}

/// A Conformer layer around multi-head attention.
#[derive(Module, Debug)]
struct Layer {
    before: FeedForward,
    mixer_norm: LayerNorm,
    mixer: MultiHeadAttention,
    convolution: Convolution,
    after: FeedForward,
    norm: LayerNorm,
}

impl Layer {
    fn new(device: &Device, config: &ModelConfig) -> Self {
        let d = config.d_model;
        let feed_forward = || FeedForward::new(device, d, config.ffn, ModelOptions::default().dropout);
        let mixer = MultiHeadAttentionConfig::new(d, config.heads).with_dropout(0.0);
        Self {
            before: feed_forward(),
            mixer_norm: LayerNormConfig::new(d).init(device),
            mixer: mixer.init(device),
            convolution: Convolution::new(device, config),
            after: feed_forward(),
            norm: LayerNormConfig::new(d).init(device),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.before.forward(x) * 0.5;
        let mixed = self.mixer.forward(MhaInput::self_attn(self.mixer_norm.forward(x.clone())));
        let x = x + mixed.context;
        let x = x.clone() + self.convolution.forward(x);
        let x = x.clone() + self.after.forward(x) * 0.5;
        self.norm.forward(x)
    }
}

/// Conv2d 3×3, stride 2×2 → LayerNorm over (channel, frequency) → LeakyReLU → dropout.
#[derive(Module, Debug)]
struct Reduction {
    convolution: Conv2d,
    norm: LayerNorm,
    dropout: Dropout,
}

impl Reduction {
    fn new(device: &Device, channels: [usize; 2], bands: usize, dropout: f64) -> Self {
        let convolution = Conv2dConfig::new(channels, [3, 3]).with_stride([2, 2]);
        Self {
            convolution: convolution.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device),
            norm: LayerNormConfig::new(channels[1] * bands).init(device),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// [batch, channels, frames, bands] → [batch, channels, frames/2, bands/2].
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.convolution.forward(x);
        let [batch, channels, frames, bands] = y.dims();
        let y = y.swap_dims(1, 2).reshape([batch, frames, channels * bands]);
        let y = self.dropout.forward(leaky_relu(self.norm.forward(y), 0.01));
        y.reshape([batch, frames, channels, bands]).swap_dims(1, 2)
    }
}

/// Front-end, positions, layers, norm, head.
#[derive(Module, Debug)]
pub struct Conformer {
    first: Reduction,
    second: Reduction,
    linear: Linear,
    dropout: Dropout,
    positions: Param<Tensor<2>>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
}

impl Conformer {
    /// With parameters that burn draws.
    pub fn new(device: &Device, config: &ModelConfig, time: usize) -> Self {
        let (d, [first, second]) = (config.d_model, config.channels);
        let positions = noise(device, [time, d]);
        Self {
            first: Reduction::new(device, [1, first], BANDS / 2, ModelOptions::default().dropout),
            second: Reduction::new(device, [first, second], BANDS / 4, ModelOptions::default().dropout),
            linear: LinearConfig::new(second * BANDS / 4, d).init(device),
            dropout: DropoutConfig::new(ModelOptions::default().dropout).init(),
            positions: Param::from_tensor(positions).set_require_grad(false),
            layers: (0..config.layers).map(|_| Layer::new(device, config)).collect(),
            norm: LayerNormConfig::new(d).init(device),
            head: LinearConfig::new(d, CLASSES).init(device),
        }
    }
}

impl Classifier for Conformer {
    fn forward(&self, features: Tensor<3>) -> Tensor<2> {
        let x = self.second.forward(self.first.forward(features.unsqueeze_dim(1)));
        let [batch, channels, time, bands] = x.dims();
        let x = x.swap_dims(1, 2).reshape([batch, time, channels * bands]);
        let mut x = self.dropout.forward(self.linear.forward(x)) + self.positions.val().unsqueeze();
        for layer in &self.layers {
            x = layer.forward(x);
        }
        let [_, _, d] = x.dims();
        self.head.forward(self.norm.forward(x).reshape([batch * time, d]))
    }
}
