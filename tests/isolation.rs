//! A panic fails only the batch in which it occurs, and system limits cause errors that include a remedy.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use alb2parquet::internals::convert::tally::Tally;
use alb2parquet::internals::convert::{Conversion, Observer, Read};
use alb2parquet::internals::dataset::layout::{Dataset, Layout, Opening};
use alb2parquet::internals::dataset::ledger::Ledger;
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::encode::{Compression, Format};
use alb2parquet::internals::plan::{Batch, Listing, Plan, Selection};
use alb2parquet::internals::redact::{Agreement, Redaction};
use alb2parquet::internals::store::{Bucket, Network, Patience, Source};
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::support::{World, good_lines, gzip, key_on, report_skipped};

/// An observer that panics when an object of one day is read, or when a batch of that day is published.
struct Faulty {
    day: &'static str,
    published: bool,
}

impl Observer for Faulty {
    fn read(&self, part: &Read) {
        assert!(
            self.published || !part.key.contains(self.day),
            "an injected fault of {}",
            self.day
        );
    }

    fn published(&self, batch: &Batch, _: &Tally, _: Duration) {
        let is_of_day = batch.keys()[0].contains(self.day);
        assert!(!self.published || !is_of_day, "an injected fault of {}", self.day);
    }
}

#[test]
fn a_panic_fails_its_batch_only() {
    let world = World::new();
    for day in ["2025/07/18", "2025/07/19", "2025/07/20"] {
        for number in 0..3 {
            world.put(&key_on(day, number), gzip(good_lines(5)));
        }
    }
    for (published, threads) in [(false, 1), (false, 3), (true, 3)] {
        let store = Arc::new(InMemory::new());
        let convert = |run: &str, observer: &Faulty| {
            let opening = Opening {
                layout: Layout::Hive,
                run: run.to_owned(),
                single_writer: false,
                patience: Patience::default(),
                redaction: Agreement::default(),
                profile: Profile::Portable,
            };
            let target = Bucket::new(
                store.clone(),
                store.clone(),
                Path::default(),
                "memory://",
                "_alb2parquet/staging",
            );
            let dataset = Dataset::open(Arc::new(target), opening).unwrap();
            let name = world.source();
            let sources = [Source::open(
                name.to_str().unwrap(),
                &Network::default(),
                alb2parquet::internals::logs::key::from_root,
            )
            .unwrap()];
            let stop = AtomicBool::new(false);
            let listing = Listing::take(&sources, &Selection::default(), &stop).unwrap();
            let ledger = Ledger::open(&dataset).unwrap();
            let plan = Plan::make(listing, &sources, 1 << 20, &ledger, &stop).unwrap();
            let conversion = Conversion {
                sources: &sources,
                dataset: &dataset,
                format: Format { profile: Profile::Portable, compression: Compression::None },
                bloom_filters: &[],
                redaction: &Redaction::default(),
                threads,
                observer,
                stop: &stop,
            };
            conversion.run(plan, &ledger, Instant::now()).unwrap()
        };
        let tally = convert("first", &Faulty { day: "2025/07/19", published });
        assert_eq!((tally.objects.converted, tally.objects.failed, tally.rows), (6, 3, 30));
        assert_eq!(tally.failures.len(), 3);
        for failure in &tally.failures {
            assert!(failure.object.contains("2025/07/19"), "{failure:?}");
            assert!(failure.error.contains("an injected fault of 2025/07/19"), "{failure:?}");
            assert!(failure.error.contains("please report"), "{failure:?}");
        }
        // Files that were claimed before the panic remain.
        let tally = convert("second", &Faulty { day: "none", published });
        let converted = if published { 0 } else { 3 };
        assert_eq!((tally.objects.converted, tally.objects.failed), (converted, 0));
    }
}

/// Returns whether stderr contains exactly one error in the given log format and nothing else.
fn is_error(stderr: &str, format: &str) -> bool {
    let Some(line) = stderr.strip_suffix('\n').filter(|line| !line.contains('\n')) else {
        return false;
    };
    match format {
        "json" => serde_json::from_str::<serde_json::Value>(line)
            .is_ok_and(|event| event["level"] == "ERROR"),
        _ => line.starts_with("error: "),
    }
}

#[test]
fn errors_at_startup_are_printed_in_every_log_format() {
    let world = World::with(gzip(good_lines(1)));
    let absent = world.path("absent");
    let cases: [&[&str]; 4] = [
        &["--bloom-filter", "nope"],
        &["--redact", "nope=truncate"],
        &["--dry-run", "--bloom-filter", "nope"],
        &["--objects", absent.to_str().unwrap()],
    ];
    for case in cases {
        for format in ["text", "json"] {
            let run = world.convert_with(&[case, &["--log-format", format]].concat()).expect(3);
            assert!(is_error(&run.stderr, format), "{case:?}: {:?}", run.stderr);
        }
    }
}

/// The program needs address space for threads, their heaps and the data. It must not start if there is too little.
#[test]
#[cfg(target_os = "linux")]
fn a_low_limit_on_address_space_is_an_error_with_the_remedy() {
    let world = World::with(gzip(good_lines(100)));
    for (limit, format) in [100_000, 200_000, 300_000, 400_000, 600_000, 1_000_000]
        .into_iter()
        .flat_map(|limit| [(limit, "text"), (limit, "json")])
    {
        let script = format!("ulimit -v {limit}; exec \"$@\"");
        let output = std::process::Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_alb2parquet"), "convert"])
            .arg(world.source())
            .arg("--out")
            .arg(world.out())
            .args(["--log-format", format])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{limit}: {stderr}");
        assert!(is_error(&stderr, format) && stderr.contains("ulimit -v"), "{limit}: {stderr}");
    }
    world.convert().expect(0);
}

/// With a low process limit, the program uses fewer threads or fails with an error that includes a remedy.
#[test]
#[cfg(target_os = "linux")]
fn a_low_limit_on_processes_causes_no_panic() {
    const NOBODY: &str = "65534";
    let is_root = std::fs::metadata("/proc/self").unwrap();
    if std::os::unix::fs::MetadataExt::uid(&is_root) != 0 {
        let test = "isolation::a_low_limit_on_processes_causes_no_panic";
        report_skipped(test, "only root can become another user");
        return;
    }
    let world = World::with(gzip(good_lines(100)));
    let (mut failed, mut done) = (0, 0);
    for (limit, format) in [1, 3, 5, 8, 12, 16, 20, 24, 28, 40, 200]
        .into_iter()
        .flat_map(|limit| [(limit, "text"), (limit, "json")])
    {
        let out = world.path(&format!("out-{limit}-{format}"));
        std::fs::create_dir(&out).unwrap();
        let open = |path: &std::path::Path, mode| {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(path, permissions).unwrap();
        };
        open(&world.path(""), 0o755);
        open(&out, 0o777);
        let output = std::process::Command::new("prlimit")
            .args([&format!("--nproc={limit}"), "setpriv", "--reuid", NOBODY, "--clear-groups"])
            .args([env!("CARGO_BIN_EXE_alb2parquet"), "convert", "--threads", "6"])
            .arg(world.source())
            .arg("--out")
            .arg(&out)
            .args(["--log-format", format])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => done += 1,
            Some(3) => {
                assert!(stderr.contains("ulimit -u"), "{limit}: {stderr}");
                failed += 1;
            }
            code => panic!("{limit}: {code:?} {stderr}"),
        }
    }
    assert!(failed > 0 && done > 0, "{failed} failed, {done} done");
}
