//! Reads and writes the metadata files of tables: table metadata, manifest lists and manifests.
//!
//! Every file that this program writes has a random name and is never changed or deleted. A file that no table refers
//! to, because a commit failed, is harmless.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::GzDecoder;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use crate::catalog::iceberg::{Detail, IcebergError};
use crate::store::{Network, Owner, Patience, Place, Target, create_confirmed};

/// Maximum size of decompressed table metadata, in bytes.
const MAX_METADATA: u64 = 1 << 30;

/// Opens the directory with this URL.
type Open = dyn Fn(&str) -> Result<Arc<dyn Target>, IcebergError> + Send + Sync;

/// The stores that contain metadata files.
pub struct Files {
    open: Box<Open>,
    /// Directories by URL.
    targets: Mutex<HashMap<String, Arc<dyn Target>>>,
    patience: Patience,
}

impl Files {
    /// Returns the files in the stores that URLs name. The names of temporary files begin with `run`.
    pub(crate) fn new(network: &Network, run: &str) -> Self {
        let (network, run) = (network.clone(), run.to_owned());
        Self::opened_by(Patience::default(), move |directory| {
            Ok(Place::parse(directory)?.target("", &run, &network)?)
        })
    }

    /// Returns the files in directories that `open` opens.
    pub fn opened_by(
        patience: Patience,
        open: impl Fn(&str) -> Result<Arc<dyn Target>, IcebergError> + Send + Sync + 'static,
    ) -> Self {
        Self { open: Box::new(open), targets: Mutex::default(), patience }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Fails if the file does not exist or cannot be read.
    pub(super) fn read(&self, url: &str) -> Result<Vec<u8>, IcebergError> {
        let (target, name) = self.locate(url)?;
        let found = target.get(name)?;
        found.ok_or_else(|| IcebergError::Absent(url.to_owned()))
    }

    /// Creates a file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written, or if another program has created it.
    pub(super) fn create(&self, url: &str, bytes: &[u8]) -> Result<(), IcebergError> {
        let (target, name) = self.locate(url)?;
        match create_confirmed(&*target, name, bytes, self.patience)? {
            Owner::Ours => Ok(()),
            Owner::Theirs(_) => Err(IcebergError::Invalid {
                name: url.to_owned(),
                why: "another program created it".to_owned(),
            }),
        }
    }

    /// Reads table metadata, which may be compressed with gzip.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if it is not table metadata.
    pub(super) fn metadata(&self, url: &str) -> Result<TableMetadata, IcebergError> {
        let mut bytes = self.read(url)?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut text = Vec::new();
            let read = GzDecoder::new(bytes.as_slice()).take(MAX_METADATA).read_to_end(&mut text);
            read.detail(|| url.to_owned())?;
            bytes = text;
        }
        serde_json::from_slice(&bytes).detail(|| url.to_owned())
    }

    fn locate<'u>(&self, url: &'u str) -> Result<(Arc<dyn Target>, &'u str), IcebergError> {
        let (directory, name) =
            url.rsplit_once('/').ok_or_else(|| IcebergError::Absent(url.to_owned()))?;
        let lock = || self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = lock().get(directory) {
            return Ok((Arc::clone(target), name));
        }
        let target = (self.open)(directory)?;
        lock().insert(directory.to_owned(), Arc::clone(&target));
        Ok((target, name))
    }
}

/// Returns the URL of a new metadata file of a table, below the table's location.
pub(super) fn new_url(location: &str, prefix: &str, suffix: &str) -> String {
    format!("{}/metadata/{prefix}{}{suffix}", location.trim_end_matches('/'), Uuid::new_v4())
}
