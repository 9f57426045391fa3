//! The report: contents and gaps of a dataset, based on its claims and the footers of its files.
//!
//! Rows are read only to show one example line for each rejection reason. Claims can contain millions of objects, so
//! they are read partition by partition and reduced to counts per load balancer and day.

mod coverage;
mod eras;
mod examples;
mod gather;
mod incomplete;
mod html;
mod statements;
mod windows;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use rayon::ThreadPoolBuildError;
use serde::Serialize;

use crate::dataset::layout::{DatasetError, Layout};
use crate::logs::key::Partition;
use crate::logs::schema::LogType;

pub use crate::report::coverage::{Day, DayRange, LoadBalancer, MissingDays};
pub(crate) use crate::report::eras::{Era, Month};
pub(crate) use crate::report::examples::Example;
pub(crate) use crate::report::gather::Request;
pub use crate::report::html::html;
pub use crate::report::incomplete::IncompleteObjects;
pub(crate) use crate::report::statements::Statement;
pub use crate::report::windows::{MissingWindows, WindowRange};

/// Number of slowest batches to list.
const SLOWEST: usize = 10;
/// Maximum number of problems to list. Any others are only counted.
const MAX_PROBLEMS: usize = 20;

/// The contents and gaps of a dataset. `report --json` prints it as JSON with stable keys.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// The path or URL of the dataset, as the user specified it.
    pub dataset: String,
    /// Time of the report.
    pub created_at: DateTime<Utc>,
    /// Version of the program.
    pub version: &'static str,
    /// Layout of the partition directories.
    pub layout: Layout,
    /// First delivery day with an object.
    pub first_day: Option<NaiveDate>,
    /// Last delivery day with an object.
    pub last_day: Option<NaiveDate>,
    /// Totals for the dataset.
    pub totals: Totals,
    /// Totals for each log type.
    pub log_types: BTreeMap<LogType, Totals>,
    /// Totals for each account, region and log type.
    pub regions: Vec<Region>,
    /// Coverage for each account, region, load balancer and log type.
    pub load_balancers: Vec<LoadBalancer>,
    /// Rejects by reason.
    pub rejects: Vec<RejectsOf>,
    /// Objects that are recorded as retired: the dataset may hold their only copy.
    pub retired: Retired,
    /// Objects that were damaged, or whose lines were all rejected.
    pub incomplete_objects: IncompleteObjects,
    /// The fields that log lines contain, for each log type and delivery month.
    pub months: Vec<Month>,
    /// The slowest batches, slowest first, among the batches whose claims record a duration.
    pub slowest_batches: Vec<SlowBatch>,
    /// Statements that register the tables in engines.
    pub statements: Vec<Statement>,
    /// Problems that need attention: at most twenty, plus the number of unlisted problems.
    pub problems: Vec<String>,
}

/// Counts of objects, according to claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Number of converted objects.
    pub objects: u64,
    /// Number of lines in the objects. An object's unreadable tail counts as one line.
    pub lines: u64,
    /// Number of lines that became rows.
    pub rows: u64,
    /// Number of rejected lines.
    pub rejects: u64,
    /// Size of the objects in bytes, as they are stored.
    pub source_bytes: u64,
}

/// Counts of retired objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// Number of objects.
    pub objects: u64,
    /// Size of the objects in bytes, as they were stored in the source.
    pub source_bytes: u64,
}

/// Counts and total sizes of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Number of claimed batches.
    pub batches: u64,
    /// Number of row files.
    pub files: u64,
    /// Size of the row files in bytes.
    pub bytes: u64,
    /// Number of reject files.
    pub reject_files: u64,
    /// Size of the reject files in bytes.
    pub reject_bytes: u64,
    /// Number of originals files.
    pub original_files: u64,
    /// Size of the originals files in bytes.
    pub original_bytes: u64,
    /// Number of row files with the `compact` profile.
    pub compact_files: u64,
}

/// Counts of objects and of the files written from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Number of delivery days with an object.
    pub days: u64,
    /// The objects.
    #[serde(flatten)]
    pub counts: Counts,
    /// The files.
    #[serde(flatten)]
    pub written: Written,
}

/// Totals for a log type in one region of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names)] // the field names are JSON keys
pub struct Region {
    /// Account ID.
    pub account: String,
    /// AWS region.
    pub region: String,
    /// The log type.
    pub log_type: LogType,
    /// The totals.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Rejects with the same reason.
#[derive(Debug, Serialize)]
pub struct RejectsOf {
    /// Code of the reason.
    pub reason: String,
    /// Number of rejects.
    pub lines: u64,
    /// One of the rejects, if one can be read.
    pub example: Option<Example>,
}

/// A batch and its duration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowBatch {
    /// Seconds from the first read to the last staged byte.
    pub seconds: f64,
    /// Partition of the batch.
    #[serde(flatten)]
    pub partition: Partition,
    /// Number of the batch's claim.
    pub claim: usize,
    /// Counts of the objects in the batch.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The report cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The user interrupted the program.
    #[error("interrupted")]
    Interrupted,
    /// The threads for requests to the dataset cannot be started.
    #[error("threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
}

impl Counts {
    /// Adds the counts in `other`.
    pub fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.lines += other.lines;
        self.rows += other.rows;
        self.rejects += other.rejects;
        self.source_bytes += other.source_bytes;
    }
}

impl Written {
    /// Adds the counts in `other`.
    pub fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.files += other.files;
        self.bytes += other.bytes;
        self.reject_files += other.reject_files;
        self.reject_bytes += other.reject_bytes;
        self.original_files += other.original_files;
        self.original_bytes += other.original_bytes;
        self.compact_files += other.compact_files;
    }

    /// Returns the total number of files.
    pub fn all_files(&self) -> u64 {
        self.files + self.reject_files + self.original_files
    }

    /// Returns the total size of the files in bytes.
    pub fn all_bytes(&self) -> u64 {
        self.bytes + self.reject_bytes + self.original_bytes
    }
}
