//! Lost, restored, damaged and forged state: no row is written twice, nothing outside the dataset is changed, and
//! `repair` rebuilds the claims from the files.
//!
//! `scripts/s3-test` also runs these tests on buckets.

use std::fs;
use std::path::{Path, PathBuf};

use alb2parquet::internals::dataset::claim::{Hints, Log, State};
use serde_json::Value;

use crate::exactly_once::{CLAIMS, command, findings, touch, verify};
use crate::support::{
    ORIGINALS, ROWS, World, files, good_lines, gzip, key, key_on, open_dataset, tree,
};

/// Returns a world after three conversions: two into the same partition, with some rejects, and one into another.
fn converted() -> World {
    let world = World::anywhere();
    world.put(&key(1), gzip([good_lines(3), b"bad\n".to_vec()].concat()));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    world.put(&key(2), gzip([good_lines(2), b"bad\n".to_vec()].concat()));
    world.put(&key(3), gzip(""));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    world.put(&key(4), gzip(good_lines(4)));
    world.put(&key_on("2025/07/20", 1), gzip(good_lines(5)));
    world.convert().expect(0);
    world
}

fn claim(world: &World, name: &str) -> PathBuf {
    world.out().join(CLAIMS).join(name)
}

fn remove(path: impl AsRef<Path>) {
    fs::remove_file(path).unwrap();
}

/// Deletes all claims numbered `from` or higher, as if a backup from an earlier day had been restored.
fn restore_backup(world: &World, from: usize) {
    for number in from..=3 {
        remove(claim(world, &format!("{number}.claim.json")));
        remove(claim(world, &format!("{number}.done.json")));
    }
}

/// Even if all state is lost, the rows remain unchanged.
#[test]
fn lost_claims_block_their_partition_until_they_are_rebuilt() {
    type Damage = fn(&World);
    let cases: [(&str, Damage, bool); 12] = [
        ("all state is lost", |w| fs::remove_dir_all(w.out().join("_alb2parquet")).unwrap(), true),
        (
            "all claims are lost",
            |w| {
                fs::remove_dir_all(w.out().join("_alb2parquet/claims")).unwrap();
            },
            true,
        ),
        ("the first claim is lost", |w| remove(claim(w, "1.claim.json")), false),
        ("a claim in the middle is lost", |w| remove(claim(w, "2.claim.json")), false),
        ("the last claim is lost, its marker is not", |w| remove(claim(w, "3.claim.json")), false),
        ("a backup of the day before is restored", |w| restore_backup(w, 3), false),
        ("a backup of two days before is restored", |w| restore_backup(w, 2), false),
        ("a claim is empty", |w| fs::write(claim(w, "2.claim.json"), "").unwrap(), false),
        (
            "a claim is truncated",
            |w| {
                let text = fs::read(claim(w, "3.claim.json")).unwrap();
                fs::write(claim(w, "3.claim.json"), &text[..text.len() / 2]).unwrap();
            },
            false,
        ),
        ("a claim is zeros", |w| fs::write(claim(w, "1.claim.json"), [0; 4096]).unwrap(), false),
        (
            "a claim has a forged abort marker",
            |w| {
                fs::write(claim(w, "2.aborted.json"), "{}").unwrap();
            },
            false,
        ),
        (
            "a claim names a file outside of its partition",
            |w| {
                let text = fs::read_to_string(claim(w, "2.claim.json")).unwrap();
                let forged = text.replace("\"key\":\"alb_", "\"key\":\"../alb_");
                assert_ne!(forged, text);
                fs::write(claim(w, "2.claim.json"), forged).unwrap();
            },
            false,
        ),
    ];
    for (name, damage, is_both) in cases {
        let world = converted();
        let rows = world.rows();
        let data = |world: &World| {
            let mut tree = tree(&world.out());
            tree.retain(|name, _| !name.starts_with("_alb2parquet"));
            tree
        };
        let before = data(&world);
        damage(&world);
        // The next run skips this partition, but still converts objects for all others.
        world.put(&key_on("2025/07/21", 1), gzip(good_lines(1)));
        let run = world.convert_with(&["--json"]).expect(2);
        run.says(&["access 012345678901 eu-west-1 2025-07-19", "`repair`"]);
        assert_eq!(run.count("/objects/converted"), 1, "{name}");
        let partitions = if is_both { 2 } else { 1 };
        assert_eq!(run.json()["failures"].as_array().unwrap().len(), partitions, "{name}: {run:?}");
        assert!(before.iter().all(|(name, bytes)| data(&world)[name] == *bytes), "{name}");
        assert_eq!(world.rows().len(), rows.len() + 1, "{name}");
        // `verify` recommends repair, not conversion.
        let run = verify(&world, &[]).expect(1);
        for finding in run.json()["findings"].as_array().unwrap() {
            assert!(finding["remedy"].as_str().unwrap().contains("repair"), "{name}: {finding}");
        }
        // `plan` reports the same as `convert`.
        world.run("plan", true, &["--to", "2099-12-31"]).says(&["`repair`"]);
        // Without --yes, nothing changes.
        let state = tree(&world.out());
        let dry = world.run("repair", false, &["--json"]).expect(1);
        assert_eq!(
            dry.json()["partitions"].as_array().unwrap().len(),
            partitions,
            "{name}: {dry:?}"
        );
        assert_eq!(tree(&world.out()), state, "{name}");
        world.run("repair", false, &["--yes"]).expect(0).says(&["repaired"]);
        assert_eq!(findings(&world), [""; 0], "{name}");
        let state = tree(&world.out());
        let run = world.convert_with(&["--json"]).expect(0);
        assert_eq!(run.count("/objects/converted"), 0, "{name}");
        assert_eq!(tree(&world.out()), state, "{name}: a rerun writes nothing");
        world.run("repair", false, &[]).expect(0).says(&["the claims account for all files"]);
        // After the repair, the partition can be removed and converted like any other partition.
        world.run("remove", false, &["--yes"]).expect(0);
        assert_eq!(world.rows().len(), 0, "{name}");
        world.convert_with(&["--max-rejects", "1"]).expect(0);
        assert_eq!(world.rows().len(), rows.len() + 1, "{name}");
        assert_eq!(findings(&world), [""; 0], "{name}");
    }
}

