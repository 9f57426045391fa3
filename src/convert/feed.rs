//! The feed of a batch: what is to be inflated of it, in order, and read ahead.
//!
//! Ordinary objects are gathered into runs of about a megabyte. An object that cannot be inflated at once is
//! streamed, a segment at a time. Runs are cut by the sizes in the listing, so that what comes out does not
//! depend on how far ahead they are read.

use std::collections::VecDeque;
use std::ops::Range;

use crate::decode::gzip::{MAX_WHOLE, MAX_WHOLE_GZIP, Piece, Stream, Whole};
use crate::decode::text_buffer::Text;
use crate::plan::Batch;
use crate::store::{Fetch, Source, StoreError};
use crate::util::pool::Pool;

/// Compressed bytes of a run.
const RUN_BYTES: u64 = 512 << 10;
/// Objects of a run.
const RUN_OBJECTS: usize = 256;
/// Compressed bytes, and objects, that are read ahead of the run that is taken, at most.
const AHEAD_BYTES: u64 = 16 << 20;
const AHEAD_OBJECTS: usize = 512;
/// Maximum size in bytes of a buffer that is kept for reuse, and maximum number of such buffers.
const MAX_KEPT: usize = MAX_WHOLE;
const MAX_IDLE: usize = 8;

/// An object cannot be read.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Index of the object in its batch.
    pub object: usize,
    /// Why.
    pub error: StoreError,
}

/// What the feeds of one conversion share and reuse.
#[derive(Default)]
pub(crate) struct Buffers {
    texts: Pool<Text>,
    inflaters: Pool<(Whole, Vec<u8>)>,
}

impl Buffers {
    /// Takes back the text of a piece.
    pub(crate) fn recycle(&self, text: Text) {
        if text.capacity() <= MAX_KEPT {
            self.texts.put_within(MAX_IDLE, text);
        }
    }

    fn text(&self) -> Text {
        let mut text = self.texts.take(Text::default);
        text.truncate(0);
        text
    }
}

/// Some of a batch that is to be inflated.
pub(crate) enum Portion {
    /// Ordinary objects. The first of them are being read already.
    Run(Range<usize>, VecDeque<Fetch>),
    /// An object to be streamed.
    Object(usize),
    /// What is left of an object that is being streamed.
    Stream(Box<Stream>),
}

impl Portion {
    /// Returns which objects of the batch it holds, by their indexes.
    pub(crate) fn objects(&self) -> Range<usize> {
        match self {
            Self::Run(run, _) => run.clone(),
            Self::Object(object) => *object..object + 1,
            Self::Stream(stream) => stream.object()..stream.object() + 1,
        }
    }
}

/// What a portion became.
#[derive(Default)]
pub(crate) struct Inflated {
    /// What is in its place.
    pub came: Vec<Came>,
    /// Objects of which nothing could be read.
    pub lost: Vec<Lost>,
}

/// Some of what a portion became.
pub(crate) enum Came {
    /// Text.
    Piece(Piece),
    /// What is to be inflated still.
    Left(Portion),
}

/// Where the objects of a batch are read.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// The batch.
    pub batch: &'a Batch,
    /// The sources of its objects.
    pub sources: &'a [Source],
    /// Buffers to use.
    pub buffers: &'a Buffers,
}

/// Cuts a batch into runs and objects to be streamed, in order.
pub(crate) struct Feed<'a> {
    input: Input<'a>,
    queue: VecDeque<Portion>,
}

impl<'a> Feed<'a> {
    /// Begins to feed a batch, and to read what comes first.
    pub(crate) fn new(input: Input<'a>) -> Self {
        let mut queue = VecDeque::new();
        let mut bytes = 0;
        for (index, object) in input.batch.objects.iter().enumerate() {
            let size = object.listed.size;
            if size > MAX_WHOLE_GZIP {
                queue.push_back(Portion::Object(index));
                continue;
            }
            match queue.back_mut() {
                Some(Portion::Run(run, _))
                    if bytes + size <= RUN_BYTES && run.len() < RUN_OBJECTS =>
                {
                    run.end += 1;
                    bytes += size;
                }
                _ => {
                    queue.push_back(Portion::Run(index..index + 1, VecDeque::new()));
                    bytes = size;
                }
            }
        }
        let mut feed = Self { input, queue };
        feed.read_ahead();
        feed
    }

