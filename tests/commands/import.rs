//! `polymix import`: checkpoints under SpeechBrain's names, as its `state_dict` spells them.

use polymix::models::speechbrain::{HyperParameters, import};
use polymix::recipe::{MixerKind, MixerSpec, ModelOptions, ModelTable};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Tensors outside the layers, and the parameters that they are.
const MODEL: &[(&str, &str)] = &[
    ("0.convblock_0.convs.conv_0.conv.weight", "frontend.blocks.0.conv.weight"),
    ("0.convblock_0.convs.conv_0.conv.bias", "frontend.blocks.0.conv.bias"),
    ("0.convblock_0.convs.norm_0.norm.weight", "frontend.blocks.0.norm.weight"),
    ("0.convblock_0.convs.norm_0.norm.bias", "frontend.blocks.0.norm.bias"),
    ("0.convblock_1.convs.conv_0.conv.weight", "frontend.blocks.1.conv.weight"),
    ("0.convblock_1.convs.conv_0.conv.bias", "frontend.blocks.1.conv.bias"),
    ("0.convblock_1.convs.norm_0.norm.weight", "frontend.blocks.1.norm.weight"),
    ("0.convblock_1.convs.norm_0.norm.bias", "frontend.blocks.1.norm.bias"),
    ("1.transformer.custom_src_module.layers.0.w.weight", "frontend.linear.weight"),
    ("1.transformer.custom_src_module.layers.0.w.bias", "frontend.linear.bias"),
    ("1.transformer.encoder.norm.norm.weight", "encoder.norm.weight"),
    ("1.transformer.encoder.norm.norm.bias", "encoder.norm.bias"),
    ("linear.w.weight", "head.weight"),
    ("linear.w.bias", "head.bias"),
    ("quantizer.P", "quantizer.projection"),
    ("quantizer.CB", "quantizer.codebook"),
];

/// The same of a layer.
const LAYER: &[(&str, &str)] = &[
    ("ffn_module1.0.weight", "ffn1.norm.weight"),
    ("ffn_module1.0.bias", "ffn1.norm.bias"),
    ("ffn_module1.1.ffn.0.weight", "ffn1.linear1.weight"),
    ("ffn_module1.1.ffn.0.bias", "ffn1.linear1.bias"),
    ("ffn_module1.1.ffn.3.weight", "ffn1.linear2.weight"),
    ("ffn_module1.1.ffn.3.bias", "ffn1.linear2.bias"),
    ("norm1.norm.weight", "mixer_norm.weight"),
    ("norm1.norm.bias", "mixer_norm.bias"),
    ("convolution_module.layer_norm.weight", "conv.norm.weight"),
    ("convolution_module.layer_norm.bias", "conv.norm.bias"),
    ("convolution_module.bottleneck.0.weight", "conv.pointwise.weight"),
    ("convolution_module.bottleneck.0.bias", "conv.pointwise.bias"),
    ("convolution_module.conv.weight", "conv.depthwise.weight"),
    ("convolution_module.conv.bias", "conv.depthwise.bias"),
    ("convolution_module.after_conv.0.weight", "conv.after_norm.weight"),
    ("convolution_module.after_conv.0.bias", "conv.after_norm.bias"),
    ("convolution_module.after_conv.2.weight", "conv.project.weight"),
    ("convolution_module.after_conv.2.bias", "conv.project.bias"),
    ("ffn_module2.0.weight", "ffn2.norm.weight"),
    ("ffn_module2.0.bias", "ffn2.norm.bias"),
    ("ffn_module2.1.ffn.0.weight", "ffn2.linear1.weight"),
    ("ffn_module2.1.ffn.0.bias", "ffn2.linear1.bias"),
    ("ffn_module2.1.ffn.3.weight", "ffn2.linear2.weight"),
    ("ffn_module2.1.ffn.3.bias", "ffn2.linear2.bias"),
    ("norm2.norm.weight", "norm.weight"),
    ("norm2.norm.bias", "norm.bias"),
];

/// Of a mixer: our name, SpeechBrain's attention type, and the same of its tensors.
type MixerTensors = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const POM: &[(&str, &str)] = &[
    ("mh_pom.po_proj.weight", "value.weight"),
    ("mh_pom.po_proj.bias", "value.bias"),
    ("mh_pom.se_proj.weight", "gate.weight"),
    ("mh_pom.se_proj.bias", "gate.bias"),
    ("mh_pom.ag_proj.weight", "output.weight"),
    ("mh_pom.ag_proj.bias", "output.bias"),
    ("layer_norm.weight", "norm.weight"),
    ("layer_norm.bias", "norm.bias"),
];

