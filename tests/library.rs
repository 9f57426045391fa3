//! The library: its Cargo features, its public API, and the examples that users copy.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use alb2parquet::{Converter, Counts, Key, LogType, Reader, Rules, Selection};
use arrow_ipc::reader::StreamReader;
use serde_json::Value;

use crate::outcome::{Row, rows_of};
use crate::support::{Line, World, get, good_lines, gzip, key, key_on, read_file, text_of};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns a Cargo command without the environment variables that Cargo sets for tests. They would cause build scripts
/// to run again.
fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_test =
            ["CARGO_MANIFEST", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY"];
        if of_test.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(ROOT).args(args);
    cargo
}

/// Runs an example with the given arguments. If the example was not built with the tests, builds it first.
fn example(name: &str, args: &[&Path]) -> Output {
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    // `cargo run` would mix the warnings of the compiler with the output of the example.
    let mut cargo = cargo(&["build", "--quiet", "--locked", "--offline", "--example", name]);
    // With other features, cargo would compile the dependencies again.
    let features: &[&str] =
        if cfg!(feature = "iceberg") { &["--features", "iceberg"] } else { &[] };
    let output = cargo.args(profile).args(features).arg("--message-format=json").output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let messages = text(output.stdout);
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).unwrap();
        let is_example = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| is_example).map(ToOwned::to_owned)
    });
    let output = Command::new(program.expect("cargo prints the path")).args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Returns the crates that a build with the given features compiles.
