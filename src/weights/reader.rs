//! Streaming reader of safetensors files.

use std::collections::VecDeque;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::Weights;
use crate::error::{Error, Result};

/// A longer header is that of no file that is meant.
pub(super) const LONGEST_HEADER: u64 = 100_000_000;

/// Reads a safetensors file of F32, F16, BF16 or F64 tensors in pieces of any size, of which it keeps no more than the
/// tensor under way. The file's table comes first, so that one that does not hold what it promises is refused then.
#[derive(Debug, Default)]
pub struct WeightsReader {
    /// Bytes of the file, where they are known.
    total: Option<u64>,
    /// Bytes that wait for the rest of their tensor.
    held: Vec<u8>,
    /// Once the table is read: the tensors that are still to come.
    coming: Option<VecDeque<(String, TensorInfo)>>,
    weights: Weights,
}

impl WeightsReader {
    /// Before the first byte of a file of `total` bytes, if that is known.
    pub fn new(total: Option<u64>) -> Self {
        Self { total, ..Self::default() }
    }

    /// Bytes of the whole file, once they are known: its table tells.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Reads on.
    ///
    /// # Errors
    /// When the file is damaged, is not as long as its table says, or a tensor has another type.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let mut joined = std::mem::take(&mut self.held);
        let mut data = bytes;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            if self.needed(&joined)?.is_none_or(|needed| joined.len() < needed) && !self.is_done() {
                self.held = joined;
                return Ok(());
            }
            data = &joined;
        }
        while let Some(needed) = self.needed(data)?.filter(|&needed| needed <= data.len()) {
            let (part, rest) = data.split_at(needed);
            self.take(part)?;
            data = rest;
        }
        if self.is_done() && !data.is_empty() {
            return Err(damaged("it is longer than its table says"));
        }
        self.held = data.to_vec();
        Ok(())
    }

    /// The data that was read.
    ///
    /// # Errors
    /// When the file ended too early.
    pub fn finish(self) -> Result<Weights> {
        if !self.is_done() {
            return Err(damaged("it ends too early"));
        }
        Ok(self.weights)
    }

    fn is_done(&self) -> bool {
        self.coming.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// Bytes of the next part, the table or a tensor, of which `data` is the beginning; `None` where that is not known
    /// yet, or nothing is to come.
    fn needed(&self, data: &[u8]) -> Result<Option<usize>> {
        if let Some(coming) = &self.coming {
            return Ok(coming.front().map(|(_, info)| info.data_offsets.1 - info.data_offsets.0));
        }
        let Some(length) = data.first_chunk::<8>() else { return Ok(None) };
        let length = u64::from_le_bytes(*length);
        if length > LONGEST_HEADER.min(self.total.map_or(u64::MAX, |total| total.saturating_sub(8))) {
            return Err(damaged("its table would be longer than the file"));
        }
        Ok(Some(8 + length as usize))
    }

    /// Takes the next part, which is whole.
    fn take(&mut self, part: &[u8]) -> Result<()> {
        match &mut self.coming {
            Some(coming) => {
                let Some((name, info)) = coming.pop_front() else { return Ok(()) };
                let values = values(&name, info.dtype, part)?;
                self.weights.insert(name, info.shape, values)
            }
            None => {
                let table: Metadata = serde_json::from_slice(part.get(8..).unwrap_or_default())
                    .map_err(|e| damaged(&e.to_string()))?;
                let end = part.len() as u64 + table.data_len() as u64;
                if let Some(total) = self.total.replace(end).filter(|&total| total != end) {
                    return Err(damaged(&format!("its table promises {end} bytes, it has {total}")));
                }
                let names = table.offset_keys();
                let named = names.into_iter().filter_map(|name| Some((table.info(&name)?.clone(), name)));
                self.coming = Some(named.map(|(info, name)| (name, info)).collect());
                Ok(())
            }
        }
    }
}

fn damaged(reason: &str) -> Error {
    Error::invalid(format!("this is no whole safetensors file ({reason}); copy or save it again"))
}

/// The values of a tensor's bytes.
fn values(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f32>> {
    let values = match dtype {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        other => {
            let message = format!("the tensor {name} has type {other:?}; F32, F16, BF16 and F64 are read");
            return Err(Error::invalid(message));
        }
    };
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Precision;

    #[test]
    fn pieces_of_any_size_are_the_same_file() {
        let mut weights = Weights::default();
        weights.insert("a", [3, 5], (0..15).map(|i| i as f32).collect()).unwrap();
        weights.insert("b.empty", [0, 4], vec![]).unwrap();
        weights.insert("c", [7], vec![0.25; 7]).unwrap();
        for precision in [Precision::F32, Precision::F16] {
            let file = weights.serialize(precision).unwrap();
            for size in 1..=file.len() {
                let mut reader = WeightsReader::new((size % 2 == 0).then_some(file.len() as u64));
                file.chunks(size).for_each(|piece| reader.push(piece).unwrap());
                assert_eq!(reader.finish().unwrap(), weights, "{size}");
            }
        }
    }

    #[test]
    fn a_wrong_file_is_refused_at_its_table() {
        let mut weights = Weights::default();
        weights.insert("a", [64], vec![1.0; 64]).unwrap();
        let file = weights.serialize(Precision::F32).unwrap();
        let table = file.len() - 256;
        let mut reader = WeightsReader::new(Some(file.len() as u64 - 1));
        assert!(reader.push(&file[..table]).is_err());
        let mut reader = WeightsReader::new(None);
        reader.push(&file).unwrap();
        assert!(reader.push(&[0]).is_err());
        assert!(WeightsReader::new(None).push(b"<!doctype html><title>not found</title>").is_err());
        assert!(WeightsReader::new(None).finish().is_err());
        let mut short = file;
        short[0] -= 1;
        assert!(Weights::parse(&short).is_err());
    }
}
