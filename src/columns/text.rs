//! Text: repeating values interned into a dictionary, others one after the other.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, NullBufferBuilder, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::Int32Type;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::columns::{ColumnBuilder, part, renew};
use crate::fields::{self, Span};
use crate::schema::Part;

/// Slots for values that were met recently.
const RECENT: usize = 256;
/// Rows after which interning must have proved its worth.
const TRIAL: usize = 512;

/// Key of NULL while a dictionary column is built.
const NULL: i32 = -1;

/// Builder of a column whose values repeat: keys into a dictionary of distinct values, in order of
/// their first appearance.
pub struct Interned {
    /// Which part of its field the column is; `None` for all of it, as it stands.
    part: Option<Part>,
    keys: Vec<i32>,
    dictionary: Dictionary,
}

impl Interned {
    /// Returns the builder of a column that is a part of its field.
    pub fn of_part(part: Part) -> Self {
        Self { part: Some(part), keys: Vec::new(), dictionary: Dictionary::default() }
    }

    /// Returns the builder of a column that is its field as it stands, NULL where there is nothing.
    pub fn verbatim() -> Self {
        Self { part: None, keys: Vec::new(), dictionary: Dictionary::default() }
    }

    /// Appends the same value so many times.
    pub fn repeat(&mut self, value: &str, count: usize) {
        if count > 0 {
            let key = self.dictionary.find_or_insert(value.as_bytes());
            self.keys.extend(std::iter::repeat_n(key, count));
        }
    }
}

impl ColumnBuilder for Interned {
    fn may_refuse(&self) -> bool {
        false
    }

    fn append(&mut self, text: &[u8], fields: &[Span], _refused: &mut Vec<usize>) {
        let Self { part, keys, dictionary } = self;
        dictionary.judge(keys.len());
        match *part {
            Some(part) if dictionary.unique => keys.extend(fields.iter().map(|&field| {
                let value = fields::value(text, field);
                let value = value.and_then(|value| part::of(part, text, value));
                value.map_or(NULL, |value| dictionary.values.push(&text[value.range()]))
            })),
            Some(Part::Whole) => {
                // Often all lines of a tile have the same short value, such as `-`.
                let looked_at = if are_same(text, fields) { &fields[..1] } else { fields };
                keys.extend(looked_at.iter().map(|&field| dictionary.key_of_field(text, field)));
                if let Some(&key) = keys.last() {
                    keys.extend(std::iter::repeat_n(key, fields.len() - looked_at.len()));
                }
            }
            Some(part) => keys.extend(fields.iter().map(|&field| {
                let value = fields::value(text, field);
                let value = value.and_then(|value| part::of(part, text, value));
                value.map_or(NULL, |value| dictionary.key(text, value))
            })),
            None => {
                keys.extend(fields.iter().map(|&field| {
                    if field.is_empty() { NULL } else { dictionary.key(text, field) }
                }));
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let mut keys = renew(&mut self.keys);
        // Of all keys, only that of NULL has its highest bit set, and all others too.
        let none = keys.iter().fold(0, |all, key| all | key) >= 0;
        let every = keys.iter().fold(NULL, |all, key| all & key) == NULL;
        let nulls = (!none).then(|| {
            let valid = if every { NullBuffer::new_null(keys.len()) } else { valid(&keys) };
            for key in &mut keys {
                *key = (*key).max(0);
            }
            valid
        });
        let keys = Int32Array::new(keys.into(), nulls);
        let values = Arc::new(self.dictionary.finish());
        Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
    }
}

/// Tells which keys are not NULL.
fn valid(keys: &[i32]) -> NullBuffer {
    let words = keys.chunks(64).map(|keys| {
        let bit = |(at, &key): (usize, &i32)| u64::from(key != NULL) << at;
        keys.iter().enumerate().map(bit).fold(0, |all, bit| all | bit)
    });
    NullBuffer::new(BooleanBuffer::new(words.collect::<Vec<u64>>().into(), 0, keys.len()))
}

/// Tells whether all fields are equal, and short.
#[inline]
fn are_same(text: &[u8], fields: &[Span]) -> bool {
    let [first, others @ ..] = fields else { return false };
    if first.len() > Slot::WHOLE || others.iter().any(|field| field.len() != first.len()) {
        return false;
    }
    let slot = Slot::of(text, *first);
    others.iter().all(|&field| Slot::of(text, field).has_ends_of(slot))
}

/// Distinct values in order of their first appearance.
struct Dictionary {
    values: Values,
    /// For some bits of a text, what was last found by them.
    recent: Box<[Slot; RECENT]>,
    table: HashTable<i32>,
    // Log lines are written by strangers: a fixed seed would let them choose colliding values.
    hasher: RandomState,
    /// Hardly anything repeats: a value may be there twice.
    unique: bool,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self {
            values: Values::default(),
            recent: Box::new([Slot::EMPTY; RECENT]),
            table: HashTable::new(),
            hasher: RandomState::default(),
            unique: false,
        }
    }
}

impl Dictionary {
    /// Decides, after so many rows, whether to go on looking for values that repeat.
    fn judge(&mut self, rows: usize) {
        let count = self.values.offsets.len() - 1;
        self.unique |= count > TRIAL && count * 2 > rows;
    }

