//! Finds the boundaries of lines and fields.
//!
//! This module implements the following grammar. `maintain/verify/reference.rs` contains a simple but slow
//! implementation of the same grammar.
//!
//! * A line ends at LF; one CR before the LF is not part of the line. If a line ends within a quoted field, it is
//!   joined with the lines after it, provided that the result is a row: see `tokenizer::join`.
//! * Fields are separated by one or more spaces. A field is either unquoted or quoted. A quoted field
//!   extends from a quote to the next quote, which must be followed by a space or the end of the line. Nothing is
//!   unescaped: AWS writes `\x22` for a quote within a field, and these characters are kept. In a table with literal
//!   quotes, every field ends at the next space. Text columns keep the quotes around a value; all others ignore them.
//! * After the last known field of the table, the rest of the line is one field, unchanged.
//!
//! # How to change this module
//!
//! `Tile::scan` converts 64 bytes at a time to bit masks of the quotes, spaces and line ends, with one bit for each
//! byte. The prefix XOR of the quotes is a mask of the bytes within quotes. The spaces outside quotes are the field
//! delimiters. This finds the fields of all regular lines without a branch per byte. If a line is irregular (two spaces
//! in a row, a misplaced quote, a byte above 0x7f, …), the scan only records a position in `odd`, and `read_irregular`
//! parses the entire line again, byte by byte. The scan can thus be rewritten freely as long as it records a position
//! in each irregular line. It does not have to decide whether an irregular line is valid.
//!
//! A valid irregular line is copied to the end of the text in regular form, so that other modules need to process only
//! regular lines.

mod join;
mod line;
mod span;
#[cfg(target_arch = "x86_64")]
mod x86;

use wide::u8x16;

pub use crate::decode::text_buffer::MAX_LINE;
pub(crate) use crate::decode::tokenizer::line::Fields;
pub(crate) use crate::decode::tokenizer::span::{Span, Spans};

use crate::decode::text_buffer::Text;
use crate::logs::reject::Reason;
use crate::logs::schema::{Quotes, Table};

/// Maximum number of lines in a tile: large enough to keep the per-tile overhead of forty columns small, and small
/// enough that the text is still in the CPU cache when the last column reads it.
const TILE_LINES: usize = 64;
/// Number of bytes to scan at a time. Each byte corresponds to one bit of a mask.
const BLOCK: usize = 64;

/// A tile: consecutive lines of text, with their field boundaries. The memory is reused for the next tile.
#[derive(Debug, Default)]
pub struct Tile {
    /// Starts of fields. The field that begins at `starts[i]` ends one byte before `starts[i + 1]`.
    starts: Vec<u32>,
    /// Number of entries of `starts` that belong to this tile. Later entries are leftovers and will be overwritten.
    used: usize,
    /// The valid lines.
    lines: Vec<Line>,
    /// The invalid lines, in order.
    pub invalid: Vec<(Bounds, Reason)>,
    /// Number of lines of text that were joined to the preceding line.
    pub joined: u64,
    /// The index in `starts` of each line end.
    line_ends: Vec<u32>,
    /// Positions of bytes that make a line irregular, in order.
    odd: Vec<u32>,
    /// Start and end of one field in every line, used if the field's entries in `starts` are not evenly spaced.
    scattered: Vec<u32>,
    /// Number of fields of each line, if all lines are regular and have the same number of fields. In `starts`, the
    /// fields of a line then directly follow the fields of the preceding line.
    stride: Option<usize>,
    /// Number of known fields of the table.
    known: usize,
    quotes: Quotes,
}

/// Position of a line in the text, without the line ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Number of the line in the tile, from 0.
    pub number: u32,
    /// Position of the first byte.
    pub start: u32,
    /// Position after the last byte.
    pub end: u32,
}

