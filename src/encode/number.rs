//! Column chunks of numbers.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;
use std::hash::BuildHasher;

use crate::encode::Compression;
use crate::encode::chunk::{Chunk, ColumnEncoder, Pages};
use crate::encode::page::{self, Levels, PAGE_ROWS};
use crate::encode::rle;
use crate::encode::statistics::{Bounds, Physical, Plain};
use crate::schema::Stored;

/// Distinct numbers that a dictionary may hold.
const MAX_DISTINCT: usize = 1 << 15;
/// Values after which a dictionary must have proved its worth.
const TRIAL: usize = 4096;

/// Encodes a column of numbers.
pub(super) struct NumberEncoder<P: Physical> {
    chunk: Chunk,
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
    pub(super) fn new(column: ColumnDescPtr, stored: Stored, compression: Compression) -> Self {
        let mut encoder = Self {
            chunk: Chunk::new(column, compression),
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
        match array.nulls() {
            None => self.values.extend_from_slice(array.values()),
            Some(nulls) => {
                for (from, to) in nulls.valid_slices() {
                    self.values.extend_from_slice(&array.values()[from..to]);
                }
            }
        }
        self.values_seen += self.values.len() - start;
        if let Some(dictionary) = &mut self.dictionary {
            self.keys.extend(
                self.values[start..]
                    .iter()
                    .map(|&value| dictionary.key(value)),
            );
        }
    }

    fn end_page(&mut self) -> Result<()> {
        let bounds = self.values.split_first().map(|(&first, rest)| {
            rest.iter().fold((first, first), |(min, max), &value| {
                (
                    if value < min { value } else { min },
                    if value > max { value } else { max },
                )
            })
        });
        let bounds = bounds.map(|(min, max)| P::Native::bounds(min, max));
        if let Some((min, max)) = bounds {
            let (low, high) = self.chunk_bounds.unwrap_or((min, max));
            let low = if min < low { min } else { low };
            let high = if max > high { max } else { high };
            self.chunk_bounds = Some((low, high));
        }
        let index = bounds.map(|(min, max)| {
            let bytes = |value: P::Native| {
                let mut bytes = Vec::new();
                value.push(&mut bytes);
                bytes
            };
            Bounds {
                min: bytes(min),
                max: bytes(max),
            }
        });
        let compression = self.chunk.compression();
        let page = match &self.dictionary {
            Some(dictionary) => {
                self.has_keys = true;
                let width = rle::bit_width(dictionary.values.len().saturating_sub(1) as u32);
                let keys = &self.keys;
                page::data_page(
                    &mut self.levels,
                    Encoding::RLE_DICTIONARY,
                    index,
                    compression,
                    |out| {
                        out.push(width);
                        rle::encode(keys, width, out);
                    },
                )
            }
            None => {
                let values = &self.values;
                page::data_page(
                    &mut self.levels,
                    Encoding::PLAIN,
                    index,
                    compression,
                    |out| {
                        out.reserve(size_of_val(values.as_slice()));
                        for value in values {
                            value.push(out);
                        }
                    },
                )
            }
        }?;
        self.chunk.push(page);
        self.keys.clear();
        self.values.clear();
        let useless = self.dictionary.as_ref().is_some_and(|dictionary| {
            let distinct = dictionary.values.len();
            distinct > MAX_DISTINCT
                || (self.values_seen >= TRIAL && distinct * 2 > self.values_seen)
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
            let count = (PAGE_ROWS - self.levels.rows()).min(array.len() - at);
            self.append(&array.slice(at, count));
            at += count;
            if self.levels.rows() == PAGE_ROWS {
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
        let dictionary = self
            .dictionary
            .take()
            .or(self.retired.take())
            .filter(|_| self.has_keys);
        let dictionary = dictionary.map(|dictionary| {
            let mut bytes = Vec::with_capacity(size_of_val(dictionary.values.as_slice()));
            for &value in &dictionary.values {
                value.push(&mut bytes);
            }
            page::dictionary_page(&bytes, dictionary.values.len(), self.chunk.compression())
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
    last: Option<(u64, u32)>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            table: HashTable::new(),
            last: None,
        }
    }
}

impl<T: Plain> Dictionary<T> {
    #[inline]
    fn key(&mut self, value: T) -> u32 {
        let bits = value.bits();
        if let Some((last, key)) = self.last
            && last == bits
        {
            return key;
        }
        let hash = |bits: u64| FixedState::with_seed(0).hash_one(bits);
        let values = &self.values;
        let entry = self.table.entry(
            hash(bits),
            |&key| values[key as usize].bits() == bits,
            |&key| hash(values[key as usize].bits()),
        );
        let key = match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let key = values.len() as u32;
                entry.insert(key);
                self.values.push(value);
                key
            }
        };
        self.last = Some((bits, key));
        key
    }
}
