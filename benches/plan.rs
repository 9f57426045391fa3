//! Measures the memory and time that planning and claiming take. A synthetic store lists the requested number of
//! objects, either all or none of which are claimed.
//!
//!     cargo bench --bench plan -- [OBJECTS [PARTITIONS]]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alb2parquet::internals::convert::manifest::Description;
use alb2parquet::internals::dataset::claim::{Claim, Record};
use alb2parquet::internals::dataset::layout::{Dataset, Layout, Opening, STAGING};
use alb2parquet::internals::dataset::ledger::Ledger;
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::logs::key::from_root;
use alb2parquet::internals::plan::estimate::{Estimation, Prices, Speed};
use alb2parquet::internals::plan::{Gathering, Plan, Planned, Planner, Selection};
use alb2parquet::internals::redact::Agreement;
use alb2parquet::internals::store::{Bucket, Calls, Patience, Source};
use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

/// Number of partitions to plan with a remote store.
const REMOTE_PARTITIONS: u64 = 300;
/// Time that each request to the remote store takes.
const LATENCY: Duration = Duration::from_millis(20);
const DESCRIPTION: &str = r#"{"format_version":4,"layout":"hive","conditional_creates":true}"#;

/// A store that generates a listing and the state of a dataset in which all or none of the objects are claimed. It
/// discards writes.
#[derive(Debug)]
struct Synthetic {
    objects: u64,
    partitions: u64,
    claimed: AtomicBool,
    latency: Duration,
}

impl fmt::Display for Synthetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("synthetic")
    }
}

fn never<T>(operation: &str) -> Result<T> {
    let operation = operation.to_owned();
    Err(Error::NotImplemented { operation, implementer: "synthetic".to_owned() })
}

/// Number of accounts.
const ACCOUNTS: u64 = 20;
const FIRST_ACCOUNT: u64 = 100_000_000_000;

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2000, 1, 1).expect("a valid day")
}

fn meta(location: String, size: u64, e_tag: Option<String>) -> ObjectMeta {
    let last_modified = DateTime::UNIX_EPOCH;
    ObjectMeta { location: location.into(), last_modified, size, e_tag, version: None }
}

impl Synthetic {
    fn new(objects: u64, partitions: u64, latency: Duration) -> Arc<Self> {
        Arc::new(Self { objects, partitions, claimed: AtomicBool::new(false), latency })
    }

    /// Returns the number of objects in a partition.
    fn each(&self) -> u64 {
        self.objects.div_ceil(self.partitions)
    }

    /// Returns the number of days of an account.
    fn days(&self) -> u64 {
        self.partitions.div_ceil(ACCOUNTS)
    }

    /// Returns the account and day of a partition. Partitions are sorted by both.
    fn partition(&self, number: u64) -> (u64, NaiveDate) {
        let (account, day) = (number / self.days(), number % self.days());
        (FIRST_ACCOUNT + account, first_day() + Days::new(day))
    }

    /// Returns the key of an object. Objects are sorted by key. Each partition has four load balancers.
    fn key(&self, number: u64) -> String {
        let (account, day) = self.partition(number / self.each());
        let of_balancer = self.each().div_ceil(4);
        let place = number % self.each();
        let (balancer, window) = (place / of_balancer, place % of_balancer * 288 / of_balancer);
        let (path, date) = (day.format("%Y/%m/%d"), day.format("%Y%m%d"));
        let (hour, minute) = (window / 12, window % 12 * 5);
        format!(
            "AWSLogs/{account}/elasticloadbalancing/eu-central-1/{path}/\
             {account}_elasticloadbalancing_eu-central-1_app.production-{balancer}.50dc6c495c0c918{balancer}_\
             {date}T{hour:02}{minute:02}Z_203.0.113.10_{number:09x}.log.gz"
        )
    }

    /// Returns an object, as S3 lists it.
    fn object(&self, number: u64) -> ObjectMeta {
        let e_tag = Some(format!("\"{:032x}\"", u128::from(number) * 0x9e37_79b9_7f4a_7c15));
        meta(self.key(number), 50_000 + number % 10_000, e_tag)
    }

    /// Returns the number of the first object whose key is greater than `key`.
    fn after(&self, key: &str) -> u64 {
        let (mut low, mut high) = (0, self.objects);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle).as_str() <= key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Returns the contents of a file in the dataset.
    fn text(&self, path: &str) -> Option<Vec<u8>> {
        if path.ends_with("dataset.json") {
            return Some(DESCRIPTION.into());
        }
        let claimed = self.claimed.load(Ordering::Relaxed) && path.ends_with("/1.claim.json");
        let mut parts = path.split('/').skip(3).filter(|_| claimed);
        let (account, _, day) = (parts.next()?, parts.next()?, parts.next()?);
        let days = day.parse::<NaiveDate>().ok()? - first_day();
        let account = account.parse::<u64>().ok()? - FIRST_ACCOUNT;
        let number = account * self.days() + u64::try_from(days.num_days()).ok()?;
        let first = number * self.each();
        let mut claim = Claim { run: "bench".to_owned(), ..Claim::default() };
        let objects = (first..(first + self.each()).min(self.objects)).map(|n| self.object(n));
        for meta in objects {
            claim_object(&mut claim, &meta);
        }
        (!claim.objects.is_empty())
            .then(|| serde_json::to_vec(&Record::Add(claim)).expect("it is serializable"))
    }
}

