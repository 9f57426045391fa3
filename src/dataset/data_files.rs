//! Data files in the table directories, including those that no claim accounts for.
//!
//! Engines read every file in a table's directory. A file that no claim names may contain rows from any object: either
//! the claim was lost, or another program put the file there. Until this is resolved, no objects can be converted into
//! the file's partition.

use std::collections::{HashMap, HashSet};
use std::iter;

use crate::dataset::claim::{Log, Record};
use crate::dataset::layout::{self, COMPACTED, Dataset, DatasetError, is_hidden};
use crate::logs::key::Partition;
use crate::logs::{original, reject};

/// Data files by directory, from a listing.
#[derive(Debug, Default)]
pub(crate) struct DataFiles {
    names: HashMap<Box<str>, Vec<Box<str>>>,
    /// Number of files in each listed directory.
    listed: Vec<u64>,
}

impl DataFiles {
    /// Lists the files of all tables.
    ///
    /// # Errors
    ///
    /// Fails when a table cannot be listed.
    pub(crate) fn list(dataset: &Dataset) -> Result<Self, DatasetError> {
        Self::below(dataset, layout::tables().map(ToOwned::to_owned))
    }

    /// Lists a partition's files.
    ///
    /// # Errors
    ///
    /// Fails when one of the partition's directories cannot be listed.
    pub(crate) fn of(dataset: &Dataset, partition: &Partition) -> Result<Self, DatasetError> {
        Self::below(dataset, directories(dataset, partition).into_iter())
    }

    /// Lists the originals files. They are not data files: engines do not read them, so an orphaned originals file does
    /// not block its partition.
    ///
    /// # Errors
    ///
    /// Fails when the directory of originals cannot be listed.
    pub(crate) fn originals(dataset: &Dataset) -> Result<Self, DatasetError> {
        Self::below(dataset, iter::once(original::TABLE.to_owned()))
    }

    /// Lists the compacted files. They are not data files: engines that read directories ignore them.
    ///
    /// # Errors
    ///
    /// Fails when the directory of compacted files cannot be listed.
    pub(crate) fn compacted(dataset: &Dataset) -> Result<Self, DatasetError> {
        Self::below(dataset, iter::once(COMPACTED.to_owned()))
    }

