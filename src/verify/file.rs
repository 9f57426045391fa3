//! A published file against its claim: size, footer and, on demand, bytes. It is read through the `parquet`
//! crate's own reader, which shares nothing with the encoder.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest, Sha256};

use crate::claim::{Claim, Output};
use crate::dataset::{Dataset, DatasetError};
use crate::hash::hex;
use crate::reject;
use crate::store::{Target, TargetError};

/// Bytes that are read at once.
const CHUNK: u64 = 1 << 20;

/// Says what is wrong with an output that should stand, if anything is.
pub(super) fn check(
    dataset: &Dataset,
    claim: &Claim,
    output: &Output,
    whole: bool,
) -> Result<Option<String>, DatasetError> {
    let (key, size) = (&output.file.key, output.file.size);
    match dataset.target().size(key)? {
        None => return Ok(Some("is gone".to_owned())),
        Some(found) if found != size => {
            return Ok(Some(format!("has {found} bytes instead of {size}")));
        }
        Some(_) => {}
    }
    let file = PublishedFile::new(dataset, output);
    if whole && file.sha256()? != output.file.sha256 {
        return Ok(Some("has other bytes than were written".to_owned()));
    }
    Ok(match ParquetMetaDataReader::new().parse_and_finish(&file) {
        Ok(metadata) => contradiction(&metadata, claim, output),
        Err(error) => Some(format!("is not a Parquet file: {error}")),
    })
}

/// Says where a footer contradicts the claim, if it does.
fn contradiction(metadata: &ParquetMetaData, claim: &Claim, output: &Output) -> Option<String> {
    let file = metadata.file_metadata();
    let rows = file.num_rows().cast_unsigned();
    if rows != output.rows {
        return Some(format!("has {rows} rows instead of {}", output.rows));
    }
    if output.table == reject::TABLE {
        return None;
    }
    let facts = file.key_value_metadata()?;
    let rejects: u64 = claim.rejects.values().sum();
    for (name, expected) in [("lines", claim.lines), ("rows", claim.rows), ("rejects", rejects)] {
        let key = format!("alb2parquet.{name}");
        let fact = facts.iter().find(|fact| fact.key == key).and_then(|fact| fact.value.as_deref());
        if fact != Some(&expected.to_string()) {
            let found = fact.unwrap_or("nothing");
            return Some(format!("says {found} of its {name} in its footer, the claim {expected}"));
        }
    }
    None
}

/// A file of the dataset, read in parts.
pub(super) struct PublishedFile {
    target: Arc<dyn Target>,
    key: String,
    size: u64,
}

impl PublishedFile {
    pub(super) fn new(dataset: &Dataset, output: &Output) -> Self {
        let (key, size) = (output.file.key.clone(), output.file.size);
        Self { target: Arc::clone(dataset.target()), key, size }
    }

    fn sha256(&self) -> Result<String, TargetError> {
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

/// A file from some place to its end.
pub(super) struct Rest {
    target: Arc<dyn Target>,
    key: String,
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
