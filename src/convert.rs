//! The conversion: batches in, published files and a tally out.
//!
//! Two kinds of threads share the work. A few *drivers* each take one batch after the other
//! and hold what is open for it, so their number bounds memory. What they have to compute, inflating,
//! decoding and encoding, they hand to one rayon pool in small tasks. So a batch that is alone uses
//! every core (windows of objects, columns of a row group), and no worker ever begins another batch
//! while it waits for its own. The calling thread waits for the disk, claims and publishes.

mod queue;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use parquet::errors::ParquetError;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::claim::{Claim, Output, State};
use crate::convert::queue::Queue;
use crate::dataset::{Dataset, DatasetError};
use crate::decode::{Decoded, Decoder};
use crate::encode::{Compression, RejectsEncoder, TableEncoder};
use crate::feed::{Buffers, Feed, Lost};
use crate::inflate::Piece;
use crate::ledger::{Committed, Ledger};
use crate::plan::{Batch, Failure, Object, Plan};
use crate::pool::Pool;
use crate::reject::{self, Reason, Reject};
use crate::schema::Table;
use crate::store::{Source, TargetError, Writing};
use crate::tally::Tally;

/// Batches that are open at once, at most: each holds a row group of encoded pages.
const MAX_OPEN: usize = 2;
/// Converted batches that wait for the disk, at most.
const MAX_STAGED: usize = 2;
/// Kind of objects that another run claimed while this one converted them.
const CONVERTED_MEANWHILE: &str = "converted_meanwhile";

/// A conversion that is ready to run.
pub struct Conversion<'a> {
    /// The table that lines become rows of.
    pub table: &'static Table,
    /// Where objects are read.
    pub sources: &'a [Source],
    /// Where files are written.
    pub dataset: &'a Dataset,
    /// Compression of pages.
    pub compression: Compression,
    /// Text columns that have Bloom filters, sorted.
    pub bloom_filters: &'a [String],
    /// Worker threads.
    pub threads: usize,
    /// Who is told how it goes.
    pub watcher: &'a dyn Watcher,
    /// Set when nothing new is to be begun, and what is not claimed yet to be given up.
    pub stop: &'a AtomicBool,
}

/// Is told how a conversion goes, from many threads.
pub trait Watcher: Sync {
    /// So many compressed bytes were converted, with so many rejects.
    fn read(&self, bytes: u64, rejects: u64);

