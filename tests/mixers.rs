//! Every mixer that a recipe can name: an utterance does not depend on its batch, and models have their published
//! sizes.

mod adapter;

use pollster::block_on;
use std::sync::Arc;

use adapter::gpu;
use polymix::audio::{BANDS, Normalization, Padding as AudioPadding, Preprocessor};
use polymix::autograd::gradients;
use polymix::exec::{Executor, Plan, PlanOptions, reference};
use polymix::gpu::Gpu;
use polymix::graph::{Graph, Tensor, ValueSource};
use polymix::models::{CtcHead, CtcModel, Encoder, EncoderInputs, ModelKind, SavedConfig};
use polymix::nn::{Context, Mode, mixer};
use polymix::ops::Array;
use polymix::recipe::{Head, MixerKind, MixerSpec, ModelConfig, ModelOptions, PaddedFrames};
use polymix::rng::Rng;
use polymix::shape::Spec;

fn small(mixer: MixerSpec) -> ModelConfig {
    ModelConfig {
        mixer,
        d_model: 16,
        layers: 2,
        ffn: 32,
        kernel: 7,
        heads: 4,
        summary_hidden: 24,
        summary_local: 20,
        channels: [4, 4],
        padding: PaddedFrames::Masked,
        ..ModelConfig::default()
    }
}

fn array(dims: &[usize], values: Vec<f64>) -> Array {
    Array::from_shape_vec(dims, values).unwrap()
}

/// Largest difference.
fn distance<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    a.into_iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Output of the mixer `name`, and gradients of its input and parameters for a gradient dy that arrives at the
/// first `seeded` frames of the first row: by the definitions, in f64. x [rows, time, d]; `lengths` is what the
/// mixer is told of the rows.
fn mix(name: MixerKind, x: &Array, lengths: &[usize], seeded: usize) -> Vec<Array> {
    let config = small(MixerSpec::Every(name));
    let &[rows, time, d] = x.shape() else { panic!("x has shape {:?}", x.shape()) };
    let graph = Graph::new();
    let ctx = Context::new(&graph.root(), rows, time, Mode::Inference, PaddedFrames::Masked);
    let input = graph.input("x", Spec::f32([rows, time, d]));
    let y = mixer(name, &config).forward(&graph.root(), &ctx, &input).unwrap();
    let dy = graph.input("dy", y.spec().clone());
    let parameters = graph.parameters();
    let mut wrt = vec![&input];
    wrt.extend(parameters.iter().map(|(_, tensor)| tensor));
    let mut outputs = vec![y.clone()];
    outputs.extend(gradients(&[(&y, &dy)], &wrt).unwrap().into_iter().map(|gradient| gradient.unwrap()));

    let mut bindings = reference::Bindings::new();
    for (parameter, _) in &parameters {
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 3);
        let values = values.into_iter().map(f64::from).collect();
        bindings.insert(parameter.name.clone(), array(parameter.shape.dims(), values));
    }
    let mut rng = Rng::new(&[9]);
    let seeds = (0..rows * time * d).map(|i| if i < seeded * d { rng.normal() } else { 0.0 }).collect();
    let valid = lengths.iter().flat_map(|&n| (0..time).map(move |t| f64::from(u8::from(t < n)))).collect();
    let of_lengths = |lengths: &[usize]| array(&[rows], lengths.iter().map(|&n| n as f64).collect());
    for (name, values) in [
        ("x", x.clone()),
        ("dy", array(&[rows, time, d], seeds)),
        ("valid", array(&[rows, time], valid)),
        ("lengths", of_lengths(lengths)),
        ("full_lengths", of_lengths(&vec![time; rows])),
        ("rng", array(&[3], vec![0.0; 3])),
    ] {
        bindings.insert(name.into(), values);
    }
    let refs: Vec<&Tensor> = outputs.iter().collect();
    reference::run(&graph, &mut bindings, &refs).unwrap()
}

#[test]
fn no_mixer_lets_other_rows_or_padded_frames_in() {
    let (time, d) = (11, 16);
    let mut rng = Rng::new(&[2]);
    // Padded frames hold values too.
    let batch = array(&[3, time, d], (0..3 * time * d).map(|_| rng.normal()).collect());
    for name in MixerKind::ALL {
        for length in [1, 5, 8, time] {
            let own = length * d;
            let alone = array(&[1, length, d], batch.iter().take(own).copied().collect());
            let alone = mix(name, &alone, &[length], length);
            let together = mix(name, &batch, &[length, time, 3], length);
            for (index, (a, b)) in alone.iter().zip(&together).enumerate() {
                let largest = a.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
                let difference = distance(a, b);
                assert!(difference <= 1e-9 * largest, "{name}, {length} frames, {index}: {difference}");
            }
            let beyond = together[1].iter().skip(own).fold(0.0, |m: f64, x| m.max(x.abs()));
            assert_eq!(beyond, 0.0, "{name}: a gradient reaches padded frames or other rows");
            if length < time {
                let unmasked = mix(name, &batch, &[time; 3], length);
                let difference = distance(&alone[0], &unmasked[0]);
                assert!(difference > 1e-3, "{name} does not see its mask: {difference}");
            }
        }
    }
}

