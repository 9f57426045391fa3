//! Encodes column chunks of numbers.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use crate::encode::SizeLimits;
use crate::encode::chunk::{Chunk, ColumnEncoder, Pages};
use crate::encode::delta;
use crate::encode::fallback::{Dictionary, Fallback, Indexed};
use crate::encode::format::Format;
use crate::encode::page::{self, Levels};
use crate::encode::statistics::{Bound, MinMax, Physical, Plain};
use crate::logs::schema::Stored;

/// Maximum number of distinct numbers in a dictionary.
const MAX_DISTINCT: usize = 1 << 15;

/// Encodes a column of numbers.
pub(super) struct NumberEncoder<P: Physical> {
    chunk: Chunk,
    limits: SizeLimits,
    stored: Stored,
    pages: Fallback<NumberDictionary<P::Native>>,
    levels: Levels,
    /// The non-NULL values of the current page.
    values: Vec<P::Native>,
    /// Minimum and maximum of the chunk's finished pages.
    min_max: Option<(P::Native, P::Native)>,
}

impl<P: Physical> NumberEncoder<P> {
    pub(super) fn new(
        column: ColumnDescPtr,
        stored: Stored,
        format: Format,
        limits: SizeLimits,
    ) -> Self {
        Self {
            chunk: Chunk::new(column, format),
            limits,
            stored,
            pages: Fallback::new(stored == Stored::Dictionary),
            levels: Levels::default(),
            values: Vec::new(),
            min_max: None,
        }
    }

    /// Appends rows, which must fit into the current page.
    fn append(&mut self, array: &PrimitiveArray<P>) {
        self.levels.append(array);
        let start = self.values.len();
        let values = &mut self.values;
        page::for_each_run(array.values(), array.nulls(), |run| values.extend_from_slice(run));
        if let Fallback::Indexed(indexed) = &mut self.pages {
            let new = &values[start..];
            indexed.values_seen += new.len();
            let Indexed { dictionary, indices, .. } = indexed;
            indices.extend(new.iter().map(|&value| dictionary.index(value)));
        }
    }

    fn end_page(&mut self) -> Result<()> {
        let min_max = self.values.split_first().map(|(&first, rest)| {
            rest.iter()
                .fold((first, first), |(min, max), &value| (min.least(value), max.greatest(value)))
        });
        if let Some((min, max)) = min_max {
            let (low, high) = self.min_max.unwrap_or((min, max));
            self.min_max = Some((low.least(min), high.greatest(max)));
        }
        let min_max = min_max.map(|(min, max)| {
            let bound = |value: P::Native| {
                let mut bytes = Vec::new();
                value.push(&mut bytes);
                Bound { bytes, cut: false }
            };
            MinMax { min: bound(min), max: bound(max) }
        });
        let format = self.chunk.format();
        let values = &self.values;
        let page = match &mut self.pages {
            Fallback::Indexed(indexed) => indexed.page(&mut self.levels, min_max, format),
            Fallback::Plain(_) => {
                let is_delta = format.storage(P::CONTENT).encoding == Encoding::DELTA_BINARY_PACKED;
                page::data_page(&mut self.levels, P::CONTENT, min_max, format, |out| {
                    if is_delta {
                        let integers = values.iter().map(|value| value.bits().cast_signed());
                        delta::integers(integers, 8 * size_of::<P::Native>() as u32, out);
                    } else {
                        push_all(values, out);
                    }
                })
            }
        }?;
        self.chunk.push(page);
        self.values.clear();
        if let Fallback::Indexed(indexed) = &self.pages
            && (indexed.dictionary.len() > MAX_DISTINCT
                || indexed.is_useless(P::WORTH, self.limits.trial))
        {
            self.pages.fall_back(format)?;
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
        let dictionary = self.pages.dictionary_page(self.chunk.format())?;
        self.pages = Fallback::new(self.stored == Stored::Dictionary);
        let min_max = self.min_max.take();
        self.chunk.finish(dictionary, |_, nulls| P::Native::statistics(min_max, nulls))
    }
}

/// Appends numbers in PLAIN encoding.
fn push_all<T: Plain>(values: &[T], out: &mut Vec<u8>) {
    out.reserve(size_of_val(values));
    for value in values {
        value.push(out);
    }
}

/// Distinct numbers, in order of first appearance.
struct NumberDictionary<T> {
    values: Vec<T>,
    table: HashTable<u32>,
    /// Cache of recent numbers: the last number and its index, for each value of the hash's highest bits.
    recent: Vec<(u64, u32)>,
}

/// Size of the cache of recent numbers, as a power of two.
const RECENT_BITS: u32 = 10;
/// Marks an empty cache entry.
const NONE: u32 = u32::MAX;

impl<T> Default for NumberDictionary<T> {
    fn default() -> Self {
        let recent = vec![(0, NONE); 1 << RECENT_BITS];
        Self { values: Vec::new(), table: HashTable::new(), recent }
    }
}

impl<T: Plain> Dictionary for NumberDictionary<T> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        push_all(&self.values, out);
    }
}

impl<T: Plain> NumberDictionary<T> {
    #[inline]
    fn index(&mut self, value: T) -> u32 {
        let bits = value.bits();
        let hash = hash(bits);
        let slot = (hash >> (u64::BITS - RECENT_BITS)) as usize;
        let (recent, index) = self.recent[slot];
        if recent == bits && index != NONE {
            return index;
        }
        let index = self.find_or_insert(value, hash);
        self.recent[slot] = (bits, index);
        index
    }

    #[inline(never)]
    fn find_or_insert(&mut self, value: T, hashed: u64) -> u32 {
        let bits = value.bits();
        let values = &self.values;
        let entry = self.table.entry(
            hashed,
            |&index| values[index as usize].bits() == bits,
            |&index| hash(values[index as usize].bits()),
        );
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let index = values.len() as u32;
                entry.insert(index);
                self.values.push(value);
                index
            }
        }
    }
}

/// Hashes the bits of a number. Clients can provoke collisions only with ports and sizes, and a chunk's dictionary is
/// abandoned long before collisions matter.
#[inline]
fn hash(bits: u64) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (bits ^ (bits >> 32)).wrapping_mul(MIX);
    (mixed ^ (mixed >> 29)).wrapping_mul(MIX)
}
