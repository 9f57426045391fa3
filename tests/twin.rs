//! A slow and obvious converter of lines, written from the rules and the standard library alone,
//! and random texts on which the fast one must equal it.

use std::io::{self, Read};

use alb2parquet::decode::Decoder;
use alb2parquet::schema::Table;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{
    FIELDS, Line, OBJECT, Outcome, Rejected, Row, decode, decode_streamed, gzip, piece_of, text_of,
};

const MAX_LINE: usize = 1 << 20;
const MAX_RAW: usize = 64 << 10;

// ---- the twin

/// Converts a text line by line.
pub(crate) fn twin(text: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = text;
    while !rest.is_empty() {
        let offset = (text.len() - rest.len()) as u64;
        let mut line = match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let line = &rest[..end];
                rest = &rest[end + 1..];
                line
            }
            None => std::mem::take(&mut rest),
        };
        if line.last() == Some(&b'\r') {
            line = &line[..line.len() - 1];
        }
        outcome.lines += 1;
        match row(line) {
            Ok(row) => outcome.rows.push(row),
            Err((reason, column)) => outcome.rejects.push(Rejected {
                line_number: outcome.lines,
                byte_offset: offset,
                reason: reason.to_owned(),
                column: column.map(str::to_owned),
                raw_length: line.len() as u64,
                raw: line[..line.len().min(MAX_RAW)].to_vec(),
            }),
        }
    }
    outcome
}

/// Blank lines at the end of an object are no lines.
pub(crate) fn without_blank_end(mut text: &[u8]) -> &[u8] {
    let ends = [&b"\r\n"[..], b"\n", b"\r"];
    let is_line = |text: &[u8]| text.is_empty() || text.ends_with(b"\n");
    while let Some(before) =
        ends.iter().find_map(|end| text.strip_suffix(*end).filter(|text| is_line(text)))
    {
        text = before;
    }
    text
}

type Refusal = (&'static str, Option<&'static str>);

/// Type of a field: s text, t time, d double, i 32 bits, l 64 bits, e endpoint, r request.
fn kind_of(field: usize) -> u8 {
    match field {
        1 | 21 => b't',
        3 | 4 => b'e',
        5..=7 => b'd',
        8 | 9 | 20 => b'i',
        10 | 11 => b'l',
        12 => b'r',
        _ => b's',
    }
}

/// Column names by field.
const COLUMNS: [&[&str]; 36] = [
    &["type"],
    &["time"],
    &["elb"],
    &["client_ip", "client_port"],
    &["target_ip", "target_port"],
    &["request_processing_time"],
    &["target_processing_time"],
    &["response_processing_time"],
    &["elb_status_code"],
    &["target_status_code"],
    &["received_bytes"],
    &["sent_bytes"],
    &["request_verb", "request_url", "request_proto"],
    &["user_agent"],
    &["ssl_cipher"],
    &["ssl_protocol"],
    &["target_group_arn"],
    &["trace_id"],
    &["domain_name"],
    &["chosen_cert_arn"],
    &["matched_rule_priority"],
    &["request_creation_time"],
    &["actions_executed"],
    &["redirect_url"],
    &["lambda_error_reason"],
    &["target_port_list"],
    &["target_status_code_list"],
    &["classification"],
    &["classification_reason"],
    &["conn_trace_id"],
    &["transformed_host"],
    &["transformed_uri"],
    &["request_transform_status"],
    &["ip_address"],
    &["target_error_code"],
    &["elb_error_code"],
];

fn row(line: &[u8]) -> Result<Row, Refusal> {
    if line.len() > MAX_LINE {
        return Err(("line_too_long", None));
    }
    let line = std::str::from_utf8(line).map_err(|_| ("invalid_utf8", None))?;
    let (fields, extra) = split(line).map_err(|reason| (reason, None))?;
    if fields.len() < 17 {
        return Err(("too_few_fields", None));
    }
    let mut row = Row::new();
    row.insert("extra_fields".to_owned(), extra);
    row.insert("source_key".to_owned(), Some(OBJECT.to_owned()));
    for (index, columns) in COLUMNS.iter().enumerate() {
        let field = fields.get(index).filter(|field| *field != "-");
        let values = match field {
            None => vec![None; columns.len()],
            Some(field) => values(kind_of(index), field)
                .ok_or(("invalid_value", Some(columns[columns.len() - 1])))?,
        };
        for (column, value) in columns.iter().zip(values) {
            row.insert((*column).to_owned(), value);
        }
    }
    Ok(row)
}

