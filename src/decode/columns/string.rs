//! Text: repeating values interned into a dictionary, others one after the other.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, NullBufferBuilder, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::Int32Type;
use wide::i32x8;

use crate::decode::columns::dictionary::{Dictionary, NULL, REFUSED};
use crate::decode::columns::{ColumnBuilder, part, renew};
use crate::decode::tokenizer::{self, Span, Spans};
use crate::logs::schema::{Part, Shape};

/// Rows whose validity is one word.
const WORD: usize = u64::BITS as usize;

/// Builder of a column whose values repeat: keys into a dictionary of distinct values, in order of
/// their first appearance.
pub(crate) struct Interned {
    /// Which part of its field the column is; `None` for all of it, as it stands.
    part: Option<Part>,
    /// The shape of its values, if it has one.
    shape: Option<Shape>,
    keys: Vec<i32>,
    dictionary: Dictionary,
    /// Distinct values before the last append.
    distinct: usize,
}

impl Interned {
    /// Returns the builder of a column that is a part of its field.
    pub(crate) fn of_part(part: Part, shape: Option<Shape>) -> Self {
        Self::new(Some(part), shape)
    }

    /// Returns the builder of a column that is its field as it stands, NULL where there is nothing.
    pub(crate) fn verbatim() -> Self {
        Self::new(None, None)
    }

    fn new(part: Option<Part>, shape: Option<Shape>) -> Self {
        let dictionary = Dictionary::of_shape(shape);
        Self { part, shape, keys: Vec::new(), dictionary, distinct: 0 }
    }

    /// Appends the same value so many times.
    pub(crate) fn repeat(&mut self, value: &str, count: usize) {
        if count > 0 {
            let key = self.dictionary.key_of_long(value.as_bytes());
            self.keys.extend(std::iter::repeat_n(key, count));
        }
    }
}

impl ColumnBuilder for Interned {
    fn may_refuse(&self) -> bool {
        self.shape.is_some()
    }

    fn append(&mut self, text: &[u8], fields: Spans<'_>, refused: &mut Vec<usize>) {
        let Self { part, keys, dictionary, .. } = self;
        let rows = keys.len();
        self.distinct = dictionary.len();
        dictionary.judge(rows);
        match *part {
            None => dictionary.add_keys(text, fields, unless_empty, keys),
            Some(Part::Whole) => dictionary.add_keys(text, fields, tokenizer::value, keys),
            // A loop for each part, rather than a choice for each row.
            Some(Part::Address) => dictionary.add_parts(text, fields, part::address, keys),
            Some(Part::Verb) => dictionary.add_parts(text, fields, part::verb, keys),
            Some(Part::Url) => dictionary.add_parts(text, fields, part::url, keys),
            Some(Part::Protocol) => dictionary.add_parts(text, fields, part::protocol, keys),
            Some(part @ (Part::Port | Part::NotBefore | Part::NotAfter)) => {
                unreachable!("{part:?} is no text")
            }
        }
        // A rejected value never enters the dictionary, so rows with known values need no test.
        if dictionary.take_refused() {
            let keys = keys[rows..].iter().enumerate();
            refused.extend(keys.filter(|&(_, &key)| key == REFUSED).map(|(index, _)| index));
        }
    }

    fn accepts(&mut self, text: &[u8], field: Span) -> bool {
        let (Some(part), Some(shape)) = (self.part, self.shape) else { return true };
        part::of(part, text, field).is_none_or(|value| shape.fits(&text[value.range()]))
    }

    fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
        self.dictionary.truncate(self.distinct);
    }

    fn finish(&mut self) -> ArrayRef {
        let mut keys = renew(&mut self.keys);
        let nulls = take_nulls(&mut keys);
        let keys = Int32Array::new(keys.into(), nulls);
        let values = Arc::new(self.dictionary.finish());
        Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
    }
}

/// Tells which keys are those of NULL, if any is, and makes them keys that an array may have.
fn take_nulls(keys: &mut [i32]) -> Option<NullBuffer> {
    let rows = keys.len();
    let mut words = Vec::with_capacity(rows.div_ceil(WORD));
    for keys in keys.chunks_mut(WORD) {
        let mut nulls = 0;
        let (eights, rest) = keys.as_chunks::<8>();
        for (at, eight) in eights.iter().enumerate() {
            // Of all keys, only that of NULL has its highest bit set.
            nulls |= u64::from(i32x8::new(*eight).to_bitmask()) << (8 * at);
        }
        for (at, &key) in (8 * eights.len()..).zip(rest) {
            nulls |= u64::from(key == NULL) << at;
        }
        if nulls != 0 {
            for key in keys {
                *key = (*key).max(0);
            }
        }
        words.push(!nulls);
    }
    let none = words.iter().all(|&valid| valid == u64::MAX);
    (!none).then(|| NullBuffer::new(BooleanBuffer::new(words.into(), 0, rows)))
}

#[inline]
fn unless_empty(_: &[u8], field: Span) -> Option<Span> {
    (!field.is_empty()).then_some(field)
}

/// Builder of a column whose values do not repeat.
pub(crate) struct Texts {
    part: Part,
    shape: Option<Shape>,
    values: Values,
    nulls: NullBufferBuilder,
}

impl Texts {
    /// Returns the builder of a column that is a part of its field.
    pub(crate) fn new(part: Part, shape: Option<Shape>) -> Self {
        Self { part, shape, values: Values::default(), nulls: NullBufferBuilder::new(0) }
    }
}

impl ColumnBuilder for Texts {
    fn may_refuse(&self) -> bool {
        self.shape.is_some()
    }

    fn append(&mut self, text: &[u8], fields: Spans<'_>, refused: &mut Vec<usize>) {
        for (index, field) in fields.iter().enumerate() {
            let value = part::of(self.part, text, field);
            let bytes = &text[value.unwrap_or_default().range()];
            if self.shape.is_some_and(|shape| !shape.is_usual(bytes) && !shape.fits(bytes)) {
                refused.push(index);
            }
            self.values.push(bytes);
            self.nulls.append(value.is_some());
        }
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
        Arc::new(self.values.finish(self.nulls.finish()))
    }
}

/// Strings one after the other.
pub(super) struct Values {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for Values {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl Values {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub(super) fn get(&self, index: i32) -> &[u8] {
        let index = index as usize;
        &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// Appends a value and returns its index.
    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) -> i32 {
        let index = self.offsets.len() - 1;
        self.bytes.extend_from_slice(value);
        debug_assert!(
            i32::try_from(self.bytes.len()).is_ok(),
            "a batch of text is far below 2 GiB"
        );
        self.offsets.push(self.bytes.len() as i32);
        index as i32
    }

    pub(super) fn truncate(&mut self, count: usize) {
        self.offsets.truncate(count + 1);
        self.bytes.truncate(self.offsets[count] as usize);
    }

    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> StringArray {
        let bytes = renew(&mut self.bytes);
        let offsets = renew(&mut self.offsets);
        self.offsets.push(0);
        StringArray::try_new(OffsetBuffer::new(offsets.into()), bytes.into(), nulls)
            .expect("irregular lines were checked to be UTF-8, and borders are ASCII")
    }
}
