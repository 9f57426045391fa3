//! Tracks pending requests and how long they have been waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a failure a retry may still be pending.
const PAUSE: Duration = Duration::from_secs(15);

/// A bucket that has not responded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// URL of the bucket.
    pub bucket: Arc<str>,
    /// Time since the last response.
    pub time: Duration,
}

/// Pending requests, grouped by bucket.
#[derive(Debug, Default)]
pub(super) struct Waits(Arc<Mutex<BTreeMap<Arc<str>, State>>>);

#[derive(Debug)]
struct State {
    /// Number of requests without a complete response.
    open: usize,
    /// Time when data was last received, or when the first request began if no data has been received.
    last: Instant,
    /// Time of the last failed request, if no data has been received since.
    failed: Option<Instant>,
}

/// A request that is pending until this value is dropped.
pub(super) struct Open {
    waits: Arc<Mutex<BTreeMap<Arc<str>, State>>>,
    bucket: Arc<str>,
}

impl Waits {
    /// Registers a pending request to a bucket.
    pub(super) fn open(&self, bucket: &Arc<str>) -> Open {
        let now = Instant::now();
        let mut states = lock(&self.0);
        let new = State { open: 0, last: now, failed: None };
        let state = states.entry(Arc::clone(bucket)).or_insert(new);
        if !state.is_waited_for(now) {
            state.last = now;
        }
        state.open += 1;
        Open { waits: Arc::clone(&self.0), bucket: Arc::clone(bucket) }
    }

    pub(super) fn now(&self) -> Vec<Wait> {
        let now = Instant::now();
        let states = lock(&self.0);
        let waiting = states.iter().filter(|(_, state)| state.is_waited_for(now));
        waiting
            .map(|(bucket, state)| Wait { bucket: Arc::clone(bucket), time: now - state.last })
            .collect()
    }
}

impl State {
    fn is_waited_for(&self, now: Instant) -> bool {
        self.open > 0 || self.failed.is_some_and(|failed| now - failed < PAUSE)
    }
}

impl Open {
    fn change(&self, change: impl FnOnce(&mut State)) {
        lock(&self.waits).get_mut(&self.bucket).map(change);
    }

    /// Records that data was received.
    pub(super) fn advance(&self) {
        self.change(|state| (state.last, state.failed) = (Instant::now(), None));
    }

    /// Records that the request failed and will probably be retried.
    pub(super) fn fail(&self) {
        self.change(|state| state.failed = Some(Instant::now()));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.change(|state| state.open -= 1);
    }
}

fn lock<T>(states: &Mutex<T>) -> MutexGuard<'_, T> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_waited_for_until_it_responds() {
        let waits = Waits::default();
        let bucket: Arc<str> = "s3://b".into();
        assert_eq!(waits.now(), []);
        let first = waits.open(&bucket);
        std::thread::sleep(Duration::from_millis(20));
        let waited = waits.now();
        assert!(waited.len() == 1 && waited[0].time >= Duration::from_millis(20), "{waited:?}");
        first.fail();
        drop(first);
        let second = waits.open(&bucket);
        assert!(waits.now()[0].time >= Duration::from_millis(20), "a retry continues the wait");
        let before = Instant::now();
        second.advance();
        assert!(lock(&waits.0)[&bucket].last >= before);
        drop(second);
        assert_eq!(waits.now(), []);
    }
}
