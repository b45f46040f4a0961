//! TensorBoard event files: protobuf records with checksums.
//!
//! A record is its length (u64), the masked CRC of the length (u32), the data, the masked CRC of the
//! data (u32), all little-endian. The data is an `Event`: wall_time = 1 (double), step = 2 (varint),
//! file_version = 3 (text), summary = 5 of values = 1 of tag = 1 (text) and simple_value = 2 (float),
//! session_log = 7 of status = 1 (varint).

use std::path::Path;

use web_time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::files::Log;

/// An open `events.out.tfevents.*` file.
#[derive(Debug)]
pub struct EventWriter(Log);

impl EventWriter {
    /// Begins a new file in `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        // What another writer of the same second and number left may end in the middle of a record.
        let process = std::process::id();
        let mut second = now() as u64;
        let log = loop {
            let name = format!("events.out.tfevents.{second}.{process}.polymix");
            match Log::create(&folder.as_ref().join(name))? {
                Some(log) => break log,
                None => second += 1,
            }
        };
        let mut writer = Self(log);
        writer.write(&event(0, &field(3, b"brain.Event:2")))?;
        Ok(writer)
    }

    /// Tells that the run begins again with `step`: TensorBoard forgets what older files say of it and later steps.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn restart(&mut self, step: u64) -> Result<()> {
        const START: u64 = 1;
        let mut log = Vec::new();
        tagged_varint(&mut log, 1, START);
        self.write(&event(step, &field(7, &log)))
    }

    /// Writes the named values of `step`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in scalars {
            let mut entry = field(1, tag.as_bytes());
            entry.push(2 << 3 | FIXED32);
            entry.extend((*value as f32).to_le_bytes());
            summary.extend(field(1, &entry));
        }
        self.write(&event(step, &field(5, &summary)))
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.0.append(&record(data))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn tagged_varint(bytes: &mut Vec<u8>, number: u8, value: u64) {
    bytes.push(number << 3 | VARINT);
    varint(bytes, value);
}

/// A field of text, bytes or a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | BYTES];
    varint(&mut bytes, content.len() as u64);
    bytes.extend(content);
    bytes
}

fn event(step: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1 << 3 | FIXED64];
    bytes.extend(now().to_le_bytes());
    tagged_varint(&mut bytes, 2, step);
    bytes.extend(content);
    bytes
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked(crc32c(bytes)).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

/// The event files' own disguise of a checksum.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli), reflected, bit by bit: records are small and rare.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let shift = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 3720, B.4, and the check value of the CRC catalog.
    #[test]
    fn crc32c_known_answers() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn varints() {
        let encoded = |value| {
            let mut bytes = Vec::new();
            varint(&mut bytes, value);
            bytes
        };
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(127), [0x7F]);
        assert_eq!(encoded(300), [0xAC, 0x02]);
        assert_eq!(encoded(u64::MAX).len(), 10);
    }

    /// Splits a file in records, checking both checksums of each.
    fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut rest, mut records) = (bytes, Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked(crc32c(&rest[..8])).to_le_bytes());
            let data = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked(crc32c(data)).to_le_bytes());
            records.push(data.to_vec());
            rest = &rest[16 + length..];
        }
        records
    }

    #[test]
    fn a_file_of_three_events() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        writer.restart(300).unwrap();
        writer.scalars(300, &[("a", 1.0), ("bc", -2.5)]).unwrap();
        let records = records(&std::fs::read(writer.0.path()).unwrap());
        // Each begins with the tag of wall_time and its 8 bytes.
        let contents: Vec<&[u8]> = records.iter().map(|record| &record[9..]).collect();
        assert!(records.iter().all(|record| record[0] == 0x09));
        assert_eq!(contents[0], b"\x10\x00\x1a\x0dbrain.Event:2");
        assert_eq!(contents[1], b"\x10\xac\x02\x3a\x02\x08\x01");
        let summary = b"\x0a\x08\x0a\x01a\x15\0\0\x80\x3f\x0a\x09\x0a\x02bc\x15\0\0\x20\xc0";
        assert_eq!(contents[2], [b"\x10\xac\x02\x2a\x15", &summary[..]].concat());
    }
}