    /// Returns the key of a field as it stands in the line, perhaps quoted.
    #[inline]
    fn key_of_field(&mut self, text: &[u8], field: Span) -> i32 {
        let slot = Slot::of(text, field);
        let index = slot.index(text, field);
        let recent = self.recent[index];
        // A field that is equal to that of the slot is equally quoted, or equally NULL.
        let long = || self.is(recent.key, &text[fields::unquoted(text, field).range()]);
        if recent.has_ends_of(slot) && (field.len() <= Slot::WHOLE || long()) {
            return recent.key;
        }
        let key = fields::value(text, field).map_or(NULL, |value| self.insert(text, value));
        self.recent[index] = Slot { key, ..slot };
        key
    }

    /// Returns the key of a value.
    ///
    /// Nearly every value was met before. So the slot of its ends is looked at first, with a branch
    /// that is easy to foresee; only if another value is there, all of its bytes are hashed.
    #[inline]
    fn key(&mut self, text: &[u8], value: Span) -> i32 {
        let slot = Slot::of(text, value);
        let index = slot.index(text, value);
        let recent = self.recent[index];
        let long = || self.is(recent.key, &text[value.range()]);
        if recent.has_ends_of(slot) && (value.len() <= Slot::WHOLE || long()) {
            return recent.key;
        }
        let key = self.insert(text, value);
        self.recent[index] = Slot { key, ..slot };
        key
    }

    /// Returns the key of a value that no slot knows.
    fn insert(&mut self, text: &[u8], value: Span) -> i32 {
        let value = &text[value.range()];
        if self.unique { self.values.push(value) } else { self.find_or_insert(value) }
    }

    #[inline]
    fn is(&self, key: i32, value: &[u8]) -> bool {
        key >= 0 && self.values.get(key) == value
    }

    #[inline(never)]
    fn find_or_insert(&mut self, value: &[u8]) -> i32 {
        let hash = |value: &[u8]| {
            let mut hasher = self.hasher.build_hasher();
            hasher.write(value);
            hasher.finish()
        };
        let values = &self.values;
        let found = self.table.find(hash(value), |&key| values.get(key) == value);
        if let Some(&key) = found {
            return key;
        }
        let key = self.values.push(value);
        let values = &self.values;
        self.table.insert_unique(hash(value), key, |&key| hash(values.get(key)));
        key
    }

    /// Returns the values and begins anew.
    fn finish(&mut self) -> StringArray {
        self.table.clear();
        self.recent.fill(Slot::EMPTY);
        self.unique = false;
        self.values.finish(None)
    }
}

/// What was met recently: a text, by its length and beginning, and its key.
#[derive(Clone, Copy)]
struct Slot {
    /// The first sixteen bytes; all of the text, if it is short.
    head: [u64; 2],
    length: u32,
    key: i32,
}

impl Slot {
    /// Texts up to this length are the same when their heads and lengths are.
    const WHOLE: usize = 16;
    /// Of no text.
    const EMPTY: Self = Self { head: [0; 2], length: u32::MAX, key: NULL };
    /// What to keep of sixteen bytes, by the number of them that count.
    const MASKS: [u128; Self::WHOLE + 1] = {
        let mut masks = [u128::MAX; Self::WHOLE + 1];
        let mut length = 0;
        while length < Self::WHOLE {
            masks[length] = (1 << (8 * length)) - 1;
            length += 1;
        }
        masks
    };

