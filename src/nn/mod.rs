//! Layers as plain data with a `forward` that adds nodes to a graph; one file a mixer.

mod conformer;
mod context;
mod convolution;
mod feed_forward;
mod frontend;
mod linear;
mod mixer;
mod norm;
mod pom;
mod position;

pub use conformer::ConformerLayer;
pub use context::{Context, Mode};
pub use convolution::ConvolutionModule;
pub use feed_forward::FeedForward;
pub use frontend::Frontend;
pub use linear::Linear;
pub use mixer::{Mixer, mixer};
pub use norm::LayerNorm;
pub use pom::PolynomialMixer;
pub use position::sinusoid;
