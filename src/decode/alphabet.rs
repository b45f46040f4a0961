//! The text of a model's tokens.

use crate::error::{Error, Result};
use crate::text::{BOUNDARY, Tokens, Vocabulary, compose};

/// The effect of a token on a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The characters that it adds to a word.
    pub text: String,
    /// Whether the word before it ends.
    pub begins: bool,
    /// Whether a new word follows, whatever the next token says.
    pub ends: bool,
    /// Whether it is the space between words.
    pub space: bool,
}

/// Whether a vocabulary is of small or of capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    Upper,
    Mixed,
}

impl Case {
    /// `text` as the vocabulary writes it, composed.
    pub fn fold(self, text: &str) -> String {
        match self {
            Self::Lower => compose(&text.to_lowercase()),
            Self::Upper => compose(&text.to_uppercase()),
            Self::Mixed => compose(text),
        }
    }
}

/// The tokens of a CTC model, blank first: characters with a space between words, or sub-words of which those with `▁` in
/// front begin one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alphabet {
    tokens: Vec<Token>,
    pieces: bool,
    ambiguous: bool,
    case: Case,
}

impl Alphabet {
    /// Of the tokens in the order of their ids, the blank first, however it is written.
    ///
    /// # Errors
    /// When there is none but the blank, two are the same, or one holds a space beside other text.
    pub fn new<S: AsRef<str>>(tokens: &[S]) -> Result<Self> {
        if tokens.len() < 2 {
            return Err(Error::invalid("a vocabulary holds the blank as id 0 and at least one token"));
        }
        let written: Vec<&str> = tokens.iter().map(AsRef::as_ref).collect();
        let pieces = written[1..].iter().any(|token| token.starts_with(BOUNDARY));
        let mut seen = std::collections::BTreeSet::new();
        for (id, &token) in written.iter().enumerate().skip(1) {
            if !seen.insert(token) {
                return Err(Error::invalid(format!("token {id}, {token:?}, is there twice; remove one")));
            }
            let spaces = token.chars().filter(|c| c.is_whitespace()).count();
            if spaces > 0 && (pieces || token != " ") {
                let message = if pieces {
                    format!(
                        "token {id}, {token:?}, holds a space among sub-words; write ▁ where a word begins"
                    )
                } else {
                    format!("token {id}, {token:?}, holds white space; a single space parts words")
                };
                return Err(Error::invalid(message));
            }
        }
        // How some toolkits write the space.
        let bar = !pieces && !seen.contains(" ");
        let token = |&token: &&str| {
            if is_unknown(token) {
                return Token { text: "⁇".to_owned(), begins: pieces, ends: pieces, space: false };
            }
            if token == " " || (bar && token == "|") {
                return Token { text: String::new(), begins: false, ends: false, space: true };
            }
            if !pieces {
                return Token { text: token.to_owned(), begins: false, ends: false, space: false };
            }
            let begins = token.starts_with(BOUNDARY);
            let text = token.strip_prefix(BOUNDARY).unwrap_or(token);
            let ends = token.ends_with(BOUNDARY);
            Token { text: text.strip_suffix(BOUNDARY).unwrap_or(text).to_owned(), begins, ends, space: false }
        };
        let blank = Token { text: String::new(), begins: false, ends: false, space: false };
        let letters = || written[1..].iter().filter(|token| !is_mark(token)).flat_map(|token| token.chars());
        let case = match (letters().any(char::is_lowercase), letters().any(char::is_uppercase)) {
            (true, false) => Case::Lower,
            (false, true) => Case::Upper,
            _ => Case::Mixed,
        };
        let tokens: Vec<Token> = [blank].into_iter().chain(written[1..].iter().map(token)).collect();
        let letters: Vec<&str> =
            tokens.iter().map(|token| token.text.as_str()).filter(|t| !t.is_empty()).collect();
        let single = letters.iter().all(|letters| letters.chars().count() == 1);
        let different = letters.iter().collect::<std::collections::BTreeSet<_>>().len() == letters.len();
        Ok(Self { tokens, pieces, ambiguous: !(single && different), case })
    }

    /// Of a model's tokens.
    ///
    /// # Errors
    /// See [`Alphabet::new`].
    pub fn of(vocabulary: &Vocabulary) -> Result<Self> {
        let tokens = (0..vocabulary.len() as u32).map(|id| vocabulary.token(id).unwrap_or_default());
        Self::new(&tokens.collect::<Vec<_>>())
    }

    /// Reads the text of a `vocab.json`: an object from token to id, or a list of tokens.
    ///
    /// # Errors
    /// When it is neither, ids have gaps, or the tokens are none of an alphabet.
    pub fn from_json(json: &str) -> Result<Self> {
        let tokens: Tokens = serde_json::from_str(json)
            .map_err(|error| Error::invalid(format!("not a vocabulary: {error}")))?;
        Self::new(&tokens.0)
    }

    /// Number of tokens, the blank included.
    #[expect(clippy::len_without_is_empty, reason = "the blank is always there")]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether tokens are sub-words.
    pub fn pieces(&self) -> bool {
        self.pieces
    }

    /// The id of the space between words; sub-words have none.
    pub fn space(&self) -> Option<u32> {
        self.tokens.iter().position(|token| token.space).map(|id| id as u32)
    }

    /// Whether tokens in different ways can write the same letters.
    /// Whether a frame of this token says nothing: the blank, or the space alone.
    pub fn is_silent(&self, id: u32) -> bool {
        id == 0 || self.tokens.get(id as usize).is_none_or(|token| token.text.is_empty())
    }

    pub(super) fn ambiguous(&self) -> bool {
        self.ambiguous
    }

    pub(super) fn token(&self, id: u32) -> &Token {
        &self.tokens[id as usize]
    }

    pub(super) fn case(&self) -> Case {
        self.case
    }
}

fn is_unknown(token: &str) -> bool {
    ["<unk>", "[unk]"].iter().any(|mark| token.eq_ignore_ascii_case(mark))
}

/// Whether a token is a mark that writes no letters, as `<s>`.
fn is_mark(token: &str) -> bool {
    token.len() > 2
        && (token.starts_with('<') && token.ends_with('>') || token.starts_with('[') && token.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_sub_words() {
        let characters = Alphabet::from_json(r#"{"<pad>": 0, "|": 1, "A": 2, "<unk>": 3}"#).unwrap();
        assert!(!characters.pieces() && characters.token(1).space && characters.case() == Case::Upper);
        assert_eq!(characters.token(3).text, "⁇");
        let pieces = Alphabet::new(&["", "▁the", "re", "▁", "<unk>"]).unwrap();
        assert!(pieces.pieces() && pieces.token(1).begins && !pieces.token(2).begins);
        assert_eq!((pieces.token(1).text.as_str(), pieces.token(3).text.as_str()), ("the", ""));
        assert!(pieces.token(3).ends && pieces.token(4).begins && pieces.token(4).ends);
    }

    #[test]
    fn bad_tokens_are_named() {
        for (tokens, part) in [
            (vec!["<blank>"], "at least one"),
            (vec!["<blank>", "a", "a"], "token 2, \"a\""),
            (vec!["<blank>", "▁a", " "], "token 2, \" \""),
            (vec!["<blank>", "a b"], "token 1"),
            (vec!["<blank>", "a", "\t"], "token 2"),
        ] {
            let message = Alphabet::new(&tokens).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
