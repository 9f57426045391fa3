//! `plan --jsonl` prints batches as data, and `convert --batches` converts them. Converting a batch is idempotent.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread;

use serde_json::{Value, json};

use flate2::Compression;

use crate::exactly_once::{findings, touch};
use crate::support::{
    Run, World, contents, good_lines, gzip, gzip_at, key, key_of, key_on, program, run, tree,
};

/// Returns an unconverted world with three days, two accounts, two load balancers and a few rejects.
fn world() -> World {
    let world = World::new();
    for day in ["2025/07/18", "2025/07/19", "2025/07/20"] {
        for number in 1..4 {
            let text = [good_lines(10 * number), b"bad\n".to_vec()].concat();
            world.put(&key_on(day, number), gzip(text));
        }
        let other = key_of("123456789012", "us-east-1", day, "other.00dc6c495c0c9188", 7);
        world.put(&other, gzip(good_lines(5)));
    }
    world.put(
        &key_of("012345678901", "eu-west-1", "2025/07/19", "a.00dc6c495c0c9188", 1),
        gzip(good_lines(9)),
    );
    world
}

/// Returns the lines that `plan --jsonl` prints.
fn plan(world: &World, args: &[&str]) -> Vec<String> {
    let [source, out] = [world.source(), world.out()].map(|path| path.to_str().unwrap().to_owned());
    let fixed = ["plan", &source, "--out", &out, "--jsonl", "--to", "2099-12-31"];
    let run = run(&[&fixed[..], args].concat()).expect(0);
    run.stdout.lines().map(ToOwned::to_owned).collect()
}

/// Returns the lines of a plan made without a dataset.
fn plan_without_dataset(world: &World) -> Vec<String> {
    let source = world.source();
    let run = run(&["plan", source.to_str().unwrap(), "--jsonl", "--to", "2099-12-31"]).expect(0);
    run.stdout.lines().map(ToOwned::to_owned).collect()
}

