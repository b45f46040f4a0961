//! Fine-tuning on sub-words: trained on the texts, or given.

use serde_json::Value;

use super::*;

/// Recordings of the project's corpus, and what a run on them is started with.
struct Corpus {
    folder: tempfile::TempDir,
}

impl Corpus {
    fn new() -> Self {
        Self::saying(&[])
    }

    /// With these texts in place of those of the first recordings.
    fn saying(texts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let lines = std::fs::read_to_string(corpus.join("train.jsonl")).unwrap();
        let line = |(number, line): (usize, &str)| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line["audio_filepath"] = text(&corpus.join(line["audio_filepath"].as_str().unwrap())).into();
            if let Some(&text) = texts.get(number) {
                line["text"] = text.into();
            }
            line.to_string()
        };
        let count = if texts.is_empty() { 12 } else { texts.len() };
        let some: Vec<String> = lines.lines().take(count).enumerate().map(line).collect();
        std::fs::write(folder.path().join("d.jsonl"), some.join("\n")).unwrap();
        std::fs::write(folder.path().join("r.toml"), RECIPE).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name)).to_owned()
    }

    /// `finetune` to `out` with this vocabulary and more options.
    fn finetune(&self, out: &str, vocabulary: &str, more: &[&str]) -> Vec<String> {
        let (data, set) = (self.path("d.jsonl"), format!("finetune.vocabulary={vocabulary}"));
        let mut command = vec!["finetune".to_owned(), self.path("r.toml"), "--out".into(), self.path(out)];
        command.extend(["--data".into(), data.clone(), "--valid".into(), data, "--set".into(), set]);
        command.extend(more.iter().map(|&part| part.to_owned()));
        command
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

fn run(command: &[String]) -> Output {
    polymix(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
fn refused(code: i32, command: &[String], parts: &[&str]) {
    fails(code, &command.iter().map(String::as_str).collect::<Vec<_>>(), parts);
}

#[test]
fn a_run_makes_sub_words_and_goes_on_with_them() {
    if !adapter() {
        return;
    }
    let corpus = Corpus::new();
    for out in ["a", "b"] {
        let output = run(&corpus.finetune(out, "{ pieces = 30 }", &["--set", "finetune.steps=2"]));
        assert!(output.status.success(), "{output:?}");
    }
    // The same texts, the same sub-words; and `tokenizer.json` has their ids.
    for file in ["vocab.json", "tokenizer.json"] {
        assert_eq!(corpus.read(&format!("a/last/{file}")), corpus.read(&format!("b/last/{file}")));
    }
    let vocabulary: Value = serde_json::from_str(&corpus.read("a/last/vocab.json")).unwrap();
    let tokenizer: Value = serde_json::from_str(&corpus.read("a/last/tokenizer.json")).unwrap();
    assert_eq!(vocabulary.as_object().unwrap().len(), 31);
    assert_eq!(vocabulary, tokenizer["model"]["vocab"]);
    let info = run(&["info".into(), corpus.path("a")]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("30 sub-words (BPE)"), "{info:?}");

    // A run keeps them: by its own recipe, whatever the texts are now.
    let more = ["--set", "finetune.steps=3", "--resume"];
    let output = run(&corpus.finetune("a", "{ pieces = 30 }", &more));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(corpus.read("a/last/vocab.json"), corpus.read("b/last/vocab.json"));
    refused(
        2,
        &corpus.finetune("a", "{ pieces = 31 }", &more),
        &["finetune.vocabulary.pieces = 31 (was 30)"],
    );
    refused(2, &corpus.finetune("a", "english", &more), &["finetune.vocabulary = \"english\""]);

    // A model keeps them, and says which were asked for.
    let init = corpus.path("a/last");
    let output = run(&corpus.finetune("c", "english", &["--init", &init]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(corpus.read("a/last/tokenizer.json"), corpus.read("c/last/tokenizer.json"));
    let parts = ["finetune.vocabulary.pieces = 20", "30 sub-words", "finetune.new_head"];
    refused(2, &corpus.finetune("d", "{ pieces = 20 }", &["--init", &init]), &parts);
    let anew = ["--init", &init, "--set", "finetune.new_head=true"];
    let output = run(&corpus.finetune("d", "{ pieces = 28 }", &anew));
    assert!(output.status.success(), "{output:?}");

    // Words are words, whatever they are written with.
    let evaluate =
        ["evaluate", &corpus.path("a"), "--data", &corpus.path("d.jsonl"), "--json"].map(str::to_owned);
    let output = run(&evaluate);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outside_vocabulary"]["utterances"], 0);
    assert!(!report["results"].to_string().contains('▁'), "{report}");
    let output = run(&[
        "convert".into(),
        corpus.path("a"),
        "--dtype".into(),
        "f16".into(),
        "--out".into(),
        corpus.path("h"),
    ]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(corpus.read("a/last/tokenizer.json"), corpus.read("h/tokenizer.json"));

    // A tokenizer's file, with its ids.
    let file = corpus.path("a/last/tokenizer.json");
    let given = format!("{{ tokenizer = {file:?} }}");
    let output = run(&corpus.finetune("e", &given, &[]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(vocabulary, serde_json::from_str::<Value>(&corpus.read("e/last/vocab.json")).unwrap());
    std::fs::copy(corpus.path("d/last/tokenizer.json"), corpus.path("other.json")).unwrap();
    let other = format!("{{ tokenizer = {:?} }}", corpus.path("other.json"));
    let parts = ["finetune.vocabulary.tokenizer", "28 sub-words", "30 sub-words", "token 29 is none"];
    refused(2, &corpus.finetune("f", &other, &["--init", &init]), &parts);
}

#[test]
fn tokenizers_that_do_not_do_are_named() {
    if !adapter() {
        return;
    }
    let corpus = Corpus::new();
    let given = |file: &str| format!("{{ tokenizer = {:?} }}", corpus.path(file));
    refused(1, &corpus.finetune("a", &given("none.json"), &[]), &["none.json", "cannot be read"]);
    for (bytes, part) in [
        (&b"{}"[..], "tokenizer.json"),
        (b"nothing", "SentencePiece"),
        (br#"{"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {}}}"#, "ByteLevel"),
        // It lacks every letter.
        (
            br#"{"pre_tokenizer": {"type": "Metaspace"}, "model": {"type": "BPE", "vocab": {"\u2581": 0}, "merges": []}}"#,
            "characters outside the vocabulary of 1",
        ),
    ] {
        std::fs::write(corpus.path("t.json"), bytes).unwrap();
        let place = if part.starts_with("characters") { "d.jsonl:1" } else { "t.json" };
        refused(1, &corpus.finetune("a", &given("t.json"), &[]), &[place, part]);
    }
    refused(1, &corpus.finetune("a", "{ pieces = 3 }", &[]), &["3 sub-words are too few"]);
    refused(2, &corpus.finetune("a", "{ pieces = 0 }", &[]), &["finetune.vocabulary.pieces = 0"]);
    refused(2, &corpus.finetune("a", "{ piece = 9 }", &[]), &["finetune.vocabulary", "{ pieces = 500 }"]);
    assert!(!Path::new(&corpus.path("a/checkpoints")).exists());
}

#[test]
fn a_recipe_takes_a_tokenizer_and_names_texts_with_more_sub_words_than_frames() {
    if !adapter() {
        return;
    }
    // The first recording has 0.6 s; its text is the words of twenty sub-words, which differ from their neighbors.
    let long = ["cat mat"; 10].join(" ");
    let corpus = Corpus::saying(&[&long, "that mat has no hat", "the cat", "the hat sat"]);
    let recipe = |file: &str| {
        let vocabulary = format!("[finetune]\nvocabulary = {{ tokenizer = {file:?} }}\n");
        let recipe = RECIPE.replace("[finetune]\n", &vocabulary).replace("utterances = 1", "utterances = 4");
        std::fs::write(corpus.path("r.toml"), recipe).unwrap();
    };
    let finetune = |out: &str| {
        let (data, recipe, out) = (corpus.path("d.jsonl"), corpus.path("r.toml"), corpus.path(out));
        let output = polymix(&["finetune", &recipe, "--data", &data, "--valid", &data, "--out", &out]);
        assert!(output.status.success(), "{output:?}");
        output
    };
    recipe(&format!("{}/tests/golden/speechbrain-pieces.model", env!("CARGO_MANIFEST_DIR")));
    let output = finetune("sentencepiece");
    let stderr = String::from_utf8_lossy(&output.stderr);
    for what in ["training", "validation"] {
        let named = stderr.lines().find(|line| line.contains(&format!("left out of {what}: ")));
        let named = named.unwrap_or_else(|| panic!("{stderr}"));
        for part in [".flac: its text needs 20 encoder frames of 40 ms, and it has 16", "d.jsonl:1)"] {
            assert!(named.contains(part), "{named} lacks {part}");
        }
        assert_eq!(stderr.matches(&format!("left out of {what}: ")).count(), 1, "{stderr}");
    }
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("of 3 utterances; left out: 1 with a text too long for the audio"), "{table}");
    let info = run(&["info".into(), corpus.path("sentencepiece")]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("20 sub-words (unigram)"), "{info:?}");
    let vocabulary: Value = serde_json::from_str(&corpus.read("sentencepiece/last/vocab.json")).unwrap();
    // The blank goes before the pieces of the file.
    assert_eq!((&vocabulary["<blank>"], &vocabulary["▁CAT"]), (&0.into(), &9.into()));

    // The same tokens from the `tokenizer.json` that the run wrote: the same training.
    recipe(&corpus.path("sentencepiece/last/tokenizer.json"));
    finetune("tokenizer");
    for file in ["vocab.json", "tokenizer.json", "model.safetensors"] {
        let read = |run: &str| std::fs::read(corpus.path(&format!("{run}/last/{file}"))).unwrap();
        assert!(read("sentencepiece") == read("tokenizer"), "{file} differs");
    }
}

#[test]
fn validation_decodes_as_the_recipe_says() {
    if !adapter() {
        return;
    }
    let corpus = Corpus::new();
    // A word is worth more than any frame takes, so that the text depends on the decoder.
    std::fs::write(corpus.path("words.txt"), "zz\n").unwrap();
    let lm = corpus.path("lm");
    let words = corpus.path("words.txt");
    let output = polymix(&["lm", "train", &words, "--order", "2", "--out", &lm]);
    assert!(output.status.success(), "{output:?}");
    let settings = |beam: usize| {
        format!(
            "finetune.decoder={{ decoder = \"beam\", beam = {beam}, lm = {lm:?}, token_prune = -30.0, beam_prune = -1e5, alpha = 0.0, beta = 1e3, unknown = 0.0 }}"
        )
    };
    let errors = |out: &str| -> Vec<f64> {
        let lines = corpus.read(&format!("{out}/metrics.jsonl"));
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["wer"].as_f64()).collect()
    };
    let output = run(&corpus.finetune("greedy", "english", &[]));
    assert!(output.status.success(), "{output:?}");
    let output = run(&corpus.finetune("beam", "english", &["--set", &settings(20)]));
    assert!(output.status.success(), "{output:?}");
    let (greedy, beam) = (errors("greedy"), errors("beam"));
    assert_eq!((greedy.len(), beam.len()), (1, 1));
    assert!(greedy[0] <= 1.5 && beam[0] > 3.0, "{greedy:?} {beam:?}");
    let card = corpus.read("beam/best/README.md");
    assert!(card.contains("by beam search with a language model"), "{card}");

    // What `evaluate` finds with the same settings is the same.
    let (model, data) = (corpus.path("beam/best"), corpus.path("d.jsonl"));
    let mut command = vec!["evaluate", &model, "--data", &data, "--json", "--lm", &lm, "--beam", "20"];
    command.extend(["--token-prune", "-30", "--beam-prune", "-100000", "--alpha", "0", "--beta", "1000"]);
    command.extend(["--unknown", "0"]);
    let output = polymix(&command);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["wer"].as_f64().unwrap(), beam[0]);

    let more = ["--resume", "--set", "finetune.steps=2", "--set", &settings(21)];
    refused(2, &corpus.finetune("beam", "english", &more), &["finetune.decoder.beam = 21 (was 20)"]);
    refused(
        2,
        &corpus.finetune("x", "english", &["--set", &settings(0)]),
        &["finetune.decoder", "beam is 0"],
    );
    std::fs::remove_file(&lm).unwrap();
    refused(1, &corpus.finetune("x", "english", &["--set", &settings(20)]), &["lm", "cannot be read"]);
}
