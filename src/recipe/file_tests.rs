use proptest::prelude::*;

use super::*;
use crate::recipe::{
    BatchSeconds, BatchUtterances, Duration, MixerKind, MixerSpec, ModelConfig, ModelTable, ScheduleConfig,
    VocabularySource,
};

const NONE: [&str; 0] = [];

fn parse(text: &str) -> Recipe {
    Recipe::parse("r.toml", text, &NONE).unwrap()
}

fn error(text: &str, overrides: &[&str]) -> String {
    let error = Recipe::parse("r.toml", text, overrides).unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
    assert!(!error.to_string().contains('\n'), "{error}");
    error.to_string()
}

#[track_caller]
fn assert_error(text: &str, overrides: &[&str], parts: &[&str]) {
    let error = error(text, overrides);
    for part in parts {
        assert!(error.contains(part), "{error}\nlacks {part}");
    }
}

#[test]
fn nothing_is_the_papers_system() {
    let recipe = parse("");
    assert_eq!(recipe, Recipe::default());
    assert_eq!((recipe.model.d_model, recipe.model.layers, recipe.model.ffn), (488, 12, 2048));
    assert_eq!((recipe.pretrain.steps, recipe.pretrain.codes), (200_000, 8192));
    assert_eq!(recipe.pretrain.optimizer.schedule, ScheduleConfig::Noam { warmup: 25_000 });
    assert_eq!(recipe.finetune.duration(), Duration::Epochs(30));
    assert_eq!(recipe.finetune.data.batch_utterances, Some(BatchUtterances::Same(6)));
    assert_eq!(
        (&recipe.pretrain.data.batch_utterances, recipe.pretrain.data.batch_seconds),
        (&None, Some(BatchSeconds::Given(1400.0)))
    );
}

#[test]
fn a_resolved_recipe_reads_back() {
    for text in [
        "",
        "finetune.steps = 7\npretrain.dropout = 0",
        "model.mixer = ['pom', 'pom']\nmodel.layers = 2",
        "model.mixer = { lower = 'pom', upper = 'pom', split = 3 }",
        "finetune.optimizer.schedule = { name = 'constant' }\nrun.seed = 4294967295",
    ] {
        let recipe = parse(text);
        let resolved = recipe.to_toml();
        assert!(resolved.contains("[finetune.augmentation]"), "{resolved}");
        assert_eq!(parse(&resolved), recipe, "{resolved}");
    }
}

#[test]
fn values_and_overrides_replace_defaults() {
    let text = "[model]\nd_model = 96\n[pretrain.optimizer]\nlr = 2e-3\nclip = 5\n[pretrain.data]\nbatch_utterances = 16";
    let overrides =
        ["model.layers=4", "model.mixer=pom", "finetune.steps = 1000", "pretrain.data.batch_seconds=64"];
    let recipe = Recipe::parse("r.toml", text, &overrides).unwrap();
    assert_eq!((recipe.model.d_model, recipe.model.layers), (96, 4));
    let optimizer = &recipe.pretrain.optimizer;
    assert_eq!((optimizer.encoder_lr, optimizer.head_lr, optimizer.clip), (2e-3, 2e-3, 5.0));
    assert_eq!(recipe.finetune.duration(), Duration::Steps(1000));
    assert_eq!(recipe.finetune.epochs, None);
    assert_eq!(
        (recipe.pretrain.data.batch_seconds, &recipe.pretrain.data.batch_utterances),
        (Some(BatchSeconds::Given(64.0)), &None)
    );
}

