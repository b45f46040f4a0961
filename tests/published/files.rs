//! Reading the values, and the names that the published implementation gives to parameters.

use std::path::PathBuf;
use std::sync::Arc;

use polymix::gpu::{Gpu, Selection};
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

    /// The values of a parameter in our layout: the front-end's kernels are stored [.., frequency, time]
    /// there and [.., time, frequency] here.
    pub fn parameter(&self, name: &str) -> Vec<f64> {
        let (dims, values) = self.get(name);
        if dims.len() != 4 {
            return values;
        }
        values.chunks_exact(9).flat_map(|kernel| (0..9).map(|i| kernel[i % 3 * 3 + i / 3])).collect()
    }

    pub fn names(&self) -> Vec<String> {
        let file = safetensors::SafeTensors::deserialize(&self.0).unwrap();
        file.names().into_iter().map(str::to_owned).collect()
    }
}

/// Our field path of a parameter of the published implementation.
pub fn field_path(name: &str) -> String {
    let name = name.strip_prefix("final.").or(name.strip_prefix("grad.")).unwrap_or(name);
    let mut path = name
        .replace("0.convblock_", "frontend.blocks.")
        .replace("convs.conv_0.conv", "conv")
        .replace("convs.norm_0.norm", "norm")
        .replace("1.transformer.custom_src_module.layers.0.w", "frontend.linear")
        .replace("1.transformer.encoder.", "encoder.");
    for (theirs, ours) in [
        ("mha_layer.mh_pom.po_proj", "mixer.value"),
        ("mha_layer.mh_pom.se_proj", "mixer.gate"),
        ("mha_layer.mh_pom.ag_proj", "mixer.output"),
        ("mha_layer.layer_norm", "mixer.norm"),
        ("convolution_module.layer_norm", "conv.norm"),
        ("convolution_module.bottleneck.0", "conv.pointwise"),
        ("convolution_module.conv", "conv.depthwise"),
        ("convolution_module.after_conv.0", "conv.after_norm"),
        ("convolution_module.after_conv.2", "conv.project"),
        ("ffn_module1.0", "ffn1.norm"),
        ("ffn_module1.1.ffn.0", "ffn1.linear1"),
        ("ffn_module1.1.ffn.3", "ffn1.linear2"),
        ("ffn_module2.0", "ffn2.norm"),
        ("ffn_module2.1.ffn.0", "ffn2.linear1"),
        ("ffn_module2.1.ffn.3", "ffn2.linear2"),
        ("norm1.norm", "mixer_norm"),
        ("norm2.norm", "norm"),
        ("norm.norm", "norm"),
        ("linear.w", "head"),
    ] {
        if !path.starts_with("frontend") {
            path = path.replace(theirs, ours);
        }
    }
    path
}

/// The parameters of a golden model under our names.
pub fn weights(values: &Values, shape_of: impl Fn(&str) -> Vec<usize>) -> Weights {
    let mut weights = Weights::default();
    for name in values.names() {
        let path = field_path(&name);
        let data = values.parameter(&name).into_iter().map(|x| x as f32).collect();
        weights.insert(&path, shape_of(&path), data).unwrap();
    }
    weights
}

/// The adapter under test, or `None` where there is none and `GPU=required` does not ask for one.
pub fn gpu() -> Option<Arc<Gpu>> {
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
    match pollster::block_on(Gpu::new(&Selection { device, cache: None })) {
        Ok(gpu) => Some(Arc::new(gpu)),
        Err(error) if std::env::var("GPU").as_deref() == Ok("required") => {
            panic!("GPU=required, and: {error}")
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}
