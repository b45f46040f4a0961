//! Whole models, imported: one utterance, three padded together, gradients, twelve steps.

use std::collections::BTreeMap;

use pollster::block_on;
use polymix::data::Batch;
use polymix::error::Result;
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::Graph;
use polymix::models::speechbrain::{self, origins};
use polymix::models::{
    BestRq, Encoder, EncoderInputs, Extractor, MaskedBatch, ModelKind, PretrainLoss, SavedModel,
};
use polymix::nn::{Context, Mode};
use polymix::recipe::{MixerKind, OptimizerConfig, PretrainConfig, ScheduleConfig};
use polymix::shape::Spec;
use polymix::train::metrics::Phase;
use polymix::train::{
    BatchShape, InputData, Inputs, LossGraph, Measure, Objective, Results, Schedule, Task, Totals, Trainer,
};
use polymix::weights::Weights;

use crate::adapter::gpu;
use crate::files::{Values, hyper_parameters, imported, json};

const BANDS: usize = 80;

/// A golden model and one of its batches.
struct Golden {
    saved: SavedModel,
    pretrain: PretrainConfig,
    batch: usize,
    frames: usize,
    inputs: Inputs,
}

impl Golden {
    fn open(model: &str, batch: &str) -> Option<Self> {
        let common = format!("common_{batch}");
        let saved = imported(model, &common)?;
        let shares = Values::open(&format!("{model}.{batch}"))?.get("wav_lens").1;
        let common = Values::open(&common)?;
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
        let lengths: Vec<u32> = shares.iter().map(|share| (share * time as f64).round() as u32 * 4).collect();
        let inputs = EncoderInputs::new(&lengths, padded);
        let ModelKind::BestRq { codes, code_dim } = saved.config.kind else { unreachable!() };
        let pretrain = PretrainConfig { codes, code_dim, ..PretrainConfig::default() };
        let count = selected.len() as u32;
        let inputs = vec![
            ("clean".into(), InputData::F32(clean)),
            ("masked".into(), InputData::F32(masked)),
            ("lengths".into(), InputData::U32(inputs.lengths)),
            ("full_lengths".into(), InputData::U32(inputs.full_lengths)),
            ("valid".into(), InputData::F32(inputs.valid)),
            ("rng".into(), InputData::U32(vec![0; 3])),
            ("selected".into(), InputData::U32(selected)),
            ("selected_count".into(), InputData::U32(vec![count])),
        ];
        Some(Self { saved, pretrain, batch, frames: padded, inputs })
    }

