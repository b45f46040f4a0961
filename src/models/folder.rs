//! MODEL folders: `config.json`, `model.safetensors`, `vocab.json`, `preprocessor_config.json`, `README.md`, and
//! perhaps `decoder.json`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::saved::{SavedModel, within};
use crate::error::{Error, Result};
use crate::files::{NewFolder, standing};
use crate::weights::{Precision, Weights};

/// The files of a MODEL folder.
const FILES: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "vocab.json",
    "README.md",
    crate::decode::Settings::FILE,
];

/// Reads a text file of a folder.
fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|e| Error::file(&path, format!("cannot be read ({e})")))
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|e| Error::invalid(e.to_string()))
}

impl SavedModel {
    /// The folder of the model that `folder` names: itself, or the best model of the RUN.
    ///
    /// # Errors
    /// When it is neither.
    pub fn folder(folder: &Path) -> Result<PathBuf> {
        let candidates = [folder, &folder.join("best"), &folder.join("last")].map(standing);
        let found = candidates.into_iter().find(|candidate| candidate.join("config.json").is_file());
        found.ok_or_else(|| {
            Error::file(folder, "is neither a model (no config.json) nor a run with one; give a model folder")
        })
    }

    /// Reads the MODEL `folder`, or the RUN's best model.
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others.
    pub fn load(folder: &Path) -> Result<Self> {
        let folder = Self::folder(folder)?;
        let config = read(&folder, "config.json")?;
        let preprocessor = read(&folder, "preprocessor_config.json")?;
        let vocabulary = match folder.join("vocab.json").is_file() {
            true => Some(read(&folder, "vocab.json")?),
            false => None,
        };
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, format!("cannot be read ({e})")))?;
        let weights = within(&path, Weights::parse(&bytes))?;
        Self::from_files(&folder, &config, &preprocessor, vocabulary.as_deref(), weights)
    }

    /// Checks that nothing but a model would be lost if one were saved as `folder`.
    ///
    /// # Errors
    /// When it is a file, or a folder that holds something else.
    pub fn check_room(folder: &Path) -> Result<()> {
        let failed =
            |e: std::io::Error| Error::file(folder, format!("cannot be read ({e}); give another folder"));
        if !folder.exists() {
            return Ok(());
        }
        if !folder.is_dir() {
            return Err(Error::file(folder, "is no folder; give another --out"));
        }
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
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
        let mut new = NewFolder::create(folder)?;
        new.write("config.json", &json(&self.config)?)?;
        new.write("preprocessor_config.json", &json(&self.preprocessor)?)?;
        new.write("model.safetensors", &self.weights.serialize(precision)?)?;
        if let Some(vocabulary) = &self.vocabulary {
            new.write("vocab.json", vocabulary.to_json().as_bytes())?;
        }
        new.write("README.md", card.as_bytes())?;
        new.finish()
    }
}
