//! A slow reference converter for lines, written from the documented rules with only the standard library.

use crate::outcome::{OBJECT, Outcome, Rejected, Row};
use crate::shapes;

const MAX_LINE: usize = 1 << 20;
const MAX_RAW: usize = 64 << 10;
const MAX_JOINED: usize = 16;

/// Converts a text line by line.
pub(crate) fn reference(text: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let (mut number, mut offset) = (0, 0);
    while number < lines.len() {
        let count = joined(&lines[number..]);
        let whole = lines[number..number + count].join(&b'\n');
        let line = without_cr(&whole);
        outcome.lines += 1;
        outcome.joined += count as u64 - 1;
        match row(line) {
            Ok(row) => outcome.rows.push(row),
            Err((reason, column)) => outcome.rejects.push(Rejected {
                line_number: number as u64 + 1,
                byte_offset: offset,
                reason: reason.to_owned(),
                column: column.map(str::to_owned),
                raw_length: line.len() as u64,
                raw: line[..line.len().min(MAX_RAW)].to_vec(),
            }),
        }
        offset += whole.len() as u64 + 1;
        number += count;
    }
    outcome
}

/// Returns how many lines at the beginning of a text form one log line.
fn joined(lines: &[&[u8]]) -> usize {
    let is_open = |line: &[u8]| row(line).is_err_and(|(reason, _)| reason == "unterminated_quote");
    if !is_open(without_cr(lines[0])) {
        return 1;
    }
    for count in 2..=lines.len().min(MAX_JOINED) {
        let whole = lines[..count].join(&b'\n');
        if row(without_cr(lines[count - 1])).is_ok() {
            return 1;
        }
        if !is_open(without_cr(&whole)) {
            return if row(without_cr(&whole)).is_ok() { count } else { 1 };
        }
    }
    1
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Removes the blank lines at the end of an object, which do not count as lines.
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

/// The type of a field: s text, t time, d double, i 32 bits, l 64 bits, e endpoint, r request.
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
pub(crate) const COLUMNS: [&[&str]; 36] = [
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
            Some(field) => {
                // Report the first column that rejects the value: for an endpoint, the address or the port.
                if !shapes::fits(index, field) {
                    return Err(("invalid_value", Some(columns[0])));
                }
                values(kind_of(index), field)
                    .ok_or(("invalid_value", Some(columns[columns.len() - 1])))?
            }
        };
        for (column, value) in columns.iter().zip(values) {
            row.insert((*column).to_owned(), value);
        }
    }
    Ok(row)
}

/// Splits a line into at most 36 unquoted fields and the remaining text.
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

/// Parses an optional `-`, digits, an optional fraction, and an optional exponent.
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

/// Returns the time with six fractional digits and a trailing `Z`.
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
