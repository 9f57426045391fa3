//! A slow reference reader for objects, which implements RFC 1952 on top of a raw inflater. This module also contains
//! functions that read objects with the crate's two inflaters.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::mem;

use alb2parquet::internals::decode::decoder::Decoder;
use alb2parquet::internals::decode::gzip::{Decompressed, Stream, Whole};
use alb2parquet::internals::decode::text_buffer::Text;
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::verify::reference::without_blank_end;
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use crate::outcome::{OBJECT, Outcome, Rejected, reference};

const MAX_RAW: usize = 64 << 10;
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";

/// The result of reading an object.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) outcome: Outcome,
    pub(crate) notes: BTreeSet<&'static str>,
    /// Checksum of the entire text. `None` if the object is damaged.
    pub(crate) crc32: Option<u32>,
    /// Number of decompressed bytes.
    pub(crate) bytes: u64,
}

impl PartialEq for Content {
    /// Ignores padding notes if the object is damaged, because only the reference reader reads the padding after
    /// damaged nested gzip.
    fn eq(&self, other: &Self) -> bool {
        let notes = |content: &Self| {
            let mut notes = content.notes.clone();
            if content.crc32.is_none() {
                notes.remove("padding");
            }
            notes
        };
        notes(self) == notes(other)
            && (&self.outcome, self.crc32, self.bytes) == (&other.outcome, other.crc32, other.bytes)
    }
}

/// Why decompression stopped early.
type Damage = Option<&'static str>;

pub(crate) fn content(object: &[u8]) -> Content {
    let mut notes = BTreeSet::new();
    let (mut bytes, mut damage): (Vec<u8>, Damage) = (object.to_vec(), None);
    let mut behind: Option<Vec<u8>> = None;
    let mut depth = 0;
    loop {
        let is_gzip = match depth {
            0 => bytes.starts_with(b"\x1f\x8b") || bytes == b"\x1f",
            _ => bytes.starts_with(b"\x1f\x8b\x08"),
        };
        if damage.is_none() && header(&bytes) == Some(Ok(bytes.len())) {
            bytes.clear();
            break;
        }
        if !is_gzip {
            break;
        }
        if depth == 4 {
            let head = bytes[..bytes.len().min(MAX_RAW)].to_vec();
            return refused("nested_gzip", head.len(), head);
        }
        depth += 1;
        (bytes, damage) = gunzip(&bytes, damage, &mut notes, &mut behind);
    }
    if depth == 0 && !bytes.is_empty() {
        if !is_text(&bytes[..bytes.len().min(MAX_RAW)]) {
            let head = object[..object.len().min(MAX_RAW)].to_vec();
            return refused("not_gzip", object.len(), head);
        }
        notes.insert("plain_text");
    }
    if depth > 1 {
        notes.insert("gzip_in_gzip");
    }
    let mut crc = Crc::new();
    crc.update(&bytes);
    let mut skipped = 0;
    if bytes.starts_with(MARK) {
        skipped = MARK.len();
        notes.insert("byte_order_mark");
    }
    let mut text = &bytes[skipped..];
    let mut rest: &[u8] = &[];
    if damage.is_some_and(|damage| damage != "trailing_garbage") {
        (text, rest) = text.split_at(text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
    } else if damage.is_none() {
        text = without_blank_end(text);
    }
    let mut outcome = reference(text);
    for reject in &mut outcome.rejects {
        reject.byte_offset += skipped as u64;
    }
    if let Some(reason) = damage {
        let rest = if reason == "trailing_garbage" { behind.unwrap() } else { rest.to_vec() };
        outcome.lines += 1;
        outcome.rejects.push(Rejected {
            line_number: outcome.lines + outcome.joined,
            byte_offset: (skipped + text.len()) as u64,
            reason: reason.to_owned(),
            column: None,
            raw_length: rest.len() as u64,
            raw: rest[..rest.len().min(MAX_RAW)].to_vec(),
        });
    }
    let crc32 = damage.is_none().then(|| crc.sum());
    Content { outcome, notes, crc32, bytes: bytes.len() as u64 }
}

/// Random objects are shorter than the prefix that is inspected, so the prefix always contains all lines.
fn is_text(head: &[u8]) -> bool {
    let lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    let is_clean = |line: &&[u8]| {
        std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line))
            .is_ok_and(|line| line.chars().all(|c| !c.is_ascii_control() || c == '\t'))
    };
    let later = lines[1..].iter().filter(|line| !line.is_empty());
    !head.contains(&0) && lines[..1].iter().chain(later).any(is_clean)
}

