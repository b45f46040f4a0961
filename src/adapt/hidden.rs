//! The hidden states of every take: the output of the frozen layers, computed once.

use std::sync::Arc;

use super::Layers;
use crate::audio::BANDS;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::models::{DeviceModel, Part, Prefix, STRIDE, SavedModel};
use crate::train::BatchShape;

/// Takes that go through the frozen layers together.
const TOGETHER: usize = 8;
/// Takes of a step at the most.
const ROWS: usize = 8;
/// Feature frames of a step at the most, padding included, unless one take alone has more.
const FRAMES: usize = 8192;
/// Shapes are multiples of so many feature frames, so that few plans serve all.
const MULTIPLE: usize = 64;

/// The input of the layers that learn, of one take.
pub(super) struct Hidden {
    /// Frames, one after another.
    pub values: Vec<f32>,
    /// Elements of a frame.
    pub width: usize,
    /// Valid feature frames.
    pub length: usize,
    /// Feature frames of one of its frames.
    pub stride: usize,
}

impl Hidden {
    /// Valid encoder frames.
    pub fn time(&self) -> usize {
        self.length.div_ceil(STRIDE)
    }

    /// Feature frames, padding included.
    fn frames(&self) -> usize {
        self.values.len() / self.width.max(1) * self.stride
    }
}

/// The shape of a step, for all steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub rows: usize,
    /// Feature frames of a row.
    pub frames: usize,
}

impl Shape {
    /// The shape that holds any of the takes, of which `learned` are learned.
    pub fn of(takes: &[Hidden], learned: usize) -> Self {
        let longest = takes.iter().map(Hidden::frames).max().unwrap_or(0);
        let frames = longest.max(1).next_multiple_of(MULTIPLE);
        Self { rows: ROWS.min(FRAMES / frames).min(learned).max(1), frames }
    }

    pub fn batch(self) -> BatchShape {
        BatchShape { utterances: self.rows, frames: self.frames }
    }
}

/// The inputs of the trainable layers: the output of the layer before them and, if all layers are `summed`, those of all
/// earlier ones. Nothing if all layers are trained.
pub(super) fn parts(layers: Layers, all: usize, summed: bool) -> Vec<Part> {
    let first = match layers {
        Layers::All => return Vec::new(),
        Layers::Head => all,
        Layers::Last(last) => all.saturating_sub(last),
    };
    let from = if summed { 0 } else { first.saturating_sub(1) };
    match first {
        0 => vec![Part::Frontend],
        first => {
            let last = if layers == Layers::Head { Part::Output } else { Part::Layer(first - 1) };
            (from..first - 1).map(Part::Layer).chain([last]).collect()
        }
    }
}

/// The hidden states of every waveform; `pause` is asked between them whether to go on.
pub(super) async fn hidden_states(
    gpu: Arc<Gpu>,
    model: &SavedModel,
    parts: &[Part],
    waveforms: &[&[f32]],
    pause: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<Hidden>> {
    if parts.is_empty() {
        let preprocessor = model.preprocessor.preprocessor();
        let features = waveforms.iter().map(|waveform| {
            let alone = preprocessor.batch(&[waveform])?;
            let length = alone.lengths[0] as usize;
            Ok(Hidden { values: alone.features, width: BANDS, length, stride: 1 })
        });
        return features.collect();
    }
    let on_device = DeviceModel::new(gpu, model)?;
    let mut prefix = Prefix::new(&on_device, parts)?;
    let mut hidden = Vec::with_capacity(waveforms.len());
    for waveforms in waveforms.chunks(TOGETHER) {
        pause()?;
        for values in prefix.run(waveforms).await? {
            let length = values.len() / prefix.width() * STRIDE;
            hidden.push(Hidden { values, width: prefix.width(), length, stride: STRIDE });
        }
    }
    Ok(hidden)
}
