//! The dictionary of a text column: maps the bytes of a field to the index of its value.

use std::mem;
use std::ops::Range;

use crate::decode::columns::part;
use crate::decode::tokenizer::{Span, Spans};
use crate::logs::schema::Shape;
use crate::util::arena::Interner;

/// Index of NULL while a column is being built.
pub(super) const NULL: i32 = -1;
/// Index of a value that does not match the shape of the column. No slot contains this index.
pub(super) const REJECTED: i32 = -2;

/// Initial number of slots. The number of slots is always a power of two.
const SLOTS: usize = 64;
/// Maximum number of slots to probe for a field. The limit is needed because clients could send fields whose hashes
/// collide. Fields for which no slot is free are handled like long fields.
const PROBES: usize = 8;
/// Number of entries in the cache of recent long values.
const RECENT: usize = 1024;
/// Number of distinct values above which interning stops if values rarely repeat.
const TRIAL: usize = 512;

/// Distinct values in order of their first appearance.
///
/// A value may occur twice: once as logged with quotes, and once as logged without quotes.
pub(super) struct FieldDictionary {
    /// The values. `slots` finds the values of short fields; the interner's own table finds all other values.
    values: Interner,
    /// A hash table of the short fields of the batch, hashed by all their bytes. At most half of the slots are taken.
    slots: Vec<Slot>,
    taken: usize,
    /// Number of bits by which a hash is shifted right to get the index of a slot.
    shift: u32,
    /// Stamp of NULL in this batch. Slots with a lower stamp are from earlier batches and count as free.
    base: u32,
    /// Cache of long values: for each result of [`sample`], the stamp of the last value with that result.
    recent: Box<[u32; RECENT]>,
    /// Whether values rarely repeat. If so, they are no longer looked up, and a value may occur twice.
    unique: bool,
    /// The shape of the values, if the column has one.
    shape: Option<Shape>,
    /// Whether a value was rejected since the last call to [`take_rejected`](Self::take_rejected).
    rejected: bool,
    /// Whether a field was not in its usual form since the last call to [`take_unusual`](Self::take_unusual).
    unusual: bool,
}

impl Default for FieldDictionary {
    fn default() -> Self {
        Self {
            values: Interner::default(),
            slots: vec![Slot::EMPTY; SLOTS],
            taken: 0,
            shift: u64::BITS - SLOTS.ilog2(),
            base: 1,
            recent: Box::new([0; RECENT]),
            unique: false,
            shape: None,
            rejected: false,
            unusual: false,
        }
    }
}

impl FieldDictionary {
    /// Returns an empty dictionary. If `shape` is given, the dictionary rejects values that do not match it.
    pub(super) fn of_shape(shape: Option<Shape>) -> Self {
        Self { shape, ..Self::default() }
    }

    /// Returns the number of distinct values.
    pub(super) fn len(&self) -> usize {
        self.values.strings().len()
    }

    /// Returns whether a value was rejected since the last call.
    pub(super) fn take_rejected(&mut self) -> bool {
        mem::take(&mut self.rejected)
    }

    /// Returns whether a field was not in its usual form since the last call.
    pub(super) fn take_unusual(&mut self) -> bool {
        mem::take(&mut self.unusual)
    }

    /// Truncates to the first `count` distinct values.
    pub(super) fn truncate(&mut self, count: usize) {
        if count == self.len() {
            return;
        }
        self.values.truncate(count);
        let end = self.stamped(count as i32);
        for slot in self.slots.iter_mut().filter(|slot| slot.stamp >= end) {
            *slot = Slot::EMPTY;
            self.taken -= 1;
        }
        for stamp in self.recent.iter_mut().filter(|stamp| **stamp >= end) {
            *stamp = 0;
        }
    }

    /// Appends a distinct value and returns its index. Returns [`REJECTED`] if the value does not match the shape.
    #[inline]
    fn push(&mut self, value: &[u8]) -> i32 {
        if self.shape.is_none_or(|shape| shape.fits(value)) {
            self.values.push(value) as i32
        } else {
            self.rejected = true;
            REJECTED
        }
    }

    /// Stops looking up values if they rarely repeat, given the number of rows so far.
    pub(super) fn stop_interning_if_unique(&mut self, rows: usize) {
        let count = self.len();
        self.unique |= count > TRIAL && count * 2 > rows;
    }

