//! Properties of whole runs: resumption, flat memory, the two executors agree.

mod adapter;
mod outcome;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use outcome::{losses, weights};
use pollster::block_on;
use polymix::audio::BANDS;
use polymix::autograd::gradients;
use polymix::error::{Error, Result};
use polymix::exec::{Executor, Plan, reference};
use polymix::gpu::Gpu;
use polymix::graph::Tensor;
use polymix::models::{ModelKind, SavedModel};
use polymix::ops::Array;
use polymix::recipe::{BatchUtterances, MixerKind, Recipe};
use polymix::rng::Rng;
use polymix::shape::Spec;
use polymix::train::metrics::{self, Line, TrainLine, ValidLine};
use polymix::train::{
    BatchShape, Finetune, InputData, Kind, LossScale, Objective, Progress, Request, StepTotals, Task, Trainer,
};

/// The adapter under test, and the right to use the process beside others or alone.
struct Turn<Guard>(Arc<Gpu>, #[allow(dead_code, reason = "held")] Guard);

impl<Guard> Deref for Turn<Guard> {
    type Target = Arc<Gpu>;

    fn deref(&self) -> &Arc<Gpu> {
        &self.0
    }
}

/// Who measures the process's memory has it alone.
static PROCESS: RwLock<()> = RwLock::new(());

/// The adapter under test, or `None` where there is none and `GPU=required` does not ask for one.
fn gpu() -> Option<Turn<RwLockReadGuard<'static, ()>>> {
    let turn = PROCESS.read().unwrap_or_else(PoisonError::into_inner);
    adapter::gpu().map(|gpu| Turn(gpu, turn))
}

fn gpu_alone() -> Option<Turn<RwLockWriteGuard<'static, ()>>> {
    let turn = PROCESS.write().unwrap_or_else(PoisonError::into_inner);
    adapter::gpu().map(|gpu| Turn(gpu, turn))
}

/// A small model, quick to train.
fn recipe(overrides: &[&str]) -> Recipe {
    let mut settings = vec![
        "model.d_model=16",
        "model.layers=2",
        "model.ffn=32",
        "model.kernel=7",
        "model.channels=[4, 4]",
        "features.silence=0.1",
        "finetune.head='linear'",
        "finetune.steps=12",
        "finetune.data.batch_utterances=4",
        "finetune.data.buckets=3",
        "finetune.optimizer.schedule={name='cosine', warmup_fraction=0.1}",
        "finetune.optimizer.lr=0.003",
        "finetune.augmentation.enabled=false",
        "pretrain.steps=6",
        "pretrain.codes=32",
        "pretrain.data.string_seconds=3",
        "pretrain.data.window_seconds=3",
        "pretrain.data.batch_utterances=4",
        "pretrain.optimizer.schedule={name='noam', warmup=4}",
        "run.log_every=1",
        "run.checkpoint_every=4",
        "run.validate_every=6",
    ];
    settings.extend(overrides);
    Recipe::parse("test", "", &settings).unwrap()
}

