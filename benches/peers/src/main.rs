//! polymix and its peers at the same work, on the same adapter, by turns.
//!
//! `make bench` prints the table and writes `target/bench/peers.json`. The time is from submission to completion, with
//! the operands on the device; the median of many. Before it is timed, a peer's result is compared with polymix's. An
//! argument is a part of the names of the works to compare.

mod burn;
mod contest;
#[path = "../../harness/mod.rs"]
mod harness;
mod meganeura;
mod peer;

use std::path::Path;
use std::process::ExitCode;

use contest::{Contest, Ours};
use harness::step::{Classify, Training, Transformer};
use harness::works;
use peer::Example;
use polymix::Result;
use polymix::ops::map::ActivationKind;
use polymix::recipe::{MixerKind, MixerSpec, ModelConfig};
use polymix::train::BatchShape;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    let gpu = harness::device()?;
    let class = gpu.capabilities().class;
    let mut contest = Contest::new(gpu.clone(), std::env::args().nth(1).unwrap_or_default())?;
    contest.peer("burn", burn::open(gpu.capabilities()));
    contest.peer("meganeura", meganeura::open(gpu.capabilities()));

    for matmul in &works::matmuls(class) {
        contest.work(matmul.work()?, |peer| peer.matmul(matmul))?;
    }
    contest.work(works::layer_norm()?, |peer| peer.layer_norm())?;
    contest.work(works::softmax()?, |peer| peer.softmax())?;
    contest.work(works::depthwise()?, |peer| peer.depthwise())?;
    for backward in [false, true] {
        contest.work(works::attention(backward)?, |peer| peer.attention(backward))?;
    }
    for activation in [ActivationKind::Gelu, ActivationKind::Silu] {
        contest.work(works::feed_forward(activation)?, |peer| peer.feed_forward(activation))?;
    }
    transformer(&mut contest)?;
    conformer(&mut contest)?;
    contest.report(Path::new("target/bench/peers.json"))
}

/// A training step that every contender can express, on one utterance of 20 s; the loss of the first three steps is
/// compared.
fn transformer(contest: &mut Contest) -> Result<()> {
    let name = "training step, transformer";
    if !contest.wants(name) {
        return Ok(());
    }
    let model = Transformer { width: 256, heads: 4, hidden: 1024, layers: 4 };
    let batch = BatchShape { utterances: 1, frames: 2000 };
    let training = Training::of(contest.gpu(), Classify::Transformer(model), batch)?;
    let (features, targets) = training.batch()?;
    let (features, targets) = (features.to_vec(), targets.to_vec());
    let example = Example { model, shape: batch, features, targets, parameters: training.parameters()? };
    let shape = format!("{} layers, d {}, 1 × 20 s", model.layers, model.width);
    contest.compare(name, &shape, Ours::training(training, 3), |peer| peer.transformer(&example))
}

/// A training step of the 4-layer Conformer with multi-head attention, on 8 × 4 s; dropout is random.
fn conformer(contest: &mut Contest) -> Result<()> {
    let name = "training step, Conformer";
    if !contest.wants(name) {
        return Ok(());
    }
    let config = ModelConfig {
        mixer: MixerSpec::Every(MixerKind::RegularMha),
        d_model: 144,
        layers: 4,
        ffn: 576,
        heads: 4,
        channels: [64, 16],
        ..ModelConfig::default()
    };
    let batch = BatchShape { utterances: 8, frames: 400 };
    let shape = format!("{} layers, d {}, 8 × 4 s", config.layers, config.d_model);
    let ours = Ours::training(Training::new(contest.gpu(), config.clone(), batch)?, 0);
    contest.compare(name, &shape, ours, |peer| peer.conformer(&config, batch))
}
