//! The flow of a batch: its portions are inflated and decoded ahead, in any order, and written in their own.
//!
//! Whoever has done a step looks for the next: what is at the front is written as soon as what was before it is,
//! and what is behind it is inflated and decoded, the first of it first. So a batch that is alone keeps
//! every worker busy. Of two batches each tends to stay with its worker, and a piece in that one's cache.
//! How many portions are ahead bounds memory, as does that one object is streamed at a time. While the batches of a
//! conversion hold too many bytes, only the oldest of them inflates more ([`Share`]).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use rayon::Scope;

use crate::convert::budget::Share;
use crate::convert::feed::{Came, Feed, Inflated, Input, Lost, Portion};
use crate::convert::files::Open;
use crate::convert::{BatchError, ConvertError, Driver};
use crate::decode::decoder::Decoded;
use crate::decode::gzip::{MAX_WHOLE, Piece};
use crate::logs::schema::LogType;

/// Maximum decompressed size of a portion: almost [`MAX_WHOLE`], plus one object.
const INFLATED: usize = 2 * MAX_WHOLE;

/// The flow of one batch.
pub(super) struct Flow<'a> {
    driver: &'a Driver<'a>,
    input: Input<'a>,
    log_type: LogType,
    keys: &'a [String],
    share: Share<'a>,
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
    /// Bytes of encoded pages, and of the piece that is being written.
    encoded: usize,
    /// The last object nothing of which is kept, so that the rest of it need not be read.
    given_up: Option<usize>,
    /// Whether a worker was called that did not come yet.
    called: bool,
    lost: Vec<Lost>,
    failed: Option<BatchError>,
}

struct Slot {
    number: u64,
    item: Item,
    /// Bytes that the item holds, or is expected to hold after the worker's step.
    bytes: usize,
}

enum Item {
    Portion(Portion),
    Piece(Piece),
    Decoded(Decoded),
    /// A portion in the hands of a worker.
    Inflating,
    /// A piece in the hands of a worker.
    Decoding,
}

impl Item {
    /// Tells whether it is some of what is left of an object, and nothing else.
    fn is_left_of(&self, object: usize) -> bool {
        match self {
            Self::Portion(Portion::Stream(stream)) => stream.object() == object,
            Self::Piece(piece) => piece.parts.iter().all(|part| part.object == object),
            _ => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Portion(_) | Self::Decoding => 0,
            Self::Piece(piece) => piece.text.capacity(),
            Self::Decoded(decoded) => decoded.bytes(),
            Self::Inflating => INFLATED,
        }
    }
}

impl From<Came> for Item {
    fn from(came: Came) -> Self {
        match came {
            Came::Piece(piece) => Self::Piece(piece),
            Came::Left(portion) => Self::Portion(portion),
        }
    }
}

/// A step of a batch.
enum Step<'a> {
    Inflate(u64, Portion),
    Decode(u64, Piece),
    Write(Box<Open<'a>>, Decoded),
}

impl<'a> Flow<'a> {
    pub(super) fn new(
        driver: &'a Driver<'a>,
        input: Input<'a>,
        feed: Feed<'a>,
        keys: &'a [String],
        open: Open<'a>,
    ) -> Self {
        let state = State {
            feed,
            queue: VecDeque::new(),
            next: 0,
            open: Some(Box::new(open)),
            encoded: 0,
            given_up: None,
            called: false,
            lost: Vec::new(),
            failed: None,
        };
        let log_type = input.batch.partition.log_type;
        let share = driver.shared.budget.share();
        Self { driver, input, log_type, keys, share, state: Mutex::new(state) }
    }

    /// Writes the whole batch. Returns the files, and the objects that nothing was read of.
    pub(super) fn run(self) -> Result<(Open<'a>, Vec<Lost>), BatchError> {
        loop {
            self.driver.pool.in_place_scope(|scope| self.call(scope));
            if self.state().is_done() {
                break;
            }
            self.share.wait();
        }
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
        if !state.called && state.next_step(self.driver.ahead(), &self.share).is_some() {
            state.called = true;
            scope.spawn(|scope| self.work(scope));
        }
    }