fn refused(reason: &str, length: usize, raw: Vec<u8>) -> Content {
    let reject = Rejected {
        line_number: 1,
        byte_offset: 0,
        reason: reason.to_owned(),
        column: None,
        raw_length: length as u64,
        raw,
    };
    let outcome = Outcome { lines: 1, joined: 0, rows: Vec::new(), rejects: vec![reject] };
    Content { outcome, ..Content::default() }
}

/// Decompresses all members in `bytes`. `below` is the damage of the outer gzip, if any, which may have truncated
/// `bytes`.
fn gunzip(
    mut bytes: &[u8],
    below: Damage,
    notes: &mut BTreeSet<&'static str>,
    behind: &mut Option<Vec<u8>>,
) -> (Vec<u8>, Damage) {
    let mut text = Vec::new();
    for number in 0.. {
        let padding = bytes.iter().take_while(|byte| [0, b'\n', b'\r'].contains(byte)).count();
        if number > 0 && padding > 0 {
            notes.insert("padding");
            bytes = &bytes[padding..];
        }
        if bytes.is_empty() {
            return (text, below);
        }
        if !bytes.starts_with(b"\x1f\x8b") && bytes != b"\x1f" {
            *behind = Some(bytes.to_vec());
            return (text, Some("trailing_garbage"));
        }
        match member(bytes, &mut text) {
            Ok(rest) => bytes = rest,
            Err("truncated_gzip") if below.is_some_and(|below| below != "trailing_garbage") => {
                return (text, below);
            }
            Err(reason) => return (text, Some(reason)),
        }
    }
    unreachable!()
}

/// Decompresses a member, and returns the bytes that follow it.
fn member<'b>(bytes: &'b [u8], text: &mut Vec<u8>) -> Result<&'b [u8], &'static str> {
    let at = header(bytes).ok_or("truncated_gzip")?.map_err(|()| "corrupt_gzip")?;
    let mut bytes = &bytes[at..];
    let start = text.len();
    let mut inflater = Decompress::new(false);
    loop {
        let mut byte = [0];
        let before = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress(bytes, &mut byte, FlushDecompress::None);
        bytes = &bytes[(inflater.total_in() - before.0) as usize..];
        let inflated = inflater.total_out() - before.1;
        text.extend(&byte[..inflated as usize]);
        match status {
            Ok(Status::StreamEnd) => break,
            Ok(_) if inflated > 0 || inflater.total_in() > before.0 => {}
            Ok(_) if bytes.is_empty() => return Err("truncated_gzip"),
            Ok(_) | Err(_) => return Err("corrupt_gzip"),
        }
    }
    let mut crc = Crc::new();
    crc.update(&text[start..]);
    for field in [crc.sum(), (text.len() - start) as u32] {
        let (found, rest) = bytes.split_first_chunk::<4>().ok_or("truncated_gzip")?;
        if *found != field.to_le_bytes() {
            return Err("corrupt_gzip");
        }
        bytes = rest;
    }
    Ok(bytes)
}

/// Returns the length of a header, an error if the header is invalid, or `None` if it is incomplete.
fn header(bytes: &[u8]) -> Option<Result<usize, ()>> {
    let [method, flags] = *bytes.get(2..)?.first_chunk::<2>()?;
    if !bytes.starts_with(b"\x1f\x8b") || method != 8 || flags & 0xe0 != 0 {
        return Some(Err(()));
    }
    let mut at = 10;
    if flags & 4 != 0 {
        let length = *bytes.get(at..)?.first_chunk::<2>()?;
        at += 2 + usize::from(u16::from_le_bytes(length));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        let found = *bytes.get(at..)?.first_chunk::<2>()?;
        let mut crc = Crc::new();
        crc.update(&bytes[..at]);
        if u16::from_le_bytes(found) != crc.sum() as u16 {
            return Some(Err(()));
        }
        at += 2;
    }
    (at <= bytes.len()).then_some(Ok(at))
}

