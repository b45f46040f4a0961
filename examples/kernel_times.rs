//! Where a training step of a recipe spends its time: device milliseconds by kernel.
//!
//! `cargo run --release --example kernel_times -- recipes/fsdd.toml 32 112 [pretrain]`: recipe, utterances,
//! feature frames.

use std::sync::Arc;

use pollster::block_on;
use polymix::audio::BANDS;
use polymix::data::{Batch, BatchIndex};
use polymix::error::{Error, Result};
use polymix::exec::{Executor, Loaded};
use polymix::gpu::{Gpu, Selection};
use polymix::recipe::Recipe;
use polymix::text::Vocabulary;
use polymix::train::{BatchShape, Feed, Finetune, Pretrain, Stepper, Task};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, utterances, frames, ..] = arguments.as_slice() else {
        return Err(Error::usage("give a recipe, a number of utterances and a number of frames"));
    };
    let number = |text: &str| text.parse().map_err(|_| Error::usage(format!("{text} is no number")));
    let shape = BatchShape { utterances: number(utterances)?, frames: number(frames)? };
    let recipe = Recipe::load(recipe, &[] as &[&str])?;
    let pretrain = arguments.get(3).is_some_and(|phase| phase == "pretrain");
    let (task, optimizer): (Box<dyn Task>, _) = if pretrain {
        let (model, config) = (recipe.model.clone(), recipe.pretrain.clone());
        (Box::new(Pretrain { model, config, seed: 0 }), &recipe.pretrain.optimizer)
    } else {
        let (model, config) = (recipe.model.clone(), recipe.finetune.clone());
        let vocabulary = Vocabulary::english();
        (Box::new(Finetune { model, config, vocabulary, capacity: 8, seed: 0 }), &recipe.finetune.optimizer)
    };
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
    let gpu = Arc::new(block_on(Gpu::new(&Selection { device, cache: None }))?);
    println!("{} {}", gpu.capabilities().backend, gpu.capabilities().adapter);
    let mut stepper = block_on(Stepper::new(Executor::new(gpu), &*task, optimizer))?;
    stepper.parameters.fill(&stepper.executor, None, 0)?;
    let plan = stepper.training_plan(&*task, shape, false)?;
    if arguments.iter().any(|word| word == "dump") {
        print!("{}", plan.dump());
    }
    println!(
        "{} dispatches, {:.1} MB of slots (lower bound {:.1})",
        plan.steps.len(),
        plan.peak_bytes() as f64 / 1e6,
        plan.lower_bound as f64 / 1e6
    );
    let mut loaded = block_on(stepper.executor.load(plan))?;
    // Full rows of silence, so that no kernel skips padded frames.
    let batch = Batch {
        utterances: shape.utterances,
        frames: shape.frames,
        features: vec![0.0; shape.utterances * shape.frames * BANDS],
        lengths: vec![shape.frames as u32; shape.utterances],
        texts: vec![Some("silence".into()); shape.utterances],
        ids: vec![None; shape.utterances],
        audio_seconds: 0.0,
        index: BatchIndex::default(),
    };
    let (feeds, _) = task.feeds(&batch, 1, 0, true)?;
    // What is fed serves one run: its memory is then used again.
    let feed = |stepper: &Stepper, loaded: &Loaded| -> Result<()> {
        for (name, data) in feeds.iter().filter(|(name, _)| stepper.executor.takes(loaded, name)) {
            match data {
                Feed::F32(values) => stepper.executor.feed(loaded, name, values)?,
                Feed::U32(values) => stepper.executor.feed(loaded, name, values)?,
            }
        }
        stepper.executor.gpu().wait()
    };
    feed(&stepper, &loaded)?;
    stepper.executor.run(&mut loaded)?;
    stepper.executor.gpu().wait()?;
    feed(&stepper, &loaded)?;
    let begin = web_time::Instant::now();
    stepper.executor.run(&mut loaded)?;
    stepper.executor.gpu().wait()?;
    println!("{:.1} ms in one submission", begin.elapsed().as_secs_f64() * 1e3);
    feed(&stepper, &loaded)?;
    let times = block_on(stepper.executor.time(&mut loaded))?;
    let total: f64 = times.iter().map(|time| time.milliseconds).sum();
    println!("{total:.1} ms, dispatch by dispatch");
    for time in times.iter().filter(|time| time.milliseconds > 0.003 * total) {
        println!("{:8.2} ms {:4} × {}", time.milliseconds, time.dispatches, time.kernel);
    }
    Ok(())
}
