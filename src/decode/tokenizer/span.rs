//! Positions in the text, either of one field or of one field in each line.

use std::ops::Range;

/// A range of bytes in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Position of the first byte.
    pub start: u32,
    /// Position after the last byte.
    pub end: u32,
}

impl Span {
    /// Returns the length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Returns whether the length is zero.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the span as a range of indices into the text.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The spans of one field in each line of a tile.
///
/// Borrows the boundaries of all fields in the tile, so accessing one field copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct Spans<'a> {
    /// Starts of this field. Each is followed by the start of the next field, which is one byte after the end of this
    /// field.
    boundaries: &'a [u32],
    /// Distance from one line to the next in `boundaries`; at least 2.
    stride: usize,
    lines: usize,
}

impl<'a> Spans<'a> {
    pub(super) fn new(boundaries: &'a [u32], stride: usize, lines: usize) -> Self {
        debug_assert!(stride >= 2, "a start and an end");
        debug_assert!(boundaries.len() >= lines * stride, "all lines");
        Self { boundaries, stride, lines }
    }

    /// Returns the single span between two boundaries.
    #[cfg(test)]
    pub(crate) fn of_one(boundaries: &'a [u32; 2]) -> Self {
        Self::new(boundaries, 2, 1)
    }

    /// Returns the number of lines.
    #[inline]
    pub fn len(self) -> usize {
        self.lines
    }

    /// Returns the spans, line by line.
    #[inline]
    pub fn iter(self) -> impl ExactSizeIterator<Item = Span> + Clone + 'a {
        self.boundaries[..self.lines * self.stride].chunks_exact(self.stride).map(|boundaries| {
            match boundaries {
                [start, next, ..] => Span { start: *start, end: next - 1 },
                _ => unreachable!("the next start follows each start"),
            }
        })
    }
}
