//! MODEL folders: `config.json`, `model.safetensors`, `vocab.json`, `preprocessor_config.json`, `README.md`, and
//! perhaps `tokenizer.json` and `decoder.json`.

use std::path::{Path, PathBuf};

use web_time::Instant;

use super::saved::{SavedModel, within};
use crate::error::{Error, Remedy, Result};
use crate::files::{self, NewFolder, is_file, standing};
use crate::text::{Pieces, Vocabulary};
use crate::weights::{Precision, Weights};

/// The files of a MODEL folder.
const FILES: [&str; 7] = [
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "vocab.json",
    "tokenizer.json",
    "README.md",
    crate::decode::Settings::FILE,
];

/// Reads a text file of a folder.
fn read(folder: &Path, name: &str) -> Result<String> {
    files::read_text(&folder.join(name))
}

impl SavedModel {
    /// The folder of the model that `folder` names: itself, or the best model of the RUN.
    ///
    /// # Errors
    /// When it is neither.
    pub fn folder(folder: &Path) -> Result<PathBuf> {
        let candidates = [folder, &folder.join("best"), &folder.join("last")].map(standing);
        for candidate in candidates {
            if is_file(&candidate.join("config.json"))? {
                return Ok(candidate);
            }
        }
        let message = match files::about(folder)? {
            None => "is not there; give a model folder, or a run with one",
            Some(_) => "is neither a model (no config.json) nor a run with one; give a model folder",
        };
        Err(Error::file(folder, message))
    }

    /// Reads the MODEL `folder`, or the RUN's best model.
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others.
    pub fn load(folder: &Path) -> Result<Self> {
        let begun = Instant::now();
        let folder = Self::folder(folder)?;
        let config = read(&folder, "config.json")?;
        let preprocessor = read(&folder, "preprocessor_config.json")?;
        let vocabulary = match is_file(&folder.join("vocab.json"))? {
            true => Some(read(&folder, "vocab.json")?),
            false => None,
        };
        let path = folder.join("model.safetensors");
        let weights = within(&path, Weights::parse(&files::read(&path)?))?;
        let mut model = Self::from_files(&folder, &config, &preprocessor, vocabulary.as_deref(), weights)?;
        if is_file(&folder.join("tokenizer.json"))?
            && model.vocabulary.as_ref().is_some_and(Vocabulary::has_pieces)
        {
            let pieces = Pieces::parse(read(&folder, "tokenizer.json")?.as_bytes());
            let joined = model.vocabulary.take().map(|vocabulary| vocabulary.with_pieces(pieces?));
            model.vocabulary = within(&folder.join("tokenizer.json"), joined.transpose())?;
        }
        tracing::debug!(
            "read the model {}: {} tensors in {:.1} ms",
            folder.display(),
            model.weights.len(),
            begun.elapsed().as_secs_f64() * 1e3
        );
        Ok(model)
    }

    /// Checks that nothing but a model would be lost if one were saved as `folder`.
    ///
    /// # Errors
    /// When it is a file, or a folder that holds something else.
    pub fn check_room(folder: &Path) -> Result<()> {
        match files::about(folder)? {
            None => return Ok(()),
            Some(there) if !there.is_dir() => {
                return Err(Error::file(folder, "is no folder").advise(Remedy::OtherFolder));
            }
            Some(_) => {}
        }
        for entry in files::entries(folder)? {
            let name = entry.file_name().unwrap_or_default();
            if !FILES.iter().any(|known| name == *known) {
                let name = name.to_string_lossy();
                return Err(Error::file(
                    folder,
                    format!("holds {name}, which is of no model; give another folder"),
                ));
            }
        }
        Ok(())
    }

    /// Writes the MODEL `folder` aside and renames it, the tensors in `precision`; `card` is its README.
    ///
    /// # Errors
    /// When a value does not fit the precision, the disk is full or the folder cannot be written.
    pub fn save(&self, folder: &Path, precision: Precision, card: &str) -> Result<()> {
        let begun = Instant::now();
        let mut new = NewFolder::create(folder)?;
        for (name, content) in self.files(precision, card)? {
            new.write(name, &content)?;
        }
        new.finish()?;
        tracing::debug!(
            "wrote the model {} in {:.1} ms",
            folder.display(),
            begun.elapsed().as_secs_f64() * 1e3
        );
        Ok(())
    }
}
