//! Converts batches to files, publishes the files, and tallies the results.
//!
//! Two kinds of threads share the work. A *driver* takes one batch at a time, starts its conversion, waits for the disk
//! or the network, and claims and publishes the batch. The *workers* of one rayon pool decompress, decode and encode in
//! small steps (see `flow`). As a result, a single batch can use every core, and a worker never starts another batch
//! while it waits for its current one. Another thread plans, so batches are converted while the sources are still listed.
//! Only a few large batches are converted concurrently, because each holds a row
//! group in memory. Many small batches are converted concurrently, so that their request latencies overlap.

mod budget;
pub(crate) mod converter;
pub(crate) mod feed;
mod files;
mod flow;
pub(crate) mod live;
pub(crate) mod manifest;
mod queue;
pub(crate) mod tally;
pub(crate) mod touched;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{io, mem, panic, thread};

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
use crate::plan::{Batch, Failure, Object, Plan, PlanError, Remedy};
use crate::redact::Redaction;
use crate::store::{Lane, Source, TargetError, Writing};
use crate::util::pool::Pool;
use crate::util::threads::{self, isolated, on_threads};

/// Maximum number of drivers, unless large batches need more drivers to keep all workers busy.
const DRIVERS: usize = 16;
/// Number of workers that one large batch can keep busy. More workers would wait, because record batches are written
/// one at a time: encoding the largest column and writing the file account for a sixth of all work.
const WORKERS_OF_BATCH: usize = 4;
/// Maximum number of times that a run converts a batch again because its files were lost before they were published.
const MAX_RETRIES: usize = 3;

/// A conversion that is ready to run.
pub struct Conversion<'a> {
    /// The sources of the objects.
    pub sources: &'a [Source],
    /// The dataset to write to.
    pub dataset: &'a Dataset,
    /// Format of the files.
    pub format: Format,
    /// Text columns that get Bloom filters, sorted.
    pub bloom_filters: &'a [String],
    /// The dataset's redaction, which is the same in all runs.
    pub redaction: &'a Redaction,
    /// Number of worker threads.
    pub threads: usize,
    /// Progress observer.
    pub observer: &'a dyn Observer,
    /// When set, no more batches are started, and unclaimed batches are discarded.
    pub stop: &'a AtomicBool,
}

/// Observes the progress of a conversion. Its methods are called from many threads.
pub trait Observer: Sync {
    /// Called after a batch is planned, in the order of the plan.
    fn planned(&self, _batch: &Batch) {}

    /// Called after a segment of an object, or the entire object, is converted.
    fn read(&self, segment: &Read);

    /// Called after a batch is published.
    fn published(&self, batch: &Batch, tally: &Tally, took: Duration);

    /// Called before a batch is converted again because its files were lost before they were published.
    fn lost(&self, _batch: &Batch) {}

    /// Called after a batch is finished, with its index in the plan and its complete tally.
    fn finished(&self, _place: usize, _tally: &Tally) {}
}

/// A converted segment of an object.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// Key of the object.
    pub key: &'a str,
    /// Whether this is the first segment of the object.
    pub begins: bool,
    /// Compressed size of the segment in bytes.
    pub bytes: u64,
    /// Number of rejects in the segment.
    pub rejects: u64,
}

/// Why the conversion cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The dataset cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A file in the dataset cannot be written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A Parquet file cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// Path of the file.
        path: String,
        /// The cause.
        source: ParquetError,
    },
    /// The conversion cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The user interrupted the program.
    #[error("interrupted")]
    Interrupted,
    /// The worker threads cannot be started.
    #[error("worker threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
    /// The thread that plans cannot be started.
    #[error("worker threads cannot be started")]
    Thread(#[source] io::Error),
}

