//! Encodes the text of pages without a dictionary.

use parquet::basic::Encoding;

use crate::encode::LENGTH;
use crate::encode::delta::DeltaTexts;
use crate::encode::format::{Content, Format};

/// Maximum capacity in bytes of a page buffer that is reused for the next page.
const MAX_KEPT: usize = 4 << 20;

/// The text of a page, in the profile's encoding.
pub(super) enum TextValues {
    /// PLAIN: the encoded bytes.
    Plain(Vec<u8>),
    /// DELTA_BYTE_ARRAY.
    Delta(DeltaTexts),
}

impl TextValues {
    pub(super) fn new(format: Format) -> Self {
        match format.storage(Content::Text).encoding {
            Encoding::DELTA_BYTE_ARRAY => Self::Delta(DeltaTexts::default()),
            _ => Self::Plain(Vec::new()),
        }
    }

    /// Appends strings.
    pub(super) fn extend<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) {
        match self {
            Self::Plain(bytes) => texts.for_each(|text| push(text, bytes)),
            Self::Delta(delta) => delta.extend(texts),
        }
    }

    /// Returns the size in bytes of the strings in PLAIN encoding.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Delta(delta) => delta.size(),
        }
    }

    /// Appends the encoded strings to `out`, and clears the buffer.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(bytes) => {
                out.extend_from_slice(bytes);
                clear(bytes);
            }
            Self::Delta(delta) => delta.encode(out),
        }
    }
}

/// Clears a page buffer. Frees it if it is unusually large.
pub(super) fn clear(bytes: &mut Vec<u8>) {
    bytes.clear();
    if bytes.capacity() > MAX_KEPT {
        *bytes = Vec::new();
    }
}

/// Appends a string in PLAIN encoding: its length, then its bytes.
#[inline]
pub(super) fn push(text: &[u8], out: &mut Vec<u8>) {
    let length: [u8; LENGTH] = (text.len() as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(text);
}
