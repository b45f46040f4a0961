//! The words and texts that a search has met, each once.

use std::ops::Range;

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
    pub letters: Range<usize>,
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
    /// What the language model remembers, and its score so far.
    pub state: State,
    pub score: f64,
    /// Weights of the hot words.
    pub hot: f64,
}

/// A search's words and texts, and the frames of the words.
#[derive(Debug)]
pub(super) struct Texts {
    letters: String,
    parts: Vec<Part>,
    by_letters: FastMap<Box<str>, u32>,
    by_token: FastMap<(u32, u32), u32>,
    texts: Vec<Text>,
    by_word: FastMap<(u32, u32), u32>,
    /// Frames of a word, and of the words before it.
    frames: Vec<(u32, (i32, i32))>,
}

impl Texts {
    pub fn new(scoring: &Scoring) -> Self {
        let empty = scoring.part("", None);
        let text = Text { before: EMPTY, word: EMPTY, state: scoring.beginning(), score: 0.0, hot: 0.0 };
        let mut texts = Self {
            letters: String::new(),
            parts: Vec::new(),
            by_letters: FastMap::default(),
            by_token: FastMap::default(),
            texts: vec![text],
            by_word: FastMap::default(),
            frames: vec![(0, NOWHERE)],
        };
        texts.add_part("", empty);
        texts
    }

    fn add_part(&mut self, letters: &str, mut part: Part) -> u32 {
        let begin = self.letters.len();
        self.letters.push_str(letters);
        part.letters = begin..self.letters.len();
        let id = self.parts.len() as u32;
        self.parts.push(part);
        self.by_letters.insert(letters.into(), id);
        id
    }

    pub fn part(&self, part: u32) -> &Part {
        &self.parts[part as usize]
    }

    pub fn letters(&self, part: u32) -> &str {
        &self.letters[self.parts[part as usize].letters.clone()]
    }

    pub fn text(&self, text: u32) -> &Text {
        &self.texts[text as usize]
    }

    /// `part` with the letters of `token` behind it.
    pub fn spell(&mut self, scoring: &Scoring, part: u32, token: u32) -> u32 {
        if let Some(&longer) = self.by_token.get(&(part, token)) {
            return longer;
        }
        let more = scoring.letters(token);
        let letters = [self.letters(part), more].concat();
        let longer = match self.by_letters.get(letters.as_str()) {
            Some(&longer) => longer,
            None => {
                let new = scoring.part(&letters, Some((self.part(part), self.letters(part).len(), more)));
                self.add_part(&letters, new)
            }
        };
        self.by_token.insert((part, token), longer);
        longer
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
        let length = self.letters(part).len();
        let (score, state) = scoring.word(&before.state, word, length);
        let hot = before.hot + scoring.hot_word(word, length);
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
        let (old, letters) = (std::mem::take(&mut self.parts), std::mem::take(&mut self.letters));
        self.by_letters.clear();
        for (part, _) in old.into_iter().zip(parts).filter(|(_, id)| id.is_some()) {
            self.add_part(&letters[part.letters.clone()], part);
        }
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
