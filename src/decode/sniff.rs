//! Detects, from an object's first lines, what it contains instead of the log type in its name.
//!
//! Only objects whose lines are all rejected are checked, so an invalid line among valid ones is an ordinary reject. If
//! the content is not recognized, the lines are also ordinary rejects.

use std::fmt;

use memchr::memchr_iter;
use memchr::memmem::find;

use crate::decode::columns::number::Parse;
use crate::decode::columns::timestamp::Timestamp;
use crate::decode::decoder::Decoder;
use crate::decode::tokenizer::{self, Fields, Grammar, Span};
use crate::logs::reject::{Reason, Reject};
use crate::logs::schema::LogType;

/// Number of lines to check. All of them must contain the same kind of content.
const FIRST: usize = 8;
/// Minimum number of different kinds of values that identify a line as a log line with selected fields.
const KINDS: usize = 2;
/// Minimum number of field names that identify a line as a header.
const NAMES: usize = 3;
/// Maximum length in bytes of a field separator in a log delivery
/// (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateDelivery.html>).
const MAX_SEPARATOR: usize = 5;
/// Maximum number of candidate separators to try in a line.
const MAX_CANDIDATES: usize = 4 * MAX_SEPARATOR;
/// Common field separators and their names. These separators are tried even if a line contains no time.
const SEPARATORS: [(&str, &str); 4] =
    [("\t", "tabs"), (",", "commas"), (";", "semicolons"), ("|", "vertical bars")];

/// What an object contains instead of lines of its log type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Lines of another log type.
    Log(LogType),
    /// JSON, one of CloudWatch's delivery formats.
    Json,
    /// The W3C extended log file format (<https://www.w3.org/TR/WD-logfile.html>), also a CloudWatch delivery format.
    W3c,
    /// Parquet, also a CloudWatch delivery format.
    Parquet,
    /// UTF-16 text, as some Windows tools save it.
    Utf16,
    /// HTML or XML, such as the error page of a proxy or a store.
    Markup,
    /// Log lines whose fields are not separated by spaces.
    Separated(Separator),
    /// Log lines with omitted or reordered fields.
    ChosenFields,
    /// A header line with field names.
    Header,
}

/// The string that separates the fields of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separator {
    bytes: [u8; MAX_SEPARATOR],
    length: usize,
}

impl Separator {
    /// Returns a separator. Returns `None` if `text` is too long, contains bytes that may be part of a value, or
    /// consists only of spaces.
    fn new(text: &[u8]) -> Option<Self> {
        let is_value = |byte: &u8| byte.is_ascii_alphanumeric() || b"\"-".contains(byte);
        let is_blank = text.iter().all(|&byte| byte == b' ');
        if text.len() > MAX_SEPARATOR || is_blank || text.iter().any(is_value) {
            return None;
        }
        let mut bytes = [0; MAX_SEPARATOR];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self { bytes, length: text.len() })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Returns the fields of a line without their quotes. A separator within quotes is part of a value.
    fn split(self, mut line: &[u8]) -> Vec<&[u8]> {
        let mut fields = Vec::new();
        loop {
            let mut quoted = false;
            let end = (0..line.len()).find(|&at| {
                quoted ^= line[at] == b'"';
                !quoted && line[at..].starts_with(self.as_bytes())
            });
            let field = line[..end.unwrap_or(line.len())].trim_ascii();
            let bare = field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\""));
            fields.push(bare.unwrap_or(field));
            match end {
                Some(end) => line = &line[end + self.length..],
                None => return fields,
            }
        }
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.as_bytes();
        let visible = || bytes.iter().filter(|byte| **byte != b' ');
        match SEPARATORS.iter().find(|(by, _)| visible().eq(by.as_bytes())) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log_type) => write!(f, "{log_type} log lines"),
            Self::Json => f.write_str("JSON"),
            Self::W3c => f.write_str("W3C extended log lines"),
            Self::Parquet => f.write_str("Parquet"),
            Self::Utf16 => f.write_str("UTF-16 text"),
            Self::Markup => f.write_str("HTML or XML"),
            Self::Separated(by) => write!(f, "log lines with fields separated by {by}"),
            Self::ChosenFields => f.write_str("log lines with omitted or reordered fields"),
            Self::Header => f.write_str("a header line with field names"),
        }
    }
}

