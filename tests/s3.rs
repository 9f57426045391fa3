//! Buckets, over a server that speaks S3's protocol: the same rows as on a disk, whatever fails on the way.
//!
//! `scripts/s3-test` starts a server and runs these tests; without one they are ignored, and say so.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use alb2parquet::internals::store::Target;
use flate2::Compression;

use crate::proxy::{Asked, Choice, Fault, Proxy};
use crate::server::{command, download, new_bucket, server, target, upload};
use crate::support::{Run, World, contents, good_lines, gzip, gzip_at, key, key_on, run_command};

fn with_server(server: &str, name: &str, source: &str, out: &str, args: &[&str]) -> Run {
    let fixed = [name, source, "--out", out, "--to", "2099-12-31", "--json"];
    run_command(&mut command(server, &[&fixed[..], args].concat()))
}

fn s3(name: &str, source: &str, out: &str, args: &[&str]) -> Run {
    with_server(&server(), name, source, out, args)
}

/// A world of two days, and what its conversion holds.
fn world() -> World {
    let world = World::new();
    for number in 1..6 {
        world.put(&key(number), gzip([good_lines(20 * number), b"bad\n".to_vec()].concat()));
    }
    world.put(&key_on("2025/07/20", 1), gzip(good_lines(5)));
    // One that is streamed, in two ranges.
    let large = gzip_at(good_lines(14_000), Compression::none());
    assert!(large.len() > 9_000_000, "{}", large.len());
    world.put(&key_on("2025/07/20", 2), large);
    world
}

const REJECTS: [&str; 2] = ["--max-rejects", "1"];

