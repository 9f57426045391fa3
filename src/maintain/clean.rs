//! Cleaning: what runs that crashed have staged and nobody will ever claim.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::dataset::claim::{Hints, Log, State};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::plan::{Failure, Remedy};
use crate::store::{Leftover, Staged};

/// What was cleaned. As JSON, it is what `--json` prints.
#[derive(Debug, Default, Serialize)]
pub struct Cleaned {
    /// Staged files and uploads that were removed.
    pub removed: Vec<Removed>,
    /// Bytes that they took up, as far as they are known.
    pub bytes: u64,
    /// Staged files and uploads that are younger, or named by a claim that is not finished.
    pub kept: u64,
    /// What could not be removed, and logs that cannot be read, with what is wrong.
    pub failures: Vec<Failure>,
}

/// Something staged that was removed.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// Its path or URL.
    pub name: String,
    /// Bytes that it took up, as far as they are known.
    pub bytes: u64,
}

/// Removes what was staged before so long and is named by no claim that is not finished.
///
/// A run that is slower than that loses what it staged, but no rows: it finds out when it publishes.
///
/// # Errors
///
/// Fails when the dataset cannot be read or written.
pub fn clean(dataset: &Dataset, older_than: Duration) -> Result<Cleaned, DatasetError> {
    let target = dataset.target();
    let before = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
    // Listed before the claims are read, so that what was claimed meanwhile is known.
    let leftovers = target.staged()?;
    let mut cleaned = Cleaned::default();
    let claimed = claimed(dataset, &mut cleaned.failures)?;
    // A log that cannot be read may name any of them.
    let is_known = cleaned.failures.is_empty();
    for Leftover { key, staged, size, modified } in leftovers {
        let kept = staged.as_ref().is_some_and(|staged| claimed.contains(&identity(staged)));
        if kept || !is_known || modified >= before {
            cleaned.kept += 1;
            continue;
        }
        let removed = match &staged {
            Some(staged) => target.discard(staged),
            None => target.delete(&key),
        };
        if let Err(error) = removed {
            let (object, error) = (target.name(&key), DatasetError::from(error).with_source());
            cleaned.failures.push(Failure::new(object, error));
            continue;
        }
        cleaned.bytes += size;
        cleaned.removed.push(Removed { name: target.name(&key), bytes: size });
    }
    Ok(cleaned)
}

/// Returns what is named by claims that may still be published. Adds logs that cannot be read to `failures`.
fn claimed(
    dataset: &Dataset,
    failures: &mut Vec<Failure>,
) -> Result<BTreeSet<String>, DatasetError> {
    let hints = Hints::list(dataset)?;
    let mut claimed = BTreeSet::new();
    for partition in hints.partitions() {
        let log = match Log::read(dataset, partition, &hints) {
            Ok(log) => log,
            Err(error) if error.is_of_partition() => {
                let reason = format!("{}; nothing of it is removed", error.with_source());
                let failure = Failure::new(partition.to_string(), reason);
                failures.push(failure.ends_by(Remedy::of(&error)));
                continue;
            }
            Err(error) => return Err(error),
        };
        for (_, entry) in log.standing().filter(|(_, entry)| entry.state == State::Open) {
            let outputs = entry.record.claim().into_iter().flat_map(|claim| &claim.outputs);
            claimed.extend(outputs.map(|output| identity(&output.file.staged)));
        }
    }
    Ok(claimed)
}

/// What tells one staged file from another.
fn identity(staged: &Staged) -> String {
    match staged {
        Staged::File(name) => name.to_string(),
        Staged::Upload { key, id, .. } => format!("{key} {id}"),
    }
}
