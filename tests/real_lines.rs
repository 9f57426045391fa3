//! Lines that other projects published. Each line must become a row, except for the rejects that are explained here.
//!
//! The directory with the lines is not in the repository. If it is missing, the tests report that they are skipped.

use std::fs;
use std::path::{Path, PathBuf};

use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::verify::reference::without_blank_end;
use chrono::NaiveDateTime;

use crate::outcome::reference_as;
use crate::support::{Row, World, decode, decode_as, get, gzip, key_of_log, read, report_skipped};

/// Directories with access log lines from Application Load Balancers, each with its line count and its rejects.
const EXPECTED: [(&str, u64, &str); 13] = [
    ("aws-clo-alb", 4, ""),
    ("aws-log-parser-alb", 12, ""),
    ("coralogix-alb-grpcs", 576, ""),
    ("crowdsec-alb", 14, ""),
    ("crowdsec-alb-bad-ua", 4, ""),
    ("data-prepper-alb", 1, ""),
    ("dynatrace-alb", 7, ""),
    // The first line is from a Classic Load Balancer and has only 15 fields.
    ("fluent-elb-log", 4, "too_few_fields=1"),
    ("honeyaws-alb", 2, ""),
    ("lambda-promtail-alb", 2, ""),
    // In the second line, the space after a quoted field is missing.
    ("node-alb-log-parser", 14, "misplaced_quote=1"),
    ("vector-captured-alb", 12, ""),
    ("vector-vrl-alb", 13, ""),
];

/// Directories with lines from Network and Classic Load Balancers, each with its log type, line count and rejects.
const OTHERS: [(&str, LogType, u64, &str); 5] = [
    ("aws-log-parser-clb", LogType::Classic, 1, ""),
    ("dynatrace-clb", LogType::Classic, 1, ""),
    ("dynatrace-nlb", LogType::NlbTls, 1, ""),
    ("honeyaws-clb", LogType::Classic, 2, ""),
    ("lambda-promtail-nlb", LogType::NlbTls, 2, ""),
];

/// The columns in the order in which AWS's statements for Athena list them.
const NLB_COLUMNS: [&str; 24] = [
    "type",
    "version",
    "time",
    "elb",
    "listener_id",
    "client_ip",
    "client_port",
    "target_ip",
    "target_port",
    "tcp_connection_time_ms",
    "tls_handshake_time_ms",
    "received_bytes",
    "sent_bytes",
    "incoming_tls_alert",
    "cert_arn",
    "certificate_serial",
    "tls_cipher_suite",
    "tls_protocol_version",
    "tls_named_group",
    "domain_name",
    "alpn_fe_protocol",
    "alpn_be_protocol",
    "alpn_client_preference_list",
    "tls_connection_creation_time",
];
const CLASSIC_COLUMNS: [&str; 19] = [
    "timestamp",
    "elb_name",
    "request_ip",
    "request_port",
    "backend_ip",
    "backend_port",
    "request_processing_time",
    "backend_processing_time",
    "client_response_time",
    "elb_response_code",
    "backend_response_code",
    "received_bytes",
    "sent_bytes",
    "request_verb",
    "url",
    "protocol",
    "user_agent",
    "ssl_cipher",
    "ssl_protocol",
];

/// Returns the directory of published lines, or prints that the test is skipped and returns `None`.
fn folder(test: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/real-lines");
    if !folder.is_dir() {
        let reason = format!("{} does not exist", folder.display());
        report_skipped(&format!("real_lines::{test}"), &reason);
        return None;
    }
    Some(folder)
}

/// Returns the sorted names of the directories of published lines that `is_wanted` accepts.
fn names_of(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| is_wanted(name)).collect();
    names.sort();
    names
}

