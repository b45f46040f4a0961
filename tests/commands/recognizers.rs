//! `polymix import` of recognizers that SpeechBrain fine-tuned, compared with SpeechBrain on the same audio.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::*;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// The recipe's values and SpeechBrain's texts.
fn described(name: &str) -> Value {
    serde_json::from_slice(&golden(&format!("speechbrain-{name}.json"))).unwrap()
}

/// A checkpoint in a folder.
struct Checkpoint {
    folder: tempfile::TempDir,
    tokens: PathBuf,
}

impl Checkpoint {
    /// Of the golden recognizer `name`, whose tokens are in a file with this `ending`.
    fn new(name: &str, ending: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, bytes: &[u8]| std::fs::write(folder.path().join(file), bytes).unwrap();
        write("w.safetensors", &golden(&format!("speechbrain-{name}.safetensors")));
        write("h.json", described(name)["values"].to_string().as_bytes());
        write(&format!("tokens{ending}"), &golden(&format!("speechbrain-{name}{ending}")));
        let tokens = folder.path().join(format!("tokens{ending}"));
        Self { folder, tokens }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name)).to_owned()
    }

    /// What imports it to `model`.
    fn command(&self) -> Vec<String> {
        let mut command: Vec<String> = ["import", "speechbrain"].map(str::to_owned).to_vec();
        command.extend([self.path("w.safetensors"), self.path("h.json"), "--out".into(), self.path("model")]);
        command.extend(["--tokens".into(), text(&self.tokens).to_owned()]);
        command
    }

    #[track_caller]
    fn refused(&self, parts: &[&str]) {
        let command = self.command();
        fails(1, &command.iter().map(String::as_str).collect::<Vec<_>>(), parts);
        assert!(!self.folder.path().join("model").exists());
    }
}

