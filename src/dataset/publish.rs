//! Publishing: applies claims, rewrites and removals.
//!
//! Applying an entry is idempotent and needs no access to the source, so any run can apply any entry at any time.
//! Claims before a removal are never published, because the removal deletes their files.

use crate::dataset::claim::{Log, Output, Record, State};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::store::{Completed, StagedFile, Target, TargetError};

/// Applies every open entry of a log. An entry that cannot be applied becomes [`State::Stuck`].
///
/// # Errors
///
/// Fails when the dataset cannot be read or written. Nothing is lost; the next run continues.
pub(crate) fn finish(dataset: &Dataset, log: &mut Log) -> Result<(), DatasetError> {
    let is_removal = |number: &usize| matches!(log.entry(*number).record, Record::Remove(_));
    let numbers = 1..=log.entries().len();
    let last_removal = numbers.clone().rev().find(is_removal).unwrap_or(0);
    for number in numbers {
        let entry = log.entry(number);
        if entry.state != State::Open {
            continue;
        }
        match &entry.record {
            Record::Add(_) | Record::Amend(_) | Record::Rewrite(_) if number < last_removal => {}
            Record::Add(_) | Record::Rewrite(_) => {
                log.sync(dataset, number)?;
                publish(dataset, log, number)?;
            }
            Record::Remove(_) => {
                log.sync(dataset, number)?;
                withdraw(dataset, log, number)?;
            }
            Record::Amend(_) => {
                log.sync(dataset, number)?;
                log.mark_done(dataset, number)?;
            }
        }
    }
    Ok(())
}

/// Makes the outputs of a claim or a rewrite visible. The entry must be durable.
///
/// # Errors
///
/// Fails when it is unknown whether the outputs are visible.
pub(crate) fn publish(dataset: &Dataset, log: &mut Log, number: usize) -> Result<(), DatasetError> {
    let outputs = log.entry(number).record.outputs().to_vec();
    for output in &outputs {
        match dataset.target().complete(&output.file) {
            Ok(Completed::Visible) => {}
            Ok(Completed::Lost) => {
                return abort(dataset, log, number, &outputs, &output.file.key);
            }
            // No table needs the output of a rewrite that is not done.
            Err(TargetError::Foreign { .. }) if is_dispensable(log, number) => {
                outputs.iter().try_for_each(|output| end(&**dataset.target(), &output.file))?;
                return mark_aborted(dataset, log, number, &outputs);
            }
            Err(error @ TargetError::Foreign { .. }) => {
                log.set_state(number, State::Stuck(error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    log.mark_done(dataset, number)?;
    forget(dataset, &outputs);
    Ok(())
}

/// Returns whether an entry is a rewrite, and no later rewrite replaces or reverts its output.
fn is_dispensable(log: &Log, number: usize) -> bool {
    let rewrites = |number| match &log.entry(number).record {
        Record::Rewrite(rewrite) => Some(rewrite),
        _ => None,
    };
    let Some(output) = rewrites(number).and_then(|rewrite| rewrite.output.as_ref()) else {
        return false;
    };
    let mut later = (number + 1..=log.entries().len()).filter_map(rewrites);
    !later.any(|later| later.inputs.contains(&output.file.key))
}

/// Aborts an entry if one of its outputs was lost before it became visible. If a row or reject file exists, the entry
/// becomes [`State::Stuck`] instead. A claim's originals file, which engines do not read, is deleted.
///
/// This function aborts every output again, even the lost one, regardless of what the store reported earlier.
/// Afterwards, a slow run either has already completed an output, which the second check detects, or can no longer do
/// so.
fn abort(
    dataset: &Dataset,
    log: &mut Log,
    number: usize,
    outputs: &[Output],
    lost: &str,
) -> Result<(), DatasetError> {
    let target = dataset.target();
    let existing = || {
        for output in outputs.iter().filter(|output| !output.has_originals()) {
            if target.size(&output.file.key)?.is_some() {
                return Ok(Some(target.name(&output.file.key)));
            }
        }
        Ok::<_, TargetError>(None)
    };
    let stuck = |why: String| {
        State::Stuck(format!("{} was lost before it was published; {why}", target.name(lost)))
    };
    if let Some(name) = existing()? {
        log.set_state(number, stuck(format!("{name} already exists")));
        return Ok(());
    }
    for output in outputs {
        end(&**target, &output.file)?;
    }
    if let Some(name) = existing()? {
        log.set_state(number, stuck(format!("{name} already exists")));
        return Ok(());
    }
    mark_aborted(dataset, log, number, outputs)
}

/// Marks an entry as aborted, unless another run has published it. Its outputs must have been aborted.
fn mark_aborted(
    dataset: &Dataset,
    log: &mut Log,
    number: usize,
    outputs: &[Output],
) -> Result<(), DatasetError> {
    match log.state(dataset, number, &log.entry(number).record)? {
        // The entry was published, and its files have been deleted since.
        state @ (State::Done | State::Aborted) => log.set_state(number, state),
        State::Open | State::Stuck(_) => {
            // The file is deleted before the claim is marked, so that a crash in between leaves no orphan file.
            for output in outputs.iter().filter(|output| output.has_originals()) {
                dataset.target().delete(&output.file.key)?;
            }
            log.mark_aborted(dataset, number)?;
        }
    }
    forget(dataset, outputs);
    Ok(())
}

/// Deletes the files of all claims and rewrites before a removal, and ensures that no run publishes them later.
fn withdraw(dataset: &Dataset, log: &mut Log, number: usize) -> Result<(), DatasetError> {
    let target = dataset.target();
    let before = log.unremoved().filter(|(n, entry)| *n < number && entry.state != State::Aborted);
    let outputs: Vec<Output> =
        before.flat_map(|(_, entry)| entry.record.outputs().to_vec()).collect();
    for output in &outputs {
        end(&**target, &output.file)?;
    }
    // From here on, no run can publish any of these files.
    for output in &outputs {
        target.delete(&output.file.key)?;
    }
    forget(dataset, &outputs);
    log.mark_done(dataset, number)
}

/// Ensures that no run can make a claimed file visible after this call. The file may already be visible.
///
/// In a store that cannot abort uploads, this function completes the upload instead, because an upload can be completed
/// only once. The file may then become visible.
///
/// # Errors
///
/// Fails when another run might still complete the file.
pub fn end(target: &dyn Target, file: &StagedFile) -> Result<(), TargetError> {
    match target.abort(&file.staged) {
        Err(TargetError::NoAbort { .. }) => match target.complete(file) {
            Ok(_) | Err(TargetError::Foreign { .. }) => Ok(()),
            Err(error) => Err(error),
        },
        aborted => aborted,
    }
}

fn forget(dataset: &Dataset, outputs: &[Output]) {
    for output in outputs {
        dataset.target().forget(&output.file.staged);
    }
}