/// Asserts that the dataset in a bucket is that of the world's own disk.
#[track_caller]
fn same(world: &World, url: &str) {
    let copy = world.path(&format!("copy-{}", url.len()));
    let _ = fs::remove_dir_all(&copy);
    download(url, &copy);
    assert!(contents(&copy) == contents(&world.out()), "{url}");
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn every_mix_of_disk_and_bucket_holds_the_same() {
    let world = world();
    world.convert_with(&REJECTS).expect(0);
    let (logs, lake) = (new_bucket(), new_bucket());
    upload(&world.source(), &logs);
    let (source, out) = (world.source(), world.path("from-bucket"));
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    s3("convert", &logs, out, &REJECTS).expect(0);
    assert!(contents(out.as_ref()) == contents(&world.out()));
    for (from, to) in [(source, format!("{lake}/a")), (&logs, format!("{lake}/b/c"))] {
        let first = s3("convert", from, &to, &REJECTS).expect(0);
        assert_eq!(first.count("/objects/converted"), 7);
        same(&world, &to);
        let verified = s3("verify", from, &to, &["--read-data"]).expect(0);
        assert_eq!(verified.count("/compared"), 7);
        let again = s3("convert", from, &to, &REJECTS).expect(0);
        assert_eq!(again.count("/objects/skipped_by_kind/converted_before"), 7);
        assert_eq!(again.count("/files"), 0);
    }
    // Below AWSLogs, and with filters, only the selected days and those beside them are listed.
    let below = format!("{logs}/AWSLogs/012345678901");
    let one = s3("convert", &below, &format!("{lake}/d"), &["--from", "2025-07-20"]).expect(0);
    assert_eq!((one.count("/objects/listed"), one.count("/objects/converted")), (7, 2));
    let none = s3("convert", &below, &format!("{lake}/d"), &["--from", "2025-07-22"]).expect(0);
    assert_eq!(none.count("/objects/listed"), 0);
    // What was taken back is new.
    let to = format!("{lake}/a");
    let removed = command(&server(), &["remove", "--out", &to, "--to", "2025-07-19", "--yes"]);
    run_command(&mut { removed }).expect(0);
    s3("verify", source, &to, &[]).expect(1);
    s3("convert", source, &to, &REJECTS).expect(0);
    same(&world, &to);
    run_command(&mut command(&server(), &["clean", "--out", &to, "--older-than", "0s"])).expect(0);
    assert_eq!(target(&to).list("_alb2parquet/staging").unwrap(), []);
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn an_object_of_a_bucket_is_inspected() {
    let world = world();
    let logs = new_bucket();
    upload(&world.source(), &logs);
    let inspect = |key: &str| {
        run_command(&mut command(&server(), &["inspect", &format!("{logs}/{key}"), "--json"]))
    };
    let json = inspect(&key(3)).expect(1).json();
    assert_eq!((&json["rows"], &json["key"]["day"]), (&60.into(), &"2025-07-19".into()));
    let large = inspect(&key_on("2025/07/20", 2)).expect(0).json();
    assert_eq!(large["rows"], 14_000);
    inspect("AWSLogs/not/there.gz").expect(3).says(&["OBJECT", "AWSLogs/not/there.gz"]);
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn a_report_of_a_bucket_is_that_of_a_disk() {
    let world = world();
    world.convert_with(&REJECTS).expect(0);
    let (source, lake) = (world.source(), format!("{}/lake", new_bucket()));
    s3("convert", source.to_str().unwrap(), &lake, &REJECTS).expect(0);
    let report = |out: &str| {
        run_command(&mut command(&server(), &["report", out, "--json"])).expect(0).json()
    };
    let (there, here) = (report(&lake), report(world.out().to_str().unwrap()));
    for facts in ["totals", "regions", "balancers", "rejects", "months", "problems"] {
        assert_eq!(there[facts], here[facts], "{facts}");
    }
    assert_eq!(there["statements"][0]["engine"], "Athena");
    let text = there["statements"][0]["text"].as_str().unwrap();
    assert!(text.contains(&format!("LOCATION '{lake}/alb_access_logs/'")), "{text}");
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn a_killed_run_and_two_at_once_write_each_row_once() {
    let world = World::new();
    for day in 10..28 {
        world.put(&key_on(&format!("2025/07/{day}"), 1), gzip(good_lines(200)));
    }
    world.convert().expect(0);
    let lake = new_bucket();
    let source = world.source();
    let source = source.to_str().unwrap();
    let args = ["convert", source, "--out", &lake, "--to", "2099-12-31", "--quiet"];
    for delay in [150, 400] {
        let mut killed = command(&server(), &args).spawn().unwrap();
        thread::sleep(Duration::from_millis(delay));
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let mut runs = [(); 2].map(|()| command(&server(), &args).spawn().unwrap());
    for run in &mut runs {
        assert!(run.wait().unwrap().success());
    }
    s3("verify", source, &lake, &["--read-data"]).expect(0);
    let copy = world.path("copy");
    download(&lake, &copy);
    assert_eq!(crate::support::read(&copy, crate::support::ROWS).len(), 18 * 200);
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn credentials_come_from_a_profile() {
    let world = World::with(gzip(good_lines(3)));
    let lake = new_bucket();
    let (config, calls) = (world.path("config"), world.path("calls"));
    let give = format!(
        "[profile logs]\nregion = us-east-1\ncredential_process = sh -c 'echo x >> {}; echo \
         {{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"testing\\\",\\\"SecretAccessKey\\\":\\\"topsecret\\\"}}'\n",
        calls.display()
    );
    fs::write(&config, give).unwrap();
    let source = world.source();
    let run = |profile: &str| {
        let args =
            ["convert", source.to_str().unwrap(), "--out", &lake, "--to", "2099-12-31", "-v"];
        let mut command = command(&server(), &args);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
            command.env_remove(name);
        }
        command.env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", profile);
        run_command(command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"))
    };
    let done = run("logs").expect(0);
    assert!(!done.stderr.contains("topsecret"), "{done:?}");
    assert_eq!(fs::read_to_string(calls).unwrap(), "x\n", "one search serves all requests");
    let began = Instant::now();
    run("typo").expect(3).says(&["no credentials were found", "typo", "AWS_PROFILE"]);
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Serves the credentials of a container on a loopback port, a new access key each time.
fn container() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/credentials", listener.local_addr().unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let number = count.fetch_add(1, Ordering::Relaxed);
            let body = format!(
                "{{\"AccessKeyId\":\"AKID{number}\",\"SecretAccessKey\":\"topsecret\",\
                 \"Token\":\"toptoken\",\"Expiration\":\"2099-12-31T00:00:00Z\"}}"
            );
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, served)
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn credentials_that_expire_early_are_renewed_once() {
    let (world, logs) = world_of_days();
    let lake = new_bucket();
    let expired: Choice = Box::new(|asked, number| number > 120 && asked.is_signed_with("AKID0/"));
    let proxy = Proxy::start(&server(), Fault::Answer(400, "ExpiredToken"), expired);
    let (url, served) = container();
    let args = ["convert", &logs, "--out", &lake, "--to", "2099-12-31", "--json", "-v"];
    let mut command = command(&proxy.address, &args);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(name);
    }
    let command = command
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_CONFIG_FILE", "/dev/null");
    let run = run_command(command).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (20, 2_000));
    assert!(proxy.injected() > 0);
    assert_eq!(served.load(Ordering::Relaxed), 2, "one search, and one more when they had expired");
    for secret in ["topsecret", "toptoken"] {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret));
    }
    run.says(&["the credentials have expired"]);
    same(&world, &lake);
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn no_credentials_are_a_clear_error_within_seconds() {
    let world = World::with(gzip(good_lines(3)));
    let mut command = command(&server(), &["convert", "s3://logs", "--out"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(name);
    }
    let command = command
        .arg(world.out())
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_CONFIG_FILE", "/dev/null");
    let began = Instant::now();
    run_command(command).expect(3).says(&[
        "no credentials were found",
        "AWS_PROFILE",
        "skip_signature",
    ]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Runs `convert` over the keys that a file names.
fn convert_named(names: &str, source: &str, lake: &str) -> Run {
    s3("convert", source, lake, &["--objects", names])
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn an_inventory_takes_the_place_of_the_listing() {
    let (world, logs) = world_of_days();
    let bucket = logs.trim_start_matches("s3://");
    let target = target(&logs);
    let mut stored = target.list("").unwrap();
    stored.sort_by(|a, b| a.key.cmp(&b.key));
    // As S3 writes it: quoted, keys encoded, an older version among them.
    let rows = |extra: &str| -> String {
        let row = |key: &str, latest, size: u64| {
            let key = key.replace('=', "%3D");
            format!("\"{bucket}\",\"{key}\",\"v\",\"{latest}\",\"false\",\"{size}\"\n")
        };
        let rows = stored.iter().map(|stored| row(&stored.key, "true", stored.size));
        rows.collect::<String>() + &row(extra, "false", 1)
    };
    target.create("inventory/data/1.csv.gz", &gzip(rows("AWSLogs/old"))).unwrap();
    let manifest = format!(
        "{{\"sourceBucket\":\"{bucket}\",\"destinationBucket\":\"arn:aws:s3:::{bucket}\",\
         \"fileFormat\":\"CSV\",\"fileSchema\":\"Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size\",\
         \"files\":[{{\"key\":\"inventory/data/1.csv.gz\"}}]}}"
    );
    target.create("inventory/2026-11-01T01-00Z/manifest.json", manifest.as_bytes()).unwrap();
    let lake = new_bucket();
    let named = format!("{logs}/inventory/2026-11-01T01-00Z/manifest.json");
    let run = convert_named(&named, &logs, &lake).expect(0);
    assert_eq!((run.count("/objects/listed"), run.count("/objects/converted")), (20, 20));
    same(&world, &lake);
    // What was named is what a listing finds.
    s3("verify", &logs, &lake, &["--read-data"]).expect(0);
    let run = s3("convert", &logs, &lake, &[]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 20);
    // A CSV file on its own, keys and URLs; only what lies below the source is taken.
    let below = format!("{logs}/AWSLogs");
    let names = world.path("names");
    let key = &stored[0].key;
    for (text, listed) in
        [(rows("AWSLogs/gone"), 21), (format!("{key}\n{logs}/{key}\r\n\nother/x\n"), 3)]
    {
        fs::write(&names, text).unwrap();
        let run = convert_named(names.to_str().unwrap(), &below, &lake);
        let gone = u64::from(listed == 21);
        assert_eq!(run.count("/objects/listed") + gone, listed, "{run:#?}");
        assert_eq!(run.count("/objects/failed"), gone);
    }
    fs::write(&names, format!("{key}\ns3://elsewhere/{key}\n")).unwrap();
    convert_named(names.to_str().unwrap(), &logs, &lake).expect(3).says(&[
        "line 2",
        "elsewhere",
        &logs,
    ]);
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn a_bucket_that_is_not_there_is_named() {
    let world = World::with(gzip(good_lines(3)));
    let (source, out) = (world.source(), world.out());
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    s3("convert", "s3://not-there", out, &[]).expect(3).says(&["s3://not-there", "no such bucket"]);
    s3("convert", source, "s3://not-there/a", &[]).expect(3).says(&["not-there", "no such bucket"]);
}

// ---- faults

/// Every `n`th request.
fn every(n: usize) -> impl Fn(&Asked, usize) -> bool {
    move |_, number| number % n == n - 1
}

/// The first `n` requests for objects of the source.
fn first_reads(n: usize) -> impl Fn(&Asked, usize) -> bool {
    let seen = AtomicUsize::new(0);
    move |asked, _| asked.is_read_of("AWSLogs/") && seen.fetch_add(1, Ordering::Relaxed) < n
}

/// A world of four days with five objects each, converted, and a bucket with its source.
fn world_of_days() -> (World, String) {
    let world = World::new();
    for day in 10..14 {
        for number in 0..5 {
            world.put(&key_on(&format!("2025/07/{day}"), number), gzip(good_lines(100)));
        }
    }
    world.convert().expect(0);
    let logs = new_bucket();
    upload(&world.source(), &logs);
    (world, logs)
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
#[allow(clippy::print_stdout)] // the table of faults
fn faults_cost_time_and_no_rows() {
    let (world, logs) = world_of_days();
    let faults: [(&str, Fault, Choice); 13] = [
        ("20 ms later", Fault::Delay(Duration::from_millis(20)), Box::new(every(1))),
        ("503 SlowDown", Fault::Answer(503, "SlowDown"), Box::new(every(11))),
        ("500 InternalError", Fault::Answer(500, "InternalError"), Box::new(every(11))),
        ("500 after it took effect", Fault::Landed(500, "InternalError"), Box::new(every(11))),
        ("400 RequestTimeout", Fault::Answer(400, "RequestTimeout"), Box::new(every(11))),
        ("reset before", Fault::Refuse, Box::new(every(11))),
        ("reset after it took effect", Fault::Reset, Box::new(every(11))),
        ("refusal cut in the middle", Fault::CutRefusal, Box::new(every(1))),
        ("body cut after 100 bytes", Fault::Cut(100), Box::new(first_reads(7))),
        ("body that stalls", Fault::Stall(100), Box::new(first_reads(3))),
        ("a wrong byte in an object", Fault::Flip(100), Box::new(first_reads(7))),
        ("409 of a create", Fault::Answer(409, "ConditionalRequestConflict"), {
            let seen = AtomicUsize::new(0);
            Box::new(move |asked, _| {
                asked.is_create_of("claims/")
                    && seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(3)
            })
        }),
        ("412 of our own create", Fault::Landed(412, "PreconditionFailed"), {
            let seen = AtomicUsize::new(0);
            Box::new(move |asked, _| {
                asked.is_create_of("claims/")
                    && seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(3)
            })
        }),
    ];
    println!("{:30} {:>8} {:>8} {:>9} {:>8}", "fault", "injected", "repeated", "converted", "rows");
    for (name, fault, choice) in faults {
        let lake = new_bucket();
        let proxy = Proxy::start(&server(), fault, choice);
        let args = ["-v", "--option", "read_timeout=3s"];
        let run = with_server(&proxy.address, "convert", &logs, &lake, &args).expect(0);
        let (injected, failed) = (proxy.injected(), run.count("/requests_failed"));
        let (converted, rows) = (run.count("/objects/converted"), run.count("/rows"));
        println!("{name:30} {injected:>8} {failed:>8} {converted:>9} {rows:>8}");
        assert!(injected > 2, "{name}: {injected}");
        assert_eq!((converted, rows), (20, 2_000), "{name}");
        if let Fault::Answer(400.., "RequestTimeout") | Fault::Answer(500.., _) = fault {
            assert_eq!(failed, injected, "{name}");
            run.says(&["request failed", "and were repeated"]);
        }
        same(&world, &lake);
        s3("verify", &logs, &lake, &["--read-data"]).expect(0);
    }
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn small_partitions_are_published_at_once() {
    let (world, logs) = world_of_days();
    let lake = new_bucket();
    // No claim is answered before that of every day has come.
    let claims: Choice = Box::new(|asked, _| asked.is_create_of("1.claim.json"));
    let proxy = Proxy::start(&server(), Fault::Gather(4), claims);
    let run = with_server(&proxy.address, "convert", &logs, &lake, &["--threads", "1"]).expect(0);
    assert_eq!((proxy.injected(), run.count("/requests_failed")), (4, 0));
    same(&world, &lake);
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn what_cannot_be_read_is_left_out_by_name() {
    let (_, logs) = world_of_days();
    let of_day = |day: &'static str| -> Choice { Box::new(move |asked, _| asked.is_read_of(day)) };
    let convert = |fault, choice, lake: &str| {
        let proxy = Proxy::start(&server(), fault, choice);
        with_server(&proxy.address, "convert", &logs, lake, &[])
    };
    // Archived objects are left aside with their bytes, and are converted when they were restored.
    let lake = new_bucket();
    let run =
        convert(Fault::Answer(403, "InvalidObjectState"), of_day("2025/07/11/"), &lake).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/archived"), 5);
    assert!(run.count("/bytes_archived") > 500);
    run.says(&["archived", "restore"]);
    let run = s3("convert", &logs, &lake, &[]).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (5, 500));
    s3("verify", &logs, &lake, &["--read-data"]).expect(0);
    // So are objects that were deleted, or may not be read, as failures.
    for (status, code, word) in
        [(404, "NoSuchKey", "is gone"), (403, "AccessDenied", "permission denied")]
    {
        let lake = new_bucket();
        let run = convert(Fault::Answer(status, code), of_day("2025/07/11/"), &lake).expect(2);
        assert_eq!((run.count("/objects/failed"), run.count("/rows")), (5, 1_500));
        run.says(&["2025/07/11", word]);
    }
}

/// Plans a conversion, does it, and compares the requests; returns what was planned.
#[track_caller]
fn planned_and_done(source: &str, lake: &str, args: &[&str]) -> Run {
    let plan = s3("plan", source, lake, args).expect(0);
    let planned =
        ["list", "get", "put", "delete"].map(|kind| plan.count(&format!("/requests/{kind}")));
    let run = s3("convert", source, lake, args).expect(0);
    assert_eq!(planned.iter().sum::<u64>(), run.count("/requests"), "{planned:?}");
    assert_eq!(plan.count("/to_convert/objects"), run.count("/objects/converted"));
    plan
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn a_plan_counts_the_requests_of_its_conversion() {
    let (_, logs) = world_of_days();
    // One that is streamed, in two ranges.
    let large = gzip_at(good_lines(14_000), Compression::none());
    target(&logs).create(&key_on("2025/08/20", 2), &large).unwrap();
    let lake = new_bucket();
    let begun = planned_and_done(&logs, &lake, &["--from", "2025-07-12"]);
    // S3's prices: 0.0004 USD for a thousand GET, 0.005 USD for a thousand PUT or LIST.
    let [get, others] = [["get"].as_slice(), &["list", "put"]].map(|kinds| {
        kinds.iter().map(|kind| begun.count(&format!("/requests/{kind}"))).sum::<u64>()
    });
    let price = begun.json()["price"].as_f64().unwrap();
    assert!(
        (price - (get as f64 * 0.0004 + others as f64 * 0.005) / 1000.0).abs() < 1e-9,
        "{price}"
    );
    planned_and_done(&logs, &lake, &[]);
    let nothing = planned_and_done(&logs, &lake, &[]);
    assert_eq!((nothing.count("/batches"), nothing.count("/requests/put")), (0, 0));
    let source = World::with(gzip(good_lines(3)));
    planned_and_done(source.source().to_str().unwrap(), &new_bucket(), &[]);
    let free =
        s3("plan", &logs, &new_bucket(), &["--price-get", "0", "--price-put", "0"]).expect(0);
    assert_eq!(free.json()["price"], 0.0);

    // Inventories can tell what is archived.
    let (bucket, mut rows) = (logs.trim_start_matches("s3://"), String::new());
    let classes = ["STANDARD", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"];
    let mut archived = 0;
    for (stored, class) in target(&logs).list("AWSLogs").unwrap().iter().zip(classes.iter().cycle())
    {
        let tier = if *class == "INTELLIGENT_TIERING" { "ARCHIVE_ACCESS" } else { "" };
        writeln!(rows, "\"{bucket}\",\"{}\",\"{class}\",\"{tier}\"", stored.key).unwrap();
        let is_archived = !tier.is_empty() || ["GLACIER", "DEEP_ARCHIVE"].contains(class);
        archived += u64::from(is_archived) * stored.size;
    }
    let data = target(&logs);
    data.create("inventory/data/2.csv", rows.as_bytes()).unwrap();
    let manifest = format!(
        "{{\"sourceBucket\":\"{bucket}\",\"destinationBucket\":\"arn:aws:s3:::{bucket}\",\"fileFormat\":\"CSV\",\
         \"fileSchema\":\"Bucket, Key, StorageClass, IntelligentTieringAccessTier\",\
         \"files\":[{{\"key\":\"inventory/data/2.csv\"}}]}}"
    );
    data.create("inventory/a/manifest.json", manifest.as_bytes()).unwrap();
    let named = format!("{logs}/inventory/a/manifest.json");
    let plan = s3("plan", &logs, &new_bucket(), &["--objects", &named]).expect(0);
    assert_eq!(plan.count("/archived/bytes"), archived);
    plan.says(&["by the inventory: restore them first"]);
    let plan = s3("plan", &logs, &new_bucket(), &[]).expect(0);
    assert_eq!(plan.json()["archived"], serde_json::Value::Null);
}

/// A plan that lies in a bucket is done by two tasks, as if its source had been listed.
#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn batches_in_a_bucket_are_shared_by_tasks() {
    let (world, logs) = world_of_days();
    let (lake, plans) = (new_bucket(), new_bucket());
    let below = format!("{logs}/AWSLogs");
    let args = ["plan", &below, "--out", &lake, "--jsonl", "--to", "2099-12-31"];
    let planned = run_command(&mut command(&server(), &args)).expect(0);
    assert_eq!(planned.stdout.lines().count(), 4);
    assert!(planned.stdout.contains(&format!("\"source\":\"{below}\"")), "{}", planned.stdout);
    target(&plans).create("a/plan.jsonl.gz", &gzip(&planned.stdout)).unwrap();
    let file = format!("{plans}/a/plan.jsonl.gz");
    for shard in ["0/2", "1/2"] {
        let args = ["convert", "--batches", &file, "--out", &lake, "--shard", shard];
        let run = run_command(&mut command(&server(), &args)).expect(0);
        assert_eq!(run.stdout.lines().count(), 2);
        assert_eq!(run.stdout.matches("\"objects\":5,").count(), 2, "{}", run.stdout);
    }
    same(&world, &lake);
    s3("verify", &logs, &lake, &["--read-data"]).expect(0);
    // One that was rewritten since is found when it is read.
    let removed = command(&server(), &["remove", "--out", &lake, "--yes"]);
    run_command(&mut { removed }).expect(0);
    let key = key_on("2025/07/11", 2);
    let old = target(&logs).get(&key).unwrap().unwrap();
    target(&logs).delete(&key).unwrap();
    let mut new = gzip(good_lines(90));
    new.resize(old.len(), 0);
    target(&logs).create(&key, &new).unwrap();
    let args = ["convert", "--batches", &file, "--out", &lake];
    let run = run_command(&mut command(&server(), &args)).expect(2);
    run.says(&[&key, "1 failed"]);
    assert_eq!(run.stdout.matches("\"objects\":5,").count(), 3, "{}", run.stdout);
    assert_eq!(run.stdout.matches("\"failed\":1,").count(), 1, "{}", run.stdout);
}
