//! Inflating: from the gzip bytes of an object to text of whole lines, within bounded memory.
//!
//! An ordinary object is inflated at once by libdeflate, about twice as fast as any streaming
//! inflater. Everything unusual (large, of several members, damaged, empty, no gzip at all) is streamed
//! by flate2 in segments. Only the streaming side ever decides about damage.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memmem, memrchr};

use crate::reject::{MAX_RAW, Reason};
use crate::text::Text;

/// Largest text that is inflated at once, in bytes.
pub const MAX_WHOLE: usize = 16 << 20;
/// Largest object that is read at once, in bytes.
pub const MAX_WHOLE_GZIP: u64 = 4 << 20;
/// Text in a streamed segment, in bytes, give or take a line.
const SEGMENT: usize = 4 << 20;
/// Bytes read ahead of the streaming inflater.
const READ_AHEAD: usize = 256 << 10;
/// Text asked of the streaming inflater at once, in bytes: what it has inflated in the call that
/// meets damage is lost.
const STEP: usize = 8 << 10;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The magic and the only compression method there is, as every member begins (RFC 1952, 2.3.1).
const MEMBER: [u8; 3] = [0x1f, 0x8b, 8];

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
    /// libdeflate stops after the first member without saying how far it came. So an object is taken
    /// here only if no second member can begin within it and its last bytes are the length of the text.
    pub fn inflate(&mut self, object: usize, gzip: &[u8], piece: &mut Piece) -> bool {
        let Some(length) = gzip.last_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize)
        else {
            return false;
        };
        if length > MAX_WHOLE
            || !gzip.starts_with(&MEMBER)
            || self.member.find(&gzip[3..]).is_some()
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
    ended: bool,
}

/// What a stream reads from.
enum Input {
    Gzip(Box<MultiGzDecoder<BufReader<Watched>>>),
    /// Nothing is left, or never was.
    Empty,
    /// The first bytes of something else, and the length of all of it.
    NotGzip(Vec<u8>, u64),
}

impl Input {
    /// Returns how many compressed bytes were read since the last call.
    fn take_count(&mut self) -> u64 {
        match self {
            Self::Gzip(decoder) => mem::take(&mut decoder.get_mut().get_mut().count),
            Self::Empty => 0,
            Self::NotGzip(_, size) => *size,
        }
    }
}

/// A reader that counts what it read, and remembers whether it failed: a failing disk is not
/// damaged data.
struct Watched {
    reader: Box<dyn Read + Send>,
    count: u64,
    failed: bool,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buffer);
        match &result {
            Ok(count) => self.count += *count as u64,
            Err(error) => self.failed = error.kind() != io::ErrorKind::Interrupted,
        }
        result
    }
}

impl Stream {
    /// Begins to inflate an object of `size` compressed bytes.
    ///
    /// # Errors
    ///
    /// Fails when the reader does.
    pub fn new(object: usize, size: u64, reader: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut reader =
            BufReader::with_capacity(READ_AHEAD, Watched { reader, count: 0, failed: false });
        let head = reader.fill_buf()?;
        let input = if head.is_empty() || is_only_header(head, size) {
            Input::Empty
        } else if head.starts_with(&MAGIC) || head == &MAGIC[..1] {
            Input::Gzip(Box::new(MultiGzDecoder::new(reader)))
        } else {
            Input::NotGzip(head[..head.len().min(MAX_RAW)].to_vec(), size)
        };
        Ok(Self { object, input, carry: Vec::new(), ended: false })
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
        if self.ended {
            return Ok(None);
        }
        text.truncate(0);
        text.extend(&mem::take(&mut self.carry));
        let end = self.fill(&mut text)?;
        let lines = memrchr(b'\n', &text).map_or(0, |at| at + 1);
        let mut bytes = text.len() as u64;
        let mut reject = None;
        match end {
            Filled::Segment if lines == 0 => {
                let mut long = RawReject::new(Reason::LineTooLong, &text);
                let (skipped, damage) = self.skip_line()?;
                long.raw_length += skipped.line;
                long.reason = damage.unwrap_or(long.reason);
                bytes += skipped.bytes;
                text.truncate(0);
                reject = Some(long);
            }
            Filled::Segment => {
                self.carry.extend_from_slice(&text[lines..]);
                bytes = lines as u64;
                text.truncate(lines);
            }
            Filled::End => {
                self.ended = true;
                end_last_line(&mut text, 0);
            }
            Filled::Damage(reason) => {
                self.ended = true;
                reject = Some(match &mut self.input {
                    Input::NotGzip(raw, raw_length) => {
                        RawReject { reason, raw: mem::take(raw), raw_length: *raw_length }
                    }
                    _ => RawReject::new(reason, &text[lines..]),
                });
                text.truncate(lines);
            }
        }
        let gzip_bytes = self.input.take_count();
        let part = Part { object: self.object, range: 0..text.len(), gzip_bytes, bytes, reject };
        Ok(Some(Piece { text, parts: vec![part] }))
    }

    /// Reads until the text holds a segment.
    fn fill(&mut self, text: &mut Text) -> io::Result<Filled> {
        let decoder = match &mut self.input {
            Input::Empty => return Ok(Filled::End),
            Input::NotGzip(..) => return Ok(Filled::Damage(Reason::NotGzip)),
            Input::Gzip(decoder) => decoder,
        };
        while text.len() < SEGMENT {
            let room = STEP.min(SEGMENT - text.len());
            match decoder.read(&mut text.spare(room)[..room]) {
                Ok(0) => return Ok(Filled::End),
                Ok(count) => text.advance(count),
                Err(error) => return damage(decoder, error).map(Filled::Damage),
            }
        }
        Ok(Filled::Segment)
    }

    /// Skips to the end of a line that does not fit into a segment; keeps what follows it.
    fn skip_line(&mut self) -> io::Result<(Skipped, Option<Reason>)> {
        let Input::Gzip(decoder) = &mut self.input else {
            return Ok((Skipped::default(), None));
        };
        let mut skipped = Skipped::default();
        let mut buffer = vec![0; READ_AHEAD];
        loop {
            let count = match decoder.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Ok((skipped, None));
                }
                Ok(count) => count,
                Err(error) => {
                    self.ended = true;
                    return Ok((skipped, Some(damage(decoder, error)?)));
                }
            };
            if let Some(at) = memchr(b'\n', &buffer[..count]) {
                skipped.line += at as u64;
                skipped.bytes += at as u64 + 1;
                self.carry.extend_from_slice(&buffer[at + 1..count]);
                return Ok((skipped, None));
            }
            skipped.line += count as u64;
            skipped.bytes += count as u64;
        }
    }
}

enum Filled {
    Segment,
    End,
    Damage(Reason),
}

#[derive(Default)]
struct Skipped {
    /// Bytes of the line.
    line: u64,
    /// Bytes of the line and its end.
    bytes: u64,
}

/// Tells damaged data from a failing reader.
fn damage(decoder: &MultiGzDecoder<BufReader<Watched>>, error: io::Error) -> io::Result<Reason> {
    if decoder.get_ref().get_ref().failed {
        return Err(error);
    }
    Ok(match error.kind() {
        io::ErrorKind::UnexpectedEof => Reason::TruncatedGzip,
        _ => Reason::CorruptGzip,
    })
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
