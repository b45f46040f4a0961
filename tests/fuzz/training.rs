//! Recipes, and the files of a run.

use polymix::recipe::Recipe;
use polymix::train::{Checkpoint, metrics};
use polymix::weights::{Precision, Weights};
use serde_json::json;

use super::harness::{Target, scratch, text};
use super::models::JSON;

const SHORT: &str = "[model]\nmixer = \"pom\" # a comment\nd_model = 16\nlayers = 1\nchannels = [4, 2]\n[pretrain]\n\
                     steps = 4\n[pretrain.optimizer]\nlr = 1e-3\nschedule = { name = \"noam\", warmup = 4 }\n\
                     [finetune]\nvocabulary = 'transcripts'\n[finetune.data]\nbatch_utterances = 4\n[run]\nseed = 7\n";

#[test]
fn recipe() {
    let mut full = Recipe::parse("r.toml", "", &[""; 0]).unwrap().to_toml();
    full.truncate(full.find("[finetune").unwrap());
    let target = Target {
        name: "recipe",
        seeds: vec![SHORT.as_bytes().to_vec(), full.into_bytes()],
        tokens: &[
            b"[",
            b"]",
            b"{",
            b"}",
            b"=",
            b"\"",
            b"'''",
            b"\n",
            b"#",
            b".",
            b"1e999",
            b"nan",
            b"inf",
            b"-1",
            b"9223372036854775807",
            b"1979-05-27",
            b"true",
            b"[[model]]",
            b"mixer = [\"pom\"]",
            b"{ lower = \"pom\", upper = \"attention\", split = 1 }",
            b"layers = 100000",
            b"steps = 0",
            b"epochs = 3",
            b"\xF0\x9F\x98\x80",
        ],
        parse: &mut |bytes| {
            let text = text(bytes);
            let recipe = Recipe::parse("r.toml", &text, &[""; 0])?;
            // What is accepted is written as something that is accepted.
            let again = Recipe::parse("r.toml", &recipe.to_toml(), &[""; 0])?;
            assert_eq!(again, recipe);
            // As an option of the command line.
            for line in text.lines() {
                let _ = Recipe::parse("r.toml", "", &[line]);
            }
            Ok(text.len())
        },
        share: 4,
    };
    target.run();
}

#[test]
fn checkpoint_state() {
    let folder = scratch();
    let run = folder.path().join("run");
    let mut weights = Weights::default();
    weights.insert("a", [2], vec![1.0, 2.0]).unwrap();
    let at = run.join("checkpoints/4");
    std::fs::create_dir_all(&at).unwrap();
    for name in ["model.safetensors", "optimizer.safetensors"] {
        std::fs::write(at.join(name), weights.serialize(Precision::F32).unwrap()).unwrap();
    }
    let state = json!({
        "step": 4,
        "next": {"epoch": 0, "batch": 4},
        "seed": 1,
        "schedule": {"previous": null, "factors": {"encoder": 1.0, "head": 1.0}},
        "totals": {"loss": 0.0, "count": 0.0, "grad_norm": 0.0, "non_finite": 0.0},
        "since_log": {"steps": 0, "micro_batches": 0, "decisions": 0, "audio_seconds": 0.0},
        "best": 0.5,
        "losses": [1.0, 0.5],
        "preprocessor": {"sampling_rate": 16000, "silence": 0.1, "normalization": "sentence", "padding": "masked"},
    });
    let target = Target {
        name: "checkpoint_state",
        seeds: vec![serde_json::to_vec_pretty(&state).unwrap()],
        tokens: JSON,
        parse: &mut |bytes| {
            std::fs::write(at.join("state.json"), bytes).unwrap();
            Ok(Checkpoint::newest(&run)?.map_or(0, |checkpoint| 8 * checkpoint.values.len()))
        },
        share: 1,
    };
    target.run();
}

#[test]
fn metrics_jsonl() {
    let folder = scratch();
    let path = folder.path().join("metrics.jsonl");
    let lines = concat!(
        r#"{"step":1,"phase":"pretrain","loss":9.0,"accuracy":0.25,"grad_norm":1.5,"lr":0.001,"audio_seconds":6.0,"step_ms":2.5,"gpu_bytes":10}"#,
        "\n",
        r#"{"step":1,"valid_loss":null,"wer":0.5,"cer":0.25}"#,
        "\n"
    );
    let target = Target {
        name: "metrics_jsonl",
        seeds: vec![lines.as_bytes().to_vec()],
        tokens: JSON,
        parse: &mut |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let lines = metrics::read(&path)?;
            metrics::plot_loss(&lines, folder.path().join("loss.svg"))?;
            Ok(lines.len() * size_of::<metrics::Line>())
        },
        share: 4,
    };
    target.run();
}
