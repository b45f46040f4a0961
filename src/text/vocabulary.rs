//! The alphabet of a CTC model.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::normalize::decompose;
use super::{compose, normalize};
use crate::error::{Error, Result};

/// The alphabet of a CTC model: token 0 is the blank, every other token is one character, composed
/// (see [`compose`]).
///
/// As JSON it is an object from token to id, in the order of the ids; a list of tokens is read too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    ids: BTreeMap<char, u32>,
}

impl Vocabulary {
    /// Id of the CTC blank.
    pub const BLANK: u32 = 0;
    /// How the blank is written in `vocab.json`; any text at id 0 is understood.
    pub const BLANK_TOKEN: &str = "<blank>";

    /// The 29 tokens of the paper's fine-tuning: blank, 26 letters, apostrophe, space.
    pub fn english() -> Self {
        Self::from_characters(('a'..='z').chain(['\'', ' ']))
    }

    /// The characters that occur in `transcripts` (see [`normalize`]), in the order of their code points.
    ///
    /// # Errors
    /// When the transcripts hold no character at all.
    pub fn from_transcripts<S: AsRef<str>>(transcripts: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut characters = BTreeSet::new();
        for transcript in transcripts {
            characters.extend(normalize(transcript.as_ref()).chars());
        }
        if characters.is_empty() {
            return Err(Error::invalid(
                "the transcripts hold no character to make a vocabulary of; give labelled data whose text is not empty",
            ));
        }
        Ok(Self::from_characters(characters))
    }

    /// The blank, then `characters`, which must differ from each other.
    fn from_characters(characters: impl IntoIterator<Item = char>) -> Self {
        let (mut tokens, mut ids) = (vec![Self::BLANK_TOKEN.to_owned()], BTreeMap::new());
        for (character, id) in characters.into_iter().zip(1..) {
            tokens.push(character.to_string());
            ids.insert(character, id);
        }
        Self { tokens, ids }
    }

    /// Number of tokens, the blank included: the width of the model's last layer.
    #[expect(clippy::len_without_is_empty, reason = "the blank is always there")]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token of `id`, if there is one.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The ids of `text` in the form of [`normalize`]. A character that the vocabulary has in parts alone (a
    /// letter and its accent as two tokens) is written in these.
    ///
    /// # Errors
    /// Names the first character that the vocabulary lacks, and the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len());
        for character in normalize(text).chars() {
            if let Some(&id) = self.ids.get(&character) {
                ids.push(id);
                continue;
            }
            let parts: Option<Vec<u32>> =
                decompose(character).map(|part| self.ids.get(&part).copied()).collect();
            ids.extend(parts.ok_or_else(|| {
                Error::invalid(format!(
                    "{character:?} in the text {text:?} is not in the vocabulary of {} characters; \
                     correct the text, or train with finetune.vocabulary = \"transcripts\"",
                    self.ids.len()
                ))
            })?);
        }
        Ok(ids)
    }

    /// Whether [`Vocabulary::encode`] can write `character`, whole or in its parts.
    pub fn writes(&self, character: char) -> bool {
        self.ids.contains_key(&character) || decompose(character).all(|part| self.ids.contains_key(&part))
    }

    /// The text of `ids`, composed; blanks, and ids that are no token, write nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let text: String =
            ids.iter().filter(|&&id| id != Self::BLANK).filter_map(|&id| self.token(id)).collect();
        compose(&text)
    }

    /// Reads the text of a `vocab.json`.
    ///
    /// # Errors
    /// When it is not JSON of one of the two forms, ids have gaps, or a token is no single character.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::invalid(format!("not a vocabulary: {error}")))
    }

    /// The text of a `vocab.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .unwrap_or_else(|_| unreachable!("strings and numbers are always JSON"))
    }
}

impl TryFrom<Vec<String>> for Vocabulary {
    type Error = String;

    fn try_from(mut tokens: Vec<String>) -> Result<Self, String> {
        if tokens.len() < 2 {
            return Err("a vocabulary holds the blank as id 0 and at least one character".to_owned());
        }
        let mut ids = BTreeMap::new();
        for (token, id) in tokens.iter_mut().zip(0..).skip(1) {
            *token = compose(token);
            let mut characters = token.chars();
            let (Some(character), None) = (characters.next(), characters.next()) else {
                return Err(format!("token {id}, {token:?}, must be one character"));
            };
            if ids.insert(character, id).is_some() {
                return Err(format!("token {id}, {token:?}, is there twice"));
            }
        }
        Ok(Self { tokens, ids })
    }
}

impl Serialize for Vocabulary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.tokens.iter().zip(0_u32..))
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Tokens::deserialize(deserializer)?.0).map_err(serde::de::Error::custom)
    }
}

