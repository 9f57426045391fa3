//! A store or file system sometimes returns fewer or more bytes of an object than the listing states. The program then
//! reads the object once more. If the size is wrong again, the program reports the object and excludes it from the
//! claim, so that a later run converts it.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

use alb2parquet::internals::store::{Network, Source, StoreError};
use flate2::Compression;
use tempfile::TempDir;

use crate::memory::{Memory, Reply, Request};
use crate::server::command;
use crate::support::{ROWS, Run, get, good_lines, gzip, gzip_at, key, read, run_command};

/// Maps the length of a response body to the number of bytes to send.
type Cut = fn(usize) -> usize;

const CUTS: [(&str, Cut); 4] = [
    ("an empty body", |_| 0),
    ("a half", |length| length / 2),
    ("only the header", |length| length.min(10)),
    ("all but one byte", |length| length - 1),
];

/// Numbers and line counts of the truncated objects. They include small, streamed, compressed and uncompressed ones.
const LINES: [(usize, usize); 4] = [(1, 20), (2, 30), (3, 10_000), (4, 20_000)];
/// Number and line count of the object that is never truncated.
const WHOLE: (usize, usize) = (9, 3);

/// Returns the truncated objects and one that is not truncated.
fn objects() -> BTreeMap<String, Vec<u8>> {
    let plain = |number| key(number).replace(".log.gz", ".log");
    let objects = [
        (key(1), gzip(good_lines(20))),
        (plain(2), good_lines(30)),
        (key(3), gzip_at(good_lines(10_000), Compression::none())),
        (plain(4), good_lines(20_000)),
        (key(WHOLE.0), gzip(good_lines(WHOLE.1))),
    ];
    let lengths = objects.each_ref().map(|(_, bytes)| bytes.len());
    assert!(lengths[2] > 4 << 20, "object 3 is streamed: {lengths:?}");
    assert!(lengths[3] > 8 << 20, "object 4 is streamed in two ranges: {lengths:?}");
    objects.into()
}

fn is_cut(request: &Request) -> bool {
    request.is_read() && !request.key.contains(&number(WHOLE.0))
}

/// Returns the part of an object's key that is unique to the object.
fn number(number: usize) -> String {
    key(number).rsplit_once('_').unwrap().1.replace(".log.gz", "")
}

fn run(server: &Memory, name: &str, out: &Path, args: &[&str]) -> Run {
    let out = out.to_str().unwrap();
    let fixed = [name, "s3://logs", "--out", out, "--to", "2099-12-31", "--json"];
    run_command(&mut command(&server.address, &[&fixed[..], args].concat()))
}

/// Returns the number of rows from each object.
fn rows(out: &Path) -> BTreeMap<usize, usize> {
    let all = read(out, ROWS);
    let count = |(place, _)| {
        let of = |row: &&_| get(row, "source_key").is_some_and(|key| key.contains(&number(place)));
        (place, all.iter().filter(of).count())
    };
    let rows: BTreeMap<_, _> = LINES.into_iter().chain([WHOLE]).map(count).collect();
    assert_eq!(rows.values().sum::<usize>(), all.len());
    rows
}

fn all_rows() -> BTreeMap<usize, usize> {
    LINES.into_iter().chain([WHOLE]).collect()
}

/// Asserts that a run reports every truncated object as a failure and converts none of them.
#[track_caller]
fn expect_failures(run: Run, what: &str) {
    let run = run.expect(2);
    let failures = run.json()["failures"].as_array().unwrap().clone();
    assert_eq!(failures.len(), LINES.len(), "{what}: {failures:#?}");
    for failure in failures {
        let error = failure["error"].as_str().unwrap();
        assert!(error.contains("bytes were read: the store"), "{what}: {error}");
    }
    assert_eq!(
        (run.count("/objects/converted"), run.count("/rows")),
        (1, WHOLE.1 as u64),
        "{what}"
    );
    assert_eq!(run.rejects(), "", "{what}");
}

#[test]
fn short_responses_are_named_failures_and_a_later_run_converts() {
    let objects = objects();
    for (what, cut) in CUTS {
        let dir = TempDir::new().unwrap();
        let short = move |request: &Request| {
            if is_cut(request) { Reply::Short(cut) } else { Reply::Usual }
        };
        let server = Memory::start(objects.clone(), short);
        expect_failures(run(&server, "convert", dir.path(), &[]), what);
        let server = Memory::start(objects.clone(), |_| Reply::Usual);
        let run = run(&server, "convert", dir.path(), &[]).expect(0);
        assert_eq!(run.count("/objects/converted"), LINES.len() as u64, "{what}");
        let lines: usize = LINES.iter().map(|(_, lines)| lines).sum();
        assert_eq!(run.count("/rows"), lines as u64, "{what}");
    }
}

#[test]
fn an_object_whose_second_range_is_short_is_skipped_completely() {
    let dir = TempDir::new().unwrap();
    let short = |request: &Request| {
        if request.range_start() > 0 { Reply::Short(|length| length / 2) } else { Reply::Usual }
    };
    let server = Memory::start(objects(), short);
    let run = run(&server, "convert", dir.path(), &[]).expect(2);
    let length = objects().values().map(Vec::len).max().unwrap();
    let range = 8 << 20;
    let read = range + (length - range) / 2;
    run.says(&[&format!("{read} of {length} bytes were read")]);
    let mut expected = all_rows();
    expected.insert(4, 0);
    assert_eq!(rows(dir.path()), expected);
}

