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

use crate::util::arena::Interner;

/// Fails unless a file has only columns of a table, with their types. Text and bytes must be views.
pub(super) fn check_columns(file: &Schema, table: &Schema) -> anyhow::Result<()> {
    for field in file.fields() {
        let known = table.column_with_name(field.name()).map(|(_, known)| match known.data_type() {
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

/// Returns the number of bytes of text in a record batch. Repeated values count each time, as in [`combine`].
pub(super) fn text_size(batch: &RecordBatch) -> u64 {
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
pub(super) fn combine(schema: &SchemaRef, parts: &[RecordBatch]) -> anyhow::Result<RecordBatch> {
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
                let array = array.as_binary_view_opt().context("a column of bytes has another type")?;
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
