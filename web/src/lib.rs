//! What `worker.js` calls: a model read from its files, whole clips, layers' outputs, streams.
//!
//! Waves come at any rate and become 16 kHz here. Every function gives its error as a JavaScript `Error` with a
//! `code`, one of those in `polymix.d.ts`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use js_sys::{Array, Float32Array, Reflect};
use polymix::Error;
use polymix::audio::{BANDS, Preprocessor, Resampler, SAMPLE_RATE, check_length, check_waveform, resample};
use polymix::decode::lm::LanguageModel;
use polymix::decode::{self, Alphabet, HotWords, Settings};
use polymix::gpu::{Gpu, Selection};
use polymix::models::{DeviceModel, Extractor, Recognized, Recognizer, SavedModel, StreamRecognizer};
use polymix::weights::WeightsReader;
use serde::Serialize;
use wasm_bindgen::prelude::*;

type Result<T> = std::result::Result<T, JsValue>;

/// Rates that audio comes in; a resampler for others would be a mistake's.
const RATES: std::ops::RangeInclusive<f64> = 1000.0..=768_000.0;

/// What the last panic said.
static PANIC: Mutex<String> = Mutex::new(String::new());

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
}

/// What the last panic said: a trap itself says nothing.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> String {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn failure(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // Nothing refuses a property of a new object.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// The error as JavaScript has it; `input` is the code of one that is about what the caller gave.
fn thrown(error: Error, input: &str) -> JsValue {
    let code = match &error {
        Error::NoAdapter(_) => "no-webgpu",
        Error::OutOfMemory(_) => "limits",
        Error::DeviceLost(_) => "device-lost",
        Error::Shape { .. } | Error::File { .. } | Error::Invalid(_) => input,
        _ => "failed",
    };
    failure(code, &error.to_string())
}

fn bad_model(error: Error) -> JsValue {
    thrown(error, "bad-model")
}

fn bad_audio(error: Error) -> JsValue {
    thrown(error, "bad-audio")
}

fn rate_in_hertz(rate: f64) -> Result<u32> {
    if RATES.contains(&rate) {
        return Ok(rate.round() as u32);
    }
    let message =
        format!("a sample rate of {rate} Hz is out of range; give the audio's own, usually 16000 to 48000");
    Err(failure("bad-audio", &message))
}

/// The wave at 16 kHz.
fn wave(samples: &[f32], rate: f64) -> Result<Vec<f32>> {
    let rate = rate_in_hertz(rate)?;
    check_waveform(samples).map_err(bad_audio)?;
    let wave = resample(samples, rate, SAMPLE_RATE).map_err(bad_audio)?;
    let seconds = samples.len() as f64 / f64::from(rate);
    check_length(wave.len(), seconds).map_err(|error| failure("bad-audio", &format!("the audio {error}")))?;
    Ok(wave)
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| failure("failed", &error.to_string()))
}

/// `{ text, words, settled }` as JSON, with `beams` where more texts than one were asked for.
fn recognized(heard: Recognized, beams: bool) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Beam {
        text: String,
        words: Vec<polymix::text::Word>,
        ctc_score: f64,
        score: f64,
    }
    #[derive(Serialize)]
    struct Transcript {
        text: String,
        words: Vec<polymix::text::Word>,
        settled: usize,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        beams: Vec<Beam>,
    }
    let beam = |one: &Recognized| Beam {
        text: one.text.clone(),
        words: one.words.clone(),
        ctc_score: one.ctc_score,
        score: one.score,
    };
    let beams = match beams {
        true => std::iter::once(&heard).chain(&heard.alternatives).map(beam).collect(),
        false => Vec::new(),
    };
    json(&Transcript { text: heard.text, words: heard.words, settled: heard.settled, beams })
}

fn bad_setting(error: Error) -> JsValue {
    thrown(error, "failed")
}

/// A language model, for any number of decoders.
#[wasm_bindgen]
pub struct Lm(Arc<LanguageModel>);

#[wasm_bindgen]
impl Lm {
    /// Of the bytes of a file called `name`, as `polymix lm` writes it.
    pub fn read(bytes: Vec<u8>, name: &str) -> Result<Lm> {
        let model = LanguageModel::parse(bytes).and_then(|model| model.verify().map(|()| model));
        let model = model.map_err(|error| bad_model(Error::file(name, error.to_string())))?;
        Ok(Self(Arc::new(model)))
    }
}

/// What turns frames into text.
#[wasm_bindgen]
pub struct Decoder {
    decoder: Arc<decode::Decoder>,
    count: usize,
}

/// What a decoder reads besides its settings.
#[wasm_bindgen]
#[derive(Default)]
pub struct Resources(decode::Resources);

