//! Models of whole utterances: classification and speaker embeddings.

use std::collections::BTreeSet;

use super::encoder::{Encoded, Encoder};
use crate::error::{Error, Result};
use crate::graph::{Init, Scope, Tensor};
use crate::nn::{AttentivePooling, Context, LayerSum, Linear};
use crate::recipe::{FinetuneConfig, Initialization, Target, TaskKind};
use crate::shape::Spec;

/// The head of a model of utterances: layers' outputs, weighted and summed → attentive statistics →
/// a Linear to the classes, or to an embedding that is compared with a direction of each class.
#[derive(Debug, Clone, PartialEq)]
pub struct UtteranceHead {
    /// Hidden width of the attention that weighs frames.
    pub pooling: usize,
    /// The field that is the class of a recording.
    pub target: Target,
    /// The classes, in the order of the outputs.
    pub labels: Vec<String>,
    /// Width of the embedding, where the model gives one.
    pub embedding: Option<usize>,
}

impl UtteranceHead {
    /// The head of a recipe for these classes.
    pub fn new(config: &FinetuneConfig, labels: Vec<String>) -> Self {
        let embedding = (config.task == TaskKind::Verify).then_some(config.embedding_width);
        Self { pooling: config.pooling_width, target: config.target(), labels, embedding }
    }

    /// Which task it was trained for.
    pub fn task(&self) -> TaskKind {
        if self.embedding.is_some() { TaskKind::Verify } else { TaskKind::Classify }
    }

    /// The number of a class.
    pub fn class(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|own| own == label)
    }

    /// # Errors
    /// When a width or the number of classes is out of range, or two classes have one name.
    pub(crate) fn check(&self) -> Result<()> {
        const WIDTHS: std::ops::RangeInclusive<usize> = 1..=65_536;
        for (name, width) in [("pooling", self.pooling), ("embedding", self.embedding.unwrap_or(1))] {
            if !WIDTHS.contains(&width) {
                return Err(Error::invalid(format!("{name} = {width} is out of range")));
            }
        }
        if self.labels.is_empty() || self.labels.len() > 1 << 20 {
            return Err(Error::invalid(format!("{} labels are out of range", self.labels.len())));
        }
        let mut known = BTreeSet::new();
        match self.labels.iter().find(|label| !known.insert(label.as_str())) {
            Some(label) => Err(Error::invalid(format!("the label {label:?} is there twice"))),
            None => Ok(()),
        }
    }
}

/// Encoder and head.
#[derive(Debug)]
pub struct UtteranceModel {
    encoder: Encoder,
    head: UtteranceHead,
}

/// The outputs of a model of utterances for a batch.
#[derive(Debug, Clone)]
pub struct Judged {
    /// A score of every class, [batch, classes]: logits, or cosines with the classes' directions.
    pub scores: Tensor,
    /// Embeddings of length 1, [batch, width], where the model gives them.
    pub embeddings: Option<Tensor>,
}

/// Added to squares before their root is taken.
const EPS: f32 = 1e-12;

impl UtteranceModel {
    /// The model around `encoder`.
    pub fn new(encoder: Encoder, head: UtteranceHead) -> Self {
        Self { encoder, head }
    }

    /// Features [batch, frames, bands] → what the head makes of every row, and the encoder's values. A row is judged by
    /// its valid frames alone.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn forward(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<(Judged, Encoded)> {
        let encoded = self.encoder.forward(scope, ctx, features)?;
        Ok((self.judge(scope, ctx, &encoded.outputs())?, encoded))
    }

    /// The head's result for the outputs of all layers ([`Encoded::outputs`]).
    ///
    /// # Errors
    /// When they do not fit.
    pub fn judge(&self, scope: &Scope, ctx: &Context, outputs: &[Tensor]) -> Result<Judged> {
        let (scope, width, classes) = (scope.at("head"), self.encoder.width(), self.head.labels.len());
        let summed = LayerSum.forward(&scope, outputs)?;
        let pooling = AttentivePooling { width, hidden: self.head.pooling };
        let pooled = pooling.forward(&scope.at("pooling"), ctx, &summed)?;
        let torch = Initialization::Torch;
        match self.head.embedding {
            None => {
                let scores = Linear::new(2 * width, classes, torch).forward(&scope.at("linear"), &pooled)?;
                Ok(Judged { scores, embeddings: None })
            }
            Some(embedding) => {
                let linear = Linear::new(2 * width, embedding, torch);
                let embeddings = unit_rows(&linear.forward(&scope.at("embedding"), &pooled)?)?;
                let init = Init::xavier_normal(embedding, classes);
                let directions = scope.at("classes").parameter("weight", [classes, embedding], init)?;
                let scores = embeddings.linear(&unit_rows(&directions)?, None)?;
                Ok(Judged { scores, embeddings: Some(embeddings) })
            }
        }
    }

    /// The mean cross-entropy of the rows that have a class, and how many of them have it as their best, each `[1]`.
    /// Cosines have `margin` added to the angle of the own class and are multiplied by `scale` first.
    ///
    /// The inputs are `selected` (u32 `[batch]`: the rows with a class, first), `targets` (u32 `[batch]`: their classes)
    /// and `selected_count` (u32 `[1]`).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn loss(
        &self,
        scope: &Scope,
        ctx: &Context,
        judged: &Judged,
        margin: f32,
        scale: f32,
    ) -> Result<(Tensor, Tensor)> {
        let [selected, targets] =
            ["selected", "targets"].map(|name| scope.input(name, Spec::u32([ctx.batch])));
        let count = scope.input("selected_count", Spec::u32([1]));
        let mut logits = judged.scores.gather_rows(&selected)?;
        if self.head.embedding.is_some() {
            logits = logits.angular_margin(&targets, margin)?.scale(scale)?;
        }
        logits.cross_entropy(&targets, &count)
    }
}

/// The rows of a matrix, each divided by its length.
fn unit_rows(x: &Tensor) -> Result<Tensor> {
    x.div(&x.mul(x)?.sum(1, 2)?.root(EPS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_of_their_own() {
        let config = FinetuneConfig { task: TaskKind::Classify, ..FinetuneConfig::default() };
        let check = |labels: &[&str]| {
            UtteranceHead::new(&config, labels.iter().map(|&label| label.to_owned()).collect()).check()
        };
        assert!(check(&["a", "b"]).is_ok());
        assert!(check(&["b", "a", "b"]).unwrap_err().to_string().contains("\"b\" is there twice"));
        assert!(check(&[]).is_err());
    }
}
