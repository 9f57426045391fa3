//! Manifests for S3 Batch Operations: CSV with the bucket, the key and the version ID of each object
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/specify-batchjob-manifest.html>).

use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::NamedTempFile;

/// Characters that are percent-encoded in a key.
const ENCODED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Version ID of objects that were created before versioning was enabled.
const NULL: &str = "null";

/// A manifest that is being written. Its file appears only when it is complete.
#[derive(Debug)]
pub struct Manifest {
    bucket: String,
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    /// Whether any object has a version ID. If so, all lines need one.
    has_versions: bool,
}

/// Why a manifest cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be written.
    #[error("the manifest {name} cannot be written")]
    Write {
        /// Path of the file.
        name: String,
        /// The reason.
        source: io::Error,
    },
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
        let file = NamedTempFile::new_in(directory(path)).map_err(failed)?;
        Ok(Self {
            bucket: bucket.to_owned(),
            path: path.to_owned(),
            file: BufWriter::new(file),
            has_versions: false,
        })
    }

    /// Adds an object.
    pub(super) fn add(&mut self, key: &str, version: Option<&str>) -> Result<(), ManifestError> {
        self.has_versions |= version.is_some();
        // Objects that were created before versioning was enabled have the version ID null.
        let version = version.unwrap_or(NULL);
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
        let mut file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        if !has_versions {
            file = without_versions(file, &path).map_err(failed)?;
        }
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(&path).map_err(|error| failed(error.error))?;
        Ok(has_versions)
    }

    fn failed(&self, source: io::Error) -> ManifestError {
        ManifestError::Write { name: self.path.display().to_string(), source }
    }
}

fn line(bucket: &str, key: &str, version: &str) -> String {
    format!("{bucket},{},{version}\n", utf8_percent_encode(key, &ENCODED))
}

/// Returns a directory for a temporary file that can be renamed to a path.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Copies a manifest without its last column, which contains the version IDs.
fn without_versions(mut file: NamedTempFile, path: &Path) -> io::Result<NamedTempFile> {
    file.seek(SeekFrom::Start(0))?;
    let mut copy = BufWriter::new(NamedTempFile::new_in(directory(path))?);
    for line in BufReader::new(file).lines() {
        let line = line?;
        let without = line.rsplit_once(',').map_or(&*line, |(without, _)| without);
        writeln!(copy, "{without}")?;
    }
    copy.into_inner().map_err(io::IntoInnerError::into_error)
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
        manifest.add("AWSLogs/1_x.log.gz", None).unwrap();
        manifest.add("a b/c,d\"\u{e9}+", Some("v1")).unwrap();
        assert!(!path.exists());
        assert!(manifest.finish().unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "logs,AWSLogs/1_x.log.gz,null\nlogs,a%20b/c%2Cd%22%C3%A9%2B,v1\n");
        assert!(Manifest::create(&path, "logs").is_err());
        fs::remove_file(&path).unwrap();
        let mut manifest = Manifest::create(&path, "logs").unwrap();
        manifest.add("a,null", None).unwrap();
        assert!(!manifest.finish().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "logs,a%2Cnull\n");
    }
}
