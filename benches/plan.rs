//! The memory and time of a plan, over a store that lists as many objects as are asked for.
//!
//!     cargo bench --bench plan -- [OBJECTS [PARTITIONS]]

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use alb2parquet::dataset::{Dataset, Layout, Opening, STAGING};
use alb2parquet::ledger::Ledger;
use alb2parquet::plan::{Listing, Plan, Selection};
use alb2parquet::redact::Agreement;
use alb2parquet::store::{Bucket, Patience, Source};
use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A store that lists and does nothing else.
#[derive(Debug)]
struct Listed {
    objects: u64,
    partitions: u64,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("synthetic")
    }
}

fn only_lists<T>(operation: &str) -> Result<T> {
    let operation = operation.to_owned();
    Err(Error::NotImplemented { operation, implementer: "synthetic".to_owned() })
}

/// The object with a number, as S3 lists it: four balancers in each partition.
fn object(number: u64, partition: u64) -> ObjectMeta {
    let account = 100_000_000_000 + partition % 20;
    let first = NaiveDate::from_ymd_opt(2016, 1, 1).expect("is a day");
    let day = first + Days::new(partition / 20);
    let (path, date) = (day.format("%Y/%m/%d"), day.format("%Y%m%d"));
    let (balancer, hour, minute) = (number % 4, number / 4 % 24, number / 96 % 12 * 5);
    let name = format!(
        "{account}_elasticloadbalancing_eu-central-1_app.production-{balancer}.50dc6c495c0c918{balancer}_\
         {date}T{hour:02}{minute:02}Z_203.0.113.{}_{number:08x}.log.gz",
        number % 200
    );
    ObjectMeta {
        location: format!("AWSLogs/{account}/elasticloadbalancing/eu-central-1/{path}/{name}")
            .into(),
        last_modified: DateTime::UNIX_EPOCH,
        size: 50_000 + number % 10_000,
        e_tag: Some(format!("\"{:032x}\"", u128::from(number) * 0x9e37_79b9_7f4a_7c15)),
        version: None,
    }
}

#[async_trait]
impl ObjectStore for Listed {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        only_lists("put")
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        only_lists("put")
    }

    async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult> {
        only_lists("get")
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { only_lists("delete") }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (objects, partitions) = (self.objects, self.partitions);
        let each = objects.div_ceil(partitions);
        stream::iter((0..objects).map(move |number| Ok(object(number, number / each)))).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        only_lists("list")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        only_lists("copy")
    }
}

/// Largest memory of this process so far, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("is told");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("is a number") >> 10
}

#[allow(clippy::print_stdout)] // the figures
fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let objects = numbers.next().unwrap_or(5_000_000);
    let partitions = numbers.next().unwrap_or(20_000).min(objects);
    let sources = [Source::over(Arc::new(Listed { objects, partitions }), "synthetic://logs")];

    let began = Instant::now();
    let listing = Listing::take(&sources, &Selection::default(), &AtomicBool::new(false))
        .expect("everything can be listed");
    println!("{objects} objects listed and sorted in {:.1?}, {} MiB", began.elapsed(), peak());

    let store = Arc::new(InMemory::new());
    let target = Bucket::new(store.clone(), store, Path::default(), "memory://", STAGING);
    let opening = Opening {
        layout: Layout::Hive,
        run: "bench".to_owned(),
        single_writer: false,
        patience: Patience::default(),
        redaction: Agreement::default(),
    };
    let dataset = Dataset::open(Arc::new(target), opening).expect("memory can be written");
    let mut ledger = Ledger::open(&dataset).expect("memory can be read");
    let began = Instant::now();
    let plan = Plan::make(listing, &sources, 256 << 20, &mut ledger, &AtomicBool::new(false))
        .expect("nothing is claimed");
    let (files, days) = (plan.batches.len(), plan.partitions());
    println!(
        "{files} files in {days} partitions planned in {:.1?}, {} MiB",
        began.elapsed(),
        peak()
    );
    assert_eq!(plan.batches.iter().map(|batch| batch.objects.len() as u64).sum::<u64>(), objects);
    assert_eq!(days as u64, partitions);
}