impl Foreign {
    /// Returns advice for the user on handling an object with this content.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Separated(_) | Self::ChosenFields | Self::Header => {
                "Configure the log delivery with all fields, in their documented order, separated by spaces and without a header"
            }
            _ => "Move it out of the source, or rename it to match its content",
        }
    }
}

/// Recognizes the content of an object from its first rejects. All lines so far must have been rejected. Returns `None`
/// if the content is not recognized, or matches the log type in the name.
pub fn recognize(named: LogType, rejects: &[Reject]) -> Option<Foreign> {
    let lines: Vec<&[u8]> = match rejects {
        // Nothing was decompressed, so the object itself may be text.
        [whole] if whole.reason == Reason::NotGzip => whole.raw.split(|&b| b == b'\n').collect(),
        lines => lines.iter().filter(|r| !r.reason.is_damage()).map(|r| &r.raw[..]).collect(),
    };
    let mut lines = lines.into_iter().take(FIRST);
    let first = lines.next()?;
    let Some(kind) = of_line(first) else {
        let lines: Vec<&[u8]> = std::iter::once(first).chain(lines).collect();
        return have_chosen_fields(named, &lines).then_some(Foreign::ChosenFields);
    };
    // The first line alone identifies these kinds of content.
    let by_first_line = matches!(
        kind,
        Foreign::W3c | Foreign::Parquet | Foreign::Header | Foreign::Utf16 | Foreign::Markup
    );
    let alike = by_first_line || lines.all(|line| line.is_empty() || of_line(line) == Some(kind));
    (alike && kind != Foreign::Log(named)).then_some(kind)
}

fn of_line(line: &[u8]) -> Option<Foreign> {
    let begins = |marks: &[&str]| marks.iter().any(|mark| line.starts_with(mark.as_bytes()));
    if begins(&["PAR1"]) {
        Some(Foreign::Parquet)
    } else if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
        Some(Foreign::Utf16)
    } else if begins(&["#Version:", "#Fields:", "#Software:", "#Date:"]) {
        Some(Foreign::W3c)
    } else if begins(&["{\"", "[{\""]) {
        Some(Foreign::Json)
    } else if begins(&["<"]) {
        Some(Foreign::Markup)
    } else if is_header(line) {
        Some(Foreign::Header)
    } else {
        let log_type = log_type_of(line).map(Foreign::Log);
        log_type.or_else(|| separator_of(line).map(Foreign::Separated))
    }
}

/// Recognizes a header line: `type time elb client:port …`, with any separator.
fn is_header(line: &[u8]) -> bool {
    let is_separator = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"_:\"-".contains(byte);
    let names: Vec<&[u8]> = line.split(is_separator).filter(|name| !name.is_empty()).collect();
    let is_name = |name: &&&[u8]| {
        let name = name.trim_ascii().strip_prefix(b"\"").unwrap_or(name);
        let name = name.strip_suffix(b"\"").unwrap_or(name);
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        let mut fields = LogType::ALL.iter().flat_map(|log_type| &log_type.table().fields);
        fields.any(|field| is(&field.name) || field.columns.iter().any(|column| is(&column.name)))
    };
    let known = names.iter().filter(is_name).count();
    known >= NAMES && known * 2 > names.len()
}

/// Returns the field separator of a log line, unless it is a space. The candidates are the common separators and the
/// bytes after each time. The candidate that splits the line into the most kinds of values wins.
fn separator_of(line: &[u8]) -> Option<Separator> {
    let ends = memchr_iter(b'T', line).filter_map(|at| time_end(line, at));
    let after = ends.flat_map(|end| {
        let rest = &line[end..];
        let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
        (1..=rest.len().min(MAX_SEPARATOR)).map(|length| &rest[..length])
    });
    let named = SEPARATORS.iter().map(|(by, _)| by.as_bytes());
    let candidates = named.chain(after.take(MAX_CANDIDATES)).filter_map(Separator::new);
    let counted = candidates.map(|by| (count_kinds(by.split(line).into_iter()), by));
    let best = counted.filter(|(kinds, _)| *kinds >= KINDS);
    best.max_by_key(|(kinds, by)| (*kinds, by.length)).map(|(_, by)| by)
}

