//! Files, byte by byte.

pub fn pcm16(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

pub fn pcm16_big(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_be_bytes()).collect()
}

/// Chunks of a name, a size and data, padded to even sizes.
pub fn chunks(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in chunks {
        bytes.extend_from_slice(&name[..]);
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
    }
    bytes
}

pub fn chunks_big(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in chunks {
        bytes.extend_from_slice(&name[..]);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
    }
    bytes
}

pub fn riff(parts: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let body = chunks(parts);
    [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WAVE", &body].concat()
}

/// The `fmt ` chunk of samples of `container` bytes and `bits` bits.
pub fn format(tag: u16, channels: u16, rate: u32, container: u16, bits: u16) -> Vec<u8> {
    let block = container * channels;
    let mut bytes = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * u32::from(block)).to_le_bytes());
    bytes.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
    bytes
}

/// The same, extended: `valid` bits in the container.
pub fn extended(tag: u16, channels: u16, rate: u32, container: u16, valid: u16) -> Vec<u8> {
    let mut bytes = format(0xFFFE, channels, rate, container, 8 * container);
    bytes.extend([22u16.to_le_bytes(), valid.to_le_bytes()].concat());
    bytes.extend(4u32.to_le_bytes());
    bytes.extend(tag.to_le_bytes());
    bytes.extend(b"\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71");
    bytes
}

/// A plain file of 16-bit samples.
pub fn wav(channels: u16, rate: u32, data: &[u8]) -> Vec<u8> {
    riff(&[(b"fmt ", &format(1, channels, rate, 2, 16)), (b"data", data)])
}
