//! Plans a conversion: decides which objects go into which files, before any object is read.
//!
//! A plan depends only on the listing, the claims and the options. Batches do not depend on the number of threads,
//! memory or time.

mod batch;
pub(crate) mod estimate;
mod gathering;
pub(crate) mod inventory;
mod listing;
mod matches;
mod planner;
mod remedy;
mod scope;
mod selection;
pub(crate) mod sources;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::NaiveDate;
use rayon::ThreadPoolBuildError;

use crate::dataset::held::{Change, Content, Held, not_converted_again};
use crate::dataset::layout::DatasetError;
use crate::dataset::ledger::Ledger;
use crate::logs::key::{Key, Partition, SkipReason};
use crate::plan::inventory::ObjectsError;
use crate::store::{Source, StoreError};

pub(crate) use crate::plan::batch::{Amount, Object, Touched};
pub use crate::plan::batch::{Batch, Failure, Moved};
pub use crate::plan::gathering::Gathering;
pub(crate) use crate::plan::gathering::WHOLE;
pub use crate::plan::listing::Listing;
pub(crate) use crate::plan::matches::Matches;
pub use crate::plan::planner::{Planned, Planner};
pub use crate::plan::remedy::Remedy;
pub use crate::plan::scope::Scope;
pub use crate::plan::selection::{Balancer, BalancerError, Selection};
pub use crate::plan::window::Day;

/// The batches to convert, and the objects that were skipped or failed.
#[derive(Debug, Default)]
pub struct Plan {
    /// Batches in the order in which they are started: by account, region, day and log type. Empty if the plan passed
    /// them on while it was made.
    pub batches: Vec<Batch>,
    /// Number of listed objects, selected or not.
    pub listed: u64,
    /// Number of skipped objects by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Key of the first skipped object of each kind.
    pub examples: BTreeMap<&'static str, String>,
    /// Selected objects that are in another day's directory.
    pub moved: Moved,
    /// Objects that are already converted.
    pub before: Amount,
    /// Objects whose content must be compared with the converted content. Empty if the plan passed them on while it was
    /// made.
    pub touched: Vec<Touched>,
    /// Compressed bytes of archived objects, which are skipped.
    pub bytes_archived: u64,
    /// Number of listed objects that were not planned because the user interrupted the program. `None` if the plan is
    /// complete.
    pub unplanned: Option<u64>,
    /// Failed listings, objects that conflict with each other or with already converted objects, partitions with
    /// damaged claims, and claims that cannot be applied.
    pub failures: Vec<Failure>,
}

/// A conversion cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A source cannot be read.
    #[error(transparent)]
    Source(#[from] StoreError),
    /// None of the sources can be listed.
    #[error("nothing can be listed: {0}")]
    Unlisted(StoreError),
    /// None of the objects in a list can be found.
    #[error("{list}: none of its {count} objects can be found; first error: {error}")]
    Unfound {
        /// The list as the user specified it.
        list: String,
        /// Number of objects in the list.
        count: usize,
        /// Why the first object cannot be found.
        error: Box<StoreError>,
    },
    /// The list of objects cannot be read.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The claims cannot be read, or an open claim cannot be finished.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The worker threads cannot be started.
    #[error("worker threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
    /// The user interrupted the program.
    #[error("interrupted")]
    Interrupted,
}

/// Approximate number of claim logs to read ahead of the partition that is being planned.
const LOGS_AHEAD: usize = 512;
/// The kind of objects whose partition or load balancer is not selected.
pub(crate) const NOT_SELECTED: &str = "not_selected";
/// The kind of objects that are copies of other objects.
pub(crate) const DUPLICATE: &str = "duplicate";
/// The kind of sidecar files, whose names begin with the name of a log, such as `X.log.gz.md5`.
pub(crate) const SIDECAR: &str = "sidecar";
/// The kind of objects whose ETag or time, but not content, has changed since they were converted.
pub const TOUCHED: &str = "touched";
/// The kind of objects that a claim already holds.
pub(crate) const CONVERTED_BEFORE: &str = "converted_before";
/// The kind of objects in partitions with unknown contents.
pub(crate) const PARTITION_UNKNOWN: &str = "partition_unknown";

impl Plan {
    /// Plans batches of up to `target_size` compressed bytes from the objects that no claim holds, see [`Planner`].
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, an open claim cannot be finished, or the user interrupts the program.
    pub fn make(
        listing: Listing,
        sources: &[Source],
        target_size: u64,
        ledger: &Ledger,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        Self::of_listing(listing, Planner::new(sources, target_size, Some(ledger), stop))
    }

    fn of_listing(mut listing: Listing, mut planner: Planner) -> Result<Self, PlanError> {
        let (mut batches, mut touched) = (Vec::new(), Vec::new());
        let objects = mem::take(&mut listing.objects);
        planner.each_day(&mut Listing::days(objects).map(Ok), |planned| {
            batches.extend(planned.batches);
            touched.extend(planned.touched);
            Ok(())
        })?;
        Ok(Self { batches, touched, ..planner.end(&mut listing)? })
    }

    /// Counts skipped objects of a kind.
    pub fn skip(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.skipped.entry(kind).or_default() += count;
        }
    }
}

/// The objects that claims hold in a partition and in the partitions of the adjacent days.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// Why the contents of the partition are unknown. `None` if they are known.
    pub unknown: Option<Failure>,
    held: Arc<Held>,
    beside: Vec<(Arc<Partition>, Arc<Held>)>,
    /// The adjacent days whose contents are unknown, and why.
    unknown_beside: Vec<(NaiveDate, Failure)>,
}

