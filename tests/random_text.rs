//! On random text, the decoder must agree with the reference decoder.

use std::io;

use alb2parquet::internals::decode::decoder::Decoder;
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::verify::reference::without_blank_end;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::logs;
use crate::outcome::{reference, reference_as};
use crate::reference_objects::ShortReads;
use crate::support::{
    Line, OBJECT, Outcome, decode, decode_as, decode_streamed, gzip, segments_of, text_of,
};

// ---- random text

/// Bytes that are likely to break a tokenizer.
const NASTY: &[u8] = b"  \"\"\n\r\0-:.019eTZ[]\\x\x7f\x80\xbf\xc3\xe9\xf0\xff";

/// Valid and invalid field values.
const VALUES: &[&str] = &[
    "-",
    "\"-\"",
    "\"\"",
    "x",
    "\"x y\"",
    "\" x\"",
    "-1",
    "0",
    "007",
    "1.5",
    "-0.25",
    "1e-3",
    "1.",
    ".5",
    "1.e5",
    "2E+3",
    "200",
    "99999999999",
    "999999999999999999999",
    "0.1234567890123456789",
    "2024-02-29T00:00:00.000001Z",
    "2023-02-29T00:00:00.000001Z",
    "2025-07-19T01:02:03",
    "2025-07-19T01:02:03.5Z",
    "192.0.2.1:80",
    "2001:db8::1:443",
    "[2001:db8::1]:443",
    "-:80",
    "192.0.2.1:-",
    "a:b",
    "\"GET http://h/ HTTP/1.1\"",
    "\"- http://h:80- \"",
    "\"- - -\"",
    "\" \"",
    "\"  \"",
    "\"GET \"",
    "\\x22",
    "\u{e9}",
    "\u{1f980}",
];

#[derive(Debug, Clone)]
enum Change {
    Replace(Index, u8),
    Insert(Index, u8),
    Delete(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = || select(NASTY);
    prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<Index>().prop_map(Change::Delete),
    ]
}

impl Change {
    fn apply(&self, line: &mut Vec<u8>) {
        match self {
            Self::Replace(at, byte) if !line.is_empty() => {
                let at = at.index(line.len());
                line[at] = *byte;
            }
            Self::Insert(at, byte) => line.insert(at.index(line.len() + 1), *byte),
            Self::Delete(at) if !line.is_empty() => {
                line.remove(at.index(line.len()));
            }
            _ => {}
        }
    }
}

/// Generates a line of any era with replaced fields, toggled quotes, and a length near a multiple of the tokenizer's
/// block size.
fn regular() -> impl Strategy<Value = Vec<u8>> {
    let count = prop_oneof![17_usize..=36, select(&[17, 18, 29, 30, 36, 37, 40][..])];
    let values = vec((any::<Index>(), select(VALUES)), 0..3);
    let toggles = vec(any::<Index>(), 0..4);
    let length = proptest::option::of((0_usize..3, 0_usize..5));
    (count, values, toggles, length).prop_map(|(count, values, toggles, length)| {
        let mut line = Line::of(count);
        for (at, value) in values {
            value.clone_into(&mut line.0[at.index(count)]);
        }
        for at in toggles {
            let field = &mut line.0[at.index(count)];
            let bare = field.trim_matches('"').to_owned();
            *field = if bare == *field { format!("\"{bare}\"") } else { bare };
        }
        if let Some((blocks, off)) = length {
            // The line ends within 2 bytes of a 64-byte block boundary.
            "p".clone_into(&mut line.0[2]);
            let least = line.text().len();
            let length = least.next_multiple_of(64) + 64 * blocks + 62 + off;
            line.0[2] = "p".repeat(1 + length - least);
        }
        line.text().into_bytes()
    })
}

