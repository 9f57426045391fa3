//! `retire` deletes only source objects that can be restored, and records them before it deletes them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use alb2parquet::internals::dataset::claim::{Amended, Hints, Log};
use alb2parquet::internals::dataset::layout::{Dataset, STAGING};
use alb2parquet::internals::dataset::ledger::Ledger;
use alb2parquet::internals::logs::key::from_root;
use alb2parquet::internals::maintain::retire::{Action, Kept, Prove, Retirement, Summary};
use alb2parquet::internals::plan::Selection;
use alb2parquet::internals::store::{Network, Place, Source, Target as _};
use flate2::read::MultiGzDecoder;
use tempfile::TempDir;

use crate::memory::{Memory, Reply, Request};
use crate::server::{Server, command};
use crate::support::{
    Line, PARTITION, ROWS, Run, World, good_lines, gzip, key, key_on, program, run_command,
    text_of, tree,
};

const DELETE: [&str; 3] = ["--delete", "--yes", "--json"];

/// Returns the text of each object by key. Together, the objects contain every kind of line.
fn texts() -> BTreeMap<String, Vec<u8>> {
    let crlf: Vec<u8> = [Line::of(29).text(), Line::of(36).text()].join("\r\n").into_bytes();
    let odd = [b"not a line\n".to_vec(), good_lines(3), b"\n\n".to_vec(), crlf.clone()].concat();
    let quoted = text_of([Line::of(30).with(6, "0.10").text(), "bad \"line".to_owned()]);
    BTreeMap::from([
        (key(1), good_lines(20)),
        (key(2), crlf),
        (key(3), odd),
        (key(4), quoted),
        (key(5), Vec::new()),
        (key_on("2025/07/20", 1), good_lines(5)),
    ])
}

/// Returns a world with the objects of [`texts`], converted.
fn converted() -> World {
    let world = World::new();
    for (key, text) in texts() {
        world.put(&key, gzip(text));
    }
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    world
}

fn retire(world: &World, args: &[&str]) -> Run {
    world.run("retire", true, args)
}

/// Returns the decompressed objects below a directory, by key.
fn objects(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let inflated = |bytes: Vec<u8>| {
        let mut text = Vec::new();
        MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).map(|_| text).unwrap_or(bytes)
    };
    tree(directory).into_iter().map(|(key, bytes)| (key, inflated(bytes))).collect()
}

/// Restores all objects of the dataset, and returns their text by key.
fn restored(world: &World) -> BTreeMap<String, Vec<u8>> {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("restored");
    let dataset = world.out();
    run_command(program(&["restore"]).arg(dataset).arg("--out").arg(&out)).expect(0);
    objects(&out)
}

/// Returns the first file of a table.
fn file_of(world: &World, table: &str) -> PathBuf {
    let directory = world.out().join(table).join(PARTITION);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.swap_remove(0)
}

#[test]
fn nothing_is_deleted_without_delete_and_yes() {
    let world = converted();
    let before = tree(&world.source());
    for args in [&["--json"][..], &["--json", "--delete"]] {
        let listed = retire(&world, args).expect(0);
        assert_eq!((listed.count("/objects"), listed.count("/deleted")), (6, 0), "{args:?}");
        assert_eq!(listed.json()["partitions"][0]["objects"], 5);
        listed.says(&["nothing was deleted: specify --delete --yes"]);
    }
    retire(&world, &["--yes"]).expect(3).says(&["--yes requires --delete or --manifest"]);
    assert_eq!(tree(&world.source()), before);
    let verified = world.run("verify", true, &["--to", "2099-12-31", "--json"]).expect(0);
    assert_eq!(verified.count("/retired"), 0);
}

