//! The number of concurrent reads from a bucket adapts to the work, never exceeds `--max-requests`, and decreases while
//! the store throttles requests.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use alb2parquet::internals::store::{FileKey, Kind, Target, Writing};
use serde_json::Value;
use tempfile::TempDir;

use crate::memory::{Memory, Reply, Request};
use crate::server::{Server, command};
use crate::support::{Run, good_lines, gzip, key_of, run_command};

/// Returns small objects: `of_day` objects for each of `days` days.
fn objects(days: usize, of_day: usize) -> Vec<(String, Vec<u8>)> {
    let key = |day: usize, number: usize| {
        let balancer = format!("my-lb-{}.50dc6c495c0c9188", number / 250);
        let day = format!("2025/07/{:02}", day + 1);
        key_of("012345678901", "eu-west-1", &day, &balancer, number % 250)
    };
    let body = gzip(good_lines(2));
    let keys = (0..days).flat_map(|day| (0..of_day).map(move |number| key(day, number)));
    keys.map(|key| (key, body.clone())).collect()
}

fn run(server: &Memory, name: &str, out: &str, args: &[&str]) -> Run {
    let fixed = [name, "s3://logs", "--out", out, "--to", "2099-12-31"];
    run_command(&mut command(&server.address, &[&fixed[..], args].concat()))
}

/// Returns the last log message about reads from a JSON log.
fn reads(run: &Run) -> Value {
    let lines = run.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut reads = lines.filter(|line| line["message"] == "reads");
    reads.next_back().unwrap_or_else(|| panic!("no message about reads: {}", run.stderr))
}

/// Converts objects from a store that takes 500 ms per read. Returns the store's maximum number of concurrent reads,
/// and the last message about reads.
fn most_concurrent(args: &[&str]) -> (usize, Value) {
    let (open, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let slow = move |request: &Request| {
        if request.is_read() {
            seen.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(500));
            open.fetch_sub(1, Ordering::SeqCst);
        }
        Reply::Usual
    };
    let (server, dir) = (Memory::start(objects(1, 1_000), slow), TempDir::new().unwrap());
    let args = [&["--log-format", "json", "--threads", "2"], args].concat();
    let converted = run(&server, "convert", dir.path().to_str().unwrap(), &args).expect(0);
    (most.load(Ordering::SeqCst), reads(&converted))
}

#[test]
fn reads_follow_the_latency_and_stay_below_the_maximum() {
    let (most, reads) = most_concurrent(&[]);
    assert!(most > 64, "{most} {reads}");
    assert!(reads["latency_ms"].as_f64().unwrap() >= 500.0, "{reads}");
    assert_eq!((&reads["throttled"], &reads["in_flight"]), (&0.into(), &0.into()), "{reads}");
    let (most, reads) = most_concurrent(&["--max-requests", "40"]);
    assert!((20..=40).contains(&most), "{most} {reads}");
    assert_eq!((&reads["most_in_flight"], &reads["max_requests"]), (&40.into(), &40.into()));
}

