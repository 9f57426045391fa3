//! The plan: which objects become which files, before anything is read.
//!
//! A plan is a function of the listing, the claims and the options alone. Batches do not depend on
//! threads, memory or time.

mod batch;
pub(crate) mod estimate;
pub(crate) mod inventory;
mod listing;
mod matches;
mod remedy;
mod scope;
mod selection;
pub(crate) mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::ThreadPoolBuildError;

use crate::dataset::held::{Change, Content, Held, left_alone};
use crate::dataset::layout::DatasetError;
use crate::dataset::ledger::Ledger;
use crate::logs::key::{Partition, SkipReason};
use crate::plan::inventory::ObjectsError;
use crate::store::{Source, StoreError};

pub(crate) use crate::plan::batch::{Amount, Object, Touched};
pub use crate::plan::batch::{Batch, Failure, Moved};
pub use crate::plan::listing::Listing;
pub(crate) use crate::plan::matches::Matches;
pub use crate::plan::remedy::Remedy;
pub use crate::plan::scope::Scope;
pub use crate::plan::selection::{Balancer, BalancerError, Selection};

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// Batches in the order in which they are begun: partition by partition.
    pub batches: Vec<Batch>,
    /// Number of objects listed, wanted or not.
    pub listed: u64,
    /// Objects that are skipped, by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Key of the first object of each such kind.
    pub examples: BTreeMap<&'static str, String>,
    /// Selected objects below a directory of another day.
    pub moved: Moved,
    /// Objects that were converted before.
    pub before: Amount,
    /// Objects whose content must be compared with the converted one.
    pub touched: Vec<Touched>,
    /// Compressed bytes of those that are archived, and so are skipped.
    pub bytes_archived: u64,
    /// What could not be listed, contradicts itself or an earlier run, or cannot be finished.
    pub failures: Vec<Failure>,
}

/// There can be no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing can be listed.
    #[error(transparent)]
    Source(#[from] StoreError),
    /// Nothing could be listed.
    #[error("nothing can be listed: {0}")]
    Unlisted(StoreError),
    /// No object of a list is there.
    #[error("{list}: none of its {count} objects can be found, the first one because {error}")]
    Unfound {
        /// The list as the user named it.
        list: String,
        /// Number of objects that the list names.
        count: usize,
        /// Why the first one cannot be found.
        error: Box<StoreError>,
    },
    /// The objects cannot be told.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The claims cannot be read, or what they say cannot be finished.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The worker threads cannot be started.
    #[error("worker threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
    /// The user wants the program to end.
    #[error("interrupted")]
    Interrupted,
}

/// Logs of claims that are read before their partitions are come to, about.
const LOGS_AHEAD: usize = 512;
/// Kind of objects that are of another partition or load balancer than is wanted.
pub(crate) const NOT_SELECTED: &str = "not_selected";
/// Kind of objects that are copies of others.
pub(crate) const DUPLICATE: &str = "duplicate";
/// Kind of files next to a log and named like it, such as `X.log.gz.md5`.
pub(crate) const SIDECAR: &str = "sidecar";
/// Kind of objects whose ETag or time, but not their content, changed since they were converted.
pub const TOUCHED: &str = "touched";
/// Kind of objects that a claim holds.
pub(crate) const CONVERTED_BEFORE: &str = "converted_before";
/// Kind of objects in partitions with unknown content.
pub(crate) const PARTITION_UNKNOWN: &str = "partition_unknown";

impl Plan {
    /// Plans files of about `target_size` bytes of what no claim holds, after finishing what other runs
    /// have begun, unless the ledger only looks.
    ///
    /// # Errors
    ///
    /// Fails when the claims cannot be read, or what they say cannot be finished, or it is interrupted.
    pub fn make(
        listing: Listing,
        sources: &[Source],
        target_size: u64,
        ledger: &mut Ledger,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        let shard = listing.shard;
        let look = |partition: &Partition, rest: &[Object]| {
            let next = rest.iter().rev().map(|object| &object.partition);
            Before::look(partition, next, ledger, stop)
        };
        let mut plan = Self::cut(listing, sources, target_size, look)?;
        let broken = ledger.finish_others(shard)?;
        let broken = broken.into_iter().map(|(partition, error)| unknown(&partition, &error));
        // Partitions with objects of their own are named already.
        let broken: Vec<_> = broken.filter(|failure| !plan.failures.contains(failure)).collect();
        plan.failures.extend(broken);
        plan.failures.extend(stuck(ledger).map(|(_, failure)| failure));
        Ok(plan)
    }

    /// Plans files as if nothing had been converted yet.
    pub fn anew(listing: Listing, sources: &[Source], target_size: u64) -> Self {
        let nothing = |_: &Partition, _: &[Object]| Ok::<_, Infallible>(Before::default());
        let Ok(plan) = Self::cut(listing, sources, target_size, nothing);
        plan
    }

