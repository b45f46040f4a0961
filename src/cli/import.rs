//! `polymix import`

use std::path::{Path, PathBuf};

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
    let ImportSpeechbrain { weights, hyper_parameters, tokens, out } = command;
    SavedModel::check_room(out)?;
    let text = String::from_utf8(read(hyper_parameters)?)
        .map_err(|_| Error::file(hyper_parameters, "is no text; give the recipe's values as JSON"))?;
    let values = within(hyper_parameters, HyperParameters::from_json(&text))?;
    let tensors = within(weights, Weights::parse(&read(weights)?))?;
    let outputs = within(weights, speechbrain::outputs(&tensors))?;
    let model = match outputs {
        None if tokens.is_some() => {
            let message = "holds a pre-trained encoder, which writes no tokens; leave --tokens out";
            return Err(Error::file(weights, message));
        }
        None => {
            within(hyper_parameters, values.quantizer())?;
            within(weights, speechbrain::import(&tensors, &values))?
        }
        Some(outputs) => {
            let file = tokens.clone().or_else(|| beside(weights)).ok_or_else(|| {
                Error::file(
                    weights,
                    "holds a recognizer; give its label_encoder.txt, SentencePiece model or tokenizer.json by --tokens",
                )
            })?;
            let vocabulary = within(&file, speechbrain::tokens(&read(&file)?, outputs))?;
            within(weights, speechbrain::import_recognizer(&tensors, &values, vocabulary))?
        }
    };
    model.save(out, Precision::F32, &card(command, outputs.is_some()))?;
    let parameters = model.config.parameters()?;
    let trainable = parameters.iter().filter(|parameter| parameter.trainable);
    let count = trainable.map(|parameter| parameter.shape.elements()).sum();
    let encoder = &model.config.model;
    let mut rows = vec![
        ["encoder".to_owned(), format!("{} layers of width {}", encoder.layers, encoder.d_model)],
        ["mixer".to_owned(), encoder.mixer.for_layer(0).to_string()],
        ["parameters".to_owned(), format!("{} trainable", thousands(count))],
    ];
    rows.extend(model.vocabulary.as_ref().map(|vocabulary| {
        let kind = if vocabulary.has_pieces() { "sub-words" } else { "characters and marks" };
        ["vocabulary".to_owned(), format!("{} {kind} and the blank", vocabulary.len() - 1)]
    }));
    rows.push(["model".to_owned(), out.display().to_string()]);
    print(table(&rows))
}

/// The tokens that SpeechBrain saves with a model, where they are beside its weights.
fn beside(weights: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 4] = ["label_encoder.txt", "tokenizer.model", "tokenizer.ckpt", "tokenizer.json"];
    NAMES.into_iter().map(|name| weights.with_file_name(name)).find(|path| path.is_file())
}

/// The model's README.
fn card(command: &ImportSpeechbrain, recognizer: bool) -> String {
    format!(
        "# {} from SpeechBrain\n\n\
         | | |\n|---|---|\n| weights | {} |\n| hyper-parameters | {} |\n| command | `{}` |\n\n\
         Padded frames do what they do in SpeechBrain (`padding = \"reference\"`).\n",
        if recognizer { "CTC recognizer" } else { "BEST-RQ encoder" },
        command.weights.display(),
        command.hyper_parameters.display(),
        command_line()
    )
}
