//! Decompresses objects to whole lines of text, in bounded memory.
//!
//! libdeflate decompresses an ordinary object in a single call, about twice as fast as any streaming decompressor.
//! flate2 streams all other objects in segments: those that are large, empty, corrupt or not gzip, and those with
//! several members. Only the streaming path decides whether an object is corrupt.

mod blank;
mod content;
mod cut;
mod members;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::mem;
use std::ops::Range;

use memchr::{memchr, memmem, memrchr};

use crate::decode::gzip::blank::BlankLines;
use crate::decode::gzip::content::{BYTE_ORDER_MARK, is_only_header};
use crate::decode::gzip::members::{End, Layer};
use crate::decode::text_buffer::Text;
use crate::logs::reject::{MAX_RAW, Reason};

pub(crate) use crate::decode::gzip::content::{HEAD, is_gzip, is_text};

/// Maximum size in bytes of text that is decompressed in a single call.
pub const MAX_WHOLE: usize = 16 << 20;
/// Maximum size in bytes of an object that is read into memory as a whole.
pub(crate) const MAX_WHOLE_GZIP: u64 = 4 << 20;
/// Approximate text size of a streamed segment, in bytes. A segment ends at the end of a line.
const SEGMENT: usize = 4 << 20;
/// Maximum number of levels of nested gzip.
const MAX_DEPTH: usize = 4;

/// The first bytes of every gzip member (RFC 1952, 2.3.1): the magic number and the compression method, which is always
/// deflate.
const MEMBER: [u8; 3] = [0x1f, 0x8b, 8];
/// Index of the flags byte in a member.
const FLAGS: usize = 3;
/// The flag that is set if the member's header has a checksum.
const FHCRC: u8 = 2;
/// Length in bytes of the smallest member, excluding its size field: a header, an empty block and a checksum.
const LEAST: usize = 16;

/// Whole lines of decompressed text, from one or more objects.
#[derive(Debug, Default)]
pub struct Decompressed {
    /// The lines of all segments.
    pub text: Text,
    /// The segments of the text, in order. Each belongs to one object.
    pub segments: Vec<Segment>,
}

/// Consecutive lines from one object.
#[derive(Debug, Default)]
pub struct Segment {
    /// Index of the object in its batch.
    pub object: usize,
    /// Range of the segment's lines in the text. The last line has a line ending.
    pub range: Range<usize>,
    /// Compressed bytes that the segment accounts for.
    pub gzip_bytes: u64,
    /// Bytes of decompressed text that the segment accounts for.
    pub bytes: u64,
    /// Rejected data after the lines: corrupt data, trailing garbage, or a line that is too long.
    pub reject: Option<RawReject>,
    /// CRC-32 of all decompressed bytes of the object. Set in its last segment, unless the object is corrupt.
    pub crc32: Option<u32>,
    /// Notes about the object that were found in this segment.
    pub notes: Vec<Note>,
    /// All or part of a line that is longer than a segment. The last part includes a line ending.
    pub long_line: Vec<u8>,
    /// Whether the last line had no line ending. Set in the object's last segment.
    pub unterminated: bool,
    /// The ignored blank lines at the end of the object.
    pub blank: BlankLines,
}

impl Segment {
    /// Returns an empty segment at position `at` that accounts for a byte order mark at the start of the text, so that
    /// the offsets in the next segment include the mark.
    fn of_mark(object: usize, at: usize) -> Self {
        let bytes = BYTE_ORDER_MARK.len() as u64;
        Self { object, range: at..at, bytes, notes: vec![Note::ByteOrderMark], ..Self::default() }
    }
}

/// An unusual property of an object that is still converted. The codes are part of claims and of `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Note {
    /// The text begins with a UTF-8 byte order mark, which is skipped.
    ByteOrderMark,
    /// The gzip data contains gzip data, which is also decompressed.
    GzipInGzip,
    /// Zero bytes or line endings follow a gzip member; they are skipped.
    Padding,
    /// The object is uncompressed text, although load balancers deliver this log type as gzip.
    PlainText,
}

impl Note {
    /// All notes, sorted by code.
    pub const ALL: [Self; 4] =
        [Self::ByteOrderMark, Self::GzipInGzip, Self::Padding, Self::PlainText];