    fn cut<E>(
        listing: Listing,
        sources: &[Source],
        target_size: u64,
        mut before: impl FnMut(&Partition, &[Object]) -> Result<Before, E>,
    ) -> Result<Self, E> {
        let Listing { mut objects, listed, skipped, examples, moved, failures, .. } = listing;
        let mut plan = Self { listed, skipped, examples, moved, failures, ..Self::default() };
        // Taken from the end, they give back their memory while the batches grow.
        objects.reverse();
        while let Some(first) = objects.last() {
            let partition = Arc::clone(&first.partition);
            let of_partition = |object: &mut Object| object.partition == partition;
            let before = before(&partition, &objects)?;
            if let Some(failure) = before.unknown {
                plan.failures.push(failure);
                let count = iter::from_fn(|| objects.pop_if(of_partition)).count() as u64;
                plan.skip(PARTITION_UNKNOWN, count);
                continue;
            }
            let mut size = 0;
            let mut batch = None;
            while let Some(object) = objects.pop_if(of_partition) {
                match before.judge(&object, sources) {
                    Verdict::New => {}
                    Verdict::Converted => {
                        plan.before.add(&object);
                        continue;
                    }
                    Verdict::Touched { partition, claim, content } => {
                        plan.touched.push(Touched { object, partition, claim, content });
                        continue;
                    }
                    Verdict::Wrong(failure) => {
                        plan.failures.push(failure);
                        continue;
                    }
                }
                let bytes = object.listed.size;
                if size + bytes > target_size {
                    plan.batches.extend(batch.take());
                    size = 0;
                }
                size += bytes;
                let new = || Batch { partition: Arc::clone(&partition), objects: Vec::new() };
                batch.get_or_insert_with(new).objects.push(object);
            }
            plan.batches.extend(batch);
            if objects.len() < objects.capacity() / 2 {
                objects.shrink_to_fit();
            }
        }
        plan.skip(CONVERTED_BEFORE, plan.before.objects);
        Ok(plan)
    }

    /// Counts objects that are left aside.
    pub fn skip(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.skipped.entry(kind).or_default() += count;
        }
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.batches.chunk_by(|a, b| a.partition == b.partition).count()
    }

    /// Compressed bytes to read.
    pub fn bytes(&self) -> u64 {
        self.batches.iter().map(Batch::bytes).sum()
    }
}

/// What the claims of a partition, and of the days beside it, hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// Why the content of the partition is unknown.
    pub unknown: Option<Failure>,
    held: Arc<Held>,
    beside: Vec<(Arc<Partition>, Arc<Held>)>,
}

/// What claims say of an object.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// None holds it.
    New,
    /// It was converted before, as it is.
    Converted,
    /// It was converted before. Its content must be compared.
    Touched {
        /// The partition with the claim that holds it.
        partition: Arc<Partition>,
        /// Number of the claim that holds it.
        claim: usize,
        /// What was converted.
        content: Content,
    },
    /// It contradicts what was converted before, and is left alone.
    Wrong(Failure),
}

impl Before {
    /// Reads the claims of a partition. Those of the partitions that come `next` may be read at the same moment.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read, or what they say cannot be finished, or it is interrupted.
    pub(crate) fn look<'a>(
        partition: &Partition,
        next: impl Iterator<Item = &'a Arc<Partition>>,
        ledger: &mut Ledger,
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
        let mut known = Vec::new();
        for beside in beside(partition) {
            match ledger.held(&beside) {
                Ok(held) => known.push((Arc::new(beside), held)),
                // It is reported with the objects of its own partition, or by `verify`.
                Err(error) if error.is_of_partition() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { unknown: None, held, beside: known })
    }

    /// Tells what the claims say of an object.
    ///
    /// Copies of an object can be below its day of delivery and below the day of its end time. These days are equal
    /// or adjacent, so the claims of the adjacent days are also searched.
    pub(crate) fn judge(&self, object: &Object, sources: &[Source]) -> Verdict {
        let own = object.identity();
        let wrong = |error: String| {
            Verdict::Wrong(Failure::new(object.listed.key(), error).ends_by(Remedy::Remove))
        };
        let beside =
            || self.beside.iter().find_map(|(partition, held)| Some((partition, held.get(own)?)));
        let held = self.held.get(own).map(|held| (&object.partition, held));
        let Some((partition, before)) = held.or_else(beside) else { return Verdict::New };
        let url = sources[object.source].url(&object.listed);
        match before.change(&url, &object.listed) {
            Change::None => Verdict::Converted,
            Change::Rewritten(problem) if partition.day == object.partition.day => wrong(problem),
            Change::Rewritten(problem) => {
                wrong(format!("was converted under {}, and {problem}", partition.day))
            }
            Change::Touched => match before.content {
                Some(content) => Verdict::Touched {
                    partition: Arc::clone(partition),
                    claim: before.claim,
                    content,
                },
                None => wrong(left_alone(
                    "was rewritten since it was converted, and its claim has no CRC-32 to compare its content with",
                )),
            },
        }
    }
}

/// Returns the number of skipped objects that are named like logs.
pub(crate) fn left_out(skipped: &BTreeMap<&'static str, u64>) -> u64 {
    SkipReason::LOGS.iter().filter_map(|kind| skipped.get(kind)).sum()
}

/// Returns the partitions of the days beside that of one.
pub(crate) fn beside(partition: &Partition) -> impl Iterator<Item = Partition> {
    let days = [partition.day.pred_opt(), partition.day.succ_opt()].into_iter().flatten();
    days.map(|day| Partition { day, ..partition.clone() })
}

/// Explains why nothing is converted into a partition.
fn unknown(partition: &Partition, error: &DatasetError) -> Failure {
    let reason = format!("{}; nothing is converted into it", error.with_source());
    Failure::new(partition.to_string(), reason).ends_by(Remedy::of(error))
}

/// Returns the claims that cannot be carried out, each with its partition.
pub(crate) fn stuck(ledger: &Ledger) -> impl Iterator<Item = (Partition, Failure)> {
    ledger.stuck().into_iter().map(|(partition, object, reason)| {
        (partition, Failure::new(object, reason).ends_by(Remedy::Remove))
    })
}
