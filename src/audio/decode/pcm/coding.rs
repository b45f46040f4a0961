//! Sample formats.

use super::adpcm::{self, Adpcm};
use super::{Order, Outcome};

/// The coding of samples.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::audio::decode) enum Coding {
    /// Two's complement, the most significant bit first in meaning: fewer valid bits are left-justified.
    Signed(usize, Order),
    /// 8 bits around 128.
    Unsigned,
    /// 4 or 8 bytes.
    Float(usize, Order),
    ALaw,
    MuLaw,
    /// In blocks.
    Adpcm(Adpcm),
}

impl Coding {
    /// Integers in containers of `bytes` bytes.
    ///
    /// # Errors
    /// The message, when there are none of this size.
    pub fn signed(bytes: usize, order: Order) -> Outcome<Self> {
        match bytes {
            1..=4 => Ok(Self::Signed(bytes, order)),
            _ => Err(format!("has integers of {} bits a sample; export it as 16-bit PCM", 8 * bytes)),
        }
    }

    /// # Errors
    /// The message, when there are none of this size.
    pub fn float(bytes: usize, order: Order) -> Outcome<Self> {
        match bytes {
            4 | 8 => Ok(Self::Float(bytes, order)),
            _ => Err(format!("has floats of {} bits a sample; export it as 16-bit PCM", 8 * bytes)),
        }
    }

    /// Whether samples may be out of [-1, 1].
    pub fn is_float(&self) -> bool {
        matches!(self, Self::Float(..))
    }

    /// Bytes and frames of what is decoded on its own.
    pub fn unit(&self, channels: usize) -> (u64, u64) {
        let (bytes, frames) = match self {
            Self::Signed(bytes, _) | Self::Float(bytes, _) => (bytes * channels, 1),
            Self::Unsigned | Self::ALaw | Self::MuLaw => (channels, 1),
            Self::Adpcm(adpcm) => (adpcm.block, adpcm.frames(adpcm.block, channels)),
        };
        (bytes.max(1) as u64, frames as u64)
    }

    /// Frames of a last unit that has only `bytes` bytes.
    pub fn partial(&self, bytes: u64, channels: usize) -> u64 {
        match self {
            Self::Adpcm(adpcm) => adpcm.frames(bytes as usize, channels) as u64,
            _ => 0,
        }
    }

    /// Appends the frames of whole units.
    pub fn decode(&self, bytes: &[u8], channels: usize, waveform: &mut Vec<f32>) {
        let whole = |size: usize| {
            let frame = size * channels;
            &bytes[..bytes.len() / frame * frame]
        };
        match *self {
            Self::Signed(1, _) => waveform.extend(whole(1).iter().map(|&byte| f32::from(byte as i8) / 128.0)),
            Self::Signed(2, order) => {
                let value = |b: [u8; 2]| match order {
                    Order::Little => i16::from_le_bytes(b),
                    Order::Big => i16::from_be_bytes(b),
                };
                let (samples, _) = whole(2).as_chunks();
                waveform.extend(samples.iter().map(|&b| f32::from(value(b)) / 32_768.0));
            }
            Self::Signed(3, order) => {
                let value = |[a, b, c]: [u8; 3]| match order {
                    Order::Little => i32::from_le_bytes([0, a, b, c]),
                    Order::Big => i32::from_be_bytes([a, b, c, 0]),
                };
                let (samples, _) = whole(3).as_chunks();
                waveform.extend(samples.iter().map(|&b| value(b) as f32 / 2_147_483_648.0));
            }
            Self::Signed(_, order) => {
                let value = |b: [u8; 4]| match order {
                    Order::Little => i32::from_le_bytes(b),
                    Order::Big => i32::from_be_bytes(b),
                };
                let (samples, _) = whole(4).as_chunks();
                waveform.extend(samples.iter().map(|&b| value(b) as f32 / 2_147_483_648.0));
            }
            Self::Unsigned => waveform.extend(whole(1).iter().map(|&byte| (f32::from(byte) - 128.0) / 128.0)),
            Self::Float(4, order) => {
                let value = |b: [u8; 4]| match order {
                    Order::Little => f32::from_le_bytes(b),
                    Order::Big => f32::from_be_bytes(b),
                };
                let (samples, _) = whole(4).as_chunks();
                waveform.extend(samples.iter().map(|&b| value(b)));
            }
            Self::Float(_, order) => {
                let value = |b: [u8; 8]| match order {
                    Order::Little => f64::from_le_bytes(b),
                    Order::Big => f64::from_be_bytes(b),
                };
                let (samples, _) = whole(8).as_chunks();
                waveform.extend(samples.iter().map(|&b| value(b) as f32));
            }
            Self::ALaw => waveform.extend(whole(1).iter().map(|&byte| A_LAW[usize::from(byte)])),
            Self::MuLaw => waveform.extend(whole(1).iter().map(|&byte| MU_LAW[usize::from(byte)])),
            Self::Adpcm(ref adpcm) => adpcm::decode(adpcm, bytes, channels, waveform),
        }
    }
}

