//! The convolutional front-end: features to encoder frames, a quarter as many.

use super::Context;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::recipe::{Initialization, ModelConfig};

/// Two blocks of Conv2d 3×3 with stride 2×2 → LayerNorm over (frequency, channel) → LeakyReLU(0.01) →
/// dropout; then flatten (frequency·channels + channel) → Linear → dropout.
#[derive(Debug, Clone, Copy)]
pub struct Frontend {
    /// Mel bands.
    pub bands: usize,
    /// Channels of the two blocks.
    pub channels: [usize; 2],
    /// Model width.
    pub width: usize,
    /// How the Linear is drawn; the convolutions are U(±1/√fan_in).
    pub initialization: Initialization,
    /// Elements that the first convolution makes at most at a time, unless one utterance has more: the utterances go
    /// through the blocks in parts, so that memory is not that of the widest map of all.
    pub part: usize,
}

/// 64 MiB.
const PART: usize = 16 << 20;

impl Frontend {
    /// The front-end of a model for `bands` mel bands.
    pub fn new(config: &ModelConfig, bands: usize) -> Self {
        Self {
            bands,
            channels: config.channels,
            width: config.d_model,
            initialization: config.initialization,
            part: PART,
        }
    }

    /// [batch, frames, bands] → the blocks' output [batch, ⌈⌈frames/2⌉/2⌉, bands/4·channels] and the
    /// Linear's [batch, ⌈⌈frames/2⌉/2⌉, d].
    ///
    /// # Errors
    /// When the features have fewer than 2 frames.
    pub fn forward(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, frames) = (features.dims()[0], features.dims()[1]);
        let utterance = frames.div_ceil(2) * self.bands.div_ceil(2) * self.channels[0];
        let most = (self.part / utterance.max(1)).max(1);
        let mut parts = Vec::with_capacity(batch.div_ceil(most));
        for first in (0..batch).step_by(most) {
            let part = || {
                let features = match most < batch {
                    true => features.slice(0, first, most.min(batch - first))?,
                    false => features.clone(),
                };
                self.blocks(scope, ctx, &features, first)
            };
            parts.push(scope.graph().section(part)?);
        }
        let x = match parts.as_slice() {
            [one] => one.clone(),
            all => Tensor::concat(&all.iter().collect::<Vec<_>>(), 0)?,
        };
        let linear = scope.at("linear");
        let y = Linear::new(x.dims()[2], self.width, self.initialization).forward(&linear, &x)?;
        Ok((x, ctx.dropout(&linear, "dropout", &y)?))
    }

    /// The two blocks for the utterances from number `first` on, flattened.
    fn blocks(&self, scope: &Scope, ctx: &Context, features: &Tensor, first: usize) -> Result<Tensor> {
        let (batch, frames) = (features.dims()[0], features.dims()[1]);
        let mut x = features.reshape([batch, frames, self.bands, 1])?;
        for (index, &channels) in self.channels.iter().enumerate() {
            let block = scope.at(format!("blocks.{index}"));
            let (conv, norm) = (block.at("conv"), block.at("norm"));
            let fan_in = 9 * x.dims()[3];
            let init = Init::fan_in_uniform(fan_in);
            let weight = conv.parameter("weight", [channels, x.dims()[3], 3, 3], init)?;
            let bias = conv.parameter("bias", [channels], init)?;
            let y = x.conv2d(&weight, &bias)?;
            let dims = y.dims().to_vec();
            let y = y.reshape([dims[0], dims[1], dims[2] * dims[3]])?;
            let y = LayerNorm::new(dims[2] * dims[3])
                .forward(&norm, &y)?
                .activation(ActivationKind::LeakyRelu)?;
            let before = first * dims[1] * dims[2] * dims[3];
            x = ctx.dropout_from(&block, "dropout", &y, before)?.reshape(dims)?;
        }
        x.reshape([batch, x.dims()[1], x.dims()[2] * x.dims()[3]])
    }
}

#[cfg(all(test, feature = "autograd"))]
mod tests {
    use super::*;
    use crate::autograd::gradients;
    use crate::exec::reference::{Bindings, run};
    use crate::graph::Graph;
    use crate::nn::Mode;
    use crate::ops::Array;
    use crate::recipe::PaddedFrames;
    use crate::rng::Rng;
    use crate::shape::Spec;

    /// Output and gradients for three utterances, dropout included.
    fn results(part: usize) -> Vec<Array> {
        let graph = Graph::new();
        let scope = graph.root();
        let mode = Mode::Training { dropout: 0.3, layer_drop: 0.0 };
        let ctx = Context::new(&scope, 3, 3, mode, PaddedFrames::Masked);
        let features = scope.input("features", Spec::f32([3, 10, 8]));
        let initialization = Initialization::Torch;
        let frontend = Frontend { bands: 8, channels: [4, 2], width: 5, initialization, part };
        let (_, y) = frontend.forward(&scope.at("frontend"), &ctx, &features).unwrap();
        let parameters = graph.parameters();
        let wrt: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| tensor).collect();
        let grads = gradients(&[(&y, &y.copy().unwrap())], &wrt).unwrap();
        let outputs: Vec<Tensor> = std::iter::once(y).chain(grads.into_iter().flatten()).collect();
        let array = |shape: &[usize], values: Vec<f64>| Array::from_shape_vec(shape, values).unwrap();
        let mut bindings = Bindings::new();
        for (parameter, _) in &parameters {
            let values = parameter.init.draw(&parameter.name, &parameter.shape, 1);
            let values = values.into_iter().map(f64::from).collect();
            bindings.insert(parameter.name.clone(), array(parameter.shape.dims(), values));
        }
        let mut rng = Rng::new(&[1]);
        let features = (0..240).map(|_| f64::from(rng.normal() as f32)).collect();
        bindings.insert("features".to_owned(), array(&[3, 10, 8], features));
        for (name, shape) in [("lengths", [3, 1]), ("valid", [3, 3]), ("rng", [3, 1])] {
            bindings.insert(name.to_owned(), array(&shape, vec![1.0; shape[0] * shape[1]]));
        }
        run(&graph, &mut bindings, &outputs.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn parts_are_as_the_whole() {
        let whole = results(usize::MAX);
        // Each alone, and two and one: the first convolution makes 5·4·4 elements of an utterance.
        for part in [1, 160] {
            for (index, (part, whole)) in results(part).iter().zip(&whole).enumerate() {
                let off = (part - whole).mapv(f64::abs).fold(0.0, |most: f64, &off| most.max(off));
                assert!(if index == 0 { off == 0.0 } else { off < 1e-12 }, "result {index} is off by {off}");
            }
        }
        assert!(whole.iter().all(|array| array.iter().any(|x| *x != 0.0)));
    }
}
