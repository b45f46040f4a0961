//! Recognition does not depend on what else is in the batch, on the rounding of shapes, or on plans made before.

use polymix::audio::Padding;

use crate::{gpu, recognizer, waveform};

#[test]
fn batches_and_plans_do_not_matter() {
    let Some(gpu) = gpu() else { return };
    for padding in [Padding::Masked, Padding::ReferenceFinetune] {
        let waveforms = [waveform(1.0, 1), waveform(0.31, 2), waveform(2.6, 3)];
        let waveforms: Vec<&[f32]> = waveforms.iter().map(Vec::as_slice).collect();
        let mut first = recognizer(gpu.clone(), padding);
        let together = pollster::block_on(first.recognize(&waveforms)).unwrap();
        let mut second = recognizer(gpu.clone(), padding);
        for (one, waveform) in together.iter().zip(&waveforms).rev() {
            let alone = pollster::block_on(second.recognize(&[waveform])).unwrap().remove(0);
            assert_eq!(alone.text, one.text);
            assert!(!alone.text.is_empty());
            for (a, b) in alone.words.iter().zip(&one.words) {
                assert_eq!((a.start, a.end), (b.start, b.end));
                assert!((a.confidence - b.confidence).abs() < 1e-4, "{a:?} {b:?}");
            }
        }
        assert!(pollster::block_on(first.recognize(&[])).unwrap().is_empty());
        assert!(pollster::block_on(first.recognize(&[&[]])).is_err());
        assert!(pollster::block_on(first.recognize(&[&[0.0, f32::NAN]])).is_err());
    }
}

#[test]
fn long_audio_is_the_sum_of_its_parts() {
    let Some(gpu) = gpu() else { return };
    let mut recognizer = recognizer(gpu, Padding::Masked);
    let part = waveform(50.0, 4);
    // One second of silence, in which the long waveform is cut.
    let mut long = [part.as_slice(), &vec![0.0; 16_000], &part].concat();
    long.truncate(75 * 16_000);
    let found = pollster::block_on(recognizer.recognize(&[&long])).unwrap().remove(0);
    let last = found.words.last().expect("words");
    assert!(found.words.is_sorted_by(|a, b| a.start <= b.start) && last.end <= 75.0 && last.end > 60.0);
    let start = found.words.iter().position(|word| word.start >= 50.9).expect("a second window");
    assert!(start > 0);
}
