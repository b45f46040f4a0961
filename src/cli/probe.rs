//! `polymix probe`: linear probes of each layer of a model.

use std::collections::BTreeMap;

use pollster::block_on;
use serde::Serialize;

use super::adapter::Device;
use super::arguments::{Global, Probe};
use super::evaluate::{left_out, nothing_scored};
use super::inference::process_corpus;
use super::output::{note, percent, print, print_json, table, to_json};
use super::progress::Reporter;
use super::train::stop_on_interrupt;
use crate::data::{Corpus, Exclusions, LeftOut, Why};
use crate::error::{Error, Result};
use crate::files::{make_folder, write_whole};
use crate::models::{Extracted, Extractor, SavedModel};
use crate::recipe::{PaddedFrames, Target};
use crate::tasks::{Classification, classification};
use crate::train::metrics::chart::{self, COLORS, Curve, Panel};
use crate::train::{ProbeData, Probed, Progress, interrupted, probe};

/// Optimizer steps, unless fewer are asked for.
const STEPS: u64 = 500;
/// Every so many utterances of a class are held out where no test data are given.
const HELD_OUT: usize = 5;

/// The output of `--json`, and `probe.json`.
#[derive(Debug, Serialize)]
struct Report {
    target: Target,
    labels: Vec<String>,
    steps: u64,
    seed: u32,
    train_utterances: usize,
    test_utterances: usize,
    /// Whether the test utterances are a part of the data, which training has not.
    held_out: bool,
    layers: Vec<Layer>,
    /// Of the weighted sum of all layers.
    sum: Accuracy,
    /// Recordings that neither training nor test includes.
    left_out: Vec<LeftOut>,
    left_out_reasons: BTreeMap<Why, usize>,
}

