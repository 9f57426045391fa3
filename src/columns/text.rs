//! Text: repeating values interned into a dictionary, others one after the other.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, NullBufferBuilder, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::Int32Type;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::columns::{ColumnBuilder, part, renew};
use crate::fields::Tile;
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
    source: Source,
    keys: Vec<i32>,
    values: Values,
    /// For some bits of a value's [`Ends`], what was last found by them.
    recent: Vec<(Ends, i32)>,
    table: HashTable<i32>,
    // Log lines are written by strangers: a fixed seed would let them choose colliding values.
    hasher: RandomState,
}

enum Source {
    Field {
        index: usize,
        part: Part,
    },
    /// What follows the fields that are known.
    Rest {
        known: usize,
    },
    /// The same for every line.
    Constant {
        value: Vec<u8>,
    },
}

impl Interned {
    /// Returns the builder of a column that comes from the field with that index.
    pub fn of_field(index: usize, part: Part) -> Self {
        Self::new(Source::Field { index, part })
    }

    /// Returns the builder of the column of what follows the first `known` fields.
    pub fn of_rest(known: usize) -> Self {
        Self::new(Source::Rest { known })
    }

    /// Returns the builder of a column with a given value.
    pub fn of_constant() -> Self {
        Self::new(Source::Constant { value: Vec::new() })
    }

    /// Sets the value of all lines to come, for a builder made with [`Interned::of_constant`].
    pub fn set_constant(&mut self, constant: &str) {
        self.source = Source::Constant { value: constant.as_bytes().to_vec() };
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            keys: Vec::new(),
            values: Values::default(),
            recent: vec![(Ends::default(), NULL); RECENT],
            table: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Appends a value.
    ///
    /// Nearly every value was met before. So the slot of its ends is looked at first, with a branch
    /// that is easy to foresee; only if another value is there, all of its bytes are hashed.
    #[inline]
    fn intern(&mut self, value: Option<&[u8]>) {
        let key = match value {
            None => NULL,
            Some(value) => {
                let ends = Ends::of(value);
                let slot = ends.slot(value);
                let (recent, key) = self.recent[slot];
                let same = recent == ends && key != NULL;
                if same && (value.len() <= Ends::WHOLE || self.values.get(key) == value) {
                    key
                } else {
                    let key = self.find_or_insert(value);
                    self.recent[slot] = (ends, key);
                    key
                }
            }
        };
        self.keys.push(key);
    }

    #[inline(never)]
    fn find_or_insert(&mut self, value: &[u8]) -> i32 {
        let count = self.values.offsets.len() - 1;
        if count > TRIAL && count * 2 > self.keys.len() {
            // Hardly anything repeats: a dictionary may hold a value twice.
            return self.values.push(value);
        }
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
}

impl ColumnBuilder for Interned {
    fn may_refuse(&self) -> bool {
        false
    }

    fn append(&mut self, text: &[u8], tile: &Tile, _refused: &mut Vec<usize>) {
        self.keys.reserve(tile.lines.len());
        match &mut self.source {
            &mut Source::Field { index, part } => {
                for line in &tile.lines {
                    let field = tile.value(text, line, index);
                    self.intern(field.and_then(|field| part::of(part, field)));
                }
            }
            &mut Source::Rest { known } => {
                for line in &tile.lines {
                    self.intern(tile.rest(text, line, known));
                }
            }
            Source::Constant { value } => {
                let value = std::mem::take(value);
                if !tile.lines.is_empty() {
                    self.intern(Some(&value));
                    let key = *self.keys.last().expect("one was pushed");
                    self.keys.extend(std::iter::repeat_n(key, tile.lines.len() - 1));
                }
                self.source = Source::Constant { value };
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let mut keys = renew(&mut self.keys);
        let valid = BooleanBuffer::collect_bool(keys.len(), |row| keys[row] != NULL);
        let nulls = NullBuffer::new(valid);
        for key in &mut keys {
            *key = (*key).max(0);
        }
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let keys = Int32Array::new(keys.into(), nulls);
        self.table.clear();
        self.recent.fill((Ends::default(), NULL));
        let values = Arc::new(self.values.finish(None));
        Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
    }
}

/// Length, beginning and end of a value; all of it, if it is short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    head: u64,
    tail: u64,
    length: usize,
}

impl Ends {
    /// Values up to this length are the same when their ends are.
    const WHOLE: usize = 16;

    #[inline]
    fn of(value: &[u8]) -> Self {
        let length = value.len();
        let (head, tail) = match (value.first_chunk(), value.last_chunk()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (Self::short(value), 0),
        };
        Self { head, tail, length }
    }

    /// Returns the bytes of a value of less than eight, some of them twice rather than in a loop.
    #[inline]
    fn short(value: &[u8]) -> u64 {
        if let (Some(head), Some(tail)) = (value.first_chunk(), value.last_chunk()) {
            return u64::from(u32::from_le_bytes(*head))
                | u64::from(u32::from_le_bytes(*tail)) << 32;
        }
        let byte = |at: usize| u64::from(value.get(at).copied().unwrap_or_default());
        byte(0) | byte(1) << 8 | byte(2) << 16
    }

    /// Returns the slot to look at, to which the middle of a long value counts too.
    #[inline]
    fn slot(self, value: &[u8]) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let middle = if self.length > Self::WHOLE {
            let from = (self.length - 8) / 2;
            value[from..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
        } else {
            0
        };
        let bits = self.head ^ self.tail.rotate_left(25) ^ middle.rotate_left(47);
        ((bits ^ self.length as u64).wrapping_mul(MIX) >> (u64::BITS - RECENT.ilog2())) as usize
    }
}

/// Builder of a column whose values do not repeat.
pub struct Texts {
    field: usize,
    part: Part,
    values: Values,
    nulls: NullBufferBuilder,
}

impl Texts {
    /// Returns the builder of a column that comes from the field with that index.
    pub fn new(field: usize, part: Part) -> Self {
        Self { field, part, values: Values::default(), nulls: NullBufferBuilder::new(0) }
    }
}

impl ColumnBuilder for Texts {
    fn may_refuse(&self) -> bool {
        false
    }

    fn append(&mut self, text: &[u8], tile: &Tile, _refused: &mut Vec<usize>) {
        for line in &tile.lines {
            let field = tile.value(text, line, self.field);
            let value = field.and_then(|field| part::of(self.part, field));
            self.values.push(value.unwrap_or_default());
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
