//! Gzip members read one after the other, with every byte that damaged data still gives.
//!
//! flate2's own readers return either bytes or an error; what they had inflated before they met the
//! damage is then lost. So flate2's inflater is driven here.

use std::io::{self, BufRead, BufReader, Read};

use flate2::{Decompress, FlushDecompress, Status};

use crate::reject::Reason;

/// Compressed bytes read at a time.
const READ_AHEAD: usize = 256 << 10;
/// Largest window that gzip data may look back, as a power of two.
const WINDOW_BITS: u8 = 15;

/// The text of an object of any number of members.
pub(super) struct Members {
    reader: BufReader<Box<dyn Read + Send>>,
    /// Of the member that was begun, if one was.
    inflater: Option<Decompress>,
    /// Compressed bytes inflated since they were last asked for.
    count: u64,
    /// Members that were begun.
    begun: u64,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The buffer is full.
    Full,
    /// So is the object.
    Done,
    /// The data is damaged here.
    Damage(Reason),
}

impl Members {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        let reader = BufReader::with_capacity(READ_AHEAD, reader);
        Self { reader, inflater: None, count: 0, begun: 0 }
    }

    /// Returns the compressed bytes that come next, without reading past them.
    pub(super) fn head(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    /// Returns how many compressed bytes were inflated since the last call.
    pub(super) fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// Returns how many members were begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Inflates into `out` until it is full or nothing more can be; returns how many bytes.
    ///
    /// # Errors
    ///
    /// Fails when the reader does. Damaged data is no error.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<(usize, End)> {
        let mut filled = 0;
        while filled < out.len() {
            let input = self.reader.fill_buf()?;
            if input.is_empty() {
                let end = match self.inflater {
                    None => End::Done,
                    Some(_) => End::Damage(Reason::TruncatedGzip),
                };
                return Ok((filled, end));
            }
            let begun = &mut self.begun;
            let inflater = self.inflater.get_or_insert_with(|| {
                *begun += 1;
                Decompress::new_gzip(WINDOW_BITS)
            });
            let (in_before, out_before) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, &mut out[filled..], FlushDecompress::None);
            let consumed = inflater.total_in() - in_before;
            let inflated = inflater.total_out() - out_before;
            self.reader.consume(consumed as usize);
            self.count += consumed;
            filled += inflated as usize;
            match status {
                Ok(Status::StreamEnd) => self.inflater = None,
                Ok(_) if consumed > 0 || inflated > 0 => {}
                Ok(_) | Err(_) => return Ok((filled, End::Damage(Reason::CorruptGzip))),
            }
        }
        Ok((filled, End::Full))
    }
}
