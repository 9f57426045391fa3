//! Manifests for S3 Batch Operations: CSV with the bucket, the key and the version ID of each object
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/specify-batchjob-manifest.html>).

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::NamedTempFile;

/// Characters that are percent-encoded in a key.
const ENCODED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A manifest that is being written. Its file appears when it is complete.
#[derive(Debug)]
pub struct Manifest {
    bucket: String,
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    /// Whether the objects have version IDs, once the first one is known.
    has_versions: Option<bool>,
}

/// A manifest cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be written.
    #[error("--manifest {name} cannot be written")]
    Write {
        /// Path of the file.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// Some objects have version IDs and others do not, but all lines must have the same columns.
    #[error("versioning of s3://{0} changed during the run: run the same command again")]
    Versioning(String),
}

impl Manifest {
    /// Starts a manifest for objects in a bucket.
    ///
    /// # Errors
    ///
    /// Fails if the file exists or cannot be written.
    pub fn create(path: &Path, bucket: &str) -> Result<Self, ManifestError> {
        let failed = |source| ManifestError::Write { name: path.display().to_string(), source };
        if path.symlink_metadata().is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let file =
            NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).map_err(failed)?;
        Ok(Self {
            bucket: bucket.to_owned(),
            path: path.to_owned(),
            file: BufWriter::new(file),
            has_versions: None,
        })
    }

    /// Adds an object.
    pub(super) fn add(&mut self, key: &str, version: Option<&str>) -> Result<(), ManifestError> {
        if *self.has_versions.get_or_insert(version.is_some()) != version.is_some() {
            return Err(ManifestError::Versioning(self.bucket.clone()));
        }
        let line = line(&self.bucket, key, version);
        self.file.write_all(line.as_bytes()).map_err(|error| self.failed(error))
    }

    /// Completes the manifest. Returns whether its objects have version IDs.
    ///
    /// # Errors
    ///
    /// Fails if the file exists or cannot be written.
    pub fn finish(self) -> Result<bool, ManifestError> {
        let Self { path, file, has_versions, .. } = self;
        let failed = |source| ManifestError::Write { name: path.display().to_string(), source };
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(&path).map_err(|error| failed(error.error))?;
        Ok(has_versions == Some(true))
    }

    fn failed(&self, source: io::Error) -> ManifestError {
        ManifestError::Write { name: self.path.display().to_string(), source }
    }
}

fn line(bucket: &str, key: &str, version: Option<&str>) -> String {
    let key = utf8_percent_encode(key, &ENCODED);
    match version {
        Some(version) => format!("{bucket},{key},{version}\n"),
        None => format!("{bucket},{key}\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_manifest_appears_when_it_is_complete_and_replaces_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("manifest.csv");
        let mut manifest = Manifest::create(&path, "logs").unwrap();
        manifest.add("a b/c,d\"é+", Some("v1")).unwrap();
        manifest.add("AWSLogs/1_x.log.gz", Some("null")).unwrap();
        assert!(matches!(manifest.add("x", None), Err(ManifestError::Versioning(_))));
        assert!(!path.exists());
        assert!(manifest.finish().unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "logs,a%20b/c%2Cd%22%C3%A9%2B,v1\nlogs,AWSLogs/1_x.log.gz,null\n");
        assert!(Manifest::create(&path, "logs").is_err());
        assert_eq!(line("logs", "a", None), "logs,a\n");
    }
}
