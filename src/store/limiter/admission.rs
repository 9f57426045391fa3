//! Admits reads in a fair order, within the limits on requests and memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::store::limiter::pace::Pace;
use crate::store::limiter::quota::Quota;

/// All reads that have begun but whose objects no worker has taken yet.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) pace: Pace,
    max_requests: usize,
    /// Maximum number of bytes to read ahead.
    max_bytes: u64,
    next: u64,
    reads: HashMap<u64, Read>,
    lanes: BTreeMap<LaneId, Lane>,
    /// The stores. A [`StoreId`] is an index into this list.
    stores: Vec<Store>,
    /// Reads that a worker is waiting for.
    urgent: VecDeque<u64>,
    in_flight: usize,
    /// Number and total size of the reads that are in flight or in memory.
    held: usize,
    held_bytes: u64,
}

/// The index of a store.
pub(super) type StoreId = usize;
/// The number of a read sequence, and the store that it reads from.
pub(super) type LaneId = (u64, StoreId);

/// A store, which throttles requests independently of the others.
#[derive(Debug)]
struct Store {
    name: Arc<str>,
    quota: Quota,
    in_flight: usize,
}

#[derive(Debug)]
struct Read {
    lane: LaneId,
    bytes: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Requested at this time.
    InFlight(Duration),
    Arrived,
}

/// Reads whose objects are taken in order.
#[derive(Debug, Default)]
struct Lane {
    /// Waiting reads. Some may have been admitted out of order or canceled since.
    waiting: VecDeque<u64>,
    held: usize,
}

impl Admission {
    pub(super) fn new(max_requests: usize, max_bytes: u64) -> Self {
        Self {
            pace: Pace::default(),
            max_requests,
            max_bytes,
            next: 0,
            reads: HashMap::new(),
            lanes: BTreeMap::new(),
            stores: Vec::new(),
            urgent: VecDeque::new(),
            in_flight: 0,
            held: 0,
            held_bytes: 0,
        }
    }

    /// Sets the limits.
    pub(super) fn configure(&mut self, max_requests: usize, max_bytes: u64) {
        (self.max_requests, self.max_bytes) = (max_requests, max_bytes);
    }

    /// Returns the store with this name.
    pub(super) fn store(&mut self, name: &str) -> StoreId {
        let known = self.stores.iter().position(|store| *store.name == *name);
        known.unwrap_or_else(|| {
            self.stores.push(Store { name: name.into(), quota: Quota::default(), in_flight: 0 });
            self.stores.len() - 1
        })
    }