#[track_caller]
fn succeeds(command: &[String]) -> String {
    let output = polymix(&command.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn f32s(file: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (view.shape().to_vec(), values)
}

#[test]
fn recognizers_write_what_they_write_in_speechbrain() {
    for (name, ending, kind) in [
        ("characters", ".txt", "13 characters and marks and the blank"),
        ("pieces", ".model", "19 sub-words and the blank"),
    ] {
        let checkpoint = Checkpoint::new(name, ending);
        let told = succeeds(&checkpoint.command());
        assert!(told.contains(kind), "{told}");
        let info = succeeds(&["info".into(), checkpoint.path("model")]);
        assert!(info.contains("three layers of 24") && info.contains("padding = \"reference\""), "{info}");
        if !adapter() {
            continue;
        }
        let audio = golden("speechbrain-audio.safetensors");
        let audio = SafeTensors::deserialize(&audio).unwrap();
        for at in 0..2 {
            let samples = audio.tensor(&at.to_string()).unwrap().data().chunks_exact(2);
            let samples: Vec<f32> =
                samples.map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0).collect();
            wav(Path::new(&checkpoint.path(&format!("{at}.wav"))), &samples);
        }
        let files = [checkpoint.path("0.wav"), checkpoint.path("1.wav")];
        let transcribe = ["transcribe".to_owned(), checkpoint.path("model"), "--json".into()];
        let found: Value = serde_json::from_str(&succeeds(&[&transcribe[..], &files[..]].concat())).unwrap();
        let texts = json!([found[0]["text"], found[1]["text"]]);
        let words = |texts: &Value| {
            let texts = texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap());
            texts.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(words(&texts), words(&described(name)["texts"]));

        let out = checkpoint.path("out.safetensors");
        let encode = ["encode".to_owned(), checkpoint.path("model"), "--out".into(), out.clone()];
        succeeds(&[&encode[..], &files[..]].concat());
        let (ours, theirs) =
            (std::fs::read(out).unwrap(), golden(&format!("speechbrain-{name}-results.safetensors")));
        let (ours, theirs) =
            (SafeTensors::deserialize(&ours).unwrap(), SafeTensors::deserialize(&theirs).unwrap());
        for at in 0..2 {
            let (dims, logits) = f32s(&ours, &format!("{at}.logits"));
            let (shape, expected) = f32s(&theirs, &format!("log_probabilities.{at}"));
            assert_eq!(dims, shape);
            for (row, expected) in logits.chunks_exact(dims[1]).zip(expected.chunks_exact(dims[1])) {
                let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                for (&x, &y) in row.iter().zip(expected) {
                    let difference = f64::from(x) - sum.ln() - f64::from(y);
                    assert!(difference.abs() < 1e-4, "{name} {at}: {difference}");
                }
            }
        }
    }
}

#[test]
fn names_may_be_those_of_modules_or_of_files() {
    let checkpoint = Checkpoint::new("characters", ".txt");
    succeeds(&checkpoint.command());
    let read = |name: &str| std::fs::read(checkpoint.path(name)).unwrap();
    let first = read("model/model.safetensors");
    let weights = Weights::parse(&read("w.safetensors")).unwrap();
    let mut renamed = Weights::default();
    for (name, shape, values) in weights.iter() {
        let name = name
            .replace("pt_model.", "")
            .replace("model.0.", "back_end_ffn.")
            .replace("model.1.", "ctc_lin.");
        renamed.insert(name, shape.clone(), values.to_vec()).unwrap();
    }
    // What pre-training needed may be there or not.
    renamed.insert("quantizer.P", [2], vec![0.0; 2]).unwrap();
    renamed.insert("3.w.bias", [2], vec![0.0; 2]).unwrap();
    std::fs::write(checkpoint.path("w.safetensors"), renamed.serialize(Precision::F32).unwrap()).unwrap();
    // The label encoder is found beside the weights.
    std::fs::rename(&checkpoint.tokens, checkpoint.path("label_encoder.txt")).unwrap();
    succeeds(&checkpoint.command()[..6]);
    assert!(first == read("model/model.safetensors"));
    renamed.insert("2.P", [2], vec![0.0; 2]).unwrap();
    std::fs::write(checkpoint.path("w.safetensors"), renamed.serialize(Precision::F32).unwrap()).unwrap();
    std::fs::remove_dir_all(checkpoint.path("model")).unwrap();
    let checkpoint = Checkpoint { tokens: checkpoint.path("label_encoder.txt").into(), ..checkpoint };
    checkpoint.refused(&["w.safetensors", "2.P", "quantizer.P", "same"]);
}

#[test]
fn tokens_and_values_that_are_of_another_model_are_named() {
    let checkpoint = Checkpoint::new("characters", ".txt");
    let values = described("characters")["values"].clone();
    let set = |key: &str, value: Value| {
        let mut values = values.clone();
        values[key] = value;
        std::fs::write(checkpoint.path("h.json"), values.to_string()).unwrap();
    };
    for (key, value, parts) in [
        ("blank_index", json!(28), ["h.json", "blank_index is 28"]),
        ("output_neurons_ctc", json!(29), ["w.safetensors", "output_neurons_ctc is 29, ctc_lin has 14"]),
        ("dnn_dropout", json!(2.0), ["h.json", "dropout"]),
        ("upsampling", json!(true), ["h.json", "upsampling"]),
        ("dnn_activation", json!("torch.nn.GELU"), ["h.json", "dnn_activation"]),
    ] {
        set(key, value);
        checkpoint.refused(&parts);
    }
    std::fs::write(checkpoint.path("h.json"), values.to_string()).unwrap();
    let tokens = String::from_utf8(golden("speechbrain-characters.txt")).unwrap();
    for (from, to, parts) in [
        ("'D' => 13\n", "", ["w.safetensors", "14 outputs, the label encoder or tokenizer 13 tokens"]),
        ("'D' => 13", "'D' => 12", ["tokens.txt", "line 14"]),
        ("'<blank>' => 0", "'Q' => 0", ["tokens.txt", "blank"]),
    ] {
        std::fs::write(&checkpoint.tokens, tokens.replace(from, to)).unwrap();
        checkpoint.refused(&parts);
    }
    std::fs::write(&checkpoint.tokens, golden("speechbrain-pieces.model")).unwrap();
    checkpoint.refused(&["w.safetensors", "14 outputs", "tokens"]);
    std::fs::remove_file(&checkpoint.tokens).unwrap();
    checkpoint.refused(&["tokens.txt", "cannot be read"]);
    let command = checkpoint.command();
    fails(1, &command[..6].iter().map(String::as_str).collect::<Vec<_>>(), &["w.safetensors", "--tokens"]);
}
