//! burn: its layers, its fused and tuned kernels.

mod models;

use std::time::Instant;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::activation::softmax;
use burn::tensor::module::{attention, conv1d, layer_norm};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Distribution, Int, TensorData};
use polymix::gpu::{Capabilities, DeviceClass};
use polymix::ops::map::ActivationKind;
use polymix::recipe::ModelConfig;
use polymix::train::BatchShape;
use polymix::{Error, Result};

use crate::harness::step::{CLASSES, RATE};
use crate::harness::works::{FEED_FORWARD, HEADS, Multiplication, ROWS, SCORES, SEQUENCES, TAPS};
use crate::peer::{Entry, Example, Peer, Run, swapped, transposed, values};
use models::{BANDS, Classifier, Conformer, FeedForward, Transformer};

struct Burn(Device);

/// Opens the adapter that polymix uses.
pub fn open(capabilities: &Capabilities) -> Result<Box<dyn Peer>> {
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
    Ok(Box::new(Burn(device)))
}

/// Waits for the device.
fn sync(device: &Device) -> Result<()> {
    device.sync().map_err(|error| Error::Gpu(format!("burn: {error:?}")))
}

fn noise<const D: usize>(device: &Device, dims: [usize; D]) -> Tensor<D> {
    Tensor::random(dims, Distribution::Uniform(0.0, 1.0), device)
}

fn tensor<const D: usize>(device: &Device, values: Vec<f32>, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// The tensor that polymix stores under that name.
fn stored<const D: usize>(device: &Device, name: &str, dims: [usize; D]) -> Tensor<D> {
    tensor(device, values(name, &dims), dims)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|error| Error::Gpu(format!("burn: {error:?}")))
}

/// Work whose results live until it has completed.
struct Prepared<W, R> {
    device: Device,
    work: W,
    read: R,
}

impl<T, W: FnMut() -> T, R: Fn(T) -> Result<Vec<Vec<f32>>>> Run for Prepared<W, R> {
    fn time(&mut self) -> Result<f64> {
        sync(&self.device)?;
        let begun = Instant::now();
        let results = (self.work)();
        sync(&self.device)?;
        let milliseconds = 1e3 * begun.elapsed().as_secs_f64();
        drop(results);
        Ok(milliseconds)
    }

    fn results(&mut self) -> Result<Vec<Vec<f32>>> {
        (self.read)((self.work)())
    }
}

impl Burn {
    /// `work`, whose results `read` brings into polymix's order and layout.
    fn prepared<T: 'static>(
        &self,
        work: impl FnMut() -> T + 'static,
        read: impl Fn(T) -> Result<Vec<Vec<f32>>> + 'static,
    ) -> Entry {
        Ok(Box::new(Prepared { device: self.0.clone(), work, read }))
    }

    /// Work with one result, which polymix lays out alike.
    fn single<const D: usize>(&self, work: impl FnMut() -> Tensor<D> + 'static) -> Entry {
        self.prepared(work, |y| Ok(vec![read(y)?]))
    }

    /// A whole training step: forward, backward, update.
    fn training<M: Classifier + 'static>(
        &self,
        model: M,
        features: Tensor<3>,
        targets: Tensor<1, Int>,
    ) -> Entry {
        let mut model = Some(model);
        let mut optimizer: ModuleOptimizer =
            AdamWConfig::new().with_beta_2(0.98).with_epsilon(1e-9).with_weight_decay(0.1).init();
        let criterion = CrossEntropyLossConfig::new().init(&self.0.clone().autodiff());
        let work = move || {
            let current = model.take()?;
            let logits = current.forward(features.clone().autodiff());
            let loss = criterion.forward(logits, targets.clone().autodiff());
            let grads = GradientsParams::from_grads(loss.backward(), &current);
            model = Some(optimizer.step(RATE, current, grads));
            Some(loss)
        };
        let lost = || Error::Gpu("burn: a step failed".to_owned());
        self.prepared(work, move |loss| Ok(vec![read(loss.ok_or_else(lost)?)?]))
    }
}

impl Peer for Burn {
    fn matmul(&self, work: &Multiplication) -> Entry {
        let ([m, n, k], batch, op) = (work.sizes, work.batch, work.op);
        let (a, b) =
            (if op.transpose_a { [k, m] } else { [m, k] }, if op.transpose_b { [n, k] } else { [k, n] });
        if batch > 1 {
            let a = stored(&self.0, "a", [batch, a[0], a[1]]);
            let b = stored(&self.0, "b", [batch, b[0], b[1]]);
            return self.single(move || a.clone().matmul(b.clone()));
        }
        let (a, b) = (stored(&self.0, "a", a), stored(&self.0, "b", b));
        self.single(move || {
            let a = if op.transpose_a { a.clone().transpose() } else { a.clone() };
            let b = if op.transpose_b { b.clone().transpose() } else { b.clone() };
            a.matmul(b)
        })
    }

    fn layer_norm(&self) -> Entry {
        let x = stored(&self.0, "x", ROWS);
        let [weight, bias] = ["weight", "bias"].map(|name| stored(&self.0, name, [ROWS[1]]));
        self.single(move || layer_norm(x.clone(), weight.clone(), Some(bias.clone()), 1e-5))
    }

