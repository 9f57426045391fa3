//! Removes whole partitions, so that their objects become eligible for conversion again.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::dataset::claim::{State, retired_key};
use crate::dataset::contents::Contents;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::dataset::ledger::Ledger;
use crate::plan::Selection;

/// A partition to remove, and the result. Its JSON keys are stable.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PartitionRemoval {
    /// Contents of the partition before its removal.
    #[serde(flatten)]
    pub contents: Contents,
    /// Whether the partition was removed.
    pub removed: bool,
    /// Why the partition could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Returns the selected partitions that are not empty, with their contents. Unless `including_retired` is set,
/// partitions with retired objects are returned with an error.
///
/// # Errors
///
/// Fails if the dataset cannot be read.
pub(crate) fn contents(
    dataset: &Dataset,
    selection: &Selection,
    including_retired: bool,
) -> Result<Vec<PartitionRemoval>, DatasetError> {
    let all = Contents::list(dataset, |partition| selection.wants_partition(partition))?;
    let of = |(contents, error): (Contents, Option<DatasetError>)| {
        let retired = contents.retired;
        let error = error.map(|error| error.with_source());
        let marker = retired_key(&contents.partition);
        let is_retired =
            || Ok::<_, DatasetError>(retired > 0 || dataset.target().get(&marker)?.is_some());
        let error = match error {
            None if !including_retired && is_retired()? => Some(only_copy(retired)),
            error => error,
        };
        Ok(PartitionRemoval { contents, removed: false, error })
    };
    all.into_iter().map(of).collect()
}

/// Removes partitions one by one until `stop` is set, and records each result in the corresponding element. If a
/// removal is interrupted, any later run finishes it.
///
/// # Errors
///
/// Fails if the dataset cannot be read or written.
pub(crate) fn remove(
    dataset: &Dataset,
    all: &mut [PartitionRemoval],
    including_retired: bool,
    stop: &AtomicBool,
) -> Result<(), DatasetError> {
    let ledger = Ledger::of_few(dataset);
    for each in all.iter_mut().filter(|each| each.error.is_none()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match ledger.remove(&each.contents.partition, including_retired)? {
            None => each.error = Some(only_copy(each.contents.retired)),
            Some(State::Stuck(reason)) => each.error = Some(reason),
            Some(_) => each.removed = true,
        }
    }
    Ok(())
}

/// Explains why a partition with retired objects is not removed.
fn only_copy(retired: u64) -> String {
    let objects = match retired {
        // Another run has retired objects since the partition was listed.
        0 => "some of its objects".to_owned(),
        1 => "1 of its objects".to_owned(),
        many => format!("{many} of its objects"),
    };
    format!("{objects} were retired, so this dataset may hold their only copy")
}
