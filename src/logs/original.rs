//! Defines originals: the forms or bytes of lines that do not have the usual form. Together, the rows, rejects and
//! originals of an object reproduce its text.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryBuilder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

/// Directory of the originals files in the dataset. Query engines ignore it.
pub(crate) const TABLE: &str = "_alb2parquet/originals";

/// Name of the column that contains the bytes of lines.
pub(crate) const BYTES: &str = "bytes";

/// How lines without the usual form are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Original {
    /// The form of the lines, see [`form`](crate::logs::form).
    Form(Arc<str>),
    /// The bytes of one line, including its line ending. A line can be split across several originals.
    Bytes(Vec<u8>),
}

impl Original {
    /// Returns the length of the form or the bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Form(form) => form.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// Consecutive lines without the usual form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginalLines {
    /// Number of the first line in the object, from 1.
    pub(crate) line_number: u64,
    /// Number of lines, not counting any rejects among them. A line can contain line feeds.
    pub(crate) lines: u64,
    /// How the lines are written.
    pub(crate) original: Original,
}

/// Returns the schema of an originals file.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source_key", DataType::Utf8, true),
        Field::new("line_number", DataType::Int64, true),
        Field::new("lines", DataType::Int64, true),
        Field::new("form", DataType::Utf8, true),
        Field::new(BYTES, DataType::Binary, true),
    ]))
}

/// Returns a record batch of originals, each with the key of its object.
pub(crate) fn batch<'a>(
    all: impl IntoIterator<Item = (&'a str, &'a OriginalLines)>,
) -> RecordBatch {
    let (mut keys, mut forms) = (StringBuilder::new(), StringBuilder::new());
    let (mut numbers, mut counts) = (Int64Builder::new(), Int64Builder::new());
    let mut texts = BinaryBuilder::new();
    for (key, OriginalLines { line_number, lines, original }) in all {
        keys.append_value(key);
        numbers.append_value(line_number.cast_signed());
        counts.append_value(lines.cast_signed());
        match original {
            Original::Form(form) => {
                forms.append_value(form);
                texts.append_null();
            }
            Original::Bytes(bytes) => {
                forms.append_null();
                texts.append_value(bytes);
            }
        }
    }
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(keys.finish()),
            Arc::new(numbers.finish()),
            Arc::new(counts.finish()),
            Arc::new(forms.finish()),
            Arc::new(texts.finish()),
        ],
    )
    .expect("the columns match the schema")
}

/// Returns the originals in a record batch, each with the key of its object. Returns `None` if the batch does not have
/// the schema of an originals file, or if a value is missing.
pub(crate) fn parse(batch: &RecordBatch) -> Option<Vec<(&str, OriginalLines)>> {
    let matches = batch.schema().fields().iter().zip(schema().fields()).all(|(found, expected)| {
        found.name() == expected.name() && found.data_type() == expected.data_type()
    });
    if !matches || batch.num_columns() != schema().fields().len() {
        return None;
    }
    let (keys, forms) = (batch.column(0).as_string::<i32>(), batch.column(3).as_string::<i32>());
    let numbers = batch.column(1).as_primitive::<Int64Type>();
    let counts = batch.column(2).as_primitive::<Int64Type>();
    let texts = batch.column(4).as_binary::<i32>();
    let original = |row: usize| {
        if keys.is_null(row) || numbers.is_null(row) || counts.is_null(row) {
            return None;
        }
        let original = match (forms.is_valid(row), texts.is_valid(row)) {
            (true, false) => Original::Form(forms.value(row).into()),
            (false, true) => Original::Bytes(texts.value(row).to_vec()),
            _ => return None,
        };
        let line_number = u64::try_from(numbers.value(row)).ok()?;
        let lines = u64::try_from(counts.value(row)).ok()?;
        Some((keys.value(row), OriginalLines { line_number, lines, original }))
    };
    (0..batch.num_rows()).map(original).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn originals_survive_a_batch() {
        let all = [
            OriginalLines { line_number: 1, lines: 9, original: Original::Form("_ _\r\n".into()) },
            OriginalLines { line_number: 10, lines: 1, original: Original::Bytes(vec![0, 255]) },
        ];
        let batch = batch(all.iter().map(|each| ("a/b", each)));
        let parsed = parse(&batch).unwrap();
        assert_eq!(parsed, all.map(|each| ("a/b", each)));
        assert_eq!(parse(&batch.project(&[0, 1, 2, 3]).unwrap()), None);
    }
}
