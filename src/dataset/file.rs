//! Reads published files: the footer, the bytes and the rows. The rows are read with the `parquet` crate, which shares
//! no code with the encoder.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest, Sha256};

use crate::dataset::claim::{Claim, Output, embedded};
use crate::dataset::layout::Dataset;
use crate::store::{FileKey, Target, TargetError};
use crate::util::corrupt::contained;
use crate::util::hash::hex;

/// Key in the footer metadata of a compacted file. The value is the names of the claims' files that contain the same
/// rows, separated by commas.
pub(crate) const INPUTS: &str = "alb2parquet.inputs";
/// Number of bytes to read at a time when hashing a whole file.
const CHUNK: u64 = 1 << 20;
/// Number of bytes to read from the end of a file. They usually include the whole footer.
const FOOTER: u64 = 32 << 10;

/// A file that a claim has added to the dataset. Reads request only ranges of the file.
pub struct PublishedFile {
    target: Arc<dyn Target>,
    key: FileKey,
    size: u64,
}

impl PublishedFile {
    /// Returns a reader for an output's file. Does not access the file yet.
    pub fn new(dataset: &Dataset, output: &Output) -> Self {
        Self::of(dataset, output.file.key.clone(), output.file.size)
    }

    /// Returns a reader for a file, given its key and its size in bytes. Does not access the file yet.
    pub fn of(dataset: &Dataset, key: FileKey, size: u64) -> Self {
        Self::in_target(dataset.target(), key, size)
    }

    /// Returns a reader for a file in a target. The file need not belong to a dataset.
    pub fn in_target(target: &Arc<dyn Target>, key: FileKey, size: u64) -> Self {
        Self { target: Arc::clone(target), key, size }
    }

    /// Reads the claim that is embedded in the file. The returned claim has no outputs.
    ///
    /// # Errors
    ///
    /// Fails when the file contains no claim or cannot be read.
    pub fn embedded(&self, footer: &ParquetMetaData) -> anyhow::Result<Claim> {
        let facts = footer.file_metadata().key_value_metadata();
        let fact = facts.into_iter().flatten().find(|fact| fact.key == embedded::KEY);
        let place = fact.and_then(|fact| fact.value.as_deref()?.split_once('+'));
        let (offset, length) = place.context("its footer does not locate a claim")?;
        let (offset, length): (u64, u64) = (offset.parse()?, length.parse()?);
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        let end = end.context("its footer points beyond its end")?;
        Ok(embedded::decode(&self.target.get_range(&self.key, offset..end)?)?)
    }

    /// Reads the footer, usually with one request.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read or is not Parquet.
    pub fn footer(&self) -> Result<ParquetMetaData, ParquetError> {
        let mut reader = ParquetMetaDataReader::new();
        let mut tail = FOOTER.min(self.size);
        loop {
            let bytes = self.get_bytes(self.size - tail, tail as usize)?;
            match contained(|| reader.try_parse_sized(&bytes, self.size)) {
                Ok(()) => return reader.finish(),
                Err(ParquetError::NeedMoreData(needed))
                    if (tail..=self.size).contains(&(needed as u64)) && needed as u64 != tail =>
                {
                    tail = needed as u64;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a range of the file with one request.
    ///
    /// # Errors
    ///
    /// Fails when the range extends beyond the end of the file, or cannot be read.
    pub fn section(&self, range: Range<u64>) -> anyhow::Result<Section> {
        anyhow::ensure!(range.start <= range.end && range.end <= self.size, "is not in the file");
        let (start, size) = (range.start, self.size);
        Ok(Section { bytes: self.target.get_range(&self.key, range)?, start, size })
    }

    /// Reads the whole file and hashes it.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn sha256(&self) -> Result<String, TargetError> {
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < self.size {
            let end = self.size.min(at + CHUNK);
            hash.update(self.target.get_range(&self.key, at..end)?);
            at = end;
        }
        Ok(hex(&hash.finalize()))
    }
}

impl Length for PublishedFile {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for PublishedFile {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let (target, key) = (Arc::clone(&self.target), self.key.clone());
        Ok(BufReader::with_capacity(64 << 10, Rest { target, key, at: start, end: self.size }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.target.get_range(&self.key, start..start + length as u64);
        bytes.map_err(|error| ParquetError::General(format!("{:#}", anyhow::Error::from(error))))
    }
}

/// A range of a published file, in memory. Reads outside the range fail.
pub struct Section {
    bytes: Bytes,
    start: u64,
    /// Size of the file in bytes.
    size: u64,
}

impl Length for Section {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Section {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let end = self.start + self.bytes.len() as u64;
        let length = end.saturating_sub(start) as usize;
        Ok(self.get_bytes(start, length)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let start = start.checked_sub(self.start).map(|start| start as usize);
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let range = range.filter(|range| range.end <= self.bytes.len());
        let range = range
            .ok_or_else(|| ParquetError::EOF("a page is outside of its row group".to_owned()))?;
        Ok(self.bytes.slice(range))
    }
}

/// Reads a published file from an offset to its end.
pub struct Rest {
    target: Arc<dyn Target>,
    key: FileKey,
    at: u64,
    end: u64,
}

impl Read for Rest {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let end = self.end.min(self.at + out.len() as u64);
        if end <= self.at {
            return Ok(0);
        }
        let bytes = self.target.get_range(&self.key, self.at..end).map_err(io::Error::other)?;
        out[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}
