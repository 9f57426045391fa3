//! Finds the position of the fault in a rejected line.
//!
//! The decoder does not record this position in a [`Reject`]. Instead, this module parses the line again, byte by byte.

use std::ops::Range;

use crate::decode::columns::part;
use crate::decode::tokenizer::{self, Fields, Grammar, Span};
use crate::logs::reject::{Reason, Reject};
use crate::logs::schema::{Part, Table};

/// Returns the range of the bytes that caused a reject. If fields are missing, this is an empty range at the end of the
/// line.
///
/// Returns `None` for faults without a position, such as corrupt data and overlong lines. Also returns `None` if the
/// position is beyond the first 64 KiB of the line, because a reject contains no more than that.
pub fn fault_range(table: &Table, reject: &Reject) -> Option<Range<usize>> {
    let line = reject.raw.as_slice();
    let end = line.len()..line.len();
    let is_whole = reject.raw_length == line.len() as u64;
    match reject.reason {
        Reason::TooFewFields => is_whole.then_some(end),
        Reason::InvalidUtf8 => {
            let error = std::str::from_utf8(line).err()?;
            let start = error.valid_up_to();
            let length = error.error_len().or(is_whole.then(|| line.len() - start))?;
            Some(start..start + length)
        }
        Reason::InvalidValue => value(table, line, reject.column.as_deref()?),
        Reason::MisplacedQuote | Reason::UnterminatedQuote => {
            let fault = Fields::of(line, Grammar::of(table)).find_map(Result::err)?;
            (fault.reason == reject.reason).then_some(fault.at..fault.at + 1)
        }
        Reason::CorruptGzip
        | Reason::LineTooLong
        | Reason::NestedGzip
        | Reason::NotGzip
        | Reason::TrailingGarbage
        | Reason::TruncatedGzip => None,
    }
}

/// Returns the range of a column's value in a line.
fn value(table: &Table, line: &[u8], name: &str) -> Option<Range<usize>> {
    let (index, column) = table.columns().find(|(_, column)| column.name == name)?;
    let field = Fields::of(line, Grammar::of(table)).nth(index)?.ok()?;
    let value = match column.part {
        Part::Verbatim => field,
        _ => tokenizer::unquoted(line, field),
    };
    let start = match column.part {
        Part::Port => part::colon(&line[value.range()]).map_or(0, |colon| colon as u32 + 1),
        _ => 0,
    };
    Some(Span { start: value.start + start, ..value }.range())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::schema::LogType;

    /// Returns the range of the fault in a line of a health check log.
    fn fault(line: &[u8], reason: Reason, column: Option<&str>) -> Option<Range<usize>> {
        let reject = Reject {
            line_number: 1,
            byte_offset: 0,
            reason,
            column: column.map(Into::into),
            raw_length: line.len() as u64,
            raw: line.to_vec(),
        };
        fault_range(LogType::HealthCheck.table(), &reject)
    }

    #[test]
    fn a_value_is_found_by_its_column() {
        let value = |line: &[u8], column| fault(line, Reason::InvalidValue, Some(column));
        let line = b"http  2025-13-01 \"x\" 192.0.2.1:80 web PASS 200 -";
        assert_eq!(value(line, "time"), Some(6..16));
        assert_eq!(value(line, "latency"), Some(18..19));
        assert_eq!(value(line, "status_code"), Some(43..46));
        assert_eq!(value(line, "ip_address"), None);
        assert_eq!(value(line, "no_column"), None);
        let access = LogType::Access.table();
        let port = |line: &str| super::value(access, line.as_bytes(), "client_port");
        assert_eq!(port("h t e 192.0.2.1:http"), Some(16..20));
        assert_eq!(port("h t e 192.0.2.1"), Some(6..15));
    }

    #[test]
    fn faults_in_quotes_and_bytes_have_positions() {
        assert_eq!(fault(b"a \"b c", Reason::UnterminatedQuote, None), Some(2..3));
        assert_eq!(fault(b"a b\"c", Reason::MisplacedQuote, None), Some(3..4));
        assert_eq!(fault(b"a \xe2\x82 b", Reason::InvalidUtf8, None), Some(2..4));
        assert_eq!(fault(b"a \xe2\x82", Reason::InvalidUtf8, None), Some(2..4));
        assert_eq!(fault(b"a b", Reason::TooFewFields, None), Some(3..3));
        assert_eq!(fault(b"a b", Reason::TruncatedGzip, None), None);
    }

    #[test]
    fn a_fault_after_the_kept_bytes_has_no_position() {
        let cut = |raw: &[u8], reason| {
            let (raw, raw_length) = (raw.to_vec(), 1 << 20);
            let (line_number, byte_offset, column) = (1, 0, None);
            let reject = Reject { line_number, byte_offset, reason, column, raw_length, raw };
            fault_range(LogType::Access.table(), &reject)
        };
        assert_eq!(cut(b"a b", Reason::TooFewFields), None);
        assert_eq!(cut(b"a \xe2\x82", Reason::InvalidUtf8), None);
        assert_eq!(cut(b"a \xff b", Reason::InvalidUtf8), Some(2..3));
    }
}
