//! Golden lines: every era, every unusual form, every reject reason.

use alb2parquet::internals::decode::decoder::Decoder;
use alb2parquet::internals::logs::schema::LogType;
use arrow::array::{Array, AsArray};

use crate::support::{FIELDS, Line, OBJECT, Row, decode, get, segments_of, text_of};

/// The columns that have a value in [`FIELDS`], each with its field number, name and value.
const GOLDEN: [(usize, &str, &str); 40] = [
    (1, "type", "https"),
    (2, "time", "2025-07-19T14:03:21.123456Z"),
    (3, "elb", "app/my-lb/50dc6c495c0c9188"),
    (4, "client_ip", "192.0.2.17"),
    (4, "client_port", "50718"),
    (5, "target_ip", "198.51.100.9"),
    (5, "target_port", "8443"),
    (6, "request_processing_time", "0.001"),
    (7, "target_processing_time", "0.086"),
    (8, "response_processing_time", "0.0"),
    (9, "elb_status_code", "200"),
    (10, "target_status_code", "201"),
    (11, "received_bytes", "588"),
    (12, "sent_bytes", "10429"),
    (13, "request_verb", "GET"),
    (13, "request_url", "https://www.example.com:443/a?b=c"),
    (13, "request_proto", "HTTP/2.0"),
    (14, "user_agent", "curl/8.5.0 (x86_64)"),
    (15, "ssl_cipher", "TLS_AES_128_GCM_SHA256"),
    (16, "ssl_protocol", "TLSv1.3"),
    (17, "target_group_arn", FIELDS[16]),
    (18, "trace_id", "Root=1-687ba5a9-000000000000000000000001"),
    (19, "domain_name", "www.example.com"),
    (
        20,
        "chosen_cert_arn",
        "arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000001",
    ),
    (21, "matched_rule_priority", "7"),
    (22, "request_creation_time", "2025-07-19T14:03:21.036000Z"),
    (23, "actions_executed", "waf,forward"),
    (24, "redirect_url", "https://example.com:443/new place"),
    (25, "lambda_error_reason", "LambdaUnhandled"),
    (26, "target_port_list", "198.51.100.9:8443"),
    (27, "target_status_code_list", "201"),
    (28, "classification", "Acceptable"),
    (29, "classification_reason", "SpaceInUri"),
    (30, "conn_trace_id", "TID_0123456789abcdef0123456789abcdef"),
    (31, "transformed_host", "internal.example.com"),
    (32, "transformed_uri", "/new/a"),
    (33, "request_transform_status", "TransformSuccess"),
    (34, "ip_address", "203.0.113.5"),
    (35, "target_error_code", "0x7"),
    (36, "elb_error_code", "0x8"),
];

/// Returns the expected row for a line with the first `count` fields of [`FIELDS`].
fn golden(count: usize, extra: Option<&str>) -> Row {
    let mut row: Row = GOLDEN
        .iter()
        .map(|&(field, column, value)| {
            (column.to_owned(), (field <= count).then(|| value.to_owned()))
        })
        .collect();
    row.insert("extra_fields".to_owned(), extra.map(str::to_owned));
    row.insert("source_key".to_owned(), Some(OBJECT.to_owned()));
    row
}

#[track_caller]
fn column(line: &Line, column: &str) -> Option<String> {
    let outcome = decode(text_of([line.text()]));
    get(outcome.row(), column).map(str::to_owned)
}

#[track_caller]
fn request(request: &str) -> [Option<String>; 3] {
    let outcome = decode(text_of([Line::of(29).with(13, request).text()]));
    let row = outcome.row();
    ["request_verb", "request_url", "request_proto"].map(|name| get(row, name).map(str::to_owned))
}

#[test]
fn columns_are_in_the_order_of_the_fields() {
    let names: Vec<String> =
        LogType::Access.table().columns().map(|(_, column)| column.name.clone()).collect();
    assert_eq!(names, GOLDEN.map(|(_, name, _)| name));
}

#[test]
fn lines_of_every_era_have_null_in_later_columns() {
    for count in 17..=36 {
        let outcome = decode(text_of([Line::of(count).text()]));
        assert_eq!(*outcome.row(), golden(count, None), "{count} fields");
    }
}

