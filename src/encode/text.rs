//! Column chunks of text.

use std::hash::{BuildHasher, Hasher};
use std::{iter, mem};

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use crate::encode::chunk::{Chunk, ColumnEncoder, Pages};
use crate::encode::format::{Content, Format};
use crate::encode::page::{self, DataPage, Levels};
use crate::encode::rle;
use crate::encode::statistics::{self, Bounds};
use crate::encode::texts::{self, Texts};
use crate::encode::{LENGTH, Limits};

/// Bytes of distinct values that a dictionary may hold.
const MAX_DICTIONARY: usize = 1 << 20;
/// Maximum text that is appended to a page at once, as a multiple of a full page.
const MAX_PAGES: usize = 4;

/// Encodes a column of text, given as strings or as keys into a dictionary of each batch.
pub(super) struct TextEncoder {
    chunk: Chunk,
    limits: Limits,
    levels: Levels,
    mode: Mode,
    /// The dictionary of the pages written before the chunk went over to plain values.
    retired: Option<Values>,
    has_keys: bool,
    values_seen: usize,
    hasher: RandomState,
}

/// How the current page is encoded.
enum Mode {
    Keys { dictionary: Dictionary, keys: Vec<u32> },
    Plain { texts: Texts, extremes: Option<(Vec<u8>, Vec<u8>)> },
}

impl Mode {
    fn keys() -> Self {
        Self::Keys { dictionary: Dictionary::default(), keys: Vec::new() }
    }
}

impl TextEncoder {
    pub(super) fn new(column: ColumnDescPtr, format: Format, limits: Limits) -> Self {
        Self {
            chunk: Chunk::new(column, format),
            limits,
            levels: Levels::default(),
            mode: Mode::keys(),
            retired: None,
            has_keys: false,
            values_seen: 0,
            hasher: RandomState::default(),
        }
    }

    fn write_strings(&mut self, array: &StringArray) -> Result<()> {
        if let Mode::Keys { .. } = self.mode {
            self.use_plain_values()?;
        }
        let mut at = 0;
        while at < array.len() {
            let rows = array.slice(at, array.len() - at);
            let lengths = (0..rows.len()).map(|row| rows.value_length(row) as usize);
            let count = self.rows_of_page(lengths);
            let rows = rows.slice(0, count);
            self.levels.append(&rows);
            let Mode::Plain { texts, extremes } = &mut self.mode else {
                unreachable!("was just set")
            };
            texts.extend(rows.iter().flatten().map(str::as_bytes));
            let known = extremes.iter().flat_map(|(min, max)| [min.as_slice(), max]);
            let new = rows.iter().flatten().map(str::as_bytes);
            let all = statistics::extremes(known.chain(new));
            *extremes = all.map(|(min, max)| (min.to_owned(), max.to_owned()));
            at += count;
            self.end_full_page()?;
        }
        Ok(())
    }

    fn write_dictionary(&mut self, array: &DictionaryArray<Int32Type>) -> Result<()> {
        let strings = array.values().as_string::<i32>();
        let mut map = Vec::new();
        if let Mode::Keys { dictionary, .. } = &mut self.mode {
            let known = dictionary.values.len();
            map.extend(strings.iter().flatten().map(|value| dictionary.key(value, &self.hasher)));
            self.values_seen += array.len() - array.null_count();
            let distinct = dictionary.values.len();
            let useless = self.values_seen >= self.limits.trial && distinct * 2 > self.values_seen;
            if useless || dictionary.values.bytes.len() > MAX_DICTIONARY {
                dictionary.values.truncate(known);
                self.use_plain_values()?;
            }
        }
        let mut at = 0;
        while at < array.len() {
            let rows = array.keys().slice(at, array.len() - at);
            let count = match self.mode {
                Mode::Keys { .. } => self.rows_of_page(iter::repeat_n(0, rows.len())),
                Mode::Plain { .. } => {
                    let length =
                        |key: Option<i32>| key.map_or(0, |key| strings.value_length(key as usize));
                    self.rows_of_page(rows.iter().map(|key| length(key) as usize))
                }
            };
            let rows = rows.slice(0, count);
            self.levels.append(&rows);
            match &mut self.mode {
                Mode::Keys { keys, .. } => {
                    page::for_each_run(rows.values(), rows.nulls(), |run| {
                        keys.extend(run.iter().map(|&key| map[key as usize]));
                    });
                }
                Mode::Plain { texts, .. } => {
                    page::for_each_run(rows.values(), rows.nulls(), |run| {
                        texts.extend(run.iter().map(|&key| strings.value(key as usize).as_bytes()));
                    });
                }
            }
            at += count;
            self.end_full_page()?;
        }
        Ok(())
    }

    /// Returns how many of the next rows to append before checking whether the page is full, given the lengths of their
    /// texts: at most the rows of one page, and at most the text of a few pages.
    fn rows_of_page(&self, lengths: impl Iterator<Item = usize>) -> usize {
        let (mut rows, mut bytes) = (0, 0);
        for length in lengths.take(self.limits.page_rows - self.levels.rows()) {
            rows += 1;
            bytes += length;
            if bytes >= MAX_PAGES * self.limits.page_bytes {
                break;
            }
        }
        rows
    }

