//! Feeds a batch's objects to the pipeline: reads them in order and ahead of use, and decompresses them.
//!
//! Ordinary objects are grouped into runs of about half a megabyte. An object that cannot be decompressed in a single
//! call is streamed, one segment at a time. Runs depend only on the sizes in the listing, so the output does not depend
//! on how far ahead objects are read.

use std::collections::VecDeque;
use std::ops::Range;

use crate::decode::gzip::{Decompressed, MAX_WHOLE, MAX_WHOLE_GZIP, Stream, Whole};
use crate::decode::text_buffer::TextPool;
use crate::plan::Batch;
use crate::store::{Fetch, Lane, Source, StoreError};
use crate::util::pool::Pool;

/// Maximum compressed size of a run in bytes.
const RUN_BYTES: u64 = 512 << 10;
/// Maximum number of objects in a run.
const RUN_OBJECTS: usize = 256;

/// An object that cannot be read, and the cause.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Index of the object in its batch.
    pub object: usize,
    /// The cause.
    pub error: StoreError,
}

/// Reusable decompressors, each with a buffer for an object's bytes.
pub(crate) type Decompressors = Pool<(Whole, Vec<u8>)>;

/// Compressed data of a batch.
pub(crate) enum Compressed {
    /// A run of ordinary objects. Reads are in progress for the first few of them.
    Run(Range<usize>, VecDeque<Fetch>),
    /// An object to be streamed.
    Object(usize),
    /// The rest of an object that is being streamed.
    Stream(Box<Stream>),
}

impl Compressed {
    /// Returns the batch indices of the objects that the data belongs to.
    pub(crate) fn objects(&self) -> Range<usize> {
        match self {
            Self::Run(run, _) => run.clone(),
            Self::Object(object) => *object..object + 1,
            Self::Stream(stream) => stream.object()..stream.object() + 1,
        }
    }
}

/// The result of decompressing some data.
#[derive(Default)]
pub(crate) struct Inflated {
    /// The text, if there is any.
    pub text: Option<Decompressed>,
    /// The data that follows the text and is still compressed, in order.
    pub rest: Vec<Compressed>,
    /// Objects that could not be read at all.
    pub lost: Vec<Lost>,
}

/// A batch, with the resources for reading its objects.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// The batch.
    pub batch: &'a Batch,
    /// The sources that contain the batch's objects.
    pub sources: &'a [Source],
    /// Buffers for decompressed text.
    pub texts: &'a TextPool,
    /// Decompressors for whole objects.
    pub decompressors: &'a Decompressors,
    /// The batch's share of the reads.
    pub lane: Lane,
}

/// Splits a batch into runs of ordinary objects and single objects to be streamed, in order.
pub(crate) struct Feed<'a> {
    input: Input<'a>,
    queue: VecDeque<Compressed>,
}

impl<'a> Feed<'a> {
    /// Returns a feed for a batch, and starts reading the batch's first objects.
    pub(crate) fn new(input: Input<'a>) -> Self {
        let mut queue = VecDeque::new();
        let mut bytes = 0;
        for (index, object) in input.batch.objects.iter().enumerate() {
            let size = object.listed.size;
            if size > MAX_WHOLE_GZIP {
                queue.push_back(Compressed::Object(index));
                continue;
            }
            match queue.back_mut() {
                Some(Compressed::Run(run, _))
                    if bytes + size <= RUN_BYTES && run.len() < RUN_OBJECTS =>
                {
                    run.end += 1;
                    bytes += size;
                }
                _ => {
                    queue.push_back(Compressed::Run(index..index + 1, VecDeque::new()));
                    bytes = size;
                }
            }
        }
        let mut feed = Self { input, queue };
        feed.read_ahead();
        feed
    }

