//! Whole models: the encoder, BEST-RQ pre-training, the CTC recognizer, models of utterances, and their saved form.

mod best_rq;
mod ctc;
mod encoder;
mod endpoint;
mod extractor;
#[cfg(feature = "cli")]
mod folder;
mod handover;
mod inference;
mod output;
#[cfg(feature = "autograd")]
mod prefix;
mod recognizer;
mod saved;
pub mod speechbrain;
mod stream;
mod utterance;
mod utterances;

pub use best_rq::{BestRq, MaskedBatch, PretrainLoss, mask_starts, most_masked};
pub use ctc::{CtcHead, CtcModel};
pub use encoder::{Encoded, Encoder, EncoderInputs, STRIDE, frames_after};
pub use endpoint::Endpointing;
pub use extractor::{Extracted, Extractor};
pub use handover::{Handed, Handover};
pub use inference::DeviceModel;
pub use output::{ModelOutput, Recognized};
#[cfg(feature = "autograd")]
pub use prefix::{Part, Prefix};
pub use recognizer::Recognizer;
#[cfg(feature = "cli")]
pub(crate) use saved::within;
pub use saved::{ModelKind, PreprocessorConfig, SavedConfig, SavedModel};
pub use stream::StreamRecognizer;
pub use utterance::{Judged, UtteranceHead, UtteranceModel};
pub use utterances::{Classified, Classifier, Embedder};