/// Fine-tuning on texts of up to 8 characters.
fn task(recipe: &Recipe, seed: u32) -> Finetune {
    let (model, options, config) = (recipe.model.clone(), recipe.options, recipe.finetune.clone());
    let vocabulary = polymix::text::Vocabulary::english();
    let decoder = polymix::decode::Decoder::greedy(&vocabulary).unwrap().into();
    Finetune { model, options, config, vocabulary, decoder, max_target_length: 8, seed }
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

#[derive(Default)]
struct Quiet(Vec<String>);

impl Progress for Quiet {
    fn message(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn train(&mut self, _: &TrainLine) {}
    fn valid(&mut self, _: &ValidLine) {}
}

fn request(recipe: Recipe, out: PathBuf) -> Request {
    Request {
        recipe,
        command: "test".into(),
        data: vec![corpus("train.jsonl")],
        valid: vec![corpus("valid.jsonl")],
        out,
        init: None,
        resume: false,
        other_data: false,
        channel: None,
        limit_steps: None,
        strict: true,
        memory_limit: None,
    }
}

/// The parameters of a run's last model.
#[test]
fn a_resumed_run_is_bit_equal_to_an_unbroken_one() {
    resumes("f32");
}

#[test]
fn a_resumed_run_in_mixed_precision_is_bit_equal_to_an_unbroken_one() {
    resumes("f16");
}

fn resumes(compute: &str) {
    let Some(gpu) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let compute = format!("model.compute={compute}");
    let dropped = [
        "model.layer_drop=0.2",
        "finetune.optimizer.accumulation=2",
        "finetune.augmentation.enabled=true",
        "finetune.augmentation.noise_db=[10, 50]",
        "finetune.augmentation.gain_db=[-18, 6]",
        "finetune.data.string_seconds=4",
        "finetune.data.string_gap_seconds=[0.1, 1.0]",
        &compute,
    ];
    let whole = request(recipe(&dropped), folder.path().join("whole"));
    let outcome = polymix::train::finetune(gpu.clone(), &whole, &mut Quiet::default()).unwrap();
    assert!(outcome.finished && outcome.loss_last < outcome.loss_first, "{outcome:?}");

    let mut broken = request(recipe(&dropped), folder.path().join("broken"));
    broken.limit_steps = Some(7);
    polymix::train::finetune(gpu.clone(), &broken, &mut Quiet::default()).unwrap();
    // As a run that was killed after its checkpoint of step 4 leaves it: a later checkpoint half written.
    std::fs::remove_dir_all(broken.out.join("checkpoints/7")).unwrap();
    std::fs::create_dir_all(broken.out.join("checkpoints/7.polymix-partial")).unwrap();
    std::fs::write(broken.out.join("checkpoints/7.polymix-partial/model.safetensors"), b"cut").unwrap();
    (broken.limit_steps, broken.resume) = (None, true);
    let outcome = polymix::train::finetune(gpu.clone(), &broken, &mut Quiet::default()).unwrap();
    assert!(outcome.finished);
    assert_eq!(weights(&whole.out), weights(&broken.out));
    let lines = |run: &Path| -> Vec<(u64, u64, Option<f64>, Option<u64>)> {
        let lines = metrics::read(run.join("metrics.jsonl")).unwrap();
        lines
            .iter()
            .filter_map(|line| match line {
                Line::Train(line) => {
                    Some((line.step, line.loss.to_bits(), line.loss_scale, line.skipped_steps))
                }
                Line::Valid(_) => None,
            })
            .collect()
    };
    assert_eq!(lines(&whole.out), lines(&broken.out), "every step is logged once, with the same loss");
}

/// Asks for a stop in a stretch of work, or after a logged step.
struct StopAt {
    stretch: &'static str,
    step: u64,
    reached: bool,
}

impl StopAt {
    fn stretch(stretch: &'static str) -> Self {
        Self { stretch, step: u64::MAX, reached: false }
    }
}

impl Progress for StopAt {
    fn message(&mut self, _: &str) {}
    fn begin(&mut self, what: &str, _: u64) {
        self.reached = what == self.stretch;
    }
    fn advance(&mut self, _: u64) {
        if self.reached {
            polymix::train::interrupt();
        }
    }
    fn train(&mut self, line: &TrainLine) {
        if line.step == self.step {
            polymix::train::interrupt();
        }
    }
    fn valid(&mut self, _: &ValidLine) {}
}

#[test]
fn a_stop_counts_from_the_first_moment_and_in_a_validation() {
    let Some(gpu) = gpu_alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    for stretch in ["lengths", "statistics"] {
        let run = request(recipe(&[]), folder.path().join(stretch));
        let stopped = polymix::train::finetune(gpu.clone(), &run, &mut StopAt::stretch(stretch));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stretch}: {stopped:?}");
        assert!(!run.out.exists() && !polymix::train::interrupted(), "{stretch}");
    }
    let annealed = ["finetune.steps=8", "finetune.optimizer.schedule={name='newbob', threshold=0.99}"];
    let whole = request(recipe(&annealed), folder.path().join("whole"));
    polymix::train::finetune(gpu.clone(), &whole, &mut Quiet::default()).unwrap();
    let mut broken = request(recipe(&annealed), folder.path().join("broken"));
    let stop = &mut StopAt { step: 6, ..StopAt::stretch("nothing") };
    let stopped = polymix::train::finetune(gpu.clone(), &broken, stop);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert_eq!(losses(&broken.out), losses(&whole.out)[..6], "the validation was cut off");
    broken.resume = true;
    // A request before the run, as a signal makes it.
    polymix::train::interrupt();
    let stopped = polymix::train::finetune(gpu.clone(), &broken, &mut Quiet::default());
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    polymix::train::finetune(gpu.clone(), &broken, &mut Quiet::default()).unwrap();
    assert_eq!(losses(&broken.out), losses(&whole.out));
    assert_eq!(weights(&whole.out), weights(&broken.out));
}

#[test]
fn pre_training_starts_a_fine_tuning() {
    let Some(gpu) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut first = request(recipe(&[]), folder.path().join("pre"));
    first.data = vec![corpus("unlabelled.jsonl")];
    let outcome = polymix::train::pretrain(gpu.clone(), &first, &mut Quiet::default()).unwrap();
    assert!((outcome.loss_first - 32.0_f64.ln()).abs() < 1.0, "{outcome:?}");
    let saved = SavedModel::load(&first.out).unwrap();
    assert!(matches!(saved.config.kind, ModelKind::BestRq { codes: 32, .. }));

    let mut second =
        request(recipe(&["finetune.steps=1", "finetune.optimizer.lr=0.0"]), folder.path().join("fine"));
    second.init = Some(first.out.clone());
    polymix::train::finetune(gpu.clone(), &second, &mut Quiet::default()).unwrap();
    let tuned = SavedModel::load(&second.out).unwrap();
    let name = "encoder.layers.1.mixer.value.weight";
    assert_eq!(tuned.weights.get(name), saved.weights.get(name), "a rate of 0 keeps what was pre-trained");
    assert_eq!(tuned.preprocessor.normalization, saved.preprocessor.normalization);

    second.out = folder.path().join("other");
    second.recipe = recipe(&["model.d_model=24"]);
    let error = polymix::train::finetune(gpu.clone(), &second, &mut Quiet::default()).unwrap_err();
    assert!(error.to_string().contains("pre: the recipe has model.d_model"), "{error}");
}

/// A recording in which nobody speaks is one of the training data: all of its frames are to be blanks.
#[test]
fn empty_texts_are_learned_as_blanks() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(&[]);
    let (task, shape) = (task(&recipe, 5), BatchShape { utterances: 2, frames: 24 });
    let mut batch = noise([2, 24], 4);
    batch.texts = vec![Some(String::new()); 2];
    let (inputs, _) = task.inputs(&batch, 1, 0, true).unwrap();
    assert!(task.rows(&batch).iter().all(|row| *row == polymix::train::Row::Whole));
    let built = task.graph(shape, false).unwrap();
    let mut bindings = reference::Bindings::new();
    for (parameter, _) in &built.graph.parameters() {
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 1);
        let values = values.into_iter().map(f64::from).collect();
        bindings
            .insert(parameter.name.clone(), Array::from_shape_vec(parameter.shape.dims(), values).unwrap());
    }
    for (name, input) in inputs {
        let values: Vec<f64> = match input {
            InputData::F32(values) => values.into_iter().map(f64::from).collect(),
            InputData::U32(values) => values.into_iter().map(f64::from).collect(),
        };
        bindings.insert(name, Array::from_shape_vec(vec![values.len()], values).unwrap());
    }
    let logits = built.logits.unwrap();
    let results = reference::run(&built.graph, &mut bindings, &[&built.loss, &logits]).unwrap();
    let logits: Vec<f64> = results[1].iter().copied().collect();
    let blanks: f64 = (0..2)
        .flat_map(|row| (0..(batch.lengths[row] as usize).div_ceil(4)).map(move |frame| row * 6 + frame))
        .map(|at| {
            let frame = &logits[at * task.vocabulary.len()..][..task.vocabulary.len()];
            frame.iter().map(|x| x.exp()).sum::<f64>().ln() - frame[0]
        })
        .sum();
    let loss = results[0].iter().next().unwrap();
    assert!((loss - blanks / 2.0).abs() < 1e-6 * blanks, "{loss} of {blanks}");

    // A whole run on nothing else.
    let Some(gpu) = gpu() else { return };
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut lines = String::new();
    let mut rng = Rng::new(&[1]);
    for clip in 0..8 {
        let name = format!("{clip}.wav");
        let mut writer = hound::WavWriter::create(folder.path().join(&name), spec).unwrap();
        for _ in 0..8000 + 2000 * clip {
            writer.write_sample(if clip == 0 { 0 } else { (rng.normal() * 50.0) as i16 }).unwrap();
        }
        writer.finalize().unwrap();
        lines += &format!("{{\"audio_filepath\": \"{name}\", \"text\": \"\"}}\n");
    }
    std::fs::write(folder.path().join("m.jsonl"), lines).unwrap();
    let mut run = request(recipe, folder.path().join("run"));
    run.data = vec![folder.path().join("m.jsonl")];
    let outcome = polymix::train::finetune(gpu.clone(), &run, &mut Quiet::default()).unwrap();
    assert!(outcome.left_out.is_empty() && outcome.loss_last < outcome.loss_first, "{outcome:?}");
}

