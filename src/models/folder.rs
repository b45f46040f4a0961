//! MODEL folders: `config.json`, `model.safetensors`, `vocab.json`, `preprocessor_config.json`, `README.md`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::saved::{SavedModel, within};
use crate::error::{Error, Result};
use crate::weights::{Precision, Weights};

/// The files of a MODEL folder.
const FILES: [&str; 5] =
    ["config.json", "model.safetensors", "preprocessor_config.json", "vocab.json", "README.md"];

/// Reads a text file of a folder.
fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|e| Error::file(&path, format!("cannot be read ({e})")))
}

/// Writes a file whole: aside, flushed to the disk, renamed.
///
/// # Errors
/// When the disk is full or the folder cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let aside = path.with_extension("partial");
    let written = std::fs::File::create(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&aside, path)).map_err(|e| {
        // What was written of it is of no use.
        let _ = std::fs::remove_file(&aside);
        Error::file(path, format!("cannot be written ({e}); free space or choose another folder"))
    })
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
        let candidates = [folder.to_path_buf(), folder.join("best"), folder.join("last")];
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
        let tensors = self.weights.serialize(precision)?;
        let aside = folder.with_extension("partial");
        let failed =
            |e: std::io::Error| Error::file(folder, format!("cannot be written ({e}); free space first"));
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(failed)?;
        }
        std::fs::create_dir_all(&aside).map_err(failed)?;
        write_whole(&aside.join("config.json"), &json(&self.config)?)?;
        write_whole(&aside.join("preprocessor_config.json"), &json(&self.preprocessor)?)?;
        write_whole(&aside.join("model.safetensors"), &tensors)?;
        if let Some(vocabulary) = &self.vocabulary {
            write_whole(&aside.join("vocab.json"), vocabulary.to_json().as_bytes())?;
        }
        write_whole(&aside.join("README.md"), card.as_bytes())?;
        replace_folder(&aside, folder)
    }
}

/// Puts the whole folder `aside` in the place of `folder`.
///
/// # Errors
/// When the file system refuses.
pub fn replace_folder(aside: &Path, folder: &Path) -> Result<()> {
    let old = folder.with_extension("old");
    let swap = || {
        if old.exists() {
            std::fs::remove_dir_all(&old)?;
        }
        if folder.exists() {
            std::fs::rename(folder, &old)?;
        }
        std::fs::rename(aside, folder)?;
        if old.exists() {
            std::fs::remove_dir_all(&old)?;
        }
        Ok(())
    };
    swap().map_err(|e: std::io::Error| Error::file(folder, format!("cannot be replaced ({e})")))
}
