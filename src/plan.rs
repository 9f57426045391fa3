//! The plan: which objects become which files, before anything is read.
//!
//! A plan is a function of the listing, the claims and the options alone. Batches do not depend on
//! threads, memory or time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::DatasetError;
use crate::hash::hex;
use crate::key::{Directory, Key, Partition};
use crate::ledger::{Held, Ledger};
use crate::objects::{self, ObjectsError};
use crate::schema::LogType;
use crate::shard::Shard;
use crate::store::{Listed, Look, Named, Network, Source, StoreError};

/// Which objects are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Log types; all when empty.
    pub log_types: Vec<LogType>,
    /// First day of delivery.
    pub from: Option<NaiveDate>,
    /// Last day of delivery.
    pub to: Option<NaiveDate>,
    /// Accounts; all when empty.
    pub accounts: Vec<String>,
    /// Regions; all when empty.
    pub regions: Vec<String>,
    /// Load balancers by name, `app/name/id` or `app.name.id`; all when empty.
    pub balancers: Vec<String>,
    /// Only the partitions of this shard.
    pub shard: Option<Shard>,
}

/// What sources hold of what is wanted.
#[derive(Debug, Default)]
pub struct Listing {
    /// The objects, one of each name, by partition and name, which begins with balancer and end time.
    pub objects: Vec<Object>,
    /// Number of objects listed, wanted or not.
    pub listed: u64,
    /// Objects left aside, by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What could not be listed, or contradicts itself.
    pub failures: Vec<Failure>,
    /// Key of the first object of each kind that is left aside.
    pub examples: BTreeMap<&'static str, String>,
    /// Kinds of what other services deliver, and was passed by without listing it.
    pub passed: BTreeSet<&'static str>,
    /// Selected objects that must be restored before they can be read; `None` where nothing tells.
    pub archived: Option<Amount>,
    /// The shard that this is of, if it is not of all.
    pub shard: Option<Shard>,
}

/// So many objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Number of objects.
    pub objects: u64,
    /// Their compressed bytes.
    pub bytes: u64,
}

impl Amount {
    /// Adds an object.
    pub fn add(&mut self, object: &Object) {
        self.objects += 1;
        self.bytes += object.listed.size;
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// Batches in the order in which they are begun: partition by partition.
    pub batches: Vec<Batch>,
    /// Number of objects listed, wanted or not.
    pub listed: u64,
    /// Objects left aside, by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Those of them that were converted before.
    pub before: Amount,
    /// What could not be listed, contradicts itself or an earlier run, or cannot be finished.
    pub failures: Vec<Failure>,
}

/// There can be no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing can be listed.
    #[error(transparent)]
    Source(#[from] StoreError),
    /// The objects cannot be told.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The claims cannot be read, or what they say cannot be finished.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The user wants the program to end.
    #[error("interrupted before anything was converted; the same command goes on")]
    Interrupted,
}

/// The objects of one partition that become one Parquet file.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where the file goes.
    pub partition: Arc<Partition>,
    /// Its objects, by name.
    pub objects: Vec<Object>,
}

/// An object to convert.
#[derive(Debug, Clone)]
pub struct Object {
    /// Where its key says that it belongs.
    pub partition: Arc<Partition>,
    /// What the listing says.
    pub listed: Listed,
    /// Index of its source among those of the run.
    pub source: usize,
}

/// An object, or part of a listing, that could not be converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Key of the object, or name of the source.
    pub object: String,
    /// What is wrong.
    pub error: String,
}

/// Directories down to this depth are looked into for those of accounts.
const MAX_ABOVE: usize = 8;
/// Logs of claims that are read before their partitions are come to, about.
const LOGS_AHEAD: usize = 512;
/// Objects that are named by a file and looked for at once.
const FOUND_AT_ONCE: usize = 4096;
/// Kinds of skipped objects that are no [`Other`].
/// Of another partition or load balancer than is wanted.
pub const NOT_SELECTED: &str = "not_selected";
/// A copy of another object.
pub const DUPLICATE: &str = "duplicate";
/// Held by a claim.
pub const CONVERTED_BEFORE: &str = "converted_before";