/// Returns the end of the time whose `T` is at the given position, with or without a fraction and a `Z`.
fn time_end(line: &[u8], at: usize) -> Option<usize> {
    const DATE: usize = "2025-07-19".len();
    const CLOCK: std::ops::RangeInclusive<usize> = "T14:03:21".len()..="T14:03:21.123456Z".len();
    let start = at.checked_sub(DATE)?;
    let is_time = |end: &usize| {
        let time = line.get(start..*end);
        time.is_some_and(|time| Timestamp::default().parse(time).is_ok())
    };
    CLOCK.rev().map(|length| at + length).find(is_time)
}

/// Returns whether log lines have omitted or reordered fields. This is true if most lines have a rejected value that
/// belongs in another column, or if all lines have the same number of fields and this number is too small.
fn have_chosen_fields(named: LogType, lines: &[&[u8]]) -> bool {
    let table = named.table();
    let mut decoder = Decoder::new(table);
    let (mut moved, mut lengths) = (0, Vec::new());
    for line in lines {
        // For an invalid line, `fields` contains only the fields before the fault.
        let mut is_whole = true;
        let fields = Fields::of(line, Grammar::of(table)).map_while(|field| {
            is_whole &= field.is_ok();
            field.ok()
        });
        let fields: Vec<Span> = fields.collect();
        let value = |field: &Span| &line[tokenizer::unquoted(line, *field).range()];
        if count_kinds(fields.iter().map(value)) < KINDS {
            continue;
        }
        let mut rejected = fields.iter().enumerate().filter(|(index, field)| {
            tokenizer::value(line, **field).is_some() && !decoder.accepts(*index, line, **field)
        });
        match rejected.next() {
            Some(first) => {
                let mut rejected = std::iter::once(first).chain(rejected);
                moved += usize::from(rejected.any(|(_, field)| Kind::of(value(field)).is_some()));
            }
            // If the line has a fault, the fields before it are not all the fields that were delivered.
            None if is_whole => lengths.push(fields.len()),
            None => {}
        }
    }
    let ended =
        lengths.iter().all(|length| *length < table.required_fields && *length == lengths[0]);
    moved * 2 > lines.len() || lines.len() > 1 && lengths.len() == lines.len() && ended
}

/// A kind of value that can be recognized without knowing its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Time,
    Arn,
    ConnectionId,
    Trace,
    Request,
    TlsVersion,
    LoadBalancer,
    Address,
}

impl Kind {
    /// Returns the kind of a value, if the kind is recognized.
    fn of(value: &[u8]) -> Option<Self> {
        let begins = |mark: &str| value.starts_with(mark.as_bytes());
        let is_address = |address: &[u8]| {
            let parts = address.split(|&byte| byte == b'.');
            let is_part =
                |part: &[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
            parts.clone().count() == 4 && parts.into_iter().all(is_part)
        };
        if Timestamp::default().parse(value).is_ok() {
            Some(Self::Time)
        } else if begins("arn:") {
            Some(Self::Arn)
        } else if begins("TID_") {
            Some(Self::ConnectionId)
        } else if begins("Root=") || begins("Self=") {
            Some(Self::Trace)
        } else if find(value, b" http").is_some() && find(value, b"://").is_some() {
            Some(Self::Request)
        } else if begins("TLSv") || begins("tlsv") {
            Some(Self::TlsVersion)
        } else if (begins("app/") || begins("net/")) && memchr_iter(b'/', value).count() == 2 {
            Some(Self::LoadBalancer)
        } else {
            let address = value.split(|&byte| byte == b':').next().unwrap_or(value);
            is_address(address).then_some(Self::Address)
        }
    }
}

/// Returns the number of different kinds among the values.
fn count_kinds<'a>(values: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut kinds: Vec<Kind> = Vec::new();
    for kind in values.filter_map(Kind::of) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.len()
}

/// Returns the log type whose table accepts the line as a row.
pub(crate) fn log_type_of(line: &[u8]) -> Option<LogType> {
    LogType::ALL.into_iter().find(|log_type| Decoder::new(log_type.table()).is_row(line))
}
