//! The batches that wait for a driver, and those whose end is not known yet.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

use crate::plan::Batch;

/// A queue of batches that what is left of a batch can come back to.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Batches with their place in the plan.
    waiting: VecDeque<(usize, Batch)>,
    /// Batches that were taken and not settled.
    open: usize,
    closed: bool,
}

impl Queue {
    /// Returns a queue of the batches of a plan.
    pub(super) fn new(batches: Vec<Batch>) -> Self {
        let waiting = batches.into_iter().enumerate().collect();
        let state = State { waiting, open: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes the next batch; waits for it while batches are open that might come back.
    pub(super) fn take(&self) -> Option<(usize, Batch)> {
        let mut state = self.state.lock().expect("no holder panics");
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.waiting.pop_front() {
                state.open += 1;
                return Some(next);
            }
            if state.open == 0 {
                return None;
            }
            state = self.changed.wait(state).expect("no holder panics");
        }
    }

    /// Settles a batch that was taken, of which this much is left to convert.
    pub(super) fn settle(&self, index: usize, rest: Option<Batch>) {
        let mut state = self.state.lock().expect("no holder panics");
        state.open -= 1;
        if let Some(rest) = rest {
            state.waiting.push_back((index, rest));
        }
        self.changed.notify_all();
    }

    /// Gives out no more batches.
    pub(super) fn close(&self) {
        self.state.lock().expect("no holder panics").closed = true;
        self.changed.notify_all();
    }

    /// Number of objects that nobody took.
    pub(super) fn left(&self) -> u64 {
        let state = self.state.lock().expect("no holder panics");
        state.waiting.iter().map(|(_, batch)| batch.objects.len() as u64).sum()
    }
}
