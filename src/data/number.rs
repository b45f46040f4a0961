//! A stable number for a recording.

use super::identity::Hash;
use crate::audio::{Place, Recording};

/// A hash of the place, the part and the channel. Names alone do not do: those that are not UTF-8 look alike, and rows
/// of a table may have the same.
pub(super) fn number(recording: &Recording) -> u64 {
    let mut hash = Hash::default();
    hash.add(recording.to_string().as_bytes());
    match &recording.place {
        Place::File(path) => hash.add(path.as_os_str().as_encoded_bytes()),
        Place::Member { archive, start, .. } => {
            hash.add(archive.as_os_str().as_encoded_bytes());
            hash.add(&start.to_le_bytes());
        }
        Place::Memory { bytes, .. } => hash.add(bytes),
        Place::Stdin => {}
    }
    hash.0
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::audio::{Channel, Span};

    #[test]
    fn whatever_differs_has_another_number() {
        let file = Recording::file("a.wav");
        let member = |start| Place::Member {
            archive: Path::new("a.tar").into(),
            name: "a.wav".into(),
            start,
            bytes: 9,
        };
        let memory = |bytes: &[u8]| Place::Memory { name: "a.wav".into(), bytes: bytes.into() };
        let mut all = vec![
            file.clone(),
            Recording { span: Some(Span { start: 0.0, seconds: None }), ..file.clone() },
            Recording { span: Some(Span { start: 0.0, seconds: Some(1.0) }), ..file.clone() },
            Recording { channel: Channel::Only(1), ..file.clone() },
            Recording { place: member(512), ..file.clone() },
            Recording { place: member(1024), ..file.clone() },
            Recording { place: memory(b"x"), ..file.clone() },
            Recording { place: memory(b"y"), ..file.clone() },
        ];
        #[cfg(unix)]
        {
            use std::ffi::OsStr;
            use std::os::unix::ffi::OsStrExt;
            all.push(Recording::file(OsStr::from_bytes(b"\xfe.wav")));
            all.push(Recording::file(OsStr::from_bytes(b"\xff.wav")));
        }
        let numbers: std::collections::BTreeSet<u64> = all.iter().map(number).collect();
        assert_eq!(numbers.len(), all.len());
        assert_eq!(number(&file), number(&Recording::file("a.wav")));
    }
}