    /// Appends the indices of the values that `read` extracts from the fields. `read` also returns whether the field is
    /// in its usual form.
    pub(super) fn add_indices(
        &mut self,
        text: &[u8],
        fields: Spans<'_>,
        read: impl Fn(&[u8], Span) -> (Option<Span>, bool),
        indices: &mut Vec<i32>,
    ) {
        if self.unique {
            indices.extend(fields.iter().map(|field| {
                let (value, usual) = read(text, field);
                self.unusual |= !usual;
                value.map_or(NULL, |value| self.push(&text[value.range()]))
            }));
            return;
        }
        match same(text, fields) {
            // The field is often the same in all lines of a tile, such as `-` or the name of the load balancer.
            Some(field) => {
                let index = self.index(text, field, read);
                indices.extend(std::iter::repeat_n(index, fields.len()));
            }
            None => indices.extend(fields.iter().map(|field| self.index(text, field, &read))),
        }
    }

    /// Appends the indices of the parts that `find` locates in the fields. `is_usual` returns whether a field is in its
    /// usual form.
    pub(super) fn add_parts(
        &mut self,
        text: &[u8],
        fields: Spans<'_>,
        find: impl Fn(&[u8]) -> Option<Range<usize>>,
        is_usual: impl Fn(Span, Option<Span>) -> bool,
        indices: &mut Vec<i32>,
    ) {
        let mut usual = true;
        indices.extend(fields.iter().map(|field| {
            let part = part::within(text, field, &find);
            usual &= is_usual(field, part);
            match part {
                None => NULL,
                Some(part) if self.unique => self.push(&text[part.range()]),
                Some(part) => self.index(text, part, |_, part| (Some(part), true)),
            }
        }));
        self.unusual |= !usual;
    }

    /// Returns the index of the value that `read` extracts from a field. Equal fields must have equal values.
    ///
    /// Nearly every field is short and already in its first slot, so this function only computes a hash and compares
    /// one slot. Its branches are easy to predict.
    #[allow(clippy::inline_always)] // so that the loop over a tile does not reload the table
    #[inline(always)]
    fn index(
        &mut self,
        text: &[u8],
        field: Span,
        read: impl Fn(&[u8], Span) -> (Option<Span>, bool),
    ) -> i32 {
        if field.len() > Slot::MAX_LEN {
            let (value, usual) = read(text, field);
            self.unusual |= !usual;
            return value.map_or(NULL, |value| self.index_of_long(&text[value.range()]));
        }
        let wanted = Slot::of(text, field);
        let at = self.first_slot(wanted);
        let slot = &self.slots[at];
        if slot.holds_same_field(wanted) && slot.stamp >= self.base {
            return self.unstamped(slot.stamp);
        }
        self.index_of_new(text, field, read)
    }

    /// Returns the index of a short field that is not in its first slot, and may not be in any slot.
    #[inline(never)]
    fn index_of_new(
        &mut self,
        text: &[u8],
        field: Span,
        read: impl Fn(&[u8], Span) -> (Option<Span>, bool),
    ) -> i32 {
        let wanted = Slot::of(text, field);
        let free = match self.find(wanted) {
            Search::Found(at) => return self.unstamped(self.slots[at].stamp),
            Search::Free(at) => Some(at),
            Search::Full => None,
        };
        let (value, usual) = read(text, field);
        // A field that is not in its usual form never gets a slot, so each row with such a field reaches this line.
        self.unusual |= !usual;
        let free = free.filter(|_| usual);
        let Some(value) = value else { return self.occupy(free, wanted, NULL) };
        let value = &text[value.range()];
        if free.is_none() {
            return self.index_of_long(value);
        }
        match self.push(value) {
            REJECTED => REJECTED,
            index => self.occupy(free, wanted, index),
        }
    }

    /// Searches the slots that may contain a field.
    fn find(&self, wanted: Slot) -> Search {
        let first = self.first_slot(wanted);
        for at in first..first + PROBES {
            let at = at % self.slots.len();
            let slot = &self.slots[at];
            if slot.stamp < self.base {
                return Search::Free(at);
            }
            if slot.holds_same_field(wanted) {
                return Search::Found(at);
            }
        }
        Search::Full
    }

    /// Stores a field and its index in a free slot, if there is one, and returns the index.
    fn occupy(&mut self, free: Option<usize>, slot: Slot, index: i32) -> i32 {
        if let Some(at) = free {
            self.slots[at] = Slot { stamp: self.stamped(index), ..slot };
            self.taken += 1;
            if self.taken * 2 > self.slots.len() {
                self.grow();
            }
        }
        index
    }

