//! Settings of decoders: `decoder.json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The kinds of decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The most probable token of each frame.
    #[default]
    Greedy,
    /// The best of many texts.
    Beam,
}

/// Settings of a decoder: the keys of a MODEL's `decoder.json`. Logarithms are natural.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Greedy or beam search.
    pub decoder: Kind,
    /// Texts that are kept after each frame.
    pub beam: usize,
    /// Texts whose score is that far below the best one's are dropped; 0 or less.
    pub beam_prune: f64,
    /// Tokens with a log-probability below this are not looked at, but the best one of the frame; 0 or less.
    pub token_prune: f64,
    /// Whether of texts that end alike, as far as the language model sees, only the best is kept.
    pub prune_history: bool,
    /// Weight of the language model.
    pub alpha: f64,
    /// Added for each word, with a language model.
    pub beta: f64,
    /// Added, as log10 and times α, for a word that is not known, and as it is while such a word is begun.
    pub unknown: f64,
    /// Whether the language model scores the text as a sentence, from `<s>` to `</s>`.
    pub score_boundary: bool,
    /// Added for each hot word that has no weight of its own.
    pub hot_word_weight: f64,
    /// The language model, relative to the folder of `decoder.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lm: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            decoder: Kind::Greedy,
            beam: 200,
            beam_prune: -10.0,
            token_prune: -5.0,
            prune_history: false,
            alpha: 0.8,
            beta: 1.2,
            unknown: -10.0,
            score_boundary: true,
            hot_word_weight: 10.0,
            lm: None,
        }
    }
}

impl Settings {
    /// The name of the file.
    pub const FILE: &str = "decoder.json";

    /// The largest beam.
    pub const WIDEST: usize = 65_536;

    /// Reads the text of a `decoder.json`; keys that are not there have their defaults.
    ///
    /// # Errors
    /// When it is no JSON, a key is unknown, or a value is out of range.
    pub fn from_json(json: &str) -> Result<Self> {
        let settings: Self = serde_json::from_str(json)
            .map_err(|error| Error::invalid(format!("not the settings of a decoder: {error}")))?;
        settings.validate()?;
        Ok(settings)
    }

    /// Reads the `decoder.json` of a MODEL folder, if there is one. The path of the language model is the one to open.
    ///
    /// # Errors
    /// Names the file where it cannot be read or understood.
    #[cfg(feature = "cli")]
    pub fn of_model(folder: &std::path::Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE);
        if !crate::files::is_file(&path)? {
            return Ok(None);
        }
        let json = crate::files::read_text(&path)?;
        let mut settings = Self::from_json(&json).map_err(|error| Error::file(&path, error.to_string()))?;
        settings.lm = settings.lm.map(|lm| folder.join(lm));
        Ok(Some(settings))
    }

    /// Writes them as the `decoder.json` of a MODEL folder. A language model inside it is named from there, another by its
    /// whole path.
    ///
    /// # Errors
    /// When the language model is not there, or the file cannot be written.
    #[cfg(feature = "cli")]
    pub fn save(&self, folder: &std::path::Path) -> Result<()> {
        let whole = |path: &std::path::Path| {
            path.canonicalize().map_err(|error| crate::files::unreadable(path, &error))
        };
        let mut settings = self.clone();
        if let Some(lm) = &self.lm {
            let (lm, folder) = (whole(lm)?, whole(folder)?);
            settings.lm = Some(lm.strip_prefix(&folder).map_or(lm.clone(), std::path::Path::to_path_buf));
        }
        crate::files::write_whole(&folder.join(Self::FILE), (settings.to_json()? + "\n").as_bytes())
    }

    /// The text of a `decoder.json`.
    ///
    /// # Errors
    /// When the language model's path is no Unicode.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::invalid(error.to_string()))
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the first value that is out of range.
    pub fn validate(&self) -> Result<()> {
        if !(1..=Self::WIDEST).contains(&self.beam) {
            let message = format!("beam is {}; give a whole number from 1 to {}", self.beam, Self::WIDEST);
            return Err(Error::invalid(message));
        }
        let ranges = [
            ("beam_prune", self.beam_prune, -1e6, 0.0),
            ("token_prune", self.token_prune, -1e6, 0.0),
            ("alpha", self.alpha, 0.0, 1e3),
            ("beta", self.beta, -1e3, 1e3),
            ("unknown", self.unknown, -1e3, 1e3),
            ("hot_word_weight", self.hot_word_weight, -1e3, 1e3),
        ];
        match ranges.into_iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
            Some((name, value, low, high)) => {
                Err(Error::invalid(format!("{name} is {value}; give a number from {low} to {high}")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_and_defaults_are_the_published_ones() {
        let json = r#"{"decoder": "beam", "beam": 100, "alpha": 0.5, "lm": "lm.bin"}"#;
        let settings = Settings::from_json(json).unwrap();
        let expected = Settings {
            decoder: Kind::Beam,
            beam: 100,
            alpha: 0.5,
            lm: Some("lm.bin".into()),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        assert_eq!(Settings::from_json(&settings.to_json().unwrap()).unwrap(), settings);
        let default = Settings::from_json("{}").unwrap();
        assert_eq!((default.decoder, default.beam, default.beta, default.lm), (Kind::Greedy, 200, 1.2, None));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (json, part) in [
            ("", "EOF"),
            ("[1", "line 1"),
            (r#"{"beams": 3}"#, "unknown field `beams`"),
            (r#"{"decoder": "best"}"#, "unknown variant `best`"),
            (r#"{"beam": 0}"#, "beam is 0"),
            (r#"{"beam": 1e9}"#, "1000000000"),
            (r#"{"beam": -3}"#, "-3"),
            (r#"{"beam_prune": 1}"#, "beam_prune is 1"),
            (r#"{"token_prune": 0.5}"#, "token_prune is 0.5"),
            (r#"{"alpha": -1}"#, "alpha is -1"),
            (r#"{"unknown": 1e300}"#, "unknown is"),
            (r#"{"alpha": 1e999}"#, "number out of range"),
            (r#"{"lm": 3}"#, "string"),
        ] {
            let message = Settings::from_json(json).unwrap_err().to_string();
            assert!(message.contains(part), "{json}: {message}");
        }
    }
}