impl Selection {
    /// Tells whether a partition is wanted, or some of it.
    pub fn wants_partition(&self, partition: &Partition) -> bool {
        let among = |all: &[String], one: &str| all.is_empty() || all.iter().any(|s| s == one);
        (self.log_types.is_empty() || self.log_types.contains(&partition.log_type))
            && self.from.is_none_or(|from| partition.day >= from)
            && self.to.is_none_or(|to| partition.day <= to)
            && among(&self.accounts, &partition.account)
            && among(&self.regions, &partition.region)
            && self.shard.is_none_or(|shard| {
                shard.holds(&partition.account, &partition.region, partition.day)
            })
    }

    /// Tells what a directory of a source is worth.
    pub fn look(&self, directory: &str) -> Look {
        let among = |all: &[String], one: &str| all.is_empty() || all.iter().any(|s| s == one);
        let Some(Directory { account, region, days, balancers, .. }) = Directory::parse(directory)
        else {
            // Directories are many somewhere else than above accounts.
            let depth = directory.split('/').count();
            return if depth <= MAX_ABOVE { Look::Inside } else { Look::Whole };
        };
        if !balancers
            || !among(&self.accounts, account)
            || region.is_some_and(|region| !among(&self.regions, region))
        {
            return Look::Skip;
        }
        let Some(region) = region else { return Look::Inside };
        let (first, last) = days.unwrap_or((NaiveDate::MIN, NaiveDate::MAX));
        let (from, to) = (self.from.unwrap_or(NaiveDate::MIN), self.to.unwrap_or(NaiveDate::MAX));
        if last < from || first > to {
            return Look::Skip;
        }
        match self.shard {
            Some(_) if first < last => return Look::Inside,
            Some(shard) if !shard.holds(account, region, first) => return Look::Skip,
            _ => {}
        }
        if from <= first && last <= to { Look::Whole } else { Look::Inside }
    }

    fn wants(&self, key: &Key) -> bool {
        self.wants_partition(&key.partition)
            && (self.balancers.is_empty()
                || self.balancers.iter().any(|wanted| is_balancer(wanted, &key.balancer)))
    }
}

/// Tells whether `wanted` names the balancer `app.name.id`.
fn is_balancer(wanted: &str, balancer: &str) -> bool {
    wanted.replace('/', ".") == balancer || balancer.split('.').nth(1) == Some(wanted)
}

impl Listing {
    /// Lists the sources.
    ///
    /// # Errors
    ///
    /// Fails when it is interrupted. A part that cannot be listed is a [`Failure`].
    pub fn take(
        sources: &[Source],
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        let mut gathering = Gathering::new(selection, stop);
        let passed = Arc::new(Mutex::new(BTreeSet::new()));
        for (index, source) in sources.iter().enumerate() {
            let (selection, passed) = (selection.clone(), Arc::clone(&passed));
            let look = move |directory: &str| {
                let look = selection.look(directory);
                if look == Look::Skip
                    && let Some(kind) = Directory::parse(directory).and_then(|d| d.service)
                {
                    passed.lock().expect("no holder panics").insert(kind);
                }
                look
            };
            for listed in source.search(look) {
                gathering.add(index, source, listed)?;
            }
        }
        gathering.listing.passed = mem::take(&mut *passed.lock().expect("no holder panics"));
        Ok(gathering.end())
    }

    /// Takes the objects of a source that the file `names` names, instead of listing it. Those that are not below the
    /// source are not selected.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, or it is interrupted. An object that cannot be found is a
    /// [`Failure`].
    pub fn read(
        names: &str,
        source: &Source,
        network: &Network,
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        let mut gathering = Gathering::new(selection, stop);
        let mut waiting = Vec::new();
        objects::read(names, source, network, |named| {
            if !source.holds(&named.key) {
                gathering.listing.listed += 1;
                gathering.listing.skip(NOT_SELECTED, &named.key);
                return Ok(());
            }
            waiting.push(named);
            if waiting.len() < FOUND_AT_ONCE {
                return Ok(());
            }
            gathering.add_all(source, mem::take(&mut waiting))
        })?;
        gathering.add_all(source, waiting)?;
        Ok(gathering.end())
    }

    fn skip(&mut self, kind: &'static str, key: &str) {
        *self.skipped.entry(kind).or_default() += 1;
        self.examples.entry(kind).or_insert_with(|| key.to_owned());
    }