/// Markers are identified by name, so their content does not matter.
#[test]
fn a_truncated_marker_is_valid() {
    let world = converted();
    fs::write(claim(&world, "1.done.json"), "").unwrap();
    remove(claim(&world, "3.done.json"));
    assert_eq!(world.convert_with(&["--json"]).expect(0).count("/objects/converted"), 0);
    assert_eq!(findings(&world), [""; 0]);
}

/// Files from which no claim can be rebuilt are reported, and their partition stays unchanged.
#[test]
fn foreign_files_are_not_claimed() {
    let world = converted();
    let partition = files(&world.out(), ROWS).remove(0).parent().unwrap().to_owned();
    let foreign = partition.join("part-00000.parquet");
    fs::write(&foreign, "PAR1 but no more").unwrap();
    world.convert().expect(2).says(&["part-00000.parquet"]);
    let state = tree(&world.out());
    let run = world.run("repair", false, &["--yes"]).expect(2);
    run.says(&["part-00000.parquet", "was not written by this program"]);
    assert_eq!(tree(&world.out()), state);
    remove(&foreign);
    // A copy of a file contains rows of objects that another claim lists.
    let file = files(&world.out(), ROWS).remove(0);
    let copy = partition.join("copy.parquet");
    fs::copy(&file, &copy).unwrap();
    let run = world.run("repair", false, &["--yes"]).expect(2);
    run.says(&["copy.parquet", "move"]);
    remove(&copy);
    world.convert().expect(0);
    // Engines ignore hidden files, so these files do not block a repair.
    fs::write(partition.join("_SUCCESS"), "").unwrap();
    world.convert().expect(0);
}

/// Without dataset.json, the layout of the existing files is unknown.
#[test]
fn a_dataset_without_its_description_keeps_its_layout() {
    let world = converted();
    fs::remove_dir_all(world.out().join("_alb2parquet")).unwrap();
    let before = tree(&world.out());
    let run = world.convert_with(&["--layout", "plain"]).expect(3);
    run.says(&["dataset.json does not", "alb_", "--layout"]);
    assert!(before.keys().all(|name| tree(&world.out()).contains_key(name)));
    assert_eq!(world.rows().len(), 14);
}

