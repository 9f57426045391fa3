//! The pipeline that converts a batch. The data passes through four states:
//!
//! ```text
//!              decompress                decode             write
//!  Compressed ───────────► Decompressed ────────► Decoded ────────► encoded
//!    ▲      │                ▲        │
//!    └──────┘                └────────┘
//!  rest of a run          lines beyond the limits
//!  or a stream            of a record batch
//! ```
//!
//! | state | contents |
//! |---|---|
//! | [`Compressed`] | objects from the feed, or the rest of an object that is being streamed |
//! | [`Decompressed`] | whole lines of text |
//! | [`Decoded`] | a record batch, and rejected lines |
//! | encoded | pages in the current row group of the files, see [`Open`] |
//!
//! A queue holds the data in the first three states, in feed order. Workers decompress and decode several entries
//! concurrently, starting with the first, and write only the entry at the front. After a worker has moved an entry to
//! its next state, it takes the most urgent entry. Thus a single batch can keep every worker busy. With two batches,
//! each tends to stay on one worker, and its data in that worker's cache.
//!
//! To limit memory use, the queue is bounded and only one object is streamed at a time. While the batches of a
//! conversion together hold too many bytes, only the oldest batch decompresses more data ([`Share`]).

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard};

use rayon::Scope;

use crate::convert::budget::Share;
use crate::convert::feed::{Compressed, Feed, Inflated, Input, Lost};
use crate::convert::files::Open;
use crate::convert::{BatchError, ConvertError, Driver};
use crate::decode::decoder::Decoded;
use crate::decode::gzip::{Decompressed, MAX_WHOLE};
use crate::logs::schema::LogType;

/// Maximum decompressed size of an entry: just under [`MAX_WHOLE`], plus one more object.
const INFLATED: usize = 2 * MAX_WHOLE;

/// Bytes of kept lines in the queue above which workers process only its front. Ordinary logs have none.
const MAX_KEPT: usize = 8 << 20;

/// The pipeline of one batch.
pub(super) struct Flow<'a> {
    driver: &'a Driver<'a>,
    input: Input<'a>,
    log_type: LogType,
    keys: &'a [String],
    share: Share<'a>,
    schedule: Mutex<Schedule<'a>>,
    /// Only one worker writes at a time, see [`Schedule::writing`].
    open: Mutex<Open<'a>>,
}

struct Schedule<'a> {
    feed: Feed<'a>,
    /// Entries that were taken from the feed but not written yet, in order.
    queue: VecDeque<Queued>,
    /// Number of the next entry.
    next: u64,
    /// Whether a worker is writing to the files.
    writing: bool,
    /// Bytes of encoded pages and of the record batch that is being written.
    encoded: usize,
    /// The last object that the conversion gave up on. None of its lines are kept, and the rest of it need not be read.
    given_up: Option<usize>,
    /// Whether a worker was called and has not started yet.
    called: bool,
    lost: Vec<Lost>,
    failed: Option<BatchError>,
}

struct Queued {
    number: u64,
    state: State,
    /// Bytes that the entry holds, or that it is expected to hold in its next state.
    bytes: usize,
    /// Bytes of rejects and of lines in unusual forms: as many as the text, in the worst case.
    kept: usize,
}

/// The state of an entry.
enum State {
    Compressed(Compressed),
    /// A worker is decompressing the entry.
    Inflating,
    Decompressed(Decompressed),
    /// A worker is decoding the entry.
    Decoding,
    Decoded(Decoded),
}

