//! Datasets in buckets contain the same rows as datasets on disk, even if requests fail.
//!
//! `scripts/s3-test` and `scripts/emulators-test` start servers and run these tests. Without a server, the tests are
//! ignored.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use alb2parquet::internals::store::{Kind, Target};
use flate2::Compression;

use crate::proxy::{Choice, Fault, Proxy, RequestInfo};
use crate::server::Server;
use crate::support::{Run, World, contents, good_lines, gzip, gzip_at, key, key_on, run_command};

fn server() -> Server {
    Server::required()
}

/// Runs a subcommand with a source and a dataset, at least one of which is in a bucket.
pub(crate) fn on_server(
    server: &Server,
    name: &str,
    source: &str,
    out: &str,
    args: &[&str],
) -> Run {
    let fixed = [name, source, "--out", out, "--to", "2099-12-31", "--json"];
    run_command(&mut server.command(&[&fixed[..], args].concat()))
}

fn alb2parquet(name: &str, source: &str, out: &str, args: &[&str]) -> Run {
    on_server(&server(), name, source, out, args)
}

/// Returns a world with two days of logs.
fn world() -> World {
    let world = World::new();
    for number in 1..6 {
        world.put(&key(number), gzip([good_lines(20 * number), b"bad\n".to_vec()].concat()));
    }
    world.put(&key_on("2025/07/20", 1), gzip(good_lines(5)));
    // An object large enough to be streamed in two ranges.
    let large = gzip_at(good_lines(14_000), Compression::none());
    assert!(large.len() > 9_000_000, "{}", large.len());
    world.put(&key_on("2025/07/20", 2), large);
    world
}

const REJECTS: [&str; 2] = ["--max-rejects", "1"];

