//! Whole models: the encoder, BEST-RQ pre-training, the CTC recognizer, and their saved form.

mod best_rq;
mod ctc;
mod encoder;
mod extractor;
#[cfg(feature = "cli")]
mod folder;
mod handover;
mod heard;
mod recognizer;
mod resident;
mod saved;
pub mod speechbrain;
mod stream;

pub use best_rq::{BestRq, MaskedBatch, PretrainLoss, mask_starts, most_masked};
pub use ctc::{CtcHead, CtcModel};
pub use encoder::{Encoded, Encoder, EncoderInputs, STRIDE, frames_after};
pub use extractor::{Extracted, Extractor};
pub use heard::{Heard, Recognized};
pub use recognizer::Recognizer;
pub use resident::DeviceModel;
#[cfg(feature = "cli")]
pub(crate) use saved::within;
pub use saved::{ModelKind, PreprocessorConfig, SavedConfig, SavedModel};
pub use stream::StreamRecognizer;
