//! Reruns convert only new objects. Also tests `verify`, `accept` and `remove`.
//!
//! `scripts/s3-test` also runs these tests with buckets.

use std::fs::{self, File};

use flate2::Compression;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{
    REJECTS, ROWS, Run, World, convert, files, good_lines, gzip, gzip_at, key, key_on, put, tree,
};

pub(crate) const CLAIMS: &str = "_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-19";

/// Returns a converted world with two days and a few rejects.
pub(crate) fn converted() -> World {
    let world = World::anywhere();
    for number in 1..4 {
        world.put(&key(number), gzip([good_lines(number), b"bad\n".to_vec()].concat()));
    }
    world.put(&key_on("2025/07/20", 1), gzip(good_lines(5)));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    world
}

pub(crate) fn verify(world: &World, args: &[&str]) -> Run {
    world.run("verify", true, &[&["--json", "--to", "2099-12-31"], args].concat())
}

/// Returns the kinds of findings that `verify --read-data` reports.
#[track_caller]
pub(crate) fn findings(world: &World) -> Vec<String> {
    let run = verify(world, &["--read-data"]);
    let json = run.json();
    let findings = json["findings"].as_array().unwrap();
    for finding in findings {
        for key in ["kind", "name", "problem", "remedy"] {
            assert!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
        }
        run.says(&[finding["problem"].as_str().unwrap()]);
        // The text output must contain every word of the remedy's name.
        run.says(&finding["remedy"].as_str().unwrap().split('_').collect::<Vec<_>>());
    }
    assert_eq!(run.code, i32::from(!findings.is_empty()), "{run:#?}");
    findings.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn command(world: &World, name: &str, args: &[&str]) -> Run {
    world.run(name, false, &[&["--json"], args].concat())
}

// ---- repeated conversions

#[test]
fn a_rerun_writes_nothing() {
    let world = converted();
    let before = tree(&world.out());
    let run = world.convert_with(&["--json", "--compression", "none"]).expect(0);
    assert_eq!(run.count("/objects/converted"), 0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 4);
    assert_eq!(tree(&world.out()), before);
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn new_objects_become_an_additional_file() {
    let world = converted();
    let before = tree(&world.out());
    world.put(&key(9), gzip(good_lines(7)));
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (1, 7));
    let after = tree(&world.out());
    assert_eq!(after.len(), before.len() + 3, "a file, a claim and its done marker");
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes), "nothing is rewritten");
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn a_changed_object_is_named_and_not_converted_again() {
    let world = converted();
    let before = tree(&world.out());
    world.put(&key(2), gzip(good_lines(40)));
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!(run.count("/objects/failed"), 1);
    run.says(&[&key(2), "left alone", "remove"]);
    assert_eq!(tree(&world.out()), before);
    assert_eq!(findings(&world), ["changed"]);
    // A copy in another location counts as the same object, regardless of its age.
    let copy = world.path("copy");
    for number in [1, 3] {
        put(&copy, &key(number), fs::read(world.source().join(key(number))).unwrap());
    }
    let run = convert(&[&copy], &world.out(), &["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 2);
}

#[test]
fn an_object_under_two_days_is_converted_once() {
    let world = converted();
    // An object from the 19th in the directory for the 20th, and vice versa.
    let under = |key: &str, day: &str| {
        let name = key.rsplit('/').next().unwrap();
        key_on(day, 0).rsplit_once('/').map(|(directory, _)| format!("{directory}/{name}")).unwrap()
    };
    let (late, early) =
        (under(&key(1), "2025/07/20"), under(&key_on("2025/07/20", 1), "2025/07/19"));
    for (from, to) in [(key(1), &late), (key_on("2025/07/20", 1), &early)] {
        world.put(to, fs::read(world.source().join(&from)).unwrap());
        fs::remove_file(world.source().join(from)).unwrap();
    }
    let before = tree(&world.out());
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/objects/failed")), (0, 0));
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 4);
    run.says(&["1 objects are in the directory of another day", &early]);
    assert_eq!(tree(&world.out()), before);
    assert_eq!(findings(&world), [""; 0]);
}

// ---- touched objects

/// Changes an object's gzip header, which changes its ETag and modification time but not its size or text.
pub(crate) fn touch(world: &World, key: &str) {
    let path = world.source().join(key);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

/// An adjacent day's claim lists the object, as if a different rule had determined the object's day.
#[test]
fn a_touched_object_of_an_adjacent_day_is_recorded_next_to_its_claim() {
    let world = World::new();
    let delivered = key(1).replace("/2025/07/19/", "/2025/07/20/");
    let name = delivered.rsplit('/').next().unwrap();
    let own = key_on("2025/07/20", 2);
    world.put(&format!("flat/{name}"), gzip(good_lines(3)));
    world.put(&own, gzip(good_lines(2)));
    world.convert().expect(0);
    let source = world.source();
    fs::rename(source.join("flat").join(name), source.join(&delivered)).unwrap();
    let directory = delivered.rsplit_once('/').unwrap().0;
    for name in tree(&world.out()).keys().filter(|name| name.ends_with(".claim.json")) {
        let path = world.out().join(name);
        let claim = fs::read_to_string(&path).unwrap();
        fs::write(&path, claim.replace("/source/flat", &format!("/source/{directory}"))).unwrap();
    }
    world.convert_with(&["--json"]).expect(0).says(&["2 converted_before"]);
    touch(&world, &delivered);
    touch(&world, &own);
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/touched"), 2);
    let after = tree(&world.out());
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 2);
    assert!(!run.stderr.contains("compared"), "nothing is compared: {run:#?}");
    assert_eq!(tree(&world.out()), after, "nothing is recorded again");
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn a_touched_object_is_compared_once_and_recorded() {
    let world = converted();
    let touched = [key(1), key(3), key_on("2025/07/20", 1)];
    for key in &touched {
        touch(&world, key);
    }
    let (before, rows) = (tree(&world.out()), world.rows());
    let run = verify(&world, &[]).expect(1);
    let json = run.json();
    let found = json["findings"].as_array().unwrap();
    assert!(found.len() == 3 && found.iter().all(|each| each["kind"] == "touched"), "{json}");
    run.says(&["was not compared", "run `convert`", "--read-data"]);
    let run = verify(&world, &["--read-data"]).expect(0);
    assert_eq!((run.count("/touched"), run.count("/compared")), (3, 4));
    let run = world.run("plan", true, &["--json", "--to", "2099-12-31"]).expect(0);
    assert_eq!((run.count("/touched/objects"), run.count("/to_convert/objects")), (3, 0));
    run.says(&["3 (", "with a new ETag or time, whose content must be compared"]);
    let run = world.convert_with(&["--dry-run", "--json"]).expect(0);
    assert_eq!((run.count("/touched/objects"), run.count("/converted_before/objects")), (3, 1));
    assert_eq!(tree(&world.out()), before, "only `convert` writes");

    let run = world.convert_with(&["--json"]).expect(0);
    run.says(&["3 objects have a new ETag or time", "3 touched"]);
    assert_eq!((run.count("/objects/converted"), run.count("/objects/failed")), (0, 0));
    assert_eq!(run.count("/objects/skipped_by_kind/touched"), 3);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 1);
    let after = tree(&world.out());
    assert_eq!(
        after.len(),
        before.len() + 4,
        "an amendment and its done marker in each of two partitions"
    );
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes), "nothing is rewritten");
    assert_eq!(world.rows(), rows);

    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 4);
    assert!(!run.stderr.contains("compared"), "nothing is compared: {run:#?}");
    assert_eq!(tree(&world.out()), after);
    verify(&world, &[]).expect(0);
    assert_eq!(findings(&world), [""; 0]);
    // An object that is touched again is compared again.
    touch(&world, &key(1));
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/touched"), 1);
    assert_eq!(tree(&world.out()).len(), after.len() + 2);
}

