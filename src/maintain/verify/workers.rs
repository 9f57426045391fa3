//! Checks days on worker threads, while further days are read.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rayon::Scope;

use crate::maintain::verify::Checked;
use crate::plan::PlanError;

/// Maximum number of objects per worker in the days that are waiting or being checked, unless a single day has more.
const OBJECTS_PER_WORKER: usize = 10_000;

/// Worker threads that check days.
pub(super) struct Workers<'s, 'e> {
    scope: &'s Scope<'e>,
    /// Maximum number of objects in memory.
    limit: usize,
    /// Number of objects in memory.
    weight: usize,
    sender: Sender<(usize, thread::Result<Result<Checked, PlanError>>)>,
    receiver: Receiver<(usize, thread::Result<Result<Checked, PlanError>>)>,
    checked: Checked,
}

impl<'s, 'e> Workers<'s, 'e> {
    pub(super) fn new(scope: &'s Scope<'e>, threads: usize) -> Self {
        let (sender, receiver) = channel();
        let (limit, checked) = (threads * OBJECTS_PER_WORKER, Checked::default());
        Self { scope, limit, weight: 0, sender, receiver, checked }
    }

    /// Starts to check a day with `weight` objects. Before that, waits until the other days are below the limit.
    ///
    /// # Errors
    ///
    /// Fails if an earlier check has failed.
    ///
    /// # Panics
    ///
    /// Panics if an earlier check has panicked.
    pub(super) fn check(
        &mut self,
        weight: usize,
        check: impl FnOnce() -> Result<Checked, PlanError> + Send + 'e,
    ) -> Result<(), PlanError> {
        while self.weight > 0 && self.weight + weight > self.limit {
            self.receive()?;
        }
        self.weight += weight;
        let sender = self.sender.clone();
        self.scope.spawn(move |_| {
            let result = catch_unwind(AssertUnwindSafe(check));
            // If another check has failed, nobody receives the result.
            let _ = sender.send((weight, result));
        });
        Ok(())
    }

    /// Waits until a day is checked.
    fn receive(&mut self) -> Result<(), PlanError> {
        let (weight, result) = self.receiver.recv().expect("`self` has a sender");
        self.weight -= weight;
        self.checked.add(result.unwrap_or_else(|panic| resume_unwind(panic))?);
        Ok(())
    }

    /// Waits until all days are checked, and returns the result.
    ///
    /// # Errors
    ///
    /// Fails if a check fails.
    ///
    /// # Panics
    ///
    /// Panics if a check panics.
    pub(super) fn end(mut self) -> Result<Checked, PlanError> {
        while self.weight > 0 {
            self.receive()?;
        }
        Ok(self.checked)
    }
}