/// Parses a line with the `csv` crate, which shares no code with this program, and splits the fields that AWS's
/// statements for Athena split. Returns a string for each column that the line contains.
fn parse_independently(log_type: LogType, line: &str) -> Vec<String> {
    let is_classic = log_type == LogType::Classic;
    let mut reader = csv::ReaderBuilder::new();
    reader.delimiter(b' ').has_headers(false).quoting(is_classic);
    let record = reader.from_reader(line.as_bytes()).records().next().unwrap().unwrap();
    let [endpoints, request] = if is_classic { [2..4, 11..12] } else { [5..7, 99..99] };
    let mut values = Vec::new();
    for (index, field) in record.iter().enumerate() {
        if endpoints.contains(&index) {
            let (address, port) = field.rsplit_once(':').unwrap();
            values.extend([address, port].map(str::to_owned));
        } else if request.contains(&index) {
            values.extend(field.splitn(3, ' ').map(str::to_owned));
        } else {
            values.push(field.to_owned());
        }
    }
    values
}

/// Returns whether a row's value equals the text of its field, compared as text, numbers or times.
fn is_value_of(value: Option<&str>, text: &str) -> bool {
    let Some(value) = value else { return text == "-" };
    let number = |text: &str| text.parse::<f64>().ok();
    let time = |text: &str| {
        let text = text.strip_suffix('Z').unwrap_or(text);
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
    };
    value == text
        || number(value).is_some_and(|value| number(text) == Some(value))
        || time(value).is_some_and(|value| time(text) == Some(value))
}

#[test]
fn published_lines_of_network_and_classic_load_balancers_become_rows_with_every_value() {
    let name = "published_lines_of_network_and_classic_load_balancers_become_rows_with_every_value";
    let Some(folder) = folder(name) else { return };
    let names = names_of(&folder, |name| name.ends_with("-nlb") || name.ends_with("-clb"));
    assert_eq!(names, OTHERS.map(|(name, ..)| name), "the directories of these lines");
    for (name, log_type, lines, rejects) in OTHERS {
        let text = fs::read(folder.join(name).join("lines.log")).unwrap();
        let table = log_type.table();
        let world = World::new();
        world.put(&key_of_log(log_type, 1), gzip(&text));
        let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
        assert_eq!(run.rejects(), rejects, "rejects of {name}");
        assert_eq!(run.count("/lines"), lines, "lines of {name}");
        let rows = read(&world.out(), &table.name);
        assert_eq!(rows.len() as u64 + world.rejects().len() as u64, lines, "{name}");
        assert_eq!(decode_as(table, &text), reference_as(table, without_blank_end(&text)));
        let columns: &[&str] = match log_type {
            LogType::Classic => &CLASSIC_COLUMNS,
            _ => &NLB_COLUMNS,
        };
        let text = String::from_utf8(text).unwrap();
        for line in text.lines() {
            let values = parse_independently(log_type, line);
            let is_row = |row: &&Row| {
                columns.iter().enumerate().all(|(at, column)| {
                    is_value_of(get(row, column), values.get(at).map_or("-", |value| value))
                })
            };
            let found = rows.iter().filter(is_row).count();
            assert_eq!(found, 1, "rows of {name} with the values of {line}: {rows:?}");
            assert!(values.len() <= columns.len());
        }
    }
}

#[test]
fn published_lines_become_rows() {
    let Some(folder) = folder("published_lines_become_rows") else { return };
    let names = names_of(&folder, |name| {
        name.contains("alb") || EXPECTED.iter().any(|(known, ..)| *known == name)
    });
    assert_eq!(names, EXPECTED.map(|(name, ..)| name), "the directories of access log lines");
    for (name, lines, rejects) in EXPECTED {
        let text = fs::read(folder.join(name).join("lines.log")).unwrap();
        let world = World::with(gzip(&text));
        let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
        let outcome = decode(&text);
        let found: Vec<_> =
            outcome.rejects.iter().map(|r| (r.line_number, &r.reason, &r.column)).collect();
        assert_eq!(run.rejects(), rejects, "rejects of {name}: {found:?}");
        assert_eq!(run.count("/lines"), lines, "lines of {name}");
        assert_eq!(run.count("/rows") + found.len() as u64, lines, "{name}");
    }
}
