//! `tokenizer.json`, the form of the `tokenizers` library.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::bpe::Merges;
use super::sentencepiece::spans;
use super::{BOUNDARY, MOST, Model, Pieces, Vocabulary, compose, is_blank, is_mark};
use crate::error::{Error, Result};

/// What is read of a tokenizer; the rest prepares inputs of other models.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    model: Content,
}

#[derive(Deserialize)]
struct Added {
    id: usize,
    content: String,
}

#[derive(Deserialize)]
struct Content {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    unk_id: Option<usize>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    vocab: Tokens,
    #[serde(default)]
    merges: Option<Vec<Merge>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an object from token to id, or a list of tokens with scores")]
enum Tokens {
    Ids(HashMap<String, usize>),
    Scores(Vec<(String, f64)>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a pair of tokens")]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// How a file prepares texts.
#[derive(Default)]
struct Prepared {
    compatible: bool,
    /// Whether something puts `▁` before every word.
    marked: bool,
}

/// Reads the text of a tokenizer.
pub(super) fn read(text: &str) -> Result<Pieces> {
    let file: File = serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("is no tokenizer.json ({error})")))?;
    let mut prepared = Prepared::default();
    steps(file.normalizer.as_ref(), &mut |step| normalizer(step, &mut prepared))?;
    steps(file.pre_tokenizer.as_ref(), &mut |step| pre_tokenizer(step, &mut prepared))?;
    if !prepared.marked {
        return Err(Error::invalid(
            "nothing in it puts ▁ before words (pre_tokenizer Metaspace); give a tokenizer whose words are marked by it",
        ));
    }
    let model = &file.model;
    let kind = model.kind.as_deref().unwrap_or(if model.merges.is_some() { "BPE" } else { "Unigram" });
    let affix = [&model.continuing_subword_prefix, &model.end_of_word_suffix].into_iter().flatten();
    if let Some(affix) = affix.into_iter().find(|affix| !affix.is_empty()) {
        return Err(Error::invalid(format!(
            "marks the parts of words with {affix:?}; only ▁ before words is read"
        )));
    }
    if model.dropout.is_some_and(|dropout| dropout > 0.0) {
        return Err(Error::invalid("parts texts at random (model.dropout); remove that"));
    }
    let mut marks: HashSet<String> = file.added_tokens.iter().map(|added| added.content.clone()).collect();
    marks.extend(model.unk_token.clone());
    let (mut tokens, mut scores) = match (&model.vocab, kind) {
        (Tokens::Ids(ids), "BPE") => (in_order(ids)?, Vec::new()),
        (Tokens::Scores(list), "Unigram") => list.iter().cloned().unzip(),
        _ => {
            return Err(Error::invalid(format!("its model is {kind:?}; BPE and Unigram can be read")));
        }
    };
    if tokens.len() > MOST {
        return Err(Error::invalid(format!("has more than {MOST} tokens")));
    }
    if let Some(at) = scores.iter().position(|score: &f64| !score.is_finite()) {
        return Err(Error::invalid(format!("the score of the token {:?} is not finite", tokens[at])));
    }
    tokens.iter_mut().for_each(|token| *token = compose(token));
    marks.extend(model.unk_id.and_then(|id| tokens.get(id).cloned()));
    // Added tokens may stand behind the others, or among them.
    for added in &file.added_tokens {
        match tokens.get(added.id) {
            Some(token) if *token == added.content => {}
            None if added.id == tokens.len() => {
                tokens.push(added.content.clone());
                scores.extend((kind == "Unigram").then_some(0.0));
            }
            _ => {
                let Added { id, content } = added;
                return Err(Error::invalid(format!(
                    "the added token {content:?} has the id {id} of another"
                )));
            }
        }
    }
    match tokens.first_mut() {
        Some(first) if is_blank(first) => *first = Vocabulary::BLANK_TOKEN.to_owned(),
        _ => {
            tokens.insert(0, Vocabulary::BLANK_TOKEN.to_owned());
            if kind == "Unigram" {
                scores.insert(0, 0.0);
            }
        }
    }
    let parts = |id: usize| id > 0 && !marks.contains(&tokens[id]) && !is_mark(&tokens[id]);
    if let Some(token) = (1..tokens.len()).filter(|&id| parts(id)).find(|&id| spans(&tokens[id])) {
        return Err(Error::invalid(format!(
            "the token {:?} holds ▁ behind its first character; give a tokenizer whose tokens lie within words",
            tokens[token]
        )));
    }
    if let Some(token) = tokens.iter().find(|token| token.is_empty() || token.contains(char::is_whitespace)) {
        return Err(Error::invalid(format!("the token {token:?} is empty or holds white space")));
    }
    let content = match kind {
        "BPE" => Model::Bpe(merges(&tokens, model.merges.as_deref().unwrap_or_default())?),
        _ => Model::Unigram(scores),
    };
    let own = tokens.clone();
    let parts = |id: usize| !marks.contains(&own[id]);
    Pieces::new(tokens, content, prepared.compatible, parts)
}

/// The tokens by their ids, which have no gaps.
fn in_order(ids: &HashMap<String, usize>) -> Result<Vec<String>> {
    let mut tokens = vec![None; ids.len()];
    for (token, &id) in ids {
        let Some(place @ None) = tokens.get_mut(id) else {
            return Err(Error::invalid(format!(
                "the id {id} of {token:?} is taken or leaves a gap; ids count from 0 without gaps"
            )));
        };
        *place = Some(token.clone());
    }
    Ok(tokens.into_iter().flatten().collect())
}

/// Visits a step of preparation, or those of a sequence.
fn steps(step: Option<&Value>, visit: &mut dyn FnMut(&Value) -> Result<()>) -> Result<()> {
    let Some(step) = step.filter(|step| !step.is_null()) else { return Ok(()) };
    let inner = ["normalizers", "pretokenizers"].into_iter().find_map(|key| step.get(key)?.as_array());
    match (step.get("type").and_then(Value::as_str), inner) {
        (Some("Sequence"), Some(inner)) => inner.iter().try_for_each(|step| steps(Some(step), visit)),
        _ => visit(step),
    }
}

fn unsupported(what: &str, step: &Value) -> Error {
    let kind = step.get("type").and_then(Value::as_str).unwrap_or("of no type");
    Error::invalid(format!(
        "its {what} {kind} is not supported; give a tokenizer of BPE or Unigram with Metaspace"
    ))
}

/// Texts are lower-cased and composed anyway, with single spaces between words.
fn normalizer(step: &Value, prepared: &mut Prepared) -> Result<()> {
    let text = |key: &str| step.get(key).and_then(Value::as_str);
    match text("type") {
        Some("NFC" | "Lowercase" | "Strip" | "Nmt") => {}
        // SentencePiece's rules are NFKC with changes of white space, unless they are one's own.
        Some("NFKC" | "Precompiled") => prepared.compatible = true,
        Some("Prepend") if text("prepend") == Some("▁") => prepared.marked = true,
        Some("Replace") => {
            let pattern = step.get("pattern");
            let from =
                pattern.and_then(|p| p.get("String").or_else(|| p.get("Regex"))).and_then(Value::as_str);
            let spaces = from.is_some_and(|from| [" ", " {2,}", "\\s+", " +"].contains(&from));
            if !spaces || !matches!(text("content"), Some(" " | "▁")) {
                return Err(unsupported("normalizer", step));
            }
        }
        _ => return Err(unsupported("normalizer", step)),
    }
    Ok(())
}

fn pre_tokenizer(step: &Value, prepared: &mut Prepared) -> Result<()> {
    match step.get("type").and_then(Value::as_str) {
        Some("WhitespaceSplit") => {}
        Some("Metaspace") => {
            let mark = step.get("replacement").and_then(Value::as_str).unwrap_or("▁");
            let never = step.get("prepend_scheme").and_then(Value::as_str) == Some("never")
                || step.get("add_prefix_space").and_then(Value::as_bool) == Some(false);
            if mark != "▁" || never {
                return Err(Error::invalid(
                    "its Metaspace puts no ▁ before the first word; give one that does",
                ));
            }
            prepared.marked = true;
        }
        _ => return Err(unsupported("pre_tokenizer", step)),
    }
    Ok(())
}

fn merges(tokens: &[String], list: &[Merge]) -> Result<Merges> {
    let ids: HashMap<&str, u32> = tokens.iter().map(String::as_str).zip(0..).collect();
    let mut merges = Merges::new();
    for (rank, merge) in list.iter().enumerate() {
        let pair = match merge {
            Merge::Line(line) => line.split_once(' '),
            Merge::Pair(left, right) => Some((left.as_str(), right.as_str())),
        };
        let known = pair.and_then(|(left, right)| {
            let known = |text: &str| ids.get(compose(text).as_str()).copied();
            Some(((known(left)?, known(right)?), known(&format!("{left}{right}"))?))
        });
        let Some((pair, merged)) = known else {
            return Err(Error::invalid(format!("merge {rank} is of tokens that the vocabulary has not")));
        };
        let next = merges.len() as u32;
        merges.entry(pair).or_insert((next, merged));
    }
    Ok(merges)
}

/// As the library reads it, with the ids of [`Pieces`].
pub(super) fn write(pieces: &Pieces) -> Value {
    let marks = (0..pieces.tokens.len()).filter(|&id| !pieces.ids.contains_key(&pieces.tokens[id]));
    let added: Vec<Value> = marks
        .map(|id| {
            json!({
                "id": id, "content": pieces.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        })
        .collect();
    let form = if pieces.compatible { "NFKC" } else { "NFC" };
    let space =
        json!({"type": "Metaspace", "replacement": BOUNDARY, "prepend_scheme": "always", "split": true});
    let model = match &pieces.model {
        Model::Bpe(merges) => {
            let mut list: Vec<_> = merges.iter().map(|(&pair, &(rank, _))| (rank, pair)).collect();
            list.sort_unstable();
            let token = |id: u32| pieces.tokens[id as usize].as_str();
            let list: Vec<_> =
                list.into_iter().map(|(_, (left, right))| [token(left), token(right)]).collect();
            let ids: serde_json::Map<String, Value> =
                pieces.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
            json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": ids, "merges": list,
            })
        }
        Model::Unigram(scores) => {
            let list: Vec<_> = pieces.tokens.iter().zip(scores).collect();
            json!({"type": "Unigram", "unk_id": null, "vocab": list, "byte_fallback": false})
        }
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": form}, {"type": "Lowercase"}]},
        "pre_tokenizer": space, "post_processor": null, "decoder": space, "model": model,
    })
}
