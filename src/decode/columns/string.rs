//! Builds text columns: dictionaries for values that repeat, plain strings for all others.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, NullBufferBuilder, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::Int32Type;
use wide::i32x8;

use crate::decode::columns::dictionary::{FieldDictionary, NULL, REJECTED};
use crate::decode::columns::part::{self, Usual};
use crate::decode::columns::{ColumnBuilder, Found};
use crate::decode::tokenizer::{self, Span, Spans};
use crate::logs::form::Value;
use crate::logs::schema::{Part, Shape};
use crate::util::arena::{Arena, renew};

/// Number of rows in one word of a validity bitmap.
const WORD: usize = u64::BITS as usize;

/// Builds a text column whose values repeat: indices into a dictionary of distinct values, in order of their first
/// appearance.
pub(crate) struct DictionaryBuilder {
    /// The part of the field that the column contains; `None` for the unchanged field.
    part: Option<Part>,
    /// The shape that values must match, if any.
    shape: Option<Shape>,
    /// How the field is usually written.
    usual: Usual,
    indices: Vec<i32>,
    dictionary: FieldDictionary,
    /// Number of distinct values before the last append.
    distinct: usize,
}

impl DictionaryBuilder {
    /// Returns a builder for a column that contains a part of its field.
    pub(crate) fn of_part(part: Part, shape: Option<Shape>, usual: Usual) -> Self {
        Self::new(Some(part), shape, usual)
    }

    /// Returns a builder for a column that contains its field unchanged, or NULL if the field is empty.
    pub(crate) fn verbatim() -> Self {
        Self::new(None, None, Usual::unchanged())
    }

    fn new(part: Option<Part>, shape: Option<Shape>, usual: Usual) -> Self {
        let dictionary = FieldDictionary::of_shape(shape);
        Self { part, shape, usual, indices: Vec::new(), dictionary, distinct: 0 }
    }

    /// Appends a value `count` times.
    pub(crate) fn repeat(&mut self, value: &str, count: usize) {
        if count > 0 {
            let index = self.dictionary.index_of_long(value.as_bytes());
            self.indices.extend(std::iter::repeat_n(index, count));
        }
    }
}

impl ColumnBuilder for DictionaryBuilder {
    fn may_reject(&self) -> bool {
        self.shape.is_some()
    }

    fn append(&mut self, text: &[u8], fields: Spans<'_>, found: &mut Found) {
        let Self { part, usual, indices, dictionary, .. } = self;
        let rows = indices.len();
        self.distinct = dictionary.len();
        dictionary.stop_interning_if_unique(rows);
        match *part {
            None => dictionary.add_indices(text, fields, unless_empty, indices),
            Some(Part::Whole) => {
                let read = |text: &[u8], field| {
                    let value = tokenizer::value(text, field);
                    (value, usual.is_usual(Part::Whole, text, field, value))
                };
                dictionary.add_indices(text, fields, read, indices);
            }
            Some(Part::Verbatim) => {
                let read = |text: &[u8], field| (part::verbatim(text, field), true);
                dictionary.add_indices(text, fields, read, indices);
            }
            // One loop for each part avoids a branch for each row.
            Some(Part::Address) => {
                let is_usual = |field, value| usual.is_usual(Part::Address, text, field, value);
                dictionary.add_parts(text, fields, part::address, is_usual, indices);
            }
            Some(Part::Verb) => {
                let is_usual = |field, value| usual.is_usual(Part::Verb, text, field, value);
                dictionary.add_parts(text, fields, part::verb, is_usual, indices);
            }
            Some(Part::Url) => {
                let is_usual = |field, value| usual.is_usual(Part::Url, text, field, value);
                dictionary.add_parts(text, fields, part::url, is_usual, indices);
            }
            Some(Part::Protocol) => {
                let is_usual = |field, value| usual.is_usual(Part::Protocol, text, field, value);
                dictionary.add_parts(text, fields, part::protocol, is_usual, indices);
            }
            Some(part @ (Part::Port | Part::NotBefore | Part::NotAfter)) => {
                unreachable!("{part:?} is not text")
            }
        }
        // A rejected value never enters the dictionary, so rows with known values need no check.
        if dictionary.take_rejected() {
            let lines = indices[rows..].iter().enumerate();
            let lines = lines.filter(|&(_, &index)| index == REJECTED);
            found.rejected.extend(lines.map(|(line, _)| line));
        }
        if dictionary.take_unusual() {
            found.unusual.extend(unusual(usual, part.unwrap_or_default(), text, fields));
        }
    }

