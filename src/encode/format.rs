//! Defines how each profile encodes and compresses each kind of content.

use parquet::basic::Encoding;

use crate::encode::Compression;
use crate::encode::profile::Profile;

/// The format of new files. The default is portable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Parquet features that the files use.
    pub profile: Profile,
    /// Compression of the pages.
    pub compression: Compression,
}

impl Default for Format {
    fn default() -> Self {
        Self { profile: Profile::Portable, compression: Compression::default() }
    }
}

/// The kind of content in a page.
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

/// How a kind of content is encoded and compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    /// Encoding of the page.
    pub(super) encoding: Encoding,
    /// Zstandard level of the page.
    pub(super) zstd_level: i32,
}

/// Zstandard level for bytes with matches, such as common prefixes of text and high bytes of integers. Levels of 1 and
/// above are slower, save little space for URLs, and increase the compressed size of IDs.
const MATCHES: i32 = -1;
/// Zstandard level for bytes without matches, such as bit-packed indices and deltas. Only Huffman coding saves space
/// there.
const NO_MATCHES: i32 = -60;

impl Format {
    /// Returns how to encode and compress a kind of content. `benches/README.md` has the measurements behind it.
    pub(super) fn storage(self, content: Content) -> Storage {
        use Content::{Dictionary, Doubles, Indices, Integers, Text};
        use Profile::{Compact, Portable};
        let (encoding, zstd_level) = match (self.profile, content) {
            (_, Indices) => (Encoding::RLE_DICTIONARY, NO_MATCHES),
            (_, Dictionary) | (Portable, Text | Integers | Doubles) => (Encoding::PLAIN, MATCHES),
            (Compact, Text) => (Encoding::DELTA_BYTE_ARRAY, MATCHES),
            (Compact, Integers) => (Encoding::DELTA_BINARY_PACKED, NO_MATCHES),
            (Compact, Doubles) => (Encoding::PLAIN, NO_MATCHES),
        };
        Storage { encoding, zstd_level }
    }

    /// Returns whether files have a page index: a column index and an offset index for each column chunk.
    pub(super) fn has_page_index(self) -> bool {
        self.profile == Profile::Compact
    }
}