    /// Keeps one object of each name: AWS makes names unique, so that two of a name are copies.
    ///
    /// Copies that differ in day or size contradict each other and are reported; the first day's
    /// stays.
    fn drop_repeated(&mut self) {
        let mut objects = std::mem::take(&mut self.objects);
        objects.sort_unstable_by(|a, b| {
            // The key decides last: a listing comes in no order.
            let order = |o: &Object| (o.partition.day, o.source);
            let by_name = a.name().cmp(b.name()).then_with(|| order(a).cmp(&order(b)));
            by_name.then_with(|| a.listed.key().cmp(&b.listed.key()))
        });
        objects.dedup_by(|next, kept| {
            if next.name() != kept.name() {
                return false;
            }
            if next.partition == kept.partition && next.listed.size == kept.listed.size {
                self.skip(DUPLICATE, &next.listed.key());
            } else {
                let error = format!(
                    "contradicts {} ({} bytes), which has the same name and is converted instead",
                    kept.listed.key(),
                    kept.listed.size
                );
                self.failures.push(Failure { object: next.listed.key(), error });
            }
            true
        });
        self.objects = objects;
    }
}

/// A listing that objects are added to.
struct Gathering<'a> {
    listing: Listing,
    partitions: HashSet<Arc<Partition>>,
    selection: &'a Selection,
    stop: &'a AtomicBool,
}

impl<'a> Gathering<'a> {
    fn new(selection: &'a Selection, stop: &'a AtomicBool) -> Self {
        let listing = Listing { shard: selection.shard, ..Listing::default() };
        Self { listing, partitions: HashSet::new(), selection, stop }
    }

    /// Adds what is found of the only source.
    fn add_all(&mut self, source: &Source, named: Vec<Named>) -> Result<(), PlanError> {
        let archived: Vec<Option<bool>> = named.iter().map(|named| named.archived).collect();
        for (listed, archived) in source.find(named).into_iter().zip(archived) {
            let before = self.listing.objects.len();
            self.add(0, source, listed)?;
            let Some(archived) = archived else { continue };
            let amount = self.listing.archived.get_or_insert_default();
            if archived && let Some(object) = self.listing.objects.get(before) {
                amount.add(object);
            }
        }
        Ok(())
    }

    /// Adds what a source lists.
    fn add(
        &mut self,
        index: usize,
        source: &Source,
        listed: Result<Listed, StoreError>,
    ) -> Result<(), PlanError> {
        match listed {
            Ok(listed) => self.sort_in(index, listed),
            Err(error) => {
                let (object, error) = (source.to_string(), error.to_string());
                self.listing.failures.push(Failure { object, error });
            }
        }
        if self.stop.load(Ordering::Relaxed) { Err(PlanError::Interrupted) } else { Ok(()) }
    }

    fn sort_in(&mut self, source: usize, listed: Listed) {
        self.listing.listed += 1;
        let key = listed.key();
        match Key::parse(&key) {
            Ok(key) if self.selection.wants(&key) => {
                let partition = self.partitions.get(&key.partition).cloned().unwrap_or_else(|| {
                    let partition = Arc::new(key.partition);
                    self.partitions.insert(Arc::clone(&partition));
                    partition
                });
                self.listing.objects.push(Object { partition, listed, source });
            }
            Ok(_) => self.listing.skip(NOT_SELECTED, &key),
            Err(other) => self.listing.skip(other.as_str(), &key),
        }
    }

