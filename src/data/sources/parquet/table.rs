//! Reading of parquet tables, where it is built in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::super::{Found, resolve};
use super::pages::Group;
use crate::audio::{Channel, Place, Recording};
use crate::data::Utterance;
use crate::error::{Error, Result};
use crate::text::compose;

const TEXTS: [&str; 6] = ["text", "sentence", "transcription", "transcript", "normalized_text", "raw_text"];
const SPEAKERS: [&str; 3] = ["speaker_id", "speaker", "client_id"];
const LABELS: [&str; 2] = ["label", "command"];
/// A table's audio stays in memory as it is stored; more of it is a corpus to convert once.
const MOST_BYTES: u64 = 4 << 30;

/// Bytes of the file.
type Read = parquet::errors::Result<bytes::Bytes>;

/// The columns that are read.
struct Columns {
    audio: String,
    text: Option<String>,
    speaker: Option<String>,
    label: Option<String>,
}

/// Reads a table: an utterance a row. `bytes` is the file where it is not to be opened.
///
/// # Errors
/// When it is no whole table or has no column with audio; a row that is wrong, unless `found` keeps errors.
pub(in super::super) fn read(path: &Path, bytes: Option<&[u8]>, found: &mut Found) -> Result<()> {
    let damaged = |error: parquet::errors::ParquetError| {
        Error::file(path, format!("is not a parquet table that can be read ({error}); fetch it again"))
    };
    // The library takes sizes in damaged tables at their word.
    let guarded = catch_unwind(AssertUnwindSafe(|| -> Result<()> {
        type Opened<'a> = (Box<dyn FileReader>, Box<dyn Fn(u64, usize) -> Read + Sync + 'a>);
        let (reader, source): Opened<'_> = match bytes {
            Some(bytes) => {
                let bytes = bytes::Bytes::copy_from_slice(bytes);
                let reader = SerializedFileReader::new(bytes.clone()).map_err(damaged)?;
                (Box::new(reader), Box::new(move |at, length| bytes.get_bytes(at, length)))
            }
            None => {
                let reader = SerializedFileReader::new(crate::files::open(path)?).map_err(damaged)?;
                let file = crate::files::open(path)?;
                (Box::new(reader), Box::new(move |at, length| file.get_bytes(at, length)))
            }
        };
        let schema = reader.metadata().file_metadata().schema().clone();
        let (columns, projection) = columns(path, &schema)?;
        let mut number = 0;
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(damaged)?;
            let group = Group { group, source: &*source };
            let rows = RowIter::from_row_group(Some(projection.clone()), &group).map_err(damaged)?;
            for row in rows.with_batch_size(64) {
                number += 1;
                let utterance = utterance(path, number, &row.map_err(damaged)?, &columns);
                if let Ok(Utterance { audio: Recording { place: Place::Memory { bytes, .. }, .. }, .. }) =
                    &utterance
                {
                    found.kept_bytes += bytes.len() as u64;
                }
                if found.kept_bytes > MOST_BYTES {
                    let message = format!(
                        "holds more than {} GiB of audio with the tables before it, all kept in memory; \
                         write it to files once with `polymix data convert`, some tables at a time",
                        MOST_BYTES >> 30
                    );
                    return Err(Error::file(path, message));
                }
                found.add(utterance)?;
            }
        }
        Ok(())
    }));
    guarded
        .unwrap_or_else(|_| Err(Error::file(path, "is damaged, such that it cannot be read; fetch it again")))
}

fn columns(path: &Path, schema: &Type) -> Result<(Columns, Type)> {
    let holds_bytes = |field: &Arc<Type>| {
        field.is_group()
            && field.get_fields().iter().any(|part| part.name() == "bytes" || part.name() == "path")
    };
    let fields = schema.get_fields();
    let audio = fields.iter().find(|field| field.name() == "audio" && holds_bytes(field));
    let audio = audio.or_else(|| fields.iter().find(|field| holds_bytes(field))).ok_or_else(|| {
        let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        let message =
            format!("has no column `audio` with `bytes`, but {}; give a table with audio", names.join(", "));
        Error::file(path, message)
    })?;
    let first = |names: &[&str]| {
        let known = |name: &&str| fields.iter().find(|field| field.name() == *name && field.is_primitive());
        names.iter().find_map(known)
    };
    let (text, speaker, label) = (first(&TEXTS), first(&SPEAKERS), first(&LABELS));
    let wanted = [Some(audio), text, speaker, label].into_iter().flatten().cloned().collect();
    let projection =
        Type::group_type_builder(schema.name()).with_fields(wanted).build().map_err(|error| {
            Error::file(path, format!("has columns that cannot be read ({error}); save the table anew"))
        })?;
    let name = |field: Option<&Arc<Type>>| field.map(|field| field.name().to_owned());
    let columns = Columns {
        audio: audio.name().to_owned(),
        text: name(text),
        speaker: name(speaker),
        label: name(label),
    };
    Ok((columns, projection))
}