    /// Does a step, if there still is one, while others do what else there is.
    fn work<'s>(&'s self, scope: &Scope<'s>) {
        let Some(step) = self.take() else { return };
        self.call(scope);
        match step {
            Step::Inflate(number, portion) => self.inflate(number, portion),
            Step::Decode(number, piece) => {
                let (decoded, left) = self.driver.decode(piece, self.log_type, self.keys);
                let items = [Item::Decoded(decoded)].into_iter().chain(left.map(Item::Piece));
                self.settle(number, items);
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
        let at = state.next_step(self.driver.ahead(), &self.share)?;
        let step = state.take(at);
        self.share.hold(state.bytes());
        step
    }

    fn inflate(&self, number: u64, portion: Portion) {
        match self.input.inflate(portion) {
            Ok(Inflated { came, lost }) => {
                self.state().lost.extend(lost);
                self.settle(number, came.into_iter().map(Item::from));
            }
            Err(lost) => self.state().fail(lost.into()),
        }
    }

    /// Puts what a step came to in the place of what was taken.
    fn settle(&self, number: u64, items: impl IntoIterator<Item = Item>) {
        let mut state = self.state();
        state.settle(number, items);
        self.share.hold(state.bytes());
    }

    fn write(&self, mut open: Box<Open<'a>>, piece: Decoded) {
        let last = piece.parts.last().map(|part| part.object);
        let written = open.write(piece, self.driver.conversion);
        let mut state = self.state();
        if let Err(error) = written {
            state.fail(error.into());
        }
        if let Some(object) = last.filter(|&object| open.is_given_up(object)) {
            state.given_up = Some(object);
            state.queue.retain(|slot| !slot.item.is_left_of(object));
        }
        state.encoded = open.size();
        state.open = Some(open);
        self.share.hold(state.bytes());
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().expect("no holder panics")
    }
}

impl<'a> State<'a> {
    /// Returns where in the queue the most urgent step is, if there is one that can be done.
    fn next_step(&mut self, ahead: usize, share: &Share) -> Option<usize> {
        if self.failed.is_some() {
            return None;
        }
        while self.queue.len() < ahead {
            let Some(portion) = self.feed.next() else { break };
            self.insert(self.queue.len(), Item::Portion(portion));
        }
        if self.open.is_some() && matches!(self.queue.front()?.item, Item::Decoded(_)) {
            return Some(0);
        }
        let may_inflate = share.may_grow();
        let (mut first, mut inflating) = (None, false);
        for (at, slot) in self.queue.iter().take(ahead).enumerate() {
            match slot.item {
                Item::Portion(_) if !may_inflate => {}
                // What comes of a stream comes one after the other, so that it must not wait.
                Item::Portion(Portion::Stream(_)) => return Some(at),
                // One stream at a time, and none before one that a run may turn out to hold.
                Item::Portion(Portion::Object(_)) if inflating => {}
                Item::Portion(_) | Item::Piece(_) => first = first.or(Some(at)),
                Item::Decoded(_) | Item::Inflating | Item::Decoding => {}
            }
            inflating |= matches!(slot.item, Item::Portion(_) | Item::Inflating);
        }
        first
    }

    /// Takes what is at that place of the queue out of it.
    fn take(&mut self, at: usize) -> Option<Step<'a>> {
        let Slot { number, item, bytes } = self.queue.remove(at)?;
        let (step, taken) = match item {
            Item::Portion(portion) => (Step::Inflate(number, portion), Item::Inflating),
            Item::Piece(piece) => (Step::Decode(number, piece), Item::Decoding),
            Item::Decoded(piece) => {
                self.encoded += bytes;
                return Some(Step::Write(self.open.take()?, piece));
            }
            Item::Inflating | Item::Decoding => return None,
        };
        // During decoding, both the text and its record batch are in memory.
        let bytes = 2 * bytes + taken.bytes();
        self.queue.insert(at, Slot { number, item: taken, bytes });
        Some(step)
    }

    /// Returns the bytes that the batch holds.
    fn bytes(&self) -> usize {
        self.encoded + self.queue.iter().map(|slot| slot.bytes).sum::<usize>()
    }

    /// Returns whether no step is left.
    fn is_done(&self) -> bool {
        self.failed.is_some() || self.queue.is_empty()
    }

    /// Puts what a step came to in the place of what was taken.
    fn settle(&mut self, number: u64, items: impl IntoIterator<Item = Item>) {
        let at = self.queue.iter().position(|slot| slot.number == number);
        let at = at.expect("what was taken keeps its place");
        self.queue.remove(at);
        let given_up = self.given_up;
        let items = items.into_iter().filter(|item| !given_up.is_some_and(|o| item.is_left_of(o)));
        for (index, item) in items.enumerate() {
            self.insert(at + index, item);
        }
    }

    fn insert(&mut self, at: usize, item: Item) {
        let bytes = item.bytes();
        self.queue.insert(at, Slot { number: self.next, item, bytes });
        self.next += 1;
    }

    fn fail(&mut self, error: BatchError) {
        self.failed.get_or_insert(error);
    }
}