/// Logits of the waveforms, padded together; unless `masked`, all frames are said to be valid.
fn logits(gpu: &Arc<Gpu>, config: &ModelConfig, waveforms: &[Vec<f32>], masked: bool) -> Vec<Vec<f32>> {
    let preprocessor = Preprocessor::new(0.0, Normalization::Sentence, AudioPadding::Masked);
    let batch = preprocessor.batch(waveforms).unwrap();
    let (rows, time) = (batch.utterances, batch.frames / 4);
    let graph = Graph::new();
    let scope = graph.root();
    let ctx = Context::new(&scope, rows, time, Mode::Inference, config.padding);
    let head = CtcHead { head: Head::Linear, width: 16, dropout: 0.0, vocabulary: 29 };
    let model = CtcModel::new(Encoder::new(config, BANDS), head);
    let features = scope.input("features", Spec::f32([rows, batch.frames, BANDS]));
    let (logits, _) = model.forward(&scope, &ctx, &features).unwrap();
    let mut executor = Executor::new(gpu.clone());
    for (parameter, _) in graph.parameters() {
        let part = (parameter.name.clone(), Spec::f32(parameter.shape.clone()));
        executor.store.arena(gpu, &parameter.name, &[part]).unwrap();
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 3);
        executor.store.write(gpu, &parameter.name, &values).unwrap();
    }
    let plan =
        Plan::compile(&graph, &[("logits", &logits)], PlanOptions::default(), gpu.capabilities()).unwrap();
    let mut loaded = block_on(executor.load(plan)).unwrap();
    let frames = if masked { batch.lengths.clone() } else { vec![batch.frames as u32; rows] };
    let inputs = EncoderInputs::new(&frames, batch.frames);
    executor.write_input(&loaded, "features", &batch.features).unwrap();
    executor.write_input(&loaded, "lengths", &inputs.lengths).unwrap();
    if executor.takes(&loaded, "valid") {
        executor.write_input(&loaded, "valid", &inputs.valid).unwrap();
    }
    executor.run(&mut loaded).unwrap();
    let all: Vec<f32> = block_on(executor.read(&loaded, "logits")).unwrap();
    let valid = batch.lengths.iter().map(|&frames| frames as usize / 4 * 29);
    valid.enumerate().map(|(row, valid)| all[row * time * 29..][..valid].to_vec()).collect()
}

#[test]
fn an_utterance_alone_and_in_a_batch_agree() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(&[4]);
    // 101, 188 and 55 frames: a multiple of four and others.
    let waveforms: Vec<Vec<f32>> = [16_123, 30_000, 8_641]
        .map(|samples| (0..samples).map(|_| 0.1 * rng.normal() as f32).collect())
        .into();
    let mut specs: Vec<MixerSpec> = MixerKind::ALL.map(MixerSpec::Every).into();
    specs.push(MixerSpec::PerLayer(MixerKind::ALL.into()));
    for spec in specs {
        let mut config = small(spec.clone());
        if let MixerSpec::PerLayer(names) = &spec {
            config.layers = names.len();
        }
        config.validate().unwrap();
        let together = logits(&gpu, &config, &waveforms, true);
        let unmasked = logits(&gpu, &config, &waveforms, false);
        for (row, waveform) in waveforms.iter().enumerate() {
            let alone = &logits(&gpu, &config, std::slice::from_ref(waveform), true)[0];
            let difference = |other: &[f32]| {
                assert_eq!(alone.len(), other.len());
                alone.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            let largest = difference(&together[row]);
            println!("{spec:?} row {row}: {largest:.1e}, unmasked {:.1e}", difference(&unmasked[row]));
            assert!(largest < 2e-5, "{spec:?}: logits differ by {largest}");
            // The second is the longest and has nothing to mask.
            assert!(row == 1 || difference(&unmasked[row]) > 1e-3, "{spec:?} does not see its mask");
        }
    }
}

