//! The contents of partitions, according to their claims.

use serde::Serialize;

use crate::dataset::claim::{Hints, Log};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::Partition;

/// The contents of a partition. Its JSON keys are stable.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Contents {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// Number of objects held by the partition's claims.
    pub objects: u64,
    /// Number of retired objects: the dataset may hold their only copy.
    pub retired: u64,
    /// Number of files, including reject files and originals files.
    pub files: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of rejects.
    pub rejects: u64,
    /// Total size of the files in bytes.
    pub bytes: u64,
    /// Whether any row file has the `compact` profile.
    #[serde(skip)]
    pub compact: bool,
}

impl Contents {
    /// Returns the contents of all partitions that have claims and are selected by `wants`. For a partition with a
    /// broken log, returns empty contents and the error.
    ///
    /// # Errors
    ///
    /// Fails when the dataset cannot be read.
    pub(crate) fn list(
        dataset: &Dataset,
        wants: impl Fn(&Partition) -> bool,
    ) -> Result<Vec<(Self, Option<DatasetError>)>, DatasetError> {
        let hints = Hints::list(dataset)?;
        let mut all = Vec::new();
        for partition in hints.partitions().filter(|partition| wants(partition)) {
            match Log::read(dataset, partition, &hints) {
                Ok(log) => all.extend(Self::of(partition, &log).map(|contents| (contents, None))),
                Err(error) if error.is_of_partition() => {
                    all.push((Self::nothing(partition), Some(error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn nothing(partition: &Partition) -> Self {
        let partition = partition.clone();
        Self {
            partition,
            objects: 0,
            retired: 0,
            files: 0,
            rows: 0,
            rejects: 0,
            bytes: 0,
            compact: false,
        }
    }

    /// Adds up the contents of a log's claims. Returns `None` if no claim in the log holds objects.
    fn of(partition: &Partition, log: &Log) -> Option<Self> {
        let mut contents = Self::nothing(partition);
        contents.retired = log.retired_objects();
        let mut claims = 0;
        for (_, claim) in log.holding() {
            claims += 1;
            contents.objects += claim.objects.len() as u64;
            contents.files += claim.outputs.len() as u64;
            contents.rows += claim.rows;
            contents.compact |= claim.rows > 0 && claim.profile.is_compact();
            contents.rejects += claim.rejects.values().sum::<u64>();
            contents.bytes += claim.outputs.iter().map(|output| output.file.size).sum::<u64>();
        }
        (claims > 0).then_some(contents)
    }
}
