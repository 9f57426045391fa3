//! The summary of a snapshot: what it adds and removes, and the totals afterwards.

use std::collections::HashMap;

use iceberg::spec::{DataFile, Operation, TableMetadata};

/// Files and rows that a commit adds or removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) files: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, file: &DataFile) {
        self.files += 1;
        self.rows += file.record_count();
        self.bytes += file.file_size_in_bytes();
    }
}

/// What a snapshot adds and removes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Difference {
    pub(super) added: Amount,
    pub(super) removed: Amount,
}

/// Returns the operation of a snapshot.
pub(super) fn operation(difference: &Difference) -> Operation {
    match (difference.added.files, difference.removed.files) {
        (_, 0) => Operation::Append,
        (0, _) => Operation::Delete,
        _ => Operation::Overwrite,
    }
}

/// Returns the counts in a snapshot's summary (<https://iceberg.apache.org/spec/#optional-snapshot-summary-fields>).
pub(super) fn of(
    table: &TableMetadata,
    difference: &Difference,
    partitions: usize,
) -> HashMap<String, String> {
    let before = table.current_snapshot().map(|snapshot| &snapshot.summary().additional_properties);
    let mut summary = HashMap::new();
    let mut set = |name: &str, value: u64| {
        summary.insert(name.to_owned(), value.to_string());
    };
    set("changed-partition-count", partitions as u64);
    let Difference { added, removed } = difference;
    for (names, amount) in [
        (["added-data-files", "added-records", "added-files-size"], added),
        (["deleted-data-files", "deleted-records", "removed-files-size"], removed),
    ] {
        if amount.files > 0 {
            set(names[0], amount.files);
            set(names[1], amount.rows);
            set(names[2], amount.bytes);
        }
    }
    let total = |name: &str| match before {
        None => Some(0),
        Some(before) => before.get(name).and_then(|total| total.parse::<u64>().ok()),
    };
    for (name, more, less) in [
        ("total-data-files", added.files, removed.files),
        ("total-records", added.rows, removed.rows),
        ("total-files-size", added.bytes, removed.bytes),
        ("total-delete-files", 0, 0),
        ("total-position-deletes", 0, 0),
        ("total-equality-deletes", 0, 0),
    ] {
        // A total is omitted if another program has not recorded it.
        if let Some(total) = total(name).and_then(|total| (total + more).checked_sub(less)) {
            set(name, total);
        }
    }
    summary
}