/// A batch of noise whose every row says "one two".
fn noise([utterances, frames]: [usize; 2], seed: u32) -> polymix::data::Batch {
    let mut rng = Rng::new(&[seed]);
    polymix::data::Batch {
        utterances,
        frames,
        features: (0..utterances * frames * BANDS).map(|_| rng.unit()).collect(),
        lengths: (0..utterances).map(|row| (frames - 4 * (row % 3)) as u32).collect(),
        texts: vec![Some("one two".into()); utterances],
        ids: vec![vec![]; utterances],
        audio_seconds: 1.0,
        index: Default::default(),
    }
}

/// A step whose gradient does not fit into f16 is left out and halves the scale of the loss, until one fits; that one
/// is the step of f32, to the precision of f16.
#[test]
fn mixed_precision_finds_its_scale() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let batch = noise([4, 64], 3);
    let shape = BatchShape::of(&batch);
    let mut updates = Vec::new();
    for compute in ["f32", "f16"] {
        let recipe = recipe(&[&format!("model.compute={compute}"), "model.dropout=0.0"]);
        let task = task(&recipe, 0);
        let executor = Executor::new(gpu.clone());
        let mut trainer = block_on(Trainer::new(executor, &task, &recipe.finetune.optimizer))?;
        trainer.parameters.fill(&trainer.executor, None, 0)?;
        block_on(trainer.prepare(&task, shape, false))?;
        let read = |trainer: &Trainer| -> Result<Vec<f32>> {
            block_on(trainer.executor.store.read(&gpu, &Kind::Gradient.arena(0)))
        };
        let values = |trainer: &Trainer| block_on(trainer.parameters.values(&trainer.executor));
        let (inputs, _) = task.inputs(&batch, 1, 0, true)?;
        let rates = polymix::train::Rates { encoder: 1e-3, head: 1e-3 };
        let mut scale = 1.0;
        if compute == "f16" {
            scale = 16_777_216.0;
            trainer.set_loss_scale(LossScale { scale, finite_steps: 0.0 })?;
            let before = values(&trainer)?;
            loop {
                trainer.set_totals(StepTotals::default())?;
                trainer.micro_batch(shape, &inputs, false)?;
                trainer.update(1, rates, 1)?;
                if block_on(trainer.totals())?.non_finite == 0.0 {
                    break;
                }
                assert!(values(&trainer)? == before, "a step that is left out changes nothing");
                scale /= 2.0;
                assert_eq!(block_on(trainer.loss_scale())?, Some(LossScale { scale, finite_steps: 0.0 }));
            }
            assert!(scale < 16_777_216.0 && scale > 1.0, "found {scale}");
            assert_eq!(block_on(trainer.loss_scale())?, Some(LossScale { scale, finite_steps: 1.0 }));
        } else {
            assert_eq!(block_on(trainer.loss_scale())?, None);
            trainer.micro_batch(shape, &inputs, false)?;
            trainer.update(1, rates, 1)?;
        }
        let norm = block_on(trainer.totals())?.grad_norm;
        let gradient: Vec<f32> = read(&trainer)?.iter().map(|x| x / scale).collect();
        updates.push((norm, gradient));
    }
    let [(norm, exact), (near_norm, near)] = &updates[..] else { unreachable!() };
    let far: f64 = exact.iter().zip(near).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt();
    println!("norm {norm}, in f16 {near_norm}, apart by {far}");
    assert!((norm - near_norm).abs() < 0.01 * norm && far < 0.01 * norm && far > 0.0);
    Ok(())
}

