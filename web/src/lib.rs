//! What `worker.js` calls: a model read from its files, whole clips, layers' outputs, streams.
//!
//! Every function gives its error as a JavaScript `Error` with a `code`, one of those in `polymix.d.ts`.

use std::sync::Arc;

use js_sys::{Array, Float32Array};
use polymix::Error;
use polymix::audio::{Preprocessor, Resampler, SAMPLE_RATE, check_waveform};
use polymix::decode::lm::LanguageModel;
use polymix::decode::{self, Alphabet, HotWords, Settings};
use polymix::gpu::{Gpu, Selection};
use polymix::models::{
    DeviceModel, Endpointing, Extractor, Recognized, Recognizer, SavedModel, StreamRecognizer,
};
pub use polymix_glue::last_panic;
use polymix_glue::{
    Download, Result, bad_audio, bad_model, bad_setting, describe, failure, features, json, rate_in_hertz,
    saved_model, waveform,
};
use serde::Serialize;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(start)]
fn start() {
    polymix_glue::keep_panics();
}

/// `{ text, words, settled }` as JSON, with `beams` where more texts than one were asked for.
fn recognized(found: Recognized, beams: bool) -> Result<String> {
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
        true => std::iter::once(&found).chain(&found.alternatives).map(beam).collect(),
        false => Vec::new(),
    };
    json(&Transcript { text: found.text, words: found.words, settled: found.settled, beams })
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

/// The resources of a decoder besides its settings.
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
        let saved = saved_model(&config, &preprocessor, vocabulary.as_deref(), download)?;
        let gpu = Arc::new(Gpu::new(&Selection::default()).await.map_err(bad_model)?);
        Self::on_device(gpu, &saved)
    }

    /// Takes the model of these files in the place of the one that is there; streams that are open go on with theirs. Where
    /// it fails, all stays as it was.
    pub fn replace(
        &mut self,
        config: String,
        preprocessor: String,
        vocabulary: Option<String>,
        download: Download,
    ) -> Result<()> {
        let saved = saved_model(&config, &preprocessor, vocabulary.as_deref(), download)?;
        *self = Self::on_device(self.gpu.clone(), &saved)?;
        Ok(())
    }

    fn on_device(gpu: Arc<Gpu>, saved: &SavedModel) -> Result<Self> {
        let description = describe(saved)?;
        let on_device = DeviceModel::new(gpu.clone(), saved).map_err(bad_model)?;
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
        let waveform = waveform(&samples, rate)?;
        let found = self.recognizer.recognize(&[&waveform]).await.map_err(bad_audio)?;
        recognized(found.into_iter().next().unwrap_or_default(), self.count > 1)
    }

    /// `[name, width, Float32Array]` of the features, every layer's output and the logits.
    pub async fn encode(&mut self, samples: Vec<f32>, rate: f64) -> Result<Array> {
        let waveform = waveform(&samples, rate)?;
        let extractor = match &mut self.extractor {
            Some(extractor) => extractor,
            slot => slot.insert(Extractor::of(&self.on_device, None).map_err(bad_model)?),
        };
        let extracted = extractor.extract(&[&waveform]).await.map_err(bad_audio)?;
        let tensors = Array::new();
        for tensor in extracted.into_iter().flatten() {
            let values = Float32Array::from(tensor.values.as_slice());
            tensors.push(&Array::of3(&tensor.name.into(), &tensor.width.into(), &values));
        }
        Ok(tensors)
    }

    /// `[width, Float32Array]`: the log-mel energies of a clip as the model takes them, without the GPU.
    pub fn features(&self, samples: Vec<f32>, rate: f64) -> Result<Array> {
        features(&self.preprocessor, &samples, rate)
    }

    /// A stream of audio at `rate`. With `endpoint`, pause and longest duration in ms and decibels, sentences end.
    pub async fn stream(
        &self,
        rate: f64,
        chunk_ms: Option<f64>,
        endpoint: Option<Vec<f64>>,
    ) -> Result<Stream> {
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
        if let Some(&[pause, longest, quiet_db]) = endpoint.as_deref() {
            let rule = Endpointing { pause: 1e-3 * pause, quiet_db, longest: 1e-3 * longest };
            recognizer.set_endpointing(Some(rule)).map_err(bad_setting)?;
        }
        Ok(Stream { recognizer, resampler: Some(resampler), ended: Vec::new(), beams: self.count > 1 })
    }
}

/// Audio that is still coming in.
#[wasm_bindgen]
pub struct Stream {
    recognizer: StreamRecognizer,
    /// `None` once the stream has ended.
    resampler: Option<Resampler>,
    /// Sentences that have not been told.
    ended: Vec<Recognized>,
    /// Whether more texts than one are told at the end.
    beams: bool,
}

#[wasm_bindgen]
impl Stream {
    /// Takes more samples; the text so far as JSON where a chunk was completed.
    pub async fn push(&mut self, samples: Vec<f32>) -> Result<Option<String>> {
        let Some(resampler) = &mut self.resampler else {
            return Err(failure("bad-audio", "the stream has ended; open another"));
        };
        if samples.is_empty() {
            return Ok(None);
        }
        check_waveform(&samples).map_err(bad_audio)?;
        let waveform = resampler.push(&samples).map_err(bad_audio)?;
        let advanced = self.recognizer.push(&waveform).await.map_err(bad_audio)?;
        self.ended.extend(self.recognizer.sentences());
        match advanced {
            true => recognized(self.recognizer.recognized(), false).map(Some),
            false => Ok(None),
        }
    }

    /// The next sentence that has ended, as JSON.
    pub fn sentence(&mut self) -> Result<Option<String>> {
        let next = (!self.ended.is_empty()).then(|| self.ended.remove(0));
        next.map(|said| recognized(said, self.beams)).transpose()
    }

    /// Ends the stream: the text of all, or since the last sentence ended, as JSON.
    pub async fn finish(&mut self) -> Result<String> {
        if let Some(resampler) = self.resampler.take() {
            let rest = resampler.finish().map_err(bad_audio)?;
            self.recognizer.push(&rest).await.map_err(bad_audio)?;
            self.ended.extend(self.recognizer.sentences());
        }
        recognized(self.recognizer.finish().await.map_err(bad_audio)?, self.beams)
    }
}
