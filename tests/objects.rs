//! `--objects` lists, URLs that are almost valid, and credentials, which must be neither printed nor written to files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Run, World, good_lines, gzip, key, program, run, run_command, tree};

/// Returns a world with three objects, with one, two and three lines.
fn world() -> World {
    let world = World::new();
    for number in 1..4 {
        world.put(&key(number), gzip(good_lines(number)));
    }
    world
}

/// Converts the objects in an `--objects` list.
fn convert_list(world: &World, list: impl AsRef<[u8]>) -> Run {
    let names = world.path("names");
    fs::write(&names, list).unwrap();
    world.convert_with(&["--json", "--objects", names.to_str().unwrap()])
}

#[test]
fn the_output_of_find_is_a_valid_list() {
    for args in [&["."][..], &[".", "-type", "f"], &[".", "-type", "f", "-print0"]] {
        let world = world();
        let found = Command::new("find").args(args).current_dir(world.source()).output().unwrap();
        let run = convert_list(&world, found.stdout).expect(0);
        assert_eq!((run.count("/objects/converted"), run.count("/rows")), (3, 6), "{args:?}");
    }
    // Each line in the list starts with the absolute or relative path of the source.
    let world = world();
    let found = Command::new("find").arg(world.source()).output().unwrap();
    let run = convert_list(&world, found.stdout).expect(0);
    assert_eq!(run.count("/rows"), 6);
    let above = world.path("");
    let listed =
        Command::new("find").args(["source", "-name", "*.gz"]).current_dir(&above).output();
    let names = world.path("names");
    fs::write(&names, listed.unwrap().stdout).unwrap();
    let args = [
        "convert",
        "source",
        "--out",
        "again",
        "--json",
        "--to",
        "2099-12-31",
        "--objects",
        "names",
    ];
    let run = run_command(program(&args).current_dir(&above)).expect(0);
    assert_eq!(run.count("/rows"), 6);
}

#[test]
fn a_list_whose_objects_are_all_missing_is_one_error() {
    let world = world();
    let listed = |prefix: &str| {
        let lines: Vec<String> = (1..4).map(|n| format!("{prefix}{}\n", key(n))).collect();
        lines.concat()
    };
    let run = convert_list(&world, listed("elsewhere/")).expect(3);
    run.says(&[
        "none of its 3 objects can be found",
        "elsewhere/",
        "does not exist",
        "relative to SOURCE",
    ]);
    assert_eq!(run.stderr.matches("does not exist").count(), 1);
    // With an empty list, no hints about the source are printed.
    convert_list(&world, "\n")
        .expect(3)
        .says(&["nothing to convert: the list ", "names contains no objects"]);
    // Missing objects are reported as failures, and the remaining objects are converted.
    let run = convert_list(&world, listed("") + &listed("elsewhere/")).expect(2);
    assert_eq!((run.count("/objects/converted"), run.count("/objects/failed")), (3, 3));
}

