//! Column chunks of numbers.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use crate::encode::Limits;
use crate::encode::chunk::{Chunk, ColumnEncoder, Pages};
use crate::encode::delta;
use crate::encode::format::{Content, Format};
use crate::encode::page::{self, Levels};
use crate::encode::rle;
use crate::encode::statistics::{Bound, Bounds, Physical, Plain};
use crate::logs::schema::Stored;

/// Distinct numbers that a dictionary may hold.
const MAX_DISTINCT: usize = 1 << 15;

/// Encodes a column of numbers.
pub(super) struct NumberEncoder<P: Physical> {
    chunk: Chunk,
    limits: Limits,
    stored: Stored,
    /// Distinct values of the chunk, while it has a dictionary.
    dictionary: Option<Dictionary<P::Native>>,
    /// Whether earlier pages of the chunk hold keys.
    has_keys: bool,
    retired: Option<Dictionary<P::Native>>,
    values_seen: usize,
    levels: Levels,
    keys: Vec<u32>,
    values: Vec<P::Native>,
    chunk_bounds: Option<(P::Native, P::Native)>,
}

impl<P: Physical> NumberEncoder<P> {
    pub(super) fn new(
        column: ColumnDescPtr,
        stored: Stored,
        format: Format,
        limits: Limits,
    ) -> Self {
        let mut encoder = Self {
            chunk: Chunk::new(column, format),
            limits,
            stored,
            dictionary: None,
            has_keys: false,
            retired: None,
            values_seen: 0,
            levels: Levels::default(),
            keys: Vec::new(),
            values: Vec::new(),
            chunk_bounds: None,
        };
        encoder.begin();
        encoder
    }

    fn begin(&mut self) {
        self.dictionary = (self.stored == Stored::Dictionary).then(Dictionary::default);
        self.has_keys = false;
        self.retired = None;
        self.values_seen = 0;
        self.chunk_bounds = None;
    }

    /// Appends rows that fit into the page.
    fn append(&mut self, array: &PrimitiveArray<P>) {
        self.levels.append(array);
        let start = self.values.len();
        let values = &mut self.values;
        page::for_each_run(array.values(), array.nulls(), |run| values.extend_from_slice(run));
        self.values_seen += self.values.len() - start;
        if let Some(dictionary) = &mut self.dictionary {
            self.keys.extend(self.values[start..].iter().map(|&value| dictionary.key(value)));
        }
    }

    fn end_page(&mut self) -> Result<()> {
        let bounds = self.values.split_first().map(|(&first, rest)| {
            rest.iter()
                .fold((first, first), |(min, max), &value| (min.least(value), max.greatest(value)))
        });
        if let Some((min, max)) = bounds {
            let (low, high) = self.chunk_bounds.unwrap_or((min, max));
            self.chunk_bounds = Some((low.least(min), high.greatest(max)));
        }
        let index = bounds.map(|(min, max)| {
            let bound = |value: P::Native| {
                let mut bytes = Vec::new();
                value.push(&mut bytes);
                Bound { bytes, cut: false }
            };
            Bounds { min: bound(min), max: bound(max) }
        });
        let format = self.chunk.format();
        let (keys, values) = (&self.keys, &self.values);
        let page = if let Some(dictionary) = &self.dictionary {
            self.has_keys = true;
            let width = rle::bit_width(dictionary.values.len().saturating_sub(1) as u32);
            page::data_page(&mut self.levels, Content::Indices, index, format, |out| {
                out.push(width);
                rle::encode(keys, width, out);
            })
        } else if format.storage(P::CONTENT).encoding == Encoding::DELTA_BINARY_PACKED {
            page::data_page(&mut self.levels, P::CONTENT, index, format, |out| {
                let integers = values.iter().map(|value| value.bits().cast_signed());
                delta::integers(integers, 8 * size_of::<P::Native>() as u32, out);
            })
        } else {
            page::data_page(&mut self.levels, P::CONTENT, index, format, |out| {
                out.reserve(size_of_val(values.as_slice()));
                for value in values {
                    value.push(out);
                }
            })
        }?;
        self.chunk.push(page);
        self.keys.clear();
        self.values.clear();
        let useless = self.dictionary.as_ref().is_some_and(|dictionary| {
            let distinct = dictionary.values.len();
            distinct > MAX_DISTINCT
                || (self.values_seen >= self.limits.trial && distinct * P::WORTH > self.values_seen)
        });
        if useless {
            self.retired = self.dictionary.take();
        }
        Ok(())
    }
}

impl<P: Physical> ColumnEncoder for NumberEncoder<P> {
    fn write(&mut self, array: &ArrayRef) -> Result<()> {
        let array = array.as_primitive::<P>();
        let mut at = 0;
        while at < array.len() {
            let count = (self.limits.page_rows - self.levels.rows()).min(array.len() - at);
            self.append(&array.slice(at, count));
            at += count;
            if self.levels.rows() == self.limits.page_rows {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.chunk.size()
    }

    fn finish(&mut self) -> Result<(Pages, ColumnCloseResult)> {
        if self.levels.rows() > 0 {
            self.end_page()?;
        }
        let dictionary = self.dictionary.take().or(self.retired.take()).filter(|_| self.has_keys);
        let dictionary = dictionary.map(|dictionary| {
            page::dictionary_page(dictionary.values.len(), self.chunk.format(), |out| {
                for &value in &dictionary.values {
                    value.push(out);
                }
            })
        });
        let bounds = self.chunk_bounds;
        let statistics = |_: &[page::DataPage], nulls| P::Native::statistics(bounds, nulls);
        let finished = self.chunk.finish(dictionary.transpose()?, statistics);
        self.begin();
        finished
    }
}

/// Distinct numbers in order of their first appearance.
struct Dictionary<T> {
    values: Vec<T>,
    table: HashTable<u32>,
    /// For some bits of a hash, the number that was last found by them, and its key.
    recent: Vec<(u64, u32)>,
}

/// Slots for numbers that were met recently, as a power of two.
const RECENT_BITS: u32 = 10;
/// Key in a slot that is empty.
const NONE: u32 = u32::MAX;

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        let recent = vec![(0, NONE); 1 << RECENT_BITS];
        Self { values: Vec::new(), table: HashTable::new(), recent }
    }
}

impl<T: Plain> Dictionary<T> {
    #[inline]
    fn key(&mut self, value: T) -> u32 {
        let bits = value.bits();
        let hash = hash(bits);
        let slot = (hash >> (u64::BITS - RECENT_BITS)) as usize;
        let (recent, key) = self.recent[slot];
        if recent == bits && key != NONE {
            return key;
        }
        let key = self.find_or_insert(value, hash);
        self.recent[slot] = (bits, key);
        key
    }

    #[inline(never)]
    fn find_or_insert(&mut self, value: T, hashed: u64) -> u32 {
        let bits = value.bits();
        let values = &self.values;
        let entry = self.table.entry(
            hashed,
            |&key| values[key as usize].bits() == bits,
            |&key| hash(values[key as usize].bits()),
        );
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let key = values.len() as u32;
                entry.insert(key);
                self.values.push(value);
                key
            }
        }
    }
}

/// Hashes the bits of a number. Numbers that collide on purpose would have to be a client's
/// ports or sizes, and a chunk's dictionary is given up long before that hurts.
#[inline]
fn hash(bits: u64) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (bits ^ (bits >> 32)).wrapping_mul(MIX);
    (mixed ^ (mixed >> 29)).wrapping_mul(MIX)
}
