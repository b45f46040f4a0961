//! The values of a SpeechBrain recipe.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::recipe::{FinetuneConfig, ModelConfig, ModelOptions, Nonlinearity, PaddedFrames, PretrainConfig};

/// What a checkpoint's tensors do not tell of themselves, and what their shapes are checked against.
#[derive(Debug, Clone, PartialEq)]
pub struct HyperParameters {
    /// `attention_type`.
    pub(super) attention_type: String,
    /// The encoder; its mixer is told by the attention type and the tensors.
    pub(super) model: ModelConfig,
    pub(super) options: ModelOptions,
    /// `cb_vocab`; a recognizer does not need it.
    codes: Option<usize>,
    /// `cb_dim`; a recognizer does not need it.
    code_dim: Option<usize>,
    /// `output_neurons_ctc`, where it is given.
    outputs: Option<usize>,
    /// `dnn_dropout`, where it is given.
    head_dropout: f64,
}

/// A value that the encoder has no choice of.
enum Fixed {
    Truth(bool),
    Number(f64),
    Text(&'static str),
}

/// Keys that may be absent, but have this value where they are given: with another, other numbers come out of the
/// same tensors.
const FIXED: &[(&str, Fixed)] = &[
    ("encoder_module", Fixed::Text("conformer")),
    ("mode", Fixed::Text("SummaryMixing")),
    ("positional_encoding", Fixed::Text("fixed_abs_sine")),
    ("norm_type", Fixed::Text("global")),
    ("normalize_before", Fixed::Truth(true)),
    ("causal", Fixed::Truth(false)),
    ("num_decoder_layers", Fixed::Number(0.0)),
    ("p_input", Fixed::Number(320.0)),
    ("pad_to_divisible_by", Fixed::Number(4.0)),
    ("sample_rate", Fixed::Number(16_000.0)),
    ("n_fft", Fixed::Number(400.0)),
    ("n_mels", Fixed::Number(80.0)),
    ("hop_length", Fixed::Number(10.0)),
    ("win_length", Fixed::Number(25.0)),
    ("blank_index", Fixed::Number(0.0)),
    ("upsampling", Fixed::Truth(false)),
];

/// Keys that are read.
const READ: &[&str] = &[
    "activation",
    "attention_type",
    "cb_dim",
    "cb_vocab",
    "cnn_channels",
    "conformer_activation",
    "d_ffn",
    "d_model",
    "degree",
    "dnn_activation",
    "dnn_dropout",
    "dropout",
    "encoder_layerdrop",
    "expand",
    "kernel_size",
    "layerdrop_prob",
    "local_proj_hid_dim",
    "local_proj_out_dim",
    "nhead",
    "num_encoder_layers",
    "output_neurons_ctc",
    "summary_hid_dim",
    "transformer_dropout",
];

/// Keys of SpeechBrain's modules and of its recipe that change nothing in what the encoder computes from its tensors.
const IGNORED: &[&str] = &[
    // The encoder's modules.
    "bias",
    "branchformer_activation",
    "csgu_linear_units",
    "decoder_kdim",
    "decoder_vdim",
    "encoder_kdim",
    "encoder_vdim",
    "gate_activation",
    "input_size",
    "max_length",
    "output_attention_weights",
    "output_hidden_states",
    "output_neurons",
    "summary_out_dim",
    "tgt_vocab",
    "use_linear_after_conv",
    // The front-end.
    "input_shape",
    "kernel_sizes",
    "num_blocks",
    "num_layers_per_block",
    "out_channels",
    "residuals",
    "strides",
    // Features.
    "amin",
    "context",
    "deltas",
    "f_max",
    "f_min",
    "filter_shape",
    "left_frames",
    "param_change_factor",
    "param_rand_factor",
    "ref_value",
    "requires_grad",
    "right_frames",
    "top_db",
    // Pre-training.
    "grad_accumulation_factor",
    "lr",
    "mask_length",
    "mask_prob",
    "max_batch_len",
    "max_grad_norm",
    "n_warmup_steps",
    "noise_mean",
    "noise_std",
    "number_of_epochs",
    "optimizer_step_limit",
    "precision",
    "seconds_per_batch",
    "streaming",
    "test_dataloader_options",
    "train_dataloader_options",
    "train_num_buckets",
    "valid_dataloader_options",
    "update_until_epoch",
    "warmup",
    "weight_decay",
    // Fine-tuning.
    "batch_size",
    "ckpt_interval_minutes",
    "dnn_neurons",
    "drop_chunk_count_high",
    "drop_chunk_count_low",
    "drop_chunk_length_high",
    "drop_chunk_length_low",
    "drop_freq_count_high",
    "drop_freq_count_low",
    "drop_freq_high",
    "drop_freq_low",
    "drop_freq_width",
    "freeze_bestrq",
    "freeze_wav2vec",
    "kenlm_model_path",
    "lr_bestrq",
    "lr_wav2vec",
    "num_workers",
    "pt_model_output_dim",
    "pt_model_path",
    "sorting",
    "speed_changes",
    "test_batch_size",
    "test_beam_search",
    "token_type",
    "train_dataloader_opts",
    "test_dataloader_opts",
    "valid_dataloader_opts",
    "use_language_modelling",
    // Data and files.
    "avoid_if_longer_than",
    "avoid_if_shorter_than",
    "data_folder",
    "dev_splits",
    "experiment_name",
    "log_interval",
    "output_folder",
    "run_name",
    "save_folder",
    "seed",
    "skip_prep",
    "test_csv",
    "test_splits",
    "tqdm_colored_bar",
    "train_csv",
    "train_splits",
    "train_stage_log",
    "train_steps_log",
    "valid_csv",
];

impl HyperParameters {
    /// Reads a flat JSON object.
    ///
    /// # Errors
    /// When the text is no such object, a key is missing or none of SpeechBrain's, or a value is out of range or asks
    /// for what is not supported.
    pub fn from_json(json: &str) -> Result<Self> {
        let values: Map<String, Value> = serde_json::from_str(json).map_err(|error| {
            Error::invalid(format!("this is no flat JSON object of a recipe's values ({error})"))
        })?;
        let read = Reader(&values);
        read.check_keys()?;
        let attention_type = read.text("attention_type")?.to_owned();
        super::names::mixers(&attention_type)?;
        let defaults = ModelConfig::default();
        let polynomial = attention_type.eq_ignore_ascii_case("PoM");
        let model = ModelConfig {
            d_model: read.whole("d_model")?,
            layers: read.whole("num_encoder_layers")?,
            ffn: read.whole("d_ffn")?,
            kernel: match read.given("kernel_size") {
                Some(_) => read.whole("kernel_size")?,
                None => defaults.kernel,
            },
            heads: read.whole("nhead")?,
            degree: if polynomial { read.whole("degree")? } else { defaults.degree },
            expand: if polynomial { read.whole("expand")? } else { defaults.expand },
            summary_hidden: read.summary_hidden()?.unwrap_or(defaults.summary_hidden),
            summary_local: match read.given("local_proj_out_dim") {
                Some(_) => read.whole("local_proj_out_dim")?,
                None => defaults.summary_local,
            },
            activation: read.activation()?,
            channels: read.channels()?,
            padding: PaddedFrames::Reference,
            ..defaults
        };
        model.validate()?;
        let defaults = ModelOptions::default();
        let options = ModelOptions {
            dropout: read.probability(["dropout", "transformer_dropout"], defaults.dropout)?,
            layer_drop: read.probability(["layerdrop_prob", "encoder_layerdrop"], defaults.layer_drop)?,
            ..defaults
        };
        options.validate()?;
        let (codes, code_dim) = (read.whole_if_given("cb_vocab")?, read.whole_if_given("cb_dim")?);
        let defaults = PretrainConfig::default();
        PretrainConfig {
            codes: codes.unwrap_or(defaults.codes),
            code_dim: code_dim.unwrap_or(defaults.code_dim),
            ..defaults
        }
        .validate()?;
        read.check_head()?;
        let outputs = read.whole_if_given("output_neurons_ctc")?;
        let head_dropout =
            read.probability(["dnn_dropout", "dnn_dropout"], FinetuneConfig::default().head_dropout)?;
        FinetuneConfig { head_dropout, ..FinetuneConfig::default() }.validate()?;
        Ok(Self { attention_type, model, options, codes, code_dim, outputs, head_dropout })
    }

