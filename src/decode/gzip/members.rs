//! Decompresses consecutive gzip members, including all data before any corruption.
//!
//! A flate2 reader returns either bytes or an error, so the bytes that it decompressed before the corruption are lost.
//! Therefore, this module calls flate2's decompressor directly.

use std::io::{self, Read};
use std::mem;
use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};

use crate::decode::gzip::RawReject;
use crate::decode::gzip::content::{HEAD, is_gzip};
use crate::logs::reject::{MAX_RAW, Reason};
use crate::util::zeros;

/// Number of bytes to read from an object at a time.
const READ_AHEAD: usize = 256 << 10;
/// Maximum window size of gzip data, as a power of two.
const WINDOW_BITS: u8 = 15;

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The buffer is full.
    Full,
    /// The input has ended.
    Done,
    /// The data is corrupt from this point on.
    Damage(Reason),
}

/// A source of bytes: an object, or the decompressed data of another layer. The bytes may be gzip data themselves.
pub(super) struct Layer {
    source: Source,
    buffer: Vec<u8>,
    /// The range of the buffer that contains bytes read ahead.
    ahead: Range<usize>,
    /// How the layer ends after the bytes that were read ahead. `Full` means not known yet.
    end: End,
}

enum Source {
    /// An object, and how many of its bytes were consumed since the last count.
    Object(Box<dyn Read + Send>, u64),
    Gzip(Box<Members>),
}

impl Layer {
    /// Starts reading an object.
    pub(super) fn of_object(reader: Box<dyn Read + Send>) -> Self {
        Self::over(Source::Object(reader, 0))
    }

    /// Starts decompressing the bytes of another layer.
    pub(super) fn of_gzip(layer: Self) -> Self {
        let (inflater, trailing) = (None, None);
        let members = Members { layer, inflater, started: 0, padded: false, trailing };
        Self::over(Source::Gzip(Box::new(members)))
    }

    fn over(source: Source) -> Self {
        Self { source, buffer: Vec::new(), ahead: 0..0, end: End::Full }
    }

    /// Returns the next bytes without consuming them: at least `count` if that many remain.
    ///
    /// # Errors
    ///
    /// Fails if the reader fails.
    pub(super) fn ahead(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.end == End::Full && self.ahead.len() < count {
            let size = match self.source {
                Source::Object(..) => READ_AHEAD,
                Source::Gzip(_) => HEAD,
            };
            zeros::fill_to(&mut self.buffer, size.max(count));
            self.buffer.copy_within(self.ahead.clone(), 0);
            self.ahead = 0..self.ahead.len();
            let (more, end) = self.source.read_some(&mut self.buffer[self.ahead.end..])?;
            self.ahead.end += more;
            self.end = end;
        }
        Ok(&self.buffer[self.ahead.clone()])
    }

    /// Returns the next [`HEAD`] bytes, and whether the layer ends after them.
    pub(super) fn head(&mut self) -> io::Result<(&[u8], bool)> {
        let count = self.ahead(HEAD)?.len();
        let is_all = self.end == End::Done && count <= HEAD;
        let head = &self.buffer[self.ahead.clone()];
        Ok((&head[..count.min(HEAD)], is_all))
    }

    /// Consumes bytes that [`Layer::ahead`] returned.
    pub(super) fn take(&mut self, count: usize) {
        self.ahead.start += count;
        if let Source::Object(_, taken) = &mut self.source {
            *taken += count as u64;
        }
    }

    /// Reads into `out` until it is full or the layer ends. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// Fails if the reader fails. Corrupt data is not an error.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<(usize, End)> {
        let mut filled = out.len().min(self.ahead.len());
        out[..filled].copy_from_slice(&self.buffer[self.ahead.clone()][..filled]);
        self.take(filled);
        while filled < out.len() && self.end == End::Full {
            let (more, end) = self.source.read_some(&mut out[filled..])?;
            filled += more;
            self.end = end;
            if let Source::Object(_, taken) = &mut self.source {
                *taken += more as u64;
            }
        }
        Ok((filled, if filled == out.len() { End::Full } else { self.end }))
    }

    /// Consumes all remaining bytes. Returns how many of the object's bytes were consumed since the last count.
    pub(super) fn take_all(&mut self) -> io::Result<u64> {
        loop {
            let count = self.ahead(1)?.len();
            if count == 0 {
                return Ok(self.count());
            }
            self.take(count);
        }
    }

    /// Returns how many of the object's bytes were consumed since the last call.
    pub(super) fn count(&mut self) -> u64 {
        match &mut self.source {
            Source::Object(_, taken) => mem::take(taken),
            Source::Gzip(members) => members.layer.count(),
        }
    }

    /// Returns how many of the object's gzip members were started so far. Members in nested gzip data do not count.
    pub(super) fn members(&self) -> u64 {
        match &self.source {
            Source::Object(..) => 0,
            Source::Gzip(members) => match members.layer.source {
                Source::Object(..) => members.started,
                Source::Gzip(_) => members.layer.members(),
            },
        }
    }

    /// Returns whether padding was skipped after a member.
    pub(super) fn is_padded(&self) -> bool {
        match &self.source {
            Source::Object(..) => false,
            Source::Gzip(members) => members.padded || members.layer.is_padded(),
        }
    }

    /// Returns any data after the last member as a reject. A second call returns `None`.
    pub(super) fn take_trailing_data(&mut self) -> Option<RawReject> {
        match &mut self.source {
            Source::Object(..) => None,
            Source::Gzip(members) => {
                members.trailing.take().or_else(|| members.layer.take_trailing_data())
            }
        }
    }
}

