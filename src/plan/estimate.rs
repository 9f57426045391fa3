//! Estimates a conversion before it starts: objects per load balancer, files, requests, price and time.
//!
//! Objects, bytes, batches and requests are counted exactly as `convert` would process them. File sizes and the
//! duration are extrapolated from measurements.

mod requests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Serialize, Serializer};

use crate::dataset::layout::Dataset;
use crate::dataset::ledger::Ledger;
use crate::logs::key::{Name, Partition};
use crate::plan::{Amount, CONVERTED_BEFORE, Day, Failure, Moved, Object, Plan, Planned, Touched};
use crate::store::{Calls, Source};

pub(crate) use crate::plan::estimate::requests::of_listing;

/// Approximate number of Zstandard-compressed Parquet bytes per gzip byte. The measurements in benches/README.md range
/// from 0.53 to 0.58.
pub(crate) const PARQUET_PER_GZIP: f64 = 0.55;
/// Approximate size in bytes of everything in a Parquet file except the values: page headers, the embedded claim and
/// the footer.
const PER_FILE: u64 = 7_000;

/// Prices per thousand requests, in US dollars. The defaults are the prices of S3 Standard in us-east-1
/// (<https://aws.amazon.com/s3/pricing/>).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prices {
    /// Price of read requests.
    pub get: f64,
    /// Price of write and list requests.
    pub put: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Self { get: 0.0004, put: 0.005 }
    }
}

impl Prices {
    /// Returns the price of requests, in US dollars.
    pub fn of(self, calls: Calls) -> f64 {
        (self.get * calls.get as f64 + self.put * (calls.put + calls.list) as f64) / 1000.0
    }
}

/// The speed of a conversion.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    /// Compressed bytes that a thread converts per second.
    pub rate: u64,
    /// Number of threads.
    pub threads: usize,
}

impl Speed {
    /// Default number of compressed bytes that a thread converts per second. In benches/README.md, `many` reaches 85 MB
    /// per second on full cores, but a vCPU of a cloud machine is often only half a core.
    pub const RATE: u64 = 60_000_000;
}

/// Object counts by account, region and load balancer.
#[derive(Debug, Default)]
struct Survey {
    balancers: BTreeMap<Id, Found>,
}

/// Identifies a load balancer within an account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    account: String,
    region: String,
    /// `app/name/id`.
    balancer: String,
}

#[derive(Debug, Default)]
struct Found {
    amount: Amount,
    days: BTreeSet<NaiveDate>,
}

impl Survey {
    /// Counts objects. The objects must be sorted by partition, load balancer and time.
    fn add(&mut self, objects: &[Object]) {
        for of_partition in objects.chunk_by(|a, b| a.partition == b.partition) {
            let mut rest = of_partition;
            while let Some(first) = rest.first() {
                let balancer = balancer(first);
                let end = rest.partition_point(|object| self::balancer(object) == balancer);
                let (run, others) = rest.split_at(end);
                rest = others;
                let (account, region) = (&first.partition.account, &first.partition.region);
                let id = Id {
                    account: account.clone(),
                    region: region.clone(),
                    balancer: balancer.replace('.', "/"),
                };
                let found = self.balancers.entry(id).or_default();
                found.days.insert(first.partition.day);
                for object in run {
                    found.amount.add(object);
                }
            }
        }
    }

    fn amount(&self) -> Amount {
        let amounts = self.balancers.values().map(|found| found.amount);
        amounts.fold(Amount::default(), |sum, amount| Amount {
            objects: sum.objects + amount.objects,
            bytes: sum.bytes + amount.bytes,
        })
    }
}

/// The estimate for a conversion. Its JSON keys are stable.
#[derive(Debug, Serialize)]
pub struct Estimate {
    /// Number of listed objects, selected or not.
    pub listed: u64,
    /// Number of skipped objects by kind, not counting objects that are already converted.
    pub skipped_by_kind: BTreeMap<&'static str, u64>,
    /// Key of the first skipped object of each kind.
    pub examples: BTreeMap<&'static str, String>,
    /// Selected objects whose directory's date does not match their end time. The end time determines the partition.
    pub moved: Moved,
    /// Selected objects.
    pub selected: Amount,
    /// Selected objects that the dataset already contains.
    pub converted_before: Amount,
    /// Objects whose content would be compared because their ETag or time has changed.
    pub touched: Amount,
    /// Objects that would be converted.
    pub to_convert: Amount,
    /// Selected objects that must be restored before they can be read; `None` if the storage classes are unknown.
    pub archived: Option<Amount>,
    /// Claims that other runs did not finish. The conversion would finish them first.
    pub open_claims: u64,
    /// The selected objects by load balancer.
    pub load_balancers: Vec<OfLoadBalancer>,
    /// Number of partitions that the conversion would write to.
    pub partitions: u64,
    /// Number of batches. Each batch becomes one row file and, if it contains rejects, one reject file.
    pub batches: u64,
    /// Approximate size of the row files in bytes. `tests/plan.rs` checks that the estimate is within 25 % of the
    /// actual size.
    pub bytes_out: u64,
    /// Requests to remote stores, excluding retries and requests for rejects.
    pub requests: Calls,
    /// Prices per thousand requests, in US dollars.
    pub usd_per_1000_requests: Prices,
    /// Price of the requests, in US dollars.
    pub price_usd: f64,
    /// Compressed bytes that a thread converts per second.
    pub bytes_per_second_per_thread: u64,
    /// Number of threads.
    pub threads: usize,
    /// Approximate duration of the conversion in seconds, excluding the listing.
    pub seconds: f64,
    /// Failed listings, objects that conflict with each other or with an earlier run, partitions with damaged claims,
    /// and claims that cannot be applied.
    pub failures: Vec<Failure>,
}

