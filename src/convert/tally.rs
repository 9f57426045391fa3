//! The tally of a run: counts of what was read, converted, rejected and skipped.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::logs::reject::Reason;
use crate::logs::schema::LogType;
use crate::plan::{Failure, Moved};

/// The kind of skipped objects that must be restored before they can be read.
pub(crate) const ARCHIVED: &str = "archived";
/// The kind of skipped objects that another run claimed while this run was converting them.
pub(crate) const CONVERTED_CONCURRENTLY: &str = "converted_concurrently";

/// The counts of a run. `--json` prints them; the JSON keys are stable.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// Counts of objects.
    pub objects: Objects,
    /// Partitions that received converted objects.
    pub partitions: u64,
    /// Number of row files written.
    pub files: u64,
    /// Number of reject files written.
    pub reject_files: u64,
    /// Number of originals files written.
    pub original_files: u64,
    /// Lines read. An object's unreadable tail counts as one line.
    pub lines: u64,
    /// Lines of text that were joined to the preceding line because a quoted field contains a line feed. They are not
    /// counted in `lines`.
    pub joined_lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// Lines that no form reproduces, so their bytes are stored. Includes rejects that are longer than 64 KiB.
    pub verbatim_lines: u64,
    /// Rejected lines by reason.
    pub rejects: BTreeMap<&'static str, u64>,
    /// Number of converted objects with unusual properties, by note.
    pub notes: BTreeMap<&'static str, u64>,
    /// Counts for each log type whose objects were read.
    pub log_types: BTreeMap<LogType, OfLogType>,
    /// Compressed bytes read.
    pub bytes_in: u64,
    /// Decompressed bytes.
    pub bytes_decompressed: u64,
    /// Bytes of Parquet files written.
    pub bytes_out: u64,
    /// Compressed bytes of archived objects, which are skipped.
    pub bytes_archived: u64,
    /// Batches whose files were lost before they were published. The run converts such a batch again.
    pub batches_with_lost_files: u64,
    /// Requests sent to remote stores.
    pub requests: u64,
    /// Requests that failed because of the store or the network. Failed requests are retried up to a limit.
    pub requests_failed: u64,
    /// Duration in seconds, from the first listing to the last file. For a batch, only the duration of the conversion.
    pub seconds: f64,
    /// Incomplete objects from earlier runs that no one has accepted, in the partitions that this run read.
    pub incomplete_before: u64,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// Failed objects, each with the reason.
    pub failures: Vec<Failure>,
}

/// Counts for one log type.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct OfLogType {
    /// Objects read to their end.
    pub objects: u64,
    /// Number of row files written.
    pub files: u64,
    /// Lines read.
    pub lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// Rejected lines.
    pub rejects: u64,
}

/// Counts of objects: `listed = converted + skipped + failed + not_processed`.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Objects {
    /// Objects that the sources list.
    pub listed: u64,
    /// Objects read to their end.
    pub converted: u64,
    /// Skipped objects: not logs, not selected, archived, copies, or already converted.
    pub skipped: u64,
    /// Objects that could not be read, or could be read only partly. They are listed as failures.
    pub failed: u64,
    /// Objects that were not processed because the run was interrupted.
    pub not_processed: u64,
    /// Skipped objects by kind.
    pub skipped_by_kind: BTreeMap<&'static str, u64>,
    /// Key of the first object of each kind that the listing skipped.
    pub examples: BTreeMap<&'static str, String>,
    /// Selected objects whose directory date differs from the date of their end time. The end time determines the
    /// partition.
    pub moved: Moved,
}

impl Tally {
    /// Counts a reject.
    pub(crate) fn reject(&mut self, reason: Reason) {
        *self.rejects.entry(reason.code()).or_default() += 1;
    }

    /// Counts skipped objects of a kind.
    pub(crate) fn skip(&mut self, kind: &'static str, count: u64) {
        self.objects.skipped += count;
        *self.objects.skipped_by_kind.entry(kind).or_default() += count;
    }

    /// Returns the number of rejected lines.
    pub fn reject_count(&self) -> u64 {
        self.rejects.values().sum()
    }

    /// Returns the share of rejected lines, from 0 to 1.
    pub fn reject_share(&self) -> f64 {
        if self.lines == 0 { 0.0 } else { self.reject_count() as f64 / self.lines as f64 }
    }

    /// Adds the counts of a batch that contains only objects of the given log type.
    pub(crate) fn add(&mut self, log_type: LogType, batch: Self) {
        let of_type = self.log_types.entry(log_type).or_default();
        of_type.objects += batch.objects.converted;
        of_type.files += batch.files;
        of_type.lines += batch.lines;
        of_type.rows += batch.rows;
        of_type.rejects += batch.reject_count();
        self.objects.converted += batch.objects.converted;
        self.objects.failed += batch.objects.failed;
        self.objects.skipped += batch.objects.skipped;
        for (kind, count) in batch.objects.skipped_by_kind {
            *self.objects.skipped_by_kind.entry(kind).or_default() += count;
        }
        self.files += batch.files;
        self.reject_files += batch.reject_files;
        self.original_files += batch.original_files;
        self.lines += batch.lines;
        self.joined_lines += batch.joined_lines;
        self.rows += batch.rows;
        self.verbatim_lines += batch.verbatim_lines;
        for (reason, count) in batch.rejects {
            *self.rejects.entry(reason).or_default() += count;
        }
        for (note, count) in batch.notes {
            *self.notes.entry(note).or_default() += count;
        }
        self.bytes_in += batch.bytes_in;
        self.bytes_decompressed += batch.bytes_decompressed;
        self.bytes_out += batch.bytes_out;
        self.bytes_archived += batch.bytes_archived;
        self.batches_with_lost_files += batch.batches_with_lost_files;
        self.seconds += batch.seconds;
        self.failures.extend(batch.failures);
    }
}