#[test]
fn every_deleted_object_can_be_restored_and_counts_as_retired() {
    let world = converted();
    let deleted = retire(&world, &DELETE).expect(0);
    assert_eq!((deleted.count("/objects"), deleted.count("/deleted")), (6, 6));
    assert_eq!(objects(&world.source()), BTreeMap::new());
    assert_eq!(restored(&world), texts());
    let verified =
        world.run("verify", true, &["--to", "2099-12-31", "--json", "--read-data"]).expect(0);
    verified.says(&["retired     6 objects", "0 still exist in SOURCE"]);
    assert_eq!((verified.count("/retired"), verified.count("/not_compared")), (6, 0));
    let out = world.out();
    let report = run_command(&mut program(&["report", out.to_str().unwrap(), "--json"])).expect(0);
    assert_eq!(report.count("/retired/objects"), 6);
    let text = run_command(&mut program(&["report", out.to_str().unwrap()])).expect(0);
    assert!(text.stdout.contains("retired     6 objects"), "{text:#?}");
    let page = world.path("page.html");
    let args = ["report", out.to_str().unwrap(), "--html", page.to_str().unwrap()];
    run_command(&mut program(&args)).expect(0);
    assert!(fs::read_to_string(page).unwrap().contains("Retired objects"));
    let again = retire(&world, &DELETE).expect(0);
    assert_eq!((again.count("/deleted"), again.count("/deleted_before")), (0, 6));
    // An object that reappears unchanged still counts as retired.
    let returned = world.put(&key(1), gzip(&texts()[&key(1)]));
    let convert = world.convert_with(&["--json"]);
    assert_eq!(convert.count("/objects/converted"), 0);
    let again = retire(&world, &DELETE).expect(0);
    assert_eq!(again.count("/deleted"), u64::from(!returned.exists()));
}

#[test]
fn changed_damaged_unconverted_and_copied_objects_are_kept() {
    let world = World::new();
    let text = good_lines(20);
    for number in 1..=4 {
        world.put(&key(number), gzip(&text));
    }
    let whole = gzip(good_lines(40));
    world.put(&key(5), &whole[..whole.len() / 2]);
    world.convert_with(&["--max-rejects", "1"]).expect(2);
    // The same size, but a different time.
    let changed = world.put(&key(1), gzip(&text));
    let late = SystemTime::now() + Duration::from_mins(1);
    File::options().write(true).open(&changed).unwrap().set_modified(late).unwrap();
    world.put(&key(2), gzip(good_lines(21)));
    world.put(&key(6), gzip(&text));
    // A copy of a converted object, in the directory for another day.
    let copy = key(3).replace("2025/07/19", "2025/07/20");
    world.put(&copy, gzip(&text));
    let run = retire(&world, &DELETE).expect(0);
    assert_eq!((run.count("/deleted"), run.count("/kept/changed/objects")), (2, 2));
    assert_eq!(run.count("/kept/damaged/objects"), 1);
    run.says(&["is not the object that was converted"]);
    let left: Vec<String> = tree(&world.source()).into_keys().collect();
    let mut expected = [key(1), key(2), copy, key(5), key(6)];
    expected.sort();
    assert_eq!(left, expected);
    // `convert` compares the touched object and records its new ETag, so it can be retired afterwards.
    world.convert_with(&["--json"]);
    let run = retire(&world, &DELETE).expect(0);
    assert_eq!(run.count("/deleted"), 2, "the touched object, and the one that was converted now");
    let verified = world.run("verify", true, &["--to", "2099-12-31", "--json"]);
    assert_eq!(verified.count("/retired"), 4);
}

#[test]
fn objects_of_damaged_files_are_kept_and_named() {
    for table in [ROWS, "elb_rejects", "_alb2parquet/originals"] {
        for is_deleted in [false, true] {
            let world = converted();
            let file = file_of(&world, table);
            if is_deleted {
                fs::remove_file(&file).unwrap();
            } else {
                let mut bytes = fs::read(&file).unwrap();
                let at = 40.min(bytes.len() / 4);
                bytes[at] ^= 0x10;
                fs::write(&file, bytes).unwrap();
            }
            let run = retire(&world, &DELETE).expect(2);
            assert!(!run.json()["failures"].as_array().unwrap().is_empty(), "{table}");
            let (source, restorable) = (objects(&world.source()), restorable(&world));
            for (key, text) in texts() {
                let kept = source.get(&key).or_else(|| restorable.get(&key));
                assert_eq!(kept, Some(&text), "{table} {key}");
            }
            assert!(source.len() < texts().len(), "{table}: the other day is intact");
        }
    }
}

/// Returns the text of the objects that can be restored, by key.
fn restorable(world: &World) -> BTreeMap<String, Vec<u8>> {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("restored");
    let dataset = world.out();
    let run = run_command(program(&["restore"]).arg(dataset).arg("--out").arg(&out));
    assert!([0, 2].contains(&run.code), "{run:?}");
    objects(&out)
}