/// The objects of a load balancer.
#[derive(Debug, Serialize)]
pub struct OfLoadBalancer {
    /// Account of the load balancer.
    pub account: String,
    /// Region of the load balancer.
    pub region: String,
    /// Resource ID of the load balancer, `app/name/id`.
    pub load_balancer: String,
    /// Number of selected objects.
    pub objects: u64,
    /// Compressed bytes of the selected objects.
    pub bytes: u64,
    /// Number of delivery days with selected objects.
    pub days: usize,
    /// The first of these days.
    #[serde(serialize_with = "as_text")]
    pub first_day: NaiveDate,
    /// The last of these days.
    #[serde(serialize_with = "as_text")]
    pub last_day: NaiveDate,
    /// The objects that would be converted.
    pub to_convert: Amount,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde requires
fn as_text<S: Serializer>(day: &NaiveDate, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

/// The dataset for which a plan was created.
pub struct For<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Whether the dataset already exists.
    pub begun: bool,
    /// The ledger that the plan was created with.
    pub ledger: &'a Ledger<'a>,
}

/// Accumulates an estimate while the conversion is planned.
pub struct Estimation<'a> {
    sources: &'a [Source],
    dataset: Option<For<'a>>,
    selected: Survey,
    to_convert: Survey,
    touched: Amount,
    /// Partitions with touched objects.
    touched_partitions: BTreeSet<Arc<Partition>>,
    /// Partitions with batches.
    partitions: HashSet<Arc<Partition>>,
    batches: u64,
    bytes_out: u64,
    gzip_bytes: u64,
    requests: Calls,
}

impl<'a> Estimation<'a> {
    /// Starts an estimate. `dataset` is the dataset for which the plan is made.
    pub fn new(sources: &'a [Source], dataset: Option<For<'a>>) -> Self {
        Self {
            sources,
            dataset,
            selected: Survey::default(),
            to_convert: Survey::default(),
            touched: Amount::default(),
            touched_partitions: BTreeSet::new(),
            partitions: HashSet::new(),
            batches: 0,
            bytes_out: 0,
            gzip_bytes: 0,
            requests: Calls::NONE,
        }
    }

    /// Counts the selected objects of a day.
    pub fn select(&mut self, day: &Day) {
        self.selected.add(&day.objects);
    }

    /// Counts the plan of a day.
    pub fn add(&mut self, planned: &Planned) {
        for batch in &planned.batches {
            self.to_convert.add(&batch.objects);
            self.batches += 1;
            self.partitions.insert(Arc::clone(&batch.partition));
            self.gzip_bytes += batch.gzip_bytes();
            self.bytes_out += parquet(batch.gzip_bytes());
            self.requests += requests::of_batch(batch, self.sources, self.dataset.as_ref());
        }
        for Touched { object, partition, .. } in &planned.touched {
            self.touched.add(object);
            self.requests += requests::read(object, &self.sources[object.source]);
            self.touched_partitions.insert(Arc::clone(partition));
        }
    }

    /// Returns the estimate, given the rest of the plan, the archived objects according to the listing, and the number
    /// of requests that the listing sent.
    pub fn end(
        self,
        plan: Plan,
        archived: Option<Amount>,
        listing: Calls,
        prices: Prices,
        speed: Speed,
    ) -> Estimate {
        let dataset = self.dataset.as_ref();
        let touched_partitions = self.touched_partitions.len() as u64;
        let requests = listing + self.requests + requests::of_dataset(dataset, touched_partitions);
        let mut skipped_by_kind = plan.skipped;
        skipped_by_kind.remove(CONVERTED_BEFORE);
        Estimate {
            listed: plan.listed,
            skipped_by_kind,
            examples: plan.examples,
            moved: plan.moved,
            selected: self.selected.amount(),
            converted_before: plan.before,
            touched: self.touched,
            to_convert: self.to_convert.amount(),
            archived,
            open_claims: dataset.map_or(0, |dataset| dataset.ledger.open_entries() as u64),
            partitions: self.partitions.len() as u64,
            load_balancers: of_balancers(self.selected, &self.to_convert),
            batches: self.batches,
            bytes_out: self.bytes_out,
            requests,
            usd_per_1000_requests: prices,
            price_usd: prices.of(requests),
            bytes_per_second_per_thread: speed.rate,
            threads: speed.threads,
            seconds: self.gzip_bytes as f64 / (speed.rate as f64 * speed.threads as f64),
            failures: plan.failures,
        }
    }
}

fn balancer(object: &Object) -> &str {
    Name::parse(object.name()).map_or("", |name| name.balancer)
}

fn of_balancers(survey: Survey, new: &Survey) -> Vec<OfLoadBalancer> {
    let of_balancer = |(id, Found { amount, days }): (Id, Found)| {
        let to_convert = new.balancers.get(&id).map_or(Amount::default(), |found| found.amount);
        let Id { account, region, balancer } = id;
        Some(OfLoadBalancer {
            account,
            region,
            load_balancer: balancer,
            objects: amount.objects,
            bytes: amount.bytes,
            days: days.len(),
            first_day: *days.first()?,
            last_day: *days.last()?,
            to_convert,
        })
    };
    survey.balancers.into_iter().filter_map(of_balancer).collect()
}

/// Returns the approximate size of the Parquet file for the given number of gzip bytes.
fn parquet(gzip: u64) -> u64 {
    PER_FILE + (gzip as f64 * PARQUET_PER_GZIP) as u64
}
