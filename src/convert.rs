//! The conversion: batches in, published files and a tally out.
//!
//! Two kinds of threads share the work. *Drivers* each take one batch after the other, see to it that it is
//! converted, wait for the disk or the network, claim and publish. What is to be computed, inflating,
//! decoding and encoding, workers of one rayon pool do in small steps (see `flow`). So a batch that is alone uses
//! every core, and no worker ever begins another batch while it waits for its own. Few large batches are
//! converted at once, since each holds a row group; of small ones so many that their requests do not add up.

mod budget;
pub(crate) mod converter;
pub(crate) mod feed;
mod files;
mod flow;
pub(crate) mod manifest;
mod queue;
pub(crate) mod tally;
pub(crate) mod touched;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parquet::errors::ParquetError;
use rayon::{ThreadPool, ThreadPoolBuildError};

use crate::convert::budget::Budget;
use crate::convert::feed::{Decompressors, Feed, Input, Lost};
use crate::convert::files::{Open, StagedBatch, StagedOutput, leave_out};
use crate::convert::flow::Flow;
use crate::convert::queue::Queue;
use crate::convert::tally::{CONVERTED_CONCURRENTLY, Tally};
use crate::dataset::claim::{Output, State};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::dataset::ledger::{Committed, Ledger};
use crate::decode::decoder::{Decoded, Decoder};
use crate::decode::gzip::Decompressed;
use crate::decode::text_buffer::TextPool;
use crate::encode::Format;
use crate::logs::schema::LogType;
use crate::plan::{Batch, Failure, Object, Plan, Remedy};
use crate::redact::Redaction;
use crate::store::{Source, TargetError, Writing};
use crate::util::pool::Pool;
use crate::util::threads::{self, isolated, on_threads};

/// Threads that each see to a batch, at most, unless there are very many workers.
const DRIVERS: usize = 16;
/// Workers that one large batch can use well: its record batches are written one after the other, and the largest column
/// of one, with the writing of the file, is a sixth of all work.
const WORKERS_OF_BATCH: usize = 4;

/// A conversion that is ready to run.
pub struct Conversion<'a> {
    /// Where objects are read.
    pub sources: &'a [Source],
    /// Where files are written.
    pub dataset: &'a Dataset,
    /// How files are written.
    pub format: Format,
    /// Text columns that have Bloom filters, sorted.
    pub bloom_filters: &'a [String],
    /// What is redacted, as the dataset's runs have agreed.
    pub redaction: &'a Redaction,
    /// Worker threads.
    pub threads: usize,
    /// Who is told how it goes.
    pub watcher: &'a dyn Watcher,
    /// Set when nothing new is to be begun, and what is not claimed yet to be given up.
    pub stop: &'a AtomicBool,
}

/// Is told how a conversion goes, from many threads.
pub trait Watcher: Sync {
    /// A segment of an object was converted, or the whole.
    fn read(&self, segment: &Read);

    /// A batch is published.
    fn published(&self, batch: &Batch, tally: &Tally, took: Duration);

    /// All is known that came of the batch with this place in the plan.
    fn settled(&self, _place: usize, _tally: &Tally) {}
}

/// A segment of an object that was converted.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// Key of the object.
    pub key: &'a str,
    /// Whether it is the first segment of the object.
    pub begins: bool,
    /// Its compressed bytes.
    pub bytes: u64,
    /// Its rejects.
    pub rejects: u64,
}

/// The conversion cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The dataset cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A file of it cannot be written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A Parquet file cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// Where it was to stand.
        path: String,
        /// Why.
        source: ParquetError,
    },
    /// The user wants the program to end.
    #[error("interrupted")]
    Interrupted,
    /// The worker threads cannot be started.
    #[error("worker threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
}

/// Why a batch is not converted at the first attempt.
enum BatchError {
    Lost(Lost),
    Run(ConvertError),
}

impl From<Lost> for BatchError {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl<E: Into<ConvertError>> From<E> for BatchError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl Conversion<'_> {
    /// Converts all batches of a plan that was made with this ledger.
    ///
    /// # Errors
    ///
    /// Fails when the dataset cannot be written. Objects that cannot be read and lines that cannot
    /// become rows are no errors; the tally names them.
    pub fn run(
        &self,
        plan: Plan,
        ledger: &Ledger,
        started: Instant,
    ) -> Result<Tally, ConvertError> {
        let mut tally = Tally { partitions: plan.partitions() as u64, ..Tally::default() };
        tally.objects.listed = plan.listed;
        tally.objects.skipped = plan.skipped.values().sum();
        tally.objects.skipped_by_kind = plan.skipped;
        tally.objects.examples = plan.examples;
        tally.objects.moved = plan.moved;
        tally.objects.failed = plan.failures.len() as u64;
        tally.failures = plan.failures;
        tally.bytes_archived = plan.bytes_archived;

        let pool = threads::pool(self.threads)?;
        let shared = Shared::new(self.threads);
        let driver = Driver { conversion: self, pool: &pool, shared: &shared };
        let open = self.threads.div_ceil(WORKERS_OF_BATCH).max(2).min(self.threads);
        let drivers = DRIVERS.max(2 * open).min(plan.batches.len());
        let queue = Queue::new(plan.batches, open);
        let outcome = Mutex::new(Outcome::default());
        on_threads(drivers, || driver.drive(&queue, ledger, &outcome));
        let Outcome { tallies, left, failed } = outcome.into_inner().expect("no holder panics");
        match self.dataset.confirm() {
            // Checked first, because deleted files also cause other failures.
            Err(error) if failed.is_none() || matches!(error, DatasetError::Replaced(_)) => {
                return Err(error.into());
            }
            _ => {}
        }
        if let Some(error) = failed {
            return Err(error);
        }
        for (log_type, batch) in tallies.into_values() {
            tally.add(log_type, batch);
        }
        tally.objects.not_processed = left + queue.left();
        tally.interrupted = tally.objects.not_processed > 0;
        tally.incomplete_before = ledger.incomplete_objects();
        tally.seconds = started.elapsed().as_secs_f64();
        Ok(tally)
    }