    fn value(&self, row: usize) -> Value<'_> {
        match usize::try_from(self.indices[row]) {
            Ok(index) => Value::Text(self.dictionary.value(index)),
            Err(_) => Value::Null,
        }
    }

    fn accepts(&mut self, text: &[u8], field: Span) -> bool {
        let (Some(part), Some(shape)) = (self.part, self.shape) else { return true };
        part::of(part, text, field).is_none_or(|value| shape.fits(&text[value.range()]))
    }

    fn truncate(&mut self, rows: usize) {
        self.indices.truncate(rows);
        self.dictionary.truncate(self.distinct);
    }

    fn finish(&mut self) -> ArrayRef {
        let mut indices = renew(&mut self.indices);
        let nulls = take_nulls(&mut indices);
        let indices = Int32Array::new(indices.into(), nulls);
        let values = string_array(self.dictionary.take(), None);
        Arc::new(DictionaryArray::<Int32Type>::new(indices, Arc::new(values)))
    }
}

/// Returns the validity bitmap if any row is NULL. Replaces negative indices with 0, because an array must not contain
/// them.
fn take_nulls(indices: &mut [i32]) -> Option<NullBuffer> {
    let rows = indices.len();
    let mut words = Vec::with_capacity(rows.div_ceil(WORD));
    for indices in indices.chunks_mut(WORD) {
        let mut nulls = 0;
        let (eights, rest) = indices.as_chunks::<8>();
        for (at, eight) in eights.iter().enumerate() {
            // NULL is the only negative index here, so the sign bits mark the NULL rows.
            nulls |= u64::from(i32x8::new(*eight).to_bitmask()) << (8 * at);
        }
        for (at, &index) in (8 * eights.len()..).zip(rest) {
            nulls |= u64::from(index == NULL) << at;
        }
        if nulls != 0 {
            for index in indices {
                *index = (*index).max(0);
            }
        }
        words.push(!nulls);
    }
    let none = words.iter().all(|&valid| valid == u64::MAX);
    (!none).then(|| NullBuffer::new(BooleanBuffer::new(words.into(), 0, rows)))
}

#[inline]
fn unless_empty(_: &[u8], field: Span) -> (Option<Span>, bool) {
    ((!field.is_empty()).then_some(field), true)
}

/// Returns the indices of the fields that are not in their usual form.
fn unusual(
    usual: &Usual,
    part: Part,
    text: &[u8],
    fields: Spans<'_>,
) -> impl Iterator<Item = usize> {
    fields.iter().enumerate().filter_map(move |(index, field)| {
        let value = part::of(part, text, field);
        (!usual.is_usual(part, text, field, value)).then_some(index)
    })
}

/// Builds a text column whose values do not repeat.
pub(crate) struct StringBuilder {
    part: Part,
    shape: Option<Shape>,
    /// How the field is usually written.
    usual: Usual,
    values: Arena,
    nulls: NullBufferBuilder,
}

impl StringBuilder {
    /// Returns a builder for a column that contains a part of its field.
    pub(crate) fn new(part: Part, shape: Option<Shape>, usual: Usual) -> Self {
        Self { part, shape, usual, values: Arena::default(), nulls: NullBufferBuilder::new(0) }
    }
}

impl ColumnBuilder for StringBuilder {
    fn may_reject(&self) -> bool {
        self.shape.is_some()
    }

    fn append(&mut self, text: &[u8], fields: Spans<'_>, found: &mut Found) {
        for (index, field) in fields.iter().enumerate() {
            let value = part::of(self.part, text, field);
            if !self.usual.is_usual(self.part, text, field, value) {
                found.unusual.push(index);
            }
            let bytes = &text[value.unwrap_or_default().range()];
            if self.shape.is_some_and(|shape| !shape.is_usual(bytes) && !shape.fits(bytes)) {
                found.rejected.push(index);
            }
            self.values.push(bytes);
            self.nulls.append(value.is_some());
        }
    }

    fn value(&self, row: usize) -> Value<'_> {
        if self.nulls.is_valid(row) { Value::Text(self.values.get(row)) } else { Value::Null }
    }

    fn accepts(&mut self, text: &[u8], field: Span) -> bool {
        let value = part::of(self.part, text, field).unwrap_or_default();
        self.shape.is_none_or(|shape| shape.fits(&text[value.range()]))
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(string_array(self.values.take(), self.nulls.finish()))
    }
}

/// Returns an array of the strings that [`Arena::take`] returns.
fn string_array((bytes, offsets): (Vec<u8>, Vec<i32>), nulls: Option<NullBuffer>) -> StringArray {
    StringArray::try_new(OffsetBuffer::new(offsets.into()), bytes.into(), nulls)
        .expect("irregular lines were checked to be UTF-8, and delimiters are ASCII")
}