#[test]
fn batches_are_numbers_lists_or_what_fits() {
    let data = |setting: &str| Recipe::parse("r.toml", "", &[setting]).map(|recipe| recipe.finetune.data);
    let fit = data("finetune.data.batch_seconds=fit").unwrap();
    assert!(fit.fits() && fit.batch_utterances.is_none());
    let list = data("finetune.data.batch_utterances=[6, 3]").unwrap();
    assert_eq!(list.batch_utterances, Some(BatchUtterances::Each(vec![6, 3])));
    let mut fitted = fit.clone();
    fitted.fitted(&[6, 3]);
    assert_eq!(fitted, list);
    fitted.fit();
    assert_eq!(fitted, fit);
    let text = "[finetune.data]\nbatch_utterances = [6, 3]";
    assert_eq!(parse(&parse(text).to_toml()), parse(text));
    assert_eq!(parse(&parse("finetune.data.batch_seconds = 'fit'").to_toml()).finetune.data, fit);
    for (setting, part) in [
        ("finetune.data.batch_seconds=full", "a number of seconds or \"fit\""),
        ("finetune.data.batch_utterances=[6, 0]", "batch_utterances[1] = 0"),
        ("finetune.data.batch_utterances=[]", "the number of finetune.data.batch_utterances = 0"),
        ("finetune.data.batch_utterances=many", "a number of utterances, or a list"),
    ] {
        let error = data(setting).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mixed = ["finetune.data.batch_seconds=fit", "finetune.data.group_by_length=false"];
    assert!(Recipe::parse("r.toml", "", &mixed).unwrap_err().to_string().contains("fixed number of clips"));
}

#[test]
fn gaps_are_a_number_or_a_range() {
    for (text, range) in [("0.4", [0.4, 0.4]), ("1", [1.0, 1.0]), ("[0, 2.5]", [0.0, 2.5])] {
        let recipe = parse(&format!("[finetune.data]\nstring_seconds = 4\nstring_gap_seconds = {text}"));
        assert_eq!(recipe.finetune.data.string_gap_seconds.range(), range);
        assert_eq!(parse(&recipe.to_toml()), recipe);
        assert_eq!(Recipe::from_json(&recipe.to_json()).unwrap(), recipe);
    }
    assert_eq!(Recipe::default().to_json()["pretrain"]["data"]["string_gap_seconds"], 0.0);
}

#[test]
fn one_rate_can_differ_from_both() {
    let recipe = parse("[finetune.optimizer]\nencoder_lr = 1e-4\nlr = 1e-3");
    assert_eq!((recipe.finetune.optimizer.encoder_lr, recipe.finetune.optimizer.head_lr), (1e-4, 1e-3));
}

#[test]
fn schedules_have_defaults_of_their_own() {
    let recipe = parse(
        "finetune.optimizer.schedule = { name = 'cosine' }\npretrain.optimizer.schedule = {name='noam', warmup=8}",
    );
    assert_eq!(recipe.finetune.optimizer.schedule, ScheduleConfig::Cosine { warmup_fraction: 0.1 });
    assert_eq!(recipe.pretrain.optimizer.schedule, ScheduleConfig::Noam { warmup: 8 });
    let recipe = Recipe::parse("r.toml", "", &["pretrain.optimizer.schedule.warmup=9"]).unwrap();
    assert_eq!(recipe.pretrain.optimizer.schedule, ScheduleConfig::Noam { warmup: 9 });
}

#[test]
fn errors_name_line_key_and_remedy() {
    assert_error(
        "[pretrain]\nstesp = 3",
        &[],
        &["r.toml:2: pretrain.stesp: unknown field `stesp`", "`steps`"],
    );
    assert_error("\n[modle]\nlayers = 3", &[], &["r.toml:3: modle.layers: unknown field `modle`", "`model`"]);
    assert_error("[modle]", &[], &["r.toml:1: modle: unknown field"]);
    assert_error("model = 3", &[], &["r.toml:1: model: invalid type: integer `3`"]);
    assert_error("model.d_model.x = 3", &[], &["model.d_model is a value, not a table"]);
    assert_error("[model]\n\nlayers = -1", &[], &["r.toml:3: model.layers: invalid value: integer `-1`"]);
    assert_error("[model]\nlayers = ", &[], &["r.toml:2: not TOML"]);
    assert_error("model.mixer = 3", &[], &["expected a mixer's name, a list of names"]);
    assert_error("model.activation = 'relu'", &[], &["model.activation", "`gelu`", "`silu`"]);
    assert_error(
        "pretrain.optimizer.schedule = {name='noam', warm=3}",
        &[],
        &["schedule", "`warm`", "`warmup`"],
    );
    assert_error("pretrain.optimizer.schedule = {name='constant', warmup=3}", &[], &["schedule", "`warmup`"]);
    assert_error(
        "finetune.steps = 1\nfinetune.epochs = 2",
        &[],
        &["r.toml:2", "finetune.epochs and steps exclude"],
    );
    assert_error("", &["model.layers"], &["setting model.layers: no `=`"]);
    assert_error("", &["model.layer=3"], &["setting model.layer=3: model.layer: unknown field `layer`"]);
    assert_error("", &[&(".a".repeat(100_000) + "=1")], &["no key has 100001 parts"]);
    assert_error("", &["=3"], &["setting =3", "unknown field"]);
    assert_error("", &["model.layers=1\nrun.seed=2"], &["model.layers"]);
}

#[test]
fn values_have_ranges() {
    for (setting, part) in [
        ("model.kernel=30", "model.kernel = 30 is even"),
        ("model.dropout=nan", "model.dropout = NaN is out of range"),
        ("model.dropout=1", "give a number from 0 to 0.95"),
        ("model.d_model=0", "from 1 to 16384"),
        ("model.channels=[128, 0]", "model.channels[1] = 0"),
        ("model.channels=[128]", "model.channels"),
        ("model.mixer=attention", "unknown mixer \"attention\"; known mixers are: pom"),
        ("model.mixer=['pom']", "lists 1 names for model.layers = 12"),
        ("model.mixer={lower='pom', upper='pom', split=13}", "from 0 to 12"),
        ("pretrain.steps=9223372036854775807", "pretrain.steps"),
        ("pretrain.mask_probability=0.3", "the masked part, = 1.2"),
        ("pretrain.mask_frames=6", "give a multiple of 4"),
        ("pretrain.data.min_seconds=61", "give the smaller number first"),
        ("pretrain.data.window_seconds=1", "from 2 to 60"),
        ("finetune.data.window_seconds=4", "would part clips from their text"),
        ("finetune.data.string_seconds=99", "from 0.1 to 60"),
        ("finetune.data.string_gap_seconds=[2.0,1]", "string_gap_seconds = [2, 1] is not a range"),
        ("finetune.data.string_gap_seconds=[0,99]", "string_gap_seconds = 99 is out of range"),
        ("finetune.data.string_gap_seconds='1'", "the shortest and the longest gap"),
        ("finetune.augmentation.noise_db=[50,10]", "noise_db = [50, 10]"),
        ("finetune.augmentation.gain_db=[-18,inf]", "gain_db[1] = inf"),
        ("finetune.augmentation.speeds=[]", "speeds is empty"),
        ("finetune.augmentation.zero_chunks=[3,2]", "zero_chunks = [3, 2]"),
        ("finetune.optimizer.betas=[0.9,1.0]", "betas[1] = 1"),
        ("finetune.optimizer.lr=inf", "encoder_lr = inf"),
        ("run.log_every=0", "run.log_every = 0"),
        ("features.silence=-0.1", "features.silence"),
    ] {
        assert_error("", &[setting], &[part]);
    }
    for task in ["classify", "verify"] {
        let settings = [format!("finetune.task={task}"), "finetune.data.string_seconds=4".into()];
        assert_error("", &settings.each_ref().map(String::as_str), &["joins clips of several classes", task]);
    }
    let heads = ["model.mixer=['pom', 'fastformer']", "model.layers=2", "model.heads=5"];
    assert_error("", &heads, &["model.heads = 5 does not divide model.d_model = 488"]);
    let heads = ["model.mixer='relpos-mha'", "model.heads=5"];
    assert_error("", &heads, &["model.heads = 5 does not divide model.d_model = 488, as relpos-mha"]);
    let odd = ["model.mixer='rope-mha'", "model.d_model=12", "model.heads=4"];
    assert_error("", &odd, &["model.heads = 4 makes heads of 3 channels, which rope-mha cannot rotate"]);
    let sizes = ["model.d_model=16384", "model.degree=8", "model.expand=64"];
    assert_error("", &sizes, &["model.degree x model.expand x model.d_model = 8388608"]);
}

/// A saved model may be older than these keys of its configuration.
#[test]
fn configurations_without_newer_keys_load() {
    let mut config = serde_json::to_value(ModelConfig::default()).unwrap();
    config
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !["summary_hidden", "causal_chunk"].contains(&key.as_str()));
    assert_eq!(config["ffn"], 2048);
    assert_eq!(serde_json::from_value::<ModelConfig>(config).unwrap(), ModelConfig::default());

    let table = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut table = serde_json::to_value(ModelTable::default()).unwrap();
        change(table.as_object_mut().unwrap());
        serde_json::from_value::<ModelTable>(table).map_err(|error| error.to_string())
    };
    let options = ["dropout", "layer_drop", "checkpoint", "saved_activations", "compute"];
    assert_eq!(
        table(&|keys| assert!(options.iter().all(|key| keys.contains_key(*key)))),
        Ok(ModelTable::default())
    );
    let older = table(&|keys| options.iter().for_each(|key| drop(keys.remove(*key))));
    assert_eq!(older, Ok(ModelTable::default()));
    let f16 = table(&|keys| drop(keys.insert("compute".into(), "f16".into()))).unwrap();
    assert_eq!((f16.model, f16.options.plan.compute), (ModelConfig::default(), crate::exec::Compute::F16));
    let error = table(&|keys| drop(keys.insert("layer".into(), 3.into()))).unwrap_err();
    assert!(error.contains("unknown field `layer`, expected one of"), "{error}");
    assert!(["`layers`", "`causal_chunk`", "`compute`"].iter().all(|key| error.contains(key)), "{error}");
    let error = table(&|keys| drop(keys.remove("d_model"))).unwrap_err();
    assert!(error.contains("missing field `d_model`"), "{error}");
}