    /// Returns whether there are no files.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn below(
        dataset: &Dataset,
        directories: impl Iterator<Item = String>,
    ) -> Result<Self, DatasetError> {
        let mut files = Self::default();
        for directory in directories {
            let listed = dataset.target().list(&directory)?;
            files.listed.push(listed.len() as u64);
            for stored in listed {
                let (directory, name) = stored.key.rsplit_once('/').unwrap_or(("", &stored.key));
                match files.names.get_mut(directory) {
                    Some(names) => names.push(name.into()),
                    None => drop(files.names.insert(directory.into(), vec![name.into()])),
                }
            }
        }
        Ok(files)
    }

    /// Returns the number of files in each listed directory.
    pub(crate) fn listed(&self) -> &[u64] {
        &self.listed
    }

    /// Returns the keys of all files, including hidden ones.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        let each = self.names.iter();
        each.flat_map(|(directory, names)| {
            names.iter().map(move |name| format!("{directory}/{name}"))
        })
    }

    /// Returns a partition's files that no claim in `log` accounts for, sorted by key. The log must have been read
    /// after the files were listed. If `removed` is set, claims before a removal also account for files, because the
    /// removal may be unfinished.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether a file still exists.
    pub(crate) fn unaccounted(
        &self,
        dataset: &Dataset,
        log: &Log,
        removed: bool,
    ) -> Result<Vec<String>, DatasetError> {
        let partition = log.partition();
        let claimed = claimed(log, removed);
        let mut unaccounted = Vec::new();
        for directory in directories(dataset, partition) {
            for name in self.names.get(&*directory).into_iter().flatten() {
                let key = format!("{directory}/{name}");
                let is_others = reject::log_type(name).is_some_and(|t| t != partition.log_type);
                if is_others || is_hidden(&key) || claimed.contains(key.as_str()) {
                    continue;
                }
                // A removal may have deleted the file since it was listed. The check is skipped for names with special
                // characters: this program never writes such names, and a store might not find the file under the
                // listed key.
                if !is_plain(name) || dataset.target().size(&key)?.is_some() {
                    unaccounted.push(key);
                }
            }
        }
        unaccounted.sort();
        Ok(unaccounted)
    }

    /// Returns a partition's originals files that belong neither to a claim in `log` nor to a row or reject file,
    /// sorted by key. Such a file is left behind if a claim is lost before its other files are published. The log must
    /// have been read after the files were listed.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether a file exists.
    pub(crate) fn orphan_originals(
        &self,
        dataset: &Dataset,
        log: &Log,
    ) -> Result<Vec<String>, DatasetError> {
        let partition = log.partition();
        let claimed = claimed(log, false);
        let exists = |table: &str, name: &str| {
            let directory = dataset.partition(table, partition);
            dataset.target().size(&format!("{directory}/{name}")).map(|size| size.is_some())
        };
        let directory = dataset.partition(original::TABLE, partition);
        let mut orphans = Vec::new();
        for name in self.names.get(&*directory).into_iter().flatten() {
            let key = format!("{directory}/{name}");
            let is_own = reject::log_type(name) == Some(partition.log_type) && is_plain(name);
            if !is_own || claimed.contains(key.as_str()) {
                continue;
            }
            let of_rows = reject::name_of_rows(name);
            let is_needed =
                exists(&partition.log_type.table().name, of_rows)? || exists(reject::TABLE, name)?;
            // A removal may have deleted the file since it was listed.
            if !is_needed && exists(original::TABLE, name)? {
                orphans.push(key);
            }
        }
        orphans.sort();
        Ok(orphans)
    }

    /// Returns a partition's compacted files that no entry in `log` names, sorted by key. Such a file is left behind if
    /// the entry of its rewrite is lost. The log must have been read after the files were listed.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether a file exists.
    pub(crate) fn orphan_compacted(
        &self,
        dataset: &Dataset,
        log: &Log,
    ) -> Result<Vec<String>, DatasetError> {
        let partition = log.partition();
        let outputs = log.entries().iter().flat_map(|entry| entry.record.outputs());
        let named: HashSet<&str> = outputs.map(|output| &*output.file.key).collect();
        let mut orphans = Vec::new();
        for directory in directories(dataset, partition) {
            let directory = format!("{COMPACTED}/{directory}");
            for name in self.names.get(&*directory).into_iter().flatten() {
                let key = format!("{directory}/{name}");
                let is_others = reject::log_type(name).is_some_and(|t| t != partition.log_type);
                if is_others || !is_plain(name) || named.contains(key.as_str()) {
                    continue;
                }
                // A removal may have deleted the file since it was listed.
                if dataset.target().size(&key)?.is_some() {
                    orphans.push(key);
                }
            }
        }
        orphans.sort();
        Ok(orphans)
    }
}

/// Returns the keys of the files in a log's claims. If `removed` is set, includes removed claims.
fn claimed(log: &Log, removed: bool) -> HashSet<&str> {
    let holding = log.holding().map(|(_, claim)| claim);
    let last = log.entries().iter().rposition(|entry| matches!(entry.record, Record::Remove(_)));
    let before = &log.entries()[..last.filter(|_| removed).unwrap_or(0)];
    let claims = holding.chain(before.iter().filter_map(|entry| entry.record.claim()));
    claims.flat_map(|claim| &claim.outputs).map(|output| &*output.file.key).collect()
}

/// Returns whether a name contains only characters that this program uses in file names.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Returns the directories of a partition's row files and reject files.
fn directories(dataset: &Dataset, partition: &Partition) -> [String; 2] {
    let tables = [partition.log_type.table().name.as_str(), reject::TABLE];
    tables.map(|table| dataset.partition(table, partition))
}
