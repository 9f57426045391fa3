//! The flow of a batch: its parts are inflated and decoded ahead, in any order, and written in their own.
//!
//! Whoever has done a step looks for the next: what is at the front is written as soon as what was before it is,
//! and the parts behind it are inflated and decoded, the first of them first. So a batch that is alone keeps
//! every worker busy. Of two batches each tends to stay with its worker, and a piece in that one's cache.
//! How many parts are ahead bounds memory.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard};

use rayon::Scope;

use crate::convert::files::Open;
use crate::convert::{BatchError, ConvertError, Driver};
use crate::decode::Decoded;
use crate::feed::{Feed, Inflated, Input, Lost, Part};
use crate::inflate::Piece;
use crate::schema::LogType;

/// The flow of one batch.
pub(super) struct Flow<'a> {
    driver: &'a Driver<'a>,
    input: Input<'a>,
    log_type: LogType,
    keys: &'a [String],
    state: Mutex<State<'a>>,
}

struct State<'a> {
    feed: Feed<'a>,
    /// What was taken from the feed and is not written, in order.
    queue: VecDeque<Slot>,
    /// Number of the next slot.
    next: u64,
    /// The files, unless a piece is being written to them.
    open: Option<Box<Open<'a>>>,
    /// Whether a worker was called that did not come yet.
    called: bool,
    lost: Vec<Lost>,
    failed: Option<BatchError>,
}

struct Slot {
    number: u64,
    item: Item,
}

enum Item {
    Part(Part),
    Decoded(Decoded),
    /// In the hands of a worker.
    Taken,
}

/// A step of a batch.
enum Step<'a> {
    Inflate(u64, Part),
    Decode(u64, Piece),
    Write(Box<Open<'a>>, Decoded),
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        driver: &'a Driver<'a>,
        input: Input<'a>,
        keys: &'a [String],
        open: Open<'a>,
    ) -> Self {
        let state = State {
            feed: Feed::new(input),
            queue: VecDeque::new(),
            next: 0,
            open: Some(Box::new(open)),
            called: false,
            lost: Vec::new(),
            failed: None,
        };
        let log_type = input.batch.partition.log_type;
        Self { driver, input, log_type, keys, state: Mutex::new(state) }
    }

    /// Writes the whole batch. Returns the files, and the objects that nothing was read of.
    pub(super) fn run(self) -> Result<(Open<'a>, Vec<Lost>), BatchError> {
        self.driver.pool.in_place_scope(|scope| self.call(scope));
        let mut state = self.state.into_inner().expect("no holder panics");
        if let Some(error) = state.failed {
            return Err(error);
        }
        state.lost.sort_by_key(|lost| lost.object);
        Ok((*state.open.expect("nothing is being written any more"), state.lost))
    }

    /// Calls a worker if there is a step to do and none was called.
    fn call<'s>(&'s self, scope: &Scope<'s>) {
        let mut state = self.state();
        if !state.called && state.next_step(self.driver.ahead()).is_some() {
            state.called = true;
            scope.spawn(|scope| self.work(scope));
        }
    }

    /// Does a step, if there still is one, while others do what else there is.
    fn work<'s>(&'s self, scope: &Scope<'s>) {
        let Some(step) = self.take() else { return };
        self.call(scope);
        match step {
            Step::Inflate(number, part) => self.inflate(number, part),
            Step::Decode(number, piece) => {
                let decoded = self.driver.decode(piece, self.log_type, self.keys);
                self.state().settle(number, [Item::Decoded(decoded)]);
            }
            Step::Write(open, piece) => self.write(open, piece),
        }
        self.call(scope);
    }

    fn take(&self) -> Option<Step<'a>> {
        let mut state = self.state();
        state.called = false;
        if self.driver.conversion.interrupted() {
            state.fail(ConvertError::Interrupted.into());
        }
        let at = state.next_step(self.driver.ahead())?;
        state.take(at)
    }

    fn inflate(&self, number: u64, part: Part) {
        let inflated = self.input.inflate(part);
        let mut state = self.state();
        match inflated {
            Ok(Inflated { parts, lost }) => {
                state.lost.extend(lost);
                state.settle(number, parts.into_iter().map(Item::Part));
            }
            Err(lost) => state.fail(lost.into()),
        }
    }

    fn write(&self, mut open: Box<Open<'a>>, piece: Decoded) {
        let written = open.write(piece, self.driver.conversion);
        let mut state = self.state();
        if let Err(error) = written {
            state.fail(error.into());
        }
        state.queue.retain(|slot| match &slot.item {
            Item::Part(Part::Stream(stream)) => !open.is_given_up(stream.object()),
            _ => true,
        });
        state.open = Some(open);
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().expect("no holder panics")
    }
}

impl<'a> State<'a> {
    /// Returns where in the queue the most urgent step is, if there is one that can be done.
    fn next_step(&mut self, ahead: usize) -> Option<usize> {
        if self.failed.is_some() {
            return None;
        }
        while self.queue.len() < ahead {
            let Some(part) = self.feed.next() else { break };
            self.insert(self.queue.len(), Item::Part(part));
        }
        if self.open.is_some() && matches!(self.queue.front()?.item, Item::Decoded(_)) {
            return Some(0);
        }
        let find = |is_wanted: fn(&Item) -> bool| {
            let mut ahead = self.queue.iter().take(ahead);
            ahead.position(|slot| is_wanted(&slot.item))
        };
        // What comes of a stream comes one after the other, so that it must not wait.
        find(|item| matches!(item, Item::Part(Part::Stream(_))))
            .or_else(|| find(|item| matches!(item, Item::Part(_))))
    }

    /// Takes what is at that place of the queue out of it.
    fn take(&mut self, at: usize) -> Option<Step<'a>> {
        let slot = &mut self.queue[at];
        match mem::replace(&mut slot.item, Item::Taken) {
            Item::Part(Part::Piece(piece)) => Some(Step::Decode(slot.number, piece)),
            Item::Part(part) => Some(Step::Inflate(slot.number, part)),
            Item::Decoded(piece) => {
                self.queue.remove(at);
                Some(Step::Write(self.open.take()?, piece))
            }
            Item::Taken => None,
        }
    }

    /// Puts what a step came to in the place of what was taken.
    fn settle(&mut self, number: u64, items: impl IntoIterator<Item = Item>) {
        let at = self.queue.iter().position(|slot| slot.number == number);
        let at = at.expect("what was taken keeps its place");
        self.queue.remove(at);
        for (index, item) in items.into_iter().enumerate() {
            self.insert(at + index, item);
        }
    }

    fn insert(&mut self, at: usize, item: Item) {
        self.queue.insert(at, Slot { number: self.next, item });
        self.next += 1;
    }

    fn fail(&mut self, error: BatchError) {
        self.failed.get_or_insert(error);
    }
}
