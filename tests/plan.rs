//! `plan` and `--dry-run` predict what `convert` does, and write nothing.

use std::fs;
use std::io::Read;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use alb2parquet::LogType;
use alb2parquet::internals::dataset::layout::{Dataset, Layout, Opening, STAGING};
use alb2parquet::internals::dataset::ledger::Ledger;
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::plan::{Listing, Plan, Selection};
use alb2parquet::internals::redact::Agreement;
use alb2parquet::internals::store::{Bucket, Network, Patience, Source};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::json;

use crate::exactly_once::{CLAIMS, command, converted, findings};
use crate::simulation::random::Random;
use crate::support::{
    Line, Run, World, files, good_lines, gzip, gzip_at, key, key_of, key_on, run, text_of, tree,
};

/// Returns a world with logs from three load balancers and some other objects.
fn world() -> World {
    let world = World::new();
    for day in ["2025/07/18", "2025/07/19", "2025/07/21"] {
        for number in 1..4 {
            world.put(&key_on(day, number), gzip(good_lines(10 * number)));
        }
    }
    for (account, number) in [("012345678901", 5), ("123456789012", 6)] {
        let key = key_of(account, "us-east-1", "2025/07/19", "other.00dc6c495c0c9188", number);
        world.put(&key, gzip(good_lines(7)));
    }
    world.put("AWSLogs/012345678901/ELBAccessLogTestFile", "");
    world.put("AWSLogs/012345678901/CloudTrail/eu-west-1/2025/07/19/a.json.gz", "");
    world
}

/// Runs `plan` for the source and the dataset.
fn plan(world: &World, args: &[&str]) -> Run {
    world.run("plan", true, &[&["--to", "2099-12-31"], args].concat())
}

fn bytes(world: &World, wanted: &str) -> u64 {
    let objects = tree(&world.source());
    let sizes = objects.iter().filter(|(key, _)| key.contains(wanted) && key.ends_with(".log.gz"));
    sizes.map(|(_, object)| object.len() as u64).sum()
}

#[test]
fn a_plan_counts_by_load_balancer() {
    let world = world();
    let (all, of_one) = (bytes(&world, ""), bytes(&world, "my-lb"));
    let (other, third) =
        (bytes(&world, "012345678901_elasticloadbalancing_us"), bytes(&world, "123456789012"));
    let run = plan(&world, &["--json", "--threads", "4", "--rate", "1KB"]).expect(0);
    let of = |account: &str,
              region: &str,
              balancer: &str,
              objects: u64,
              bytes: u64,
              days: [&str; 2],
              count: u64| {
        json!({
            "account": account, "region": region, "load_balancer": balancer, "objects": objects, "bytes": bytes,
            "days": count, "first_day": days[0], "last_day": days[1],
            "to_convert": { "objects": objects, "bytes": bytes },
        })
    };
    let day = ["2025-07-19"; 2];
    let estimate = run.json();
    let expected = json!({
        "listed": 13,
        "skipped_by_kind": { "test_file": 1, "cloudtrail": 1 },
        "examples": {
            "test_file": "AWSLogs/012345678901/ELBAccessLogTestFile",
            "cloudtrail": "AWSLogs/012345678901/CloudTrail/eu-west-1/2025/07/19/a.json.gz",
        },
        "moved": { "objects": 0, "example": null },
        "selected": { "objects": 11, "bytes": all },
        "converted_before": { "objects": 0, "bytes": 0 },
        "touched": { "objects": 0, "bytes": 0 },
        "to_convert": { "objects": 11, "bytes": all },
        "archived": null,
        "open_claims": 0,
        "load_balancers": [
            of("012345678901", "eu-west-1", "app/my-lb/50dc6c495c0c9188", 9, of_one, ["2025-07-18", "2025-07-21"], 3),
            of("012345678901", "us-east-1", "app/other/00dc6c495c0c9188", 1, other, day, 1),
            of("123456789012", "us-east-1", "app/other/00dc6c495c0c9188", 1, third, day, 1),
        ],
        "partitions": 5,
        "batches": 5,
        "bytes_out": estimate["bytes_out"],
        "requests": { "list": 0, "get": 0, "put": 0, "delete": 0 },
        "usd_per_1000_requests": { "get": 0.0004, "put": 0.005 },
        "price_usd": 0.0,
        "bytes_per_second_per_thread": 1000,
        "threads": 4,
        "seconds": all as f64 / 4000.0,
        "failures": [],
    });
    assert_eq!(estimate, expected);
    assert!(!world.out().exists(), "nothing is written");

    let text = plan(&world, &[]).expect(0).stdout;
    for words in [
        "13 listed, 11 (",
        "skipped: 1 cloudtrail, 1 test_file",
        "archived    unknown (listings omit the storage class)",
        "5 in 5 partitions",
        "requests    none: all files are local",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
    let row: Vec<&str> =
        text.lines().find(|line| line.contains("app/my-lb")).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["012345678901", "eu-west-1", "app/my-lb/50dc6c495c0c9188", "9"]);
    assert_eq!(row[6..], ["3", "2025-07-18", "2025-07-21", "9"]);
}

