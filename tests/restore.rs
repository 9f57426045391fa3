//! `restore` restores the text of every object, and `verify --restore` reports the objects that differ.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alb2parquet::internals::logs::schema::LogType;
use arrow::array::{BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use flate2::read::MultiGzDecoder;
use parquet::arrow::ArrowWriter;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::exactly_once::CLAIMS;
use crate::logs::full_line;
use crate::random_text::{text, text_of_other_log};
use crate::support::{
    Line, ROWS, Run, World, good_lines, gzip, key, key_of_log, only_file, program, run, text_of,
    tree,
};

const ORIGINALS: &str = "_alb2parquet/originals";

/// Restores the dataset of a world to the world's directory `restored`.
fn restore(world: &World, args: &[&str]) -> Run {
    let [out, restored] = [world.out(), world.path("restored")];
    let fixed = ["restore", out.to_str().unwrap(), "--out", restored.to_str().unwrap(), "--json"];
    run(&[&fixed[..], args].concat())
}

fn verify(world: &World, args: &[&str]) -> Run {
    let out = world.out();
    run(&[&["verify", "--out", out.to_str().unwrap(), "--restore", "--json"], args].concat())
}

fn decompressed(bytes: &[u8]) -> Vec<u8> {
    if !bytes.starts_with(b"\x1f\x8b") {
        return bytes.to_vec();
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    decompressed(&text)
}

/// Returns the decompressed text of all objects below a directory, by key.
fn texts(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    tree(directory).into_iter().map(|(key, bytes)| (key, decompressed(&bytes))).collect()
}

/// Returns the reasons of the failures, by the file name of the object.
fn reasons(run: &Run) -> BTreeMap<String, String> {
    let failures = run.json()["failures"].as_array().unwrap().clone();
    let of = |failure: &Value| {
        let object = failure["object"].as_str().unwrap();
        let name = object.rsplit('/').next().unwrap();
        (name.to_owned(), failure["reason"].as_str().unwrap().to_owned())
    };
    failures.iter().map(of).collect()
}

fn name(number: usize) -> String {
    key(number).rsplit('/').next().unwrap().to_owned()
}

/// Asserts that the text of all source objects can be restored.
#[track_caller]
fn assert_restored(world: &World) {
    let expected = texts(&world.source());
    let run = restore(world, &[]).expect(0);
    assert_eq!(run.count("/restored"), expected.len() as u64);
    let bytes: usize = expected.values().map(Vec::len).sum();
    assert_eq!(run.count("/bytes"), bytes as u64);
    let restored = texts(&world.path("restored"));
    for (key, text) in &expected {
        let found = restored.get(key).unwrap_or_else(|| panic!("{key} is not restored"));
        assert!(found == text, "{key}: {} {}", found.escape_ascii(), text.escape_ascii());
    }
    assert_eq!(restored.len(), expected.len(), "{:?}", restored.keys());
    let report = verify(world, &[]).expect(0);
    assert_eq!(report.count("/restorable"), expected.len() as u64);
}

/// Returns the path of the only file in a directory whose name contains `part`.
fn only(directory: &Path, part: &str) -> PathBuf {
    let all = tree(directory).into_keys().filter(|name| name.contains(part));
    let all: Vec<String> = all.collect();
    assert_eq!(all.len(), 1, "{all:?}");
    directory.join(&all[0])
}

/// Changes the first claim of a dataset.
fn change_claim(world: &World, change: impl FnOnce(&mut Value)) {
    let path = only(&world.out().join(CLAIMS), "1.claim.json");
    let mut claim: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut claim);
    fs::write(&path, serde_json::to_vec(&claim).unwrap()).unwrap();
}

/// Returns every kind of text that a load balancer, an editor or a faulty tool can produce.
fn unusual_texts() -> Vec<Vec<u8>> {
    let good = |count: usize| Line::of(count).text();
    let line = good(30).into_bytes();
    let with = |number: usize, value: &str| Line::of(30).with(number, value).text();
    let lines = |lines: &[&str]| text_of(lines);
    vec![
        good_lines(3),
        Vec::new(),
        lines(&[&good(17), &good(25), &good(29), &good(36), &good(38), &good(40)]),
        [&line[..], b"\r\n", &line, b"\r\n"].concat(),
        [&line[..], b"\n", &line].concat(),
        [&line[..], b"\r\n", &line, b"\r"].concat(),
        [&line[..], b"\n\n\n\r\n\r\n\n"].concat(),
        [&line[..], b"\n\n", &line, b"\n\n \n", &line, b"\n"].concat(),
        [b"\xef\xbb\xbf", &line[..], b"\n"].concat(),
        [&line[..], b"\n\0\0\n", &line, b"\n"].concat(),
        [&line[..], b"\n\xff\xfe invalid\n", &line, b"\n"].concat(),
        [&line[..], b"\n", &vec![b'x'; 3 << 20], b"\n", &line, b"\n"].concat(),
        [&line[..], b"\n", &vec![b'x'; 100_000], b"\r\n", &line, b"\r\n"].concat(),
        [&line[..], b"\n", &vec![b'x'; 100_000]].concat(),
        lines(&[&with(13, &format!("\"GET http://h/{} HTTP/1.1\"", "a".repeat(1 << 19)))]),
        lines(&[&with(6, "0.0010"), &with(6, "1e-3"), &with(6, ".5"), &with(6, "1"), &good(30)]),
        lines(&[
            &with(6, "0.1234567890123456789"),
            &with(6, "00.001"),
            &with(7, "-1"),
            &with(7, "-0.000"),
        ]),
        lines(&[&with(2, "2025-07-19T14:03:21.5Z"), &with(2, "2025-07-19T14:03:21"), &good(30)]),
        lines(&[&with(9, "0200"), &with(11, "+588"), &with(11, "000"), &with(12, "-0")]),
        lines(&[&with(4, "[2001:db8::1]:443"), &with(4, "2001:db8::1:0443"), &with(5, "-")]),
        lines(&[
            &with(13, "\"- - - \""),
            &with(13, "\"-\""),
            &with(13, "\"\""),
            &with(15, "\"-\""),
        ]),
        lines(&[&with(14, "\"two\nlines\""), &good(30), "bad", &with(14, "\"three\n\nlines\"")]),
        lines(&[
            &good(30).replacen(' ', "  ", 1),
            &format!(" {}", good(30)),
            &format!("{} ", good(30)),
        ]),
        lines(&["bad", &good(30), "bad", "worse", &with(6, "0.1"), "bad", &with(6, "0.2"), "bad"]),
        lines(&[&with(6, "0.1"), "bad", &with(6, "0.2"), &good(30), &with(6, "0.1"), "bad"]),
    ]
}

#[test]
fn every_object_is_restored_byte_for_byte() {
    let world = World::new();
    for (number, text) in unusual_texts().iter().enumerate() {
        world.put(&key(number), gzip(text));
    }
    let line = good_lines(1);
    world.put(&key(100), [gzip(&line), gzip(&line)].concat());
    world.put(&key(101), gzip(gzip(&line)));
    world.put(&key(102), &line);
    // A line that is longer than a segment, with blank lines before it, in a stream.
    let long = [&line[..], b"\n\r\n\n", &vec![b'x'; 9 << 20], b"\n\n", &line].concat();
    world.put(&key(103), [gzip(&long), gzip(&line)].concat());
    world.put(&key(104), gzip([&long[..], b"\n\n", &long].concat()));
    for (number, log_type) in (200..).zip(LogType::ALL) {
        let fields = full_line(log_type).0;
        let required = log_type.table().required_fields;
        let lines = (required..=fields.len()).map(|count| fields[..count].join(" "));
        let text = text_of(lines);
        let is_gzip = log_type != LogType::Classic;
        world.put(&key_of_log(log_type, number), if is_gzip { gzip(text) } else { text });
    }
    let converted = world.convert_with(&["--max-rejects", "1"]);
    assert!(converted.code <= 1, "{converted:?}");
    assert_restored(&world);
    // Objects that were not compressed are identical, byte for byte.
    for key in [key(102), key_of_log(LogType::Classic, 204)] {
        let [source, restored] = [world.source(), world.path("restored")];
        assert_eq!(fs::read(source.join(&key)).unwrap(), fs::read(restored.join(&key)).unwrap());
    }
    let staging = world.path("restored").join(".alb2parquet-restore");
    assert!(!staging.exists(), "no temporary directory remains");
}

#[test]
fn many_small_row_groups_and_files_are_restored() {
    let world = World::new();
    for number in 0..60 {
        world.put(&key(number), gzip(good_lines(2000 + number)));
    }
    world.convert_with(&["--target-file-size", "1MiB"]).expect(0);
    assert_restored(&world);
}

#[test]
fn existing_objects_are_kept() {
    let world = World::new();
    for number in 0..3 {
        world.put(&key(number), gzip(good_lines(5)));
    }
    world.convert().expect(0);
    let restored = world.path("restored");
    // Different compression, but the same text.
    fs::create_dir_all(restored.join(key(0)).parent().unwrap()).unwrap();
    fs::write(restored.join(key(0)), good_lines(5)).unwrap();
    fs::write(restored.join(key(1)), gzip("another text\n")).unwrap();
    let before = [key(0), key(1)].map(|key| fs::read(restored.join(key)).unwrap());
    let run = restore(&world, &[]).expect(2);
    assert_eq!((run.count("/objects"), run.count("/restored"), run.count("/existed")), (3, 1, 1));
    assert_eq!(reasons(&run), BTreeMap::from([(name(1), "not_written".to_owned())]));
    run.says(&["exists with different content; it was not overwritten"]);
    let after = [key(0), key(1)].map(|key| fs::read(restored.join(key)).unwrap());
    assert_eq!(after, before);

    fs::remove_file(restored.join(key(1))).unwrap();
    let run = restore(&world, &[]).expect(0);
    assert_eq!((run.count("/restored"), run.count("/existed")), (1, 2));
}

#[test]
fn objects_are_written_to_stdout_in_order_and_nothing_else() {
    let world = World::new();
    let text = |number: usize| text_of([Line::of(30).with(11, &number.to_string()).text()]);
    for number in 0..4 {
        world.put(&key(number), gzip(text(number)));
    }
    world.convert().expect(0);
    let out = world.out();
    let to_stdout = |args: &[&str]| {
        let fixed = ["restore", out.to_str().unwrap(), "--out", "-"];
        let output = program(&[&fixed[..], args].concat()).output().unwrap();
        (output.status.code().unwrap(), output.stdout)
    };
    assert_eq!(to_stdout(&[]), (0, (0..4).flat_map(text).collect()));
    let url = format!("file://{}/{}", world.source().canonicalize().unwrap().display(), key(3));
    for object in [key(3), name(3), url] {
        assert_eq!(to_stdout(&["--object", &object]), (0, text(3)), "{object}");
    }
    assert_eq!(to_stdout(&["--object", &key(1), "--object", "unknown"]), (2, text(1)));
    assert_eq!(to_stdout(&["--json"]).0, 3);
    assert_eq!(to_stdout(&["--to", "2020-01-01"]), (3, Vec::new()));
}

#[test]
fn objects_that_cannot_be_restored_are_named_with_the_reason() {
    let world = World::new();
    let whole = gzip(good_lines(20));
    world.put(&key(0), &whole);
    world.put(&key(1), &whole[..whole.len() - 30]);
    world.convert_with(&["--max-rejects", "1"]);
    let run = restore(&world, &[]).expect(2);
    assert_eq!(reasons(&run), BTreeMap::from([(name(1), "damaged".to_owned())]));
    assert_eq!(texts(&world.path("restored")).len(), 1);
    let report = verify(&world, &[]).expect(1);
    assert_eq!((report.count("/restorable"), report.count("/damaged")), (1, 1));
    // The damage is a finding until it is accepted.
    report.says(&["incomplete_object"]);
    world.run("accept", false, &["--yes"]).expect(0);
    verify(&world, &[]).expect(0);

    change_claim(&world, |claim| drop(claim.as_object_mut().unwrap().remove("fields")));
    fs::remove_dir_all(world.path("restored")).unwrap();
    let run = restore(&world, &[]).expect(2);
    assert_eq!(reasons(&run)[&name(0)], "no_originals");
    let report = verify(&world, &[]).expect(1);
    report.says(&["not_restorable", "has 1 objects that cannot be restored"]);
    assert!(tree(&world.path("restored")).is_empty());
}

#[test]
fn a_redacted_dataset_is_refused() {
    let world = World::with(gzip(good_lines(1)));
    world.convert_with(&["--redact", "client_ip=drop"]).expect(0);
    for run in [restore(&world, &[]), verify(&world, &[])] {
        run.expect(3).says(&["is redacted, so the original objects cannot be restored from it"]);
    }
}

#[test]
fn a_destination_in_the_dataset_is_refused() {
    let world = World::with(gzip(good_lines(1)));
    world.convert().expect(0);
    let out = world.out();
    let inside = out.join("restored");
    let run = run(&["restore", out.to_str().unwrap(), "--out", inside.to_str().unwrap()]);
    run.expect(3).says(&["is inside the dataset"]);
}

/// The program detects each kind of damage to the dataset, and names the object.
#[test]
fn damage_to_the_dataset_is_found_and_the_object_is_named() {
    let changed = |change: &dyn Fn(&World)| {
        let world = World::new();
        world.put(&key(0), gzip(good_lines(50)));
        let odd = Line::of(30).with(6, "0.00100").text();
        world.put(&key(1), gzip(text_of([odd.as_str(), odd.as_str(), "bad"])));
        world.convert_with(&["--max-rejects", "1"]).expect(0);
        verify(&world, &[]).expect(0);
        change(&world);
        let report = verify(&world, &[]).expect(1);
        let findings = report.json()["findings"].as_array().unwrap().clone();
        let is_named = |number: usize| {
            findings.iter().any(|finding| {
                finding["kind"] == "not_restorable"
                    && finding["name"].as_str().unwrap().ends_with(&name(number))
            })
        };
        let named = [is_named(0), is_named(1)];
        let run = restore(&world, &[]).expect(2);
        let reasons = reasons(&run);
        assert_eq!([0, 1].map(|number| reasons.contains_key(&name(number))), named);
        named
    };
    let crc = |claim: &mut Value| claim["objects"][0]["crc32"] = Value::from("00000001");
    assert_eq!(changed(&|world| change_claim(world, crc)), [true, false]);
    let size = |claim: &mut Value| claim["objects"][1]["uncompressed_size"] = Value::from(7);
    assert_eq!(changed(&|world| change_claim(world, size)), [false, true]);
    assert_eq!(
        changed(&|world| fs::remove_dir_all(world.out().join(ORIGINALS)).unwrap()),
        [false, true]
    );
    assert_eq!(
        changed(&|world| fs::remove_dir_all(world.out().join("elb_rejects")).unwrap()),
        [false, true]
    );
    assert_eq!(changed(&|world| fs::remove_dir_all(world.out().join(ROWS)).unwrap()), [true, true]);
}

/// A flipped bit either changes no text or is detected. No wrong text is ever written.
#[test]
fn no_flipped_bit_restores_another_text() {
    let world = World::new();
    world.put(&key(0), gzip(good_lines(300)));
    world.put(&key(1), gzip(good_lines(10)));
    world.convert().expect(0);
    let expected = texts(&world.source());
    let path = only_file(&world.out(), ROWS);
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    for at in (4..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        let _ = fs::remove_dir_all(world.path("restored"));
        let run = restore(&world, &[]);
        let (restored, reasons) = (texts(&world.path("restored")), reasons(&run));
        assert_eq!(run.code, if reasons.is_empty() { 0 } else { 2 });
        assert_eq!(restored.len() + reasons.len(), expected.len(), "{run:?}");
        assert!(restored.iter().all(|(key, text)| expected[key] == *text), "the bit at {at}");
        let report = verify(&world, &[]).json();
        let findings = report["findings"].as_array().unwrap();
        let named = findings.iter().filter(|finding| finding["kind"] == "not_restorable");
        assert_eq!(named.count(), reasons.len(), "{report}");
        found += usize::from(!reasons.is_empty());
    }
    assert!(found > 20, "only {found} flipped bits changed a text");
}

/// Returns the configuration: 8 cases, or the number in `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = cases.unwrap_or(8);
    ProptestConfig {
        failure_persistence: None,
        cases,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    }
}