#[test]
fn mixers_by_layer() {
    let mixer = |text: &str| parse(&format!("[model]\nlayers = 3\nmixer = {text}")).model.mixer;
    assert_eq!(mixer("'pom'").for_layer(2), MixerKind::Pom);
    assert_eq!(mixer("['pom', 'pom', 'pom']").for_layer(1), MixerKind::Pom);
    let (lower, upper) = (MixerKind::Mamba, MixerKind::Pom);
    let split = MixerSpec::Split { lower, upper, split: 2 };
    assert_eq!([0, 1, 2, 9].map(|layer| split.for_layer(layer)), [lower, lower, upper, upper]);
}

#[test]
fn tokens_are_characters_or_sub_words() {
    let vocabulary = |text: &str, overrides: &[&str]| {
        let recipe = Recipe::parse("r.toml", text, overrides).unwrap();
        // What is written is the same again, as TOML and as JSON.
        assert_eq!(Recipe::parse("r.toml", &recipe.to_toml(), &NONE).unwrap(), recipe);
        assert_eq!(Recipe::from_json(&recipe.to_json()).unwrap(), recipe);
        recipe.finetune.vocabulary
    };
    assert_eq!(vocabulary("", &[]), VocabularySource::English);
    let pieces = "[finetune]\nvocabulary = { pieces = 500 }";
    assert_eq!(vocabulary(pieces, &[]), VocabularySource::Pieces(500));
    assert_eq!(vocabulary("[finetune.vocabulary]\npieces = 7", &[]), VocabularySource::Pieces(7));
    assert_eq!(vocabulary(pieces, &["finetune.vocabulary=transcripts"]), VocabularySource::Transcripts);
    assert_eq!(vocabulary("", &["finetune.vocabulary.pieces=30"]), VocabularySource::Pieces(30));
    let file = ["finetune.vocabulary={ tokenizer = \"a b.model\" }"];
    assert_eq!(vocabulary(pieces, &file), VocabularySource::Tokenizer("a b.model".into()));
    for bad in ["3", "'latin'", "{ pieces = 1.5 }", "{ pieces = 5, tokenizer = 't' }", "{}"] {
        assert_error(
            &format!("\nfinetune.vocabulary = {bad}"),
            &[],
            &["r.toml:2: finetune.vocabulary", "{ pieces = 500 }"],
        );
    }
    assert_error(
        "finetune.vocabulary = { pieces = 1 }",
        &[],
        &["finetune.vocabulary.pieces = 1 is out of range"],
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Recipe::load("/nowhere/r.toml", &NONE).unwrap_err();
    assert!(matches!(error, Error::File { .. }) && error.to_string().contains("/nowhere/r.toml"), "{error}");
}

/// Parameters of front-end and PoM encoder, and of a Linear from them to `classes`.
fn parameters(model: &ModelConfig, classes: usize) -> usize {
    let ModelConfig { d_model: d, ffn, kernel, degree, expand, .. } = *model;
    let [first, second] = model.channels;
    let frontend =
        10 * first + 2 * 40 * first + 9 * first * second + second + 2 * 20 * second + 20 * second * d + d;
    let feed_forward = 2 * d * ffn + ffn + 3 * d;
    let mixer = degree * expand * d * (3 * d + 2) + 3 * d;
    let convolution = 2 * d + 2 * d * (d + 1) + (kernel + 1) * d + 2 * d + d * (d + 1);
    let layer = 2 * feed_forward + 2 * d + mixer + convolution + 2 * d;
    frontend + model.layers * layer + 2 * d + classes * (d + 1)
}

#[test]
fn the_recipes_of_the_project_load() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes");
    let load = |name: &str| Recipe::load(format!("{folder}/{name}.toml"), &NONE).unwrap();
    let [base, large] = ["librispeech-base", "librispeech-large"].map(load);
    let millions = |recipe: &Recipe| parameters(&recipe.model, recipe.pretrain.codes) as f64 / 1e6;
    assert!((millions(&base) - 95.6).abs() < 0.05, "{}", millions(&base));
    assert!((millions(&large) - 315.0).abs() < 0.5, "{}", millions(&large));
    let sub_words = load("librispeech-bpe");
    assert_eq!(sub_words.finetune.vocabulary, VocabularySource::Pieces(500));
    assert_eq!((&sub_words.model, &sub_words.features), (&base.model, &base.features), "one encoder");
    let one_gpu = Recipe::default();
    assert_eq!((&base.model, &base.finetune), (&one_gpu.model, &one_gpu.finetune));
    for recipe in [&base, &large] {
        let Some(BatchSeconds::Given(seconds)) = recipe.pretrain.data.batch_seconds else {
            panic!("seconds")
        };
        assert_eq!(seconds * recipe.pretrain.optimizer.accumulation as f64, 1400.0 * 2.0 * 2.0);
    }
    for small in ["fsdd", "kathleen"].map(load) {
        assert_eq!(parameters(&small.model, 0), 1_215_536);
    }
    load("demo");
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}", setting in "[a-z.]{0,20}=?.{0,20}") {
        let _ = Recipe::parse("r.toml", &text, &[&setting]);
    }

    #[test]
    fn no_damage_to_a_recipe_panics(at in 0_usize..4000, byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = Recipe::default().to_toml().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let _ = Recipe::parse("r.toml", &String::from_utf8_lossy(&bytes), &NONE);
    }

    #[test]
    fn no_number_panics(key in 0_usize..60, value in prop_oneof![any::<i64>().prop_map(|v| v.to_string()), any::<f64>().prop_map(|v| format!("{v:e}"))]) {
        let resolved = Recipe::default().to_toml();
        let lines: Vec<&str> = resolved.lines().collect();
        let mut section = "";
        let mut keys = Vec::new();
        for line in &lines {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            } else if let Some((key, _)) = line.split_once(" = ") {
                keys.push(format!("{section}.{key}"));
            }
        }
        let setting = format!("{}={value}", keys[key % keys.len()]);
        if let Ok(recipe) = Recipe::parse("r.toml", "", &[&setting]) {
            prop_assert_eq!(parse(&recipe.to_toml()), recipe);
        }
    }
}