/// What is read of a layer.
#[derive(Debug, Serialize)]
struct Layer {
    layer: usize,
    mixer: &'static str,
    #[serde(flatten)]
    accuracy: Accuracy,
    /// Its weight in the sum.
    weight: f32,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Accuracy {
    accuracy: f64,
    accuracy_ci: [f64; 2],
}

/// Utterances with a class and the statistics of every layer.
struct Statistics {
    classes: Vec<String>,
    statistics: Vec<Vec<f32>>,
}

/// Trains a probe on every layer and on their weighted sum, and says how well each tells classes.
pub(super) fn run(command: &Probe, global: &Global) -> Result<()> {
    let model = SavedModel::load(&command.model)?;
    let target = command.target.map_or_else(
        || model.config.kind.utterance().map_or(Target::Label, |head| head.target),
        super::arguments::Field::target,
    );
    let config = model.config.model.clone();
    let load = |sources| -> Result<Corpus> {
        let mut corpus = Corpus::load(sources)?;
        corpus.choose_channel(command.channel);
        corpus.tell(target)?;
        Ok(corpus)
    };
    let train = load(&command.data)?;
    let test = if command.test.is_empty() { None } else { Some(load(&command.test)?) };
    make_folder(&command.out)?;
    let device = Device::open(global)?;
    stop_on_interrupt();
    let alone = config.padding == PaddedFrames::Reference;
    let mut extractor = Extractor::new(device.gpu.clone(), model, None)?;
    let mut left = Exclusions::default();
    let mut forward =
        |corpus: &Corpus| process_all(command, corpus, global, &mut extractor, alone, &mut left);
    let train = forward(&train)?;
    let test = test.map(|test| forward(&test)).transpose()?;
    let held_out = test.is_none();
    let (train, test) = match test {
        Some(test) => (train, test),
        None => hold_out(train)?,
    };
    let labels: Vec<String> =
        train.classes.iter().cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    if labels.len() < 2 {
        return Err(Error::invalid(format!(
            "the data have {} class to train on; give data of several",
            labels.len()
        )));
    }
    let data = |predicted: &Statistics| ProbeData {
        statistics: predicted.statistics.concat(),
        // A class that was not learned is never found.
        classes: predicted.classes.iter().map(|class| labels.binary_search(class).unwrap_or(0)).collect(),
    };
    let (steps, seed) = (global.limit_steps.unwrap_or(STEPS).min(STEPS), global.seed.unwrap_or(0));
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("training probes", steps);
    let sizes = [config.layers, labels.len()];
    let mut watch = |step| reporter.advance(step);
    let probed =
        probe(device.gpu.clone(), sizes, data(&train), data(&test), [steps, u64::from(seed)], &mut watch)?;
    reporter.end();
    let said: Vec<&str> = test.classes.iter().map(String::as_str).collect();
    let accuracy = |predicted: &Vec<usize>| -> Result<Accuracy> {
        let scores = classification(&labels, &said, predicted);
        let Classification { accuracy, accuracy_ci, .. } =
            scores.ok_or_else(|| Error::invalid("there is no utterance to test the probes on"))?;
        Ok(Accuracy { accuracy, accuracy_ci })
    };
    let Probed { predicted, weights } = probed;
    let mut rates: Vec<Accuracy> = predicted.iter().map(accuracy).collect::<Result<_>>()?;
    let sum = rates.pop().ok_or_else(|| Error::invalid("there is no layer"))?;
    let layer = |(layer, (accuracy, weight)): (usize, (Accuracy, f32))| Layer {
        layer,
        mixer: config.mixer.for_layer(layer).name(),
        accuracy,
        weight,
    };
    let report = Report {
        target,
        steps,
        seed,
        train_utterances: train.classes.len(),
        test_utterances: test.classes.len(),
        held_out,
        layers: rates.into_iter().zip(weights).enumerate().map(layer).collect(),
        sum,
        left_out_reasons: left.counts(),
        left_out: left.first(usize::MAX),
        labels,
    };
    write_whole(&command.out.join("probe.json"), to_json(&report)?.as_bytes())?;
    let path = command.out.join("probe.svg");
    let svg = chart::svg(&panels(&report), (560, 420))
        .map_err(|error| Error::file(&path, format!("cannot draw the probes: {error}")))?;
    write_whole(&path, svg.as_bytes())?;
    if !global.quiet {
        note(format!("wrote {} and probe.json", path.display()));
    }
    if command.json { print_json(&report) } else { print(summary(&report)) }
}

/// Mean and standard deviation of every layer's output, the last one's after the final norm, over an utterance's frames.
fn process_all(
    command: &Probe,
    corpus: &Corpus,
    global: &Global,
    extractor: &mut Extractor,
    alone: bool,
    left: &mut Exclusions,
) -> Result<Statistics> {
    let utterances = &corpus.utterances;
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("encoding", utterances.len() as u64);
    let layers = extractor.names().iter().filter(|name| name.starts_with("layer.")).count();
    let last = format!("layer.{}", layers - 1);
    let mut forward = |waveforms: &[&[f32]]| {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        // Where padded frames change what others give, each is alone.
        let mut all = Vec::with_capacity(waveforms.len());
        for waveforms in waveforms.chunks(if alone { 1 } else { waveforms.len().max(1) }) {
            all.extend(block_on(extractor.extract(waveforms))?);
        }
        let of_layer =
            |one: &&Extracted| one.name != last && one.name.starts_with("layer.") || one.name == "encoder";
        Ok(all.iter().map(|tensors| tensors.iter().filter(of_layer).flat_map(statistics).collect()).collect())
    };
    let mut predicted: Vec<Option<Vec<f32>>> = vec![None; utterances.len()];
    let mut give = |at: usize, one: Vec<f32>| predicted[at] = Some(one);
    let listened =
        process_corpus(&mut forward, &|_, _| None, utterances, command.strict, &mut reporter, &mut give)?;
    reporter.end();
    let known = predicted.into_iter().zip(corpus.texts()?);
    let (statistics, classes): (Vec<_>, Vec<_>) =
        known.filter_map(|(one, class)| Some((one?, class.to_owned()))).unzip();
    if classes.is_empty() {
        return Err(nothing_scored(utterances.len(), &listened.left_out));
    }
    left.extend(&listened.left_out);
    Ok(Statistics { classes, statistics })
}

/// Mean and standard deviation of every channel over the frames.
fn statistics(tensor: &Extracted) -> Vec<f32> {
    let frames = tensor.frames().max(1) as f64;
    let (mut means, mut squares) = (vec![0.0; tensor.width], vec![0.0; tensor.width]);
    for frame in tensor.values.chunks(tensor.width) {
        means.iter_mut().zip(frame).for_each(|(mean, &x)| *mean += f64::from(x) / frames);
    }
    for frame in tensor.values.chunks(tensor.width) {
        for ((square, mean), &x) in squares.iter_mut().zip(&means).zip(frame) {
            *square += (f64::from(x) - mean).powi(2) / frames;
        }
    }
    means.iter().copied().chain(squares.iter().map(|square| square.sqrt())).map(|x| x as f32).collect()
}

/// Parts data: every fifth utterance of each class is for the test.
fn hold_out(all: Statistics) -> Result<(Statistics, Statistics)> {
    let empty = || Statistics { classes: Vec::new(), statistics: Vec::new() };
    let (mut train, mut test, mut seen) = (empty(), empty(), BTreeMap::new());
    for (class, statistics) in all.classes.into_iter().zip(all.statistics) {
        let number: &mut usize = seen.entry(class.clone()).or_default();
        *number += 1;
        let part = if number.is_multiple_of(HELD_OUT) { &mut test } else { &mut train };
        part.classes.push(class);
        part.statistics.push(statistics);
    }
    if test.classes.is_empty() {
        return Err(Error::invalid(format!(
            "no class has {HELD_OUT} utterances, of which one would be held out; give --test data"
        )));
    }
    Ok((train, test))
}

fn panels(report: &Report) -> [Panel; 2] {
    let points = |value: &dyn Fn(&Layer) -> f64| {
        report.layers.iter().map(|layer| (layer.layer as f64, value(layer))).collect::<Vec<_>>()
    };
    let curve = |label: &str, points, color: usize, dots| Curve {
        label: label.to_owned(),
        points,
        color: COLORS[color],
        width: 2,
        dots,
    };
    let panel = |title: &str, y: &str, curves| Panel {
        title: title.to_owned(),
        x: "layer".to_owned(),
        y: y.to_owned(),
        curves,
        from_zero: true,
        legend_left: false,
    };
    let sum = 100.0 * report.sum.accuracy;
    let last = report.layers.len().saturating_sub(1).max(1) as f64;
    let accuracy = points(&|layer| 100.0 * layer.accuracy.accuracy);
    [
        panel(
            "What a layer knows",
            "accuracy, %",
            vec![
                curve("one layer", accuracy, 0, true),
                curve("weighted sum", vec![(0.0, sum), (last, sum)], 1, false),
            ],
        ),
        panel(
            "What the sum takes",
            "weight",
            vec![curve("weight", points(&|layer| f64::from(layer.weight)), 2, true)],
        ),
    ]
}

fn summary(report: &Report) -> String {
    let cells = |Accuracy { accuracy, accuracy_ci: [low, high] }: Accuracy| {
        [percent(accuracy), format!("{} to {}", percent(low), percent(high))]
    };
    let mut rows = vec![["layer", "mixer", "accuracy", "95 %", "weight"].map(str::to_owned)];
    for layer in &report.layers {
        let [accuracy, interval] = cells(layer.accuracy);
        let weight = format!("{:.3}", layer.weight);
        rows.push([layer.layer.to_string(), layer.mixer.to_owned(), accuracy, interval, weight]);
    }
    let [accuracy, interval] = cells(report.sum);
    rows.push(["sum".to_owned(), String::new(), accuracy, interval, String::new()]);
    let held_out = if report.held_out { ", held out of the data" } else { "" };
    format!(
        "{}\n{} classes, trained on {} utterances, tested on {}{held_out}\n{}",
        table(&rows),
        report.labels.len(),
        report.train_utterances,
        report.test_utterances,
        left_out(
            report.train_utterances + report.test_utterances,
            &report.left_out,
            &report.left_out_reasons
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_of_channels() {
        let tensor =
            Extracted { name: "layer.0".to_owned(), width: 2, values: vec![1.0, 7.0, 3.0, 7.0, 5.0, 7.0] };
        let deviation = (8.0_f32 / 3.0).sqrt();
        assert_eq!(statistics(&tensor), [3.0, 7.0, deviation, 0.0]);
    }

    #[test]
    fn every_fifth_of_a_class_is_held_out() {
        let classes: Vec<String> = (0..11).map(|at| ["a", "b"][at % 2].to_owned()).collect();
        let statistics = (0..11).map(|at| vec![at as f32]).collect();
        let (train, test) = hold_out(Statistics { classes, statistics }).unwrap();
        assert_eq!((train.classes.len(), test.classes), (9, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(test.statistics, [[8.0], [9.0]]);
        assert!(hold_out(Statistics { classes: vec!["a".to_owned()], statistics: vec![vec![0.0]] }).is_err());
    }
}
