//! Encodes record batches to Parquet files. No other module writes Parquet.
//!
//! The `parquet` crate's Arrow writer hashes and compares every string again, even if its input is already
//! dictionary-encoded. This took a third of the total run time. Therefore, this module encodes column chunks itself,
//! from the decoder's indices, and the `parquet` crate writes the rest of the file. Data pages use version 1. Repeated
//! values are dictionary-encoded; `format` defines how each profile encodes all other values
//! (<https://parquet.apache.org/docs/file-format/data-pages/encodings/>).
//!
//! The columns of a row group are independent and are encoded in parallel. Row group boundaries depend only on the
//! record batches, never on threads or memory, so the same input always produces the same bytes.

mod bloom;
mod chunk;
mod compress;
mod delta;
mod fallback;
mod format;
mod number_column;
mod order;
mod page;
pub(crate) mod profile;
mod rle;
mod statistics;
mod text_column;
mod text_values;

use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;
use rayon::prelude::*;

pub use crate::encode::compress::Compression;
pub use crate::encode::format::Format;

use crate::encode::bloom::Filtered;
use crate::encode::chunk::ColumnEncoder;
use crate::encode::number_column::NumberEncoder;
use crate::encode::order::TypeOrdered;
use crate::encode::statistics::Physical;
use crate::encode::text_column::TextEncoder;
use crate::logs::original;
use crate::logs::schema::{Stored, Table};

/// Number of rows after which a row group ends. Many readers prune only by row group statistics, so small row groups
/// let them skip more of a file. `DuckDB` writes row groups of nearly this size. Trino merges reads of columns that are
/// less than 1 MB apart, so even smaller row groups would make it read more of a file.
pub(crate) const ROW_GROUP_ROWS: usize = 125_000;
/// Number of encoded bytes after which a row group ends, regardless of its number of rows.
const ROW_GROUP_BYTES: usize = 96 << 20;
/// Size in bytes of the length field that precedes each string in PLAIN encoding.
const LENGTH: usize = 4;
/// Size in bytes of the write buffer.
const WRITE_BYTES: usize = 256 << 10;
/// Number of encoded bytes after which a row group of rejects or originals ends.
const ARROW_BYTES: usize = 16 << 20;

const CREATED_BY: &str = concat!("alb2parquet version ", env!("CARGO_PKG_VERSION"));

/// Size limits of row groups, pages and dictionaries.
///
/// The program always uses the defaults. Tests set smaller limits so that a few rows fill many pages.
#[derive(Debug, Clone, Copy)]
struct SizeLimits {
    /// Number of rows after which a row group ends.
    row_group_rows: usize,
    /// Number of rows in a full page.
    page_rows: usize,
    /// Number of uncompressed bytes of text after which a page ends.
    page_bytes: usize,
    /// Number of values after which the encoder drops the dictionary unless the values repeat.
    trial: usize,
}

impl Default for SizeLimits {
    fn default() -> Self {
        let (page_rows, page_bytes) = (20_000, 1 << 20);
        Self { row_group_rows: ROW_GROUP_ROWS, page_rows, page_bytes, trial: 4096 }
    }
}

/// Writes the rows of one table to one Parquet file.
pub struct TableEncoder<W: Write + Send> {
    file: SerializedFileWriter<TypeOrdered<BufWriter<W>>>,
    columns: Vec<Box<dyn ColumnEncoder>>,
    rows: usize,
    limits: SizeLimits,
}

impl<W: Write + Send> TableEncoder<W> {
    /// Starts a file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn new(table: &Table, format: Format, out: W) -> Result<Self, ParquetError> {
        Self::with_limits(table, format, out, SizeLimits::default())
    }

    fn with_limits(
        table: &Table,
        format: Format,
        out: W,
        limits: SizeLimits,
    ) -> Result<Self, ParquetError> {
        let schema =
            ArrowSchemaConverter::new().schema_root("row").convert(&table.file_schema())?;
        let properties = properties(format).build();
        let out = BufWriter::with_capacity(WRITE_BYTES, out);
        let out = TypeOrdered::new(out, schema.num_columns());
        let file = SerializedFileWriter::new(out, schema.root_schema_ptr(), Arc::new(properties))?;
        let own = [Stored::Dictionary; 2];
        let stored = table.columns().map(|(_, column)| column.stored).chain(own);
        let batch_schema = table.batch_schema();
        let columns = batch_schema
            .fields()
            .iter()
            .zip(schema.columns())
            .zip(stored)
            .map(|((field, parquet), stored)| {
                column_encoder(field.data_type(), parquet.clone(), stored, format, limits)
            })
            .collect();
        Ok(Self { file, columns, rows: 0, limits })
    }

    /// Adds a Bloom filter to each row group of the named text columns. Ignores the names of other columns.
    ///
    /// # Errors
    ///
    /// Never fails, because a filter can always be created for as many rows as a row group contains.
    pub fn with_bloom_filters(mut self, names: &[String]) -> Result<Self, ParquetError> {
        let schema = self.file.schema_descr();
        let wanted: Vec<bool> =
            schema.columns().iter().map(|column| is_text_of(column, names)).collect();
        let columns = self.columns.into_iter().zip(wanted);
        let filtered = |(column, wanted)| -> Result<Box<dyn ColumnEncoder>, ParquetError> {
            Ok(if wanted { Box::new(Filtered::new(column)?) } else { column })
        };
        self.columns = columns.map(filtered).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Appends the rows of a batch, and writes the row group if it is full.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.columns
            .par_iter_mut()
            .zip(batch.columns())
            .try_for_each(|(column, array)| column.write(array))?;
        self.rows += batch.num_rows();
        if self.rows >= self.limits.row_group_rows || self.size() >= ROW_GROUP_BYTES {
            self.write_row_group()?;
        }
        Ok(())
    }

    /// Returns the size in bytes of the encoded pages that are held in memory until the row group ends.
    pub fn size(&self) -> usize {
        self.columns.iter().map(|column| column.size()).sum()
    }

    /// Writes bytes between two row groups, where Parquet readers ignore them. The footer records their position under
    /// `key`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub(crate) fn embed(&mut self, key: &str, bytes: &[u8]) -> Result<(), ParquetError> {
        self.file.append_key_value_metadata(place(key, self.file.bytes_written(), bytes));
        Ok(self.file.write_all(bytes)?)
    }

    /// Writes the last row group, and a footer that contains `facts` as key-value metadata. Returns the writer.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn finish(mut self, facts: &[(&str, String)]) -> Result<W, ParquetError> {
        if self.rows > 0 {
            self.write_row_group()?;
        }
        for (key, value) in facts {
            let fact = KeyValue::new((*key).to_owned(), value.clone());
            self.file.append_key_value_metadata(fact);
        }
        let out = self.file.into_inner()?.finish()?;
        out.into_inner().map_err(|error| error.into_error().into())
    }

    fn write_row_group(&mut self) -> Result<(), ParquetError> {
        let chunks: Vec<_> =
            self.columns.par_iter_mut().map(|column| column.finish()).collect::<Result<_, _>>()?;
        let mut row_group = self.file.next_row_group()?;
        for (pages, close) in chunks {
            row_group.append_column(&pages, close)?;
        }
        row_group.close()?;
        self.rows = 0;
        Ok(())
    }
}