/// Objects of several log types.
struct Objects(Vec<(LogType, Vec<u8>)>);

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects", self.0.len())
    }
}

fn objects() -> impl Strategy<Value = Objects> {
    // Objects without any valid line are not converted.
    let access = (text(), any::<bool>()).prop_map(|(text, first)| {
        let good = good_lines(1);
        let parts = if first { [&good[..], &text] } else { [&text[..], &good] };
        (LogType::Access, parts.concat())
    });
    let other = text_of_other_log().prop_map(|(log_type, text)| {
        (log_type, [text_of([full_line(log_type).text()]), text].concat())
    });
    vec(prop_oneof![3 => access, 2 => other], 250).prop_map(Objects)
}

proptest! {
    #![proptest_config(config())]

    /// Each case converts and restores 250 objects.
    #[test]
    fn random_text_is_restored_byte_for_byte(Objects(objects) in objects()) {
        let world = World::new();
        for (number, (log_type, text)) in objects.iter().enumerate() {
            let is_gzip = *log_type != LogType::Classic;
            let object = if is_gzip { gzip(text) } else { text.clone() };
            world.put(&key_of_log(*log_type, number), object);
        }
        // Objects that look damaged, or like another log type, are not converted completely.
        let converted = world.convert_with(&["--max-rejects", "1", "--json"]).json();
        let failures = converted["failures"].as_array().unwrap();
        prop_assert!(failures.len() < 25, "{}", converted);
        for failure in failures {
            fs::remove_file(world.source().join(failure["object"].as_str().unwrap())).unwrap();
        }
        let expected = texts(&world.source());
        restore(&world, &[]);
        let restored = texts(&world.path("restored"));
        for (key, text) in &expected {
            let found = restored.get(key).unwrap_or_else(|| panic!("{key} is not restored"));
            prop_assert!(found == text, "{}: {} {}", key, found.escape_ascii(), text.escape_ascii());
        }
        prop_assert_eq!(restored.len(), expected.len());
    }
}