impl State {
    /// Returns whether the entry contains only data from the given object, excluding the object's beginning.
    fn is_rest_of(&self, object: usize) -> bool {
        match self {
            Self::Compressed(Compressed::Stream(stream)) => stream.object() == object,
            Self::Decompressed(text) => text.segments.iter().all(|s| s.object == object),
            _ => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Compressed(_) | Self::Decoding => 0,
            Self::Inflating => INFLATED,
            Self::Decompressed(Decompressed { text, segments }) => {
                let long_lines = segments.iter().map(|segment| segment.long_line.capacity());
                text.capacity() + long_lines.sum::<usize>()
            }
            Self::Decoded(decoded) => decoded.bytes(),
        }
    }
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        driver: &'a Driver<'a>,
        input: Input<'a>,
        feed: Feed<'a>,
        keys: &'a [String],
        open: Open<'a>,
    ) -> Self {
        let schedule = Schedule {
            feed,
            queue: VecDeque::new(),
            next: 0,
            writing: false,
            encoded: 0,
            given_up: None,
            called: false,
            lost: Vec::new(),
            failed: None,
        };
        let log_type = input.batch.partition.log_type;
        let share = driver.shared.budget.share();
        let (schedule, open) = (Mutex::new(schedule), Mutex::new(open));
        Self { driver, input, log_type, keys, share, schedule, open }
    }

    /// Converts the entire batch. Returns the files, and the objects that could not be read at all.
    pub(super) fn run(self) -> Result<(Open<'a>, Vec<Lost>), BatchError> {
        loop {
            self.driver.pool.in_place_scope(|scope| self.call(scope));
            if self.schedule().is_done() {
                break;
            }
            self.share.wait();
        }
        let mut schedule = self.schedule.into_inner().expect("no holder panics");
        if let Some(error) = schedule.failed {
            return Err(error);
        }
        schedule.lost.sort_by_key(|lost| lost.object);
        Ok((self.open.into_inner().expect("no holder panics"), schedule.lost))
    }

    /// Calls a worker if an entry can be moved to its next state, unless a called worker has not started yet.
    fn call<'s>(&'s self, scope: &Scope<'s>) {
        let mut schedule = self.schedule();
        if !schedule.called && schedule.most_urgent(self.driver.ahead(), &self.share).is_some() {
            schedule.called = true;
            scope.spawn(|scope| self.work(scope));
        }
    }

    /// Moves one entry to its next state, if any can be moved. Workers move different entries concurrently.
    fn work<'s>(&'s self, scope: &Scope<'s>) {
        let Some((number, state)) = self.take() else { return };
        self.call(scope);
        match state {
            State::Compressed(compressed) => self.inflate(number, compressed),
            State::Decompressed(text) => {
                let (decoded, rest) = self.driver.decode(text, self.log_type, self.keys);
                let states = [State::Decoded(decoded)].into_iter();
                self.replace(number, states.chain(rest.map(State::Decompressed)));
            }
            State::Decoded(decoded) => self.write(decoded),
            State::Inflating | State::Decoding => unreachable!("another worker has the entry"),
        }
        self.call(scope);
    }

    fn take(&self) -> Option<(u64, State)> {
        let mut schedule = self.schedule();
        schedule.called = false;
        if self.driver.conversion.interrupted() {
            schedule.fail(ConvertError::Interrupted.into());
        }
        let at = schedule.most_urgent(self.driver.ahead(), &self.share)?;
        let taken = schedule.take(at);
        self.share.hold(schedule.bytes());
        taken
    }

    fn inflate(&self, number: u64, compressed: Compressed) {
        match self.input.inflate(compressed) {
            Ok(Inflated { text, rest, lost }) => {
                self.schedule().lost.extend(lost);
                let states = text.map(State::Decompressed).into_iter();
                self.replace(number, states.chain(rest.into_iter().map(State::Compressed)));
            }
            Err(lost) => self.schedule().fail(lost.into()),
        }
    }

    /// Replaces the entry that a worker took with the worker's results.
    fn replace(&self, number: u64, states: impl Iterator<Item = State>) {
        let mut schedule = self.schedule();
        schedule.replace(number, states);
        self.share.hold(schedule.bytes());
    }

    fn write(&self, decoded: Decoded) {
        let last = decoded.segments.last().map(|segment| segment.object);
        let mut open = self.open.lock().expect("no holder panics");
        let written = open.write(decoded, self.driver.conversion);
        let mut schedule = self.schedule();
        if let Err(error) = written {
            schedule.fail(error.into());
        }
        if let Some(object) = last.filter(|&object| open.is_given_up(object)) {
            schedule.given_up = Some(object);
            schedule.queue.retain(|entry| !entry.state.is_rest_of(object));
        }
        schedule.encoded = open.size();
        schedule.writing = false;
        self.share.hold(schedule.bytes());
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule<'a>> {
        self.schedule.lock().expect("no holder panics")
    }
}

