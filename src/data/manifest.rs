//! Corpora: the utterances of all sources.

use std::path::Path;

use super::sources::{self, Found};
use crate::audio::{Channel, Recording};
use crate::error::{Error, Remedy, Result};
use crate::recipe::Target;

/// One recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// The audio.
    pub audio: Recording,
    /// Seconds, where the manifest tells; of the part, where the audio is one.
    pub duration: Option<f64>,
    /// Whether the duration is the file's own word, which need not be read once more.
    pub measured: bool,
    /// The text, where the manifest has it, in the form of [`compose`](crate::text::compose).
    pub text: Option<String>,
    /// Who speaks, where the manifest tells.
    pub speaker: Option<String>,
    /// To which class it belongs, where the manifest tells.
    pub label: Option<String>,
    /// Where this was read: `manifest:line`, or the folder or archive.
    pub origin: String,
}

impl Utterance {
    /// A recording of which nothing else is known.
    pub fn new(audio: Recording, origin: String) -> Self {
        Self { audio, duration: None, measured: false, text: None, speaker: None, label: None, origin }
    }
}

/// A list of recordings, in an order that depends on the sources alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Corpus {
    /// The recordings.
    pub utterances: Vec<Utterance>,
}

impl Corpus {
    /// Reads every source in turn: manifests of NeMo, lhotse, SpeechBrain and Common Voice, WebDataset archives,
    /// parquet tables (with the feature of that name), Kaldi folders, LibriSpeech trees, folders of audio
    /// (searched in depth, sorted by name), single audio files. What belongs together (archives of a NeMo
    /// manifest, lhotse's recordings and supervisions) may be given in any order.
    ///
    /// # Errors
    /// When a source cannot be read, holds nothing, or lacks a field; the message names file and line.
    pub fn load<P: AsRef<Path>>(sources: &[P]) -> Result<Self> {
        let (corpus, _) = Self::read(sources, Found::default())?;
        if corpus.utterances.is_empty() {
            return Err(Error::usage("there is no data").advise(Remedy::NameData));
        }
        Ok(corpus)
    }

    /// Reads every source as [`Corpus::load`] does, but goes on after lines and sources that are wrong, and
    /// gives the errors beside what could be read.
    ///
    /// # Errors
    /// When sources do not fit each other.
    pub fn read_with_errors<P: AsRef<Path>>(sources: &[P]) -> Result<(Self, Vec<Error>)> {
        Self::read(sources, Found::keeping_errors())
    }

    /// Reads `bytes` as [`Corpus::load`] would read a file named `name`.
    ///
    /// # Errors
    /// As for [`Corpus::load`].
    pub fn from_bytes(name: &Path, bytes: &[u8]) -> Result<Self> {
        let mut found = Found::default();
        sources::load_bytes(name, bytes, &mut found)?;
        Ok(Self { utterances: found.utterances })
    }

    fn read<P: AsRef<Path>>(sources: &[P], mut found: Found) -> Result<(Self, Vec<Error>)> {
        let sources: Vec<&Path> = sources.iter().map(AsRef::as_ref).collect();
        sources::load(&sources, &mut found)?;
        found.notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok((Self { utterances: found.utterances }, found.broken))
    }

    /// Takes `channel` of every recording, over what the sources say, if one is given.
    pub fn choose_channel(&mut self, channel: Option<Channel>) {
        if let Some(channel) = channel {
            self.utterances.iter_mut().for_each(|utterance| utterance.audio.channel = channel);
        }
    }

    /// Puts the class of every recording, which is what the manifest says of its `target` (of a speaker that
    /// it does not name, the label), in the place of its text: what there is to be told of it.
    ///
    /// # Errors
    /// When a recording has none; the message names the manifest's line.
    pub fn tell(&mut self, target: Target) -> Result<()> {
        for utterance in &mut self.utterances {
            let told = match target {
                Target::Label => utterance.label.as_deref(),
                Target::Speaker => utterance.speaker.as_deref().or(utterance.label.as_deref()),
                Target::Text => utterance.text.as_deref(),
            };
            let Some(told) = told.map(str::trim).filter(|told| !told.is_empty()) else {
                let name = target.name();
                return Err(Error::file(
                    &utterance.origin,
                    format!(
                        "has no field `{name}`, which tells the class of a recording; add it to every line, or take \
                         another field for that (in a recipe finetune.target)"
                    ),
                ));
            };
            utterance.text = Some(told.to_owned());
        }
        Ok(())
    }

    /// The transcripts, in order.
    ///
    /// # Errors
    /// When a recording has none; the message names the manifest's line.
    pub fn texts(&self) -> Result<Vec<&str>> {
        let missing = |utterance: &Utterance| {
            let message = "has no field `text`; labeled data needs a transcript of every recording";
            Error::file(&utterance.origin, message)
        };
        self.utterances
            .iter()
            .map(|utterance| utterance.text.as_deref().ok_or_else(|| missing(utterance)))
            .collect()
    }
}