#[test]
fn a_short_response_is_requested_again_and_loses_no_row() {
    let objects = objects();
    for (what, cut) in CUTS {
        let dir = TempDir::new().unwrap();
        let seen = Mutex::new(HashSet::new());
        let short = move |request: &Request| {
            let is_first =
                || seen.lock().unwrap().insert((request.key.clone(), request.range_start()));
            if is_cut(request) && is_first() { Reply::Short(cut) } else { Reply::Usual }
        };
        let server = Memory::start(objects.clone(), short);
        let run = run(&server, "convert", dir.path(), &[]).expect(0);
        assert_eq!(run.count("/objects/converted"), LINES.len() as u64 + 1, "{what}");
        assert_eq!(run.count("/rows"), all_rows().values().sum::<usize>() as u64, "{what}");
        // One failed request per object, and one for the second range of the largest object.
        assert_eq!(run.count("/requests_failed"), LINES.len() as u64 + 1, "{what}");
    }
}

#[test]
fn a_response_longer_than_the_listed_size_is_a_named_failure() {
    let key = key(1).replace(".log.gz", ".log");
    let longer = String::from_utf8(good_lines(5)).unwrap();
    let reply = move |request: &Request| {
        if request.is_read() { Reply::Other(200, longer.clone()) } else { Reply::Usual }
    };
    let server = Memory::start([(key.clone(), good_lines(4))], reply);
    let dir = TempDir::new().unwrap();
    let run = run(&server, "convert", dir.path(), &[]).expect(2);
    assert_eq!(run.json()["failures"][0]["object"], key);
    run.says(&["more than the listed"]);
    assert_eq!(read(dir.path(), ROWS).len(), 0);
}

#[test]
fn verify_comparisons_and_inspect_detect_short_responses() {
    let (dir, cut): (_, Cut) = (TempDir::new().unwrap(), |length| length / 2);
    let server = Memory::start(objects(), |_| Reply::Usual);
    run(&server, "convert", dir.path(), &[]).expect(0);
    let short = move |request: &Request| {
        if is_cut(request) { Reply::Short(cut) } else { Reply::Usual }
    };
    let server = Memory::start(objects(), short);
    let verified = run(&server, "verify", dir.path(), &["--read-data"]).expect(1);
    let json = verified.json();
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings.len(), LINES.len(), "{findings:#?}");
    for finding in findings {
        assert_eq!(finding["kind"], "unreadable");
        let problem = finding["problem"].as_str().unwrap();
        assert!(problem.contains("bytes were read: the store"), "{problem}");
    }
    let url = format!("s3://logs/{}", key(3));
    let inspected = run_command(&mut command(&server.address, &["inspect", &url]));
    inspected.expect(3).says(&["bytes were read: the store"]);
    // All objects have been touched, including the one that is never truncated.
    let server = Memory::start_tagged(objects(), "touched", short);
    let compared = run(&server, "convert", dir.path(), &[]).expect(2);
    let failures = compared.json()["failures"].as_array().unwrap().clone();
    assert_eq!(failures.len(), LINES.len(), "{failures:#?}");
    for failure in failures {
        let error = failure["error"].as_str().unwrap();
        assert!(error.contains("bytes were read: the store"), "{error}");
    }
    let server = Memory::start_tagged(objects(), "touched", |_| Reply::Usual);
    run(&server, "convert", dir.path(), &[]).expect(0);
    assert_eq!(rows(dir.path()), all_rows());
}

#[test]
fn a_file_that_changes_its_size_is_never_read_as_complete() {
    for length in [5 << 10, 5 << 20] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("x.log");
        let source = Source::open(
            dir.path().to_str().unwrap(),
            &Network::default(),
            alb2parquet::internals::logs::key::from_root,
        )
        .unwrap();
        let list = || {
            fs::write(&path, vec![b'x'; length]).unwrap();
            source.list().next().unwrap().unwrap()
        };
        let resize = |length| {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(length as u64).unwrap();
        };
        for other in [0, 10, length / 2, length - 1, length + 1] {
            // If the file changes between listing and opening, its ETag differs.
            let listed = list();
            resize(other);
            let error = source.read(&listed, &mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("rewritten since it was listed"), "{error}");
            // If the file changes between opening and reading, the number of bytes differs.
            let listed = list();
            let mut reader = source.reader(&listed).unwrap();
            resize(other);
            let error = StoreError::from(reader.read_to_end(&mut Vec::new()).unwrap_err());
            let is_short =
                matches!(&error, StoreError::Short { read, .. } if *read == other as u64);
            assert!(
                is_short || other > length && matches!(error, StoreError::Long { .. }),
                "{error}"
            );
        }
        let mut out = Vec::new();
        source.read(&list(), &mut out).unwrap();
        assert_eq!(out.len(), length);
    }
}
