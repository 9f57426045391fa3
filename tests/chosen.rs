//! Lines with omitted, swapped or shuffled fields. Each such line must be rejected, become a row with every value in
//! the right column, or be indistinguishable from a valid line.

use std::collections::BTreeMap;

use alb2parquet::internals::logs::schema::LogType;

use crate::support::{FIELDS, Row, decode_as, text_of};

// ---- valid lines

/// The kind of value in a field, as a human reader would classify it. [`takes`] defines which values could be mistaken
/// for another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text that clients choose. It can be anything.
    Free,
    Name,
    Type,
    Time,
    Balancer,
    Endpoint,
    Seconds,
    Latency,
    Status3,
    Status,
    Number,
    Cipher,
    Tls,
    KeyExchange,
    TargetGroup,
    Certificate,
    Trace,
    Actions,
    Url,
    HostName,
    Path,
    Reason,
    Class,
    Connection,
    Address,
    ErrorCode,
    Subject,
    Validity,
    Serial,
    Verify,
    Check,
    Version,
    Protocol,
    Protocols,
}

use Kind::{
    Actions, Address, Balancer, Certificate, Check, Cipher, Class, Connection, Endpoint, ErrorCode,
    Free, HostName, KeyExchange, Latency, Name, Number, Path, Protocol, Protocols, Reason, Seconds,
    Serial, Status, Status3, Subject, TargetGroup, Time, Tls, Trace, Type, Url, Validity, Verify,
    Version,
};

const ACCESS: [Kind; 36] = [
    Type,
    Time,
    Balancer,
    Endpoint,
    Endpoint,
    Seconds,
    Seconds,
    Seconds,
    Status3,
    Status,
    Number,
    Number,
    Free,
    Free,
    Cipher,
    Tls,
    TargetGroup,
    Trace,
    Free,
    Certificate,
    Number,
    Time,
    Actions,
    Url,
    Reason,
    Endpoint,
    Status,
    Class,
    Reason,
    Connection,
    HostName,
    Path,
    Reason,
    Address,
    ErrorCode,
    ErrorCode,
];
const CONNECTION: [Kind; 15] = [
    Time,
    Address,
    Number,
    Number,
    Tls,
    Cipher,
    Seconds,
    Subject,
    Validity,
    Serial,
    Verify,
    Connection,
    KeyExchange,
    Balancer,
    Address,
];
const HEALTH_CHECK: [Kind; 10] =
    [Type, Time, Latency, Endpoint, Name, Check, Status, Reason, Balancer, Address];
const NLB_TLS: [Kind; 22] = [
    Type,
    Version,
    Time,
    Balancer,
    Name,
    Endpoint,
    Endpoint,
    Number,
    Number,
    Number,
    Number,
    Number,
    Certificate,
    Serial,
    Cipher,
    Tls,
    KeyExchange,
    Free,
    Protocol,
    Protocol,
    Protocols,
    Time,
];
const CLASSIC: [Kind; 15] = [
    Time, Name, Endpoint, Endpoint, Latency, Latency, Latency, Status3, Status, Number, Number,
    Free, Free, Cipher, Tls,
];

/// Returns whether a value of kind `kind` would also be plausible in a field of kind `into`.
fn takes(into: Kind, value: &str, kind: Kind) -> bool {
    let is_number = matches!(kind, Number | Status | Status3);
    let digits = value.len();
    match into {
        Free | Name => true,
        _ if into == kind => true,
        Number => is_number || value == "-1",
        Status => is_number && digits <= 3,
        Status3 => is_number && digits == 3,
        Seconds => is_number && matches!(value, "0" | "-1"),
        Latency => is_number || kind == Seconds,
        Serial if kind == Name => value.chars().all(|c| c.is_ascii_hexdigit()),
        ErrorCode | Serial => is_number,
        Path => kind == Url,
        HostName => match kind {
            Address | Endpoint | Name | Reason | ErrorCode => true,
            Cipher | KeyExchange | Free => !value.contains([' ', '/', '=']),
            _ => false,
        },
        Subject => kind == Trace || value.contains('='),
        Type => match kind {
            Name => true,
            Protocol => value == "h2",
            _ => kind == KeyExchange && !value.contains(char::is_uppercase),
        },
        Reason => kind == Name,
        // Names of different kinds are indistinguishable.
        Balancer => match kind {
            Cipher | KeyExchange | Reason | Name => true,
            Type => value == "tls",
            _ => kind == Tls && !value.contains('.'),
        },
        Cipher | KeyExchange if kind == Type => value == "tls",
        Cipher => matches!(kind, KeyExchange | Reason | Name),
        Tls => kind == Type && value == "tls",
        _ => false,
    }
}

