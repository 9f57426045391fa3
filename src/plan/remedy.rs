//! Remedies for failures and findings.

use serde::{Deserialize, Serialize};

use crate::dataset::layout::DatasetError;

/// How to resolve a failure or a finding. Its JSON names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// Use a newer version of the program.
    Update,
    /// Make the path readable, or rename it. The dataset is complete.
    Rename,
    /// Restore the original name of the object, or move it out of the source.
    RestoreName,
    /// Convert again.
    Convert,
    /// Convert again to publish the files of the claim. If that fails, remove the partition, then convert again.
    Publish,
    /// Remove the partition, then convert again.
    Remove,
    /// If the source still contains the object, remove the partition, then convert again.
    RemoveIfInSource,
    /// Find out with `verify --restore` what is damaged.
    Prove,
    /// Compare the contents with `convert` or `verify --read-data`.
    Compare,
    /// Investigate who changed the file; if in doubt, remove the partition.
    Investigate,
    /// Move the file out of the table's directory.
    Move,
    /// Rebuild lost claims from files.
    Repair,
    /// Rebuild lost claims from files, or move the file out of the table's directory.
    RepairOrMove,
    /// Delete the file with `clean`.
    Clean,
    /// Revert the compaction of the partition.
    Revert,
    /// Report a bug in the program.
    ReportBug,
    /// Replace the object with a good copy and convert its partition again, or accept the loss if there is no good
    /// copy.
    ReplaceOrAccept,
}

impl Remedy {
    /// Returns the remedy for an error that affects a single partition; `None` for other errors.
    pub(crate) fn of(error: &DatasetError) -> Option<Self> {
        match error {
            DatasetError::Newer { .. } => Some(Self::Update),
            error => error.is_of_partition().then_some(Self::Repair),
        }
    }
}