    /// Codes of the quantizer and their width.
    ///
    /// # Errors
    /// When one of them was not given.
    pub fn quantizer(&self) -> Result<(usize, usize)> {
        Ok((self.codes.ok_or_else(|| missing("cb_vocab"))?, self.code_dim.ok_or_else(|| missing("cb_dim"))?))
    }

    /// Dropout between the layers of a recognizer's head.
    pub(super) fn head_dropout(&self) -> f64 {
        self.head_dropout
    }

    /// Compares the outputs of a recognizer with those that the values say.
    ///
    /// # Errors
    /// When they differ.
    pub(super) fn check_outputs(&self, outputs: usize) -> Result<()> {
        match self.outputs {
            Some(given) if given != outputs => Err(Error::invalid(format!(
                "output_neurons_ctc is {given}, ctc_lin has {outputs} outputs; give the values that it was trained with"
            ))),
            _ => Ok(()),
        }
    }
}

fn missing(key: &str) -> Error {
    Error::invalid(format!("{key} is missing; give the value of the recipe"))
}

/// Typed access to the object.
struct Reader<'a>(&'a Map<String, Value>);

impl<'a> Reader<'a> {
    /// The value of a key that is there and not null.
    fn given(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn required(&self, key: &str) -> Result<&'a Value> {
        self.given(key).ok_or_else(|| missing(key))
    }

