//! Dictionary encoding that falls back to plain values.
//!
//! The pages of a chunk contain indices into a dictionary as long as the dictionary is worth its size. After that,
//! pages contain values. The dictionary is kept, as an encoded page, only if earlier pages need it.

use std::mem;

use parquet::errors::Result;

use crate::encode::format::Format;
use crate::encode::page::{self, DataPage, DictionaryPage, Levels};
use crate::encode::statistics::MinMax;

/// The distinct values of a chunk.
pub(super) trait Dictionary: Default {
    /// Returns the number of distinct values.
    fn len(&self) -> usize;

    /// Appends the values in PLAIN encoding.
    fn encode(&self, out: &mut Vec<u8>);
}

/// How a chunk's pages are encoded.
pub(super) enum Fallback<D> {
    /// Pages contain indices.
    Indexed(Indexed<D>),
    /// Pages contain values. If earlier pages contain indices, this is their dictionary page.
    Plain(Option<DictionaryPage>),
}

/// A chunk's dictionary and current page. They are dropped together, so that no buffer outlives the dictionary.
#[derive(Default)]
pub(super) struct Indexed<D> {
    pub(super) dictionary: D,
    /// Indices of the current page.
    pub(super) indices: Vec<u32>,
    /// Number of values in the chunk that have been looked up so far.
    pub(super) values_seen: usize,
    /// Whether a finished page contains indices.
    has_pages: bool,
}

impl<D: Dictionary> Indexed<D> {
    /// Returns whether each distinct value occurs fewer than `worth` times on average. Returns false until `trial`
    /// values have been seen.
    pub(super) fn is_useless(&self, worth: usize, trial: usize) -> bool {
        self.values_seen >= trial && self.dictionary.len() * worth > self.values_seen
    }

    /// Finishes the current page.
    pub(super) fn page(
        &mut self,
        levels: &mut Levels,
        min_max: Option<MinMax>,
        format: Format,
    ) -> Result<DataPage> {
        self.has_pages = true;
        let page = page::index_page(levels, &self.indices, self.dictionary.len(), min_max, format);
        self.indices.clear();
        page
    }
}

impl<D: Dictionary> Fallback<D> {
    /// Starts a chunk with a dictionary, or with plain values.
    pub(super) fn new(has_dictionary: bool) -> Self {
        if has_dictionary { Self::Indexed(Indexed::default()) } else { Self::Plain(None) }
    }

    /// Continues with plain values. The current page must be finished.
    pub(super) fn fall_back(&mut self, format: Format) -> Result<()> {
        *self = Self::Plain(self.dictionary_page(format)?);
        Ok(())
    }

    /// Returns the dictionary page of the chunk, if any page needs it. No pages can be added after this call.
    pub(super) fn dictionary_page(&mut self, format: Format) -> Result<Option<DictionaryPage>> {
        match mem::replace(self, Self::Plain(None)) {
            Self::Indexed(Indexed { dictionary, has_pages: true, .. }) => {
                let encode = |out: &mut Vec<u8>| dictionary.encode(out);
                page::dictionary_page(dictionary.len(), format, encode).map(Some)
            }
            Self::Indexed(_) => Ok(None),
            Self::Plain(page) => Ok(page),
        }
    }
}
