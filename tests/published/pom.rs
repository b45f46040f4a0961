//! The PoM model of degree 2 and expansion 2: one utterance, three padded together, twelve steps.

use pollster::block_on;
use polymix::data::Batch;
use polymix::error::Result;
use polymix::exec::Executor;
use polymix::exec::Plan;
use polymix::graph::Graph;
use polymix::models::{BestRq, Encoder, MaskedBatch, ModelKind, PretrainLoss};
use polymix::nn::{Context, Mode};
use polymix::recipe::{MixerSpec, ModelConfig, OptimizerConfig, Padding, PretrainConfig, ScheduleConfig};
use polymix::shape::Spec;
use polymix::train::metrics::Phase;
use polymix::train::{BatchShape, Feed, Feeds, LossGraph, Results, Schedule, Stepper, Task, Totals};

use crate::files::{Values, field_path, gpu, weights};

const BANDS: usize = 80;

/// The golden model and one of its batches.
struct Golden {
    model: ModelConfig,
    pretrain: PretrainConfig,
    batch: usize,
    frames: usize,
    feeds: Feeds,
}

impl Golden {
    fn open(common: &str, lengths_of: &str) -> Option<Self> {
        let common = Values::open(common)?;
        let (dims, norm) = common.get("norm");
        let (batch, frames) = (dims[0], dims[1]);
        let padded = frames.next_multiple_of(4);
        let left = padded - frames;
        let time = padded / 4;
        let mut clean = vec![0.0_f32; batch * padded * BANDS];
        for row in 0..batch {
            let to = (row * padded + left) * BANDS;
            let from = row * frames * BANDS;
            for i in 0..frames * BANDS {
                clean[to + i] = norm[from + i] as f32;
            }
        }
        let (_, masked_frames) = common.get("mask_frames");
        let noise = common.f32s("noise");
        let mut masked = clean.clone();
        for row in 0..batch {
            for (i, &frame) in masked_frames.iter().enumerate() {
                let to = (row * padded + frame as usize) * BANDS;
                let from = (row * masked_frames.len() + i) * BANDS;
                masked[to..to + BANDS].copy_from_slice(&noise[from..from + BANDS]);
            }
        }
        let (_, positions) = common.get("mask_idx");
        let selected: Vec<u32> = (0..batch)
            .flat_map(|row| positions.iter().map(move |&t| (row * time) as u32 + t as u32))
            .collect();
        let (_, shares) = Values::open(lengths_of)?.get("wav_lens");
        let lengths: Vec<u32> = shares.iter().map(|share| (share * time as f64).round() as u32).collect();
        let model = ModelConfig {
            mixer: MixerSpec::Every("pom".into()),
            d_model: 64,
            layers: 2,
            ffn: 128,
            heads: 4,
            dropout: 0.0,
            channels: [128, 32],
            padding: Padding::Reference,
            ..ModelConfig::default()
        };
        let pretrain = PretrainConfig { codes: 256, ..PretrainConfig::default() };
        let count = selected.len() as u32;
        let feeds = vec![
            ("clean".into(), Feed::F32(clean)),
            ("masked".into(), Feed::F32(masked)),
            ("lengths".into(), Feed::U32(lengths)),
            ("full_lengths".into(), Feed::U32(vec![time as u32; batch])),
            ("rng".into(), Feed::U32(vec![0; 3])),
            ("selected".into(), Feed::U32(selected)),
            ("selected_count".into(), Feed::U32(vec![count])),
        ];
        Some(Self { model, pretrain, batch, frames: padded, feeds })
    }

    fn selected(&self) -> usize {
        self.feeds
            .iter()
            .find_map(|(name, feed)| match feed {
                Feed::U32(values) if name == "selected" => Some(values.len()),
                _ => None,
            })
            .unwrap()
    }

    /// The graph with the encoder's values on `input`, and the loss.
    fn build(
        &self,
        graph: &Graph,
    ) -> Result<(polymix::models::Encoded, polymix::graph::Tensor, PretrainLoss)> {
        let scope = graph.root();
        let ctx = Context::new(&scope, self.batch, self.frames / 4, Mode::Inference, self.model.padding);
        let model = BestRq::new(Encoder::new(&self.model, BANDS)?, BANDS, &self.pretrain);
        let spec = Spec::f32([self.batch, self.frames, BANDS]);
        let [clean, masked] = ["clean", "masked"].map(|name| scope.input(name, spec.clone()));
        let inputs = MaskedBatch {
            selected: scope.input("selected", Spec::u32([self.selected()])),
            count: scope.input("selected_count", Spec::u32([1])),
        };
        let loss = model.loss(&scope, &ctx, &clean, &masked, &inputs)?;
        let encoded = model.encoder().forward(&scope, &ctx, &masked)?;
        let logits = model.head(&scope, &encoded.output)?;
        Ok((encoded, logits, loss))
    }
}