/// Losses of steps whose activations and their gradients are stored in f16 stay near those of f32.
#[test]
fn losses_in_f16_are_near() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    let batch = noise([6, 256], 3);
    let shape = BatchShape::of(&batch);
    let mut losses: Vec<Vec<f64>> = Vec::new();
    for compute in ["f32", "f16"] {
        let recipe = recipe(&[&format!("model.compute={compute}")]);
        let task = task(&recipe, 0);
        let executor = Executor::new(gpu.clone());
        let mut trainer = block_on(Trainer::new(executor, &task, &recipe.finetune.optimizer))?;
        trainer.parameters.fill(&trainer.executor, None, 0)?;
        block_on(trainer.prepare(&task, shape, false))?;
        if compute == "f16" {
            trainer.set_loss_scale(LossScale { scale: 256.0, finite_steps: 0.0 })?;
        }
        let rates = polymix::train::Rates { encoder: 3e-3, head: 3e-3 };
        let mut own = Vec::new();
        for step in 1..=8_u64 {
            let (inputs, _) = task.inputs(&batch, step, 0, true)?;
            trainer.set_totals(StepTotals::default())?;
            trainer.micro_batch(shape, &inputs, false)?;
            trainer.update(step, rates, 1)?;
            let totals = block_on(trainer.totals())?;
            assert_eq!(totals.non_finite, 0.0, "{compute}, step {step}");
            own.push(totals.loss);
        }
        losses.push(own);
    }
    println!("{losses:?}");
    let [exact, near] = &losses[..] else { unreachable!() };
    assert!(exact[7] < 0.9 * exact[0], "losses of f32 fall");
    assert!(exact != near, "values are stored in f16");
    for (step, (x, y)) in exact.iter().zip(near).enumerate() {
        assert!((x - y).abs() < 0.01 * x, "step {step}: {x} in f32, {y} in f16");
    }
    Ok(())
}