#[test]
fn partitions_with_retired_objects_are_not_removed_by_mistake() {
    let world = converted();
    retire(&world, &[&DELETE[..], &["--from", "2025-07-20"]].concat()).expect(0);
    let rows = world.rows().len();
    let listed = world.run("remove", false, &[]).expect(2);
    listed.says(&["1 of its objects were retired", "--including-retired"]);
    let removed = world.run("remove", false, &["--yes", "--json"]).expect(2);
    let partitions = removed.json()["partitions"].clone();
    assert_eq!(
        (&partitions[0]["removed"], &partitions[1]["removed"]),
        (&true.into(), &false.into())
    );
    assert_eq!(partitions[1]["retired"], 1);
    assert!(world.rows().len() < rows && !world.rows().is_empty());
    world.run("remove", false, &["--yes", "--including-retired"]).expect(0);
    assert!(world.rows().is_empty());
    assert_eq!(world.run("verify", true, &["--json"]).count("/retired"), 0);
}

#[test]
fn a_damaged_log_does_not_forget_that_objects_were_retired() {
    let world = converted();
    retire(&world, &[&DELETE[..], &["--from", "2025-07-20"]].concat()).expect(0);
    let rows = world.rows().len();
    let log = "_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-20";
    let log = world.out().join(log);
    for name in ["2.claim.json", "2.done.json"] {
        fs::remove_file(log.join(name)).unwrap();
    }
    let on_the_day = ["--from", "2025-07-20", "--yes"];
    let removed = world.run("remove", false, &on_the_day).expect(2);
    removed.says(&["some of its objects were retired"]);
    fs::write(log.join("1.claim.json"), "damaged").unwrap();
    world.run("repair", false, &["--yes"]).expect(0);
    world.run("remove", false, &on_the_day).expect(2);
    assert_eq!(world.rows().len(), rows);
    world.run("remove", false, &[&on_the_day[..], &["--including-retired"]].concat()).expect(0);
    // A partition that was removed on purpose can be converted and removed again.
    world.put(&key_on("2025/07/20", 4), gzip(good_lines(4)));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    world.run("remove", false, &on_the_day).expect(0);
}

#[test]
fn wrong_datasets_and_sources_are_refused_and_nothing_is_deleted() {
    let world = converted();
    let (source, out) = (world.source(), world.out());
    let before = tree(&source);
    let run = |source: &Path, out: &Path| {
        run_command(program(&["retire"]).arg(source).arg("--out").arg(out).args(DELETE))
    };
    run(world.path("").as_path(), &out).expect(3).says(&["is inside SOURCE"]);
    run(&out.join(ROWS), &out).expect(3).says(&["is inside --out"]);
    run(&source, &world.path("none")).expect(3).says(&["holds no dataset"]);
    // A source with the same objects, but not the one from which the dataset was converted.
    let other = World::new();
    for (key, text) in texts() {
        other.put(&key, gzip(text));
    }
    let wrong = run(&other.source(), &out).expect(0);
    assert_eq!((wrong.count("/objects"), wrong.count("/elsewhere")), (0, 6));
    wrong.says(&["6 objects of the dataset are not below SOURCE"]);
    let redacted = World::new();
    redacted.put(&key(1), gzip(good_lines(3)));
    redacted.convert_with(&["--redact", "client_ip=truncate"]).expect(0);
    retire(&redacted, &DELETE).expect(3).says(&["redacted"]);
    assert_eq!(tree(&redacted.source()).len(), 1);
    for (key, text) in objects(&other.source()) {
        assert_eq!(text, texts()[&key]);
    }
    assert_eq!(tree(&source), before);
}

#[test]
fn only_the_specified_objects_are_deleted() {
    let world = converted();
    let (source, out) = (world.source(), world.out());
    let run = |name: &str| {
        let source = source.join(name);
        run_command(program(&["retire"]).arg(source).arg("--out").arg(&out).args(DELETE)).expect(0)
    };
    let one = run(&key(1));
    assert_eq!((one.count("/deleted"), one.count("/elsewhere")), (1, 5));
    let pattern = run("**/*_00000002.log.gz");
    assert_eq!((pattern.count("/deleted"), pattern.count("/elsewhere")), (1, 5));
    let below = run(key(1).rsplit_once('/').unwrap().0);
    assert_eq!((below.count("/deleted"), below.count("/deleted_before")), (3, 2));
    assert_eq!(objects(&source).into_keys().collect::<Vec<_>>(), [key_on("2025/07/20", 1)]);
}

