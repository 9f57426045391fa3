//! Not a test: a store with a large number of objects that it generates. `benches/plan.rs` uses it too.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use alb2parquet::internals::dataset::claim::{Claim, Claimed, Record};
use alb2parquet::internals::dataset::layout::{Dataset, Layout, Opening, STAGING};
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::logs::key::from_root;
use alb2parquet::internals::redact::Agreement;
use alb2parquet::internals::store::{Bucket, Patience, Source};
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

/// Directory of the claims.
const CLAIMS: &str = "_alb2parquet/claims";
const DESCRIPTION: &str = r#"{"format_version":4,"layout":"hive","conditional_creates":true}"#;

/// A store that generates a listing and the state of a dataset in which all or none of the objects are claimed. It
/// discards writes.
#[derive(Debug)]
pub(crate) struct Synthetic {
    objects: u64,
    partitions: u64,
    claimed: AtomicBool,
    latency: Duration,
    /// A directory that cannot be listed.
    refused: OnceLock<String>,
    /// A flag to set when the claims of this many objects were read.
    stop: OnceLock<(u64, Arc<AtomicBool>)>,
    /// Number of objects on the pages and in the claims that were read.
    progress: Mutex<(u64, u64)>,
    /// Maximum number of objects that were listed and whose claims had not been read.
    ahead: AtomicU64,
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
    pub(crate) fn new(objects: u64, partitions: u64, latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            objects,
            partitions,
            claimed: AtomicBool::new(false),
            latency,
            refused: OnceLock::new(),
            stop: OnceLock::new(),
            progress: Mutex::default(),
            ahead: AtomicU64::new(0),
        })
    }

    /// Claims all objects.
    pub(crate) fn claim_all(&self) {
        self.claimed.store(true, Ordering::Relaxed);
    }

    /// Returns the maximum number of objects that were listed and whose claims had not been read.
    #[allow(dead_code)] // the bench does not need it
    pub(crate) fn ahead(&self) -> u64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Returns the number of objects in the claims that were read.
    #[allow(dead_code)] // the bench does not need it
    pub(crate) fn claims_read(&self) -> u64 {
        self.progress.lock().expect("no holder panics").1
    }

    /// Lets listings fail that contain objects of the first account. Returns the number of its objects.
    #[allow(dead_code)] // the bench does not need it
    pub(crate) fn refuse_first_account(&self) -> u64 {
        self.refused.set(format!("AWSLogs/{FIRST_ACCOUNT}/")).expect("it is set once");
        self.days() * self.each()
    }

    /// Sets `stop` when the claims of this many objects were read.
    #[allow(dead_code)] // the bench does not need it
    pub(crate) fn stop_at(&self, claimed: u64, stop: Arc<AtomicBool>) {
        self.stop.set((claimed, stop)).expect("it is set once");
    }

    /// Opens the store as a source.
    pub(crate) fn source(self: &Arc<Self>) -> Source {
        let source = Source::paginated(self.clone(), self.clone(), from_root, "synthetic://logs");
        source.expect("threads can be started")
    }

    /// Opens the store as a dataset from which `reads` files are read concurrently.
    pub(crate) fn dataset(self: &Arc<Self>, reads: usize) -> Dataset {
        let uploads = Arc::new(InMemory::new());
        let lake = "synthetic://lake";
        let target = Bucket::new(self.clone(), uploads, Path::default(), lake, STAGING);
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

    fn count(&self, listed: u64, claimed: u64) {
        let mut progress = self.progress.lock().expect("no holder panics");
        progress.0 += listed;
        progress.1 += claimed;
        self.ahead.fetch_max(progress.0.saturating_sub(progress.1), Ordering::Relaxed);
        if let Some((claimed, stop)) = self.stop.get()
            && progress.1 >= *claimed
        {
            stop.store(true, Ordering::Relaxed);
        }
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
        self.count(0, claim.objects.len() as u64);
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
    claim.objects.push(Claimed {
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

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let is_of_claims = prefix.is_some_and(|prefix| prefix.as_ref() == CLAIMS);
        if !is_of_claims || !self.claimed.load(Ordering::Relaxed) {
            return stream::empty().boxed();
        }
        let (partitions, days) = (self.partitions, self.days());
        let files = (0..partitions).flat_map(move |number| {
            let (account, day) =
                (FIRST_ACCOUNT + number / days, first_day() + Days::new(number % days));
            ["claim", "done"].map(|kind| {
                let claims = format!("{CLAIMS}/access/{account}/eu-central-1/{day}");
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
            // A listing with a delimiter does not show what is in the account's directory.
            let shown = if options.delimiter.is_some() { prefix } else { key.as_str() };
            if self.refused.get().is_some_and(|refused| shown.contains(refused)) {
                return never("list");
            }
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
        self.count(objects.len() as u64, 0);
        let result = ListResult { objects, common_prefixes, extensions: Extensions::default() };
        Ok(PaginatedListResult { result, page_token })
    }
}
