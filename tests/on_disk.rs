//! Tests that require a disk: staged files, signals, and mounts that change inode numbers.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exactly_once::{CLAIMS, command, converted, findings, verify};
use crate::memory::{Memory, Reply};
use crate::server;
use crate::support::{
    ROWS, World, contents, files, good_lines, gzip, gzip_at, key, key_on, run_command, tree,
};

#[test]
fn new_inode_numbers_do_not_change_objects() {
    let world = converted();
    // A file with an unchanged modification time and size is the same object, regardless of its inode number.
    let path = world.source().join(key(3));
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(world.path("new"), bytes).unwrap();
    fs::rename(world.path("new"), &path).unwrap();
    fs::File::open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(findings(&world), [""; 0]);
}

/// Writes an object and sets its modification time.
fn write_at(world: &World, key: &str, bytes: &[u8], time: SystemTime) {
    let path = world.put(key, bytes);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_touched_file_is_not_read_again_after_it_is_recorded() {
    let world = converted();
    let path = world.source().join(key(1));
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/touched"), 1);
    // If the program read the file, it would find garbage.
    let size = fs::metadata(&path).unwrap().len();
    write_at(&world, &key(1), &vec![0; size as usize], time);
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 4);
}

#[test]
fn an_amendment_ends_with_its_claim() {
    let world = World::new();
    let [one, other] = ["192.0.2.0", "192.0.2.7"].map(|address| {
        let text = String::from_utf8(good_lines(3)).unwrap().replacen("192.0.2.0", address, 1);
        gzip_at(text, flate2::Compression::none())
    });
    let [first, second, third] =
        [1, 2, 3].map(|hour| SystemTime::UNIX_EPOCH + Duration::from_hours(hour));
    write_at(&world, &key(1), &one, first);
    world.convert().expect(0);
    write_at(&world, &key(1), &one, second);
    world.convert().expect(0);
    let claims = world.out().join(CLAIMS);
    let amendment = fs::read_to_string(claims.join("2.claim.json")).unwrap();
    assert!(amendment.contains("\"amend\"") && amendment.contains("\"claim\":1"), "{amendment}");
    // The object is converted again after its content has changed.
    command(&world, "remove", &["--yes"]).expect(0);
    write_at(&world, &key(1), &other, third);
    world.convert().expect(0);
    // Simulate a slow run that compared the original content and adds its amendment only now.
    assert!(claims.join("4.claim.json").exists() && !claims.join("5.claim.json").exists());
    fs::write(claims.join("5.claim.json"), &amendment).unwrap();
    write_at(&world, &key(1), &one, second);
    world.convert().expect(2).says(&["with different content"]);
    assert!(claims.join("5.done.json").exists(), "only the done marker is added");
    assert_eq!(findings(&world), ["changed"]);
    // An amendment takes effect even before it has a done marker.
    write_at(&world, &key(1), &other, first);
    world.convert().expect(0);
    fs::remove_file(claims.join("6.done.json")).unwrap();
    assert_eq!(findings(&world), [""; 0]);
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 1);
    // The program rejects entries that a newer version has written.
    fs::write(claims.join("7.claim.json"), r#"{"action":"unheard_of"}"#).unwrap();
    world.convert().expect(2).says(&["7.claim.json", "newer version", "hint: use a newer version"]);
    let found = verify(&world, &[]).expect(1).json()["findings"].clone();
    let of = |finding: &Value| (finding["kind"].clone(), finding["remedy"].clone());
    let found: Vec<_> = found.as_array().unwrap().iter().map(of).collect();
    assert!(found.contains(&(json!("invalid_state"), json!("update"))), "{found:?}");
    assert!(found.iter().all(|(_, remedy)| remedy == "update"), "{found:?}");
    let before = tree(&world.out());
    world.run("repair", false, &["--yes"]).expect(2).says(&["7.claim.json", "newer version"]);
    assert_eq!(tree(&world.out()), before);
}

#[test]
fn an_open_claim_is_finished_by_the_next_run() {
    let world = converted();
    let (whole, expected) = (tree(&world.out()), contents(&world.out()));
    // Simulate a run that was killed between claiming and publishing.
    let claim = &whole[&format!("{CLAIMS}/1.claim.json")];
    let claim: serde_json::Value = serde_json::from_slice(claim).unwrap();
    let mut moved = Vec::new();
    for output in claim["outputs"].as_array().unwrap() {
        let staged = output["staged"]["file"].as_str().unwrap();
        let file = world.out().join(output["key"].as_str().unwrap());
        fs::rename(&file, world.out().join("_alb2parquet/staging").join(staged)).unwrap();
        moved.push(file);
    }
    assert_eq!(moved.len(), 2);
    fs::remove_file(world.out().join(CLAIMS).join("1.done.json")).unwrap();
    assert_eq!(findings(&world), ["unpublished"]);
    // Publishing needs neither the source nor a selection that includes the partition.
    fs::remove_dir_all(world.source()).unwrap();
    fs::create_dir(world.source()).unwrap();
    world.convert_with(&["--from", "2025-08-01"]).expect(3).says(&["nothing to convert"]);
    assert!(contents(&world.out()) == expected, "the claim is published");
    assert_eq!(whole.len(), tree(&world.out()).len());
    // If the staged files are lost, the claim is aborted and its objects become eligible for conversion again.
    fs::remove_file(world.out().join(CLAIMS).join("1.done.json")).unwrap();
    for file in &moved {
        fs::remove_file(file).unwrap();
    }
    for number in 1..4 {
        world.put(&key(number), gzip([good_lines(number), b"bad\n".to_vec()].concat()));
    }
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!((run.count("/objects/converted"), run.count("/rows")), (3, 6));
    assert!(world.out().join(CLAIMS).join("1.aborted.json").exists());
    assert!(world.out().join(CLAIMS).join("2.done.json").exists());
    // If one of two output files is lost, the run reports the loss, and the suggested remedy works.
    fs::remove_file(world.out().join(CLAIMS).join("2.done.json")).unwrap();
    fs::remove_file(&files(&world.out(), ROWS)[0]).unwrap();
    let run = world.convert_with(&["--json"]).expect(2);
    run.says(&["was lost", "remove"]);
    assert_eq!(findings(&world), ["unpublished"]);
    command(&world, "remove", &["--to", "2025-07-19", "--yes"]).expect(0);
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    assert_eq!((world.rows().len(), world.rejects().len()), (6 + 5, 3));
}

