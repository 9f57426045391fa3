//! The distinct values of a text column, found again by what stands in the lines.

use std::mem;
use std::ops::Range;

use crate::decode::columns::part;
use crate::decode::tokenizer::{Span, Spans};
use crate::logs::schema::Shape;
use crate::util::arena::Interner;

/// Index of NULL while a column is built.
pub(super) const NULL: i32 = -1;
/// Index of a value that does not match the shape of the column. It has no slot.
pub(super) const REFUSED: i32 = -2;

/// Slots to begin with; a power of two, as always.
const SLOTS: usize = 64;
/// Slots that a field may have. Strangers might choose fields that crowd in a few places: those that find no
/// slot are treated like long ones.
const PLACES: usize = 8;
/// Places for long values that were met recently.
const RECENT: usize = 1024;
/// Rows after which interning must have proved its worth.
const TRIAL: usize = 512;

/// Distinct values in order of their first appearance.
///
/// A value that is logged with quotes in one line and without in another may be there twice.
pub(super) struct FieldDictionary {
    /// Those of short fields are found by `slots`, others by their bytes.
    values: Interner,
    /// Every short field that was met, by a hash of all its bytes; at most half of them are taken.
    slots: Vec<Slot>,
    taken: usize,
    /// What a hash is shifted by to be the index of a slot.
    shift: u32,
    /// Index of NULL as slots hold it; what is below was met in an earlier batch, and is forgotten.
    base: u32,
    /// For some bits of a long value, the index of the last that had them, as slots hold it.
    recent: Box<[u32; RECENT]>,
    /// Hardly anything repeats, so it is not looked for: a value may be there twice.
    unique: bool,
    /// The shape of the values, if the column has one.
    shape: Option<Shape>,
    /// Whether a value was rejected since the last query.
    refused: bool,
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
            refused: false,
        }
    }
}

impl FieldDictionary {
    /// Returns a dictionary for a column, with the shape of its values if it has one.
    pub(super) fn of_shape(shape: Option<Shape>) -> Self {
        Self { shape, ..Self::default() }
    }

    /// Number of distinct values.
    pub(super) fn len(&self) -> usize {
        self.values.strings().len()
    }

    /// Returns whether a value was rejected since the last call.
    pub(super) fn take_refused(&mut self) -> bool {
        mem::take(&mut self.refused)
    }

    /// Truncates to the first distinct values.
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

    /// Appends a distinct value and returns its index, unless it does not match the shape.
    #[inline]
    fn push(&mut self, value: &[u8]) -> i32 {
        if self.shape.is_none_or(|shape| shape.fits(value)) {
            self.values.push(value) as i32
        } else {
            self.refused = true;
            REFUSED
        }
    }

    /// Decides, after so many rows, whether to go on looking for values that repeat.
    pub(super) fn judge(&mut self, rows: usize) {
        let count = self.len();
        self.unique |= count > TRIAL && count * 2 > rows;
    }

    /// Appends the indices of the values that `read` finds in fields.
    pub(super) fn add_indices(
        &mut self,
        text: &[u8],
        fields: Spans<'_>,
        read: impl Fn(&[u8], Span) -> Option<Span>,
        indices: &mut Vec<i32>,
    ) {
        if self.unique {
            indices.extend(fields.iter().map(|field| {
                read(text, field).map_or(NULL, |value| self.push(&text[value.range()]))
            }));
            return;
        }
        match same(text, fields) {
            // Often all lines of a tile have the same, such as `-`, or the name of the load balancer.
            Some(field) => {
                let index = self.index(text, field, read);
                indices.extend(std::iter::repeat_n(index, fields.len()));
            }
            None => indices.extend(fields.iter().map(|field| self.index(text, field, &read))),
        }
    }

    /// Appends the indices of the parts that `find` finds in fields.
    pub(super) fn add_parts(
        &mut self,
        text: &[u8],
        fields: Spans<'_>,
        find: impl Fn(&[u8]) -> Option<Range<usize>>,
        indices: &mut Vec<i32>,
    ) {
        indices.extend(fields.iter().map(|field| match part::within(text, field, &find) {
            None => NULL,
            Some(part) if self.unique => self.push(&text[part.range()]),
            Some(part) => self.index(text, part, |_, part| Some(part)),
        }));
    }

    /// Returns the index of the value that `read` finds in a field: equal fields have equal values.
    ///
    /// Nearly every field is short and was met before. So this is a hash, a look at one slot, and branches
    /// that are easy to foresee.
    #[allow(clippy::inline_always)] // the loop over a tile is to keep the table at hand
    #[inline(always)]
    fn index(
        &mut self,
        text: &[u8],
        field: Span,
        read: impl Fn(&[u8], Span) -> Option<Span>,
    ) -> i32 {
        if field.len() > Slot::WHOLE {
            return read(text, field)
                .map_or(NULL, |value| self.index_of_long(&text[value.range()]));
        }
        let wanted = Slot::of(text, field);
        let at = self.place(wanted);
        let slot = &self.slots[at];
        if slot.is_like(wanted) && slot.stamp >= self.base {
            return self.unstamped(slot.stamp);
        }
        self.index_of_unmet(text, field, read)
    }