    fn check_keys(&self) -> Result<()> {
        for (key, value) in self.0 {
            let key = key.as_str();
            if let Some((_, fixed)) = FIXED.iter().find(|(known, _)| *known == key) {
                let (holds, wanted) = match fixed {
                    Fixed::Truth(truth) => (value.as_bool() == Some(*truth), truth.to_string()),
                    Fixed::Number(number) => (value.as_f64() == Some(*number), number.to_string()),
                    Fixed::Text(text) => (value.as_str() == Some(*text), format!("{text:?}")),
                };
                if !holds && !value.is_null() {
                    return Err(Error::invalid(format!("{key} is {value}; only {wanted} can be imported")));
                }
            } else if !READ.contains(&key) && !IGNORED.contains(&key) {
                return Err(Error::invalid(format!(
                    "{key:?} is no hyper-parameter of SpeechBrain's; correct its name or remove it"
                )));
            }
        }
        Ok(())
    }

    fn text(&self, key: &str) -> Result<&'a str> {
        let value = self.required(key)?;
        value.as_str().ok_or_else(|| Error::invalid(format!("{key} is {value}; give a text")))
    }

    fn whole(&self, key: &str) -> Result<usize> {
        let value = self.required(key)?;
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| Error::invalid(format!("{key} is {value}; give a whole number")))
    }

    fn whole_if_given(&self, key: &str) -> Result<Option<usize>> {
        self.given(key).map(|_| self.whole(key)).transpose()
    }

    /// The first of two names that is given.
    fn probability(&self, keys: [&str; 2], default: f64) -> Result<f64> {
        let Some((key, value)) = keys.iter().find_map(|key| Some((key, self.given(key)?))) else {
            return Ok(default);
        };
        value.as_f64().ok_or_else(|| Error::invalid(format!("{key} is {value}; give a number")))
    }

    /// The non-linearity of the Conformer's modules; a class's name may have its module before it.
    fn activation(&self) -> Result<Nonlinearity> {
        let key =
            if self.given("conformer_activation").is_some() { "conformer_activation" } else { "activation" };
        let name = self.text(key)?;
        let class = name.rsplit(['.', ':']).next().unwrap_or(name);
        match class.to_ascii_lowercase().as_str() {
            "gelu" => Ok(Nonlinearity::Gelu),
            "swish" | "silu" => Ok(Nonlinearity::Silu),
            _ => Err(Error::invalid(format!("{key} is {name:?}; GELU and Swish can be imported"))),
        }
    }

    /// The non-linearity of a recognizer's head, which has no choice of it.
    fn check_head(&self) -> Result<()> {
        let Some(value) = self.given("dnn_activation") else { return Ok(()) };
        let leaky = value.as_str().is_some_and(|name| name.rsplit(['.', ':']).next() == Some("LeakyReLU"));
        match leaky {
            true => Ok(()),
            false => {
                Err(Error::invalid(format!("dnn_activation is {value}; only \"LeakyReLU\" can be imported")))
            }
        }
    }

    /// The width of SummaryMixing's hidden layers, which SpeechBrain gives twice, as a list of one.
    fn summary_hidden(&self) -> Result<Option<usize>> {
        let widths = ["local_proj_hid_dim", "summary_hid_dim"].map(|key| match self.given(key) {
            None => Ok(None),
            Some(value) => match serde_json::from_value::<[usize; 1]>(value.clone()) {
                Ok([width]) => Ok(Some(width)),
                Err(_) => {
                    Err(Error::invalid(format!("{key} is {value}; only one hidden layer can be imported")))
                }
            },
        });
        match widths {
            [Ok(Some(local)), Ok(Some(summary))] if local != summary => Err(Error::invalid(format!(
                "local_proj_hid_dim is [{local}] and summary_hid_dim [{summary}]; only equal widths can be imported"
            ))),
            [local, summary] => Ok(local?.or(summary?)),
        }
    }

    fn channels(&self) -> Result<[usize; 2]> {
        let value = self.required("cnn_channels")?;
        let channels: Option<[usize; 2]> = serde_json::from_value(value.clone()).ok();
        channels.ok_or_else(|| {
            Error::invalid(format!(
                "cnn_channels is {value}; give the channels of the two blocks, as [128, 32]"
            ))
        })
    }
}
