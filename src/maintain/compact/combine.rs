//! Combines rows that were read from files into record batches for the encoder, which needs dictionaries.

use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, DictionaryArray, Int32Array,
    PrimitiveArray, RecordBatch, StringArray, StringBuilder, StringViewArray,
};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use parquet::errors::ParquetError;

use crate::util::arena::Interner;

/// Number of rows to collect before they are encoded.
const BATCH_ROWS: usize = 8192;
/// Number of bytes of text to collect before they are encoded.
const BATCH_TEXT: u64 = 8 << 20;

/// Fails unless a file has only columns of a table, with their types. Text and bytes must be views.
pub(super) fn check_columns(file: &Schema, table: &Schema) -> anyhow::Result<()> {
    for field in file.fields() {
        let known =
            table.column_with_name(field.name()).map(|(_, known)| match known.data_type() {
                DataType::Utf8 => DataType::Utf8View,
                DataType::Binary => DataType::BinaryView,
                other => other.clone(),
            });
        ensure!(
            known.as_ref() == Some(field.data_type()),
            "has the column {} of type {}, which this version of the program does not write",
            field.name(),
            field.data_type()
        );
    }
    Ok(())
}

/// Passes the rows that `next` returns to `write`, in batches of limited size. Returns the number of rows.
///
/// # Errors
///
/// Fails if `next` or `write` fails, or if a column has an unexpected type.
pub(super) fn copy(
    mut next: impl FnMut() -> anyhow::Result<Option<RecordBatch>>,
    schema: &SchemaRef,
    mut write: impl FnMut(&RecordBatch) -> Result<(), ParquetError>,
) -> anyhow::Result<u64> {
    let (mut parts, mut rows, mut text, mut written) = (Vec::new(), 0, 0, 0);
    // Halves of a part that was too large, the first one last.
    let mut halves: Vec<RecordBatch> = Vec::new();
    loop {
        let part = match halves.pop() {
            Some(half) => Some(half),
            None => next()?,
        };
        let is_end = part.is_none();
        if let Some(part) = part {
            let (length, size) = (part.num_rows(), text_size(&part));
            if size > BATCH_TEXT && length > 1 {
                let half = length / 2;
                halves.extend([part.slice(half, length - half), part.slice(0, half)]);
                continue;
            }
            (rows, text) = (rows + length, text + size);
            parts.push(part);
        }
        if rows >= BATCH_ROWS || text >= BATCH_TEXT || (is_end && rows > 0) {
            write(&combine(schema, &parts)?)?;
            written += rows as u64;
            (rows, text, parts) = (0, 0, Vec::new());
        }
        if is_end {
            return Ok(written);
        }
    }
}

/// Returns the number of bytes of text in a record batch. Repeated values count each time, as in [`combine`].
fn text_size(batch: &RecordBatch) -> u64 {
    let lengths = batch.columns().iter().map(|array| -> u64 {
        if let Some(text) = array.as_string_view_opt() {
            text.lengths().map(u64::from).sum()
        } else if let Some(bytes) = array.as_binary_view_opt() {
            bytes.lengths().map(u64::from).sum()
        } else {
            0
        }
    });
    lengths.sum()
}

/// Combines rows of several files into one record batch. Columns that a file lacks are NULL.
///
/// # Errors
///
/// Fails if a column has an unexpected type.
fn combine(schema: &SchemaRef, parts: &[RecordBatch]) -> anyhow::Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let parts: Vec<(Option<&ArrayRef>, usize)> =
            parts.iter().map(|part| (part.column_by_name(field.name()), part.num_rows())).collect();
        Ok(match field.data_type() {
            DataType::Dictionary(..) => dictionary(&parts)?,
            DataType::Utf8 => text(&parts)?,
            DataType::Binary => bytes(&parts)?,
            DataType::Int32 => numbers::<Int32Type>(&parts, field.data_type())?,
            DataType::Int64 => numbers::<Int64Type>(&parts, field.data_type())?,
            DataType::Float64 => numbers::<Float64Type>(&parts, field.data_type())?,
            _ => numbers::<TimestampMicrosecondType>(&parts, field.data_type())?,
        })
    });
    let columns = columns.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The rows of a column in each part: the array, or `None` if the file lacks the column, and the number of rows.