/// Splits a line into at most 36 fields without their quotes, and what follows them.
fn split(line: &str) -> Result<(Vec<String>, Option<String>), &'static str> {
    let characters: Vec<char> = line.chars().collect();
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        while characters.get(at) == Some(&' ') {
            at += 1;
        }
        if at == characters.len() {
            return Ok((fields, None));
        }
        if fields.len() == 36 {
            return Ok((fields, Some(characters[at..].iter().collect())));
        }
        let mut field = String::new();
        if characters[at] == '"' {
            at += 1;
            loop {
                match characters.get(at) {
                    None => return Err("unterminated_quote"),
                    Some('"') => break,
                    Some(other) => field.push(*other),
                }
                at += 1;
            }
            at += 1;
            if !matches!(characters.get(at), None | Some(' ')) {
                return Err("misplaced_quote");
            }
        } else {
            while let Some(&character) = characters.get(at).filter(|c| **c != ' ') {
                if character == '"' {
                    return Err("misplaced_quote");
                }
                field.push(character);
                at += 1;
            }
        }
        fields.push(field);
    }
}

fn values(kind: u8, field: &str) -> Option<Vec<Option<String>>> {
    Some(match kind {
        b't' => vec![Some(time(field)?)],
        b'd' => vec![Some(double(field)?)],
        b'i' => vec![Some(integer(field)?.parse::<i32>().ok()?.to_string())],
        b'l' => vec![Some(integer(field)?.parse::<i64>().ok()?.to_string())],
        b'e' => endpoint(field)?,
        b'r' => request(field),
        _ => vec![Some(field.to_owned())],
    })
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

fn integer(text: &str) -> Option<&str> {
    digits(text.strip_prefix('-').unwrap_or(text)).then_some(text)
}

/// `-`, digits, perhaps a point and digits, perhaps an exponent.
fn double(text: &str) -> Option<String> {
    let number = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (number, None),
    };
    let good = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(mantissa),
    };
    let exponent = exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)));
    let value: f64 = text.parse().ok().filter(|_| good && exponent)?;
    value.is_finite().then(|| format!("{value:?}"))
}

/// The time with six digits of fraction and a Z.
fn time(text: &str) -> Option<String> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, "0"),
    };
    if !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let (date, clock) = whole.split_once('T')?;
    let date: Vec<&str> = date.split('-').collect();
    let clock: Vec<&str> = clock.split(':').collect();
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), clock.as_slice()) else {
        return None;
    };
    let number = |text: &str, length: usize| -> Option<u32> {
        (digits(text) && text.len() == length).then(|| text.parse().unwrap())
    };
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    let clock = number(hour, 2)? < 24 && number(minute, 2)? < 60 && number(second, 2)? < 60;
    let good = (1..=days).contains(&day) && clock;
    good.then(|| format!("{whole}.{fraction:0<6}Z"))
}

fn endpoint(field: &str) -> Option<Vec<Option<String>>> {
    let (address, port) = field.rsplit_once(':')?;
    let port = match port {
        "-" => None,
        port => Some(integer(port)?.parse::<i32>().ok()?.to_string()),
    };
    let bracketed = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    let address = match bracketed {
        Some(inner) => Some(inner.to_owned()),
        None => (address != "-").then(|| address.to_owned()),
    };
    Some(vec![address, port])
}

fn request(field: &str) -> Vec<Option<String>> {
    let spaces: Vec<usize> = field.match_indices(' ').map(|(at, _)| at).collect();
    let (verb, url, protocol) = match spaces[..] {
        [] => (field, "-", "-"),
        [only] => (&field[..only], &field[only + 1..], "-"),
        [first, .., last] => (&field[..first], &field[first + 1..last], &field[last + 1..]),
    };
    let some = |part: &str| (part != "-").then(|| part.to_owned());
    let filled = |part: &str| some(part).filter(|part| !part.is_empty());
    let url = if spaces.len() == 1 { filled(url) } else { some(url) };
    vec![filled(verb), url, filled(protocol)]
}