/// Generates a line with line breaks in its quoted fields. Some lines are truncated.
fn torn() -> impl Strategy<Value = Vec<u8>> {
    let quoted = select(&[12_usize, 13, 17, 18, 23][..]);
    let ends = select(&["\n", "\r\n", "\n\n", "a\nb", "\n ", "\n\"", "\n\" \"", "\r"][..]);
    let tears = vec((quoted, ends, any::<Index>()), 1..4);
    let many = prop_oneof![9 => Just(0_usize), 1 => 12_usize..20];
    let cut = proptest::option::weighted(0.2, any::<Index>());
    (regular(), select(&[18_usize, 29, 30, 36][..]), tears, many, cut).prop_map(
        |(other, count, tears, many, cut)| {
            let mut line = Line::of(count);
            for (field, end, at) in tears {
                if let Some(field) = line.0.get_mut(field) {
                    let at = 1 + at.index(field.len() - 1);
                    field.insert_str(at, end);
                }
            }
            line.0[13].insert_str(1, &"\n".repeat(many));
            let mut line = line.text().into_bytes();
            if let Some(at) = cut {
                line.truncate(at.index(line.len()));
                line.push(b'\n');
                line.extend(other);
            }
            line
        },
    )
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => regular(),
        2 => torn(),
        3 => (regular(), vec(change(), 1..5)).prop_map(|(mut line, changes)| {
            for change in changes {
                change.apply(&mut line);
            }
            line
        }),
        1 => vec(select(NASTY), 0..80),
        1 => vec(any::<u8>(), 0..80),
    ]
}

pub(crate) fn text() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![4 => Just(&b"\n"[..]), 1 => Just(&b"\r\n"[..])];
    (vec((line(), end), 0..9), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text: Vec<u8> =
            lines.iter().flat_map(|(line, end)| [line, *end].concat()).collect();
        if !ended && text.last() == Some(&b'\n') {
            text.pop();
        }
        text
    })
}

/// Valid and invalid field values for all logs except Application Load Balancer access logs.
const OTHER_VALUES: &[&str] = &[
    "x25519",
    "X25519MLKEM768",
    "AB12",
    "AES128-SHA",
    "tls_x",
    "TLSv1.3",
    "ssl3",
    "0d:9F",
    "0d;9F",
    "Success",
    "Failed:ClientCertExpired",
    "Failed",
    "failed",
    "\"C=NO,O=Example AS\"",
    "C:NO",
    "NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21.5Z",
    "NotAfter=2026-06-17T22:43:21Z;NotBefore=2023-02-29T00:00:00Z",
    "NotBefore=;NotBefore=2023-09-21T22:43:21Z",
    "\"NotBefore=2023-09-21T22:43:21Z; NotAfter=2026-06-17T22:43:21Z\"",
    "notbefore=2023-09-21T22:43:21Z",
    "TID_1",
    "\"TWO WORDS\"",
    "PASS",
    "FAIL",
    "A_B",
    "Target.Timeout",
    "Target.timeout",
    "arn:aws:lambda:eu-west-1:012345678901:function:f",
    "i-0123456789abcdef0:80",
    "[2001:db8::1]:port",
    "fe80::1%eth0",
    "1.2.3",
    "1.2.3.4.5",
    "web",
    "h2",
    "forward",
    "session-reused",
    "app/my-lb/50dc6c495c0c9188",
    "503",
    "5030",
    "-5.0",
    "\"h2\",\"http/1.1\"",
    "\"h2\",\"ht",
    "\"h2",
    "h2\"",
    "\"",
    "\"\"\"",
    "\"5\"",
    "\"192.0.2.1:80\"",
    "\"2025-07-19T14:03:21\"",
    "2025-07-19T14:03:21",
    "tls",
    "tlsv13",
    "net/my-lb/50dc6c495c0c9188",
    "\"- - - \"",
    "\"- - -  \"",
    "\"- - - -\"",
    "-1",
];

/// Generates a log line from any era, with replaced or moved fields, toggled quotes and changed bytes.
fn line_of_other_log(log_type: LogType) -> impl Strategy<Value = Vec<u8>> {
    let whole = logs::full_line(log_type);
    let (required, known) = (log_type.table().required_fields, whole.0.len());
    let count = prop_oneof![9 => required..=known + 2, 1 => 1..required];
    let value = prop_oneof![
        2 => select(OTHER_VALUES).prop_map(ToOwned::to_owned),
        1 => select(VALUES).prop_map(ToOwned::to_owned),
        1 => select(whole.0.clone()),
    ];
    let values = vec((any::<Index>(), value), 0..3);
    let toggles = vec(any::<Index>(), 0..3);
    let changes = prop_oneof![2 => Just(Vec::new()), 1 => vec(change(), 1..4)];
    (count, values, toggles, changes).prop_map(move |(count, values, toggles, changes)| {
        let mut fields = whole.0.clone();
        fields.resize(count, "extra".to_owned());
        for (at, value) in values {
            fields[at.index(count)] = value;
        }
        for at in toggles {
            let field = &mut fields[at.index(count)];
            let bare = field.trim_matches('"').to_owned();
            *field = if bare == *field { format!("\"{bare}\"") } else { bare };
        }
        let mut line = fields.join(" ").into_bytes();
        for change in changes {
            change.apply(&mut line);
        }
        line
    })
}

