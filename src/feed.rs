//! The feed of a batch: its objects read and inflated, window by window, in order.
//!
//! Ordinary objects are gathered into runs of about a megabyte, and the runs of a window are read and
//! inflated in parallel. An object that cannot be inflated at once is streamed, a window of segments
//! at a time. Runs are cut by the sizes in the listing, so that what comes out does not depend on
//! how wide a window is.

use std::collections::VecDeque;
use std::ops::Range;

use rayon::prelude::*;

use crate::inflate::{MAX_WHOLE, MAX_WHOLE_GZIP, Piece, Stream, Whole};
use crate::plan::Batch;
use crate::pool::Pool;
use crate::store::{Fetch, Source, StoreError};
use crate::text::Text;

/// Compressed bytes of a run.
const RUN_BYTES: u64 = 512 << 10;
/// Objects of a run.
const RUN_OBJECTS: usize = 256;
/// Compressed bytes, and objects, that are read ahead of the window that is inflated, at most.
const AHEAD_BYTES: u64 = 16 << 20;
const AHEAD_OBJECTS: usize = 512;
/// Larger buffers are not kept.
const MAX_KEPT: usize = 2 * MAX_WHOLE;

/// An object cannot be read.
#[derive(Debug)]
pub struct Lost {
    /// Index of the object in its batch.
    pub object: usize,
    /// Why.
    pub error: StoreError,
}

/// What the feeds of one conversion share and reuse.
#[derive(Default)]
pub struct Buffers {
    texts: Pool<Text>,
    inflaters: Pool<(Whole, Vec<u8>)>,
}

impl Buffers {
    /// Takes back the text of a piece.
    pub fn recycle(&self, text: Text) {
        if text.capacity() <= MAX_KEPT {
            self.texts.put(text);
        }
    }

    fn text(&self) -> Text {
        let mut text = self.texts.take(Text::default);
        text.truncate(0);
        text
    }
}

/// Reads the objects of one batch.
pub struct Feed<'a> {
    input: Input<'a>,
    queue: VecDeque<Item>,
    stream: Option<Stream>,
    /// Objects that could not be read; nothing came of them.
    lost: Vec<Lost>,
}

#[derive(Clone, Copy)]
struct Input<'a> {
    batch: &'a Batch,
    sources: &'a [Source],
    buffers: &'a Buffers,
}

enum Item {
    /// Ordinary objects, still to be inflated. The first of them are being read already.
    Run(Range<usize>, VecDeque<Fetch>),
    /// An object to be streamed.
    Stream(usize),
    /// Text.
    Piece(Piece),
}

impl<'a> Feed<'a> {
    /// Begins to feed a batch.
    pub fn new(batch: &'a Batch, sources: &'a [Source], buffers: &'a Buffers) -> Self {
        let mut queue = VecDeque::new();
        let mut bytes = 0;
        for (index, object) in batch.objects.iter().enumerate() {
            let size = object.listed.size;
            if size > MAX_WHOLE_GZIP {
                queue.push_back(Item::Stream(index));
                continue;
            }
            match queue.back_mut() {
                Some(Item::Run(run, _)) if bytes + size <= RUN_BYTES && run.len() < RUN_OBJECTS => {
                    run.end += 1;
                    bytes += size;
                }
                _ => {
                    queue.push_back(Item::Run(index..index + 1, VecDeque::new()));
                    bytes = size;
                }
            }
        }
        Self { input: Input { batch, sources, buffers }, queue, stream: None, lost: Vec::new() }
    }

    /// Returns the objects that could not be read, nothing of which was fed.
    pub fn into_lost(self) -> Vec<Lost> {
        self.lost
    }

