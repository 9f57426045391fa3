//! Source layouts: an object is converted only once, even if it has copies with other paths or extensions. Skipped logs
//! are reported.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use alb2parquet::internals::logs::schema::LogType;
use chrono::{Days, NaiveDate, Utc};
use proptest::prelude::*;
use serde_json::json;

use crate::logs::lines_of;
use crate::support::{
    ROWS, Run, World, convert, files, get, good_lines, gzip, key, key_of, key_of_log, key_on, put,
    read, run, tree,
};

const DAY: &str = "2025/07/19";
const ACCOUNT: &str = "012345678901";
const ARN: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:012345678901:loadbalancer/app/my-lb/50dc6c495c0c9188";

fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap()
}

/// Directories where common layouts put objects from 2025-07-19.
const LAYOUTS: [&str; 20] = [
    "",
    "some/flat/directory",
    "2025/07/19",
    "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "own/prefix/AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "elasticloadbalancing/AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "elasticloadbalancing/eu-west-1/2025/07/19",
    "eu-west-1/2025/07/19",
    "AWSLogs/o-a1b2c3d4e5/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "o-a1b2c3d4e5/AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19/14",
    "AWSLogs/012345678901/elasticloadbalancing/my-folder/2025/07/19",
    "AWSLogs/aws-account-id=012345678901/elasticloadbalancing/region=eu-west-1/year=2025/month=07/day=19",
    "own/aws-account-id=012345678901/region=eu-west-1/year=2025/month=07/day=19/hour=14",
    "AWSLogs-Partitioned/year=2025/month=07/day=19/hour=14",
    "MyLogPrefix/eu-west-1/2025/07/19",
    "awslogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "backup-2025/AWSLogs.bak/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
    "backups/2025/11/26/012345678901",
];

/// Returns the key of an object in a layout's directory.
fn placed(layout: &str, name: &str) -> String {
    if layout.is_empty() { name.to_owned() } else { format!("{layout}/{name}") }
}

/// Returns the findings of `verify` for the given sources.
#[track_caller]
fn findings(sources: &[&Path], out: &Path, args: &[&str]) -> Vec<String> {
    let sources: Vec<&str> = sources.iter().map(|source| source.to_str().unwrap()).collect();
    let fixed = ["--out", out.to_str().unwrap(), "--json", "--read-data"];
    let to: &[&str] = if args.contains(&"--to") { &[] } else { &["--to", "2099-12-31"] };
    let run = run(&[&["verify"], &sources[..], &fixed, to, args].concat());
    let json = run.json();
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(run.code, i32::from(!findings.is_empty()), "{run:#?}");
    findings.iter().map(ToString::to_string).collect()
}

/// Returns the days of a dataset's partitions.
fn days(out: &Path) -> BTreeSet<String> {
    let day = |path: PathBuf| {
        let parts: Vec<String> =
            path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let value = |name: &str| {
            let part = parts.iter().find_map(|part| part.strip_prefix(name));
            part.unwrap_or_default().to_owned()
        };
        format!("{}-{}-{}", value("year="), value("month="), value("day="))
    };
    files(out, ROWS).into_iter().map(day).collect()
}

#[test]
fn every_common_layout_is_converted() {
    let vended = key(1).replace("_192.0.2.1_", "_");
    for layout in LAYOUTS {
        for name in [name_of(&key(1)), name_of(&vended)] {
            let world = World::new();
            world.put(&placed(layout, name), gzip(good_lines(3)));
            let out = world.out();
            let args =
                ["--balancer", ARN, "--from", "2025-07-19", "--region", "eu-west-1", "--json"];
            let run = convert(&[&world.source()], &out, &args);
            assert_eq!((run.code, run.count("/rows")), (0, 3), "{layout}: {run:#?}");
            assert_eq!(days(&out), BTreeSet::from(["2025-07-19".to_owned()]), "{layout}");
            assert_eq!(findings(&[&world.source()], &out, &[]), [""; 0], "{layout}");
        }
    }
}