impl Task for Golden {
    fn phase(&self) -> Phase {
        Phase::Pretrain
    }

    fn kind(&self) -> ModelKind {
        ModelKind::BestRq { codes: self.pretrain.codes, code_dim: self.pretrain.code_dim }
    }

    fn graph(&self, _: BatchShape, _: bool) -> Result<LossGraph> {
        let graph = Graph::new();
        let (_, _, loss) = self.build(&graph)?;
        Ok(LossGraph { graph, loss: loss.loss, count: loss.correct, outputs: vec![] })
    }

    fn feeds(&self, _: &Batch, _: u64, _: u32, _: bool) -> Result<(Feeds, usize)> {
        Ok((self.feeds.clone(), self.selected()))
    }

    fn observe(&self, _: &mut Totals, _: &Batch, _: usize, _: &Results) -> Result<()> {
        Ok(())
    }
}

fn optimizer() -> OptimizerConfig {
    OptimizerConfig {
        encoder_lr: 1e-3,
        head_lr: 1e-3,
        betas: [0.9, 0.98],
        eps: 1e-9,
        weight_decay: 0.1,
        decay_biases_and_norms: true,
        clip: 1.0,
        accumulation: 1,
        schedule: ScheduleConfig::Noam { warmup: 8 },
    }
}

/// A stepper with the golden weights.
fn stepper(golden: &Golden, common: &str) -> Option<Stepper> {
    let gpu = gpu()?;
    let stepper = block_on(Stepper::new(Executor::new(gpu), golden, &optimizer())).unwrap();
    let shape_of = |name: &str| {
        let parameter = stepper.parameters.iter().find(|parameter| parameter.name == name);
        parameter.unwrap_or_else(|| panic!("{name} is no parameter of ours")).shape.dims().to_vec()
    };
    let mut all = weights(&Values::open("pom_k2d2.params")?, shape_of);
    let common = Values::open(common)?;
    all.insert("quantizer.projection", [320, 16], common.f32s("quantizer.P")).unwrap();
    all.insert("quantizer.codebook", [256, 16], common.f32s("quantizer.CB")).unwrap();
    for parameter in stepper.parameters.iter() {
        all.values(parameter).unwrap();
    }
    stepper.parameters.fill(&stepper.executor, Some(&all), 0).unwrap();
    Some(stepper)
}

/// Largest difference, and the largest magnitude of what is wanted.
fn distance(got: &[f32], wanted: &[f64]) -> (f64, f64) {
    assert_eq!(got.len(), wanted.len());
    let pairs = got.iter().zip(wanted);
    let difference = pairs.map(|(&g, w)| (f64::from(g) - w).abs()).fold(0.0, f64::max);
    (difference, wanted.iter().fold(0.0, |m: f64, w| m.max(w.abs())))
}

fn activations(case: &str, common: &str) {
    let Some(golden) = Golden::open(common, case) else { return };
    let Some(mut stepper) = stepper(&golden, common) else { return };
    let values = Values::open(case).unwrap();
    let graph = Graph::new();
    let (encoded, logits, loss) = golden.build(&graph).unwrap();
    let outputs = [
        ("cnn_out", &encoded.blocks),
        ("src_linear_out", &encoded.frontend),
        ("layer0.out", &encoded.layers[0]),
        ("layer1.out", &encoded.layers[1]),
        ("enc_out", &encoded.output),
        ("logits", &logits),
        ("loss", &loss.loss),
        ("targets", &loss.targets),
    ];
    let plan = Plan::compile(&graph, &outputs, stepper.executor.gpu().capabilities()).unwrap();
    // The same inputs twice: as they are, with noise on masked frames; and clean.
    for clean in [false, true] {
        let mut loaded = block_on(stepper.executor.load(plan.clone())).unwrap();
        for (name, feed) in &golden.feeds {
            let name = match (name.as_str(), clean) {
                ("masked", true) => continue,
                ("clean", true) => {
                    if let Feed::F32(values) = feed {
                        stepper.executor.feed(&loaded, "masked", values).unwrap();
                    }
                    "clean"
                }
                (name, _) => name,
            };
            if !stepper.executor.takes(&loaded, name) {
                continue;
            }
            match feed {
                Feed::F32(values) => stepper.executor.feed(&loaded, name, values).unwrap(),
                Feed::U32(values) => stepper.executor.feed(&loaded, name, values).unwrap(),
            }
        }
        stepper.executor.run(&mut loaded).unwrap();
        for (name, _) in &outputs[..6] {
            let theirs = if clean { format!("clean.{name}") } else { (*name).to_owned() };
            if clean && *name == "cnn_out" {
                continue;
            }
            let got: Vec<f32> = block_on(stepper.executor.read(&loaded, name)).unwrap();
            let (difference, _) = distance(&got, &values.get(&theirs).1);
            println!("{case} {theirs}: {difference:.1e}");
            assert!(difference <= 2e-5, "{case} {theirs} is off by {difference}");
        }
        if !clean {
            let got: Vec<f32> = block_on(stepper.executor.read(&loaded, "loss")).unwrap();
            let wanted = values.get("loss").1[0];
            assert!((f64::from(got[0]) - wanted).abs() <= 1e-5 * wanted, "{} for a loss of {wanted}", got[0]);
            let got: Vec<u32> = block_on(stepper.executor.read(&loaded, "targets")).unwrap();
            let wanted: Vec<u32> = values.get("targets").1.iter().map(|&id| id as u32).collect();
            assert_eq!(got, wanted, "codes of the masked frames");
        }
    }
}

