//! The queue of batches that are waiting for a driver or not finished yet.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::thread;

use crate::plan::Batch;

/// Compressed bytes above which a batch is large. A large batch needs memory for a row group of encoded pages and for
/// decompressed text.
const LARGE: u64 = 1 << 20;
/// Maximum number of large batches that are converted but not finished. Batches that are still being converted do not
/// count.
const MAX_STAGED: usize = 3;

/// A queue of batches. If only part of a batch was converted, the rest can be put back.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Maximum number of large batches that are converted concurrently.
    max_open: usize,
}

struct State {
    /// Batches, each with its index in the plan.
    waiting: VecDeque<(usize, Batch)>,
    /// Number of batches that were taken and are not finished.
    taken: usize,
    /// Number of large batches that were taken and are not finished.
    large: usize,
    /// Number of large batches that were taken and are not converted yet.
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
    /// Returns a queue of a plan's batches.
    pub(super) fn new(batches: Vec<Batch>, max_open: usize) -> Self {
        let waiting = batches.into_iter().enumerate().collect();
        let state = State { waiting, taken: 0, large: 0, open: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), max_open }
    }

    /// Takes the next batch. Waits while there are too many large batches, or while the rest of a batch in progress
    /// might still be put back.
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

    /// Records that a batch has been converted.
    pub(super) fn converted(&self, batch: &Batch) {
        let mut state = self.state.lock().expect("no holder panics");
        state.open -= usize::from(is_large(batch));
        self.changed.notify_all();
    }

    /// Records that a converted batch is finished. Puts `rest`, the unconverted part of the batch, back into the queue.
    pub(super) fn finish(&self, index: usize, batch: &Batch, rest: Option<Batch>) {
        let mut state = self.state.lock().expect("no holder panics");
        state.taken -= 1;
        state.large -= usize::from(is_large(batch));
        if let Some(rest) = rest {
            state.waiting.push_back((index, rest));
        }
        self.changed.notify_all();
    }

    /// Stops handing out batches.
    pub(super) fn close(&self) {
        self.state.lock().expect("no holder panics").closed = true;
        self.changed.notify_all();
    }

    /// Returns a guard that closes the queue if its thread panics, so that other threads do not wait for that thread's
    /// batch.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// Returns the number of objects in batches that no driver has taken.
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
