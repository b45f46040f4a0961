//! `polymix convert`

use super::arguments::{Convert, Global, TensorType};
use super::output::{print, table, thousands};
use super::train::command_line;
use crate::decode::Settings;
use crate::error::Result;
use crate::files::{is_file, read_text, unreadable};
use crate::models::{SavedModel, within};
use crate::weights::Precision;

/// Writes a model with its tensors in another type.
pub(super) fn run(command: &Convert, global: &Global) -> Result<()> {
    global.note_without_recipe("convert");
    let Convert { model, dtype, out } = command;
    SavedModel::check_room(out)?;
    let folder = SavedModel::folder(model)?;
    let saved = SavedModel::load(&folder)?;
    let (precision, name) = match dtype {
        TensorType::F16 => (Precision::F16, "f16"),
        TensorType::F32 => (Precision::F32, "f32"),
    };
    let card = match folder.join("README.md") {
        path if is_file(&path)? => read_text(&path)?,
        _ => "# polymix model\n".to_owned(),
    };
    let note = format!("Tensors in {name}, written by `{}`.", command_line());
    let card = format!("{}\n\n{note}\n", card.trim_end());
    let tensors = folder.join("model.safetensors");
    within(&tensors, saved.save(out, precision, &card))?;
    if let Some(settings) = Settings::of_model(&folder)? {
        settings.save(out)?;
    }
    let bytes = |path: &std::path::Path| {
        std::fs::metadata(path).map(|file| file.len() as usize).map_err(|error| unreadable(path, &error))
    };
    print(table(&[
        ["model".to_owned(), out.display().to_string()],
        ["tensors".to_owned(), name.to_owned()],
        ["bytes".to_owned(), thousands(bytes(&out.join("model.safetensors"))?)],
    ]))
}
