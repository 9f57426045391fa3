//! The memory budget that concurrent batches share.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

/// The memory limit for all batches in bytes is this base, plus `PER_WORKER` for each worker. Above the limit, only
/// the oldest batch decompresses more data.
const BASE: usize = 32 << 20;
const PER_WORKER: usize = 24 << 20;

/// Counts the decompressed bytes, record batches and encoded pages that batches hold.
///
/// While the total exceeds the limit, only the oldest batch may decompress more data. The other batches decode and
/// write what they have, or wait. The oldest can always continue, so there is no deadlock.
pub(super) struct Budget {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Bytes that each batch holds, oldest batch first.
    held: BTreeMap<u64, usize>,
    all: usize,
}

impl Budget {
    pub(super) fn new(threads: usize) -> Self {
        Self::of(BASE + threads * PER_WORKER)
    }

    fn of(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Registers a batch, and returns its share of the budget.
    pub(super) fn share(&self) -> Share<'_> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.held.insert(number, 0);
        Share { budget: self, number }
    }

    fn may_grow(&self, state: &State, number: u64) -> bool {
        let oldest = state.held.first_key_value().map(|(number, _)| *number);
        state.all < self.limit || oldest == Some(number)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// The part of the budget that one batch uses.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    number: u64,
}

impl Share<'_> {
    /// Sets the number of bytes that the batch holds.
    pub(super) fn hold(&self, bytes: usize) {
        let mut state = self.budget.state();
        let before = state.all;
        let held = state.held.insert(self.number, bytes).unwrap_or_default();
        state.all = state.all - held + bytes;
        if before >= self.budget.limit && state.all < self.budget.limit {
            self.budget.changed.notify_all();
        }
    }

    /// Returns whether the batch may decompress more data.
    pub(super) fn may_grow(&self) -> bool {
        self.budget.may_grow(&self.budget.state(), self.number)
    }

    /// Waits until the batch may decompress more data.
    pub(super) fn wait(&self) {
        let mut state = self.budget.state();
        while !self.budget.may_grow(&state, self.number) {
            state = self.budget.changed.wait(state).expect("no holder panics");
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        let held = state.held.remove(&self.number).unwrap_or_default();
        state.all -= held;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn beyond_the_limit_only_the_oldest_batch_may_grow() {
        let budget = Budget::of(100);
        let (first, second, third) = (budget.share(), budget.share(), budget.share());
        second.hold(99);
        assert!(first.may_grow() && second.may_grow() && third.may_grow());
        second.hold(60);
        first.hold(40);
        assert!(first.may_grow() && !second.may_grow() && !third.may_grow());
        thread::scope(|scope| {
            scope.spawn(|| third.wait());
            scope.spawn(|| second.wait());
            drop(first);
        });
        second.hold(100);
        thread::scope(|scope| {
            scope.spawn(|| third.wait());
            second.hold(99);
        });
    }
}
