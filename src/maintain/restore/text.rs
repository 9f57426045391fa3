//! Collects the text of an object while it is being restored, and compares it with the checksum and the length in the
//! claim.

use memchr::memchr_iter;

use crate::dataset::claim::Claimed;

/// Number of bytes that are passed to the sink at a time.
const CHUNK: usize = 64 << 10;

/// Restored text that has not been passed to the sink yet.
pub(super) struct Text {
    bytes: Vec<u8>,
    crc: libdeflater::Crc,
    /// Number of bytes that precede `bytes`; the sink has received them.
    passed: u64,
    expected: u64,
    /// Whether the text ends without a line feed.
    unterminated: bool,
}

/// Receives the text of objects.
pub(super) type Out<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), String>;

impl Text {
    /// Starts the text of an object. `buffer` is reused.
    pub(super) fn new(object: &Claimed, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            bytes: buffer,
            crc: libdeflater::Crc::new(),
            passed: 0,
            expected: object.uncompressed_size.unwrap_or_default(),
            unterminated: object.unterminated,
        }
    }

    /// Appends text with `write`. Returns the number of line feeds in it.
    pub(super) fn push(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
        out: Out<'_>,
    ) -> Result<u64, String> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let lines = memchr_iter(b'\n', &self.bytes[start..]).count();
        self.pass_full(out)?;
        Ok(lines as u64)
    }

    /// Appends text with `write`, without counting its line feeds.
    pub(super) fn append(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
        out: Out<'_>,
    ) -> Result<(), String> {
        write(&mut self.bytes);
        self.pass_full(out)
    }

    fn pass_full(&mut self, out: Out<'_>) -> Result<(), String> {
        if self.bytes.len() < CHUNK {
            return Ok(());
        }
        // Holds back the last byte: it may be a line feed that the object does not have.
        let last = self.bytes.pop();
        self.pass(out)?;
        self.bytes.extend(last);
        Ok(())
    }

    fn pass(&mut self, out: Out<'_>) -> Result<(), String> {
        self.passed += self.bytes.len() as u64;
        // Forged originals can describe an unlimited amount of text.
        if self.passed > self.expected {
            return Err(format!("its text has more than {} bytes", self.expected));
        }
        self.crc.update(&self.bytes);
        let passed = out(&self.bytes);
        self.bytes.clear();
        passed
    }

    /// Ends the text, and compares it with the claim. Returns the buffer.
    pub(super) fn end(mut self, crc32: u32, out: Out<'_>) -> Result<Vec<u8>, String> {
        if self.unterminated && self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
        }
        self.pass(out)?;
        if self.passed != self.expected {
            return Err(format!("its text has {} bytes instead of {}", self.passed, self.expected));
        }
        let sum = self.crc.sum();
        if sum != crc32 {
            return Err(format!("its text has the CRC-32 {sum:08x} instead of {crc32:08x}"));
        }
        Ok(self.bytes)
    }
}
