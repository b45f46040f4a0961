//! Front-end and Conformer layers (paper section 2).

use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::nn::{ConformerLayer, Context, Frontend, LayerNorm, Mode};
use crate::recipe::ModelConfig;

/// Feature frames of one encoder frame.
pub const STRIDE: usize = 4;

/// Encoder frames of `frames` feature frames: ⌈⌈frames/2⌉/2⌉.
pub fn frames_after(frames: usize) -> usize {
    frames.div_ceil(2).div_ceil(2)
}

/// The inputs of a batch that follow from its shape and lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderInputs {
    /// Valid encoder frames of every row, `[batch]`.
    pub lengths: Vec<u32>,
    /// The encoder frames of every row, padded ones included, `[batch]`: what reference padding convolves.
    pub full_lengths: Vec<u32>,
    /// 1 for a valid encoder frame, 0 for a padded one, [batch, time].
    pub valid: Vec<f32>,
}

impl EncoderInputs {
    /// The inputs of rows with `lengths` valid feature frames of `frames`.
    pub fn new(lengths: &[u32], frames: usize) -> Self {
        let time = frames_after(frames);
        let lengths: Vec<u32> = lengths.iter().map(|length| length.div_ceil(STRIDE as u32)).collect();
        let row = |&length: &u32| (0..time).map(move |t| if t < length as usize { 1.0 } else { 0.0 });
        let valid = lengths.iter().flat_map(row).collect();
        let full_lengths = vec![time as u32; lengths.len()];
        Self { lengths, full_lengths, valid }
    }
}

/// Front-end, positions, layers, final LayerNorm.
#[derive(Debug)]
pub struct Encoder {
    config: ModelConfig,
    frontend: Frontend,
    layers: Vec<ConformerLayer>,
    frozen: bool,
}

/// Intermediate outputs of the encoder.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Output of the convolution blocks, [batch, time, bands/4·channels].
    pub blocks: Tensor,
    /// Output of the front-end's Linear, before positions, [batch, time, d].
    pub frontend: Tensor,
    /// Output of every layer, [batch, time, d].
    pub layers: Vec<Tensor>,
    /// After the final LayerNorm, [batch, time, d].
    pub output: Tensor,
}

impl Encoded {
    /// Output of every layer, the last one's after the final LayerNorm.
    pub fn outputs(&self) -> Vec<Tensor> {
        let before = self.layers.iter().take(self.layers.len().saturating_sub(1));
        before.chain([&self.output]).cloned().collect()
    }
}

impl Encoder {
    /// The encoder of `config` for features of `bands` mel bands.
    pub fn new(config: &ModelConfig, bands: usize) -> Self {
        let layers = (0..config.layers).map(|index| ConformerLayer::new(config, index)).collect();
        Self { config: config.clone(), frontend: Frontend::new(config, bands), layers, frozen: false }
    }

    /// This encoder, which computes as in inference and is not trained if `frozen`.
    pub fn frozen(self, frozen: bool) -> Self {
        Self { frozen, ..self }
    }

    /// Model width d.
    pub fn width(&self) -> usize {
        self.config.d_model
    }

    /// Features [batch, frames, bands] → [batch, time, d]. What the front-end makes of frames before the last
    /// `time` encoder frames is left out: those before a stream's chunk. The absolute sinusoid is added to the first
    /// layer's input if a mixer of any layer needs it.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn forward(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<Encoded> {
        if self.frozen {
            let ctx = Context { mode: Mode::Inference, ..ctx.clone() };
            return scope.graph().frozen(|| self.compute(scope, &ctx, features));
        }
        self.compute(scope, ctx, features)
    }

    fn compute(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<Encoded> {
        let (blocks, mut frontend) = self.frontend.forward(&scope.at("frontend"), ctx, features)?;
        if let before @ 1.. = frontend.dims()[1].saturating_sub(ctx.time) {
            frontend = frontend.slice(1, before, ctx.time)?;
        }
        let (layers, output) = self.forward_from(0, scope, ctx, &frontend)?;
        Ok(Encoded { blocks, frontend, layers, output })
    }

    /// The outputs of the layers from number `first` on, and of the final LayerNorm, for what the layer before them, or
    /// the front-end, gives: `x`, [batch, time, d].
    ///
    /// # Errors
    /// When `x` does not fit.
    pub fn forward_from(
        &self,
        first: usize,
        scope: &Scope,
        ctx: &Context,
        x: &Tensor,
    ) -> Result<(Vec<Tensor>, Tensor)> {
        let scope = scope.at("encoder");
        let mut x = x.clone();
        if first == 0 && self.layers.iter().any(ConformerLayer::wants_positions) {
            x = x.add(&ctx.positions(&scope, self.width())?)?;
        }
        let mut layers = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate().skip(first) {
            let scope = scope.at(format!("layers.{index}"));
            x = scope.graph().section(|| layer.forward(&scope, ctx, &x))?;
            layers.push(x.clone());
        }
        let norm = LayerNorm { width: self.width(), eps: 1e-6 };
        let output = norm.forward(&scope.at("norm"), &x)?;
        Ok((layers, output))
    }
}