/// Converts every pair of an object's copies, in one run or in two. The three copies have the delivered key, a key in
/// the next day's directory, and a key without directories.
#[test]
fn the_same_object_in_two_places_is_converted_once() {
    let good = key(1);
    let late = good.replace("/2025/07/19/", "/2025/07/20/");
    let places = [good.as_str(), &late, name_of(&good)];
    let world = World::new();
    let sources: Vec<PathBuf> =
        (0..places.len()).map(|number| world.path(&format!("s{number}"))).collect();
    for (source, place) in sources.iter().zip(places) {
        put(source, place, gzip(good_lines(5)));
    }
    for one in 0..places.len() {
        for other in 0..places.len() {
            let both = [sources[one].as_path(), sources[other].as_path()];
            let at_once = world.path(&format!("at-once-{one}-{other}"));
            let run = convert(&both, &at_once, &["--json"]).expect(0);
            assert_eq!((run.count("/rows"), run.count("/objects/converted")), (5, 1));
            assert_eq!(run.count("/objects/skipped_by_kind/duplicate"), 1, "{run:#?}");
            assert_eq!(findings(&both, &at_once, &[]), [""; 0]);

            let in_turn = world.path(&format!("in-turn-{one}-{other}"));
            convert(&both[..1], &in_turn, &[]).expect(0);
            let run = convert(&both[1..], &in_turn, &["--json"]).expect(0);
            assert_eq!((run.count("/rows"), run.count("/objects/failed")), (0, 0));
            assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 1, "{run:#?}");
            assert_eq!(read(&in_turn, ROWS).len(), 5);
            for source in both {
                assert_eq!(findings(&[source], &in_turn, &[]), [""; 0]);
                // The claim may be in the partition of a day adjacent to the selected days.
                for to in ["2025-07-19", "2025-07-20"] {
                    assert_eq!(findings(&[source], &in_turn, &["--to", to]), [""; 0]);
                }
            }
        }
    }
}

#[test]
fn a_path_far_from_the_end_time_does_not_determine_the_partition() {
    let world = World::new();
    let good = key(1);
    let moved = good.replace("/2025/07/19/", "/2025/08/02/");
    world.put(&moved, gzip(good_lines(5)));
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/moved/objects"), 1);
    assert_eq!(run.json()["objects"]["moved"]["example"], moved);
    run.says(&[
        "moved",
        "1 objects are in the directory of another day",
        &moved,
        "their end times determine",
    ]);
    assert_eq!(days(&world.out()), BTreeSet::from(["2025-07-19".to_owned()]));
    let plan = world.run("plan", true, &["--json", "--to", "2099-12-31"]).expect(0);
    assert_eq!(plan.json()["moved"]["example"], moved);

    // The delivered key and the keys of the copies refer to the same object.
    for place in [good.as_str(), &good.replace("/07/19/", "/07/20/"), &moved.replace("08", "12")] {
        let source = world.path(&place.replace('/', "-"));
        put(&source, place, gzip(good_lines(5)));
        let run = convert(&[&source, &world.source()], &world.out(), &["--json"]).expect(0);
        assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 1, "{place}");
        assert_eq!(findings(&[&source], &world.out(), &[]), [""; 0]);
    }
    assert_eq!(world.rows().len(), 5);
}

/// An object in an adjacent day's directory is a different object if it has the name of a claimed object but a
/// different size.
#[test]
fn a_copy_of_another_size_under_an_adjacent_day_is_reported() {
    let world = World::with(gzip(good_lines(5)));
    world.convert().expect(0);
    let late = key(1).replace("/2025/07/19/", "/2025/07/20/");
    let source = world.path("other");
    put(&source, &late, gzip(good_lines(50)));
    let run = convert(&[&source], &world.out(), &["--json"]).expect(2);
    run.says(&[&late, "was converted into the partition of 2025-07-19", "bytes"]);
    assert_eq!((run.count("/rows"), run.count("/objects/failed")), (0, 1));
}