#[test]
fn only_old_unclaimed_files_are_cleaned() {
    let world = converted();
    let staging = world.out().join("_alb2parquet/staging");
    fs::write(staging.join("crashed.parquet"), "half").unwrap();
    // A claim lists this file, but it is not published yet.
    let path = world.out().join(CLAIMS).join("1.claim.json");
    let claim: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let output = &claim["outputs"][0];
    let claimed = staging.join(output["staged"]["file"].as_str().unwrap());
    fs::rename(world.out().join(output["key"].as_str().unwrap()), &claimed).unwrap();
    fs::remove_file(world.out().join(CLAIMS).join("1.done.json")).unwrap();
    let run = command(&world, "clean", &["--older-than", "1h"]).expect(0);
    assert_eq!((run.count("/kept"), run.count("/bytes")), (2, 0));
    std::thread::sleep(Duration::from_millis(20));
    let run = command(&world, "clean", &["--older-than", "0s"]).expect(0);
    assert_eq!((run.count("/kept"), run.count("/bytes")), (1, 4));
    assert!(run.json()["removed"][0]["name"].as_str().unwrap().ends_with("crashed.parquet"));
    assert!(claimed.exists() && !staging.join("crashed.parquet").exists());
    world.convert().expect(0);
    assert_eq!(findings(&world), [""; 0]);
}

// ---- signals

/// Sends signals to the program during a conversion, and then lets the store respond to all requests. Returns the exit
/// code, stderr, and the time until the program exits.
#[cfg(unix)]
fn interrupt(
    server: &Memory,
    held: &(Mutex<bool>, Condvar),
    out: &str,
    signals: &[&str],
) -> (Option<i32>, String, Duration) {
    let args = ["convert", "s3://logs", "--to", "2099-12-31", "--threads", "1", "-v", "--out", out];
    let child = server::command(&server.address, &args)
        .args(["--target-file-size", "20KB"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The directory is created when the first file is published.
    let began = Instant::now();
    while !Path::new(out).join("alb_access_logs").exists() {
        assert!(began.elapsed() < Duration::from_mins(1), "the conversion publishes nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = Instant::now();
    for signal in signals {
        let id = child.id().to_string();
        std::process::Command::new("kill").args([*signal, &id]).status().unwrap();
    }
    // The program handles signals in a thread. Without this pause, the conversion could end before that thread runs.
    std::thread::sleep(Duration::from_millis(500));
    *held.0.lock().unwrap() = false;
    held.1.notify_all();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap(), sent.elapsed())
}

#[test]
#[cfg(unix)]
fn a_signal_ends_the_run_gracefully() {
    let object = |number| {
        let day = format!("2025/07/{:02}", 1 + number % 30);
        (key_on(&day, number), gzip(good_lines(600)))
    };
    let objects: Vec<_> = (0..60).map(object).collect();
    for (signals, code) in [(&["-INT"][..], 130), (&["-TERM"], 143), (&["-TERM", "-TERM"], 143)] {
        let dir = TempDir::new().unwrap();
        let out = dir.path().join("lake").to_str().unwrap().to_owned();
        // The store serves the objects of July 20 to 29 only after the signals.
        let held = Arc::new((Mutex::new(true), Condvar::new()));
        let hold = Arc::clone(&held);
        let server = Memory::start(objects.clone(), move |request| {
            if request.is_read() && request.key.contains("/2025/07/2") {
                let patience = Duration::from_mins(2);
                let is_held = hold.0.lock().unwrap();
                drop(hold.1.wait_timeout_while(is_held, patience, |is_held| *is_held).unwrap());
            }
            Reply::Usual
        });
        let (ended, stderr, took) = interrupt(&server, &held, &out, signals);
        assert_eq!(ended, Some(code), "{stderr}");
        assert!(took < Duration::from_secs(20), "took {took:?}");
        if signals.len() == 1 {
            assert!(
                stderr.contains("interrupted") && stderr.contains("the same command"),
                "{stderr}"
            );
        }
        let run = |name: &str, args: &[&str]| {
            let fixed = [name, "s3://logs", "--out", &out, "--to", "2099-12-31"];
            run_command(&mut server::command(&server.address, &[&fixed[..], args].concat()))
        };
        run("convert", &[]).expect(0);
        let verified = run("verify", &["--read-data", "--json"]).expect(0);
        assert_eq!((verified.count("/compared"), verified.count("/rows")), (60, 36_000));
    }
}