    fn softmax(&self) -> Entry {
        let x = stored(&self.0, "x", SCORES);
        self.single(move || softmax(x.clone(), 1))
    }

    fn depthwise(&self) -> Entry {
        let [batch, time, channels] = SEQUENCES;
        let x = swapped(&values("x", &SEQUENCES), [batch, time, channels, 1]);
        let x = tensor(&self.0, x, [batch, channels, time]);
        let weight = stored(&self.0, "weight", [channels, 1, TAPS]);
        let bias = stored(&self.0, "bias", [channels]);
        let options = ConvOptions::new([1], [TAPS / 2], [1], channels);
        let work = move || conv1d(x.clone(), weight.clone(), Some(bias.clone()), options.clone());
        self.prepared(work, move |y| Ok(vec![swapped(&read(y)?, [batch, channels, time, 1])]))
    }

    fn attention(&self, backward: bool) -> Entry {
        let device = if backward { self.0.clone().autodiff() } else { self.0.clone() };
        let [heads, time, columns] = HEADS;
        let width = heads * columns;
        let projection = values("projection", &[1, time, 3 * width]);
        let parts = swapped(&projection, [1, time, 3, width]);
        let [q, k, v] = [0, 1, 2].map(|part| {
            let part = swapped(&parts[part * time * width..][..time * width], [1, time, heads, columns]);
            tensor::<4>(&device, part, [1, heads, time, columns])
        });
        let work = move || {
            let [q, k, v] = [&q, &k, &v].map(|x| if backward { x.clone().require_grad() } else { x.clone() });
            let options = AttentionModuleOptions::default();
            let y = attention(q.clone(), k.clone(), v.clone(), None, None, options);
            let grads = backward.then(|| y.backward());
            let gradients = grads.as_ref().map(|grads| [&q, &k, &v].map(|x| x.grad(grads)));
            (y, grads, gradients)
        };
        let by_frames =
            move |x: Tensor<4>| -> Result<Vec<f32>> { Ok(swapped(&read(x)?, [1, heads, time, columns])) };
        self.prepared(work, move |(y, _, gradients)| {
            let mut results = vec![by_frames(y)?];
            if let Some(gradients) = gradients {
                let parts: Vec<Vec<f32>> =
                    gradients.into_iter().flatten().map(by_frames).collect::<Result<_>>()?;
                results.push(swapped(&parts.concat(), [1, 3, time, width]));
            }
            Ok(results)
        })
    }

    fn feed_forward(&self, activation: ActivationKind) -> Entry {
        let device = self.0.clone().autodiff();
        let [rows, width, hidden] = FEED_FORWARD;
        let silu = activation == ActivationKind::Silu;
        let source = |name: &str, dims: &[usize]| Ok(values(name, dims));
        let layer = FeedForward::of(&device, &source, [width, hidden], silu)?;
        let x = stored(&device, "x", [1, rows, width]);
        let [norm, up, down] = [layer.norm.gamma.id, layer.up.weight.id, layer.down.weight.id];
        let biases =
            [&layer.norm.beta, &layer.up.bias, &layer.down.bias].map(|bias| bias.as_ref().map(|b| b.id));
        let work = move || {
            let x = x.clone().require_grad();
            let y = layer.forward(x.clone());
            let grads = y.backward();
            let dx = x.grad(&grads);
            (y, dx, GradientsParams::from_grads(grads, &layer))
        };
        self.prepared(work, move |(y, dx, grads)| {
            let lost = || Error::Gpu("burn: a gradient is missing".to_owned());
            let vector = |id| read(grads.get::<1>(id).ok_or_else(lost)?);
            let bias = |index: usize| vector(biases[index].ok_or_else(lost)?);
            let weight = |id, dims| -> Result<Vec<f32>> {
                Ok(transposed(&read(grads.get::<2>(id).ok_or_else(lost)?)?, dims))
            };
            Ok(vec![
                read(y)?,
                read(dx.ok_or_else(lost)?)?,
                vector(norm)?,
                bias(0)?,
                weight(up, [width, hidden])?,
                bias(1)?,
                weight(down, [hidden, width])?,
                bias(2)?,
            ])
        })
    }

    fn transformer(&self, example: &Example) -> Entry {
        let BatchShape { utterances, frames } = example.shape;
        let features = tensor(&self.0, example.features.clone(), [utterances, frames, BANDS]);
        let targets: Vec<i32> = example.targets.iter().map(|&class| class as i32).collect();
        let targets = Tensor::from_ints(targets.as_slice(), &self.0);
        self.training(Transformer::of(&self.0.clone().autodiff(), example)?, features, targets)
    }

    fn conformer(&self, config: &ModelConfig, shape: BatchShape) -> Entry {
        let rows = shape.utterances * shape.time();
        let features = noise(&self.0, [shape.utterances, shape.frames, BANDS]);
        let targets: Vec<i32> = (0..rows).map(|row| (row * 7919 % CLASSES) as i32).collect();
        let targets = Tensor::from_ints(targets.as_slice(), &self.0);
        let model = Conformer::new(&self.0.clone().autodiff(), config, shape.time());
        self.training(model, features, targets)
    }
}