    /// Always reads sixteen bytes, even of a shorter text: no branch depends on the length.
    #[inline]
    fn of(text: &[u8], span: Span) -> Self {
        let start = span.start as usize;
        let bytes = match text.get(start..start + Self::WHOLE) {
            Some(chunk) => *chunk.first_chunk().expect("is as long as that"),
            None => Self::of_last(&text[start..]),
        };
        let masked = u128::from_le_bytes(bytes) & Self::MASKS[span.len().min(Self::WHOLE)];
        let head = [masked as u64, (masked >> 64) as u64];
        Self { head, length: span.len() as u32, key: NULL }
    }

    /// Returns the last bytes of the whole text, and zeros.
    #[cold]
    fn of_last(rest: &[u8]) -> [u8; Self::WHOLE] {
        let mut bytes = [0; Self::WHOLE];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes
    }

    #[inline]
    fn has_ends_of(&self, other: Self) -> bool {
        // All at once: one branch rather than three.
        (self.head[0] ^ other.head[0])
            | (self.head[1] ^ other.head[1])
            | u64::from(self.length ^ other.length)
            == 0
    }

    /// Returns where it belongs, to which the middle and the end of a long text count too.
    #[inline]
    fn index(&self, text: &[u8], span: Span) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let word = |at: usize| {
            let bytes = text[at..].first_chunk().expect("lies within a long text");
            u64::from_le_bytes(*bytes)
        };
        let mut bits = self.head[0] ^ self.head[1].rotate_left(25) ^ u64::from(self.length) << 56;
        if span.len() > Self::WHOLE {
            let (start, end) = (span.start as usize, span.end as usize);
            let middle = word(usize::midpoint(start, end) - 4);
            bits ^= middle.rotate_left(47) ^ word(end - 9).rotate_left(13);
        }
        (bits.wrapping_mul(MIX) >> (u64::BITS - RECENT.ilog2())) as usize
    }
}

/// Builder of a column whose values do not repeat.
pub struct Texts {
    part: Part,
    values: Values,
    nulls: NullBufferBuilder,
}

impl Texts {
    /// Returns the builder of a column that is a part of its field.
    pub fn new(part: Part) -> Self {
        Self { part, values: Values::default(), nulls: NullBufferBuilder::new(0) }
    }
}

impl ColumnBuilder for Texts {
    fn may_refuse(&self) -> bool {
        false
    }

    fn append(&mut self, text: &[u8], fields: &[Span], _refused: &mut Vec<usize>) {
        for &field in fields {
            let value = fields::value(text, field);
            let value = value.and_then(|value| part::of(self.part, text, value));
            self.values.push(&text[value.unwrap_or_default().range()]);
            self.nulls.append(value.is_some());
        }
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
struct Values {
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
    fn get(&self, index: i32) -> &[u8] {
        let index = index as usize;
        &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// Appends a value and returns its index.
    #[inline]
    fn push(&mut self, value: &[u8]) -> i32 {
        let index = self.offsets.len() - 1;
        self.bytes.extend_from_slice(value);
        debug_assert!(
            i32::try_from(self.bytes.len()).is_ok(),
            "a batch of text is far below 2 GiB"
        );
        self.offsets.push(self.bytes.len() as i32);
        index as i32
    }

    fn truncate(&mut self, count: usize) {
        self.offsets.truncate(count + 1);
        self.bytes.truncate(self.offsets[count] as usize);
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> StringArray {
        let bytes = renew(&mut self.bytes);
        let offsets = renew(&mut self.offsets);
        self.offsets.push(0);
        StringArray::try_new(OffsetBuffer::new(offsets.into()), bytes.into(), nulls)
            .expect("irregular lines were checked to be UTF-8, and borders are ASCII")
    }
}
