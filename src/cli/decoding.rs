//! Decoders as the command line asks for them, and decoding on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use super::arguments::{self, Decoding, Global, Search};
use super::output::note;
use crate::decode::lm::LanguageModel;
use crate::decode::{Alphabet, Decoder, HotWords, Kind, Resources, Settings};
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::models::SavedModel;

/// Items that wait for a core, for each of them.
const WAITING: usize = 8;

impl Decoding {
    /// The decoder for `model`, which lies in `path`, with its `decoder.json` and what was given over it; `None` where the
    /// model has no tokens.
    ///
    /// # Errors
    /// Names the file that cannot be read or understood, or the setting that is out of range.
    pub(super) fn of_model(
        &self,
        path: &Path,
        model: &SavedModel,
        n_best: usize,
        global: &Global,
    ) -> Result<Option<Arc<Decoder>>> {
        let Some(vocabulary) = &model.vocabulary else { return Ok(None) };
        let base = Settings::of_model(&SavedModel::folder(path)?)?.unwrap_or_default();
        Ok(Some(Arc::new(self.decoder(Alphabet::of(vocabulary)?, base, n_best, global)?)))
    }

    /// The decoder with `base` and what was given over it.
    ///
    /// # Errors
    /// See [`Decoding::of_model`].
    pub(super) fn decoder(
        &self,
        alphabet: Alphabet,
        base: Settings,
        n_best: usize,
        global: &Global,
    ) -> Result<Decoder> {
        let settings = self.settings(base, n_best);
        if !global.quiet {
            self.note_unread(&settings, n_best);
        }
        let resources = self.search.resources(&settings)?;
        Decoder::new(alphabet, settings, &resources)
    }

    /// `base` with what was given on the command line.
    fn settings(&self, base: Settings, n_best: usize) -> Settings {
        let Search { lm, beam_prune, token_prune, prune_history, hot_words, .. } = &self.search;
        let beam_only = self.beam.is_some()
            || beam_prune.is_some()
            || token_prune.is_some()
            || prune_history.is_some()
            || lm.is_some()
            || hot_words.is_some()
            || n_best > 1;
        let decoder = match self.decoder {
            Some(arguments::Decoder::Greedy) => Kind::Greedy,
            Some(arguments::Decoder::Beam) => Kind::Beam,
            None if beam_only => Kind::Beam,
            None => base.decoder,
        };
        let base = self.search.settings(base);
        Settings {
            decoder,
            beam: self.beam.unwrap_or(base.beam),
            alpha: self.alpha.unwrap_or(base.alpha),
            beta: self.beta.unwrap_or(base.beta),
            ..base
        }
    }

    /// Whether any of it was asked for.
    pub(super) fn is_given(&self) -> bool {
        self.decoder.is_some() || self.settings(Settings::default(), 1) != Settings::default()
    }