const MIXER: &[MixerTensors] = &[
    ("pom", "PoM", POM),
    ("pom-selective", "PoM", POM),
    (
        "pom-2way",
        "PoM",
        &[
            ("mh_pom.po_proj_hf.weight", "value.0.weight"),
            ("mh_pom.po_proj_hf.bias", "value.0.bias"),
            ("mh_pom.po_proj_bf.weight", "value.1.weight"),
            ("mh_pom.po_proj_bf.bias", "value.1.bias"),
            ("mh_pom.se_proj_hf.weight", "gate.0.weight"),
            ("mh_pom.se_proj_hf.bias", "gate.0.bias"),
            ("mh_pom.se_proj_bf.weight", "gate.1.weight"),
            ("mh_pom.se_proj_bf.bias", "gate.1.bias"),
            ("mh_pom.ag_proj.weight", "output.weight"),
            ("mh_pom.ag_proj.bias", "output.bias"),
            ("layer_norm.weight", "norm.weight"),
            ("layer_norm.bias", "norm.bias"),
        ],
    ),
    (
        "pom-3way",
        "PoM",
        &[
            ("mh_pom.po_proj_1.weight", "value.0.weight"),
            ("mh_pom.po_proj_1.bias", "value.0.bias"),
            ("mh_pom.po_proj_2.weight", "value.1.weight"),
            ("mh_pom.po_proj_2.bias", "value.1.bias"),
            ("mh_pom.po_proj_3.weight", "value.2.weight"),
            ("mh_pom.po_proj_3.bias", "value.2.bias"),
            ("mh_pom.se_proj_1.weight", "gate.0.weight"),
            ("mh_pom.se_proj_1.bias", "gate.0.bias"),
            ("mh_pom.se_proj_2.weight", "gate.1.weight"),
            ("mh_pom.se_proj_2.bias", "gate.1.bias"),
            ("mh_pom.se_proj_3.weight", "gate.2.weight"),
            ("mh_pom.se_proj_3.bias", "gate.2.bias"),
            ("mh_pom.ag_proj.weight", "output.weight"),
            ("mh_pom.ag_proj.bias", "output.bias"),
            ("layer_norm.weight", "norm.weight"),
            ("layer_norm.bias", "norm.bias"),
        ],
    ),
    (
        "regular-mha",
        "regularMHA",
        &[
            ("att.in_proj_weight", "input.weight"),
            ("att.in_proj_bias", "input.bias"),
            ("att.out_proj.weight", "output.weight"),
            ("att.out_proj.bias", "output.bias"),
        ],
    ),
    (
        "rope-mha",
        "RoPEMHA",
        &[
            ("in_proj_weight", "input.weight"),
            ("out_proj.weight", "output.weight"),
            ("out_proj.bias", "output.bias"),
        ],
    ),
    (
        "relpos-mha",
        "RelPosMHAXL",
        &[
            ("in_proj_weight", "input.weight"),
            ("linear_pos.weight", "position.weight"),
            ("pos_bias_u", "content_bias"),
            ("pos_bias_v", "position_bias"),
            ("out_proj.weight", "output.weight"),
            ("out_proj.bias", "output.bias"),
        ],
    ),
    (
        "summary-mixing",
        "SummaryMixing",
        &[
            ("local_proj.linear.weights", "local.0.weight"),
            ("local_proj.linear.biases", "local.0.bias"),
            ("local_proj.linear_0.weights", "local.1.weight"),
            ("local_proj.linear_0.biases", "local.1.bias"),
            ("summary_proj.linear.weights", "summary.0.weight"),
            ("summary_proj.linear.biases", "summary.0.bias"),
            ("summary_proj.linear_0.weights", "summary.1.weight"),
            ("summary_proj.linear_0.biases", "summary.1.bias"),
            ("summary_local_merging.linear.w.weight", "combine.weight"),
            ("summary_local_merging.linear.w.bias", "combine.bias"),
        ],
    ),
    (
        "hyper-mixing",
        "hypermixing",
        &[
            ("hyper.w1_gen.fc1_weights", "w1.0.weight"),
            ("hyper.w1_gen.fc1_biases", "w1.0.bias"),
            ("hyper.w1_gen.fc2_weights", "w1.1.weight"),
            ("hyper.w1_gen.fc2_biases", "w1.1.bias"),
            ("hyper.w2_gen.fc1_weights", "w2.0.weight"),
            ("hyper.w2_gen.fc1_biases", "w2.0.bias"),
            ("hyper.w2_gen.fc2_weights", "w2.1.weight"),
            ("hyper.w2_gen.fc2_biases", "w2.1.bias"),
            ("layer_norm.weight", "norm.weight"),
            ("layer_norm.bias", "norm.bias"),
        ],
    ),
    (
        "fastformer",
        "fastformer",
        &[
            ("query_proj.weight", "query.weight"),
            ("query_proj.bias", "query.bias"),
            ("query_attn.weight", "query_attention.weight"),
            ("query_attn.bias", "query_attention.bias"),
            ("key_proj.weight", "key.weight"),
            ("key_proj.bias", "key.bias"),
            ("key_attn.weight", "key_attention.weight"),
            ("key_attn.bias", "key_attention.bias"),
            ("out_proj.weight", "output.weight"),
            ("out_proj.bias", "output.bias"),
        ],
    ),
];

