//! Objects named by a file in place of a listing: keys, one a line, or an S3 Inventory.
//!
//! An inventory is named by its `manifest.json`, which says what its columns are, or by one of its CSV files,
//! of which the first two columns, bucket and key, are read. See
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>.

use std::io::{self, BufRead};
use std::path::Path;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::store::{Named, Network, Source, StoreError, open_text};

/// Storage classes, and tiers of the class `INTELLIGENT_TIERING`, whose objects must be restored.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];
const ARCHIVE_TIERS: [&str; 4] =
    ["ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE", "DEEP_ARCHIVE_ACCESS"];

/// A list of objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// It cannot be opened or read on.
    #[error("--objects {name} cannot be read")]
    Read {
        /// The file as the user named it, or a file that it names.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It lies in a store that cannot be reached.
    #[error("--objects {name}")]
    Store {
        /// The file as the user named it.
        name: String,
        /// Why.
        source: Box<StoreError>,
    },
    /// A manifest is none, or one of an inventory that this program cannot read.
    #[error("--objects {name} is no manifest of an S3 Inventory in CSV format: {why}")]
    Manifest {
        /// The file as the user named it.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A line is of another bucket than the source.
    #[error(
        "--objects {name}, line {line}: {bucket} is another bucket than that of SOURCE {source_name}"
    )]
    Bucket {
        /// The file.
        name: String,
        /// Its line, from 1 on.
        line: u64,
        /// The bucket that it names.
        bucket: String,
        /// The source as the user named it.
        source_name: String,
    },
}

/// What a manifest says, as far as it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    destination_bucket: String,
    file_format: String,
    file_schema: String,
    files: Vec<ManifestFile>,
}

#[derive(Debug, Deserialize)]
struct ManifestFile {
    key: String,
}

/// Which columns of an inventory say what.
#[derive(Debug, Clone, Copy)]
struct Schema {
    bucket: usize,
    key: usize,
    size: Option<usize>,
    e_tag: Option<usize>,
    is_latest: Option<usize>,
    is_delete_marker: Option<usize>,
    storage_class: Option<usize>,
    access_tier: Option<usize>,
}

impl Schema {
    /// The columns that every inventory begins with.
    const FIRST: Self = Self {
        bucket: 0,
        key: 1,
        size: None,
        e_tag: None,
        is_latest: None,
        is_delete_marker: None,
        storage_class: None,
        access_tier: None,
    };

    /// Parses the names of the columns, separated by commas.
    fn parse(names: &str) -> Option<Self> {
        let of = |wanted: &str| names.split(',').position(|name| name.trim() == wanted);
        Some(Self {
            bucket: of("Bucket")?,
            key: of("Key")?,
            size: of("Size"),
            e_tag: of("ETag"),
            is_latest: of("IsLatest"),
            is_delete_marker: of("IsDeleteMarker"),
            storage_class: of("StorageClass"),
            access_tier: of("IntelligentTieringAccessTier"),
        })
    }
}

/// Calls `each` with every object that the file at a path or URL names, or standard input if it is `-`.
///
/// # Errors
///
/// Fails when it cannot be read or is no list, names another bucket than the source's, or `each` fails.
pub fn read<E: From<ObjectsError>>(
    name: &str,
    source: &Source,
    network: &Network,
    mut each: impl FnMut(Named) -> Result<(), E>,
) -> Result<(), E> {
    if !name.ends_with("manifest.json") {
        let list = List { name, source };
        return list.read(open(name, network)?, None, &mut each);
    }
    let bad = |why: String| ObjectsError::Manifest { name: name.to_owned(), why };
    let manifest: Manifest =
        serde_json::from_reader(open(name, network)?).map_err(|error| bad(error.to_string()))?;
    if manifest.file_format != "CSV" {
        return Err(bad(format!("its format is {}", manifest.file_format)).into());
    }
    let schema = Schema::parse(&manifest.file_schema)
        .ok_or_else(|| bad(format!("its columns are {}", manifest.file_schema)))?;
    for file in &manifest.files {
        let name = file_of(name, &manifest.destination_bucket, &file.key);
        List { name: &name, source }.read(open(&name, network)?, Some(schema), &mut each)?;
    }
    Ok(())
}

