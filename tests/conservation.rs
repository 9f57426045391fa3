//! The line count equals the row count plus the reject count: in the summary, in the files, and in the file footers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::support::{
    Line, REJECTS, ROWS, Run, World, convert, files, get, good_lines, gzip, key_of, read,
    read_file, text_of,
};

/// The log tables (all tables except the rejects), with their log types.
const LOG_TABLES: [(&str, &str); 5] = [
    (ROWS, "access"),
    ("alb_connection_logs", "connection"),
    ("alb_health_check_logs", "health_check"),
    ("nlb_tls_logs", "nlb_tls"),
    ("clb_access_logs", "classic"),
];

/// Asserts that the summary, the footers and the rows of a dataset agree.
#[track_caller]
fn agree(run: &Run, out: &Path) {
    let paths: Vec<_> = LOG_TABLES.iter().flat_map(|(table, _)| files(out, table)).collect();
    let rows: Vec<_> = paths.iter().flat_map(|path| read_file(path)).collect();
    let rejects = read(out, REJECTS);
    assert_eq!(run.count("/rows"), rows.len() as u64);
    let mut reasons = BTreeMap::new();
    for reject in &rejects {
        *reasons.entry(get(reject, "reason").unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(run.json()["rejects"], serde_json::json!(reasons));
    assert_eq!(run.count("/lines"), (rows.len() + rejects.len()) as u64);
    assert_eq!(run.count("/files"), paths.len() as u64);
    assert_eq!(run.count("/reject_files"), files(out, REJECTS).len() as u64);
    let objects =
        ["converted", "skipped", "failed"].map(|kind| run.count(&format!("/objects/{kind}")));
    assert_eq!(run.count("/objects/listed"), objects.iter().sum::<u64>());
    for path in paths {
        let below: PathBuf = path.strip_prefix(out).unwrap().iter().skip(1).collect();
        let (_, log_type) =
            LOG_TABLES.iter().find(|(table, _)| path.starts_with(out.join(table))).unwrap();
        let name = format!("{log_type}-{}", path.file_name().unwrap().display());
        let rejected = out.join(REJECTS).join(below).with_file_name(name);
        let rejected = if rejected.exists() { read_file(&rejected).len() } else { 0 };
        let facts = facts(&path);
        let rows = read_file(&path).len();
        assert_eq!(facts["rows"], rows.to_string(), "{}", path.display());
        assert_eq!(facts["rejects"], rejected.to_string(), "{}", path.display());
        assert_eq!(facts["lines"], (rows + rejected).to_string(), "{}", path.display());
        assert_eq!(facts["log_type"], *log_type, "{}", path.display());
    }
}

/// Returns a footer's key-value metadata, with the prefix `alb2parquet.` removed from the keys.
fn facts(path: &Path) -> BTreeMap<String, String> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let facts = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let own = facts
        .into_iter()
        .filter_map(|fact| Some((fact.key.strip_prefix("alb2parquet.")?.to_owned(), fact.value?)));
    own.collect()
}

/// Returns the path of the sample, and the totals from the JSON block in its README.
fn sample() -> (std::path::PathBuf, Value) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let readme = fs::read_to_string(data.join("README.md")).unwrap();
    let block = readme.split("```json").nth(1).and_then(|rest| rest.split("```").next());
    let totals = serde_json::from_str(block.expect("the README has a JSON block")).unwrap();
    (data, totals)
}

