//! The files that the tables must contain: the row and reject files of all claims that are done, with the outputs of
//! rewrites in place of the files that they replace.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::catalog::iceberg::IcebergError;
use crate::catalog::iceberg::compacted::table_of;
use crate::dataset::claim::{Hints, Log, Output, State};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::Partition;

/// A data file in a claim or a rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claimed {
    /// Size in bytes.
    pub(super) size: u64,
    /// Number of rows.
    pub(super) rows: u64,
}

impl Claimed {
    fn of(output: &Output) -> Self {
        Self { size: output.file.size, rows: output.rows }
    }
}

/// Data files by key.
pub(super) type DataFiles = BTreeMap<String, Claimed>;

/// The data files of a dataset, according to its claims.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Data files by partition.
    files: HashMap<Partition, DataFiles>,
    /// Number of claims that are done, by partition.
    claims: HashMap<Partition, u64>,
    /// Keys of data files whose claims were removed or aborted, and of those that a rewrite replaces.
    former: HashMap<Partition, BTreeSet<String>>,
    /// Partitions with unreadable claims, and the reasons. Their data files are unknown.
    broken: BTreeMap<Partition, String>,
}

impl Contents {
    /// Reads the claims of all partitions on the threads of the current pool.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be listed or read, or if `stop` is set.
    pub(super) fn read(dataset: &Dataset, stop: &AtomicBool) -> Result<Self, IcebergError> {
        let hints = Hints::list(dataset)?;
        let partitions: Vec<&Partition> = hints.partitions().collect();
        let one = |mut contents: Self, partition: &&Partition| {
            if stop.load(Ordering::Relaxed) {
                return Err(IcebergError::Interrupted);
            }
            contents.add(dataset, partition, &hints)?;
            Ok(contents)
        };
        let merge = |one: Self, other: Self| Ok(one.merge(other));
        partitions.par_iter().try_fold(Self::default, one).try_reduce(Self::default, merge)
    }

    /// Reads the claims of some partitions again, on the threads of the current pool. Returns whether any of them has
    /// changed.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, or if `stop` is set.
    pub(super) fn refresh(
        &mut self,
        dataset: &Dataset,
        partitions: &BTreeSet<Partition>,
        stop: &AtomicBool,
    ) -> Result<bool, IcebergError> {
        let one = |mut contents: Self, partition: &Partition| {
            if stop.load(Ordering::Relaxed) {
                return Err(IcebergError::Interrupted);
            }
            contents.add(dataset, partition, &Hints::of(dataset, partition)?)?;
            Ok(contents)
        };
        let merge = |one: Self, other: Self| Ok(one.merge(other));
        let now = partitions.par_iter().try_fold(Self::default, one);
        let now = now.try_reduce(Self::default, merge)?;
        let mut changed = false;
        for partition in partitions {
            changed |= self.files.remove(partition).as_ref() != now.files.get(partition)
                || self.broken.remove(partition).as_ref() != now.broken.get(partition);
            self.former.remove(partition);
            self.claims.remove(partition);
        }
        *self = mem::take(self).merge(now);
        Ok(changed)
    }

    /// Reads the claims of a partition.
    fn add(
        &mut self,
        dataset: &Dataset,
        partition: &Partition,
        hints: &Hints,
    ) -> Result<(), DatasetError> {
        let log = match Log::read(dataset, partition, hints) {
            Ok(log) => log,
            Err(error) if error.is_of_partition() => {
                self.broken.insert(partition.clone(), error.with_source());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut sizes = DataFiles::new();
        let mut claims = 0;
        for (number, entry) in log.unremoved() {
            let is_current = entry.state == State::Done && !log.is_removed(number);
            let Some(claim) = entry.record.claim().filter(|_| is_current) else { continue };
            claims += 1;
            for output in claim.outputs.iter().filter(|output| !output.has_originals()) {
                let claimed = Claimed::of(output);
                let other = sizes.insert(output.file.key.to_string(), claimed);
                if other.is_some_and(|other| other != claimed) {
                    let name = log.name(dataset, number);
                    let why = format!("{name} and another claim contradict each other");
                    self.broken.insert(partition.clone(), why);
                    return Ok(());
                }
            }
        }
        // An unfinished removal may already have deleted some of the files.
        let of_log = log.table_files().published();
        let former = of_log.former().map(ToOwned::to_owned).collect();
        let current = of_log.current().filter(|file| file.is_done).map(|file| file.output);
        let files = current.map(|output| (output.file.key.to_string(), Claimed::of(output)));
        let files = files.collect();
        self.files.insert(partition.clone(), files);
        self.former.insert(partition.clone(), former);
        self.claims.insert(partition.clone(), claims);
        Ok(())
    }

    fn merge(mut self, mut other: Self) -> Self {
        self.files.extend(other.files);
        self.claims.extend(other.claims);
        self.former.extend(other.former);
        self.broken.append(&mut other.broken);
        self
    }

    /// Returns whether the claims account for the absence of a data file: its claim was removed or aborted, or a rewrite
    /// replaces it or replaced it for some time.
    pub(super) fn is_former(&self, partition: &Partition, key: &str) -> bool {
        self.former.get(partition).is_some_and(|former| former.contains(key))
    }

    /// Returns whether a table must contain a data file.
    pub(super) fn is_wanted(&self, partition: &Partition, key: &str) -> bool {
        self.files.get(partition).is_some_and(|files| files.contains_key(key))
    }

    /// Returns the data files of a table.
    pub(super) fn of_table(&self, table: &str) -> DataFiles {
        let is_own = |key: &str| table_of(key) == Some(table);
        let all = self.files.values().flatten();
        all.filter(|(key, _)| is_own(key)).map(|(key, claimed)| (key.clone(), *claimed)).collect()
    }

    /// Returns whether the claims of a partition are unreadable.
    pub(super) fn is_broken(&self, partition: &Partition) -> bool {
        self.broken.contains_key(partition)
    }

    /// Returns the partitions with unreadable claims, with the reasons.
    pub(super) fn broken(&self) -> &BTreeMap<Partition, String> {
        &self.broken
    }

    /// Returns the number of claims that are done.
    pub(super) fn claims(&self) -> u64 {
        self.claims.values().sum()
    }
}

/// A fingerprint of a set of data files. It does not depend on the order in which files are added and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    files: u64,
    sum: u128,
}

impl Fingerprint {
    /// Returns the fingerprint of a set of keys.
    pub(super) fn of<'k>(keys: impl Iterator<Item = &'k str>) -> Self {
        let mut fingerprint = Self::default();
        for key in keys {
            let hash = Sha256::digest(key.as_bytes());
            let half = hash.first_chunk().expect("a hash has 32 bytes");
            fingerprint.files += 1;
            fingerprint.sum = fingerprint.sum.wrapping_add(u128::from_be_bytes(*half));
        }
        fingerprint
    }

    /// Returns the number of files.
    pub(super) fn files(self) -> u64 {
        self.files
    }

    /// Returns the fingerprint as text.
    pub(super) fn text(self) -> String {
        format!("{}:{:032x}", self.files, self.sum)
    }

    /// Parses the text of a fingerprint.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (files, sum) = text.split_once(':')?;
        Some(Self { files: files.parse().ok()?, sum: u128::from_str_radix(sum, 16).ok()? })
    }
}
