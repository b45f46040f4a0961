//! A stream gives the text of the whole waveform, however it is cut.

use pollster::block_on;
use polymix::audio::{BANDS, Padding};
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::{Graph, Tensor};
use polymix::models::{Encoder, EncoderInputs, Endpointing, Recognized, Recognizer, StreamRecognizer};
use polymix::nn::{Context, Mode, STATE_PREFIX, sinusoid_from};
use polymix::recipe::{self, MixerKind, ModelConfig};
use polymix::shape::Spec;

use crate::{gpu, model, waveform};

fn streamed(recognizer: &mut StreamRecognizer, waveform: &[f32], pieces: &[usize]) -> Recognized {
    let (mut rest, mut texts) = (waveform, Vec::new());
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        block_on(recognizer.push(now)).unwrap();
        texts.push(recognizer.recognized().text);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert!(texts.iter().any(|text| !text.is_empty()));
    block_on(recognizer.finish()).unwrap()
}

#[test]
fn however_it_is_cut() {
    let Some(gpu) = gpu() else { return };
    let mut whole = Recognizer::new(gpu.clone(), model(Padding::Causal)).unwrap();
    let mut stream = block_on(StreamRecognizer::new(gpu, model(Padding::Causal), None)).unwrap();
    for (seconds, pieces) in [(2.63, &[4000, 1, 777][..]), (0.31, &[100_000]), (1.0, &[3200])] {
        let waveform = waveform(seconds, 7);
        let expected = block_on(whole.recognize(&[&waveform])).unwrap().remove(0);
        let found = streamed(&mut stream, &waveform, pieces);
        assert!(!expected.text.is_empty());
        assert_eq!(found.text, expected.text);
        for (a, b) in found.words.iter().zip(&expected.words) {
            assert!((a.start - b.start).abs() < 1e-9 && (a.end - b.end).abs() < 1e-9, "{a:?} {b:?}");
            assert!((a.confidence - b.confidence).abs() < 1e-4, "{a:?} {b:?}");
        }
    }
    assert!(block_on(stream.push(&[0.0, f32::NAN])).is_err());
}

/// The sentences of a stream, the last one too.
fn sentences(recognizer: &mut StreamRecognizer, waveform: &[f32], piece: usize) -> Vec<Recognized> {
    let mut found = Vec::new();
    for piece in waveform.chunks(piece) {
        block_on(recognizer.push(piece)).unwrap();
        found.extend(recognizer.sentences());
    }
    found.push(block_on(recognizer.finish()).unwrap());
    found
}

#[test]
fn sentences_end_by_themselves() {
    let Some(gpu) = gpu() else { return };
    let mut stream = block_on(StreamRecognizer::new(gpu, model(Padding::Causal), None)).unwrap();
    let waveform = [waveform(2.0, 3), vec![0.0; 40_000], waveform(6.0, 4)].concat();
    let whole = streamed(&mut stream, &waveform, &[5000]);

    let never = Endpointing { pause: 60.0, longest: 600.0, ..Endpointing::default() };
    stream.set_endpointing(Some(never)).unwrap();
    assert_eq!(sentences(&mut stream, &waveform, 5000), [whole]);

    stream.set_endpointing(Some(Endpointing { longest: 1.0, ..Endpointing::default() })).unwrap();
    let found = sentences(&mut stream, &waveform, 5000);
    // None lasts over twice as long, but for the chunk that ends it.
    assert!(found.len() >= 4, "{found:?}");
    let words: Vec<_> = found.iter().flat_map(|sentence| &sentence.words).collect();
    assert!(words.windows(2).all(|pair| pair[0].start < pair[1].start), "{words:?}");
    assert!(words.iter().all(|word| word.end <= waveform.len() as f64 / 16e3), "{words:?}");
    assert!(words.last().unwrap().start > 8.5, "{words:?}");
    // What came before does not matter, nor how it is cut.
    assert_eq!(sentences(&mut stream, &waveform, 777), found);

    for bad in [
        Endpointing { pause: 0.0, ..never },
        Endpointing { quiet_db: f64::NAN, ..never },
        Endpointing { longest: 0.5, ..never },
    ] {
        let message = stream.set_endpointing(Some(bad)).unwrap_err().to_string();
        assert!(message.contains("0.04 s, 0 dB and 1 s"), "{message}");
    }
}

#[test]
fn models_for_whole_utterances_are_refused() {
    let Some(gpu) = gpu() else { return };
    let refused = block_on(StreamRecognizer::new(gpu, model(Padding::Masked), None));
    assert!(refused.err().unwrap().to_string().contains("causal_chunk"));
}

const TIME: usize = 23;

fn config(mixer: MixerKind, layers: usize, chunk: usize) -> ModelConfig {
    ModelConfig {
        mixer: recipe::MixerSpec::Every(mixer),
        d_model: 12,
        layers,
        ffn: 16,
        kernel: 5,
        channels: [4, 3],
        causal_chunk: Some(chunk),
        ..ModelConfig::default()
    }
}

/// Values of all parameters of the encoder, on the device.
fn executor(config: &ModelConfig) -> Option<Executor> {
    let gpu = gpu()?;
    let mut executor = Executor::new(gpu.clone());
    let graph = Graph::new();
    whole_graph(&graph, config, TIME);
    let parameters: Vec<_> = graph.parameters().into_iter().map(|(parameter, _)| parameter).collect();
    let entries: Vec<_> = parameters.iter().map(|p| (p.name.clone(), Spec::f32(p.shape.clone()))).collect();
    executor.store.arena(&gpu, "parameters", &entries).unwrap();
    for parameter in parameters {
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 5);
        executor.store.write(&gpu, &parameter.name, &values).unwrap();
    }
    Some(executor)
}

