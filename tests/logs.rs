//! Connection logs and health check logs: golden lines, trees with all log types, and objects whose content does not
//! match their name.

use alb2parquet::internals::logs::schema::LogType;
use serde_json::json;

use crate::support::{
    Line, OBJECT, PARTITION, ROWS, Row, World, decode_as, files, get, good_lines, gzip, key, read,
    run, text_of, tree,
};

const CONNECTIONS: &str = "alb_connection_logs";
const CHECKS: &str = "alb_health_check_logs";
const VALIDITY: &str = "NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z";

/// The fields of a connection log line, each with its columns.
const CONNECTION: [(&str, &[(&str, &str)]); 15] = [
    ("2025-07-19T14:03:21.123456Z", &[("time", "2025-07-19T14:03:21.123456Z")]),
    ("2001:db8::17", &[("client_ip", "2001:db8::17")]),
    ("50718", &[("client_port", "50718")]),
    ("443", &[("listener_port", "443")]),
    ("TLSv1.2", &[("tls_protocol", "TLSv1.2")]),
    ("ECDHE-RSA-AES128-GCM-SHA256", &[("tls_cipher", "ECDHE-RSA-AES128-GCM-SHA256")]),
    ("4.036", &[("tls_handshake_latency", "4.036")]),
    (
        "\"C=NO,O=Example AS,CN=till 7\"",
        &[("leaf_client_cert_subject", "C=NO,O=Example AS,CN=till 7")],
    ),
    (
        VALIDITY,
        &[
            ("leaf_client_cert_validity", VALIDITY),
            ("leaf_client_cert_not_before", "2023-09-21T22:43:21.000000Z"),
            ("leaf_client_cert_not_after", "2026-06-17T22:43:21.000000Z"),
        ],
    ),
    ("0D9F3A", &[("leaf_client_cert_serial_number", "0D9F3A")]),
    ("Failed:ClientCertUntrusted", &[("tls_verify_status", "Failed:ClientCertUntrusted")]),
    (
        "TID_0123456789abcdef0123456789abcdef",
        &[("conn_trace_id", "TID_0123456789abcdef0123456789abcdef")],
    ),
    ("X25519MLKEM768", &[("tls_keyexchange", "X25519MLKEM768")]),
    ("app/my-lb/50dc6c495c0c9188", &[("elb", "app/my-lb/50dc6c495c0c9188")]),
    ("203.0.113.5", &[("ip_address", "203.0.113.5")]),
];

/// The fields of a health check log line, each with its columns.
const HEALTH_CHECK: [(&str, &[(&str, &str)]); 10] = [
    ("http", &[("type", "http")]),
    ("2025-12-01T14:03:21.123456Z", &[("time", "2025-12-01T14:03:21.123456Z")]),
    ("0.002087301", &[("latency", "0.002087301")]),
    ("198.51.100.9:8443", &[("target_addr", "198.51.100.9:8443")]),
    ("web", &[("target_group_id", "web")]),
    ("FAIL", &[("status", "FAIL")]),
    ("503", &[("status_code", "503")]),
    ("ResponseCodeMismatch", &[("reason_code", "ResponseCodeMismatch")]),
    ("app/my-lb/50dc6c495c0c9188", &[("elb", "app/my-lb/50dc6c495c0c9188")]),
    ("203.0.113.5", &[("ip_address", "203.0.113.5")]),
];

/// A log type with its golden fields and the field counts of its eras.
type Golden =
    (LogType, &'static [(&'static str, &'static [(&'static str, &'static str)])], &'static [usize]);

const GOLDEN: [Golden; 2] = [
    (LogType::Connection, &CONNECTION, &[11, 12, 13, 14, 15]),
    (LogType::HealthCheck, &HEALTH_CHECK, &[8, 9, 10]),
];

fn line((_, fields, _): Golden, count: usize) -> Line {
    Line(fields[..count].iter().map(|(field, _)| (*field).to_owned()).collect())
}

