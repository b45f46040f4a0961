//! The tokens of a CTC model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::normalize::decompose;
use super::pieces::{BOUNDARY, Pieces, is_mark};
use super::{compose, normalize};
use crate::error::{Error, Result};

/// The tokens of a CTC model: token 0 is the blank. Every other one is a character, composed (see [`compose`]), or, where
/// any begins with `▁`, a sub-word; those with `▁` begin a word. Marks such as `<unk>` are in no text.
///
/// As JSON it is an object from token to id, in the order of the ids; a list of tokens is read too. How texts become
/// sub-words is not part of that: see [`Vocabulary::with_pieces`].
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    spelling: Spelling,
    /// Whether its letters are capital ones alone.
    capitals: bool,
}

/// How texts become tokens.
#[derive(Debug, Clone, PartialEq)]
enum Spelling {
    Characters(BTreeMap<char, u32>),
    /// Without the tokenizer, tokens become texts alone.
    Pieces(Option<Arc<Pieces>>),
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
                "the transcripts hold no character to make a vocabulary of; give labeled data whose text is not empty",
            ));
        }
        Ok(Self::from_characters(characters))
    }

    /// The sub-words of a tokenizer.
    ///
    /// # Errors
    /// When its tokens are no vocabulary.
    pub fn from_pieces(pieces: Pieces) -> Result<Self> {
        Self::try_from(pieces.tokens().to_vec()).map_err(Error::invalid)?.with_pieces(pieces)
    }

    /// The same sub-words with the tokenizer that makes them of texts.
    ///
    /// # Errors
    /// When the tokenizer is one of other tokens; the first is named.
    pub fn with_pieces(self, pieces: Pieces) -> Result<Self> {
        let (ours, theirs) = (&self.tokens, pieces.tokens());
        // The blank may be written in any way.
        let same = |id: usize| id == 0 || ours.get(id) == theirs.get(id);
        match (0..ours.len().max(theirs.len())).find(|&id| !same(id)) {
            None => Ok(Self { spelling: Spelling::Pieces(Some(Arc::new(pieces))), ..self }),
            Some(id) => {
                let token =
                    |tokens: &[String]| tokens.get(id).map_or("none".to_owned(), |t| format!("{t:?}"));
                Err(Error::invalid(format!(
                    "token {id} of the tokenizer is {}, of the vocabulary {}; give the model's own",
                    token(theirs),
                    token(ours)
                )))
            }
        }
    }

    /// The same tokens and, behind them, `characters`, which must be new.
    ///
    /// # Errors
    /// When tokens are sub-words.
    pub fn with_characters(self, characters: &[char]) -> Result<Self> {
        if self.has_pieces() {
            let named: Vec<String> = characters.iter().map(|character| format!("{character:?}")).collect();
            return Err(Error::invalid(format!(
                "the vocabulary is of sub-words, none of which has {}; give texts without, or a model of characters",
                named.join(", ")
            )));
        }
        let mut tokens = self.tokens;
        tokens.extend(characters.iter().map(char::to_string));
        Self::try_from(tokens).map_err(Error::invalid)
    }

    /// The tokenizer of sub-words, where it is known.
    pub fn pieces(&self) -> Option<&Pieces> {
        match &self.spelling {
            Spelling::Pieces(pieces) => pieces.as_deref(),
            Spelling::Characters(_) => None,
        }
    }

    /// Whether tokens are sub-words.
    pub fn has_pieces(&self) -> bool {
        matches!(self.spelling, Spelling::Pieces(_))
    }

    /// The blank, then `characters`, which must differ from each other.
    fn from_characters(characters: impl IntoIterator<Item = char>) -> Self {
        let (mut tokens, mut ids) = (vec![Self::BLANK_TOKEN.to_owned()], BTreeMap::new());
        for (character, id) in characters.into_iter().zip(1..) {
            tokens.push(character.to_string());
            ids.insert(character, id);
        }
        let capitals = capitals(&tokens);
        Self { tokens, spelling: Spelling::Characters(ids), capitals }
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

    /// The text in the form of [`normalize`], in the case of the tokens.
    fn form(&self, text: &str) -> String {
        let text = normalize(text);
        if self.capitals { compose(&text.to_uppercase()) } else { text }
    }

    /// The ids of `text` in the form of [`normalize`]; in capitals, where the vocabulary has no other letters. A character
    /// that the vocabulary has in parts alone (a letter and its accent as two tokens) is written in these.
    ///
    /// # Errors
    /// Names the first character that the vocabulary lacks, and the text; or the tokenizer is not known.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let (ids, foreign) = self.spell(text)?;
        let Some(character) = foreign.first() else { return Ok(ids) };
        Err(Error::invalid(match &self.spelling {
            Spelling::Characters(ids) => format!(
                "{character:?} in the text {text:?} is not in the vocabulary of {} characters; \
                 correct the text, or train with finetune.vocabulary = \"transcripts\"",
                ids.len()
            ),
            Spelling::Pieces(_) => format!(
                "{character:?} in the text {text:?} is in none of the {} sub-words that would write it; correct the \
                 text, or train sub-words on texts that have it",
                self.len() - 1
            ),
        }))
    }

    /// The ids of `text`, and the characters that the vocabulary lacks.
    fn spell(&self, text: &str) -> Result<(Vec<u32>, Vec<char>)> {
        let text = self.form(text);
        let characters = match &self.spelling {
            Spelling::Pieces(Some(pieces)) => return Ok(pieces.encode(&text)),
            Spelling::Pieces(None) => {
                return Err(Error::invalid(
                    "the vocabulary is of sub-words, and nothing tells how texts become them; put the model's \
                     tokenizer.json beside its vocab.json",
                ));
            }
            Spelling::Characters(characters) => characters,
        };
        let (mut ids, mut foreign) = (Vec::with_capacity(text.len()), Vec::new());
        for character in text.chars() {
            if let Some(&id) = characters.get(&character) {
                ids.push(id);
                continue;
            }
            let parts: Option<Vec<u32>> =
                decompose(character).map(|part| characters.get(&part).copied()).collect();
            match parts {
                Some(parts) => ids.extend(parts),
                None => foreign.push(character),
            }
        }
        Ok((ids, foreign))
    }

    /// The characters of `text`, in the form of [`normalize`], that the vocabulary lacks.
    ///
    /// # Errors
    /// When the tokenizer of sub-words is not known.
    pub fn lacking(&self, text: &str) -> Result<BTreeSet<char>> {
        Ok(self.spell(text)?.1.into_iter().collect())
    }

    /// Whether a token writes `character`, whole or in its parts.
    pub fn writes(&self, character: char) -> bool {
        match &self.spelling {
            Spelling::Characters(ids) => {
                ids.contains_key(&character) || decompose(character).all(|part| ids.contains_key(&part))
            }
            Spelling::Pieces(_) => {
                let letters = self.tokens.iter().skip(1).filter(|token| !is_mark(token));
                character == ' ' || letters.into_iter().any(|token| token.contains(character))
            }
        }
    }

    /// The text of `ids`, composed; blanks, and ids that are no token, write nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let tokens = ids.iter().filter(|&&id| id != Self::BLANK).filter_map(|&id| self.token(id));
        match self.has_pieces() {
            false => compose(
                &tokens.map(|token| if is_unknown(token) { UNKNOWN } else { token }).collect::<String>(),
            ),
            true => {
                let mut text = String::new();
                for token in tokens {
                    match is_unknown(token) {
                        true => text.extend([" ", UNKNOWN, " "]),
                        false => text.push_str(&token.replace(BOUNDARY, " ")),
                    }
                }
                compose(&text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// Reads the text of a `vocab.json`.
    ///
    /// # Errors
    /// When it is not JSON of one of the two forms, ids have gaps, or a token is neither a character nor a sub-word.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::invalid(format!("not a vocabulary: {error}")))
    }

    /// The text of a `vocab.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .unwrap_or_else(|_| unreachable!("strings and numbers are always JSON"))
    }
}

