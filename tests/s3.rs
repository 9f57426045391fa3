//! S3 features: AWS credentials, S3 Inventory, and archived objects. The tests use a server that implements the S3
//! protocol.
//!
//! `scripts/s3-test` starts a server and runs these tests. Without a server, they are ignored.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use alb2parquet::internals::store::Target;

use crate::buckets::{on_server, same, world_of_days};
use crate::proxy::{Choice, Fault, Proxy};
use crate::server::{Server, command};
use crate::support::{Run, World, good_lines, gzip, run_command};

/// Returns the host and port of the server.
fn server() -> String {
    Server::required().address
}

fn new_bucket() -> String {
    Server::required().new_bucket()
}

fn s3(name: &str, source: &str, out: &str, args: &[&str]) -> Run {
    on_server(&Server::required(), name, source, out, args)
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
    assert_eq!(
        fs::read_to_string(calls).unwrap(),
        "x\n",
        "all requests share the credentials of one lookup"
    );
    let began = Instant::now();
    run("typo").expect(3).says(&["no credentials were found", "typo", "AWS_PROFILE"]);
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Serves container credentials on a loopback port, with a new access key for every request. Returns the address and
/// the request count.
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
    let expired: Choice =
        Box::new(|request, number| number > 120 && request.is_signed_with("AKID0/"));
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
    assert_eq!(
        served.load(Ordering::Relaxed),
        2,
        "one lookup, and one more after the credentials expired"
    );
    for secret in ["topsecret", "toptoken"] {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret));
    }
    run.says(&["the credentials have expired"]);
    same(&world, &lake);
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn missing_credentials_are_a_clear_error_within_seconds() {
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

/// Runs `convert` with an object list from a file.
fn convert_named(names: &str, source: &str, lake: &str) -> Run {
    s3("convert", source, lake, &["--objects", names])
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn an_inventory_replaces_the_listing() {
    let (world, logs) = world_of_days();
    let bucket = logs.trim_start_matches("s3://");
    let target = Server::required().target(&logs);
    let mut stored = target.list("").unwrap();
    stored.sort_by(|a, b| a.key.cmp(&b.key));
    // The format that S3 writes: quoted values, URL-encoded keys, and rows for older versions of objects.
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
    // `verify`, which lists the bucket, finds the same objects as the inventory.
    s3("verify", &logs, &lake, &["--read-data"]).expect(0);
    let run = s3("convert", &logs, &lake, &[]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 20);
    // First use a single CSV file, then a list of keys and URLs. Only objects below the source are read.
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
fn a_plan_counts_the_archived_objects_of_an_inventory() {
    let (_, logs) = world_of_days();
    let target = Server::required().target(&logs);
    let (bucket, mut rows) = (logs.trim_start_matches("s3://"), String::new());
    let classes = ["STANDARD", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"];
    let mut archived = 0;
    for (stored, class) in target.list("AWSLogs").unwrap().iter().zip(classes.iter().cycle()) {
        let tier = if *class == "INTELLIGENT_TIERING" { "ARCHIVE_ACCESS" } else { "" };
        writeln!(rows, "\"{bucket}\",\"{}\",\"{class}\",\"{tier}\"", stored.key).unwrap();
        let is_archived = !tier.is_empty() || ["GLACIER", "DEEP_ARCHIVE"].contains(class);
        archived += u64::from(is_archived) * stored.size;
    }
    target.create("inventory/data/2.csv", rows.as_bytes()).unwrap();
    let manifest = format!(
        "{{\"sourceBucket\":\"{bucket}\",\"destinationBucket\":\"arn:aws:s3:::{bucket}\",\"fileFormat\":\"CSV\",\
         \"fileSchema\":\"Bucket, Key, StorageClass, IntelligentTieringAccessTier\",\
         \"files\":[{{\"key\":\"inventory/data/2.csv\"}}]}}"
    );
    target.create("inventory/a/manifest.json", manifest.as_bytes()).unwrap();
    let named = format!("{logs}/inventory/a/manifest.json");
    let plan = s3("plan", &logs, &new_bucket(), &["--objects", &named]).expect(0);
    assert_eq!(plan.count("/archived/bytes"), archived);
    plan.says(&["according to the inventory: restore them first"]);
    let plan = s3("plan", &logs, &new_bucket(), &[]).expect(0);
    assert_eq!(plan.json()["archived"], serde_json::Value::Null);
}
