//! Shared code of the two libraries of the browser: JavaScript errors, waveforms, the files of a model, the last panic.
//!
//! Waveforms come at any rate and become 16 kHz here. Every error is a JavaScript `Error` with a `code`, one of those in
//! `polymix.d.ts`.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use js_sys::{Array, Float32Array, Reflect};
use polymix::Error;
use polymix::audio::{BANDS, Preprocessor, SAMPLE_RATE, check_length, check_waveform, resample};
use polymix::models::SavedModel;
use polymix::weights::WeightsReader;
use serde::Serialize;
use wasm_bindgen::prelude::*;

/// What a function for JavaScript gives.
pub type Result<T> = std::result::Result<T, JsValue>;

/// Rates that audio comes in; a resampler for others would be a mistake's.
const RATES: std::ops::RangeInclusive<f64> = 1000.0..=768_000.0;

/// What the last panic said.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Keeps what panics say from now on.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
}

/// What the last panic said: a trap itself says nothing.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> String {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// An error with its code.
pub fn failure(code: &str, message: &str) -> JsValue {
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

/// An error about the model.
pub fn bad_model(error: Error) -> JsValue {
    thrown(error, "bad-model")
}

/// An error about the audio.
pub fn bad_audio(error: Error) -> JsValue {
    thrown(error, "bad-audio")
}

/// An error about anything else that the caller gave.
pub fn bad_setting(error: Error) -> JsValue {
    thrown(error, "failed")
}

/// The rate as a whole number.
///
/// # Errors
/// When audio does not come so.
pub fn rate_in_hertz(rate: f64) -> Result<u32> {
    if RATES.contains(&rate) {
        return Ok(rate.round() as u32);
    }
    let message =
        format!("a sample rate of {rate} Hz is out of range; give the audio's own, usually 16000 to 48000");
    Err(failure("bad-audio", &message))
}

/// The waveform at 16 kHz.
///
/// # Errors
/// When it is too short, or holds samples that no recording holds.
pub fn waveform(samples: &[f32], rate: f64) -> Result<Vec<f32>> {
    let rate = rate_in_hertz(rate)?;
    check_waveform(samples).map_err(bad_audio)?;
    let waveform = resample(samples, rate, SAMPLE_RATE).map_err(bad_audio)?;
    let seconds = samples.len() as f64 / f64::from(rate);
    check_length(waveform.len(), seconds)
        .map_err(|error| failure("bad-audio", &format!("the audio {error}")))?;
    Ok(waveform)
}

/// `[width, Float32Array]`: the log-mel energies of a clip as a model takes them, without the GPU.
///
/// # Errors
/// See [`waveform`].
pub fn features(preprocessor: &Preprocessor, samples: &[f32], rate: f64) -> Result<Array> {
    let features = preprocessor.features(&waveform(samples, rate)?);
    Ok(Array::of2(&BANDS.into(), &Float32Array::from(features.data.as_slice())))
}

/// The value as JSON.
///
/// # Errors
/// When it has none.
pub fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| failure("failed", &error.to_string()))
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

/// The model of the texts of its files and its weights.
///
/// # Errors
/// When a file is damaged or does not fit the others.
pub fn saved_model(
    config: &str,
    preprocessor: &str,
    vocabulary: Option<&str>,
    weights: Download,
) -> Result<SavedModel> {
    let weights = weights.0.finish();
    let weights = weights.map_err(|error| bad_model(Error::file("model.safetensors", error.to_string())))?;
    SavedModel::from_files(Path::new(""), config, preprocessor, vocabulary, weights).map_err(bad_model)
}

/// JSON of what a page may want to know of a model.
///
/// # Errors
/// When its configuration is out of range.
pub fn describe(saved: &SavedModel) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Description {
        parameters: usize,
        layers: usize,
        width: usize,
        vocabulary: Vec<String>,
        labels: Vec<String>,
        silence: f64,
        chunk_ms: Option<f64>,
    }
    let parameters = saved.config.parameters().map_err(bad_model)?;
    let trainable = parameters.iter().filter(|parameter| parameter.trainable);
    let model = &saved.config.model;
    let vocabulary = saved.vocabulary.as_ref().map_or(Vec::new(), |vocabulary| {
        (0..vocabulary.len() as u32).filter_map(|id| vocabulary.token(id)).map(str::to_owned).collect()
    });
    json(&Description {
        parameters: trainable.map(|parameter| parameter.shape.elements()).sum(),
        layers: model.layers,
        width: model.d_model,
        vocabulary,
        labels: saved.config.kind.utterance().map_or(Vec::new(), |head| head.labels.clone()),
        silence: saved.preprocessor.silence,
        chunk_ms: model.causal_chunk.map(|frames| frames as f64 * polymix::text::SECONDS_PER_FRAME * 1e3),
    })
}
