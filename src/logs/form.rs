//! Defines forms: descriptions of how a line is written. A form and the values of a row together reproduce the line.
//!
//! A form looks like the line itself, with a placeholder instead of each field. Spaces, quotes and the line ending are
//! copied from the line.
//!
//! | placeholder | value |
//! |---|---|
//! | `_` | text, an integer, `address:port` or a request line |
//! | `_2` | the first two parts of a request line; also `_1` and `_0` |
//! | `[]` | `address:port` with brackets around the address |
//! | `.3` | a number with three decimal places, or `-1` |
//! | `.` | a number with as few decimal places as possible |
//! | `:6Z` | a time with six fractional digits of a second, and a `Z` |
//!
//! NULL is written as `-`, regardless of the placeholder. `schemas/*.toml` contains the usual placeholder of each field.
//! A line has the usual form if all fields have their usual placeholders, if a single space separates them, and if the
//! line ends with a line feed.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::{DateTime, Datelike, Timelike};

use crate::logs::schema::{Field, Kind, Part, Table};

/// Maximum number of decimal places.
const MAX_PLACES: u8 = 18;
/// Maximum length of a form in bytes.
pub(crate) const MAX_FORM: usize = 1024;

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// Text.
    Text(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// A double.
    Double(f64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
}

/// The values of a row.
pub trait Row {
    /// Returns the value of a column. Columns are numbered in table order.
    fn value(&self, column: usize) -> Value<'_>;
}

/// How a value is written, without surrounding quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text, an integer, `address:port` or a request line.
    Plain,
    /// Only the first parts of a request line: zero, one or two.
    Parts(u8),
    /// `address:port` with brackets around the address.
    Bracketed,
    /// A number with this many decimal places.
    Places(u8),
    /// A number with as few decimal places as possible.
    Shortest,
    /// A time.
    Time {
        /// Number of fractional digits of a second.
        places: u8,
        /// Whether a `Z` follows the time.
        zulu: bool,
    },
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// How its value is written.
    pub(crate) style: Style,
    /// Whether a space follows the value, inside the quotes.
    pub(crate) space: bool,
    /// Whether the value is in quotes.
    pub(crate) quoted: bool,
}

/// The columns that contain the values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// One column.
    Column(usize),
    /// Address and port.
    Address(usize, usize),
    /// Verb, URL and protocol.
    Request(usize, usize, usize),
}

/// Writes the lines of a table from the values of its rows.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The columns of each field. The last entry is for the text after the known fields.
    sources: Vec<Source>,
    /// The usual token of each known field.
    usual: Vec<Token>,
    /// The text of a request whose parts are all missing.
    no_request: Option<String>,
}

/// A parsed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    pieces: Vec<Piece>,
    fields: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    Field(usize, Style),
}

impl Token {
    /// Returns the usual token of a field.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        if let Some(form) = &field.form {
            return Self::parse(form);
        }
        let style = match field.columns.first()?.kind {
            Kind::Double => Style::Places(3),
            Kind::Timestamp => Style::Time { places: 6, zulu: true },
            Kind::String | Kind::Int32 | Kind::Int64 => Style::Plain,
        };
        Some(Self { style, space: false, quoted: false })
    }

    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let (style, rest) = Style::parse(inner.unwrap_or(text).as_bytes())?;
        rest.is_empty().then_some(Self { style, space: false, quoted: inner.is_some() })
    }

    /// Appends the token's placeholder to a form.
    pub(crate) fn push_to(self, form: &mut String) {
        let quote = if self.quoted { "\"" } else { "" };
        form.push_str(quote);
        match self.style {
            Style::Plain => form.push('_'),
            Style::Parts(parts) => drop(write!(form, "_{parts}")),
            Style::Bracketed => form.push_str("[]"),
            Style::Places(places) => drop(write!(form, ".{places}")),
            Style::Shortest => form.push('.'),
            Style::Time { places, zulu } => {
                let _ = write!(form, ":{places}{}", if zulu { "Z" } else { "" });
            }
        }
        if self.space {
            form.push(' ');
        }
        form.push_str(quote);
    }
}

