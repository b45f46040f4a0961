//! Reading the values, and the models among them.

use std::path::PathBuf;

use polymix::models::SavedModel;
use polymix::models::speechbrain::{self, HyperParameters};
use polymix::weights::Weights;

/// `golden/<name>` in the optional data folder.
pub fn path(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("POLYMIX_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    let path = shared.join("golden").join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// Whole numbers and floats of a safetensors file, by name, as f64 with their shapes.
pub struct Values(Vec<u8>);

impl Values {
    pub fn open(name: &str) -> Option<Self> {
        Some(Self(std::fs::read(path(&format!("{name}.safetensors"))?).unwrap()))
    }

    pub fn get(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        use safetensors::Dtype;
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => {
                data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::I16 => {
                data.chunks_exact(2).map(|b| f64::from(i16::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            Dtype::I64 => {
                data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
            }
            Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
            other => panic!("{name} has type {other:?}"),
        };
        (view.shape().to_vec(), values)
    }

    pub fn f32s(&self, name: &str) -> Vec<f32> {
        self.get(name).1.into_iter().map(|x| x as f32).collect()
    }

    pub fn names(&self) -> Vec<String> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        file.names().into_iter().map(str::to_owned).collect()
    }
}

/// The golden model `<name>.params` with quantizer and statistics of `common`, through the importer.
pub fn imported(name: &str, common: &str) -> Option<SavedModel> {
    let (parameters, common) = (Values::open(&format!("{name}.params"))?, Values::open(common)?);
    let mut weights = Weights::default();
    let quantizer = ["quantizer.P", "quantizer.CB", "normalize.glob_mean", "normalize.glob_std"];
    let common = quantizer.map(|name| (name.to_owned(), &common));
    for (name, values) in parameters.names().into_iter().map(|name| (name, &parameters)).chain(common) {
        let (dims, elements) = values.get(&name);
        weights.insert(name, dims, elements.into_iter().map(|x| x as f32).collect()).unwrap();
    }
    Some(speechbrain::import(&weights, &hyper_parameters(name)?).unwrap())
}

/// The recipe's values of the golden model `name`.
pub fn hyper_parameters(name: &str) -> Option<HyperParameters> {
    let described = json(&format!("{name}.params"))?;
    let mut values = described["transformer_args"].clone();
    values["cnn_channels"] = described["cnn_channels"].clone();
    values["cb_vocab"] = described["vocab"].clone();
    values["cb_dim"] = 16.into();
    values["p_input"] = 320.into();
    Some(HyperParameters::from_json(&values.to_string()).unwrap())
}

/// What is told about a file.
pub fn json(name: &str) -> Option<serde_json::Value> {
    Some(serde_json::from_slice(&std::fs::read(path(&format!("{name}.json"))?).unwrap()).unwrap())
}