    /// Doubles the number of slots.
    #[cold]
    fn grow(&mut self) {
        let more = vec![Slot::EMPTY; self.slots.len() * 2];
        self.shift -= 1;
        for slot in mem::replace(&mut self.slots, more) {
            if slot.stamp >= self.base
                && let Search::Free(at) = self.find(slot)
            {
                self.slots[at] = slot;
            }
        }
    }

    /// Returns the first slot to probe for a field.
    #[inline]
    fn first_slot(&self, slot: Slot) -> usize {
        (slot.hash() >> self.shift) as usize
    }

    /// Returns the stamp of an index in this batch.
    #[inline]
    fn stamped(&self, index: i32) -> u32 {
        self.base + (index - NULL) as u32
    }

    #[inline]
    fn unstamped(&self, stamp: u32) -> i32 {
        (stamp - self.base) as i32 + NULL
    }

    /// Returns the index of a value of any length. Optimized for long values.
    ///
    /// Hashes all bytes of the value only if it differs from the last value with the same [`sample`].
    #[inline(never)]
    pub(super) fn index_of_long(&mut self, value: &[u8]) -> i32 {
        let at = sample(value);
        let stamp = self.recent[at];
        if stamp > self.base {
            let index = self.unstamped(stamp);
            if self.values.strings().get(index as usize) == value {
                return index;
            }
        }
        let shape = self.shape;
        let accept = |value: &[u8]| shape.is_none_or(|shape| shape.fits(value));
        let Some(index) = self.values.intern_if(value, accept) else {
            self.rejected = true;
            return REJECTED;
        };
        self.recent[at] = self.stamped(index as i32);
        index as i32
    }

    /// Returns the value with the given index.
    pub(super) fn value(&self, index: usize) -> &[u8] {
        self.values.strings().get(index)
    }

    /// Returns the bytes and the offsets of the values, and clears the dictionary.
    pub(super) fn take(&mut self) -> (Vec<u8>, Vec<i32>) {
        self.base += self.len() as u32 + 1;
        if self.base > u32::MAX / 2 {
            self.base = 1;
            self.slots.fill(Slot::EMPTY);
            self.recent.fill(0);
        }
        self.taken = 0;
        self.unique = false;
        self.values.take()
    }
}

/// The result of searching for a field, with the index of its slot or of a free slot.
enum Search {
    Found(usize),
    Free(usize),
    /// Other fields occupy every slot that could contain the field.
    Full,
}

/// A short field and the index of its value.
#[derive(Clone, Copy)]
struct Slot {
    /// The first bytes, padded with zeros.
    head: u128,
    /// The last bytes.
    tail: u64,
    length: u32,
    /// The index plus the batch's base.
    stamp: u32,
}

impl Slot {
    /// Maximum length of a short field. `head` and `tail` together cover all of its bytes.
    const MAX_LEN: usize = HEAD + TAIL;
    const EMPTY: Self = Self { head: 0, tail: 0, length: 0, stamp: 0 };

    /// Returns a slot for a field whose index is not set yet.
    #[allow(clippy::inline_always)] // like `FieldDictionary::index`
    #[inline(always)]
    fn of(text: &[u8], field: Span) -> Self {
        // No branch on the length: it would be mispredicted in columns whose fields alternate in length.
        let mask = MASKS[field.len().min(HEAD)];
        let head = head(text, field.start) & mask;
        let tail = word(text, field.end as usize - field.len().min(TAIL)) & mask as u64;
        Self { head, tail, length: field.len() as u32, stamp: 0 }
    }

    #[inline]
    fn hash(&self) -> u64 {
        let (low, high) = (self.head as u64, (self.head >> 64) as u64);
        let bits = low ^ high.rotate_left(25) ^ self.tail.rotate_left(13);
        (bits ^ u64::from(self.length) << 56).wrapping_mul(MIX)
    }

    #[inline]
    fn holds_same_field(&self, other: Self) -> bool {
        // Combine the differences, so that there is one branch instead of three.
        let head = self.head ^ other.head;
        let rest = (self.tail ^ other.tail) | u64::from(self.length ^ other.length);
        head as u64 | (head >> 64) as u64 | rest == 0
    }
}

