//! The rows and rejects of an object as plain text, to compare decoders.

use std::collections::BTreeMap;
use std::fmt;

use alb2parquet::internals::decode::decoder::Decoded;
use alb2parquet::internals::logs::reject::Reject;
use alb2parquet::internals::logs::schema::{LogType, Table};
use alb2parquet::internals::maintain::verify::reference::{Line, Value, lines};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use chrono::DateTime;

/// A row, with unchanged text, decimal numbers, and times such as `2025-07-19T14:03:21.123456Z`.
pub(crate) type Row = BTreeMap<String, Option<String>>;

/// A reject, with its line number and offset in the object.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) line_number: u64,
    pub(crate) byte_offset: u64,
    pub(crate) reason: String,
    pub(crate) column: Option<String>,
    pub(crate) raw_length: u64,
    pub(crate) raw: Vec<u8>,
}

impl From<Reject> for Rejected {
    fn from(reject: Reject) -> Self {
        Self {
            line_number: reject.line_number,
            byte_offset: reject.byte_offset,
            reason: reject.reason.code().to_owned(),
            column: reject.column.map(|column| column.to_string()),
            raw_length: reject.raw_length,
            raw: reject.raw,
        }
    }
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
    /// Number of lines that were joined to the previous line.
    pub(crate) joined: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) rejects: Vec<Rejected>,
}

impl Outcome {
    /// Adds further rows and rejects from the same object.
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

    /// Returns the only row of an outcome without rejects.
    #[track_caller]
    pub(crate) fn row(&self) -> &Row {
        assert_eq!(self.rejects, [], "no rejects were expected");
        assert_eq!(self.rows.len(), 1);
        &self.rows[0]
    }

    /// Returns the only reject of an outcome without rows.
    #[track_caller]
    pub(crate) fn reject(&self) -> &Rejected {
        assert_eq!(self.rows, [], "no rows were expected");
        assert_eq!(self.rejects.len(), 1);
        &self.rejects[0]
    }
}

/// Decodes access log text with the reference decoder.
pub(crate) fn reference(text: &[u8]) -> Outcome {
    reference_as(LogType::Access.table(), text)
}

/// Decodes text with the reference decoder, using the given table's schema.
pub(crate) fn reference_as(table: &Table, text: &[u8]) -> Outcome {
    let names: Vec<&str> =
        table.columns().map(|(_, column)| column.name.as_str()).chain(["extra_fields"]).collect();
    let mut result = Outcome::default();
    for Line { joined, outcome, .. } in lines(table, text, 0) {
        result.lines += 1;
        result.joined += joined;
        match outcome {
            Ok(row) => {
                assert_eq!(row.len(), names.len());
                let values = row.into_iter().map(|value| value.map(value_text));
                let named = names.iter().map(ToString::to_string).zip(values);
                let key = ("source_key".to_owned(), Some(OBJECT.to_owned()));
                result.rows.push(named.chain([key]).collect());
            }
            Err(reject) => result.rejects.push(reject.into()),
        }
    }
    result
}

fn value_text(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        Value::Integer(value) => value.to_string(),
        Value::Double(value) => format!("{value:?}"),
        Value::Time(micros) => time_text(micros),
    }
}

/// The object key to which decoded rows are attributed.
pub(crate) const OBJECT: &str = "an/object";

/// Returns the rows of a batch.
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

/// Formats a time, given in microseconds since 1970.
pub(crate) fn time_text(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros).unwrap();
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
