//! Reruns add what is new and nothing else; `verify` and `remove` do what they say.
//!
//! `scripts/s3-test` runs this suite over buckets too.

use std::fs;

use crate::support::{
    REJECTS, ROWS, Run, World, convert, files, good_lines, gzip, key, key_on, put, tree,
};

pub(crate) const CLAIMS: &str = "_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-19";

/// A world of two days, some of its lines rejects, that was converted.
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

/// The kinds of what `verify` finds, reading all data.
#[track_caller]
pub(crate) fn findings(world: &World) -> Vec<String> {
    let run = verify(world, &["--read-data"]);
    let json = run.json();
    let findings = json["findings"].as_array().unwrap();
    for finding in findings {
        for key in ["kind", "name", "problem", "remedy"] {
            assert!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
        }
        run.says(&[finding["problem"].as_str().unwrap(), finding["remedy"].as_str().unwrap()]);
    }
    assert_eq!(run.code, i32::from(!findings.is_empty()), "{run:#?}");
    findings.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn command(world: &World, name: &str, args: &[&str]) -> Run {
    world.run(name, false, &[&["--json"], args].concat())
}

// ---- convert, again and again

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
fn new_objects_become_a_further_file() {
    let world = converted();
    let before = tree(&world.out());
    world.put(&key(9), gzip(good_lines(7)));
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (1, 7));
    let after = tree(&world.out());
    assert_eq!(after.len(), before.len() + 3, "a file, a claim, and that it is done");
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes), "nothing is rewritten");
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn an_object_that_changed_is_named_and_left_alone() {
    let world = converted();
    let before = tree(&world.out());
    world.put(&key(2), gzip(good_lines(40)));
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!(run.count("/objects/failed"), 1);
    run.says(&[&key(2), "left alone", "remove"]);
    assert_eq!(tree(&world.out()), before);
    assert_eq!(findings(&world), ["changed"]);
    // A copy elsewhere is the same object, whatever its age.
    let copy = world.path("copy");
    for number in [1, 3] {
        put(&copy, &key(number), fs::read(world.source().join(key(number))).unwrap());
    }
    let run = convert(&[&copy], &world.out(), &["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 2);
}

#[test]
fn a_name_under_two_days_is_converted_once() {
    let world = converted();
    // The name of an object of the 19th under the 20th, and of one of the 20th under the 19th.
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
    run.says(&["1 objects lie under another day", &early]);
    assert_eq!(tree(&world.out()), before);
    assert_eq!(findings(&world), [""; 0]);
}

// ---- verify

#[test]
fn verify_counts_what_is_right() {
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
    run.says(&["everything is as it should be"]);
    let run = verify(&world, &["--read-data"]).expect(0);
    assert_eq!(run.count("/compared"), 4);
    assert_eq!(tree(&world.out()), before, "nothing is written");
    let run = verify(&world, &["--from", "2025-07-20"]).expect(0);
    assert_eq!((run.count("/objects"), run.count("/claims"), run.count("/rows")), (1, 1, 5));
    // What the source has no more cannot be compared; it may have been deleted by intent.
    fs::remove_file(world.source().join(key(1))).unwrap();
    let run = verify(&world, &["--read-data"]).expect(0);
    assert_eq!((run.count("/compared"), run.count("/not_compared")), (3, 1));
}

#[test]
fn verify_finds_what_is_wrong() {
    type Harm = fn(&World);

    let cases: [(&str, Harm); 9] = [
        ("not_converted", |world| {
            world.put(&key(7), gzip(good_lines(1)));
        }),
        ("stranger", |world| {
            let file = files(&world.out(), ROWS).remove(0);
            fs::copy(&file, file.with_file_name("copy.parquet")).unwrap();
        }),
        ("stranger", |world| fs::write(world.out().join(REJECTS).join("_SUCCESS"), "").unwrap()),
        ("file", |world| fs::remove_file(files(&world.out(), ROWS).remove(0)).unwrap()),
        ("file", |world| {
            let file = files(&world.out(), ROWS).remove(0);
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("file", |world| {
            let file = files(&world.out(), ROWS).remove(0);
            let mut bytes = fs::read(&file).unwrap();
            bytes[100] ^= 1;
            fs::write(&file, bytes).unwrap();
        }),
        ("counts", |world| claim(world, |text| text.replacen("\"rows\":6", "\"rows\":7", 1))),
        ("state", |world| claim(world, |text| text[1..].to_owned())),
        ("twice", |world| {
            let claims = world.out().join(CLAIMS);
            fs::copy(claims.join("1.claim.json"), claims.join("2.claim.json")).unwrap();
            fs::copy(claims.join("1.done.json"), claims.join("2.done.json")).unwrap();
        }),
    ];
    for (kind, harm) in cases {
        let world = converted();
        harm(&world);
        let found = findings(&world);
        assert!(found.iter().any(|found| found == kind), "{kind} is in {found:?}");
    }
}

/// Changes the text of the claim of the 19th.
fn claim(world: &World, change: impl Fn(&str) -> String) {
    let path = world.out().join(CLAIMS).join("1.claim.json");
    let text = fs::read_to_string(&path).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    fs::write(path, changed).unwrap();
}

/// Rows are compared with the source, not with what the claim says of itself.
#[test]
fn verify_reads_the_rows() {
    let world = converted();
    // Another dataset, of lines that differ in one character, whose files take the place of these.
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
        let hash =
            |bytes: &[u8]| alb2parquet::hash::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes));
        claim(&world, |text| {
            text.replace(&hash(&before), &hash(&bytes)).replace(
                &format!("\"size\":{},\"sha", before.len()),
                &format!("\"size\":{},\"sha", bytes.len()),
            )
        });
        fs::write(&ours, bytes).unwrap();
        assert_eq!(verify(&world, &[]).code, 0, "nothing but the rows tells");
        let found = findings(&world);
        assert!(!found.is_empty() && found.iter().all(|kind| kind == "rows"), "{table}: {found:?}");
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
fn what_is_no_dataset_is_refused() {
    let world = World::with(gzip(good_lines(1)));
    verify(&world, &[]).expect(3).says(&["no dataset", world.out().to_str().unwrap()]);
    for name in ["remove", "clean"] {
        command(&world, name, &[]).expect(3).says(&["no dataset"]);
    }
    assert!(!world.out().exists(), "nothing is written");
}

// ---- remove

#[test]
fn what_is_removed_is_new_again() {
    let world = converted();
    let before = tree(&world.out());
    let selected = ["--from", "2025-07-19", "--to", "2025-07-19"];
    let run = command(&world, "remove", &selected).expect(0);
    run.says(&["2025-07-19", "6 rows", "--yes"]);
    let json = run.json();
    assert_eq!(json["partitions"].as_array().unwrap().len(), 1);
    assert_eq!(json["partitions"][0]["day"], "2025-07-19");
    assert_eq!(json["partitions"][0]["removed"], false);
    assert_eq!(tree(&world.out()), before, "nothing is done without --yes");
    let run = command(&world, "remove", &[&selected[..], &["--yes"]].concat()).expect(0);
    assert_eq!(run.json()["partitions"][0]["removed"], true);
    assert_eq!((world.rows().len(), world.rejects().len()), (5, 0));
    assert_eq!(findings(&world), ["not_converted"; 3]);
    let run = command(&world, "remove", &selected).expect(0);
    run.says(&["holds nothing"]);
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (3, 6));
    assert_eq!(findings(&world), [""; 0]);
}

#[test]
fn a_removal_that_was_cut_short_is_finished() {
    let world = converted();
    let files_before = tree(&world.out());
    command(&world, "remove", &["--to", "2025-07-19", "--yes"]).expect(0);
    // As if it had died after its first deletion.
    fs::remove_file(world.out().join(CLAIMS).join("2.done.json")).unwrap();
    let (name, bytes) = files_before.iter().find(|(name, _)| name.starts_with(ROWS)).unwrap();
    put(&world.out(), name, bytes);
    let found = findings(&world);
    assert!(found.contains(&"unfinished".to_owned()), "{found:?}");
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!(run.count("/rows"), 6);
    assert_eq!(world.rows().len(), 11);
    assert_eq!(findings(&world), [""; 0]);
}
