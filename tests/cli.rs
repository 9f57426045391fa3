//! The command line: exit codes, messages, filters, `--json`.

use std::fs;
use std::process::Stdio;

use chrono::{Days, Utc};

use crate::support::{
    ROWS, World, convert, files, get, good_lines, gzip, key, key_of, key_on, program, run,
    run_command, text_of, tree,
};

// ---- errors before any work: exit code 3

#[test]
fn help_and_version_succeed() {
    for args in [&["--help"][..], &["--version"], &["convert", "--help"], &["help", "convert"]] {
        let run = run(args).expect(0);
        assert!(run.stdout.contains("alb2parquet") && run.stderr.is_empty(), "{run:#?}");
    }
    for command in ["verify", "remove", "clean"] {
        let help = run(&[command, "--help"]).expect(0).stdout;
        for word in ["--out", "--json", "Exit codes:", "Examples:"] {
            assert!(help.contains(word), "{word} is missing in {help}");
        }
    }
    let help = run(&["convert", "--help"]).stdout;
    let flags = [
        "--out",
        "--from",
        "--to",
        "--account",
        "--region",
        "--balancer",
        "--log-type",
        "--layout",
        "--quiet",
        "--target-file-size",
        "--compression",
        "--threads",
        "--single-writer",
        "--max-requests",
        "--max-rejects",
        "--json",
        "--verbose",
        "--log-format",
    ];
    for flag in flags {
        assert!(help.contains(flag), "{flag} is missing in {help}");
    }
}

#[test]
fn an_object_list_replaces_the_listing() {
    let world = World::new();
    for number in 1..4 {
        world.put(&key(number), gzip(good_lines(number)));
    }
    let names = world.path("names");
    let name = names.to_str().unwrap();
    fs::write(&names, format!("{}\n{}\n", key(1), key(3))).unwrap();
    let run = world.convert_with(&["--json", "--objects", name]).expect(0);
    assert_eq!((run.count("/objects/listed"), run.count("/rows")), (2, 4));
    // A missing object is reported as a failure, and the other objects are converted.
    fs::write(&names, format!("{}\nAWSLogs/not/there.gz\n", key(2))).unwrap();
    let run = world.convert_with(&["--json", "--objects", name]).expect(2);
    assert_eq!((run.count("/objects/failed"), run.count("/rows")), (1, 2));
    run.says(&["AWSLogs/not/there.gz"]);
    // An invalid list is reported.
    fs::write(world.path("manifest.json"), "{}").unwrap();
    let bad = world.path("manifest.json");
    world.convert_with(&["--objects", bad.to_str().unwrap()]).expect(3).says(&["manifest"]);
    world.convert_with(&["--objects", "not-there"]).expect(3).says(&["--objects not-there"]);
    fs::write(&names, "\"other-bucket\",\"key\"\n").unwrap();
    world.convert_with(&["--objects", name]).expect(3).says(&["line 1", "bucket"]);
    let twice = [world.source(), world.path("more")];
    fs::create_dir(&twice[1]).unwrap();
    let twice = [twice[0].as_path(), twice[1].as_path()];
    convert(&twice, &world.out(), &["--objects", name])
        .expect(3)
        .says(&["--objects", "a single SOURCE"]);
}

#[test]
fn invalid_arguments_are_refused() {
    let world = World::with(gzip(good_lines(1)));
    let cases: [(&[&str], &[&str]); 17] = [
        (&["--compresion", "zstd"], &["--compresion", "--compression"]),
        (&["--compression", "gzip"], &["--compression", "zstd", "snappy", "none"]),
        (&["--profile", "small"], &["--profile", "portable", "compact"]),
        (&["--layout", "flat"], &["--layout", "hive", "plain"]),
        (&["--target-file-size", "big"], &["--target-file-size", "256MiB"]),
        (&["--target-file-size", "0"], &["--target-file-size"]),
        (&["--target-file-size", "-1"], &["-1"]),
        (&["--threads", "0"], &["--threads"]),
        (&["--threads", "many"], &["--threads"]),
        (&["--max-rejects", "2"], &["--max-rejects", "between 0 and 1"]),
        (&["--max-rejects", "NaN"], &["--max-rejects"]),
        (&["--account", "12"], &["--account", "12 digits"]),
        (&["--from", "19.07.2025"], &["--from"]),
        (&["--to", "2025-02-30"], &["--to"]),
        (
            &["--from", "2025-07-20", "--to", "2025-07-19"],
            &["--from", "2025-07-20", "--to", "2025-07-19"],
        ),
        (&["--quiet", "--verbose"], &["--quiet", "--verbose"]),
        (&["--json=yes"], &["--json"]),
    ];
    for (args, words) in cases {
        let run = world.convert_with(args).expect(3);
        run.says(words);
        assert_eq!(run.stdout, "", "{args:?}");
        assert!(!world.out().exists(), "nothing is written for {args:?}");
    }
}