/// If a claim's rows exist but its rejects do not, the claim is incomplete.
#[test]
fn a_claim_is_not_rebuilt_from_half_of_its_files() {
    let world = converted();
    fs::remove_dir_all(world.out().join("_alb2parquet/claims")).unwrap();
    fs::remove_dir_all(world.out().join("elb_rejects")).unwrap();
    let run = world.run("repair", false, &["--yes", "--json"]).expect(2);
    run.says(&["a file of rows or rejects is lost"]);
    let json = run.json();
    let partitions = json["partitions"].as_array().unwrap();
    let repaired: Vec<&Value> = partitions.iter().map(|each| &each["repaired"]).collect();
    assert_eq!(repaired, [&Value::Bool(false), &Value::Bool(true)], "only one has rejects");
}

/// Even if a claim contains forged paths, nothing outside its partition is deleted, overwritten or published.
#[test]
fn a_forged_claim_changes_nothing_outside_its_partition() {
    let forge = |world: &World, from: &str, to: &str| {
        let path = claim(world, "3.claim.json");
        let text = fs::read_to_string(&path).unwrap();
        let start = text.find(from).unwrap_or_else(|| panic!("{from} in {text}")) + from.len();
        let end = start + text[start..].find('"').unwrap();
        fs::write(&path, [&text[..start], to, &text[end..]].concat()).unwrap();
        let _ = fs::remove_file(claim(world, "3.done.json"));
    };
    for (field, to) in [
        ("\"key\":\"", "../victim.parquet"),
        ("\"key\":\"", "/VICTIM"),
        ("\"key\":\"", "alb_access_logs/victim.parquet"),
        ("\"key\":\"", "_alb2parquet/dataset.json"),
        ("\"key\":\"", ""),
        ("\"file\":\"", "../../../victim.parquet"),
        ("\"file\":\"", "/VICTIM"),
        ("\"file\":\"", ".."),
    ] {
        let world = converted();
        let victim = world.path("victim.parquet");
        fs::write(&victim, "precious").unwrap();
        let other = world.out().join("alb_access_logs").join("victim.parquet");
        fs::write(&other, "precious").unwrap();
        let description = fs::read(world.out().join("_alb2parquet/dataset.json")).unwrap();
        let to = to.replace("/VICTIM", victim.to_str().unwrap());
        if !fs::read_to_string(claim(&world, "3.claim.json")).unwrap().contains(field) {
            // Buckets have staged uploads instead of staged files.
            continue;
        }
        forge(&world, field, &to);
        for (command, takes_source, args) in [
            ("convert", true, &["--to", "2099-12-31"][..]),
            ("verify", true, &["--read-data", "--to", "2099-12-31"]),
            ("remove", false, &["--yes"]),
            ("clean", false, &["--older-than", "0s"]),
            ("repair", false, &["--yes"]),
        ] {
            world.run(command, takes_source, args);
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{command}: {to}");
            assert_eq!(fs::read_to_string(&other).unwrap(), "precious", "{command}: {to}");
            let path = world.out().join("_alb2parquet/dataset.json");
            assert_eq!(fs::read(path).unwrap(), description, "{command}: {to}");
        }
    }
}

/// Commands process every partition except the broken one.
#[test]
fn a_broken_log_does_not_affect_other_partitions() {
    let world = converted();
    fs::write(claim(&world, "2.claim.json"), "truncated").unwrap();
    let staged = world.out().join("_alb2parquet/staging");
    fs::create_dir_all(&staged).unwrap();
    fs::write(staged.join("left-behind"), "").unwrap();
    let broken = "2.claim.json";
    if let Some(lake) = world.local_out() {
        crate::support::run(&["report", &lake, "--json"]).expect(0).says(&[broken]);
    }
    world.run("accept", false, &["--yes"]).expect(2).says(&[broken]);
    world.run("clean", false, &["--older-than", "0s"]).expect(2).says(&[broken, "repair"]);
    let run = world.run("remove", false, &["--yes"]).expect(2);
    run.says(&[broken, "2025-07-20"]);
    assert_eq!(world.rows().len(), 9, "the rows of the other partition are removed");
    assert!(
        !world
            .convert()
            .expect(2)
            .stderr
            .contains("failed: access 012345678901 eu-west-1 2025-07-20")
    );
}