#[test]
fn a_list_can_be_compressed_and_come_from_stdin() {
    let world = world();
    let list = format!("\u{feff}{}\r\n# july\r\n\r\n./{}\r\n", key(1), key(2));
    let names = world.path("names.gz");
    fs::write(&names, gzip(&list)).unwrap();
    let run = world.convert_with(&["--json", "--objects", names.to_str().unwrap()]).expect(0);
    assert_eq!(run.count("/rows"), 3);
    let zstd = zstd::encode_all(format!("{}\n", key(3)).as_bytes(), 1).unwrap();
    let run = convert_list(&world, zstd).expect(0);
    assert_eq!(run.count("/rows"), 3);
    let (source, out) = (world.source(), world.path("piped"));
    let mut command = program(&["convert"]);
    command.arg(&source).arg("--out").arg(&out).args([
        "--to",
        "2099-12-31",
        "--json",
        "--objects",
        "-",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), list.as_bytes()).unwrap();
    let run = Run::of(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(run.count("/rows"), 3);
}

#[test]
fn an_invalid_list_is_refused_by_name_and_nothing_is_converted() {
    let world = world();
    for (list, words) in [
        (&b"see\x1b]0;x\x07 the wiki\n"[..], &["line 1", "\\x1b", "docs/object-lists.md"][..]),
        (b"<html><body>403</body></html>\n", &["line 1", "<html>"]),
        (
            b"AWSLogs/x\n2025-07-19 14:05:10        362 AWSLogs/y\n",
            &["line 2", "another list format"],
        ),
        (b"/elsewhere/AWSLogs/x.log.gz\n", &["line 1", "outside SOURCE"]),
        (b"s3://my-logs/AWSLogs/x.log.gz\n", &["line 1", "another bucket"]),
    ] {
        let run = convert_list(&world, list).expect(3);
        run.says(words);
        assert!(!run.stderr.contains('\x1b') && !run.stderr.contains("is gone"), "{run:?}");
        assert!(!world.out().join("alb_access_logs").exists());
    }
    let objects =
        |name: &Path| world.convert_with(&["--objects", name.to_str().unwrap()]).expect(3);
    objects(&world.source()).says(&["--objects", "directory"]);
    objects(Path::new("/dev/zero")).says(&["--objects", "device"]);
    let pipe = world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    objects(&pipe).says(&["--objects", "pipe", "standard input"]);
    let args = ["convert", "--batches", pipe.to_str().unwrap(), "--out", "x"];
    run(&args).expect(3).says(&["--batches", "pipe"]);
}

#[test]
fn endless_lines_end_the_run_and_use_little_memory() {
    let world = world();
    let bomb = gzip(format!("AWSLogs/{}", "x".repeat(100 << 20)));
    convert_list(&world, &bomb).expect(3).says(&["line 1", "longer than 65536 bytes"]);
    let lists = format!("{}\n{}\n", key(1), "x".repeat(50 << 20));
    convert_list(&world, lists).expect(3).says(&["line 2", "longer than 65536 bytes"]);
}

#[test]
fn an_almost_valid_url_is_refused_with_the_right_one() {
    let world = world();
    let source = world.source();
    let source = source.to_str().unwrap();
    for (name, meant) in [
        ("s3:/lake/x", "s3://lake/x"),
        ("s3:lake", "s3://lake"),
        ("S3://lake/x", "s3://lake/x"),
        ("arn:aws:s3:::lake/x", "s3://lake/x"),
        ("https://lake.s3.eu-west-1.amazonaws.com/x", "s3://lake/x"),
    ] {
        let mut command = program(&["convert", source, "--out", name]);
        run_command(command.current_dir(world.path(""))).expect(3).says(&["--out", meant, "./"]);
        run(&["convert", name, "--out", "x"]).expect(3).says(&["SOURCE", meant]);
        run(&["plan", name]).expect(3).says(&["SOURCE", meant]);
    }
    assert!(!world.path("s3:").exists());
    let out = world.out();
    run(&["convert", "", "--out", out.to_str().unwrap()]).expect(3).says(&["SOURCE", "empty"]);
    run(&["convert", source, "--out", ""]).expect(3).says(&["--out"]);
    run(&["plan", "https://example.org/logs"]).expect(3).says(&["s3://"]);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let world = world();
    let out = world.out();
    let mut command = program(&["convert"]);
    command.arg(world.source()).arg("--out").arg(&out).args(["--to", "2099-12-31"]);
    for name in [
        "REGION",
        "ACCOUNT",
        "FROM",
        "BALANCER",
        "OBJECTS",
        "THREADS",
        "LAYOUT",
        "LOG_TYPE",
        "QUIET",
        "JSON",
        "REDACT",
        "REDACT_KEY",
        "TARGET_FILE_SIZE",
        "SHARD",
        "MAX_REJECTS",
        "OPTION",
    ] {
        command.env(format!("ALB2PARQUET_{name}"), "");
    }
    run_command(&mut command).expect(0);
    assert_eq!(world.rows().len(), 6);
}

#[test]
fn credentials_in_urls_are_refused_and_never_written_anywhere() {
    const SECRET: &str = "topsecret";
    let world = world();
    let (source, out) = (world.source(), world.out());
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    let list = world.path("list");
    let object = world.path("object");
    fs::write(&object, gzip(good_lines(1))).unwrap();
    let batch =
        run(&["plan", source, "--out", out, "--jsonl", "--to", "2099-12-31"]).expect(0).stdout;
    let batches = world.path("batches");
    // Some commands need an existing dataset.
    world.convert().expect(0);
    let urls = [
        format!("s3://AKIAEXAMPLE:{SECRET}@my-logs/p"),
        format!("s3://AKIAEXAMPLE:a/{SECRET}@my-logs/p"),
        format!("s3:/AKIAEXAMPLE:{SECRET}@my-logs/p"),
        format!("https://user:{SECRET}@store.example.org/my-logs"),
        format!("https://acct.blob.core.windows.net/my-logs?sv=2024-01-01&sig={SECRET}"),
        format!("az://my-logs/p?sv=2024-01-01&sig={SECRET}"),
        format!("abfss://my-logs:{SECRET}@acct.dfs.core.windows.net/p"),
        format!("az://my-logs?sv=2024-01-01&sig={SECRET}"),
        format!("https://acct.blob.core.windows.net?sv=2024-01-01&sig={SECRET}"),
        format!("az://my-logs/*.log.gz?sv=2024-01-01&sig={SECRET}"),
        format!("s3://my-*/p?X-Amz-Signature={SECRET}"),
    ];
    for url in &urls {
        fs::write(&list, format!("{url}\n")).unwrap();
        let list = list.to_str().unwrap();
        let line = batch.lines().next().unwrap();
        let address = serde_json::from_str::<serde_json::Value>(line).unwrap();
        let address = address["groups"][0]["source"].as_str().unwrap();
        fs::write(&batches, line.replace(address, url)).unwrap();
        let torn = world.path("torn");
        fs::write(&torn, format!("{{\"batch\": [\"{url}\"]}}\n")).unwrap();
        let option = format!("endpoint={url}");
        let runs: [&[&str]; 16] = [
            &["plan", url],
            &["convert", url, "--out", out],
            &["convert", source, "--out", url],
            &["verify", url, "--out", out],
            &["verify", source, "--out", url],
            &["remove", "--out", url],
            &["clean", "--out", url],
            &["report", url],
            &["ddl", "--location", url],
            &["policy", "convert", "--source", url, "--out", "s3://my-lake/alb"],
            &["inspect", url],
            &["convert", source, "--out", out, "--objects", url],
            &["convert", source, "--out", out, "--objects", list],
            &["convert", "--batches", batches.to_str().unwrap(), "--out", out],
            &["convert", "--batches", torn.to_str().unwrap(), "--out", out],
            &["inspect", "s3://my-logs/x", "--option", &option],
        ];
        for args in runs {
            let run = run(args);
            assert_ne!(run.code, 0, "{args:?}: {run:?}");
            let all = format!("{}{}", run.stdout, run.stderr);
            assert!(!all.contains(SECRET), "{args:?}: {all}");
            assert!(run.stderr.contains("credentials"), "{args:?}: {all}");
        }
    }
    for (name, bytes) in tree(Path::new(out)) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!name.contains(SECRET) && !text.contains(SECRET), "{name}");
    }
}
