//! Encodes the pages of a column chunk, including the definition levels, which mark NULL.

use arrow::array::{Array, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use crate::encode::compress::SCRATCH;
use crate::encode::format::{Content, Format, Storage};
use crate::encode::rle;
use crate::encode::statistics::MinMax;

/// A finished page and its properties.
pub(super) struct DataPage {
    /// Header and body of the page.
    pub(super) bytes: Vec<u8>,
    pub(super) rows: usize,
    pub(super) nulls: usize,
    pub(super) min_max: Option<MinMax>,
    pub(super) encoding: Encoding,
    pub(super) spec: PageWriteSpec,
}

/// The definition levels of a page. All columns are optional, so a level is 0 (NULL) or 1.
pub(super) struct Levels {
    rows: usize,
    nulls: usize,
    /// One bit per row, bit-packed as Parquet requires. Empty as long as the rows are either all NULL or all non-NULL.
    mixed: BooleanBufferBuilder,
}

impl Default for Levels {
    fn default() -> Self {
        Self { rows: 0, nulls: 0, mixed: BooleanBufferBuilder::new(0) }
    }
}

impl Levels {
    /// Appends the rows of an array.
    pub(super) fn append(&mut self, array: &dyn Array) {
        let (rows, nulls) = (array.len(), array.null_count());
        let uniform = |nulls: usize, rows: usize| nulls == 0 || nulls == rows;
        if self.mixed.is_empty() && !uniform(self.nulls + nulls, self.rows + rows) {
            self.mixed.append_n(self.rows, self.nulls == 0);
        }
        self.rows += rows;
        self.nulls += nulls;
        if uniform(self.nulls, self.rows) {
            return;
        }
        match array.nulls() {
            Some(validity) => self.mixed.append_buffer(validity.inner()),
            None => self.mixed.append_n(rows, true),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends the encoded levels, preceded by their length as version 1 pages require.
    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        if self.mixed.is_empty() {
            rle::repeat(u32::from(self.nulls == 0), self.rows, 1, out);
        } else {
            rle::packed_bits(self.mixed.as_slice(), out);
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn clear(&mut self) {
        (self.rows, self.nulls) = (0, 0);
        self.mixed.truncate(0);
    }
}

/// Calls `each` for each slice of consecutive non-NULL values.
pub(super) fn for_each_run<T>(
    values: &[T],
    nulls: Option<&NullBuffer>,
    mut each: impl FnMut(&[T]),
) {
    match nulls {
        None => each(values),
        Some(nulls) => nulls.valid_slices().for_each(|(from, to)| each(&values[from..to])),
    }
}

/// Returns a data page with the rows of `levels`, and clears `levels`. `values` appends the encoded values.
pub(super) fn data_page(
    levels: &mut Levels,
    content: Content,
    min_max: Option<MinMax>,
    format: Format,
    values: impl FnOnce(&mut Vec<u8>),
) -> Result<DataPage, ParquetError> {
    let Storage { encoding, zstd_level } = format.storage(content);
    let (bytes, spec) = SCRATCH.with_borrow_mut(|scratch| {
        scratch.page.clear();
        levels.encode(&mut scratch.page);
        values(&mut scratch.page);
        let length = scratch.page.len();
        let page = Page::DataPage {
            buf: Bytes::copy_from_slice(scratch.compress(format.compression, zstd_level)?),
            num_values: levels.rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        serialize(CompressedPage::new(page, length))
    })?;
    let (rows, nulls) = (levels.rows, levels.nulls);
    levels.clear();
    Ok(DataPage { bytes, rows, nulls, min_max, encoding, spec })
}

/// Returns a data page of indices into a dictionary with `distinct` values.
pub(super) fn index_page(
    levels: &mut Levels,
    indices: &[u32],
    distinct: usize,
    min_max: Option<MinMax>,
    format: Format,
) -> Result<DataPage, ParquetError> {
    let width = rle::bit_width(distinct.saturating_sub(1) as u32);
    data_page(levels, Content::Indices, min_max, format, |out| {
        out.push(width);
        rle::encode(indices, width, out);
    })
}

/// A dictionary page: its header and body, and their sizes.
pub(super) type DictionaryPage = (Vec<u8>, PageWriteSpec);

/// Returns the dictionary page of a chunk. `values` appends the `count` encoded values.
pub(super) fn dictionary_page(
    count: usize,
    format: Format,
    values: impl FnOnce(&mut Vec<u8>),
) -> Result<DictionaryPage, ParquetError> {
    let Storage { encoding, zstd_level } = format.storage(Content::Dictionary);
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.page.clear();
        values(&mut scratch.page);
        let length = scratch.page.len();
        let page = Page::DictionaryPage {
            buf: Bytes::copy_from_slice(scratch.compress(format.compression, zstd_level)?),
            num_values: count as u32,
            encoding,
            is_sorted: false,
        };
        serialize(CompressedPage::new(page, length))
    })
}

fn serialize(page: CompressedPage) -> Result<(Vec<u8>, PageWriteSpec), ParquetError> {
    let mut sink = TrackedWrite::new(Vec::with_capacity(page.compressed_size() + 128));
    let spec = SerializedPageWriter::new(&mut sink).write_page(page)?;
    let mut bytes = sink.into_inner()?;
    bytes.shrink_to_fit();
    Ok((bytes, spec))
}
