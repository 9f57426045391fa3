//! Limits reads from remote stores, across all sources.
//!
//! A batch's feed *begins* a read. When the read is *admitted*, its request is sent. The object then *arrives*, and
//! finally a worker *takes* it. [`pace`] computes how many reads may be admitted, [`admission`] chooses them, and this
//! module connects both to the tasks that read. A waiting read occupies only a small task, not a thread.

mod admission;
mod pace;
mod quota;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::store::limiter::admission::{Admission, StoreId};
use crate::util::process_limit;

/// Default maximum number of concurrent reads. Each read occupies a connection, so the default is at most half the
/// limit on open files.
const MAX_REQUESTS: usize = 1024;
const FILES_PER_REQUEST: u64 = 2;
/// Assumed limit on open files if the system does not report one. It is the default on macOS.
const UNKNOWN_FILES: u64 = 256;
/// Memory for objects that are read ahead: a base amount, and an amount per worker. A worker processes up to 85 MB of
/// gzip per second, so this suffices for a latency of 200 ms.
const BASE: u64 = 16 << 20;
const PER_WORKER: u64 = 24 << 20;

/// Limits concurrent reads, and the memory for objects that no worker has taken yet.
#[derive(Debug)]
pub(crate) struct Limiter {
    inner: Mutex<Inner>,
    began: Instant,
}

#[derive(Debug)]
struct Inner {
    admission: Admission,
    /// Notified when a read is admitted.
    waiting: HashMap<u64, oneshot::Sender<()>>,
    throttled: u64,
    most_in_flight: usize,
}

/// The current state of a limiter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Number of requests without a complete response.
    pub in_flight: usize,
    /// Highest value of `in_flight` so far.
    pub most_in_flight: usize,
    /// Maximum number of concurrent requests. It decreases if a store throttles requests.
    pub limit: usize,
    /// Number of objects to keep in flight, or in memory and not yet taken by a worker. Lanes that have less than an equal
    /// share may exceed it.
    pub window: usize,
    /// Compressed bytes in flight or in memory.
    pub bytes: u64,
    /// Objects taken by workers per second in the fastest recent round.
    pub rate: f64,
    /// Mean time in seconds from the start of a request to the end of its response, without queueing.
    pub latency: Option<f64>,
    /// Number of requests that a store has throttled or not answered in time.
    pub throttled: u64,
}

/// A sequence of reads, such as the reads for one batch. Each sequence gets an equal share of the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane(u64);

impl Lane {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for Limiter {
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let inner = Inner {
            admission: Admission::new(default_max_requests(), max_bytes(workers)),
            waiting: HashMap::new(),
            throttled: 0,
            most_in_flight: 0,
        };
        Self { inner: Mutex::new(inner), began: Instant::now() }
    }
}

/// Returns the default maximum number of concurrent reads.
fn default_max_requests() -> usize {
    let files = process_limit::soft("Max open files").unwrap_or(UNKNOWN_FILES);
    MAX_REQUESTS.min(usize::try_from(files / FILES_PER_REQUEST).unwrap_or(usize::MAX)).max(1)
}

/// Returns how many bytes may be read ahead, not counting objects that workers are waiting for.
fn max_bytes(workers: usize) -> u64 {
    BASE + workers as u64 * PER_WORKER
}

impl Limiter {
    /// Sets the limits before the first read. `max_requests` is `None` for the default.
    pub(crate) fn configure(&self, max_requests: Option<usize>, workers: usize) {
        let max_requests = max_requests.unwrap_or_else(default_max_requests);
        self.lock().admission.configure(max_requests, max_bytes(workers));
    }

    /// Returns the reads from the store with this name.
    pub(super) fn reads(self: &Arc<Self>, store: &str) -> Reads {
        let store = self.change(|inner, _| inner.admission.store(store));
        Reads { limiter: Arc::clone(self), store }
    }

    /// Returns the current state.
    pub(crate) fn load(&self) -> Load {
        let now = self.began.elapsed();
        let inner = self.lock();
        let Inner { admission, most_in_flight, throttled, .. } = &*inner;
        Load {
            in_flight: admission.in_flight(),
            most_in_flight: *most_in_flight,
            limit: admission.limit(now),
            window: admission.pace.window(),
            bytes: admission.held_bytes(),
            rate: admission.pace.rate(),
            latency: admission.pace.latency(),
            throttled: *throttled,
        }
    }

    /// Records that the store with this name has throttled a request, or has not answered it in time.
    pub(super) fn throttle(&self, store: &str) {
        self.change(|inner, now| {
            inner.throttled += 1;
            let store = inner.admission.store(store);
            inner.admission.throttle(store, now);
        });
    }

    /// Applies a change, then admits all reads that the limits allow.
    fn change<T>(&self, change: impl FnOnce(&mut Inner, Duration) -> T) -> T {
        let mut inner = self.lock();
        let now = self.began.elapsed();
        let result = change(&mut inner, now);
        while let Some(number) = inner.admission.admit(now) {
            // If the receiver was dropped, its ticket is about to be dropped, too.
            let _ = inner.waiting.remove(&number).map(|admitted| admitted.send(()));
        }
        inner.most_in_flight = inner.most_in_flight.max(inner.admission.in_flight());
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reads from one store.
#[derive(Debug, Clone)]
pub(super) struct Reads {
    limiter: Arc<Limiter>,
    store: StoreId,
}

impl Reads {
    /// Returns how many objects and bytes a feed should begin to read ahead of its workers.
    pub(super) fn ahead(&self) -> (usize, u64) {
        let inner = self.limiter.lock();
        (inner.admission.pace.window(), inner.admission.max_bytes())
    }

    /// Begins a read. The receiver is notified when the read is admitted.
    pub(super) fn begin(&self, lane: Lane, bytes: u64) -> (Ticket, oneshot::Receiver<()>) {
        let (admitted, receiver) = oneshot::channel();
        let number = self.limiter.change(|inner, _| {
            let number = inner.admission.add((lane.0, self.store), bytes);
            inner.waiting.insert(number, admitted);
            number
        });
        (Ticket { limiter: Arc::clone(&self.limiter), number }, receiver)
    }

    /// Records that a worker is waiting for the read with this number.
    pub(super) fn hurry(&self, number: u64) {
        self.limiter.change(|inner, _| inner.admission.hurry(number));
    }
}

/// A read in progress. Dropping the ticket cancels the read, or releases the memory of its object.
#[derive(Debug)]
pub(super) struct Ticket {
    limiter: Arc<Limiter>,
    number: u64,
}

impl Ticket {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Records that the request ended. `arrived` is false if it failed.
    pub(super) fn end(&self, arrived: bool) {
        self.limiter.change(|inner, now| inner.admission.end(self.number, arrived, now));
    }

    /// Records that a worker has taken the object. Its bytes no longer count as read ahead.
    pub(super) fn take(self) {
        self.remove(true);
    }

    fn remove(&self, taken: bool) {
        self.limiter.change(|inner, now| {
            inner.waiting.remove(&self.number);
            inner.admission.remove(self.number, taken, now);
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Has no effect after `take`.
        self.remove(false);
    }
}
