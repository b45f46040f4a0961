//! Layers as plain data with a `forward` that adds nodes to a graph; one file a mixer.

mod attention;
mod blocks;
mod conformer;
mod context;
mod convolution;
mod fastformer;
mod feed_forward;
mod frontend;
mod hyper_mixing;
mod linear;
mod mamba;
mod mixer;
mod norm;
mod pom;
mod pom_2026;
mod pooling;
mod position;
mod summary_mixing;

pub use attention::{RegularAttention, RelativeAttention, RotaryAttention};
pub use conformer::ConformerLayer;
pub use context::{Context, Mode, STATE_PREFIX, state_name};
pub use convolution::ConvolutionModule;
pub use fastformer::FastFormer;
pub use feed_forward::FeedForward;
pub use frontend::Frontend;
pub use hyper_mixing::HyperMixer;
pub use linear::Linear;
pub use mamba::Mamba;
pub use mixer::{Mixer, mixer};
pub use norm::LayerNorm;
pub use pom::PolynomialMixer;
pub use pom_2026::BoundedPolynomialMixer;
pub use pooling::{AttentivePooling, LayerSum};
pub use position::{sinusoid, sinusoid_from};
pub use summary_mixing::SummaryMixer;
