//! Incomplete objects: objects that were damaged, or whose lines were all rejected.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::Serialize;

use crate::dataset::claim::{Amendments, Claim};
use crate::logs::key::Partition;
use crate::logs::schema::LogType;

/// Maximum number of objects to list.
const MAX_LISTED: usize = 100;

/// The incomplete objects of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IncompleteObjects {
    /// Number of incomplete objects.
    pub objects: u64,
    /// Number of incomplete objects that the user accepted.
    pub accepted: u64,
    /// The objects, unaccepted ones first; at most a hundred.
    pub list: Vec<IncompleteObject>,
}

/// An object that was damaged, or whose lines were all rejected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct IncompleteObject {
    /// Whether the user accepted the object.
    pub accepted: bool,
    /// URL of the object.
    pub object: String,
    /// Log type of the object.
    pub log_type: LogType,
    /// Day of delivery.
    pub day: NaiveDate,
    /// Number of lines in the object. The unreadable tail of an object counts as one line.
    pub lines: u64,
    /// Number of lines that became rows.
    pub rows: u64,
    /// Number of rejected lines, by reason.
    pub rejects: BTreeMap<String, u64>,
}

/// The incomplete objects found so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    objects: u64,
    accepted: u64,
    listed: BTreeSet<IncompleteObject>,
}

impl Gathered {
    /// Adds the incomplete objects of a claim.
    pub(super) fn add<'a>(
        &mut self,
        partition: &Partition,
        number: usize,
        claim: &'a Claim,
        amendments: &Amendments<'a>,
    ) {
        for object in claim.objects.iter().filter(|object| object.is_incomplete()) {
            let accepted = amendments.is_accepted(number, object);
            self.objects += 1;
            self.accepted += u64::from(accepted);
            self.list(IncompleteObject {
                accepted,
                object: claim.url(object),
                log_type: partition.log_type,
                day: partition.day,
                lines: object.lines,
                rows: object.rows(),
                rejects: object.rejects.clone(),
            });
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.objects += other.objects;
        self.accepted += other.accepted;
        other.listed.into_iter().for_each(|object| self.list(object));
    }

    pub(super) fn describe(self) -> IncompleteObjects {
        let Self { objects, accepted, listed } = self;
        IncompleteObjects { objects, accepted, list: listed.into_iter().collect() }
    }

    fn list(&mut self, object: IncompleteObject) {
        self.listed.insert(object);
        if self.listed.len() > MAX_LISTED {
            self.listed.pop_last();
        }
    }
}

impl IncompleteObjects {
    /// Returns the number of unaccepted objects.
    pub fn open(&self) -> u64 {
        self.objects - self.accepted
    }
}

impl IncompleteObject {
    /// Returns the rejects by reason as text, such as `1 truncated_gzip`.
    pub fn reasons(&self) -> String {
        let reasons = self.rejects.iter().map(|(reason, count)| format!("{count} {reason}"));
        reasons.collect::<Vec<_>>().join(", ")
    }
}