    /// Returns the lowest limit on concurrent requests among the stores.
    pub(super) fn limit(&self, now: Duration) -> usize {
        let limits = self.stores.iter().map(|store| store.quota.limit(self.max_requests, now));
        limits.min().unwrap_or(self.max_requests)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Adds a read of `bytes` bytes. Returns its number.
    pub(super) fn add(&mut self, lane: LaneId, bytes: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        self.reads.insert(number, Read { lane, bytes, state: State::Waiting });
        self.lanes.entry(lane).or_default().waiting.push_back(number);
        number
    }

    /// Records that a worker is waiting for a read. The read is admitted even if the window or the memory is full:
    /// reads for batches that make no progress may have filled them, so waiting could cause a deadlock.
    pub(super) fn hurry(&mut self, number: u64) {
        if is_waiting(&self.reads, number) {
            self.urgent.push_back(number);
        }
    }

    /// Admits the next read, if the limits allow one.
    pub(super) fn admit(&mut self, now: Duration) -> Option<u64> {
        if self.in_flight >= self.max_requests {
            return None;
        }
        let Self { urgent, reads, .. } = self;
        urgent.retain(|number| is_waiting(reads, *number));
        let first =
            self.urgent.iter().position(|number| self.has_room(self.reads[number].lane, now));
        if let Some(number) = first.and_then(|at| self.urgent.remove(at)) {
            return Some(self.start(number, now));
        }
        let (held, number) = self.next_fair(now)?;
        let window = self.pace.window();
        // A lane below its share is admitted even if another lane filled the window before it shrank, or before this lane
        // existed.
        let has_share = held < window.div_ceil(self.lanes.len()) && !self.pace.is_probing();
        if self.held >= window && !has_share {
            return None;
        }
        let bytes = self.reads[&number].bytes;
        if self.held > 0 && self.held_bytes + bytes > self.max_bytes {
            return None;
        }
        Some(self.start(number, now))
    }

    /// Records that a request ended. `arrived` is false if it failed.
    pub(super) fn end(&mut self, number: u64, arrived: bool, now: Duration) {
        let Some(read) = self.reads.get_mut(&number) else { return };
        if let State::InFlight(started) = read.state {
            read.state = State::Arrived;
            self.in_flight -= 1;
            let store = &mut self.stores[read.lane.1];
            store.in_flight -= 1;
            if arrived && !store.quota.may_have_throttled(started) {
                self.pace.arrive(started, now);
            }
        }
    }

    /// Removes a read. `taken` is true if a worker took the object, and false if the read was canceled or failed.
    pub(super) fn remove(&mut self, number: u64, taken: bool, now: Duration) {
        let Some(Read { lane, bytes, state }) = self.reads.remove(&number) else { return };
        if let State::InFlight(_) = state {
            self.in_flight -= 1;
            self.stores[lane.1].in_flight -= 1;
        }
        if state != State::Waiting {
            self.held -= 1;
            self.held_bytes -= bytes;
            if let Some(lane) = self.lanes.get_mut(&lane) {
                lane.held -= 1;
            }
        }
        if taken {
            self.pace.take(now);
        }
        let Self { lanes, reads, .. } = self;
        if let Some(state) = lanes.get_mut(&lane)
            && state.held == 0
        {
            state.drop_stale(reads);
            if state.waiting.is_empty() {
                lanes.remove(&lane);
            }
        }
    }

    /// Records that a store throttles requests.
    pub(super) fn throttle(&mut self, store: StoreId, now: Duration) {
        let latency = self.pace.latency().unwrap_or_default();
        let Store { quota, in_flight, .. } = &mut self.stores[store];
        quota.throttle(quota.limit(self.max_requests, now), *in_flight, latency, now);
    }

    /// Returns whether there are no reads.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.lanes.is_empty() && self.held == 0
    }

    /// Returns whether a lane's store accepts another request.
    fn has_room(&self, (_, store): LaneId, now: Duration) -> bool {
        let Store { quota, in_flight, .. } = &self.stores[store];
        *in_flight < quota.limit(self.max_requests, now)
    }

    /// Returns the first waiting read of the lane that holds the fewest reads, after the number that it holds. Thus a lane with a slow source cannot occupy the whole window.
    fn next_fair(&mut self, now: Duration) -> Option<(usize, u64)> {
        let Self { lanes, reads, .. } = self;
        for lane in lanes.values_mut() {
            lane.drop_stale(reads);
        }
        let open = self.lanes.iter().filter(|(id, _)| self.has_room(**id, now));
        let waiting = open.filter_map(|(_, lane)| Some((lane.held, *lane.waiting.front()?)));
        waiting.min()
    }

    fn start(&mut self, number: u64, now: Duration) -> u64 {
        let read = self.reads.get_mut(&number).expect("it waits");
        read.state = State::InFlight(now);
        self.in_flight += 1;
        self.held += 1;
        self.held_bytes += read.bytes;
        self.lanes.entry(read.lane).or_default().held += 1;
        self.stores[read.lane.1].in_flight += 1;
        number
    }
}

fn is_waiting(reads: &HashMap<u64, Read>, number: u64) -> bool {
    reads.get(&number).is_some_and(|read| read.state == State::Waiting)
}

impl Lane {
    /// Drops reads from the front that are no longer waiting.
    fn drop_stale(&mut self, reads: &HashMap<u64, Read>) {
        while let Some(&number) = self.waiting.front()
            && !is_waiting(reads, number)
        {
            self.waiting.pop_front();
        }
    }
}