    /// Waits until the files of a batch are there to stay, claims its objects and publishes the files,
    /// rejects first. Returns what is left to convert when another run claimed some of the objects.
    fn commit(
        &self,
        batch: &Batch,
        staged: StagedBatch,
        ledger: &Ledger,
    ) -> Result<(Tally, Option<Batch>), ConvertError> {
        let StagedBatch { mut claim, outputs, mut tally, took } = staged;
        tally.seconds = took.as_secs_f64();
        if claim.objects.is_empty() {
            return Ok((tally, None));
        }
        claim.seconds = Some((took.as_secs_f64() * 1e3).round() / 1e3);
        let mut writings = Vec::new();
        for StagedOutput { table, rows, mut writing } in outputs {
            let file = writing.seal()?;
            tally.bytes_out += file.size;
            claim.outputs.push(Output { table: table.to_owned(), rows, file });
            writings.push(writing);
        }
        let (reason, remedy) = match ledger.commit(&batch.partition, claim, writings) {
            Ok(Committed::Claimed(State::Done)) => {
                self.watcher.published(batch, &tally, took);
                return Ok((tally, None));
            }
            Ok(Committed::Claimed(State::Stuck(reason))) => (reason, Some(Remedy::Remove)),
            Ok(Committed::Claimed(_)) => {
                let reason = "its files were deleted before they were published; the next run converts it again";
                (reason.to_owned(), None)
            }
            Ok(Committed::Lost(taken)) => {
                let mut tally = Tally { seconds: tally.seconds, ..Tally::default() };
                let mut rest = batch.clone();
                rest.objects.retain(|object| !taken.contains(object.identity()));
                let lost = batch.objects.len() - rest.objects.len();
                tally.skip(CONVERTED_CONCURRENTLY, lost as u64);
                return Ok((tally, (!rest.objects.is_empty()).then_some(rest)));
            }
            Err(error) if error.is_of_partition() => (error.to_string(), Remedy::of(&error)),
            Err(error) => return Err(error.into()),
        };
        let seconds = tally.seconds;
        Ok((Tally { seconds, ..failed(batch, &reason, remedy) }, None))
    }

    fn file_name(&self, batch: &Batch) -> String {
        batch.file_name(&self.settings(batch), self.dataset.run())
    }

    /// Returns the settings of a claim: everything that determines the bytes of a file, except its objects and the version.
    ///
    /// They are `name=value` pairs in a fixed order, separated by spaces: `log_type`, `compression` and `profile`, then
    /// `bloom_filters`, `redaction` and `key_fingerprint` where they apply. Runs with equal options have equal text.
    fn settings(&self, batch: &Batch) -> String {
        let (log_type, Format { profile, compression }) = (batch.partition.log_type, self.format);
        let (compression, profile) = (compression.as_str(), profile.as_str());
        let mut settings =
            format!("log_type={log_type} compression={compression} profile={profile}");
        if !self.bloom_filters.is_empty() {
            settings += " bloom_filters=";
            settings += &self.bloom_filters.join(",");
        }
        if !self.redaction.is_empty() {
            settings += " redaction=";
            settings += &self.redaction.agreement().to_string();
        }
        settings
    }

