//! Assembles the pages of a column chunk: one column in one row group.

use std::io::{self, Read};
use std::mem;

use arrow::array::ArrayRef;
use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Encoding, PageType};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use crate::encode::format::{Content, Format};
use crate::encode::page::{DataPage, DictionaryPage};

/// Encodes the column chunks of one column.
pub(super) trait ColumnEncoder: Send {
    /// Appends the values of an array.
    fn write(&mut self, array: &ArrayRef) -> Result<()>;

    /// Returns the size in bytes of the encoded pages in the current row group.
    fn size(&self) -> usize;

    /// Finishes the current chunk, and returns its pages and metadata. Later values go to the next chunk.
    fn finish(&mut self) -> Result<(Pages, ColumnCloseResult)>;
}

/// The finished data pages of the current chunk.
pub(super) struct Chunk {
    column: ColumnDescPtr,
    format: Format,
    pages: Vec<DataPage>,
    size: usize,
}

impl Chunk {
    pub(super) fn new(column: ColumnDescPtr, format: Format) -> Self {
        Self { column, format, pages: Vec::new(), size: 0 }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn push(&mut self, page: DataPage) {
        self.size += page.bytes.len();
        self.pages.push(page);
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns the pages and the metadata of the chunk, and starts the next one.
    ///
    /// Offsets are relative to the chunk. The file writer adds the position of the chunk.
    pub(super) fn finish(
        &mut self,
        dictionary: Option<DictionaryPage>,
        statistics: impl FnOnce(&[DataPage], u64) -> Statistics,
    ) -> Result<(Pages, ColumnCloseResult)> {
        let pages = mem::take(&mut self.pages);
        self.size = 0;
        let nulls: usize = pages.iter().map(|page| page.nulls).sum();
        let rows: usize = pages.iter().map(|page| page.rows).sum();
        let statistics = statistics(&pages, nulls as u64);

        let specs =
            dictionary.iter().map(|(_, spec)| spec).chain(pages.iter().map(|page| &page.spec));
        let (mut compressed, mut uncompressed) = (0, 0);
        for spec in specs {
            compressed += spec.compressed_size;
            uncompressed += spec.uncompressed_size;
        }

        let mut column_index = ColumnIndexBuilder::new(self.column.physical_type());
        column_index.set_boundary_order(BoundaryOrder::UNORDERED);
        let mut offset_index = OffsetIndexBuilder::new();
        let dictionary_size = dictionary.as_ref().map_or(0, |(bytes, _)| bytes.len());
        let mut offset = dictionary_size as i64;
        let mut encodings = vec![Encoding::RLE];
        let mut encoding_stats = Vec::new();
        if dictionary.is_some() {
            let encoding = self.format.storage(Content::Dictionary).encoding;
            encodings.push(encoding);
            count_page(&mut encoding_stats, PageType::DICTIONARY_PAGE, encoding);
        }
        // A column index needs the minimum and maximum of every page that has values.
        let has_page_index = self.format.has_page_index();
        let mut indexed = has_page_index;
        let is_double = self.column.physical_type() == parquet::basic::Type::DOUBLE;
        for page in &pages {
            let size = page.bytes.len();
            let min_max = page.min_max.as_ref();
            indexed &= min_max.is_some() || page.nulls == page.rows;
            let (min, max) =
                min_max.map(|b| (b.min.bytes.clone(), b.max.bytes.clone())).unwrap_or_default();
            let nans = is_double.then_some(0);
            column_index.append(page.nulls == page.rows, min, max, page.nulls as i64, nans);
            offset_index.append_row_count(page.rows as i64);
            offset_index.append_offset_and_size(offset, i32::try_from(size)?);
            offset += size as i64;
            encodings.push(page.encoding);
            count_page(&mut encoding_stats, PageType::DATA_PAGE, page.encoding);
        }

        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(self.format.compression.codec())
            .set_encodings(encodings)
            .set_page_encoding_stats(encoding_stats)
            .set_total_compressed_size(compressed as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(rows as i64)
            .set_data_page_offset(dictionary_size as i64)
            .set_dictionary_page_offset(dictionary.is_some().then_some(0))
            .set_statistics(statistics)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: compressed as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: indexed.then(|| column_index.build()).transpose()?,
            offset_index: has_page_index.then(|| offset_index.build()),
        };
        let bytes = dictionary.into_iter().map(|(bytes, _)| bytes);
        let bytes =
            bytes.chain(pages.into_iter().map(|page| page.bytes)).map(Bytes::from).collect();
        Ok((Pages(bytes), close))
    }
}

fn count_page(stats: &mut Vec<PageEncodingStats>, page_type: PageType, encoding: Encoding) {
    match stats.iter_mut().find(|s| s.page_type == page_type && s.encoding == encoding) {
        Some(stats) => stats.count += 1,
        None => stats.push(PageEncodingStats { page_type, encoding, count: 1 }),
    }
}

/// The encoded pages of a chunk. They can be read only sequentially, from the start.
pub(super) struct Pages(Vec<Bytes>);

impl Length for Pages {
    fn len(&self) -> u64 {
        self.0.iter().map(|page| page.len() as u64).sum()
    }
}

impl ChunkReader for Pages {
    type T = PagesReader;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        if start != 0 {
            return Err(ParquetError::General(
                "a chunk can only be read from its start".to_owned(),
            ));
        }
        Ok(PagesReader { pages: self.0.clone().into_iter(), page: Bytes::new() })
    }

    fn get_bytes(&self, _start: u64, _length: usize) -> Result<Bytes> {
        Err(ParquetError::General("a chunk can only be read from its start".to_owned()))
    }
}

pub(super) struct PagesReader {
    pages: std::vec::IntoIter<Bytes>,
    page: Bytes,
}

impl Read for PagesReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.page.is_empty() {
            match self.pages.next() {
                Some(page) => self.page = page,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.page.len());
        buffer[..count].copy_from_slice(&self.page.split_to(count));
        Ok(count)
    }
}
