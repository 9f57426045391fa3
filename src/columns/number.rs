//! Numbers: integers, durations and ports, parsed digit by digit.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanBufferBuilder, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

use crate::columns::{ColumnBuilder, part, renew};
use crate::fields::{self, Spans};

/// The text is not a value of the column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// How the values of a column of numbers are read.
pub trait Parse: Send + Default {
    /// Arrow's type of the values.
    type Type: ArrowPrimitiveType;

    /// Reads a value; `None` is NULL.
    ///
    /// # Errors
    ///
    /// Refuses text that is no value of the type.
    fn parse(
        &mut self,
        text: &[u8],
    ) -> Result<Option<<Self::Type as ArrowPrimitiveType>::Native>, Refused>;

    /// Gives an array of the values its final type.
    fn array(array: PrimitiveArray<Self::Type>) -> ArrayRef {
        Arc::new(array)
    }
}

/// Builder of a column of numbers.
pub struct Numbers<P: Parse> {
    parse: P,
    values: Vec<<P::Type as ArrowPrimitiveType>::Native>,
    /// Rows that are NULL.
    nulls: Vec<usize>,
}

impl<P: Parse> Default for Numbers<P> {
    fn default() -> Self {
        Self { parse: P::default(), values: Vec::new(), nulls: Vec::new() }
    }
}

impl<P: Parse> ColumnBuilder for Numbers<P> {
    fn may_refuse(&self) -> bool {
        true
    }

    fn append(&mut self, text: &[u8], fields: Spans<'_>, refused: &mut Vec<usize>) {
        let Self { parse, values, nulls } = self;
        let rows = values.len();
        values.extend(fields.iter().enumerate().map(|(index, field)| {
            // Nearly every number stands in the line as it is. What does not parse may be quoted or NULL.
            let value = parse.parse(&text[field.range()]).or_else(|Refused| {
                fields::value(text, field)
                    .map_or(Ok(None), |value| parse.parse(&text[value.range()]))
            });
            match value {
                Ok(Some(value)) => return value,
                Ok(None) => {}
                Err(Refused) => refused.push(index),
            }
            nulls.push(rows + index);
            Default::default()
        }));
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(self.nulls.partition_point(|&row| row < rows));
    }

    fn finish(&mut self) -> ArrayRef {
        let values = renew(&mut self.values);
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = BooleanBufferBuilder::new(values.len());
            valid.append_n(values.len(), true);
            for row in self.nulls.drain(..) {
                valid.set_bit(row, false);
            }
            NullBuffer::new(valid.finish())
        });
        P::array(PrimitiveArray::new(values.into(), nulls))
    }
}

/// Reads a 32-bit integer.
#[derive(Debug, Default)]
pub struct Int32;

impl Parse for Int32 {
    type Type = Int32Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i32>, Refused> {
        i32::try_from(integer(text)?).map(Some).map_err(|_| Refused)
    }
}

/// Reads a 64-bit integer.
#[derive(Debug, Default)]
pub struct Int64;

impl Parse for Int64 {
    type Type = Int64Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i64>, Refused> {
        integer(text).map(Some)
    }
}

/// Reads the port of `address:port`.
#[derive(Debug, Default)]
pub struct Port;

impl Parse for Port {
    type Type = Int32Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i32>, Refused> {
        match &text[part::colon(text).ok_or(Refused)? + 1..] {
            b"-" => Ok(None),
            port => Int32.parse(port),
        }
    }
}

/// Reads a decimal number, such as a duration in seconds.
#[derive(Debug, Default)]
pub struct Double;

impl Parse for Double {
    type Type = Float64Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<f64>, Refused> {
        millis(text)
            .or_else(|| short_decimal(text))
            .or_else(|| long_decimal(text))
            .map(Some)
            .ok_or(Refused)
    }
}

/// Reads an optionally negative integer.
#[inline]
fn integer(text: &[u8]) -> Result<i64, Refused> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let value = match digits.len() {
        0 => return Err(Refused),
        1..=8 => {
            let digits = eight_digits(digits);
            if !are_digits(digits) {
                return Err(Refused);
            }
            i64::from(value_of(digits))
        }
        _ => return long_integer(text),
    };
    Ok(if negative { -value } else { value })
}

#[cold]
fn long_integer(text: &[u8]) -> Result<i64, Refused> {
    let plain = !text.starts_with(b"+");
    let text = std::str::from_utf8(text).map_err(|_| Refused)?;
    text.parse().ok().filter(|_| plain).ok_or(Refused)
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Returns the one to eight characters of `text` as a word, the last in the highest byte, with
/// zeros before them.
#[inline]
fn eight_digits(text: &[u8]) -> u64 {
    let length = text.len();
    debug_assert!((1..=8).contains(&length), "one to eight characters");
    let unused = 64 - 8 * length;
    // Two words that overlap, or three characters that do: never a loop of unforeseeable length.
    let word = if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
        u64::from(u32::from_le_bytes(*head)) << unused | u64::from(u32::from_le_bytes(*tail)) << 32
    } else {
        let middle = length / 2;
        u64::from(text[0]) << unused
            | u64::from(text[middle]) << (unused + 8 * middle)
            | u64::from(text[length - 1]) << 56
    };
    word | (ZEROS >> (4 * length)) >> (4 * length)
}

/// Tells whether all eight characters are digits.
#[inline]
pub(super) fn are_digits(word: u64) -> bool {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const SIX: u64 = 0x0606_0606_0606_0606;
    word & HIGH == ZEROS && word.wrapping_add(SIX) & HIGH == ZEROS
}