    /// A batch is published.
    fn published(&self, batch: &Batch, tally: &Tally, took: Duration);
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
        ledger: &mut Ledger,
        started: Instant,
    ) -> Result<Tally, ConvertError> {
        let mut tally = Tally { partitions: plan.partitions() as u64, ..Tally::default() };
        tally.objects.listed = plan.listed;
        tally.objects.skipped = plan.skipped.values().sum();
        tally.objects.skipped_by_kind = plan.skipped;
        tally.objects.failed = plan.failures.len() as u64;
        tally.failures = plan.failures;

        let pool = ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        let shared = Shared::default();
        let driver = Driver { conversion: self, pool: &pool, shared: &shared };
        let drivers = MAX_OPEN.min(self.threads).min(plan.batches.len());
        let queue = Queue::new(plan.batches);
        let (sender, staged) = mpsc::sync_channel(MAX_STAGED);
        let drive = |sender: SyncSender<_>| {
            while let Some((index, batch)) = queue.take() {
                shared.active.fetch_add(1, Ordering::Relaxed);
                let result = driver.convert(&batch);
                shared.active.fetch_sub(1, Ordering::Relaxed);
                if sender.send((index, batch, result)).is_err() {
                    break;
                }
            }
        };
        let mut tallies = thread::scope(|scope| {
            for _ in 0..drivers {
                let sender = sender.clone();
                scope.spawn(|| drive(sender));
            }
            drop(sender);
            let mut tallies = Vec::new();
            for (index, batch, result) in staged {
                if self.interrupted() {
                    queue.close();
                    tally.objects.left += batch.objects.len() as u64;
                    continue;
                }
                match result.and_then(|staged| self.commit(&batch, staged, ledger)) {
                    Ok((tally, rest)) => {
                        queue.settle(index, rest);
                        tallies.push((index, tally));
                    }
                    Err(error) => {
                        queue.close();
                        return Err(error);
                    }
                }
            }
            Ok(tallies)
        })?;
        tallies.sort_by_key(|(index, _)| *index);
        for (_, batch) in tallies {
            tally.add(batch);
        }
        tally.objects.left += queue.left();
        tally.interrupted = tally.objects.left > 0;
        tally.seconds = started.elapsed().as_secs_f64();
        Ok(tally)
    }

    /// Waits until the files of a batch are there to stay, claims its objects and publishes the files,
    /// rejects first. Returns what is left to convert when another run claimed some of the objects.
    fn commit(
        &self,
        batch: &Batch,
        staged: StagedBatch,
        ledger: &mut Ledger,
    ) -> Result<(Tally, Option<Batch>), ConvertError> {
        let StagedBatch { mut claim, outputs, mut tally, took } = staged;
        if claim.objects.is_empty() {
            return Ok((tally, None));
        }
        let mut writings = Vec::new();
        for StagedOutput { table, rows, mut writing } in outputs {
            let file = writing.seal()?;
            tally.bytes_out += file.size;
            claim.outputs.push(Output { table: table.to_owned(), rows, file });
            writings.push(writing);
        }
        let taken = match ledger.commit(&batch.partition, claim, writings)? {
            Committed::Claimed(State::Done) => {
                self.watcher.published(batch, &tally, took);
                return Ok((tally, None));
            }
            Committed::Claimed(state) => {
                let reason = match state {
                    State::Stuck(reason) => reason,
                    _ => "its files were deleted before they were published; the next run converts it \
                          again"
                        .to_owned(),
                };
                let failed = |object: &Object| Failure {
                    object: object.listed.key.clone(),
                    error: reason.clone(),
                };
                let failures: Vec<_> = batch.objects.iter().map(failed).collect();
                let mut tally = Tally::default();
                tally.objects.failed = failures.len() as u64;
                tally.failures = failures;
                return Ok((tally, None));
            }
            Committed::Lost(taken) => taken,
        };
        let mut tally = Tally::default();
        let mut rest = batch.clone();
        rest.objects.retain(|object| !taken.contains(&object.key.name));
        tally.skip(CONVERTED_MEANWHILE, (batch.objects.len() - rest.objects.len()) as u64);
        Ok((tally, (!rest.objects.is_empty()).then_some(rest)))
    }

    fn file_name(&self, batch: &Batch) -> String {
        batch.file_name(&self.settings(), self.dataset.run())
    }

    /// What decides the bytes of a file besides its objects and the version.
    fn settings(&self) -> String {
        let mut settings = format!("{} {:?}", self.table.log_type, self.compression);
        for column in self.bloom_filters {
            settings += " bloom filter ";
            settings += column;
        }
        settings
    }

    /// Begins the file of a table for a batch.
    fn begin(&self, table: &str, batch: &Batch, name: &str) -> Result<Writing, TargetError> {
        let directory = self.dataset.partition(table, &batch.partition);
        Writing::begin(self.dataset.target(), format!("{directory}/{name}"))
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a driver needs to convert one batch after the other.
struct Driver<'a> {
    conversion: &'a Conversion<'a>,
    pool: &'a ThreadPool,
    shared: &'a Shared,
}

/// What drivers share.
#[derive(Default)]
struct Shared {
    buffers: Buffers,
    decoders: Pool<Decoder>,
    /// Drivers that are at work.
    active: AtomicUsize,
}

/// The files of a batch while they are written.
struct Open<'a> {
    batch: &'a Batch,
    name: &'a str,
    table: TableEncoder<Writing>,
    /// Where it is to stand, for messages.
    staged: String,
    rejects: Option<(RejectsEncoder<Writing>, String)>,
    tally: Tally,
    objects: Vec<Progress>,
    began: Instant,
}

/// A converted batch whose files nobody sees yet.
struct StagedBatch {
    /// What it is to claim, but for the outputs.
    claim: Claim,
    outputs: Vec<StagedOutput>,
    tally: Tally,
    took: Duration,
}

/// A file of a converted batch.
struct StagedOutput {
    table: &'static str,
    rows: u64,
    writing: Writing,
}

