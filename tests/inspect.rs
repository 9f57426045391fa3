//! `inspect`: text and JSON output for one object.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use alb2parquet::internals::decode::inspect::{Inspection, Limits};
use alb2parquet::internals::decode::locate;
use alb2parquet::internals::logs::reject::{Reason, Reject};
use alb2parquet::internals::logs::schema::LogType;
use serde_json::{Value, json};

use crate::support::{Line, Run, World, good_lines, gzip, key, program, run, run_command, text_of};

/// Returns a line for each kind of error that has a position, with the reject reason and the text that the carets mark.
fn faulty() -> Vec<(String, Reason, &'static str)> {
    let line = |number, value: &str| Line::of(30).with(number, value).text();
    vec![
        (line(9, "2OO"), Reason::InvalidValue, "2OO"),
        (line(4, "192.0.2.17:http"), Reason::InvalidValue, "http"),
        (
            line(22, "2025-02-30T00:00:00.000000Z"),
            Reason::InvalidValue,
            "2025-02-30T00:00:00.000000Z",
        ),
        (Line::of(5).text(), Reason::TooFewFields, ""),
        (line(13, "\"G\"ET / HTTP/1.1\""), Reason::MisplacedQuote, "\""),
        (line(30, "\"TID"), Reason::UnterminatedQuote, "\""),
    ]
}

/// Inspects a file whose path does not look like an object key.
fn inspect(object: impl AsRef<[u8]>, args: &[&str]) -> Run {
    let world = World::new();
    let path = world.put("object", object);
    run_command(program(&["inspect"]).arg(path).args(args))
}