const LAYERS: usize = 2;
const CODES: usize = 10;
const CODE_DIM: usize = 3;

/// A pre-trained model, no two of whose weights are equal by chance.
pub(super) fn pretrained(mixer: &str) -> SavedModel {
    let model = ModelConfig {
        mixer: MixerSpec::Every(mixer.parse().unwrap()),
        d_model: 8,
        layers: LAYERS,
        ffn: 12,
        kernel: 3,
        heads: 2,
        expand: if mixer.starts_with("pom") { 3 } else { 2 },
        summary_hidden: 6,
        summary_local: 4,
        channels: [4, 2],
        padding: polymix::recipe::PaddedFrames::Reference,
        ..ModelConfig::default()
    };
    let kind = ModelKind::BestRq { codes: CODES, code_dim: CODE_DIM };
    let config = SavedConfig {
        kind,
        model,
        options: ModelOptions { dropout: 0.0, ..ModelOptions::default() },
        bands: BANDS,
    };
    let mut weights = Weights::default();
    for (seed, parameter) in config.parameters().unwrap().into_iter().enumerate() {
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 99_991) as f32 / 99_991.0 - 0.5;
        let values = (0..parameter.shape.elements()).map(value).collect();
        weights.insert(parameter.name, parameter.shape, values).unwrap();
    }
    let band = |low: f32, step: f32| (0..BANDS).map(|band| low + step * band as f32).collect();
    let preprocessor = PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.0,
        normalization: Normalization::Global(Stats { mean: band(-40.0, 0.1), std: band(15.0, 0.2) }),
        padding: Padding::ReferencePretrain,
    };
    SavedModel { config, weights, preprocessor, vocabulary: None }
}

/// The values of [.., rows, columns] with the last two axes swapped.
fn swapped(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for block in 0..values.len() / (rows * columns) {
        for column in 0..columns {
            for row in 0..rows {
                out.push(values[(block * rows + row) * columns + column]);
            }
        }
    }
    out
}