#[test]
fn a_recorded_proof_is_used_only_if_it_is_recent_and_nothing_changed() {
    let world = converted();
    let list = |args: &[&str]| retire(&world, &[&["--json"], args].concat()).expect(0);
    let proved = |run: &Run| (run.count("/claims_proved"), run.count("/proofs_used"));
    assert_eq!(proved(&list(&["--proof-age", "7d"])), (2, 0));
    assert_eq!(proved(&list(&["--proof-age", "7d"])), (0, 2));
    assert_eq!(proved(&list(&["--proof-age", "0s"])), (2, 0));
    assert_eq!(proved(&list(&[])), (2, 0));
    // A proof is ignored if its time is in the future or if it is for another claim.
    for proof in tree(&world.out().join("_alb2parquet/proofs")).into_keys() {
        let path = world.out().join("_alb2parquet/proofs").join(proof);
        let text =
            fs::read_to_string(&path).unwrap().replace("\"proved_at\":\"20", "\"proved_at\":\"90");
        fs::write(path, text).unwrap();
    }
    assert_eq!(proved(&list(&["--proof-age", "7d"])), (2, 0));
    // The file is checked even if the proof is recent.
    let file = file_of(&world, ROWS);
    fs::rename(&file, world.path("moved")).unwrap();
    let args = [&DELETE[..], &["--proof-age", "7d"]].concat();
    let run = retire(&world, &args).expect(2);
    run.says(&[".parquet is gone"]);
    assert_eq!((run.count("/deleted"), objects(&world.source()).len()), (1, 5));
}

/// Runs a retirement with the given proof.
fn retire_with(world: &World, prove: &Prove<'_>) -> Summary {
    let (source, out) = (world.source(), world.out());
    let sources = [Source::open(source.to_str().unwrap(), &Network::default(), from_root).unwrap()];
    let dataset = dataset(&out);
    let mut summary = Summary::default();
    let retirement = Retirement {
        sources: &sources,
        dataset: &dataset,
        selection: &Selection::default(),
        action: Action::Delete,
        proof_age: None,
        prove,
        stop: &AtomicBool::new(false),
    };
    retirement.run(&mut summary).unwrap();
    summary
}

fn dataset(out: &Path) -> Dataset {
    let place = Place::parse(out.to_str().unwrap()).unwrap();
    let run = format!("{:032x}", rand());
    Dataset::find(place.target(STAGING, &run, &Network::default()).unwrap(), run).unwrap()
}

fn rand() -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed) as u64
}

#[test]
fn nothing_is_deleted_if_the_partition_is_removed_after_the_proof() {
    let world = converted();
    let out = world.out();
    let summary = retire_with(&world, &|_, partition, claim, _| {
        let other = dataset(&out);
        assert!(Ledger::open(&other)?.remove(partition, false)?.is_some());
        Ok((0..claim.objects.len()).map(|index| (index, Ok(()))).collect())
    });
    assert_eq!((summary.objects, summary.deleted), (0, 0));
    assert_eq!(summary.failures.len(), 2);
    assert_eq!(objects(&world.source()), texts());
}

/// The log alone suffices: the mark outside of it is lost, and the files still exist.
#[test]
fn removals_and_retirements_see_each_other_in_the_log() {
    let world = converted();
    let dataset = dataset(&world.out());
    let hints = Hints::list(&dataset).unwrap();
    let mut logs = hints.partitions().map(|each| Log::read(&dataset, each, &hints).unwrap());
    let (mut first, mut second) = (logs.next().unwrap(), logs.next().unwrap());
    let retire = |log: &mut Log| {
        let name = log.entry(1).record.claim().unwrap().objects[0].name.clone();
        let retired = Amended { claim: 1, name, retired: true, ..Amended::default() };
        log.retire(&dataset, vec![retired]).unwrap()
    };
    let remove = |log: &Log| {
        fs::remove_dir_all(world.out().join("_alb2parquet/retired")).ok();
        Ledger::open(&dataset).unwrap().remove(log.partition(), false).unwrap()
    };
    assert!(remove(&first).is_some() && !retire(&mut first));
    assert!(retire(&mut second) && remove(&second).is_none());
}

#[test]
fn an_object_without_a_proof_is_kept() {
    let world = converted();
    let summary = retire_with(&world, &|_, _, claim, _| {
        let proved =
            |index: usize| if index == 1 { Err("a bit is wrong".to_owned()) } else { Ok(()) };
        Ok((0..claim.objects.len().min(2)).map(|index| (index, proved(index))).collect())
    });
    assert_eq!((summary.deleted, summary.failures.len()), (2, 4));
    assert!(summary.failures.iter().any(|failure| failure.error.contains("a bit is wrong")));
    assert!(!summary.kept.contains_key(&Kept::Changed));
    assert_eq!(objects(&world.source()).len(), 4);
}

