//! `polymix transcribe`: the text, in which form, and what of it survives.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;

use super::*;

/// A folder with a model and clips.
fn clips() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    talkative().save(&at("model"), Precision::F32, "").unwrap();
    std::fs::create_dir(at("clips")).unwrap();
    for (name, seconds) in [("a.wav", 0.5), ("b.wav", 0.7)] {
        wav(&at("clips").join(name), &tone(seconds));
    }
    let row = |name| format!("{{\"audio_filepath\": \"clips/{name}\", \"text\": \"x\"}}\n");
    std::fs::write(at("m.jsonl"), ["a.wav", "absent.wav", "b.wav"].map(row).concat()).unwrap();
    folder
}

/// A model that writes something, since its predictions change from frame to frame.
pub(super) fn talkative() -> SavedModel {
    let mut model = model();
    let mut weights = Weights::default();
    for (name, shape, values) in model.weights.iter() {
        let scale = if name.starts_with("head.") { 20.0 } else { 1.0 };
        weights.insert(name, shape.clone(), values.iter().map(|x| x * scale).collect()).unwrap();
    }
    model.weights = weights;
    model
}

fn names(json: &Value) -> Vec<String> {
    let name = |one: &Value| one["audio_filepath"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    json.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn manifests_folders_and_files_given_twice() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    let (model, clip) = (at("model"), at("clips").join("a.wav"));
    let sources = [at("m.jsonl"), at("clips"), clip.clone(), clip, at("nowhere.jsonl")];
    let mut arguments = vec!["transcribe", text(&model), "--json", "--quiet"];
    arguments.extend(sources.iter().map(|source| text(source)));
    let output = polymix(&arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(names(&json), ["a.wav", "b.wav", "a.wav", "b.wav", "a.wav", "a.wav"]);
    assert_eq!(json[1]["audio_seconds"], 0.7);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 2, "{stderr}");
    assert!(
        errors.iter().any(|error| error.contains("absent.wav") && error.contains("m.jsonl:2")),
        "{stderr}"
    );
    assert!(errors.iter().any(|error| error.contains("nowhere.jsonl")), "{stderr}");

    // With --strict the first bad one ends the command, and the document is whole all the same.
    let output = polymix(&["transcribe", text(&model), text(&sources[0]), "--json", "--strict", "--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(serde_json::from_slice::<Value>(&output.stdout).unwrap().is_array());
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent.wav"));
}

#[test]
fn subtitles_are_of_one_recording_or_a_file_each() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    let (model, clips, out) = (at("model"), at("clips"), at("out/deep"));
    let transcribe = |source: &Path, format: &str| {
        let output = polymix(&["transcribe", text(&model), text(source), "--format", format, "--quiet"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let clip = clips.join("a.wav");
    let json: Value = serde_json::from_str(&transcribe(&clip, "json")).unwrap();
    let found = json[0]["text"].as_str().unwrap();
    assert!(!found.is_empty());
    assert_eq!(transcribe(&clip, "txt"), format!("{}\t{found}\n", text(&clip)));
    assert!(transcribe(&clip, "vtt").starts_with("WEBVTT\n\n00:00:00."));

    let several = ["transcribe", text(&model), text(&clips), "--format"];
    fails(2, &[&several[..], &["srt"]].concat(), &["--out DIR", "2"]);
    fails(2, &[&several[..], &["txt", "--json"]].concat(), &["--json"]);
    let output = polymix(&[&several[..], &["srt", "--out", text(&out), "--quiet"]].concat());
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let mut files: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["a.srt", "b.srt"]);
    let subtitles = std::fs::read_to_string(out.join("a.srt")).unwrap();
    assert!(subtitles.starts_with("1\n00:00:00,"), "{subtitles}");
    let shown: Vec<&str> = subtitles.lines().skip(2).flat_map(str::split_whitespace).collect();
    assert!(found.starts_with(shown[0]), "{shown:?} {found}");
}

/// The first recording's words are out before the second, which a pipe holds back, has come; when the command is
/// stopped then, what it wrote is a document.
#[cfg(unix)]
#[test]
fn results_survive_a_stop() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let (model, clip) = (folder.path().join("model"), folder.path().join("clips/a.wav"));
    let pipe = folder.path().join("pipe.wav");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = command();
    command.args(["transcribe", text(&model), text(&clip), text(&pipe), text(&clip), "--json", "--quiet"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut document = String::new();
    while !document.contains("audio_seconds") {
        document.push_str(&lines.next().unwrap());
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    document.extend(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopped"), "{output:?}");
    assert_eq!(names(&serde_json::from_str(&document).unwrap()), ["a.wav"]);
}

/// Of a process that is killed, every line is a whole result behind `[` or `,`.
#[cfg(unix)]
#[test]
fn results_survive_a_kill() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let (model, clip) = (folder.path().join("model"), folder.path().join("clips/a.wav"));
    let pipe = folder.path().join("pipe.wav");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = command();
    let sources = [text(&clip), text(&clip), text(&pipe)];
    command.args(["transcribe", text(&model)]).args(sources).args(["--json", "--quiet"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Vec<String> = lines.by_ref().take(2).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines.next(), None);
    for (line, begin) in first.iter().zip(['[', ',']) {
        let item: Value = serde_json::from_str(line.strip_prefix(begin).unwrap()).unwrap();
        assert_eq!(names(&serde_json::json!([item])), ["a.wav"]);
    }
}

/// A name that is no UTF-8 costs no result.
#[cfg(target_os = "linux")]
#[test]
fn any_name_is_transcribed() {
    use std::os::unix::ffi::OsStrExt;
    if !adapter() {
        return;
    }
    let folder = clips();
    let clip = folder.path().join("clips/a.wav");
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"n\xe9.dat"));
    std::fs::copy(&clip, &odd).unwrap();
    let mut command = command();
    command
        .arg("transcribe")
        .arg(folder.path().join("model"))
        .arg(&clip)
        .arg(&odd)
        .args(["--json", "--quiet"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(names(&json), ["a.wav", "n\u{fffd}.dat"]);
    assert_eq!(json[0]["text"], json[1]["text"]);
}

#[test]
fn logs_say_more_when_asked() {
    let folder = clips();
    let run = |level: &str, arguments: &[&str]| {
        let output = command().env("POLYMIX_LOG", level).args(arguments).arg("--quiet").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (model, clip) = (folder.path().join("model"), folder.path().join("clips/a.wav"));
    let info = ["info", text(&model)];
    assert_eq!(run("", &info), "");
    let bad = run("loud", &info);
    assert!(bad.lines().count() == 1 && bad.contains("POLYMIX_LOG=loud") && bad.contains("debug"), "{bad}");
    if !adapter() {
        return;
    }
    let debug = run("debug", &["transcribe", text(&model), text(&clip)]);
    for part in ["opened ", "compiled the plan", "a.wav", "batch"] {
        assert!(debug.contains(part), "{part}: {debug}");
    }
}

#[test]
fn standard_input_is_a_recording() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let (model, clip) = (folder.path().join("model"), folder.path().join("clips/a.wav"));
    let bytes = std::fs::read(&clip).unwrap();
    let names = if cfg!(target_os = "linux") { &["-", "/dev/stdin"][..] } else { &["-"] };
    for name in names {
        let mut command = command();
        command.args(["transcribe", text(&model), name, "--json", "--quiet"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json[0]["audio_seconds"], 0.5);
    }
}

/// A microphone that stays open: a sentence is printed as soon as it is over.
#[test]
fn a_microphone_yields_sentences_while_it_is_open() {
    if !adapter() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = command();
    command.args(["transcribe", text(&root.join("web/model")), "-", "--stream", "--endpoint", "--quiet"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut microphone = child.stdin.take().unwrap();
    let (sender, sentences) = std::sync::mpsc::channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let reader = std::thread::spawn(move || lines.for_each(|line| sender.send(line).unwrap()));

    let word = polymix::audio::read(root.join("corpus/digits/flac/7_jackson_2.flac")).unwrap().samples;
    let pcm = |samples: &[f32]| -> Vec<u8> {
        samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect()
    };
    let header = b"RIFF\xFF\xFF\xFF\xFFWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3E\0\0\0\x7D\0\0\x02\0\x10\0data\xFF\xFF\xFF\xFF";
    microphone.write_all(header).unwrap();
    let quiet = pcm(&[0.0; 48_000]);
    for _ in 0..2 {
        microphone.write_all(&[pcm(&word), quiet.clone()].concat()).unwrap();
        microphone.flush().unwrap();
        let line = sentences.recv_timeout(std::time::Duration::from_secs(300)).expect("a sentence");
        assert!(line.starts_with("standard input\t") && line.ends_with("\tseven"), "{line}");
    }
    drop(microphone);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
    assert_eq!(sentences.try_recv().ok(), None);
}
