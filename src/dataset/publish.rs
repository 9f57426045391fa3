//! Publishing: carrying out what claims and removals say.
//!
//! Anyone may carry out any entry of a log, at any time, as often as they like; it needs no source. Claims
//! that stand before a removal are never published: the removal sees to them.

use crate::dataset::claim::{Claim, Log, Record, State};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::store::{Completed, StagedFile, Target, TargetError};

/// Carries out every open entry of a log. What cannot be is [`State::Stuck`] then.
///
/// # Errors
///
/// Fails when the dataset cannot be read or written. Nothing is lost; the next run goes on.
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
            Record::Add(_) | Record::Amend(_) if number < last_removal => {}
            Record::Add(_) => {
                log.settle(dataset, number)?;
                publish(dataset, log, number)?;
            }
            Record::Remove(_) => {
                log.settle(dataset, number)?;
                withdraw(dataset, log, number)?;
            }
            Record::Amend(_) => {
                log.settle(dataset, number)?;
                log.mark_done(dataset, number)?;
            }
        }
    }
    Ok(())
}

/// Makes the outputs of a claim visible. The claim must outlast a failure of the machine already.
///
/// # Errors
///
/// Fails when it is not known whether they are visible.
pub(crate) fn publish(dataset: &Dataset, log: &mut Log, number: usize) -> Result<(), DatasetError> {
    let Record::Add(claim) = log.entry(number).record.clone() else { return Ok(()) };
    for output in &claim.outputs {
        match dataset.target().complete(&output.file) {
            Ok(Completed::Visible) => {}
            Ok(Completed::Lost) => {
                return abort_claim(dataset, log, number, &claim, &output.file.key);
            }
            Err(error @ TargetError::Foreign { .. }) => {
                log.set_state(number, State::Stuck(error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    log.mark_done(dataset, number)?;
    forget(dataset, &claim);
    Ok(())
}

/// Gives up a claim of which an output was lost before it became visible, unless another stands.
///
/// Every output is aborted once more, even the one that is lost: a slow run that is about to complete it
/// has either done so by then, which is looked at afterwards, or never will, whatever the store
/// answered before.
fn abort_claim(
    dataset: &Dataset,
    log: &mut Log,
    number: usize,
    claim: &Claim,
    lost: &str,
) -> Result<(), DatasetError> {
    let target = dataset.target();
    let stands = || {
        for output in &claim.outputs {
            if target.size(&output.file.key)?.is_some() {
                return Ok(Some(target.name(&output.file.key)));
            }
        }
        Ok::<_, TargetError>(None)
    };
    let stuck = |why: String| {
        State::Stuck(format!("{} was lost before it was published; {why}", target.name(lost)))
    };
    if let Some(name) = stands()? {
        log.set_state(number, stuck(format!("{name} stands already")));
        return Ok(());
    }
    for output in &claim.outputs {
        end(&**target, &output.file)?;
    }
    if let Some(name) = stands()? {
        log.set_state(number, stuck(format!("{name} stands already")));
        return Ok(());
    }
    match log.state(dataset, number, &log.entry(number).record)? {
        // It was published, and its files were taken away since.
        state @ (State::Done | State::Aborted) => log.set_state(number, state),
        State::Open | State::Stuck(_) => log.mark_aborted(dataset, number)?,
    }
    forget(dataset, claim);
    Ok(())
}

/// Takes back what the claims before a removal made visible, or were about to.
fn withdraw(dataset: &Dataset, log: &mut Log, number: usize) -> Result<(), DatasetError> {
    let target = dataset.target();
    let before = log.standing().filter(|(n, entry)| *n < number && entry.state != State::Aborted);
    let claims: Vec<Claim> =
        before.filter_map(|(_, entry)| entry.record.claim().cloned()).collect();
    for output in claims.iter().flat_map(|claim| &claim.outputs) {
        end(&**target, &output.file)?;
    }
    // From here on nobody can publish one of them any more.
    for claim in &claims {
        for output in &claim.outputs {
            target.delete(&output.file.key)?;
        }
        forget(dataset, claim);
    }
    log.mark_done(dataset, number)
}

/// Ensures that no run can make a claimed file visible from now on; it may be visible already.
///
/// A store that cannot abort an upload completes it instead, because no upload completes twice. In such a store, the
/// file can become visible here.
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

fn forget(dataset: &Dataset, claim: &Claim) {
    for output in &claim.outputs {
        dataset.target().forget(&output.file.staged);
    }
}