#[test]
fn a_store_that_throttles_a_third_of_all_requests_loses_nothing() {
    for out_is_remote in [false, true] {
        let (of_objects, of_others) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let throttle = move |request: &Request| {
            thread::sleep(Duration::from_millis(5));
            let is_object = request.is_read() && request.key.ends_with(".log.gz");
            let number =
                if is_object { &of_objects } else { &of_others }.fetch_add(1, Ordering::SeqCst);
            let slow_down = "<Error><Code>SlowDown</Code></Error>".to_owned();
            let is_throttled = number < 300 && number % 3 == 0;
            // The store does not throttle requests while the program checks whether it supports conditional creates.
            let is_probe =
                !request.is_read() && !request.is_list() && request.key.contains("dataset");
            if is_throttled && !is_probe { Reply::Other(503, slow_down) } else { Reply::Usual }
        };
        let (server, dir) = (Memory::start(objects(3, 200), throttle), TempDir::new().unwrap());
        let out = if out_is_remote { "s3://lake" } else { dir.path().to_str().unwrap() };
        let args = ["--json", "--log-format", "json", "--threads", "2"];
        let converted = run(&server, "convert", out, &args).expect(0);
        assert_eq!(converted.count("/objects/converted"), 600);
        assert_eq!((converted.count("/rows"), converted.count("/objects/failed")), (1_200, 0));
        let reads = reads(&converted);
        assert!(reads["throttled"].as_u64().unwrap() >= 100, "{reads}");
        assert!(converted.count("/requests_failed") >= reads["throttled"].as_u64().unwrap());
        let verified = run(&server, "verify", out, &["--read-data", "--json"]).expect(0);
        assert_eq!(verified.count("/compared"), 600);
        assert_eq!(verified.json()["findings"], Value::Array(Vec::new()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn more_requests_than_open_files_are_refused() {
    let (server, dir) = (Memory::start([], |_| Reply::Usual), TempDir::new().unwrap());
    let limited = |requests: &str| {
        let out: &Path = dir.path();
        let args = ["convert", "s3://logs", "--out", out.to_str().unwrap()];
        let program =
            command(&server.address, &[&args[..], &["--max-requests", requests]].concat());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -n 500; exec \"$@\"", "sh"]).arg(program.get_program());
        shell.args(program.get_args());
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run_command(&mut shell)
    };
    limited("400").expect(3).says(&["ulimit -n", "is 500", "--max-requests 400 needs 656"]);
    let allowed = limited("100").expect(3);
    assert!(!allowed.stderr.contains("ulimit"), "{}", allowed.stderr);
}

/// Returns whether a request writes the note about an upload.
fn writes_note(request: &Request) -> bool {
    request.method == "PUT" && request.key.contains("staging/") && request.key.contains(".json")
}

#[test]
fn an_upload_sends_its_parts_while_its_note_is_written() {
    let (sent, parts) = (Arc::new((Mutex::new(0), Condvar::new())), Arc::new(AtomicUsize::new(0)));
    let overlapped = Arc::clone(&parts);
    // The store writes the note only once the part has arrived, or after a long time.
    let wait = move |request: &Request| {
        let (count, changed) = &*sent;
        if request.query.contains_key("partNumber") {
            *count.lock().unwrap() += 1;
            changed.notify_all();
        } else if writes_note(request) {
            let patience = Duration::from_mins(1);
            let none = |count: &mut usize| *count == 0;
            let waited = changed.wait_timeout_while(count.lock().unwrap(), patience, none);
            let is_timeout = waited.unwrap().1.timed_out();
            overlapped.fetch_add(usize::from(!is_timeout), Ordering::SeqCst);
        }
        Reply::Usual
    };
    let server = Memory::start(objects(1, 1), wait);
    let converted = run(&server, "convert", "s3://lake", &["--json"]).expect(0);
    assert_eq!(converted.count("/objects/converted"), 1);
    assert_eq!(parts.load(Ordering::SeqCst), 1);
    let notes = server.change(|objects| {
        objects.keys().filter(|key| key.contains("_alb2parquet/staging/")).count()
    });
    assert_eq!(notes, 0);
}

#[test]
fn an_upload_sends_at_most_one_part_before_its_note_is_written() {
    let parts = Arc::new((Mutex::new(0), Condvar::new()));
    let sent = Arc::clone(&parts);
    // The store refuses the note 500 ms after the first part has arrived, so that a second part would be counted.
    let refuse = move |request: &Request| {
        let (count, changed) = &*sent;
        if request.query.contains_key("partNumber") {
            *count.lock().unwrap() += 1;
            changed.notify_all();
        }
        if !writes_note(request) {
            return Reply::Usual;
        }
        for (wanted, patience) in [(1, Duration::from_mins(1)), (2, Duration::from_millis(500))] {
            let too_few = |count: &mut usize| *count < wanted;
            drop(changed.wait_timeout_while(count.lock().unwrap(), patience, too_few).unwrap());
        }
        Reply::Other(403, "<Error><Code>AccessDenied</Code></Error>".to_owned())
    };
    let memory = Memory::start([], refuse);
    let server = Server { kind: Kind::S3, address: memory.address.clone() };
    let target: Arc<dyn Target> = Arc::new(server.target("s3://lake"));
    let mut writing = Writing::begin(&target, FileKey::parse("table/x.parquet").unwrap()).unwrap();
    let error = writing.write_all(&vec![0; 40_000_000]).unwrap_err();
    assert!(error.to_string().contains("staging/"), "{error}");
    assert_eq!(*parts.0.lock().unwrap(), 1);
}

#[test]
fn an_upload_without_a_note_is_not_claimed() {
    let refuse = |request: &Request| {
        let denied = "<Error><Code>AccessDenied</Code></Error>".to_owned();
        if writes_note(request) { Reply::Other(403, denied) } else { Reply::Usual }
    };
    let server = Memory::start(objects(1, 1), refuse);
    run(&server, "convert", "s3://lake", &["--json"]).expect(3).says(&["_alb2parquet/staging/"]);
    let is_state = |key: &&String| key.contains("_alb2parquet/claims/") || key.contains(".parquet");
    let written = server.change(|objects| objects.keys().filter(is_state).count());
    assert_eq!(written, 0);
}

#[test]
fn batches_whose_files_are_lost_are_converted_again() {
    for (losses, code) in [(2, 0), (usize::MAX, 2)] {
        let left = Arc::new(AtomicUsize::new(losses));
        let names = Arc::new(Mutex::new(Vec::new()));
        let (losing, uploads) = (Arc::clone(&left), Arc::clone(&names));
        let lose = move |request: &Request| {
            let is_post = request.method == "POST" && request.key.ends_with(".parquet");
            if is_post && request.query.contains_key("uploads") {
                uploads.lock().unwrap().push(request.key.clone());
            }
            let next = |left: usize| left.checked_sub(1);
            if is_post
                && request.query.contains_key("uploadId")
                && losing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok()
            {
                return Reply::Other(404, "<Error><Code>NoSuchUpload</Code></Error>".to_owned());
            }
            Reply::Usual
        };
        let server = Memory::start(objects(1, 2), lose);
        let converted = run(&server, "convert", "s3://lake", &["--json", "-v"]).expect(code);
        assert_eq!(converted.count("/batches_with_lost_files"), 1);
        converted.says(&["batch files lost"]);
        let gives_up = code == 2;
        let counts = ["converted", "failed"].map(|key| converted.count(&format!("/objects/{key}")));
        assert_eq!(counts, if gives_up { [0, 2] } else { [2, 0] });
        if gives_up {
            converted.says(&["its files were lost before they were published"]);
            left.store(0, Ordering::SeqCst);
            let next = run(&server, "convert", "s3://lake", &["--json"]).expect(0);
            let counts = ["/objects/converted", "/batches_with_lost_files"];
            assert_eq!(counts.map(|count| next.count(count)), [2, 0]);
        }
        let verified = run(&server, "verify", "s3://lake", &["--read-data", "--json"]).expect(0);
        assert_eq!(verified.count("/compared"), 2);
        // Another run may still abort the claim of a lost file, so no other file may have the same name. There is one
        // name for each attempt, and one for the next run.
        let names = names.lock().unwrap();
        assert_eq!(names.len(), if gives_up { 5 } else { 3 });
        let different: HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }
}

#[test]
fn a_batch_is_not_claimed_again_if_a_lost_file_appears() {
    let server = Arc::new(OnceLock::<Memory>::new());
    let (late, first) = (Arc::clone(&server), Mutex::new(None));
    // The first upload is lost. Its file appears while the objects are converted again.
    let lose = move |request: &Request| {
        let is_post = request.method == "POST" && request.key.ends_with(".parquet");
        let mut first = first.lock().unwrap();
        if is_post && request.query.contains_key("uploads") {
            match &*first {
                None => *first = Some(request.key.clone()),
                Some(first) => {
                    let appear = |objects: &mut BTreeMap<String, Vec<u8>>| {
                        objects.insert(first.clone(), b"late".to_vec());
                    };
                    late.get().unwrap().change(appear);
                }
            }
        }
        if is_post && request.query.contains_key("uploadId") {
            return Reply::Other(404, "<Error><Code>NoSuchUpload</Code></Error>".to_owned());
        }
        Reply::Usual
    };
    let server = server.get_or_init(|| Memory::start(objects(1, 1), lose));
    let converted = run(server, "convert", "s3://lake", &["--json"]).expect(2);
    assert_eq!(converted.count("/objects/failed"), 1);
    converted.says(&["was reported as lost but exists"]);
    let claims =
        server.change(|objects| objects.keys().filter(|key| key.ends_with(".claim.json")).count());
    assert_eq!(claims, 1);
    run(server, "convert", "s3://lake", &["--json"]).expect(2).says(&["repair"]);
}
