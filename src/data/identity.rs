//! A number that stands for a recording from run to run.

use crate::audio::{Place, Recording};

/// A hash of the place, the part and the channel. Names alone do not do: those that are not UTF-8 look alike, and rows
/// of a table may have the same.
pub(super) fn identity(recording: &Recording) -> u64 {
    let name = recording.to_string();
    let hash = fnv(BASIS, name.as_bytes());
    match &recording.place {
        Place::File(path) => fnv(hash, path.as_os_str().as_encoded_bytes()),
        Place::Member { archive, start, .. } => {
            fnv(fnv(hash, archive.as_os_str().as_encoded_bytes()), &start.to_le_bytes())
        }
        Place::Memory { bytes, .. } => fnv(hash, bytes),
    }
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, which stays what it is from build to build.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Channel, Span};

    #[test]
    fn whatever_differs_has_another_number() {
        assert_eq!(fnv(BASIS, b"foobar"), 0x8594_4171_f739_67e8, "the published value");
        let file = Recording::file("a.wav");
        let member = |start| Place::Member { archive: "a.tar".into(), name: "a.wav".into(), start, bytes: 9 };
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
        let numbers: std::collections::BTreeSet<u64> = all.iter().map(identity).collect();
        assert_eq!(numbers.len(), all.len());
        assert_eq!(identity(&file), identity(&Recording::file("a.wav")));
    }
}