    fn selected(&self) -> usize {
        self.inputs
            .iter()
            .find_map(|(name, input)| match input {
                InputData::U32(values) if name == "selected" => Some(values.len()),
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
        let config = &self.saved.config.model;
        let ctx = Context::new(&scope, self.batch, self.frames / 4, Mode::Inference, config.padding);
        let model =
            BestRq::new(Encoder::new(config, BANDS), BANDS, self.pretrain.codes, self.pretrain.code_dim);
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

impl Objective for Golden {
    fn plan_options(&self) -> PlanOptions {
        PlanOptions::default()
    }

    fn graph(&self, _: BatchShape, _: bool) -> Result<LossGraph> {
        let graph = Graph::new();
        let (_, _, loss) = self.build(&graph)?;
        Ok(LossGraph { graph, loss: loss.loss, count: loss.correct, logits: None, embeddings: None })
    }
}

impl Task for Golden {
    fn phase(&self) -> Phase {
        Phase::Pretrain
    }

    fn measure(&self) -> Measure {
        Measure::Loss
    }

    fn kind(&self) -> ModelKind {
        self.saved.config.kind.clone()
    }

    fn inputs(&self, _: &Batch, _: u64, _: u32, _: bool) -> Result<(Inputs, usize)> {
        Ok((self.inputs.clone(), self.selected()))
    }

    fn update_metrics(&self, _: &mut Totals, _: &Batch, _: usize, _: &Results) -> Result<()> {
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

/// A trainer with the golden weights.
fn trainer(golden: &Golden) -> Option<Trainer> {
    let trainer = block_on(Trainer::new(Executor::new(gpu()?), golden, &optimizer())).unwrap();
    trainer.parameters.fill(&trainer.executor, Some(&golden.saved.weights), 0).unwrap();
    Some(trainer)
}

/// Largest difference, and the largest magnitude of what is wanted.
fn distance(got: &[f32], wanted: &[f64]) -> (f64, f64) {
    assert_eq!(got.len(), wanted.len());
    let pairs = got.iter().zip(wanted);
    let difference = pairs.map(|(&g, w)| (f64::from(g) - w).abs()).fold(0.0, f64::max);
    (difference, wanted.iter().fold(0.0, |m: f64, w| m.max(w.abs())))
}

fn activations(model: &str, batch: &str) {
    let case = format!("{model}.{batch}");
    let Some(golden) = Golden::open(model, batch) else { return };
    let Some(mut trainer) = trainer(&golden) else { return };
    let values = Values::open(&case).unwrap();
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
    let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), trainer.executor.gpu().capabilities())
        .unwrap();
    // The same inputs twice: as they are, with noise on masked frames; and clean.
    for clean in [false, true] {
        let mut loaded = block_on(trainer.executor.load(plan.clone())).unwrap();
        for (name, input) in &golden.inputs {
            let name = match (name.as_str(), clean) {
                ("masked", true) => continue,
                ("clean", true) => {
                    if let InputData::F32(values) = input {
                        trainer.executor.write_input(&loaded, "masked", values).unwrap();
                    }
                    "clean"
                }
                (name, _) => name,
            };
            if !trainer.executor.takes(&loaded, name) {
                continue;
            }
            match input {
                InputData::F32(values) => trainer.executor.write_input(&loaded, name, values).unwrap(),
                InputData::U32(values) => trainer.executor.write_input(&loaded, name, values).unwrap(),
            }
        }
        trainer.executor.run(&mut loaded).unwrap();
        for (name, _) in &outputs[..6] {
            let theirs = if clean { format!("clean.{name}") } else { (*name).to_owned() };
            if clean && *name == "cnn_out" {
                continue;
            }
            let got: Vec<f32> = block_on(trainer.executor.read(&loaded, name)).unwrap();
            let (difference, _) = distance(&got, &values.get(&theirs).1);
            println!("{case} {theirs}: {difference:.1e}");
            assert!(difference <= 2e-5, "{case} {theirs} is off by {difference}");
        }
        if !clean {
            let got: Vec<f32> = block_on(trainer.executor.read(&loaded, "loss")).unwrap();
            let wanted = values.get("loss").1[0];
            assert!((f64::from(got[0]) - wanted).abs() <= 1e-5 * wanted, "{} for a loss of {wanted}", got[0]);
            let got: Vec<u32> = block_on(trainer.executor.read(&loaded, "targets")).unwrap();
            let wanted: Vec<u32> = values.get("targets").1.iter().map(|&id| id as u32).collect();
            assert_eq!(got, wanted, "codes of the masked frames");
        }
    }
}

fn gradients(model: &str, batch: &str) {
    let Some(golden) = Golden::open(model, batch) else { return };
    let Some(mut trainer) = trainer(&golden) else { return };
    let values = Values::open(&format!("{model}.{batch}.grads")).unwrap();
    let shape = BatchShape { utterances: golden.batch, frames: golden.frames };
    block_on(trainer.prepare(&golden, shape, false)).unwrap();
    trainer.micro_batch(shape, &golden.inputs, false).unwrap();
    let origins = origins(&golden.saved.config).unwrap();
    let trainable = origins.iter().filter(|origin| origin.parameter.trainable);
    // What reaches the features is a gradient of no parameter.
    let theirs = values.names().into_iter().filter(|name| name != "grad.feats_masked");
    assert_eq!(theirs.count(), trainable.clone().count());
    let mut largest_share = 0.0_f64;
    for origin in trainable {
        let ours = format!("gradient/{}", origin.parameter.name);
        let got: Vec<f32> = block_on(trainer.executor.store.read(trainer.executor.gpu(), &ours)).unwrap();
        let wanted = origin.arrange(&values.get(&format!("grad.{}", origin.tensor)).1);
        let (difference, largest) = distance(&got, &wanted);
        assert!(difference <= 1e-4 * largest, "{ours} is off by {difference} of {largest}");
        largest_share = largest_share.max(difference / largest);
    }
    println!("{model}.{batch} gradients: {largest_share:.1e} of the largest");
}

/// What `encode` gives: from waveforms to logits, on the valid frames.
fn encoded(model: &str, batch: &str) {
    let common = format!("common_{batch}");
    let Some(saved) = imported(model, &common) else { return };
    let Some(gpu) = gpu() else { return };
    let values = Values::open(&format!("{model}.{batch}")).unwrap();
    let described = json(&common).unwrap();
    let common = Values::open(&common).unwrap();
    let (dims, pcm) = common.get("pcm");
    let waveforms: Vec<Vec<f32>> = (0..dims[0])
        .map(|row| {
            let samples = described["samples"][row].as_u64().unwrap() as usize;
            pcm[row * dims[1]..][..samples].iter().map(|&x| (x / 32768.0) as f32).collect()
        })
        .collect();
    let waveforms: Vec<&[f32]> = waveforms.iter().map(Vec::as_slice).collect();
    let mut extractor = Extractor::new(gpu, saved, None).unwrap();
    let mut largest: BTreeMap<String, f64> = BTreeMap::new();
    let (_, shares) = values.get("wav_lens");
    for (row, tensors) in block_on(extractor.extract(&waveforms)).unwrap().iter().enumerate() {
        assert_eq!(tensors.len(), extractor.names().len());
        for tensor in tensors {
            let (dims, wanted) = match tensor.name.as_str() {
                "features" => common.get("norm"),
                "frontend" => values.get("clean.src_linear_out"),
                "encoder" => values.get("clean.enc_out"),
                "logits" => values.get("clean.logits"),
                layer => values.get(&format!("clean.{}.out", layer.replace("layer.", "layer"))),
            };
            assert_eq!(tensor.width, dims[2], "{}", tensor.name);
            let valid = match tensor.name.as_str() {
                "features" => waveforms[row].len() / 160 + 1,
                _ => (shares[row] * dims[1] as f64).round() as usize,
            };
            assert_eq!(tensor.frames(), valid, "{}", tensor.name);
            let start = row * dims[1] * dims[2];
            let (difference, _) = distance(&tensor.values, &wanted[start..start + tensor.values.len()]);
            let most = largest.entry(tensor.name.clone()).or_default();
            *most = most.max(difference);
        }
    }
    for (name, difference) in &largest {
        println!("{model}.{batch} encode {name}: {difference:.1e}");
    }
    for (name, difference) in largest {
        // The published features come from a transform in f32, whose rounding shows where it is quiet.
        let bound = if name == "features" { 1e-4 } else { 2e-5 };
        assert!(difference <= bound, "{name} is off by {difference}");
    }
}

/// The tests of a model whose weights are there.
macro_rules! agreement {
    ($test:ident, $model:literal) => {
        mod $test {
            #[test]
            fn one_utterance() {
                super::activations($model, "b1");
            }

            #[test]
            fn three_utterances_padded_together() {
                super::activations($model, "b3");
            }

            #[test]
            fn gradients_of_one_utterance() {
                super::gradients($model, "b1");
            }

            #[test]
            fn gradients_of_three_utterances() {
                super::gradients($model, "b3");
            }

            #[test]
            fn encode_of_one_utterance() {
                super::encoded($model, "b1");
            }

            #[test]
            fn encode_of_three_utterances() {
                super::encoded($model, "b3");
            }
        }
    };
}

agreement!(pom, "pom_k2d2");
agreement!(regular_mha, "regularMHA");

/// Names and shapes of every published model, with values of no meaning.
#[test]
fn every_published_model_is_known_by_its_tensors() {
    for (name, mixer) in [
        ("pom_k2d2", MixerKind::Pom),
        ("pom_k3d2", MixerKind::Pom),
        ("pom_k2d2_masked", MixerKind::Pom),
        ("pom_select_k2d2", MixerKind::PomSelective),
        ("pom_2ways_k2d2", MixerKind::Pom2Way),
        ("pom_3ways_k2d2", MixerKind::Pom3Way),
        ("regularMHA", MixerKind::RegularMha),
        ("RoPEMHA", MixerKind::RopeMha),
        ("RelPosMHAXL", MixerKind::RelposMha),
        ("SummaryMixing", MixerKind::SummaryMixing),
        ("hypermixing", MixerKind::HyperMixing),
    ] {
        let (Some(described), Some(values)) = (json(&format!("{name}.params")), hyper_parameters(name))
        else {
            return;
        };
        let mut weights = Weights::default();
        let codes = described["vocab"].as_u64().unwrap() as usize;
        let mut insert = |name: &str, dims: &[usize]| {
            weights.insert(name, dims, vec![0.5; dims.iter().product()]).unwrap();
        };
        for (name, tensor) in described["tensors"].as_object().unwrap() {
            let dims: Vec<usize> = serde_json::from_value(tensor[1].clone()).unwrap();
            insert(name, &dims);
        }
        insert("quantizer.P", &[320, 16]);
        insert("quantizer.CB", &[codes, 16]);
        insert("normalize.glob_mean", &[BANDS]);
        insert("normalize.glob_std", &[BANDS]);
        let model = speechbrain::import(&weights, &values).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(model.config.model.mixer.for_layer(1), mixer, "{name}");
        let parameters = model.config.parameters().unwrap();
        let trainable = parameters.iter().filter(|parameter| parameter.trainable);
        let count: usize = trainable.map(|parameter| parameter.shape.elements()).sum();
        assert_eq!(count as u64, described["n_params"].as_u64().unwrap(), "{name}");
    }
}

#[test]
fn twelve_steps() {
    let Some(golden) = Golden::open("pom_k2d2", "b3") else { return };
    let Some(mut trainer) = trainer(&golden) else { return };
    let wanted = json("train12_pom_k2d2").unwrap();
    let schedule = Schedule::new(&optimizer(), 12);
    let shape = BatchShape { utterances: golden.batch, frames: golden.frames };
    block_on(trainer.prepare(&golden, shape, false)).unwrap();
    for step in 1..=12 {
        trainer.micro_batch(shape, &golden.inputs, false).unwrap();
        trainer.update(step, schedule.rates(step), 1).unwrap();
        let totals = block_on(trainer.totals()).unwrap();
        trainer.set_totals(polymix::train::StepTotals::default()).unwrap();
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
    let origins = origins(&golden.saved.config).unwrap();
    // The largest of them are not in the file.
    for theirs in values.names() {
        let tensor = theirs.strip_prefix("final.").unwrap();
        let origin = origins.iter().find(|origin| origin.tensor == tensor).unwrap();
        let ours = &origin.parameter.name;
        let got: Vec<f32> = block_on(trainer.executor.store.read(trainer.executor.gpu(), ours)).unwrap();
        let wanted = origin.arrange(&values.get(&theirs).1);
        let (difference, _) = distance(&got, &wanted);
        assert!(difference < 2e-4, "{ours} is off by {difference} after 12 steps");
    }
}
