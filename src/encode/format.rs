//! The format of files: how a profile encodes and compresses each kind of content, and how large row groups are.

use parquet::basic::Encoding;

use crate::encode::Compression;
use crate::profile::Profile;

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Which features of Parquet they use.
    pub profile: Profile,
    /// How their pages are compressed.
    pub compression: Compression,
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The distinct values of a column chunk.
    Dictionary,
    /// Indices into a dictionary.
    Indices,
    /// Text without a dictionary.
    Text,
    /// Integers and times without a dictionary.
    Integers,
    /// Doubles without a dictionary.
    Doubles,
}

/// How a kind of content is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    /// Encoding of the page.
    pub(super) encoding: Encoding,
    /// Zstandard level of the page.
    pub(super) zstd_level: i32,
}

/// Zstandard level for bytes that hold matches: the shared beginnings of text, the high bytes of integers. Levels from 1
/// on are slower and hardly smaller, because few matches are longer than the first one found.
const MATCHES: i32 = -1;
/// Zstandard level for bytes without matches, where only Huffman coding saves space: packed indices and packed deltas.
const NO_MATCHES: i32 = -60;

impl Format {
    /// Returns how a kind of content is stored. `benches/README.md` has the measurements behind this table.
    pub(super) fn storage(self, content: Content) -> Storage {
        use Content::{Dictionary, Doubles, Indices, Integers, Text};
        use Profile::{Compact, Portable};
        let (encoding, zstd_level) = match (self.profile, content) {
            (_, Dictionary) => (Encoding::PLAIN, MATCHES),
            (_, Indices) => (Encoding::RLE_DICTIONARY, NO_MATCHES),
            (Portable, Text | Integers | Doubles) => (Encoding::PLAIN, MATCHES),
            (Compact, Text) => (Encoding::DELTA_BYTE_ARRAY, MATCHES),
            (Compact, Integers) => (Encoding::DELTA_BINARY_PACKED, NO_MATCHES),
            (Compact, Doubles) => (Encoding::PLAIN, NO_MATCHES),
        };
        Storage { encoding, zstd_level }
    }

    /// Returns whether files have a page index: a column index and an offset index of each column chunk.
    pub(super) fn has_page_index(self) -> bool {
        self.profile == Profile::Compact
    }

    /// Returns the number of rows after which a row group ends. Many readers prune only by the statistics of row groups,
    /// so smaller ones let them skip more. Without a page index, all readers do.
    pub(super) fn row_group_rows(self) -> usize {
        match self.profile {
            Profile::Portable => 50_000,
            // The size of DuckDB's own row groups.
            Profile::Compact => 125_000,
        }
    }
}