fn gradients(case: &str, common: &str) {
    let Some(golden) = Golden::open(common, case) else { return };
    let Some(mut stepper) = stepper(&golden, common) else { return };
    let values = Values::open(&format!("{case}.grads")).unwrap();
    let shape = BatchShape { utterances: golden.batch, frames: golden.frames };
    block_on(stepper.prepare(&golden, shape, false)).unwrap();
    stepper.micro_batch(shape, &golden.feeds, false).unwrap();
    // What reaches the features is a gradient of no parameter.
    let names: Vec<String> = values.names().into_iter().filter(|name| name != "grad.feats_masked").collect();
    assert_eq!(names.len(), stepper.parameters.iter().filter(|p| p.trainable).count());
    for theirs in names {
        let ours = format!("gradient/{}", field_path(&theirs));
        let got: Vec<f32> = block_on(stepper.executor.store.read(stepper.executor.gpu(), &ours)).unwrap();
        let (difference, largest) = distance(&got, &values.parameter(&theirs));
        assert!(difference <= 1e-4 * largest, "{ours} is off by {difference} of {largest}");
    }
}

#[test]
fn one_utterance() {
    activations("pom_k2d2.b1", "common_b1");
}

#[test]
fn three_utterances_padded_together() {
    activations("pom_k2d2.b3", "common_b3");
}

#[test]
fn gradients_of_one_utterance() {
    gradients("pom_k2d2.b1", "common_b1");
}

#[test]
fn gradients_of_three_utterances() {
    gradients("pom_k2d2.b3", "common_b3");
}

#[test]
fn twelve_steps() {
    let Some(golden) = Golden::open("common_b3", "pom_k2d2.b3") else { return };
    let Some(mut stepper) = stepper(&golden, "common_b3") else { return };
    let path = crate::files::path("train12_pom_k2d2.json").unwrap();
    let wanted: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let schedule = Schedule::new(&optimizer(), 12);
    let shape = BatchShape { utterances: golden.batch, frames: golden.frames };
    block_on(stepper.prepare(&golden, shape, false)).unwrap();
    for step in 1..=12 {
        stepper.micro_batch(shape, &golden.feeds, false).unwrap();
        stepper.update(step, schedule.rates(step), 1).unwrap();
        let totals = block_on(stepper.totals()).unwrap();
        stepper.set_totals(polymix::train::StepTotals::default()).unwrap();
        let index = step as usize - 1;
        let (loss, norm) = (
            wanted["losses_f64"][index].as_f64().unwrap(),
            wanted["grad_norms_f64"][index].as_f64().unwrap(),
        );
        println!(
            "step {step}: loss {:.7} for {loss:.7}, norm {:.5} for {norm:.5}",
            totals.loss, totals.grad_norm
        );
        assert!((totals.loss - loss).abs() < 1e-4, "loss of step {step}: {} for {loss}", totals.loss);
        assert!((totals.grad_norm - norm).abs() < 1e-3 * norm, "norm of step {step}");
    }
    let values = Values::open("train12_pom_k2d2").unwrap();
    for theirs in values.names() {
        let ours = field_path(&theirs);
        let got: Vec<f32> = block_on(stepper.executor.store.read(stepper.executor.gpu(), &ours)).unwrap();
        let (difference, _) = distance(&got, &values.parameter(&theirs));
        assert!(difference < 2e-4, "{ours} is off by {difference} after 12 steps");
    }
}
