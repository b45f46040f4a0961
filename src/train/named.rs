//! Warnings that name the recordings that are left out.

use std::collections::{BTreeMap, HashSet};

use crate::data::{Exclusions, LeftOut, Why};

/// Of so many of one kind, all are named.
const MOST: usize = 20;

/// Names recordings that something does not include, each once; of many of one kind, the first few.
#[derive(Debug)]
pub(super) struct Named {
    /// What does not include them.
    what: &'static str,
    all: Exclusions,
    counts: BTreeMap<Why, usize>,
    differing: HashSet<LeftOut>,
}

impl Named {
    /// Nothing is left out of `what` yet.
    pub fn new(what: &'static str) -> Self {
        let (all, counts, differing) = Default::default();
        Self { what, all, counts, differing }
    }

    /// Says that a recording is left out, unless that was said.
    pub fn say(&mut self, why: Why, left_out: &LeftOut) {
        if !self.all.add(why, left_out.clone()) {
            return;
        }
        let count = self.counts.entry(why).or_default();
        *count += 1;
        match *count {
            count if count <= MOST && matches!(why, Why::OutsideVocabulary | Why::UnknownClass) => {
                tracing::warn!("out of the loss of {}: {left_out}", self.what);
            }
            count if count <= MOST => tracing::warn!("left out of {}: {left_out}", self.what),
            count if count == MOST + 1 => {
                tracing::warn!("more are left out of {}, {why}; they are counted, not named", self.what);
            }
            _ => {}
        }
    }

    /// As [`Named::say`], of all of them.
    pub fn say_all(&mut self, all: &Exclusions) {
        all.iter().for_each(|(why, left_out)| self.say(why, left_out));
    }

    /// Says that recordings are not as long as was expected.
    pub fn say_differing(&mut self, all: Vec<LeftOut>) {
        for one in all {
            let line = one.to_string();
            let new = self.differing.insert(one);
            match self.differing.len() {
                count if new && count <= MOST => tracing::warn!("in {}: {line}", self.what),
                count if new && count == MOST + 1 => {
                    tracing::warn!(
                        "more in {} are not as long as their manifest says; they are counted, not named",
                        self.what
                    );
                }
                _ => {}
            }
        }
    }

    /// All that is left out so far.
    pub fn all(&self) -> &Exclusions {
        &self.all
    }

    /// How many are not as long as was expected.
    pub fn differing(&self) -> usize {
        self.differing.len()
    }
}
