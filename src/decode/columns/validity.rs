//! Parses the validity of a certificate, `NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z`.
//!
//! A time that does not parse becomes NULL, but the line is not rejected: another column contains the field as logged.

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::decode::columns::number::{Parse, Rejected};
use crate::decode::columns::timestamp::Timestamp;
use crate::decode::tokenizer::Span;
use crate::logs::form::{Style, Token, Value};

/// Parses the start of a validity.
#[derive(Debug, Default)]
pub(crate) struct NotBefore(Timestamp);

impl Parse for NotBefore {
    type Type = TimestampMicrosecondType;

    fn parse(&mut self, text: &[u8]) -> Result<Option<i64>, Rejected> {
        Ok(bound(&mut self.0, b"NotBefore=", text))
    }

    fn quick(&mut self, _: &[u8], _: Span, _: Style) -> Option<(i64, bool)> {
        None
    }

    // A line is restored from another column, which contains the field as logged.
    fn is_usual_value(_: Token, _: &[u8], _: Option<i64>) -> bool {
        true
    }

    fn value(native: i64) -> Value<'static> {
        Value::Time(native)
    }

    fn array(array: PrimitiveArray<TimestampMicrosecondType>) -> ArrayRef {
        Timestamp::array(array)
    }
}

/// Parses the end of a validity.
#[derive(Debug, Default)]
pub(crate) struct NotAfter(Timestamp);

impl Parse for NotAfter {
    type Type = TimestampMicrosecondType;

    fn parse(&mut self, text: &[u8]) -> Result<Option<i64>, Rejected> {
        Ok(bound(&mut self.0, b"NotAfter=", text))
    }

    fn quick(&mut self, _: &[u8], _: Span, _: Style) -> Option<(i64, bool)> {
        None
    }

    // A line is restored from another column, which contains the field as logged.
    fn is_usual_value(_: Token, _: &[u8], _: Option<i64>) -> bool {
        true
    }

    fn value(native: i64) -> Value<'static> {
        Value::Time(native)
    }

    fn array(array: PrimitiveArray<TimestampMicrosecondType>) -> ArrayRef {
        Timestamp::array(array)
    }
}

fn bound(time: &mut Timestamp, name: &[u8], text: &[u8]) -> Option<i64> {
    let bound = text.split(|&byte| byte == b';').find_map(|bound| bound.strip_prefix(name))?;
    time.parse(bound).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> [Option<i64>; 2] {
        let text = text.as_bytes();
        [NotBefore::default().parse(text).unwrap(), NotAfter::default().parse(text).unwrap()]
    }

    #[test]
    fn each_bound_parses_by_itself() {
        let (day, year) = (Some(86_400_000_000), Some(31_536_000_000_000));
        assert_eq!(
            parse("NotBefore=1970-01-02T00:00:00Z;NotAfter=1971-01-01T00:00:00Z"),
            [day, year]
        );
        assert_eq!(
            parse("NotAfter=1971-01-01T00:00:00Z;NotBefore=1970-01-02T00:00:00Z"),
            [day, year]
        );
        assert_eq!(parse("NotBefore=1970-01-02T00:00:00.000000Z;NotAfter=never"), [day, None]);
        assert_eq!(parse("NotBefore=;NotAfter=1971-01-01T00:00:00Z"), [None, year]);
        for nothing in ["", "-", ";", "NotBefore", "1970-01-02T00:00:00Z;1971-01-01T00:00:00Z"] {
            assert_eq!(parse(nothing), [None, None], "{nothing:?}");
        }
    }
}
