//! The batches that wait for a driver, and those whose end is not known yet.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::thread;

use crate::plan::Batch;

/// Compressed bytes from which on a batch is large: it holds a row group of encoded pages, and text ahead of it.
const LARGE: u64 = 1 << 20;
/// Large batches that are converted and not settled, at most, beside those that are being converted.
const MAX_STAGED: usize = 3;

/// A queue of batches that what is left of a batch can come back to.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Large batches that are converted at once, at most.
    max_open: usize,
}

struct State {
    /// Batches with their place in the plan.
    waiting: VecDeque<(usize, Batch)>,
    /// Batches that were taken and not settled.
    taken: usize,
    /// The large ones of them.
    large: usize,
    /// The large ones of them that are not converted.
    open: usize,
    closed: bool,
}

fn is_large(batch: &Batch) -> bool {
    let mut bytes = 0;
    batch.objects.iter().any(|object| {
        bytes += object.listed.size;
        bytes > LARGE
    })
}

impl Queue {
    /// Returns a queue of the batches of a plan.
    pub(super) fn new(batches: Vec<Batch>, max_open: usize) -> Self {
        let waiting = batches.into_iter().enumerate().collect();
        let state = State { waiting, taken: 0, large: 0, open: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), max_open }
    }

    /// Takes the next batch; waits for it while there are too many large ones, or while batches are open that might
    /// come back.
    pub(super) fn take(&self) -> Option<(usize, Batch)> {
        let mut state = self.state.lock().expect("no holder panics");
        while !state.closed {
            match state.waiting.front() {
                None if state.taken == 0 => return None,
                None => {}
                Some((_, batch)) => {
                    let large = usize::from(is_large(batch));
                    let room =
                        state.open < self.max_open && state.large < self.max_open + MAX_STAGED;
                    if large == 0 || room {
                        state.taken += 1;
                        state.large += large;
                        state.open += large;
                        return state.waiting.pop_front();
                    }
                }
            }
            state = self.changed.wait(state).expect("no holder panics");
        }
        None
    }

    /// Tells that a batch that was taken is converted.
    pub(super) fn converted(&self, batch: &Batch) {
        let mut state = self.state.lock().expect("no holder panics");
        state.open -= usize::from(is_large(batch));
        self.changed.notify_all();
    }

    /// Settles a batch that was taken and converted, of which this much is left to convert.
    pub(super) fn settle(&self, index: usize, batch: &Batch, rest: Option<Batch>) {
        let mut state = self.state.lock().expect("no holder panics");
        state.taken -= 1;
        state.large -= usize::from(is_large(batch));
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

    /// Returns what closes the queue if the thread that drops it panics, so that others do not wait for its batch.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// Number of objects that nobody took.
    pub(super) fn left(&self) -> u64 {
        let state = self.state.lock().expect("no holder panics");
        state.waiting.iter().map(|(_, batch)| batch.objects.len() as u64).sum()
    }
}

/// See [`Queue::guard`].
pub(super) struct Guard<'a>(&'a Queue);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}
