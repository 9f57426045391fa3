//! The report: what a dataset holds and what it lacks, told from its claims and the footers of its files.
//!
//! Data is read in one place only: a rejects file for an example line of each reason. Claims name millions of
//! objects, so they are read one partition at a time and kept as counts of a balancer and a day.

mod coverage;
mod eras;
mod examples;
mod gather;
mod incomplete;
mod html;
mod statements;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use rayon::ThreadPoolBuildError;
use serde::Serialize;

use crate::dataset::layout::{DatasetError, Layout};
use crate::logs::key::Partition;
use crate::logs::schema::LogType;

pub use crate::report::coverage::{Day, LoadBalancer, MissingDays, MissingWindows, Span};
pub(crate) use crate::report::eras::{Era, Month};
pub(crate) use crate::report::examples::Example;
pub(crate) use crate::report::gather::Request;
pub use crate::report::html::html;
pub use crate::report::incomplete::IncompleteObjects;
pub(crate) use crate::report::statements::Statement;

/// Batches that are named as the slowest.
const SLOWEST: usize = 10;
/// Problems that are named; more are only counted.
const MAX_PROBLEMS: usize = 20;

/// What a dataset holds. As JSON, it is what `--json` prints; its keys are stable.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// The dataset as the user named it.
    pub dataset: String,
    /// When this was gathered.
    pub created_at: DateTime<Utc>,
    /// Version of the program.
    pub version: &'static str,
    /// How its partitions become directories.
    pub layout: Layout,
    /// First day of delivery with an object.
    pub first_day: Option<NaiveDate>,
    /// The last one.
    pub last_day: Option<NaiveDate>,
    /// All of it.
    pub totals: Totals,
    /// Each log type.
    pub log_types: BTreeMap<LogType, Totals>,
    /// Each account, region and log type.
    pub regions: Vec<Region>,
    /// Each account, region, load balancer and log type.
    pub load_balancers: Vec<LoadBalancer>,
    /// Rejects by reason.
    pub rejects: Vec<RejectsOf>,
    /// Objects that were damaged, or none of whose lines became a row.
    pub incomplete_objects: IncompleteObjects,
    /// What the lines of each log type and month of delivery had.
    pub months: Vec<Month>,
    /// The batches that took longest, the slowest first; of those whose claims say.
    pub slowest_batches: Vec<SlowBatch>,
    /// What makes its tables known to engines.
    pub statements: Vec<Statement>,
    /// What needs attention; at most twenty, and the number of the others.
    pub problems: Vec<String>,
}

/// Counts of objects, as claims have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Objects read.
    pub objects: u64,
    /// Lines in them; the unreadable tail of an object counts as one.
    pub lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// The others.
    pub rejects: u64,
    /// Compressed bytes of the objects.
    pub source_bytes: u64,
}

/// What was written of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Batches claimed.
    pub batches: u64,
    /// Files of rows.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files of rejects.
    pub reject_files: u64,
    /// Bytes of them.
    pub reject_bytes: u64,
    /// Number of compact files of rows.
    pub compact_files: u64,
}

/// Objects, and what was written of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Days of delivery with an object.
    pub days: u64,
    /// The objects.
    #[serde(flatten)]
    pub counts: Counts,
    /// What was written.
    #[serde(flatten)]
    pub written: Written,
}

/// A log type in a region of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names)] // the names are keys of the JSON
pub struct Region {
    /// Twelve digits.
    pub account: String,
    /// AWS region.
    pub region: String,
    /// The log type.
    pub log_type: LogType,
    /// What it came to.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Rejects of one reason.
#[derive(Debug, Serialize)]
pub struct RejectsOf {
    /// Code of the reason.
    pub reason: String,
    /// How many there are.
    pub lines: u64,
    /// One of them, if it can be read.
    pub example: Option<Example>,
}

/// A batch, and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowBatch {
    /// Seconds from its first read to its last byte staged.
    pub seconds: f64,
    /// Its partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// Number of its claim.
    pub claim: usize,
    /// Its objects.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The facts cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The user wants the program to end.
    #[error("interrupted")]
    Interrupted,
    /// Threads that wait for the dataset cannot be started.
    #[error("threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.lines += other.lines;
        self.rows += other.rows;
        self.rejects += other.rejects;
        self.source_bytes += other.source_bytes;
    }
}

impl Written {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.files += other.files;
        self.bytes += other.bytes;
        self.reject_files += other.reject_files;
        self.reject_bytes += other.reject_bytes;
        self.compact_files += other.compact_files;
    }

    /// Bytes of all files.
    pub fn all_bytes(&self) -> u64 {
        self.bytes + self.reject_bytes
    }
}