    /// Says which options change nothing with `settings`.
    fn note_unread(&self, settings: &Settings, n_best: usize) {
        let search = &self.search;
        let beam = settings.decoder == Kind::Beam;
        let with_model = [
            ("--alpha", self.alpha.is_some()),
            ("--beta", self.beta.is_some()),
            ("--unknown", search.unknown.is_some()),
            ("--score-boundary", search.score_boundary.is_some()),
            ("--words", search.words.is_some()),
        ];
        let with_hot_words = [("--hot-word-weight", search.hot_word_weight.is_some())];
        let with_beam = [
            ("--lm", search.lm.is_some()),
            ("--hot-words", search.hot_words.is_some()),
            ("--n-best", n_best > 1),
            ("--beam", self.beam.is_some()),
            ("--beam-prune", search.beam_prune.is_some()),
            ("--token-prune", search.token_prune.is_some()),
            ("--prune-history", search.prune_history.is_some()),
        ];
        let unread = |options: &[(&'static str, bool)], why: &str| {
            let given = options.iter().filter(|(_, given)| *given).map(|&(name, _)| name);
            let given: Vec<&str> = given.collect();
            if !given.is_empty() {
                note(format!("without effect {why}: {}", given.join(", ")));
            }
        };
        if !beam {
            return unread(
                &[&with_model[..], &with_hot_words, &with_beam].concat(),
                "with the greedy decoder, which --decoder beam replaces",
            );
        }
        if settings.lm.is_none() {
            unread(&with_model, "without --lm");
        }
        if search.hot_words.is_none() {
            unread(&with_hot_words, "without --hot-words");
        }
    }
}

impl Search {
    /// `base` with what was given on the command line.
    pub(super) fn settings(&self, base: Settings) -> Settings {
        Settings {
            beam_prune: self.beam_prune.unwrap_or(base.beam_prune),
            token_prune: self.token_prune.unwrap_or(base.token_prune),
            prune_history: self.prune_history.unwrap_or(base.prune_history),
            unknown: self.unknown.unwrap_or(base.unknown),
            score_boundary: self.score_boundary.unwrap_or(base.score_boundary),
            hot_word_weight: self.hot_word_weight.unwrap_or(base.hot_word_weight),
            lm: self.lm.clone().or(base.lm),
            ..base
        }
    }

    /// Opens what a decoder with `settings` reads.
    ///
    /// # Errors
    /// Names the file that cannot be read or understood.
    pub(super) fn resources(&self, settings: &Settings) -> Result<Resources> {
        if settings.decoder == Kind::Greedy {
            return Ok(Resources::default());
        }
        let known = self.words.as_ref().map(|path| -> Result<Vec<String>> {
            let words = read_text(path)?;
            Ok(words.split_whitespace().map(str::to_owned).collect())
        });
        let hot_words = match &self.hot_words {
            Some(path) => within(path, HotWords::parse(&read_text(path)?, settings.hot_word_weight))?,
            None => HotWords::default(),
        };
        let lm = settings.lm.as_deref().map(LanguageModel::open).transpose()?;
        Ok(Resources { lm: lm.map(Arc::new), known: known.transpose()?, hot_words })
    }
}

pub(super) fn within<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| Error::file(path, error.to_string()))
}

/// Does `work` on all cores while `produce` gives items; what that returned, and the results in the order of the items.
///
/// # Errors
/// Those of `produce`.
pub(super) fn beside<T: Send, R: Send, F>(
    work: impl Fn(T) -> R + Sync,
    produce: impl FnOnce(&mut dyn FnMut(T)) -> Result<F>,
) -> Result<(F, Vec<R>)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (sender, receiver) = sync_channel::<(usize, T)>(WAITING * cores);
    let receiver = Mutex::new(receiver);
    let done = Mutex::new(Vec::new());
    let run = || {
        loop {
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((index, item)) = next else { break };
            // A thread that ended would leave the producer waiting.
            let result = catch_unwind(AssertUnwindSafe(|| work(item)));
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    let produced = std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(run);
        }
        let mut count = 0;
        let produced = produce(&mut |item| {
            // The threads take items until the sender is gone.
            let _ = sender.send((count, item));
            count += 1;
        });
        drop(sender);
        produced
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|&(index, _)| index);
    let results = done.into_iter().map(|(_, result)| result.unwrap_or_else(|panic| resume_unwind(panic)));
    Ok((produced, results.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let (produced, results) = beside(
            |x: u64| {
                std::thread::sleep(std::time::Duration::from_millis(x % 3));
                x * x
            },
            |give| {
                (0..50).for_each(give);
                Ok("all")
            },
        )
        .unwrap();
        assert_eq!((produced, results), ("all", (0..50).map(|x| x * x).collect()));
        let failed = beside(
            |x: u64| x,
            |give| {
                give(1);
                Err::<(), _>(Error::Interrupted)
            },
        );
        assert!(matches!(failed, Err(Error::Interrupted)));
    }
}