/// A valid line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Position of the line as it was read.
    pub bounds: Bounds,
    /// Index of the line's first field in the `starts` of the tile.
    first: u32,
    /// Number of fields in the line.
    fields: u32,
    /// End of the text that contains the fields. Differs from `bounds` if the line was copied in regular form.
    end: u32,
}

impl Line {
    /// Returns whether the line was irregular or joined, so that its fields were copied.
    pub fn is_copy(&self) -> bool {
        self.end != self.bounds.end
    }
}

/// Returns a field without any quotes around it.
#[inline]
pub(crate) fn unquoted(text: &[u8], field: Span) -> Span {
    match text[field.range()] {
        [b'"', .., b'"'] => Span { start: field.start + 1, end: field.end - 1 },
        _ => field,
    }
}

/// Returns the value of a field, without any quotes around it. Returns `None` if the field is absent or `-`.
#[inline]
pub(crate) fn value(text: &[u8], field: Span) -> Option<Span> {
    if field.is_empty() {
        return None;
    }
    let value = unquoted(text, field);
    (text[value.range()] != *b"-").then_some(value)
}

/// The grammar of a table's lines.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// Number of required fields. Lines with fewer fields are rejected.
    pub required: usize,
    /// Number of fields that the table describes. The rest of a line is one additional field, unchanged.
    pub known: usize,
    /// How quotes in a line are interpreted.
    pub quotes: Quotes,
}

impl Grammar {
    /// Returns the grammar of a table's lines.
    pub fn of(table: &Table) -> Self {
        let (required, known) = (table.required_fields, table.fields.len());
        Self { required, known, quotes: table.quotes }
    }
}

impl Tile {
    /// Reads lines from `text[from..end]`, which must end with a line ending, into the tile.
    ///
    /// Returns the position after the last line read. Copies of irregular lines are appended to `text`, after `end`.
    /// `is_row` returns whether a line would become a row. It is called only for lines that may have to be joined.
    pub fn read(
        &mut self,
        text: &mut Text,
        from: usize,
        end: usize,
        grammar: Grammar,
        mut is_row: impl FnMut(&[u8]) -> bool,
    ) -> usize {
        debug_assert!(text[from..end].ends_with(b"\n"), "a text of whole lines");
        self.quotes = grammar.quotes;
        self.scan(&text[..end], from);
        self.lines.clear();
        self.invalid.clear();
        self.joined = 0;
        self.known = grammar.known;
        self.stride = self.line_ends.first().map(|&end| end as usize);
        let mut first = 0;
        let mut odd = 0;
        let mut next = from;
        for (number, &line_end) in (0..).zip(&self.line_ends) {
            let bounds = Bounds {
                number,
                start: self.starts[first as usize],
                end: self.starts[line_end as usize] - 1,
            };
            let fields = line_end - first;
            let irregular = self.odd.get(odd).is_some_and(|&at| at <= bounds.end);
            while self.odd.get(odd).is_some_and(|&at| at <= bounds.end) {
                odd += 1;
            }
            // This line is part of a joined line.
            if (bounds.start as usize) < next {
                first = line_end;
                continue;
            }
            next = bounds.end as usize + 1;
            let long = (bounds.end - bounds.start) as usize > MAX_LINE;
            let cr = bounds.end > bounds.start && text[bounds.end as usize - 1] == b'\r';
            if self.stride != Some(fields as usize) {
                self.stride = None;
            }
            if irregular || cr || long || (fields as usize) < grammar.required {
                self.stride = None;
                let first = position(self.used);
                self.starts.truncate(self.used);
                let mut read = read_irregular(text, bounds, grammar, &mut self.starts);
                if let Err((_, Reason::UnterminatedQuote)) = read
                    && let Some(joined) = join::whole(&text[..end], bounds, grammar, &mut is_row)
                {
                    read = read_irregular(text, joined.bounds, grammar, &mut self.starts);
                    self.joined += joined.lines;
                    next = joined.bounds.end as usize + 1;
                }
                match read {
                    Ok((bounds, fields, end)) => {
                        self.used = self.starts.len();
                        self.lines.push(Line { bounds, first, fields, end });
                    }
                    Err((bounds, reason)) => self.invalid.push((bounds, reason)),
                }
            } else {
                self.lines.push(Line { bounds, first, fields, end: bounds.end });
            }
            first = line_end;
        }
        next
    }