#[test]
fn missing_arguments_are_named() {
    run(&["convert", "--out", "x"]).expect(3).says(&["SOURCE"]);
    run(&["convert", "x"]).expect(3).says(&["--out"]);
    run(&["convrt"]).expect(3).says(&["convert"]);
    run(&[]).expect(3).says(&["convert"]);
}

#[test]
fn a_source_that_cannot_be_opened_is_refused() {
    let world = World::with(gzip(good_lines(1)));
    let missing = world.path("missing");
    convert(&[&missing], &world.out(), &[]).expect(3).says(&["SOURCE", "missing"]);
    let file = world.put("notes.txt", "hello");
    convert(&[&file], &world.path("empty"), &[])
        .expect(3)
        .says(&["nothing to convert", "notes.txt"]);
    for url in ["ftp://host/prefix", "s3://", "s3://bucket/a//b"] {
        convert(&[url.as_ref()], &world.out(), &[]).expect(3).says(&[url]);
        convert(&[&world.source()], url.as_ref(), &[]).expect(3).says(&["--out", url]);
    }
    let option = ["--option", "regoin=eu-west-1"];
    convert(&["s3://bucket".as_ref()], &world.out(), &option)
        .expect(3)
        .says(&["--option", "regoin"]);
    let secret = "aws_secret_access_key:hidden";
    let run = world.convert_with(&["--option", secret]).expect(3);
    run.says(&["--option", "region=eu-west-1"]);
    assert!(!run.stderr.contains("hidden"));
    assert!(!world.out().exists());
}

#[test]
fn a_dataset_in_a_source_is_refused_and_vice_versa() {
    let world = World::with(gzip(good_lines(1)));
    for below in ["", "out", "AWSLogs/out", "not/there/yet"] {
        let out = world.source().join(below);
        convert(&[&world.source()], &out, &[]).expect(3).says(&["--out", "SOURCE"]);
    }
    let above = world.path("");
    convert(&[&world.source()], &above, &[]).expect(3).says(&["--out", "SOURCE"]);
    assert_eq!(tree(&world.source()).len(), 1, "nothing is written");
    let url = |source: &str, out: &str| convert(&[source.as_ref()], out.as_ref(), &[]).expect(3);
    url("s3://bucket/logs", "s3://bucket/logs/out").says(&["--out", "SOURCE"]);
    url("s3://bucket/lake/logs", "s3://bucket/lake").says(&["--out", "SOURCE"]);
    // A sibling directory does not overlap with the source, even if its name begins with the source's name.
    convert(&[&world.source()], &world.path("source-out"), &[]).expect(0);
}

