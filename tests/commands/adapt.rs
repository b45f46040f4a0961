//! `polymix adapt`.

use std::fs;

use polymix::models::{ModelKind, SavedModel};
use polymix::weights::Precision;

use super::{adapter, fails, model, polymix, text, wav};

#[test]
fn takes_make_a_model_with_the_letters_that_were_missing() {
    if !adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let saved = model();
    saved.save(&at("model"), Precision::F32, "# A card\n").unwrap();
    let mut lines = String::new();
    for take in 0..4 {
        let tone = |at: usize| 0.2 * (0.1 * (1 + take % 2) as f32 * at as f32).sin();
        wav(&at(&format!("{take}.wav")), &(0..6000).map(tone).collect::<Vec<_>>());
        let said = ["oui", "où"][take % 2];
        lines += &format!("{{\"audio_filepath\": \"{take}.wav\", \"text\": \"{said}\"}}\n");
    }
    lines += "{\"audio_filepath\": \"absent.wav\", \"text\": \"oui\"}\n";
    fs::write(at("takes.jsonl"), lines).unwrap();
    let (model, takes, out) = (at("model"), at("takes.jsonl"), at("out"));
    let arguments =
        ["--quiet", "adapt", text(&model), "--data", text(&takes), "--out", text(&out), "--steps", "4"];
    let output = polymix(&[&arguments[..], &["--layers", "1", "--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("absent.wav"), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["losses"].as_array().unwrap().len(), 4);
    assert_eq!(report["held_out"].as_array().unwrap().len(), 2);
    assert_eq!((&report["utterances"], report["left_out"].as_array().unwrap().len()), (&4.into(), 1));
    let (better, written) = (report["better"].as_bool().unwrap(), SavedModel::load(&out).unwrap());
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    let ModelKind::Ctc(head) = &written.config.kind else { panic!("no head") };
    // Drawn weights recognize nothing, so that a few steps lower the loss.
    assert!(better && report["after"]["loss"].as_f64() < report["before"]["loss"].as_f64(), "{report}");
    assert_eq!((head.vocabulary, written.vocabulary.as_ref().unwrap().token(29)), (30, Some("ù")));
    assert!(card.starts_with("# A card") && card.contains("Adapted by `polymix"), "{card}");
    assert_eq!(SavedModel::load(&model).unwrap().weights, saved.weights);

    // The same takes as classes.
    let labeled = fs::read_to_string(&takes).unwrap().replace("\"text\"", "\"label\"");
    fs::write(at("labels.jsonl"), labeled).unwrap();
    let (labels, classes) = (at("labels.jsonl"), at("classes"));
    let arguments = ["--quiet", "adapt", text(&model), "--data", text(&labels), "--out", text(&classes)];
    let output =
        polymix(&[&arguments[..], &["--labels", "--layers", "head", "--steps", "20", "--json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let losses = report["losses"].as_array().unwrap();
    assert!(losses[19].as_f64() < losses[0].as_f64(), "{report}");
    let written = SavedModel::load(&classes).unwrap();
    let head = written.config.kind.utterance().unwrap();
    assert_eq!(head.labels, ["oui", "où"]);
    assert!(written.vocabulary.is_none());

    fails(
        1,
        &["adapt", text(&model), "--data", text(&takes), "--out", text(&at("other")), "--labels"],
        &["has no field `label`"],
    );
    fails(
        1,
        &["adapt", text(&model), "--data", text(&takes), "--out", text(&at("other")), "--layers", "2"],
        &["the model has 1"],
    );
    fails(
        1,
        &["adapt", text(&model), "--data", text(&takes), "--out", text(folder.path())],
        &["which is of no model"],
    );
    fails(
        1,
        &["adapt", text(&model), "--data", text(&takes), "--out", text(&at("other")), "--strict"],
        &["absent.wav"],
    );
    fails(
        2,
        &["adapt", text(&model), "--data", text(&takes), "--out", text(&at("other")), "--layers", "some"],
        &["give head, all"],
    );
    fails(
        2,
        &["adapt", text(&model), "--data", text(&takes), "--out", text(&at("other")), "--steps", "0"],
        &["--steps"],
    );
    assert!(!at("other").exists());
}
