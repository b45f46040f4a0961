//! `polymix import`

use super::arguments::{Global, Import, ImportSpeechbrain};
use super::output::{print, table, thousands};
use super::train::command_line;
use crate::error::{Error, Result};
use crate::files::read;
use crate::models::speechbrain::{self, HyperParameters};
use crate::models::{SavedModel, within};
use crate::weights::{Precision, Weights};

/// Makes a model of another toolkit's checkpoint.
pub(super) fn run(command: &Import, global: &Global) -> Result<()> {
    global.note_without_recipe("import");
    match command {
        Import::Speechbrain(command) => import(command),
    }
}

fn import(command: &ImportSpeechbrain) -> Result<()> {
    let ImportSpeechbrain { weights, hyper_parameters, out } = command;
    SavedModel::check_room(out)?;
    let text = String::from_utf8(read(hyper_parameters)?)
        .map_err(|_| Error::file(hyper_parameters, "is no text; give the recipe's values as JSON"))?;
    let values = within(hyper_parameters, HyperParameters::from_json(&text))?;
    let tensors = within(weights, Weights::parse(&read(weights)?))?;
    let model = within(weights, speechbrain::import(&tensors, &values))?;
    model.save(out, Precision::F32, &card(command))?;
    let parameters = model.config.parameters()?;
    let trainable = parameters.iter().filter(|parameter| parameter.trainable);
    let count = trainable.map(|parameter| parameter.shape.elements()).sum();
    let encoder = &model.config.model;
    print(table(&[
        ["encoder".to_owned(), format!("{} layers of width {}", encoder.layers, encoder.d_model)],
        ["mixer".to_owned(), encoder.mixer.for_layer(0).to_string()],
        ["parameters".to_owned(), format!("{} trainable", thousands(count))],
        ["model".to_owned(), out.display().to_string()],
    ]))
}

/// The model's README.
fn card(command: &ImportSpeechbrain) -> String {
    format!(
        "# BEST-RQ encoder from SpeechBrain\n\n\
         | | |\n|---|---|\n| weights | {} |\n| hyper-parameters | {} |\n| command | `{}` |\n\n\
         Padded frames do what they do in SpeechBrain (`padding = \"reference\"`).\n",
        command.weights.display(),
        command.hyper_parameters.display(),
        command_line()
    )
}