#[wasm_bindgen]
impl Resources {
    /// Nothing.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// A language model.
    #[wasm_bindgen(js_name = setLm)]
    pub fn set_lm(&mut self, lm: &Lm) {
        self.0.lm = Some(lm.0.clone());
    }

    /// The words that count as known, with white space between them.
    #[wasm_bindgen(js_name = setWords)]
    pub fn set_words(&mut self, words: &str) {
        self.0.known = Some(words.split_whitespace().map(str::to_owned).collect());
    }

    /// The words to be preferred, one a line, with the weight of those that have none of their own.
    #[wasm_bindgen(js_name = setHotWords)]
    pub fn set_hot_words(&mut self, words: &str, weight: f64) -> Result<()> {
        self.0.hot_words = HotWords::parse(words, weight)
            .map_err(|error| bad_setting(Error::invalid(format!("hotWords: {error}"))))?;
        Ok(())
    }
}

/// `model.safetensors` while it comes in.
#[wasm_bindgen]
#[derive(Default)]
pub struct Download(WeightsReader);

#[wasm_bindgen]
impl Download {
    /// Before its first byte.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on; throws as soon as the file cannot be what it should be.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.push(bytes).map_err(|error| bad_model(Error::file("model.safetensors", error.to_string())))
    }

    /// Bytes of the whole file by its own table, once that is read.
    #[wasm_bindgen(getter)]
    pub fn total(&self) -> Option<f64> {
        self.0.total().map(|bytes| bytes as f64)
    }
}

/// What a page may want to know of a model.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    parameters: usize,
    layers: usize,
    width: usize,
    vocabulary: Vec<String>,
    silence: f64,
    chunk_ms: Option<f64>,
}

/// A model on the GPU.
#[wasm_bindgen]
pub struct Model {
    gpu: Arc<Gpu>,
    on_device: DeviceModel,
    recognizer: Recognizer,
    extractor: Option<Extractor>,
    preprocessor: Preprocessor,
    description: String,
    /// Texts that the recognizer's decoder finds.
    count: usize,
}

#[wasm_bindgen]
impl Model {
    /// Opens the GPU and places the model of these files on it.
    pub async fn open(
        config: String,
        preprocessor: String,
        vocabulary: Option<String>,
        download: Download,
    ) -> Result<Model> {
        let weights = download.0.finish();
        let weights =
            weights.map_err(|error| bad_model(Error::file("model.safetensors", error.to_string())))?;
        let saved =
            SavedModel::from_files(Path::new(""), &config, &preprocessor, vocabulary.as_deref(), weights)
                .map_err(bad_model)?;
        let gpu = Arc::new(Gpu::new(&Selection::default()).await.map_err(bad_model)?);
        let description = json(&describe(&saved)?)?;
        let on_device = DeviceModel::new(gpu.clone(), &saved).map_err(bad_model)?;
        let recognizer = Recognizer::of(&on_device).map_err(bad_model)?;
        let preprocessor = saved.preprocessor.preprocessor();
        Ok(Self { gpu, on_device, recognizer, extractor: None, preprocessor, description, count: 1 })
    }

    /// JSON of what a page may want to know.
    #[wasm_bindgen(getter)]
    pub fn description(&self) -> String {
        self.description.clone()
    }

    /// A decoder with the settings of a `decoder.json`, which finds `count` texts.
    pub fn decoder(&self, settings: &str, resources: &Resources, count: usize) -> Result<Decoder> {
        let settings = Settings::from_json(settings).map_err(bad_setting)?;
        let alphabet = Alphabet::of(self.recognizer.vocabulary()).map_err(bad_model)?;
        let decoder = decode::Decoder::new(alphabet, settings, &resources.0).map_err(bad_setting)?;
        Ok(Decoder { decoder: Arc::new(decoder), count: count.clamp(1, Settings::WIDEST) })
    }

    /// From now on, clips are decoded with `decoder`, and so are streams that are opened.
    #[wasm_bindgen(js_name = useDecoder)]
    pub fn use_decoder(&mut self, decoder: &Decoder) -> Result<()> {
        self.count = decoder.count;
        self.recognizer.set_decoder(decoder.decoder.clone(), decoder.count).map_err(bad_setting)
    }

    /// Bytes of all live GPU buffers.
    #[wasm_bindgen(getter, js_name = gpuBytes)]
    pub fn gpu_bytes(&self) -> f64 {
        self.gpu.allocated() as f64
    }

