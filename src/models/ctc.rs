//! The CTC recognizer (paper section 5): encoder, head, loss, frame-wise predictions.

use serde::{Deserialize, Serialize};

use super::encoder::{Encoded, Encoder};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::nn::{Context, LayerNorm, Linear};
use crate::ops::ctc::CtcLoss;
use crate::ops::map::ActivationKind;
use crate::recipe::{FinetuneConfig, Head, Initialization};
use crate::shape::Spec;

/// From encoder frames to token scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CtcHead {
    /// One Linear, or 3 × [Linear → LayerNorm → LeakyReLU → dropout, not after the third] → Linear.
    pub head: Head,
    /// Width of the hidden layers.
    pub width: usize,
    /// Dropout between the hidden layers.
    pub dropout: f64,
    /// Number of tokens, the blank included.
    pub vocabulary: usize,
}

impl CtcHead {
    /// The head of a recipe for `vocabulary` tokens.
    pub fn new(config: &FinetuneConfig, vocabulary: usize) -> Self {
        Self { head: config.head, width: config.head_width, dropout: config.head_dropout, vocabulary }
    }
}

/// Encoder and head.
#[derive(Debug)]
pub struct CtcModel {
    encoder: Encoder,
    head: CtcHead,
}

impl CtcModel {
    /// The model around `encoder`.
    pub fn new(encoder: Encoder, head: CtcHead) -> Self {
        Self { encoder, head }
    }

    /// Features [batch, frames, bands] → logits [batch, time, vocabulary] and the encoder's values.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn forward(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<(Tensor, Encoded)> {
        let encoded = self.encoder.forward(scope, ctx, features)?;
        Ok((self.logits(scope, ctx, &encoded.output)?, encoded))
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The encoder's output [batch, time, d] → logits [batch, time, vocabulary].
    ///
    /// # Errors
    /// When it does not fit.
    pub fn logits(&self, scope: &Scope, ctx: &Context, output: &Tensor) -> Result<Tensor> {
        let head = scope.at("head");
        let torch = Initialization::Torch;
        let mut x = output.clone();
        let mut width = self.encoder.width();
        if self.head.head == Head::Mlp {
            for index in 0..3 {
                let block = head.at(format!("blocks.{index}"));
                x = Linear::new(width, self.head.width, torch).forward(&block.at("linear"), &x)?;
                x = LayerNorm::new(self.head.width).forward(&block.at("norm"), &x)?;
                x = x.activation(ActivationKind::LeakyRelu)?;
                if index < 2 {
                    x = ctx.dropout_of(&block, "dropout", &x, self.head.dropout)?;
                }
                width = self.head.width;
            }
        }
        Linear::new(width, self.head.vocabulary, torch).forward(&head.at("linear"), &x)
    }

    /// Σ_b weight_b · loss_b and the number of targets that do not fit their input, each `[1]`.
    ///
    /// The inputs are `targets` (u32 [batch, max_target_length]), `target_lengths` (u32 `[batch]`) and `loss_weights`
    /// (f32 `[batch]`: 1/(utterances · target length), 0 for an empty row).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn loss(
        &self,
        scope: &Scope,
        ctx: &Context,
        logits: &Tensor,
        max_target_length: usize,
        zero_infinity: bool,
    ) -> Result<(Tensor, Tensor)> {
        let targets = scope.input("targets", Spec::u32([ctx.batch, max_target_length]));
        let target_lengths = scope.input("target_lengths", Spec::u32([ctx.batch]));
        let weights = scope.input("loss_weights", Spec::f32([ctx.batch]));
        let (losses, infeasible) =
            logits.ctc_loss(&targets, &ctx.lengths, &target_lengths, CtcLoss { blank: 0, zero_infinity })?;
        Ok((losses.mul(&weights)?.sum(0, 1)?, infeasible.sum(0, 1)?))
    }
}