/// Returns a distinct number for each object, which serves as its CRC-32.
fn hash_of(url: &str) -> u32 {
    url.bytes().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

fn claim_object(claim: &mut Claim, meta: &ObjectMeta) {
    let url = format!("synthetic://logs/{}", meta.location);
    claim.directories = vec![url.rsplit_once('/').expect("a URL has slashes").0.to_owned() + "/"];
    claim.objects.push(alb2parquet::internals::dataset::claim::Claimed {
        directory: 0,
        name: meta.location.filename().expect("an object has a name").to_owned(),
        size: meta.size,
        e_tag: meta.e_tag.clone(),
        crc32: Some(hash_of(&url)),
        uncompressed_size: Some(meta.size * 8),
        unterminated: false,
        notes: Vec::new(),
        lines: 0,
        rejects: BTreeMap::new(),
    });
}

#[async_trait]
impl ObjectStore for Synthetic {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Ok(PutResult { e_tag: None, version: None, extensions: Extensions::default() })
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        never("put")
    }

    async fn get_opts(&self, path: &Path, _: GetOptions) -> Result<GetResult> {
        std::thread::sleep(self.latency);
        let Some(text) = self.text(path.as_ref()) else {
            let path = path.to_string();
            return Err(Error::NotFound { source: path.clone().into(), path });
        };
        let (size, meta) = (text.len() as u64, meta(path.to_string(), text.len() as u64, None));
        let payload = GetResultPayload::Stream(stream::once(async { Ok(text.into()) }).boxed());
        let attributes = Attributes::default();
        Ok(GetResult {
            payload,
            meta,
            range: 0..size,
            attributes,
            extensions: Extensions::default(),
        })
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { never("delete") }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if !self.claimed.load(Ordering::Relaxed) {
            return stream::empty().boxed();
        }
        let (partitions, days) = (self.partitions, self.days());
        let files = (0..partitions).flat_map(move |number| {
            let (account, day) =
                (FIRST_ACCOUNT + number / days, first_day() + Days::new(number % days));
            ["claim", "done"].map(|kind| {
                let claims = format!("_alb2parquet/claims/access/{account}/eu-central-1/{day}");
                Ok(meta(format!("{claims}/1.{kind}.json"), 100, None))
            })
        });
        stream::iter(files).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        never("list")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        never("copy")
    }
}

/// The pages of the source's listing.
#[async_trait]
impl PaginatedListStore for Synthetic {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        const PAGE: usize = 1000;
        let prefix = prefix.unwrap_or_default();
        let after = options.page_token.or(options.offset);
        let mut number = match &after {
            Some(after) if after.as_str() > prefix => self.after(after),
            _ => self.after(prefix),
        };
        let (mut objects, mut common_prefixes, mut page_token) = (Vec::new(), Vec::new(), None);
        while number < self.objects {
            let key = self.key(number);
            let Some(below) = key.strip_prefix(prefix) else { break };
            if objects.len() + common_prefixes.len() == PAGE {
                page_token = Some(self.key(number - 1));
                break;
            }
            if let Some(slash) = below.find('/').filter(|_| options.delimiter.is_some()) {
                let directory = &key[..prefix.len() + slash];
                common_prefixes.push(directory.into());
                number = self.after(&format!("{directory}/\u{10FFFF}"));
            } else {
                objects.push(self.object(number));
                number += 1;
            }
        }
        let result = ListResult { objects, common_prefixes, extensions: Extensions::default() };
        Ok(PaginatedListResult { result, page_token })
    }
}

/// Returns this process's peak memory use since the last call, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux reports the peak");
    let peak = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10;
    fs::write("/proc/self/clear_refs", "5").expect("Linux resets the peak");
    peak
}

/// Returns the CPU time that this process has used, in seconds.
fn cpu_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let after_name = stat.rsplit(')').next().expect("the name is in parentheses");
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    // A tick is a hundredth of a second on all common architectures (proc_pid_stat(5), `utime` and `stime`).
    ticks.map(|ticks| ticks.expect("a number") / 100.0).sum()
}

/// Runs a task, and prints its wall time, CPU time and peak memory use.
#[allow(clippy::print_stdout)] // the figures
fn measured<T>(what: &str, task: impl FnOnce() -> T) -> T {
    let (began, before) = (Instant::now(), cpu_time());
    let result = task();
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_time() - before);
    println!("{what:45} {wall:>7.1} s {cpu:>7.1} s of CPU time {:>6} MiB", peak());
    result
}

