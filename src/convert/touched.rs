//! Touched objects: objects whose ETag or modification time, but not size, changed since they were converted.
//!
//! `touch`, in-place encryption and copying an object onto itself do not change an object's content. This module
//! therefore compares the CRC-32 and the size of the decompressed bytes with the values in the claim. If both match, an
//! amendment records the new ETag, and no later run reads the object again.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::convert::feed::{Decompressors, Feed, Inflated, Input, Lost};
use crate::convert::tally::ARCHIVED;
use crate::dataset::claim::Amended;
use crate::dataset::held::{Content, not_converted_again};
use crate::dataset::layout::DatasetError;
use crate::dataset::ledger::Ledger;
use crate::decode::gzip::Decompressed;
use crate::decode::text_buffer::TextPool;
use crate::plan::{Amount, Batch, Failure, Plan, PlanError, Remedy, TOUCHED, Touched};
use crate::store::{Lane, Source, StoreError};
use crate::util::threads::on_threads;

/// Maximum number of objects in a chunk. A single thread compares the chunk, and a single log entry records its
/// unchanged objects.
const OBJECTS_AT_ONCE: usize = 4096;

/// A comparison that is ready to run.
pub struct Comparison<'a> {
    /// The sources of the objects.
    pub sources: &'a [Source],
    /// The ledger that records unchanged objects.
    pub ledger: &'a Ledger<'a>,
    /// Number of decompression threads.
    pub threads: usize,
    /// Counts the objects that were compared.
    pub compared: &'a AtomicU64,
    /// Set when the user interrupts the program.
    pub stop: &'a AtomicBool,
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    /// Objects whose content is unchanged. The ledger now contains an amendment for each.
    pub equal: Amount,
    /// Objects that must be restored before they can be read.
    pub archived: Amount,
    /// Objects with changed content, and objects that cannot be read.
    pub failures: Vec<Failure>,
    /// Objects that were not compared because the run was interrupted.
    pub left: u64,
}

/// Touched objects claimed in one partition, each with the CRC-32 and size of the content that was converted.
struct Chunk {
    batch: Batch,
    converted: Vec<(usize, Content)>,
}

/// The result of reading an object.
#[derive(Default)]
struct Progress {
    size: u64,
    crc32: Option<u32>,
    error: Option<StoreError>,
    /// Whether the object was read to its end.
    ended: bool,
}