/// The forged counts would make sums overflow, so every command reports the claim as broken.
#[test]
fn a_claim_with_impossible_counts_is_broken() {
    let world = converted();
    let path = claim(&world, "3.claim.json");
    let text = fs::read_to_string(&path).unwrap();
    let forged = text.replacen("\"lines\":", "\"lines\":1844674407370955161", 1);
    assert_ne!(forged, text);
    fs::write(&path, forged).unwrap();
    let message = "is broken: its counts are impossible";
    world.convert().expect(2).says(&["3.claim.json", message]);
    world.run("verify", true, &["--to", "2099-12-31"]).expect(1).says(&["3.claim.json"]);
    world.run("remove", false, &[]).expect(2).says(&["3.claim.json", message]);
    if let Some(lake) = world.local_out() {
        crate::support::run(&["report", &lake, "--json"]).expect(0).says(&["3.claim.json"]);
    }
    world.run("repair", false, &["--yes"]).expect(0);
    verify(&world, &[]).expect(0);
    assert_eq!(world.rows().len(), 14);
}

/// A rebuilt claim is identical to the lost one.
#[test]
fn a_rebuilt_claim_has_all_counts() {
    let world = World::anywhere();
    let line = String::from_utf8(good_lines(1)).unwrap();
    let joined = line.replacen("\"-\"", "\"a\nb\"", 1);
    let text = if joined == line { line.clone() } else { joined };
    world.put(&key(1), gzip(format!("{text}{line}bad\n")));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let facts = |world: &World| {
        let text = fs::read(claim(world, "1.claim.json")).unwrap();
        let claim: Value = serde_json::from_slice(&text).unwrap();
        ["lines", "joined_lines", "rows", "rejects"].map(|name| claim[name].clone())
    };
    let before = facts(&world);
    fs::remove_dir_all(world.out().join("_alb2parquet/claims")).unwrap();
    world.run("repair", false, &["--yes"]).expect(0);
    assert_eq!(facts(&world), before);
}

/// Only claims can be aborted. A removal takes effect even if it has an abort marker.
#[test]
fn a_forged_abort_of_a_removal_restores_no_claim() {
    let world = converted();
    world.run("remove", false, &["--yes"]).expect(0);
    assert!(world.rows().is_empty());
    fs::write(claim(&world, "4.aborted.json"), "{}").unwrap();
    assert_eq!(world.convert_with(&["--json", "--max-rejects", "1"]).expect(0).count("/rows"), 14);
    assert_eq!((world.rows().len(), findings(&world)), (14, Vec::new()));
}

/// A backup made before a removal contains claims whose files have been deleted. Files of later claims contain the same
/// objects.
#[test]
fn claims_restored_from_before_a_removal_are_replaced() {
    let world = converted();
    let backup = tree(&world.out().join(CLAIMS));
    world.run("remove", false, &["--yes"]).expect(0);
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let rows = world.rows().len();
    fs::remove_dir_all(world.out().join(CLAIMS)).unwrap();
    fs::create_dir_all(world.out().join(CLAIMS)).unwrap();
    for (name, bytes) in backup {
        fs::write(claim(&world, &name), bytes).unwrap();
    }
    world.convert().expect(2).says(&["2025-07-19", "`repair`"]);
    world.run("repair", false, &["--yes"]).expect(0).says(&["repaired", "claims dropped"]);
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    assert_eq!((world.rows().len(), findings(&world)), (rows, Vec::new()));
}

/// Objects without lines have no files, so several claims can list them if a removal is lost.
#[test]
fn claims_without_files_do_not_prevent_a_repair() {
    let world = World::anywhere();
    world.put(&key(1), gzip(""));
    world.convert().expect(0);
    world.run("remove", false, &["--yes"]).expect(0);
    world.convert().expect(0);
    world.put(&key(2), gzip(good_lines(2)));
    world.convert().expect(0);
    fs::write(claim(&world, "2.claim.json"), "").unwrap();
    world.convert().expect(2).says(&["`repair`"]);
    world.run("repair", false, &["--yes"]).expect(0).says(&["repaired"]);
    world.convert().expect(0);
    assert_eq!((world.rows().len(), findings(&world)), (2, Vec::new()));
}