/// Bytes that the process holds.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(status.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}

#[test]
fn memory_stays_flat_over_varying_shapes() -> Result<()> {
    let Some(gpu) = gpu_alone() else { return Ok(()) };
    let recipe = recipe(&[]);
    let task = task(&recipe, 0);
    let mut trainer = block_on(Trainer::new(Executor::new(gpu.clone()), &task, &recipe.finetune.optimizer))?;
    trainer.parameters.fill(&trainer.executor, None, 0)?;
    let shapes = [(4, 32), (2, 64), (3, 48), (1, 96)];
    let (mut allocated, mut taken) = (0, None);
    for step in 1..=60_u64 {
        let (utterances, frames) = shapes[step as usize % shapes.len()];
        let batch = noise([utterances, frames], step as u32);
        let (inputs, _) = task.inputs(&batch, step, 0, true)?;
        let shape = BatchShape::of(&batch);
        block_on(trainer.prepare(&task, shape, false))?;
        trainer.micro_batch(shape, &inputs, false)?;
        let rates = polymix::train::Rates { encoder: 1e-3, head: 1e-3 };
        trainer.update(step, rates, 1)?;
        if step % 10 == 0 {
            let totals = block_on(trainer.totals())?;
            assert!(totals.non_finite == 0.0 && totals.loss.is_finite());
            trainer.set_totals(StepTotals::default())?;
        }
        if step == 20 {
            (allocated, taken) = (trainer.executor.gpu().allocated(), resident());
        }
    }
    assert_eq!(trainer.plans(), shapes.len());
    assert_eq!(trainer.executor.gpu().allocated(), allocated, "GPU memory after every shape was seen");
    if let (Some(before), Some(after)) = (taken, resident()) {
        println!("resident {before} bytes, then {after}");
        assert!(after as f64 <= 1.1 * before as f64, "resident memory grew from {before} to {after}");
    }
    Ok(())
}