impl Schedule<'_> {
    /// Returns the index of the most urgent entry, if one can be moved to its next state.
    fn most_urgent(&mut self, ahead: usize, share: &Share) -> Option<usize> {
        if self.failed.is_some() {
            return None;
        }
        while self.queue.len() < ahead {
            let Some(compressed) = self.feed.next() else { break };
            self.insert(self.queue.len(), State::Compressed(compressed));
        }
        if !self.writing && matches!(self.queue.front()?.state, State::Decoded(_)) {
            return Some(0);
        }
        let may_inflate = share.may_grow();
        let kept: usize = self.queue.iter().map(|entry| entry.kept).sum();
        let ahead = if kept > MAX_KEPT { 1 } else { ahead };
        let (mut first, mut inflating) = (None, false);
        for (at, entry) in self.queue.iter().take(ahead).enumerate() {
            match entry.state {
                State::Compressed(_) if !may_inflate => {}
                // Only one worker at a time can read a stream, so a stream always has priority.
                State::Compressed(Compressed::Stream(_)) => return Some(at),
                // Only one object is streamed at a time, and an earlier entry that is not decompressed yet may turn out
                // to contain an object that must be streamed.
                State::Compressed(Compressed::Object(_)) if inflating => {}
                State::Compressed(_) | State::Decompressed(_) => first = first.or(Some(at)),
                State::Inflating | State::Decoding | State::Decoded(_) => {}
            }
            inflating |= matches!(entry.state, State::Compressed(_) | State::Inflating);
        }
        first
    }

    /// Takes an entry's data for a worker.
    fn take(&mut self, at: usize) -> Option<(u64, State)> {
        let entry = self.queue.get_mut(at)?;
        let next = match entry.state {
            State::Compressed(_) => State::Inflating,
            State::Decompressed(_) => State::Decoding,
            State::Decoded(_) => {
                let Queued { number, state, bytes, .. } = self.queue.remove(at)?;
                self.writing = true;
                self.encoded += bytes;
                return Some((number, state));
            }
            State::Inflating | State::Decoding => return None,
        };
        // During decoding, both the text and its record batch are in memory.
        entry.bytes = 2 * entry.bytes + next.bytes();
        Some((entry.number, mem::replace(&mut entry.state, next)))
    }

    /// Returns the number of bytes that the batch holds.
    fn bytes(&self) -> usize {
        self.encoded + self.queue.iter().map(|entry| entry.bytes).sum::<usize>()
    }

    /// Returns whether everything has been written, or the batch has failed.
    fn is_done(&self) -> bool {
        self.failed.is_some() || self.queue.is_empty()
    }

    /// Replaces the entry that a worker took with the worker's results.
    fn replace(&mut self, number: u64, states: impl Iterator<Item = State>) {
        let at = self.queue.iter().position(|entry| entry.number == number);
        let at = at.expect("an entry stays in the queue while a worker has it");
        self.queue.remove(at);
        let given_up = self.given_up;
        let states = states.filter(|state| !given_up.is_some_and(|o| state.is_rest_of(o)));
        for (index, state) in states.enumerate() {
            self.insert(at + index, state);
        }
    }

    fn insert(&mut self, at: usize, state: State) {
        let bytes = state.bytes();
        let kept = if let State::Decoded(decoded) = &state { decoded.kept_bytes() } else { 0 };
        self.queue.insert(at, Queued { number: self.next, state, bytes, kept });
        self.next += 1;
    }

    fn fail(&mut self, error: BatchError) {
        self.failed.get_or_insert(error);
    }
}
