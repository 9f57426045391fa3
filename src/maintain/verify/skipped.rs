//! Objects that are named like logs but are not converted.

use crate::logs::key::{SkipReason, mismatch};
use crate::maintain::verify::{Finding, Report};
use crate::plan::{Listing, Remedy};

/// Reports skipped objects that are named like logs, with one finding per kind.
pub(super) fn find(listing: &Listing, report: &mut Report) {
    for kind in SkipReason::LOGS {
        let (Some(count), Some(key)) = (listing.skipped.get(kind), listing.examples.get(kind))
        else {
            continue;
        };
        let why = mismatch(key).unwrap_or_default();
        let problem = match count {
            1 => format!("is named like a log and is not converted: {why}"),
            many => format!(
                "is one of {many} objects that are named like logs and are not converted: {why}"
            ),
        };
        report.findings.push(Finding::new(kind, key, &problem, Remedy::RestoreName));
    }
}