impl Style {
    /// Returns the style of a number with this many decimal places, or `None` if there are too many.
    pub(crate) fn of_places(places: u8) -> Option<Self> {
        (places <= MAX_PLACES).then_some(Self::Places(places))
    }

    /// Parses the placeholder at the start of a form. Returns its style and the rest of the form.
    fn parse(form: &[u8]) -> Option<(Self, &[u8])> {
        let number = |text: &[u8]| {
            let digits = text.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
            let number = text[..digits].iter().fold(0, |number, digit| number * 10 + digit - b'0');
            (digits > 0).then_some((number, digits))
        };
        match form {
            [b'_', parts @ b'0'..=b'2', rest @ ..] => Some((Self::Parts(parts - b'0'), rest)),
            [b'_', rest @ ..] => Some((Self::Plain, rest)),
            [b'[', b']', rest @ ..] => Some((Self::Bracketed, rest)),
            [b'.', rest @ ..] => match number(rest) {
                Some((places, digits)) if places <= MAX_PLACES => {
                    Some((Self::Places(places), &rest[digits..]))
                }
                Some(_) => None,
                None => Some((Self::Shortest, rest)),
            },
            [b':', rest @ ..] => {
                let (places, digits) = number(rest).filter(|(places, _)| *places <= 6)?;
                let rest = &rest[digits..];
                let after = rest.strip_prefix(b"Z");
                let style = Self::Time { places, zulu: after.is_some() };
                Some((style, after.unwrap_or(rest)))
            }
            _ => None,
        }
    }
}

impl Form {
    /// Parses the form of a line from a table. Returns `None` if it is not valid.
    pub fn parse(text: &str, writer: &Writer) -> Option<Self> {
        let mut rest = text.as_bytes();
        let (mut pieces, mut fields) = (Vec::new(), 0);
        while let Some((&byte, after)) = rest.split_first() {
            if matches!(byte, b' ' | b'"' | b'\r' | b'\n') {
                pieces.push(Piece::Byte(byte));
                rest = after;
            } else {
                let (style, after) = Style::parse(rest)?;
                pieces.push(Piece::Field(fields, style));
                fields += 1;
                rest = after;
            }
        }
        (fields <= writer.sources.len() && text.len() <= MAX_FORM)
            .then_some(Self { pieces, fields })
    }

    /// Returns the number of fields in a line of this form. A form without fields describes a blank line.
    pub fn fields(&self) -> usize {
        self.fields
    }
}

impl Writer {
    /// Returns a writer for the lines of a table.
    pub fn new(table: &Table) -> Self {
        let mut sources = Vec::new();
        let mut first = 0;
        for field in &table.fields {
            let parts: Vec<Part> = field.columns.iter().map(|column| column.part).collect();
            let at = |part| parts.iter().position(|each| *each == part).map(|at| first + at);
            let address = at(Part::Address).zip(at(Part::Port));
            let request = at(Part::Verb).zip(at(Part::Url)).zip(at(Part::Protocol));
            sources.push(match (address, request) {
                (Some((address, port)), _) => Source::Address(address, port),
                (None, Some(((verb, url), protocol))) => Source::Request(verb, url, protocol),
                (None, None) => Source::Column(first),
            });
            first += parts.len();
        }
        sources.push(Source::Column(first));
        let usual = table.fields.iter().map(|field| Token::of(field).expect("checked by a test"));
        let no_request = table.fields.iter().find_map(|field| field.null.clone());
        Self { sources, usual: usual.collect(), no_request }
    }

    /// Returns the usual token of a field, or of the text after the known fields.
    pub(crate) fn usual(&self, field: usize) -> Token {
        let rest = Token { style: Style::Plain, space: false, quoted: false };
        self.usual.get(field).copied().unwrap_or(rest)
    }

    /// Returns the usual form of a line with the given number of fields. All text after the known fields counts as one
    /// field.
    pub fn usual_form(&self, fields: usize) -> String {
        let mut form = String::new();
        for field in 0..fields.min(self.sources.len()) {
            if field > 0 {
                form.push(' ');
            }
            self.usual(field).push_to(&mut form);
        }
        form.push('\n');
        form
    }

