//! The contents of a plan: batches, their objects, and failures.

use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::held::Content;
use crate::logs::key::{Partition, identity, is_text};
use crate::plan::Remedy;
use crate::store::Listed;
use crate::util::hash::hex;

/// Typical ratio of a log's uncompressed size to its gzip size: about five for Classic Load Balancers, and ten for
/// Application Load Balancers.
const TEXT_RATIO: u64 = 8;

/// Objects of one partition that are converted into one Parquet file.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The partition that contains the file.
    pub partition: Arc<Partition>,
    /// The objects, sorted by name.
    pub objects: Vec<Object>,
    /// Keys of the row and reject files in the claims that were aborted because a file was lost. Contains one list for
    /// each earlier attempt of this run.
    pub lost_files: Vec<Vec<String>>,
}

/// An object to convert.
#[derive(Debug, Clone)]
pub struct Object {
    /// The partition, which is derived from the object's key.
    pub partition: Arc<Partition>,
    /// The entry of the object in the listing.
    pub listed: Listed,
    /// Index of the object's source among the sources of the run.
    pub source: usize,
}

/// An object whose ETag or last-modified time, but not size, has changed since the conversion.
#[derive(Debug, Clone)]
pub struct Touched {
    /// The current object.
    pub object: Object,
    /// Partition of the claim that holds the object: the object's partition, or the partition of an adjacent day.
    pub partition: Arc<Partition>,
    /// Number of the claim that holds the object.
    pub claim: usize,
    /// CRC-32 and size of the converted content.
    pub content: Content,
}

/// A failure that does not end the run, such as an object that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// Key of the object, or name of the source, partition or claim.
    pub object: String,
    /// Description of the failure.
    pub error: String,
    /// How to resolve the failure, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl Failure {
    /// Returns a failure without a remedy.
    pub fn new(object: impl Into<String>, error: impl Into<String>) -> Self {
        Self { object: object.into(), error: error.into(), remedy: None }
    }

    /// Sets the remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<Option<Remedy>>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// The number and total size of a set of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Number of objects.
    pub objects: u64,
    /// Compressed bytes of the objects.
    pub bytes: u64,
}

impl Amount {
    /// Adds an object.
    pub fn add(&mut self, object: &Object) {
        self.objects += 1;
        self.bytes += object.listed.size;
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// Objects in another day's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Moved {
    /// Number of objects.
    pub objects: u64,
    /// Key of the first object.
    pub example: Option<String>,
}

impl Moved {
    /// Adds an object.
    pub fn add(&mut self, key: &str) {
        self.objects += 1;
        self.example.get_or_insert_with(|| key.to_owned());
    }
}

impl Object {
    /// Returns the file name.
    pub fn name(&self) -> &str {
        self.listed.name()
    }

    /// Returns the approximate gzip size of the object in bytes, even if the object is not compressed. This size
    /// determines the Parquet size and the conversion time.
    pub fn gzip_bytes(&self) -> u64 {
        if is_text(self.name()) { self.listed.size / TEXT_RATIO } else { self.listed.size }
    }

    /// Returns the unique part of the object's name, which identifies the object in any directory.
    pub fn identity(&self) -> &str {
        identity(self.name())
    }
}

impl Batch {
    /// Returns a batch for which no files were lost.
    pub fn new(partition: Arc<Partition>, objects: Vec<Object>) -> Self {
        Self { partition, objects, lost_files: Vec::new() }
    }

    /// Returns the approximate gzip size of the objects in bytes, even if some are not compressed.
    pub fn gzip_bytes(&self) -> u64 {
        self.objects.iter().map(Object::gzip_bytes).sum()
    }

    /// Returns the keys of the objects.
    pub fn keys(&self) -> Vec<String> {
        self.objects.iter().map(|object| object.listed.key()).collect()
    }

    /// Returns the compressed size of the objects in bytes.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.listed.size).sum()
    }

    /// Returns the name for the batch's files: a hash of the objects, the settings that affect the output bytes, the
    /// name of the run, and the number of earlier attempts. Each attempt has its own name. Otherwise, another run that
    /// aborts or removes the claim of an earlier attempt could delete the file of a later one.
    pub fn file_name(&self, settings: &str, run: &str) -> String {
        let mut hash = Sha256::new();
        for part in [env!("CARGO_PKG_VERSION"), settings, run] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        for object in &self.objects {
            hash.update(object.listed.key());
            hash.update([0]);
            hash.update(object.listed.size.to_le_bytes());
        }
        hash.update(vec![1; self.lost_files.len()]);
        hex(&hash.finalize()[..16]) + ".parquet"
    }
}