    /// What was said in a clip, as JSON.
    pub async fn transcribe(&mut self, samples: Vec<f32>, rate: f64) -> Result<String> {
        let wave = wave(&samples, rate)?;
        let heard = self.recognizer.recognize(&[&wave]).await.map_err(bad_audio)?;
        recognized(heard.into_iter().next().unwrap_or_default(), self.count > 1)
    }

    /// `[name, width, Float32Array]` of the features, every layer's output and the logits.
    pub async fn encode(&mut self, samples: Vec<f32>, rate: f64) -> Result<Array> {
        let wave = wave(&samples, rate)?;
        let extractor = match &mut self.extractor {
            Some(extractor) => extractor,
            slot => slot.insert(Extractor::of(&self.on_device, None).map_err(bad_model)?),
        };
        let extracted = extractor.extract(&[&wave]).await.map_err(bad_audio)?;
        let tensors = Array::new();
        for tensor in extracted.into_iter().flatten() {
            let values = Float32Array::from(tensor.values.as_slice());
            tensors.push(&Array::of3(&tensor.name.into(), &tensor.width.into(), &values));
        }
        Ok(tensors)
    }

    /// `[width, Float32Array]`: the log-mel energies of a clip as the model hears them, without the GPU.
    pub fn features(&self, samples: Vec<f32>, rate: f64) -> Result<Array> {
        let features = self.preprocessor.features(&wave(&samples, rate)?);
        Ok(Array::of2(&BANDS.into(), &Float32Array::from(features.data.as_slice())))
    }

    /// A stream of audio at `rate`.
    pub async fn stream(&self, rate: f64, chunk_ms: Option<f64>) -> Result<Stream> {
        let rate = rate_in_hertz(rate)?;
        let chunk = match chunk_ms {
            None => None,
            Some(ms) if (40.0..=40_000.0).contains(&ms) && ms % 40.0 == 0.0 => Some((ms / 40.0) as usize),
            Some(ms) => {
                let message = format!("chunkMs is {ms}; give a multiple of 40 from 40 to 40000");
                return Err(failure("bad-audio", &message));
            }
        };
        let resampler = Resampler::new(rate, SAMPLE_RATE).map_err(bad_audio)?;
        let mut recognizer = StreamRecognizer::of(&self.on_device, chunk).await.map_err(bad_model)?;
        recognizer.set_decoder(self.recognizer.decoder().clone(), self.count).map_err(bad_setting)?;
        Ok(Stream { recognizer, resampler: Some(resampler), beams: self.count > 1 })
    }
}

fn describe(saved: &SavedModel) -> Result<Description> {
    let parameters = saved.config.parameters().map_err(bad_model)?;
    let trainable = parameters.iter().filter(|parameter| parameter.trainable);
    let model = &saved.config.model;
    let vocabulary = saved.vocabulary.as_ref().map_or(Vec::new(), |vocabulary| {
        (0..vocabulary.len() as u32).filter_map(|id| vocabulary.token(id)).map(str::to_owned).collect()
    });
    Ok(Description {
        parameters: trainable.map(|parameter| parameter.shape.elements()).sum(),
        layers: model.layers,
        width: model.d_model,
        vocabulary,
        silence: saved.preprocessor.silence,
        chunk_ms: model.causal_chunk.map(|frames| frames as f64 * polymix::text::SECONDS_PER_FRAME * 1e3),
    })
}

/// Audio that is still coming in.
#[wasm_bindgen]
pub struct Stream {
    recognizer: StreamRecognizer,
    /// `None` once the stream has ended.
    resampler: Option<Resampler>,
    /// Whether more texts than one are told at the end.
    beams: bool,
}

#[wasm_bindgen]
impl Stream {
    /// Hears more; what was said so far as JSON where a chunk was completed.
    pub async fn push(&mut self, samples: Vec<f32>) -> Result<Option<String>> {
        let Some(resampler) = &mut self.resampler else {
            return Err(failure("bad-audio", "the stream has ended; open another"));
        };
        if samples.is_empty() {
            return Ok(None);
        }
        check_waveform(&samples).map_err(bad_audio)?;
        let wave = resampler.push(&samples).map_err(bad_audio)?;
        match self.recognizer.push(&wave).await.map_err(bad_audio)? {
            true => recognized(self.recognizer.heard(), false).map(Some),
            false => Ok(None),
        }
    }

    /// Hears the end: what was said in all as JSON.
    pub async fn finish(&mut self) -> Result<String> {
        if let Some(resampler) = self.resampler.take() {
            let rest = resampler.finish().map_err(bad_audio)?;
            self.recognizer.push(&rest).await.map_err(bad_audio)?;
        }
        recognized(self.recognizer.finish().await.map_err(bad_audio)?, self.beams)
    }
}
