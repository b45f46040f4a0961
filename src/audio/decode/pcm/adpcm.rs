//! ADPCM of three kinds, each in blocks that stand alone.

/// A kind and its block.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::audio::decode) struct Adpcm {
    pub kind: Kind,
    /// Bytes of a block, of all channels.
    pub block: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::audio::decode) enum Kind {
    /// IMA as in WAV.
    Ima,
    /// IMA as in QuickTime, AIFF-C and CAF.
    Apple,
    /// Microsoft's, with its pairs of coefficients.
    Microsoft(Vec<[i32; 2]>),
}

/// The pairs that every file of Microsoft's ADPCM begins with.
pub(super) const COEFFICIENTS: [[i32; 2]; 7] =
    [[256, 0], [512, -256], [0, 0], [192, 64], [240, 0], [460, -208], [392, -232]];

const APPLE_BYTES: usize = 34;
const APPLE_FRAMES: usize = 64;

const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88,
    97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658,
    724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660,
    4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818,
    18500, 20350, 22385, 24623, 27086, 29794, 32767,
];
const ADAPTATION: [i32; 16] =
    [230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230];

impl Adpcm {
    pub fn apple(channels: usize) -> Self {
        Self { kind: Kind::Apple, block: APPLE_BYTES * channels }
    }

    /// Frames of a block of `bytes` bytes, which may be a last, shorter one.
    pub fn frames(&self, bytes: usize, channels: usize) -> usize {
        match self.kind {
            Kind::Apple => bytes / (APPLE_BYTES * channels) * APPLE_FRAMES,
            Kind::Ima => match bytes.checked_sub(4 * channels) {
                Some(data) => 1 + data / (4 * channels) * 8,
                None => 0,
            },
            Kind::Microsoft(_) => match bytes.checked_sub(7 * channels) {
                Some(data) => 2 + 2 * data / channels,
                None => 0,
            },
        }
    }
}

pub(super) fn decode(adpcm: &Adpcm, bytes: &[u8], channels: usize, waveform: &mut Vec<f32>) {
    for block in bytes.chunks(adpcm.block.max(1)) {
        let (start, frames) = (waveform.len(), adpcm.frames(block.len(), channels));
        waveform.resize(start + frames * channels, 0.0);
        let waveform = &mut waveform[start..];
        if frames > 0 {
            match &adpcm.kind {
                Kind::Apple => apple(block, channels, waveform),
                Kind::Ima => ima(block, channels, waveform),
                Kind::Microsoft(coefficients) => microsoft(coefficients, block, channels, waveform),
            }
        }
    }
}

/// IMA's state of one channel.
struct Ima {
    value: i32,
    index: i32,
}

impl Ima {
    fn new(value: i32, index: u8) -> Self {
        Self { value, index: i32::from(index).min(88) }
    }

    fn next(&mut self, nibble: u8) -> f32 {
        let step = STEPS[self.index as usize];
        let mut difference = step >> 3;
        for (bit, share) in [(4, step), (2, step >> 1), (1, step >> 2)] {
            if nibble & bit != 0 {
                difference += share;
            }
        }
        let difference = if nibble & 8 != 0 { -difference } else { difference };
        self.value = (self.value + difference).clamp(-32_768, 32_767);
        let change = [-1, -1, -1, -1, 2, 4, 6, 8][usize::from(nibble & 7)];
        self.index = (self.index + change).clamp(0, 88);
        self.value as f32 / 32_768.0
    }
}

fn ima(block: &[u8], channels: usize, waveform: &mut [f32]) {
    let (heads, data) = block.split_at(4 * channels);
    for channel in 0..channels {
        let head = &heads[4 * channel..];
        let mut state = Ima::new(i32::from(i16::from_le_bytes([head[0], head[1]])), head[2]);
        waveform[channel] = state.value as f32 / 32_768.0;
        let mut frame = 1;
        // Four bytes of each channel in turn.
        for word in data.chunks_exact(4 * channels) {
            for &byte in &word[4 * channel..4 * channel + 4] {
                for nibble in [byte & 15, byte >> 4] {
                    waveform[frame * channels + channel] = state.next(nibble);
                    frame += 1;
                }
            }
        }
    }
}

fn apple(block: &[u8], channels: usize, waveform: &mut [f32]) {
    for (channel, part) in block.chunks_exact(APPLE_BYTES).take(channels).enumerate() {
        let head = i16::from_be_bytes([part[0], part[1]]);
        let mut state = Ima::new(i32::from(head & -128), (head & 127) as u8);
        for (frame, byte) in part[2..].iter().enumerate() {
            waveform[2 * frame * channels + channel] = state.next(byte & 15);
            waveform[(2 * frame + 1) * channels + channel] = state.next(byte >> 4);
        }
    }
}

fn microsoft(coefficients: &[[i32; 2]], block: &[u8], channels: usize, waveform: &mut [f32]) {
    let (heads, data) = block.split_at(7 * channels);
    let short = |at: usize| i32::from(i16::from_le_bytes([heads[at], heads[at + 1]]));
    // Pair of coefficients, step, the sample before, the one before that.
    let mut states: Vec<([i32; 2], i32, i32, i32)> = (0..channels)
        .map(|channel| {
            let pair = coefficients.get(usize::from(heads[channel])).copied().unwrap_or([256, 0]);
            let at = |field: usize| short(channels + 2 * (field * channels + channel));
            (pair, at(0), at(1), at(2))
        })
        .collect();
    for (channel, (_, _, one, two)) in states.iter().enumerate() {
        waveform[channel] = *two as f32 / 32_768.0;
        waveform[channels + channel] = *one as f32 / 32_768.0;
    }
    let nibbles = data.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (at, (nibble, sample)) in nibbles.zip(&mut waveform[2 * channels..]).enumerate() {
        let (pair, step, one, two) = &mut states[at % channels];
        let signed = i32::from(nibble) - if nibble & 8 != 0 { 16 } else { 0 };
        let predicted = (*one * pair[0]).wrapping_add(*two * pair[1]) / 256;
        let value = predicted.wrapping_add(signed.wrapping_mul(*step)).clamp(-32_768, 32_767);
        *step = (ADAPTATION[usize::from(nibble)].wrapping_mul(*step) / 256).max(16);
        (*two, *one) = (*one, value);
        *sample = value as f32 / 32_768.0;
    }
}
