//! Bucket listings: unusual keys, large buckets, stores with invalid responses, and stores that do not respond.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::memory::{Memory, Reply, Request};
use crate::server::command;
use crate::support::{
    ROWS, Run, World, good_lines, gzip, key, read, report_skipped, run_command, tree,
};

fn convert(server: &Memory, out: &Path, args: &[&str]) -> Run {
    let out = out.to_str().unwrap();
    let fixed = ["convert", "s3://logs", "--out", out, "--to", "2099-12-31", "--json"];
    run_command(&mut command(&server.address, &[&fixed[..], args].concat()))
}

fn bucket(keys: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let object = |key: &&str| {
        let bytes = if key.ends_with(".log.gz") { gzip(good_lines(3)) } else { b"x".to_vec() };
        ((*key).to_owned(), bytes)
    };
    keys.iter().map(object).collect()
}

// ---- unusual keys

/// Returns keys that are valid in S3 but unusual. Each log has a different name.
fn odd_keys() -> Vec<String> {
    let day = key(1).rsplit_once('/').unwrap().0.to_owned();
    vec![
        key(1),
        format!("alb//{}", key(2)),
        format!("/{}", key(3)),
        format!("tab\there/{}", key(4)),
        format!("a&b <c>/\u{1}/{}", key(5)),
        "/".to_owned(),
        "//".to_owned(),
        "reports//2026/x.csv".to_owned(),
        "notes\tof\nmine.txt".to_owned(),
        format!("{day}/"),
        format!("{day}//copy.txt"),
        format!("{day}/a\tb.txt"),
        "./notes.txt".to_owned(),
        "a/../b".to_owned(),
    ]
}

#[test]
fn keys_that_are_not_paths_are_read_and_affect_no_other_object() {
    let (keys, dir) = (odd_keys(), TempDir::new().unwrap());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let server = Memory::start(bucket(&keys), |_| Reply::Usual);
    let run = convert(&server, dir.path(), &[]).expect(0);
    assert_eq!(run.count("/objects/listed"), keys.len() as u64);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (5, 15));
    assert!(server.lists() < 30, "{} pages", server.lists());
    let keys: Vec<_> = read(dir.path(), ROWS).iter().map(|row| row["source_key"].clone()).collect();
    assert!(keys.contains(&Some(format!("alb//{}", key(2)))), "{keys:?}");
    let out = dir.path().to_str().unwrap();
    let args = ["verify", "s3://logs", "--out", out, "--to", "2099-12-31", "--read-data", "--json"];
    let verified = run_command(&mut command(&server.address, &args)).expect(0);
    assert_eq!(verified.count("/compared"), 5);
}

#[test]
fn a_log_whose_key_no_url_can_represent_is_a_named_failure() {
    let odd = format!("./{}", key(9));
    let (first, dir) = (key(1), TempDir::new().unwrap());
    let server = Memory::start(bucket(&[&first, &odd, "./x.txt"]), |_| Reply::Usual);
    let run = convert(&server, dir.path(), &[]).expect(2);
    assert_eq!(run.count("/objects/converted"), 1);
    assert_eq!(run.json()["failures"][0]["object"], odd);
    run.says(&["segment . or .."]);
}

#[test]
fn an_unusual_local_name_affects_only_its_file() {
    let world = World::with(gzip(good_lines(3)));
    let below = |name: &[u8]| world.source().join(std::ffi::OsStr::from_bytes(name));
    let put = |name: &[u8], number| {
        let path = below(name).join(key(number));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, gzip(good_lines(3))).unwrap();
    };
    for (number, name) in (11..).zip([&b"tab\there"[..], b"line\nfeed", b"100%", b"a%2Fb", b"b\\s"])
    {
        put(name, number);
    }
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/converted"), 6);
    put(b"caf\xe9", 21);
    std::fs::write(below(b"caf\xe9/notes.txt"), "x").unwrap();
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!(run.json()["failures"].as_array().unwrap().len(), 1);
    run.says(&["its path is not UTF-8"]);
}

#[test]
fn a_local_file_that_cannot_be_listed_or_read_is_a_named_failure() {
    let world = World::with(gzip(good_lines(3)));
    let link = world.source().join(key(2));
    std::os::unix::fs::symlink("/not/there.log.gz", &link).unwrap();
    std::os::unix::fs::symlink("/not/there", world.source().join("other")).unwrap();
    std::os::unix::fs::symlink(".", world.source().join("loop")).unwrap();
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!(run.json()["failures"].as_array().unwrap().len(), 1);
    run.says(&["is a link to a file that does not exist"]);
    std::fs::remove_file(&link).unwrap();
    assert!(Command::new("mkfifo").arg(&link).status().unwrap().success());
    world.convert_with(&["--json"]).expect(2).says(&["is not a regular file"]);
    std::fs::remove_file(&link).unwrap();
    let huge = std::fs::File::create(&link).unwrap();
    // Many file systems do not support files of this size.
    if huge.set_len(1 << 48).is_err() {
        let test = "listing::a_local_file_that_cannot_be_listed_or_read_is_a_named_failure, partly";
        report_skipped(test, "the file system does not support files of 256 TiB");
        return;
    }
    world.convert_with(&["--json"]).expect(2).says(&["is too large"]);
}