    /// Returns the index of a short field that is not in its first place, if in any.
    #[inline(never)]
    fn index_of_unmet(
        &mut self,
        text: &[u8],
        field: Span,
        read: impl Fn(&[u8], Span) -> Option<Span>,
    ) -> i32 {
        let wanted = Slot::of(text, field);
        let free = match self.find(wanted) {
            Search::Found(at) => return self.unstamped(self.slots[at].stamp),
            Search::Free(at) => Some(at),
            Search::Crowd => None,
        };
        let Some(value) = read(text, field) else { return self.occupy(free, wanted, NULL) };
        let value = &text[value.range()];
        if free.is_none() {
            return self.index_of_long(value);
        }
        match self.push(value) {
            REFUSED => REFUSED,
            index => self.occupy(free, wanted, index),
        }
    }

    /// Looks for a field in the few places it may have.
    fn find(&self, wanted: Slot) -> Search {
        let first = self.place(wanted);
        for at in first..first + PLACES {
            let at = at % self.slots.len();
            let slot = &self.slots[at];
            if slot.stamp < self.base {
                return Search::Free(at);
            }
            if slot.is_like(wanted) {
                return Search::Found(at);
            }
        }
        Search::Crowd
    }

    /// Lets a field have a slot that is free, and returns its index.
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

    /// Doubles the slots.
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

    /// Returns where a field is looked for first.
    #[inline]
    fn place(&self, slot: Slot) -> usize {
        (slot.hash() >> self.shift) as usize
    }

    /// Returns an index as slots hold it.
    #[inline]
    fn stamped(&self, index: i32) -> u32 {
        self.base + (index - NULL) as u32
    }

    #[inline]
    fn unstamped(&self, stamp: u32) -> i32 {
        (stamp - self.base) as i32 + NULL
    }

    /// Returns the index of a value of any length, best a long one.
    ///
    /// All its bytes are hashed only if it is not that which was last met with the same bytes in some
    /// places.
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
            self.refused = true;
            return REFUSED;
        };
        self.recent[at] = self.stamped(index as i32);
        index as i32
    }

    /// Returns the bytes and the offsets of the values, and starts again without values.
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

/// What became of the search for a field.
enum Search {
    Found(usize),
    Free(usize),
    /// Others have all the places it may have.
    Crowd,
}

/// A short field that was met, and its index.
#[derive(Clone, Copy)]
struct Slot {
    /// The first bytes, and zeros.
    head: u128,
    /// The last bytes.
    tail: u64,
    length: u32,
    /// The index, from the base of its batch on.
    stamp: u32,
}

impl Slot {
    /// Fields up to this length are the same when their ends and lengths are.
    const WHOLE: usize = HEAD + TAIL;
    const EMPTY: Self = Self { head: 0, tail: 0, length: 0, stamp: 0 };

    /// Makes the slot of a field, without a index.
    #[allow(clippy::inline_always)] // as `FieldDictionary::index`
    #[inline(always)]
    fn of(text: &[u8], field: Span) -> Self {
        // Without a branch, because in some columns short fields and shorter ones take turns.
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
    fn is_like(&self, other: Self) -> bool {
        // All at once: one branch rather than three.
        let head = self.head ^ other.head;
        let rest = (self.tail ^ other.tail) | u64::from(self.length ^ other.length);
        head as u64 | (head >> 64) as u64 | rest == 0
    }
}

/// Returns a place for a long value, by bytes at its ends and inside it: user agents differ there.
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

/// Bytes of the beginning and the end of a field that are looked at.
const HEAD: usize = size_of::<u128>();
const TAIL: usize = size_of::<u64>();
/// What to keep of them, by the number of bytes that count.
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

/// Always reads as many bytes, even of a shorter field: no branch depends on its length.
#[inline]
fn bytes_at<const N: usize>(text: &[u8], start: usize) -> [u8; N] {
    match text.get(start..start + N) {
        Some(bytes) => *bytes.first_chunk().expect("is as long as that"),
        None => last_bytes(&text[start..]),
    }
}

/// Returns the last bytes of the whole text, and zeros.
#[cold]
fn last_bytes<const N: usize>(rest: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..rest.len()].copy_from_slice(rest);
    bytes
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tokenizer;

    /// Returns the values that a dictionary gives back for the fields of a batch.
    fn interned(dictionary: &mut FieldDictionary, fields: &[String]) -> Vec<Option<String>> {
        let mut indices = Vec::new();
        for field in fields {
            let boundaries = [0, field.len() as u32 + 1];
            let fields = Spans::of_one(&boundaries);
            dictionary.add_indices(field.as_bytes(), fields, tokenizer::value, &mut indices);
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
    fn batches_do_not_see_each_other() {
        let mut dictionary = FieldDictionary::default();
        for batch in 0..4 {
            // Some of them are long, some come again in the next batch with another index.
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
    fn indices_that_run_out_begin_anew() {
        let mut dictionary =
            FieldDictionary { base: u32::MAX / 2 - 1, ..FieldDictionary::default() };
        for fields in [["a", "b", "a", "-"], ["b", "c", "-", "b"], ["a", "c", "c", "b"]] {
            let fields = fields.map(str::to_owned);
            assert_eq!(interned(&mut dictionary, &fields), expected(&fields));
        }
        assert!(dictionary.base < 10);
    }

    /// Fields that all have the same hash: bits of the eighth last byte and those that they meet in the hash
    /// change together.
    #[test]
    fn fields_that_crowd_are_told_apart() {
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