/// Returns a long value's index in the cache of recent values: a hash of bytes at both ends and in the middle, where
/// user agents differ.
#[inline]
fn sample(value: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let word = |at: usize| value[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let length = value.len();
    let mut bits = length as u64;
    if length >= 4 * WORD {
        bits ^= word(0) ^ word(WORD).rotate_left(25) ^ word(length / 2 - 4).rotate_left(47);
        bits ^= word(length - 4 * WORD).rotate_left(53) ^ word(length - 3 * WORD).rotate_left(31);
        bits ^= word(length - WORD).rotate_left(13);
    }
    (bits.wrapping_mul(MIX) >> (u64::BITS - RECENT.ilog2())) as usize
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number of bytes to compare at the start and at the end of a field.
const HEAD: usize = size_of::<u128>();
const TAIL: usize = size_of::<u64>();
/// Masks, by field length, that keep a field's first bytes and clear the bytes after the field.
const MASKS: [u128; HEAD + 1] = {
    let mut masks = [u128::MAX; HEAD + 1];
    let mut length = 0;
    while length < HEAD {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

#[inline]
fn head(text: &[u8], start: u32) -> u128 {
    u128::from_le_bytes(bytes_at(text, start as usize))
}

#[inline]
fn word(text: &[u8], start: usize) -> u64 {
    u64::from_le_bytes(bytes_at(text, start))
}

/// Reads `N` bytes even if the field is shorter, so that no branch depends on its length.
#[inline]
fn bytes_at<const N: usize>(text: &[u8], start: usize) -> [u8; N] {
    match text.get(start..start + N) {
        Some(bytes) => *bytes.first_chunk().expect("the slice has N bytes"),
        None => last_bytes(&text[start..]),
    }
}

/// Returns the last bytes of the entire text, padded with zeros.
#[cold]
fn last_bytes<const N: usize>(rest: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..rest.len()].copy_from_slice(rest);
    bytes
}

/// Returns the first field if all fields are equal and at most twice [`HEAD`] bytes long.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tokenizer;

    /// Interns the fields of a batch, and returns the value of each row.
    fn interned(dictionary: &mut FieldDictionary, fields: &[String]) -> Vec<Option<String>> {
        let mut indices = Vec::new();
        for field in fields {
            let boundaries = [0, field.len() as u32 + 1];
            let fields = Spans::of_one(&boundaries);
            let read = |text: &[u8], field| (tokenizer::value(text, field), true);
            dictionary.add_indices(field.as_bytes(), fields, read, &mut indices);
        }
        let (bytes, offsets) = dictionary.take();
        let string = |index: usize| &bytes[offsets[index] as usize..offsets[index + 1] as usize];
        let value = |index| {
            (index != NULL).then(|| str::from_utf8(string(index as usize)).unwrap().to_owned())
        };
        indices.into_iter().map(value).collect()
    }

    fn expected(fields: &[String]) -> Vec<Option<String>> {
        fields.iter().map(|field| (field != "-").then(|| field.clone())).collect()
    }

    #[test]
    fn batches_are_independent() {
        let mut dictionary = FieldDictionary::default();
        for batch in 0..4 {
            // Some fields are long, and some occur again in the next batch with a different index.
            let field = |row: usize| match row % 7 {
                0 => "-".to_owned(),
                1 => format!("{:060}", row * batch / 90),
                _ => format!("{}", row * batch / 50),
            };
            let fields: Vec<_> = (0..2000).map(field).collect();
            assert_eq!(interned(&mut dictionary, &fields), expected(&fields));
        }
    }

    #[test]
    fn stamps_restart_before_they_overflow() {
        let mut dictionary =
            FieldDictionary { base: u32::MAX / 2 - 1, ..FieldDictionary::default() };
        for fields in [["a", "b", "a", "-"], ["b", "c", "-", "b"], ["a", "c", "c", "b"]] {
            let fields = fields.map(str::to_owned);
            assert_eq!(interned(&mut dictionary, &fields), expected(&fields));
        }
        assert!(dictionary.base < 10);
    }

    /// All fields have the same hash: in the hash, each difference in the last eight bytes cancels out a difference in
    /// other bytes.
    #[test]
    fn colliding_fields_are_distinguished() {
        let mut fields = Vec::new();
        for number in 0..256_usize {
            let (mut head, mut tail) = (*b"dddddddddddddddd", *b"aaaaaaaa");
            for place in 0..4 {
                let two = (number >> (2 * place)) as u8 & 3;
                tail[place] ^= two << 3;
                head[place + 2] ^= two;
            }
            fields.push(format!(
                "{}{}",
                str::from_utf8(&head).unwrap(),
                str::from_utf8(&tail).unwrap()
            ));
        }
        let slot =
            |field: &String| Slot::of(field.as_bytes(), Span { start: 0, end: field.len() as u32 });
        assert!(fields.iter().all(|field| slot(field).hash() == slot(&fields[0]).hash()));
        fields.extend(fields.clone());
        assert_eq!(interned(&mut FieldDictionary::default(), &fields), expected(&fields));
    }
}