/// The model as SpeechBrain would save it.
fn exported(model: &SavedModel) -> Weights {
    let mixer = model.config.model.mixer.for_layer(0);
    let (.., tensors) = MIXER.iter().find(|(name, ..)| *name == mixer.name()).unwrap();
    let mut names: Vec<(String, String)> = Vec::new();
    let mut add = |theirs: String, ours: String| names.push((theirs, ours));
    for (theirs, ours) in MODEL {
        add((*theirs).to_owned(), (*ours).to_owned());
    }
    for layer in 0..LAYERS {
        let (there, here) =
            (format!("1.transformer.encoder.layers.{layer}"), format!("encoder.layers.{layer}"));
        for (theirs, ours) in LAYER {
            add(format!("{there}.{theirs}"), format!("{here}.{ours}"));
        }
        for (theirs, ours) in *tensors {
            add(format!("{there}.mha_layer.{theirs}"), format!("{here}.mixer.{ours}"));
        }
    }
    let mut weights = Weights::default();
    for (theirs, ours) in names {
        let (shape, values) = model.weights.get(&ours).unwrap_or_else(|| panic!("{ours}"));
        let dims = shape.dims();
        let (dims, values) = match theirs.as_str() {
            // Over [frequency, time].
            name if name.ends_with("conv_0.conv.weight") => (dims.to_vec(), swapped(values, 3, 3)),
            // Over (frequency, channel).
            name if name.contains("convblock_0.convs.norm_0") => (vec![40, dims[0] / 40], values.to_vec()),
            name if name.contains("convblock_1.convs.norm_0") => (vec![20, dims[0] / 20], values.to_vec()),
            // A convolution over one frame.
            name if name.ends_with("bottleneck.0.weight") => (vec![dims[0], dims[1], 1], values.to_vec()),
            // x·W in blocks.
            name if name.contains("_proj.linear") && name.ends_with(".weights") => {
                (vec![dims[0], dims[2], dims[1]], swapped(values, dims[1], dims[2]))
            }
            // Stored as [d_h, H], read row by row as [H, d_h].
            name if name.contains("pos_bias") => (vec![dims[1], dims[0]], values.to_vec()),
            _ => (dims.to_vec(), values.to_vec()),
        };
        weights.insert(theirs, dims, values).unwrap();
    }
    let Normalization::Global(stats) = &model.preprocessor.normalization else { unreachable!() };
    weights.insert("normalize.glob_mean", [BANDS], stats.mean.clone()).unwrap();
    weights.insert("normalize.glob_std", [BANDS], stats.std.clone()).unwrap();
    weights.insert("1.transformer.positional_encoding.pe", [1, 5, 8], vec![0.5; 40]).unwrap();
    weights.insert("1.transformer.positional_encoding.inv_freq", [4], vec![0.5; 4]).unwrap();
    weights
}

fn hyper_parameters(mixer: &str) -> Value {
    let (_, attention_type, _) = MIXER.iter().find(|(name, ..)| *name == mixer).unwrap();
    json!({
        "attention_type": attention_type, "d_model": 8, "nhead": 2, "num_encoder_layers": LAYERS, "d_ffn": 12,
        "activation": "GELU", "conformer_activation": "torch.nn.GELU", "degree": 2, "expand": 3,
        "normalize_before": true, "causal": false, "kernel_size": 3, "dropout": 0.0, "cnn_channels": [4, 2],
        "cb_vocab": CODES, "cb_dim": CODE_DIM, "p_input": 320, "local_proj_hid_dim": [6],
        "local_proj_out_dim": 4, "summary_hid_dim": [6], "mode": "SummaryMixing", "tgt_vocab": 50,
        "max_length": 2500, "num_decoder_layers": 0, "encoder_module": "conformer", "lr": 1e-3,
    })
}

fn imported(weights: &Weights, values: &Value) -> polymix::Result<SavedModel> {
    import(weights, &HyperParameters::from_json(&values.to_string())?)
}

#[test]
fn every_mixer_comes_back_as_it_was() {
    // Published without SpeechBrain.
    for mixer in
        MixerKind::ALL.map(MixerKind::name).iter().filter(|mixer| !["pom-2026", "mamba"].contains(mixer))
    {
        let model = pretrained(mixer);
        let back = imported(&exported(&model), &hyper_parameters(mixer)).unwrap();
        assert_eq!(back.config, model.config);
        assert_eq!(back.preprocessor, model.preprocessor);
        assert_eq!(back.weights, model.weights, "{mixer}");
    }
}

/// Writes a checkpoint; the command that imports it to `model`.
fn checkpoint(folder: &Path, weights: &Weights, values: &Value) -> [String; 6] {
    let path = |name: &str| text(&folder.join(name)).to_owned();
    std::fs::write(path("w.safetensors"), weights.serialize(Precision::F32).unwrap()).unwrap();
    std::fs::write(path("h.json"), values.to_string()).unwrap();
    [
        "import".into(),
        "speechbrain".into(),
        path("w.safetensors"),
        path("h.json"),
        "--out".into(),
        path("model"),
    ]
}

