//! Sub-words: how words become the tokens of a model.
//!
//! A word is written with `▁` before it. Decoding needs the texts of the tokens alone, which `vocab.json` has; this
//! module encodes texts for training.

mod bpe;
mod json;
mod sentencepiece;
mod train;
mod unigram;

use std::collections::{HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;

use self::bpe::Merges;
use super::{Vocabulary, compose, normalize};
use crate::error::{Error, Result};

/// Begins a word in sub-words.
pub(crate) const BOUNDARY: char = '▁';
/// More tokens than any recognizer has outputs.
const MOST: usize = 1 << 20;
/// More characters than any sub-word has.
const LONGEST: usize = 256;

/// A tokenizer: sub-words and how a text is parted into them. Ids are those of the [`Vocabulary`], the blank is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    tokens: Vec<String>,
    /// Ids of the tokens that texts are parted into; not of marks such as `<unk>`.
    ids: HashMap<String, u32>,
    /// Whether texts are first brought into Unicode's form KC.
    compatible: bool,
    model: Model,
}

/// How sub-words are chosen.
#[derive(Debug, Clone, PartialEq)]
enum Model {
    /// Pairs are merged, from characters on.
    Bpe(Merges),
    /// The most probable of all ways to part a word, by log-probabilities of the tokens.
    Unigram(Vec<f64>),
}

impl Pieces {
    /// `count` sub-words by byte pair encoding of the words of `texts` (see [`normalize`]): their characters and `▁`, then
    /// the most frequent pair again and again. Fewer where every word has become one. The same texts in any order give
    /// the same sub-words.
    ///
    /// # Errors
    /// When the texts have no word, or more different characters than `count`.
    pub fn train<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, count: usize) -> Result<Self> {
        let (tokens, merges) = train::train(texts, count)?;
        Self::new(tokens, Model::Bpe(merges), false, |_| true)
    }

    /// Reads a tokenizer: the JSON of the `tokenizers` library (BPE or Unigram whose words begin with `▁`), or a
    /// SentencePiece model. Ids are those of the file plus one, since the blank is 0; where the file's first token is a
    /// blank (`<blank>`, `<pad>`), they are those of the file.
    ///
    /// # Errors
    /// When it is neither, is damaged, or parts texts in a way that is not supported.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        match (first, std::str::from_utf8(bytes)) {
            (Some(b'{'), Ok(text)) => json::read(text),
            (Some(b'{'), Err(_)) => Err(Error::invalid("is no UTF-8 text; give a tokenizer.json")),
            _ => sentencepiece::read(bytes, false),
        }
    }

    /// As [`Pieces::parse`] of a SentencePiece model whose first token stands for the blank: ids are those of the file.
    ///
    /// # Errors
    /// See [`Pieces::parse`].
    pub fn with_blank_in_place(bytes: &[u8]) -> Result<Self> {
        sentencepiece::read(bytes, true)
    }

    /// A `tokenizer.json` with the ids of `vocab.json`, as the `tokenizers` library reads it.
    pub fn to_value(&self) -> serde_json::Value {
        json::write(self)
    }

    /// Of composed `tokens`, the blank first; texts are parted into those that `parts` says by their ids, and are no marks.
    fn new(
        tokens: Vec<String>,
        model: Model,
        compatible: bool,
        parts: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        if tokens.len() < 2 {
            return Err(Error::invalid("holds no sub-word"));
        }
        let (mut ids, mut seen) = (HashMap::new(), HashSet::from([Vocabulary::BLANK_TOKEN]));
        for (id, token) in tokens.iter().enumerate().skip(1) {
            if token.chars().count() > LONGEST {
                return Err(Error::invalid(format!("token {id} has more than {LONGEST} characters")));
            }
            if !seen.insert(token.as_str()) {
                return Err(Error::invalid(format!("token {id}, {token:?}, is there twice")));
            }
            if parts(id) && !is_mark(token) {
                ids.insert(token.clone(), id as u32);
            }
        }
        if !tokens.iter().skip(1).any(|token| token.starts_with(BOUNDARY)) {
            return Err(Error::invalid(
                "no token begins with ▁, which begins a word; give a tokenizer whose words are marked by it",
            ));
        }
        Ok(Self { tokens, ids, compatible, model })
    }

    /// The tokens in the order of their ids, the blank first.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// How texts are parted: `BPE` or `unigram`.
    pub fn kind(&self) -> &'static str {
        match self.model {
            Model::Bpe(_) => "BPE",
            Model::Unigram(_) => "unigram",
        }
    }

    /// The ids of `text`, a word after another, and the characters that no token writes.
    pub(super) fn encode(&self, text: &str) -> (Vec<u32>, Vec<char>) {
        let text = match self.compatible && !text.is_ascii() {
            true => text.nfkc().collect(),
            false => text.to_owned(),
        };
        let (mut ids, mut foreign) = (Vec::with_capacity(text.len() / 2), Vec::new());
        let mut marked = String::new();
        for word in text.split_whitespace() {
            marked.clear();
            marked.push(BOUNDARY);
            marked.push_str(word);
            match &self.model {
                Model::Bpe(merges) => bpe::part(&self.ids, merges, &marked, &mut ids, &mut foreign),
                Model::Unigram(scores) => unigram::part(&self.ids, scores, &marked, &mut ids, &mut foreign),
            }
        }
        (ids, foreign)
    }
}

/// Whether a token is a mark that writes no letters, as `<s>` or `[PAD]`.
pub(super) fn is_mark(token: &str) -> bool {
    let within = |open, close| token.len() > 2 && token.starts_with(open) && token.ends_with(close);
    within('<', '>') || within('[', ']')
}

/// Whether a token is how toolkits write the blank of CTC.
fn is_blank(token: &str) -> bool {
    let token = token.to_ascii_lowercase();
    ["<blank>", "<blk>", "<pad>", "[blank]", "[pad]"].contains(&token.as_str())
}

#[cfg(test)]
mod tests;