/// Whether the encoder's graph holds the sinusoid.
fn places(spec: MixerSpec) -> bool {
    let graph = Graph::new();
    let scope = graph.root();
    let ctx = Context::new(&scope, 1, 4, Mode::Inference, PaddedFrames::Masked);
    let features = scope.input("features", Spec::f32([1, 16, BANDS]));
    Encoder::new(&small(spec), BANDS).forward(&scope, &ctx, &features).unwrap();
    graph
        .snapshot()
        .0
        .iter()
        .any(|value| matches!(&value.source, ValueSource::Constant(name, _) if name == "positions.4x16"))
}

#[test]
fn positions_are_absolute_where_a_mixer_wants_them() {
    // These place frames themselves.
    let relative = [MixerKind::RopeMha, MixerKind::RelposMha, MixerKind::HyperMixing, MixerKind::Mamba];
    for name in MixerKind::ALL {
        let wanted = mixer(name, &small(MixerSpec::Every(name))).wants_positions();
        assert_eq!(wanted, !relative.contains(&name), "{name}");
        let own = wanted || [MixerKind::HyperMixing, MixerKind::RelposMha].contains(&name);
        assert_eq!(places(MixerSpec::Every(name)), own, "{name}");
        assert!(places(MixerSpec::Split { lower: name, upper: MixerKind::Pom, split: 1 }), "{name}");
    }
}

/// Bytes that a plan of a mixer over two rows holds beside its parameters, with all gradients or without.
fn peak(gpu: &Gpu, name: MixerKind, time: usize, training: bool) -> f64 {
    let graph = Graph::new();
    let ctx = Context::new(&graph.root(), 2, time, Mode::Inference, PaddedFrames::Masked);
    let x = graph.input("x", Spec::f32([2, time, 16]));
    let config = small(MixerSpec::Every(name));
    let y = mixer(name, &config).forward(&graph.root(), &ctx, &x).unwrap();
    let mut outputs = vec![y.clone()];
    if training {
        let dy = graph.input("dy", y.spec().clone());
        let parameters = graph.parameters();
        let mut wrt = vec![&x];
        wrt.extend(parameters.iter().map(|(_, tensor)| tensor));
        outputs.extend(gradients(&[(&y, &dy)], &wrt).unwrap().into_iter().map(|gradient| gradient.unwrap()));
    }
    let names: Vec<String> = (0..outputs.len()).map(|index| index.to_string()).collect();
    let outputs: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&outputs).collect();
    let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), gpu.capabilities()).unwrap();
    let largest = plan.slots.iter().copied().max().unwrap();
    assert!(largest < 4 * (time * time) as u64, "{name}: a buffer of {largest} bytes for {time} frames");
    plan.peak_bytes() as f64
}

/// Twice the frames take twice the memory, and nothing is kept for pairs of frames.
#[test]
fn memory_is_linear_in_the_frames() {
    let Some(gpu) = gpu() else { return };
    for name in MixerKind::ALL {
        for training in [false, true] {
            let [one, two] = [2048, 4096].map(|time| peak(&gpu, name, time, training));
            println!("{name}: {one} and {two} bytes");
            assert!(two <= 2.05 * one, "{name}: {one} bytes, then {two}");
        }
    }
}

#[test]
fn base_models_have_their_published_sizes() {
    // Encoder and a Linear to 8192 codes, in millions.
    let pom_of_degree_3 = ModelConfig { degree: 3, d_model: 440, ..ModelConfig::base(MixerKind::Pom) };
    let of_width = [
        (MixerKind::Pom, 95.6),
        (MixerKind::PomSelective, 78.4),
        (MixerKind::Pom2Way, 84.2),
        (MixerKind::Pom3Way, 80.4),
        (MixerKind::RelposMha, 94.03),
        (MixerKind::RegularMha, 90.05),
        (MixerKind::RopeMha, 90.03),
        (MixerKind::SummaryMixing, 93.1),
        (MixerKind::HyperMixing, 94.3),
        (MixerKind::FastFormer, 93.9),
    ]
    .map(|(name, published)| (ModelConfig::base(name), published));
    for (model, published) in of_width.into_iter().chain([(pom_of_degree_3, 96.4)]) {
        let name = model.mixer.label();
        let ModelConfig { degree, d_model, .. } = model;
        model.validate().unwrap();
        let kind = ModelKind::BestRq { codes: 8192, code_dim: 16 };
        let parameters =
            SavedConfig { kind, model, options: ModelOptions::default(), bands: BANDS }.parameters().unwrap();
        let trained = parameters.iter().filter(|parameter| parameter.trainable);
        let millions = trained.map(|parameter| parameter.shape.elements()).sum::<usize>() as f64 / 1e6;
        println!("{name} of degree {degree}, width {d_model}: {millions:.3} M, published {published} M");
        assert!((millions - published).abs() <= 0.05, "{name}: {millions} M, published {published} M");
    }
}
