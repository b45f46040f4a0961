//! Checks of the sizes in page headers of parquet tables: the library allocates them before it reads.

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::RowGroupReader;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

/// A page may claim so many bytes, and so many for each byte that is stored.
const ROOM: u64 = 32 << 20;
const FACTOR: u64 = 64;
/// Bytes in which a page's header is looked for, and at the most.
const HEAD: u64 = 1 << 16;
const LONGEST_HEAD: u64 = 16 << 20;
/// Structures lie in each other no deeper.
const DEEPEST: usize = 8;

/// Reads bytes of the file: from where on, and how many.
pub(super) type Source<'a> = &'a (dyn Fn(u64, usize) -> Result<Bytes> + Sync);

fn wrong<T>(message: impl Into<String>) -> Result<T> {
    Err(ParquetError::General(message.into()))
}

/// A row group whose pages are looked at before they are read.
pub(super) struct Group<'a> {
    pub group: Box<dyn RowGroupReader + 'a>,
    pub source: Source<'a>,
}

impl Group<'_> {
    /// # Errors
    /// When a page of the column claims to be much larger than what is stored.
    fn check(&self, column: usize) -> Result<()> {
        let (mut at, length) = self.group.metadata().column(column).byte_range();
        let end = at.saturating_add(length);
        while at < end {
            let page = |bytes: u64| -> Result<Option<Sizes>> {
                Ok(Compact(&(self.source)(at, bytes.min(end - at) as usize)?).page())
            };
            // The library would read on for ever behind the end of what is no header.
            let Some(page) = page(HEAD)?.map_or_else(|| page(LONGEST_HEAD), |page| Ok(Some(page)))? else {
                return wrong("a page without a header");
            };
            if page.unpacked > ROOM + FACTOR * page.stored {
                let Sizes { stored, unpacked, .. } = page;
                return wrong(format!("a page of {stored} bytes that unpacks to {unpacked}"));
            }
            at = at.saturating_add(page.header + page.stored);
        }
        Ok(())
    }
}

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.group.metadata()
    }

    fn num_columns(&self) -> usize {
        self.group.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>> {
        self.check(column)?;
        Ok(Box::new(Pages(self.group.get_column_page_reader(column)?)))
    }

    fn get_column_bloom_filter(&self, column: usize) -> Option<&Sbbf> {
        self.group.get_column_bloom_filter(column)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// Pages whose dictionaries have no more values than bytes.
struct Pages(Box<dyn PageReader>);

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.0.get_next_page()?;
        match &page {
            Some(Page::DictionaryPage { buf, num_values, .. }) if *num_values as usize > buf.len() => {
                wrong(format!("a dictionary of {num_values} values in {} bytes", buf.len()))
            }
            _ => Ok(page),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// The sizes of a page: of its header, as it is stored, and when it is unpacked.
#[derive(Debug, PartialEq)]
struct Sizes {
    header: u64,
    stored: u64,
    unpacked: u64,
}

/// Bytes in the compact protocol of Thrift.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn skip_bytes(&mut self, count: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    /// The next field of a structure by its number and kind; `None` inside where it ends.
    fn field(&mut self, last: u64) -> Option<Option<(u64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let number = match head >> 4 {
            0 => self.number()? >> 1,
            step => last.checked_add(u64::from(step))?,
        };
        Some(Some((number, head & 15)))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth == DEEPEST {
            return None;
        }
        match kind {
            // True and false are in the field's head.
            1 | 2 => Some(()),
            3 => self.skip_bytes(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.number()?;
                self.skip_bytes(length)
            }
            12 => {
                let mut last = 0;
                while let Some((number, kind)) = self.field(last)? {
                    self.skip(kind, depth + 1)?;
                    last = number;
                }
                Some(())
            }
            // A page's header has neither lists nor maps.
            _ => None,
        }
    }

    /// The page whose header begins here.
    fn page(mut self) -> Option<Sizes> {
        let all = self.0.len();
        let (mut stored, mut unpacked, mut last) = (None, None, 0);
        while let Some((number, kind)) = self.field(last)? {
            match (number, kind) {
                // Negative numbers are odd.
                (2 | 3, 5) => {
                    let value = self.number().filter(|value| value % 2 == 0)? / 2;
                    *(if number == 2 { &mut unpacked } else { &mut stored }) = Some(value);
                }
                _ => self.skip(kind, 0)?,
            }
            last = number;
        }
        Some(Sizes { header: (all - self.0.len()) as u64, stored: stored?, unpacked: unpacked? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_their_sizes() {
        // A data page of 1000 bytes that are stored in 300, with a structure of its own and a number that is not known.
        let header = b"\x15\x00\x15\xD0\x0F\x15\xD8\x04\x2C\x15\x06\x15\x00\x18\x02ab\x00\x55\x02\x00rest";
        let sizes = Compact(header).page();
        assert_eq!(sizes, Some(Sizes { header: header.len() as u64 - 4, stored: 300, unpacked: 1000 }));
        for cut in 0..header.len() - 4 {
            assert_eq!(Compact(&header[..cut]).page(), None, "{cut}");
        }
        assert_eq!(Compact(b"\x15\x00\x15\x01\x15\x02\x00").page(), None, "a negative size");
        assert_eq!(Compact(&b"\x1C".repeat(100)).page(), None, "too deep");
    }
}