/// If two concurrent runs each list a different copy, both copies may be claimed. `verify` reports this.
#[test]
fn an_object_that_is_claimed_for_two_days_is_found() {
    let world = World::new();
    let late = key(1).replace("/2025/07/19/", "/2025/07/20/");
    let (flat, other) = (world.path("flat"), world.path("other"));
    put(&flat, name_of(&key(1)), gzip(good_lines(5)));
    put(&other, &late, gzip(good_lines(5)));
    convert(&[&flat], &world.out(), &[]).expect(0);
    convert(&[&other], &world.path("theirs"), &[]).expect(0);
    for (name, bytes) in tree(&world.path("theirs")) {
        if !name.ends_with("dataset.json") {
            put(&world.out(), &name, bytes);
        }
    }
    for to in ["2025-07-19", "2099-12-31"] {
        let found = findings(&[&flat], &world.out(), &["--to", to]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("\"claimed_twice\""), "{found:?}");
    }
}

/// Converts two plans in one run. Each plan contains a different copy of the same object.
#[test]
fn batches_from_two_locations_convert_an_object_once() {
    let world = World::new();
    let late = key(1).replace("/2025/07/19/", "/2025/07/20/");
    let mut lines = String::new();
    for (name, place) in [("flat", name_of(&key(1))), ("late", &late)] {
        let source = world.path(name);
        put(&source, place, gzip(good_lines(5)));
        let source = source.to_str().unwrap().to_owned();
        lines += &run(&["plan", &source, "--jsonl", "--to", "2099-12-31"]).expect(0).stdout;
    }
    assert_eq!(lines.lines().count(), 2);
    let batches = world.path("batches");
    fs::write(&batches, lines).unwrap();
    let (batches, out) = (batches.to_str().unwrap().to_owned(), world.out());
    run(&["convert", "--batches", &batches, "--out", out.to_str().unwrap()]).expect(0);
    assert_eq!(read(&out, ROWS).len(), 5);
}

/// Possible extensions of an object's copies, starting with the delivered extension.
const ENDINGS: [&str; 6] =
    [".log.gz", ".LOG.GZ", " (1).log.gz", ".log.gz.1", ".log (2).gz", ".log"];

/// Returns an object with the given number of lines, in the format that the extension implies.
fn object(ending: &str, lines: usize) -> Vec<u8> {
    let text = good_lines(lines);
    if ending.contains(".gz") || ending.contains(".GZ") { gzip(text) } else { text }
}

#[test]
fn copies_with_other_extensions_are_one_object() {
    let stem = key(1).replace(".log.gz", "");
    let world = World::new();
    for ending in ENDINGS {
        world.put(&format!("{stem}{ending}"), object(ending, 4));
    }
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/rows"), run.count("/objects/converted")), (4, 1));
    assert_eq!(run.count("/objects/skipped_by_kind/duplicate"), ENDINGS.len() as u64 - 1);
    assert_eq!(
        get(&world.rows()[0], "source_key"),
        Some(key(1).as_str()),
        "the delivered form is converted"
    );
    assert_eq!(findings(&[&world.source()], &world.out(), &[]), [""; 0]);
    for first in ENDINGS {
        let (one, out) = (world.path(&format!("one{first}")), world.path(&format!("out{first}")));
        put(&one, &format!("{stem}{first}"), object(first, 4));
        convert(&[&one], &out, &[]).expect(0);
        let run = convert(&[&world.source()], &out, &["--json"]).expect(0);
        assert_eq!(run.count("/rows"), 0, "{first}");
        assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 1, "{first}");
        assert_eq!(findings(&[&world.source()], &out, &[]), [""; 0], "{first}");
        assert_eq!(read(&out, ROWS).len(), 4);
    }
}