    /// Returns the number of lines read, valid or not. A joined line counts once.
    pub fn line_count(&self) -> usize {
        self.lines.len() + self.invalid.len()
    }

    /// Returns the valid lines, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Returns the number of fields in each line, if all lines are regular and have the same number of fields. The text
    /// after the known fields counts as one field.
    pub fn field_count(&self) -> Option<usize> {
        self.stride.map(|stride| stride.min(self.known + 1))
    }

    /// Returns the number of fields in a line, like [`field_count`](Self::field_count).
    pub fn field_count_of(&self, line: &Line) -> usize {
        (line.fields as usize).min(self.known + 1)
    }

    /// Keeps only the valid lines for which `keep`, called with their index, returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut indices = 0..;
        self.lines.retain(|_| indices.next().is_some_and(&mut keep));
        self.stride = None;
    }

    /// Returns the span of a field in each valid line, including quotes. The span is empty if the field is absent. The
    /// field after the last known field is the rest of the line.
    pub fn spans(&mut self, index: usize) -> Spans<'_> {
        let lines = self.lines.iter();
        if let Some(stride) = self.stride.filter(|&stride| index < stride && index < self.known) {
            let first = self.lines.first().map_or(0, |line| line.first as usize);
            let from = first + index;
            let end = from + stride * lines.len();
            if self.starts.len() < end {
                // `Spans` needs a full stride even for the last line.
                self.starts.resize(end, 0);
            }
            return Spans::new(&self.starts[from..end], stride, lines.len());
        }
        self.scattered.clear();
        for line in lines {
            let (start, end) = if index >= line.fields as usize {
                (0, 0)
            } else {
                let at = line.first as usize + index;
                let end = if index < self.known { self.starts[at + 1] - 1 } else { line.end };
                (self.starts[at], end)
            };
            self.scattered.extend([start, end + 1]);
        }
        Spans::new(&self.scattered, 2, self.lines.len())
    }

    /// Finds the boundaries of lines and fields, and the positions of bytes that make lines irregular.
    fn scan(&mut self, text: &[u8], from: usize) {
        #[cfg(target_arch = "x86_64")]
        if x86::IMPLEMENTATIONS.iter().any(|scan| scan(self, text, from)) {
            return;
        }
        self.scan_with(text, from, Masks::of, running_xor, write_positions);
    }

    /// Implements `scan` with the given functions, which compute the masks of a block, the prefix XOR of the quotes,
    /// and the positions of set bits.
    #[allow(clippy::inline_always)] // so that it is compiled for the CPU features of its caller
    #[inline(always)]
    fn scan_with(
        &mut self,
        text: &[u8],
        from: usize,
        masks_of: impl Fn(&[u8; BLOCK]) -> Masks,
        running_xor: impl Fn(u64) -> u64,
        write_positions: impl Fn(u64, u32, &mut [u32; BLOCK]),
    ) {
        self.line_ends.clear();
        self.odd.clear();
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.starts[0] = position(from);
        let mut starts = 1;
        // Whether the last byte of the previous block was a delimiter (bit 0), a closing quote (bit 0), or within
        // quotes (all bits).
        let (mut delimiter, mut closed, mut quoted) = (1_u64, 0_u64, 0_u64);
        let mut base = from;
        while base < text.len() && self.line_ends.len() < TILE_LINES {
            let mut masks = match text[base..].first_chunk::<BLOCK>() {
                Some(block) => masks_of(block),
                None => masks_of(&last_block(&text[base..])),
            };
            match self.quotes {
                Quotes::Plain => {}
                Quotes::Escaped => masks.odd |= escaped(masks.quotes, text, base),
                Quotes::Literal => masks.quotes = 0,
            }
            let mut within = running_xor(masks.quotes) ^ quoted;
            if masks.line_ends & within != 0 {
                within = self.end_quotes_at_line_ends(within, masks.line_ends, base);
            }
            let delimiters = (masks.spaces & !within) | masks.line_ends;
            let opening = masks.quotes & within;
            let closing = masks.quotes & !within;
            let before = (delimiters << 1) | delimiter;
            let after_closing = (closing << 1) | closed;
            masks.odd |=
                (delimiters & before) | (opening & !before) | (after_closing & !delimiters);
            delimiter = delimiters >> 63;
            closed = closing >> 63;
            // The arithmetic shift copies the last bit to all bits.
            quoted = (within.cast_signed() >> 63).cast_unsigned();
            let mut odd = masks.odd;
            while odd != 0 {
                self.odd.push(position(base) + odd.trailing_zeros());
                odd &= odd - 1;
            }
            let mut line_ends = masks.line_ends;
            while line_ends != 0 {
                let below = delimiters & (line_ends ^ (line_ends - 1));
                self.line_ends.push(position(starts) + below.count_ones() - 1);
                line_ends &= line_ends - 1;
            }
            write_positions(delimiters, position(base + 1), self.room(starts));
            starts += delimiters.count_ones() as usize;
            base += BLOCK;
        }
        self.used = starts;
        // The positions of unterminated quotes precede the other positions of their block, so `odd` must be sorted.
        debug_assert!(self.line_ends.is_sorted());
        self.odd.sort_unstable();
    }

    /// Returns room for the starts of a block's fields, after the `known` starts that are already stored.
    #[inline]
    fn room(&mut self, known: usize) -> &mut [u32; BLOCK] {
        if self.starts.len() < known + BLOCK {
            self.starts.resize((known + BLOCK) * 2, 0);
        }
        self.starts[known..].first_chunk_mut().expect("the vector was just resized")
    }

    /// Closes open quotes at line ends, because the scan never continues a quoted field on the next line. Records the
    /// positions of these line ends, and returns the corrected mask of the bytes within quotes.
    #[cold]
    #[inline(never)]
    fn end_quotes_at_line_ends(&mut self, mut within: u64, line_ends: u64, base: usize) -> u64 {
        let mut left = line_ends & within;
        while left != 0 {
            let at = left.trailing_zeros();
            self.odd.push(position(base + at as usize));
            within ^= u64::MAX << at;
            left = line_ends & within & (u64::MAX << at << 1);
        }
        within
    }
}