/// The result of comparing an object with the claims.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// No claim holds the object.
    New,
    /// The object was converted, and has not changed since.
    Converted,
    /// The object was converted, but its ETag or time has changed since. The content must be compared.
    Touched {
        /// Partition of the claim that holds the object.
        partition: Arc<Partition>,
        /// Number of the claim that holds the object.
        claim: usize,
        /// CRC-32 and size of the converted content.
        content: Content,
    },
    /// The object differs from the one that was converted, and is not converted again.
    Wrong(Failure),
}

impl Before {
    /// Reads the claims of a partition and of the adjacent days. If each read takes a round trip, also reads the claims
    /// of the partitions in `next` ahead of time.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, an open claim cannot be finished, or the user interrupts the program.
    pub(crate) fn look<'a>(
        partition: &Partition,
        next: impl Iterator<Item = &'a Arc<Partition>>,
        ledger: &Ledger,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        if stop.load(Ordering::Relaxed) {
            return Err(PlanError::Interrupted);
        }
        if ledger.reads_ahead() && !ledger.has_read(partition) {
            let mut ahead = BTreeSet::new();
            let mut last = None;
            for next in next {
                if last != Some(next) {
                    ahead.insert(Partition::clone(next));
                    ahead.extend(beside(next));
                    last = Some(next);
                }
                if ahead.len() > LOGS_AHEAD {
                    break;
                }
            }
            ledger.read_ahead(&ahead)?;
        }
        let held = match ledger.accounted(partition) {
            Ok(held) => held,
            Err(error) if error.is_of_partition() => {
                return Ok(Self { unknown: Some(unknown(partition, &error)), ..Self::default() });
            }
            Err(error) => return Err(error.into()),
        };
        let mut before = Self { held, ..Self::default() };
        for beside in beside(partition) {
            match ledger.accounted(&beside) {
                Ok(held) => before.beside.push((Arc::new(beside), held)),
                Err(error) if error.is_of_partition() => {
                    let failure = Failure::new(beside.to_string(), error.with_source());
                    let failure = failure.with_remedy(Remedy::of(&error));
                    before.unknown_beside.push((beside.day, failure));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(before)
    }

    /// Compares an object with the claims.
    ///
    /// An object can have copies in the directories for its delivery day and for the day of its end time. These days
    /// are the same or adjacent, so the claims of the adjacent days are also searched.
    pub(crate) fn judge(&self, object: &Object, sources: &[Source]) -> Verdict {
        let own = object.identity();
        let wrong = |error: String| {
            Verdict::Wrong(Failure::new(object.listed.key(), error).with_remedy(Remedy::Remove))
        };
        let beside =
            || self.beside.iter().find_map(|(partition, held)| Some((partition, held.get(own)?)));
        let held = self.held.get(own).map(|held| (&object.partition, held));
        let Some((partition, before)) = held.or_else(beside) else {
            let mut unknown = self.unknown_beside.iter();
            return match unknown.find(|(day, _)| may_be_on(object, *day)) {
                Some((_, Failure { object: partition, error, remedy })) => {
                    let error = format!(
                        "may already be in the partition {partition}, whose claims are lost or damaged: {error}"
                    );
                    let failure = Failure::new(object.listed.key(), error);
                    Verdict::Wrong(Failure { remedy: *remedy, ..failure })
                }
                None => Verdict::New,
            };
        };
        let url = sources[object.source].url(&object.listed);
        match before.change(&url, &object.listed) {
            Change::None => Verdict::Converted,
            Change::Rewritten(problem) if partition.day == object.partition.day => wrong(problem),
            Change::Rewritten(problem) => wrong(format!(
                "was converted into the partition of {}, and {problem}",
                partition.day
            )),
            Change::Touched => match before.content {
                Some(content) => Verdict::Touched {
                    partition: Arc::clone(partition),
                    claim: before.claim,
                    content,
                },
                None => wrong(not_converted_again(
                    "was rewritten since it was converted, and its claim has no CRC-32 to compare its content with",
                )),
            },
        }
    }
}

/// Returns whether a copy of an object can be in the partition of an adjacent day.
///
/// AWS delivers each object only once. If an object has a documented path with the day of its end time, any other copy
/// belongs to the same day. Otherwise, it may have been delivered, and converted, on the day after its end time.
fn may_be_on(object: &Object, day: NaiveDate) -> bool {
    Key::parse(&object.listed.key()).is_ok_and(|key| {
        key.end_day == day || key.end_day.succ_opt() == Some(day) && !key.is_delivered
    })
}

/// Returns the number of skipped objects that are named like logs.
pub(crate) fn left_out(skipped: &BTreeMap<&'static str, u64>) -> u64 {
    SkipReason::LOGS.iter().filter_map(|kind| skipped.get(kind)).sum()
}

/// Returns the partitions of the previous and the next day.
pub(crate) fn beside(partition: &Partition) -> impl Iterator<Item = Partition> {
    let days = [partition.day.pred_opt(), partition.day.succ_opt()].into_iter().flatten();
    days.map(|day| Partition { day, ..partition.clone() })
}

/// Returns the failure for a partition that is skipped because its contents are unknown.
fn unknown(partition: &Partition, error: &DatasetError) -> Failure {
    let reason = format!("{}; nothing is converted into it", error.with_source());
    Failure::new(partition.to_string(), reason).with_remedy(Remedy::of(error))
}

/// Returns a failure for each claim that cannot be applied, with its partition.
pub(crate) fn stuck(ledger: &Ledger) -> impl Iterator<Item = (Partition, Failure)> {
    ledger.stuck().into_iter().map(|(partition, object, reason)| {
        (partition, Failure::new(object, reason).with_remedy(Remedy::Remove))
    })
}
