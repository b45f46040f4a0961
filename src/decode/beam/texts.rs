//! Interned words and texts of a search.

use super::score::Scoring;
use crate::decode::hash::FastMap;
use crate::decode::lexicon::Found;
use crate::decode::lm::State;

/// The word without letters, and the text without words.
pub(super) const EMPTY: u32 = 0;
/// No frames yet.
pub(super) const NOWHERE: (i32, i32) = (-1, -1);

/// A word, or the beginning of one.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The part and the token that it was first spelled with.
    pub before: u32,
    pub token: u32,
    /// A hash of its letters, and how many bytes and characters they are.
    pub hash: u64,
    pub bytes: usize,
    pub characters: usize,
    /// Those of the language model's words, of the known words and of the hot words that begin so.
    pub modelled: Found,
    pub known: Found,
    pub hot: Found,
    /// What is added to a text's score while this is its last word and not complete.
    pub begun: f64,
}

/// A text of whole words.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// The text without its last word, and that word.
    pub before: u32,
    pub word: u32,
    /// The state of the language model, and its score so far.
    pub state: State,
    pub score: f64,
    /// Weights of the hot words.
    pub hot: f64,
}

/// A search's words and texts, and the frames of the words.
#[derive(Debug)]
pub(super) struct Texts {
    parts: Vec<Part>,
    by_token: FastMap<(u32, u32), u32>,
    /// Where the same letters can be spelled in several ways: parts by the hash of their letters.
    by_letters: FastMap<u64, u32>,
    texts: Vec<Text>,
    by_word: FastMap<(u32, u32), u32>,
    /// Frames of a word, and of the words before it.
    frames: Vec<(u32, (i32, i32))>,
}

impl Texts {
    pub fn new(scoring: &Scoring) -> Self {
        let text = Text { before: EMPTY, word: EMPTY, state: scoring.beginning(), score: 0.0, hot: 0.0 };
        Self {
            parts: vec![scoring.empty()],
            by_token: FastMap::default(),
            by_letters: FastMap::default(),
            texts: vec![text],
            by_word: FastMap::default(),
            frames: vec![(0, NOWHERE)],
        }
    }

    pub fn part(&self, part: u32) -> &Part {
        &self.parts[part as usize]
    }

    /// The letters of a word.
    pub fn letters(&self, scoring: &Scoring, mut part: u32) -> String {
        let mut tokens = Vec::new();
        while part != EMPTY {
            tokens.push(scoring.letters(self.part(part).token));
            part = self.part(part).before;
        }
        tokens.into_iter().rev().collect()
    }

    pub fn text(&self, text: u32) -> &Text {
        &self.texts[text as usize]
    }

    /// `part` with the letters of `token` behind it.
    pub fn spell(&mut self, scoring: &Scoring, part: u32, token: u32) -> u32 {
        if let Some(&longer) = self.by_token.get(&(part, token)) {
            return longer;
        }
        let longer =
            if scoring.letters(token).is_empty() { part } else { self.spell_anew(scoring, part, token) };
        self.by_token.insert((part, token), longer);
        longer
    }

    fn spell_anew(&mut self, scoring: &Scoring, part: u32, token: u32) -> u32 {
        let id = self.parts.len() as u32;
        let hash = scoring.hash(self.part(part), token);
        if scoring.alphabet.ambiguous() {
            if let Some(&same) = self.by_letters.get(&hash) {
                // The hash alone would hardly ever be wrong.
                let letters = scoring.letters(token).bytes().rev().chain(self.backwards(scoring, part));
                if letters.eq(self.backwards(scoring, same)) {
                    return same;
                }
            }
            self.by_letters.insert(hash, id);
        }
        self.parts.push(scoring.part(part, self.part(part), token, hash));
        id
    }

    /// The letters of a word as bytes, the last one first.
    fn backwards<'a>(&'a self, scoring: &'a Scoring, part: u32) -> impl Iterator<Item = u8> + 'a {
        let parts = std::iter::successors(Some(part), |&part| Some(self.part(part).before));
        let parts = parts.take_while(|&part| part != EMPTY);
        parts.flat_map(|part| scoring.letters(self.part(part).token).bytes().rev())
    }

    /// `text` with the word `part` behind it; without letters, `text` itself.
    pub fn extend(&mut self, scoring: &Scoring, text: u32, part: u32) -> u32 {
        if part == EMPTY {
            return text;
        }
        if let Some(&longer) = self.by_word.get(&(text, part)) {
            return longer;
        }
        let (before, word) = (self.text(text), self.part(part));
        let (score, state) = scoring.word(&before.state, word);
        let hot = before.hot + scoring.hot_word(word);
        let longer = Text { before: text, word: part, state, score: before.score + score, hot };
        let id = self.texts.len() as u32;
        self.texts.push(longer);
        self.by_word.insert((text, part), id);
        id
    }