type Parts<'a> = [(Option<&'a ArrayRef>, usize)];

fn strings(array: &ArrayRef) -> anyhow::Result<&StringViewArray> {
    array.as_string_view_opt().context("a text column has another type")
}

fn dictionary(parts: &Parts) -> anyhow::Result<ArrayRef> {
    let mut interner = Interner::default();
    let mut keys: Vec<Option<i32>> = Vec::new();
    for (array, rows) in parts {
        match array {
            None => keys.extend(std::iter::repeat_n(None, *rows)),
            Some(array) => {
                let values = strings(array)?.iter();
                keys.extend(values.map(|value| Some(interner.intern(value?.as_bytes()) as i32)));
            }
        }
    }
    let values = interner.strings();
    let values = (0..values.len()).map(|index| std::str::from_utf8(values.get(index)));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let (keys, values) = (Int32Array::from(keys), Arc::new(StringArray::from(values)));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

fn text(parts: &Parts) -> anyhow::Result<ArrayRef> {
    let mut builder = StringBuilder::new();
    for (array, rows) in parts {
        match array {
            None => (0..*rows).for_each(|_| builder.append_null()),
            Some(array) => strings(array)?.iter().for_each(|value| builder.append_option(value)),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn bytes(parts: &Parts) -> anyhow::Result<ArrayRef> {
    let mut builder = BinaryBuilder::new();
    for (array, rows) in parts {
        match array {
            None => (0..*rows).for_each(|_| builder.append_null()),
            Some(array) => {
                let array =
                    array.as_binary_view_opt().context("a column of bytes has another type")?;
                array.iter().for_each(|value| builder.append_option(value));
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn numbers<T: ArrowPrimitiveType>(parts: &Parts, kind: &DataType) -> anyhow::Result<ArrayRef> {
    let mut values: Vec<Option<T::Native>> = Vec::new();
    for (array, rows) in parts {
        match array {
            None => values.extend(std::iter::repeat_n(None, *rows)),
            Some(array) => {
                let array = array.as_primitive_opt::<T>();
                values.extend(array.context("a column of numbers has another type")?.iter());
            }
        }
    }
    let array = PrimitiveArray::<T>::from_iter(values).with_data_type(kind.clone());
    Ok(Arc::new(array))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, BinaryViewArray, Int64Array};
    use arrow::datatypes::Field;

    use super::*;

    /// Returns rows with numbers, whose text consists of one repeated value of `size` bytes.
    fn part(numbers: std::ops::Range<i64>, size: usize) -> RecordBatch {
        let value = "x".repeat(size);
        let text: StringViewArray = numbers.clone().map(|_| Some(value.as_str())).collect();
        let raw: BinaryViewArray = numbers.clone().map(|_| Some(value.as_bytes())).collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("number", Arc::new(numbers.map(Some).collect::<Int64Array>())),
            ("text", Arc::new(text)),
            ("raw", Arc::new(raw)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn batches_have_a_limited_size_and_all_rows_in_order() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let schema = Arc::new(Schema::new(vec![
            Field::new("number", DataType::Int64, true),
            Field::new("text", dictionary, true),
            Field::new("raw", DataType::Binary, true),
            Field::new("added_later", DataType::Utf8, true),
        ]));
        // Short rows, rows of which few fill a batch, and a row that is too large by itself.
        let mut parts = vec![
            part(0..20_000, 1),
            part(20_000..21_000, 60_000),
            part(21_000..21_001, 9 << 20),
            part(21_001..21_010, 0),
        ]
        .into_iter();
        let (mut numbers, mut batches) = (Vec::<i64>::new(), 0);
        let written = copy(
            || Ok(parts.next()),
            &schema,
            |batch| {
                batches += 1;
                let raw = batch.column(2).as_binary::<i32>();
                let (length, rows) = (raw.value_data().len() as u64, batch.num_rows());
                assert!(length <= BATCH_TEXT || rows <= 200, "{rows} rows with {length} bytes");
                assert_eq!(batch.column(3).null_count(), rows);
                numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
                Ok(())
            },
        );
        assert_eq!(written.unwrap(), 21_010);
        assert!(numbers.into_iter().eq(0..21_010));
        assert!(batches > 8, "{batches}");
    }
}