impl Source {
    /// Reads some bytes. Fills `out` unless gzip data ends or the object's reader returns fewer bytes.
    fn read_some(&mut self, out: &mut [u8]) -> io::Result<(usize, End)> {
        match self {
            Self::Gzip(members) => members.read(out),
            Self::Object(reader, _) => loop {
                match reader.read(out) {
                    Ok(0) => return Ok((0, End::Done)),
                    Ok(count) => return Ok((count, End::Full)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            },
        }
    }
}

/// A decompressor for consecutive gzip members.
struct Members {
    layer: Layer,
    /// The decompressor of the current member; `None` between members.
    inflater: Option<Decompress>,
    /// Number of members started so far.
    started: u64,
    /// Whether padding was skipped after a member.
    padded: bool,
    /// Data after the last member that is neither gzip nor padding.
    trailing: Option<RawReject>,
}

impl Members {
    /// Decompresses into `out` until it is full or the data ends. Returns the number of bytes.
    fn read(&mut self, out: &mut [u8]) -> io::Result<(usize, End)> {
        let mut filled = 0;
        while filled < out.len() {
            let inflater = match &mut self.inflater {
                Some(inflater) => inflater,
                None => match self.find_member()? {
                    None => self.inflater.insert(Decompress::new_gzip(WINDOW_BITS)),
                    Some(end) => return Ok((filled, end)),
                },
            };
            let input = self.layer.ahead(1)?;
            if input.is_empty() {
                let reason = match self.layer.end {
                    // Trailing garbage in the outer gzip data cannot be why the inner gzip data ends early.
                    End::Damage(reason) if reason != Reason::TrailingGarbage => reason,
                    _ => Reason::TruncatedGzip,
                };
                return Ok((filled, End::Damage(reason)));
            }
            let (in_before, out_before) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, &mut out[filled..], FlushDecompress::None);
            let consumed = inflater.total_in() - in_before;
            let inflated = inflater.total_out() - out_before;
            self.layer.take(consumed as usize);
            filled += inflated as usize;
            match status {
                Ok(Status::StreamEnd) => self.inflater = None,
                Ok(_) if consumed > 0 || inflated > 0 => {}
                Ok(_) | Err(_) => return Ok((filled, End::Damage(Reason::CorruptGzip))),
            }
        }
        Ok((filled, End::Full))
    }

    /// Finds the start of the next member after any padding. If there is no next member, returns how the data ends.
    ///
    /// Tape drives and some tools pad with zero bytes, which gzip(1) also ignores. A stray `echo` appends a line
    /// ending. Unlike gzip(1), this method continues if a member follows the padding.
    fn find_member(&mut self) -> io::Result<Option<End>> {
        let is_padding = |byte: &u8| matches!(byte, 0 | b'\n' | b'\r');
        loop {
            let head = self.layer.ahead(2)?;
            let padding = head.iter().take_while(|byte| is_padding(byte)).count();
            if self.started > 0 && padding > 0 {
                self.padded = true;
                self.layer.take(padding);
            } else if head.is_empty() {
                return Ok(Some(self.layer.end));
            } else if is_gzip(head) {
                self.started += 1;
                return Ok(None);
            } else {
                self.trailing = Some(self.take_rest()?);
                return Ok(Some(End::Damage(Reason::TrailingGarbage)));
            }
        }
    }

    /// Consumes all remaining bytes, and returns them as a reject.
    fn take_rest(&mut self) -> io::Result<RawReject> {
        let mut rest = RawReject::new(Reason::TrailingGarbage, &[]);
        loop {
            let more = self.layer.ahead(1)?;
            if more.is_empty() {
                return Ok(rest);
            }
            let room = MAX_RAW - rest.raw.len();
            rest.raw.extend_from_slice(&more[..more.len().min(room)]);
            rest.raw_length += more.len() as u64;
            let count = more.len();
            self.layer.take(count);
        }
    }
}
