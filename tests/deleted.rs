//! If the dataset or its state is deleted during a run, the run fails, and later runs neither lose nor duplicate rows.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::memory::{Memory, Reply};
use crate::server;
use crate::support::{Run, World, good_lines, gzip, key_on, program, run_command};

const DAYS: usize = 12;
const LINES: usize = 300;
const DATASET: &str = "";
const STATE: &str = "_alb2parquet";

/// Returns a source with two batches per day, each with one object.
fn world() -> World {
    let world = World::new();
    for number in 0..2 * DAYS {
        let day = format!("2025/07/{:02}", 1 + number / 2);
        world.put(&key_on(&day, number), gzip(good_lines(LINES)));
    }
    world
}

const SMALL: [&str; 5] = ["--quiet", "--threads", "1", "--target-file-size", "1KB"];

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

/// Returns the number of claims below a directory. The directory's contents may change during the call.
fn claims(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => claims(&path),
            path => usize::from(path.to_string_lossy().ends_with(".claim.json")),
        })
        .sum()
}

/// Waits until all threads of a process are stopped by a signal, or the process has ended.
fn await_stop(child: &mut Child) {
    let tasks = format!("/proc/{}/task", child.id());
    let is_running = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('T'))
    };
    while child.try_wait().unwrap().is_none()
        && fs::read_dir(&tasks).into_iter().flatten().flatten().any(is_running)
    {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a conversion and pauses it after it has written `after` claims. Returns `None` if it has already written all
/// claims.
fn stopped(world: &World, after: usize) -> Option<Child> {
    let (source, out) = (world.source(), world.out());
    let mut child = program(&["convert", source.to_str().unwrap(), "--out", out.to_str().unwrap()])
        .args(SMALL)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_mins(2), "the run does not reach {after} claims");
        if claims(&out.join(STATE)) >= after {
            signal(&child, "-STOP");
            await_stop(&mut child);
            if claims(&out.join(STATE)) < 2 * DAYS {
                return Some(child);
            }
            let _ = child.kill();
            child.wait().unwrap();
            return None;
        }
    }
    None
}

/// Converts again, repairs, converts once more, and compares every row.
fn recover(world: &World, what: &str) {
    let run = world.convert_with(&["--quiet"]);
    assert!([0, 2].contains(&run.code), "{what}: {run:?}");
    if run.code == 2 {
        run.says(&["nothing is converted into it", "hint: run `repair`, which rebuilds claims"]);
    }
    world.run("repair", false, &["--yes"]).expect(0);
    world.convert_with(&["--quiet"]).expect(0);
    let verify = world.run("verify", true, &["--read-data", "--json"]).expect(0);
    assert_eq!(verify.count("/rows"), (2 * DAYS * LINES) as u64, "{what}");
}

#[test]
fn a_dataset_deleted_during_a_run_ends_the_run_and_loses_nothing() {
    let mut deleted = 0;
    for what in [DATASET, STATE] {
        for after in [1, 2, 6, 15] {
            let world = world();
            let Some(child) = stopped(&world, after) else { continue };
            fs::remove_dir_all(world.out().join(what)).unwrap();
            signal(&child, "-CONT");
            let run = Run::of(child.wait_with_output().unwrap());
            assert_eq!(run.code, 3, "{what:?} after {after}: {run:?}");
            run.says(&["_alb2parquet/dataset.json was deleted or replaced during this run"]);
            assert!(run.stderr.contains("run the same command again"), "{run:?}");
            recover(&world, &format!("{what:?} after {after}"));
            deleted += 1;
        }
    }
    assert!(deleted >= 4, "only {deleted} runs were stopped in time");
}

#[test]
fn a_dataset_replaced_during_a_run_ends_the_run() {
    let stop = |_| {
        let world = world();
        stopped(&world, 5).map(|child| (world, child))
    };
    let (world, child) = (0..10).find_map(stop).expect("one of the runs is stopped in time");
    fs::remove_dir_all(world.out()).unwrap();
    world.convert_with(&["--quiet", "--from", "2025-07-12"]).expect(0);
    signal(&child, "-CONT");
    let run = Run::of(child.wait_with_output().unwrap()).expect(3);
    run.says(&["_alb2parquet/dataset.json was deleted or replaced during this run"]);
    recover(&world, "replaced");
}

#[test]
fn a_dataset_deleted_from_a_bucket_during_a_run_ends_the_run() {
    for (what, after) in [("alb/", 1), ("alb/_alb2parquet/", 9)] {
        let (claims, deleted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, waited) = (Arc::clone(&claims), Arc::clone(&deleted));
        let bucket = Memory::start([], move |request| {
            let is_claim = request.method == "PUT" && request.key.ends_with(".claim.json");
            if is_claim && counted.fetch_add(1, Ordering::SeqCst) >= after {
                while !waited.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            Reply::Usual
        });
        let world = world();
        let source = world.source();
        let command = |name: &str, args: &[&str]| {
            let takes_source = ["convert", "verify"].contains(&name);
            let source = takes_source.then(|| source.to_str().unwrap());
            let fixed = [&[name][..], source.as_slice(), &["--out", "s3://lake/alb"]].concat();
            server::command(&bucket.address, &[&fixed[..], args].concat())
        };
        let mut running = command("convert", &SMALL);
        let child = running.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while claims.load(Ordering::SeqCst) <= after {
            assert!(
                began.elapsed() < Duration::from_mins(2),
                "the run does not reach {after} claims"
            );
            thread::sleep(Duration::from_millis(2));
        }
        bucket.change(|objects| objects.retain(|key, _| !key.starts_with(what)));
        deleted.store(true, Ordering::SeqCst);
        let run = Run::of(child.wait_with_output().unwrap()).expect(3);
        run.says(&["_alb2parquet/dataset.json was deleted or replaced during this run"]);
        let run = run_command(&mut command("convert", &["--quiet"]));
        assert!([0, 2].contains(&run.code), "{what} after {after}: {run:?}");
        run_command(&mut command("repair", &["--yes"])).expect(0);
        run_command(&mut command("convert", &["--quiet"])).expect(0);
        let verify = run_command(&mut command("verify", &["--read-data", "--json"])).expect(0);
        assert_eq!(verify.count("/rows"), (2 * DAYS * LINES) as u64, "{what} after {after}");
    }
}
