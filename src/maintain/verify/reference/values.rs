//! Parses field values: parts of composite fields, numbers and times.

use chrono::NaiveDate;

use crate::logs::schema::{Column, Kind, Part};
use crate::maintain::verify::reference::shapes;

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Unchanged text.
    Text(String),
    /// An integer of 32 or 64 bits.
    Integer(i64),
    /// A double.
    Double(f64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
}

/// The value does not parse, or does not match the shape of its column.
#[derive(Debug)]
pub(super) struct Invalid;

/// Parses a column's value from its field, which must not have quotes and must not be `-`. `None` is NULL.
pub(super) fn parse(column: &Column, field: &str) -> Result<Option<Value>, Invalid> {
    let Some(text) = part(column.part, field)? else { return Ok(None) };
    if column.shape.is_some_and(|shape| !shapes::fits(shape, text)) {
        return Err(Invalid);
    }
    if matches!(column.part, Part::NotBefore | Part::NotAfter) {
        // A separate text column contains the entire validity period, so a time that does not parse is no reason to
        // reject the line.
        return Ok(time(text).map(Value::Time));
    }
    let value = match column.kind {
        Kind::String => Some(Value::Text(text.to_owned())),
        Kind::Int32 => integer(text).filter(|n| i32::try_from(*n).is_ok()).map(Value::Integer),
        Kind::Int64 => integer(text).map(Value::Integer),
        Kind::Double => double(text).map(Value::Double),
        Kind::Timestamp => time(text).map(Value::Time),
    };
    value.map(Some).ok_or(Invalid)
}

/// Returns the part of a field that belongs in a column.
fn part(part: Part, field: &str) -> Result<Option<&str>, Invalid> {
    let endpoint = field.rsplit_once(':');
    let [verb, url, protocol] = request(field);
    let bound = |name: &str| field.split(';').find_map(|bound| bound.strip_prefix(name));
    Ok(match part {
        Part::Whole | Part::Verbatim => Some(field),
        Part::Address => endpoint.and_then(|(address, _)| {
            let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
            inner.or((address != "-").then_some(address))
        }),
        Part::Port => Some(endpoint.ok_or(Invalid)?.1).filter(|port| *port != "-"),
        Part::Verb => verb,
        Part::Url => url,
        Part::Protocol => protocol,
        Part::NotBefore => bound("NotBefore="),
        Part::NotAfter => bound("NotAfter="),
    })
}

/// Returns the verb, URL and protocol of a request line.
fn request(field: &str) -> [Option<&str>; 3] {
    let spaces: Vec<usize> = field.match_indices(' ').map(|(at, _)| at).collect();
    let (verb, url, protocol) = match spaces[..] {
        [] => (field, "-", "-"),
        [only] => (&field[..only], &field[only + 1..], "-"),
        [first, .., last] => (&field[..first], &field[first + 1..last], &field[last + 1..]),
    };
    if field == "- - - " {
        return [None; 3];
    }
    let part = |text, may_be_empty| {
        Some(text).filter(|text: &&str| *text != "-" && (may_be_empty || !text.is_empty()))
    };
    [part(verb, false), part(url, spaces.len() > 1), part(protocol, false)]
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

fn integer(text: &str) -> Option<i64> {
    let is_integer = digits(text.strip_prefix('-').unwrap_or(text));
    text.parse().ok().filter(|_| is_integer)
}

/// Matches an optional `-`, digits, an optional fraction and an optional exponent.
fn double(text: &str) -> Option<f64> {
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
    value.is_finite().then_some(value)
}

/// Matches `YYYY-MM-DDThh:mm:ss` with at most six fractional digits and an optional `Z`.
fn time(text: &str) -> Option<i64> {
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
        if digits(text) && text.len() == length { text.parse().ok() } else { None }
    };
    let micros = format!("{fraction:0<6}").parse().ok()?;
    let year = number(year, 4)?.cast_signed();
    let date = NaiveDate::from_ymd_opt(year, number(month, 2)?, number(day, 2)?)?;
    let second = number(second, 2).filter(|second| *second < 60)?;
    let time = date.and_hms_micro_opt(number(hour, 2)?, number(minute, 2)?, second, micros)?;
    Some(time.and_utc().timestamp_micros())
}
