//! Encodes column chunks of text.

use std::iter;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use crate::encode::chunk::{Chunk, ColumnEncoder, Pages};
use crate::encode::fallback::{Dictionary, Fallback};
use crate::encode::format::{Content, Format};
use crate::encode::page::{self, DataPage, Levels};
use crate::encode::statistics::{self, MinMax};
use crate::encode::text_values::{self, TextValues};
use crate::encode::{LENGTH, SizeLimits};
use crate::util::arena::Interner;

/// Maximum size in bytes of a dictionary in PLAIN encoding.
const MAX_DICTIONARY: usize = 1 << 20;
/// Minimum average number of occurrences per distinct value that makes a dictionary worth its size.
const WORTH: usize = 2;
/// Maximum size of the text that is appended to a page in one call, as a multiple of the page size.
const MAX_PAGES: usize = 4;

/// Encodes a column of text. Each batch contains strings, or indices into the batch's own dictionary.
pub(super) struct TextEncoder {
    chunk: Chunk,
    limits: SizeLimits,
    levels: Levels,
    pages: Fallback<Interner>,
    /// Values of the current page, if it has no dictionary.
    plain: TextValues,
    /// Minimum and maximum of the values in `plain`. `None` if the values come from dictionaries.
    extremes: Option<(Vec<u8>, Vec<u8>)>,
}

impl Dictionary for Interner {
    fn len(&self) -> usize {
        self.strings().len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let strings = self.strings();
        out.reserve(plain_size(self));
        (0..strings.len()).for_each(|index| text_values::push(strings.get(index), out));
    }
}

/// Returns the size in bytes of the values in PLAIN encoding.
fn plain_size(dictionary: &Interner) -> usize {
    dictionary.strings().size() + LENGTH * dictionary.len()
}

impl TextEncoder {
    pub(super) fn new(column: ColumnDescPtr, format: Format, limits: SizeLimits) -> Self {
        Self {
            chunk: Chunk::new(column, format),
            limits,
            levels: Levels::default(),
            pages: Fallback::new(true),
            plain: TextValues::new(format),
            extremes: None,
        }
    }

    fn write_strings(&mut self, array: &StringArray) -> Result<()> {
        if let Fallback::Indexed(_) = self.pages {
            self.fall_back()?;
        }
        let mut at = 0;
        while at < array.len() {
            let rows = array.slice(at, array.len() - at);
            let lengths = (0..rows.len()).map(|row| rows.value_length(row) as usize);
            let count = self.rows_of_page(lengths);
            let rows = rows.slice(0, count);
            self.levels.append(&rows);
            self.plain.extend(rows.iter().flatten().map(str::as_bytes));
            let known = self.extremes.iter().flat_map(|(min, max)| [min.as_slice(), max]);
            let new = rows.iter().flatten().map(str::as_bytes);
            let all = statistics::extremes(known.chain(new));
            self.extremes = all.map(|(min, max)| (min.to_owned(), max.to_owned()));
            at += count;
            self.end_full_page()?;
        }
        Ok(())
    }

    fn write_dictionary(&mut self, array: &DictionaryArray<Int32Type>) -> Result<()> {
        let strings = array.values().as_string::<i32>();
        // Maps the indices of the batch to those of the chunk.
        let mut map = Vec::new();
        if let Fallback::Indexed(indexed) = &mut self.pages {
            let dictionary = &mut indexed.dictionary;
            let known = dictionary.len();
            let values = strings.iter().flatten().map(str::as_bytes);
            map.extend(values.map(|value| dictionary.intern(value) as u32));
            indexed.values_seen += array.len() - array.null_count();
            if indexed.is_useless(WORTH, self.limits.trial)
                || plain_size(&indexed.dictionary) > MAX_DICTIONARY
            {
                indexed.dictionary.truncate(known);
                self.fall_back()?;
            }
        }
        let mut at = 0;
        while at < array.len() {
            let rows = array.keys().slice(at, array.len() - at);
            let count = match self.pages {
                Fallback::Indexed(_) => self.rows_of_page(iter::repeat_n(0, rows.len())),
                Fallback::Plain(_) => {
                    let length = |index: i32| strings.value_length(index as usize) as usize;
                    self.rows_of_page(rows.iter().map(|index| index.map_or(0, length)))
                }
            };
            let rows = rows.slice(0, count);
            self.levels.append(&rows);
            match &mut self.pages {
                Fallback::Indexed(indexed) => {
                    page::for_each_run(rows.values(), rows.nulls(), |run| {
                        indexed.indices.extend(run.iter().map(|&index| map[index as usize]));
                    });
                }
                Fallback::Plain(_) => {
                    let string = |&index: &i32| strings.value(index as usize).as_bytes();
                    page::for_each_run(rows.values(), rows.nulls(), |run| {
                        self.plain.extend(run.iter().map(string));
                    });
                }
            }
            at += count;
            self.end_full_page()?;
        }
        Ok(())
    }

    /// Returns how many of the next rows to append before checking again whether the page is full, given the lengths of
    /// their strings. That many rows fit in the current page, but their text may fill several pages.
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

    /// Finishes the current page, and continues without a dictionary.
    fn fall_back(&mut self) -> Result<()> {
        if self.levels.rows() > 0 {
            self.end_page()?;
        }
        self.pages.fall_back(self.chunk.format())
    }

    fn end_full_page(&mut self) -> Result<()> {
        let full = self.plain.size() >= self.limits.page_bytes;
        if full || self.levels.rows() == self.limits.page_rows { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> Result<()> {
        let format = self.chunk.format();
        let page = match &mut self.pages {
            Fallback::Indexed(indexed) => {
                let min_max = min_max_of_used(&indexed.dictionary, &indexed.indices);
                indexed.page(&mut self.levels, min_max, format)
            }
            Fallback::Plain(_) => {
                // Values from dictionaries have no minimum and maximum: they are in no particular order, so statistics
                // would prune nothing.
                let min_max = self.extremes.take().map(|(min, max)| min_max_of(&min, &max));
                let plain = &mut self.plain;
                page::data_page(&mut self.levels, Content::Text, min_max, format, |out| {
                    plain.encode(out);
                })
            }
        }?;
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
        let dictionary = self.pages.dictionary_page(self.chunk.format())?;
        self.pages = Fallback::new(true);
        self.chunk.finish(dictionary, |pages, nulls| {
            statistics::text_statistics(min_max_of_chunk(pages), nulls)
        })
    }
}

/// Returns the minimum and maximum of all pages, or `None` if a page with values has no statistics.
fn min_max_of_chunk(pages: &[DataPage]) -> Option<MinMax> {
    let mut pages = pages.iter().filter(|page| page.nulls < page.rows);
    let first = pages.next()?.min_max.clone()?;
    pages.try_fold(first, |all, page| Some(all.and(page.min_max.as_ref()?)))
}

/// Returns the minimum and maximum of the values that `indices` refer to.
fn min_max_of_used(dictionary: &Interner, indices: &[u32]) -> Option<MinMax> {
    let mut used = vec![false; dictionary.len()];
    for &index in indices {
        used[index as usize] = true;
    }
    let used = used.iter().enumerate().filter(|(_, used)| **used);
    let strings = dictionary.strings();
    let extremes = statistics::extremes(used.map(|(index, _)| strings.get(index)));
    extremes.map(|(min, max)| min_max_of(min, max))
}

fn min_max_of(min: &[u8], max: &[u8]) -> MinMax {
    let [min, max] = [min, max].map(|text| str::from_utf8(text).expect("the values are strings"));
    MinMax::of_text(min, max)
}
