//! All logs except Application Load Balancer access logs: golden lines, and trees with all log types.

use alb2parquet::Quotes;
use alb2parquet::internals::logs::schema::LogType;
use serde_json::json;

use crate::support::{
    Line, OBJECT, PARTITION, ROWS, Row, World, decode_as, files, get, good_lines, gzip, key,
    key_of_log, read, run, text_of, tree,
};

const CONNECTIONS: &str = "alb_connection_logs";
const CHECKS: &str = "alb_health_check_logs";
const NETWORK: &str = "nlb_tls_logs";
const CLASSICS: &str = "clb_access_logs";
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

/// The fields of a Network Load Balancer's log line, each with its columns.
const NLB_TLS: [(&str, &[(&str, &str)]); 22] = [
    ("tls", &[("type", "tls")]),
    ("2.0", &[("version", "2.0")]),
    ("2025-07-19T14:03:21", &[("time", "2025-07-19T14:03:21.000000Z")]),
    ("net/my-lb/50dc6c495c0c9188", &[("elb", "net/my-lb/50dc6c495c0c9188")]),
    ("4a5b6c7d8e9f0a1b", &[("listener_id", "4a5b6c7d8e9f0a1b")]),
    ("2001:db8::17:50718", &[("client_ip", "2001:db8::17"), ("client_port", "50718")]),
    ("198.51.100.9:8443", &[("target_ip", "198.51.100.9"), ("target_port", "8443")]),
    ("35122", &[("tcp_connection_time_ms", "35122")]),
    ("48", &[("tls_handshake_time_ms", "48")]),
    ("2150", &[("received_bytes", "2150")]),
    ("4294967296", &[("sent_bytes", "4294967296")]),
    ("112", &[("incoming_tls_alert", "112")]),
    (
        "arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000001",
        &[(
            "cert_arn",
            "arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000001",
        )],
    ),
    ("0D9F3A", &[("certificate_serial", "0D9F3A")]),
    ("TLS_AES_128_GCM_SHA256", &[("tls_cipher_suite", "TLS_AES_128_GCM_SHA256")]),
    ("tlsv13", &[("tls_protocol_version", "tlsv13")]),
    ("x25519", &[("tls_named_group", "x25519")]),
    ("www.example.com", &[("domain_name", "www.example.com")]),
    ("h2", &[("alpn_fe_protocol", "h2")]),
    ("http/1.1", &[("alpn_be_protocol", "http/1.1")]),
    (r#""h2","http/1.1""#, &[("alpn_client_preference_list", r#""h2","http/1.1""#)]),
    ("2025-07-19T14:02:46", &[("tls_connection_creation_time", "2025-07-19T14:02:46.000000Z")]),
];

/// The fields of a Classic Load Balancer's log line, each with its columns.
const CLASSIC: [(&str, &[(&str, &str)]); 15] = [
    ("2025-07-19T14:03:21.123456Z", &[("timestamp", "2025-07-19T14:03:21.123456Z")]),
    ("my-lb", &[("elb_name", "my-lb")]),
    ("192.0.2.17:50718", &[("request_ip", "192.0.2.17"), ("request_port", "50718")]),
    ("198.51.100.9:8443", &[("backend_ip", "198.51.100.9"), ("backend_port", "8443")]),
    ("0.001", &[("request_processing_time", "0.001")]),
    ("0.086", &[("backend_processing_time", "0.086")]),
    ("-1", &[("client_response_time", "-1.0")]),
    ("504", &[("elb_response_code", "504")]),
    ("0", &[("backend_response_code", "0")]),
    ("588", &[("received_bytes", "588")]),
    ("10429", &[("sent_bytes", "10429")]),
    (
        "\"GET https://www.example.com:443/a?b=c HTTP/1.1\"",
        &[
            ("request_verb", "GET"),
            ("url", "https://www.example.com:443/a?b=c"),
            ("protocol", "HTTP/1.1"),
        ],
    ),
    ("\"curl/8.5.0 (x86_64)\"", &[("user_agent", "curl/8.5.0 (x86_64)")]),
    ("DHE-RSA-AES128-SHA", &[("ssl_cipher", "DHE-RSA-AES128-SHA")]),
    ("TLSv1.2", &[("ssl_protocol", "TLSv1.2")]),
];

/// A log type with its golden fields and the field counts of its eras.
type Golden =
    (LogType, &'static [(&'static str, &'static [(&'static str, &'static str)])], &'static [usize]);

const GOLDEN: [Golden; 4] = [
    (LogType::Connection, &CONNECTION, &[11, 12, 13, 14, 15]),
    (LogType::HealthCheck, &HEALTH_CHECK, &[8, 9, 10]),
    (LogType::NlbTls, &NLB_TLS, &[18, 19, 20, 21, 22]),
    (LogType::Classic, &CLASSIC, &[12, 13, 14, 15]),
];

fn line((_, fields, _): Golden, count: usize) -> Line {
    Line(fields[..count].iter().map(|(field, _)| (*field).to_owned()).collect())
}

/// Returns a line of the given log type that has all fields.
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

/// Returns the text of `count` different valid lines of a log type, with all fields.
pub(crate) fn lines_of(log_type: LogType, count: usize) -> Vec<u8> {
    match log_type {
        LogType::Access => good_lines(count),
        LogType::Connection => connections(count),
        LogType::HealthCheck => checks(count),
        // Client and port are one field.
        _ => {
            let number = if log_type == LogType::NlbTls { 6 } else { 3 };
            let port = |port: usize| format!("192.0.2.17:{}", 1024 + port);
            text_of((0..count).map(|at| full_line(log_type).with(number, &port(at)).text()))
        }
    }
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
        if log_type.table().quotes == Quotes::Literal {
            continue;
        }
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

/// Clients must not be able to end the user agent field early and thereby set the values of later fields.
#[test]
fn a_quote_after_a_backslash_belongs_to_the_user_agent_of_a_classic_log() {
    for (agent, value) in [
        (r#""\"some words\"""#, r#"\"some words\""#),
        (r#""x\" AES TLSv1 y""#, r#"x\" AES TLSv1 y"#),
        (r#""x\""#, r"x\"),
        (r#""x\" y" z""#, ""),
    ] {
        let text = full_line(LogType::Classic).with(13, agent).text();
        let outcome = decode_as(LogType::Classic.table(), text_of([text]));
        if value.is_empty() {
            assert_eq!(outcome.reject().reason, "misplaced_quote", "{agent}");
            continue;
        }
        let row = outcome.row();
        assert_eq!(get(row, "user_agent"), Some(value), "{agent}");
        assert_eq!(get(row, "ssl_protocol"), Some("TLSv1.2"), "{agent}");
        assert_eq!(get(row, "extra_fields"), None, "{agent}");
    }
}

/// Classic Load Balancers deliver uncompressed text, and clients control the bytes of some fields.
#[test]
fn a_first_line_with_any_bytes_does_not_affect_the_other_lines_of_a_classic_log() {
    for (agent, rejects) in [(&b"\"\xe9t\xe9\""[..], 1), (b"\"\x1b[2J\"", 0)] {
        let world = World::new();
        let line = full_line(LogType::Classic).with(13, "AGENT").text();
        let at = line.find("AGENT").unwrap();
        let first = [&line.as_bytes()[..at], agent, &line.as_bytes()[at + 5..], b"\n"].concat();
        world
            .put(&key_of_log(LogType::Classic, 1), [first, lines_of(LogType::Classic, 3)].concat());
        let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
        assert_eq!((run.count("/rows"), run.count("/lines")), (4 - rejects, 4));
    }
}

/// In Network Load Balancer logs, quotes are part of the values, so a list of protocols is one value.
#[test]
fn quotes_in_a_network_load_balancers_log_are_part_of_the_value() {
    let lists = [
        r#""h2""#,
        r#""h2","http/1.1","http/1.0""#,
        // AWS encodes unusual characters, and truncates the list at 256 bytes, even within a name.
        r#""%0a%22","h"#,
        r#"""#,
        r#""-""#,
        r#""""#,
    ];
    for list in lists {
        let line = full_line(LogType::NlbTls).with(21, list);
        let outcome = decode_as(LogType::NlbTls.table(), text_of([line.text()]));
        assert_eq!(get(outcome.row(), "alpn_client_preference_list"), Some(list));
        assert_eq!(
            get(outcome.row(), "tls_connection_creation_time"),
            Some("2025-07-19T14:02:46.000000Z")
        );
        // A line that is truncated within the list has an odd number of quotes, but is not joined to the next line.
        let short = line.0[..21].join(" ");
        let outcome = decode_as(LogType::NlbTls.table(), text_of([&short, &short]));
        assert_eq!((outcome.rows.len(), outcome.joined), (2, 0), "{list}");
        assert_eq!(get(&outcome.rows[0], "alpn_client_preference_list"), Some(list));
    }
    let dashes = text_of([vec!["-"; 22].join(" ")]);
    let outcome = decode_as(LogType::NlbTls.table(), dashes);
    assert_eq!(*outcome.row(), golden(GOLDEN[2], 0, None));
}

#[test]
fn a_failed_handshake_has_null_in_tls_columns() {
    let text = "tls 2.0 2025-07-19T14:03:21 net/my-lb/50dc6c495c0c9188 4a5b6c7d8e9f0a1b \
        192.0.2.17:50718 198.51.100.9:443 1 - 0 0 - - - - - - - - - - 2025-07-19T14:03:21\n";
    let outcome = decode_as(LogType::NlbTls.table(), text);
    let set: Vec<&str> =
        outcome.row().iter().filter(|(_, v)| v.is_some()).map(|(c, _)| &c[..]).collect();
    let expected = [
        "client_ip",
        "client_port",
        "elb",
        "listener_id",
        "received_bytes",
        "sent_bytes",
        "source_key",
        "target_ip",
        "target_port",
        "tcp_connection_time_ms",
        "time",
        "tls_connection_creation_time",
        "type",
        "version",
    ];
    assert_eq!(set, expected);
}

/// In July 2015, Classic Load Balancers wrote lines with 12 and with 15 fields to the same objects.
#[test]
fn each_line_of_a_classic_load_balancer_has_its_own_number_of_fields() {
    let counts = [12, 15, 15, 12, 15];
    let line = |count| line(GOLDEN[3], count).text();
    let outcome = decode_as(LogType::Classic.table(), text_of(counts.map(line)));
    let expected = counts.map(|count| golden(GOLDEN[3], count, None));
    assert_eq!(outcome.rows, expected);
}

#[test]
fn a_connection_to_a_classic_load_balancer_without_http_has_no_request() {
    for [cipher, protocol] in [["-", "-"], ["ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2"]] {
        let text = format!(
            "2025-07-19T14:03:21.123456Z my-lb 192.0.2.17:50718 198.51.100.9:80 0.001069 0.000028 \
             0.000041 - - 82 305 \"- - - \" \"-\" {cipher} {protocol}\n"
        );
        let outcome = decode_as(LogType::Classic.table(), &text);
        let row = outcome.row();
        let columns = [
            "request_verb",
            "url",
            "protocol",
            "elb_response_code",
            "backend_response_code",
            "user_agent",
        ];
        assert_eq!(columns.map(|column| get(row, column)), [None; 6]);
        let tls = [cipher, protocol].map(|value| Some(value).filter(|value| *value != "-"));
        assert_eq!([get(row, "ssl_cipher"), get(row, "ssl_protocol")], tls);
    }
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
        (GOLDEN[2], 1, "2025-07-19T14:03:21", "type"),
        (GOLDEN[2], 3, "2.0", "time"),
        (GOLDEN[2], 6, "192.0.2.17", "client_port"),
        (GOLDEN[2], 8, "0.5", "tcp_connection_time_ms"),
        (GOLDEN[2], 12, "x25519", "incoming_tls_alert"),
        (GOLDEN[2], 13, "0D9F3A", "cert_arn"),
        (GOLDEN[2], 15, "\"-\"", "tls_cipher_suite"),
        (GOLDEN[2], 16, "h2", "tls_protocol_version"),
        (GOLDEN[2], 2, "2", "version"),
        (GOLDEN[2], 15, "tlsv13", "tls_cipher_suite"),
        (GOLDEN[2], 17, "TLS_AES_128_GCM_SHA256", "tls_named_group"),
        (GOLDEN[3], 1, "my-lb", "timestamp"),
        (GOLDEN[3], 3, "192.0.2.17:https", "request_port"),
        (GOLDEN[3], 5, "fast", "request_processing_time"),
        (GOLDEN[3], 6, "0x1", "backend_processing_time"),
        (GOLDEN[3], 8, "1000", "elb_response_code"),
        (GOLDEN[3], 9, "1000", "backend_response_code"),
        (GOLDEN[3], 10, "1.5", "received_bytes"),
    ];
    for (log, number, value, column) in cases {
        let text = text_of([line(log, log.2[0]).with(number, value).text()]);
        let outcome = decode_as(log.0.table(), text);
        let reject = outcome.reject();
        assert_eq!((&reject.reason[..], reject.column.as_deref()), ("invalid_value", Some(column)));
    }
    for (number, value, column) in [
        (19, "www.example.com", "alpn_fe_protocol"),
        (20, r#""h2","http/1.1""#, "alpn_be_protocol"),
        (21, "2025-07-19T14:02:46", "alpn_client_preference_list"),
    ] {
        let text = text_of([full_line(LogType::NlbTls).with(number, value).text()]);
        let outcome = decode_as(LogType::NlbTls.table(), text);
        assert_eq!(outcome.reject().column.as_deref(), Some(column));
    }
    let lambda = "arn:aws:lambda:eu-west-1:012345678901:function:shop:1";
    let text = text_of([line(GOLDEN[1], 8).with(4, lambda).with(7, "-").text()]);
    let outcome = decode_as(LogType::HealthCheck.table(), text);
    assert_eq!(get(outcome.row(), "target_addr"), Some(lambda));
}

// ---- trees

/// Returns a world with objects of all log types from one day. Each type has rejects.
pub(crate) fn mixed() -> World {
    let world = World::new();
    world.put(&key(1), gzip([good_lines(7), b"bad\n".to_vec()].concat()));
    let [connection, check] = [LogType::Connection, LogType::HealthCheck];
    world.put(&key_of_log(connection, 2), gzip([connections(5), b"bad bad\n".to_vec()].concat()));
    let dotted = key_of_log(connection, 3).replace("conn_log_", "conn_log.");
    world.put(&dotted, gzip(connections(4)));
    world.put(&key_of_log(check, 4), gzip([checks(3), b"bad\nbad\n".to_vec()].concat()));
    let network = [lines_of(LogType::NlbTls, 6), b"bad\n".to_vec()].concat();
    world.put(&key_of_log(LogType::NlbTls, 5), gzip(network));
    let classic = [lines_of(LogType::Classic, 2), b"bad\n".to_vec()].concat();
    world.put(&key_of_log(LogType::Classic, 6), classic);
    world
}

#[test]
fn one_run_converts_all_log_types() {
    let world = mixed();
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!((run.count("/lines"), run.count("/rows")), (33, 27));
    assert_eq!(
        (run.count("/partitions"), run.count("/files"), run.count("/reject_files")),
        (5, 5, 5)
    );
    assert_eq!(
        run.json()["log_types"],
        json!({
            "access": { "objects": 1, "files": 1, "lines": 8, "rows": 7, "rejects": 1 },
            "connection": { "objects": 2, "files": 1, "lines": 10, "rows": 9, "rejects": 1 },
            "health_check": { "objects": 1, "files": 1, "lines": 5, "rows": 3, "rejects": 2 },
            "nlb_tls": { "objects": 1, "files": 1, "lines": 7, "rows": 6, "rejects": 1 },
            "classic": { "objects": 1, "files": 1, "lines": 3, "rows": 2, "rejects": 1 },
        })
    );
    run.says(&[
        "access: 8 = 7 rows + 1 rejects of 1 objects",
        "connection: 10 = 9 rows + 1 rejects of 2 objects",
        "health_check: 5 = 3 rows + 2 rejects of 1 objects",
        "nlb_tls: 7 = 6 rows + 1 rejects of 1 objects",
        "classic: 3 = 2 rows + 1 rejects of 1 objects",
    ]);
    for (table, rows, columns) in
        [(ROWS, 7, 42), (CONNECTIONS, 9, 19), (CHECKS, 3, 12), (NETWORK, 6, 26), (CLASSICS, 2, 21)]
    {
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
    let expected =
        ["access", "classic", "connection", "health_check", "health_check", "nlb_tls"].map(short);
    assert_eq!(of_type, expected);
    world.convert().expect(0).says(&["6 converted_before"]);
}

#[test]
fn log_types_can_be_selected() {
    let world = mixed();
    let both = ["--log-type", "connection", "--log-type", "health_check"];
    let all = ["--json", "--max-rejects", "1"];
    let run = world.convert_with(&[&both[..], &all].concat()).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/not_selected"), 3);
    assert_eq!(run.count("/rows"), 12);
    assert_eq!(files(&world.out(), ROWS).len(), 0);
    for (log_type, rows) in [("nlb_tls", 6), ("nlb-tls", 0), ("classic", 2)] {
        let run = world.convert_with(&[&["--log-type", log_type][..], &all].concat()).expect(0);
        assert_eq!(run.count("/rows"), rows, "{log_type}");
    }
    let run = world.convert_with(&all).expect(0);
    assert_eq!(
        (run.count("/rows"), run.count("/objects/skipped_by_kind/converted_before")),
        (7, 5)
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
    assert_eq!(
        (whole.count("/compared"), whole.count("/rows"), whole.count("/files")),
        (6, 27, 10)
    );
    assert_eq!(verify(&["--log-type", "health_check"]).expect(0).count("/rows"), 3);
    // In every table's directory, a file that no claim lists is reported.
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
    assert_eq!((files(&world.out(), ROWS).len(), world.rejects().len()), (1, 5));
    let found = verify(&[]).expect(1);
    assert_eq!(found.json()["findings"].as_array().unwrap().len(), 2, "{found:#?}");
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    verify(&[]).expect(0);
    run(&["clean", "--out", out, "--older-than", "0s"]).expect(0).says(&["0 files removed"]);
    let removed = run(&["remove", "--out", out, "--yes", "--json"]).expect(0);
    assert_eq!(removed.json()["partitions"].as_array().unwrap().len(), 5);
    assert!(tree(&world.out()).keys().all(|name| name.starts_with("_alb2parquet/")));
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
    run(&["verify", source, "--out", out, "--read-data", "--json"]).expect(0);
    let object = world.source().join(key(1));
    let inspected = run(&["inspect", object.to_str().unwrap(), "--json"]).expect(1);
    assert_eq!(["/lines", "/joined_lines"].map(|count| inspected.count(count)), [3, 4]);
}
