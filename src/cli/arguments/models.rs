//! Models as files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct Info {
    /// A model, or a run's best one
    pub model: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Convert {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// The type of the tensors
    #[arg(long, value_enum, value_name = "f16|f32")]
    pub dtype: TensorType,
    /// Folder of the new model
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TensorType {
    /// Half the bytes, three decimal digits
    F16,
    /// The type of training
    F32,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Import {
    /// A BEST-RQ checkpoint of SpeechBrain, pre-trained or fine-tuned
    Speechbrain(ImportSpeechbrain),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportSpeechbrain {
    /// The tensors under their `state_dict` names
    #[arg(value_name = "WEIGHTS.safetensors")]
    pub weights: PathBuf,
    /// The recipe's values, a flat JSON object
    #[arg(value_name = "HPARAMS.json")]
    pub hyper_parameters: PathBuf,
    /// Tokens of a fine-tuned model: its label_encoder.txt, SentencePiece model or tokenizer.json; by default the one beside the
    /// weights
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Folder of the model
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
}