#[test]
fn an_object_can_contain_several_eras() {
    let counts = [36, 17, 29, 30, 18, 36, 25, 40, 17];
    let outcome = decode(text_of(counts.map(|count| Line::of(count).text())));
    let expected = counts.map(|count| {
        let extra = (count > 36).then_some("extra37 extra38 extra39 extra40");
        golden(count, extra)
    });
    assert_eq!(outcome.rows, expected);
    assert_eq!(outcome.lines, counts.len() as u64);
}

#[test]
fn unknown_fields_are_kept_unchanged() {
    let cases = [
        "new",
        "-",
        "\"-\"",
        "\"two words\" 3 \"\"",
        "a  b   c",
        "trailing ",
        "a\"b",
        "\"never closed",
        "\"closed\"badly \"",
        "\\x22 \u{e9}",
    ];
    for extra in cases {
        let outcome = decode(text_of([format!("{} {extra}", Line::of(36).text())]));
        assert_eq!(*outcome.row(), golden(36, Some(extra)), "{extra:?}");
    }
}

#[test]
fn trailing_spaces_are_not_a_field() {
    let outcome = decode(text_of([format!("{}   ", Line::of(36).text())]));
    assert_eq!(*outcome.row(), golden(36, None));
}

#[test]
fn every_field_can_be_quoted_or_unquoted() {
    let quoted = |field: &str| format!("\"{}\"", field.trim_matches('"'));
    let all: Vec<String> = FIELDS.iter().map(|field| quoted(field)).collect();
    assert_eq!(*decode(text_of([all.join(" ")])).row(), golden(36, None), "all quoted");
    for (index, field) in FIELDS.iter().enumerate() {
        let unquoted = field.trim_matches('"');
        if unquoted.contains(' ') {
            continue;
        }
        let line = Line::of(36).with(index + 1, unquoted);
        let outcome = decode(text_of([line.text()]));
        assert_eq!(*outcome.row(), golden(36, None), "field {} unquoted", index + 1);
    }
}

#[test]
fn a_dash_is_null_in_every_column() {
    for dash in ["-", "\"-\""] {
        let outcome = decode(text_of([vec![dash; 36].join(" ")]));
        for (_, column, _) in GOLDEN {
            assert_eq!(get(outcome.row(), column), None, "{column} of {dash}");
        }
    }
}

#[test]
fn empty_quotes_are_an_empty_string() {
    let text_fields = [1, 3, 14, 15, 16, 17, 18, 19, 20, 23, 24, 25, 26, 27, 28];
    for (field, name, _) in GOLDEN {
        if text_fields.contains(&field) || field >= 28 {
            let line = Line::of(36).with(field, "\"\"");
            assert_eq!(column(&line, name).as_deref(), Some(""), "{name}");
        }
    }
}