/// Inspects an object on stdin, and returns the output.
fn from_stdin(object: &[u8], args: &[&str]) -> String {
    let mut command = program(&["inspect", "-"]);
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(object).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn an_object_is_described() {
    let world = World::new();
    let bad = Line::of(30).with(9, "five").text();
    let text = [good_lines(3), text_of([Line::of(17).text(), bad])].concat();
    let path = world.put(&key(1), [gzip(&text), gzip(good_lines(1))].concat());
    let args = ["inspect", path.to_str().unwrap(), "--limit", "2"];
    let page = run(&args).expect(1);
    assert_eq!(page.stderr, "");
    for words in [
        "access log of app/my-lb/50dc6c495c0c9188",
        "account 012345678901, eu-west-1, partition 2025-07-19",
        "the 5 minutes until 2025-07-19T14:05Z, from node 192.0.2.1",
        "according to its name",
        "gzip, 2 members",
        "6 = 5 rows + 1 rejects (1 invalid_value)",
        "17, as written from 2016-08 to 2016-11, in 1 line\n",
        "30, as written from 2024-05 to 2025-08, in 5 lines\n",
        "the first 2 of 5 rows",
        " time  ",
        "2025-07-19T14:03:21.123456Z",
        "line 5 at byte",
        "invalid_value of elb_status_code",
    ] {
        assert!(page.stdout.contains(words), "{words:?} is missing in {}", page.stdout);
    }
    // In another directory, only the file name identifies the object.
    let name = path.file_name().unwrap().to_owned();
    let copy = world.path("copies");
    fs::create_dir(&copy).unwrap();
    fs::copy(&path, copy.join(&name)).unwrap();
    let page = run_command(program(&["inspect"]).current_dir(&copy).arg(&name)).expect(1).stdout;
    for words in
        ["account 012345678901, eu-west-1, partition 2025-07-19\n", "according to its name"]
    {
        assert!(page.contains(words), "{words:?} is missing in {page}");
    }
    assert!(!page.contains("convert skips it"), "{page}");
}

#[test]
fn a_caret_marks_every_fault() {
    let lines = faulty();
    let text = text_of(lines.iter().map(|(line, ..)| line));
    for width in [60, 100, 5000] {
        let page = inspect(gzip(&text), &["--width", &width.to_string()]).expect(1).stdout;
        let mut page = page.lines().skip_while(|line| !line.ends_with("6 rejects"));
        page.next();
        for (number, (_, reason, fault)) in (1..).zip(&lines) {
            assert_eq!(page.next(), Some(""));
            let heading = page.next().unwrap();
            assert!(heading.starts_with(&format!("line {number} at byte")), "{heading}");
            assert!(heading.contains(reason.code()), "{heading}");
            let (line, carets) = (page.next().unwrap(), page.next().unwrap());
            assert!(line.chars().count() <= width, "{line}");
            let start = carets.chars().take_while(|&c| c == ' ').count();
            let length = carets.trim().len();
            let pointed: String = line.chars().skip(start).take(length).collect();
            assert_eq!(&pointed, fault, "{line}\n{carets}");
            assert_eq!(length, fault.len().max(1));
        }
        assert_eq!(page.next(), None);
    }
}

#[test]
fn every_reject_has_a_position_within_its_line() {
    let mut lines: Vec<Vec<u8>> = faulty().into_iter().map(|(line, ..)| line.into()).collect();
    lines.push(b"\xff".to_vec());
    lines.push(b"\"a\"b c".to_vec());
    lines.push(Line::of(30).with(13, "\"GET /\u{e9}\" x").text().into_bytes());
    // A truncated line is invalid.
    let good = Line::of(36).text();
    lines.extend((0..good.len()).map(|end| good.as_bytes()[..end].to_vec()));
    let limits = Limits { rows: 0, rejects: usize::MAX };
    let text = std::io::Cursor::new(text_of(&lines));
    let found = Inspection::begin("", text, Some(LogType::Access)).unwrap().run(limits).unwrap();
    assert!(found.first_rejects.len() > 300, "{}", found.first_rejects.len());
    for reject in &found.first_rejects {
        let Reject { raw, reason, .. } = reject;
        let place = locate::fault_range(LogType::Access.table(), reject);
        let place = place.unwrap_or_else(|| panic!("{reason} has no position in {raw:?}"));
        assert!(place.start <= place.end && place.end <= raw.len(), "{place:?} of {raw:?}");
        assert_eq!(place.is_empty(), *reason == Reason::TooFewFields, "{reason} {place:?}");
    }
}

#[test]
fn control_characters_of_a_line_never_reach_the_terminal() {
    let url = "\"GET https://h\u{1b}[2J\u{7}\u{202e}/ HTTP/1.1\"";
    let mut bytes = text_of([Line::of(30).with(13, url).text()]);
    bytes.extend(b"\x1b]0;title\x07\xff \x9b31m\r\0\n");
    for args in [&["--columns", "request_url"][..], &["--columns", "all"], &["--width", "30"], &[]]
    {
        let page = inspect(gzip(&bytes), args).expect(1).stdout;
        let odd = page.chars().find(|&c| c.is_control() && c != '\n' || c == '\u{202e}');
        assert_eq!(odd, None, "{page}");
        assert!(page.contains("title\\x07\\xff"), "{page}");
    }
    let page = inspect(gzip(&bytes), &["--columns", "request_url"]).stdout;
    assert!(page.contains("https://h\\x1b[2J\\x07\\u{202e}/"), "{page}");
}

#[test]
fn the_output_fits_its_width() {
    let text = gzip(good_lines(20));
    for width in [20_usize, 40, 60, 80, 120, 250] {
        for columns in ["", "time", "time,request_url,user_agent", "all"] {
            let wide = width.to_string();
            let mut args = vec!["--width", &wide];
            if !columns.is_empty() {
                args.extend(["--columns", columns]);
            }
            let page = inspect(&text, &args).expect(0).stdout;
            let table = page.split_once("columns").unwrap().1;
            for line in table.lines().skip(1) {
                assert!(line.chars().count() <= width, "{width} {columns}: {line:?} in {page}");
            }
            // If the columns do not fit side by side, they are printed one per line.
            let below = columns == "all" || width < 60;
            assert_eq!(table.contains(" row 2\n"), below && columns != "time", "{width} {page}");
        }
    }
}

#[test]
fn uncompressed_text_is_read() {
    let page = inspect(good_lines(3), &[]).expect(0).stdout;
    for words in ["not gzip", "3 = 3 rows", "according to its first lines"] {
        assert!(page.contains(words), "{words:?} is missing in {page}");
    }
    let json: Value = serde_json::from_str(&from_stdin(&good_lines(2), &["--json"])).unwrap();
    assert_eq!(
        (&json["rows"], &json["format"], &json["object"]),
        (&2.into(), &"text".into(), &"-".into())
    );
    assert_eq!(json["key_problem"], Value::Null);
}

/// Lines for a connection to a Network Load Balancer, one for each possible field count.
const TLS_LINES: &str = "\
tls 1.0 2019-02-20T02:58:12 net/edge/0123456789abcdef 89abcdef01234567 2001:db8::7:40312 198.51.100.8:8443 5 - 0 0 - - - - - - -
tls 2.0 2022-03-04T05:06:07 net/edge/0123456789abcdef 89abcdef01234567 192.0.2.43:40311 198.51.100.8:8443 41 9 80 512 - - - - - - edge.example.com - - -
tls 2.0 2025-07-19T09:58:12 net/edge/0123456789abcdef 89abcdef01234567 192.0.2.44:40312 198.51.100.8:8443 340 12 812 4096 - arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000002 - TLS_AES_128_GCM_SHA256 tlsv13 - edge.example.com h2 h2 \"h2\",\"http/1.1\" 2025-07-19T09:58:11
";
/// Lines for requests to a Classic Load Balancer and for a connection to its TCP listener, for each possible field
/// count.
const CLASSIC_LINES: &str = "\
2015-06-19T09:12:44.120001Z legacy 192.0.2.45:51200 198.51.100.9:80 0.00004 0.0061 0.00003 200 200 0 512 \"GET http://legacy.example.com:80/cart?id=4 HTTP/1.1\"
2025-07-19T09:12:45.120001Z legacy 192.0.2.45:51201 198.51.100.9:22 0.0004 0.00002 0.00003 - - 57 502 \"- - - \" \"-\" - -
2025-07-19T09:12:46.120001Z legacy 192.0.2.45:51202 - -1 -1 -1 503 0 0 0 \"GET http://legacy.example.com:80/ HTTP/1.1\" \"Mozilla/5.0 (X11)\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2
";

#[test]
fn objects_of_network_and_classic_load_balancers_are_described() {
    let cases = [
        (
            "net.edge.0123456789abcdef",
            TLS_LINES,
            "nlb_tls log of net/edge/0123456789abcdef",
            "the 5 minutes until 2025-07-19T14:05Z, from node 192.0.2.1",
            "18, as written from 2019-01 to 2020-06, in 1 line\n",
            " time                          client_ip     domain_name        tls_protocol_version\n",
            " 2025-07-19T09:58:12.000000Z   192.0.2.44    edge.example.com   tlsv13\n",
        ),
        (
            "legacy",
            CLASSIC_LINES,
            "classic log of legacy",
            "the window until 2025-07-19T14:05Z, from node 192.0.2.1",
            "12, as written from 2014-03 to 2015-07, in 1 line\n",
            " timestamp                     elb_response_code   request_verb   url\n",
            " 2025-07-19T09:12:46.120001Z                 503   GET            http://legacy.example.com:80/\n",
        ),
    ];
    for (balancer, lines, key_line, window, fields, head, row) in cases {
        let world = World::new();
        let name = key(1).replace("app.my-lb.50dc6c495c0c9188", balancer);
        let [compressed, text] =
            [world.put(&name, gzip(lines)), world.put(&name.replace(".log.gz", ".log"), lines)];
        for path in [&compressed, &text] {
            let page = run(&["inspect", path.to_str().unwrap()]).expect(0).stdout;
            let words = [
                key_line,
                window,
                "according to its name",
                "3 = 3 rows + 0 rejects",
                fields,
                head,
                row,
            ];
            for words in words {
                assert!(page.contains(words), "{words:?} is missing in {page}");
            }
            assert!(!page.contains("convert skips it"), "{page}");
        }
        // Only Classic Load Balancers deliver plain text.
        let is_classic = balancer == "legacy";
        let page = run(&["inspect", text.to_str().unwrap()]).stdout;
        assert_eq!(page.contains("text, not gzip"), !is_classic, "{page}");
        assert_eq!(page.contains("plain_text"), !is_classic, "{page}");
        // Without a name, the lines determine the log type.
        for object in [lines.as_bytes().to_vec(), gzip(lines)] {
            let page = from_stdin(&object, &[]);
            let read_as = format!(
                "{} log, according to its first lines",
                &key_line[..key_line.find(' ').unwrap()]
            );
            assert!(page.contains(&read_as) && page.contains("3 = 3 rows"), "{page}");
        }
        for line in lines.lines() {
            let json: Value =
                serde_json::from_str(&from_stdin(line.as_bytes(), &["--json"])).unwrap();
            assert_eq!(
                (&json["determined_by"], &json["rows"]),
                (&"lines".into(), &1.into()),
                "{line}"
            );
            assert!(key_line.starts_with(json["log_type"].as_str().unwrap()), "{line}: {json}");
        }
    }
}

#[test]
fn lines_of_other_load_balancers_in_an_object_are_named() {
    let world = World::new();
    for (lines, log) in [(TLS_LINES, "nlb_tls"), (CLASSIC_LINES, "classic")] {
        let path = world.put(&key(1), gzip(lines));
        let page = run(&["inspect", path.to_str().unwrap()]).expect(2).stdout;
        assert!(
            page.contains(&format!("contains {log} log lines; convert does not convert it")),
            "{page}"
        );
    }
    let path =
        world.put(&key(1).replace("app.my-lb.50dc6c495c0c9188", "legacy"), gzip(good_lines(2)));
    let page = run(&["inspect", path.to_str().unwrap()]).expect(2).stdout;
    assert!(page.contains("contains access log lines; convert does not convert it"), "{page}");
}

#[test]
fn the_actual_content_of_an_object_is_reported() {
    let zip = inspect(b"PK\x03\x04 and so on", &[]).expect(2).stdout;
    assert!(zip.contains("a ZIP archive") && zip.contains("1 not_gzip"), "{zip}");
    let cut = &gzip(good_lines(2000))[..9000];
    let cut = inspect(cut, &["--limit", "0"]).expect(2).stdout;
    assert!(cut.contains("truncated_gzip") && !cut.contains("columns"), "{cut}");
    let nothing = inspect("", &[]).expect(0).stdout;
    assert!(nothing.contains("content     nothing"), "{nothing}");
    let json = inspect("{\"timestamp\": 1}\n", &[]).expect(2).stdout;
    assert!(json.contains("contains JSON;"), "{json}");
    // The object's log type is not the one that its name indicates.
    let world = World::new();
    let health = "http 2025-11-24T10:00:00.000000Z 0.0012 192.0.2.1:80 web PASS 200 -\n";
    let path = world.put(&key(1), gzip(health));
    let page = run(&["inspect", path.to_str().unwrap()]).expect(2).stdout;
    assert!(page.contains("contains health_check log lines"), "{page}");
    let args = ["inspect", path.to_str().unwrap(), "--log-type", "health_check"];
    let page = run(&args).expect(0).stdout;
    assert!(page.contains("specified by --log-type") && page.contains("192.0.2.1:80"), "{page}");
    // If the name does not identify the log type, it is detected from the lines.
    let page = inspect(gzip(health), &[]).expect(0).stdout;
    assert!(page.contains("health_check log, according to its first lines"), "{page}");
}

#[test]
fn json_contains_everything() {
    let world = World::new();
    let mut text = text_of([Line::of(30).with(5, "-").text(), Line::of(38).text()]);
    text.extend(b"a\xffb\n");
    let path = world.put(&key(1), gzip(&text));
    let columns = "time,target_ip,elb_status_code,target_processing_time,extra_fields";
    let args = ["inspect", path.to_str().unwrap(), "--json", "--columns", columns];
    let json = run(&args).expect(1).json();
    let row = |target_ip: Value, extra_fields: Value| {
        json!({
            "time": "2025-07-19T14:03:21.123456Z",
            "target_ip": target_ip,
            "elb_status_code": 200,
            "target_processing_time": 0.086,
            "extra_fields": extra_fields,
        })
    };
    assert_eq!(
        json,
        json!({
            "object": path.to_str().unwrap(),
            "key": {
                "log_type": "access",
                "account": "012345678901",
                "region": "eu-west-1",
                "day": "2025-07-19",
                "load_balancer": "app/my-lb/50dc6c495c0c9188",
                "end_time": "2025-07-19T14:05Z",
                "node": "192.0.2.1",
            },
            "key_problem": null,
            "log_type": "access",
            "determined_by": "name",
            "format": "gzip",
            "detected_content": null,
            "notes": [],
            "gzip_members": 1,
            "bytes_in": gzip(&text).len(),
            "bytes_decompressed": text.len(),
            "lines": 3,
            "joined_lines": 0,
            "rows": 2,
            "rejects": { "invalid_utf8": 1 },
            "fields": [
                { "count": 1, "lines": 1, "since": null, "until": null },
                { "count": 30, "lines": 1, "since": "2024-05", "until": "2025-08" },
                { "count": 37, "lines": 1, "since": null, "until": null },
            ],
            "first_rows": [
                row(Value::Null, Value::Null),
                row("198.51.100.9".into(), "extra37 extra38".into()),
            ],
            "first_rejects": [{
                "line_number": 3,
                "byte_offset": text.len() - 4,
                "reason": "invalid_utf8",
                "column_name": null,
                "raw_length": 3,
                "raw_line": "a\\xffb",
                "fault_range": [1, 2],
            }],
        })
    );
    // Without --columns, a row has all columns.
    let args = ["inspect", path.to_str().unwrap(), "--json", "--limit", "1", "--rejects", "0"];
    let json = run(&args).expect(1).json();
    assert_eq!(json["first_rows"][0].as_object().unwrap().len(), 42);
    assert_eq!(
        (json["first_rows"].as_array().unwrap().len(), &json["first_rejects"]),
        (1, &json!([]))
    );
}

#[test]
#[cfg(unix)]
fn an_object_that_is_not_a_regular_file_is_refused_without_blocking() {
    let world = World::new();
    let fifo = world.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let refused = run(&["inspect", fifo.to_str().unwrap()]).expect(3);
    refused.says(&["fifo cannot be opened", "not a regular file but a FIFO"]);
    run(&["inspect", "/dev/zero"]).expect(3).says(&["not a regular file but a device"]);
}

#[test]
fn invalid_arguments_are_named() {
    let text = gzip(good_lines(1));
    inspect(&text, &["--columns", "clientip"])
        .expect(3)
        .says(&["clientip", "did you mean client_ip?"]);
    inspect(&text, &["--columns", "time,status_code", "--log-type", "connection"])
        .expect(3)
        .says(&["status_code", "connection log"]);
    inspect(&text, &["--limit", "many"]).expect(3).says(&["--limit"]);
    inspect(&text, &["--colums", "time"]).expect(3).says(&["--columns"]);
    run(&["inspect", "not/there.gz"]).expect(3).says(&["not/there.gz", "No such file"]);
    run(&["inspect", "src"]).expect(3).says(&["src", "directory"]);
    run(&["inspect", "ftp://host/object"]).expect(3).says(&["ftp://host/object"]);
    run(&["inspect"]).expect(3).says(&["OBJECT"]);
    let help = run(&["inspect", "--help"]).expect(0).stdout;
    for word in ["--columns", "--limit", "--rejects", "--json", "Exit codes:", "Examples:"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
}

#[test]
fn a_bucket_is_not_an_object() {
    for bucket in ["s3://bucket", "s3://bucket/", "gs://bucket", "az://bucket//"] {
        let run = run(&["inspect", bucket]).expect(3);
        run.says(&[&format!(
            "error: OBJECT {bucket} is a bucket, not an object: specify a key, as in"
        )]);
    }
}
