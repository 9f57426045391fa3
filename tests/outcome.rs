//! The rows and rejects of an object as plain text, for comparing decoders.

use std::collections::BTreeMap;
use std::fmt;

use alb2parquet::internals::decode::decoder::Decoded;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use chrono::DateTime;

/// A row by column name: unchanged text, decimal numbers, and times such as `2025-07-19T14:03:21.123456Z`.
pub(crate) type Row = BTreeMap<String, Option<String>>;

/// A reject, with its line number and byte offset in the object.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) line_number: u64,
    pub(crate) byte_offset: u64,
    pub(crate) reason: String,
    pub(crate) column: Option<String>,
    pub(crate) raw_length: u64,
    pub(crate) raw: Vec<u8>,
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line_number, byte_offset, reason, column, raw_length, raw } = self;
        let shown = raw[..raw.len().min(1000)].escape_ascii();
        write!(
            f,
            "line {line_number} at {byte_offset}: {reason} {column:?} {raw_length} \"{shown}\""
        )
    }
}

/// The result of decoding an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) lines: u64,
    /// Number of lines that were joined to the line before.
    pub(crate) joined: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) rejects: Vec<Rejected>,
}

impl Outcome {
    /// Adds rows and rejects that were decoded later from the same object.
    pub(crate) fn add(&mut self, decoded: Decoded, bytes_before: &mut u64) {
        self.rows.extend(rows_of(&decoded.batch));
        for segment in decoded.segments {
            assert_eq!(segment.lines, segment.rows + segment.rejects.len() as u64);
            for reject in segment.rejects {
                self.rejects.push(Rejected {
                    line_number: self.lines + self.joined + reject.line_number,
                    byte_offset: *bytes_before + reject.byte_offset,
                    reason: reject.reason.code().to_owned(),
                    column: reject.column.map(|column| column.to_string()),
                    raw_length: reject.raw_length,
                    raw: reject.raw,
                });
            }
            self.lines += segment.lines;
            self.joined += segment.joined_lines;
            *bytes_before += segment.bytes;
        }
    }

    /// Returns the only row. Panics if there are other rows or rejects.
    #[track_caller]
    pub(crate) fn row(&self) -> &Row {
        assert_eq!(self.rejects, [], "no rejects were expected");
        assert_eq!(self.rows.len(), 1);
        &self.rows[0]
    }

    /// Returns the only reject. Panics if there are rows or other rejects.
    #[track_caller]
    pub(crate) fn reject(&self) -> &Rejected {
        assert_eq!(self.rows, [], "no rows were expected");
        assert_eq!(self.rejects.len(), 1);
        &self.rejects[0]
    }
}

/// The object key of text that is decoded without a source.
pub(crate) const OBJECT: &str = "an/object";

/// Returns the rows of a record batch.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let mut rows = vec![Row::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let values = values_of(column);
        assert_eq!(values.len(), rows.len(), "the length of column {} differs", field.name());
        for (row, value) in rows.iter_mut().zip(values) {
            row.insert(field.name().clone(), value);
        }
    }
    rows
}

fn values_of(array: &dyn Array) -> Vec<Option<String>> {
    fn text<T: ToString>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<String>> {
        values.map(|value| value.map(|value| value.to_string())).collect()
    }
    match array.data_type() {
        DataType::Dictionary(..) => values_of(&cast(array, &DataType::Utf8).unwrap()),
        DataType::Utf8 => text(array.as_string::<i32>().iter()),
        DataType::Int32 => text(array.as_primitive::<Int32Type>().iter()),
        DataType::Int64 => text(array.as_primitive::<Int64Type>().iter()),
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().iter();
            values.map(|value| value.map(|value| format!("{value:?}"))).collect()
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            assert_eq!(zone.as_deref(), Some("UTC"));
            let values = array.as_primitive::<TimestampMicrosecondType>().iter();
            values.map(|value| value.map(time_text)).collect()
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>().iter();
            values.map(|value| value.map(|raw| String::from_utf8_lossy(raw).into_owned())).collect()
        }
        other => panic!("unexpected column type {other}"),
    }
}

/// Formats a time given in microseconds.
pub(crate) fn time_text(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros).unwrap();
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