/// Returns the footer entry for embedded bytes. The entry's value is the offset and length of the bytes, separated by a
/// plus sign.
fn place(key: &str, offset: usize, bytes: &[u8]) -> KeyValue {
    KeyValue::new(key.to_owned(), format!("{offset}+{}", bytes.len()))
}

/// Returns whether a column is a text column with one of the given names.
fn is_text_of(column: &ColumnDescPtr, names: &[String]) -> bool {
    let named = names.iter().any(|name| name == column.name());
    named && column.physical_type() == parquet::basic::Type::BYTE_ARRAY
}

/// Returns the writer properties that row files and reject files share.
fn properties(format: Format) -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_offset_index_disabled(!format.has_page_index())
}

fn column_encoder(
    data_type: &DataType,
    column: ColumnDescPtr,
    stored: Stored,
    format: Format,
    limits: SizeLimits,
) -> Box<dyn ColumnEncoder> {
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
    fn numbers<P: Physical>(
        column: ColumnDescPtr,
        stored: Stored,
        format: Format,
        limits: SizeLimits,
    ) -> Box<dyn ColumnEncoder> {
        Box::new(NumberEncoder::<P>::new(column, stored, format, limits))
    }
    let numbers = match data_type {
        DataType::Int32 => numbers::<Int32Type>,
        DataType::Int64 => numbers::<Int64Type>,
        DataType::Float64 => numbers::<Float64Type>,
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers::<TimestampMicrosecondType>,
        DataType::Utf8 | DataType::Dictionary(..) => {
            return Box::new(TextEncoder::new(column, format, limits));
        }
        other => unreachable!("no table has a column of type {other}"),
    };
    numbers(column, stored, format, limits)
}

/// Writes rejects or originals to one Parquet file. Both are rare, so this encoder uses the `parquet` crate's slower
/// Arrow writer.
pub(crate) struct ArrowEncoder<W: Write + Send>(ArrowWriter<W>);

impl<W: Write + Send> ArrowEncoder<W> {
    /// Starts a file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub(crate) fn new(schema: SchemaRef, format: Format, out: W) -> Result<Self, ParquetError> {
        let properties = properties(format)
            .set_compression(format.compression.codec())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            // A value can be several megabytes, and no query filters by it, so a dictionary and statistics would only
            // cost space.
            .set_column_dictionary_enabled(original::BYTES.into(), false)
            .set_column_statistics_enabled(original::BYTES.into(), EnabledStatistics::None)
            .build();
        let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        Ok(Self(ArrowWriter::try_new_with_options(out, schema, options)?))
    }

    /// Appends a record batch.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.0.write(batch)?;
        if self.0.in_progress_size() >= ARROW_BYTES {
            self.0.flush()?;
        }
        Ok(())
    }

    /// Writes bytes between two row groups, like [`TableEncoder::embed`].
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub(crate) fn embed(&mut self, key: &str, bytes: &[u8]) -> Result<(), ParquetError> {
        self.0.append_key_value_metadata(place(key, self.0.bytes_written(), bytes));
        Ok(self.0.write_all(bytes)?)
    }

    /// Writes a footer that contains `facts` as key-value metadata. Returns the writer.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub(crate) fn finish(mut self, facts: &[(&str, String)]) -> Result<W, ParquetError> {
        for (key, value) in facts {
            let fact = KeyValue::new((*key).to_owned(), value.clone());
            self.0.append_key_value_metadata(fact);
        }
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests;