fn dataset(store: &Arc<Synthetic>, reads: usize) -> Dataset {
    let uploads = Arc::new(InMemory::new());
    let target = Bucket::new(store.clone(), uploads, Path::default(), "synthetic://lake", STAGING);
    let opening = Opening {
        layout: Layout::Hive,
        run: "bench".to_owned(),
        single_writer: false,
        patience: Patience::default(),
        redaction: Agreement::default(),
        profile: Profile::Portable,
    };
    Dataset::open(Arc::new(target.with_reads(reads)), opening).expect("the dataset exists")
}

fn source(store: &Arc<Synthetic>) -> Source {
    let source = Source::paginated(store.clone(), store.clone(), from_root, "synthetic://logs");
    source.expect("threads can be started")
}

/// Plans everything, and calls `take` with the plan of each day. Prints the time until the first day is planned.
#[allow(clippy::print_stdout)] // the figures
fn plan(sources: &[Source], ledger: &Ledger, mut take: impl FnMut(Planned)) -> (Plan, Option<f64>) {
    let (selection, stop) = (Selection::default(), AtomicBool::new(false));
    let began = Instant::now();
    let mut first = None;
    let mut gathering = Gathering::of(sources, &selection, &stop);
    let mut planner = Planner::new(sources, 256 << 20, Some(ledger), &stop);
    let mut days = iter::from_fn(|| gathering.next_day().transpose());
    let planned = planner.each_day(&mut days, |planned| {
        first.get_or_insert_with(|| began.elapsed().as_secs_f64());
        take(planned);
        Ok(())
    });
    planned.expect("claims can be read");
    let mut listing = gathering.end().expect("everything can be listed");
    (planner.end(&mut listing).expect("claims can be read"), first)
}

#[allow(clippy::print_stdout)] // the figures
fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let objects = numbers.next().unwrap_or(5_000_000);
    let partitions = numbers.next().unwrap_or(20_000).min(objects);
    let store = Synthetic::new(objects, partitions, Duration::ZERO);
    let sources = [source(&store)];
    let dataset = self::dataset(&store, 1);
    println!("{objects} objects in {partitions} partitions");

    let ledger = Ledger::open(&dataset).expect("claims can be listed");
    let (mut estimation, mut found, mut sink) = (Estimation::new(&sources, None), 0, Counted(0));
    let (plan, first) = measured("listed, planned and printed, without claims", || {
        self::plan(&sources, &ledger, |planned| {
            estimation.add(&planned);
            for batch in &planned.batches {
                found += batch.objects.len() as u64;
                serde_json::to_writer(&mut sink, &Description::of(batch, &sources))
                    .expect("the sink accepts it");
            }
        })
    });
    println!("{:45} {:>7.1} s", "  until the first batch", first.expect("there are batches"));
    println!("{:45} {:>7.0} MB", "  as lines of JSON", sink.0 as f64 / 1e6);
    println!("{:45} {:>7}", "  LIST requests", sources[0].listing_requests());
    let (calls, prices) = (Calls::default(), Prices::default());
    let estimate = estimation.end(plan, None, calls, prices, Speed { rate: 1, threads: 1 });
    assert_eq!((found, estimate.partitions), (objects, partitions));
    drop(ledger);

    let ledger = Ledger::open(&dataset).expect("claims can be listed");
    measured("listed, planned, claimed and published", || {
        self::plan(&sources, &ledger, |planned| {
            for batch in &planned.batches {
                let mut claim = Claim { run: "bench".to_owned(), ..Claim::default() };
                for object in &batch.objects {
                    let url = sources[object.source].url(&object.listed);
                    claim.add(&url, &object.listed, 0, BTreeMap::new());
                }
                ledger.commit(&batch.partition, claim, Vec::new()).expect("the store accepts it");
            }
        })
    });
    drop(ledger);

    store.claimed.store(true, Ordering::Relaxed);
    let ledger =
        measured("claims listed", || Ledger::open(&dataset).expect("claims can be listed"));
    let (plan, _) = measured("listed and planned, everything is claimed", || {
        self::plan(&sources, &ledger, |planned| assert!(planned.batches.is_empty()))
    });
    assert_eq!(plan.before.objects, objects);
    drop(ledger);

    let store = Synthetic::new(REMOTE_PARTITIONS * 100, REMOTE_PARTITIONS, LATENCY);
    store.claimed.store(true, Ordering::Relaxed);
    let sources = [source(&store)];
    for reads in [1, 32] {
        let dataset = self::dataset(&store, reads);
        let ledger = Ledger::open(&dataset).expect("claims can be listed");
        let what =
            format!("{REMOTE_PARTITIONS} partitions, {LATENCY:?} per request, {reads} at once");
        let (plan, _) = measured(&what, || self::plan(&sources, &ledger, |_| {}));
        assert_eq!(plan.before.objects, REMOTE_PARTITIONS * 100);
    }
}

/// A writer that counts bytes and discards them.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
