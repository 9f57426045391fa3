//! Decodes a sample of objects with both the decoder and the reference decoder.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType as Micros,
};
use sha2::{Digest, Sha256};

use crate::dataset::claim::Claimed;
use crate::decode::gzip::Note;
use crate::decode::reader::Reader;
use crate::logs::key::identity;
use crate::logs::reject::Reject;
use crate::logs::schema::{EXTRA_FIELDS, Table};
use crate::maintain::verify::reference::{self, Row, Value};
use crate::plan::Object;
use crate::store::Source;

/// The sample contains about one in this many objects.
const ONE_IN: u64 = 100;
/// Maximum size of a sampled object, compressed and decompressed, because both are held in memory.
const MAX_SIZE: u64 = 64 << 20;
/// The UTF-8 byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Selects the objects that are also decoded with the reference decoder.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// The name of each table's first object that can be sampled. It is always sampled, so that even small datasets
    /// have a sample.
    first: BTreeMap<&'static str, String>,
}

impl Sample {
    /// Returns whether the first object of a table is known.
    pub(super) fn has_first(&self, table: &'static Table) -> bool {
        self.first.contains_key(table.name.as_str())
    }

    /// Sets the first object of a table, if none is set yet and the object can be sampled.
    pub(super) fn offer(&mut self, table: &'static Table, object: &Claimed) {
        if can_be_sampled(object) {
            self.first.entry(&table.name).or_insert_with(|| object.name.clone());
        }
    }

    /// Returns whether an object of a table is in the sample.
    pub(super) fn contains(&self, table: &Table, object: &Claimed) -> bool {
        let is_first = self.first.get(table.name.as_str()) == Some(&object.name);
        can_be_sampled(object) && (is_first || is_drawn(&object.name))
    }
}

/// Returns whether the reference decoder supports an object: it must not be damaged, empty or too large, and must not
/// contain padding or gzip inside gzip.
fn can_be_sampled(object: &Claimed) -> bool {
    let supported = [Note::ByteOrderMark, Note::PlainText].map(Note::code);
    let is_supported = |note: &String| supported.contains(&note.as_str());
    object.crc32.is_some()
        && object.size <= MAX_SIZE
        && object.uncompressed_size.is_some_and(|size| (1..=MAX_SIZE).contains(&size))
        && object.notes.iter().all(is_supported)
}

/// Returns whether an object with this name is sampled: about one in [`ONE_IN`] is. The result does not depend on the
/// object's location.
fn is_drawn(name: &str) -> bool {
    let hash = Sha256::digest(identity(name));
    let (number, _) = hash.split_first_chunk().expect("a SHA-256 hash has 32 bytes");
    u64::from_le_bytes(*number).is_multiple_of(ONE_IN)
}

/// Decodes an object with the decoder and the reference decoder, and describes the first difference.
///
/// `table` is the schema of the reference decoder.
pub(super) fn difference(
    table: &Table,
    source: &Source,
    object: &Object,
) -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    source.reader(&object.listed)?.read_to_end(&mut bytes)?;
    compare(table, bytes)
}

fn compare(table: &Table, object: Vec<u8>) -> anyhow::Result<Option<String>> {
    let text = match reference::decompress(&object, MAX_SIZE) {
        Ok(text) => text,
        Err(error) => return Ok(Some(format!("its gzip data cannot be read: {error}"))),
    };
    let (text, offset) = match text.strip_prefix(MARK) {
        Some(text) => (text, MARK.len() as u64),
        None => (text.as_slice(), 0),
    };
    let mut lines = reference::lines(table, reference::without_blank_end(text), offset);
    let mut reader = Reader::new(table.log_type, "", Cursor::new(object))?;
    while let Some(batch) = reader.next().transpose()? {
        let columns = columns(table, &batch)?;
        let mut rejects = reader.take_rejects().into_iter().peekable();
        let mut rows = 0..batch.num_rows();
        while !rows.is_empty() || rejects.peek().is_some() {
            let Some(line) = lines.next() else {
                return Ok(Some("it has fewer lines".to_owned()));
            };
            let number = line.number;
            let reject = rejects.next_if(|reject| reject.line_number <= number);
            let row = if reject.is_none() { rows.next() } else { None };
            match (row, &reject, &line.outcome) {
                (Some(row), None, Ok(expected)) => {
                    if let Some(column) = differing_column(&columns, row, expected) {
                        return Ok(Some(format!("column {column} of line {number}")));
                    }
                }
                (None, Some(reject), Err(expected)) if reject == expected => {}
                _ => {
                    let found = outcome_text(reject.as_ref());
                    let expected = outcome_text(line.outcome.as_ref().err());
                    return Ok(Some(format!("line {number} is {expected} instead of {found}")));
                }
            }
        }
    }
    Ok(lines.next().map(|line| {
        format!("line {} is {}", line.number, outcome_text(line.outcome.as_ref().err()))
    }))
}

/// Returns a table's columns in a batch, each with its name, converted to the types in the Parquet files.
fn columns<'t>(table: &'t Table, batch: &RecordBatch) -> anyhow::Result<Vec<(&'t str, ArrayRef)>> {
    let schema = table.file_schema();
    let names = table.columns().map(|(_, column)| column.name.as_str()).chain([EXTRA_FIELDS]);
    let array = |name| -> anyhow::Result<ArrayRef> {
        Ok(cast(&batch[name], schema.field_with_name(name)?.data_type())?)
    };
    names.map(|name| Ok((name, array(name)?))).collect()
}

/// Returns the name of the first column whose value in a row differs from the expected value.
fn differing_column<'t>(
    columns: &[(&'t str, ArrayRef)],
    row: usize,
    expected: &Row,
) -> Option<&'t str> {
    let mut pairs = columns.iter().zip(expected);
    let differing = pairs
        .find(|((_, array), expected)| !is_same(value(array, row).as_ref(), expected.as_ref()));
    differing.map(|((name, _), _)| *name)
}

/// Compares values. Treats zeros with different signs as different.
fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Double(a)), Some(Value::Double(b))) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

fn value(array: &ArrayRef, row: usize) -> Option<Value> {
    array.is_valid(row).then(|| match array.data_type() {
        DataType::Int32 => Value::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(..) => Value::Time(array.as_primitive::<Micros>().value(row)),
        _ => Value::Text(array.as_string::<i32>().value(row).to_owned()),
    })
}

/// Describes the outcome of a line: a row or a reject.
fn outcome_text(reject: Option<&Reject>) -> String {
    let Some(Reject { reason, column, byte_offset, raw_length, .. }) = reject else {
        return "a row".to_owned();
    };
    let column = column.as_ref().map_or(String::new(), |column| format!(" of column {column}"));
    format!("a reject ({reason}{column}, {raw_length} bytes at {byte_offset})")
}