// ---- large buckets

#[test]
fn a_log_among_many_other_objects_takes_few_requests() {
    let mut objects = bucket(&[&key(1)]);
    let mut put = |key: String| objects.insert(key, b"x".to_vec());
    for number in 0..1500 {
        put(format!("data/customer={number:05}/part-0.json"));
    }
    for number in 0..300 {
        put(format!("tmp/a{}/b{}/c{number}/d/e/f.txt", number % 3, number % 7));
    }
    let (server, dir) = (Memory::start(objects, |_| Reply::Usual), TempDir::new().unwrap());
    let run = convert(&server, dir.path(), &[]).expect(0);
    assert_eq!((run.count("/objects/listed"), run.count("/objects/converted")), (1801, 1));
    // All objects together would fit on two pages.
    assert!(server.lists() <= 6, "{} pages", server.lists());
}

// ---- stores with invalid responses

#[test]
fn an_invalid_listing_is_never_an_empty_bucket() {
    let html = "<html><body><h1>It works!</h1></body></html>";
    let cut = "<?xml version=\"1.0\"?><ListBucketResult><Contents><Key>a</Key>";
    let more = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let cases = [
        (html, "not an S3 response from http://127.0.0.1:"),
        ("", "wrong port?"),
        ("{\"status\":\"ok\"}", "not an S3 response"),
        ("<ListAllMyBucketsResult></ListAllMyBucketsResult>", "not an S3 response"),
        (cut, "it is truncated"),
        (more, "no continuation token"),
    ];
    for (body, message) in cases {
        let server = Memory::start([], move |_| Reply::Other(200, body.to_owned()));
        let dir = TempDir::new().unwrap();
        for name in ["plan", "convert", "verify"] {
            let run = if name == "convert" {
                convert(&server, &dir.path().join("lake"), &[])
            } else if name == "plan" {
                run_command(&mut command(&server.address, &["plan", "s3://logs"]))
            } else {
                let world = World::with(gzip(good_lines(3)));
                world.convert().expect(0);
                let out = world.out();
                let args = ["verify", "s3://logs", "--out", out.to_str().unwrap()];
                run_command(&mut command(&server.address, &args))
            };
            run.expect(3).says(&[message, "s3://logs"]);
        }
    }
}

