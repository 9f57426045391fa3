//! Reads the rows of a published file, one row group at a time. A row group that cannot be read does not affect the
//! others.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use crate::dataset::claim::Output;
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::Dataset;
use crate::util::corrupt::{self, contained};

/// Approximate size of a record batch in bytes. Batches are small, because a single line can take up a megabyte.
const BATCH_BYTES: u64 = 4 << 20;
/// Maximum number of rows in a record batch.
const MAX_BATCH: u64 = 4096;

/// The row groups of a file.
pub(super) struct Groups {
    file: PublishedFile,
    metadata: ArrowReaderMetadata,
    /// Returns whether to read a column, given its name.
    wanted: fn(&str) -> bool,
    /// Number of the first row of each row group, and the number of rows in the file.
    starts: Vec<u64>,
    /// Number of row groups that have been opened or skipped.
    opened: usize,
    batches: Option<Batches>,
    /// Number of the first row of the next batch.
    at: u64,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

impl Groups {
    /// Opens the file of an output. If `views` is set, text and bytes are read as views, so that repeated values share
    /// their bytes.
    ///
    /// # Errors
    ///
    /// Fails if the file does not exist, does not have the size in the claim, or has no valid footer.
    pub(super) fn open(
        dataset: &Dataset,
        output: &Output,
        views: bool,
        wanted: fn(&str) -> bool,
    ) -> anyhow::Result<Self> {
        let (key, expected) = (&output.file.key, output.file.size);
        let size = dataset.target().size(key)?.context("it is gone")?;
        anyhow::ensure!(size == expected, "has {size} bytes instead of {expected}");
        let file = PublishedFile::new(dataset, output);
        let footer = Arc::new(file.footer()?);
        let metadata = contained(|| metadata(&footer, views))?;
        let mut starts = vec![0_u64];
        for group in footer.row_groups() {
            let rows =
                u64::try_from(group.num_rows()).context("has a row group with negative rows")?;
            starts.push(starts[starts.len() - 1].saturating_add(rows));
        }
        Ok(Self { file, metadata, wanted, starts, opened: 0, batches: None, at: 0 })
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &PublishedFile {
        &self.file
    }

    /// Returns the columns of the record batches, if all columns are wanted.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(self.metadata.schema())
    }

    /// Returns the footer.
    pub(super) fn footer(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// Returns the number of the first row that [`Self::next`] has not returned yet.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Skips row groups that end before a row, without reading them.
    pub(super) fn skip_to(&mut self, row: u64) {
        let group = self.starts.partition_point(|start| *start <= row) - 1;
        if group >= self.opened {
            self.opened = group;
            self.batches = None;
            self.at = self.starts[group];
        }
    }

    /// Returns the next record batch, or `None` at the end of the file. After an error, continues with the next row
    /// group.
    pub(super) fn next(&mut self) -> Option<anyhow::Result<RecordBatch>> {
        loop {
            let end = self.starts[self.opened];
            if self.batches.is_none() {
                if self.opened + 1 == self.starts.len() {
                    return None;
                }
                self.opened += 1;
                match self.group(self.opened - 1) {
                    Ok(batches) => self.batches = Some(batches),
                    Err(error) => return Some(self.fail(error)),
                }
                continue;
            }
            match self.batches.as_mut()?.next() {
                Some(Ok(batch)) => {
                    self.at = end.min(self.at + batch.num_rows() as u64);
                    if self.at == end {
                        // The reader needs more memory than a small batch, and many files can be open.
                        self.batches = None;
                    }
                    return Some(Ok(batch));
                }
                Some(Err(error)) => return Some(self.fail(error.into())),
                None if self.at < end => {
                    let missing = end - self.at;
                    return Some(self.fail(anyhow::anyhow!("a row group lacks {missing} rows")));
                }
                None => self.batches = None,
            }
        }
    }

    /// Skips the rest of the current row group.
    fn fail(&mut self, error: anyhow::Error) -> anyhow::Result<RecordBatch> {
        self.batches = None;
        self.at = self.starts[self.opened];
        Err(error)
    }

    fn group(&self, number: usize) -> anyhow::Result<Batches> {
        let group = self.footer().row_group(number);
        let range = contained(|| Ok(byte_range(group)))?;
        let section = self.file.section(range)?;
        let columns = self.metadata.schema().fields().iter().enumerate();
        let wanted =
            columns.filter(|(_, field)| (self.wanted)(field.name())).map(|(index, _)| index);
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), wanted);
        let bytes = u64::try_from(group.total_byte_size()).unwrap_or_default();
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        let batch = (BATCH_BYTES / (bytes / rows.max(1)).max(1)).clamp(1, MAX_BATCH);
        let reader = contained(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(section, self.metadata.clone())
                .with_row_groups(vec![number])
                .with_projection(mask)
                .with_batch_size(batch as usize)
                .build()
        })?;
        Ok(Box::new(corrupt::batches(reader)))
    }
}

/// Returns the metadata that the reader needs, with the Arrow types of the columns.
fn metadata(
    footer: &Arc<ParquetMetaData>,
    views: bool,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(Arc::clone(footer), options.clone())?;
    if !views {
        return Ok(plain);
    }
    let fields = plain.schema().fields().iter().map(|field| {
        let field = field.as_ref().clone();
        match field.data_type() {
            DataType::Utf8 => field.with_data_type(DataType::Utf8View),
            DataType::Binary => field.with_data_type(DataType::BinaryView),
            _ => field,
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    ArrowReaderMetadata::try_new(Arc::clone(footer), options.with_schema(schema))
}

/// Returns the range of bytes that contains all column chunks of a row group.
fn byte_range(group: &RowGroupMetaData) -> Range<u64> {
    let chunks = group.columns().iter().map(|column| {
        let (start, length) = column.byte_range();
        start..start.saturating_add(length)
    });
    let start = chunks.clone().map(|chunk| chunk.start).min().unwrap_or_default();
    start..chunks.map(|chunk| chunk.end).max().unwrap_or_default()
}
