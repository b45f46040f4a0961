//! `polymix encode`: names, shapes, padding, bad files.

use super::*;

/// The file that `encode` writes.
fn encode(model: &Path, audio: &[&Path], extra: &[&str]) -> Weights {
    let out = model.with_extension("safetensors");
    let mut arguments = vec!["encode", text(model), "--out", text(&out), "--quiet"];
    arguments.extend(audio.iter().map(|path| text(path)));
    let output = polymix(&[&arguments, extra].concat());
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    Weights::parse(&std::fs::read(out).unwrap()).unwrap()
}

/// Largest difference of two tensors of one shape.
#[track_caller]
fn distance(a: &Weights, b: &Weights, [from, to]: [&str; 2], tensor: &str) -> f32 {
    let (one, other) = (format!("{from}.{tensor}"), format!("{to}.{tensor}"));
    let ((shape, a), (other_shape, b)) = (a.get(&one).expect(&one), b.get(&other).expect(&other));
    assert_eq!(shape, other_shape, "{tensor}");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn files_have_all_tensors_under_their_stems() {
    if !adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    model().save(&at("ctc"), Precision::F32, "").unwrap();
    import::pretrained("pom").save(&at("pretrained"), Precision::F32, "").unwrap();
    std::fs::create_dir(at("other")).unwrap();
    let (a, b, c) = (at("a.wav"), at("b.x.wav"), at("other").join("a.wav"));
    for (path, seconds) in [(&a, 0.7), (&b, 0.33), (&c, 1.0)] {
        wav(path, &tone(seconds));
    }

    // 0.1 s of silence at both ends: 91 and 54 frames, in fours 23 and 14.
    let found = encode(&at("ctc"), &[&a, &b, &c], &["--batch", "2"]);
    let shape = |name: &str| found.get(name).unwrap_or_else(|| panic!("{name}")).0.dims().to_vec();
    for (stem, frames, time) in [("a", 91, 23), ("b.x", 54, 14), ("a#2", 121, 31)] {
        assert_eq!(shape(&format!("{stem}.features")), [frames, BANDS]);
        for tensor in ["frontend", "layer.0", "encoder"] {
            assert_eq!(shape(&format!("{stem}.{tensor}")), [time, 8]);
        }
        assert_eq!(shape(&format!("{stem}.logits")), [time, 29]);
    }
    assert_eq!(found.len(), 3 * 5);
    assert!(found.iter().all(|(.., values)| values.iter().all(|x| x.is_finite())));

    // Masked padding: the same alone.
    for (path, stem) in [(&a, "a"), (&b, "b.x"), (&c, "a#2")] {
        let alone = encode(&at("ctc"), &[path], &[]);
        let own = stem.trim_end_matches("#2");
        assert_eq!(distance(&alone, &found, [own, stem], "features"), 0.0);
        for tensor in ["frontend", "layer.0", "encoder", "logits"] {
            assert!(distance(&alone, &found, [own, stem], tensor) < 1e-5, "{stem} {tensor}");
        }
    }

    // Reference padding: padded frames leak into a shorter utterance, unless the command says otherwise.
    let pretrained = at("pretrained");
    let both = encode(&pretrained, &[&a, &b], &["--batch", "2"]);
    let alone = encode(&pretrained, &[&b], &[]);
    assert_eq!(both.get("b.x.features").unwrap().0.dims(), [34, BANDS]);
    // 33.98/71 of the 18 frames of the batch.
    assert_eq!(both.get("b.x.logits").unwrap().0.dims(), [8, 10]);
    assert_eq!(alone.get("b.x.logits").unwrap().0.dims(), [9, 10]);
    let both = encode(&pretrained, &[&a, &b], &["--batch", "2", "--padding", "masked"]);
    let alone = encode(&pretrained, &[&b], &["--padding", "masked"]);
    for tensor in ["frontend", "layer.0", "layer.1", "encoder", "logits"] {
        assert!(distance(&both, &alone, ["b.x"; 2], tensor) < 1e-5, "{tensor}");
    }
    let reference = encode(&at("ctc"), &[&a, &b], &["--batch", "2", "--padding", "reference"]);
    assert!(distance(&reference, &found, ["b.x"; 2], "encoder") > 1e-3);
}

#[test]
fn bad_audio_and_bad_places_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    model().save(&at("model"), Precision::F32, "").unwrap();
    let (model, good, bad, out) = (at("model"), at("good.wav"), at("bad.wav"), at("o.safetensors"));
    wav(&good, &tone(0.3));
    fails(2, &["encode", text(&model), text(&good)], &["--out"]);
    fails(2, &["encode", text(&model), "--out", text(&out)], &["<AUDIO>"]);
    let fixed = ["encode", text(&model), text(&good), "--out", text(&out)];
    fails(2, &[&fixed[..], &["--batch", "0"]].concat(), &["--batch"]);
    fails(2, &[&fixed[..], &["--padding", "causal"]].concat(), &["--padding"]);
    if !adapter() {
        return;
    }
    // A bad file is named, and the others are written; with --strict, or where all are bad, nothing is.
    let mut waveform = tone(0.3);
    waveform[100] = f32::NAN;
    wav(&bad, &waveform);
    let encode = |audio: &[&Path], out: &Path, extra: &[&str], parts: &[&str]| {
        let mut arguments = vec!["encode", text(&model), "--out", text(out)];
        arguments.extend(audio.iter().map(|path| text(path)));
        fails(1, &[&arguments, extra].concat(), parts);
        assert!(!at("o.safetensors.polymix-partial").exists());
        out.is_file()
    };
    assert!(!encode(&[&bad, &good], &out, &["--strict"], &["bad.wav", "sample 100"]));
    assert!(!encode(&[&bad], &out, &[], &["bad.wav", "sample 100"]));
    assert!(encode(&[&bad, &good], &out, &["--batch", "2"], &["bad.wav", "sample 100"]));
    let found = Weights::parse(&std::fs::read(&out).unwrap()).unwrap();
    assert!(found.len() == 5 && found.get("good.logits").is_some());
    assert!(!encode(&[&good], folder.path(), &[], &["is a folder"]));

    // A manifest's recordings have the names of their files.
    let manifest = at("m.jsonl");
    let rows = ["good.wav", "absent.wav"].map(|name| format!("{{\"audio_filepath\": \"{name}\"}}\n"));
    std::fs::write(&manifest, rows.concat()).unwrap();
    assert!(encode(&[&manifest, &good], &out, &[], &["absent.wav", "m.jsonl:2"]));
    let found = Weights::parse(&std::fs::read(&out).unwrap()).unwrap();
    assert!(found.len() == 10 && found.get("good#2.logits").is_some());
}
