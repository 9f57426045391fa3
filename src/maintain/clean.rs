//! Deletes files that crashed runs left behind: staged files, uploads, and orphan originals files and compacted files.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::dataset::claim::{Hints, Log, State};
use crate::dataset::data_files::DataFiles;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::Partition;
use crate::plan::{Failure, Remedy};
use crate::store::{Leftover, Staged};

/// The result of [`clean`]. `--json` prints it as JSON.
#[derive(Debug, Default, Serialize)]
pub struct Cleaned {
    /// Files and uploads that were deleted.
    pub removed: Vec<Removed>,
    /// Total size in bytes of the deleted files and uploads whose sizes are known.
    pub bytes: u64,
    /// Number of files and uploads that were kept: staged ones that are too recent or belong to an unfinished claim or
    /// rewrite, and compacted files whose claims are lost.
    pub kept: u64,
    /// Files that could not be deleted and logs that could not be read, with the errors.
    pub failures: Vec<Failure>,
}

/// A file or upload that was deleted.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// Path or URL of the file or upload.
    pub name: String,
    /// Size in bytes, or 0 if unknown.
    pub bytes: u64,
}

/// Deletes staged files and uploads that are older than `older_than` and belong to no unfinished claim or rewrite.
///
/// Also deletes compacted files of any age that no rewrite names. A run creates a rewrite before it publishes the
/// rewrite's output, so the rewrite of such a file must have been lost. If claims are lost too, the file is kept: Iceberg
/// tables still contain it.
///
/// Also deletes originals files of any age that belong to no claim and to no row or reject file. A run creates a claim
/// before it publishes the claim's originals, so the claim of such a file must have been lost.
///
/// A run that takes longer than `older_than` may lose its staged files. It then converts their objects again, or
/// reports these objects. No rows are lost.
///
/// # Errors
///
/// Fails if the dataset cannot be read or written.
pub fn clean(dataset: &Dataset, older_than: Duration) -> Result<Cleaned, DatasetError> {
    let target = dataset.target();
    let before = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
    // The files must be listed before the claims are read, so that a file that is claimed in between is kept.
    let leftovers = target.staged()?;
    let (originals, compacted) = (DataFiles::originals(dataset)?, DataFiles::compacted(dataset)?);
    let data = if compacted.is_empty() { DataFiles::default() } else { DataFiles::list(dataset)? };
    let mut cleaned = Cleaned::default();
    let (claimed, orphans) = examine(dataset, &[data, originals, compacted], &mut cleaned)?;
    // If a log is unreadable, any of the files may belong to an unfinished claim in it.
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
    for key in orphans {
        let bytes = target.size(&key)?.unwrap_or(0);
        target.delete(&key)?;
        cleaned.bytes += bytes;
        cleaned.removed.push(Removed { name: target.name(&key), bytes });
    }
    Ok(cleaned)
}

/// Reads all logs. Returns the identities of staged files that belong to unfinished claims and rewrites, and the keys of
/// orphan originals files and compacted files. Adds unreadable logs to `failures`, and adds to `kept` the number of
/// orphan compacted files in partitions with lost claims.
fn examine(
    dataset: &Dataset,
    [data, originals, compacted]: &[DataFiles; 3],
    cleaned: &mut Cleaned,
) -> Result<(BTreeSet<String>, Vec<String>), DatasetError> {
    let hints = Hints::list(dataset)?;
    let with_files: BTreeSet<Partition> = originals
        .keys()
        .chain(compacted.keys())
        .filter_map(|key| dataset.partition_of(&key))
        .collect();
    let partitions: BTreeSet<&Partition> = hints.partitions().chain(&with_files).collect();
    let (mut claimed, mut orphans) = (BTreeSet::new(), Vec::new());
    for partition in partitions {
        let log = match Log::read(dataset, partition, &hints) {
            Ok(log) => log,
            Err(error) if error.is_of_partition() => {
                let reason = format!("{}; no staged files are removed", error.with_source());
                let failure = Failure::new(partition.to_string(), reason);
                cleaned.failures.push(failure.with_remedy(Remedy::of(&error)));
                continue;
            }
            Err(error) => return Err(error),
        };
        for (_, entry) in log.unremoved().filter(|(_, entry)| entry.state == State::Open) {
            let outputs = entry.record.outputs().iter();
            claimed.extend(outputs.map(|output| identity(&output.file.staged)));
        }
        orphans.extend(originals.orphan_originals(dataset, &log)?);
        let orphan_compacted = compacted.orphan_compacted(dataset, &log)?;
        if orphan_compacted.is_empty() || data.unaccounted(dataset, &log, true)?.is_empty() {
            orphans.extend(orphan_compacted);
        } else {
            cleaned.kept += orphan_compacted.len() as u64;
        }
    }
    Ok((claimed, orphans))
}

/// Returns a string that identifies a staged file or upload.
fn identity(staged: &Staged) -> String {
    match staged {
        Staged::File(name) => name.to_string(),
        Staged::Upload { key, id, .. } => format!("{key} {id}"),
    }
}