/// A verification lists the claims once, before it reads them.
#[test]
fn a_log_that_was_rebuilt_after_its_listing_is_read() {
    let world = World::new();
    for number in 1..=3 {
        world.put(&key(number), gzip(good_lines(1)));
        world.convert().expect(0);
    }
    remove(claim(&world, "2.claim.json"));
    fs::write(claim(&world, "2.aborted.json"), "{}").unwrap();
    let dataset = open_dataset(&world.out());
    let hints = Hints::list(&dataset).unwrap();
    let partition = hints.partitions().next().unwrap();
    let read = || Log::read(&dataset, partition, &hints);
    let error = read().unwrap_err().with_source();
    assert!(error.contains("2.claim.json is broken: it is absent, but 3 exists"), "{error}");
    // A repair keeps only claims whose files exist, and numbers them again.
    remove(&files(&world.out(), ROWS)[0]);
    world.run("repair", false, &["--yes"]).expect(0).says(&["repaired"]);
    let log = read().unwrap();
    let states: Vec<&State> = log.entries().iter().map(|entry| &entry.state).collect();
    assert_eq!(states, [&State::Done, &State::Done]);
}

/// An object can have a copy in the partition of the next day. If the claims of that day are damaged, it is unknown
/// whether the copy was converted.
#[test]
fn an_object_that_may_be_in_a_damaged_partition_is_not_converted() {
    let damages: [fn(&Path); 2] = [
        |log| fs::write(log.join("1.claim.json"), "").unwrap(),
        |log| fs::remove_dir_all(log).unwrap(),
    ];
    let name = key(1).rsplit('/').next().unwrap().to_owned();
    let of_day = |day: &str| key(1).replace("/2025/07/19/", &format!("/2025/07/{day}/"));
    // The second object is delivered after midnight, and has a copy without a day in its path.
    let copies = [
        (of_day("20"), "2025-07-20", format!("flat/{name}")),
        (format!("flat/{name}"), "2025-07-19", of_day("20")),
    ];
    for (converted, day, copy) in copies {
        for damage in damages {
            let world = World::anywhere();
            world.put(&converted, gzip(good_lines(3)));
            world.convert().expect(0);
            damage(&world.out().join(CLAIMS.replace("2025-07-19", day)));
            remove(world.source().join(&converted));
            world.put(&copy, gzip(good_lines(3)));
            world.put(&key(2), gzip(good_lines(1)));
            let run = world.convert().expect(2);
            run.says(&[&copy, "may already be in the partition", day, "`repair`"]);
            assert_eq!(world.rows().len(), if day == "2025-07-19" { 3 } else { 4 });
            world.run("repair", false, &["--yes"]).expect(0).says(&["repaired"]);
            world.convert().expect(0);
            assert_eq!(world.rows().len(), 4);
            assert_eq!(findings(&world), [""; 0]);
        }
    }
}

/// If a claim is lost between two runs, both runs can claim the same object. Here, the two resulting logs are merged.
#[test]
fn claims_that_hold_the_same_object_block_their_partition() {
    let world = World::new();
    world.put(&key(1), gzip(good_lines(3)));
    world.convert().expect(0);
    let first = tree(&world.out());
    fs::remove_dir_all(world.out()).unwrap();
    world.convert().expect(0);
    for (name, bytes) in &first {
        let name =
            name.replace("/1.claim.json", "/2.claim.json").replace("/1.done.json", "/2.done.json");
        if !world.out().join(&name).exists() {
            fs::write(world.out().join(&name), bytes).unwrap();
        }
    }
    world.put(&key(2), gzip(good_lines(2)));
    world.convert().expect(2).says(&["2.claim.json is broken: claim 1 also holds"]);
    // Neither claim takes precedence, so the partition must be removed and converted again.
    world.run("remove", false, &["--yes"]).expect(0);
    world.convert().expect(0);
    verify(&world, &["--read-data"]).expect(0);
}

// ---- originals

/// Returns a world with three claims. Two have originals, because their objects have lines that end with CRLF or
/// contain a number with an extra trailing zero.
fn with_originals() -> World {
    let world = World::anywhere();
    let text = String::from_utf8(good_lines(3)).unwrap();
    world.put(&key(1), gzip(format!("{text}bad\n").replace('\n', "\r\n")));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    world.put(&key(2), gzip([text.replace(" 0.001 ", " 0.0010 "), text.clone()].concat()));
    world.convert().expect(0);
    world.put(&key(3), gzip(text));
    world.convert().expect(0);
    assert_eq!(files(&world.out(), ORIGINALS).len(), 2);
    world
}

