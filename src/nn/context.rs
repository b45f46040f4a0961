//! The shared inputs of all layers of a graph: lengths, mode, randomness.

use super::position::sinusoid;
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops::random::Dropout;
use crate::recipe::PaddedFrames;
use crate::rng::stream;
use crate::shape::Spec;

/// Whether dropout is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Dropout with this probability, LayerDrop with that one.
    Training {
        /// Probability that an activation is zeroed.
        dropout: f64,
        /// Probability that a layer is left out.
        layer_drop: f64,
    },
    /// No randomness.
    Inference,
}

/// The batch's shape and its inputs that every layer may read.
#[derive(Debug, Clone)]
pub struct Context {
    /// Utterances, empty rows included.
    pub batch: usize,
    /// Encoder frames of the longest row.
    pub time: usize,
    /// Valid encoder frames of every row, u32 `[batch]`.
    pub lengths: Tensor,
    /// 1 for a valid encoder frame, 0 for a padded one, f32 [batch, time].
    pub valid: Tensor,
    /// (seed, optimizer step, micro-batch), u32 `[3]`.
    pub rng: Tensor,
    /// Training or not.
    pub mode: Mode,
    /// How padded frames are treated.
    pub padding: PaddedFrames,
    /// For the next chunk of a stream, 1 / the number of frames up to its end, f32 `[1]`. What layers carry from
    /// chunk to chunk is stored under [`state_name`].
    pub stream: Option<Tensor>,
}

/// The store's name of what the layer at `scope` carries from one chunk of a stream to the next as `name`; zeros
/// before the first.
pub fn state_name(scope: &Scope, name: &str) -> String {
    format!("{STATE_PREFIX}{}", scope.join(name))
}

/// The prefix of every [`state_name`].
pub const STATE_PREFIX: &str = "state/";

impl Context {
    /// The context of a batch of `time` encoder frames; its tensors are the inputs `lengths`, `valid`, `rng`.
    pub fn new(scope: &Scope, batch: usize, time: usize, mode: Mode, padding: PaddedFrames) -> Self {
        Self {
            batch,
            time,
            lengths: scope.input("lengths", Spec::u32([batch])),
            valid: scope.input("valid", Spec::f32([batch, time])),
            rng: scope.input("rng", Spec::u32([3])),
            mode,
            padding,
            stream: None,
        }
    }

    /// The context of a chunk of `time` encoder frames of one stream; its tensors are the inputs `lengths`,
    /// `valid`, `rng`, `positions` (the sinusoid at the chunk's frames, [time, width]) and `inverse_frames`.
    pub fn chunk(scope: &Scope, time: usize) -> Self {
        let stream = Some(scope.input("inverse_frames", Spec::f32([1])));
        Self { stream, ..Self::new(scope, 1, time, Mode::Inference, PaddedFrames::Masked) }
    }

    /// The absolute sinusoid of the batch's frames, [time, width]: [`sinusoid`], computed once a shape; in a
    /// stream, an input. Inference, where every waveform may have a shape of its own, takes the beginning of a longer
    /// one, so that few are kept.
    ///
    /// # Errors
    /// When there is no frame.
    pub fn positions(&self, scope: &Scope, width: usize) -> Result<Tensor> {
        let time = self.time;
        if self.stream.is_some() {
            return Ok(scope.input("positions", Spec::f32([time, width])));
        }
        let kept = if self.mode == Mode::Inference { time.next_power_of_two() } else { time };
        let name = format!("positions.{kept}x{width}");
        let all = scope.constant(&name, [kept, width], |_| sinusoid(kept, width));
        if kept == time { Ok(all) } else { all.slice(0, 0, time) }
    }

    /// The model's dropout, drawn at the place `name` of `scope`.
    ///
    /// # Errors
    /// When the tensor is not f32.
    pub fn dropout(&self, scope: &Scope, name: &str, x: &Tensor) -> Result<Tensor> {
        self.dropout_from(scope, name, x, 0)
    }

    /// [`Context::dropout`] of a part of a larger tensor, from its element `first` on, a multiple of 4: as the whole
    /// is dropped.
    ///
    /// # Errors
    /// When the tensor is not f32.
    pub fn dropout_from(&self, scope: &Scope, name: &str, x: &Tensor, first: usize) -> Result<Tensor> {
        match self.mode {
            Mode::Training { dropout, .. } => self.drop(scope, name, x, dropout, first),
            Mode::Inference => Ok(x.clone()),
        }
    }

    /// Dropout of its own probability, in training only.
    ///
    /// # Errors
    /// When the tensor is not f32.
    pub fn dropout_of(&self, scope: &Scope, name: &str, x: &Tensor, probability: f64) -> Result<Tensor> {
        self.drop(scope, name, x, probability, 0)
    }

    fn drop(&self, scope: &Scope, name: &str, x: &Tensor, probability: f64, first: usize) -> Result<Tensor> {
        if self.mode == Mode::Inference || probability <= 0.0 {
            return Ok(x.clone());
        }
        let op = Dropout { probability: probability as f32, stream: stream(&scope.join(name)), first };
        x.apply(op, &[&self.rng])
    }
}
