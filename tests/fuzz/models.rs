//! Files of MODEL folders and of other toolkits' checkpoints.

use std::path::Path;

use polymix::audio::{BANDS, Normalization, Padding, SAMPLE_RATE, Stats};
use polymix::decode::Alphabet;
use polymix::error::{Error, Result};
use polymix::models::speechbrain::{self, HyperParameters};
use polymix::models::{CtcHead, ModelKind, PreprocessorConfig, SavedConfig, SavedModel};
use polymix::recipe::{FinetuneConfig, Head, ModelConfig, ModelOptions};
use polymix::text::Vocabulary;
use polymix::weights::{Precision, Weights, WeightsReader};
use serde_json::json;

use super::harness::{Target, text};

/// What JSON is made of.
pub const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"1e-400",
    b"NaN",
    b"18446744073709551616",
    b"4294967296",
    b"1000000000",
    b"0.5",
    b"\\u0000",
    b"\\ud800",
    b"\xC3",
    b"\xF0\x9F\x98\x80",
];

/// JSON's words and `more`.
pub fn words(more: &[&'static [u8]]) -> Vec<&'static [u8]> {
    [JSON, more].concat()
}

fn model() -> SavedModel {
    let vocabulary = Vocabulary::english();
    let finetune = FinetuneConfig { head: Head::Linear, ..FinetuneConfig::default() };
    let model =
        ModelConfig { d_model: 8, layers: 1, ffn: 8, kernel: 3, channels: [2, 2], ..ModelConfig::default() };
    let kind = ModelKind::Ctc(CtcHead::new(&finetune, vocabulary.len()));
    let config = SavedConfig { kind, model, options: ModelOptions::default(), bands: BANDS };
    let mut weights = Weights::default();
    for parameter in config.parameters().unwrap() {
        let values = vec![0.5; parameter.shape.elements()];
        weights.insert(parameter.name, parameter.shape, values).unwrap();
    }
    let normalization = Normalization::Global(Stats { mean: vec![-40.0; BANDS], std: vec![15.0; BANDS] });
    let preprocessor = PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.1,
        normalization,
        padding: Padding::Masked,
    };
    SavedModel { config, weights, preprocessor, vocabulary: Some(vocabulary) }
}

fn floats(weights: &Weights) -> usize {
    weights.iter().map(|(name, _, values)| name.len() + 4 * values.len()).sum()
}

#[test]
fn safetensors() {
    let mut weights = Weights::default();
    weights.insert("a.weight", [2, 3], vec![1.0, -2.5, 3.0, 0.1, 0.0, -0.3]).unwrap();
    weights.insert("b", [0], vec![]).unwrap();
    weights.insert("encoder.layers.0.mixer.value.weight", [4], vec![6e4; 4]).unwrap();
    let seeds = [Precision::F32, Precision::F16].map(|precision| weights.serialize(precision).unwrap());
    let whole = Target {
        name: "safetensors",
        seeds: seeds.to_vec(),
        tokens: &[
            b"F64",
            b"BF16",
            b"I64",
            b"U8",
            b"F4",
            b"F8_E4M3",
            b"\"__metadata__\":",
            b"data_offsets",
            b"[",
            b"]",
            b"-1",
            b"{",
            b"}",
            b"18446744073709551615",
            b"4294967296",
        ],
        parse: &mut |bytes| {
            let whole = Weights::parse(bytes);
            // In pieces it is the same, but that a table may be refused before the rest has come.
            let mut reader = WeightsReader::new(None);
            let pieces = bytes.chunks(7).try_for_each(|piece| reader.push(piece));
            let pieces = pieces.and_then(|()| reader.finish());
            match (&whole, &pieces) {
                (Ok(whole), Ok(pieces)) => {
                    let bits = |weights: &Weights| -> Vec<u32> {
                        weights
                            .iter()
                            .flat_map(|(_, _, values)| values)
                            .map(|value| value.to_bits())
                            .collect()
                    };
                    assert_eq!(bits(whole), bits(pieces));
                }
                (Err(_), Err(_)) => {}
                _ => panic!("whole {whole:?}, in pieces {pieces:?}"),
            }
            whole.map(|weights| floats(&weights))
        },
        share: 1,
    };
    whole.run();
}

/// A model of these files.
fn from_files(config: &str, preprocessor: &str, vocabulary: &str) -> Result<usize> {
    let model = model();
    SavedModel::from_files(
        Path::new("model"),
        config,
        preprocessor,
        Some(vocabulary),
        model.weights.clone(),
    )?;
    Ok(floats(&model.weights))
}

#[test]
fn config_json() {
    let model = model();
    let mut pretraining = model.config.clone();
    pretraining.kind = ModelKind::BestRq { codes: 32, code_dim: 4 };
    let seeds = [&model.config, &pretraining].map(|config| serde_json::to_vec_pretty(config).unwrap());
    let target = Target {
        name: "config_json",
        seeds: seeds.to_vec(),
        tokens: &words(&[
            b"\"pom\"",
            b"\"mamba\"",
            b"\"attention\"",
            b"\"best-rq\"",
            b"\"ctc\"",
            b"\"layers\":",
            b"\"d_model\":",
            b"\"reference\"",
        ]),
        parse: &mut |bytes| {
            let config = SavedConfig::from_json(&text(bytes))?;
            Ok(config.parameters()?.iter().map(|parameter| parameter.name.len()).sum())
        },
        share: 1,
    };
    target.run();
}

#[test]
fn vocab_json() {
    let config = serde_json::to_string(&model().config).unwrap();
    let preprocessor = serde_json::to_string(&model().preprocessor).unwrap();
    let map = model().vocabulary.unwrap().to_json();
    let list: Vec<String> = "_ abcdefghijklmnopqrstuvwxyz'".chars().map(String::from).collect();
    assert!(from_files(&config, &preprocessor, &map).is_ok());
    let target = Target {
        name: "vocab_json",
        seeds: vec![map.into_bytes(), serde_json::to_vec(&list).unwrap()],
        tokens: JSON,
        parse: &mut |bytes| {
            let _ = Alphabet::from_json(&text(bytes));
            let vocabulary = Vocabulary::from_json(&text(bytes))?;
            let ids: Vec<u32> = (0..vocabulary.len() as u32 + 2).collect();
            let decoded = vocabulary.decode(&ids);
            let _ = vocabulary.encode(&decoded);
            let again = Vocabulary::from_json(&vocabulary.to_json())?;
            assert_eq!(again, vocabulary);
            let _ = from_files(&config, &preprocessor, &text(bytes));
            Ok(decoded.len())
        },
        share: 1,
    };
    target.run();
}

#[test]
fn preprocessor_config_json() {
    let config = model().preprocessor;
    let sentence = PreprocessorConfig { normalization: Normalization::Sentence, ..config.clone() };
    let seeds = [&config, &sentence].map(|config| serde_json::to_vec_pretty(config).unwrap());
    let target = Target {
        name: "preprocessor_config_json",
        seeds: seeds.to_vec(),
        tokens: &words(&[
            b"\"mean\":",
            b"\"std\":",
            b"\"silence\":",
            b"\"global\"",
            b"\"sentence\"",
            b"\"causal\"",
        ]),
        parse: &mut |bytes| {
            let config = PreprocessorConfig::from_json(&text(bytes))?;
            // What is accepted can be used.
            Ok(4 * config.preprocessor().features(&[0.1; 1600]).data.len())
        },
        share: 4,
    };
    target.run();
}

#[test]
fn speechbrain_hyper_parameters() {
    let seeds = ["PoM", "RelPosMHAXL", "hypermixing", "SummaryMixing"].map(|attention| {
        let values = json!({
            "attention_type": attention, "d_model": 16, "nhead": 2, "num_encoder_layers": 1, "d_ffn": 32,
            "activation": "gelu", "conformer_activation": "swish", "degree": 2, "expand": 2,
            "normalize_before": true, "causal": false, "cnn_channels": [4, 4], "cb_vocab": 32, "cb_dim": 4,
            "p_input": 320, "lr": 8e-4, "data_folder": "/data",
        });
        serde_json::to_vec_pretty(&values).unwrap()
    });
    let mut weights = Weights::default();
    weights.insert("1.encoder.layers.0.norm1.norm.weight", [16], vec![1.0; 16]).unwrap();
    let target = Target {
        name: "speechbrain_hyper_parameters",
        // One that is refused by name is a mutation, not a seed.
        seeds: seeds.into_iter().filter(|seed| HyperParameters::from_json(&text(seed)).is_ok()).collect(),
        tokens: &words(&[
            b"\"PoM\"",
            b"\"hypermixing\"",
            b"\"mamba\"",
            b"\"num_encoder_layers\":",
            b"\"kernel_size\":",
            b"\"layers\"",
        ]),
        parse: &mut |bytes| {
            let values = HyperParameters::from_json(&text(bytes))?;
            match speechbrain::import(&weights, &values) {
                Ok(_) => Err(Error::invalid("a tensor alone is no model")),
                Err(error) => {
                    assert!(!error.to_string().contains('\n'), "{error}");
                    Ok(0)
                }
            }
        },
        share: 1,
    };
    target.run();
}