    /// Ends the current page and goes on without a dictionary.
    fn use_plain_values(&mut self) -> Result<()> {
        if self.levels.rows() > 0 {
            self.end_page()?;
        }
        let texts = Texts::new(self.chunk.format());
        let plain = Mode::Plain { texts, extremes: None };
        let mode = mem::replace(&mut self.mode, plain);
        if let Mode::Keys { dictionary, .. } = mode
            && self.has_keys
        {
            self.retired = Some(dictionary.values);
        }
        Ok(())
    }

    fn end_full_page(&mut self) -> Result<()> {
        let full = match &self.mode {
            Mode::Keys { .. } => false,
            Mode::Plain { texts, .. } => texts.size() >= self.limits.page_bytes,
        };
        if full || self.levels.rows() == self.limits.page_rows { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> Result<()> {
        let format = self.chunk.format();
        let page = match &mut self.mode {
            Mode::Keys { dictionary, keys } => {
                self.has_keys = true;
                let bounds = dictionary.bounds(keys);
                let width = rle::bit_width(dictionary.values.len().saturating_sub(1) as u32);
                let levels = &mut self.levels;
                let page = page::data_page(levels, Content::Indices, bounds, format, |out| {
                    out.push(width);
                    rle::encode(keys, width, out);
                })?;
                keys.clear();
                page
            }
            Mode::Plain { texts, extremes } => {
                // Bounds prune nothing where a dictionary was tried first: such values are in no order.
                let bounds = extremes.take().map(|(min, max)| bounds_of(&min, &max));
                page::data_page(&mut self.levels, Content::Text, bounds, format, |out| {
                    texts.encode(out);
                })?
            }
        };
        self.chunk.push(page);
        Ok(())
    }
}

impl ColumnEncoder for TextEncoder {
    fn write(&mut self, array: &ArrayRef) -> Result<()> {
        match array.as_dictionary_opt::<Int32Type>() {
            Some(array) => self.write_dictionary(array),
            None => self.write_strings(array.as_string()),
        }
    }

    fn size(&self) -> usize {
        self.chunk.size()
    }

    fn finish(&mut self) -> Result<(Pages, ColumnCloseResult)> {
        if self.levels.rows() > 0 {
            self.end_page()?;
        }
        let current = match mem::replace(&mut self.mode, Mode::keys()) {
            Mode::Keys { dictionary, .. } => Some(dictionary.values),
            Mode::Plain { .. } => None,
        };
        let dictionary = current.or(self.retired.take()).filter(|_| self.has_keys);
        self.has_keys = false;
        self.retired = None;
        self.values_seen = 0;
        let dictionary = dictionary.map(|values| {
            page::dictionary_page(values.len(), self.chunk.format(), |out| {
                out.extend_from_slice(&values.bytes);
            })
        });
        self.chunk.finish(dictionary.transpose()?, |pages, nulls| {
            statistics::text_statistics(chunk_bounds(pages), nulls)
        })
    }
}

/// Returns the bounds of all pages, if every page that has values has them.
fn chunk_bounds(pages: &[DataPage]) -> Option<Bounds> {
    let mut pages = pages.iter().filter(|page| page.nulls < page.rows);
    let first = pages.next()?.bounds.clone()?;
    pages.try_fold(first, |all, page| Some(all.and(page.bounds.as_ref()?)))
}

/// Distinct values in order of their first appearance.
#[derive(Default)]
struct Dictionary {
    values: Values,
    table: HashTable<u32>,
    used: Vec<bool>,
}

impl Dictionary {
    fn key(&mut self, value: &str, hasher: &RandomState) -> u32 {
        let hash = |value: &[u8]| {
            let mut hasher = hasher.build_hasher();
            hasher.write(value);
            hasher.finish()
        };
        let values = &self.values;
        let entry = self.table.entry(
            hash(value.as_bytes()),
            |&key| values.get(key as usize) == value.as_bytes(),
            |&key| hash(values.get(key as usize)),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let key = values.len() as u32;
                entry.insert(key);
                self.values.push(value);
                key
            }
        }
    }

    /// Returns the bounds of the values that a page uses.
    fn bounds(&mut self, keys: &[u32]) -> Option<Bounds> {
        self.used.clear();
        self.used.resize(self.values.len(), false);
        for &key in keys {
            self.used[key as usize] = true;
        }
        let used = self.used.iter().enumerate().filter(|(_, used)| **used);
        self.values.bounds(used.map(|(key, _)| key))
    }
}

/// Values in PLAIN encoding, and the offset of the end of each.
#[derive(Default)]
struct Values {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Values {
    #[inline]
    fn push(&mut self, value: &str) {
        texts::push(value.as_bytes(), &mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    #[inline]
    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start + LENGTH..self.ends[index] as usize]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    fn bounds(&self, indices: impl Iterator<Item = usize>) -> Option<Bounds> {
        let extremes = statistics::extremes(indices.map(|index| self.get(index)));
        extremes.map(|(min, max)| bounds_of(min, max))
    }
}

fn bounds_of(min: &[u8], max: &[u8]) -> Bounds {
    let [min, max] = [min, max].map(|text| str::from_utf8(text).expect("was written as text"));
    Bounds::of_text(min, max)
}