/// Returns the number that eight digits are: neighbours are added up in three steps.
#[inline]
pub(super) fn value_of(word: u64) -> u32 {
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    const QUADS: u64 = 0x0000_ffff_0000_ffff;
    let digits = word - ZEROS;
    let pairs = (digits * 10 + (digits >> 8)) & PAIRS;
    let quads = (pairs * 100 + (pairs >> 16)) & QUADS;
    (quads * 10_000 + (quads >> 32)) as u32
}

/// Reads seconds with three decimals, such as `0.001`, the form of nearly every duration.
#[inline]
fn millis(text: &[u8]) -> Option<f64> {
    const WHOLE: u64 = 0x0000_0000_ffff_ffff;
    const FRACTION: u64 = 0xffff_ff00_0000_0000;
    if !(5..=8).contains(&text.len()) {
        return None;
    }
    let word = eight_digits(text);
    // `0000.001`: the point is the fifth character; what stands before it moves up by one.
    let digits = word & FRACTION | (word & WHOLE) << 8 | u64::from(b'0');
    let point = (word >> 32) as u8;
    (point == b'.' && are_digits(digits)).then(|| f64::from(value_of(digits)) / 1000.0)
}

/// Powers of ten that a double holds exactly and that are used here.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Reads a decimal of at most fifteen digits.
///
/// Its digits as an integer and the power of ten below it are both exact doubles, so that the one
/// division rounds correctly (Clinger, "How to Read Floating Point Numbers Accurately", 1990).
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > POWERS.len() {
        return None;
    }
    let mut value = 0_u64;
    let mut point = None;
    for (at, &byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
        } else if byte == b'.' && point.is_none() && at > 0 && at + 1 < digits.len() {
            point = Some(digits.len() - 1 - at);
        } else {
            return None;
        }
    }
    if point.is_none() && digits.len() == POWERS.len() {
        return None;
    }
    let value = value as f64 / POWERS[point.unwrap_or(0)];
    Some(if negative { -value } else { value })
}

/// Reads a decimal of any length, with an optional exponent.
#[cold]
fn long_decimal(text: &[u8]) -> Option<f64> {
    let allowed = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    let digit_first = text.iter().find(|b| **b != b'-').is_some_and(u8::is_ascii_digit);
    let digit_follows = match text.iter().position(|&b| b == b'.') {
        Some(point) => text.get(point + 1).is_some_and(u8::is_ascii_digit),
        None => true,
    };
    if !digit_first || !digit_follows || !text.iter().all(allowed) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int32(text: &str) -> Result<Option<i32>, Refused> {
        Int32.parse(text.as_bytes())
    }

    fn double(text: &str) -> Option<f64> {
        Double.parse(text.as_bytes()).unwrap_or(None)
    }

    #[test]
    fn integers() {
        assert_eq!(int32("200"), Ok(Some(200)));
        assert_eq!(int32("-1"), Ok(Some(-1)));
        assert_eq!(int32("007"), Ok(Some(7)));
        assert_eq!(int32("2147483647"), Ok(Some(i32::MAX)));
        assert_eq!(int32("-2147483648"), Ok(Some(i32::MIN)));
        for text in ["2147483648", "", "-", "+1", "1.0", "1 ", "0x1", "--1", "\u{661}"] {
            assert_eq!(int32(text), Err(Refused), "{text:?}");
        }
    }

    #[test]
    fn long_integers() {
        let int64 = |text: &str| Int64.parse(text.as_bytes());
        assert_eq!(int64("9223372036854775807"), Ok(Some(i64::MAX)));
        assert_eq!(int64("-9223372036854775808"), Ok(Some(i64::MIN)));
        assert_eq!(int64("00000000000000000000001"), Ok(Some(1)));
        for text in ["9223372036854775808", "+9223372036854775807", "999999999999999999x"] {
            assert_eq!(int64(text), Err(Refused), "{text:?}");
        }
    }

    #[test]
    fn decimals_are_what_the_standard_library_reads() {
        let texts = [
            "0.001",
            "-1",
            "0.000",
            "1.5414835421835185",
            "12.345",
            "0.086",
            "3600.000",
            "0.1",
            "0.3",
            "123456789012345",
            "1234567890123456",
            "1234567890.12345",
            "0.00001",
            "0.000000001",
            "99999999999999.9",
            "-0.5",
            "1e-5",
            "179769313486231570000000000000000000000",
        ];
        for text in texts {
            assert_eq!(double(text), text.parse().ok(), "{text}");
        }
        for text in
            ["", "-", ".", ".5", "5.", "1.2.3", "inf", "NaN", "-inf", "1e999", "1,5", "0x1", "+1"]
        {
            assert_eq!(double(text), None, "{text:?}");
        }
    }

    #[test]
    fn ports() {
        let port = |text: &str| Port.parse(text.as_bytes());
        assert_eq!(port("192.0.2.1:443"), Ok(Some(443)));
        assert_eq!(port("2001:db8::1:50718"), Ok(Some(50718)));
        assert_eq!(port("192.0.2.1:-"), Ok(None));
        assert_eq!(port("192.0.2.1"), Err(Refused));
        assert_eq!(port("192.0.2.1:"), Err(Refused));
        assert_eq!(port("192.0.2.1:http"), Err(Refused));
    }
}
