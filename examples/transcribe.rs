//! Speech to text by library calls.
//!
//! `cargo run --release --example transcribe -- target/demo/pretrained corpus/digits/flac/7_theo_2.flac`: a
//! MODEL folder (or a RUN, whose best model is taken), then audio files.

use std::path::Path;
use std::sync::Arc;

use pollster::block_on;
use polymix::audio;
use polymix::error::{Error, Result};
use polymix::gpu::{Gpu, Selection};
use polymix::models::{Recognizer, SavedModel};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((model, files)) = arguments.split_first().filter(|(_, files)| !files.is_empty()) else {
        return Err(Error::usage("give a model's folder and audio files"));
    };

    // The folder holds all that recognition needs: architecture, weights, alphabet, how audio is treated.
    let model = SavedModel::load(Path::new(model))?;
    let gpu = Arc::new(block_on(Gpu::new(&Selection::default()))?);
    let mut recognizer = Recognizer::new(gpu, model)?;

    // WAV, FLAC, MP3 or OGG of any rate, as 16 kHz mono.
    let recordings = files.iter().map(audio::read).collect::<Result<Vec<_>>>()?;

    // One call for all: recordings of similar length share a batch, long ones are cut where it is quiet. With
    // `padding = "masked"`, the default, what is recognized in a file does not depend on the others.
    let slices: Vec<&[f32]> = recordings.iter().map(|recording| recording.samples.as_slice()).collect();
    for ((file, recording), recognized) in
        files.iter().zip(&recordings).zip(block_on(recognizer.recognize(&slices))?)
    {
        println!("{file} ({:.2} s): {}", recording.seconds(), recognized.text);
        for word in recognized.words {
            println!("  {:6.2} to {:6.2} s  {:.2}  {}", word.start, word.end, word.confidence, word.word);
        }
    }
    Ok(())
}