#[test]
fn escape_sequences_are_kept() {
    let line = Line::of(29).with(14, r#""a\x22b\x5C\\ \xEC\x97\x90 \x00000022""#);
    assert_eq!(
        column(&line, "user_agent").as_deref(),
        Some(r"a\x22b\x5C\\ \xEC\x97\x90 \x00000022")
    );
    let line = Line::of(29).with(14, "\"\u{65e5}\u{672c} \u{1f980}\"");
    assert_eq!(column(&line, "user_agent").as_deref(), Some("\u{65e5}\u{672c} \u{1f980}"));
}

#[test]
fn spaces_in_quotes_are_kept_and_others_collapse() {
    let line = Line::of(36).with(14, "\"  a   b \"");
    assert_eq!(column(&line, "user_agent").as_deref(), Some("  a   b "));
    let spaced = format!("  {} ", Line::of(36).0.join("   "));
    assert_eq!(*decode(text_of([spaced])).row(), golden(36, None));
}

#[test]
fn control_characters_are_text() {
    let line = Line::of(29).with(14, "\"a\0b\tc\u{7f}\"").with(19, "a\0.example");
    assert_eq!(column(&line, "user_agent").as_deref(), Some("a\0b\tc\u{7f}"));
    assert_eq!(column(&line, "domain_name").as_deref(), Some("a\0.example"));
}

#[test]
fn a_carriage_return_is_dropped_only_before_the_line_end() {
    let crlf = format!("{}\r\n{}\r\n", Line::of(36).text(), Line::of(30).text());
    assert_eq!(decode(crlf).rows, [golden(36, None), golden(30, None)]);
    let inside = Line::of(29).with(14, "\"a\rb\"");
    assert_eq!(column(&inside, "user_agent").as_deref(), Some("a\rb"));
    let two = decode(format!("{} last\r\r\n", Line::of(36).text()));
    assert_eq!(get(two.row(), "extra_fields"), Some("last\r"));
}

#[test]
fn the_last_line_needs_no_line_end() {
    let text = format!("{}\n{}", Line::of(36).text(), Line::of(17).text());
    let outcome = decode(text);
    assert_eq!(outcome.rows, [golden(36, None), golden(17, None)]);
    assert_eq!(outcome.lines, 2);
}

#[test]
fn request_lines_are_split_into_verb_url_and_protocol() {
    let cases: [(&str, [Option<&str>; 3]); 28] = [
        (
            "\"GET https://h:443/x HTTP/1.1\"",
            [Some("GET"), Some("https://h:443/x"), Some("HTTP/1.1")],
        ),
        ("\"- http://h:80- -\"", [None, Some("http://h:80-"), None]),
        ("\"- http://h:8080- \"", [None, Some("http://h:8080-"), None]),
        ("\"- http://h:80-/ \"", [None, Some("http://h:80-/"), None]),
        ("\"- - -\"", [None, None, None]),
        ("\"- - - \"", [None, None, None]),
        ("\"- - - -\"", [None, Some("- -"), None]),
        ("\"- - -  \"", [None, Some("- - "), None]),
        ("\"GET http://h:80/ HTTP/1.0 \"", [Some("GET"), Some("http://h:80/ HTTP/1.0"), None]),
        (
            "\"GET http://h/a b  c HTTP/1.1\"",
            [Some("GET"), Some("http://h/a b  c"), Some("HTTP/1.1")],
        ),
        (
            "\"GET https://www.example.com]-(select 0)|[www.example.com:443/x HTTP/1.1\"",
            [
                Some("GET"),
                Some("https://www.example.com]-(select 0)|[www.example.com:443/x"),
                Some("HTTP/1.1"),
            ],
        ),
        (
            "\"GET http://[::ffff:c000:201]:443/ HTTP/1.1\"",
            [Some("GET"), Some("http://[::ffff:c000:201]:443/"), Some("HTTP/1.1")],
        ),
        (
            "\"SSTP_DUPLEX_POST http://h/ HTTP/1.1\"",
            [Some("SSTP_DUPLEX_POST"), Some("http://h/"), Some("HTTP/1.1")],
        ),
        (
            "\"--location http://h/ HTTP/1.1\"",
            [Some("--location"), Some("http://h/"), Some("HTTP/1.1")],
        ),
        ("\"GET http://h/ -\"", [Some("GET"), Some("http://h/"), None]),
        ("\"GET - HTTP/1.1\"", [Some("GET"), None, Some("HTTP/1.1")]),
        ("\"GET http://h/\"", [Some("GET"), Some("http://h/"), None]),
        ("\"GET -\"", [Some("GET"), None, None]),
        ("\"GET \"", [Some("GET"), None, None]),
        ("\"GET\"", [Some("GET"), None, None]),
        ("GET", [Some("GET"), None, None]),
        ("\"-\"", [None, None, None]),
        ("-", [None, None, None]),
        ("\"\"", [None, None, None]),
        ("\"- \"", [None, None, None]),
        ("\"- -\"", [None, None, None]),
        (
            "\"GET http://h/\\x22 HTTP/1.1\"",
            [Some("GET"), Some("http://h/\\x22"), Some("HTTP/1.1")],
        ),
        (
            "\"GET http://h/\u{e9} HTTP/1.1\"",
            [Some("GET"), Some("http://h/\u{e9}"), Some("HTTP/1.1")],
        ),
    ];
    for (field, expected) in cases {
        let parts = request(field);
        assert_eq!(parts.each_ref().map(Option::as_deref), expected, "{field}");
    }
}

#[test]
fn endpoints_are_split_at_the_last_colon() {
    let cases = [
        ("192.0.2.1:443", Some("192.0.2.1"), Some("443")),
        ("2001:db8::1:50718", Some("2001:db8::1"), Some("50718")),
        ("[2001:db8::1]:50718", Some("2001:db8::1"), Some("50718")),
        ("\"[2001:db8::1]:50718\"", Some("2001:db8::1"), Some("50718")),
        ("::1:0", Some("::1"), Some("0")),
        ("192.0.2.1:-", Some("192.0.2.1"), None),
        ("-", None, None),
    ];
    for (field, address, port) in cases {
        for (number, names) in
            [(4, ["client_ip", "client_port"]), (5, ["target_ip", "target_port"])]
        {
            let line = Line::of(29).with(number, field);
            assert_eq!(column(&line, names[0]).as_deref(), address, "{} of {field}", names[0]);
            assert_eq!(column(&line, names[1]).as_deref(), port, "{} of {field}", names[1]);
        }
    }
}

#[test]
fn numbers_are_exact() {
    let cases = [
        (6, "request_processing_time", "-1", "-1.0"),
        (7, "target_processing_time", "1.5414835421835185", "1.5414835421835185"),
        (8, "response_processing_time", "0.000001", "1e-6"),
        (8, "response_processing_time", "0.1", "0.1"),
        (9, "elb_status_code", "460", "460"),
        (10, "target_status_code", "007", "7"),
        (11, "received_bytes", "9223372036854775807", "9223372036854775807"),
        (12, "sent_bytes", "4294967296", "4294967296"),
        (21, "matched_rule_priority", "-1", "-1"),
        (21, "matched_rule_priority", "2147483647", "2147483647"),
    ];
    for (field, name, text, expected) in cases {
        let line = Line::of(29).with(field, text);
        assert_eq!(column(&line, name).as_deref(), Some(expected), "{name} of {text}");
    }
}

#[test]
fn times_are_exact() {
    let cases = [
        ("2018-07-02T22:22:48.364000Z", "2018-07-02T22:22:48.364000Z"),
        ("2018-07-02T22:22:48.000001Z", "2018-07-02T22:22:48.000001Z"),
        ("2018-07-02T22:22:48.999999", "2018-07-02T22:22:48.999999Z"),
        ("2018-07-02T22:22:48.3Z", "2018-07-02T22:22:48.300000Z"),
        ("2018-07-02T22:22:48.36412", "2018-07-02T22:22:48.364120Z"),
        ("2018-07-02T22:22:48Z", "2018-07-02T22:22:48.000000Z"),
        ("2018-07-02T22:22:48", "2018-07-02T22:22:48.000000Z"),
        ("2024-02-29T23:59:59.999999Z", "2024-02-29T23:59:59.999999Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
        ("0001-01-01T00:00:00.000000Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ];
    for (text, expected) in cases {
        for (field, name) in [(2, "time"), (22, "request_creation_time")] {
            let line = Line::of(29).with(field, text);
            assert_eq!(column(&line, name).as_deref(), Some(expected), "{name} of {text}");
        }
    }
}

/// Returns invalid lines with their expected reject reasons and columns.
fn bad_lines() -> Vec<(Vec<u8>, &'static str, Option<&'static str>)> {
    let value = |field: usize, value: &str, column: &'static str| {
        (Line::of(29).with(field, value).text().into_bytes(), "invalid_value", Some(column))
    };
    let line = |text: String, reason: &'static str| (text.into_bytes(), reason, None);
    let good = Line::of(29).text();
    let mut not_utf8 = good.clone().into_bytes();
    not_utf8[40] = 0xff;
    let mut cut_character = good.clone().into_bytes();
    cut_character.extend([b' ', 0xe2, 0x82]);
    vec![
        line(String::new(), "too_few_fields"),
        line("   ".to_owned(), "too_few_fields"),
        line("x".to_owned(), "too_few_fields"),
        line(Line::of(16).text(), "too_few_fields"),
        line(format!("{}   ", Line::of(16).text()), "too_few_fields"),
        line(good[..good.rfind('"').unwrap()].to_owned(), "unterminated_quote"),
        line(Line::of(18).with(18, "\"open and on").text(), "unterminated_quote"),
        // The opening quote of the next quoted field closes this field in the wrong place.
        line(Line::of(29).with(14, "\"open").text(), "misplaced_quote"),
        line(Line::of(29).with(14, "\"a\"b").text(), "misplaced_quote"),
        line(Line::of(29).with(14, "a\"b\"").text(), "misplaced_quote"),
        line(Line::of(29).with(14, "\"-\"1").text(), "misplaced_quote"),
        line(Line::of(29).with(1, "ht\"tps").text(), "misplaced_quote"),
        (not_utf8, "invalid_utf8", None),
        (cut_character, "invalid_utf8", None),
        line("x".repeat((1 << 20) + 1), "line_too_long"),
        value(2, "yesterday", "time"),
        value(2, "2025-02-30T00:00:00.000000Z", "time"),
        value(2, "2025-07-19T24:00:00.000000Z", "time"),
        value(2, "2025-07-19T00:00:60.000000Z", "time"),
        value(2, "2025-07-19T00:00:00.0000000Z", "time"),
        value(2, "2025-07-19T00:00:00.000000+00:00", "time"),
        value(2, "\"2025-07-19 00:00:00.000000Z\"", "time"),
        value(2, "\"\"", "time"),
        value(22, "12025-07-19T00:00:00.000000Z", "request_creation_time"),
        value(4, "192.0.2.1", "client_port"),
        value(4, "192.0.2.1:", "client_port"),
        value(4, "192.0.2.1:http", "client_port"),
        value(4, "192.0.2.1:99999999999", "client_port"),
        value(4, "\"\"", "client_port"),
        value(5, "nothing", "target_port"),
        value(6, "fast", "request_processing_time"),
        value(7, "NaN", "target_processing_time"),
        value(7, "inf", "target_processing_time"),
        value(7, "1e999", "target_processing_time"),
        value(8, "0,001", "response_processing_time"),
        value(8, "1.", "response_processing_time"),
        value(8, "1.e5", "response_processing_time"),
        value(8, ".5", "response_processing_time"),
        value(8, "1e", "response_processing_time"),
        value(9, "2147483648", "elb_status_code"),
        value(9, "200.0", "elb_status_code"),
        value(10, "+200", "target_status_code"),
        value(11, "9223372036854775808", "received_bytes"),
        value(12, "0x10", "sent_bytes"),
        value(12, "\"1 0\"", "sent_bytes"),
        value(21, "first", "matched_rule_priority"),
        value(21, "--1", "matched_rule_priority"),
        value(1, "2025-07-19T14:03:21.123456Z", "type"),
        value(3, "192.0.2.17:50718", "elb"),
        value(4, "arn:aws:lambda:eu-west-1:012345678901:function:f:1", "client_ip"),
        value(5, "2025-07-19T14:03:21", "target_ip"),
        value(6, "588", "request_processing_time"),
        value(9, "12", "elb_status_code"),
        value(10, "10429", "target_status_code"),
        value(15, "TLSv1.3", "ssl_cipher"),
        value(16, "TLS_AES_128_GCM_SHA256", "ssl_protocol"),
        value(17, "\"Root=1-687ba5a9-000000000000000000000001\"", "target_group_arn"),
        value(18, "2025-07-19T14:03:21.036000Z", "trace_id"),
        value(18, "\"www.example.com\"", "trace_id"),
        value(20, "0", "chosen_cert_arn"),
        value(23, "\"https://example.com:443/new place\"", "actions_executed"),
        value(24, "\"LambdaUnhandled\"", "redirect_url"),
        value(25, "\"198.51.100.9:8443\"", "lambda_error_reason"),
        value(26, "\"201\"", "target_port_list"),
        value(27, "\"Acceptable\"", "target_status_code_list"),
        value(28, "TID_0123456789abcdef0123456789abcdef", "classification"),
        value(29, "\"Severe\"", "classification_reason"),
    ]
}

#[test]
fn a_reject_has_the_reason_the_position_and_the_raw_line() {
    let good = Line::of(29).text();
    for end in ["\n", "\r\n"] {
        for (line, reason, column) in bad_lines() {
            let mut text = format!("{good}{end}").into_bytes();
            let offset = text.len();
            text.extend_from_slice(&line);
            text.extend_from_slice(format!("{end}{good}{end}").as_bytes());
            let shown = String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned();
            let outcome = decode(text);
            assert_eq!(outcome.lines, 3, "{shown}");
            assert_eq!(outcome.rows, [golden(29, None), golden(29, None)], "{shown}");
            assert_eq!(outcome.rejects.len(), 1, "{shown}");
            let reject = &outcome.rejects[0];
            assert_eq!(reject.reason, reason, "{shown}");
            assert_eq!(reject.column.as_deref(), column, "{shown}");
            assert_eq!((reject.line_number, reject.byte_offset), (2, offset as u64), "{shown}");
            assert_eq!(reject.raw_length, line.len() as u64, "{shown}");
            assert_eq!(reject.raw, line[..line.len().min(64 << 10)], "{shown}");
        }
    }
}

/// A decoder caches the last date that it parsed. In a new decoder, the empty cache must not match any bytes.
#[test]
fn a_new_decoder_has_no_cached_day() {
    for byte in ["\0", "0", "\x7f"] {
        let line = Line::of(29).with(2, &format!("{}T12:00:00.000000Z", byte.repeat(10)));
        assert_eq!(decode(text_of([line.text()])).reject().column.as_deref(), Some("time"));
    }
}

/// Values from rejected lines must not appear in dictionaries, because they would end up in pages and statistics.
#[test]
fn values_of_a_rejected_line_are_in_no_dictionary() {
    let good = |number: usize| Line::of(36).with(14, &format!("\"agent {number}\"")).text();
    let bad = |number: usize| {
        let stray = format!("stray{number}-{}", "x".repeat(number % 60));
        Line::of(36).with(3, &stray).with(15, &stray).with(19, &stray).with(36, "192.0.2.1").text()
    };
    let lines = (0..700).map(|number| if number % 7 == 3 { bad(number) } else { good(number) });
    let mut decompressed = segments_of(&[&text_of(lines)]);
    let decoded = Decoder::new(LogType::Access.table()).decode(&mut decompressed, |_| OBJECT);
    assert_eq!((decoded.segments[0].rows, decoded.segments[0].rejects.len()), (600, 100));
    for (name, column) in
        LogType::Access.table().batch_schema().fields().iter().zip(decoded.batch.columns())
    {
        let Some(column) = column.as_any_dictionary_opt() else { continue };
        let values = column.values().as_string::<i32>();
        for value in values.iter().flatten() {
            assert!(!value.starts_with("stray"), "{name}: {value}");
        }
        let distinct = match &name.name()[..] {
            "user_agent" => 600,
            "extra_fields" => 0,
            _ => 1,
        };
        assert_eq!(values.len(), distinct, "{name}");
    }
}

fn agents(ends: &[&str]) -> String {
    ends.iter().flat_map(|end| ["agent", end]).collect()
}

/// Returns a line whose user agent contains the given line breaks.
fn split(ends: &[&str]) -> String {
    let agent = agents(ends);
    Line::of(36).with(14, &format!("\"{agent}last\"")).text()
}

#[test]
fn a_line_feed_in_a_quoted_field_does_not_split_the_line() {
    let good = Line::of(36).text();
    for ends in [&["\n"][..], &["\r\n"], &["\n", "\n\n", " \r\n  "], &["\n"; 15]] {
        let text = text_of([&good, &split(ends), &Line::of(9).text(), &good]);
        let outcome = decode(text);
        let agent = |row: &Row| get(row, "user_agent").unwrap().to_owned();
        let expected = agents(ends);
        assert_eq!(outcome.rows.len(), 3, "{ends:?}");
        assert_eq!(agent(&outcome.rows[1]), format!("{expected}last"));
        let joined = expected.matches('\n').count() as u64;
        assert_eq!((outcome.lines, outcome.joined), (4, joined));
        // Line numbers and offsets of rejects refer to the original text, in which the lines are not joined.
        let reject = &outcome.rejects[0];
        assert_eq!((reject.line_number, &reject.reason[..]), (3 + joined, "too_few_fields"));
        assert_eq!(reject.byte_offset as usize, good.len() + 1 + split(ends).len() + 1);
    }
    // A line break can also be inside the request URL, and the last line may lack a line ending.
    let url = Line::of(30).with(13, "\"GET https://h/a\nb HTTP/1.1\"").text();
    assert_eq!(get(decode(url).row(), "request_url"), Some("https://h/a\nb"));
}

#[test]
fn lines_that_would_not_form_a_row_are_not_joined() {
    let good = Line::of(36).text();
    let open = Line::of(36).with(14, "\"open").text();
    let open = &open[..open.find("open").unwrap() + 4];
    let reasons = |text: &[&str]| {
        let outcome = decode(text_of(text));
        assert_eq!(
            (outcome.joined, outcome.lines),
            (0, text.join("\n").matches('\n').count() as u64 + 1)
        );
        let reasons: Vec<String> =
            outcome.rejects.into_iter().map(|reject| reject.reason).collect();
        (outcome.rows.len(), reasons.join(" "))
    };
    let rows = |rows: usize, reasons: &str| (rows, reasons.to_owned());
    // A truncated line does not absorb the valid line that follows, whatever that line contains.
    assert_eq!(reasons(&[open, &good]), rows(1, "unterminated_quote"));
    assert_eq!(reasons(&[open, &good, &good]), rows(2, "unterminated_quote"));
    assert_eq!(reasons(&[open, open, &good]), rows(1, "unterminated_quote unterminated_quote"));
    // This holds even if the joined lines would form a row, because the second line is a row by itself.
    let rest = good.split_once("curl/8.5.0 (x86_64)\"").unwrap().1;
    let forged = format!("{good} \"{rest}");
    assert_eq!(reasons(&[&format!("{open}\n{good} \"{rest}")]).0, 1, "{forged}");
    // The joined lines have too few or too many fields, or are invalid for another reason.
    assert_eq!(reasons(&[open, "x\" -"]), rows(0, "unterminated_quote misplaced_quote"));
    assert_eq!(reasons(&[&split(&["\n"; 16]), &good]).0, 1);
    assert_eq!(reasons(&[&split(&["\n"]).replace("app/my-lb", "1.2.3.4:5")]).0, 0);
    assert_eq!(reasons(&[open]), rows(0, "unterminated_quote"));
    let long = split(&["\n"]).replace("last", &"x".repeat(1 << 20));
    assert_eq!(reasons(&[&long, &good]).0, 1);
}

#[test]
fn rejects_keep_their_order_and_line_numbers() {
    let bad = bad_lines();
    let mut text = Vec::new();
    let mut offsets = Vec::new();
    for (line, ..) in &bad {
        text.extend(text_of([Line::of(36).text()]));
        offsets.push(text.len() as u64);
        text.extend(text_of([line]));
    }
    let outcome = decode(text);
    assert_eq!(outcome.rows, vec![golden(36, None); bad.len()]);
    let found: Vec<_> =
        outcome.rejects.iter().map(|r| (r.line_number, r.byte_offset, r.reason.as_str())).collect();
    let expected: Vec<_> = bad
        .iter()
        .zip(&offsets)
        .zip(1..)
        .map(|(((_, reason, _), offset), n)| (2 * n, *offset, *reason))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_first_invalid_column_is_named() {
    let line = Line::of(29).with(21, "x").with(9, "x").with(12, "x");
    let outcome = decode(text_of([line.text()]));
    assert_eq!(outcome.reject().column.as_deref(), Some("elb_status_code"));
}

#[test]
fn the_longest_line_is_a_row_and_one_byte_more_a_reject() {
    const LONGEST: usize = 1 << 20;
    let line = |length: usize| {
        let rest = Line::of(29).with(14, "\"\"").text().len();
        Line::of(29).with(14, &format!("\"{}\"", "u".repeat(length - rest))).text()
    };
    for end in ["\n", "\r\n", ""] {
        assert_eq!(decode(line(LONGEST) + end).rows.len(), 1, "{end:?}");
        assert_eq!(decode(line(LONGEST + 1) + end).reject().reason, "line_too_long", "{end:?}");
    }
}
