//! Plans a conversion while its first batches are converted.

use std::cell::RefCell;
use std::iter;
use std::mem;

use crate::convert::tally::ARCHIVED;
use crate::convert::touched::{Compared, Comparison};
use crate::plan::{Batch, Gathering, Listing, Plan, PlanError, Planned, Planner, TOUCHED, Touched};

/// Number of touched objects that are compared at once.
const COMPARED_AT_ONCE: usize = 4096;

/// A plan that is made while its batches are converted.
pub(crate) struct Live<'a> {
    /// The listing.
    pub gathering: Gathering<'a>,
    /// Cuts the listed days into batches.
    pub planner: Planner<'a>,
    /// Compares touched objects with their converted content.
    pub comparison: Comparison<'a>,
    /// Observes the plan.
    pub watch: &'a dyn Watch,
}

/// Observes a plan in progress.
pub(crate) trait Watch: Sync {
    /// Called with the number of objects that have been listed so far.
    fn listed(&self, _objects: u64) {}

    /// Called before touched objects are compared, with their number.
    fn compares(&self, _objects: u64) {}

    /// Called when all sources have been listed.
    fn is_listed(&self) {}

    /// Called when the plan is complete.
    fn is_planned(&self) {}
}

impl Live<'_> {
    /// Plans, and calls `convert` with each batch. Returns everything about the plan except the batches, and everything
    /// about the listing except the objects. If the user interrupts the program after the first batch, the plan is
    /// incomplete.
    ///
    /// # Errors
    ///
    /// Fails if nothing can be listed, the claims cannot be read, an open claim cannot be finished, or the user interrupts
    /// the program before the first batch.
    pub(crate) fn run(
        self,
        convert: &mut dyn FnMut(Batch) -> Result<(), PlanError>,
    ) -> Result<(Plan, Listing), PlanError> {
        let Self { gathering, mut planner, comparison, watch } = self;
        let gathering = RefCell::new(gathering);
        let mut days = iter::from_fn(|| {
            let mut gathering = gathering.borrow_mut();
            let day = gathering.next_day().transpose();
            watch.listed(gathering.listed());
            if day.is_none() {
                watch.is_listed();
            }
            day
        });
        let (mut waiting, mut compared) = (Vec::new(), Compared::default());
        let mut compare = |waiting: &mut Vec<Touched>| -> Result<(), PlanError> {
            if waiting.is_empty() {
                return Ok(());
            }
            watch.compares(waiting.len() as u64);
            compared.add(comparison.run(mem::take(waiting))?);
            Ok(())
        };
        let mut has_begun = false;
        let planned = planner.each_day(&mut days, |Planned { batches, touched }| {
            has_begun |= !batches.is_empty();
            batches.into_iter().try_for_each(&mut *convert)?;
            waiting.extend(touched);
            if waiting.len() >= COMPARED_AT_ONCE { compare(&mut waiting) } else { Ok(()) }
        });
        let planned = planned.and_then(|()| compare(&mut waiting));
        let gathering = gathering.into_inner();
        let is_interrupted = compared.left > 0 || matches!(planned, Err(PlanError::Interrupted));
        let (mut plan, listing) = if is_interrupted && has_begun {
            let pending = gathering.pending() + waiting.len() as u64 + compared.left;
            let mut listing = gathering.end_early();
            let plan = planner.end_early(&mut listing, pending);
            (plan, listing)
        } else {
            planned?;
            if is_interrupted {
                return Err(PlanError::Interrupted);
            }
            let mut listing = gathering.end()?;
            let plan = planner.end(&mut listing)?;
            (plan, listing)
        };
        plan.skip(TOUCHED, compared.equal.objects);
        plan.skip(ARCHIVED, compared.archived.objects);
        plan.bytes_archived += compared.archived.bytes;
        plan.failures.extend(compared.failures);
        watch.is_planned();
        Ok((plan, listing))
    }
}
