//! `polymix lm`

use std::path::Path;

use serde::Serialize;

use super::arguments::{Global, Lm, LmBuild, LmInfo, LmTrain};
use super::output::{note, print, print_json, table, thousands};
use crate::decode::lm::{Counts, LanguageModel, Trained};
use crate::error::{Error, Result};
use crate::files::unreadable;

/// The output of `lm info --json`.
#[derive(Debug, Serialize)]
struct Info {
    order: usize,
    /// Of 1-grams, 2-grams, …
    ngrams: Vec<u64>,
    words: usize,
    bytes: u64,
    bytes_per_ngram: f64,
}

/// Makes or describes a language model.
pub(super) fn run(command: &Lm, global: &Global) -> Result<()> {
    global.note_without_recipe("lm");
    match command {
        Lm::Build(LmBuild { arpa, out }) => {
            let model = whole(arpa)?;
            model.save(out)?;
            described(out)
        }
        Lm::Train(LmTrain { text, order, out }) => {
            let mut counts = Counts::new(*order)?;
            for path in text {
                counts.add_file(path)?;
            }
            let Trained { model, notes } = counts.train()?;
            notes.iter().filter(|_| !global.quiet).for_each(note);
            model.save(out)?;
            described(out)
        }
        Lm::Info(LmInfo { lm, json }) => {
            let info = Info::of(lm)?;
            if *json { print_json(&info) } else { print(info.table()) }
        }
    }
}

/// Opens a model and checks every byte of it.
fn whole(path: &Path) -> Result<LanguageModel> {
    let model = LanguageModel::open(path)?;
    model.verify().map_err(|error| Error::file(path, error.to_string()))?;
    Ok(model)
}

/// Describes what was written, where it can be read again: a device or pipe cannot.
fn described(path: &Path) -> Result<()> {
    if path.is_file() { print(Info::of(path)?.table()) } else { Ok(()) }
}

impl Info {
    /// Of the model at `path`.
    fn of(path: &Path) -> Result<Self> {
        let model = whole(path)?;
        let bytes = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        let ngrams = model.counts();
        let bytes_per_ngram = bytes.len() as f64 / ngrams.iter().sum::<u64>() as f64;
        Ok(Self {
            order: model.order(),
            words: model.words().count(),
            bytes: bytes.len(),
            bytes_per_ngram,
            ngrams,
        })
    }

    fn table(&self) -> String {
        let mut rows = vec![["order".to_owned(), self.order.to_string()]];
        rows.push(["words".to_owned(), thousands(self.words)]);
        let orders = self.ngrams.iter().zip(1..);
        rows.extend(orders.map(|(&count, order)| [format!("{order}-grams"), thousands(count as usize)]));
        let each = format!("{}, {:.2} an n-gram", thousands(self.bytes as usize), self.bytes_per_ngram);
        rows.push(["bytes".to_owned(), each]);
        table(&rows)
    }
}
