//! Inflating: from the gzip bytes of an object to text of whole lines, within bounded memory.
//!
//! An ordinary object is inflated at once by libdeflate, about twice as fast as any streaming
//! inflater. Everything unusual (large, of several members, damaged, empty, no gzip at all) is streamed
//! by flate2 in segments. Only the streaming side ever decides about damage.

mod cut;
mod members;

use std::io::{self, Read};
use std::mem;
use std::ops::Range;

use memchr::{memchr, memmem, memrchr};

use crate::inflate::members::{End, Members};
use crate::reject::{MAX_RAW, Reason};
use crate::text::Text;

/// Largest text that is inflated at once, in bytes.
pub const MAX_WHOLE: usize = 16 << 20;
/// Largest object that is read at once, in bytes.
pub const MAX_WHOLE_GZIP: u64 = 4 << 20;
/// Text in a streamed segment, in bytes, give or take a line.
const SEGMENT: usize = 4 << 20;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The magic and the only compression method there is, as every member begins (RFC 1952, 2.3.1).
const MEMBER: [u8; 3] = [0x1f, 0x8b, 8];

/// Tells whether an object that begins like this is gzip, as far as it can be told.
pub fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) || head == &MAGIC[..1]
}

/// Text of whole lines from one or more objects, in order.
#[derive(Debug, Default)]
pub struct Piece {
    /// The lines of all parts.
    pub text: Text,
    /// Which lines come from which object.
    pub parts: Vec<Part>,
}

/// Some consecutive lines of one object.
#[derive(Debug)]
pub struct Part {
    /// Index of the object in its batch.
    pub object: usize,
    /// Its lines in the piece's text; ends with a line end unless it is empty.
    pub range: Range<usize>,
    /// Compressed bytes that the part accounts for.
    pub gzip_bytes: u64,
    /// Bytes of decompressed text that the part accounts for.
    pub bytes: u64,
    /// What follows the lines and is not text of whole lines.
    pub reject: Option<RawReject>,
}

/// A reject found before lines were looked at: damage, or a line too long to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReject {
    /// Why.
    pub reason: Reason,
    /// Length of what is rejected, in bytes.
    pub raw_length: u64,
    /// Its first [`MAX_RAW`] bytes.
    pub raw: Vec<u8>,
}

impl RawReject {
    fn new(reason: Reason, bytes: &[u8]) -> Self {
        let raw = bytes[..bytes.len().min(MAX_RAW)].to_vec();
        Self { reason, raw_length: bytes.len() as u64, raw }
    }
}

/// Inflates ordinary objects at once.
pub struct Whole {
    decompressor: libdeflater::Decompressor,
    member: memmem::Finder<'static>,
}

impl Default for Whole {
    fn default() -> Self {
        Self {
            decompressor: libdeflater::Decompressor::new(),
            member: memmem::Finder::new(&MEMBER),
        }
    }
}

impl Whole {
    /// Appends the lines of an object to a piece, or leaves the piece as it was and returns false
    /// when the object must be streamed.
    ///
    /// libdeflate stops after the first member without saying how far it came. A member ends with the
    /// length of its text (RFC 1952, 2.3.1). So an object is taken here only if it ends with the length
    /// of the text that came out, and if nowhere within it a member begins right after that length.
    pub fn inflate(&mut self, object: usize, gzip: &[u8], piece: &mut Piece) -> bool {
        let Some(length) = gzip.last_chunk::<4>() else {
            return false;
        };
        let ends_member = |at: usize| gzip[..at].ends_with(length);
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0
            || length > MAX_WHOLE
            || !gzip.starts_with(&MEMBER)
            || self.member.find_iter(gzip).any(ends_member)
        {
            return false;
        }
        let start = piece.text.len();
        let room = &mut piece.text.spare(length)[..length];
        if !self.decompressor.gzip_decompress(gzip, room).is_ok_and(|written| written == length) {
            return false;
        }
        piece.text.advance(length);
        end_last_line(&mut piece.text, start);
        let range = start..piece.text.len();
        let (gzip_bytes, bytes) = (gzip.len() as u64, length as u64);
        piece.parts.push(Part { object, range, gzip_bytes, bytes, reject: None });
        true
    }
}

