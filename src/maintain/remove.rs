//! Taking back: whole partitions withdrawn from a dataset, so that their objects are new again.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::dataset::claim::{Hints, Log, State};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::dataset::ledger::Ledger;
use crate::logs::key::Partition;
use crate::plan::Selection;

/// What a partition holds, and what became of it. As JSON, it is what `--json` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Contents {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// Objects that its claims hold.
    pub objects: u64,
    /// Files of rows and of rejects.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Rejects.
    pub rejects: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Whether files of rows are compact.
    #[serde(skip)]
    pub compact: bool,
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
) -> Result<Vec<Contents>, DatasetError> {
    let hints = Hints::list(dataset)?;
    let mut all = Vec::new();
    for partition in hints.partitions().filter(|partition| selection.wants_partition(partition)) {
        let log = Log::read(dataset, partition, &hints);
        let mut contents = Contents {
            partition: partition.clone(),
            objects: 0,
            files: 0,
            rows: 0,
            rejects: 0,
            bytes: 0,
            compact: false,
            removed: false,
            error: None,
        };
        let log = match log {
            Ok(log) => log,
            Err(error) if error.is_of_partition() => {
                contents.error = Some(error.with_source());
                all.push(contents);
                continue;
            }
            Err(error) => return Err(error),
        };
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
        if claims > 0 {
            all.push(contents);
        }
    }
    Ok(all)
}

/// Takes back partitions one by one until `stop` is set, and notes in each what became of it. What a
/// crash leaves half done is finished by the next run that comes by.
///
/// # Errors
///
/// Fails when the dataset cannot be read or written.
pub(crate) fn remove(
    dataset: &Dataset,
    all: &mut [Contents],
    stop: &AtomicBool,
) -> Result<(), DatasetError> {
    let mut ledger = Ledger::of_few(dataset);
    for contents in all.iter_mut().filter(|contents| contents.error.is_none()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match ledger.remove(&contents.partition)? {
            State::Stuck(reason) => contents.error = Some(reason),
            _ => contents.removed = true,
        }
    }
    Ok(())
}
