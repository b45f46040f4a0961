//! `polymix convert`: bytes, values, card, and what is refused.

use super::*;

#[test]
fn a_model_in_f16_is_read_as_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let saved = model();
    saved.save(&at("run/best"), Precision::F32, "# A card\n").unwrap();
    for (from, dtype, out) in [("run", "f16", "half"), ("half", "f32", "whole"), ("whole", "f16", "again")] {
        let output = polymix(&["convert", text(&at(from)), "--dtype", dtype, "--out", text(&at(out))]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(dtype), "{output:?}");
    }
    let file = |name: &str| std::fs::read(at(name).join("model.safetensors")).unwrap();
    let tensors = |name: &str| {
        let file = file(name);
        file.len() - 8 - u64::from_le_bytes(file[..8].try_into().unwrap()) as usize
    };
    assert_eq!(2 * tensors("half"), tensors("run/best"));
    assert_eq!(file("half"), file("again"));
    let half = SavedModel::load(&at("half")).unwrap();
    assert_eq!(half.weights, SavedModel::load(&at("whole")).unwrap().weights);
    for (name, _, values) in saved.weights.iter() {
        let f16_values = half.weights.get(name).unwrap().1;
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= (a.abs() * 2.0_f32.powi(-11)).max(3e-8);
        assert!(values.iter().zip(f16_values).all(near), "{name}");
    }
    assert_eq!((half.config, half.preprocessor), (saved.config, saved.preprocessor));
    let card = std::fs::read_to_string(at("again").join("README.md")).unwrap();
    assert!(card.starts_with("# A card\n") && card.matches(" convert ").count() == 3, "{card}");
}

#[test]
fn what_f16_does_not_hold_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut saved = model();
    let (name, shape, mut values) =
        saved.weights.iter().next().map(|(n, s, v)| (n.to_owned(), s.clone(), v.to_vec())).unwrap();
    values[0] = 1e5;
    saved.weights.insert(name.clone(), shape, values).unwrap();
    saved.save(&at("model"), Precision::F32, "").unwrap();
    let convert = |out: &str, dtype: &str| {
        ["convert", text(&at("model")), "--dtype", dtype, "--out", out].map(str::to_owned)
    };
    let refused = |code, out: &str, dtype: &str, parts: &[&str]| {
        let arguments = convert(out, dtype);
        fails(code, &arguments.each_ref().map(String::as_str), parts);
    };
    refused(1, text(&at("out")), "f16", &["model.safetensors", &name, "100000", "f32"]);
    assert!(!at("out").exists() && !at("out.polymix-partial").exists());
    refused(2, text(&at("out")), "f8", &["f8"]);
    std::fs::create_dir(at("taken")).unwrap();
    std::fs::write(at("taken/thesis.tex"), "").unwrap();
    refused(1, text(&at("taken")), "f32", &["thesis.tex"]);
    fails(1, &["convert", text(&at("none")), "--dtype", "f16", "--out", text(&at("out"))], &["none"]);
}