    /// Appends the line for a row.
    pub fn write_line(&self, form: &Form, row: &impl Row, out: &mut Vec<u8>) {
        for piece in &form.pieces {
            match *piece {
                Piece::Byte(byte) => out.push(byte),
                Piece::Field(field, style) => self.write_field(field, style, row, out),
            }
        }
    }

    /// Appends a field without surrounding quotes.
    pub(crate) fn write_field(
        &self,
        field: usize,
        style: Style,
        row: &impl Row,
        out: &mut Vec<u8>,
    ) {
        match self.sources[field] {
            Source::Column(column) => write_value(row.value(column), style, out),
            Source::Address(address, port) => match (row.value(address), row.value(port)) {
                (Value::Null, Value::Null) => out.push(b'-'),
                (address, port) => {
                    let bracketed = style == Style::Bracketed;
                    out.extend(bracketed.then_some(b'['));
                    write_value(address, Style::Plain, out);
                    out.extend(bracketed.then_some(b']'));
                    out.push(b':');
                    write_value(port, Style::Plain, out);
                }
            },
            Source::Request(verb, url, protocol) => {
                let parts = [verb, url, protocol].map(|column| row.value(column));
                match &self.no_request {
                    Some(text) if style == Style::Plain && parts == [Value::Null; 3] => {
                        out.extend(text.as_bytes());
                    }
                    _ => {
                        let count = if let Style::Parts(count) = style { count.into() } else { 3 };
                        for (at, part) in parts.into_iter().take(count).enumerate() {
                            out.extend((at > 0).then_some(b' '));
                            write_value(part, Style::Plain, out);
                        }
                    }
                }
            }
        }
    }
}

/// Appends a value without surrounding quotes.
pub(crate) fn write_value(value: Value<'_>, style: Style, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(b'-'),
        Value::Text(text) => out.extend_from_slice(text),
        Value::Integer(number) => write_integer(number, out),
        Value::Double(number) => write_double(number, style, out),
        Value::Time(micros) => write_time(micros, style, out),
    }
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    write_digits(number.unsigned_abs(), 1, out);
}

/// Appends a number, zero-padded to at least `least` digits.
fn write_digits(mut number: u64, least: usize, out: &mut Vec<u8>) {
    const MAX_DIGITS: usize = 20;
    let mut digits = [b'0'; MAX_DIGITS];
    let mut start = MAX_DIGITS;
    while number > 0 {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start.min(MAX_DIGITS - least)..]);
}

/// A double represents every integer below this bound exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn write_double(number: f64, style: Style, out: &mut Vec<u8>) {
    #[allow(clippy::float_cmp)] // -1 is exact
    let absent = number == -1.0;
    match style {
        _ if absent => out.extend(b"-1"),
        Style::Places(places) => {
            let scale = 10_u64.pow(places.into());
            let scaled = (number.abs() * scale as f64).round();
            if scaled >= EXACT {
                let _ = write!(out, "{number:.*}", usize::from(places));
                return;
            }
            out.extend(number.is_sign_negative().then_some(b'-'));
            let scaled = scaled as u64;
            write_digits(scaled / scale, 1, out);
            if places > 0 {
                out.push(b'.');
                write_digits(scaled % scale, places.into(), out);
            }
        }
        // `{}` writes the fewest digits that identify the number, and never an exponent.
        _ => drop(write!(out, "{number}")),
    }
}