/// Inflates one object in segments.
pub struct Stream {
    object: usize,
    input: Input,
    /// The beginning of a line whose end is still to come.
    carry: Vec<u8>,
    /// A line that does not fit into a segment.
    long: Option<LongLine>,
    /// How far the input was read.
    end: End,
    /// Whether everything was returned.
    ended: bool,
}

/// What a stream reads from.
enum Input {
    Gzip(Members),
    /// Text that was never compressed.
    Text(Box<dyn Read + Send>, u64),
    /// Nothing is left, or never was.
    Empty,
    /// The first bytes of something else, and the length of all of it.
    NotGzip(Vec<u8>, u64),
}

impl Input {
    /// Returns how many compressed bytes were read since the last call.
    fn take_count(&mut self) -> u64 {
        match self {
            Self::Gzip(members) => members.take_count(),
            Self::Text(_, count) => mem::take(count),
            Self::Empty => 0,
            Self::NotGzip(_, size) => *size,
        }
    }
}

impl Stream {
    /// Begins to inflate an object of `size` compressed bytes.
    ///
    /// # Errors
    ///
    /// Fails when the reader does.
    pub fn new(object: usize, size: u64, reader: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut members = Members::new(reader);
        let head = members.head()?;
        let input = if head.is_empty() || is_only_header(head, size) {
            Input::Empty
        } else if is_gzip(head) {
            Input::Gzip(members)
        } else {
            Input::NotGzip(head[..head.len().min(MAX_RAW)].to_vec(), size)
        };
        Ok(Self::over(object, input))
    }

    /// Begins to cut an object of text that was never compressed.
    pub fn of_text(object: usize, reader: Box<dyn Read + Send>) -> Self {
        Self::over(object, Input::Text(reader, 0))
    }

    fn over(object: usize, input: Input) -> Self {
        Self { object, input, carry: Vec::new(), long: None, end: End::Full, ended: false }
    }

    /// Returns how many gzip members were begun so far.
    pub fn members(&self) -> u64 {
        match &self.input {
            Input::Gzip(members) => members.begun(),
            Input::Text(..) | Input::Empty | Input::NotGzip(..) => 0,
        }
    }

    /// Returns the index of the object in its batch.
    pub fn object(&self) -> usize {
        self.object
    }

    /// Returns the next segment in `text`, or `None` after the last.
    ///
    /// # Errors
    ///
    /// Fails when the reader does. Damaged data is no error but a reject at the end of the lines
    /// that could be read.
    pub fn next(&mut self, mut text: Text) -> io::Result<Option<Piece>> {
        text.truncate(0);
        while !self.ended {
            text.extend(&mem::take(&mut self.carry));
            let end = self.fill(&mut text)?;
            let (bytes, reject) = match self.long.take() {
                None => match self.end_lines(&mut text, end) {
                    Some(lines) => lines,
                    None => continue,
                },
                Some(long) => match self.end_long_line(long, &mut text, end) {
                    Some((bytes, reject)) => (bytes, Some(reject)),
                    None => continue,
                },
            };
            let (object, gzip_bytes) = (self.object, self.input.take_count());
            let part = Part { object, range: 0..text.len(), gzip_bytes, bytes, reject };
            return Ok(Some(Piece { text, parts: vec![part] }));
        }
        Ok(None)
    }

    /// Reads until the text holds a segment.
    fn fill(&mut self, text: &mut Text) -> io::Result<End> {
        if self.end == End::Full {
            let room = SEGMENT.saturating_sub(text.len());
            let (count, end) = match &mut self.input {
                Input::Empty => (0, End::Done),
                Input::NotGzip(..) => (0, End::Damage(Reason::NotGzip)),
                Input::Gzip(members) => members.read(&mut text.spare(room)[..room])?,
                Input::Text(reader, total) => {
                    let count = read_full(reader, &mut text.spare(room)[..room])?;
                    *total += count as u64;
                    (count, if count < room { End::Done } else { End::Full })
                }
            };
            text.advance(count);
            self.end = end;
        }
        Ok(self.end)
    }

