//! What is measured on an adapter, and that a run keeps the kernels that it began with.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use super::{adapter, command, fails, text};

/// A folder with a cache of its own.
struct Bench(tempfile::TempDir);

impl Bench {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command with this cache. Compiled kernels stay where the driver keeps them.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command();
        if std::env::var_os("MESA_SHADER_CACHE_DIR").is_none() {
            let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
            command.envs(given.or_else(home).map(|folder| ("MESA_SHADER_CACHE_DIR", folder)));
        }
        let output = command.env("XDG_CACHE_HOME", self.at("cache")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// What is kept about the adapters.
    fn findings(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.at("cache/polymix/adapters.json")).unwrap()).unwrap()
    }

    /// Puts down that the kernels of `tuned` were measured to be faster.
    fn tune(&self, tuned: &[(&str, &str)]) {
        let mut findings = self.findings();
        let of = |&(class, kernel): &(&str, &str)| {
            (class.to_owned(), json!({ "kernel": kernel, "reason": "0.100 ms, the other 0.200 ms" }))
        };
        for finding in findings.as_object_mut().unwrap().values_mut() {
            finding["tuned"] = tuned.iter().map(of).collect::<serde_json::Map<_, _>>().into();
        }
        std::fs::write(self.at("cache/polymix/adapters.json"), findings.to_string()).unwrap();
    }
}

#[test]
fn an_adapter_is_tuned_and_a_run_keeps_its_kernels() {
    if !adapter() {
        return;
    }
    fails(2, &["tune-device", "--ops", "copy"], &["no operation copy is measured", "softmax"]);
    let bench = Bench(tempfile::tempdir().unwrap());
    let output = bench.run(&["tune-device", "--ops", "softmax", "--seconds", "60", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["seconds"].as_f64().unwrap() < 60.0, "{report}");
    let classes: Vec<&str> =
        report["measured"].as_array().unwrap().iter().map(|one| one["class"].as_str().unwrap()).collect();
    assert!(classes.contains(&"norm/softmax_vec4"), "{report}");
    let finding = bench.findings().as_object().unwrap().values().next().unwrap().clone();
    assert!(finding["tuned"].is_object(), "{finding}");

    // Kernels that sum the rows of a norm in another order.
    let scalar = [
        ("norm/layer_norm_vec4", "norm/layer_norm_scalar"),
        ("norm/layer_norm_backward_vec4", "norm/layer_norm_backward_scalar"),
    ];
    bench.tune(&scalar);
    let devices = String::from_utf8(bench.run(&["devices"]).stdout).unwrap();
    assert!(devices.contains("takes norm/layer_norm_scalar for norm/layer_norm_vec4: 0.100 ms"), "{devices}");

    let recipe = "[model]\nd_model = 16\nlayers = 1\nffn = 32\nkernel = 3\nchannels = [4, 2]\n[finetune]\nhead = \"linear\"\n\
                  [finetune.data]\nbatch_utterances = 4\nbuckets = 1\n[finetune.augmentation]\nenabled = false\n\
                  [run]\nlog_every = 1\ncheckpoint_every = 2\n";
    std::fs::write(bench.at("r.toml"), recipe).unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/valid.jsonl");
    let train = |run: &str, steps: &str, extra: &[&str]| {
        let (recipe, out, steps) = (bench.at("r.toml"), bench.at(run), format!("finetune.steps={steps}"));
        let [recipe, data, out] = [&recipe, &data, &out].map(|path| text(path));
        let fixed = ["finetune", recipe, "--data", data, "--valid", data, "--out", out, "--set", &steps];
        String::from_utf8(bench.run(&[&fixed[..], extra].concat()).stderr).unwrap()
    };
    let parameters =
        |run: &str| std::fs::read(bench.at(run).join("checkpoints/4/model.safetensors")).unwrap();
    let whole = train("whole", "4", &[]);
    assert!(
        !whole.contains("measured this adapter's kernels"),
        "a software adapter is not tuned by itself: {whole}"
    );
    train("resumed", "4", &["--limit-steps", "2"]);
    bench.run(&["tune-device", "--forget"]);
    assert_eq!(bench.findings().as_object().unwrap().values().next().unwrap()["tuned"], json!({}));
    let said = train("resumed", "4", &["--resume"]);
    assert!(
        said.contains(
            "keeps the kernels that it began with on this adapter (norm/layer_norm_backward_scalar for"
        ),
        "{said}"
    );
    assert!(said.contains("not those that were measured since (the rules' own)"), "{said}");
    assert!(parameters("resumed") == parameters("whole"), "a resumed run computed other bits");
    // The same the other way round: a run that began by the rules keeps to them.
    train("rules", "4", &["--no-tune", "--limit-steps", "2"]);
    bench.tune(&scalar);
    let said = train("rules", "4", &["--resume"]);
    assert!(said.contains("keeps the kernels that it began with on this adapter (the rules' own)"), "{said}");
    assert!(
        parameters("rules") != parameters("whole"),
        "these kernels compute the same bits, and show nothing"
    );
    bench.run(&["tune-device", "--forget"]);
    train("unbroken", "4", &[]);
    assert!(parameters("unbroken") == parameters("rules"), "a resumed run computed other bits");
}