/// Loss and gradients of a batch of `shape` as a plan gives them that keeps what `checkpoint` and `saved` say, and the
/// plan's bytes; dropout and LayerDrop included.
fn gradient_bits(
    gpu: &Arc<Gpu>,
    mixer: MixerKind,
    [checkpoint, saved]: [&str; 2],
    shape: BatchShape,
) -> (Vec<Vec<u32>>, u64) {
    let chosen = [
        format!("model.mixer={mixer}"),
        format!("model.checkpoint={checkpoint}"),
        format!("model.saved_activations={saved}"),
    ];
    let sizes = ["model.layer_drop=0.3", "model.heads=2", "model.summary_hidden=6", "model.summary_local=4"];
    let settings: Vec<&str> = sizes.into_iter().chain(chosen.iter().map(String::as_str)).collect();
    let recipe = recipe(&settings);
    let task = task(&recipe, 5);
    let built = task.graph(shape, true).unwrap();
    let parameters = built.graph.parameters();
    let wrt: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| tensor).collect();
    let one = built.graph.fill([1], 1.0).unwrap();
    let grads = gradients(&[(&built.loss, &one)], &wrt).unwrap();
    let outputs: Vec<Tensor> =
        std::iter::once(built.loss.clone()).chain(grads.into_iter().flatten()).collect();
    let names: Vec<String> = (0..outputs.len()).map(|i| i.to_string()).collect();
    let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&outputs).collect();
    let plan = Plan::compile(&built.graph, &named, task.plan_options(), gpu.capabilities()).unwrap();
    let bytes = plan.peak_bytes();
    let mut executor = Executor::new(gpu.clone());
    for (parameter, _) in &parameters {
        let part = (parameter.name.clone(), Spec::f32(parameter.shape.clone()));
        executor.store.arena(gpu, &parameter.name, &[part]).unwrap();
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 1);
        executor.store.write(gpu, &parameter.name, &values).unwrap();
    }
    let mut rng = Rng::new(&[3]);
    let batch = polymix::data::Batch {
        utterances: shape.utterances,
        frames: shape.frames,
        features: (0..shape.utterances * shape.frames * BANDS).map(|_| rng.normal() as f32).collect(),
        lengths: (0..shape.utterances).map(|row| (shape.frames - 4 * (row % 2)) as u32).collect(),
        texts: vec![Some("one two".into()); shape.utterances],
        ids: vec![vec![]; shape.utterances],
        audio_seconds: 1.0,
        index: Default::default(),
    };
    let (inputs, _) = task.inputs(&batch, 2, 1, true).unwrap();
    let mut loaded = block_on(executor.load(plan)).unwrap();
    polymix::train::write_inputs(&executor, &loaded, &inputs).unwrap();
    executor.run(&mut loaded).unwrap();
    let read = |name: &String| block_on(executor.read(&loaded, name)).unwrap();
    (names.iter().map(read).collect(), bytes)
}

#[test]
fn what_is_computed_again_has_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    for mixer in MixerKind::ALL {
        let shape = BatchShape { utterances: 3, frames: 64 };
        let of = |checkpoint| gradient_bits(&gpu, mixer, [checkpoint, "f32"], shape);
        let (kept, most) = of("none");
        let (cheap, fewer) = of("cheap");
        let (layer, fewest) = of("layer");
        assert!(kept.iter().flatten().any(|bits| f32::from_bits(*bits) != 0.0));
        assert!(kept == cheap, "{mixer}: cheap operations");
        assert!(kept == layer, "{mixer}: layers");
        // In two small layers, what is kept across them need not be the most.
        assert!(fewer.max(fewest) < most, "{mixer}: {fewest}, {fewer}, {most} bytes");
    }
}