// ---- random text

/// Bytes that are likely to break a tokenizer.
const NASTY: &[u8] = b"  \"\"\n\r\0-:.019eTZ[]\\x\x7f\x80\xbf\xc3\xe9\xf0\xff";

/// Values that fields may hold, good and bad.
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

/// A line of some era with some fields replaced, some quotes toggled, its length near a multiple of
/// the tokenizer's block.
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
            // A line end 2 bytes before to 2 bytes after the border of a block of 64.
            "p".clone_into(&mut line.0[2]);
            let least = line.text().len();
            let length = least.next_multiple_of(64) + 64 * blocks + 62 + off;
            line.0[2] = "p".repeat(1 + length - least);
        }
        line.text().into_bytes()
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => regular(),
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

fn text() -> impl Strategy<Value = Vec<u8>> {
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

/// 256 cases, or as many as `PROPTEST_CASES` says.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// A reader that returns little at a time, in lengths that it is given.
pub(crate) struct Crumbs {
    bytes: io::Cursor<Vec<u8>>,
    lengths: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl Crumbs {
    pub(crate) fn new(bytes: Vec<u8>, lengths: Vec<usize>) -> Self {
        let bytes = io::Cursor::new(bytes);
        let lengths = lengths.into_iter().cycle();
        Self { bytes, lengths }
    }
}

impl Read for Crumbs {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths.next().unwrap().min(buffer.len());
        self.bytes.read(&mut buffer[..length])
    }
}

/// Cuts a text at some of its bytes.
fn cut<'t>(text: &'t [u8], at: &[Index]) -> Vec<&'t [u8]> {
    let mut at: Vec<usize> = at.iter().map(|at| at.index(text.len() + 1)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_text_is_read_alike(text in text()) {
        prop_assert_eq!(decode(&text), twin(without_blank_end(&text)));
    }

    #[test]
    fn members_and_chunks_make_no_difference(
        text in text(),
        cuts in vec(any::<Index>(), 0..3),
        lengths in vec(1_usize..40, 1..5),
    ) {
        let object: Vec<u8> = cut(&text, &cuts).into_iter().flat_map(gzip).collect();
        let size = object.len();
        let streamed = decode_streamed(size, Crumbs::new(object, lengths));
        prop_assert_eq!(streamed, twin(without_blank_end(&text)));
    }

    #[test]
    fn pieces_and_parts_make_no_difference(
        texts in vec(text(), 1..4),
        pieces in vec(any::<bool>(), 4),
    ) {
        // One decoder reads all pieces: nothing may stay behind in it.
        let mut decoder = Decoder::new(Table::access());
        let mut whole = Vec::new();
        let (mut outcome, mut bytes) = (Outcome::default(), 0);
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for (mut text, ends) in texts.into_iter().zip(pieces) {
            if text.last().is_some_and(|&last| last != b'\n') {
                text.push(b'\n');
            }
            whole.extend_from_slice(&text);
            parts.push(text);
            if ends {
                let parts: Vec<Vec<u8>> = std::mem::take(&mut parts);
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                outcome.add(decoder.decode(&mut piece_of(&parts), |_| OBJECT), &mut bytes);
            }
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        outcome.add(decoder.decode(&mut piece_of(&parts), |_| OBJECT), &mut bytes);
        prop_assert_eq!(outcome, twin(&whole));
    }
}

/// More text than a segment holds, so that lines are carried from one to the next; with lines that
/// are too long, of which one does not fit into any.
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
    let expected = twin(&text);
    assert_eq!(expected.rejects.len(), 9 + 3);
    assert_eq!(streamed.lines, expected.lines);
    assert_eq!(streamed.rejects.len(), expected.rejects.len());
    for (streamed, expected) in streamed.rejects.iter().zip(&expected.rejects) {
        // Megabytes would be printed otherwise.
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

#[test]
fn the_twin_knows_the_schema() {
    let names = Table::access().columns().map(|(_, column)| column.name.as_str());
    let expected: Vec<&str> = COLUMNS.iter().flat_map(|columns| columns.iter().copied()).collect();
    assert_eq!(names.collect::<Vec<_>>(), expected);
    assert_eq!(FIELDS.len(), COLUMNS.len());
}