    /// Begins to read the objects of the next run, and beyond it so many that they come in while
    /// that is inflated.
    fn read_ahead(&mut self) {
        let Input { batch, sources, .. } = self.input;
        let (mut bytes, mut objects) = (0, 0);
        for (position, portion) in self.queue.iter_mut().enumerate() {
            let Portion::Run(run, fetches) = portion else { continue };
            for index in run.clone() {
                let object = &batch.objects[index];
                if position > 0 {
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
}

impl Iterator for Feed<'_> {
    type Item = Portion;

    fn next(&mut self) -> Option<Portion> {
        self.read_ahead();
        self.queue.pop_front()
    }
}

impl Input<'_> {
    /// Inflates a portion, or what comes first of it.
    ///
    /// # Errors
    ///
    /// Fails when an object cannot be read on of which something was returned; the batch must begin anew
    /// without it.
    pub(crate) fn inflate(self, portion: Portion) -> Result<Inflated, Lost> {
        match portion {
            Portion::Run(run, fetches) => Ok(self.inflate_run(run, fetches)),
            Portion::Object(object) => Ok(self.open(object)),
            Portion::Stream(stream) => self.inflate_segment(stream),
        }
    }

    /// Inflates objects until one must be streamed, or their text exceeds [`MAX_WHOLE`].
    fn inflate_run(self, run: Range<usize>, mut fetches: VecDeque<Fetch>) -> Inflated {
        let (mut whole, mut gzip) = self.buffers.inflaters.take(Default::default);
        let mut inflated = Inflated::default();
        let mut piece = Piece { text: self.buffers.text(), parts: Vec::new() };
        let mut left = Vec::new();
        for index in run.clone() {
            let object = &self.batch.objects[index];
            let source = &self.sources[object.source];
            let fetch = fetches.pop_front().unwrap_or_else(|| source.begin(&object.listed));
            if let Err(error) = source.finish(&object.listed, fetch, &mut gzip) {
                inflated.lost.push(Lost { object: index, error });
                continue;
            }
            let streamed = !whole.inflate(index, &gzip, &mut piece);
            // The rest waits in the queue: it may inflate to a thousand times its size.
            if streamed || piece.text.len() > MAX_WHOLE {
                left.extend(streamed.then_some(Portion::Object(index)));
                let rest = index + 1..run.end;
                left.extend((!rest.is_empty()).then(|| Portion::Run(rest, fetches)));
                break;
            }
        }
        if piece.parts.is_empty() {
            self.buffers.recycle(piece.text);
        } else {
            inflated.came.push(Came::Piece(piece));
        }
        inflated.came.extend(left.into_iter().map(Came::Left));
        self.buffers.inflaters.put((whole, gzip));
        inflated
    }

    /// Begins to stream an object.
    fn open(self, index: usize) -> Inflated {
        let object = &self.batch.objects[index];
        let reader = self.sources[object.source].reader(&object.listed);
        let size = object.listed.size;
        let stream = reader.and_then(|reader| Ok(Stream::new(index, size, reader)?));
        let mut inflated = Inflated::default();
        match stream {
            Ok(stream) => inflated.came.push(Came::Left(Portion::Stream(Box::new(stream)))),
            Err(error) => inflated.lost.push(Lost { object: index, error }),
        }
        inflated
    }

    fn inflate_segment(self, mut stream: Box<Stream>) -> Result<Inflated, Lost> {
        let object = stream.object();
        let next = stream.next(self.buffers.text());
        let piece = next.map_err(|error| Lost { object, error: error.into() })?;
        let left = Came::Left(Portion::Stream(stream));
        let came = piece.map(|piece| vec![Came::Piece(piece), left]);
        Ok(Inflated { came: came.unwrap_or_default(), ..Inflated::default() })
    }
}