    /// Returns the code of the note in claims and summaries.
    pub fn code(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte_order_mark",
            Self::GzipInGzip => "gzip_in_gzip",
            Self::Padding => "padding",
            Self::PlainText => "plain_text",
        }
    }

    /// Returns a description that completes a sentence whose subject is the object.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "begins with a UTF-8 byte order mark, which is skipped",
            Self::GzipInGzip => "is gzip inside gzip; up to four levels are decompressed",
            Self::Padding => "has zero bytes or line endings after a gzip member; they are skipped",
            Self::PlainText => "is plain text, not gzip",
        }
    }
}

/// A reject that is found before lines are decoded: corrupt data, or a line that is longer than a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReject {
    /// Reason for the reject.
    pub reason: Reason,
    /// Length of the rejected data in bytes.
    pub raw_length: u64,
    /// The first [`MAX_RAW`] bytes of the data.
    pub raw: Vec<u8>,
}

impl RawReject {
    fn new(reason: Reason, bytes: &[u8]) -> Self {
        let raw = bytes[..bytes.len().min(MAX_RAW)].to_vec();
        Self { reason, raw_length: bytes.len() as u64, raw }
    }
}

/// Decompresses ordinary objects, each in a single call.
pub struct Whole {
    decompressor: libdeflater::Decompressor,
}

impl Default for Whole {
    fn default() -> Self {
        Self { decompressor: libdeflater::Decompressor::new() }
    }
}

impl Whole {
    /// Appends the lines of an object and returns true. If the object must be streamed, appends nothing and returns
    /// false.
    ///
    /// libdeflate stops after the first member without reporting where the member ends. But it verifies the
    /// uncompressed size, which is stored in the last four bytes of that member (RFC 1952, 2.3.1). So if these four
    /// bytes end the object and occur nowhere else after the header, the member ends where the object ends, and no data
    /// follows it. The four bytes may also occur elsewhere by chance, so about one object in several thousand is
    /// streamed unnecessarily.
    pub fn inflate(&mut self, object: usize, gzip: &[u8], decompressed: &mut Decompressed) -> bool {
        let Some((before, [crc32 @ .., b0, b1, b2, b3])) = gzip.split_last_chunk::<8>() else {
            return false;
        };
        let (crc32, field) = (u32::from_le_bytes(*crc32), [*b0, *b1, *b2, *b3]);
        let length = u32::from_le_bytes(field) as usize;
        // libdeflate does not verify the checksum of a header.
        let is_plain =
            before.starts_with(&MEMBER) && before.get(FLAGS).is_some_and(|f| f & FHCRC == 0);
        if !is_plain || length == 0 || length > MAX_WHOLE {
            return false;
        }
        let others = gzip[..gzip.len() - 1].get(LEAST..).unwrap_or_default();
        if memmem::find(others, &field).is_some() {
            return false;
        }
        let start = decompressed.text.len();
        let room = &mut decompressed.text.spare(length)[..length];
        if !self.decompressor.gzip_decompress(gzip, room).is_ok_and(|written| written == length)
            || room.starts_with(&MEMBER)
        {
            return false;
        }
        decompressed.text.advance(length);
        let mut mark = 0;
        if decompressed.text[start..].starts_with(BYTE_ORDER_MARK) {
            mark = BYTE_ORDER_MARK.len();
            decompressed.segments.push(Segment::of_mark(object, start));
        }
        let start = start + mark;
        let unterminated = end_last_line(&mut decompressed.text, start);
        let (lines, blank) = BlankLines::cut_off(&decompressed.text[start..]);
        let end = start + lines.len();
        decompressed.text.truncate(end);
        decompressed.segments.push(Segment {
            object,
            range: start..end,
            gzip_bytes: gzip.len() as u64,
            bytes: (length - mark) as u64,
            reject: None,
            // libdeflate has verified this checksum.
            crc32: Some(crc32),
            unterminated,
            blank,
            ..Segment::default()
        });
        true
    }
}