/// Asserts that the dataset in a bucket equals the world's dataset.
#[track_caller]
pub(crate) fn same(world: &World, url: &str) {
    let copy = world.path(&format!("copy-{}", url.len()));
    let _ = fs::remove_dir_all(&copy);
    server().download(url, &copy);
    assert!(contents(&copy) == contents(&world.out()), "{url}");
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn every_combination_of_disk_and_bucket_gives_the_same_dataset() {
    let world = world();
    world.convert_with(&REJECTS).expect(0);
    let (logs, lake) = (server().new_bucket(), server().new_bucket());
    server().upload(&world.source(), &logs);
    let (source, out) = (world.source(), world.path("from-bucket"));
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    alb2parquet("convert", &logs, out, &REJECTS).expect(0);
    assert!(contents(out.as_ref()) == contents(&world.out()));
    for (from, to) in [(source, format!("{lake}/a")), (&logs, format!("{lake}/b/c"))] {
        let first = alb2parquet("convert", from, &to, &REJECTS).expect(0);
        assert_eq!(first.count("/objects/converted"), 7);
        same(&world, &to);
        let verified = alb2parquet("verify", from, &to, &["--read-data"]).expect(0);
        assert_eq!(verified.count("/compared"), 7);
        let again = alb2parquet("convert", from, &to, &REJECTS).expect(0);
        assert_eq!(again.count("/objects/skipped_by_kind/converted_before"), 7);
        assert_eq!(again.count("/files"), 0);
    }
    // Below AWSLogs, only the directories for the selected days and the adjacent days are listed.
    let below = format!("{logs}/AWSLogs/012345678901");
    let one =
        alb2parquet("convert", &below, &format!("{lake}/d"), &["--from", "2025-07-20"]).expect(0);
    assert_eq!((one.count("/objects/listed"), one.count("/objects/converted")), (7, 2));
    let none =
        alb2parquet("convert", &below, &format!("{lake}/d"), &["--from", "2025-07-22"]).expect(0);
    assert_eq!(none.count("/objects/listed"), 0);
    // After their rows have been removed, objects are converted again.
    let to = format!("{lake}/a");
    let removed = server().command(&["remove", "--out", &to, "--to", "2025-07-19", "--yes"]);
    run_command(&mut { removed }).expect(0);
    alb2parquet("verify", source, &to, &[]).expect(1);
    alb2parquet("convert", source, &to, &REJECTS).expect(0);
    same(&world, &to);
    run_command(&mut server().command(&["clean", "--out", &to, "--older-than", "0s"])).expect(0);
    assert_eq!(server().target(&to).list("_alb2parquet/staging").unwrap(), []);
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn inspect_reads_an_object_in_a_bucket() {
    let world = world();
    let logs = server().new_bucket();
    server().upload(&world.source(), &logs);
    let inspect = |key: &str| {
        run_command(&mut server().command(&["inspect", &format!("{logs}/{key}"), "--json"]))
    };
    let json = inspect(&key(3)).expect(1).json();
    assert_eq!((&json["rows"], &json["key"]["day"]), (&60.into(), &"2025-07-19".into()));
    let large = inspect(&key_on("2025/07/20", 2)).expect(0).json();
    assert_eq!(large["rows"], 14_000);
    inspect("AWSLogs/not/there.gz").expect(3).says(&["OBJECT", "AWSLogs/not/there.gz"]);
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn the_report_is_the_same_for_a_bucket_and_a_disk() {
    let world = world();
    world.convert_with(&REJECTS).expect(0);
    let (source, lake) = (world.source(), format!("{}/lake", server().new_bucket()));
    alb2parquet("convert", source.to_str().unwrap(), &lake, &REJECTS).expect(0);
    let report =
        |out: &str| run_command(&mut server().command(&["report", out, "--json"])).expect(0).json();
    let (there, here) = (report(&lake), report(world.out().to_str().unwrap()));
    for facts in ["totals", "regions", "load_balancers", "rejects", "months", "problems"] {
        assert_eq!(there[facts], here[facts], "{facts}");
    }
    let statements = there["statements"].as_array().unwrap();
    let text = |statement: &serde_json::Value| statement["text"].as_str().unwrap().to_owned();
    assert!(!statements.is_empty());
    for statement in statements {
        assert!(text(statement).contains(&format!("{lake}/")), "{statement}");
    }
    if server().kind == Kind::S3 {
        assert_eq!(statements[0]["engine"], "Athena");
        assert!(text(&statements[0]).contains(&format!("LOCATION '{lake}/alb_access_logs/'")));
    }
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn a_killed_run_and_two_concurrent_runs_write_each_row_once() {
    let world = World::new();
    for day in 10..28 {
        world.put(&key_on(&format!("2025/07/{day}"), 1), gzip(good_lines(200)));
    }
    world.convert().expect(0);
    let lake = server().new_bucket();
    let source = world.source();
    let source = source.to_str().unwrap();
    let args = ["convert", source, "--out", &lake, "--to", "2099-12-31", "--quiet"];
    for delay in [150, 400] {
        let mut killed = server().command(&args).spawn().unwrap();
        thread::sleep(Duration::from_millis(delay));
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let mut runs = [(); 2].map(|()| server().command(&args).spawn().unwrap());
    for run in &mut runs {
        assert!(run.wait().unwrap().success());
    }
    alb2parquet("verify", source, &lake, &["--read-data"]).expect(0);
    let copy = world.path("copy");
    server().download(&lake, &copy);
    assert_eq!(crate::support::read(&copy, crate::support::ROWS).len(), 18 * 200);
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn a_missing_bucket_is_named() {
    let world = World::with(gzip(good_lines(3)));
    let (source, out) = (world.source(), world.out());
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    let missing = server().url("not-there");
    alb2parquet("convert", &missing, out, &[]).expect(3).says(&[&missing, "no such bucket"]);
    let missing = format!("{missing}/a");
    alb2parquet("convert", source, &missing, &[]).expect(3).says(&["not-there", "no such bucket"]);
}

// ---- faults

/// Selects every `n`th request.
fn every(n: usize) -> impl Fn(&RequestInfo, usize) -> bool {
    move |_, number| number % n == n - 1
}

/// Selects the first `n` requests that read source objects.
fn first_reads(n: usize) -> impl Fn(&RequestInfo, usize) -> bool {
    let seen = AtomicUsize::new(0);
    move |request, _| request.is_read_of("AWSLogs/") && seen.fetch_add(1, Ordering::Relaxed) < n
}

/// Returns a converted world with five objects on each of four days, and a bucket with a copy of the source.
pub(crate) fn world_of_days() -> (World, String) {
    let world = World::new();
    for day in 10..14 {
        for number in 0..5 {
            world.put(&key_on(&format!("2025/07/{day}"), number), gzip(good_lines(100)));
        }
    }
    world.convert().expect(0);
    let logs = server().new_bucket();
    server().upload(&world.source(), &logs);
    (world, logs)
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
#[allow(clippy::print_stdout)] // the table of faults
fn failed_requests_lose_no_rows() {
    let (world, logs) = world_of_days();
    let faults: [(&str, Fault, Choice); 14] = [
        ("20 ms later", Fault::Delay(Duration::from_millis(20)), Box::new(every(1))),
        ("503 SlowDown", Fault::Answer(503, "SlowDown"), Box::new(every(11))),
        ("500 InternalError", Fault::Answer(500, "InternalError"), Box::new(every(11))),
        ("500 after it took effect", Fault::Landed(500, "InternalError"), Box::new(every(11))),
        ("400 RequestTimeout", Fault::Answer(400, "RequestTimeout"), Box::new(every(11))),
        ("reset before", Fault::Refuse, Box::new(every(11))),
        ("reset after it took effect", Fault::Reset, Box::new(every(11))),
        ("refusal cut in the middle", Fault::CutRefusal, Box::new(every(1))),
        ("answer to a write cut", Fault::Cut(1), {
            let seen = AtomicUsize::new(0);
            Box::new(move |request, _| {
                request.is_write() && seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(5)
            })
        }),
        ("body cut after 100 bytes", Fault::Cut(100), Box::new(first_reads(7))),
        ("body that stalls", Fault::Stall(100), Box::new(first_reads(3))),
        ("a wrong byte in an object", Fault::Flip(100), Box::new(first_reads(7))),
        ("409 of a create", Fault::Answer(409, "ConditionalRequestConflict"), {
            let seen = AtomicUsize::new(0);
            Box::new(move |request, _| {
                request.is_create_of("claims/")
                    && seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(3)
            })
        }),
        ("412 of our own create", Fault::Landed(412, "PreconditionFailed"), {
            let seen = AtomicUsize::new(0);
            Box::new(move |request, _| {
                request.is_create_of("claims/")
                    && seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(3)
            })
        }),
    ];
    println!("{:30} {:>8} {:>8} {:>9} {:>8}", "fault", "injected", "repeated", "converted", "rows");
    for (name, fault, choice) in faults {
        let lake = server().new_bucket();
        let proxy = Proxy::start(&server().address, fault, choice);
        // A short timeout would add failed requests if the server is slow.
        let timeout = if let Fault::Stall(_) = fault { "3s" } else { "30s" };
        let args = ["-v", "--option", &format!("read_timeout={timeout}")];
        let run = on_server(&server().at(&proxy.address), "convert", &logs, &lake, &args).expect(0);
        let (injected, failed) = (proxy.injected(), run.count("/requests_failed"));
        let (converted, rows) = (run.count("/objects/converted"), run.count("/rows"));
        println!("{name:30} {injected:>8} {failed:>8} {converted:>9} {rows:>8}");
        assert!(injected > 2, "{name}: {injected}");
        assert_eq!((converted, rows), (20, 2_000), "{name}");
        if let Fault::Answer(400.., "RequestTimeout") | Fault::Answer(500.., _) = fault {
            assert_eq!(failed, injected, "{name}");
            run.says(&["request failed", &format!(", {failed} failed (retried or given up)")]);
        }
        same(&world, &lake);
        alb2parquet("verify", &logs, &lake, &["--read-data"]).expect(0);
    }
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn small_partitions_are_published_concurrently() {
    let (world, logs) = world_of_days();
    let lake = server().new_bucket();
    // The proxy forwards no claim until it has received the claims of all days.
    let claims: Choice = Box::new(|request, _| request.is_create_of("1.claim.json"));
    let proxy = Proxy::start(&server().address, Fault::Gather(4), claims);
    let run = on_server(&server().at(&proxy.address), "convert", &logs, &lake, &["--threads", "1"])
        .expect(0);
    assert_eq!((proxy.injected(), run.count("/requests_failed")), (4, 0));
    same(&world, &lake);
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn unreadable_objects_are_skipped_and_named() {
    let (_, logs) = world_of_days();
    let of_day =
        |day: &'static str| -> Choice { Box::new(move |request, _| request.is_read_of(day)) };
    let convert = |fault, choice, lake: &str| {
        let proxy = Proxy::start(&server().address, fault, choice);
        on_server(&server().at(&proxy.address), "convert", &logs, lake, &[])
    };
    // Archived objects are skipped, and their number and total size are reported. Once restored, they are converted. On
    // Google Cloud Storage, archived objects can be read without being restored.
    let archived: &[_] = match server().kind {
        Kind::S3 => &[(403, "InvalidObjectState")],
        Kind::Azure => &[(409, "BlobArchived"), (409, "BlobBeingRehydrated")],
        Kind::Google => &[],
    };
    for (status, code) in archived {
        let lake = server().new_bucket();
        let run = convert(Fault::Answer(*status, code), of_day("2025/07/11/"), &lake).expect(0);
        assert_eq!(run.count("/objects/skipped_by_kind/archived"), 5);
        assert!(run.count("/bytes_archived") > 500);
        run.says(&["archived", "restore"]);
        let run = alb2parquet("convert", &logs, &lake, &[]).expect(0);
        assert_eq!((run.count("/objects/converted"), run.count("/rows")), (5, 500));
        alb2parquet("verify", &logs, &lake, &["--read-data"]).expect(0);
    }
    // Deleted objects, and objects that the run is not allowed to read, are reported as failures.
    for (status, code, word) in
        [(404, "NoSuchKey", "no longer exists"), (403, "AccessDenied", "permission denied")]
    {
        let lake = server().new_bucket();
        let run = convert(Fault::Answer(status, code), of_day("2025/07/11/"), &lake).expect(2);
        assert_eq!((run.count("/objects/failed"), run.count("/rows")), (5, 1_500));
        run.says(&["2025/07/11", word]);
    }
}

/// Plans a conversion, runs it, and compares the actual request counts with the predicted ones. Returns the plan.
#[track_caller]
fn planned_and_done(source: &str, lake: &str, args: &[&str]) -> Run {
    let plan = alb2parquet("plan", source, lake, args).expect(0);
    let planned =
        ["list", "get", "put", "delete"].map(|kind| plan.count(&format!("/requests/{kind}")));
    let run = alb2parquet("convert", source, lake, args).expect(0);
    assert_eq!(planned.iter().sum::<u64>(), run.count("/requests"), "{planned:?}");
    assert_eq!(plan.count("/to_convert/objects"), run.count("/objects/converted"));
    plan
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn a_plan_counts_the_requests_of_its_conversion() {
    let (_, logs) = world_of_days();
    // An object large enough to be streamed in two ranges.
    let large = gzip_at(good_lines(14_000), Compression::none());
    server().target(&logs).create(&key_on("2025/08/20", 2), &large).unwrap();
    let lake = server().new_bucket();
    let begun = planned_and_done(&logs, &lake, &["--from", "2025-07-12"]);
    // S3 prices: 0.0004 USD per thousand GET requests, 0.005 USD per thousand PUT or LIST requests.
    let [get, others] = [["get"].as_slice(), &["list", "put"]].map(|kinds| {
        kinds.iter().map(|kind| begun.count(&format!("/requests/{kind}"))).sum::<u64>()
    });
    let price = begun.json()["price_usd"].as_f64().unwrap();
    assert!(
        (price - (get as f64 * 0.0004 + others as f64 * 0.005) / 1000.0).abs() < 1e-9,
        "{price}"
    );
    planned_and_done(&logs, &lake, &[]);
    let nothing = planned_and_done(&logs, &lake, &[]);
    assert_eq!((nothing.count("/batches"), nothing.count("/requests/put")), (0, 0));
    let source = World::with(gzip(good_lines(3)));
    planned_and_done(source.source().to_str().unwrap(), &server().new_bucket(), &[]);
    let free = alb2parquet(
        "plan",
        &logs,
        &server().new_bucket(),
        &["--price-get", "0", "--price-put", "0"],
    )
    .expect(0);
    assert_eq!(free.json()["price_usd"], 0.0);
}

#[test]
#[ignore = "needs a server; scripts/s3-test and scripts/emulators-test run it"]
fn tasks_can_share_batches_in_a_bucket() {
    let (world, logs) = world_of_days();
    let (lake, plans) = (server().new_bucket(), server().new_bucket());
    let below = format!("{logs}/AWSLogs");
    let args = ["plan", &below, "--out", &lake, "--jsonl", "--to", "2099-12-31"];
    let planned = run_command(&mut server().command(&args)).expect(0);
    assert_eq!(planned.stdout.lines().count(), 4);
    assert!(planned.stdout.contains(&format!("\"source\":\"{below}\"")), "{}", planned.stdout);
    server().target(&plans).create("a/plan.jsonl.gz", &gzip(&planned.stdout)).unwrap();
    let file = format!("{plans}/a/plan.jsonl.gz");
    for shard in ["0/2", "1/2"] {
        let args = ["convert", "--batches", &file, "--out", &lake, "--shard", shard];
        let run = run_command(&mut server().command(&args)).expect(0);
        assert_eq!(run.stdout.lines().count(), 2);
        assert_eq!(run.stdout.matches("\"objects\":5,").count(), 2, "{}", run.stdout);
    }
    same(&world, &lake);
    alb2parquet("verify", &logs, &lake, &["--read-data"]).expect(0);
    // An object that was rewritten after the plan was made is reported as a failure.
    let removed = server().command(&["remove", "--out", &lake, "--yes"]);
    run_command(&mut { removed }).expect(0);
    let key = key_on("2025/07/11", 2);
    let old = server().target(&logs).get(&key).unwrap().unwrap();
    server().target(&logs).delete(&key).unwrap();
    let mut new = gzip(good_lines(90));
    new.resize(old.len(), 0);
    server().target(&logs).create(&key, &new).unwrap();
    let args = ["convert", "--batches", &file, "--out", &lake];
    let run = run_command(&mut server().command(&args)).expect(2);
    run.says(&[&key, "1 failed"]);
    assert_eq!(run.stdout.matches("\"objects\":5,").count(), 3, "{}", run.stdout);
    assert_eq!(run.stdout.matches("\"failed\":1,").count(), 1, "{}", run.stdout);
}