pub(crate) fn text_of_other_log() -> impl Strategy<Value = (LogType, Vec<u8>)> {
    select(&LogType::ALL[1..]).prop_flat_map(|log_type| {
        let end = prop_oneof![4 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n\n")];
        let lines = vec((line_of_other_log(log_type), end), 1..9);
        lines.prop_map(move |lines| {
            let lines = lines.iter().flat_map(|(line, end)| [line, end.as_bytes()].concat());
            (log_type, lines.collect())
        })
    })
}

/// Generates an unquoted value: either a valid value, perhaps with random characters inserted, or only random
/// characters. The random characters are those that have a meaning in shapes, numbers and times.
fn value_of_any_column() -> impl Strategy<Value = String> {
    const CHARACTERS: &[char] = &[
        'a', 'f', 'g', 'A', 'F', 'G', 'S', 'H', 'x', 'T', 'Z', 'e', 'E', '0', '1', '2', '9', '-',
        '_', '.', ':', '/', ',', ' ', '=', '%', '[', ']', '+', '~', ';', '\u{e9}',
    ];
    let random = |length| {
        vec(select(CHARACTERS), length).prop_map(|value| value.into_iter().collect::<String>())
    };
    let logs = LogType::ALL.into_iter().flat_map(|log_type| logs::full_line(log_type).0);
    let listed = [VALUES, OTHER_VALUES].concat().into_iter().map(str::to_owned);
    let known = select(logs.chain(listed).collect::<Vec<_>>());
    let grown = (known.clone(), random(1..4), any::<Index>()).prop_map(|(value, other, at)| {
        let places: Vec<usize> =
            value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
        let (before, after) = value.split_at(*at.get(&places));
        format!("{before}{other}{after}")
    });
    let value = prop_oneof![1 => known, 2 => grown, 1 => random(0..8)];
    value.prop_map(|value| value.replace('"', ""))
}

/// Returns the configuration: 256 cases, or the number in `PROPTEST_CASES`.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Splits text at random positions.
fn cut<'t>(text: &'t [u8], at: &[Index]) -> Vec<&'t [u8]> {
    let mut at: Vec<usize> = at.iter().map(|at| at.index(text.len() + 1)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_decoder_agrees_with_the_reference_on_random_text(text in text()) {
        prop_assert_eq!(decode(&text), reference(without_blank_end(&text)));
    }

    #[test]
    fn the_decoder_agrees_with_the_reference_on_random_text_of_other_logs((log_type, text) in text_of_other_log()) {
        let table = log_type.table();
        let text = [&text[..], b"\nlast"].concat();
        prop_assert_eq!(decode_as(table, &text), reference_as(table, &text));
    }

    /// Puts the value into each field of each log type in turn, with and without quotes.
    #[test]
    fn every_column_accepts_the_same_values(value in value_of_any_column()) {
        for log_type in LogType::ALL {
            let (table, line) = (log_type.table(), logs::full_line(log_type));
            let fields = 1..=line.0.len();
            let values = [format!("\"{value}\""), value.clone()];
            let text = text_of(fields.flat_map(|number| {
                values.each_ref().map(|value| line.clone().with(number, value).text())
            }));
            prop_assert_eq!(decode_as(table, &text), reference_as(table, &text));
        }
    }

    /// A valid line becomes one row, regardless of the lines around it.
    #[test]
    fn no_good_line_is_swallowed(lines in vec(line(), 0..9)) {
        let good = |number: usize| Line::of(36).with(19, &format!("\"good{number}.example\"")).text();
        let text = (0..).zip(&lines).map(|(number, line)| {
            [&line[..], b"\n", good(number).as_bytes()].concat()
        });
        let outcome = decode(text_of(text));
        for number in 0..lines.len() {
            let expected = decode(text_of([good(number)]));
            prop_assert!(outcome.rows.contains(expected.row()), "line {}", number);
        }
    }

    #[test]
    fn members_and_chunks_make_no_difference(
        text in text(),
        cuts in vec(any::<Index>(), 0..3),
        lengths in vec(1_usize..40, 1..5),
    ) {
        let object: Vec<u8> = cut(&text, &cuts).into_iter().flat_map(gzip).collect();
        let size = object.len();
        let streamed = decode_streamed(size, ShortReads::new(object, lengths));
        prop_assert_eq!(streamed, reference(without_blank_end(&text)));
    }

    #[test]
    fn blocks_and_segments_make_no_difference(
        texts in vec(text(), 1..4),
        blocks in vec(any::<bool>(), 4),
    ) {
        // A single decoder reads all blocks, to check that no state carries over from one block to the next.
        let mut decoder = Decoder::new(LogType::Access.table());
        let mut whole = Vec::new();
        let (mut outcome, mut bytes) = (Outcome::default(), 0);
        let mut segments: Vec<Vec<u8>> = Vec::new();
        for (mut text, ends) in texts.into_iter().zip(blocks) {
            if text.last().is_some_and(|&last| last != b'\n') {
                text.push(b'\n');
            }
            whole.extend_from_slice(&text);
            segments.push(text);
            if ends {
                let segments: Vec<Vec<u8>> = std::mem::take(&mut segments);
                let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
                outcome.add(decoder.decode(&mut segments_of(&segments), |_| OBJECT), &mut bytes);
            }
        }
        let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        outcome.add(decoder.decode(&mut segments_of(&segments), |_| OBJECT), &mut bytes);
        prop_assert_eq!(outcome, reference(&whole));
    }
}