impl Comparison<'_> {
    /// Compares the touched objects in a plan. The plan then counts unchanged and archived objects as skipped, and all
    /// other touched objects as failures.
    ///
    /// # Errors
    ///
    /// Fails if the dataset cannot be read or written, or if the user interrupts the program. Objects that were already
    /// recorded remain recorded.
    pub fn update(&self, plan: &mut Plan) -> Result<(), PlanError> {
        let touched = mem::take(&mut plan.touched);
        if touched.is_empty() {
            return Ok(());
        }
        let Compared { equal, archived, failures, left } = self.run(touched)?;
        if left > 0 {
            return Err(PlanError::Interrupted);
        }
        plan.skip(TOUCHED, equal.objects);
        plan.skip(ARCHIVED, archived.objects);
        plan.bytes_archived += archived.bytes;
        plan.failures.extend(failures);
        Ok(())
    }

    /// Compares touched objects, and records the unchanged ones in the logs of the partitions that claimed them.
    ///
    /// # Errors
    ///
    /// Fails if the dataset cannot be read or written. Objects that were already recorded remain recorded.
    pub fn run(&self, touched: Vec<Touched>) -> Result<Compared, DatasetError> {
        let chunks = chunks(touched);
        let threads = self.threads.min(chunks.len());
        let chunks = Mutex::new(chunks.into_iter());
        let outcome = Mutex::new(Ok(Compared::default()));
        let pools = (TextPool::default(), Decompressors::default());
        // A function, so that the chunks are locked only while the next one is taken.
        let next = || lock(&chunks).next();
        let work = || {
            while let Some(chunk) = next() {
                if lock(&outcome).is_err() {
                    return;
                }
                let compared = self.compare(chunk, &pools);
                let outcome = &mut *lock(&outcome);
                match (&mut *outcome, compared) {
                    (Ok(all), Ok(compared)) => all.add(compared),
                    (Ok(_), Err(error)) => *outcome = Err(error),
                    (Err(_), _) => {}
                }
            }
        };
        on_threads(threads, work);
        outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a chunk and records its unchanged objects.
    fn compare(
        &self,
        chunk: Chunk,
        pools: &(TextPool, Decompressors),
    ) -> Result<Compared, DatasetError> {
        let Chunk { batch, converted } = chunk;
        let read = self.read(&batch, pools);
        let (mut compared, mut amended) = (Compared::default(), Vec::new());
        for ((object, (claim, content)), read) in batch.objects.iter().zip(converted).zip(read) {
            let Progress { size, crc32, error, ended } = read;
            let (error, remedy) = match (error, crc32) {
                (Some(error), _) if error.is_archived() => {
                    compared.archived.add(object);
                    continue;
                }
                (Some(error), _) => (error.to_string(), None),
                _ if !ended => {
                    compared.left += 1;
                    continue;
                }
                (None, Some(crc32)) if content == (Content { crc32, size }) => {
                    compared.equal.add(object);
                    let (name, e_tag) = (object.name().to_owned(), object.listed.e_tag());
                    let e_tag = e_tag.map(ToOwned::to_owned);
                    amended.push(Amended { claim, name, e_tag, ..Amended::default() });
                    continue;
                }
                (None, Some(_)) => (
                    not_converted_again(
                        "was rewritten with different content since it was converted",
                    ),
                    Some(Remedy::Remove),
                ),
                (None, None) => (
                    not_converted_again("was rewritten since it was converted, and is damaged now"),
                    Some(Remedy::Remove),
                ),
            };
            compared.failures.push(Failure { object: object.listed.key(), error, remedy });
        }
        if !amended.is_empty() {
            self.ledger.amend(&batch.partition, amended)?;
        }
        Ok(compared)
    }

    /// Reads the objects of a batch until `stop` is set.
    fn read(
        &self,
        batch: &Batch,
        (texts, decompressors): &(TextPool, Decompressors),
    ) -> Vec<Progress> {
        let input = Input { batch, sources: self.sources, texts, decompressors, lane: Lane::new() };
        let mut read: Vec<Progress> = Vec::new();
        read.resize_with(batch.objects.len(), Progress::default);
        for compressed in Feed::new(input) {
            let objects = compressed.objects();
            let mut queue = VecDeque::from([compressed]);
            while let Some(compressed) = queue.pop_front() {
                if self.stop.load(Ordering::Relaxed) {
                    return read;
                }
                let inflated = input.inflate(compressed);
                let Inflated { text, rest, lost } = inflated
                    .unwrap_or_else(|lost| Inflated { lost: vec![lost], ..Inflated::default() });
                for Lost { object, error } in lost {
                    read[object].error = Some(error);
                }
                queue.extend(rest);
                if let Some(Decompressed { text, segments }) = text {
                    for segment in segments {
                        read[segment.object].size += segment.bytes;
                        read[segment.object].crc32 = segment.crc32;
                    }
                    texts.put(text);
                }
            }
            self.compared.fetch_add(objects.len() as u64, Ordering::Relaxed);
            for object in &mut read[objects] {
                object.ended = true;
            }
        }
        read
    }
}

impl Compared {
    pub(crate) fn add(&mut self, other: Self) {
        self.equal += other.equal;
        self.archived += other.archived;
        self.failures.extend(other.failures);
        self.left += other.left;
    }
}

/// Splits objects into chunks, each within one partition.
fn chunks(mut touched: Vec<Touched>) -> Vec<Chunk> {
    touched.sort_by(|a, b| a.partition.cmp(&b.partition));
    let mut chunks: Vec<Chunk> = Vec::new();
    for Touched { object, partition, claim, content } in touched {
        let has_room = |chunk: &Chunk| {
            chunk.batch.partition == partition && chunk.converted.len() < OBJECTS_AT_ONCE
        };
        if !chunks.last().is_some_and(has_room) {
            let batch = Batch::new(partition, Vec::new());
            chunks.push(Chunk { batch, converted: Vec::new() });
        }
        let chunk = chunks.last_mut().expect("one was added");
        chunk.batch.objects.push(object);
        chunk.converted.push((claim, content));
    }
    chunks
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