/// Returns the outputs in a claim: table, key, rows, size and hash.
fn outputs(world: &World, name: &str) -> Vec<[Value; 5]> {
    let text = fs::read(claim(world, name)).unwrap();
    let claim: Value = serde_json::from_slice(&text).unwrap();
    let outputs = claim["outputs"].as_array().unwrap().iter();
    outputs
        .map(|output| ["table", "key", "rows", "size", "sha256"].map(|name| output[name].clone()))
        .collect()
}

#[test]
fn rebuilt_claims_have_their_files_of_originals() {
    let world = with_originals();
    let all = |world: &World| {
        let mut all = ["1", "2", "3"].map(|n| outputs(world, &format!("{n}.claim.json")));
        all.sort_by_key(|outputs| format!("{outputs:?}"));
        all
    };
    let before = all(&world);
    let tables: Vec<&Value> = before.iter().map(|outputs| &outputs[0][0]).collect();
    assert_eq!(tables.iter().filter(|table| **table == ORIGINALS).count(), 2, "{before:?}");
    fs::remove_dir_all(world.out().join("_alb2parquet/claims")).unwrap();
    let run = world.run("repair", false, &["--yes", "--json"]).expect(0);
    assert_eq!(run.count("/partitions/0/originals_lost"), 0);
    assert_eq!(all(&world), before);
    assert_eq!(findings(&world), [""; 0]);
    assert_eq!(verify(&world, &["--restore"]).expect(0).count("/restorable"), 3);
    command(&world, "remove", &["--yes"]).expect(0);
    assert!(files(&world.out(), ORIGINALS).is_empty());
}

#[test]
fn lost_originals_are_reported_and_do_not_prevent_a_repair() {
    type Damage = fn(&World);
    let cases: [(&str, Damage, usize); 3] = [
        ("deleted", |w| remove(&files(&w.out(), ORIGINALS)[0]), 0),
        (
            "truncated",
            |w| {
                let path = files(&w.out(), ORIGINALS).remove(0);
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            },
            1,
        ),
        (
            "replaced with the file of another claim",
            |w| {
                let files = files(&w.out(), ORIGINALS);
                fs::copy(&files[1], &files[0]).unwrap();
            },
            1,
        ),
    ];
    for (name, damage, orphans) in cases {
        let world = with_originals();
        let rows = world.rows();
        damage(&world);
        assert_eq!(findings(&world), ["file_mismatch"], "{name}");
        // Engines do not read originals, so the partition is not blocked.
        assert_eq!(world.convert_with(&["--json"]).expect(0).count("/objects/converted"), 0);
        fs::remove_dir_all(world.out().join("_alb2parquet/claims")).unwrap();
        let run = world.run("repair", false, &["--json"]).expect(1);
        assert_eq!(run.count("/partitions/0/originals_lost"), 1, "{name}");
        let run = world.run("repair", false, &["--yes"]).expect(0);
        run.says(&["1 of these claims have lost their originals file", "cannot be restored"]);
        assert_eq!(world.rows(), rows, "{name}");
        assert_eq!(findings(&world), ["originals_lost"], "{name}");
        let run = verify(&world, &["--restore"]).expect(1);
        run.says(&["not_restorable", "; the claim has lost its originals file", "originals_lost"]);
        verify(&world, &[]).says(&[".claim.json: has lost its originals file", "the only copy"]);
        command(&world, "remove", &["--yes"]).expect(0);
        world.convert_with(&["--max-rejects", "1"]).expect(0);
        assert_eq!(findings(&world), vec!["orphan"; orphans], "{name}");
        command(&world, "clean", &[]).expect(0);
        assert_eq!((world.rows().len(), findings(&world)), (rows.len(), Vec::new()), "{name}");
    }
}

#[test]
fn a_claim_is_kept_although_its_originals_are_lost() {
    let world = with_originals();
    let key = outputs(&world, "1.claim.json")[0][1].as_str().unwrap().to_owned();
    remove(world.out().join(key));
    fs::write(claim(&world, "3.claim.json"), "").unwrap();
    let run = world.run("repair", false, &["--yes", "--json"]).expect(0);
    let count = |name: &str| run.count(&format!("/partitions/0/{name}"));
    assert_eq!((count("claims_kept"), count("claims_rebuilt"), count("originals_lost")), (2, 1, 0));
    assert_eq!(findings(&world), ["file_mismatch"]);
    assert_eq!(world.rows().len(), 12);
}