/// How far an object was read.
#[derive(Default, Clone)]
struct Progress {
    lines: u64,
    bytes: u64,
    rejects: BTreeMap<String, u64>,
    damage: Option<String>,
}

impl Driver<'_> {
    /// Converts a batch, without the objects that turn out to be unreadable.
    fn convert(&self, batch: &Batch) -> Result<StagedBatch, ConvertError> {
        let mut lost = Vec::new();
        let mut batch = Cow::Borrowed(batch);
        let mut name = self.conversion.file_name(&batch);
        let mut staged = loop {
            match self.attempt(&batch, &name) {
                Ok(staged) => break staged,
                Err(BatchError::Run(error)) => return Err(error),
                Err(BatchError::Lost(Lost { object, error })) => {
                    let object = batch.to_mut().objects.remove(object);
                    lost.push(Failure { object: object.listed.key, error: error.to_string() });
                    name = self.conversion.file_name(&batch);
                }
            }
        };
        staged.tally.objects.failed += lost.len() as u64;
        staged.tally.failures.extend(lost);
        Ok(staged)
    }

    fn attempt(&self, batch: &Batch, name: &str) -> Result<StagedBatch, BatchError> {
        let conversion = self.conversion;
        let mut open = Open::new(conversion, batch, name)?;
        let mut feed = Feed::new(batch, conversion.sources, &self.shared.buffers);
        let (mut window, mut decoded) = (Vec::new(), Vec::new());
        loop {
            if conversion.interrupted() {
                return Err(BatchError::Run(ConvertError::Interrupted));
            }
            // Alone, a batch needs windows wide enough for all workers.
            let active = self.shared.active.load(Ordering::Relaxed).max(1);
            let width = conversion.threads.div_ceil(active);
            // Three windows are at work at the same time. A worker that is alone decodes the text that
            // it has just inflated, which is still in its cache; a second one begins to inflate.
            let ((decoding, written), next) = self.pool.install(|| {
                rayon::join(
                    || {
                        rayon::join(
                            || self.decode(window, batch),
                            || decoded.into_iter().try_for_each(|d| open.write(d, conversion)),
                        )
                    },
                    || feed.next_window(width),
                )
            });
            written?;
            (window, decoded) = (next?, decoding);
            if window.is_empty() && decoded.is_empty() {
                break;
            }
        }
        Ok(self.pool.install(|| open.finish(conversion))?)
    }

    /// Decodes the pieces of a window.
    fn decode(&self, window: Vec<Piece>, batch: &Batch) -> Vec<Decoded> {
        let key = |object: usize| batch.objects[object].listed.key.as_str();
        let pieces = window.into_par_iter();
        let decoded = pieces.map(|mut piece| {
            let mut decoder = self.shared.decoders.take(|| Decoder::new(self.conversion.table));
            let decoded = decoder.decode(&mut piece, key);
            self.shared.decoders.put(decoder);
            self.shared.buffers.recycle(piece.text);
            decoded
        });
        decoded.collect()
    }
}

impl<'a> Open<'a> {
    fn new(conversion: &Conversion, batch: &'a Batch, name: &'a str) -> Result<Self, ConvertError> {
        let writing = conversion.begin(&conversion.table.name, batch, name)?;
        let staged = writing.name();
        let table = TableEncoder::new(conversion.table, conversion.compression, writing)
            .and_then(|table| table.with_bloom_filters(conversion.bloom_filters))
            .map_err(write_error(&staged))?;
        Ok(Self {
            batch,
            name,
            table,
            staged,
            rejects: None,
            tally: Tally::default(),
            objects: vec![Progress::default(); batch.objects.len()],
            began: Instant::now(),
        })
    }

