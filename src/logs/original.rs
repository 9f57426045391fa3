//! Defines originals: the forms or bytes of lines that do not have the usual form. Together, the rows, rejects and
//! originals of an object reproduce its text.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryBuilder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

/// Directory of the originals files in the dataset. Query engines ignore it.
pub(crate) const TABLE: &str = "_alb2parquet/originals";

/// Approximate size in bytes of a record batch, and of the parts of a long line.
const BATCH_BYTES: usize = 1 << 20;

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

/// A row of an originals file: a form, or bytes of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    Form(&'a str),
    Bytes(&'a [u8]),
}

impl OriginalLines {
    /// Splits the lines into rows. Only the bytes of a long line need several.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let (form, bytes): (_, &[u8]) = match &self.original {
            Original::Form(form) => (Some(Part::Form(form)), &[]),
            Original::Bytes(bytes) => (None, bytes),
        };
        form.into_iter().chain(bytes.chunks(BATCH_BYTES).map(Part::Bytes))
    }
}

/// Builds record batches of originals.
#[derive(Default)]
pub(crate) struct OriginalsBuilder {
    keys: StringBuilder,
    numbers: Int64Builder,
    counts: Int64Builder,
    forms: StringBuilder,
    bytes: BinaryBuilder,
    rows: u64,
}

impl OriginalsBuilder {
    /// Appends a part of lines, which belong to the object with the given key.
    pub(crate) fn append(&mut self, key: &str, lines: &OriginalLines, part: Part<'_>) {
        self.keys.append_value(key);
        self.numbers.append_value(lines.line_number.cast_signed());
        self.counts.append_value(lines.lines.cast_signed());
        let (form, bytes) = match part {
            Part::Form(form) => (Some(form), None),
            Part::Bytes(bytes) => (None, Some(bytes)),
        };
        self.forms.append_option(form);
        self.bytes.append_option(bytes);
        self.rows += 1;
    }

    /// Returns whether the next record batch is large enough to be written.
    pub(crate) fn is_full(&self) -> bool {
        let forms = self.forms.values_slice().len();
        self.keys.values_slice().len() + forms + self.bytes.values_slice().len() >= BATCH_BYTES
    }

    /// Returns the number of rows that were appended so far, including those in earlier record batches.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the appended rows as a record batch, and resets the builder.
    pub(crate) fn finish(&mut self) -> RecordBatch {
        RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(self.keys.finish()),
                Arc::new(self.numbers.finish()),
                Arc::new(self.counts.finish()),
                Arc::new(self.forms.finish()),
                Arc::new(self.bytes.finish()),
            ],
        )
        .expect("the columns match the schema")
    }
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
        let mut builder = OriginalsBuilder::default();
        for each in &all {
            each.parts().for_each(|part| builder.append("a/b", each, part));
        }
        assert_eq!((builder.rows(), builder.is_full()), (2, false));
        let batch = builder.finish();
        let parsed = parse(&batch).unwrap();
        assert_eq!(parsed, all.map(|each| ("a/b", each)));
        let long = vec![b'x'; 2 * BATCH_BYTES + 1];
        let long = OriginalLines { line_number: 1, lines: 1, original: Original::Bytes(long) };
        assert_eq!(long.parts().count(), 3);
        assert_eq!(parse(&batch.project(&[0, 1, 2, 3]).unwrap()), None);
    }
}