/// The text is longer than a segment, so some lines continue in the next segment. Some lines exceed the length limit,
/// and one is longer than a segment.
#[test]
fn segments_make_no_difference() {
    let mut text = Vec::new();
    for length in [10, 3 << 20, 900_000, 5, 70_000, 1 << 20, 4_100_000, 0, 1_000_000] {
        text.extend(text_of([
            Line::of(36).text(),
            Line::of(29).with(14, &format!("\"{}\"", "u".repeat(length))).text(),
            Line::of(20).with(14, "\"open").text(),
        ]));
    }
    let object = gzip(&text);
    let streamed = decode_streamed(object.len(), io::Cursor::new(object));
    let expected = reference(&text);
    assert_eq!(expected.rejects.len(), 9 + 3);
    assert_eq!(streamed.lines, expected.lines);
    assert_eq!(streamed.rejects.len(), expected.rejects.len());
    for (streamed, expected) in streamed.rejects.iter().zip(&expected.rejects) {
        // `assert_eq` would print megabytes.
        assert!(
            streamed == expected,
            "line {}: {} {}",
            streamed.line_number,
            streamed.reason,
            streamed.raw_length
        );
    }
    assert!(streamed.rows == expected.rows);
}

/// Lines that are split at the end of a 4 MiB segment are joined as if there were no segments.
#[test]
fn segments_tear_no_line() {
    const SEGMENT: usize = 4 << 20;
    let torn = Line::of(30).with(14, &format!("\"a{}b\"", "\n torn ".repeat(4))).text();
    let open = Line::of(20).with(14, "\"open").text();
    let shut = format!("{open}\n{}", "x \"\n".repeat(3));
    let good = Line::of(29).text();
    let filler = |length| Line::of(29).with(14, &format!("\"{}\"", "u".repeat(length))).text();
    for (name, last) in [("torn", &torn), ("open", &open), ("shut", &shut)] {
        // The segment ends before the lines, within the first line, or after any of the line feeds.
        let ends = last.match_indices('\n').map(|(at, _)| at + 1);
        for at in [0, 1].into_iter().chain(ends) {
            let mut text = text_of(vec![filler(1_000_000); 4]);
            let length = SEGMENT - at - text.len() - 1 - filler(0).len();
            text.extend(text_of([filler(length)]));
            assert_eq!(text.len(), SEGMENT - at);
            text.extend(text_of([last.as_str(), &good, &torn, &good]));
            let streamed = decode_streamed(gzip(&text).len(), io::Cursor::new(gzip(&text)));
            let (whole, expected) = (decode(&text), reference(&text));
            assert!(
                streamed == expected,
                "{name} at {at}: {} {}",
                streamed.joined,
                expected.joined
            );
            assert!(whole == expected, "{name} at {at}");
        }
    }
}
