//! Differences of two recipes, key by key.

use serde_json::{Map, Value};

use super::{MixerKind, ModelConfig, Recipe};
use crate::error::{Error, Result};

/// A key to which two recipes give different values.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The whole key, such as `model.d_model`.
    pub key: String,
    /// The one value; `none` where it gives none.
    pub before: String,
    /// The other value.
    pub now: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {} (was {})", self.key, self.now, self.before)
    }
}

/// As `a = 1 (was 2), b = 3 (was 4)`.
pub fn listed(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join(", ")
}

impl ModelConfig {
    /// Keys under which the same weights are of use: they begin elsewhere, but mean the same.
    pub const ADAPTABLE: [&str; 3] = ["causal_chunk", "padding", "initialization"];

    /// The keys that `self` and `before` give different values, as `model.<key>`. Keys that none of the mixers reads do
    /// not count.
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        differences(&section("model", &before.canonical()), &section("model", &self.canonical()))
    }

    /// With a mixer's name for every layer, and without the keys that none of the mixers reads.
    fn canonical(&self) -> Value {
        let kinds: Vec<MixerKind> = (0..self.layers).map(|layer| self.mixer.for_layer(layer)).collect();
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let mut value = json(self);
        if let Value::Object(keys) = &mut value {
            let same = names.windows(2).all(|pair| pair[0] == pair[1]);
            keys.insert("mixer".to_owned(), if same { json(&names.first()) } else { json(&names) });
            let of_some = MixerKind::ALL.iter().flat_map(|kind| kind.keys());
            for key in of_some.filter(|key| !kinds.iter().any(|kind| kind.keys().contains(key))) {
                keys.remove(*key);
            }
        }
        value
    }
}

impl Recipe {
    /// Every key to which `self` and `before` give different values.
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        differences(&json(before), &json(self))
    }

    /// As JSON, with all values.
    pub fn to_json(&self) -> Value {
        json(self)
    }

    /// Reads what [`Recipe::to_json`] wrote, also in an earlier version: a key that it lacks has the default's
    /// value.
    ///
    /// # Errors
    /// When a key or a value is not known any more.
    pub fn from_json(value: &Value) -> Result<Self> {
        let mut filled = json(&Self::default());
        fill(&mut filled, value);
        serde_json::from_value(filled).map_err(|error| Error::invalid(format!("not a recipe: {error}")))
    }
}

fn section(name: &str, value: &Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value.clone())]))
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Puts what `over` gives over `base`, table by table. A table that gives the keys of an alternative, or names
/// another kind, is taken whole.
fn fill(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                let whole = super::WHOLE.contains(&key.as_str());
                match base.get_mut(key).filter(|_| !whole) {
                    Some(inner) => fill(inner, value),
                    None => drop(base.insert(key.clone(), value.clone())),
                }
            }
            // Of alternatives, the one that `over` gives is the only one.
            for [one, other] in super::ALTERNATIVES {
                for (given, taken) in [(one, other), (other, one)] {
                    if over.contains_key(given) && !over.contains_key(taken) {
                        base.remove(taken);
                    }
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn differences(before: &Value, now: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(String::new(), Some(before), Some(now), &mut all);
    all
}

fn compare(key: String, before: Option<&Value>, now: Option<&Value>, all: &mut Vec<Difference>) {
    if let (Some(Value::Object(before)), Some(Value::Object(now))) = (before, now) {
        let mut names: Vec<&String> = now.keys().chain(before.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            compare(key, before.get(name), now.get(name), all);
        }
    } else if before != now {
        let text = |value: Option<&Value>| match value {
            None | Some(Value::Null) => "none".to_owned(),
            Some(value) => value.to_string(),
        };
        all.push(Difference { key, before: text(before), now: text(now) });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MixerSpec, PaddedFrames};
    use super::*;

    #[test]
    fn every_key_that_differs_is_named_with_both_values() {
        let before = Recipe::default();
        let mut now = before.clone();
        assert_eq!(now.differences(&before), []);
        now.run.seed = 7;
        now.finetune.optimizer.encoder_lr = 0.5;
        (now.finetune.steps, now.finetune.epochs) = (Some(9), None);
        now.model.causal_chunk = Some(8);
        let text = listed(&now.differences(&before));
        assert_eq!(
            text,
            "finetune.epochs = none (was 30), finetune.optimizer.encoder_lr = 0.5 (was 0.00005), finetune.steps = 9 \
             (was none), model.causal_chunk = 8 (was none), run.seed = 7 (was 0)"
        );
        // An earlier version did not know every key.
        let mut old = now.to_json();
        old["run"].as_object_mut().unwrap().remove("keep_checkpoints");
        assert_eq!(Recipe::from_json(&old).unwrap(), now);
        old["run"]["keep_everything"] = Value::Bool(true);
        assert!(Recipe::from_json(&old).unwrap_err().to_string().contains("keep_everything"));
    }

    #[test]
    fn the_architecture_is_what_the_weights_depend_on() {
        let before = ModelConfig::default();
        let free = ModelConfig { heads: 4, ..before.clone() };
        assert_eq!(free.differences(&before), []);
        let every = vec![MixerKind::Pom; before.layers];
        let same = ModelConfig { mixer: MixerSpec::PerLayer(every), ..before.clone() };
        assert_eq!(same.differences(&before), []);
        let other = ModelConfig { d_model: 16, padding: PaddedFrames::Reference, ..before.clone() };
        assert_eq!(
            listed(&other.differences(&before)),
            "model.d_model = 16 (was 488), model.padding = \"reference\" (was \"masked\")"
        );
        let mixer = ModelConfig { mixer: MixerSpec::Every(MixerKind::RegularMha), ..before.clone() };
        assert!(listed(&mixer.differences(&before)).contains("model.mixer = \"regular-mha\" (was \"pom\")"));
    }
}
