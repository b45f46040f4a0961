//! SentencePiece models, which are protocol buffers: pieces with scores, and how texts are prepared.

use super::bpe::Merges;
use super::{BOUNDARY, LONGEST, MOST, Model, Pieces, Vocabulary, compose};
use crate::error::{Error, Result};

/// A field of a message.
enum Value<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
}

/// Reads the fields of a message one by one.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for place in 0..10 {
            let Some((&byte, rest)) = self.0.split_first() else { break };
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged())
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let count = usize::try_from(count).map_err(|_| damaged())?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next field: its number and value.
    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let count = self.number()?;
                Value::Bytes(self.take(count)?)
            }
            5 => {
                let bytes = self.take(4)?.try_into().map_err(|_| damaged())?;
                Value::Float(f32::from_le_bytes(bytes))
            }
            _ => return Err(damaged()),
        };
        Ok(Some((tag >> 3, value)))
    }
}

fn damaged() -> Error {
    Error::invalid(
        "is no SentencePiece model, or is damaged; give a tokenizer.json or a SentencePiece .model",
    )
}

fn text(bytes: &[u8]) -> Result<String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| damaged())
}

/// The kind of a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    /// Taken before all others.
    UserDefined,
    /// Marks, bytes and pieces that are not used: no text is parted into them.
    Other,
}

struct Piece {
    text: String,
    score: f64,
    kind: Kind,
}

/// Reads a model. The blank gets an id of its own before those of the pieces, or takes that of the first one.
pub(super) fn read(bytes: &[u8], in_place: bool) -> Result<Pieces> {
    let mut message = Message(bytes);
    let mut pieces = Vec::new();
    let (mut trainer, mut normalizer): (&[u8], &[u8]) = (&[], &[]);
    while let Some((field, value)) = message.field()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => pieces.push(piece(bytes)?),
            (2, Value::Bytes(bytes)) => trainer = bytes,
            (3, Value::Bytes(bytes)) => normalizer = bytes,
            _ => {}
        }
        if pieces.len() > MOST {
            return Err(Error::invalid(format!("has more than {MOST} pieces")));
        }
    }
    if pieces.is_empty() {
        return Err(damaged());
    }
    let bpe = by_pairs(trainer)?;
    let compatible = form(normalizer)?;
    // The marks of a model are no letters, whatever is written there.
    let blank = Piece { text: Vocabulary::BLANK_TOKEN.to_owned(), score: 0.0, kind: Kind::Other };
    match in_place {
        true => pieces[0] = blank,
        false => pieces.insert(0, blank),
    }
    if let Some(id) = pieces.iter().skip(1).position(|piece| spans(&piece.text)) {
        let token = &pieces[id + 1].text;
        return Err(Error::invalid(format!(
            "the piece {token:?} holds ▁ behind its first character; give a model whose pieces lie within words"
        )));
    }
    let model = match bpe {
        true => Model::Bpe(merges(&pieces)?),
        false => Model::Unigram(scores(&pieces)),
    };
    let tokens = pieces.iter().map(|piece| piece.text.clone()).collect();
    Pieces::new(tokens, model, compatible, |id| pieces[id].kind != Kind::Other)
}

/// Whether a piece goes beyond a word, or ends with its mark.
pub(super) fn spans(piece: &str) -> bool {
    piece.chars().skip(1).any(|character| character == BOUNDARY)
}

fn piece(bytes: &[u8]) -> Result<Piece> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    let mut message = Message(bytes);
    while let Some((field, value)) = message.field()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => piece.text = compose(&text(bytes)?),
            (2, Value::Float(score)) if score.is_finite() => piece.score = f64::from(score),
            (2, _) => return Err(damaged()),
            (3, Value::Number(1)) => piece.kind = Kind::Normal,
            (3, Value::Number(4)) => piece.kind = Kind::UserDefined,
            (3, Value::Number(2 | 3 | 5 | 6)) => piece.kind = Kind::Other,
            (3, _) => return Err(damaged()),
            _ => {}
        }
    }
    if piece.text.is_empty() || piece.text.contains(char::is_whitespace) {
        return Err(damaged());
    }
    Ok(piece)
}

