//! `polymix align`

use std::path::Path;

use pollster::block_on;
use serde::Serialize;

use super::adapter::Device;
use super::arguments::{Align, AlignFormat, Global};
use super::evaluate::recognizer;
use super::output::{Failures, note, print, print_json};
use super::sources::{Ahead, about, gather};
use crate::decode::Alphabet;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::models::SavedModel;
use crate::text::{Outside, Vocabulary, Word, cues, srt, textgrid, vtt};

/// The output of `--format json`.
#[derive(Debug, Serialize)]
struct Aligned {
    audio_filepath: String,
    text: String,
    words: Vec<Word>,
    /// Logarithm of the probability of the best path that says the text.
    score: f64,
    audio_seconds: f64,
}

/// Finds the times of words whose text is known.
pub(super) fn run(command: &Align, global: &Global) -> Result<()> {
    global.note_without_recipe("align");
    let model = SavedModel::load(&command.model)?;
    let said = said(&command.text)?;
    let mut failures = Failures::new(true);
    let utterances = gather(std::slice::from_ref(&command.audio), command.channel, &mut failures)?;
    let [utterance] = &utterances[..] else {
        let (audio, count) = (command.audio.display(), utterances.len());
        return Err(Error::usage(format!("{audio} holds {count} recordings; give one audio file")));
    };
    let mut ahead = Ahead::start(vec![utterance.audio.clone()])?;
    let read = ahead.next().map_or(Err(Error::Interrupted), |(_, read)| read);
    let audio = read.map_err(|error| about(utterance, error))?;

    let device = Device::open(global)?;
    let mut recognizer = recognizer(&device, model, &command.model)?;
    let vocabulary = recognizer.vocabulary().clone();
    // What the model cannot write has no time of its own, but the words around it have.
    let outside = Outside::of(&vocabulary, [&said]);
    if outside.utterances > 0 && !global.quiet {
        note(format!("the model cannot write {}, which is left out of the words", outside.describe()));
    }
    let mut ids = Vec::new();
    let mut words = Vec::new();
    for word in said.split_whitespace() {
        let written = outside.strip(word);
        if written.is_empty() {
            let message = format!("the model cannot write any of {word:?}; spell it as it is said");
            return Err(Error::invalid(message));
        }
        ids.push(vocabulary.encode(&written)?);
        words.push(word.to_owned());
    }
    if words.is_empty() {
        return Err(Error::invalid("the text holds no word; give what is said in the audio"));
    }
    let alphabet = Alphabet::of(&vocabulary)?;
    let tokens = ids.iter().flatten().copied().chain(alphabet.space()).chain([Vocabulary::BLANK]);
    recognizer.keep_tokens(tokens.collect());
    let output = block_on(recognizer.forward(&[&audio.samples], &mut |_| Ok(())))?;
    let output = output.into_iter().next().unwrap_or_default();
    let (words, score) = output.align(&alphabet, &words, &ids).map_err(|error| about(utterance, error))?;
    match command.format {
        AlignFormat::Json => print_json(&Aligned {
            audio_filepath: utterance.audio.to_string(),
            text: said.split_whitespace().collect::<Vec<_>>().join(" "),
            words,
            score,
            audio_seconds: audio.seconds(),
        }),
        AlignFormat::Textgrid => print(textgrid(&words, audio.seconds())),
        AlignFormat::Srt => print(srt(&cues(&words))),
        AlignFormat::Vtt => print(vtt(&cues(&words))),
    }
}

/// The text that was given, or that of the file of this name.
fn said(given: &str) -> Result<String> {
    let path = Path::new(given);
    if path.is_file() {
        return read_text(path);
    }
    Ok(given.to_owned())
}
