//! Named tensors and safetensors files.

mod reader;
#[cfg(feature = "cli")]
mod writer;

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::f16;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, Result};
use crate::graph::Parameter;
use crate::shape::Shape;
pub use reader::WeightsReader;
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
        let mut reader = WeightsReader::new(Some(bytes.len() as u64));
        reader.push(bytes)?;
        reader.finish()
    }

    /// A safetensors file, its tensors in `precision`.
    ///
    /// # Errors
    /// When a value does not fit the precision, or the tensors cannot be written as such.
    pub fn serialize(&self, precision: Precision) -> Result<Vec<u8>> {
        let mut tensors = Vec::with_capacity(self.0.len());
        for (name, (shape, values)) in &self.0 {
            let (dtype, bytes) = precision.encode(name, values)?;
            tensors.push((name.as_str(), dtype, shape, bytes));
        }
        let mut views = Vec::with_capacity(tensors.len());
        for (name, dtype, shape, bytes) in &tensors {
            let view = TensorView::new(*dtype, shape.dims().to_vec(), bytes);
            views.push((*name, view.map_err(|e| Error::invalid(format!("{name}: {e}")))?));
        }
        safetensors::serialize(views, None)
            .map_err(|e| Error::invalid(format!("the tensors cannot be saved: {e}")))
    }
}

/// How the values of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Precision {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary16, rounded to the nearest.
    F16,
}

impl Precision {
    fn encode<'a>(self, name: &str, values: &'a [f32]) -> Result<(Dtype, Cow<'a, [u8]>)> {
        if self == Self::F32 {
            return Ok((Dtype::F32, Cow::Borrowed(bytemuck::cast_slice(values))));
        }
        let half = |&value: &f32| {
            let half = f16::from_f32(value);
            if half.is_infinite() && value.is_finite() {
                let message = format!("{name} holds {value}, which f16 does not reach; keep it in f32");
                return Err(Error::invalid(message));
            }
            Ok(half.to_le_bytes())
        };
        let values_f16 = values.iter().map(half).collect::<Result<Vec<_>>>()?;
        Ok((Dtype::F16, Cow::Owned(values_f16.into_flattened())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let mut weights = Weights::default();
        weights.insert("a.weight", [2, 3], vec![1.0, -2.5, 3.0, 2.0_f32.powi(-20), 0.0, -0.3]).unwrap();
        weights.insert("b", [0], vec![]).unwrap();
        weights.insert("c", [1], vec![6e4]).unwrap();
        weights
    }

    #[test]
    fn files_read_back_and_cut_files_are_refused() {
        let mut weights = weights();
        let bytes = weights.serialize(Precision::F32).unwrap();
        assert_eq!(Weights::parse(&bytes).unwrap(), weights);
        for end in 0..bytes.len() {
            assert!(Weights::parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Weights::parse(&[bytes, vec![0]].concat()).is_err());
        assert!(weights.insert("c", [3], vec![1.0]).is_err());
    }

    #[test]
    fn f16_values_are_the_nearest_and_out_of_range_is_refused() {
        let mut weights = weights();
        let read = Weights::parse(&weights.serialize(Precision::F16).unwrap()).unwrap();
        for (name, shape, values) in weights.iter() {
            let (found_shape, found) = read.get(name).unwrap();
            assert_eq!(shape, found_shape);
            for (value, found) in values.iter().zip(found) {
                // Half a unit in the last place; below 2⁻¹⁴ the unit is 2⁻²⁴.
                let bound = (value.abs() * 2.0_f32.powi(-11)).max(2.0_f32.powi(-25));
                assert!((value - found).abs() <= bound, "{name}: {value} became {found}");
            }
        }
        weights.insert("far", [1], vec![7e4]).unwrap();
        let message = weights.serialize(Precision::F16).unwrap_err().to_string();
        assert!(message.contains("far") && message.contains("70000"), "{message}");
    }

    #[test]
    fn other_types_are_read_as_f32() {
        let bytes: Vec<u8> = [0x3FC0_u16, 0xC020].into_iter().flat_map(u16::to_le_bytes).collect();
        let doubles: Vec<u8> = [0.5_f64, -1e300].into_iter().flat_map(f64::to_le_bytes).collect();
        let views = [
            ("bf16", TensorView::new(Dtype::BF16, vec![2], &bytes).unwrap()),
            ("f64", TensorView::new(Dtype::F64, vec![2], &doubles).unwrap()),
        ];
        let read = Weights::parse(&safetensors::serialize(views, None).unwrap()).unwrap();
        assert_eq!(read.get("bf16").unwrap().1, [1.5, -2.5]);
        assert_eq!(read.get("f64").unwrap().1, [0.5, f32::NEG_INFINITY]);
        let view = [("i", TensorView::new(Dtype::I16, vec![2], &bytes).unwrap())];
        let message = Weights::parse(&safetensors::serialize(view, None).unwrap()).unwrap_err().to_string();
        assert!(message.contains("I16"), "{message}");
    }
}