/// Streams one object in segments.
pub struct Stream {
    object: usize,
    body: Body,
    /// Approximate text size of a segment, in bytes.
    segment_size: usize,
    /// Whether the start of the text was checked for a byte order mark.
    started: bool,
    /// Text for the next segment: an incomplete line, and any preceding lines that may have to be joined with it.
    carry: Vec<u8>,
    /// The current line, if it is longer than a segment.
    long: Option<LongLine>,
    /// How the last read ended.
    end: End,
    /// Whether the last segment was read.
    ended: bool,
    /// CRC-32 of the text so far.
    crc: libdeflater::Crc,
    /// Notes that have not been returned in a segment yet.
    notes: Vec<Note>,
    /// Whether the last line has no line ending.
    unterminated: bool,
    /// Blank lines that are ignored unless a line follows.
    held: BlankLines,
    /// Blank lines to return next, because a line follows them.
    due: BlankLines,
    /// The segment that follows the blank lines in `due`.
    ready: Option<Decompressed>,
}

/// The content of a stream.
enum Body {
    Text(Layer),
    /// An object that is rejected as a whole, and its size, which is counted as bytes read.
    Rejected(RawReject, u64),
}

impl Body {
    /// Returns how many of the object's bytes were read since the last call.
    fn take_count(&mut self) -> u64 {
        match self {
            Self::Text(layer) => layer.count(),
            Self::Rejected(_, size) => mem::take(size),
        }
    }
}

impl Stream {
    /// Starts reading an object of `size` bytes, regardless of its content.
    ///
    /// # Errors
    ///
    /// Fails if the reader fails.
    pub fn new(object: usize, size: u64, reader: Box<dyn Read + Send>) -> io::Result<Self> {
        Self::begin(object, Some(size), reader)
    }

    /// Starts reading an object of unknown size.
    ///
    /// # Errors
    ///
    /// Fails if the reader fails.
    pub fn of_unknown_size(object: usize, reader: Box<dyn Read + Send>) -> io::Result<Self> {
        Self::begin(object, None, reader)
    }

    /// Starts reading an object that is known to be text.
    pub fn of_text(object: usize, reader: Box<dyn Read + Send>) -> Self {
        Self::over(object, Body::Text(Layer::of_object(reader)), Vec::new())
    }

    fn begin(object: usize, size: Option<u64>, reader: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut layer = Layer::of_object(reader);
        let mut notes = Vec::new();
        let mut depth = 0;
        let body = loop {
            let (head, is_all) = layer.head()?;
            let is_gzip = if depth == 0 { is_gzip(head) } else { head.starts_with(&MEMBER) };
            if is_all && (head.is_empty() || is_only_header(head)) {
                let count = head.len();
                layer.take(count);
                break Body::Text(layer);
            } else if is_gzip && depth == MAX_DEPTH {
                let reject = RawReject::new(Reason::NestedGzip, head);
                break Body::Rejected(reject, size.unwrap_or_else(|| layer.count()));
            } else if is_gzip {
                depth += 1;
                layer = Layer::of_gzip(layer);
            } else if depth == 0 && is_text(head) {
                notes.push(Note::PlainText);
                break Body::Text(layer);
            } else if depth == 0 {
                let mut reject = RawReject::new(Reason::NotGzip, head);
                reject.raw_length = match size {
                    Some(size) => size,
                    None => layer.take_all()?,
                };
                let size = reject.raw_length;
                break Body::Rejected(reject, size);
            } else {
                break Body::Text(layer);
            }
        };
        if depth > 1 && matches!(body, Body::Text(_)) {
            notes.push(Note::GzipInGzip);
        }
        Ok(Self::over(object, body, notes))
    }

    fn over(object: usize, body: Body, notes: Vec<Note>) -> Self {
        Self {
            object,
            body,
            segment_size: SEGMENT,
            started: false,
            carry: Vec::new(),
            long: None,
            end: End::Full,
            ended: false,
            crc: libdeflater::Crc::new(),
            notes,
            unterminated: false,
            held: BlankLines::default(),
            due: BlankLines::default(),
            ready: None,
        }
    }

    /// Returns the number of gzip members started so far.
    pub fn members(&self) -> u64 {
        match &self.body {
            Body::Text(layer) => layer.members(),
            Body::Rejected(..) => 0,
        }
    }

    /// Returns the index of the object in its batch.
    pub fn object(&self) -> usize {
        self.object
    }