type Profile = (&'static str, Vec<String>);

/// Returns a line profile: the values of all current fields after the given changes, which are keyed by field number.
fn profile(name: &'static str, fields: &[&str], changes: &[(usize, &str)]) -> Profile {
    let mut fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
    for (number, value) in changes {
        (*value).clone_into(&mut fields[number - 1]);
    }
    (name, fields)
}

const NOTHING_SPECIAL: [(usize, &str); 10] = [
    (24, "\"-\""),
    (25, "\"-\""),
    (28, "\"-\""),
    (29, "\"-\""),
    (31, "\"-\""),
    (32, "\"-\""),
    (33, "\"-\""),
    (35, "\"-\""),
    (36, "\"-\""),
    (23, "\"forward\""),
];
const PLAIN_HTTP: [(usize, &str); 5] =
    [(1, "http"), (15, "-"), (16, "-"), (19, "\"-\""), (20, "\"-\"")];
const NO_TARGET: [(usize, &str); 7] =
    [(5, "-"), (6, "-1"), (7, "-1"), (8, "-1"), (10, "-"), (26, "\"-\""), (27, "\"-\"")];
const NO_GROUP: [(usize, &str); 1] = [(17, "-")];

fn access() -> Vec<Profile> {
    let of = |name, changes: &[&[(usize, &str)]]| profile(name, &FIELDS, &changes.concat());
    vec![
        of("full", &[]),
        of("https", &[&NOTHING_SPECIAL]),
        of("http", &[&NOTHING_SPECIAL, &PLAIN_HTTP]),
        of(
            "IPv6",
            &[
                &NOTHING_SPECIAL,
                &[(4, "2001:db8::1:50718"), (5, "2001:db8::2:80"), (26, "\"2001:db8::2:80\"")],
            ],
        ),
        of("no target", &[&NOTHING_SPECIAL, &NO_TARGET, &[(9, "503")]]),
        of(
            "redirect",
            &[
                &NOTHING_SPECIAL,
                &PLAIN_HTTP,
                &NO_TARGET,
                &NO_GROUP,
                &[(9, "301"), (23, "\"redirect\""), (24, "\"https://example.com:443/a?b=c\"")],
            ],
        ),
        of(
            "Lambda error",
            &[
                &NOTHING_SPECIAL,
                &NO_TARGET,
                &[(9, "502"), (23, "\"waf,forward\""), (25, "\"LambdaInvalidResponse\"")],
            ],
        ),
        of(
            "rewritten",
            &[
                &NOTHING_SPECIAL,
                &[
                    (20, "\"session-reused\""),
                    (23, "\"rewrite,forward\""),
                    (32, "\"/new?a=b\""),
                    (33, "\"TransformSuccess\""),
                ],
            ],
        ),
        of(
            "malformed",
            &[
                &NOTHING_SPECIAL,
                &PLAIN_HTTP,
                &NO_TARGET,
                &NO_GROUP,
                &[
                    (9, "400"),
                    (11, "0"),
                    (13, "\"- http://www.example.com:80- -\""),
                    (14, "\"-\""),
                    (18, "\"-\""),
                    (21, "-"),
                    (23, "\"-\""),
                ],
            ],
        ),
    ]
}

fn connection() -> Vec<Profile> {
    const FULL: [&str; 15] = [
        "2025-07-19T14:03:21.123456Z",
        "192.0.2.17",
        "50718",
        "443",
        "TLSv1.2",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "4.036",
        "\"C=NO,O=Example AS,CN=till 7\"",
        "NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z",
        "0D9F3A",
        "Failed:ClientCertUntrusted",
        "TID_0123456789abcdef0123456789abcdef",
        "X25519MLKEM768",
        "app/my-lb/50dc6c495c0c9188",
        "203.0.113.5",
    ];
    const NO_CERTIFICATE: [(usize, &str); 4] = [(8, "\"-\""), (9, "-"), (10, "-"), (11, "-")];
    let of = |name, changes: &[&[(usize, &str)]]| profile(name, &FULL, &changes.concat());
    vec![
        of("full", &[]),
        of(
            "TLS",
            &[&NO_CERTIFICATE, &[(5, "TLSv1.3"), (6, "TLS_AES_128_GCM_SHA256"), (13, "x25519")]],
        ),
        of("TCP", &[&NO_CERTIFICATE, &[(4, "80"), (5, "-"), (6, "-"), (7, "-"), (13, "-")]]),
    ]
}

fn health_check() -> Vec<Profile> {
    const FULL: [&str; 10] = [
        "http",
        "2025-12-01T14:03:21.123456Z",
        "0.002087301",
        "198.51.100.9:8443",
        "web",
        "FAIL",
        "503",
        "ResponseCodeMismatch",
        "app/my-lb/50dc6c495c0c9188",
        "203.0.113.5",
    ];
    let of = |name, changes: &[(usize, &str)]| profile(name, &FULL, changes);
    vec![
        of("full", &[]),
        of("pass", &[(6, "PASS"), (7, "200"), (8, "-")]),
        of("timeout", &[(7, "-"), (8, "TimedOut")]),
    ]
}

fn nlb_tls() -> Vec<Profile> {
    const FULL: [&str; 22] = [
        "tls",
        "2.0",
        "2025-07-19T14:03:21",
        "net/my-lb/50dc6c495c0c9188",
        "4a5b6c7d8e9f0a1b",
        "192.0.2.17:50718",
        "198.51.100.9:8443",
        "35122",
        "48",
        "2150",
        "1726",
        "112",
        "arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000001",
        "-",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "tlsv12",
        "x25519",
        "www.example.com",
        "h2",
        "http/1.1",
        r#""h2","http/1.1""#,
        "2025-07-19T14:02:46",
    ];
    let of = |name, changes: &[(usize, &str)]| profile(name, &FULL, changes);
    let nothing = |numbers: std::ops::RangeInclusive<usize>| numbers.map(|number| (number, "-"));
    vec![
        of("full", &[]),
        of("usual", &[(12, "-"), (17, "-"), (19, "-"), (20, "-"), (21, "-")]),
        of(
            "failed handshake",
            &[&[(9, "-"), (10, "0"), (11, "0")][..], &nothing(12..=21).collect::<Vec<_>>()]
                .concat(),
        ),
    ]
}

fn classic() -> Vec<Profile> {
    const FULL: [&str; 15] = [
        "2025-07-19T14:03:21.123456Z",
        "my-lb",
        "192.0.2.17:50718",
        "198.51.100.9:8443",
        "0.000073",
        "0.001048",
        "0.000057",
        "200",
        "201",
        "588",
        "10429",
        "\"GET https://www.example.com:443/a?b=c HTTP/1.1\"",
        "\"curl/8.5.0 (x86_64)\"",
        "DHE-RSA-AES128-SHA",
        "TLSv1.2",
    ];
    const NO_HTTP: [(usize, &str); 4] = [(8, "-"), (9, "-"), (12, "\"- - - \""), (13, "\"-\"")];
    const NO_TLS: [(usize, &str); 2] = [(14, "-"), (15, "-")];
    let of = |name, changes: &[&[(usize, &str)]]| profile(name, &FULL, &changes.concat());
    vec![
        of("HTTPS", &[]),
        of("HTTP", &[&NO_TLS]),
        of("SSL", &[&NO_HTTP]),
        of("TCP", &[&NO_HTTP, &NO_TLS]),
        of("no instance", &[&[(4, "-"), (5, "-1"), (6, "-1"), (7, "-1"), (8, "503"), (9, "0")]]),
    ]
}

// ---- selections of fields

/// Indices of the fields that remain, in their new order.
type Choice = Vec<usize>;

/// Returns every choice that omits one field.
fn without_one(count: usize) -> Vec<Choice> {
    (0..count).map(|out| (0..count).filter(|&at| at != out).collect()).collect()
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

/// Returns every choice that omits two fields.
fn without_two(count: usize) -> Vec<Choice> {
    let without = |(a, b)| (0..count).filter(|&at| at != a && at != b).collect();
    pairs(count).map(without).collect()
}

/// Returns every choice that swaps two fields.
fn swapped(count: usize) -> Vec<Choice> {
    let swap = |(a, b)| {
        let mut choice: Choice = (0..count).collect();
        choice.swap(a, b);
        choice
    };
    pairs(count).map(swap).collect()
}

/// A random number generator that returns the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Returns a choice that omits a random set of fields and may move some of the remaining ones.
fn any_choice(count: usize, random: &mut Random) -> Choice {
    let mut choice: Choice = (0..count).collect();
    for _ in 0..random.below(count) {
        choice.remove(random.below(choice.len()));
    }
    for _ in 0..random.below(4) {
        let (a, b) = (random.below(choice.len()), random.below(choice.len()));
        let moved = choice.remove(a);
        choice.insert(b.min(choice.len()), moved);
    }
    choice
}

// ---- results

#[derive(Debug, Default)]
struct Found {
    lines: u64,
    rejects: u64,
    /// Number of rows with a value in the wrong column, by the first such column.
    wrong: BTreeMap<String, u64>,
}

/// Returns the first column with a wrong value, or `None` if there is no such column.
fn wrong_column(row: &Row, good: &Row) -> Option<String> {
    let differs = |(name, value): &(&String, &Option<String>)| {
        value.is_some() && *value != &good[*name] && *name != "source_key"
    };
    row.iter().find(differs).map(|(name, _)| name.clone())
}

fn check(
    log_type: LogType,
    kinds: &[Kind],
    fields: &[String],
    choices: &[Choice],
    found: &mut Found,
) {
    let table = log_type.table();
    let bare = |at: usize| fields[at].trim_matches('"');
    let good = decode_as(table, text_of([fields.join(" ")])).row().clone();
    let line =
        |choice: &Choice| choice.iter().map(|&at| &fields[at][..]).collect::<Vec<_>>().join(" ");
    let outcome = decode_as(table, text_of(choices.iter().map(line)));
    assert_eq!(outcome.lines, choices.len() as u64);
    let rejected: Vec<u64> = outcome.rejects.iter().map(|reject| reject.line_number).collect();
    found.lines += outcome.lines;
    found.rejects += rejected.len() as u64;
    let mut rows = outcome.rows.iter();
    for (number, choice) in (1..).zip(choices) {
        if rejected.binary_search(&number).is_ok() {
            continue;
        }
        let Some(column) = wrong_column(rows.next().unwrap(), &good) else { continue };
        let misfit = choice.iter().enumerate().find(|&(into, &from)| {
            bare(from) != "-" && !takes(kinds[into], bare(from), kinds[from])
        });
        assert_eq!(misfit, None, "{log_type}: {} became a row with a wrong {column}", line(choice));
        *found.wrong.entry(column).or_default() += 1;
    }
}

/// A log type with its field kinds, line profiles, and the field count of each era.
type Log = (LogType, &'static [Kind], Vec<Profile>, &'static [usize]);

fn logs() -> [Log; 5] {
    [
        (LogType::Access, &ACCESS, access(), &[17, 18, 20, 21, 23, 25, 27, 29, 30, 33, 34, 36]),
        (LogType::Connection, &CONNECTION, connection(), &[11, 12, 13, 15]),
        (LogType::HealthCheck, &HEALTH_CHECK, health_check(), &[8, 10]),
        (LogType::NlbTls, &NLB_TLS, nlb_tls(), &[18, 21, 22]),
        (LogType::Classic, &CLASSIC, classic(), &[12, 15]),
    ]
}

/// Decodes lines from all eras and prints the results. Asserts that the share of wrong rows for each log type does not
/// exceed the limit in `most` (in thousandths).
#[allow(clippy::print_stdout)] // figures
fn check_all(name: &str, most: [u64; 5], mut choices: impl FnMut(usize) -> Vec<Choice>) {
    for ((log_type, kinds, profiles, counts), most) in logs().into_iter().zip(most) {
        let mut found = Found::default();
        for (_, fields) in &profiles {
            for &count in counts {
                check(log_type, kinds, &fields[..count], &choices(count), &mut found);
            }
        }
        let wrong: u64 = found.wrong.values().sum();
        println!("{name}, {log_type}: {wrong} wrong rows {found:?}");
        assert!(wrong * 1000 <= most * found.lines, "{log_type}: {wrong} of {} lines", found.lines);
        assert!(found.rejects > 0);
    }
}

#[test]
fn a_line_without_a_field_rarely_becomes_a_wrong_row() {
    check_all("without one", [5, 1, 1, 15, 10], without_one);
}

#[test]
fn a_line_without_two_fields_rarely_becomes_a_wrong_row() {
    check_all("without two", [2, 2, 1, 20, 40], without_two);
}

#[test]
fn a_line_with_two_swapped_fields_rarely_becomes_a_wrong_row() {
    check_all("swapped", [70, 50, 70, 120, 150], swapped);
}

#[test]
fn a_line_with_any_choice_of_fields_rarely_becomes_a_wrong_row() {
    let mut random = Random(1);
    check_all("any choice", [2, 2, 1, 5, 5], |count| {
        (0..300).map(|_| any_choice(count, &mut random)).collect()
    });
}

#[test]
fn valid_lines_of_every_profile_become_rows() {
    for (log_type, _, profiles, _) in logs() {
        for (name, fields) in profiles {
            for count in log_type.table().required_fields..=fields.len() {
                let outcome = decode_as(log_type.table(), text_of([fields[..count].join(" ")]));
                assert_eq!(outcome.rejects, [], "{log_type}, {name}, {count} fields");
            }
        }
    }
}
