//! The data files in the current snapshot of a table.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use iceberg::spec::{ManifestFile, TableMetadata};
use rayon::prelude::*;

use crate::catalog::iceberg::IcebergError;
use crate::catalog::iceberg::claimed_files::Fingerprint;
use crate::catalog::iceberg::manifests;
use crate::catalog::iceberg::metadata_files::Files;
use crate::util::threads;

/// Maximum total size in bytes of the manifests that are read concurrently, unless one is larger. A parsed manifest takes up
/// twelve times as much memory.
const MAX_CONCURRENT: i64 = 16 << 20;

/// Property with the ID of the dataset that a table belongs to.
pub(super) const DATASET: &str = "alb2parquet.dataset";
/// Property with the URL of the dataset.
pub(super) const LOCATION: &str = "alb2parquet.location";
/// Property with the fingerprint of the dataset's files in the snapshot [`SNAPSHOT`].
pub(super) const FILES: &str = "alb2parquet.files";
/// Property with the number of other files in the snapshot [`SNAPSHOT`].
pub(super) const FOREIGN: &str = "alb2parquet.foreign_files";
/// Property with the ID of the last snapshot that this program inspected.
pub(super) const SNAPSHOT: &str = "alb2parquet.snapshot";

/// What this program recorded in the properties of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The dataset's files.
    pub(super) files: Fingerprint,
    /// Number of other files.
    pub(super) foreign: u64,
    /// ID of the snapshot that contained them.
    pub(super) snapshot: Option<i64>,
}

impl Recorded {
    /// Reads the properties of a table. Returns `None` if they are absent or invalid.
    pub(super) fn of(table: &TableMetadata) -> Option<Self> {
        let properties = table.properties();
        let files = Fingerprint::parse(properties.get(FILES)?)?;
        let foreign = properties.get(FOREIGN)?.parse().ok()?;
        let snapshot = properties.get(SNAPSHOT).and_then(|id| id.parse().ok());
        Some(Self { files, foreign, snapshot })
    }

    /// Returns the properties that record these values.
    pub(super) fn properties(self) -> Vec<(String, String)> {
        let snapshot = self.snapshot.map(|id| (SNAPSHOT.to_owned(), id.to_string()));
        [(FILES, self.files.text()), (FOREIGN, self.foreign.to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .chain(snapshot)
            .collect()
    }
}

/// The data files in a table's current snapshot.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The manifests of the snapshot.
    pub(super) manifests: Vec<ManifestFile>,
    /// Keys of the dataset's own files, each with the index of its manifest.
    pub(super) own: BTreeMap<String, usize>,
    /// Number of data files that do not belong to the dataset.
    pub(super) foreign: u64,
}

impl State {
    /// Reads the manifests of a table. `key_of` returns the key of a file that belongs to the dataset, given its URL.
    ///
    /// # Errors
    ///
    /// Fails if a manifest cannot be read, or if the table contains one of the dataset's files twice.
    pub(super) fn read(
        files: &Files,
        table: &TableMetadata,
        key_of: impl Fn(&str) -> Option<String> + Sync,
    ) -> Result<Self, IcebergError> {
        let Some(snapshot) = table.current_snapshot() else { return Ok(Self::default()) };
        let manifests = manifests::list(files, snapshot)?;
        let with_files: Vec<(usize, &ManifestFile)> = manifests
            .iter()
            .enumerate()
            .filter(|(_, manifest)| manifests::has_data(manifest) && manifests::is_live(manifest))
            .collect();
        let mut bytes = 0_i64;
        let groups = with_files.chunk_by(|(_, manifest), (_, next)| {
            bytes = bytes.saturating_add(manifest.manifest_length);
            let fits = bytes.saturating_add(next.manifest_length) <= MAX_CONCURRENT;
            bytes = if fits { bytes } else { 0 };
            fits
        });
        // More threads would not parse faster, and the allocator keeps memory for each of them.
        let parsers = threads::pool(thread::available_parallelism().map_or(1, usize::from))?;
        let mut state = Self::default();
        for group in groups {
            let read = group.par_iter().map(|(_, manifest)| files.read(&manifest.manifest_path));
            let read = read.collect::<Result<Vec<_>, _>>()?;
            let parse = |((index, manifest), bytes): (&(usize, &ManifestFile), Vec<u8>)| {
                let (live, _) = manifests::parse(manifest, &bytes)?;
                let keys = live.iter().map(|live| key_of(live.file.file_path()));
                Ok::<_, IcebergError>((*index, keys.collect::<Vec<_>>()))
            };
            let parsed = group.par_iter().zip(read).map(parse);
            let parsed = parsers.install(|| parsed.collect::<Result<Vec<_>, _>>())?;
            for (index, keys) in parsed {
                for key in keys {
                    let Some(key) = key else {
                        state.foreign += 1;
                        continue;
                    };
                    if let Some((key, _)) = state.own.get_key_value(&key) {
                        return Err(IcebergError::Twice(key.clone()));
                    }
                    state.own.insert(key, index);
                }
            }
        }
        state.manifests = manifests;
        Ok(state)
    }

    /// Returns the fingerprint of the dataset's own files.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.own.keys().map(String::as_str))
    }

    /// Returns the indexes of the manifests that list any of these keys.
    pub(super) fn manifests_of(&self, keys: &BTreeSet<String>) -> BTreeSet<usize> {
        keys.iter().filter_map(|key| self.own.get(key).copied()).collect()
    }
}