/// A converted world, the command that retires its objects, and a function that copies its buckets to disk.
type Start = (World, Box<dyn Fn() -> Command>, Box<dyn Fn(&World)>);

/// Kills `retire --delete` at random, then checks that nothing is lost and that a later run finishes.
fn kill(rounds: u32, start: impl Fn() -> Start) {
    let mut killed = 0;
    for round in 0..rounds {
        let (world, run, pull) = start();
        let all = objects(&world.source());
        let mut child = run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(u64::from(20 + 90 * round)));
        let _ = child.kill();
        killed += u32::from(!child.wait().unwrap().success());
        pull(&world);
        let (left, restored) = (objects(&world.source()), restored(&world));
        let retired = retired_names(&world.out());
        for (key, text) in &all {
            assert_eq!(restored.get(key), Some(text), "{key}");
            let name = key.rsplit('/').next().unwrap();
            assert!(left.contains_key(key) || retired.contains(name), "{key} is not recorded");
        }
        run_command(&mut run()).expect(0);
        pull(&world);
        assert_eq!(objects(&world.source()), BTreeMap::new());
        assert_eq!(self::restored(&world), all);
    }
    assert!(killed > 0, "no run was killed");
}

/// Returns the text of all amendments.
fn retired_names(out: &Path) -> String {
    let claims = tree(&out.join("_alb2parquet/claims")).into_values();
    let texts = claims.map(|bytes| String::from_utf8(bytes).unwrap());
    texts.filter(|text| text.contains("\"retired\":true")).collect()
}

/// Returns a world with `of_day` objects on each of `days` days.
fn many(days: usize, of_day: usize) -> World {
    let world = World::new();
    for day in 10..10 + days {
        for number in 0..of_day {
            let text = [good_lines(3), b"\r\n".to_vec()].concat();
            world.put(&key_on(&format!("2025/07/{day}"), number), gzip(text));
        }
    }
    world
}

#[test]
fn a_killed_run_loses_nothing_and_the_next_one_finishes_it() {
    kill(8, || {
        let world = many(8, 30);
        world.convert_with(&["--target-file-size", "4KB"]).expect(0);
        let paths = [world.source(), world.out()].map(|path| path.to_str().unwrap().to_owned());
        let run = move || {
            let [source, out] = &paths;
            program(&["retire", source, "--out", out, "--delete", "--yes", "--json"])
        };
        (world, Box::new(run), Box::new(|_| {}))
    });
}

/// Returns a server with a bucket that contains the objects of [`texts`], and a dataset on disk.
fn in_memory(choice: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Memory, TempDir) {
    let objects = texts().into_iter().map(|(key, text)| (key, gzip(text)));
    let (server, dir) = (Memory::start(objects, choice), TempDir::new().unwrap());
    let out = dir.path().join("out");
    let args = ["convert", "s3://logs", "--out", out.to_str().unwrap(), "--max-rejects", "1"];
    let args = [&args[..], &["--to", "2099-12-31"]].concat();
    run_command(&mut command(&server.address, &args)).expect(0);
    (server, dir)
}

fn retire_in(server: &Memory, dir: &TempDir, args: &[&str]) -> Run {
    let out = dir.path().join("out");
    let fixed = ["retire", "s3://logs", "--out", out.to_str().unwrap(), "--json"];
    run_command(&mut command(&server.address, &[&fixed[..], args].concat()))
}

#[test]
fn a_lost_response_is_repeated_only_for_the_remaining_objects() {
    let requests = AtomicUsize::new(0);
    let (server, dir) = in_memory(move |request| {
        let number = || requests.fetch_add(1, Ordering::SeqCst);
        match request.is_bulk_delete().then(number) {
            Some(0) => Reply::Other(503, "<Error><Code>SlowDown</Code></Error>".to_owned()),
            Some(1) => Reply::Short(|_| 0),
            _ => Reply::Usual,
        }
    });
    let run = retire_in(&server, &dir, &["--delete", "--yes"]).expect(0);
    assert_eq!(run.count("/deleted"), 6);
    server.change(|objects| assert!(objects.is_empty()));
}