/// Classic Load Balancers deliver plain text. A compressed copy is the same object, and its size is not compared.
#[test]
fn a_classic_log_and_its_compressed_copy_are_one_object() {
    let text = key_of_log(LogType::Classic, 1);
    let lines = |count| lines_of(LogType::Classic, count);
    let copies = [".log", ".log.gz", ".LOG", ".log.1", " (1).log", ".log.gz.1"]
        .map(|ending| text.replace(".log", ending));
    let object = |key: &str| if key.contains(".gz") { gzip(lines(4)) } else { lines(4) };
    let rows = |out: &Path| read(out, "clb_access_logs");
    let world = World::new();
    for key in &copies {
        world.put(key, object(key));
    }
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/rows"), run.count("/objects/converted")), (4, 1));
    assert_eq!(run.count("/objects/skipped_by_kind/duplicate"), copies.len() as u64 - 1);
    assert_eq!(
        get(&rows(&world.out())[0], "source_key"),
        Some(text.as_str()),
        "the delivered form is converted"
    );
    for (number, key) in copies.iter().enumerate() {
        let [one, out] = ["one", "out"].map(|name| world.path(&format!("{name}{number}")));
        put(&one, key, object(key));
        convert(&[&one], &out, &[]).expect(0);
        let run = convert(&[&world.source()], &out, &["--json"]).expect(0);
        assert_eq!(run.count("/rows"), 0, "{key}");
        assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 1, "{key}");
        assert_eq!(findings(&[&world.source()], &out, &[]), [""; 0], "{key}");
        assert_eq!(rows(&out).len(), 4);
    }
    // Plain text with a different size is a different object, although it has the same name.
    world.put(&text.replace(".log", ".log.2"), lines(40));
    world.convert_with(&["--json"]).expect(2).says(&["contradicts", ".log.2"]);
}

/// The size of an uncompressed copy may differ from the size in the claim. The size of a compressed copy may not.
#[test]
fn only_sizes_of_the_same_form_are_compared() {
    let stem = key(1).replace(".log.gz", "");
    let world = World::with(gzip(good_lines(4)));
    world.put(&format!("{stem}.log"), good_lines(4));
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/rows"), run.count("/objects/skipped_by_kind/duplicate")), (4, 1));
    world.put(&format!("{stem}.log.gz.1"), gzip(good_lines(40)));
    let run = world.convert_with(&["--json"]).expect(2);
    run.says(&["contradicts", ".log.gz.1"]);
    assert_eq!(world.rows().len(), 4);
}

// ---- skipped logs

/// Returns keys that are named like logs but are not converted, each with its kind and the reason.
fn left_out() -> [(&'static str, String, &'static str); 6] {
    let other = key(9);
    [
        (
            "unsupported_ending",
            other.replace(".log.gz", ".log.gz.part"),
            "its name ends with \".log.gz.part\"",
        ),
        (
            "unsupported_ending",
            other.replace(".log.gz", ".log.zst"),
            "its name ends with \".log.zst\"",
        ),
        (
            "contradictory_path",
            other.replace("AWSLogs/012345678901", "AWSLogs/999999999999"),
            "its path names account 999999999999, its name 012345678901",
        ),
        (
            "contradictory_path",
            other.replace("/eu-west-1/", "/us-east-1/"),
            "its path names region us-east-1, its name eu-west-1",
        ),
        (
            "invalid_name",
            other.replace("_20250719T", "_20251319T"),
            "its name has an end time that does not exist",
        ),
        (
            "invalid_name",
            other.replace("/012345678901_elastic", "/copy-012345678901_elastic"),
            "its name has \"copy-012345678901\" instead of an account of twelve digits",
        ),
    ]
}