/// Activations saved in f16 change gradients a little and the loss not at all.
#[test]
fn activations_saved_in_f16_take_less_memory() {
    let Some(gpu) = gpu() else { return };
    let shape = BatchShape { utterances: 6, frames: 256 };
    for mixer in MixerKind::ALL {
        for checkpoint in ["none", "cheap", "layer"] {
            let of = |saved| gradient_bits(&gpu, mixer, [checkpoint, saved], shape);
            let ((whole, most), (in_f16, fewer)) = (of("f32"), of("f16"));
            assert_eq!(whole[0], in_f16[0], "{mixer}, {checkpoint}: losses");
            let pairs = || whole[1..].iter().flatten().zip(in_f16[1..].iter().flatten());
            let value = |bits: &u32| f64::from(f32::from_bits(*bits));
            let error: f64 = pairs().map(|(a, b)| (value(a) - value(b)).powi(2)).sum();
            let square: f64 = pairs().map(|(a, _)| value(a).powi(2)).sum();
            let error = (error / square).sqrt();
            println!("{mixer}, {checkpoint}: error {error:.1e}, {fewer} bytes of {most}");
            assert!((1e-7..2e-3).contains(&error), "{mixer}, {checkpoint}: error {error:.1e}");
            // Of two small layers that are recomputed, little is saved.
            assert!(checkpoint == "layer" || fewer < most, "{mixer}, {checkpoint}: {fewer} bytes of {most}");
        }
    }
}

/// Loss and gradients of a whole training step, dropout included, on both executors, with every mixer.
#[test]
fn both_executors_take_the_same_step() {
    let gpu = gpu();
    MixerKind::ALL.into_iter().for_each(|mixer| same_step(mixer, gpu.as_deref()));
}

fn same_step(mixer: MixerKind, gpu: Option<&Arc<Gpu>>) {
    let mixer = format!("model.mixer={mixer}");
    let sizes = [
        "model.d_model=8",
        "model.layers=1",
        "model.ffn=8",
        "model.heads=2",
        "model.summary_hidden=6",
        "model.summary_local=4",
    ];
    let recipe = recipe(&[sizes.as_slice(), &[mixer.as_str()]].concat());
    let task = task(&recipe, 5);
    let shape = BatchShape { utterances: 2, frames: 24 };
    let built = task.graph(shape, true).unwrap();
    let parameters = built.graph.parameters();
    let wrt: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| tensor).collect();
    let one = built.graph.fill([1], 1.0).unwrap();
    let grads: Vec<Tensor> =
        gradients(&[(&built.loss, &one)], &wrt).unwrap().into_iter().map(|grad| grad.unwrap()).collect();

    let mut rng = Rng::new(&[8]);
    let mut bindings = reference::Bindings::new();
    for (parameter, _) in &parameters {
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 1);
        let values = values.into_iter().map(f64::from).collect();
        bindings
            .insert(parameter.name.clone(), Array::from_shape_vec(parameter.shape.dims(), values).unwrap());
    }
    let mut inputs: Vec<(String, InputData)> = vec![
        ("features".into(), InputData::F32((0..2 * 24 * BANDS).map(|_| rng.normal() as f32).collect())),
        ("lengths".into(), InputData::U32(vec![6, 5])),
        ("valid".into(), InputData::F32((0..12).map(|i| f32::from(u8::from(i != 11))).collect())),
        ("rng".into(), InputData::U32(vec![5, 1, 0])),
        ("targets".into(), InputData::U32([[3, 1, 4, 0, 0, 0, 0, 0], [5, 5, 0, 0, 0, 0, 0, 0]].concat())),
        ("target_lengths".into(), InputData::U32(vec![3, 2])),
        ("loss_weights".into(), InputData::F32(vec![1.0 / 6.0, 0.25])),
    ];
    for (name, input) in &inputs {
        let values = match input {
            InputData::F32(values) => values.iter().map(|&x| f64::from(x)).collect(),
            InputData::U32(values) => values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>(),
        };
        bindings.insert(name.clone(), Array::from_shape_vec(vec![values.len()], values).unwrap());
    }
    let mut outputs = vec![&built.loss];
    outputs.extend(&grads);
    let wanted = reference::run(&built.graph, &mut bindings.clone(), &outputs).unwrap();
    assert!(wanted[0].iter().all(|loss| loss.is_finite() && *loss > 0.0));

    let Some(gpu) = gpu else { return };
    let names: Vec<String> = (0..outputs.len()).map(|i| i.to_string()).collect();
    let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(outputs.iter().copied()).collect();
    let plan = Plan::compile(&built.graph, &named, task.plan_options(), gpu.capabilities()).unwrap();
    let mut executor = Executor::new(gpu.clone());
    for (parameter, _) in &parameters {
        let part = (parameter.name.clone(), Spec::f32(parameter.shape.clone()));
        executor.store.arena(gpu, &parameter.name, &[part]).unwrap();
        let values: Vec<f32> = bindings[&parameter.name].iter().map(|&x| x as f32).collect();
        executor.store.write(gpu, &parameter.name, &values).unwrap();
    }
    let mut loaded = block_on(executor.load(plan)).unwrap();
    inputs.retain(|(name, _)| executor.takes(&loaded, name));
    for (name, input) in inputs.drain(..) {
        match input {
            InputData::F32(values) => executor.write_input(&loaded, &name, &values).unwrap(),
            InputData::U32(values) => executor.write_input(&loaded, &name, &values).unwrap(),
        }
    }
    executor.run(&mut loaded).unwrap();
    // A gradient that is 0 but for rounding is judged by the others' size.
    let magnitude = |values: &Array| values.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let top = wanted[1..].iter().map(magnitude).fold(0.0, f64::max);
    for (index, wanted) in wanted.iter().enumerate() {
        let got: Vec<f32> = block_on(executor.read(&loaded, &names[index])).unwrap();
        let own = magnitude(wanted);
        let largest = if own < 1e-12 * top { top } else { own.max(1e-6) };
        for (&got, &wanted) in got.iter().zip(wanted) {
            let name = index.checked_sub(1).map_or("loss", |i| &parameters[i].0.name);
            assert!(
                (f64::from(got) - wanted).abs() <= 1e-4 * largest,
                "{mixer} {name}: {got} for {wanted} of {largest}"
            );
        }
    }
}

