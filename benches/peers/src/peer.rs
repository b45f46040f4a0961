//! The same work in burn, as its users write it: its layers, its fused and tuned kernels.

use std::time::Instant;

use burn::module::{Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{
    Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig1d,
    PaddingConfig2d,
};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::activation::{gelu, glu, leaky_relu, softmax};
use burn::tensor::module::{attention, conv1d, layer_norm};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Distribution, Int};
use polymix::gpu::{Capabilities, DeviceClass};
use polymix::recipe::{ModelConfig, ModelOptions};
use polymix::train::BatchShape;
use polymix::{Error, Result};

use crate::harness::Contender;
use crate::harness::step::CLASSES;
use crate::harness::works::{FEED_FORWARD, HEADS, Multiplication, ROWS, SCORES, SEQUENCES, TAPS};

/// Mel bands.
const BANDS: usize = polymix::audio::BANDS;

/// Opens the adapter that polymix uses.
pub fn device(capabilities: &Capabilities) -> Result<Device> {
    let kind = match capabilities.class {
        DeviceClass::Cpu => DeviceKind::Cpu,
        DeviceClass::Integrated => DeviceKind::IntegratedGpu(0),
        DeviceClass::Discrete => DeviceKind::DiscreteGpu(0),
    };
    let api = match capabilities.backend.as_str() {
        "vulkan" => WgpuBackend::Vulkan,
        "metal" => WgpuBackend::Metal,
        "dx12" => WgpuBackend::Dx12,
        other => return Err(Error::invalid(format!("burn has no backend for {other}"))),
    };
    let options = Device::wgpu_options().device_kind(kind).graphics_api(api);
    let opened = options.init_with_setup().map_err(|error| Error::Gpu(format!("burn: {error}")))?;
    let (device, setup) = opened;
    let name = setup.adapter.get_info().name;
    if name != capabilities.adapter {
        let own = &capabilities.adapter;
        return Err(Error::NoAdapter(format!(
            "burn opened {name}, polymix {own}; leave one adapter visible"
        )));
    }
    Ok(device)
}

/// Waits for the device.
fn sync(device: &Device) -> Result<()> {
    device.sync().map_err(|error| Error::Gpu(format!("burn: {error:?}")))
}

/// Runs `work` from submission to completion; its results live until then.
fn timed<T>(device: &Device, work: impl FnOnce() -> T) -> Result<f64> {
    sync(device)?;
    let begun = Instant::now();
    let results = work();
    sync(device)?;
    let milliseconds = 1e3 * begun.elapsed().as_secs_f64();
    drop(results);
    Ok(milliseconds)
}

fn noise<const D: usize>(device: &Device, dims: [usize; D]) -> Tensor<D> {
    Tensor::random(dims, Distribution::Uniform(0.0, 1.0), device)
}

/// A matmul.
pub fn matmul<'a>(device: &Device, work: &Multiplication) -> Contender<'a> {
    let ([m, n, k], batch, op) = (work.sizes, work.batch, work.op);
    let (a, b) = (if op.transpose_a { [k, m] } else { [m, k] }, if op.transpose_b { [n, k] } else { [k, n] });
    let device = device.clone();
    if batch > 1 {
        let (a, b) = (noise(&device, [batch, a[0], a[1]]), noise(&device, [batch, b[0], b[1]]));
        return Box::new(move || timed(&device, || a.clone().matmul(b.clone())));
    }
    let (a, b) = (noise(&device, a), noise(&device, b));
    Box::new(move || {
        timed(&device, || {
            let a = if op.transpose_a { a.clone().transpose() } else { a.clone() };
            let b = if op.transpose_b { b.clone().transpose() } else { b.clone() };
            a.matmul(b)
        })
    })
}

/// LayerNorm over the last axis.
pub fn normalized<'a>(device: &Device) -> Contender<'a> {
    let device = device.clone();
    let x = noise(&device, ROWS);
    let [weight, bias] = [0, 1].map(|_| noise(&device, [ROWS[1]]));
    Box::new(move || timed(&device, || layer_norm(x.clone(), weight.clone(), Some(bias.clone()), 1e-5)))
}

/// Softmax over the last axis.
pub fn softened<'a>(device: &Device) -> Contender<'a> {
    let device = device.clone();
    let x = noise(&device, SCORES);
    Box::new(move || timed(&device, || softmax(x.clone(), 1)))
}

/// Depthwise convolution over time, on the layout that burn wants.
pub fn depthwise<'a>(device: &Device) -> Contender<'a> {
    let device = device.clone();
    let [batch, time, channels] = SEQUENCES;
    let x = noise(&device, [batch, channels, time]);
    let (weight, bias) = (noise(&device, [channels, 1, TAPS]), noise(&device, [channels]));
    let options = ConvOptions::new([1], [TAPS / 2], [1], channels);
    Box::new(move || {
        timed(&device, || conv1d(x.clone(), weight.clone(), Some(bias.clone()), options.clone()))
    })
}