#[test]
fn skipped_logs_are_named_everywhere() {
    for (kind, key, why) in left_out() {
        let world = World::with(gzip(good_lines(2)));
        world.put(&key, gzip(good_lines(9)));
        let warning = format!("warning: 1 {kind}, such as {key}: {why}");
        for args in [&["--json"][..], &["--json", "--quiet"]] {
            let run = world.convert_with(args).expect(4);
            run.says(&[&warning]);
            assert_eq!(run.count(&format!("/objects/skipped_by_kind/{kind}")), 1);
            assert_eq!(run.json()["objects"]["examples"][kind], key);
        }
        assert_eq!(world.rows().len(), 2, "the others are converted");
        let plan = world.run("plan", true, &["--json", "--to", "2099-12-31"]).expect(4);
        plan.says(&[&warning]);
        assert_eq!(plan.json()["examples"][kind], key);
        let plan = world.run("plan", true, &["--to", "2099-12-31"]).expect(4);
        assert!(plan.stdout.contains(&format!("left out    1 {kind}, such as {key}")), "{plan:#?}");
        let found = findings(&[&world.source()], &world.out(), &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        for words in [kind, &key, "is named like a log and is not converted"] {
            assert!(found[0].contains(words), "{words} is missing in {found:?}");
        }
        let run = world.convert_with(&["--log-format", "json"]).expect(4);
        run.says(&["\"logs left out\"", kind, &key]);
        // Unselected logs do not count as skipped logs.
        if kind != "invalid_name" {
            world.convert_with(&["--to", "2025-07-18"]).expect(0);
        }
    }
}

#[test]
fn failures_outrank_skipped_logs_which_outrank_rejects() {
    let world = World::with(gzip("bad\n"));
    world.put(&left_out()[0].1, "");
    world.convert().expect(4).says(&["--max-rejects"]);
    world.put(&key_on("2025/07/20", 1), "not gzip");
    world.convert().expect(2).says(&["warning: 1 unsupported_ending"]);
}

/// Checksums and other files next to logs do not count as skipped logs.
#[test]
fn files_next_to_logs_are_not_skipped_logs() {
    let world = World::with(gzip(good_lines(2)));
    for ending in [".md5", ".part", "~"] {
        world.put(&(key(1) + ending), "x");
    }
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/sidecar"), 3);
    assert_eq!(findings(&[&world.source()], &world.out(), &[]), [""; 0]);
}

/// The log type depends only on the object's name, not on its directory or compression.
#[test]
fn logs_of_all_load_balancers_are_converted_into_their_own_tables() {
    let forms = ["", ".gz"];
    for layout in ["", "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19"] {
        for form in forms {
            let world = World::new();
            for (number, log_type) in (1..).zip(LogType::ALL) {
                let key = key_of_log(log_type, number);
                let name = format!("{}.log{form}", name_of(&key).split_once(".log").unwrap().0);
                let lines = lines_of(log_type, number);
                let object = if form.is_empty() { lines } else { gzip(lines) };
                world.put(&placed(layout, &name), object);
            }
            let run = world.convert_with(&["--json"]).expect(0);
            assert_eq!(run.count("/objects/converted"), 5, "{layout}{form}: {run:#?}");
            for (number, log_type) in (1..).zip(LogType::ALL) {
                let table = &log_type.table().name;
                assert_eq!(read(&world.out(), table).len(), number, "{table}");
                let counted = run.json()["log_types"][log_type.as_str()]["rows"].clone();
                assert_eq!(counted, number, "{log_type}");
            }
            // Plain text is noted only for logs that AWS delivers compressed.
            let noted = if form.is_empty() { json!({ "plain_text": 4 }) } else { json!({}) };
            assert_eq!(run.json()["notes"], noted);
            assert_eq!(findings(&[&world.source()], &world.out(), &[]), [""; 0]);
        }
    }
}

// ---- nothing to convert

#[test]
fn a_source_without_logs_is_an_error_unless_the_selection_explains_it() {
    for (key, code) in [
        (None, 3),
        (Some("notes.txt".to_owned()), 3),
        (Some("AWSLogs/012345678901/CloudTrail/eu-west-1/2025/07/19/a.json.gz".to_owned()), 3),
        (Some("AWSLogs/012345678901/ELBAccessLogTestFile".to_owned()), 3),
        (Some(key(1).replace("_app.", "_gwy.")), 3),
        (Some(left_out()[0].1.clone()), 3),
        (Some(key_on("2099/12/30", 1)), 0),
    ] {
        let world = World::new();
        if let Some(key) = &key {
            world.put(key, gzip(good_lines(1)));
        }
        let (source, out) = (world.source(), world.out());
        for command in ["plan", "convert"] {
            let args = [command, source.to_str().unwrap(), "--out", out.to_str().unwrap()];
            let run = run(&args).expect(code);
            run.says(&["nothing to convert", key.as_deref().unwrap_or("contains no objects")]);
            assert_eq!(run.stderr.starts_with("error: "), code == 3, "{run:#?}");
        }
    }
    let world = World::with(gzip(good_lines(1)));
    world.convert().expect(0);
    world.convert().expect(0).says(&["1 converted_before"]);
}

#[test]
fn a_mistyped_load_balancer_is_named_with_a_suggestion() {
    let world = World::with(gzip(good_lines(1)));
    let other = key_of(ACCOUNT, "eu-west-1", DAY, "shop.00dc6c495c0c9188", 2);
    world.put(&other, gzip(good_lines(1)));
    for (typed, meant) in [
        ("my-lbb", "did you mean my-lb?"),
        ("app/my-lb/50dc6c495c0c9189", "did you mean app/my-lb/50dc6c495c0c9188?"),
        (&ARN.replace("my-lb", "my-lbb"), "did you mean app/my-lb/50dc6c495c0c9188?"),
    ] {
        let run = world.convert_with(&["--balancer", typed, "--json"]).expect(0);
        let there = "app/my-lb/50dc6c495c0c9188, app/shop/00dc6c495c0c9188";
        run.says(&["warning: --balancer", typed, "matches no selected logs", meant, there]);
        assert_eq!(run.count("/objects/skipped_by_kind/not_selected"), 2);
    }
    let run = world.convert_with(&["--balancer", "my-lb", "--balancer", "shob"]).expect(0);
    run.says(&["--balancer shob matches no selected logs", "did you mean shop?"]);
}

#[test]
fn a_mistyped_account_or_region_is_named_with_a_suggestion() {
    let world = World::with(gzip(good_lines(1)));
    world.put(
        &key_of("123456789013", "us-east-1", DAY, "shop.00dc6c495c0c9188", 2),
        gzip(good_lines(1)),
    );
    for (typed, words) in [
        (
            ["--region", "eu-west-11"],
            ["did you mean eu-west-1?", "(other regions: eu-west-1, us-east-1)"],
        ),
        (["--region", "euwest1"], ["did you mean eu-west-1?", "matches no logs"]),
        (["--account", "123456789014"], ["did you mean 123456789013?", "(other accounts: "]),
    ] {
        let run = world.convert_with(&typed).expect(0);
        run.says(&typed);
        run.says(&words);
    }
    // If one of several regions has no logs, the logs from the other regions are still converted.
    let some = ["--region", "eu-west-1", "--region", "us-east-2", "--json"];
    let run = world.convert_with(&some).expect(0);
    run.says(&["warning: --region us-east-2 matches no logs; did you mean us-east-1? (other regions: us-east-1)"]);
    assert_eq!(run.count("/objects/converted"), 1);
    // If the selected days have no logs, there is no warning about the region.
    let args = ["--region", "eu-west-1", "--from", "2020-01-01", "--to", "2020-01-02"];
    let run = world.convert_with(&args).expect(0);
    assert!(!run.stderr.contains("matches no logs"), "{run:#?}");
}

#[test]
fn common_spellings_of_arguments_are_accepted() {
    let today = Utc::now().date_naive();
    let on = |age: u64| key_on(&(today - Days::new(age)).format("%Y/%m/%d").to_string(), 1);
    let world = World::new();
    for age in [1, 3, 9] {
        world.put(&on(age), gzip(good_lines(1)));
    }
    let rows = |name: &str, args: &[&str]| {
        let run = convert(&[&world.source()], &world.path(name), &[args, &["--json"]].concat());
        run.expect(0).count("/rows")
    };
    // Midnight can pass between two runs.
    assert_eq!(rows("week", &["--from", "6d"]), 2);
    assert_eq!(rows("until", &["--from", "20d", "--to", "6d"]), 1);
    for (args, words) in [
        (["--region", "EU-WEST-1"], "did you mean eu-west-1?"),
        (["--region", "eu_west_1"], "did you mean eu-west-1?"),
        (["--from", "a week"], "or 7d"),
        (["--balancer", "arn:aws:s3:::bucket"], "loadbalancer/app/NAME/ID"),
    ] {
        world.convert_with(&args).expect(3).says(&[words]);
    }
    assert_eq!(rows("arn", &["--balancer", ARN]), 3);
    let elsewhere = ARN.replace("eu-west-1", "us-east-1");
    assert_eq!(rows("elsewhere", &["--balancer", &elsewhere]), 0);
}

// ---- single files and patterns

#[test]
fn a_file_or_a_pattern_is_a_source() {
    let world = World::new();
    for number in 1..4 {
        world.put(&key(number), gzip(good_lines(number)));
        world.put(&key_on("2025/07/20", number), gzip(good_lines(10)));
    }
    let source = world.source().to_str().unwrap().to_owned();
    let [one, two] = [1, 2].map(|number| format!("{source}/{}", key(number)));
    let day = format!("{source}/AWSLogs/*/elasticloadbalancing/*/2025/07/19/*.log.gz");
    let cases: [(&[&str], u64, u64); 7] = [
        (&[&one], 1, 1),
        (&[&one, &two], 2, 3),
        (&[&one, &one], 1, 1),
        (&[&day], 3, 6),
        (&[&format!("{source}/**/*00000002.log.gz")], 2, 12),
        (&[&format!("{source}/**")], 6, 36),
        (&[&format!("file://{source}/**/2025/07/1?/*[23].log.gz")], 2, 5),
    ];
    for (place, (sources, objects, rows)) in cases.into_iter().enumerate() {
        let sources: Vec<&Path> = sources.iter().map(Path::new).collect();
        let out = world.path(&format!("out{place}"));
        let run = convert(&sources, &out, &["--json"]).expect(0);
        let counts = (run.count("/objects/converted"), run.count("/rows"));
        assert_eq!(counts, (objects, rows), "{sources:?}: {run:#?}");
        assert_eq!(findings(&sources, &out, &[]), [""; 0]);
        // Keys do not depend on the pattern.
        let rows = read(&out, ROWS);
        assert!(rows.iter().all(|row| get(row, "source_key").unwrap().starts_with("AWSLogs/")));
        let run = convert(&[&world.source()], &out, &["--json"]).expect(0);
        assert_eq!(run.count("/objects/converted"), 6 - objects);
    }
    for (name, words) in [
        (format!("{source}/*/nothing*"), "/*/nothing* contains no objects"),
        (format!("{source}/absent.log.gz"), "No such file"),
        (format!("{source}/[x"), "is not a pattern"),
    ] {
        convert(&[Path::new(&name)], &world.path("none"), &[]).expect(3).says(&[words]);
    }
    convert(&[Path::new(&day)], &world.path("none"), &["--objects", "-"])
        .expect(3)
        .says(&["--objects needs"]);
}

// ---- any sequence of runs

/// The location of a copy of an object.
#[derive(Debug, Clone)]
struct Placement {
    object: usize,
    layout: usize,
    /// Number of days from the end time to the day in the path.
    late: i64,
    ending: usize,
    source: usize,
}

/// A run, with the placements that it converts.
#[derive(Debug, Clone)]
struct Step {
    placements: Vec<Placement>,
    /// Whether the work is split into two shards, which run one after the other.
    sharded: bool,
    small_files: bool,
}

const OBJECTS: usize = 5;

fn step() -> impl Strategy<Value = Step> {
    let placement = (
        0..OBJECTS,
        0..LAYOUTS.len(),
        prop_oneof![3 => Just(0), 2 => Just(1), 1 => -40_i64..40],
        0..ENDINGS.len(),
        0..2_usize,
    );
    let placement = placement.prop_map(|(object, layout, late, ending, source)| Placement {
        object,
        layout,
        late,
        ending,
        source,
    });
    let placements = prop::collection::vec(placement, 1..8);
    (placements, any::<bool>(), any::<bool>()).prop_map(|(placements, sharded, small_files)| Step {
        placements,
        sharded,
        small_files,
    })
}

/// Returns the key of a placement. The day in the path is `late` days after the end time.
fn key_of_placement(Placement { object, layout, late, ending, .. }: &Placement) -> String {
    let end = NaiveDate::from_ymd_opt(2025, 7, 18 + (*object as u32) % 3).unwrap();
    let name = key_on(&end.format("%Y/%m/%d").to_string(), *object);
    let name = name_of(&name).replace(".log.gz", ENDINGS[*ending]);
    let day = if *late < 0 {
        end - Days::new(late.unsigned_abs())
    } else {
        end + Days::new(late.unsigned_abs())
    };
    let layout = LAYOUTS[*layout].replace("2025/07/19", &day.format("%Y/%m/%d").to_string());
    let hive = day.format("year=%Y/month=%m/day=%d").to_string();
    placed(&layout.replace("year=2025/month=07/day=19", &hive), &name)
}

/// Returns the number of cases. To set it, run `ALB2PARQUET_CASES=1000 cargo test layouts`.
fn cases() -> u32 {
    env::var("ALB2PARQUET_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    /// Regardless of which copies exist and in which order runs convert them, every row is written once, no run fails,
    /// and `verify` reports no findings for any source.
    #[test]
    fn any_sequence_of_runs_over_any_copies_converts_every_row_once(steps in prop::collection::vec(step(), 1..4)) {
        let world = World::new();
        let mut expected = BTreeMap::new();
        let mut seen = Vec::new();
        for (number, Step { placements, sharded, small_files }) in steps.iter().enumerate() {
            let sources = [0, 1].map(|source| world.path(&format!("step{number}-{source}")));
            for source in &sources {
                fs::create_dir(source).unwrap();
            }
            for placement in placements {
                let object = object(ENDINGS[placement.ending], placement.object + 1);
                put(&sources[placement.source], &key_of_placement(placement), object);
                expected.insert(placement.object, placement.object + 1);
            }
            let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
            let shards: &[&[&str]] = if *sharded { &[&["--shard", "0/2"], &["--shard", "1/2"]] } else { &[&[]] };
            let size: &[&str] = if *small_files { &["--target-file-size", "1KB"] } else { &[] };
            for shard in shards {
                let run: Run = convert(&sources, &world.out(), &[shard, size, &["--json"]].concat());
                prop_assert_eq!(run.code, 0, "{:#?}", run);
                prop_assert_eq!(run.count("/objects/failed"), 0);
            }
            seen.extend(sources.into_iter().map(Path::to_path_buf));
        }
        let mut rows = BTreeMap::new();
        for row in read(&world.out(), ROWS) {
            let name = name_of(get(&row, "source_key").unwrap()).to_owned();
            let stem = name.rsplit_once('_').unwrap().1;
            *rows.entry(stem[..8].parse::<usize>().unwrap()).or_insert(0) += 1;
        }
        prop_assert_eq!(rows, expected);
        for source in &seen {
            prop_assert_eq!(findings(&[source], &world.out(), &[]), Vec::<String>::new());
        }
        let seen: Vec<&Path> = seen.iter().map(PathBuf::as_path).collect();
        prop_assert_eq!(findings(&seen, &world.out(), &[]), Vec::<String>::new());
    }
}
