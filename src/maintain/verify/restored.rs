//! Restores the text of objects and compares it with their claims.

use std::sync::atomic::AtomicBool;

use crate::dataset::claim::Claim;
use crate::dataset::layout::Dataset;
use crate::logs::key::Partition;
use crate::maintain::restore::{self, Unrestorable};
use crate::maintain::verify::Finding;
use crate::plan::{PlanError, Remedy};

/// The kind of all findings in this module.
const KIND: &str = "not_restorable";

/// The result of restoring the objects of a claim.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// Number of objects whose text matches the claim.
    pub(super) restorable: u64,
    /// Number of objects that were damaged when they were converted.
    pub(super) damaged: u64,
    /// Why other objects cannot be restored.
    pub(super) findings: Vec<Finding>,
}

/// Restores the objects of a claim. `name` is the path or URL of the claim.
///
/// # Errors
///
/// Fails if `stop` is set.
pub(super) fn check(
    dataset: &Dataset,
    partition: &Partition,
    (claim, name): (&Claim, &str),
    stop: &AtomicBool,
) -> Result<Restored, PlanError> {
    let mut restored = Restored::default();
    let mut without_originals = 0;
    let proof = restore::proof(dataset, partition, claim, stop)?;
    for (object, result) in claim.objects.iter().zip(proof) {
        match result {
            Ok(()) => restored.restorable += 1,
            // A damaged object is already reported as `incomplete_object`, unless the user has accepted it.
            Err(Unrestorable::Damaged) => restored.damaged += 1,
            Err(Unrestorable::NoOriginals) => without_originals += 1,
            Err(why) => {
                let problem = format!("cannot be restored: {why}");
                let url = claim.url(object);
                restored.findings.push(Finding::new(KIND, url, &problem, Remedy::RemoveIfInSource));
            }
        }
    }
    if without_originals > 0 {
        let why = Unrestorable::NoOriginals;
        let problem = format!("has {without_originals} objects that cannot be restored: {why}");
        restored.findings.push(Finding::new(KIND, name, &problem, Remedy::RemoveIfInSource));
    }
    Ok(restored)
}
