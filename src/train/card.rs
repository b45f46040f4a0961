//! The model card of a run.

use super::metrics::Phase;
use super::run::Run;
use super::task::Measure;
use crate::decode::Kind;

impl Run<'_> {
    /// The model card: what it was trained on, what its score is of, what neither includes.
    pub(super) fn card(&self) -> String {
        let phase = match self.task.phase() {
            Phase::Pretrain => "BEST-RQ pre-training",
            Phase::Finetune => match self.task.measure() {
                Measure::Accuracy => "fine-tuning on classes of utterances",
                Measure::EqualErrorRate => "fine-tuning for the verification of speakers",
                Measure::Loss | Measure::WordErrorRate => "CTC fine-tuning",
            },
        };
        let best = match (self.state.best, &self.state.best_of) {
            (Some(best), of) => {
                let settings = self.recipe.finetune.decoder.as_ref();
                let beam = settings.filter(|settings| settings.decoder == Kind::Beam);
                let how = match beam.filter(|_| self.task.measure() == Measure::WordErrorRate) {
                    Some(settings) if settings.lm.is_some() => " by beam search with a language model",
                    Some(_) => " by beam search",
                    None => "",
                };
                let score = format!("{}{how}", self.task.measure().describe(best));
                of.as_ref().map_or(score.clone(), |of| format!("{score} at step {}, {}", of.step, of.of()))
            }
            (None, _) => "not validated".to_owned(),
        };
        let left_out = self.train_named.all();
        let mut lists = String::new();
        let validation = self.state.best_of.iter().flat_map(|of| &of.left_out);
        let training = left_out.iter().map(|(_, one)| one);
        for (what, count, list) in [
            (
                "the score",
                self.state.best_of.as_ref().map_or(0, |of| of.left_out_reasons.values().sum()),
                validation.collect::<Vec<_>>(),
            ),
            ("training", left_out.len(), training.take(10).collect()),
        ] {
            if !list.is_empty() {
                lists += &format!("\nLeft out of {what}, {count} in all:\n\n");
                list.iter().for_each(|one| lists += &format!("* {one}\n"));
            }
        }
        let capabilities = self.trainer.executor.gpu().capabilities();
        format!(
            "# polymix model\n\n\
             A Conformer of {layers} layers, width {width}, mixer {mixer}, with {parameters} trainable \
             parameters, after {phase}.\n\n\
             | | |\n|---|---|\n\
             | data | {examples} examples, {hours:.2} hours; left out: {left_out} |\n\
             | steps | {step} of {steps} |\n\
             | result | {best} |\n\
             | seed | {seed} |\n\
             | adapter | {backend} {adapter} |\n\
             | command | `{command}` |\n{lists}",
            layers = self.recipe.model.layers,
            width = self.recipe.model.d_model,
            mixer = self.recipe.model.mixer.label(),
            parameters = self.trainer.parameters.trainable(),
            examples = self.train.examples.list.len(),
            hours = self.train.examples.hours(),
            step = self.state.step,
            steps = self.steps,
            seed = self.state.seed,
            backend = capabilities.backend,
            adapter = capabilities.adapter,
            command = self.command,
        )
    }
}