/// The token for unknown words or characters.
const UNKNOWN: &str = "⁇";

fn is_unknown(token: &str) -> bool {
    ["<unk>", "[unk]"].iter().any(|mark| token.eq_ignore_ascii_case(mark))
}

/// Whether the letters of the tokens behind the blank are capital ones alone.
fn capitals(tokens: &[String]) -> bool {
    let letters = || tokens[1..].iter().filter(|token| !is_mark(token)).flat_map(|token| token.chars());
    letters().any(char::is_uppercase) && !letters().any(char::is_lowercase)
}

impl TryFrom<Vec<String>> for Vocabulary {
    type Error = String;

    fn try_from(mut tokens: Vec<String>) -> Result<Self, String> {
        if tokens.len() < 2 {
            return Err("a vocabulary holds the blank as id 0 and at least one token".to_owned());
        }
        let pieces = tokens[1..].iter().any(|token| token.starts_with(BOUNDARY));
        let (mut ids, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for (token, id) in tokens.iter_mut().zip(0_u32..).skip(1) {
            *token = compose(token);
            if !seen.insert(token.clone()) {
                return Err(format!("token {id}, {token:?}, is there twice"));
            }
            let mut characters = token.chars();
            let (first, more) = (characters.next(), characters.next().is_some());
            match first {
                _ if is_mark(token) => {}
                Some(_) if pieces && !token.contains(char::is_whitespace) => {}
                Some(_) if pieces => {
                    return Err(format!(
                        "token {id}, {token:?}, holds a space among sub-words; write ▁ where a word begins"
                    ));
                }
                Some(character) if !more => drop(ids.insert(character, id)),
                _ => {
                    return Err(format!(
                        "token {id}, {token:?}, must be one character, or sub-words must begin words with ▁"
                    ));
                }
            }
        }
        let spelling = if pieces { Spelling::Pieces(None) } else { Spelling::Characters(ids) };
        if matches!(&spelling, Spelling::Characters(ids) if ids.is_empty()) {
            return Err("a vocabulary of marks alone writes nothing".to_owned());
        }
        let capitals = capitals(&tokens);
        Ok(Self { tokens, spelling, capitals })
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
    fn letters_have_the_case_of_the_tokens() {
        let capitals = Vocabulary::from_json(r#"["<blank>", "<unk>", " ", "A", "É"]"#).unwrap();
        assert_eq!(capitals.encode("a é").unwrap(), [3, 2, 4]);
        assert_eq!(capitals.decode(&[3, 1, 2, 4]), "A⁇ É");
        assert_eq!(capitals.lacking("ab").unwrap(), BTreeSet::from(['B']));
        assert!(Vocabulary::from_json(r#"["<blank>", "<unk>"]"#).is_err(), "marks alone");
    }

    #[test]
    fn sub_words_write_without_their_tokenizer_but_read_nothing() {
        let pieces = Vocabulary::from_json(r#"["<blank>", "<unk>", "▁the", "re", "▁", "a"]"#).unwrap();
        assert!(pieces.has_pieces() && pieces.pieces().is_none());
        assert_eq!(pieces.decode(&[2, 0, 3, 4, 5, 2, 1, 5]), "there a the ⁇ a");
        assert!(pieces.writes(' ') && pieces.writes('h') && !pieces.writes('x') && !pieces.writes('k'));
        let error = pieces.encode("there").unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
        assert!(Vocabulary::from_json(r#"["", "▁a", " "]"#).is_err());
        let trained = Vocabulary::from_pieces(Pieces::train(["Abc abc"], 6).unwrap()).unwrap();
        assert_eq!(trained.decode(&trained.encode("ABC  cab").unwrap()), "abc cab");
        let other = pieces.with_pieces(trained.pieces().unwrap().clone()).unwrap_err().to_string();
        assert!(other.contains("token 1") && other.contains("\"<unk>\""), "{other}");
        assert_eq!(Vocabulary::from_json(&trained.to_json()).unwrap().tokens, trained.tokens);
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