#[test]
fn imported_models_are_used_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = pretrained("pom");
    model.save(&at("original"), Precision::F32, "").unwrap();
    let command = checkpoint(folder.path(), &exported(&model), &hyper_parameters("pom"));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    // A second import takes the place of the first.
    for _ in 0..2 {
        let output = polymix(&command);
        assert!(output.status.success(), "{output:?}");
    }
    let output = polymix(&["info", text(&at("model"))]);
    assert!(output.status.success(), "{output:?}");
    let info = String::from_utf8_lossy(&output.stdout);
    for part in ["BEST-RQ", "reference padding", "padding = \"reference\"", "d_model = 8"] {
        assert!(info.contains(part), "{info}");
    }
    if !adapter() {
        return;
    }
    wav(&at("a.wav"), &tone(0.7));
    wav(&at("b.wav"), &tone(0.5));
    let encode = |model: &str, out: &str| {
        let (model, a, b, out) = (at(model), at("a.wav"), at("b.wav"), at(out));
        let output = polymix(&[
            "encode",
            text(&model),
            text(&a),
            text(&b),
            "--batch",
            "2",
            "--out",
            text(&out),
            "--quiet",
        ]);
        assert!(output.status.success(), "{output:?}");
        std::fs::read(out).unwrap()
    };
    assert_eq!(encode("original", "original.safetensors"), encode("model", "model.safetensors"));

    std::fs::write(at("d.jsonl"), r#"{"audio_filepath": "a.wav", "duration": 0.7, "text": "one"}"#).unwrap();
    let table = ModelTable { model: model.config.model.clone(), options: model.config.options };
    let toml = toml::to_string(&table).unwrap();
    let rest = RECIPE.split_once("[finetune]").unwrap().1;
    std::fs::write(at("r.toml"), format!("[model]\n{toml}[finetune]{rest}")).unwrap();
    let (recipe, data, init, out) = (at("r.toml"), at("d.jsonl"), at("model"), at("run"));
    let data = ["--data", text(&data), "--valid", text(&data), "--out", text(&out), "--init", text(&init)];
    let output = polymix(&[&["finetune", text(&recipe)], &data[..]].concat());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_does_not_belong_together_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, values) = (exported(&pretrained("pom")), hyper_parameters("pom"));
    let refused = |weights: &Weights, values: &Value, parts: &[&str]| {
        let command = checkpoint(folder.path(), weights, values);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        fails(1, &command, parts);
        assert!(!folder.path().join("model").exists());
    };
    let with = |key: &str, value: Value| {
        let mut values = values.clone();
        values[key] = value;
        values
    };
    let without = |key: &str| {
        let mut values = values.clone();
        values.as_object_mut().unwrap().remove(key);
        values
    };
    let layer = "1.transformer.encoder.layers.1";
    let gate = format!("{layer}.mha_layer.mh_pom.se_proj.weight");

    // Hyper-parameters.
    let known = ["h.json", "attention_type", "\"Longformer\"", "PoM", "hypermixing"];
    refused(&weights, &with("attention_type", json!("Longformer")), &known);
    refused(&weights, &without("d_ffn"), &["h.json", "d_ffn is missing"]);
    refused(&weights, &without("degree"), &["h.json", "degree is missing"]);
    refused(&weights, &with("d_modle", json!(8)), &["h.json", "\"d_modle\""]);
    refused(&weights, &with("d_model", json!("8")), &["h.json", "d_model is \"8\""]);
    refused(&weights, &with("nhead", json!(-2)), &["h.json", "nhead is -2"]);
    refused(&weights, &with("num_encoder_layers", json!(0)), &["h.json", "layers = 0"]);
    refused(&weights, &with("cb_vocab", json!(1u64 << 60)), &["h.json", "codes = "]);
    refused(&weights, &with("cnn_channels", json!([4])), &["h.json", "cnn_channels is [4]"]);
    refused(&weights, &with("conformer_activation", json!("ReLU")), &["h.json", "\"ReLU\"", "GELU"]);
    refused(&weights, &with("causal", json!(true)), &["h.json", "causal is true"]);
    refused(&weights, &with("sample_rate", json!(8000)), &["h.json", "sample_rate is 8000"]);
    refused(&weights, &json!([1, 2]), &["h.json", "JSON object"]);

    // Tensors.
    let mut missing = Weights::default();
    for (name, shape, values) in weights.iter().filter(|(name, ..)| *name != gate && *name != "quantizer.P") {
        missing.insert(name, shape.clone(), values.to_vec()).unwrap();
    }
    refused(&missing, &values, &["w.safetensors", &gate, "quantizer.P", "missing"]);
    let mut extra = weights.clone();
    extra.insert(format!("{layer}.mha_layer.mh_pom.extra"), [1], vec![0.0]).unwrap();
    extra.insert("decoder.weight", [1], vec![0.0]).unwrap();
    refused(&extra, &values, &["w.safetensors", "mh_pom.extra", "decoder.weight", "unknown"]);
    let mut wrong = weights.clone();
    wrong.insert(&gate, [48, 7], vec![0.0; 48 * 7]).unwrap();
    refused(&wrong, &values, &["w.safetensors", &gate, "[48, 7]", "[48, 8]"]);
    let mut not_finite = weights.clone();
    not_finite.insert(&gate, [48, 8], vec![f32::NAN; 48 * 8]).unwrap();
    refused(&not_finite, &values, &["w.safetensors", &gate, "finite"]);
    let mut flat = weights.clone();
    flat.insert("normalize.glob_std", [BANDS], vec![0.0; BANDS]).unwrap();
    refused(&flat, &values, &["w.safetensors", "band 0"]);
    refused(
        &weights,
        &with("d_ffn", json!(16)),
        &["w.safetensors", "ffn_module1.1.ffn.0", "[12, 8]", "[16, 8]"],
    );
    let layers = ["w.safetensors", "layers.2.norm1.norm.weight", "missing"];
    refused(&weights, &with("num_encoder_layers", json!(3)), &layers);
    let other = ["w.safetensors", "mha_layer.hyper.w1_gen.fc1_weights", "missing", "po_proj", "unknown"];
    refused(&weights, &with("attention_type", json!("hypermixing")), &other);

    // Files.
    let path = |name: &str| folder.path().join(name);
    let bytes = weights.serialize(Precision::F32).unwrap();
    let (w, h, out) = (path("w.safetensors"), path("h.json"), path("model"));
    let command = ["import", "speechbrain", text(&w), text(&h), "--out", text(&out)];
    std::fs::write(&h, values.to_string()).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&w, &bytes[..length]).unwrap();
        fails(1, &command, &["w.safetensors", "safetensors"]);
    }
    std::fs::write(&w, &bytes).unwrap();
    std::fs::write(&h, [0xFF, 0xFE]).unwrap();
    fails(1, &command, &["h.json"]);
    std::fs::remove_file(&h).unwrap();
    fails(1, &command, &["h.json", "cannot be read"]);
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("thesis.txt"), "years of work").unwrap();
    fails(1, &command, &["model", "thesis.txt"]);
    fails(2, &["import", "kaldi", text(&w), text(&h), "--out", text(&out)], &["kaldi"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_checkpoints_never_panic(
        cut in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        // Most damage is to hit the table at the beginning.
        within in prop_oneof![Just(4096), Just(usize::MAX)],
    ) {
        let values = HyperParameters::from_json(&hyper_parameters("pom").to_string()).unwrap();
        let mut bytes = exported(&pretrained("pom")).serialize(Precision::F32).unwrap();
        for (at, byte) in damage {
            let range = bytes.len().min(within);
            bytes[at.index(range)] = byte;
        }
        if cut.index(2) == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = Weights::parse(&bytes).and_then(|weights| import(&weights, &values));
    }

    #[test]
    fn damaged_hyper_parameters_never_panic(
        key in any::<prop::sample::Index>(),
        value in prop_oneof![
            Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from), any::<f64>().prop_map(Value::from), (0u64..20).prop_map(Value::from),
            ".*".prop_map(Value::from), prop::collection::vec(any::<u64>(), 0..3).prop_map(Value::from),
        ],
        cut in any::<prop::sample::Index>(),
        noise in ".{0,40}",
    ) {
        let mut values = hyper_parameters("pom");
        let keys: Vec<String> = values.as_object().unwrap().keys().cloned().collect();
        values[key.get(&keys)] = value;
        if let Ok(parsed) = HyperParameters::from_json(&values.to_string()) {
            let _ = import(&Weights::default(), &parsed);
        }
        let text: Vec<char> = values.to_string().chars().collect();
        let cut: String = text[..cut.index(text.len())].iter().collect();
        prop_assert!(HyperParameters::from_json(&cut).is_err());
        let _ = HyperParameters::from_json(&noise);
    }
}
