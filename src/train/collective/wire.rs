//! The format of gradients between ranks.

use half::f16;

/// How gradients travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// As they are.
    #[default]
    F32,
    /// As f16, divided by a power of 2 for each segment, so that none overflows and few vanish; summed in f32. Half
    /// the bytes, for about three decimal digits of each value.
    F16,
}

impl Wire {
    /// What `values` are to those that receive them.
    pub(super) fn round(self, values: &mut [f32]) {
        if self == Self::F16 {
            let scale = scale(values);
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value / scale).to_f32() * scale);
        }
    }
}

/// The power of 2 that takes the largest of `values` into the upper half of the range of f16.
fn scale(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    // Values that are not finite stay so in f16.
    if !largest.is_normal() {
        return 1.0;
    }
    let exponent = ((largest.to_bits() >> 23) as i32 - 127 - 14).clamp(-126, 127);
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// `values` in f16, behind their scale as four bytes.
#[cfg(feature = "mpi")]
pub(super) fn pack(values: &[f32], into: &mut [u8]) {
    let scale = scale(values);
    let (head, body) = into.split_at_mut(4);
    head.copy_from_slice(&scale.to_le_bytes());
    for (bytes, value) in body.chunks_exact_mut(2).zip(values) {
        bytes.copy_from_slice(&f16::from_f32(value / scale).to_le_bytes());
    }
}

/// The values that [`pack`] wrote.
#[cfg(feature = "mpi")]
pub(super) fn unpack(from: &[u8]) -> impl Iterator<Item = f32> {
    let (head, body) = from.split_at(4);
    let scale = f32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    body.chunks_exact(2).map(move |bytes| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32() * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_values_neither_overflow_nor_vanish() {
        for magnitude in [1e-35_f32, 1e-20, 1e-6, 1.0, 65_504.0, 1e9, 3e38] {
            let exact: Vec<f32> = (1..=64).map(|i| magnitude * (i as f32 / 64.0)).collect();
            let mut values = exact.clone();
            Wire::F16.round(&mut values);
            for (value, exact) in values.iter().zip(&exact) {
                assert!((value - exact).abs() <= 5e-4 * exact.abs(), "{value} for {exact}");
            }
        }
        let mut values = [0.0, -0.0];
        Wire::F16.round(&mut values);
        assert_eq!(values.map(f32::to_bits), [0.0_f32, -0.0].map(f32::to_bits));
        let mut values = [1.0, f32::INFINITY, f32::NAN];
        Wire::F16.round(&mut values);
        assert!(values[1] == f32::INFINITY && values[2].is_nan());
    }
}
