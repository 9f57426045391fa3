//! Checks days on worker threads, while further days are read.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;

use rayon::Scope;

use crate::maintain::verify::Checked;
use crate::plan::PlanError;

/// Maximum weight per worker of the days in memory, see [`Workers::wait`].
const WEIGHT_PER_WORKER: usize = 10_000;

/// The result of a check that may have panicked.
type CheckResult = thread::Result<Result<Checked, PlanError>>;

/// Worker threads that check days.
pub(super) struct Workers<'s, 'e, D> {
    scope: &'s Scope<'e>,
    days: Loaded<D>,
    /// Number of days that are waiting or being checked.
    running: usize,
    sender: Sender<CheckResult>,
    receiver: Receiver<CheckResult>,
    checked: Checked,
}

/// The days in memory, in the order in which they were read, with their weights.
struct Loaded<D> {
    days: Vec<(Weak<D>, usize)>,
    /// Maximum weight.
    limit: usize,
}

impl<'s, 'e, D> Workers<'s, 'e, D> {
    pub(super) fn new(scope: &'s Scope<'e>, threads: usize) -> Self {
        let (sender, receiver) = channel();
        let days = Loaded { days: Vec::new(), limit: threads * WEIGHT_PER_WORKER };
        Self { scope, days, running: 0, sender, receiver, checked: Checked::default() }
    }

    /// Waits until the next day may be read: until the days in memory are below the limit. The last two days do not
    /// count, because the caller needs them, and neither does a single other day.
    ///
    /// All days in memory count, not only those that are being checked: a check also keeps the adjacent days in memory.
    ///
    /// # Errors
    ///
    /// Fails if an earlier check has failed.
    ///
    /// # Panics
    ///
    /// Panics if an earlier check has panicked.
    pub(super) fn wait(&mut self) -> Result<(), PlanError> {
        while let Ok(result) = self.receiver.try_recv() {
            self.take(result)?;
        }
        while self.running > 0 && self.days.are_too_many() {
            self.receive()?;
        }
        Ok(())
    }

    /// Adds a day that was read.
    pub(super) fn add(&mut self, day: D, weight: usize) -> Arc<D> {
        self.days.add(day, weight)
    }

    /// Starts a check, which must own the days that it needs.
    pub(super) fn check(&mut self, check: impl FnOnce() -> Result<Checked, PlanError> + Send + 'e) {
        self.running += 1;
        let sender = self.sender.clone();
        self.scope.spawn(move |_| {
            // The check drops its days before the result is sent, so `wait` does not count them.
            let result = catch_unwind(AssertUnwindSafe(check));
            // If another check has failed, nobody receives the result.
            let _ = sender.send(result);
        });
    }

    /// Waits until a day is checked.
    fn receive(&mut self) -> Result<(), PlanError> {
        let result = self.receiver.recv().expect("`self` has a sender");
        self.take(result)
    }

    fn take(&mut self, result: CheckResult) -> Result<(), PlanError> {
        self.running -= 1;
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
        while self.running > 0 {
            self.receive()?;
        }
        Ok(self.checked)
    }
}

impl<D> Loaded<D> {
    fn add(&mut self, day: D, weight: usize) -> Arc<D> {
        let day = Arc::new(day);
        self.days.push((Arc::downgrade(&day), weight));
        day
    }

    /// Returns whether the days in memory exceed the limit, see [`Workers::wait`].
    fn are_too_many(&mut self) -> bool {
        self.days.retain(|(day, _)| day.strong_count() > 0);
        let others = &self.days[..self.days.len().saturating_sub(2)];
        others.len() > 1 && others.iter().map(|(_, weight)| weight).sum::<usize>() > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_as_long_as_they_are_in_memory() {
        let mut loaded = Loaded { days: Vec::new(), limit: 10 };
        let mut days: Vec<Arc<()>> = [9, 2, 50, 50].map(|weight| loaded.add((), weight)).into();
        assert!(loaded.are_too_many(), "9 + 2");
        drop(days.remove(1));
        assert!(!loaded.are_too_many(), "9");
        days.push(loaded.add((), 1));
        assert!(loaded.are_too_many(), "9 + 50");
        drop(days.remove(0));
        assert!(!loaded.are_too_many(), "a single day is not limited");
        drop(days.remove(0));
        days.extend([9, 1, 1].map(|weight| loaded.add((), weight)));
        assert!(loaded.are_too_many(), "50 + 1 + 9");
        drop(days.remove(0));
        assert!(!loaded.are_too_many(), "1 + 9");
        days.push(loaded.add((), 1));
        assert!(loaded.are_too_many(), "1 + 9 + 1");
    }

    #[test]
    fn results_of_all_days_are_added() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let run = |failing: u64| {
            pool.in_place_scope(|scope| {
                let mut workers: Workers<()> = Workers::new(scope, 1);
                for number in 1..=100 {
                    workers.wait()?;
                    let day = workers.add((), 9_000);
                    workers.check(move || {
                        drop(day);
                        let mut checked = Checked::default();
                        checked.report.rows = number;
                        if number == failing { Err(PlanError::Interrupted) } else { Ok(checked) }
                    });
                }
                workers.end()
            })
        };
        assert_eq!(run(0).unwrap().report.rows, 5050);
        for failing in [1, 50, 100] {
            assert!(matches!(run(failing), Err(PlanError::Interrupted)));
        }
    }
}