/// Returns where a file of an inventory lies: in the bucket that its manifest names, or, of a manifest that was copied
/// to a disk, in the directory `data` beside that of the manifest.
fn file_of(manifest: &str, destination: &str, key: &str) -> String {
    if manifest.contains("://") {
        let bucket = destination.rsplit(':').next().unwrap_or(destination);
        return format!("s3://{bucket}/{key}");
    }
    let name = key.rsplit('/').next().unwrap_or(key);
    let above = Path::new(manifest).parent().unwrap_or(Path::new(""));
    above.join("..").join("data").join(name).display().to_string()
}

/// Opens a file, decompressed if it is gzip.
fn open(name: &str, network: &Network) -> Result<Box<dyn BufRead>, ObjectsError> {
    open_text(name, network).map_err(|error| {
        let name = name.to_owned();
        match error {
            StoreError::Read(source) => ObjectsError::Read { name, source },
            error => ObjectsError::Store { name, source: Box::new(error) },
        }
    })
}

/// A file of names.
struct List<'a> {
    name: &'a str,
    source: &'a Source,
}

impl List<'_> {
    fn read<E: From<ObjectsError>>(
        &self,
        mut file: Box<dyn BufRead>,
        schema: Option<Schema>,
        each: &mut impl FnMut(Named) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| ObjectsError::Read { name: self.name.to_owned(), source };
        let is_csv = file.fill_buf().map_err(failed)?.starts_with(b"\"");
        if is_csv || schema.is_some() {
            return self.read_csv(file, schema.unwrap_or(Schema::FIRST), each);
        }
        for (line, text) in (1..).zip(file.lines()) {
            let text = text.map_err(failed)?;
            let text = text.trim_end_matches('\r');
            if text.is_empty() {
                continue;
            }
            let key = match text.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
                None => text,
                Some((bucket, key)) => {
                    self.check(bucket, line)?;
                    key
                }
            };
            each(Named { key: key.to_owned(), size: None, e_tag: None, archived: None })?;
        }
        Ok(())
    }

    fn read_csv<E: From<ObjectsError>>(
        &self,
        file: Box<dyn BufRead>,
        schema: Schema,
        each: &mut impl FnMut(Named) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: csv::Error| {
            let source = io::Error::other(error);
            ObjectsError::Read { name: self.name.to_owned(), source }
        };
        let mut csv = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
        let mut record = csv::StringRecord::new();
        while csv.read_record(&mut record).map_err(failed)? {
            let line = record.position().map_or(0, csv::Position::line);
            let field = |column: usize| record.get(column).unwrap_or_default();
            let said = |column: Option<usize>| column.map(field).filter(|text| !text.is_empty());
            if said(schema.is_latest) == Some("false")
                || said(schema.is_delete_marker) == Some("true")
            {
                continue;
            }
            self.check(field(schema.bucket), line)?;
            let spaced = field(schema.key).replace('+', " ");
            let key = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
            let size = said(schema.size).and_then(|size| size.parse().ok());
            let e_tag = said(schema.e_tag).map(|e_tag| format!("\"{}\"", e_tag.trim_matches('"')));
            let archived = said(schema.storage_class).map(|class| {
                let tier = said(schema.access_tier).unwrap_or_default();
                ARCHIVES.contains(&class) || ARCHIVE_TIERS.contains(&tier)
            });
            each(Named { key, size, e_tag, archived })?;
        }
        Ok(())
    }

    fn check(&self, bucket: &str, line: u64) -> Result<(), ObjectsError> {
        if self.source.bucket() == Some(bucket) {
            return Ok(());
        }
        let (name, bucket) = (self.name.to_owned(), bucket.to_owned());
        Err(ObjectsError::Bucket { name, line, bucket, source_name: self.source.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_inventory_lie_beside_their_manifest() {
        let key = "inventory/logs/all/data/0f.csv.gz";
        let there = file_of("s3://b/i/2026-11-01T01-00Z/manifest.json", "arn:aws:s3:::dest", key);
        assert_eq!(there, "s3://dest/inventory/logs/all/data/0f.csv.gz");
        let here = file_of("all/2026-11-01T01-00Z/manifest.json", "arn:aws:s3:::dest", key);
        assert_eq!(here, "all/2026-11-01T01-00Z/../data/0f.csv.gz");
    }

    #[test]
    fn columns_have_any_order() {
        let schema = Schema::parse("Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag");
        let schema = schema.unwrap();
        assert_eq!((schema.key, schema.size, schema.e_tag), (1, Some(5), Some(6)));
        assert_eq!((schema.is_latest, schema.is_delete_marker), (Some(3), Some(4)));
        assert!(Schema::parse("Key, Size").is_none());
    }
}