/// An object that is too long to be held in memory.
#[test]
fn a_long_object_is_streamed() {
    let world = World::new();
    let text = [good_lines(2), vec![b'\n'; 70 << 20]].concat();
    world.put(&key(0), gzip(&text));
    world.put(&key_of_log(LogType::Classic, 1), text_of([full_line(LogType::Classic).text()]));
    world.convert().expect(0);
    assert_restored(&world);
    let run = restore(&world, &[]).expect(0);
    assert_eq!((run.count("/restored"), run.count("/existed")), (0, 2));
    change_claim(&world, |claim| claim["objects"][0]["crc32"] = Value::from("00000001"));
    fs::remove_dir_all(world.path("restored")).unwrap();
    let run = restore(&world, &[]).expect(2);
    assert_eq!(reasons(&run).into_values().collect::<Vec<_>>(), ["faulty"]);
    assert_eq!(tree(&world.path("restored")).len(), 1, "nothing remains of the object");
}

/// A row of an originals file.
type Forged =
    (Option<&'static str>, Option<i64>, Option<i64>, Option<&'static str>, Option<Vec<u8>>);

/// Replaces the originals file.
fn forge(world: &World, rows: &[Forged]) {
    let path = only_file(&world.out(), ORIGINALS);
    let schema = Arc::new(Schema::new(vec![
        Field::new("source_key", DataType::Utf8, true),
        Field::new("line_number", DataType::Int64, true),
        Field::new("lines", DataType::Int64, true),
        Field::new("form", DataType::Utf8, true),
        Field::new("bytes", DataType::Binary, true),
    ]));
    let key = key(0);
    let keys = rows.iter().map(|row| row.0.map(|text| if text.is_empty() { &*key } else { text }));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(StringArray::from(keys.collect::<Vec<_>>())),
            Arc::new(Int64Array::from(rows.iter().map(|row| row.1).collect::<Vec<_>>())),
            Arc::new(Int64Array::from(rows.iter().map(|row| row.2).collect::<Vec<_>>())),
            Arc::new(StringArray::from(rows.iter().map(|row| row.3).collect::<Vec<_>>())),
            Arc::new(BinaryArray::from(
                rows.iter().map(|row| row.4.as_deref()).collect::<Vec<_>>(),
            )),
        ],
    );
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&batch.unwrap()).unwrap();
    let bytes = writer.into_inner().unwrap();
    fs::write(path, &bytes).unwrap();
    change_claim(world, |claim| {
        claim["outputs"][0]["size"] = Value::from(bytes.len());
        claim["outputs"][0]["rows"] = Value::from(rows.len());
    });
}