    /// The frames of one word more.
    pub fn add_frames(&mut self, before: u32, frames: (i32, i32)) -> u32 {
        self.frames.push((before, frames));
        self.frames.len() as u32 - 1
    }

    /// How much there is.
    pub fn size(&self) -> usize {
        self.texts.len() + self.parts.len() + self.frames.len()
    }

    /// Forgets all to which none of `roots` leads, each a text, a word and frames; they get their new numbers.
    pub fn compact(&mut self, roots: &mut [[u32; 3]]) {
        let mut kept =
            [self.texts.len(), self.parts.len(), self.frames.len()].map(|count| vec![false; count]);
        for root in [[EMPTY; 3]].iter().chain(&*roots) {
            kept.iter_mut().zip(root).for_each(|(kept, &id)| kept[id as usize] = true);
        }
        let [texts, parts, frames] = &mut kept;
        // What goes before has a smaller number.
        for (id, text) in self.texts.iter().enumerate().rev() {
            if texts[id] {
                texts[text.before as usize] = true;
                parts[text.word as usize] = true;
            }
        }
        for (id, part) in self.parts.iter().enumerate().rev() {
            if parts[id] {
                parts[part.before as usize] = true;
            }
        }
        for (id, &(before, _)) in self.frames.iter().enumerate().rev() {
            if frames[id] {
                frames[before as usize] = true;
            }
        }
        let numbers = kept.map(|kept| {
            let mut count = 0;
            let mut number = || {
                count += 1;
                count - 1
            };
            kept.iter().map(|&kept| kept.then(&mut number)).collect::<Vec<Option<u32>>>()
        });
        let [texts, parts, frames] = &numbers;
        let new = |numbers: &[Option<u32>], id: u32| numbers[id as usize].unwrap_or(EMPTY);
        for root in roots {
            root.iter_mut().zip(&numbers).for_each(|(id, numbers)| *id = new(numbers, *id));
        }
        let old = std::mem::take(&mut self.texts);
        let renumbered =
            |text: Text| Text { before: new(texts, text.before), word: new(parts, text.word), ..text };
        self.texts = old
            .into_iter()
            .zip(texts)
            .filter(|(_, id)| id.is_some())
            .map(|(text, _)| renumbered(text))
            .collect();
        let ids = self.texts.iter().zip(0..).skip(1);
        self.by_word = ids.map(|(text, id)| ((text.before, text.word), id)).collect();
        let old = std::mem::take(&mut self.frames);
        let old = old.into_iter().zip(frames).filter(|(_, id)| id.is_some());
        self.frames = old.map(|((before, own), _)| (new(frames, before), own)).collect();
        let old = std::mem::take(&mut self.parts);
        let old = old.into_iter().zip(parts).filter(|(_, id)| id.is_some());
        self.parts = old.map(|(part, _)| Part { before: new(parts, part.before), ..part }).collect();
        self.by_letters.retain(|_, id| {
            let kept = parts[*id as usize];
            *id = kept.unwrap_or(EMPTY);
            kept.is_some()
        });
        let spelled = std::mem::take(&mut self.by_token);
        let renumbered = |((part, token), longer): ((u32, u32), u32)| {
            Some(((parts[part as usize]?, token), parts[longer as usize]?))
        };
        self.by_token = spelled.into_iter().filter_map(renumbered).collect();
    }

    /// The words of a text, the first one first.
    pub fn words(&self, mut text: u32) -> Vec<u32> {
        let mut words = Vec::new();
        while text != EMPTY {
            words.push(self.text(text).word);
            text = self.text(text).before;
        }
        words.reverse();
        words
    }

    /// The last `count` words of a text, the last one first.
    pub fn last_words(&self, mut text: u32, count: usize) -> Vec<u32> {
        let mut words = Vec::with_capacity(count);
        while text != EMPTY && words.len() < count {
            words.push(self.text(text).word);
            text = self.text(text).before;
        }
        words
    }

    /// The frames of a text's words, the first one first.
    pub fn frames(&self, mut frames: u32) -> Vec<(i32, i32)> {
        let mut all = Vec::new();
        while frames != 0 {
            let (before, own) = self.frames[frames as usize];
            all.push(own);
            frames = before;
        }
        all.reverse();
        all
    }
}
