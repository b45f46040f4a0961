//! BEST-RQ pre-training (paper section 4): predict the random-projection code of masked frames.

use super::encoder::{Encoder, STRIDE};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::nn::{Context, Linear};
use crate::ops::random::MaskedNoise;
use crate::recipe::{Initialization, PretrainConfig};
use crate::rng::{Rng, stream};
use crate::shape::Spec;

/// The encoder with a frozen quantizer and a prediction head.
#[derive(Debug)]
pub struct BestRq {
    encoder: Encoder,
    bands: usize,
    codes: usize,
    code_dim: usize,
}

/// The inputs of the loss beside features and lengths.
#[derive(Debug, Clone)]
pub struct MaskedBatch {
    /// Rows of [batch·time] that are masked, u32 `[max_masked]`; what is behind `count` is ignored.
    pub selected: Tensor,
    /// Number of masked rows, u32 `[1]`.
    pub count: Tensor,
}

/// The masked loss and what is reported with it.
#[derive(Debug, Clone)]
pub struct PretrainLoss {
    /// Mean cross-entropy over the masked frames, `[1]`.
    pub loss: Tensor,
    /// Masked frames whose code is predicted, `[1]`.
    pub correct: Tensor,
    /// Codes of the selected rows, u32 `[max_masked]`.
    pub targets: Tensor,
    /// Head outputs of the selected rows, [max_masked, codes].
    pub logits: Tensor,
}

impl BestRq {
    /// The model around `encoder` for features of `bands` mel bands, with a codebook of `codes` codes of `code_dim`
    /// elements.
    pub fn new(encoder: Encoder, bands: usize, codes: usize, code_dim: usize) -> Self {
        Self { encoder, bands, codes, code_dim }
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The code of every row of stacked clean features: [rows, 4·bands] → u32 `[rows]`.
    ///
    /// The quantizer is frozen: a Xavier-uniform projection and a codebook of l2-normalized rows; the code
    /// is the nearest by cosine.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn codes(&self, scope: &Scope, stacked: &Tensor) -> Result<Tensor> {
        let quantizer = scope.at("quantizer");
        let inputs = STRIDE * self.bands;
        let init = Init::xavier_uniform(inputs, self.code_dim);
        let projection = quantizer.frozen("projection", [inputs, self.code_dim], init)?;
        let codebook = quantizer.frozen("codebook", [self.codes, self.code_dim], Init::UnitRows)?;
        stacked.matmul(&projection)?.nearest_code(&codebook)
    }

    /// Linear(d → codes).
    ///
    /// # Errors
    /// When x has another width.
    pub fn head(&self, scope: &Scope, x: &Tensor) -> Result<Tensor> {
        let linear = Linear::new(self.encoder.width(), self.codes, Initialization::Torch);
        linear.forward(&scope.at("head"), x)
    }

    /// The loss on `masked` features against the codes of the `clean` ones, both [batch, frames, bands].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn loss(
        &self,
        scope: &Scope,
        ctx: &Context,
        clean: &Tensor,
        masked: &Tensor,
        batch: &MaskedBatch,
    ) -> Result<PretrainLoss> {
        let rows = ctx.batch * ctx.time;
        let stacked = clean.reshape([rows, STRIDE * self.bands])?.gather_rows(&batch.selected)?;
        let targets = self.codes(scope, &stacked)?;
        let encoded = self.encoder.forward(scope, ctx, masked)?;
        let x = encoded.output.reshape([rows, self.encoder.width()])?.gather_rows(&batch.selected)?;
        let logits = self.head(scope, &x)?;
        let (loss, correct) = logits.cross_entropy(&targets, &batch.count)?;
        Ok(PretrainLoss { loss, correct, targets, logits })
    }

    /// Replaces the frames that the input `mask` (u32 `[time]`, 1 = masked) names by noise N(0, std²): the
    /// same positions for all rows, noise for each.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn mask(scope: &Scope, ctx: &Context, features: &Tensor, std: f64) -> Result<Tensor> {
        let mask = scope.input("mask", Spec::u32([ctx.time]));
        let op = MaskedNoise { std: std as f32, stream: stream("mask"), stack: STRIDE };
        features.apply(op, &[&mask, &ctx.rng])
    }

    /// The inputs `selected` and `selected_count`, with room for `most` masked frames of every utterance.
    pub fn inputs(scope: &Scope, ctx: &Context, most: usize) -> MaskedBatch {
        let max_masked = ctx.batch * most;
        MaskedBatch {
            selected: scope.input("selected", Spec::u32([max_masked])),
            count: scope.input("selected_count", Spec::u32([1])),
        }
    }
}

/// The largest number of masked encoder frames of an utterance of `frames` feature frames.
pub fn most_masked(frames: usize, config: &PretrainConfig) -> usize {
    let starts = (config.mask_probability * frames as f64) as usize + 1;
    (starts * config.mask_frames / STRIDE).clamp(1, (frames / STRIDE).max(1))
}

/// The masked encoder frames of a batch whose shortest utterance has `frames` feature frames, sorted.
///
/// N = int(probability·frames + U[0, 1)) ≥ 1 starts are drawn without replacement among the multiples of
/// `mask_frames` that leave room for a whole span.
pub fn mask_starts(frames: usize, config: &PretrainConfig, rng: &mut Rng) -> Vec<u32> {
    let spans = (frames / config.mask_frames).max(1);
    let wanted = (config.mask_probability * frames as f64 + f64::from(rng.unit())) as usize;
    let mut starts: Vec<usize> = (0..spans).collect();
    rng.shuffle(&mut starts);
    starts.truncate(wanted.clamp(1, spans));
    let width = config.mask_frames / STRIDE;
    let mut masked: Vec<u32> =
        starts.iter().flat_map(|start| (start * width..(start + 1) * width).map(|t| t as u32)).collect();
    masked.sort_unstable();
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_cover_their_share_and_fit_their_capacity() {
        let config = PretrainConfig::default();
        let mut rng = Rng::new(&[1]);
        for frames in [4, 8, 100, 204, 400, 3000] {
            let masked = mask_starts(frames, &config, &mut rng);
            assert!(!masked.is_empty() && masked.len() <= most_masked(frames, &config), "{frames}");
            assert!(masked.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(masked.iter().all(|&t| (t as usize) < frames / STRIDE));
        }
        let masked = mask_starts(3000, &config, &mut rng).len();
        assert!((450..=451).contains(&masked), "0.15 · 3000 spans of one encoder frame, got {masked}");
    }
}
