//! Detection of a file's format by its content.

use super::part::Part;
use super::{FORMATS, Outcome, mpeg};

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Wave,
    Wave64,
    Aiff,
    Au,
    Sphere,
    Caf,
    Mpeg,
    Flac,
    Ogg,
    Mp4,
    Matroska,
    Adts,
}

/// Beginnings of files that are something else: offset, bytes, and what it is.
const OTHERS: [(usize, &[u8], &str); 37] = [
    (0, b"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "WMA or other Windows Media"),
    (0, b"#!AMR", "AMR audio"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack audio"),
    (0, b"TTA", "True Audio"),
    (0, b"MPCK", "Musepack audio"),
    (0, b"MP+", "Musepack audio"),
    (0, b"ajkg", "Shorten audio"),
    (0, b"DSD ", "DSD audio"),
    (0, b"FRM8", "DSD audio"),
    (0, b".ra\xFD", "RealAudio"),
    (0, b".RMF", "RealMedia"),
    (0, b"\x0B\x77", "AC-3 audio"),
    (0, b"\x7F\xFE\x80\x01", "DTS audio"),
    (0, b"OFR ", "OptimFROG audio"),
    (0, b"FORM", "an IFF file without AIFF audio"),
    (0, b"Creative Voice File", "a Creative voice file"),
    (0, b"MThd", "MIDI, notes without sound"),
    (8, b"AVI ", "an AVI video"),
    (8, b"ACON", "an animated cursor"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"FLV\x01", "a Flash video"),
    (0, b"\x00\x00\x01\xBA", "an MPEG video"),
    (0, b"\x00\x00\x01\xB3", "an MPEG video"),
    (0, b"\x47\x40\x00\x10", "an MPEG transport stream"),
    (0, b"\x47\x40\x11\x10", "an MPEG transport stream"),
    (0, b"\xFF\xD8\xFF", "a JPEG picture"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (0, b"\x1F\x8B", "a gzip archive: unpack it first"),
    (0, b"BZh", "a bzip2 archive: unpack it first"),
    (0, b"\xFD7zXZ", "an xz archive: unpack it first"),
    (0, b"7z\xBC\xAF", "a 7z archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself: run `git lfs pull`"),
];

/// Tells the format and leaves away what comes before it (ID3 tags).
///
/// # Errors
/// The message, when it is no audio of a known format, and what it is instead.
pub(super) fn tell(part: &mut Part) -> Outcome<Kind> {
    if part.length() == 0 {
        return Err("is empty (0 bytes); remove it or fetch it again".into());
    }
    let start = mpeg::after_id3(part, 0)?;
    let beginning = part.peek(start, 300)?;
    if let Some(kind) = known(&beginning) {
        part.narrow(start, part.length());
        return Ok(kind);
    }
    // MPEG frames have no name at their beginning, and players bear anything before them.
    if let Some(first) = mpeg::find(part, start)? {
        part.narrow(first, part.length());
        return Ok(Kind::Mpeg);
    }
    if start >= part.length() {
        return Err("is cut short: nothing follows its ID3 tag; fetch it again".into());
    }
    let is = |&&(offset, bytes, _): &&(usize, &[u8], &str)| {
        beginning.get(offset..).is_some_and(|rest| rest.starts_with(bytes))
    };
    if let Some((_, _, name)) = OTHERS.iter().find(is) {
        let (name, remedy) =
            name.split_once(": ").unwrap_or((name, "convert it to WAV or FLAC, with ffmpeg for example"));
        return Err(format!("is {name}, which is not read: {remedy}"));
    }
    let text = beginning.trim_ascii_start();
    if text.first() == Some(&b'<') {
        return Err("is a page of HTML or XML, not audio; fetch it again from its right address".into());
    }
    Err(format!("is not audio of a known format; {FORMATS}"))
}

fn known(beginning: &[u8]) -> Option<Kind> {
    let at =
        |offset: usize, bytes: &[u8]| beginning.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    let riff = at(0, b"RIFF") || at(0, b"RIFX") || at(0, b"RF64") || at(0, b"BW64");
    Some(match () {
        () if riff && at(8, b"WAVE") => Kind::Wave,
        () if at(0, b"riff\x2E\x91\xCF\x11") => Kind::Wave64,
        () if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => Kind::Aiff,
        () if at(0, b".snd") || at(0, b"dns.") => Kind::Au,
        () if at(0, b"NIST_1A\n") || at(0, b"NIST_1A\r") => Kind::Sphere,
        () if at(0, b"caff") => Kind::Caf,
        () if at(0, b"fLaC") => Kind::Flac,
        () if at(0, b"OggS") => Kind::Ogg,
        () if at(4, b"ftyp") || at(4, b"moov") || at(4, b"moof") || at(4, b"mdat") || at(4, b"styp") => {
            Kind::Mp4
        }
        () if at(0, b"\x1A\x45\xDF\xA3") => Kind::Matroska,
        // Layer 0 of an MPEG header is AAC's.
        () if at(0, &[0xFF]) && beginning.get(1).is_some_and(|second| second & 0xF6 == 0xF0) => Kind::Adts,
        () => return None,
    })
}