    /// Cuts the text behind its last whole line. Returns the bytes it accounts for, and a reject if
    /// the rest is none; or nothing if a line has just begun that is too long to hold.
    fn end_lines(&mut self, text: &mut Text, end: End) -> Option<(u64, Option<RawReject>)> {
        let lines = memrchr(b'\n', text).map_or(0, |at| at + 1);
        let all = text.len() as u64;
        match end {
            End::Full if lines == 0 => {
                self.long = Some(LongLine::new(text));
                text.truncate(0);
                None
            }
            End::Full => {
                let cut = cut::before_open_line(text, lines);
                self.carry.extend_from_slice(&text[cut..]);
                text.truncate(cut);
                Some((cut as u64, None))
            }
            End::Done => {
                self.ended = true;
                end_last_line(text, 0);
                Some((all, None))
            }
            End::Damage(reason) => {
                self.ended = true;
                let reject = match &mut self.input {
                    Input::NotGzip(raw, raw_length) => {
                        RawReject { reason, raw: mem::take(raw), raw_length: *raw_length }
                    }
                    _ => RawReject::new(reason, &text[lines..]),
                };
                text.truncate(lines);
                Some((all, Some(reject)))
            }
        }
    }

    /// Looks for the end of a line that is too long to hold. Returns the bytes it accounts for and
    /// the line as a reject; or nothing if it goes on.
    fn end_long_line(
        &mut self,
        mut long: LongLine,
        text: &mut Text,
        end: End,
    ) -> Option<(u64, RawReject)> {
        let line_end = memchr(b'\n', text);
        long.extend(&text[..line_end.unwrap_or(text.len())]);
        match (line_end, end) {
            (Some(at), _) => {
                self.carry.extend_from_slice(&text[at + 1..]);
                long.bytes += 1;
                // As with any line, a CR before the line end is not part of it.
                long.reject.raw_length -= u64::from(long.last == Some(b'\r'));
            }
            (None, End::Full) => self.long = Some(long.clone()),
            (None, End::Done) => self.ended = true,
            (None, End::Damage(reason)) => {
                self.ended = true;
                long.reject.reason = reason;
            }
        }
        text.truncate(0);
        self.long.is_none().then_some((long.bytes, long.reject))
    }
}

/// A line that is too long to hold, as far as it was read.
#[derive(Clone)]
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

/// Reads until the buffer is full or nothing is left; returns how many bytes.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Ends the last line of a text where the object did not.
fn end_last_line(text: &mut Text, start: usize) {
    if text[start..].last().is_some_and(|&last| last != b'\n') {
        text.extend(b"\n");
    }
}

/// Tells whether an object ends right after a gzip header (RFC 1952, 2.3), and so holds nothing.
fn is_only_header(head: &[u8], size: u64) -> bool {
    const HEADER: usize = 10;
    const FHCRC: u8 = 2;
    const FEXTRA: u8 = 4;
    const FNAME: u8 = 8;
    const FCOMMENT: u8 = 16;
    if head.len() as u64 != size || head.len() < HEADER || !head.starts_with(&MEMBER) {
        return false;
    }
    let flags = head[3];
    let mut rest = &head[HEADER..];
    if flags & FEXTRA != 0 {
        let Some((length, after)) = rest.split_first_chunk::<2>() else {
            return false;
        };
        let Some(after) = after.get(usize::from(u16::from_le_bytes(*length))..) else {
            return false;
        };
        rest = after;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let Some(end) = memchr(0, rest) else {
                return false;
            };
            rest = &rest[end + 1..];
        }
    }
    rest.len() == if flags & FHCRC == 0 { 0 } else { 2 }
}