#[test]
fn clean_deletes_originals_only_if_they_have_neither_a_claim_nor_rows() {
    let world = with_originals();
    let file = files(&world.out(), ORIGINALS).remove(0);
    let copy = file.with_file_name("access-copy.parquet");
    fs::copy(&file, &copy).unwrap();
    assert_eq!(world.convert_with(&["--json"]).expect(0).count("/objects/converted"), 0);
    assert_eq!(findings(&world), ["orphan"]);
    verify(&world, &[]).says(&["access-copy.parquet", "`clean`"]);
    let run = command(&world, "clean", &[]).expect(0);
    assert_eq!(run.json()["removed"].as_array().unwrap().len(), 1);
    assert_eq!((copy.exists(), findings(&world)), (false, Vec::new()));
    // `repair` needs the originals of lost claims.
    fs::remove_dir_all(world.out().join("_alb2parquet/claims")).unwrap();
    let run = command(&world, "clean", &["--older-than", "0s"]).expect(0);
    assert_eq!(run.json()["removed"].as_array().unwrap().len(), 0);
    command(&world, "repair", &["--yes"]).expect(0);
    assert_eq!(findings(&world), [""; 0]);
}

/// Originals are published first. If the claim's other files do not exist, no engine has read any of its rows, so the
/// claim can be aborted.
#[test]
fn a_claim_is_aborted_if_only_its_originals_were_published() {
    let world = with_originals();
    let rows = world.rows().len();
    let key = outputs(&world, "2.claim.json").last().unwrap()[1].as_str().unwrap().to_owned();
    remove(world.out().join(key));
    remove(claim(&world, "2.done.json"));
    assert_eq!(world.convert_with(&["--json"]).expect(0).count("/objects/converted"), 1);
    assert!(claim(&world, "2.aborted.json").exists());
    assert_eq!(files(&world.out(), ORIGINALS).len(), 2, "one is deleted and one is new");
    assert_eq!((world.rows().len(), findings(&world)), (rows, Vec::new()));
}

// ---- amendments

/// Returns a world with a damaged object that is accepted, and a touched object whose new ETag is recorded.
fn amended() -> World {
    let world = World::anywhere();
    let whole = gzip(good_lines(40));
    world.put(&key(1), &whole[..whole.len() - 20]);
    world.convert_with(&["--max-rejects", "1"]).expect(2);
    world.put(&key(2), gzip(good_lines(2)));
    world.convert().expect(0);
    command(&world, "accept", &["--yes"]).expect(0);
    touch(&world, &key(2));
    assert_eq!(world.convert_with(&["--json"]).expect(0).count(TOUCHED), 1);
    assert_eq!(findings(&world), [""; 0]);
    world
}

const TOUCHED: &str = "/objects/skipped_by_kind/touched";

#[test]
fn a_repair_keeps_acceptances_and_new_etags() {
    for lost in ["1", "2", "1 2"] {
        let world = amended();
        for number in lost.split(' ') {
            remove(claim(&world, &format!("{number}.claim.json")));
        }
        world.run("repair", false, &["--yes"]).expect(0).says(&["repaired"]);
        assert_eq!(verify(&world, &[]).expect(0).count("/accepted"), 1, "{lost}");
        let run = world.convert_with(&["--json"]).expect(0);
        assert!(run.json().pointer(TOUCHED).is_none(), "{lost}: {run:?}");
    }
}

/// An acceptance applies only to the claim that it names, even if that claim's removal is lost.
#[test]
fn a_repair_does_not_apply_amendments_to_later_claims() {
    let world = amended();
    command(&world, "remove", &["--yes"]).expect(0);
    world.convert_with(&["--max-rejects", "1"]).expect(2);
    let removal = fs::read_to_string(claim(&world, "5.claim.json")).unwrap();
    assert!(removal.contains("\"action\":\"remove\""), "{removal}");
    remove(claim(&world, "5.claim.json"));
    world.run("repair", false, &["--yes"]).expect(0).says(&["repaired"]);
    assert_eq!(findings(&world), ["incomplete_object"]);
}