/// Returns a line of the given log type with all fields.
pub(crate) fn full_line(log_type: LogType) -> Line {
    match GOLDEN.into_iter().find(|(golden, ..)| *golden == log_type) {
        Some(log) => line(log, log.1.len()),
        None => Line::of(36),
    }
}

/// Returns the expected row for a line with the first `count` fields.
fn golden((_, fields, _): Golden, count: usize, extra: Option<&str>) -> Row {
    let mut row = Row::new();
    for (index, (_, columns)) in fields.iter().enumerate() {
        for (name, value) in *columns {
            row.insert((*name).to_owned(), (index < count).then(|| (*value).to_owned()));
        }
    }
    row.insert("extra_fields".to_owned(), extra.map(str::to_owned));
    row.insert("source_key".to_owned(), Some(OBJECT.to_owned()));
    row
}

fn connections(count: usize) -> Vec<u8> {
    let line = line(GOLDEN[0], 15);
    text_of((0..count).map(|number| line.clone().with(3, &format!("{}", 1024 + number)).text()))
}

fn checks(count: usize) -> Vec<u8> {
    let line = line(GOLDEN[1], 8);
    text_of((0..count).map(|number| line.clone().with(3, &format!("0.00{number:07}")).text()))
}

/// Returns the key of an object whose name begins with `prefix`, which identifies the log type.
fn key_as(prefix: &str, number: usize) -> String {
    let key = key(number);
    let (folder, name) = key.rsplit_once('/').unwrap();
    format!("{folder}/{prefix}{name}")
}

// ---- lines

#[test]
fn lines_of_every_era_have_null_in_later_columns() {
    for log in GOLDEN {
        let (log_type, fields, eras) = log;
        let decode = |text: String| decode_as(log_type.table(), text_of([text]));
        for &count in eras {
            let outcome = decode(line(log, count).text());
            assert_eq!(*outcome.row(), golden(log, count, None), "{log_type}, {count} fields");
        }
        let grown = format!("{} \"a b\" -", line(log, fields.len()).text());
        assert_eq!(*decode(grown).row(), golden(log, fields.len(), Some("\"a b\" -")));
        let short = decode(line(log, eras[0] - 1).text());
        assert_eq!(short.reject().reason, "too_few_fields", "{log_type}");
    }
}

#[test]
fn every_field_can_be_quoted_or_null() {
    for log in GOLDEN {
        let (log_type, fields, _) = log;
        let quoted = fields.iter().map(|(field, _)| format!("\"{}\"", field.trim_matches('"')));
        let quoted = text_of([quoted.collect::<Vec<_>>().join(" ")]);
        let outcome = decode_as(log_type.table(), quoted);
        assert_eq!(*outcome.row(), golden(log, fields.len(), None), "{log_type}");
        for dash in ["-", "\"-\""] {
            let outcome =
                decode_as(log_type.table(), text_of([vec![dash; fields.len()].join(" ")]));
            assert_eq!(*outcome.row(), golden(log, 0, None), "{log_type}, {dash}");
        }
    }
}

#[test]
fn a_connection_without_tls_has_null_in_tls_columns() {
    let text = "2025-07-19T14:03:21.123456Z 192.0.2.1 50718 80 - - - \"-\" - - - TID_1 - - -\n";
    let outcome = decode_as(LogType::Connection.table(), text);
    let set: Vec<&str> =
        outcome.row().iter().filter(|(_, v)| v.is_some()).map(|(c, _)| &c[..]).collect();
    let expected =
        ["client_ip", "client_port", "conn_trace_id", "listener_port", "source_key", "time"];
    assert_eq!(set, expected);
}