#[test]
fn a_conversion_matches_its_plan() {
    let world = world();
    for (args, more) in [
        (&[][..], false),
        (&["--target-file-size", "1KB"], false),
        (&["--account", "012345678901"], true),
    ] {
        let world = if more { &world } else { &self::world() };
        let planned = plan(world, &[args, &["--json"]].concat()).expect(0).json();
        let dry = world.convert_with(&[args, &["--json", "--dry-run"]].concat()).expect(0).json();
        assert_eq!(dry, planned, "--dry-run prints the plan");
        assert!(!world.out().exists(), "nothing is written");
        let run = world.convert_with(&[args, &["--json"]].concat()).expect(0);
        for (planned, done) in [
            (&planned["listed"], "/objects/listed"),
            (&planned["to_convert"]["objects"], "/objects/converted"),
            (&planned["to_convert"]["bytes"], "/bytes_in"),
            (&planned["partitions"], "/partitions"),
            (&planned["batches"], "/files"),
        ] {
            assert_eq!(planned.as_u64().unwrap(), run.count(done), "{done}");
        }
        let again = plan(world, &[args, &["--json"]].concat()).expect(0).json();
        assert_eq!(again["converted_before"], planned["to_convert"]);
        assert_eq!(again["to_convert"], json!({ "objects": 0, "bytes": 0 }));
        assert_eq!(again["batches"], 0);
    }
    // Now only part of the source has been converted.
    world.put(&key_on("2025/07/19", 9), gzip(good_lines(3)));
    let estimate = plan(&world, &["--json"]).expect(0).json();
    assert_eq!(estimate["converted_before"]["objects"], 10);
    assert_eq!(estimate["to_convert"]["objects"], 2);
    plan(&world, &[]).expect(0);
    let text = plan(&world, &[]).stdout;
    assert!(text.contains("10 (") && text.contains("converted before"), "{text}");
}

/// Returns compressed lines with random clients, paths and times.
fn busy_object(random: &mut Random, lines: usize) -> Vec<u8> {
    let line = |_| {
        let mut below = |limit: u64| random.below(limit);
        Line::of(30)
            .with(2, &format!("2025-07-19T14:03:{:02}.{:06}Z", below(60), below(1_000_000)))
            .with(4, &format!("192.0.2.{}:{}", below(256), 1_024 + below(60_000)))
            .with(7, &format!("0.{:03}", below(1_000)))
            .with(6, &format!("0.{:03}", below(30)))
            .with(8, &format!("0.{:03}", below(30)))
            .with(11, &below(3_000).to_string())
            .with(12, &below(90_000).to_string())
            .with(
                13,
                &format!(
                    "\"GET https://www.example.com:443/{}?id={} HTTP/2.0\"",
                    below(200),
                    below(1 << 30)
                ),
            )
            .with(
                18,
                &format!("\"Root=1-687ba5a9-{:012x}{:012x}\"", below(1 << 48), below(1 << 48)),
            )
            .text()
    };
    gzip_at(text_of((0..lines).map(line)), Compression::default())
}

