//! Profiles: where they are recorded, datasets that mix both profiles, and the DDL for such datasets.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{
    REJECTS, ROWS, World, contents, convert, files, good_lines, gzip, key, run, tree,
};

const COMPACT: [&str; 2] = ["--profile", "compact"];
const PORTABLE: [&str; 2] = ["--profile", "portable"];

/// Parses a state file as JSON.
fn state(out: &Path, name: &str) -> Value {
    let files = tree(out);
    let (_, bytes) = files.iter().find(|(path, _)| path.ends_with(name)).unwrap();
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn portable_is_the_default_and_is_recorded() {
    let world = World::with(gzip(good_lines(3)));
    world.convert().expect(0);
    assert_eq!(state(&world.out(), "dataset.json")["profile"], "portable");
    assert_eq!(state(&world.out(), "1.claim.json")["profile"], "portable");
    let explicit = world.path("explicit");
    convert(&[&world.source()], &explicit, &PORTABLE).expect(0);
    assert!(contents(&world.out()) == contents(&explicit));
}

/// A missing profile means `compact`, so the state files of compact datasets do not change.
#[test]
fn state_files_omit_the_profile_compact() {
    let world = World::with(gzip(good_lines(3)));
    world.convert_with(&COMPACT).expect(0);
    assert_eq!(state(&world.out(), "dataset.json").get("profile"), None);
    let claim = state(&world.out(), "1.claim.json");
    assert_eq!(claim.get("profile"), None);
    assert_eq!(claim["settings"], "log_type=access compression=zstd profile=compact");
}

#[test]
fn both_profiles_hold_the_same_rows_and_rejects() {
    let world = World::with(gzip([good_lines(9000), b"bad\n".to_vec()].concat()));
    let [portable, compact] = [PORTABLE, COMPACT].map(|args| {
        let out = world.path(args[1]);
        convert(&[&world.source()], &out, &args).expect(0);
        out
    });
    for table in [ROWS, REJECTS] {
        let [a, b] = [&portable, &compact].map(|out| crate::support::read(out, table));
        assert!(!a.is_empty() && a == b, "{table}");
    }
    assert!(contents(&portable) != contents(&compact));
}

#[test]
fn convert_warns_and_adds_files_of_the_other_profile() {
    for (first, second) in [(PORTABLE, COMPACT), (COMPACT, PORTABLE)] {
        let world = World::with(gzip(good_lines(3)));
        let run = world.convert_with(&first).expect(0);
        assert!(!run.stderr.contains("profile"), "{run:?}");
        let before = tree(&world.out());
        world.put(&key(2), gzip(good_lines(2)));
        let warning = format!(
            "the dataset was created with --profile {}; new files use the profile {}; existing files are unchanged",
            first[1], second[1]
        );
        world.convert_with(&second).expect(0).says(&[&warning]);
        assert_eq!((files(&world.out(), ROWS).len(), world.rows().len()), (2, 5));
        let after = tree(&world.out());
        assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
        let run = world.run("verify", true, &["--read-data", "--to", "2099-12-31"]);
        assert_eq!(run.code, 0, "{run:?}");
    }
}

#[test]
fn repair_rebuilds_the_profile_of_a_claim() {
    let world = World::with(gzip(good_lines(3)));
    world.convert().expect(0);
    fs::remove_dir_all(world.out().join("_alb2parquet/claims")).unwrap();
    world.run("repair", false, &["--yes"]).expect(0);
    assert_eq!(state(&world.out(), "1.claim.json")["profile"], "portable");
}

/// Returns the output of `ddl` for a world's dataset.
fn ddl(world: &World, dialect: &str) -> String {
    let out = world.out();
    let args = ["ddl", "--from-dataset", out.to_str().unwrap(), "--dialect", dialect];
    let location = ["--location", "s3://lake/alb", "--name", "alb"];
    run(&[&args[..], &location].concat()).expect(0).stdout
}

#[test]
fn ddl_states_what_an_engine_needs_if_some_files_are_compact() {
    let needs = [
        ("athena", Some("Trino before 436 loses rows of such files")),
        ("trino", Some("Trino before 436 loses rows unless parquet.use-column-index=false")),
        ("spark", Some("Spark before 3.3 needs spark.sql.parquet.enableVectorizedReader=false")),
        ("glue", Some("Trino before 436 loses rows of such files")),
        ("duckdb", None),
    ];
    let world = World::with(gzip([good_lines(3), b"bad\n".to_vec()].concat()));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    for (dialect, _) in needs {
        assert!(!ddl(&world, dialect).contains("compact"), "{dialect}");
    }
    world.put(&key(2), gzip(good_lines(2)));
    world.convert_with(&COMPACT).expect(0);
    for (dialect, need) in needs {
        let text = ddl(&world, dialect);
        assert_eq!(text.contains("Some files have the profile compact: "), need.is_some());
        assert!(text.contains(need.unwrap_or_default()), "{dialect}: {text}");
    }
    let out = world.out();
    let args = ["ddl", "--from-dataset", out.to_str().unwrap(), "--log-type", "rejects"];
    let rejects = run(&[&args[..], &["--dialect", "trino"]].concat()).expect(0).stdout;
    assert!(
        !rejects.contains("compact"),
        "files of rejects are the same in both profiles: {rejects}"
    );
}

#[test]
fn the_report_counts_compact_files_and_its_statements_mention_them() {
    let world = World::with(gzip(good_lines(3)));
    world.convert().expect(0);
    let report = || {
        let out = world.out();
        run(&["report", out.to_str().unwrap(), "--json"]).expect(0).json()
    };
    let statements = |report: &Value| report["statements"].to_string().contains("profile compact");
    let before = report();
    assert_eq!(before["totals"]["compact_files"], 0);
    assert!(!statements(&before));
    world.put(&key(2), gzip(good_lines(2)));
    world.convert_with(&COMPACT).expect(0);
    let after = report();
    assert_eq!(after["totals"]["compact_files"], 1);
    assert!(statements(&after));
}