/// Masks of a block, with one bit for each byte.
struct Masks {
    quotes: u64,
    spaces: u64,
    line_ends: u64,
    /// Bytes that alone make a line irregular: all bytes above 0x7f.
    odd: u64,
}

impl Masks {
    #[inline]
    fn of(block: &[u8; BLOCK]) -> Self {
        let mut masks = Self { quotes: 0, spaces: 0, line_ends: 0, odd: 0 };
        let (quarters, _) = block.as_chunks::<16>();
        for (shift, quarter) in (0..).step_by(16).zip(quarters) {
            let bytes = u8x16::new(*quarter);
            let equal =
                |byte: u8| u64::from(bytes.simd_eq(u8x16::splat(byte)).to_bitmask()) << shift;
            masks.quotes |= equal(b'"');
            masks.spaces |= equal(b' ');
            masks.line_ends |= equal(b'\n');
            masks.odd |= u64::from(bytes.to_bitmask()) << shift;
        }
        masks
    }
}

/// Returns the quotes of a block that follow a backslash.
fn escaped(mut quotes: u64, text: &[u8], base: usize) -> u64 {
    let mut escaped = 0;
    while quotes != 0 {
        let at = base + quotes.trailing_zeros() as usize;
        if at > 0 && text[at - 1] == b'\\' {
            escaped |= quotes & quotes.wrapping_neg();
        }
        quotes &= quotes - 1;
    }
    escaped
}