/// Attention of one utterance, with the gradients of queries, keys and values if `backward`.
pub fn attended<'a>(device: &Device, backward: bool) -> Contender<'a> {
    let device = if backward { device.clone().autodiff() } else { device.clone() };
    let [heads, time, columns] = HEADS;
    let [q, k, v] = [0, 1, 2].map(|_| noise(&device, [1, heads, time, columns]));
    Box::new(move || {
        let options = AttentionModuleOptions::default();
        let [q, k, v] = [&q, &k, &v].map(|x| if backward { x.clone().require_grad() } else { x.clone() });
        timed(&device, || {
            let y = attention(q.clone(), k.clone(), v.clone(), None, None, options);
            let grads = backward.then(|| y.backward());
            let gradients = grads.as_ref().map(|grads| [&q, &k, &v].map(|x| x.grad(grads)));
            (y, grads, gradients)
        })
    })
}

/// LayerNorm → Linear → GELU → dropout → Linear → dropout.
#[derive(Module, Debug)]
struct FeedForward {
    norm: LayerNorm,
    up: Linear,
    down: Linear,
    dropout: Dropout,
}

impl FeedForward {
    fn new(device: &Device, width: usize, hidden: usize, dropout: f64) -> Self {
        Self {
            norm: LayerNormConfig::new(width).init(device),
            up: LinearConfig::new(width, hidden).init(device),
            down: LinearConfig::new(hidden, width).init(device),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.up.forward(self.norm.forward(x));
        self.dropout.forward(self.down.forward(self.dropout.forward(gelu(x))))
    }
}

/// The feed-forward module, with the gradients of input and parameters.
pub fn feed_forward<'a>(device: &Device) -> Contender<'a> {
    let device = device.clone().autodiff();
    let [rows, width, hidden] = FEED_FORWARD;
    let layer = FeedForward::new(&device, width, hidden, 0.0);
    let x = noise(&device, [1, rows, width]);
    Box::new(move || {
        let x = x.clone().require_grad();
        timed(&device, || {
            let y = layer.forward(x.clone());
            let grads = y.backward();
            let dx = x.grad(&grads);
            (y, dx, GradientsParams::from_grads(grads, &layer))
        })
    })
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
struct Block {
    convolution: Conv2d,
    norm: LayerNorm,
    dropout: Dropout,
}

impl Block {
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
struct Conformer {
    first: Block,
    second: Block,
    linear: Linear,
    dropout: Dropout,
    positions: Param<Tensor<2>>,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
}

impl Conformer {
    fn new(device: &Device, config: &ModelConfig, time: usize) -> Self {
        let (d, [first, second]) = (config.d_model, config.channels);
        let positions = noise(device, [time, d]);
        Self {
            first: Block::new(device, [1, first], BANDS / 2, ModelOptions::default().dropout),
            second: Block::new(device, [first, second], BANDS / 4, ModelOptions::default().dropout),
            linear: LinearConfig::new(second * BANDS / 4, d).init(device),
            dropout: DropoutConfig::new(ModelOptions::default().dropout).init(),
            positions: Param::from_tensor(positions).set_require_grad(false),
            layers: (0..config.layers).map(|_| Layer::new(device, config)).collect(),
            norm: LayerNormConfig::new(d).init(device),
            head: LinearConfig::new(d, CLASSES).init(device),
        }
    }

    /// [batch, frames, bands] → logits [batch · time, classes].
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

/// A whole training step: forward, backward, update.
pub fn training<'a>(device: &Device, config: &ModelConfig, shape: BatchShape) -> Contender<'a> {
    let plain = device.clone();
    let device = device.clone().autodiff();
    let rows = shape.utterances * shape.time();
    let features = noise(&plain, [shape.utterances, shape.frames, BANDS]);
    let targets: Vec<i32> = (0..rows).map(|row| (row * 7919 % CLASSES) as i32).collect();
    let targets = Tensor::<1, Int>::from_ints(targets.as_slice(), &plain);
    let mut model = Some(Conformer::new(&device, config, shape.time()));
    let mut optimizer: ModuleOptimizer =
        AdamWConfig::new().with_beta_2(0.98).with_epsilon(1e-9).with_weight_decay(0.1).init();
    let loss = CrossEntropyLossConfig::new().init(&device);
    Box::new(move || {
        timed(&plain, || {
            let Some(current) = model.take() else { return };
            let logits = current.forward(features.clone().autodiff());
            let grads = loss.forward(logits, targets.clone().autodiff()).backward();
            let grads = GradientsParams::from_grads(grads, &current);
            model = Some(optimizer.step(1e-4, current, grads));
        })
    })
}
