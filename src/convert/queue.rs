//! The queue of batches that are waiting for a driver or not finished yet. Batches are added while others are converted.

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
/// Number of waiting objects above which no more batches are added, so that a plan does not fill the memory.
const MAX_WAITING: usize = 50_000;

/// A queue of batches. Objects that must be converted again can be put back.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Maximum number of large batches that are converted concurrently.
    max_open: usize,
}

struct State {
    /// Batches, each with its index in the plan.
    waiting: VecDeque<(usize, Batch)>,
    /// Number of objects in these batches.
    objects: usize,
    /// Number of batches that were added.
    added: usize,
    /// Whether all batches were added.
    is_complete: bool,
    /// Number of objects in batches that were added after the queue was closed.
    refused: u64,
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
    /// Returns an empty queue.
    pub(super) fn new(max_open: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            objects: 0,
            added: 0,
            is_complete: false,
            refused: 0,
            taken: 0,
            large: 0,
            open: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), max_open }
    }

    /// Adds the next batch of the plan. Waits while many objects are waiting. If the queue is closed, only counts the
    /// batch's objects.
    pub(super) fn add(&self, batch: Batch) {
        let mut state = self.state.lock().expect("no holder panics");
        while state.objects > MAX_WAITING && !state.closed {
            state = self.changed.wait(state).expect("no holder panics");
        }
        if state.closed {
            state.refused += batch.objects.len() as u64;
            return;
        }
        state.objects += batch.objects.len();
        let index = state.added;
        state.added += 1;
        state.waiting.push_back((index, batch));
        self.changed.notify_all();
    }

    /// Records that all batches were added.
    pub(super) fn complete(&self) {
        self.state.lock().expect("no holder panics").is_complete = true;
        self.changed.notify_all();
    }

    /// Takes the next batch. Waits while there are too many large batches, or while batches can still be added or put
    /// back.
    pub(super) fn take(&self) -> Option<(usize, Batch)> {
        let mut state = self.state.lock().expect("no holder panics");
        while !state.closed {
            match state.waiting.front() {
                None if state.taken == 0 && state.is_complete => return None,
                None => {}
                Some((_, batch)) => {
                    let (objects, large) = (batch.objects.len(), usize::from(is_large(batch)));
                    let room =
                        state.open < self.max_open && state.large < self.max_open + MAX_STAGED;
                    if large == 0 || room {
                        state.objects -= objects;
                        state.taken += 1;
                        state.large += large;
                        state.open += large;
                        self.changed.notify_all();
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

    /// Records that a converted batch is finished. Puts `rest`, the objects that must be converted again, back into
    /// the queue.
    pub(super) fn finish(&self, index: usize, batch: &Batch, rest: Option<Batch>) {
        let mut state = self.state.lock().expect("no holder panics");
        state.taken -= 1;
        state.large -= usize::from(is_large(batch));
        if let Some(rest) = rest {
            state.objects += rest.objects.len();
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
        state.objects as u64 + state.refused
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