/// Whatever an originals file contains, the program neither panics nor restores wrong text.
#[test]
fn forged_originals_restore_no_other_text() {
    let world = World::new();
    let odd = Line::of(30).with(6, "0.00100").text();
    world.put(&key(0), gzip(text_of([odd.as_str(), odd.as_str(), "bad"])));
    world.put(&key(1), gzip(good_lines(3)));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let expected = texts(&world.source());
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let (own, one) = (Some(""), Some(1));
    let cases: Vec<Vec<Forged>> = vec![
        vec![(own, one, Some(i64::MAX), Some("\n"), None)],
        vec![(own, one, Some(i64::MAX), Some(""), None)],
        vec![(own, one, Some(i64::MAX), Some("_"), None)],
        vec![(own, one, Some(i64::MAX), Some("_\n"), None)],
        vec![(own, one, Some(2), Some("no form"), None)],
        vec![(own, one, Some(0), Some("_\n"), None)],
        vec![(own, Some(0), one, Some("_\n"), None)],
        vec![(own, Some(i64::MAX), one, None, bytes("x\n"))],
        vec![(own, Some(-1), one, None, bytes("x\n"))],
        vec![(own, one, Some(-1), Some("\n"), None)],
        vec![(own, None, one, None, bytes("x\n"))],
        vec![(None, one, one, None, bytes("x\n"))],
        vec![(Some("unknown"), one, one, None, bytes("x\n"))],
        vec![(own, one, one, None, None)],
        vec![(own, one, one, Some("\n"), bytes("x\n"))],
        vec![(own, one, one, None, bytes("")), (own, one, one, None, bytes("\n\n\n"))],
        vec![(own, Some(3), one, None, bytes("bad\n")), (own, one, Some(2), Some("_\n"), None)],
        vec![(own, Some(4), one, None, bytes("more\n"))],
        vec![],
    ];
    for (number, rows) in cases.iter().enumerate() {
        forge(&world, rows);
        let _ = fs::remove_dir_all(world.path("restored"));
        let run = restore(&world, &[]).expect(2);
        let named = BTreeMap::from([(name(0), "faulty".to_owned())]);
        assert_eq!(reasons(&run), named, "case {number}: {rows:?}");
        assert_eq!(
            texts(&world.path("restored")),
            BTreeMap::from([(key(1), expected[&key(1)].clone())])
        );
    }
    // A file that contains the bytes of all lines is valid, regardless of where the lines are split.
    let whole: Vec<Vec<u8>> =
        expected[&key(0)].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let rows = (1..).zip(&whole).flat_map(|(number, line)| {
        let (before, after) = line.split_at(line.len() / 2);
        [before, after].map(|part| (own, Some(number), one, None, Some(part.to_vec())))
    });
    forge(&world, &rows.collect::<Vec<_>>());
    let _ = fs::remove_dir_all(world.path("restored"));
    restore(&world, &[]).expect(0);
    assert_eq!(texts(&world.path("restored")), expected);
}