fn write_time(micros: i64, style: Style, out: &mut Vec<u8>) {
    let (places, zulu) = match style {
        Style::Time { places, zulu } => (places, zulu),
        _ => (6, true),
    };
    let Some(time) = DateTime::from_timestamp_micros(micros) else { return };
    let number = |number: u32, least, out: &mut Vec<u8>| write_digits(number.into(), least, out);
    number(time.year().unsigned_abs(), 4, out);
    for (mark, part) in [
        (b'-', time.month()),
        (b'-', time.day()),
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        out.push(mark);
        number(part, 2, out);
    }
    if places > 0 {
        out.push(b'.');
        let fraction = time.timestamp_subsec_micros() / 10_u32.pow(6 - u32::from(places.min(6)));
        number(fraction, places.into(), out);
    }
    out.extend(zulu.then_some(b'Z'));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::schema::LogType;

    struct Values(Vec<Value<'static>>);

    impl Row for Values {
        fn value(&self, column: usize) -> Value<'_> {
            self.0.get(column).copied().unwrap_or(Value::Null)
        }
    }

    fn written(value: Value<'_>, style: Style) -> String {
        let mut out = Vec::new();
        write_value(value, style, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_usual_forms_are_forms() {
        for log_type in LogType::ALL {
            let table = log_type.table();
            let writer = Writer::new(table);
            for fields in 0..=table.fields.len() + 1 {
                let form = writer.usual_form(fields);
                assert_eq!(Form::parse(&form, &writer).unwrap().fields(), fields, "{form}");
            }
        }
        let classic = Writer::new(LogType::Classic.table()).usual_form(15);
        assert_eq!(classic, ":6Z _ _ _ . . . _ _ _ _ \"_\" \"_\" _ _\n");
    }

    #[test]
    fn other_text_is_no_form() {
        let writer = Writer::new(LogType::Classic.table());
        for text in ["x", ".19", ":7", ":", "[", "_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _", "\0"] {
            assert_eq!(Form::parse(text, &writer), None, "{text}");
        }
        assert!(Form::parse(&" ".repeat(MAX_FORM + 1), &writer).is_none());
    }

    #[test]
    fn values_are_written_as_load_balancers_write_them() {
        assert_eq!(written(Value::Integer(i64::MIN), Style::Plain), "-9223372036854775808");
        assert_eq!(written(Value::Integer(0), Style::Plain), "0");
        assert_eq!(written(Value::Double(0.001), Style::Places(3)), "0.001");
        assert_eq!(written(Value::Double(-1.0), Style::Places(3)), "-1");
        assert_eq!(written(Value::Double(-0.0), Style::Places(3)), "-0.000");
        assert_eq!(written(Value::Double(12.0), Style::Places(0)), "12");
        assert_eq!(written(Value::Double(0.000_01), Style::Shortest), "0.00001");
        assert_eq!(written(Value::Double(1e300), Style::Places(1)).len(), 303);
        let time = |places, zulu| {
            written(Value::Time(1_530_570_168_364_000), Style::Time { places, zulu })
        };
        assert_eq!(time(6, true), "2018-07-02T22:22:48.364000Z");
        assert_eq!(time(3, false), "2018-07-02T22:22:48.364");
        assert_eq!(time(0, false), "2018-07-02T22:22:48");
        assert_eq!(
            written(Value::Time(-1), Style::Time { places: 6, zulu: true }),
            "1969-12-31T23:59:59.999999Z"
        );
    }

    #[test]
    fn a_line_is_written_in_its_form() {
        let table = LogType::Classic.table();
        let writer = Writer::new(table);
        let text = |text: &'static str| Value::Text(text.as_bytes());
        let row = Values(vec![
            Value::Time(1_530_570_168_364_000),
            text("lb"),
            text("2001:db8::1"),
            Value::Integer(443),
            Value::Null,
            Value::Null,
            Value::Double(0.5),
            Value::Double(-1.0),
        ]);
        let line = |form: &str| {
            let mut out = Vec::new();
            writer.write_line(&Form::parse(form, &writer).unwrap(), &row, &mut out);
            String::from_utf8(out).unwrap()
        };
        let usual = line(&writer.usual_form(12));
        let expected =
            "2018-07-02T22:22:48.364000Z lb 2001:db8::1:443 - 0.5 -1 - - - - - \"- - - \"\n";
        assert_eq!(usual, expected);
        let verb_and_url = line("_ _ _ _ _ _ _ _ _ _ _ \"_2 \"\n");
        assert!(verb_and_url.ends_with(" \"- - \"\n"), "{verb_and_url}");
        assert_eq!(
            line("  :0  \"_\" [] \r\n"),
            "  2018-07-02T22:22:48  \"lb\" [2001:db8::1]:443 \r\n"
        );
    }
}