#[cold]
fn last_block(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [b'x'; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// Returns the prefix XOR: a bit is set if the number of set bits at or below it is odd.
#[inline]
fn running_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Writes the positions of set bits, relative to `base`. May overwrite entries after the last position.
#[allow(clippy::inline_always)] // like `scan_with`
#[inline(always)]
fn write_positions(mut bits: u64, base: u32, out: &mut [u32; BLOCK]) {
    // Writes eight positions at a time, even if fewer bits are set. The outer loop thus nearly always runs only once,
    // which the CPU predicts well.
    for eight in out.chunks_exact_mut(8) {
        for position in eight {
            *position = base + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
        }
        if bits == 0 {
            break;
        }
    }
}

#[inline]
fn position(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok(), "texts are far smaller than 4 GiB");
    at as u32
}

/// Position of a line, followed by the field count and the end of its copy.
type Copied = (Bounds, u32, u32);

/// Parses one line byte by byte. If it is valid, copies it in regular form to the end of `text`.
///
/// Returns the position of the line, the number of fields of the copy, and the end of the copy. Appends the starts of
/// the fields to `starts`, and one more entry that marks the end of the last field.
#[cold]
#[inline(never)]
fn read_irregular(
    text: &mut Text,
    mut bounds: Bounds,
    grammar: Grammar,
    starts: &mut Vec<u32>,
) -> Result<Copied, (Bounds, Reason)> {
    let mut line = &text[bounds.start as usize..bounds.end as usize];
    if let [head @ .., b'\r'] = line {
        line = head;
        bounds.end -= 1;
    }
    if line.len() > MAX_LINE {
        return Err((bounds, Reason::LineTooLong));
    }
    if std::str::from_utf8(line).is_err() {
        return Err((bounds, Reason::InvalidUtf8));
    }
    let line = line.to_vec();
    let mark = (starts.len(), text.len());
    let result = copy_fields(&line, text, grammar, starts);
    match result {
        Ok(fields) => Ok((bounds, fields, position(text.len()))),
        Err(reason) => {
            starts.truncate(mark.0);
            text.truncate(mark.1);
            Err((bounds, reason))
        }
    }
}

fn copy_fields(
    line: &[u8],
    text: &mut Text,
    grammar: Grammar,
    starts: &mut Vec<u32>,
) -> Result<u32, Reason> {
    let mut fields = 0;
    for field in Fields::of(line, grammar) {
        let field = field.map_err(|fault| fault.reason)?;
        if fields > 0 {
            text.extend(b" ");
        }
        starts.push(position(text.len()));
        text.extend(&line[field.range()]);
        fields += 1;
    }
    if fields < grammar.required {
        return Err(Reason::TooFewFields);
    }
    starts.push(position(text.len()) + 1);
    Ok(position(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Checks that all implementations find the same boundaries in any text.
        #[test]
        fn all_implementations_find_the_same(
            text in "([a-c\\-]{0,30}[ \"\n\r\u{e9}]){0,200}\n",
            from in 0_usize..20,
        ) {
            let text = text.as_bytes();
            let from = from.min(text.len() - 1);
            let mut portable = Tile::default();
            portable.scan_with(text, from, Masks::of, running_xor, write_positions);
            let found = |tile: &Tile| {
                (tile.starts[..tile.used].to_vec(), tile.line_ends.clone(), tile.odd.clone())
            };
            #[cfg(target_arch = "x86_64")]
            for scan in x86::IMPLEMENTATIONS {
                let mut tile = Tile::default();
                if scan(&mut tile, text, from) {
                    proptest::prop_assert_eq!(found(&portable), found(&tile));
                }
            }
        }
    }
}