/// Converts batches from stdin, with `/` as the working directory.
fn convert(world: &World, lines: &[String], args: &[&str]) -> Run {
    let out = world.out();
    let fixed = ["convert", "--batches", "-", "--max-rejects", "1", "--out", out.to_str().unwrap()];
    let mut command = program(&[&fixed[..], args].concat());
    let command = command.current_dir("/").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = lines.join("\n");
    let writer = thread::spawn(move || {
        // If the program refuses the first line, it exits without reading the rest, so this write may fail.
        let _ = stdin.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Run::of(output)
}

/// Returns the JSON lines that a run prints.
fn outcomes(run: &Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sum(outcomes: &[Value], key: &str) -> u64 {
    outcomes.iter().map(|outcome| outcome[key].as_u64().unwrap()).sum()
}

#[test]
fn batches_give_the_same_dataset_as_their_source() {
    let (ours, plain) = (world(), world());
    let lines = plan(&ours, &["--target-file-size", "1000"]);
    assert!(lines.len() > 6, "{} batches", lines.len());
    assert!(!ours.out().exists(), "a plan writes nothing");
    let run = convert(&ours, &lines, &[]).expect(0);
    plain.convert_with(&["--max-rejects", "1", "--target-file-size", "1000"]).expect(0);
    assert_eq!(contents(&ours.out()), contents(&plain.out()));
    assert_eq!(findings(&ours), [""; 0]);
    run.says(&["13 listed, 13 converted", "rejects"]);

    let outcomes = outcomes(&run);
    let ids = |values: &[Value]| {
        let mut ids: Vec<String> =
            values.iter().map(|value| value["batch"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let described: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids(&outcomes), ids(&described), "one line per batch");
    for (key, count) in [
        ("objects", 13),
        ("converted_before", 0),
        ("failed", 0),
        ("lines", 213),
        ("rows", 204),
        ("rejects", 9),
    ] {
        assert_eq!(sum(&outcomes, key), count, "{key}");
    }
    assert_eq!(sum(&outcomes, "bytes_in"), sum(&described, "bytes"));
    let files = contents(&ours.out());
    let written: usize = files.values().flatten().map(Vec::len).sum();
    assert_eq!(sum(&outcomes, "bytes_out"), written as u64);
    assert_eq!(
        sum(&outcomes, "files") + sum(&outcomes, "reject_files"),
        files.values().flatten().count() as u64
    );
}

#[test]
fn a_line_contains_everything_that_a_conversion_needs() {
    let world = World::with(gzip(good_lines(3)));
    let lines = plan(&world, &[]);
    let described: Value = serde_json::from_str(&lines[0]).unwrap();
    let (directory, name) =
        key(1).rsplit_once('/').map(|(d, n)| (d.to_owned(), n.to_owned())).unwrap();
    let (shared, own) = name.split_at(name.rmatch_indices('_').nth(2).unwrap().0 + 1);
    let object = &described["groups"][0]["objects"][0];
    let source = world.source().canonicalize().unwrap();
    let size = fs::metadata(world.source().join(key(1))).unwrap().len();
    let expected = json!({
        "batch": described["batch"],
        "log_type": "access",
        "account": "012345678901",
        "region": "eu-west-1",
        "day": "2025-07-19",
        "bytes": size,
        "groups": [{
            "source": format!("file://{}", source.display()),
            "prefix": format!("{directory}/{shared}"),
            "objects": [{ "name": own, "size": size, "e_tag": object["e_tag"] }],
        }],
    });
    assert_eq!(described, expected);
    let run = convert(&world, &lines, &[]).expect(0);
    let outcome = &outcomes(&run)[0];
    let expected = json!({
        "batch": described["batch"],
        "log_type": "access",
        "account": "012345678901",
        "region": "eu-west-1",
        "day": "2025-07-19",
        "objects": 1,
        "converted_before": 0,
        "archived": 0,
        "duplicate": 0,
        "failed": 0,
        "lines": 3,
        "joined_lines": 0,
        "rows": 3,
        "rejects": 0,
        "verbatim_lines": 0,
        "files": 1,
        "reject_files": 0,
        "original_files": 0,
        "bytes_in": size,
        "bytes_decompressed": good_lines(3).len(),
        "bytes_out": outcome["bytes_out"],
        "seconds": outcome["seconds"],
        "failures": [],
    });
    assert_eq!(*outcome, expected);
}

#[test]
fn converting_a_batch_again_changes_nothing() {
    let world = world();
    let lines = plan(&world, &[]);
    assert_eq!(lines.len(), 6);
    // The dataset already contains part of one batch.
    world.convert_with(&["--balancer", "a"]).expect(0);
    let first = outcomes(&convert(&world, &lines, &[]).expect(0));
    assert_eq!((sum(&first, "objects"), sum(&first, "converted_before")), (12, 1));
    assert_eq!(findings(&world), [""; 0]);
    let before = tree(&world.out());
    let again = convert(&world, &lines, &[]).expect(0);
    again.says(&["13 converted_before"]);
    let again = outcomes(&again);
    assert_eq!((again.len(), sum(&again, "converted_before")), (6, 13));
    for key in ["objects", "lines", "rows", "rejects", "files", "bytes_in", "bytes_out", "failed"] {
        assert_eq!(sum(&again, key), 0, "{key}");
    }
    assert_eq!(tree(&world.out()), before, "nothing is written");
}

/// A batch file may combine plans made at different times. No object is converted twice, even if it is in several of
/// the plans.
#[test]
fn overlapping_batches_convert_each_object_once() {
    let world = world();
    let (large, small) = (plan(&world, &[]), plan(&world, &["--target-file-size", "1000"]));
    assert!(small.len() > large.len());
    let lines = [&large[..], &small, &large].concat();
    let run = convert(&world, &lines, &[]).expect(0);
    let outcomes = outcomes(&run);
    let mut ids: Vec<&str> = outcomes.iter().map(|o| o["batch"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), outcomes.len(), "a repeated batch is converted once");
    assert_eq!(sum(&outcomes, "objects"), 13);
    let distinct = lines.iter().collect::<std::collections::BTreeSet<_>>();
    let objects = distinct.iter().map(|line| line.matches("\"name\"").count() as u64).sum::<u64>();
    assert_eq!(sum(&outcomes, "duplicate"), objects - 13);
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn concurrent_runs_convert_each_batch_once() {
    let world = world();
    let lines = plan(&world, &["--target-file-size", "1000"]);
    let runs: Vec<Run> = thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| convert(&world, &lines, &[]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let outcomes: Vec<Value> = runs.into_iter().flat_map(|run| outcomes(&run.expect(0))).collect();
    assert_eq!(outcomes.len(), 3 * lines.len());
    assert_eq!((sum(&outcomes, "objects"), sum(&outcomes, "converted_before")), (13, 26));
    assert_eq!((sum(&outcomes, "rows"), sum(&outcomes, "rejects")), (204, 9));
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn failures_are_reported_with_their_batch() {
    let world = world();
    let lines = plan(&world, &[]);
    fs::remove_file(world.source().join(key(1))).unwrap();
    fs::write(world.source().join(key(2)), gzip(good_lines(99))).unwrap();
    let run = convert(&world, &lines, &[]).expect(2);
    run.says(&[&key(1), &key(2), "rewritten since it was listed", "2 failed"]);
    for outcome in outcomes(&run) {
        let day = outcome["day"] == "2025-07-19" && outcome["account"] == "012345678901";
        let failures = outcome["failures"].as_array().unwrap();
        assert_eq!(failures.len(), if day { 2 } else { 0 }, "{outcome:#}");
        assert_eq!(outcome["failed"], failures.len(), "{outcome:#}");
        for failure in failures {
            let object = failure["object"].as_str().unwrap();
            assert!([key(1), key(2)].iter().any(|key| key == object), "{object}");
            assert!(!failure["error"].as_str().unwrap().is_empty());
        }
    }
    assert_eq!(findings(&world), ["not_converted"], "one was rewritten, the other deleted");
}

/// Every object in a batch is counted once, whether it is converted, is skipped, or fails.
#[test]
fn outcomes_account_for_all_objects() {
    let world = world();
    world.put(&key(8), &gzip(good_lines(50))[..200]);
    world.put(&key(9), b"no gzip");
    world.convert_with(&["--from", "2025-07-20", "--max-rejects", "1"]).expect(0);
    // This plan was made before part of the batch was converted.
    let lines = plan_without_dataset(&world);
    let run = convert(&world, &lines, &[]).expect(2);
    let outcomes = outcomes(&run);
    for line in &lines {
        let described: Value = serde_json::from_str(line).unwrap();
        let outcome = outcomes.iter().find(|outcome| outcome["batch"] == described["batch"]);
        let outcome = outcome.expect("every batch has an outcome");
        let objects = line.matches("\"name\"").count() as u64;
        let keys = ["objects", "converted_before", "archived", "duplicate", "failed"];
        let counted: u64 = keys.iter().map(|key| outcome[key].as_u64().unwrap()).sum();
        assert_eq!(counted, objects, "{outcome:#}");
        let of = |key: &str| outcome[key].as_u64().unwrap();
        assert_eq!(of("lines"), of("rows") + of("rejects"), "{outcome:#}");
    }
    assert_eq!(sum(&outcomes, "failed"), 2);
}

#[test]
fn invalid_lines_are_refused_by_number() {
    let world = world();
    let lines = plan(&world, &[]);
    let good = lines[0].clone();
    let change = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        changed
    };
    let described: Value = serde_json::from_str(&good).unwrap();
    let mut twice = described.clone();
    let objects = twice["groups"][0]["objects"].as_array_mut().unwrap();
    objects.push(objects[0].clone());
    let mut empty = described.clone();
    empty["groups"] = json!([]);
    let cases = [
        ("x".to_owned(), "`plan --jsonl`"),
        ("{}".to_owned(), "missing field"),
        ("[]".to_owned(), "not a batch"),
        (good[..good.len() - 1].to_owned(), "EOF"),
        (format!("{good}{good}"), "trailing"),
        (change("\"log_type\":\"access\"", "\"log_type\":\"network\""), "network"),
        (
            change("\"log_type\":\"access\"", "\"log_type\":\"connection\""),
            "not the key of a log in",
        ),
        (
            change("\"account\":\"012345678901\"", "\"account\":\"../../../..\""),
            "not the account or region",
        ),
        (change("\"day\":\"2025-07-18\"", "\"day\":\"2025-07-17\""), "not the key of a log in"),
        (change("\"day\":\"2025-07-18\"", "\"day\":\"yesterday\""), "not a day"),
        (
            change("\"prefix\":\"AWSLogs/012345678901", "\"prefix\":\"AWSLogs/999999999999"),
            "not the key of a log in",
        ),
        (change("\"bytes\":", "\"bytes\":1"), "changed: `bytes` is"),
        (change("\"name\":\"20250718T1405Z", "\"name\":\"20250718T1410Z"), "changed: `batch` is"),
        (change("\"size\":", "\"size\":-"), "invalid"),
        (change("\"size\":", "\"size\":99999999999999"), "has an impossible size"),
        (twice.to_string(), "twice"),
        (empty.to_string(), "no objects"),
    ];
    for (bad, why) in cases {
        let run = convert(&world, &[good.clone(), String::new(), bad], &[]).expect(3);
        run.says(&["--batches -, line 3", why]);
        assert_eq!(run.stdout, "", "{why}");
        assert!(!world.out().exists(), "nothing is written before all lines are read: {why}");
    }
    let bytes = [good.as_bytes(), b"\n\xff\n"].concat();
    let file = world.path("batches");
    fs::write(&file, bytes).unwrap();
    let out = world.out();
    let args = |name: &str| run(&["convert", "--batches", name, "--out", out.to_str().unwrap()]);
    args(file.to_str().unwrap()).expect(3).says(&["line 2"]);
    args("/no/such/file").expect(3).says(&["--batches /no/such/file cannot be read"]);
}

#[test]
fn batches_can_be_read_from_files() {
    let world = world();
    let lines = plan(&world, &[]);
    for (name, text) in [
        ("plain", (lines[..3].join("\n") + "\n").into_bytes()),
        ("gzip", gzip(lines[3..].join("\r\n"))),
    ] {
        let file = world.path(name);
        fs::write(&file, text).unwrap();
        let run = run(&[
            "convert",
            "--max-rejects",
            "1",
            "--quiet",
            "--batches",
            file.to_str().unwrap(),
            "--out",
            world.out().to_str().unwrap(),
        ]);
        assert_eq!(outcomes(&run.expect(0)).len(), 3, "{name}");
    }
    assert_eq!(findings(&world), [""; 0]);
    // Empty input is accepted.
    assert_eq!(convert(&world, &[], &[]).expect(0).stdout, "");
}

#[test]
fn options_that_batches_contain_are_refused() {
    let world = world();
    let [source, out] = [world.source(), world.out()].map(|path| path.to_str().unwrap().to_owned());
    let base = ["convert", "--batches", "-", "--out", &out];
    for more in [
        &[source.as_str()][..],
        &["--from", "2025-07-19"],
        &["--account", "012345678901"],
        &["--json"],
    ] {
        run(&[&base[..], more].concat()).expect(3).says(&["cannot be used with"]);
    }
    run(&["convert", "--out", &out]).expect(3).says(&["SOURCE"]);
    // A dataset inside the source is refused, because the next plan would list the dataset's files as objects.
    let lines = plan(&world, &[]);
    let inside = world.source().join("lake");
    fs::write(world.path("batches"), lines.join("\n")).unwrap();
    let file = world.path("batches");
    let args = ["convert", "--batches", file.to_str().unwrap(), "--out", inside.to_str().unwrap()];
    run(&args).expect(3).says(&["is inside SOURCE"]);
}

#[test]
fn a_batch_recognizes_objects_that_were_touched_after_their_conversion() {
    let world = world();
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let (equal, other) = (key_on("2025/07/18", 1), key_on("2025/07/19", 2));
    touch(&world, &equal);
    // Different content with the same compressed size.
    let path = world.source().join(&other);
    let size = fs::metadata(&path).unwrap().len() as usize;
    let text = gzip_at(good_lines(1), Compression::none());
    world.put(&other, [&text[..], &vec![0; size - text.len()]].concat());
    // The plan does not read the dataset, so its batches contain both objects with their new ETags.
    let lines = plan_without_dataset(&world);
    let run = convert(&world, &lines, &[]).expect(2);
    run.says(&[&other, "left alone"]);
    let outcomes = outcomes(&run);
    assert_eq!((sum(&outcomes, "objects"), sum(&outcomes, "failed")), (0, 1));
    assert_eq!(sum(&outcomes, "converted_before"), 12);
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 12);
}
