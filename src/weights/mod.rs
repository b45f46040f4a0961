//! Named tensors and safetensors files.

#[cfg(feature = "cli")]
mod writer;

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result};
use crate::graph::Parameter;
use crate::shape::Shape;
#[cfg(feature = "cli")]
pub use writer::TensorWriter;

/// Named f32 tensors, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights(BTreeMap<String, (Shape, Vec<f32>)>);

impl Weights {
    /// Adds or replaces a tensor.
    ///
    /// # Errors
    /// When the number of values is not that of the shape.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        shape: impl Into<Shape>,
        values: Vec<f32>,
    ) -> Result<()> {
        let (name, shape) = (name.into(), shape.into());
        if shape.elements() != values.len() {
            return Err(Error::invalid(format!("{name}: {} values for a shape of {shape}", values.len())));
        }
        self.0.insert(name, (shape, values));
        Ok(())
    }

    /// The tensor `name`.
    pub fn get(&self, name: &str) -> Option<(&Shape, &[f32])> {
        self.0.get(name).map(|(shape, values)| (shape, values.as_slice()))
    }

    /// All tensors by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Shape, &[f32])> {
        self.0.iter().map(|(name, (shape, values))| (name.as_str(), shape, values.as_slice()))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a parameter.
    ///
    /// # Errors
    /// When there is no tensor of its name, or one of another shape.
    pub fn values(&self, parameter: &Parameter) -> Result<&[f32]> {
        let Some((shape, values)) = self.get(&parameter.name) else {
            return Err(Error::invalid(format!("the tensor {} is missing", parameter.name)));
        };
        if *shape != parameter.shape {
            return Err(Error::invalid(format!(
                "the tensor {} has shape {shape}, the model wants {}",
                parameter.name, parameter.shape
            )));
        }
        Ok(values)
    }

    /// Parses a safetensors file of F32, F16, BF16 or F64 tensors.
    ///
    /// # Errors
    /// When the file is cut short or damaged, or a tensor has another type.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| {
            Error::invalid(format!("this is no whole safetensors file ({e}); copy or save it again"))
        })?;
        let mut weights = Self::default();
        for (name, view) in file.iter() {
            let data = view.data();
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                Dtype::F64 => data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
                Dtype::F16 => {
                    data.as_chunks::<2>().0.iter().map(|&b| half_to_f32(u16::from_le_bytes(b))).collect()
                }
                Dtype::BF16 => data
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|&b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))
                    .collect(),
                other => {
                    let message =
                        format!("the tensor {name} has type {other:?}; F32, F16, BF16 and F64 are read");
                    return Err(Error::invalid(message));
                }
            };
            weights.insert(name, view.shape(), values)?;
        }
        Ok(weights)
    }

    /// A safetensors file of F32 tensors.
    ///
    /// # Errors
    /// When the tensors cannot be written as such.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let mut views = Vec::with_capacity(self.0.len());
        for (name, (shape, values)) in &self.0 {
            let view = TensorView::new(Dtype::F32, shape.dims().to_vec(), bytemuck::cast_slice(values));
            views.push((name.as_str(), view.map_err(|e| Error::invalid(format!("{name}: {e}")))?));
        }
        safetensors::serialize(views, None)
            .map_err(|e| Error::invalid(format!("the tensors cannot be saved: {e}")))
    }
}

/// The value of IEEE 754 binary16 bits.
fn half_to_f32(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_read_back_and_cut_files_are_refused() {
        let mut weights = Weights::default();
        weights.insert("a.weight", [2, 3], vec![1.0, -2.5, 3.0, f32::MIN_POSITIVE, 0.0, 1e30]).unwrap();
        weights.insert("b", [0], vec![]).unwrap();
        let bytes = weights.serialize().unwrap();
        assert_eq!(Weights::parse(&bytes).unwrap(), weights);
        for end in 0..bytes.len() {
            assert!(Weights::parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(weights.insert("c", [3], vec![1.0]).is_err());
    }

    #[test]
    fn half_precision_values() {
        for (bits, value) in
            [(0x3C00, 1.0), (0xC000, -2.0), (0x7BFF, 65504.0), (0x0001, 5.960_464_5e-8), (0, 0.0)]
        {
            assert_eq!(half_to_f32(bits), value);
        }
        assert!(half_to_f32(0x7C00).is_infinite() && half_to_f32(0x7E00).is_nan());
    }
}