#[test]
fn batches_that_fit_hold_what_the_plans_foretold_and_are_kept() {
    let Some(gpu) = gpu_alone() else { return };
    let before = gpu.allocated();
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(&[
        "finetune.data.batch_seconds=fit",
        "finetune.data.max_seconds=1.2",
        "finetune.optimizer.accumulation=2",
    ]);
    let run = |resume: bool, limit: u64, steps: u64| {
        let mut request = request(recipe.clone(), folder.path().join("run"));
        (request.resume, request.memory_limit, request.limit_steps) = (resume, Some(limit), Some(steps));
        let mut progress = Quiet::default();
        let outcome = polymix::train::finetune(gpu.clone(), &request, &mut progress);
        let text = std::fs::read_to_string(request.out.join("recipe.toml"));
        outcome.map(|_| (Recipe::parse("recipe.toml", &text.unwrap(), &[""; 0]).unwrap(), progress.0))
    };
    let error = run(false, 1 << 18, 2).unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory(text) if text.contains("a batch of one clip of")), "{error}");

    const LIMIT: u64 = 4 << 20;
    let (resolved, told) = run(false, LIMIT, 1).unwrap();
    let Some(BatchUtterances::Each(fitted)) = &resolved.finetune.data.batch_utterances else {
        panic!("{:?}", resolved.finetune.data)
    };
    assert!(fitted.len() == 3 && fitted.windows(2).all(|pair| pair[0] > pair[1]), "{fitted:?}");
    assert!(told.iter().any(|line| line.starts_with("batches that fit in 4.0 MiB")), "{told:?}");
    let gpu_bytes = |line: &Line| match line {
        Line::Train(line) => line.gpu_bytes - before,
        Line::Valid(_) => 0,
    };
    let taken = metrics::read(folder.path().join("run/metrics.jsonl")).unwrap().iter().map(gpu_bytes).max();
    let taken = taken.unwrap();
    assert!((LIMIT * 3 / 4..=LIMIT).contains(&taken), "{taken} of {LIMIT}: {told:?}");

    let (resumed, told) = run(true, 4 * LIMIT, 2).unwrap();
    assert_eq!(resumed.finetune.data, resolved.finetune.data);
    assert!(!told.iter().any(|line| line.contains("batches that fit")), "{told:?}");
}
