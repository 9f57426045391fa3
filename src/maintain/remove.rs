//! Taking back: whole partitions withdrawn from a dataset, so that their objects are new again.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::dataset::claim::State;
use crate::dataset::contents::Contents;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::dataset::ledger::Ledger;
use crate::plan::Selection;

/// What a partition holds, and what became of it. As JSON, its keys are stable.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PartitionRemoval {
    /// What it holds, or held.
    #[serde(flatten)]
    pub contents: Contents,
    /// Whether it was taken back.
    pub removed: bool,
    /// Why it could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Returns what the partitions of a selection hold, of those that hold anything.
///
/// # Errors
///
/// Fails when the dataset cannot be read.
pub(crate) fn contents(
    dataset: &Dataset,
    selection: &Selection,
) -> Result<Vec<PartitionRemoval>, DatasetError> {
    let all = Contents::list(dataset, |partition| selection.wants_partition(partition))?;
    let of = |(contents, error): (Contents, Option<DatasetError>)| PartitionRemoval {
        contents,
        removed: false,
        error: error.map(|error| error.with_source()),
    };
    Ok(all.into_iter().map(of).collect())
}

/// Takes back partitions one by one until `stop` is set, and notes in each what became of it. What a
/// crash leaves half done is finished by the next run that comes by.
///
/// # Errors
///
/// Fails when the dataset cannot be read or written.
pub(crate) fn remove(
    dataset: &Dataset,
    all: &mut [PartitionRemoval],
    stop: &AtomicBool,
) -> Result<(), DatasetError> {
    let mut ledger = Ledger::of_few(dataset);
    for each in all.iter_mut().filter(|each| each.error.is_none()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match ledger.remove(&each.contents.partition)? {
            State::Stuck(reason) => each.error = Some(reason),
            _ => each.removed = true,
        }
    }
    Ok(())
}