/// Optional fields of a gzip header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub(crate) extra: Option<Vec<u8>>,
    pub(crate) name: bool,
    /// Whether the header checksum is correct. If `None`, the header has no checksum.
    pub(crate) checksum: Option<bool>,
}

pub(crate) fn packed(text: &[u8], level: u32, fields: &Header) -> Vec<u8> {
    let mut flags = 0;
    let mut member = vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 255];
    if let Some(extra) = &fields.extra {
        flags |= 4;
        member.extend((extra.len() as u16).to_le_bytes());
        member.extend(extra);
    }
    if fields.name {
        flags |= 8;
        member.extend(b"a.log\0");
    }
    if let Some(right) = fields.checksum {
        flags |= 2;
        member[3] = flags;
        let mut crc = Crc::new();
        crc.update(&member);
        member.extend((crc.sum() as u16 ^ u16::from(!right)).to_le_bytes());
    }
    member[3] = flags;
    let mut packed = Vec::with_capacity(text.len() * 2 + 100);
    let mut compress = Compress::new(Compression::new(level), false);
    let status = compress.compress_vec(text, &mut packed, FlushCompress::Finish).unwrap();
    assert_eq!(status, Status::StreamEnd);
    member.extend(packed);
    let mut crc = Crc::new();
    crc.update(text);
    member.extend(crc.sum().to_le_bytes());
    member.extend((text.len() as u32).to_le_bytes());
    member
}

/// A reader that limits how many bytes each read returns.
pub(crate) struct ShortReads {
    bytes: io::Cursor<Vec<u8>>,
    lengths: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl ShortReads {
    pub(crate) fn new(bytes: Vec<u8>, lengths: Vec<usize>) -> Self {
        let bytes = io::Cursor::new(bytes);
        let lengths = lengths.into_iter().cycle();
        Self { bytes, lengths }
    }
}

impl Read for ShortReads {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths.next().unwrap().min(buffer.len());
        self.bytes.read(&mut buffer[..length])
    }
}

// ---- both inflaters

/// The rows and rejects that were decoded from an object, and the counts.
#[derive(Default)]
struct Reading {
    content: Content,
    offset: u64,
}

impl Reading {
    fn add(&mut self, decoder: &mut Decoder, decompressed: &mut Decompressed) {
        while !decompressed.segments.is_empty() {
            let decoded = decoder.decode(decompressed, |_| OBJECT);
            for segment in &decoded.segments {
                self.content.bytes += segment.bytes;
                self.content.crc32 = segment.crc32;
                self.content.notes.extend(segment.notes.iter().map(|note| note.code()));
            }
            self.content.outcome.add(decoded, &mut self.offset);
        }
    }
}

thread_local! {
    /// A decoder and a text buffer. As in a conversion, they are reused, because they are expensive to create.
    static REUSED: RefCell<(Decoder, Text)> =
        RefCell::new((Decoder::new(LogType::Access.table()), Text::default()));
}

pub(crate) fn streamed(object: &[u8], lengths: Vec<usize>) -> Content {
    REUSED.with_borrow_mut(|(decoder, text)| {
        let mut read = Reading::default();
        let reader = Box::new(ShortReads::new(object.to_vec(), lengths));
        let mut stream = Stream::new(0, object.len() as u64, reader).unwrap();
        while let Some(mut decompressed) = stream.next(mem::take(text)).unwrap() {
            read.add(decoder, &mut decompressed);
            *text = decompressed.text;
        }
        read.content
    })
}

/// Reads an entire object in one call, into a buffer that already contains another object. Returns `None` if the
/// whole-buffer path does not support the object.
pub(crate) fn whole(object: &[u8]) -> Option<Content> {
    let mut decompressed = Decompressed::default();
    let mut inflater = Whole::default();
    let other = packed(b"one\n", 0, &Header::default());
    assert!(inflater.inflate(0, &other, &mut decompressed));
    let before = (decompressed.text.to_vec(), decompressed.segments.len());
    let taken = inflater.inflate(0, object, &mut decompressed);
    if !taken {
        assert_eq!((decompressed.text.to_vec(), decompressed.segments.len()), before, "unchanged");
        return None;
    }
    decompressed.segments.drain(..before.1);
    let mut read = Reading::default();
    REUSED.with_borrow_mut(|(decoder, _)| read.add(decoder, &mut decompressed));
    Some(read.content)
}