    /// Returns the next segment, or `None` after the last. A segment may have no lines. Reuses the buffer `text`.
    ///
    /// # Errors
    ///
    /// Fails if the reader fails. Corrupt data is not an error: it becomes a reject after the lines that were read.
    pub fn next(&mut self, text: Text) -> io::Result<Option<Decompressed>> {
        if self.due.is_empty() {
            if let Some(decompressed) = self.ready.take() {
                return Ok(Some(decompressed));
            }
            if self.ended {
                return Ok(None);
            }
            let decompressed = self.read_segment(text)?;
            if self.due.is_empty() {
                return Ok(Some(decompressed));
            }
            self.ready = Some(decompressed);
            return Ok(Some(self.due_lines(Text::default())));
        }
        Ok(Some(self.due_lines(text)))
    }

    /// Returns a segment of blank lines that are followed by more text.
    fn due_lines(&mut self, mut text: Text) -> Decompressed {
        text.truncate(0);
        self.due.move_to(&mut text, self.segment_size);
        let (object, range, bytes) = (self.object, 0..text.len(), text.len() as u64);
        Decompressed {
            text,
            segments: vec![Segment { object, range, bytes, ..Segment::default() }],
        }
    }

    /// Reads the next segment. Holds back blank lines at its end.
    fn read_segment(&mut self, mut text: Text) -> io::Result<Decompressed> {
        text.truncate(0);
        let mut segments = self.begin_text()?;
        text.extend(&mem::take(&mut self.carry));
        let end = self.fill(&mut text)?;
        let mut long_line = Vec::new();
        let (mut bytes, reject) = match self.long.take() {
            None => self.end_lines(&mut text, end, &mut long_line),
            Some(long) => self.end_long_line(long, &mut text, end, &mut long_line),
        };
        if reject.is_some() || !long_line.is_empty() || matches!(end, End::Damage(_)) {
            // Rejected data follows, so neither the held blank lines nor the ones in this segment are at the end of the
            // object.
            self.due = mem::take(&mut self.held);
        } else {
            let (lines, blank) = BlankLines::cut_off(&text);
            let lines = lines.len();
            text.truncate(lines);
            if !self.ended {
                bytes -= blank.bytes();
            }
            if lines == 0 {
                let held = self.held.bytes();
                self.due = self.held.append(blank);
                if self.ended {
                    // No other segment contains the ignored lines, so this segment accounts for their bytes.
                    bytes += held - self.due.bytes();
                }
            } else {
                self.due = mem::replace(&mut self.held, blank);
            }
        }
        if let (true, Body::Text(layer)) = (self.ended, &self.body)
            && layer.is_padded()
        {
            self.notes.push(Note::Padding);
        }
        segments.push(Segment {
            object: self.object,
            range: 0..text.len(),
            gzip_bytes: self.body.take_count(),
            bytes,
            reject,
            crc32: (self.ended && end == End::Done).then(|| self.crc.sum()),
            notes: mem::take(&mut self.notes),
            long_line,
            unterminated: mem::take(&mut self.unterminated),
            blank: if self.ended { mem::take(&mut self.held) } else { BlankLines::default() },
        });
        Ok(Decompressed { text, segments })
    }

    /// Skips a byte order mark at the start of the text. Returns a segment that accounts for it.
    fn begin_text(&mut self) -> io::Result<Vec<Segment>> {
        if let Body::Text(layer) = &mut self.body
            && !mem::replace(&mut self.started, true)
            && layer.ahead(BYTE_ORDER_MARK.len())?.starts_with(BYTE_ORDER_MARK)
        {
            layer.take(BYTE_ORDER_MARK.len());
            self.crc.update(BYTE_ORDER_MARK);
            return Ok(vec![Segment::of_mark(self.object, 0)]);
        }
        Ok(Vec::new())
    }

    /// Fills `text` up to the segment size. Returns how the read ended.
    fn fill(&mut self, text: &mut Text) -> io::Result<End> {
        if self.end == End::Full {
            let room = self.segment_size.saturating_sub(text.len());
            let out = &mut text.spare(room)[..room];
            let (count, end) = match &mut self.body {
                Body::Rejected(reject, _) => (0, End::Damage(reject.reason)),
                Body::Text(layer) => layer.read(out)?,
            };
            self.crc.update(&out[..count]);
            text.advance(count);
            self.end = end;
        }
        Ok(self.end)
    }