/// Why an attempt to convert a batch failed.
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
    /// Converts all batches in a plan. The plan must have been made with this ledger.
    ///
    /// # Errors
    ///
    /// Fails if the dataset cannot be written. Unreadable objects and rejected lines do not cause an error; they are
    /// counted in the tally.
    pub fn run(
        &self,
        mut plan: Plan,
        ledger: &Ledger,
        started: Instant,
    ) -> Result<Tally, ConvertError> {
        let batches = mem::take(&mut plan.batches);
        let plan = |convert: &mut dyn FnMut(Batch) -> Result<(), PlanError>| {
            batches.into_iter().try_for_each(convert)?;
            Ok((plan, ()))
        };
        self.run_live(plan, ledger, started).map(|(tally, ())| tally)
    }

    /// Converts batches while they are planned. `plan` passes each batch to its argument, which waits while too many
    /// batches are waiting to be converted, and fails if the conversion has failed. `plan` returns everything about the
    /// plan except the batches, and any other result, which is passed to the caller. It must plan with this ledger.
    ///
    /// # Errors
    ///
    /// Fails if `plan` fails, or the dataset cannot be written. Unreadable objects and rejected lines do not cause an
    /// error; they are counted in the tally.
    pub(crate) fn run_live<T: Send>(
        &self,
        plan: impl FnOnce(
            &mut dyn FnMut(Batch) -> Result<(), PlanError>,
        ) -> Result<(Plan, T), PlanError>
        + Send,
        ledger: &Ledger,
        started: Instant,
    ) -> Result<(Tally, T), ConvertError> {
        let pool = threads::pool(self.threads)?;
        let shared = Shared::new(self.threads);
        let driver = Driver { conversion: self, pool: &pool, shared: &shared };
        let open = self.threads.div_ceil(WORKERS_OF_BATCH).max(2).min(self.threads);
        let queue = Queue::new(open);
        let outcome = Mutex::new(Outcome::default());
        let planning = || {
            let _guard = queue.guard();
            // A partition with late objects comes twice.
            let mut partitions = HashSet::new();
            let mut convert = |batch: Batch| {
                partitions.insert(Arc::clone(&batch.partition));
                self.observer.planned(&batch);
                queue.add(batch);
                // The rest of the plan is not needed, and may take long to list.
                let has_failed = outcome.lock().expect("no holder panics").failed.is_some();
                if has_failed { Err(PlanError::Interrupted) } else { Ok(()) }
            };
            let planned = plan(&mut convert);
            match &planned {
                Ok(_) => queue.complete(),
                Err(_) => queue.close(),
            }
            planned.map(|(plan, other)| (plan, partitions.len() as u64, other))
        };
        let planned = thread::scope(|scope| {
            let planning = thread::Builder::new().spawn_scoped(scope, planning);
            let planning = planning.map_err(ConvertError::Thread)?;
            on_threads(DRIVERS.max(2 * open), || driver.drive(&queue, ledger, &outcome));
            let planned = planning.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            Ok::<_, ConvertError>(planned)
        })?;
        let outcome = outcome.into_inner().expect("no holder panics");
        // The caller counts the requests.
        self.dataset.target().wait();
        match self.dataset.confirm() {
            // If the dataset was replaced, other failures may merely be consequences, so report the replacement.
            Err(error)
                if outcome.failed.is_none() || matches!(error, DatasetError::Replaced(_)) =>
            {
                return Err(error.into());
            }
            _ => {}
        }
        if let Some(error) = outcome.failed {
            return Err(error);
        }
        let (plan, partitions, other) = planned?;
        // Other runs may have been killed after they claimed objects of this run.
        let added = if self.interrupted() { Vec::new() } else { ledger.finish_added()? };
        let mut tally = Tally { partitions, ..Tally::default() };
        tally.objects.listed = plan.listed;
        tally.objects.skipped = plan.skipped.values().sum();
        tally.objects.skipped_by_kind = plan.skipped;
        tally.objects.examples = plan.examples;
        tally.objects.moved = plan.moved;
        tally.objects.failed = plan.failures.len() as u64;
        tally.failures = plan.failures;
        tally.bytes_archived = plan.bytes_archived;
        let not_processed = outcome.left + queue.left() + plan.unplanned.unwrap_or_default();
        tally.interrupted = not_processed > 0 || plan.unplanned.is_some();
        outcome.add_to(&mut tally);
        tally.failures.extend(added.into_iter().map(|(claim, state)| match state {
            State::Stuck(reason) => Failure::new(claim, reason).with_remedy(Remedy::Remove),
            _ => Failure::new(
                claim,
                "another run claimed objects but did not publish their files, so the claim was aborted; the next run, \
                 or the other run if it still runs, converts them",
            ),
        }));
        tally.objects.not_processed = not_processed;
        tally.incomplete_before = ledger.incomplete_objects();
        tally.seconds = started.elapsed().as_secs_f64();
        Ok((tally, other))
    }

    /// Makes a batch's files durable, claims its objects, and publishes the files, starting with the rejects. If
    /// another run claimed some of the objects, returns a batch of the remaining objects, which must be converted
    /// again. If a file was lost before it was published, returns the batch itself, up to [`MAX_RETRIES`] times.
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
        if let Some(name) = self.found(&batch.lost_files)? {
            let reason = format!(
                "{name} was reported as lost but exists, so its batch is not claimed again"
            );
            let seconds = tally.seconds;
            let tally = Tally { seconds, ..failed(batch, &reason, Some(Remedy::Repair)) };
            return Ok((tally, None));
        }
        let of_tables = claim.outputs.iter().filter(|output| !output.has_originals());
        let keys = of_tables.map(|output| output.file.key.to_string()).collect();
        let (reason, remedy) = match ledger.commit(&batch.partition, claim, writings) {
            Ok(Committed::Claimed(State::Done)) => {
                self.observer.published(batch, &tally, took);
                return Ok((tally, None));
            }
            Ok(Committed::Claimed(State::Stuck(reason))) => (reason, Some(Remedy::Remove)),
            Ok(Committed::Claimed(State::Aborted)) if batch.lost_files.len() < MAX_RETRIES => {
                self.observer.lost(batch);
                let mut tally = Tally { seconds: tally.seconds, ..Tally::default() };
                tally.batches_with_lost_files = u64::from(batch.lost_files.is_empty());
                let mut rest = batch.clone();
                rest.lost_files.push(keys);
                return Ok((tally, Some(rest)));
            }
            Ok(Committed::Claimed(_)) => {
                let reason = "its files were lost before they were published; the next run converts it again";
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

    /// Returns the name of a file that exists although the store reported it as lost, because it has completed the
    /// upload after all. The rows are then published, and claiming the batch again would publish them twice.
    fn found(&self, lost_files: &[Vec<String>]) -> Result<Option<String>, TargetError> {
        for key in lost_files.iter().flatten() {
            if self.dataset.target().size(key)?.is_some() {
                return Ok(Some(self.dataset.target().name(key)));
            }
        }
        Ok(None)
    }

    fn file_name(&self, batch: &Batch) -> String {
        batch.file_name(&self.settings(batch), self.dataset.run())
    }

    /// Returns the settings that, together with the objects and the program version, determine a file's bytes.
    ///
    /// The settings are `name=value` pairs in a fixed order, separated by spaces: `log_type`, `compression` and
    /// `profile`, then `bloom_filters`, `redaction` and `key_fingerprint` where they apply. Runs with the same options
    /// produce the same string.
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

    /// Starts writing a batch's file for a table.
    fn begin(&self, table: &str, batch: &Batch, name: &str) -> Result<Writing, TargetError> {
        let key = self.dataset.file(table, &batch.partition, name);
        Writing::begin(self.dataset.target(), key)
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The results of the conversion so far.
#[derive(Default)]
struct Outcome {
    /// The tallies of the first batches in the plan, by log type. Tallies are added in the order of the plan, so that
    /// the result does not depend on the order in which batches finish.
    first: BTreeMap<LogType, Tally>,
    /// Number of these batches.
    next: usize,
    /// Tally of each later batch, by index in the plan, and whether the batch is finished. If part of a batch is
    /// converted again, that part keeps the batch's index.
    tallies: BTreeMap<usize, (LogType, Tally, bool)>,
    /// Failures of the first batches.
    failures: Vec<Failure>,
    /// Number of objects in batches that were discarded because the user interrupted the program.
    left: u64,
    /// The error that ended the conversion.
    failed: Option<ConvertError>,
}

impl Outcome {
    /// Adds the tally of all or part of a batch. Returns the complete tally if the batch is finished.
    fn add(
        &mut self,
        index: usize,
        log_type: LogType,
        tally: Tally,
        is_finished: bool,
    ) -> Option<Tally> {
        let of_batch = self.tallies.entry(index).or_insert((log_type, Tally::default(), false));
        of_batch.1.add(log_type, tally);
        of_batch.2 = is_finished;
        let complete = is_finished.then(|| of_batch.1.clone());
        while let Some(first) = self.tallies.first_entry()
            && *first.key() == self.next
            && first.get().2
        {
            let (log_type, tally, _) = first.remove();
            self.fold(log_type, tally);
            self.next += 1;
        }
        complete
    }

    fn fold(&mut self, log_type: LogType, mut tally: Tally) {
        self.failures.append(&mut tally.failures);
        self.first.entry(log_type).or_default().add(log_type, tally);
    }

    /// Adds the results to the tally of the run.
    fn add_to(mut self, tally: &mut Tally) {
        for (log_type, of_batch, _) in mem::take(&mut self.tallies).into_values() {
            self.fold(log_type, of_batch);
        }
        for (log_type, of_batches) in self.first {
            tally.add(log_type, of_batches);
        }
        tally.failures.append(&mut self.failures);
    }
}

/// Converts one batch after another on a driver thread.
struct Driver<'a> {
    conversion: &'a Conversion<'a>,
    pool: &'a ThreadPool,
    shared: &'a Shared,
}

/// The state that all drivers share.
struct Shared {
    budget: Budget,
    texts: TextPool,
    decompressors: Decompressors,
    /// One pool for each log type.
    decoders: [Pool<Decoder>; LogType::ALL.len()],
    /// Number of drivers that are converting a batch.
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
    /// Converts and publishes batches until the queue is empty or closed.
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
                .unwrap_or_else(|panic| Ok((failed(&batch, &panicked(&panic), None), None)));
            match committed {
                Ok((tally, rest)) => {
                    let log_type = batch.partition.log_type;
                    let mut outcome = outcome();
                    if let Some(tally) = outcome.add(index, log_type, tally, rest.is_none()) {
                        conversion.observer.finished(index, &tally);
                    }
                    drop(outcome);
                    queue.finish(index, &batch, rest);
                }
                Err(error) => {
                    queue.close();
                    outcome().failed.get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Converts a batch, except for objects that cannot be read.
    fn convert(&self, batch: &Batch) -> Result<StagedBatch, ConvertError> {
        let mut unreadable = Vec::new();
        let mut batch = Cow::Borrowed(batch);
        let mut staged = loop {
            match self.attempt(&batch) {
                Ok(staged) => break staged,
                Err(BatchError::Run(error)) => return Err(error),
                // Part of the object is already written, so the batch is converted again without this object.
                Err(BatchError::Lost(Lost { object, error })) => {
                    unreadable.push((batch.to_mut().objects.remove(object), error));
                }
            }
        };
        for (object, error) in unreadable {
            leave_out(&object, &error, &mut staged.tally);
        }
        Ok(staged)
    }

    fn attempt(&self, batch: &Batch) -> Result<StagedBatch, BatchError> {
        let Self { conversion, pool, shared } = *self;
        let keys = batch.keys();
        let Shared { texts, decompressors, .. } = shared;
        let (sources, lane) = (conversion.sources, Lane::new());
        let input = Input { batch, sources, texts, decompressors, lane };
        // The first objects are read while the files are created.
        let feed = Feed::new(input);
        let open = Open::new(conversion, batch, &keys)?;
        let (open, lost) = Flow::new(self, input, feed, &keys, open).run()?;
        Ok(pool.install(|| open.finish(&lost, conversion))?)
    }

    /// Returns how many of a batch's entries may be decompressed and decoded ahead of the writer.
    fn ahead(&self) -> usize {
        // A single batch needs enough entries for all workers.
        let active = self.shared.active.load(Ordering::Relaxed).max(1);
        self.conversion.threads.div_ceil(active) + 1
    }

    /// Decodes as much text as fits into one record batch. Also returns the remaining text.
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

/// Returns the tally for a batch that failed completely.
fn failed(batch: &Batch, reason: &str, remedy: Option<Remedy>) -> Tally {
    let failed =
        |object: &Object| Failure { object: object.listed.key(), error: reason.to_owned(), remedy };
    let mut tally =
        Tally { failures: batch.objects.iter().map(failed).collect(), ..Tally::default() };
    tally.objects.failed = tally.failures.len() as u64;
    tally
}

/// Describes a panic as the reason for a failure.
fn panicked(panic: &str) -> String {
    format!("its batch failed because of a bug in alb2parquet; please report it: {panic}")
}