/// The tokens of a `vocab.json` in the order of their ids: an object from token to id, or a list.
#[derive(Debug)]
pub(crate) struct Tokens(pub Vec<String>);

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an object from token to id, or a list of tokens")]
        enum Form {
            Ids(BTreeMap<String, usize>),
            Tokens(Vec<String>),
        }
        let ids = match Form::deserialize(deserializer)? {
            Form::Tokens(tokens) => return Ok(Self(tokens)),
            Form::Ids(ids) => ids,
        };
        let mut tokens = vec![None; ids.len()];
        for (token, id) in ids {
            let Some(place @ None) = tokens.get_mut(id) else {
                return Err(serde::de::Error::custom(format!(
                    "the id {id} of {token:?} is taken or leaves a gap; ids count from 0 without gaps"
                )));
            };
            *place = Some(token);
        }
        Ok(Self(tokens.into_iter().flatten().collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn english_is_the_papers_29() {
        let vocabulary = Vocabulary::english();
        assert_eq!(vocabulary.len(), 29);
        assert_eq!(vocabulary.encode("Az' ").unwrap(), [1, 26, 27]);
        assert_eq!(vocabulary.encode("  IT'S\tA ").unwrap(), [9, 20, 27, 19, 28, 1]);
        assert_eq!(vocabulary.decode(&[9, 0, 20, 28, 999, 1]), "it a");
        assert!(vocabulary.encode("").unwrap().is_empty());
    }

    #[test]
    fn a_foreign_character_is_named() {
        let error = Vocabulary::english().encode("Café").unwrap_err().to_string();
        assert!(error.contains("'é'") && error.contains("\"Café\""), "{error}");
    }

    #[test]
    fn transcripts_make_a_sorted_alphabet() {
        let vocabulary = Vocabulary::from_transcripts(["Ça va", "où"]).unwrap();
        let tokens: Vec<_> = (0..vocabulary.len() as u32).filter_map(|id| vocabulary.token(id)).collect();
        assert_eq!(tokens, ["<blank>", " ", "a", "o", "v", "ç", "ù"]);
        assert_eq!(vocabulary.decode(&vocabulary.encode("ÇA  VA").unwrap()), "ça va");
        assert!(Vocabulary::from_transcripts(["  ", ""]).is_err());
    }

    #[test]
    fn composed_and_decomposed_characters_are_the_same() {
        // "é" and "ö" as one code point each, and as a letter with its accent.
        let (composed, decomposed) = ("caf\u{e9} \u{f6}", "cafe\u{301} o\u{308}");
        let vocabulary = Vocabulary::from_transcripts([decomposed]).unwrap();
        assert_eq!(vocabulary, Vocabulary::from_transcripts([composed]).unwrap());
        assert_eq!(vocabulary.len(), 1 + 6);
        assert_eq!(vocabulary.encode(composed).unwrap(), vocabulary.encode(decomposed).unwrap());
        assert_eq!(vocabulary.decode(&vocabulary.encode(decomposed).unwrap()), composed);
        let json = Vocabulary::from_json("[\"\", \"e\u{301}\", \"o\"]").unwrap();
        assert_eq!(json.encode("\u{c9}o").unwrap(), [1, 2]);
        assert!(Vocabulary::from_json("[\"\", \"e\u{301}\", \"\u{e9}\"]").is_err(), "the same twice");
        // The accent of an alphabet whose letters do not compose with it is a token of its own.
        let parts = Vocabulary::from_json("[\"\", \"e\", \"\u{301}\"]").unwrap();
        assert_eq!(parts.encode("\u{e9}").unwrap(), [1, 2]);
        assert_eq!(parts.decode(&[1, 2]), "\u{e9}");
    }

    #[test]
    fn json_keeps_order_and_reads_both_forms() {
        let vocabulary = Vocabulary::from_transcripts(["\"quoted\" ü"]).unwrap();
        assert_eq!(Vocabulary::from_json(&vocabulary.to_json()).unwrap(), vocabulary);
        let list = Vocabulary::from_json(r#"["<pad>", "b", "a"]"#).unwrap();
        assert_eq!(list, Vocabulary::from_json(r#"{"a": 2, "<pad>": 0, "b": 1}"#).unwrap());
        assert!(list.to_json().find("\"b\"") < list.to_json().find("\"a\""));
    }

    #[test]
    fn bad_json_is_an_error() {
        let bad =
            ["", "{}", "[]", r#"{"a":0,"b":2}"#, r#"{"x":0,"b":1,"c":1}"#, r#"["","ab"]"#, r#"["","a","a"]"#];
        for json in bad.into_iter().chain([r#"{"a":-1}"#, r#"{"":0,"a":1e99}"#, "3"]) {
            assert!(Vocabulary::from_json(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}", json in r#"[\[\]{}",:0-9a-z <>-]{0,40}"#) {
            let _ = Vocabulary::from_json(&text);
            let _ = Vocabulary::from_json(&json);
            let _ = Vocabulary::english().encode(&text);
            if let Ok(vocabulary) = Vocabulary::from_transcripts([&text]) {
                let ids = vocabulary.encode(&text).unwrap();
                prop_assert_eq!(vocabulary.decode(&ids), normalize(&text));
                prop_assert_eq!(Vocabulary::from_json(&vocabulary.to_json()).unwrap(), vocabulary);
            }
        }
    }
}
