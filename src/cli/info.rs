//! `polymix info`

use std::collections::BTreeMap;
use std::path::Path;

use super::arguments::{Global, Info};
use super::output::{one_line, print, table, thousands};
use crate::audio::{Normalization, Padding};
use crate::error::{Error, Result};
use crate::files;
use crate::models::{ModelKind, SavedModel, UtteranceHead};
use crate::recipe::{Head, ModelTable};
use crate::text::Vocabulary;

/// Describes a model.
pub(super) fn run(command: &Info, global: &Global) -> Result<()> {
    global.note_without_recipe("info");
    let model = SavedModel::load(&command.model)?;
    let parameters = model.config.parameters()?;
    let mut parts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for parameter in &parameters {
        let part = parameter.name.split('.').next().unwrap_or_default();
        *parts.entry((!parameter.trainable, part)).or_default() += parameter.shape.elements();
    }
    let total: usize = parts.iter().filter(|((frozen, _), _)| !frozen).map(|(_, count)| count).sum();
    let mut rows = vec![
        ["kind".to_owned(), kind(&model.config.kind)],
        ["parameters".to_owned(), format!("{} trainable", thousands(total))],
    ];
    for ((frozen, part), count) in parts {
        rows.push([
            format!("  {part}"),
            format!("{}{}", thousands(count), if frozen { " frozen" } else { "" }),
        ]);
    }
    rows.extend(model.vocabulary.as_ref().map(|v| ["vocabulary".to_owned(), characters(v)]));
    rows.extend(model.config.kind.utterance().map(|head| ["labels".to_owned(), labels(&head.labels)]));
    let preprocessor = &model.preprocessor;
    let normalization = match preprocessor.normalization {
        Normalization::Global(_) => "global",
        Normalization::Sentence => "sentence",
    };
    let padding = match preprocessor.padding {
        Padding::Masked => "masked",
        Padding::Causal => "causal",
        Padding::ReferencePretrain | Padding::ReferenceFinetune => "reference",
    };
    rows.push([
        "preprocessing".to_owned(),
        format!(
            "{} Hz, {} mel bands, {} s of silence at both ends, {normalization} normalization, {padding} padding",
            preprocessor.sampling_rate, model.config.bands, preprocessor.silence
        ),
    ]);
    rows.extend(card(&command.model)?);
    let table_of_model = ModelTable { model: model.config.model.clone(), options: model.config.options };
    let config = toml::to_string(&table_of_model)
        .map_err(|error| Error::invalid(format!("the configuration is no TOML: {error}")))?;
    print(format!("{}\n\n[model]\n{config}", table(&rows)))
}

/// The rows of the table in the model's card: what it was trained on, and what its score is of.
fn card(model: &Path) -> Result<Vec<[String; 2]>> {
    let path = SavedModel::folder(model)?.join("README.md");
    if !files::is_file(&path)? {
        return Ok(Vec::new());
    }
    let bytes = files::read(&path)?;
    let text = String::from_utf8_lossy(&bytes);
    let cells = |line: &str| {
        let (key, value) = line.trim().strip_prefix('|')?.strip_suffix('|')?.split_once('|')?;
        let (key, value) = (one_line(key), one_line(value));
        let named = key.chars().any(char::is_alphanumeric);
        named.then_some([key, value])
    };
    Ok(text.lines().filter_map(cells).collect())
}

fn kind(kind: &ModelKind) -> String {
    match kind {
        ModelKind::BestRq { codes, code_dim } => {
            format!("BEST-RQ encoder with a quantizer of {codes} codes of width {code_dim}")
        }
        ModelKind::Ctc(head) => {
            let layers = match head.head {
                Head::Linear => "one Linear".to_owned(),
                Head::Mlp => format!("three layers of {} and a Linear", head.width),
            };
            format!("CTC recognizer: {layers} to {} tokens", head.vocabulary)
        }
        ModelKind::Utterance(UtteranceHead { target, embedding, labels, .. }) => {
            let (target, count) = (target.name(), labels.len());
            match embedding {
                None => format!("classifier of the {target}: attentive statistics to {count} classes"),
                Some(width) => format!(
                    "verifier of the {target}: attentive statistics to embeddings of width {width}, trained on {count} classes"
                ),
            }
        }
    }
}

/// The classes, the first of many.
fn labels(labels: &[String]) -> String {
    let more = match labels.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!(" and {more} others"),
        _ => String::new(),
    };
    let shown: Vec<&str> = labels.iter().take(SHOWN).map(String::as_str).collect();
    format!("{}: {}{more}", labels.len(), one_line(&shown.join(", ")))
}

/// Sub-words and classes that are shown.
const SHOWN: usize = 40;

/// The tokens, blank first.
fn characters(vocabulary: &Vocabulary) -> String {
    let count = vocabulary.len();
    let tokens = (0..count as u32).filter_map(|id| vocabulary.token(id));
    if vocabulary.has_pieces() {
        let shown: Vec<&str> = tokens.skip(1).take(SHOWN).collect();
        let kind = vocabulary.pieces().map_or("without a tokenizer.json", |pieces| pieces.kind());
        let more = match count - 1 > SHOWN {
            true => format!(" and {} others", count - 1 - SHOWN),
            false => String::new(),
        };
        return format!("{} sub-words ({kind}) and the blank: {}{more}", count - 1, shown.join(" "));
    }
    let shown: Vec<String> = tokens
        .map(|token| if token.trim().is_empty() { format!("{token:?}") } else { token.to_owned() })
        .collect();
    format!("{} tokens: {}", vocabulary.len(), shown.join(" "))
}