    /// Truncates the text to whole lines, and carries the rest over to the next segment. Returns the number of bytes
    /// that the segment accounts for, and a reject if the data ends with one.
    fn end_lines(
        &mut self,
        text: &mut Text,
        end: End,
        long_line: &mut Vec<u8>,
    ) -> (u64, Option<RawReject>) {
        let lines = memrchr(b'\n', text).map_or(0, |at| at + 1);
        let all = text.len() as u64;
        match end {
            End::Full if lines == 0 => {
                self.long = Some(LongLine::new(text));
                long_line.extend_from_slice(text);
                text.truncate(0);
                (0, None)
            }
            End::Full => {
                // If the cut would be before all lines, cut after them instead. Otherwise the stream would make no
                // progress.
                let cut = match cut::before_open_line(text, lines) {
                    0 => lines,
                    cut => cut,
                };
                self.carry.extend_from_slice(&text[cut..]);
                text.truncate(cut);
                (cut as u64, None)
            }
            End::Done => {
                self.ended = true;
                self.unterminated = end_last_line(text, 0);
                (all, None)
            }
            // Return the text first. The next segment contains the garbage.
            End::Damage(Reason::TrailingGarbage) if !text.is_empty() => {
                end_last_line(text, 0);
                (all, None)
            }
            End::Damage(reason) => {
                self.ended = true;
                let reject = match &mut self.body {
                    Body::Rejected(reject, _) => Some(reject.clone()),
                    Body::Text(layer) if reason == Reason::TrailingGarbage => {
                        layer.take_trailing_data()
                    }
                    Body::Text(_) => None,
                };
                let reject = reject.unwrap_or_else(|| RawReject::new(reason, &text[lines..]));
                text.truncate(lines);
                (all, Some(reject))
            }
        }
    }

    /// Searches for the end of a line that is longer than a segment. If the end is found, returns the number of bytes
    /// that the segment accounts for, and the line as a reject.
    fn end_long_line(
        &mut self,
        mut long: LongLine,
        text: &mut Text,
        end: End,
        long_line: &mut Vec<u8>,
    ) -> (u64, Option<RawReject>) {
        let line_end = memchr(b'\n', text);
        long.extend(&text[..line_end.unwrap_or(text.len())]);
        long_line.extend_from_slice(&text[..line_end.map_or(text.len(), |at| at + 1)]);
        if let Some(at) = line_end {
            self.carry.extend_from_slice(&text[at + 1..]);
            long.bytes += 1;
            // As with any line, a CR before the LF is not part of the line.
            long.reject.raw_length -= u64::from(long.last == Some(b'\r'));
        }
        text.truncate(0);
        match (line_end, end) {
            (None, End::Full) => {
                self.long = Some(long);
                return (0, None);
            }
            (None, End::Done) => {
                self.ended = true;
                self.unterminated = true;
                long_line.push(b'\n');
            }
            (None, End::Damage(reason)) if reason != Reason::TrailingGarbage => {
                self.ended = true;
                long.reject.reason = reason;
            }
            _ => {}
        }
        (long.bytes, Some(long.reject))
    }
}

/// The part that was read so far of a line that is longer than a segment.
struct LongLine {
    reject: RawReject,
    bytes: u64,
    last: Option<u8>,
}

impl LongLine {
    fn new(beginning: &[u8]) -> Self {
        let reject = RawReject::new(Reason::LineTooLong, beginning);
        Self { reject, bytes: beginning.len() as u64, last: beginning.last().copied() }
    }

    fn extend(&mut self, more: &[u8]) {
        self.reject.raw_length += more.len() as u64;
        self.bytes += more.len() as u64;
        self.last = more.last().copied().or(self.last);
    }
}

/// Appends a line ending if the last line has none. Returns whether it had none.
fn end_last_line(text: &mut Text, start: usize) -> bool {
    let unterminated = text[start..].last().is_some_and(|&last| last != b'\n');
    if unterminated {
        text.extend(b"\n");
    }
    unterminated
}
