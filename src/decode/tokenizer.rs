//! Lines and fields: where they begin and end, not what they mean.
//!
//! The grammar, which `maintain/verify/reference.rs` implements a second time, slowly:
//!
//! * A line ends at LF; one CR before it is not part of the line. A line that ends within a quoted field is joined with those
//!   after it if that makes a row: see `tokenizer::join`.
//! * Fields are separated by one or more spaces. A field is bare (without a quote) or quoted (from a
//!   quote to the next one, which a space or the end of the line must follow). Nothing is unescaped:
//!   AWS writes `\x22` for a quote within a field, and that stays as it is.
//! * After the last field that the table knows, the rest of the line is taken as it stands.
//!
//! # Advice for whoever changes this
//!
//! `Tile::scan` looks at 64 bytes at a time and turns quotes, spaces and line ends into bit masks,
//! one bit a byte. A running exclusive-or over the quotes tells which bytes lie within quotes; what is
//! left of the spaces are the delimiters of fields. This finds the fields of every regular line without
//! a branch per byte. Whatever makes a line irregular (two spaces in a row, a quote where none belongs, a
//! byte above 0x7f, a CR, …) merely leaves a position in `odd`, and the whole line is then read again by
//! `read_irregular`, byte by byte. So the fast path may be rewritten at will, as long as it
//! reports every irregularity; it never has to decide about one.
//!
//! An irregular line that is sound is copied to the end of the text in regular form, so that
//! everything after this module sees one kind of line.

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

/// Number of lines after which a tile is handed on: so many that what forty columns do once for a tile weighs little,
/// so few that its text is still close when the last of them looks at it.
const TILE_LINES: usize = 64;
const BLOCK: usize = 64;

/// Some lines of a text and the bounds of their fields; reused from tile to tile.
#[derive(Debug, Default)]
pub struct Tile {
    /// Starts of fields. The field that begins at `starts[i]` ends one byte before `starts[i + 1]`.
    starts: Vec<u32>,
    /// How many of `starts` belong to this tile; the others are not cleared, only written over.
    used: usize,
    /// Sound lines.
    lines: Vec<Line>,
    /// Lines that are not, in order.
    pub unsound: Vec<(Bounds, Reason)>,
    /// Lines of text that were joined to the one before them.
    pub joined: u64,
    /// For each line end, its index in `starts`.
    line_ends: Vec<u32>,
    /// Positions of irregularities, in order.
    odd: Vec<u32>,
    /// Starts and ends of one field, where they do not lie in `starts` at equal distances.
    scattered: Vec<u32>,
    /// Number of fields of every line, when all lines are regular and have the same; one stands after the other.
    stride: Option<usize>,
    /// Number of fields that the table knows.
    known: usize,
}

/// Where a line stands in its text, without its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Number of the line within the tile, from 0.
    pub number: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A sound line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Where it was read.
    pub bounds: Bounds,
    /// Index of its first field in the tile's starts.
    first: u32,
    /// Number of its fields.
    fields: u32,
    /// End of the text that its fields lie in; differs from `bounds` for a copy in regular form.
    end: u32,
}

/// Returns a field without its quotes, if it has any.
#[inline]
pub(crate) fn unquoted(text: &[u8], field: Span) -> Span {
    match text[field.range()] {
        [b'"', .., b'"'] => Span { start: field.start + 1, end: field.end - 1 },
        _ => field,
    }
}

/// Returns what a field says: nothing where it is absent or `-`.
#[inline]
pub(crate) fn value(text: &[u8], field: Span) -> Option<Span> {
    if field.is_empty() {
        return None;
    }
    let value = unquoted(text, field);
    (text[value.range()] != *b"-").then_some(value)
}

/// How many fields a table knows of, and demands.
#[derive(Debug, Clone, Copy)]
pub struct FieldCount {
    /// Fewer are a reject.
    pub required: usize,
    /// More are taken as they stand.
    pub known: usize,
}

