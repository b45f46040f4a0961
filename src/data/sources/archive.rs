//! The members of a tar archive, found without reading their contents.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::unreadable;

/// Beginnings of compressed files, and what they are.
const PACKED: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstandard"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    (b"BZh", "bzip2"),
];

/// Members begin at multiples of so many bytes.
const BLOCK: u64 = 512;

/// A file in an archive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// Its path in the archive.
    pub name: String,
    /// Its first byte.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
}

/// Opens an archive.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open(path: &Path) -> Result<BufReader<File>> {
    Ok(BufReader::new(crate::files::open(path)?))
}

/// Calls `visit` with every file in the archive and its bytes, in order; files whose names begin with a dot
/// are left out, as in folders.
///
/// # Errors
/// When the archive is compressed, damaged or cut short, or `visit` fails.
pub(super) fn members<R: Read + Seek>(
    path: &Path,
    reader: &mut R,
    mut visit: impl FnMut(Member, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let damaged = |error: std::io::Error| {
        Error::file(path, format!("is not a whole tar archive ({error}); fetch it again"))
    };
    let mut magic = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut magic).map_err(damaged)?;
    if let Some((_, how)) = PACKED.iter().find(|(begin, _)| magic.starts_with(begin)) {
        let message = format!(
            "is packed with {how}, so that no file in it can be reached alone; unpack it to a plain .tar once"
        );
        return Err(Error::file(path, message));
    }
    let length = reader.seek(SeekFrom::End(0)).map_err(damaged)?;
    reader.seek(SeekFrom::Start(0)).map_err(damaged)?;
    let mut archive = tar::Archive::new(reader);
    // The first byte behind the last member.
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if kind.is_gnu_sparse() {
            return Err(Error::file(path, format!("holds {name} with gaps; pack it without --sparse")));
        }
        let (start, bytes) = (entry.raw_file_position(), entry.size());
        end = start.saturating_add(bytes);
        if end > length {
            return Err(Error::file(path, format!("is cut short within {name}; fetch it again")));
        }
        let base = name.rsplit('/').next().unwrap_or_default();
        if !(kind.is_file() || kind.is_contiguous()) || base.starts_with('.') {
            continue;
        }
        let name = name.trim_start_matches("./").to_owned();
        visit(Member { name, start, bytes }, &mut entry)?;
    }
    // A block of zeros closes an archive; without it, more members may have followed.
    if end.next_multiple_of(BLOCK) + BLOCK > length {
        return Err(Error::file(path, "is cut short: nothing closes the archive; fetch it again"));
    }
    Ok(())
}

/// Whether a file `name` begins at byte `start` of an archive.
///
/// # Errors
/// When the archive cannot be read.
pub(super) fn begins<R: Read + Seek>(path: &Path, reader: &mut R, name: &str, start: u64) -> Result<bool> {
    /// What a header holds of a name; more of it stands in front.
    const HELD: usize = 96;
    let Some(at) = start.checked_sub(BLOCK) else { return Ok(false) };
    let mut block = [0; BLOCK as usize];
    let read = reader.seek(SeekFrom::Start(at)).and_then(|_| reader.read_exact(&mut block));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read.map_err(|error| unreadable(path, &error))?,
    }
    let stored = tar::Header::from_byte_slice(&block).path_bytes();
    Ok(stored.len() >= HELD.min(name.len()) && name.as_bytes().starts_with(&stored))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use super::*;

    /// A tar archive of `files`.
    pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).expect("in memory");
        }
        builder.into_inner().expect("in memory")
    }

    fn list(bytes: &[u8]) -> Result<Vec<Member>> {
        let mut found = Vec::new();
        members(Path::new("a.tar"), &mut Cursor::new(bytes), |member, _| {
            found.push(member);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn members_are_where_they_are() {
        let long = format!("{}/b.wav", "folder".repeat(40));
        let bytes = tar(&[("./a.txt", b"one"), ("._a.txt", b"junk"), (long.as_str(), &[7; 600])]);
        let found = list(&bytes).expect("an archive");
        assert_eq!(found.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["a.txt", &long]);
        for (member, content) in found.iter().zip([b"one".as_slice(), &[7; 600]]) {
            let start = member.start as usize;
            assert_eq!(&bytes[start..start + member.bytes as usize], content);
        }
        let begins =
            |name: &str, start| super::begins(Path::new("a.tar"), &mut Cursor::new(&bytes), name, start);
        assert!(begins("a.txt", found[0].start).expect("bytes"));
        assert!(begins(&long, found[1].start).expect("bytes"));
        for (name, start) in [("a.txt", found[1].start), ("a.tx", 512), ("a.txt", 0), ("a.txt", 1 << 40)] {
            assert!(!begins(name, start).expect("bytes"), "{name} at {start}");
        }
        assert!(list(&[0; 1024]).expect("an empty archive").is_empty());
    }

    #[test]
    fn what_cannot_be_reached_is_named() {
        let bytes = tar(&[("a.wav", &[1; 2000])]);
        let message = |bytes: &[u8]| list(bytes).expect_err("no archive").to_string();
        assert!(message(&bytes[..1500]).contains("cut short within a.wav"));
        assert!(message(&bytes[..2560]).contains("nothing closes the archive"));
        assert!(message(b"{\"a\": 1}").contains("not a whole tar archive"), "{}", message(b"{\"a\": 1}"));
        assert!(message(&[b'x'; 2000]).contains("not a whole tar archive"));
        assert!(message(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).contains("packed with gzip"));
    }

    proptest::proptest! {
        #[test]
        fn damaged_archives_never_panic(at in 0usize..3000, byte: u8, end in 0usize..4000) {
            let mut bytes = tar(&[("a.wav", &[1; 200]), ("a.txt", b"hello"), (&"long/".repeat(30), b"x")]);
            let end = end.min(bytes.len());
            bytes[at.min(end.max(1) - 1)] = byte;
            let _ = list(&bytes[..end]);
        }
    }
}
