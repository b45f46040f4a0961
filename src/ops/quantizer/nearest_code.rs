//! The code of the largest cosine.

use ndarray::IxDyn;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::quantizer::{nearest_code, nearest_code_merge};
use crate::shape::{DType, Spec};

/// id `[rows]` (u32) = argmax_c x_r·code_c for x [rows, width] and a codebook [codes, width] of rows of length 1,
/// so that the code has the largest cosine, whatever the length of x. The lowest c among equals; 0 for a row of
/// zeros. No derivative.
#[derive(Debug, Clone, Copy)]
pub struct NearestCode;

/// Codes that one invocation compares.
const PART: usize = 128;

impl Op for NearestCode {
    fn name(&self) -> &'static str {
        "nearest_code"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        match (inputs[0].shape.dims(), inputs[1].shape.dims()) {
            ([rows, x], [codes, code]) if x == code && *codes > 0 => Ok(vec![Spec::u32([*rows])]),
            _ => Err(mismatch(self.name(), inputs, "takes x [rows, width] and a codebook [codes, width]")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [rows, size] = [0, 1].map(|axis: usize| inputs[0].dims()[axis]);
        let codes = inputs[1].dims()[0];
        let parts = codes.div_ceil(PART);
        let scores = rec.scratch(DType::F32, [parts, rows]);
        let ids = rec.scratch(DType::U32, [parts, rows]);
        let params = nearest_code::Params {
            rows: rows as u32,
            size: size as u32,
            codes: codes as u32,
            part: PART as u32,
            row_groups: 0,
            parts: parts as u32,
        };
        let choice = rec.choose(nearest_code::VARIANTS, &[], &params, &[], 0)?;
        // An invocation takes so many rows.
        let row_groups = rows.div_ceil((choice.variant.tile * choice.workgroup_size) as usize);
        let params = nearest_code::Params { row_groups: row_groups as u32, ..params };
        let bindings = [&inputs[0], &inputs[1], &scores, &ids];
        rec.dispatch(nearest_code::VARIANTS, &[], &params, &bindings, parts * row_groups)?;
        rec.flops(2 * (rows * codes) as u64 * size as u64);
        let params = nearest_code_merge::Params { rows: rows as u32, parts: parts as u32 };
        rec.dispatch(nearest_code_merge::VARIANTS, &[], &params, &[&scores, &ids, &outputs[0]], rows)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (rows, size, codes) = (inputs[0].shape()[0], inputs[0].shape()[1], inputs[1].shape()[0]);
        let mut ids = Array::zeros(IxDyn(&[rows]));
        for row in 0..rows {
            let mut best = f64::NEG_INFINITY;
            for code in 0..codes {
                let score: f64 = (0..size).map(|i| inputs[0][[row, i]] * inputs[1][[code, i]]).sum();
                if score > best {
                    (best, ids[row]) = (score, code as f64);
                }
            }
        }
        vec![ids]
    }
}

impl Tensor {
    /// The row of `codebook` [codes, width] with the largest cosine to each row of this tensor [rows, width].
    ///
    /// # Errors
    /// When the widths differ or the codebook is empty.
    pub fn nearest_code(&self, codebook: &Tensor) -> Result<Tensor> {
        self.apply(NearestCode, &[codebook])
    }
}