fn crates(features: &str) -> BTreeSet<String> {
    let args = ["tree", "--locked", "--offline", "--no-default-features", "--features", features];
    let output = cargo(&args).args(["-e", "normal", "--prefix", "none"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text(output.stdout).lines().map(ToOwned::to_owned).collect()
}

fn names(crates: &BTreeSet<String>) -> BTreeSet<&str> {
    crates.iter().filter_map(|each| each.split(' ').next()).collect()
}

#[test]
fn without_features_the_library_compiles_no_cloud_sdk_no_parquet_and_no_command_line() {
    let crates = crates("");
    assert!(crates.len() <= 90, "{} crates: {crates:#?}", crates.len());
    let names = names(&crates);
    assert!(names.contains("arrow"), "{names:?}");
    for unwanted in ["askama", "clap", "indicatif", "object_store", "parquet", "rayon", "tokio"] {
        assert!(!names.contains(unwanted), "{unwanted} is compiled");
    }
    assert!(!names.iter().any(|name| name.starts_with("aws-")), "{names:?}");
}

#[test]
fn each_feature_compiles_only_the_crates_of_its_part() {
    let parquet = crates("parquet");
    let parquet = names(&parquet);
    assert!(parquet.contains("parquet"));
    for unwanted in ["clap", "object_store", "tokio", "aws-config"] {
        assert!(!parquet.contains(unwanted), "{unwanted} is compiled");
    }
    let convert = crates("convert");
    let convert = names(&convert);
    assert!(convert.contains("object_store"));
    for unwanted in ["askama", "clap", "comfy-table", "indicatif", "tracing-subscriber"] {
        assert!(!convert.contains(unwanted), "{unwanted} is compiled");
    }
}

#[test]
fn no_module_is_public_except_the_hidden_one() {
    let lib = fs::read_to_string(Path::new(ROOT).join("src/lib.rs")).unwrap();
    let public: Vec<_> = lib.lines().filter(|line| line.starts_with("pub mod ")).collect();
    assert_eq!(public, ["pub mod internals;"]);
    assert!(lib.contains("#[doc(hidden)]\npub mod internals;"));
}

#[test]
fn the_example_print_rows_prints_rows_and_names_rejects() {
    let (good, bad) = (Line::of(30).with(9, "404"), Line::of(30).with(9, "five"));
    let world = World::new();
    let object = world.put(&key(1), gzip(text_of([good.text(), bad.text(), good.text()])));
    let Output { stdout, stderr, .. } = example("print_rows", &[&object]);
    let stdout = text(stdout);
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split('\t').collect()).collect();
    let [header, rows @ ..] = &lines[..] else { panic!("no header: {stdout}") };
    let table = LogType::Access.table();
    assert_eq!(header.len(), table.columns().count() + 2, "{header:?}");
    assert_eq!(rows.len(), 2, "{stdout}");
    let row: BTreeMap<_, _> = header.iter().zip(&rows[0]).collect();
    assert_eq!(row[&"elb_status_code"], &"404");
    assert_eq!(row[&"time"], &good.0[1]);
    assert_eq!(row[&"request_proto"], &"HTTP/2.0");
    assert_eq!(row[&"source_key"], &object.to_str().unwrap());
    assert_eq!(text(stderr), "line 2 has a value that does not fit its column\n");
}

#[test]
fn the_example_count_statuses_counts_the_access_logs_of_a_directory() {
    let world = World::new();
    let line = |status: &str| Line::of(30).with(9, status).text();
    world.put(&key_on("2025/07/19", 1), gzip(text_of([line("200"), line("404"), line("x")])));
    world.put(&key_on("2025/07/20", 2), gzip(text_of([line("404"), line("-")])));
    world.put("README.txt", line("500"));
    let output = example("count_statuses", &[&world.source()]);
    assert_eq!(text(output.stdout), "none 1\n200 1\n404 2\nrejected lines 1\n");
}

#[test]
fn the_example_write_parquet_writes_the_rows_that_convert_writes() {
    let world = World::with(gzip(good_lines(500)));
    world.convert().expect(0);
    let (object, file) = (world.source().join(key(1)), world.path("example.parquet"));
    let output = example("write_parquet", &[&object, &file]);
    let bytes = fs::metadata(&file).unwrap().len();
    assert_eq!(text(output.stdout), format!("500 rows, 0 rejected lines, {bytes} bytes\n"));
    let without_key = |mut row: Row| {
        row.remove("source_key").expect("is a column");
        row
    };
    let written: Vec<Row> = read_file(&file).into_iter().map(without_key).collect();
    let converted: Vec<Row> = world.rows().into_iter().map(without_key).collect();
    assert_eq!(written, converted);
}

#[test]
fn the_example_arrow_stream_streams_the_rows_of_the_reader() {
    // The reader returns several record batches, each with separate dictionaries.
    let world = World::with(gzip(good_lines(30_000)));
    let object = world.source().join(key(1));
    let output = example("arrow_stream", &[&object]);
    let stream = StreamReader::try_new(output.stdout.as_slice(), None).unwrap();
    let streamed: Vec<_> = stream.map(Result::unwrap).collect();
    assert!(streamed.len() > 1, "{} batches", streamed.len());
    let name = object.to_str().unwrap();
    let reader = Reader::new(LogType::Access, name, fs::File::open(&object).unwrap()).unwrap();
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    let rows = |batches: &[_]| -> Vec<Row> { batches.iter().flat_map(rows_of).collect() };
    assert_eq!(rows(&streamed), rows(&read));
}

#[test]
fn the_library_parses_log_types_from_the_names_of_the_sample() {
    let mut counts = BTreeMap::new();
    for (name, bytes) in crate::support::tree(&Path::new(ROOT).join("tests/data")) {
        let Ok(key) = Key::parse(&name) else { continue };
        let log_type = key.partition.log_type;
        let mut reader = Reader::new(log_type, name, std::io::Cursor::new(bytes)).unwrap();
        for batch in &mut reader {
            assert_eq!(batch.unwrap().schema(), log_type.table().batch_schema());
        }
        let Counts { lines, rows, rejects, .. } = reader.counts();
        assert_eq!(lines, rows + rejects);
        *counts.entry(log_type).or_insert(0) += rows;
    }
    assert_eq!(counts.into_keys().collect::<Vec<_>>(), LogType::ALL);
}

/// Returns a converter for a world.
fn converter(world: &World) -> Converter {
    Converter::new(world.path("library").to_str().unwrap()).threads(2)
}

fn rows_and_rejects(out: &Path) -> [Vec<Row>; 2] {
    ["alb_access_logs", "elb_rejects"].map(|table| {
        let mut rows = crate::support::read(out, table);
        rows.sort();
        rows
    })
}

#[test]
fn the_converter_writes_what_the_program_writes_and_converts_nothing_twice() {
    let world = World::new();
    let bad = Line::of(30).with(9, "five").text();
    for number in 0..3 {
        world.put(&key_on("2025/07/19", number), gzip(good_lines(20 + number)));
    }
    world.put(&key_on("2025/07/20", 3), gzip(text_of([bad, Line::of(29).text()])));
    world.put(&key_on("2025/07/20", 4), gzip(good_lines(1)).split_off(5));
    world.convert().expect(2);
    let source = world.source();
    let sources = [source.to_str().unwrap()];
    let go_on = AtomicBool::new(false);
    let tally = converter(&world).convert(&sources, &go_on).unwrap();
    assert_eq!((tally.rows, tally.reject_count(), tally.lines), (64, 2, 66));
    assert_eq!((tally.objects.converted, tally.objects.failed), (4, 1));
    assert_eq!(tally.failures.len(), 1, "{:?}", tally.failures);
    assert!(!tally.interrupted);
    let converted = rows_and_rejects(&world.path("library"));
    assert_eq!(converted, rows_and_rejects(&world.out()));
    let description =
        std::fs::read_to_string(world.path("library/_alb2parquet/dataset.json")).unwrap();
    assert!(description.contains("\"portable\""), "{description}");
    let again = converter(&world).convert(&sources, &go_on).unwrap();
    assert_eq!((again.rows, again.objects.skipped_by_kind["converted_before"]), (0, 5));
    assert_eq!(converted, rows_and_rejects(&world.path("library")));
}

#[test]
fn the_converter_selects_objects_and_redacts_columns() {
    let world = World::new();
    world.put(&key_on("2025/07/19", 1), gzip(good_lines(2)));
    world.put(&key_on("2025/07/20", 2), gzip(good_lines(3)));
    let rules = Rules::parse(&["client_ip=drop"]).unwrap();
    let day = chrono::NaiveDate::from_ymd_opt(2025, 7, 20);
    let converter = converter(&world)
        .selection(Selection { from: day, to: day, ..Selection::default() })
        .redaction(alb2parquet::Redaction::new(rules, None).unwrap());
    let source = world.source();
    let tally = converter.convert(&[source.to_str().unwrap()], &AtomicBool::new(false)).unwrap();
    assert_eq!((tally.rows, tally.objects.skipped), (3, 1));
    let [rows, _] = rows_and_rejects(&world.path("library"));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| get(row, "client_ip").is_none() && get(row, "time").is_some()));
}

#[test]
fn the_converter_refuses_a_dataset_in_a_source_and_stops_on_request() {
    let world = World::with(gzip(good_lines(2)));
    let source = world.source();
    let sources = [source.to_str().unwrap()];
    let inside = source.join("lake");
    let converter_inside = Converter::new(inside.to_str().unwrap());
    let error = converter_inside.convert(&sources, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the dataset {} and the source {} overlap: choose separate directories",
            inside.display(),
            source.display()
        )
    );
    assert!(!error.is_interruption() && !inside.exists());
    let error = converter(&world).convert(&sources, &AtomicBool::new(true)).unwrap_err();
    assert!(error.is_interruption(), "{error}");
    assert_eq!(rows_and_rejects(&world.path("library")), [vec![], vec![]]);
}
