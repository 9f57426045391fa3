//! Spans: where something stands in the text, one or one for each line.

use std::ops::Range;

/// Where something stands in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// Length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Tells whether there is nothing.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the range of bytes in the text.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Where a field stands in each line of a tile.
///
/// The boundaries of all fields lie one after the other, so that nothing is copied to look at one field.
#[derive(Debug, Clone, Copy)]
pub struct Spans<'a> {
    /// Starts of this field, and behind each of them that of the next field, one byte after its end.
    boundaries: &'a [u32],
    /// From a line to the next; at least 2.
    stride: usize,
    lines: usize,
}

impl<'a> Spans<'a> {
    pub(super) fn new(boundaries: &'a [u32], stride: usize, lines: usize) -> Self {
        debug_assert!(stride >= 2, "a start and an end");
        debug_assert!(boundaries.len() >= lines * stride, "all lines");
        Self { boundaries, stride, lines }
    }

    /// Returns the one span between two boundaries.
    #[cfg(test)]
    pub(crate) fn of_one(boundaries: &'a [u32; 2]) -> Self {
        Self::new(boundaries, 2, 1)
    }

    /// Number of lines.
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
                _ => unreachable!("behind each start is the next one"),
            }
        })
    }
}