    /// Writes the rows and rejects of a piece.
    fn write(&mut self, mut decoded: Decoded, conversion: &Conversion) -> Result<(), ConvertError> {
        let mut rejected = Vec::new();
        for part in &mut decoded.parts {
            let progress = &mut self.objects[part.object];
            for reject in &mut part.rejects {
                reject.line_number += progress.lines;
                reject.byte_offset += progress.bytes;
                self.tally.reject(reject.reason);
                *progress.rejects.entry(reject.reason.code().to_owned()).or_default() += 1;
                if reject.reason.is_damage() {
                    progress.damage = Some(damage(reject));
                }
            }
            progress.lines += part.lines;
            progress.bytes += part.bytes;
            self.tally.lines += part.lines;
            self.tally.rows += part.rows;
            self.tally.bytes_in += part.gzip_bytes;
            self.tally.bytes_decompressed += part.bytes;
            conversion.watcher.read(part.gzip_bytes, part.rejects.len() as u64);
            let key = self.batch.objects[part.object].listed.key.as_str();
            rejected.extend(part.rejects.iter().map(|reject| (key, reject)));
        }
        if !rejected.is_empty() {
            self.write_rejects(&rejected, conversion)?;
        }
        self.table.write(&decoded.batch).map_err(write_error(&self.staged))
    }

    fn write_rejects(
        &mut self,
        rejects: &[(&str, &Reject)],
        conversion: &Conversion,
    ) -> Result<(), ConvertError> {
        if self.rejects.is_none() {
            let writing = conversion.begin(reject::TABLE, self.batch, self.name)?;
            let staged = writing.name();
            let encoder = RejectsEncoder::new(reject::schema(), conversion.compression, writing)
                .map_err(write_error(&staged))?;
            self.rejects = Some((encoder, staged));
        }
        let (encoder, staged) = self.rejects.as_mut().expect("was just made");
        let batch = reject::batch(&conversion.table.log_type, rejects.iter().copied());
        encoder.write(&batch).map_err(write_error(staged))
    }

    /// Ends the files.
    fn finish(mut self, conversion: &Conversion) -> Result<StagedBatch, ConvertError> {
        let facts = [
            ("alb2parquet.log_type", conversion.table.log_type.clone()),
            ("alb2parquet.objects", self.objects.len().to_string()),
            ("alb2parquet.lines", self.tally.lines.to_string()),
            ("alb2parquet.rows", self.tally.rows.to_string()),
            ("alb2parquet.rejects", self.tally.reject_count().to_string()),
        ];
        let mut outputs = Vec::new();
        if let Some((encoder, staged)) = self.rejects {
            let writing = encoder.finish().map_err(write_error(&staged))?;
            let rows = self.tally.reject_count();
            outputs.push(StagedOutput { table: reject::TABLE, rows, writing });
        }
        self.tally.reject_files = outputs.len() as u64;
        if self.tally.rows > 0 {
            let writing = self.table.finish(&facts).map_err(write_error(&self.staged))?;
            let (table, rows) = (conversion.table.name.as_str(), self.tally.rows);
            outputs.push(StagedOutput { table, rows, writing });
            self.tally.files = 1;
        }
        let mut claim = Claim {
            run: conversion.dataset.run().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: conversion.settings(),
            lines: self.tally.lines,
            rows: self.tally.rows,
            rejects: self.tally.rejects.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect(),
            ..Claim::default()
        };
        for (object, progress) in self.batch.objects.iter().zip(self.objects) {
            let url = conversion.sources[object.source].url(&object.listed);
            claim.add(&url, &object.listed, progress.lines, progress.rejects);
            match progress.damage {
                None => self.tally.objects.converted += 1,
                Some(error) => {
                    self.tally.objects.failed += 1;
                    let object = object.listed.key.clone();
                    self.tally.failures.push(Failure { object, error });
                }
            }
        }
        let took = self.began.elapsed();
        Ok(StagedBatch { claim, outputs, tally: self.tally, took })
    }
}

fn write_error(staged: &str) -> impl Fn(ParquetError) -> ConvertError + use<> {
    let path = staged.to_owned();
    move |source| ConvertError::Write { path: path.clone(), source }
}

/// Says what is wrong with a damaged object.
fn damage(reject: &Reject) -> String {
    let kept = reject.line_number - 1;
    let what = match reject.reason {
        Reason::NotGzip => return "is not gzip".to_owned(),
        Reason::TruncatedGzip => "its gzip data ends in the middle",
        _ => "its gzip data is corrupt",
    };
    format!(
        "{what}: {kept} lines are kept, the text from byte {} on is a reject",
        reject.byte_offset
    )
}
