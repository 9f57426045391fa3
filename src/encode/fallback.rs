//! Dictionary encoding that falls back to plain values.
//!
//! The pages of a chunk hold indices into a dictionary, until the dictionary is not worth its size. Then the pages hold
//! values, and the dictionary is written only if earlier pages need it.

use std::mem;

use parquet::column::page::PageWriteSpec;
use parquet::errors::Result;

use crate::encode::format::Format;
use crate::encode::page::{self, DataPage, Levels};
use crate::encode::statistics::MinMax;

/// The distinct values of a chunk.
pub(super) trait Dictionary: Default {
    /// Returns the number of distinct values.
    fn len(&self) -> usize;

    /// Appends the values in PLAIN encoding.
    fn encode(&self, out: &mut Vec<u8>);
}

/// The encoding of the pages of a chunk.
pub(super) enum Fallback<D> {
    /// Pages hold indices.
    Indexed(Indexed<D>),
    /// Pages hold values. Earlier pages may hold indices into a dictionary.
    Plain(Option<D>),
}

/// The dictionary of a chunk.
#[derive(Default)]
pub(super) struct Indexed<D> {
    pub(super) dictionary: D,
    /// Number of values of the chunk that were looked up.
    pub(super) values_seen: usize,
    /// Whether a finished page holds indices.
    has_pages: bool,
}

impl<D: Dictionary> Indexed<D> {
    /// Returns whether values repeat less than `worth` times on average, once more than `trial` values were seen.
    pub(super) fn is_useless(&self, worth: usize, trial: usize) -> bool {
        self.values_seen >= trial && self.dictionary.len() * worth > self.values_seen
    }

    /// Makes a page of indices, which it clears.
    pub(super) fn page(
        &mut self,
        indices: &mut Vec<u32>,
        levels: &mut Levels,
        min_max: Option<MinMax>,
        format: Format,
    ) -> Result<DataPage> {
        self.has_pages = true;
        let page = page::index_page(levels, indices, self.dictionary.len(), min_max, format);
        indices.clear();
        page
    }

    fn into_used(self) -> Option<D> {
        self.has_pages.then_some(self.dictionary)
    }
}

impl<D: Dictionary> Fallback<D> {
    /// Starts a chunk with a dictionary, or with plain values.
    pub(super) fn new(has_dictionary: bool) -> Self {
        if has_dictionary { Self::Indexed(Indexed::default()) } else { Self::Plain(None) }
    }

    /// Continues with plain values. The current page must be finished.
    pub(super) fn fall_back(&mut self) {
        let used = self.take_used();
        *self = Self::Plain(used);
    }

    /// Returns the dictionary page of the chunk, if pages need it.
    pub(super) fn dictionary_page(
        &mut self,
        format: Format,
    ) -> Result<Option<(Vec<u8>, PageWriteSpec)>> {
        let page = |dictionary: D| {
            page::dictionary_page(dictionary.len(), format, |out| dictionary.encode(out))
        };
        self.take_used().map(page).transpose()
    }

    fn take_used(&mut self) -> Option<D> {
        match mem::replace(self, Self::Plain(None)) {
            Self::Indexed(indexed) => indexed.into_used(),
            Self::Plain(used) => used,
        }
    }
}
