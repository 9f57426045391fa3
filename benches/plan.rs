//! Measures the memory and time that planning, claiming and verifying take. A synthetic store lists the requested number
//! of objects, either all or none of which are claimed.
//!
//!     cargo bench --bench plan -- [OBJECTS [PARTITIONS]]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::iter;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use alb2parquet::internals::convert::manifest::Description;
use alb2parquet::internals::dataset::claim::Claim;
use alb2parquet::internals::dataset::ledger::Ledger;
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::verify::Verification;
use alb2parquet::internals::plan::estimate::{Estimation, Prices, Speed};
use alb2parquet::internals::plan::{Gathering, Plan, Planned, Planner, Selection};
use alb2parquet::internals::store::{Calls, Source};

use crate::synthetic::Synthetic;

#[path = "../tests/synthetic.rs"]
mod synthetic;

/// Number of partitions to plan with a remote store.
const REMOTE_PARTITIONS: u64 = 300;
/// Time that each request to the remote store takes.
const LATENCY: Duration = Duration::from_millis(20);

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
    let sources = [store.source()];
    let dataset = store.dataset(1);
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

    store.claim_all();
    let ledger =
        measured("claims listed", || Ledger::open(&dataset).expect("claims can be listed"));
    let (plan, _) = measured("listed and planned, everything is claimed", || {
        self::plan(&sources, &ledger, |planned| assert!(planned.batches.is_empty()))
    });
    assert_eq!(plan.before.objects, objects);
    drop(ledger);

    let report = measured("verified, everything is claimed", || {
        let verification = Verification {
            sources: &sources,
            dataset: &dataset,
            selection: &Selection::default(),
            read_data: None,
            restore: false,
            reference: &LogType::table,
            stop: &AtomicBool::new(false),
        };
        verification.run().expect("everything can be listed")
    });
    assert_eq!((report.objects, report.claims, report.findings), (objects, partitions, vec![]));

    let store = Synthetic::new(REMOTE_PARTITIONS * 100, REMOTE_PARTITIONS, LATENCY);
    store.claim_all();
    let sources = [store.source()];
    for reads in [1, 32] {
        let dataset = store.dataset(reads);
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