impl Tile {
    /// Reads lines of `text[from..end]`, which ends with a line end, into the tile.
    ///
    /// Returns the position after the last line read. Copies of irregular lines are appended to `text`, after `end`.
    /// `is_row` returns whether a line would become a row. It is called only for lines that may have to be joined.
    pub fn read(
        &mut self,
        text: &mut Text,
        from: usize,
        end: usize,
        count: FieldCount,
        mut is_row: impl FnMut(&[u8]) -> bool,
    ) -> usize {
        debug_assert!(text[from..end].ends_with(b"\n"), "a text of whole lines");
        self.scan(&text[..end], from);
        self.lines.clear();
        self.unsound.clear();
        self.joined = 0;
        self.known = count.known;
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
            // This line is joined to a line before it.
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
            if irregular || cr || long || (fields as usize) < count.required {
                self.stride = None;
                let first = position(self.used);
                self.starts.truncate(self.used);
                let mut read = read_irregular(text, bounds, count, &mut self.starts);
                if let Err((_, Reason::UnterminatedQuote)) = read
                    && let Some(joined) = join::whole(&text[..end], bounds, count, &mut is_row)
                {
                    read = read_irregular(text, joined.bounds, count, &mut self.starts);
                    self.joined += joined.lines;
                    next = joined.bounds.end as usize + 1;
                }
                match read {
                    Ok((bounds, fields, end)) => {
                        self.used = self.starts.len();
                        self.lines.push(Line { bounds, first, fields, end });
                    }
                    Err((bounds, reason)) => self.unsound.push((bounds, reason)),
                }
            } else {
                self.lines.push(Line { bounds, first, fields, end: bounds.end });
            }
            first = line_end;
        }
        next
    }

    /// Number of lines read, valid or not. A joined line counts once.
    pub fn line_count(&self) -> usize {
        self.lines.len() + self.unsound.len()
    }

    /// Sound lines, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Keeps the sound lines whose indices `keep` likes.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut indices = 0..;
        self.lines.retain(|_| indices.next().is_some_and(&mut keep));
        self.stride = None;
    }

    /// Returns where a field stands in each sound line, quotes and all; nothing where it is absent. The
    /// field after the last known one is the rest of the line.
    pub fn spans(&mut self, index: usize) -> Spans<'_> {
        let lines = self.lines.iter();
        if let Some(stride) = self.stride.filter(|&stride| index < stride && index < self.known) {
            let first = self.lines.first().map_or(0, |line| line.first as usize);
            let from = first + index;
            let end = from + stride * lines.len();
            if self.starts.len() < end {
                // The last line has no more boundaries, but the same room.
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

    /// Finds the boundaries of lines and fields, and what is irregular.
    fn scan(&mut self, text: &[u8], from: usize) {
        #[cfg(target_arch = "x86_64")]
        if x86::WAYS.iter().any(|scan| scan(self, text, from)) {
            return;
        }
        self.scan_with(text, from, Masks::of, running_xor, write_positions);
    }

    /// Does it with the given ways to look at a block, to sum up quotes and to write positions.
    #[allow(clippy::inline_always)] // it is to be compiled for the processor that the caller is for
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
        // What the last byte of the block before was: a delimiter (bit 0), a closing quote (bit 0),
        // within quotes (all bits).
        let (mut delimiter, mut closed, mut quoted) = (1_u64, 0_u64, 0_u64);
        let mut base = from;
        while base < text.len() && self.line_ends.len() < TILE_LINES {
            let mut masks = match text[base..].first_chunk::<BLOCK>() {
                Some(block) => masks_of(block),
                None => masks_of(&last_block(&text[base..])),
            };
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
            // An arithmetic shift spreads the last bit over all of them.
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
        // Positions arrive in order within a kind; an unterminated quote is noted before its block.
        debug_assert!(self.line_ends.is_sorted());
        self.odd.sort_unstable();
    }

    /// Returns where the starts of a block's fields go, behind those that are known.
    #[inline]
    fn room(&mut self, known: usize) -> &mut [u32; BLOCK] {
        if self.starts.len() < known + BLOCK {
            self.starts.resize((known + BLOCK) * 2, 0);
        }
        self.starts[known..].first_chunk_mut().expect("was just made")
    }

    /// A quote never reaches into the next line: notes those that would, and returns the mask of
    /// bytes within quotes as it is without them.
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

/// One bit a byte of a block.
struct Masks {
    quotes: u64,
    spaces: u64,
    line_ends: u64,
    /// Bytes that make a line irregular by themselves: everything above 0x7f.
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

#[cold]
fn last_block(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [b'x'; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// Sets every bit that has an odd number of set bits at or below it.
#[inline]
fn running_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Writes the positions of set bits, counted from `base`; what follows them is written over.
#[allow(clippy::inline_always)] // as `scan_with`
#[inline(always)]
fn write_positions(mut bits: u64, base: u32, out: &mut [u32; BLOCK]) {
    // Eight at a time, some of them for nothing: nearly always the loop then turns just once, which
    // the processor foresees.
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

type Copied = (Bounds, u32, u32);

/// Reads one line byte by byte; copies it in regular form to the end of `text` if it is sound.
///
/// Returns the number of fields of the copy and its end. `starts` receives the starts of its fields
/// and one more entry that bounds the last.
#[cold]
#[inline(never)]
fn read_irregular(
    text: &mut Text,
    mut bounds: Bounds,
    count: FieldCount,
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
    let result = copy_fields(&line, text, count, starts);
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
    count: FieldCount,
    starts: &mut Vec<u32>,
) -> Result<u32, Reason> {
    let mut fields = 0;
    for field in Fields::of(line, count.known) {
        let field = field.map_err(|fault| fault.reason)?;
        if fields > 0 {
            text.extend(b" ");
        }
        starts.push(position(text.len()));
        text.extend(&line[field.range()]);
        fields += 1;
    }
    if fields < count.required {
        return Err(Reason::TooFewFields);
    }
    starts.push(position(text.len()) + 1);
    Ok(position(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// All ways to look at a block see the same, whatever stands in it.
        #[test]
        fn every_processor_finds_the_same(
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
            for scan in x86::WAYS {
                let mut tile = Tile::default();
                if scan(&mut tile, text, from) {
                    proptest::prop_assert_eq!(found(&portable), found(&tile));
                }
            }
        }
    }
}