#[test]
fn the_sample_has_the_documented_totals() {
    let (data, totals) = sample();
    let world = World::new();
    let run = convert(&[&data.join("AWSLogs")], &world.out(), &["--json"]).expect(0);
    agree(&run, &world.out());
    let json = run.json();
    for key in ["partitions", "lines", "rows", "rejects", "bytes_in", "bytes_decompressed"] {
        assert_eq!(json[key], totals[key], "{key}");
    }
    for key in ["listed", "converted", "skipped", "failed"] {
        assert_eq!(json["objects"][key], totals["objects"][key], "{key}");
    }
    let rows_by_log = totals["rows_by_log"].as_object().unwrap();
    assert_eq!(rows_by_log.len(), LOG_TABLES.len(), "the sample contains every log type");
    for (log_type, rows) in rows_by_log {
        assert_eq!(json["log_types"][log_type]["rows"], *rows, "{log_type}");
    }
    let count = |kinds: &Value| {
        kinds.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(count(&json["objects"]["skipped_by_kind"]), count(&totals["skipped"]));
}

/// Compares the row and reject counts of each object with the table in the sample's README.
#[test]
fn every_object_of_the_sample_has_the_documented_counts() {
    let (data, totals) = sample();
    let world = World::new();
    convert(&[&data], &world.out(), &[]).expect(0);
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let rows = LOG_TABLES.map(|(table, _)| (table, 0));
    for (table, at) in rows.into_iter().chain([(REJECTS, 1)]) {
        for row in read(&world.out(), table) {
            counts.entry(get(&row, "source_key").unwrap().to_owned()).or_default()[at] += 1;
        }
    }
    let readme = fs::read_to_string(data.join("README.md")).unwrap();
    let mut documented = 0;
    for line in readme.lines().filter(|line| line.starts_with("| ") && line.contains('…')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [folder, object, _, lines, rows, rejects] = cells[..] else { panic!("{line}") };
        let Ok(lines) = lines.parse::<usize>() else { continue };
        let expected = [rows, rejects].map(|count| count.parse::<usize>().unwrap());
        assert_eq!(lines, expected[0] + expected[1], "{line}");
        let (account, rest) = folder.split_once('/').unwrap();
        let mut parts = object.trim_matches('`').split('…');
        let prefix = parts.next().unwrap();
        let start = format!("AWSLogs/{account}/elasticloadbalancing/{rest}/{prefix}{account}_");
        let parts: Vec<&str> = parts.collect();
        let found = counts.iter().find(|(key, _)| {
            key.starts_with(&start) && parts.iter().all(|part| key.contains(part))
        });
        assert_eq!(found.map_or([0, 0], |(_, counts)| *counts), expected, "{line}");
        documented += 1;
    }
    assert_eq!(totals["objects"]["converted"], documented);
}

#[test]
fn every_line_of_a_mixed_tree_is_a_row_or_a_reject() {
    let world = World::new();
    let mut lines = 0;
    let mut number = 0_usize;
    for account in ["012345678901", "123456789012"] {
        for day in ["2025/07/18", "2025/07/19"] {
            for object in 0..5 {
                number += 1;
                let key = key_of(account, "eu-west-1", day, "my-lb.50dc6c495c0c9188", number);
                let text = text_of((0..number * 7).map(|line| match (line + object) % 9 {
                    0 => "short".to_owned(),
                    1 => Line::of(29).with(9, "x").text(),
                    2 => Line::of(29).with(14, "\"open").text(),
                    era => Line::of(17 + 3 * era).text(),
                }));
                let mut gzip = gzip(&text);
                if object == 3 {
                    gzip.truncate(gzip.len() * 3 / 4);
                }
                lines += number * 7;
                world.put(&key, gzip);
            }
        }
    }
    let run = world.convert_with(&["--json", "--target-file-size", "2KB"]).expect(2);
    agree(&run, &world.out());
    assert_eq!(run.rejects().split(' ').count(), 4, "{}", run.rejects());
    assert_eq!(run.count("/objects/failed"), 4);
    assert!(run.count("/lines") < lines as u64, "the truncated lines of an object count as one");
    assert!(run.count("/lines") > lines as u64 * 3 / 4);
    assert!(run.count("/files") > run.count("/partitions"), "partitions are split into batches");
}

#[test]
fn every_row_names_its_object() {
    let world = World::new();
    for number in 1..=9 {
        world.put(&crate::support::key(number), gzip(good_lines(number)));
    }
    world.convert().expect(0);
    let mut counts = BTreeMap::new();
    for row in world.rows() {
        *counts.entry(get(&row, "source_key").unwrap().to_owned()).or_insert(0) += 1;
    }
    let expected = (1..=9).map(|number| (crate::support::key(number), number)).collect();
    assert_eq!(counts, expected);
}
