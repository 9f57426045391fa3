//! Objects with rejected lines, according to their claims.

use serde::Serialize;

use crate::dataset::claim::{Amendments, Claim};
use crate::maintain::verify::Finding;
use crate::plan::Remedy;

/// Maximum number of objects with rejects to list.
const MAX_NAMED: usize = 10;

/// An object with rejects that was read to the end and has rows. Its JSON keys are stable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WithRejects {
    /// URL of the object.
    pub object: String,
    /// Number of lines in the object.
    pub lines: u64,
    /// Number of rejected lines.
    pub rejects: u64,
}

/// The objects with rejected lines.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// Number of objects with rejects, including incomplete ones.
    pub(super) with_rejects: u64,
    /// Number of incomplete objects that the user accepted.
    pub(super) accepted: u64,
    /// Objects with the most rejects, excluding incomplete ones.
    pub(super) worst: Vec<WithRejects>,
    /// The incomplete objects that the user has not accepted.
    pub(super) findings: Vec<Finding>,
}

impl Objects {
    /// Adds the objects of a claim.
    pub(super) fn add(&mut self, number: usize, claim: &Claim, amendments: &Amendments) {
        for object in claim.objects.iter().filter(|object| !object.rejects.is_empty()) {
            self.with_rejects += 1;
            let (url, rejects) = (claim.url(object), object.reject_count());
            if !object.is_incomplete() {
                self.worst.push(WithRejects { object: url, lines: object.lines, rejects });
                // A dataset may have millions of objects with rejects, so the list is truncated periodically.
                if self.worst.len() > 100 * MAX_NAMED {
                    self.cut();
                }
            } else if amendments.is_accepted(number, object) {
                self.accepted += 1;
            } else {
                let problem = object.outcome();
                self.findings.push(Finding::new(
                    "incomplete_object",
                    url,
                    &problem,
                    Remedy::ReplaceOrAccept,
                ));
            }
        }
    }

    /// Adds other objects.
    pub(super) fn append(&mut self, mut other: Self) {
        self.with_rejects += other.with_rejects;
        self.accepted += other.accepted;
        self.worst.append(&mut other.worst);
        self.cut();
        self.findings.append(&mut other.findings);
    }

    /// Truncates `worst` to the objects with the most rejects.
    pub(super) fn cut(&mut self) {
        self.worst.sort_unstable_by(|a, b| (b.rejects, a).cmp(&(a.rejects, b)));
        self.worst.truncate(MAX_NAMED);
    }
}
