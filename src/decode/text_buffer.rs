//! Reusable buffers for decompressed text.

use std::ops::Deref;

use crate::util::pool::Pool;
use crate::util::zeros;

/// Maximum length of a line in bytes. Longer lines are rejected.
///
/// AWS documents a limit of 8 KB for the user agent, but no limit for the entire line.
pub const MAX_LINE: usize = 1 << 20;
/// Maximum number of lines of text that can be joined into one line.
pub(crate) const MAX_JOINED: usize = 16;
/// Maximum size in bytes of a buffer that is kept for reuse.
const MAX_KEPT: usize = 16 << 20;
/// Maximum number of buffers that are kept for reuse.
const MAX_IDLE: usize = 8;

/// A reusable byte buffer that zeroes its memory only once.
///
/// Resizing a `Vec` would zero the memory on each reuse, which would take a twentieth of the total run time, because
/// each object decompresses to a few megabytes of text.
#[derive(Debug, Default)]
pub struct Text {
    bytes: Vec<u8>,
    len: usize,
}

impl Text {
    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Returns at least `room` bytes to write to. [`Text::advance`] makes them part of the text.
    pub fn spare(&mut self, room: usize) -> &mut [u8] {
        let end = self.len + room;
        if self.bytes.len() < end {
            // Without this reservation, the capacity could double, and be twice as large as the text needs.
            let len = (end + end / 8).next_multiple_of(1 << 16);
            self.bytes.reserve_exact(len - self.bytes.len());
            zeros::fill_to(&mut self.bytes, len);
        }
        &mut self.bytes[self.len..]
    }

    /// Makes the first `count` bytes of the spare room part of the text.
    ///
    /// # Panics
    ///
    /// Panics if the spare room is smaller than `count`.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.len, "advanced past the end");
        self.len += count;
    }

    /// Truncates the text to `len` bytes. Does nothing if the text is shorter. Keeps the memory.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Returns the size of the allocated memory in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A pool of buffers that threads share and reuse.
#[derive(Debug)]
pub(crate) struct TextPool(Pool<Text>);

impl Default for TextPool {
    fn default() -> Self {
        Self(Pool::bounded(MAX_IDLE))
    }
}

impl TextPool {
    /// Returns an empty buffer.
    pub(crate) fn take(&self) -> Text {
        let mut text = self.0.take(Text::default);
        text.truncate(0);
        text
    }

    /// Keeps a buffer for reuse, unless it is unusually large.
    pub(crate) fn put(&self, text: Text) {
        if text.capacity() <= MAX_KEPT {
            self.0.put(text);
        }
    }
}