    /// Returns the next pieces, at least one unless the batch has come to its end, from up to
    /// `width` runs or segments.
    ///
    /// # Errors
    ///
    /// Fails when an object cannot be read on of which something was fed; the batch must begin anew
    /// without it.
    pub fn next_window(&mut self, width: usize) -> Result<Vec<Piece>, Lost> {
        loop {
            if let Some(stream) = &mut self.stream {
                let pieces = next_segments(stream, width, self.input.buffers)?;
                if !pieces.is_empty() {
                    return Ok(pieces);
                }
                self.stream = None;
            }
            self.inflate_runs(width);
            let mut pieces = Vec::new();
            while let Some(Item::Piece(_)) = self.queue.front() {
                if let Some(Item::Piece(piece)) = self.queue.pop_front() {
                    pieces.push(piece);
                }
            }
            if !pieces.is_empty() {
                return Ok(pieces);
            }
            match self.queue.pop_front() {
                None => return Ok(pieces),
                Some(Item::Stream(object)) => match self.input.stream(object) {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) => self.lost.push(Lost { object, error }),
                },
                Some(Item::Run(..) | Item::Piece(_)) => {
                    unreachable!("runs at the front were inflated")
                }
            }
        }
    }

    /// Reads no more of the object that is streamed if it is one of those that are refused.
    pub fn give_up(&mut self, refused: impl Fn(usize) -> bool) {
        if self.stream.as_ref().is_some_and(|stream| refused(stream.object())) {
            self.stream = None;
        }
    }

    /// Begins to read the objects of the next `width` runs, and beyond them so many that they come in while
    /// those are inflated.
    fn read_ahead(&mut self, width: usize) {
        let Input { batch, sources, .. } = self.input;
        let (mut bytes, mut objects) = (0, 0);
        for (position, item) in self.queue.iter_mut().enumerate() {
            let Item::Run(run, fetches) = item else { continue };
            for index in run.clone() {
                let object = &batch.objects[index];
                if position >= width {
                    bytes += object.listed.size;
                    objects += 1;
                    if bytes > AHEAD_BYTES || objects > AHEAD_OBJECTS {
                        return;
                    }
                }
                if index - run.start >= fetches.len() {
                    fetches.push_back(sources[object.source].begin(&object.listed));
                }
            }
        }
    }

    /// Inflates up to `width` runs at the front of the queue in place.
    fn inflate_runs(&mut self, width: usize) {
        self.read_ahead(width);
        let runs = self.queue.iter().take(width);
        let count = runs.take_while(|item| matches!(item, Item::Run(..))).count();
        let runs: Vec<Item> = self.queue.drain(..count).collect();
        let input = self.input;
        let inflated: Vec<(Vec<Item>, Vec<Lost>)> = runs
            .into_par_iter()
            .map(|run| match run {
                Item::Run(range, fetches) => input.inflate_run(range, fetches),
                other => (vec![other], Vec::new()),
            })
            .collect();
        for (items, lost) in inflated.into_iter().rev() {
            self.lost.extend(lost);
            for item in items.into_iter().rev() {
                self.queue.push_front(item);
            }
        }
    }
}

impl Input<'_> {
    fn inflate_run(
        self,
        run: Range<usize>,
        mut fetches: VecDeque<Fetch>,
    ) -> (Vec<Item>, Vec<Lost>) {
        let new_piece = || Piece { text: self.buffers.text(), parts: Vec::new() };
        let (mut whole, mut gzip) = self.buffers.inflaters.take(Default::default);
        let (mut items, mut lost) = (Vec::new(), Vec::new());
        let mut piece = new_piece();
        for index in run {
            let object = &self.batch.objects[index];
            let source = &self.sources[object.source];
            let fetch = fetches.pop_front().unwrap_or_else(|| source.begin(&object.listed));
            if let Err(error) = source.finish(&object.listed, fetch, &mut gzip) {
                lost.push(Lost { object: index, error });
                continue;
            }
            if !whole.inflate(index, &gzip, &mut piece) {
                if !piece.parts.is_empty() {
                    items.push(Item::Piece(std::mem::replace(&mut piece, new_piece())));
                }
                items.push(Item::Stream(index));
            } else if piece.text.len() > MAX_WHOLE {
                items.push(Item::Piece(std::mem::replace(&mut piece, new_piece())));
            }
        }
        if piece.parts.is_empty() {
            self.buffers.recycle(piece.text);
        } else {
            items.push(Item::Piece(piece));
        }
        self.buffers.inflaters.put((whole, gzip));
        (items, lost)
    }

    fn stream(self, index: usize) -> Result<Stream, StoreError> {
        let object = &self.batch.objects[index];
        let reader = self.sources[object.source].reader(&object.listed)?;
        Ok(Stream::new(index, object.listed.size, reader)?)
    }
}

fn next_segments(stream: &mut Stream, width: usize, buffers: &Buffers) -> Result<Vec<Piece>, Lost> {
    let mut pieces = Vec::new();
    while pieces.len() < width {
        let object = stream.object();
        let next = stream.next(buffers.text());
        match next.map_err(|error| Lost { object, error: error.into() })? {
            Some(piece) => pieces.push(piece),
            None => break,
        }
    }
    Ok(pieces)
}