/// The documentation states this tolerance, too.
#[test]
fn the_estimated_size_is_within_a_quarter_of_what_is_written() {
    let mut random = Random::new(7);
    let samples = World::new();
    for (key, bytes) in tree(FilePath::new("tests/data/AWSLogs")) {
        samples.put(&format!("AWSLogs/{key}"), bytes);
    }
    let mut worlds = vec![("samples".to_owned(), samples)];
    for (days, objects, lines) in [(6, 1, 3), (2, 12, 50), (1, 4, 4_000)] {
        let world = World::new();
        for day in 1..=days {
            for number in 0..objects {
                let key = key_on(&format!("2025/07/{day:02}"), number);
                world.put(&key, busy_object(&mut random, lines));
            }
        }
        worlds.push((format!("{days} days of {objects} objects of {lines} lines"), world));
    }
    for (name, world) in worlds {
        let planned = plan(&world, &["--json"]).expect(0).count("/bytes_out") as f64;
        world.convert_with(&["--max-rejects", "1"]);
        let tables = LogType::ALL.map(|log_type| &log_type.table().name);
        let written = tables.map(|table| files(&world.out(), table)).concat();
        let written: u64 = written.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        let ratio = planned / written as f64;
        assert!((0.75..=1.25).contains(&ratio), "{name}: {planned} planned, {written} written");
    }
}

/// Uncompressed logs are five to twenty times as large as gzip-compressed ones. Estimates take this into account.
#[test]
fn a_plan_counts_text_like_the_same_log_with_gzip() {
    let plan_of = |is_text: bool| {
        let mut random = Random::new(8);
        let world = World::new();
        for number in 0..4 {
            let object = busy_object(&mut random, 4_000);
            if is_text {
                let mut text = Vec::new();
                MultiGzDecoder::new(&object[..]).read_to_end(&mut text).unwrap();
                world.put(&key(number).replace(".log.gz", ".log"), text);
            } else {
                world.put(&key(number), object);
            }
        }
        let run = plan(&world, &["--json", "--target-file-size", "1MiB"]).expect(0);
        let seconds = run.json()["seconds"].as_f64().unwrap();
        (run.count("/bytes_out") as f64, seconds, run.count("/batches") as f64)
    };
    let (gzip, text) = (plan_of(false), plan_of(true));
    for (gzip, text) in [(gzip.0, text.0), (gzip.1, text.1), (gzip.2, text.2)] {
        assert!((0.5..=2.0).contains(&(text / gzip)), "{text} for text, {gzip} for gzip");
    }
}