fn utterance(path: &Path, number: usize, row: &Row, columns: &Columns) -> Result<Utterance> {
    let wrong = |message: &str| Error::line(path, number, format!("row {number} {message}"));
    let field =
        |name: &str| row.get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field);
    let named = |name: &Option<String>| match field(name.as_deref()?)? {
        Field::Null => None,
        Field::Str(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let Some(Field::Group(audio)) = field(&columns.audio) else {
        return Err(wrong("has no audio; remove it"));
    };
    let (mut bytes, mut file) = (None, None);
    for (name, field) in audio.get_column_iter() {
        match (name.as_str(), field) {
            ("bytes", Field::Bytes(content)) if !content.data().is_empty() => bytes = Some(content.data()),
            ("path", Field::Str(name)) if !name.is_empty() => file = Some(name.as_str()),
            _ => {}
        }
    }
    let place = match (bytes, file) {
        (Some(bytes), file) => {
            let name =
                format!("{}/{}", path.display(), file.map_or_else(|| number.to_string(), str::to_owned));
            Place::Memory { name, bytes: bytes.into() }
        }
        (None, Some(file)) => Place::File(resolve(path, file)),
        (None, None) => return Err(wrong("has neither bytes nor a path of audio; remove it")),
    };
    Ok(Utterance {
        text: named(&columns.text).map(|text| compose(&text)),
        speaker: named(&columns.speaker),
        label: named(&columns.label),
        ..Utterance::new(
            Recording { place, span: None, channel: Channel::Mix },
            format!("{}:{number}", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::data::Corpus;

    /// Four rows: bytes and a path, a path alone, no audio, empty audio.
    fn table(schema: &str) -> Vec<u8> {
        let (schema, mut bytes) = (parse_message_type(schema).expect("a schema"), Vec::new());
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).expect("a table");
        let mut group = writer.next_row_group().expect("rows");
        let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
        for (values, levels) in [
            (texts(&["RIFF bytes"]), [2, 1, 0, 1]),
            (texts(&["a.wav", "b/c.flac"]), [2, 2, 0, 1]),
            (texts(&["cafe\u{301}", "two", "three", "four"]), [1, 1, 1, 1]),
        ] {
            let mut column = group.next_column().expect("a column").expect("a column");
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).expect("values");
            column.close().expect("a column");
        }
        let mut column = group.next_column().expect("a column").expect("a column");
        column.typed::<Int64Type>().write_batch(&[7], Some(&[1, 0, 0, 0]), None).expect("values");
        column.close().expect("a column");
        group.close().expect("rows");
        writer.close().expect("a table");
        bytes
    }

    const SCHEMA: &str = "message schema { optional group audio { optional binary bytes; \
                          optional binary path (UTF8); } optional binary sentence (UTF8); optional int64 speaker_id; }";

    #[test]
    fn rows_are_utterances() {
        let mut found = Found::keeping_errors();
        read(Path::new("d/t.parquet"), Some(&table(SCHEMA)), &mut found).expect("a table");
        let [first, second] = &found.utterances[..] else { panic!("two recordings") };
        let Place::Memory { name, bytes } = &first.audio.place else { panic!("bytes") };
        assert_eq!((name.as_str(), &bytes[..]), ("d/t.parquet/a.wav", b"RIFF bytes".as_slice()));
        assert_eq!((first.text.as_deref(), first.speaker.as_deref()), (Some("caf\u{e9}"), Some("7")));
        assert_eq!(first.origin, "d/t.parquet:1");
        assert_eq!(second.audio, Recording::file("d/b/c.flac"));
        let broken: Vec<String> = found.broken.iter().map(ToString::to_string).collect();
        assert!(
            broken[0].contains("t.parquet:3: row 3 has no audio") && broken[1].contains("row 4 has neither")
        );
    }

    #[test]
    fn what_is_no_table_with_audio_is_named() {
        let message = |bytes: &[u8]| {
            Corpus::from_bytes(Path::new("t.parquet"), bytes).expect_err("no table").to_string()
        };
        assert!(
            message(&table(&SCHEMA.replace("bytes", "b").replace("path", "p")))
                .contains("audio, sentence, speaker_id")
        );
        assert!(message(b"PAR1").contains("not a parquet table"));
        let bytes = table(SCHEMA);
        assert!(message(&bytes[..bytes.len() - 5]).contains("not a parquet table"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() })]

        #[test]
        fn damaged_tables_never_panic(at: proptest::sample::Index, byte: u8) {
            let mut bytes = table(SCHEMA);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Corpus::from_bytes(Path::new("t.parquet"), &bytes);
        }
    }
}
