//! Records that incomplete objects have no good copy, so that `verify` no longer reports them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::ThreadPoolBuildError;
use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::claim::{Amended, Hints, Log};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::dataset::ledger::Ledger;
use crate::logs::key::Partition;
use crate::plan::Selection;
use crate::util::threads;

/// Maximum number of objects per log entry.
const OBJECTS_AT_ONCE: usize = 10_000;

/// An object that is damaged, or that has lines but no rows. `--json` prints it as JSON.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Incomplete {
    /// Partition of the object.
    #[serde(flatten)]
    pub partition: Partition,
    /// URL of the object.
    pub object: String,
    /// Number of lines in the object.
    pub lines: u64,
    /// Number of lines that became rows.
    pub rows: u64,
    /// Number of rejected lines, by reason.
    pub rejects: BTreeMap<String, u64>,
    /// Whether the user has accepted the object.
    pub accepted: bool,
    /// Number of the claim that contains the object.
    #[serde(skip)]
    claim: usize,
    /// Describes how many lines became rows.
    #[serde(skip)]
    pub outcome: String,
}

/// Why incomplete objects cannot be listed or accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The dataset cannot be read or written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The user interrupted the program.
    #[error("interrupted")]
    Interrupted,
    /// The system cannot start the threads for requests to the dataset.
    #[error("threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
}

impl Incomplete {
    /// Returns the object's file name.
    pub(crate) fn name(&self) -> &str {
        self.object.rsplit('/').next().unwrap_or(&self.object)
    }
}

/// Returns the selected incomplete objects that have not been accepted, grouped by partition. Also returns an error
/// message for each partition that cannot be read.
///
/// # Errors
///
/// Fails if the dataset cannot be read, or if `stop` is set.
pub(crate) fn incomplete(
    dataset: &Dataset,
    selection: &Selection,
    stop: &AtomicBool,
) -> Result<(Vec<Incomplete>, Vec<String>), AcceptError> {
    let hints = Hints::list(dataset)?;
    let partitions: Vec<&Partition> =
        hints.partitions().filter(|partition| selection.wants_partition(partition)).collect();
    let of_partition = |partition: &&Partition| {
        if stop.load(Ordering::Relaxed) {
            return Err(AcceptError::Interrupted);
        }
        Ok(match Log::read(dataset, partition, &hints) {
            Ok(log) => (of_log(&log), None),
            Err(error) if error.is_of_partition() => (Vec::new(), Some(error.with_source())),
            Err(error) => return Err(error.into()),
        })
    };
    let pool = threads::pool(dataset.target().reads_at_once())?;
    let all =
        pool.install(|| partitions.par_iter().map(of_partition).collect::<Result<Vec<_>, _>>());
    let (objects, problems): (Vec<_>, Vec<_>) = all?.into_iter().unzip();
    Ok((objects.into_iter().flatten().collect(), problems.into_iter().flatten().collect()))
}

fn of_log(log: &Log) -> Vec<Incomplete> {
    let mut all = Vec::new();
    let amendments = log.amendments();
    for (number, claim) in log.holding() {
        for object in claim.objects.iter().filter(|object| object.is_incomplete()) {
            if !amendments.is_accepted(number, object) {
                all.push(Incomplete {
                    partition: log.partition().clone(),
                    object: claim.url(object),
                    lines: object.lines,
                    rows: object.rows(),
                    rejects: object.rejects.clone(),
                    accepted: false,
                    claim: number,
                    outcome: object.outcome(),
                });
            }
        }
    }
    all
}

/// Accepts objects, one partition at a time, until `stop` is set. Sets `accepted` on each accepted object.
///
/// # Errors
///
/// Fails if the dataset cannot be read or written.
pub(crate) fn accept(
    dataset: &Dataset,
    all: &mut [Incomplete],
    stop: &AtomicBool,
) -> Result<(), AcceptError> {
    let ledger = Ledger::of_few(dataset);
    for of_partition in all.chunk_by_mut(|a, b| a.partition == b.partition) {
        for some in of_partition.chunks_mut(OBJECTS_AT_ONCE) {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let amended = some.iter().map(|object| Amended {
                claim: object.claim,
                name: object.name().to_owned(),
                accepted: true,
                ..Amended::default()
            });
            ledger.amend(&some[0].partition, amended.collect())?;
            for object in some {
                object.accepted = true;
            }
        }
    }
    Ok(())
}