/// Only `convert` finishes claims that other runs left behind.
#[test]
fn a_plan_finishes_no_claims() {
    let world = converted();
    let done = world.out().join(CLAIMS).join("1.done.json");
    fs::remove_file(&done).unwrap();
    let before = tree(&world.out());
    let run = plan(&world, &["--json"]).expect(0);
    assert_eq!((run.count("/open_claims"), run.count("/converted_before/objects")), (1, 4));
    assert_eq!(run.count("/to_convert/objects"), 0);
    let text = plan(&world, &[]).expect(0).stdout;
    assert!(text.contains("1 claims of other runs, counted as converted"), "{text}");
    assert_eq!(tree(&world.out()), before, "nothing is written");

    // The objects in a partition whose removal is unfinished count as removed.
    world.convert().expect(0);
    command(&world, "remove", &["--to", "2025-07-19", "--yes"]).expect(0);
    fs::remove_file(world.out().join(CLAIMS).join("2.done.json")).unwrap();
    let before = tree(&world.out());
    let run = plan(&world, &["--json"]).expect(0);
    assert_eq!((run.count("/open_claims"), run.count("/to_convert/objects")), (1, 3));
    assert_eq!(tree(&world.out()), before, "nothing is written");
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!(run.count("/objects/converted"), 3);
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn contradictions_are_reported() {
    let world = converted();
    world.put(&key(2), gzip(good_lines(40)));
    let run = plan(&world, &["--json"]).expect(2);
    run.says(&[&key(2), "left alone"]);
    assert_eq!(run.json()["failures"].as_array().map(Vec::len), Some(1));
    plan(&world, &["--layout", "plain"]).expect(3).says(&["--layout hive"]);
    for (args, words) in [
        (&["--price-get=-1"][..], "0.0004"),
        (&["--price-put", "nan"], "0.0004"),
        (&["--rate", "0"], "256MiB"),
        (&["--threads", "0"], "threads"),
        (&["--json", "--jsonl"], "cannot be used with"),
        (&["--from", "2025-08-01", "--to", "2025-07-01"], "after --to"),
    ] {
        world.run("plan", true, args).expect(3).says(&[words]);
    }
}

#[test]
fn a_dataset_in_its_source_is_refused() {
    let world = World::with(gzip(good_lines(1)));
    let (source, base) = (world.source(), world.path(""));
    let (source, base) = (source.to_str().unwrap(), base.to_str().unwrap());
    let inside = format!("{source}/some/lake");
    let url = format!("file://{source}/lake");
    for name in ["convert", "plan"] {
        for out in [inside.as_str(), source, &url] {
            run(&[name, source, "--out", out]).expect(3).says(&["is inside SOURCE", out]);
        }
        run(&[name, source, "--out", base]).expect(3).says(&[
            "is inside --out",
            base,
            "another --out",
        ]);
        run(&[name, "s3://b/logs", "--out", "s3://b/logs/lake"])
            .expect(3)
            .says(&["is inside SOURCE"]);
        run(&[name, "s3://b/lake/logs", "--out", "s3a://b/lake"])
            .expect(3)
            .says(&["is inside --out"]);
    }
    assert_eq!(tree(world.path("").as_ref()).len(), 1, "nothing is written");
}

#[test]
fn mistyped_arguments_suggest_the_right_one() {
    for (args, right) in [
        (&["convert", "logs", "--acount", "1"][..], "'--account'"),
        (&["convert", "logs", "--target-file-sise", "1"], "'--target-file-size'"),
        (&["plan", "logs", "--pricee-get", "1"], "'--price-get'"),
        (&["verify", "logs", "--outt", "lake"], "'--out'"),
        (&["remove", "--regio", "eu-west-1"], "'--region'"),
        (&["convrt", "logs"], "'convert'"),
        (&["plna", "logs"], "'plan'"),
        (&["convert", "logs", "--out", "lake", "--compression", "zst"], "'zstd'"),
    ] {
        run(args).expect(3).says(&["tip:", right]);
    }
}

/// If a source contains no logs, the message describes the source's objects and how logs are named.
#[test]
fn a_source_without_logs_is_described() {
    let good = key(1);
    let part = format!("{good}.part");
    let elsewhere = good.replace("AWSLogs/012345678901", "AWSLogs/999999999999");
    let gateway = good.replace("_app.", "_gwy.");
    let network =
        good.replace("/012345678901_", "/conn_log_012345678901_").replace("_app.", "_net.");
    let trail = "AWSLogs/012345678901/CloudTrail/eu-west-1/2025/07/19/a.json.gz";
    let organisation = "AWSLogs/o-1a2b3c/012345678901/CloudTrail/eu-west-1/2025/07/19/a.json.gz";
    let flow = "AWSLogs/012345678901/vpcflowlogs/eu-west-1/2025/07/19/a.log.gz";
    let cases = [
        (trail, "1 cloudtrail", "CloudTrail events; did you mean"),
        (organisation, "1 cloudtrail", "CloudTrail events; did you mean"),
        (flow, "1 vpc_flow_logs", "VPC flow logs; did you mean"),
        (&gateway, "1 invalid_name", "instead of a load balancer"),
        (&network, "1 invalid_name", "begins with \"conn_log_\""),
        ("AWSLogs/012345678901/ELBAccessLogTestFile", "1 test_file", "logging was enabled"),
        (&part, "1 unsupported_ending", "ends with \".log.gz.part\""),
        (&elsewhere, "1 contradictory_path", "its path names account 999999999999"),
        ("notes.txt", "1 unknown", "instead of an account"),
    ];
    for (key, kind, why) in cases {
        let world = World::new();
        world.put(key, "");
        for run in [world.convert_with(&["--dry-run"]), plan(&world, &[]), world.convert()] {
            run.expect(3).says(&[
                "error: nothing to convert",
                kind,
                key,
                why,
                "Logs of load balancers have names like",
                "net.<name>.<id> is a Network Load Balancer",
                "AWSLogs/<account>",
            ]);
        }
    }
    let world = World::new();
    world.convert().expect(3).says(&["contains no objects"]);
    world.put(&key(1), gzip(good_lines(1)));
    let run = world.convert_with(&["--from", "2025-07-20"]).expect(0);
    run.says(&["only object", "1 not_selected", &key(1), "--from"]);
    world.put("a", "");
    world.put("b", "");
    let run = world.convert_with(&["--to", "2025-07-18"]).expect(0);
    run.says(&["none of the 3 objects", "1 not_selected", "2 unknown, such as"]);
}

/// The plan is the same, whether claims are prefetched concurrently or read one by one.
#[test]
fn claims_that_are_read_ahead_give_the_same_plan() {
    let world = World::new();
    for day in 1..29 {
        for number in 0..3 {
            world.put(&key_on(&format!("2025/07/{day:02}"), number), gzip(good_lines(number + 1)));
        }
    }
    world.convert_with(&["--to", "2025-07-20", "--target-file-size", "200"]).expect(0);
    for day in [3, 9, 21] {
        world.put(&key_on(&format!("2025/07/{day:02}"), 9), gzip(good_lines(2)));
    }
    let store = Arc::new(InMemory::new());
    let bucket =
        || Bucket::new(store.clone(), store.clone(), Path::default(), "memory://", STAGING);
    for (key, bytes) in tree(&world.out()) {
        alb2parquet::internals::store::Target::create(&bucket(), &key, &bytes).unwrap();
    }
    let source = [Source::open(
        world.source().to_str().unwrap(),
        &Network::default(),
        alb2parquet::internals::logs::key::from_root,
    )
    .unwrap()];
    let plans = [1, 7].map(|reads| {
        let opening = Opening {
            layout: Layout::Hive,
            run: "test".to_owned(),
            single_writer: false,
            patience: Patience::default(),
            redaction: Agreement::default(),
            profile: Profile::Portable,
        };
        let dataset = Dataset::open(Arc::new(bucket().with_reads(reads)), opening).unwrap();
        let stop = AtomicBool::new(false);
        let listing = Listing::take(&source, &Selection::default(), &stop).unwrap();
        let ledger = Ledger::open(&dataset).unwrap();
        let plan = Plan::make(listing, &source, 300, &ledger, &stop).unwrap();
        assert_eq!(plan.failures, []);
        assert_eq!(plan.before.objects, 60);
        let names = |batch: &alb2parquet::internals::plan::Batch| batch.keys();
        plan.batches.iter().map(names).collect::<Vec<_>>()
    });
    assert_eq!(plans[0], plans[1]);
    assert_eq!(plans[0].iter().flatten().count(), 8 * 3 + 3);
}
