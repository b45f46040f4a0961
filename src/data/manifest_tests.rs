use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn manifest(folder: &TempDir, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, text).expect("a temporary file");
    path
}

fn failure(path: &Path) -> String {
    Corpus::load(&[path]).expect_err("a bad manifest").to_string()
}

#[test]
fn json_lines_are_read() {
    let folder = TempDir::new().expect("a folder");
    let text = "\u{feff}{\"audio_filepath\": \"a/b.wav\", \"duration\": 1.5, \"text\": \"one\", \"speaker\": 7, \"x\": []}\n\n\
                {\"audio_filepath\": \"/c.flac\", \"offset\": 0}\n";
    let corpus = Corpus::load(&[manifest(&folder, "m.jsonl", text.as_bytes())]).expect("a manifest");
    let [first, second] = &corpus.utterances[..] else { panic!("two lines") };
    assert_eq!(first.audio, Recording::file(folder.path().join("a/b.wav")));
    assert_eq!(
        (first.duration, first.text.as_deref(), first.speaker.as_deref()),
        (Some(1.5), Some("one"), Some("7"))
    );
    assert_eq!(
        (second.audio.path(), second.duration, &second.text),
        (Some(Path::new("/c.flac")), None, &None)
    );
    let message = corpus.texts().expect_err("one has no text").to_string();
    assert!(message.contains("m.jsonl:3") && message.contains("`text`"), "{message}");
}

#[test]
fn bad_lines_are_named_with_their_field() {
    let folder = TempDir::new().expect("a folder");
    for (line, field) in [
        ("{\"duration\": 1}", "`audio_filepath`"),
        ("{\"audio_filepath\": 3}", "`audio_filepath`"),
        ("{\"audio_filepath\": \"a\", \"duration\": \"long\"}", "`duration`"),
        ("{\"audio_filepath\": \"a\", \"duration\": -1}", "`duration`"),
        ("{\"audio_filepath\": \"a\", \"text\": 1}", "`text`"),
        ("{\"audio_filepath\": \"a\", \"offset\": 2.5}", "`offset`"),
        ("[1]", "JSON object"),
        ("{", "JSON object"),
    ] {
        let text = format!("{{\"audio_filepath\": \"ok.wav\"}}\n{line}\n");
        let message = failure(&manifest(&folder, "m.jsonl", text.as_bytes()));
        assert!(message.contains("m.jsonl:2:") && message.contains(field), "{message}");
    }
    assert!(failure(&manifest(&folder, "m.jsonl", b"{}\xff")).contains("m.jsonl:1: is not UTF-8"));
    assert!(failure(&manifest(&folder, "empty.jsonl", b"\n")).contains("no recording"));
    assert!(failure(&folder.path().join("absent.jsonl")).contains("cannot be read"));
    assert!(failure(&folder.path().join("absent")).contains("does not exist"));
    assert!(failure(&manifest(&folder, "notes.txt", b"x")).contains("no source of data"));
    assert!(Corpus::load::<&Path>(&[]).is_err());
}

#[test]
fn csv_is_read() {
    let folder = TempDir::new().expect("a folder");
    let text = "ID,duration,wav,spk_id,wrd\na,1.5,$data_root/x/a.wav,s1,\"HELLO, \"\"YOU\"\"\"\nb,2,{root}/b.wav,,\n";
    let corpus = Corpus::load(&[manifest(&folder, "m.csv", text.as_bytes())]).expect("a manifest");
    let [first, second] = &corpus.utterances[..] else { panic!("two rows") };
    assert_eq!(first.audio, Recording::file(folder.path().join("x/a.wav")));
    assert_eq!((first.text.as_deref(), first.speaker.as_deref()), (Some("HELLO, \"YOU\""), Some("s1")));
    assert_eq!(
        (second.audio.path(), second.duration, &second.speaker),
        (Some(folder.path().join("b.wav").as_path()), Some(2.0), &None)
    );
    for (row, line, field) in [
        ("c,1,c.wav,s", 2, "`wrd`"),
        ("c,1", 2, "`wav`"),
        ("c,long,c.wav,s,x", 2, "`duration`"),
        ("c,1,,s,x", 2, "`wav`"),
        ("c,1,c.wav,s,x,y", 2, "6 fields"),
        ("c,1,c.wav,s,\"x", 2, "quote"),
    ] {
        let text = format!("ID,duration,wav,spk_id,wrd\n{row}\n");
        let message = failure(&manifest(&folder, "m.csv", text.as_bytes()));
        assert!(message.contains(&format!("m.csv:{line}:")) && message.contains(field), "{message}");
    }
    assert!(failure(&manifest(&folder, "m.csv", b"ID,text\n1,2\n")).contains("m.csv:1: has no column `wav`"));
    assert!(failure(&manifest(&folder, "m.csv", b"ID,wav\n")).contains("no recording"));
}

#[test]
fn trees_and_folders_are_read_in_order() {
    let folder = TempDir::new().expect("a folder");
    manifest(&folder, "plain/b/2.wav", b"");
    manifest(&folder, "plain/a.OGG", b"");
    manifest(&folder, "plain/b/1.flac", b"");
    manifest(&folder, "plain/readme.txt", b"");
    let corpus = Corpus::load(&[folder.path().join("plain")]).expect("a folder");
    let names: Vec<_> = corpus
        .utterances
        .iter()
        .map(|u| u.audio.path().expect("a file").file_name().expect("a name"))
        .collect();
    assert_eq!(names, ["a.OGG", "1.flac", "2.wav"]);

    manifest(&folder, "ls/84/121/84-121.trans.txt", b"84-121-0000 GO DO\n84-121-0001 NO\n");
    manifest(&folder, "ls/84/121/84-121-0000.flac", b"");
    let message = failure(&folder.path().join("ls"));
    assert!(message.contains("84-121.trans.txt:2:") && message.contains("84-121-0001"), "{message}");
    manifest(&folder, "ls/84/121/84-121-0001.flac", b"");
    let corpus = Corpus::load(&[folder.path().join("ls")]).expect("a tree");
    assert_eq!(corpus.texts().expect("all texts"), ["GO DO", "NO"]);
    assert_eq!(corpus.utterances[1].speaker.as_deref(), Some("84"));
    std::fs::create_dir(folder.path().join("none")).expect("a folder");
    assert!(failure(&folder.path().join("none")).contains("no recording"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn parsers_never_panic(text in "(?s).{0,200}", noise in "[{}\\[\\]\":,a-e0-9\"\n\r .\\-]{0,120}") {
        for text in [&text, &noise] {
            let path = Path::new("m");
            let _ = json_lines(path, text);
            let _ = speechbrain_csv(path, text);
            let _ = speechbrain_csv(path, &format!("ID,wav,duration\n{text}"));
            let _ = librispeech(path, text, |_| true);
        }
    }

    #[test]
    fn json_values_of_any_kind_never_panic(key in "audio_filepath|duration|text|speaker|offset", value in "[0-9eE.\\-]{1,12}|null|true|\\[\\]|\"\"") {
        let _ = json_lines(Path::new("m"), &format!("{{\"audio_filepath\": \"a\", \"{key}\": {value}}}"));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let folder = TempDir::new().expect("a folder");
        let _ = Corpus::load(&[manifest(&folder, "m.jsonl", &bytes)]);
        let _ = Corpus::load(&[manifest(&folder, "m.csv", &bytes)]);
    }
}
