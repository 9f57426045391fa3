//! Text: repeating values interned into a dictionary, others one after the other.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, NullBufferBuilder, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::Int32Type;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use wide::i32x8;

use crate::columns::{ColumnBuilder, part, renew};
use crate::fields::{self, Span, Spans};
use crate::schema::Part;

/// Slots for values that were met recently.
const RECENT: usize = 256;
/// Rows after which interning must have proved its worth.
const TRIAL: usize = 512;

/// Rows whose validity is one word.
const WORD: usize = u64::BITS as usize;

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

    fn append(&mut self, text: &[u8], fields: Spans<'_>, _refused: &mut Vec<usize>) {
        let Self { part, keys, dictionary } = self;
        dictionary.judge(keys.len());
        match *part {
            Some(part) if dictionary.unique => keys.extend(fields.iter().map(|field| {
                let value = part_of(part, text, field);
                value.map_or(NULL, |value| dictionary.values.push(&text[value.range()]))
            })),
            Some(Part::Whole) => dictionary.add_keys(text, fields, fields::value, keys),
            None => dictionary.add_keys(text, fields, unless_empty, keys),
            Some(part) => keys.extend(fields.iter().map(|field| {
                let value = part_of(part, text, field);
                value.map_or(NULL, |value| dictionary.key(text, value, |_, value| Some(value)))
            })),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
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

/// Returns where the part of a field stands; `None` is NULL.
#[inline]
fn part_of(part: Part, text: &[u8], field: Span) -> Option<Span> {
    fields::value(text, field).and_then(|value| part::of(part, text, value))
}

#[inline]
fn unless_empty(_: &[u8], field: Span) -> Option<Span> {
    (!field.is_empty()).then_some(field)
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

    /// Appends the keys of the values that `read` finds in fields.
    fn add_keys(
        &mut self,
        text: &[u8],
        fields: Spans<'_>,
        read: impl Fn(&[u8], Span) -> Option<Span>,
        keys: &mut Vec<i32>,
    ) {
        match same(text, fields) {
            // Often all lines of a tile have the same, such as `-`, or the name of the load balancer.
            Some(field) => {
                let key = self.key(text, field, read);
                keys.extend(std::iter::repeat_n(key, fields.len()));
            }
            None => keys.extend(fields.iter().map(|field| self.key(text, field, &read))),
        }
    }

    /// Returns the key of the value that `read` finds in a field: equal fields have equal values.
    ///
    /// Nearly every field was met before. So the slot of its ends is looked at first, with a branch
    /// that is easy to foresee; only if another is there, all bytes of the value are hashed.
    #[allow(clippy::inline_always)] // the loop over a tile is to keep the table at hand
    #[inline(always)]
    fn key(&mut self, text: &[u8], field: Span, read: impl Fn(&[u8], Span) -> Option<Span>) -> i32 {
        let slot = Slot::of(text, field);
        let index = slot.index(text, field);
        let recent = &self.recent[index];
        if recent.has_ends_of(slot) && field.len() <= Slot::WHOLE {
            return recent.key;
        }
        self.key_of_unsure(text, field, slot, index, read)
    }

    /// Returns the key of a field that is long, or that its slot does not know.
    #[inline(never)]
    fn key_of_unsure(
        &mut self,
        text: &[u8],
        field: Span,
        slot: Slot,
        index: usize,
        read: impl Fn(&[u8], Span) -> Option<Span>,
    ) -> i32 {
        let recent = self.recent[index];
        let value = read(text, field);
        if recent.has_ends_of(slot) && value.is_some_and(|value| self.is(recent.key, text, value)) {
            return recent.key;
        }
        let key = value.map_or(NULL, |value| self.insert(text, value));
        self.recent[index] = Slot { key, ..slot };
        key
    }

    /// Returns the key of a value that no slot knows.
    fn insert(&mut self, text: &[u8], value: Span) -> i32 {
        let value = &text[value.range()];
        if self.unique { self.values.push(value) } else { self.find_or_insert(value) }
    }

    #[inline]
    fn is(&self, key: i32, text: &[u8], value: Span) -> bool {
        key >= 0 && self.values.get(key) == &text[value.range()]
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

/// What was met recently: a text, by its length and ends, and its key.
#[derive(Clone, Copy)]
struct Slot {
    /// The first bytes; all of the text, if it is short.
    head: u128,
    /// The last bytes, unless it is short.
    tail: u64,
    length: u32,
    key: i32,
}

impl Slot {
    /// Texts up to this length are the same when their ends and lengths are.
    const WHOLE: usize = HEAD + TAIL;
    /// Of no text.
    const EMPTY: Self = Self { head: 0, tail: 0, length: u32::MAX, key: NULL };

    #[allow(clippy::inline_always)] // as `Dictionary::key`
    #[inline(always)]
    fn of(text: &[u8], span: Span) -> Self {
        let head = head(text, span.start) & MASKS[span.len().min(HEAD)];
        let tail = if span.len() > HEAD { word(text, span.end as usize - TAIL) } else { 0 };
        Self { head, tail, length: span.len() as u32, key: NULL }
    }

    #[inline]
    fn has_ends_of(&self, other: Self) -> bool {
        // All at once: one branch rather than three.
        let head = self.head ^ other.head;
        let rest = (self.tail ^ other.tail) | u64::from(self.length ^ other.length);
        head as u64 | (head >> 64) as u64 | rest == 0
    }

    /// Returns where it belongs, to which the inside of a long text counts too: user agents differ there.
    #[allow(clippy::inline_always)] // as `Dictionary::key`
    #[inline(always)]
    fn index(&self, text: &[u8], span: Span) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let (low, high) = (self.head as u64, (self.head >> 64) as u64);
        let mut bits = low ^ high.rotate_left(25) ^ self.tail.rotate_left(13);
        bits ^= u64::from(self.length) << 56;
        if span.len() > Self::WHOLE {
            let (start, end) = (span.start as usize, span.end as usize);
            bits ^= word(text, usize::midpoint(start, end) - 4).rotate_left(47);
            bits ^= word(text, end - 24).rotate_left(31);
        }
        if span.len() > 2 * HEAD {
            bits ^= word(text, span.end as usize - 32).rotate_left(53);
        }
        (bits.wrapping_mul(MIX) >> (u64::BITS - RECENT.ilog2())) as usize
    }
}

/// Bytes of the beginning and the end of a text that are looked at.
const HEAD: usize = size_of::<u128>();
const TAIL: usize = size_of::<u64>();
/// What to keep of the beginning, by the number of bytes that count.
const MASKS: [u128; HEAD + 1] = {
    let mut masks = [u128::MAX; HEAD + 1];
    let mut length = 0;
    while length < HEAD {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// Always reads as many bytes, even of a shorter text: no branch depends on its length.
#[inline]
fn head(text: &[u8], start: u32) -> u128 {
    let start = start as usize;
    let bytes = match text.get(start..start + HEAD) {
        Some(bytes) => *bytes.first_chunk().expect("is as long as that"),
        None => last_bytes(&text[start..]),
    };
    u128::from_le_bytes(bytes)
}

/// Returns the last bytes of the whole text, and zeros.
#[cold]
fn last_bytes(rest: &[u8]) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    bytes[..rest.len()].copy_from_slice(rest);
    bytes
}

#[inline]
fn word(text: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*text[at..].first_chunk().expect("lies within a long text"))
}

/// Returns the first field, if it is not long and all are the same.
#[inline]
fn same(text: &[u8], fields: Spans<'_>) -> Option<Span> {
    let mut others = fields.iter();
    let first = others.next().filter(|first| first.len() <= 2 * HEAD)?;
    let length = first.len();
    let (wanted, mask) = (head(text, first.start), MASKS[length.min(HEAD)]);
    let same = if length <= HEAD {
        others.all(|field| field.len() == length && (head(text, field.start) ^ wanted) & mask == 0)
    } else {
        let tail = |field: Span| head(text, field.end - HEAD as u32);
        let last = tail(first);
        others.all(|field| {
            field.len() == length && head(text, field.start) == wanted && tail(field) == last
        })
    };
    same.then_some(first)
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

    fn append(&mut self, text: &[u8], fields: Spans<'_>, _refused: &mut Vec<usize>) {
        for field in fields.iter() {
            let value = part_of(self.part, text, field);
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