#[test]
fn an_invalid_listing_is_never_an_empty_dataset() {
    let world = World::with(gzip(good_lines(3)));
    world.convert().expect(0);
    let source = world.source();
    let source = source.to_str().unwrap();
    for (body, message) in [
        ("<html></html>", "not an S3 response from http://127.0.0.1:"),
        (
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t\
             </NextContinuationToken></ListBucketResult>",
            "repeats a continuation token",
        ),
    ] {
        let objects = tree(&world.out());
        let wrong = move |request: &Request| {
            if request.is_list() { Reply::Other(200, body.to_owned()) } else { Reply::Usual }
        };
        let server = Memory::start(objects, wrong);
        for args in [
            &["report", "s3://lake"][..],
            &["remove", "--out", "s3://lake"],
            &["clean", "--out", "s3://lake"],
            &["verify", source, "--out", "s3://lake"],
            &["convert", source, "--out", "s3://lake"],
        ] {
            run_command(&mut command(&server.address, args)).expect(3).says(&[message]);
        }
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_a_failure_and_the_others_are_converted() {
    let day = format!("{}/", key(1).rsplit_once('/').unwrap().0);
    let mut objects = bucket(&[&key(1), &key(2).replace("/2025/07/19/", "/2025/07/18/")]);
    objects.extend((0..2500).map(|number| (format!("0/{number:04}"), b"x".to_vec())));
    for (status, body, message) in [
        (200, "<html></html>", "not an S3 response"),
        (403, "<Error><Code>AccessDenied</Code></Error>", "permission denied"),
    ] {
        let of_day = day.clone();
        let wrong = move |request: &Request| {
            let get = |name: &str| request.query.get(name).map_or("", String::as_str);
            let is_sweep = get("prefix").is_empty() && get("delimiter").is_empty();
            let is_first = get("start-after").is_empty() && get("continuation-token").is_empty();
            if request.is_list() && (get("prefix") == of_day || is_sweep && !is_first) {
                Reply::Other(status, body.to_owned())
            } else {
                Reply::Usual
            }
        };
        let (server, dir) = (Memory::start(objects.clone(), wrong), TempDir::new().unwrap());
        let out = dir.path().to_str().unwrap();
        let days = ["--from", "2025-07-18", "--to", "2025-07-19"];
        let args = ["convert", "s3://logs", "--out", out, "--json"];
        let mut command = command(&server.address, &[&args[..], &days].concat());
        let run = run_command(&mut command).expect(2);
        assert_eq!((run.count("/objects/converted"), run.count("/objects/listed")), (1, 2501));
        run.says(&[&format!("s3://logs/{day} cannot be listed: {message}")]);
    }
}

// ---- stores that do not respond

/// Starts a command.
fn start(server: &Memory, args: &[&str]) -> Child {
    let mut command = command(&server.address, args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
}

/// Sends SIGTERM to a waiting command, and returns its stderr.
#[track_caller]
fn terminate(child: Child) -> String {
    let sent = Instant::now();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{stderr}");
    // The documentation promises five seconds, but test machines are busy.
    assert!(sent.elapsed() < Duration::from_secs(10), "{:?}: {stderr}", sent.elapsed());
    stderr
}

/// The objects in a bucket, and whether its server responds to a request.
type Store = (BTreeMap<String, Vec<u8>>, fn(&Request) -> bool);

#[test]
fn a_signal_ends_every_command_that_waits_for_a_store() {
    let world = World::with(gzip(good_lines(3)));
    world.convert().expect(0);
    let (source, out) = (world.source(), world.out());
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    let fresh = world.path("fresh");
    let fresh = fresh.to_str().unwrap();
    let logs = || bucket(&[&key(1)]);
    let many: Vec<String> = (0..1500).map(|number| format!("0/{number:04}/x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let silent = || -> Store { (BTreeMap::new(), |_| false) };
    let first_page_only =
        |request: &Request| request.is_list() && !request.query.contains_key("delimiter");
    let listing = || -> Store { (bucket(&many), first_page_only) };
    let reading = || -> Store { (logs(), Request::is_list) };
    let writing = || -> Store { (BTreeMap::new(), |request| request.method != "POST") };
    let object = format!("s3://logs/{}", key(1));
    let to = ["--to", "2099-12-31"];
    let cases: [(Store, Vec<&str>, &str); 13] = [
        (silent(), vec!["convert", "s3://b", "--out", fresh], "conversion interrupted"),
        (silent(), vec!["convert", source, "--out", "s3://b"], "conversion interrupted"),
        (silent(), vec!["plan", "s3://b"], "planning interrupted"),
        (silent(), vec!["verify", "s3://b", "--out", out], "verification interrupted"),
        (silent(), vec!["verify", source, "--out", "s3://b"], "verification interrupted"),
        (silent(), vec!["report", "s3://b"], "report interrupted"),
        (silent(), vec!["remove", "--out", "s3://b", "--yes"], "removal interrupted"),
        (silent(), vec!["clean", "--out", "s3://b"], "cleaning interrupted"),
        (silent(), vec!["inspect", &object], "inspection interrupted"),
        (listing(), vec!["convert", "s3://b", "--out", fresh], "conversion interrupted"),
        (
            reading(),
            vec!["convert", "s3://b", "--out", fresh, to[0], to[1]],
            "conversion interrupted",
        ),
        (
            reading(),
            vec!["verify", "s3://b", "--out", out, "--read-data", to[0], to[1]],
            "verification interrupted",
        ),
        (
            writing(),
            vec!["convert", source, "--out", "s3://b", to[0], to[1]],
            "conversion interrupted",
        ),
    ];
    let started = cases.map(|((objects, responds), args, message)| {
        let (waiting, waits) = mpsc::channel();
        let server = Memory::start(objects, move |request| {
            if responds(request) {
                return Reply::Usual;
            }
            // Later requests can find the receiver dropped.
            let _ = waiting.send(());
            Reply::Silence
        });
        (start(&server, &args), waits, args, message)
    });
    for (child, waits, args, message) in started {
        waits.recv_timeout(Duration::from_mins(2)).expect("the command waits for the store");
        let stderr = terminate(child);
        assert!(stderr.contains(message), "{args:?}: {stderr}");
        let converts = stderr.contains("conver");
        assert_eq!(converts, args[0] == "convert", "{args:?}: {stderr}");
    }
}

#[test]
fn a_store_that_does_not_respond_is_named_while_the_program_waits() {
    let silent = Memory::start([], |_| Reply::Silence);
    let dir = TempDir::new().unwrap();
    let out = dir.path().to_str().unwrap();
    let convert = ["convert", "s3://b", "--out", out];
    let runs = [
        start(&silent, &["plan", "s3://b"]),
        start(&silent, &convert),
        start(&silent, &[&convert[..], &["--log-format", "json"]].concat()),
        start(&silent, &[&convert[..], &["--quiet"]].concat()),
    ];
    thread::sleep(Duration::from_secs(13));
    let [plan, text, json, quiet] = runs.map(terminate);
    let line = "waiting for s3://b: no response for 1";
    assert!(plan.contains(line) && text.contains(line), "{plan}\n{text}");
    assert!(json.contains(line) && json.lines().all(|line| line.starts_with('{')), "{json}");
    assert!(!quiet.contains("waiting"), "{quiet}");
}