    fn end(mut self) -> Listing {
        self.listing.drop_repeated();
        self.listing.objects.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        self.listing
    }
}

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
        ledger.finish_others(shard)?;
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
        let Listing { mut objects, listed, skipped, failures, .. } = listing;
        let mut plan = Self { listed, skipped, failures, ..Self::default() };
        // Taken from the end, they give back their memory while the batches grow.
        objects.reverse();
        while let Some(first) = objects.last() {
            let partition = Arc::clone(&first.partition);
            let of_partition = |object: &mut Object| object.partition == partition;
            let before = before(&partition, &objects)?;
            let mut size = 0;
            let mut batch = None;
            while let Some(object) = objects.pop_if(of_partition) {
                match before.judge(&object, sources) {
                    Verdict::New => {}
                    Verdict::Converted => {
                        plan.before.add(&object);
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
pub struct Before {
    held: Arc<Held>,
    beside: Vec<(NaiveDate, Arc<Held>)>,
}

/// What claims say of an object.
#[derive(Debug)]
pub enum Verdict {
    /// None holds it.
    New,
    /// It was converted before, as it is.
    Converted,
    /// It contradicts what was converted before, and is left alone.
    Wrong(Failure),
}

impl Before {
    /// Reads the claims of a partition. Those of the partitions that come `next` may be read at the same moment.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read, or what they say cannot be finished, or it is interrupted.
    pub fn look<'a>(
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
        let held = ledger.held(partition)?;
        let beside = beside(partition).map(|beside| Ok((beside.day, ledger.held(&beside)?)));
        let beside = beside.collect::<Result<_, DatasetError>>()?;
        Ok(Self { held, beside })
    }

    /// Tells what the claims say of an object.
    pub fn judge(&self, object: &Object, sources: &[Source]) -> Verdict {
        let name = object.name();
        let wrong = |error| Verdict::Wrong(Failure { object: object.listed.key(), error });
        if let Some(before) = self.held.get(name) {
            let url = sources[object.source].url(&object.listed);
            return before.change(&url, &object.listed).map_or(Verdict::Converted, wrong);
        }
        match self.beside.iter().find(|(_, held)| held.contains_key(name)) {
            None => Verdict::New,
            Some((day, _)) => {
                wrong(format!("has the name of an object that was converted under {day}"))
            }
        }
    }
}

/// Returns the partitions of the days beside that of one.
fn beside(partition: &Partition) -> impl Iterator<Item = Partition> {
    let days = [partition.day.pred_opt(), partition.day.succ_opt()].into_iter().flatten();
    days.map(|day| Partition { day, ..partition.clone() })
}

/// Returns the claims that cannot be carried out, each with its partition.
pub fn stuck(ledger: &Ledger) -> impl Iterator<Item = (Partition, Failure)> {
    ledger.stuck().map(|(partition, object, reason)| {
        let error = format!("{reason}. Take the partition back with `remove`, then convert it");
        (partition.clone(), Failure { object, error })
    })
}

fn order(object: &Object) -> (&Partition, &str) {
    (&object.partition, object.name())
}

impl Object {
    /// Returns the delivered file name, which AWS makes unique.
    pub fn name(&self) -> &str {
        self.listed.name()
    }
}

impl Batch {
    /// Returns the keys of its objects.
    pub fn keys(&self) -> Vec<String> {
        self.objects.iter().map(|object| object.listed.key()).collect()
    }

    /// Compressed bytes of its objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.listed.size).sum()
    }

    /// Returns the name of its files: a hash of its objects, of the settings that decide its bytes and
    /// of the run that writes them.
    pub fn file_name(&self, settings: &str, run: &str) -> String {
        let mut hash = Sha256::new();
        for part in [env!("CARGO_PKG_VERSION"), settings, run] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        for object in &self.objects {
            hash.update(object.listed.key());
            hash.update([0]);
            hash.update(object.listed.size.to_le_bytes());
        }
        hex(&hash.finalize()[..16]) + ".parquet"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_prune_directories() {
        let day = |day| NaiveDate::from_ymd_opt(2025, 7, day);
        let selection = Selection {
            from: day(30),
            to: NaiveDate::from_ymd_opt(2026, 1, 31),
            accounts: vec!["012345678901".to_owned()],
            regions: vec!["eu-west-1".to_owned()],
            ..Selection::default()
        };
        let cases = [
            ("", Look::Inside),
            ("AWSLogs", Look::Inside),
            ("a/b/c/AWSLogs/012345678901", Look::Inside),
            ("AWSLogs/999999999999", Look::Skip),
            ("AWSLogs/012345678901/CloudTrail", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/us-east-1", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2024", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/06", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/29", Look::Skip),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/30", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/08", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026", Look::Inside),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2026/01", Look::Whole),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2027", Look::Skip),
        ];
        for (directory, worth) in cases {
            assert_eq!(selection.look(directory), worth, "{directory}");
        }
    }

    #[test]
    fn balancers_have_three_names() {
        let balancer = "app.my-lb.50dc6c495c0c9188";
        for wanted in ["my-lb", "app/my-lb/50dc6c495c0c9188", balancer] {
            assert!(is_balancer(wanted, balancer), "{wanted}");
        }
        for wanted in ["my", "app", "50dc6c495c0c9188", "app/my-lb"] {
            assert!(!is_balancer(wanted, balancer), "{wanted}");
        }
    }
}