#[test]
#[cfg(unix)]
fn an_overlap_through_a_symbolic_link_is_detected() {
    let world = World::with(gzip(good_lines(1)));
    std::os::unix::fs::symlink(world.source(), world.path("link")).unwrap();
    let out = world.path("link").join("out");
    convert(&[&world.source()], &out, &[]).expect(3).says(&["--out", "SOURCE"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused() {
    let world = World::with(gzip(good_lines(1)));
    fs::write(world.out(), "a file").unwrap();
    world.convert().expect(3).says(&[world.out().to_str().unwrap()]);
    let below = world.out().join("below");
    convert(&[&world.source()], &below, &[]).expect(3).says(&[below.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(world.out()).unwrap(), "a file");
}

#[test]
fn a_table_that_cannot_be_written_ends_the_run() {
    let world = World::with(gzip(good_lines(1)));
    fs::create_dir(world.out()).unwrap();
    fs::write(world.out().join(ROWS), "a file").unwrap();
    world.convert().expect(3).says(&[ROWS]);
    let claims = |name: &String| name.starts_with("_alb2parquet/claims/");
    assert!(!tree(&world.out()).keys().any(claims), "a table that cannot be listed gets no rows");
    fs::remove_file(world.out().join(ROWS)).unwrap();
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/converted"), 1);
    assert_eq!(world.rows().len(), 1);
}

#[test]
fn a_partition_that_cannot_be_written_keeps_its_claimed_files() {
    let world = World::with(gzip(good_lines(1)));
    let account = world.out().join(ROWS).join("account=012345678901");
    fs::create_dir_all(account.parent().unwrap()).unwrap();
    world.convert_with(&["--layout", "plain"]).expect(0);
    world.run("remove", false, &["--yes"]).expect(0);
    let account = account.with_file_name("012345678901");
    fs::remove_dir_all(&account).unwrap();
    fs::write(&account, "a file").unwrap();
    world.convert_with(&["--layout", "plain"]).expect(3).says(&[ROWS]);
    let left = tree(&world.out());
    let staged = left.keys().filter(|name| name.starts_with("_alb2parquet/staging/")).count();
    assert_eq!(staged, 1, "the claimed file is kept: {:?}", left.keys());
    // Once the partition is writable, the next run publishes its files.
    fs::remove_file(&account).unwrap();
    let run = world.convert_with(&["--layout", "plain", "--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/converted_before"), 1);
    assert_eq!(world.rows().len(), 1);
}

#[test]
fn a_dataset_keeps_its_layout() {
    let world = World::with(gzip(good_lines(1)));
    world.convert_with(&["--layout", "plain"]).expect(0);
    let before = tree(&world.out());
    world.convert_with(&["--layout", "hive"]).expect(3).says(&["--layout plain", "--out"]);
    assert_eq!(tree(&world.out()), before);
    world.convert_with(&["--layout", "plain"]).expect(0);
}

#[test]
fn a_dataset_of_an_unknown_format_is_not_changed() {
    let world = World::with(gzip(good_lines(1)));
    let state = world.out().join("_alb2parquet");
    fs::create_dir_all(&state).unwrap();
    for text in ["not json", r#"{"format_version": 99, "layout": "hive"}"#] {
        fs::write(state.join("dataset.json"), text).unwrap();
        world.convert().expect(3);
        assert_eq!(fs::read_to_string(state.join("dataset.json")).unwrap(), text);
        assert_eq!(files(&world.out(), ROWS).len(), 0);
    }
}

/// Datasets that predate the final state file names are refused, because this version would misread their markers and
/// keys.
#[test]
fn a_dataset_of_an_older_format_version_is_refused_by_every_command() {
    for version in [2, 3] {
        let world = World::with(gzip(good_lines(1)));
        world.convert().expect(0);
        let description = world.out().join("_alb2parquet/dataset.json");
        let text = fs::read_to_string(&description).unwrap();
        let older =
            text.replace("\"format_version\": 4", &format!("\"format_version\": {version}"));
        assert_ne!(text, older);
        fs::write(&description, older).unwrap();
        let before = tree(&world.out());
        let (source, out) = (world.source().to_str().unwrap().to_owned(), world.out());
        let out = out.to_str().unwrap();
        let commands: [&[&str]; 9] = [
            &["convert", &source, "--out", out],
            &["plan", &source, "--out", out],
            &["verify", &source, "--out", out],
            &["repair", "--out", out],
            &["remove", "--out", out, "--from", "2025-07-19", "--to", "2025-07-19"],
            &["accept", "--out", out],
            &["clean", "--out", out],
            &["report", out],
            &["ddl", "--from-dataset", out],
        ];
        for command in commands {
            let message =
                format!("format version {version}, but this program supports only 4 and 5");
            let hint = "hint: an older version wrote this dataset";
            run(command).expect(3).says(&[&message, hint]);
        }
        assert_eq!(tree(&world.out()), before);
    }
}

// ---- exit codes

#[test]
fn rejects_above_the_limit_change_the_exit_code() {
    let mut lines = vec![String::from_utf8(good_lines(1)).unwrap().trim_end().to_owned(); 9];
    lines.push("bad".to_owned());
    let world = World::with(gzip(text_of(lines)));
    let run =
        |share: &str| convert(&[&world.source()], &world.path(share), &["--max-rejects", share]);
    world.convert().expect(1).says(&["--max-rejects", "10.00 %", "too_few_fields"]);
    run("0.09").expect(1);
    run("0.1").expect(0);
    run("0").expect(1);
    assert_eq!(world.rows().len(), 9, "the rows are converted nevertheless");
    world.convert().expect(0).says(&["1 converted_before"]);
    // A failed object takes precedence.
    world.put(&key_on("2025/07/20", 1), "not gzip");
    world.convert().expect(2);
}

#[test]
fn nothing_to_convert_is_an_error_that_lists_what_was_found() {
    let world = World::new();
    world.put("notes.txt", "hello");
    let run = world.convert_with(&["--json", "--quiet"]).expect(3);
    run.says(&["error: nothing to convert", "1 unknown", "AWSLogs/"]);
    assert_eq!(run.stdout, "");
}

#[test]
fn policies_are_json() {
    let of = |args: &[&str]| run(&[&["policy"], args].concat()).expect(0).json();
    let delivery = of(&["log-delivery", "--bucket", "b", "--account", "012345678901"]);
    let service = "logdelivery.elasticloadbalancing.amazonaws.com";
    assert_eq!(delivery["Statement"][0]["Principal"]["Service"], service);
    assert_eq!(delivery["Statement"].as_array().unwrap().len(), 3);
    let network = ["--bucket", "b", "--account", "012345678901", "--load-balancer", "network"];
    let network = of(&[&["log-delivery"], &network[..]].concat());
    assert_eq!(network["Statement"][0]["Action"], "s3:GetBucketAcl");
    let convert = of(&["convert", "--source", "s3://b", "--out", "s3://c/d", "--aws", "aws-cn"]);
    assert_eq!(convert["Statement"][3]["Resource"], "arn:aws-cn:s3:::c/d/*");
    let rule = of(&["lifecycle", "--out", "s3://c/d"]);
    assert_eq!(rule["Rules"][0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 7);
    run(&["policy", "convert", "--source", "gs://b"]).expect(3).says(&["gs://b", "s3://"]);
}

/// Checks policies against the part of the grammar that this program uses:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>
#[test]
fn policies_follow_the_grammar_that_aws_documents() {
    fn texts(value: &serde_json::Value) -> Vec<&str> {
        let one = value.as_str().map(|text| vec![text]);
        let texts = one.unwrap_or_else(|| {
            let all = value.as_array().expect("a string or a list of strings");
            all.iter().map(|text| text.as_str().unwrap()).collect()
        });
        assert!(!texts.is_empty() && texts.iter().all(|text| !text.is_empty()), "{value}");
        texts
    }
    let grants_role = ["convert", "--source", "s3://logs/p", "--out", "s3://lake/alb"];
    let with_key = [&grants_role[..], &["--kms-key", "arn:aws:kms:eu-west-1:012345678901:key/k"]];
    let delivery =
        ["log-delivery", "--bucket", "logs", "--prefix", "p", "--account", "012345678901"];
    for (args, of_bucket) in [(&with_key.concat()[..], false), (&delivery[..], true)] {
        let policy = run(&[&["policy"], args].concat()).expect(0).json();
        let policy = policy.as_object().unwrap();
        assert_eq!(policy.keys().collect::<Vec<_>>(), ["Statement", "Version"]);
        assert_eq!(policy["Version"], "2012-10-17");
        for statement in policy["Statement"].as_array().unwrap() {
            let statement = statement.as_object().unwrap();
            let known = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
            assert!(statement.keys().all(|key| known.contains(&key.as_str())), "{statement:?}");
            assert!(["Allow", "Deny"].contains(&statement["Effect"].as_str().unwrap()));
            assert_eq!(
                statement.contains_key("Principal"),
                of_bucket,
                "only bucket policies have a principal"
            );
            for action in texts(&statement["Action"]) {
                let (service, name) = action.split_once(':').unwrap();
                assert!(["s3", "kms"].contains(&service) && name.starts_with(char::is_uppercase));
            }
            for resource in texts(&statement["Resource"]) {
                // arn:partition:service:region:account:resource
                let parts: Vec<&str> = resource.splitn(6, ':').collect();
                assert!(
                    parts.len() == 6 && parts[0] == "arn" && !parts[5].is_empty(),
                    "{resource}"
                );
            }
            if let Some(sid) = statement.get("Sid") {
                assert!(sid.as_str().unwrap().bytes().all(|b| b.is_ascii_alphanumeric()));
            }
            if let Some(principal) = statement.get("Principal") {
                assert!(principal["Service"].as_str().unwrap().ends_with(".amazonaws.com"));
            }
            for (operator, keys) in
                statement.get("Condition").and_then(|c| c.as_object()).into_iter().flatten()
            {
                assert!(["StringLike", "StringEquals", "ArnLike"].contains(&operator.as_str()));
                keys.as_object().unwrap().values().for_each(|values| drop(texts(values)));
            }
        }
    }
}

// ---- output

#[test]
fn json_is_one_object_of_documented_keys() {
    let world = World::new();
    let text = text_of([good_lines(4).as_slice(), b"bad"]);
    let object = gzip(&text);
    world.put(&key(1), &object);
    world.put("README.txt", "x");
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    let json = run.json();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "objects",
        "partitions",
        "files",
        "reject_files",
        "lines",
        "rows",
        "rejects",
        "bytes_in",
        "bytes_decompressed",
        "bytes_out",
        "requests",
        "requests_failed",
        "seconds",
        "failures",
    ] {
        assert!(keys.contains(&key), "{key} is missing in {keys:?}");
    }
    assert!(run.stdout.ends_with("}\n"));
    let counts = ["listed", "converted", "skipped", "failed"]
        .map(|key| run.count(&format!("/objects/{key}")));
    assert_eq!(counts, [2, 1, 1, 0]);
    // good_lines ends with a newline, so text_of appends an empty line.
    assert_eq!((run.count("/lines"), run.count("/rows")), (6, 4));
    assert_eq!(run.rejects(), "too_few_fields=2");
    assert_eq!(run.count("/bytes_in"), object.len() as u64);
    assert_eq!(run.count("/bytes_decompressed"), text.len() as u64);
    let written = tree(&world.out());
    let parquet = written.iter().filter(|(name, _)| name.ends_with(".parquet"));
    assert_eq!(run.count("/bytes_out"), parquet.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert!(json["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0));
    run.says(&["objects", "partitions", "lines", "6 = 4 rows + 2 rejects"]);
}

#[test]
fn without_json_stdout_is_empty() {
    let run = World::with(gzip(good_lines(4))).convert().expect(0);
    assert_eq!(run.stdout, "");
    run.says(&["4 = 4 rows + 0 rejects"]);
}

#[test]
fn quiet_prints_only_problems() {
    let world = World::with(gzip(good_lines(4)));
    let run = world.convert_with(&["--quiet"]).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    world.put(&key(2), gzip(good_lines(4)));
    let run = world.convert_with(&["-q", "--json"]).expect(0);
    assert_eq!((run.count("/rows"), run.stderr.as_str()), (4, ""));
    world.put(&key_on("2025/07/20", 1), "not gzip");
    let run = world.convert_with(&["--quiet"]).expect(2);
    assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
    run.says(&[&key_on("2025/07/20", 1), "not gzip"]);
}

#[test]
fn verbose_prints_a_line_per_file() {
    let world = World::new();
    for day in ["2025/07/18", "2025/07/19", "2025/07/20"] {
        world.put(&key_on(day, 1), gzip(good_lines(2)));
    }
    let run = world.convert_with(&["-v"]).expect(0);
    for day in ["2025-07-18", "2025-07-19", "2025-07-20"] {
        let lines =
            run.stderr.lines().filter(|line| line.contains(day) && line.contains("rows=2 "));
        assert_eq!(lines.count(), 1, "{day} in {run:#?}");
    }
}

/// Parses the lines on stderr as JSON.
fn events(stderr: &str) -> Vec<serde_json::Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    stderr.lines().map(parse).collect()
}

#[test]
fn a_json_log_contains_only_json() {
    let world = World::new();
    world.put(&key(1), gzip(good_lines(2)));
    world.put(&key_on("2025/07/20", 1), "not gzip");
    let run = world.convert_with(&["--log-format", "json"]).expect(2);
    let events = events(&run.stderr);
    let with_message = |message: &str| -> Vec<_> {
        events.iter().filter(|event| event["message"] == message).collect()
    };
    let published = with_message("batch published");
    assert_eq!(published.len(), 2, "{run:#?}");
    assert_eq!(published.iter().filter(|event| event["rows"] == 2).count(), 1);
    assert_eq!(with_message("object failed")[0]["object"], key_on("2025/07/20", 1));
    assert_eq!(with_message("conversion ended")[0]["lines"], 3);
    // A slow run also logs its progress.
    let progress = with_message("progress").len();
    assert_eq!(events.len() - progress, 4, "{run:#?}");
}

#[test]
fn an_error_in_a_json_log_is_json() {
    let failed =
        run(&["convert", "/nowhere", "--log-format=json", "--out", "/nowhere/too"]).expect(3);
    let events = events(&failed.stderr);
    assert_eq!((events.len(), &events[0]["level"]), (1, &"ERROR".into()));
}

#[test]
fn the_summary_contains_metrics() {
    let world = World::with(gzip(good_lines(4)));
    let run = world.convert_with(&["--json", "--threads", "1"]).expect(0);
    assert_eq!(run.count("/metrics/threads"), 1);
    for name in ["listing", "planning", "converting"] {
        assert!(run.json()["metrics"][format!("{name}_seconds")].as_f64().is_some(), "{run:#?}");
    }
}

#[test]
fn environment_variables_replace_flags() {
    let world = World::new();
    for day in ["2025/07/18", "2025/07/19", "2025/07/20"] {
        world.put(&key_on(day, 1), gzip(good_lines(2)));
    }
    let with = |variables: &[(&str, &str)], more: &[&str]| {
        let (source, out) = (world.source(), world.path("by-env"));
        let mut command =
            program(&["convert", source.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        run_command(command.envs(variables.iter().copied()).args(more)).expect(0)
    };
    let json = [("ALB2PARQUET_JSON", "1"), ("ALB2PARQUET_QUIET", "true")];
    let from = ("ALB2PARQUET_FROM", "2025-07-20");
    let run = with(&[json[0], json[1], from], &[]);
    assert_eq!((run.count("/rows"), run.stderr.as_str()), (2, ""));
    // Arguments take precedence.
    assert_eq!(with(&[json[0], from], &["--from", "2025-07-19"]).count("/rows"), 2);
    let others = ("ALB2PARQUET_ACCOUNT", "999999999999");
    assert_eq!(with(&[json[0], others], &[]).count("/rows"), 0);
    let all = ("ALB2PARQUET_ACCOUNT", "999999999999,012345678901");
    let run = with(&[json[0], all, ("ALB2PARQUET_QUIET", "0")], &[]);
    assert_eq!(run.count("/rows"), 2);
    assert!(!run.stderr.is_empty());
}

#[test]
fn a_closed_pipe_causes_no_panic() {
    let world = World::with(gzip(good_lines(4)));
    for args in [&["convert", "--help"][..], &["convert", "--json"]] {
        let mut child = program(args)
            .arg(world.source())
            .arg("--out")
            .arg(world.out())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

// ---- selection

/// Returns a world with two accounts, two regions, two load balancers and three days. Each object has a different row
/// count, which identifies it.
fn assorted() -> World {
    let world = World::new();
    let mut rows = 1;
    for account in ["012345678901", "123456789012"] {
        for region in ["eu-west-1", "us-east-1"] {
            for balancer in ["my-lb.50dc6c495c0c9188", "my.0123456789abcdef"] {
                for day in ["2025/07/18", "2025/07/19", "2025/07/20"] {
                    world
                        .put(&key_of(account, region, day, balancer, rows), gzip(good_lines(rows)));
                    rows += 1;
                }
            }
        }
    }
    world
}

/// Converts a selection, and returns the keys of the objects that were converted.
#[track_caller]
fn selected(world: &World, args: &[&str]) -> Vec<String> {
    let out = tempfile::TempDir::new().unwrap();
    let run = convert(&[&world.source()], out.path(), &[args, &["--json"]].concat()).expect(0);
    let rows = crate::support::read(out.path(), ROWS);
    let mut keys: Vec<String> =
        rows.iter().map(|row| get(row, "source_key").unwrap().to_owned()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(run.count("/objects/converted"), keys.len() as u64);
    assert_eq!(run.count("/objects/skipped"), 24 - keys.len() as u64);
    if keys.len() < 24 {
        assert_eq!(run.count("/objects/skipped_by_kind/not_selected"), 24 - keys.len() as u64);
    }
    keys
}

#[test]
fn filters_select_what_they_name() {
    let world = assorted();
    let all = selected(&world, &[]);
    assert_eq!(all.len(), 24);
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--account", "012345678901"], &["AWSLogs/012345678901"]),
        (&["--region", "us-east-1"], &["/us-east-1/"]),
        (
            &["--account", "123456789012", "--region", "eu-west-1"],
            &["AWSLogs/123456789012/elasticloadbalancing/eu-west-1/"],
        ),
        (&["--account", "012345678901", "--account", "123456789012"], &["AWSLogs/"]),
        (&["--balancer", "my"], &["_app.my."]),
        (&["--balancer", "my-lb"], &["_app.my-lb."]),
        (&["--balancer", "app/my-lb/50dc6c495c0c9188"], &["_app.my-lb."]),
        (&["--balancer", "app.my.0123456789abcdef"], &["_app.my."]),
        (&["--balancer", "my", "--balancer", "my-lb"], &["_app."]),
        (&["--from", "2025-07-19"], &["/2025/07/19/", "/2025/07/20/"]),
        (&["--from", "2025-07-19", "--to", "2025-07-19"], &["/2025/07/19/"]),
    ];
    for (args, parts) in cases {
        let expected: Vec<&String> =
            all.iter().filter(|key| parts.iter().any(|part| key.contains(part))).collect();
        assert!(!expected.is_empty());
        assert_eq!(selected(&world, args).iter().collect::<Vec<_>>(), expected, "{args:?}");
    }
    assert_eq!(selected(&world, &["--to", "2025-07-18"]).len(), 8);
    assert_eq!(selected(&world, &["--region", "eu-west-3"]), [""; 0]);
    assert_eq!(selected(&world, &["--balancer", "50dc6c495c0c9188"]), [""; 0]);
}

#[test]
fn today_is_not_converted_by_default() {
    loop {
        let today = Utc::now().date_naive();
        let key_of_day = |days: u64| {
            let day = today.checked_sub_days(Days::new(days)).unwrap();
            key_on(&day.format("%Y/%m/%d").to_string(), 1)
        };
        let world = World::new();
        world.put(&key_of_day(0), gzip(good_lines(1)));
        world.put(&key_of_day(1), gzip(good_lines(2)));
        world.put(&key_of_day(2), gzip(good_lines(4)));
        let (source, out) = (world.source(), world.out());
        let args = ["convert", source.to_str().unwrap(), "--json", "--out", out.to_str().unwrap()];
        let run = run(&args).expect(0);
        if today != Utc::now().date_naive() {
            continue; // Midnight passed during the run, so the run may have used either day as the current one.
        }
        assert_eq!(run.count("/rows"), 6);
        assert_eq!(run.count("/objects/skipped_by_kind/not_selected"), 1);
        let today = today.to_string();
        let all = convert(&[&source], &world.path("all"), &["--json", "--to", &today]).expect(0);
        assert_eq!(all.count("/rows"), 7);
        break;
    }
}