    /// Starts reading the objects in the next run, and later objects, so that they arrive while that run is being
    /// decompressed. The limiter decides when their requests are sent.
    fn read_ahead(&mut self) {
        let Input { batch, sources, lane, .. } = self.input;
        let Some((max_objects, max_bytes)) = sources.iter().find_map(Source::ahead) else { return };
        let (mut bytes, mut objects) = (0, 0);
        for (position, compressed) in self.queue.iter_mut().enumerate() {
            let Compressed::Run(run, fetches) = compressed else { continue };
            for index in run.clone() {
                let object = &batch.objects[index];
                if position > 0 {
                    bytes += object.listed.size;
                    objects += 1;
                    if bytes > max_bytes || objects > max_objects {
                        return;
                    }
                }
                if index - run.start >= fetches.len() {
                    fetches.push_back(sources[object.source].begin(&object.listed, lane));
                }
            }
        }
    }
}

impl Iterator for Feed<'_> {
    type Item = Compressed;

    fn next(&mut self) -> Option<Compressed> {
        self.read_ahead();
        self.queue.pop_front()
    }
}

impl Input<'_> {
    /// Decompresses at least the beginning of the data.
    ///
    /// # Errors
    ///
    /// Fails if the rest of an object cannot be read after part of the object was returned. The batch must then be
    /// converted again without the object.
    pub(crate) fn inflate(self, compressed: Compressed) -> Result<Inflated, Lost> {
        match compressed {
            Compressed::Run(run, fetches) => Ok(self.inflate_run(run, fetches)),
            Compressed::Object(object) => Ok(self.open(object)),
            Compressed::Stream(stream) => self.inflate_segment(stream),
        }
    }

    /// Decompresses objects until one must be streamed, or their text exceeds [`MAX_WHOLE`].
    fn inflate_run(self, run: Range<usize>, mut fetches: VecDeque<Fetch>) -> Inflated {
        let (mut whole, mut gzip) = self.decompressors.take(Default::default);
        let mut inflated = Inflated::default();
        let mut decompressed = Decompressed { text: self.texts.take(), segments: Vec::new() };
        for index in run.clone() {
            let object = &self.batch.objects[index];
            let source = &self.sources[object.source];
            let fetch =
                fetches.pop_front().unwrap_or_else(|| source.begin(&object.listed, self.lane));
            if let Err(error) = source.finish(&object.listed, fetch, &mut gzip) {
                inflated.lost.push(Lost { object: index, error });
                continue;
            }
            let streamed = !whole.inflate(index, &gzip, &mut decompressed);
            // To bound memory use, the remaining objects return to the queue: data can decompress to a thousand times
            // its size.
            if streamed || decompressed.text.len() > MAX_WHOLE {
                inflated.rest.extend(streamed.then_some(Compressed::Object(index)));
                let rest = index + 1..run.end;
                inflated.rest.extend((!rest.is_empty()).then(|| Compressed::Run(rest, fetches)));
                break;
            }
        }
        if decompressed.segments.is_empty() {
            self.texts.put(decompressed.text);
        } else {
            inflated.text = Some(decompressed);
        }
        self.decompressors.put((whole, gzip));
        inflated
    }

    /// Starts streaming an object.
    fn open(self, index: usize) -> Inflated {
        let object = &self.batch.objects[index];
        let reader = self.sources[object.source].reader(&object.listed);
        let size = object.listed.size;
        let stream = reader.and_then(|reader| Ok(Stream::new(index, size, reader)?));
        let mut inflated = Inflated::default();
        match stream {
            Ok(stream) => inflated.rest.push(Compressed::Stream(Box::new(stream))),
            Err(error) => inflated.lost.push(Lost { object: index, error }),
        }
        inflated
    }

    fn inflate_segment(self, mut stream: Box<Stream>) -> Result<Inflated, Lost> {
        let object = stream.object();
        let next = stream.next(self.texts.take());
        let text = next.map_err(|error| Lost { object, error: error.into() })?;
        let rest = text.is_some().then(|| Compressed::Stream(stream));
        Ok(Inflated { text, rest: rest.into_iter().collect(), lost: Vec::new() })
    }
}