fn whole_graph(graph: &Graph, config: &ModelConfig, time: usize) -> Tensor {
    let scope = graph.root();
    let ctx = Context::new(&scope, 1, time, Mode::Inference, config.padding);
    let features = scope.input("features", Spec::f32([1, 4 * time, BANDS]));
    Encoder::new(config, BANDS).forward(&scope, &ctx, &features).unwrap().output
}

/// The encoder's output for the first `time` frames as one utterance.
fn whole(executor: &mut Executor, config: &ModelConfig, features: &[f32], time: usize) -> Vec<f32> {
    let graph = Graph::new();
    let output = whole_graph(&graph, config, time);
    let plan =
        Plan::compile(&graph, &[("y", &output)], PlanOptions::default(), executor.gpu().capabilities())
            .unwrap();
    let mut loaded = block_on(executor.load(plan)).unwrap();
    let inputs = EncoderInputs::new(&[4 * time as u32], 4 * time);
    executor.write_input(&loaded, "features", &features[..4 * time * BANDS]).unwrap();
    executor.write_input(&loaded, "lengths", &inputs.lengths).unwrap();
    executor.write_input(&loaded, "valid", &inputs.valid).unwrap();
    executor.run(&mut loaded).unwrap();
    block_on(executor.read(&loaded, "y")).unwrap()
}

/// The encoder's output for chunks of a stream.
fn chunked(executor: &mut Executor, config: &ModelConfig, features: &[f32], chunks: &[usize]) -> Vec<f32> {
    let (mut output, mut first) = (Vec::new(), 0);
    for &time in chunks {
        let before = if first == 0 { 0 } else { 4 };
        let graph = Graph::new();
        let scope = graph.root();
        let ctx = Context::chunk(&scope, time);
        let shape = Spec::f32([1, before + 4 * time, BANDS]);
        let encoder = Encoder::new(config, BANDS);
        let y = encoder.forward(&scope, &ctx, &scope.input("features", shape)).unwrap().output;
        let plan = Plan::compile(&graph, &[("y", &y)], PlanOptions::default(), executor.gpu().capabilities())
            .unwrap();
        if first == 0 {
            let state: Vec<_> =
                plan.stored.iter().filter(|(name, _)| name.starts_with(STATE_PREFIX)).cloned().collect();
            assert!(state.len() >= config.layers);
            let gpu = executor.gpu().clone();
            executor.store.arena(&gpu, "state", &state).unwrap();
            for (name, spec) in state {
                executor.store.write(&gpu, &name, &vec![0.0_f32; spec.shape.elements()]).unwrap();
            }
        }
        let mut loaded = block_on(executor.load(plan)).unwrap();
        let frames = &features[(4 * first - before) * BANDS..4 * (first + time) * BANDS];
        executor.write_input(&loaded, "features", frames).unwrap();
        executor.write_input(&loaded, "lengths", &[time as u32]).unwrap();
        executor.write_input(&loaded, "valid", &vec![1.0_f32; time]).unwrap();
        executor.write_input(&loaded, "inverse_frames", &[1.0 / (first + time) as f32]).unwrap();
        if config.kernel > 1 {
            executor
                .write_input(&loaded, "frames_with_context", &[(time + config.kernel - 1) as u32])
                .unwrap();
        }
        executor.write_input(&loaded, "positions", &sinusoid_from(first, time, config.d_model)).unwrap();
        executor.run(&mut loaded).unwrap();
        output.extend(block_on(executor.read::<f32>(&loaded, "y")).unwrap());
        first += time;
    }
    output
}

fn features() -> Vec<f32> {
    (0..4 * TIME * BANDS).map(|i| (0.7 * i as f32 + 1e-4 * (i * i % 9973) as f32).sin()).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-5)
}

const FORMS: [MixerKind; 5] =
    [MixerKind::Pom, MixerKind::PomSelective, MixerKind::Pom2Way, MixerKind::Pom3Way, MixerKind::Pom2026];

/// Two layers, so that what a layer carries depends on the chunks of the one below.
#[test]
fn even_chunks_equal_the_chunk_causal_forward() {
    for mixer in FORMS {
        for (chunk, chunks) in [(1, vec![1; TIME]), (5, vec![5, 5, 5, 5, 3]), (TIME + 2, vec![TIME])] {
            let config = config(mixer, 2, chunk);
            let Some(mut executor) = executor(&config) else { return };
            let expected = whole(&mut executor, &config, &features(), TIME);
            let found = chunked(&mut executor, &config, &features(), &chunks);
            assert!(close(&found, &expected), "{mixer}, chunks of {chunk}");
        }
    }
}

/// In one layer whose convolution does not look back, a frame's output is that of the utterance that ends with
/// the frame's chunk.
#[test]
fn uneven_chunks_equal_the_forward_up_to_their_ends() {
    for mixer in FORMS {
        let config = ModelConfig { kernel: 1, ..config(mixer, 1, TIME) };
        let Some(mut executor) = executor(&config) else { return };
        let chunks = [2, 7, 1, 9, 4];
        let found = chunked(&mut executor, &config, &features(), &chunks);
        let mut first = 0;
        for time in chunks {
            let end = first + time;
            let expected = whole(&mut executor, &config, &features(), end);
            let range = first * config.d_model..end * config.d_model;
            assert!(close(&found[range.clone()], &expected[range]), "{mixer}, frames {first} to {end}");
            first = end;
        }
    }
}