static A_LAW: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = code as u8 ^ 0x55;
        let (exponent, mantissa) = ((bits >> 4) & 7, (bits & 15) as i32);
        let magnitude = match exponent {
            0 => (mantissa << 4) + 8,
            _ => ((mantissa << 4) + 0x108) << (exponent - 1),
        };
        table[code] = (if bits & 0x80 == 0 { -magnitude } else { magnitude }) as f32 / 32_768.0;
        code += 1;
    }
    table
};

static MU_LAW: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let magnitude = (((((bits & 15) as i32) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
        table[code] = (if bits & 0x80 == 0 { magnitude } else { -magnitude }) as f32 / 32_768.0;
        code += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companded_samples_have_the_values_of_g_711() {
        let of = |coding: Coding, codes: &[u8]| {
            let mut waveform = Vec::new();
            coding.decode(codes, 1, &mut waveform);
            waveform.iter().map(|x| x * 32_768.0).collect::<Vec<_>>()
        };
        // The ends, the smallest steps and one in between, from G.711's tables scaled to 16 bits.
        assert_eq!(
            of(Coding::MuLaw, &[0x00, 0x80, 0xFF, 0x7F, 0xFE, 0xE0]),
            [-32124., 32124., 0., 0., 8., 372.]
        );
        assert_eq!(
            of(Coding::ALaw, &[0x2A, 0xAA, 0xD5, 0x55, 0xD4, 0xC0]),
            [-32256., 32256., 8., -8., 24., 344.]
        );
    }

    #[test]
    fn integers_and_floats_of_both_orders() {
        let of = |coding: Coding, bytes: &[u8]| {
            let mut waveform = Vec::new();
            coding.decode(bytes, 1, &mut waveform);
            waveform
        };
        let (little, big) = (Order::Little, Order::Big);
        assert_eq!(of(Coding::Signed(1, little), &[0x80, 0x40]), [-1.0, 0.5]);
        assert_eq!(of(Coding::Unsigned, &[0, 128, 192]), [-1.0, 0.0, 0.5]);
        assert_eq!(of(Coding::Signed(2, big), &[0xC0, 0x00, 0x40, 0x00, 9]), [-0.5, 0.5]);
        assert_eq!(of(Coding::Signed(3, little), &[0x00, 0x00, 0xC0]), [-0.5]);
        assert_eq!(of(Coding::Signed(3, big), &[0x20, 0x00, 0x00]), [0.25]);
        assert_eq!(of(Coding::Signed(4, big), &[0x80, 0, 0, 0]), [-1.0]);
        assert_eq!(of(Coding::Float(4, big), &0.75f32.to_be_bytes()), [0.75]);
        assert_eq!(of(Coding::Float(8, little), &(-0.1f64).to_le_bytes()), [-0.1]);
        assert!(Coding::signed(8, little).is_err() && Coding::float(2, big).is_err());
    }
}