/// Whether the trainer's part says byte pair encoding or characters; a unigram model otherwise.
fn by_pairs(trainer: &[u8]) -> Result<bool> {
    let mut message = Message(trainer);
    let mut bpe = false;
    while let Some((field, value)) = message.field()? {
        match (field, value) {
            (3, Value::Number(kind)) => {
                bpe = match kind {
                    1 => false,
                    2 | 4 => true,
                    _ => {
                        return Err(Error::invalid(
                            "is a SentencePiece model of whole words; give one of unigram or bpe",
                        ));
                    }
                }
            }
            (24, Value::Number(1)) => {
                return Err(Error::invalid(
                    "writes ▁ behind words; give a SentencePiece model that writes it before them",
                ));
            }
            _ => {}
        }
    }
    Ok(bpe)
}

/// Whether the normalizer's part brings texts into Unicode's form KC.
fn form(normalizer: &[u8]) -> Result<bool> {
    let mut message = Message(normalizer);
    let (mut name, mut rules) = (String::new(), false);
    while let Some((field, value)) = message.field()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Bytes(bytes)) => rules = !bytes.is_empty(),
            (3, Value::Number(0)) => {
                return Err(Error::invalid(
                    "writes no ▁ before the first word; give a SentencePiece model with add_dummy_prefix",
                ));
            }
            _ => {}
        }
    }
    match name.as_str() {
        "nfkc" | "nmt_nfkc" | "nfkc_cf" | "nmt_nfkc_cf" => Ok(true),
        "identity" | "" if !rules => Ok(false),
        _ => Err(Error::invalid(format!(
            "prepares texts by rules of its own ({name:?}); give a SentencePiece model of identity, nfkc or nmt_nfkc"
        ))),
    }
}

/// Every way in which two pieces make a third, those with the best score first.
fn merges(pieces: &[Piece]) -> Result<Merges> {
    let letters = |piece: &Piece| piece.text.chars().count();
    if let Some(piece) = pieces.iter().find(|piece| piece.kind == Kind::UserDefined && letters(piece) > 1) {
        return Err(Error::invalid(format!(
            "has {:?} as a user-defined symbol, which a bpe model does not make of pairs; train without it",
            piece.text
        )));
    }
    let used = |piece: &&(usize, &Piece)| piece.1.kind != Kind::Other;
    let mut order: Vec<(usize, &Piece)> = pieces.iter().enumerate().filter(|one| used(&one)).collect();
    let ids: std::collections::HashMap<&str, u32> =
        order.iter().map(|&(id, piece)| (piece.text.as_str(), id as u32)).collect();
    order.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    let mut merges = Merges::new();
    for (id, piece) in order {
        if letters(piece) > LONGEST {
            return Err(Error::invalid(format!("piece {id} has more than {LONGEST} characters")));
        }
        for (at, _) in piece.text.char_indices().skip(1) {
            let (left, right) = piece.text.split_at(at);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                let rank = merges.len() as u32;
                merges.entry((left, right)).or_insert((rank, id as u32));
            }
        }
    }
    Ok(merges)
}

/// Log-probabilities; a user-defined piece is better than whatever else writes its letters.
fn scores(pieces: &[Piece]) -> Vec<f64> {
    let normal = pieces.iter().filter(|piece| piece.kind == Kind::Normal).map(|piece| piece.score);
    let most = normal.fold(f64::NEG_INFINITY, f64::max);
    let score = |piece: &Piece| match piece.kind {
        Kind::UserDefined if most.is_finite() => piece.text.chars().count() as f64 * most - 0.1,
        Kind::Normal | Kind::UserDefined => piece.score,
        Kind::Other => 0.0,
    };
    pieces.iter().map(score).collect()
}