#[test]
fn an_invalid_validity_is_kept_as_text() {
    let cases = [
        (
            "NotBefore=soon;NotAfter=2026-06-17T22:43:21Z",
            [None, Some("2026-06-17T22:43:21.000000Z")],
        ),
        ("NotBefore=2023-09-21T22:43:21Z", [Some("2023-09-21T22:43:21.000000Z"), None]),
        (
            "\"NotBefore=2023-09-21T22:43:21Z; NotAfter=x\"",
            [Some("2023-09-21T22:43:21.000000Z"), None],
        ),
        ("NotBefore=never;NotAfter=", [None, None]),
        ("\"\"", [None, None]),
    ];
    for (validity, bounds) in cases {
        let text = text_of([line(GOLDEN[0], 15).with(9, validity).text()]);
        let outcome = decode_as(LogType::Connection.table(), text);
        let row = outcome.row();
        assert_eq!(get(row, "leaf_client_cert_validity"), Some(validity.trim_matches('"')));
        let names = ["leaf_client_cert_not_before", "leaf_client_cert_not_after"];
        assert_eq!(names.map(|name| get(row, name)), bounds, "{validity}");
    }
}

#[test]
fn nanoseconds_are_read_exactly() {
    let texts =
        ["0.000000001", "0.002087301", "0.1", "9.999999999", "120.123456789", "1", "0.000000000"];
    for text in texts {
        let line = text_of([line(GOLDEN[1], 8).with(3, text).text()]);
        let outcome = decode_as(LogType::HealthCheck.table(), line);
        let read: f64 = get(outcome.row(), "latency").unwrap().parse().unwrap();
        assert_eq!(read.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
    }
}

#[test]
fn a_value_that_does_not_fit_its_column_is_a_reject_that_names_it() {
    let cases = [
        (GOLDEN[0], 1, "yesterday", "time"),
        (GOLDEN[0], 3, "50718x", "client_port"),
        (GOLDEN[0], 4, "https", "listener_port"),
        (GOLDEN[0], 7, "fast", "tls_handshake_latency"),
        (GOLDEN[0], 2, "50718", "client_ip"),
        (GOLDEN[0], 5, "x25519", "tls_protocol"),
        (GOLDEN[0], 6, "4.036", "tls_cipher"),
        (GOLDEN[0], 7, "443", "tls_handshake_latency"),
        (GOLDEN[0], 9, "0D9F3A", "leaf_client_cert_validity"),
        (GOLDEN[0], 10, "Success", "leaf_client_cert_serial_number"),
        (GOLDEN[0], 11, "TID_0123456789abcdef0123456789abcdef", "tls_verify_status"),
        (GOLDEN[1], 1, "2025-12-01T14:03:21.123456Z", "type"),
        (GOLDEN[1], 4, "web", "target_addr"),
        (GOLDEN[1], 6, "web", "status"),
        (GOLDEN[1], 8, "app/my-lb/50dc6c495c0c9188", "reason_code"),
        (GOLDEN[1], 2, "1764597801", "time"),
        (GOLDEN[1], 3, "2ms", "latency"),
        (GOLDEN[1], 7, "OK", "status_code"),
    ];
    for (log, number, value, column) in cases {
        let text = text_of([line(log, log.2[0]).with(number, value).text()]);
        let outcome = decode_as(log.0.table(), text);
        let reject = outcome.reject();
        assert_eq!((&reject.reason[..], reject.column.as_deref()), ("invalid_value", Some(column)));
    }
    let lambda = "arn:aws:lambda:eu-west-1:012345678901:function:shop:1";
    let text = text_of([line(GOLDEN[1], 8).with(4, lambda).with(7, "-").text()]);
    let outcome = decode_as(LogType::HealthCheck.table(), text);
    assert_eq!(get(outcome.row(), "target_addr"), Some(lambda));
}

// ---- trees

/// Returns a world with objects of all log types from one day, including rejects of each type.
pub(crate) fn mixed() -> World {
    let world = World::new();
    world.put(&key(1), gzip([good_lines(7), b"bad\n".to_vec()].concat()));
    world.put(&key_as("conn_log_", 2), gzip([connections(5), b"bad bad\n".to_vec()].concat()));
    world.put(&key_as("conn_log.", 3), gzip(connections(4)));
    world.put(&key_as("health_check_log_", 4), gzip([checks(3), b"bad\nbad\n".to_vec()].concat()));
    world
}

#[test]
fn one_run_converts_all_log_types() {
    let world = mixed();
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!((run.count("/lines"), run.count("/rows")), (23, 19));
    assert_eq!(
        (run.count("/partitions"), run.count("/files"), run.count("/reject_files")),
        (3, 3, 3)
    );
    assert_eq!(
        run.json()["log_types"],
        json!({
            "access": { "objects": 1, "files": 1, "lines": 8, "rows": 7, "rejects": 1 },
            "connection": { "objects": 2, "files": 1, "lines": 10, "rows": 9, "rejects": 1 },
            "health_check": { "objects": 1, "files": 1, "lines": 5, "rows": 3, "rejects": 2 },
        })
    );
    run.says(&[
        "access: 8 = 7 rows + 1 rejects of 1 objects",
        "connection: 10 = 9 rows + 1 rejects of 2 objects",
        "health_check: 5 = 3 rows + 2 rejects of 1 objects",
    ]);
    for (table, rows, columns) in [(ROWS, 7, 42), (CONNECTIONS, 9, 19), (CHECKS, 3, 12)] {
        let found = read(&world.out(), table);
        assert_eq!((found.len(), found[0].len()), (rows, columns), "{table}");
        assert!(files(&world.out(), table)[0].to_str().unwrap().contains(PARTITION));
    }
    let rejects = world.rejects();
    let mut of_type: Vec<_> = rejects
        .iter()
        .map(|reject| (get(reject, "log_type").unwrap(), get(reject, "reason").unwrap()))
        .collect();
    of_type.sort_unstable();
    let short = |log_type| (log_type, "too_few_fields");
    let expected = ["access", "connection", "health_check", "health_check"].map(short);
    assert_eq!(of_type, expected);
    world.convert().expect(0).says(&["4 converted_before"]);
}

#[test]
fn log_types_can_be_selected() {
    let world = mixed();
    let both = ["--log-type", "connection", "--log-type", "health_check"];
    let all = ["--json", "--max-rejects", "1"];
    let run = world.convert_with(&[&both[..], &all].concat()).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/not_selected"), 1);
    assert_eq!(run.count("/rows"), 12);
    assert_eq!(files(&world.out(), ROWS).len(), 0);
    let run = world.convert_with(&all).expect(0);
    assert_eq!(
        (run.count("/rows"), run.count("/objects/skipped_by_kind/converted_before")),
        (7, 3)
    );
    world.convert_with(&["--log-type", "network"]).expect(3).says(&["--log-type", "health_check"]);
}

#[test]
fn all_logs_are_verified_removed_and_cleaned() {
    let world = mixed();
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let (source, out) = (world.source(), world.out());
    let [source, out] = [&source, &out].map(|path| path.to_str().unwrap());
    let verify = |args: &[&str]| {
        run(&[&["verify", source, "--out", out, "--read-data", "--json"], args].concat())
    };
    let whole = verify(&[]).expect(0);
    assert_eq!((whole.count("/compared"), whole.count("/rows"), whole.count("/files")), (4, 19, 6));
    assert_eq!(verify(&["--log-type", "health_check"]).expect(0).count("/rows"), 3);
    // In every table's directory, only claimed files are allowed.
    let orphan = world.out().join(CHECKS).join("orphan.parquet");
    std::fs::write(&orphan, "").unwrap();
    assert_eq!(verify(&[]).expect(1).json()["findings"][0]["kind"], "orphan");
    std::fs::remove_file(&orphan).unwrap();

    let connection = ["remove", "--out", out, "--log-type", "connection", "--yes", "--json"];
    let removed = run(&connection).expect(0);
    assert_eq!(removed.json()["partitions"][0]["log_type"], "connection");
    assert_eq!(
        (removed.count("/partitions/0/rows"), files(&world.out(), CONNECTIONS).len()),
        (9, 0)
    );
    assert_eq!((files(&world.out(), ROWS).len(), world.rejects().len()), (1, 3));
    let found = verify(&[]).expect(1);
    assert_eq!(found.json()["findings"].as_array().unwrap().len(), 2, "{found:#?}");
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    verify(&[]).expect(0);
    run(&["clean", "--out", out, "--older-than", "0s"]).expect(0).says(&["0 staged files"]);
    let removed = run(&["remove", "--out", out, "--yes", "--json"]).expect(0);
    assert_eq!(removed.json()["partitions"].as_array().unwrap().len(), 3);
    assert!(tree(&world.out()).keys().all(|name| name.starts_with("_alb2parquet/")));
}

// ---- objects with other content

const NETWORK: &str = "tls 2.0 2018-12-20T02:59:40 net/my-lb/c6e77e28c25b2234 g3d4b5e8bb8464cd 192.0.2.2:51341 \
    198.51.100.3:443 5 2 98 246 - arn:aws:acm:eu-west-1:012345678901:certificate/0 - \
    ECDHE-RSA-AES128-SHA tlsv12 - my-lb.example.com - - - 2018-12-20T02:59:30";
const CLASSIC: &str = "2015-05-13T23:39:43.945958Z my-lb 192.0.2.1:2817 198.51.100.3:80 0.000073 0.001048 \
    0.000057 200 200 0 29 \"GET http://www.example.com:80/ HTTP/1.1\" \"curl/7.38.0\" - -";

#[test]
fn an_object_of_another_kind_is_refused() {
    let json = text_of(["{\"type\":\"https\",\"time\":\"2025-07-19T14:03:21Z\"}"; 3]);
    let header =
        "#Version: 1.0\n#Fields: type time elb\nhttps 2025-07-19T14:03:21.123456Z app/a/b\n";
    let page = text_of(["<?xml version=\"1.0\"?>", "<Error><Code>AccessDenied</Code></Error>"]);
    let cases: [(&str, Vec<u8>, &str); 12] = [
        ("", page, "HTML or XML"),
        ("", connections(3), "connection log lines"),
        ("", checks(1), "health_check log lines"),
        ("conn_log_", good_lines(20), "access log lines"),
        ("conn_log_", checks(2), "health_check log lines"),
        ("health_check_log_", good_lines(2), "access log lines"),
        ("health_check_log_", connections(2), "connection log lines"),
        ("", text_of([NETWORK; 2]), "a Network Load Balancer's log lines"),
        ("conn_log_", text_of([CLASSIC; 2]), "a Classic Load Balancer's log lines"),
        ("", json, "JSON"),
        ("health_check_log_", header.into(), "W3C extended log lines"),
        ("conn_log_", b"PAR1\x15\x04\n\x00\xff\x00\nPAR1".to_vec(), "Parquet"),
    ];
    for (prefix, text, holds) in cases {
        // Compressed as delivered, and uncompressed.
        for object in [gzip(&text), text.clone()] {
            let world = World::with(gzip(good_lines(4)));
            let foreign = key_as(prefix, 2);
            world.put(&foreign, object);
            let run = world.convert_with(&["--json"]).expect(2);
            run.says(&[&foreign, holds]);
            let counts = ["/objects/converted", "/objects/failed", "/lines", "/rows"];
            assert_eq!(counts.map(|count| run.count(count)), [1, 1, 4, 4], "{holds}");
            assert_eq!(run.json()["failures"][0]["object"], foreign);
            assert_eq!(world.rejects(), [], "{holds}");
            let staged = tree(&world.out()).into_keys().find(|name| name.contains("/staging/"));
            assert_eq!(staged, None, "{holds}");
            // The object is not claimed, so it is converted once it has the correct name.
            world.convert().expect(2).says(&[&foreign, "1 converted_before"]);
        }
    }
}

/// CloudWatch can deliver log lines to the same keys with other separators, selected fields or a header.
#[test]
fn an_object_with_chosen_fields_is_refused_by_name() {
    let quoted = |by: &str| text_of(vec![Line::of(36).0.join(by); 3]);
    let bare = |by: &str| String::from_utf8(quoted(by)).unwrap().replace('"', "");
    let without = |leave_out: &[usize]| {
        let fields = Line::of(36).0.into_iter().zip(1..);
        let left: Vec<String> =
            fields.filter(|(_, n)| !leave_out.contains(n)).map(|(field, _)| field).collect();
        text_of(vec![left.join(" "); 3])
    };
    let mut moved = Line::of(36).0;
    moved.swap(17, 29);
    let few = text_of(vec![Line::of(36).0[..10].join(" "); 2]);
    let one = text_of([
        "2025-07-19T14:03:21.123456Z 192.0.2.17:50718 200 \"GET https://h:443/ HTTP/1.1\"",
    ]);
    let header =
        [&b"type time elb client:port elb_status_code\n"[..], &without(&[5, 6, 7, 8])].concat();
    let names: Vec<&str> =
        LogType::Access.table().fields.iter().map(|field| field.name.as_str()).collect();
    let names = [names.join(",").into_bytes(), b"\n".to_vec(), quoted(",")].concat();
    let connection = |by: &str| text_of([line(GOLDEN[0], 15).0.join(by)]);
    let check = line(GOLDEN[1], 10).0;
    let chosen = "log lines with omitted or reordered fields";
    let separated = |by| format!("log lines with fields separated by {by}");
    let cases = [
        ("", quoted("\t"), separated("tabs")),
        ("", bare("\t").into(), separated("tabs")),
        ("", quoted(","), separated("commas")),
        ("", quoted(";"), separated("semicolons")),
        ("", bare("|").into(), separated("vertical bars")),
        ("", quoted("~"), separated("\"~\"")),
        ("", bare("::").into(), separated("\"::\"")),
        ("", quoted("\x01"), separated("\"\\x01\"")),
        ("", quoted(" | "), separated("vertical bars")),
        ("", quoted("#@#@#"), separated("\"#@#@#\"")),
        ("conn_log_", connection("^"), separated("\"^\"")),
        ("health_check_log_", text_of([check.join("||")]), separated("\"||\"")),
        ("conn_log_", connection("\t"), separated("tabs")),
        ("conn_log_", connection("; "), separated("semicolons")),
        ("health_check_log_", text_of([check.join(",")]), separated("commas")),
        ("", without(&[18]), chosen.to_owned()),
        ("", without(&[1, 3, 25, 26, 27]), chosen.to_owned()),
        ("", without(&[28, 29]), chosen.to_owned()),
        ("", text_of(vec![moved.join(" "); 9]), chosen.to_owned()),
        ("", few, chosen.to_owned()),
        ("", one, chosen.to_owned()),
        ("conn_log_", text_of([line(GOLDEN[0], 15).0[1..].join(" ")]), chosen.to_owned()),
        ("health_check_log_", text_of([check[1..].join(" ")]), chosen.to_owned()),
        ("", header, "a header line with field names".to_owned()),
        ("", names, "a header line with field names".to_owned()),
    ];
    let world = World::with(gzip(good_lines(4)));
    let mut objects: Vec<String> = Vec::new();
    for (number, (prefix, text, _)) in (2..).zip(&cases) {
        let object = key_as(prefix, number);
        world.put(&object, gzip(text));
        objects.push(object);
    }
    let run = world.convert_with(&["--json"]).expect(2);
    let counts = ["/objects/converted", "/objects/failed", "/lines", "/rows"];
    assert_eq!(counts.map(|count| run.count(count)), [1, cases.len() as u64, 4, 4]);
    let failures = run.json()["failures"].as_array().unwrap().clone();
    for (object, (_, _, holds)) in objects.iter().zip(&cases) {
        let failure = failures.iter().find(|failure| failure["object"] == object[..]).unwrap();
        let error = failure["error"].as_str().unwrap();
        assert!(
            error.contains(&format!("but contains {holds}; none of it is converted. Configure")),
            "{error}"
        );
        // `inspect` reports the same.
        let path = world.source().join(object);
        let inspected =
            crate::support::run(&["inspect", path.to_str().unwrap(), "--json"]).expect(2);
        assert_eq!(inspected.json()["detected_content"], holds[..], "{object}");
    }
    assert_eq!(world.rejects(), []);
    world.convert().expect(2).says(&["1 converted_before"]);
}

#[test]
fn a_split_line_is_counted_as_one_line_everywhere() {
    let split = Line::of(36).with(14, "\"a\nb\r\nc\"").text();
    let world = World::with(gzip(text_of([&split, "bad", &split])));
    let converted = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!(["/lines", "/rows", "/joined_lines"].map(|count| converted.count(count)), [3, 2, 4]);
    converted
        .says(&["joined      4 lines to the previous line: a quoted field contains a line feed"]);
    assert_eq!(get(&world.rejects()[0], "line_number"), Some("4"));
    let claims = tree(&world.out());
    let claim = claims.iter().find(|(name, _)| name.ends_with(".claim.json")).unwrap().1;
    let claim: serde_json::Value = serde_json::from_slice(claim).unwrap();
    assert_eq!((&claim["lines"], &claim["joined_lines"]), (&json!(3), &json!(4)));
    let (source, out) = (world.source(), world.out());
    let [source, out] = [&source, &out].map(|path| path.to_str().unwrap());
    run_verify(source, out).expect(0);
    let object = world.source().join(key(1));
    let inspected = run(&["inspect", object.to_str().unwrap(), "--json"]).expect(1);
    assert_eq!(["/lines", "/joined_lines"].map(|count| inspected.count(count)), [3, 4]);
}

#[test]
fn an_object_of_the_expected_kind_is_never_refused() {
    let one_good = [text_of([NETWORK; 20]), good_lines(1)].concat();
    let broken = text_of([line(GOLDEN[0], 15).with(3, "x").text()]);
    let unlike = text_of(["{\"type\":\"https\"}", "what is this"]);
    let cases: [(&str, Vec<u8>, u64, &str); 5] = [
        ("", gzip(one_good), 1, "invalid_value=20"),
        ("conn_log_", gzip(broken), 0, "invalid_value=1"),
        ("", gzip(unlike), 0, "misplaced_quote=1 too_few_fields=1"),
        // Uncompressed, but its log type matches its name.
        ("", good_lines(2), 2, ""),
        ("health_check_log_", checks(2), 2, ""),
    ];
    for (prefix, object, rows, rejects) in cases {
        let world = World::new();
        world.put(&key_as(prefix, 1), object);
        let run = world.convert_with(&["--json", "--max-rejects", "1"]);
        assert_eq!((run.count("/rows"), &run.rejects()[..]), (rows, rejects), "{run:#?}");
        assert_eq!(run.count("/lines"), rows + world.rejects().len() as u64);
    }
}

#[test]
fn a_large_object_of_another_kind_is_refused_as_a_whole() {
    let world = World::with(gzip(good_lines(4)));
    // This object is streamed in segments. The lines in the last segment are valid access log lines.
    let text = [text_of(std::iter::repeat_n(NETWORK, 80_000)), good_lines(2000)].concat();
    assert!(text.len() > 16 << 20);
    world.put(&key(2), gzip(text));
    world.put(&key(3), gzip(good_lines(5)));
    let run = world.convert_with(&["--json"]).expect(2);
    let counts = ["/objects/converted", "/objects/failed", "/lines", "/rows"];
    assert_eq!(counts.map(|count| run.count(count)), [2, 1, 9, 9]);
    let (source, out) = (world.source(), world.out());
    let [source, out] = [&source, &out].map(|path| path.to_str().unwrap());
    let verify = run_verify(source, out);
    assert_eq!(verify.json()["findings"].as_array().unwrap().len(), 1, "{verify:#?}");
    assert_eq!(verify.json()["findings"][0]["kind"], "not_converted");
}

fn run_verify(source: &str, out: &str) -> crate::support::Run {
    run(&["verify", source, "--out", out, "--read-data", "--json"])
}