#[test]
fn an_object_that_changes_before_its_deletion_is_kept() {
    let refused = |request: &Request| {
        // The store finds an ETag that differs from the one in the request.
        if request.is_bulk_delete() {
            Reply::Other(
                200,
                format!(
                    "<DeleteResult><Error><Key>{}</Key><Code>PreconditionFailed</Code></Error></DeleteResult>",
                    key(1)
                ),
            )
        } else {
            Reply::Usual
        }
    };
    let (server, dir) = in_memory(refused);
    let one = ["--delete", "--yes", "--from", "2025-07-19", "--to", "2025-07-19"];
    let run = retire_in(&server, &dir, &one).expect(2);
    assert_eq!((run.count("/deleted"), run.count("/kept/changed/objects")), (0, 1));
    run.says(&["was not deleted: ", "the response omits the object"]);
    server.change(|objects| assert_eq!(objects.len(), 6));
}

#[test]
fn a_denied_deletion_ends_the_run_with_the_permission_that_is_needed() {
    let denied = |request: &Request| {
        let body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned();
        if request.is_bulk_delete() { Reply::Other(403, body) } else { Reply::Usual }
    };
    let (server, dir) = in_memory(denied);
    let run = retire_in(&server, &dir, &["--delete", "--yes"]).expect(3);
    run.says(&["permission denied: no", "policy retire"]);
    server.change(|objects| assert_eq!(objects.len(), 6));
}

#[test]
fn the_manifest_lists_the_objects_and_records_them_only_with_yes() {
    let (server, dir) = in_memory(|_| Reply::Usual);
    let manifest = dir.path().join("manifest.csv");
    let args = ["--manifest", manifest.to_str().unwrap()];
    let run = retire_in(&server, &dir, &args).expect(0);
    run.says(&["the manifest has the columns Bucket, Key", "--yes records them"]);
    let mut lines: Vec<String> =
        fs::read_to_string(&manifest).unwrap().lines().map(ToOwned::to_owned).collect();
    lines.sort();
    let expected: Vec<String> = texts().into_keys().map(|key| format!("logs,{key}")).collect();
    assert_eq!((lines, run.count("/recorded")), (expected, 0));
    retire_in(&server, &dir, &args).expect(3).says(&["the manifest", "hint: delete this file"]);
    fs::remove_file(&manifest).unwrap();
    let run = retire_in(&server, &dir, &[&args[..], &["--yes"]].concat()).expect(0);
    assert_eq!(run.count("/recorded"), 6);
    server.change(|objects| assert_eq!(objects.len(), 6));
    let out = dir.path().join("out");
    let removal = ["remove", "--out", out.to_str().unwrap(), "--yes"];
    run_command(&mut program(&removal)).expect(2).says(&["were retired"]);
    let (directory, out) = (dir.path().to_str().unwrap(), out.to_str().unwrap());
    let local = ["retire", directory, "--out", out, "--manifest", "m"];
    run_command(&mut program(&local)).expect(3);
}

fn server() -> Server {
    Server::required()
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn a_run_that_is_killed_in_a_bucket_loses_nothing() {
    kill(3, || {
        let (world, logs, lake) = (many(3, 20), server().new_bucket(), server().new_bucket());
        server().upload(&world.source(), &logs);
        let convert =
            ["convert", &logs, "--out", &lake, "--to", "2099-12-31", "--target-file-size", "4KB"];
        run_command(&mut server().command(&convert)).expect(0);
        let pull = [(logs.clone(), world.source()), (lake.clone(), world.out())];
        let run = move || {
            server().command(&["retire", &logs, "--out", &lake, "--delete", "--yes", "--json"])
        };
        let pull = move |_: &World| {
            for (url, copy) in &pull {
                let _ = fs::remove_dir_all(copy);
                fs::create_dir_all(copy).unwrap();
                server().download(url, copy);
            }
        };
        (world, Box::new(run), Box::new(pull))
    });
}

#[test]
#[ignore = "needs a server; scripts/s3-test runs it"]
fn a_changed_object_in_a_bucket_is_kept_even_if_the_store_ignores_conditions() {
    let world = converted();
    let (logs, lake) = (server().new_bucket(), server().new_bucket());
    server().upload(&world.source(), &logs);
    let command = |name: &str, args: &[&str]| {
        let fixed = [name, &logs, "--out", &lake, "--to", "2099-12-31", "--json"];
        run_command(&mut server().command(&[&fixed[..], args].concat()))
    };
    command("convert", &["--max-rejects", "1"]).expect(0);
    server().target(&logs).delete(&key(1)).unwrap();
    server().target(&logs).create(&key(1), &gzip(good_lines(21))).unwrap();
    let run = command("retire", &["--delete", "--yes"]).expect(0);
    assert_eq!((run.count("/deleted"), run.count("/kept/changed/objects")), (5, 1));
    assert_eq!(server().target(&logs).list("").unwrap().len(), 1);
}