#[test]
fn changed_content_of_the_same_size_is_reported_by_every_run() {
    let world = World::anywhere();
    let object = |byte: &str| {
        let text = String::from_utf8(good_lines(3)).unwrap().replacen("192.0.2.0", byte, 1);
        gzip_at(text, Compression::none())
    };
    world.put(&key(1), object("192.0.2.0"));
    world.put(&key(2), object("192.0.2.0"));
    world.convert().expect(0);
    world.put(&key(1), object("192.0.2.7"));
    touch(&world, &key(2));
    for touched in [1, 0] {
        let run = world.convert_with(&["--json"]).expect(2);
        run.says(&[&key(1), "with different content", "left alone", "remove"]);
        assert_eq!((run.count("/objects/failed"), run.count("/objects/converted")), (1, 0));
        let json = run.json();
        let kinds = &json["objects"]["skipped_by_kind"];
        assert_eq!(kinds["touched"].as_u64().unwrap_or_default(), touched, "{json}");
    }
    assert_eq!(findings(&world), ["changed"]);
    command(&world, "remove", &["--yes"]).expect(0);
    world.convert().expect(0);
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn a_damaged_object_that_is_touched_cannot_be_compared() {
    let world = damaged();
    touch(&world, &key(2));
    let run = world.convert_with(&["--json"]).expect(2);
    run.says(&[&key(2), "has no CRC-32 to compare", "left alone", "remove"]);
    assert_eq!(run.count("/objects/failed"), 1);
    // Damage changes an object's content even if its size stays the same.
    let path = world.source().join(key(1));
    let mut bytes = fs::read(&path).unwrap();
    let crc32 = bytes.len() - 6;
    bytes[crc32] ^= 1;
    fs::write(path, bytes).unwrap();
    let run = world.convert_with(&["--json"]).expect(2);
    run.says(&[&key(1), "is damaged now", "left alone"]);
    assert_eq!(run.count("/objects/failed"), 2);
}

// ---- verify

#[test]
fn verify_counts_the_contents_of_a_correct_dataset() {
    let world = converted();
    let before = tree(&world.out());
    let run = verify(&world, &[]).expect(0);
    for (key, count) in [
        ("objects", 4),
        ("claims", 2),
        ("files", 3),
        ("lines", 14),
        ("rows", 11),
        ("rejects", 3),
        ("compared", 0),
        ("not_compared", 0),
    ] {
        assert_eq!(run.count(&format!("/{key}")), count, "{key}");
    }
    run.says(&["no problems found"]);
    let run = verify(&world, &["--read-data"]).expect(0);
    assert_eq!(run.count("/compared"), 4);
    assert_eq!(tree(&world.out()), before, "nothing is written");
    let run = verify(&world, &["--from", "2025-07-20"]).expect(0);
    assert_eq!((run.count("/objects"), run.count("/claims"), run.count("/rows")), (1, 1, 5));
    // Objects that are no longer in the source cannot be compared. They are not reported, because they may have been
    // deleted intentionally.
    fs::remove_file(world.source().join(key(1))).unwrap();
    let run = verify(&world, &["--read-data"]).expect(0);
    assert_eq!((run.count("/compared"), run.count("/not_compared")), (3, 1));
}

#[test]
fn verify_finds_every_kind_of_damage() {
    type Damage = fn(&World);

    let cases: [(&str, Damage); 9] = [
        ("not_converted", |world| {
            world.put(&key(7), gzip(good_lines(1)));
        }),
        ("orphan", |world| {
            let file = files(&world.out(), ROWS).remove(0);
            fs::copy(&file, file.with_file_name("copy.parquet")).unwrap();
        }),
        ("orphan", |world| fs::write(world.out().join(REJECTS).join("_SUCCESS"), "").unwrap()),
        ("file_mismatch", |world| fs::remove_file(files(&world.out(), ROWS).remove(0)).unwrap()),
        ("file_mismatch", |world| {
            let file = files(&world.out(), ROWS).remove(0);
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("file_mismatch", |world| {
            let file = files(&world.out(), ROWS).remove(0);
            let mut bytes = fs::read(&file).unwrap();
            bytes[100] ^= 1;
            fs::write(&file, bytes).unwrap();
        }),
        ("inconsistent_counts", |world| {
            claim(world, |text| text.replacen("\"rows\":6", "\"rows\":7", 1));
        }),
        ("invalid_state", |world| claim(world, |text| text[1..].to_owned())),
        ("claimed_twice", |world| {
            let claims = world.out().join(CLAIMS);
            fs::copy(claims.join("1.claim.json"), claims.join("2.claim.json")).unwrap();
            fs::copy(claims.join("1.done.json"), claims.join("2.done.json")).unwrap();
        }),
    ];
    for (kind, damage) in cases {
        let world = converted();
        damage(&world);
        let found = findings(&world);
        assert!(found.iter().any(|found| found == kind), "{kind} is missing in {found:?}");
    }
}

/// Rewrites a table's file with the `parquet` crate and the given metadata, and updates the claim to match.
fn rewrite(world: &World, table: &str, metadata: Option<Vec<KeyValue>>) {
    let path = files(&world.out(), table).remove(0);
    let rows = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let (schema, rows) = (rows.schema().clone(), rows.build().unwrap());
    let properties = WriterProperties::builder().set_key_value_metadata(metadata).build();
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    for batch in rows {
        writer.write(&batch.unwrap()).unwrap();
    }
    let bytes = writer.into_inner().unwrap();
    claim(world, |text| {
        let mut claim: Value = serde_json::from_str(text).unwrap();
        let outputs = claim["outputs"].as_array_mut().unwrap();
        let output = outputs.iter_mut().find(|output| output["table"] == table).unwrap();
        output["size"] = bytes.len().into();
        let hash = Sha256::digest(&bytes);
        output["sha256"] = alb2parquet::internals::util::hash::hex(&hash).into();
        claim.to_string()
    });
    fs::write(path, bytes).unwrap();
}

/// Returns the metadata in the footer of a table's file.
fn metadata(world: &World, table: &str) -> Vec<KeyValue> {
    let file = File::open(files(&world.out(), table).remove(0)).unwrap();
    let footer = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    footer.metadata().file_metadata().key_value_metadata().unwrap().clone()
}

#[test]
fn verify_finds_files_without_the_metadata_of_this_program() {
    let problem = |table: &str, metadata: Option<Vec<KeyValue>>| {
        let world = converted();
        rewrite(&world, table, metadata);
        assert_eq!(findings(&world), ["file_mismatch"]);
        verify(&world, &[]).json()["findings"][0]["problem"].as_str().unwrap().to_owned()
    };
    for table in [ROWS, REJECTS] {
        assert!(problem(table, None).contains("no embedded claim"), "{table}");
    }
    let all = metadata(&converted(), ROWS);
    let names: Vec<&str> = all.iter().map(|pair| pair.key.as_str()).collect();
    let own = ["log_type", "objects", "lines", "joined_lines", "rows", "rejects"];
    let own = own.map(|name| format!("alb2parquet.{name}"));
    assert!(own.iter().all(|name| names.contains(&name.as_str())), "{names:?}");
    for name in own {
        let others = all.iter().filter(|pair| pair.key != name).cloned().collect();
        let name = name.trim_start_matches("alb2parquet.");
        assert!(problem(ROWS, Some(others)).starts_with(&format!("has {name} = nothing")));
    }
    // If all metadata is present, the file is equivalent to one that this program wrote.
    let world = converted();
    rewrite(&world, ROWS, Some(all));
    assert_eq!(findings(&world), [""; 0]);
}

/// Edits the text of the claim for the 19th.
fn claim(world: &World, change: impl Fn(&str) -> String) {
    let path = world.out().join(CLAIMS).join("1.claim.json");
    let text = fs::read_to_string(&path).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    fs::write(path, changed).unwrap();
}

/// Rows are compared with the source itself, not only with the counts in the claim.
#[test]
fn verify_compares_rows_with_the_source() {
    let world = converted();
    // The lines in a second dataset differ in one character. The second dataset's files replace the files of the first.
    let other = World::new();
    for number in 1..4 {
        let text = [good_lines(number), b"baD\n".to_vec()].concat();
        let text = String::from_utf8(text).unwrap().replacen("192.0.2.0", "192.0.2.9", 1);
        other.put(&key(number), gzip(text));
    }
    other.convert_with(&["--max-rejects", "1"]).expect(0);
    for table in [ROWS, REJECTS] {
        let (ours, theirs) =
            (files(&world.out(), table).remove(0), files(&other.out(), table).remove(0));
        let bytes = fs::read(&theirs).unwrap();
        let before = fs::read(&ours).unwrap();
        let hash = |bytes: &[u8]| {
            alb2parquet::internals::util::hash::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
        };
        claim(&world, |text| {
            text.replace(&hash(&before), &hash(&bytes)).replace(
                &format!("\"size\":{},\"sha", before.len()),
                &format!("\"size\":{},\"sha", bytes.len()),
            )
        });
        fs::write(&ours, bytes).unwrap();
        assert_eq!(verify(&world, &[]).code, 0, "only the rows differ");
        let found = findings(&world);
        assert!(
            !found.is_empty() && found.iter().all(|kind| kind == "row_mismatch"),
            "{table}: {found:?}"
        );
        fs::write(&ours, &before).unwrap();
        claim(&world, |text| {
            text.replace(&hash(&fs::read(&theirs).unwrap()), &hash(&before)).replace(
                &format!("\"size\":{},\"sha", fs::read(&theirs).unwrap().len()),
                &format!("\"size\":{},\"sha", before.len()),
            ) + " "
        });
    }
}

#[test]
fn a_directory_without_a_dataset_is_refused() {
    let world = World::with(gzip(good_lines(1)));
    verify(&world, &[]).expect(3).says(&["no dataset", world.out().to_str().unwrap()]);
    for name in ["remove", "clean"] {
        command(&world, name, &[]).expect(3).says(&["no dataset"]);
    }
    assert!(!world.out().exists(), "nothing is written");
}

// ---- incomplete objects

/// Returns a converted world with five objects: intact, truncated, not gzip, without rows, and with a reject.
fn damaged() -> World {
    let world = World::anywhere();
    world.put(&key(1), gzip(good_lines(2)));
    let whole = gzip(good_lines(40));
    world.put(&key(2), &whole[..whole.len() - 20]);
    world.put(&key(3), b"\x00\xff neither gzip nor text \x00".repeat(9));
    world.put(&key(4), gzip("bad\nworse\n"));
    world.put(&key(5), gzip([good_lines(3), b"bad\n".to_vec()].concat()));
    world.convert_with(&["--max-rejects", "1"]).expect(2).says(&[&key(2), &key(3)]);
    world
}

/// Returns the objects that `verify` reports as incomplete.
#[track_caller]
fn incomplete(world: &World) -> Vec<String> {
    let run = verify(world, &[]);
    let json = run.json();
    let findings = json["findings"].as_array().unwrap().clone();
    assert_eq!(run.code, i32::from(!findings.is_empty()), "{run:#?}");
    let name = |finding: &serde_json::Value| {
        assert_eq!(finding["kind"], "incomplete_object", "{finding}");
        finding["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    };
    findings.iter().map(name).collect()
}

fn name(number: usize) -> String {
    key(number).rsplit('/').next().unwrap().to_owned()
}

#[test]
fn a_damaged_object_is_reported_by_every_later_run() {
    let world = damaged();
    for _ in 0..2 {
        let run = world.convert_with(&["--json"]).expect(0);
        assert_eq!(run.count("/incomplete_before"), 3);
        run.says(&["incomplete  3 objects of earlier runs; `verify` lists them"]);
        assert_eq!(incomplete(&world), [name(2), name(3), name(4)]);
    }
    let run = verify(&world, &[]);
    run.says(&[
        "lines became rows; rejects: 1 truncated_gzip",
        "0 of 2 lines became rows",
        "good copy",
    ]);
    assert_eq!(run.count("/objects_with_rejects"), 4);
    let worst = run.json()["worst_objects"].clone();
    assert_eq!(worst.as_array().unwrap().len(), 1, "{worst}");
    assert!(worst[0]["object"].as_str().unwrap().ends_with(&name(5)), "{worst}");
    assert_eq!((&worst[0]["lines"], &worst[0]["rejects"]), (&4.into(), &1.into()));
    assert_eq!(run.count("/accepted"), 0);
}

#[test]
fn an_accepted_object_is_not_a_finding_until_it_is_converted_again() {
    let world = damaged();
    let before = tree(&world.out());
    let run = command(&world, "accept", &[]).expect(0);
    run.says(&["3 incomplete objects; --yes accepts them"]);
    assert_eq!(run.json()["objects"].as_array().unwrap().len(), 3);
    command(&world, "accept", &[&name(1), "--yes"])
        .expect(3)
        .says(&["is not an incomplete object"]);
    assert_eq!(tree(&world.out()), before, "nothing is written");

    let run = command(&world, "accept", &[&name(3), "--yes"]).expect(0);
    run.says(&["1 of 1 incomplete objects accepted"]);
    assert_eq!(incomplete(&world), [name(2), name(4)]);
    assert_eq!(world.convert_with(&["--json"]).expect(0).count("/incomplete_before"), 2);
    command(&world, "accept", &["--yes"]).expect(0);
    assert_eq!(incomplete(&world), [""; 0]);
    assert_eq!(verify(&world, &["--read-data"]).expect(0).count("/accepted"), 3);
    let run = command(&world, "accept", &["--yes"]).expect(0);
    run.says(&["no incomplete objects"]);
    assert_eq!(world.convert_with(&["--json"]).expect(0).count("/incomplete_before"), 0);

    // The remedy is to restore an intact copy and convert the partition again. Objects that are still damaged are
    // reported again.
    world.put(&key(2), gzip(good_lines(40)));
    command(&world, "remove", &["--yes"]).expect(0);
    world.convert_with(&["--max-rejects", "1"]).expect(2);
    assert_eq!(incomplete(&world), [name(3), name(4)]);
}

// ---- remove

#[test]
fn removed_objects_are_converted_again() {
    let world = converted();
    let before = tree(&world.out());
    let selected = ["--from", "2025-07-19", "--to", "2025-07-19"];
    let run = command(&world, "remove", &selected).expect(0);
    run.says(&["2025-07-19", "6 rows", "--yes"]);
    let json = run.json();
    assert_eq!(json["partitions"].as_array().unwrap().len(), 1);
    assert_eq!(json["partitions"][0]["day"], "2025-07-19");
    assert_eq!(json["partitions"][0]["removed"], false);
    assert_eq!(tree(&world.out()), before, "nothing is changed without --yes");
    let run = command(&world, "remove", &[&selected[..], &["--yes"]].concat()).expect(0);
    assert_eq!(run.json()["partitions"][0]["removed"], true);
    assert_eq!((world.rows().len(), world.rejects().len()), (5, 0));
    assert_eq!(findings(&world), ["not_converted"; 3]);
    let run = command(&world, "remove", &selected).expect(0);
    run.says(&["contains none of the selected partitions"]);
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (3, 6));
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn an_interrupted_removal_is_finished() {
    let world = converted();
    let files_before = tree(&world.out());
    command(&world, "remove", &["--to", "2025-07-19", "--yes"]).expect(0);
    // Simulate a removal that was killed after deleting one file.
    fs::remove_file(world.out().join(CLAIMS).join("2.done.json")).unwrap();
    let (name, bytes) = files_before.iter().find(|(name, _)| name.starts_with(ROWS)).unwrap();
    put(&world.out(), name, bytes);
    let found = findings(&world);
    assert!(found.contains(&"unfinished_removal".to_owned()), "{found:?}");
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!(run.count("/rows"), 6);
    assert_eq!(world.rows().len(), 11);
    assert_eq!(findings(&world), [""; 0]);
}
