//! What `teacher.js` calls: fine-tunes a model on a few takes, as `polymix adapt` does. It has a device of its own, so that the
//! model in use is not affected.
//!
//! And what `worker.js` calls of a model that tells classes apart: the library that writes text has none of its kernels.

use std::sync::Arc;

use js_sys::{Array, Function, Uint8Array};
use polymix::Error;
use polymix::adapt::{HeldOut, HeldOutTake, LeftOut, Outcome, Progress, Settings, Take, Target, adapt};
use polymix::audio::Preprocessor;
use polymix::gpu::{Gpu, Selection};
use polymix::models::{Classifier, DeviceModel, SavedModel};
use polymix::weights::Precision;
pub use polymix_glue::last_panic;
use polymix_glue::{
    Download, Result, bad_audio, bad_model, bad_setting, describe, failure, features, json, saved_model,
    waveform,
};
use serde::Serialize;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(start)]
fn start() {
    polymix_glue::keep_panics();
}

/// A model and what it is to learn.
#[wasm_bindgen]
pub struct Learner {
    gpu: Arc<Gpu>,
    model: SavedModel,
    takes: Vec<Take>,
}

#[wasm_bindgen]
impl Learner {
    /// Opens the GPU for the model of these files.
    pub async fn open(
        config: String,
        preprocessor: String,
        vocabulary: Option<String>,
        download: Download,
    ) -> Result<Learner> {
        let model = saved_model(&config, &preprocessor, vocabulary.as_deref(), download)?;
        let gpu = Arc::new(Gpu::new(&Selection::default()).await.map_err(bad_model)?);
        Ok(Self { gpu, model, takes: Vec::new() })
    }

    /// One more take: what is said in it, or where it is `classified`, its label.
    pub fn add(&mut self, samples: Vec<f32>, rate: f64, told: String, classified: bool) -> Result<()> {
        let target = if classified { Target::Label(told) } else { Target::Text(told) };
        self.takes.push(Take { waveform: waveform(&samples, rate)?, target });
        Ok(())
    }

    /// Learns with these settings, as JSON; `watch` is given the progress of every step, as JSON. `card` is the model's
    /// card of before.
    pub async fn adapt(&self, settings: String, card: String, watch: Function) -> Result<Learned> {
        let settings: Settings =
            serde_json::from_str(&settings).map_err(|error| failure("failed", &error.to_string()))?;
        let mut watch = |progress: &Progress| -> polymix::Result<()> {
            let told = serde_json::to_string(progress).map_err(|error| Error::invalid(error.to_string()))?;
            match watch.call1(&JsValue::NULL, &told.into()) {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::invalid("the page cannot be told how learning goes; load it again")),
            }
        };
        let outcome = adapt(self.gpu.clone(), &self.model, &self.takes, &settings, &mut watch);
        let outcome = outcome.await.map_err(bad_setting)?;
        let learned = outcome.card("a web page", &settings, self.takes.len());
        let card = format!("{}\n\n{learned}\n", card.trim_end());
        let files = outcome.model.files(Precision::F32, &card).map_err(bad_setting)?;
        Ok(Learned { report: report(outcome)?, files })
    }
}

/// The result.
#[wasm_bindgen]
pub struct Learned {
    report: String,
    files: Vec<(&'static str, Vec<u8>)>,
}

#[wasm_bindgen]
impl Learned {
    /// What is told of it, as JSON.
    #[wasm_bindgen(getter)]
    pub fn report(&self) -> String {
        self.report.clone()
    }

    /// `[name, Uint8Array]` of every file of the MODEL.
    pub fn files(&self) -> Array {
        let file = |(name, bytes): &(&'static str, Vec<u8>)| {
            Array::of2(&(*name).into(), &Uint8Array::from(bytes.as_slice()))
        };
        self.files.iter().map(file).collect()
    }
}

fn report(outcome: Outcome) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Report {
        better: bool,
        best_step: u64,
        before: HeldOut,
        after: HeldOut,
        losses: Vec<f64>,
        new_characters: Vec<char>,
        heard: Vec<HeldOutTake>,
        left_out: Vec<LeftOut>,
        trainable: usize,
    }
    let Outcome {
        better,
        best_step,
        before,
        after,
        losses,
        new_characters,
        held_out,
        left_out,
        trainable,
        ..
    } = outcome;
    json(&Report {
        better,
        best_step,
        before,
        after,
        losses,
        new_characters,
        heard: held_out,
        left_out,
        trainable,
    })
}

/// A model that tells classes apart, on the GPU.
#[wasm_bindgen]
pub struct Classes {
    gpu: Arc<Gpu>,
    classifier: Classifier,
    preprocessor: Preprocessor,
    description: String,
}

#[wasm_bindgen]
impl Classes {
    /// Opens the GPU and places the model of these files on it.
    pub async fn open(
        config: String,
        preprocessor: String,
        vocabulary: Option<String>,
        download: Download,
    ) -> Result<Classes> {
        let saved = saved_model(&config, &preprocessor, vocabulary.as_deref(), download)?;
        let gpu = Arc::new(Gpu::new(&Selection::default()).await.map_err(bad_model)?);
        Self::on_device(gpu, &saved)
    }

    /// Takes the model of these files in the place of the one that is there. Where it fails, all stays as it was.
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
        let classifier = Classifier::of(&on_device).map_err(bad_model)?;
        Ok(Self { gpu, classifier, preprocessor: saved.preprocessor.preprocessor(), description })
    }

    /// JSON of what a page may want to know.
    #[wasm_bindgen(getter)]
    pub fn description(&self) -> String {
        self.description.clone()
    }

    /// Bytes of all live GPU buffers.
    #[wasm_bindgen(getter, js_name = gpuBytes)]
    pub fn gpu_bytes(&self) -> f64 {
        self.gpu.allocated() as f64
    }

    /// The classes of a clip with their probabilities, the most probable first, as JSON.
    pub async fn classify(&mut self, samples: Vec<f32>, rate: f64) -> Result<String> {
        #[derive(Serialize)]
        struct Class<'a> {
            label: &'a str,
            probability: f32,
        }
        let waveform = waveform(&samples, rate)?;
        let classified = self.classifier.classify(&[&waveform]).await.map_err(bad_audio)?;
        let probabilities = classified.into_iter().flat_map(|one| one.probabilities);
        let labels = self.classifier.labels().iter().zip(probabilities);
        let mut classes: Vec<Class> =
            labels.map(|(label, probability)| Class { label, probability }).collect();
        // Of equals the first stays first.
        classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        json(&classes)
    }

    /// `[width, Float32Array]`: the log-mel energies of a clip as the model takes them, without the GPU.
    pub fn features(&self, samples: Vec<f32>, rate: f64) -> Result<Array> {
        features(&self.preprocessor, &samples, rate)
    }
}
