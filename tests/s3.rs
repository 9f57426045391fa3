//! Buckets, over a server that speaks S3's protocol: the same rows as on a disk, whatever fails on the way.
//!
//! `scripts/s3-test` starts a server and runs these tests; without one they are ignored, and say so.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use alb2parquet::store::{Bucket, Network, Place, Target};
use flate2::Compression;

use crate::support::{
    Run, World, contents, good_lines, gzip, gzip_at, key, key_on, program, run_command, tree,
};

/// Host and port of the server.
fn server() -> String {
    env::var("ALB2PARQUET_S3").expect("ALB2PARQUET_S3 is the host and port of a server")
}

/// Returns a new bucket's URL.
fn new_bucket() -> String {
    static BUCKETS: AtomicUsize = AtomicUsize::new(0);
    let number = BUCKETS.fetch_add(1, Ordering::Relaxed);
    let name = format!("test-{}-{number}", std::process::id());
    let mut stream = TcpStream::connect(server()).unwrap();
    let request = format!(
        "PUT /{name} HTTP/1.1\r\nHost: s3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    format!("s3://{name}")
}

/// Returns what lies below a URL.
fn target(url: &str) -> Bucket {
    let settings = [
        ("endpoint", format!("http://{}", server())),
        ("region", "us-east-1".to_owned()),
        ("access_key_id", "testing".to_owned()),
        ("secret_access_key", "testing".to_owned()),
    ];
    let network = Network::new(settings.map(|(key, value)| (key.to_owned(), value)).to_vec());
    match Place::parse(url).unwrap() {
        Place::Bucket(prefix) => Bucket::connect(&prefix, &network, "staging").unwrap(),
        Place::Local(path) => panic!("{} is local", path.display()),
    }
}

/// Puts the files below a directory into a bucket, or gets them.
fn upload(directory: &Path, url: &str) {
    let target = target(url);
    for (key, bytes) in tree(directory) {
        target.create(&key, &bytes).unwrap();
    }
}

fn download(url: &str, directory: &Path) {
    let target = target(url);
    for stored in target.list("").unwrap() {
        let bytes = target.get(&stored.key).unwrap().unwrap();
        crate::support::put(directory, &stored.key, bytes);
    }
}

/// A command of the program, with a server.
fn command(server: &str, args: &[&str]) -> Command {
    let mut command = program(args);
    for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command
        .env("AWS_ENDPOINT_URL", format!("http://{server}"))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

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
    // Below AWSLogs, and with filters, only what is wanted is listed.
    let below = format!("{logs}/AWSLogs/012345678901");
    let one = s3("convert", &below, &format!("{lake}/d"), &["--from", "2025-07-20"]).expect(0);
    assert_eq!(one.count("/objects/listed"), 2);
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
         {{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"AKID\\\",\\\"SecretAccessKey\\\":\\\"topsecret\\\"}}'\n",
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

/// What a proxy does to a request instead of passing it on.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Passes it on after a while.
    Delay(Duration),
    /// Answers with an error.
    Answer(&'static str),
    /// Passes it on and answers with an error.
    Landed(&'static str),
    /// Passes it on and ends the connection without an answer.
    Reset,
}

/// A proxy before the server that does something to every `every`th request.
fn proxy(fault: Fault, every: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let injected = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&injected);
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            let (fault, count) = ((number % every == 0).then_some(fault), Arc::clone(&count));
            // A connection that ends in the middle ends this thread, and nothing else.
            thread::spawn(move || pass(stream.unwrap(), fault, &count));
        }
    });
    (address, injected)
}

/// Passes one request on, since all connections are closed after it.
fn pass(mut client: TcpStream, fault: Option<Fault>, injected: &AtomicUsize) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).ok()?;
    if fault.is_some() {
        injected.fetch_add(1, Ordering::Relaxed);
    }
    match fault {
        Some(Fault::Answer(status)) => return answer(client, status),
        Some(Fault::Delay(time)) => thread::sleep(time),
        _ => {}
    }
    let mut upstream = TcpStream::connect(server()).ok()?;
    let head = text.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    upstream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    let mut reply = Vec::new();
    upstream.read_to_end(&mut reply).ok()?;
    match fault {
        Some(Fault::Landed(status)) => return answer(client, status),
        Some(Fault::Reset) => return client.shutdown(Shutdown::Both).ok(),
        _ => {}
    }
    client.write_all(&reply).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

fn answer(mut client: TcpStream, status: &str) -> Option<()> {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client.write_all(answer.as_bytes()).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn faults_cost_time_and_no_rows() {
    let world = World::new();
    for day in 10..14 {
        for number in 0..5 {
            world.put(&key_on(&format!("2025/07/{day}"), number), gzip(good_lines(100)));
        }
    }
    world.convert().expect(0);
    let logs = new_bucket();
    upload(&world.source(), &logs);
    for fault in [
        Fault::Delay(Duration::from_millis(20)),
        Fault::Answer("503 Slow Down"),
        Fault::Answer("500 Internal Server Error"),
        Fault::Landed("500 Internal Server Error"),
        Fault::Reset,
    ] {
        let lake = new_bucket();
        let (address, injected) = proxy(fault, 11);
        let run = with_server(&address, "convert", &logs, &lake, &["-v"]).expect(0);
        let injected = injected.load(Ordering::Relaxed) as u64;
        assert!(injected > 5, "{fault:?}: {injected}");
        if let Fault::Answer(_) | Fault::Landed(_) = fault {
            assert_eq!(run.count("/requests_failed"), injected, "{fault:?}");
            run.says(&["request failed", "and were repeated"]);
        }
        same(&world, &lake);
        s3("verify", &logs, &lake, &["--read-data"]).expect(0);
    }
}