    /// Begins the file of a table for a batch.
    fn begin(&self, table: &str, batch: &Batch, name: &str) -> Result<Writing, TargetError> {
        let key = self.dataset.file(table, &batch.partition, name);
        Writing::begin(self.dataset.target(), key)
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What came of batches.
#[derive(Default)]
struct Outcome {
    /// By their place in the plan, which a batch shares with what was left of it.
    tallies: BTreeMap<usize, (LogType, Tally)>,
    /// Objects of batches that were given up, since the user wants the program to end.
    left: u64,
    /// Why the dataset cannot be written.
    failed: Option<ConvertError>,
}

/// What a driver needs to convert one batch after the other.
struct Driver<'a> {
    conversion: &'a Conversion<'a>,
    pool: &'a ThreadPool,
    shared: &'a Shared,
}

/// What drivers share.
struct Shared {
    budget: Budget,
    texts: TextPool,
    decompressors: Decompressors,
    /// One pool for each log type.
    decoders: [Pool<Decoder>; LogType::ALL.len()],
    /// Drivers that are at work.
    active: AtomicUsize,
}

impl Shared {
    fn new(threads: usize) -> Self {
        Self {
            budget: Budget::new(threads),
            texts: TextPool::default(),
            decompressors: Decompressors::default(),
            decoders: Default::default(),
            active: AtomicUsize::new(0),
        }
    }
}

impl Driver<'_> {
    /// Takes one batch after the other, converts and publishes it.
    fn drive(&self, queue: &Queue, ledger: &Ledger, outcome: &Mutex<Outcome>) {
        let conversion = self.conversion;
        let outcome = || outcome.lock().expect("no holder panics");
        let _guard = queue.guard();
        while let Some((index, batch)) = queue.take() {
            self.shared.active.fetch_add(1, Ordering::Relaxed);
            let staged = isolated(|| self.convert(&batch));
            self.shared.active.fetch_sub(1, Ordering::Relaxed);
            queue.converted(&batch);
            if conversion.interrupted() || outcome().failed.is_some() {
                queue.close();
                outcome().left += batch.objects.len() as u64;
                return;
            }
            let committed = staged
                .and_then(|staged| isolated(|| conversion.commit(&batch, staged?, ledger)))
                .unwrap_or_else(|panic| Ok((failed(&batch, &fault(&panic), None), None)));
            match committed {
                Ok((tally, rest)) => {
                    let log_type = batch.partition.log_type;
                    let mut outcome = outcome();
                    let all = outcome.tallies.entry(index).or_insert((log_type, Tally::default()));
                    all.1.add(log_type, tally);
                    if rest.is_none() {
                        conversion.watcher.settled(index, &all.1);
                    }
                    queue.settle(index, &batch, rest);
                }
                Err(error) => {
                    queue.close();
                    outcome().failed.get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Converts a batch, without the objects that turn out to be unreadable.
    fn convert(&self, batch: &Batch) -> Result<StagedBatch, ConvertError> {
        let mut torn = Vec::new();
        let mut batch = Cow::Borrowed(batch);
        let mut staged = loop {
            match self.attempt(&batch) {
                Ok(staged) => break staged,
                Err(BatchError::Run(error)) => return Err(error),
                // Some of it was written already.
                Err(BatchError::Lost(Lost { object, error })) => {
                    torn.push((batch.to_mut().objects.remove(object), error));
                }
            }
        };
        for (object, error) in torn {
            leave_out(&object, &error, &mut staged.tally);
        }
        Ok(staged)
    }

    fn attempt(&self, batch: &Batch) -> Result<StagedBatch, BatchError> {
        let Self { conversion, pool, shared } = *self;
        let keys = batch.keys();
        let Shared { texts, decompressors, .. } = shared;
        let input = Input { batch, sources: conversion.sources, texts, decompressors };
        // The first objects come in while the files are begun.
        let feed = Feed::new(input);
        let open = Open::new(conversion, batch, &keys)?;
        let (open, lost) = Flow::new(self, input, feed, &keys, open).run()?;
        Ok(pool.install(|| open.finish(&lost, conversion))?)
    }

    /// Returns how many entries of a batch are inflated and decoded ahead of the writer, at most.
    fn ahead(&self) -> usize {
        // Alone, a batch needs something to do for all workers.
        let active = self.shared.active.load(Ordering::Relaxed).max(1);
        self.conversion.threads.div_ceil(active) + 1
    }

    /// Decodes text up to the limits of one record batch. Returns the rest of the text, too.
    fn decode(
        &self,
        mut decompressed: Decompressed,
        log_type: LogType,
        keys: &[String],
    ) -> (Decoded, Option<Decompressed>) {
        let Shared { decoders, texts, .. } = self.shared;
        let decoders = &decoders[log_type as usize];
        let mut decoder = decoders.take(|| Decoder::new(log_type.table()));
        let mut decoded = decoder.decode(&mut decompressed, |object| keys[object].as_str());
        decoders.put(decoder);
        decoded.batch = self.conversion.redaction.apply(decoded.batch);
        if decompressed.segments.is_empty() {
            texts.put(decompressed.text);
            return (decoded, None);
        }
        (decoded, Some(decompressed))
    }
}

/// Returns the outcome of a batch that failed as a whole.
fn failed(batch: &Batch, reason: &str, remedy: Option<Remedy>) -> Tally {
    let failed =
        |object: &Object| Failure { object: object.listed.key(), error: reason.to_owned(), remedy };
    let mut tally =
        Tally { failures: batch.objects.iter().map(failed).collect(), ..Tally::default() };
    tally.objects.failed = tally.failures.len() as u64;
    tally
}

/// Describes a panic.
fn fault(panic: &str) -> String {
    format!("its batch failed because of a bug in alb2parquet; please report it: {panic}")
}
