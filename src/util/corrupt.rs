//! Converts panics in the `parquet` crate to errors. Some corrupt files make the crate panic.

use std::iter;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::errors::ParquetError;

use crate::util::threads::isolated;

/// Calls `parse`, which reads an untrusted file with the `parquet` crate.
///
/// # Errors
///
/// Fails if `parse` fails or panics.
pub(crate) fn contained<R>(
    parse: impl FnOnce() -> Result<R, ParquetError>,
) -> Result<R, ParquetError> {
    isolated(parse).map_err(|panic| corrupt(&panic))?
}

/// Returns the record batches of an untrusted file. A panic ends the iterator with an error.
pub(crate) fn batches(
    mut reader: ParquetRecordBatchReader,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
    let mut failed = false;
    iter::from_fn(move || {
        if failed {
            return None;
        }
        isolated(|| reader.next()).unwrap_or_else(|panic| {
            failed = true;
            Some(Err(corrupt(&panic).into()))
        })
    })
}

fn corrupt(panic: &str) -> ParquetError {
    ParquetError::General(format!("the file is corrupt: {panic}"))
}
