//! Builds numeric columns: parses integers, ports, status codes and durations.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanBufferBuilder, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

use crate::decode::columns::{ColumnBuilder, Found, part};
use crate::decode::tokenizer::{self, Span, Spans};
use crate::logs::form::{self, Style, Token, Value};
use crate::util::arena::renew;

/// Initial capacity in bytes of the buffer for a formatted number.
const MAX_USUAL: usize = 32;

/// The error for text that is not a value of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected;

/// Parses the values of a numeric column.
pub(crate) trait Parse: Send + Default {
    /// The Arrow type of the values.
    type Type: ArrowPrimitiveType;

    /// Parses a value; `None` is NULL.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a value of the type.
    fn parse(
        &mut self,
        text: &[u8],
    ) -> Result<Option<<Self::Type as ArrowPrimitiveType>::Native>, Rejected>;

    /// Parses a field in the most common form. Also returns whether the field is written in the given style, which is
    /// the column's usual style. Returns `None` if the field is in any other form.
    fn quick(
        &mut self,
        text: &[u8],
        field: Span,
        style: Style,
    ) -> Option<(<Self::Type as ArrowPrimitiveType>::Native, bool)>;

    /// Returns whether a field of any form is written like the given token. May return a false negative.
    #[inline(never)]
    fn is_usual_value(
        token: Token,
        field: &[u8],
        value: Option<<Self::Type as ArrowPrimitiveType>::Native>,
    ) -> bool {
        let inner = if token.quoted {
            field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\""))
        } else {
            Some(field)
        };
        inner.is_some_and(|inner| match value {
            None => field.is_empty() || inner == b"-",
            // Durations of requests that no target served.
            Some(_) if inner == b"-1" => true,
            Some(value) => {
                let mut written = Vec::with_capacity(MAX_USUAL);
                form::write_value(Self::value(value), token.style, &mut written);
                written == inner
            }
        })
    }

    /// Converts a value to the type that forms use to write lines.
    fn value(native: <Self::Type as ArrowPrimitiveType>::Native) -> Value<'static>;

    /// Converts an array of the values to its final type.
    fn array(array: PrimitiveArray<Self::Type>) -> ArrayRef {
        Arc::new(array)
    }
}

/// Builds a numeric column.
pub(crate) struct NumberBuilder<P: Parse> {
    parse: P,
    values: Vec<<P::Type as ArrowPrimitiveType>::Native>,
    /// Indices of the rows that are NULL.
    nulls: Vec<usize>,
    /// How the field is usually written.
    token: Token,
}

impl<P: Parse> NumberBuilder<P> {
    /// Returns a builder for a column whose field is usually written like `token`.
    pub(crate) fn new(token: Token) -> Self {
        Self { parse: P::default(), values: Vec::new(), nulls: Vec::new(), token }
    }
}

impl<P: Parse> ColumnBuilder for NumberBuilder<P> {
    fn may_reject(&self) -> bool {
        true
    }

    fn append(&mut self, text: &[u8], fields: Spans<'_>, found: &mut Found) {
        let Self { parse, values, nulls, token } = self;
        let rows = values.len();
        let mut usual = !token.quoted;
        values.extend(fields.iter().enumerate().map(|(index, field)| {
            if let Some((value, is_usual)) = parse.quick(text, field, token.style) {
                usual &= is_usual;
                return value;
            }
            let value = unusual(parse, text, field).unwrap_or_else(|Rejected| {
                found.rejected.push(index);
                None
            });
            if !P::is_usual_value(*token, &text[field.range()], value) {
                found.unusual.push(index);
            }
            value.unwrap_or_else(|| {
                nulls.push(rows + index);
                Default::default()
            })
        }));
        if !usual {
            // Parses the fields again to find the lines. This is rare, and keeps the loop above free of branches.
            found.unusual.extend(fields.iter().enumerate().filter_map(|(index, field)| {
                let (_, is_usual) = parse.quick(text, field, token.style)?;
                (token.quoted || !is_usual).then_some(index)
            }));
        }
    }

    fn value(&self, row: usize) -> Value<'_> {
        if self.nulls.binary_search(&row).is_ok() {
            return Value::Null;
        }
        P::value(self.values[row])
    }

    fn accepts(&mut self, text: &[u8], field: Span) -> bool {
        unusual(&mut self.parse, text, field).is_ok()
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

/// Parses a field that `quick` does not accept: an unusual form, a value in quotes, or NULL.
#[inline(never)]
fn unusual<P: Parse>(
    parse: &mut P,
    text: &[u8],
    field: Span,
) -> Result<Option<<P::Type as ArrowPrimitiveType>::Native>, Rejected> {
    match tokenizer::value(text, field) {
        Some(value) => parse.parse(&text[value.range()]),
        None => Ok(None),
    }
}

/// Parses a 32-bit integer.
#[derive(Debug, Default)]
pub(crate) struct Int32;

impl Parse for Int32 {
    type Type = Int32Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i32>, Rejected> {
        i32::try_from(integer(text)?).map(Some).map_err(|_| Rejected)
    }

    #[inline]
    fn quick(&mut self, text: &[u8], field: Span, _: Style) -> Option<(i32, bool)> {
        let digits = last_eight(text, field)?;
        are_digits(digits).then(|| {
            let value = value_of(digits);
            (value.cast_signed(), value >= LEAST[field.len()])
        })
    }

    fn value(native: i32) -> Value<'static> {
        Value::Integer(native.into())
    }
}

/// Parses a 64-bit integer.
#[derive(Debug, Default)]
pub(crate) struct Int64;

impl Parse for Int64 {
    type Type = Int64Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i64>, Rejected> {
        integer(text).map(Some)
    }

    #[inline]
    fn quick(&mut self, text: &[u8], field: Span, _: Style) -> Option<(i64, bool)> {
        let digits = last_eight(text, field)?;
        are_digits(digits).then(|| {
            let value = value_of(digits);
            (value.into(), value >= LEAST[field.len()])
        })
    }

    fn value(native: i64) -> Value<'static> {
        Value::Integer(native)
    }
}

/// Parses the port in `address:port`.
#[derive(Debug, Default)]
pub(crate) struct Port;

impl Parse for Port {
    type Type = Int32Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i32>, Rejected> {
        match &text[part::colon(text).ok_or(Rejected)? + 1..] {
            b"-" => Ok(None),
            port => Int32.parse(port),
        }
    }

    #[inline]
    fn quick(&mut self, text: &[u8], field: Span, _: Style) -> Option<(i32, bool)> {
        let last = *text[field.range()].last_chunk()?;
        let length = part::CHUNK - 1 - part::last_equal(last, b':')?;
        let digits = padded(u64::from_le_bytes(last), length);
        (length > 0 && are_digits(digits)).then(|| {
            let value = value_of(digits);
            (value.cast_signed(), value >= LEAST[length])
        })
    }

    fn is_usual_value(token: Token, field: &[u8], value: Option<i32>) -> bool {
        match (value, part::colon(field)) {
            (None, _) => field.is_empty() || field == b"-",
            (Some(_), Some(colon)) => Int32::is_usual_value(token, &field[colon + 1..], value),
            (Some(_), None) => false,
        }
    }

    fn value(native: i32) -> Value<'static> {
        Value::Integer(native.into())
    }
}

/// Parses a decimal number, such as a duration in seconds.
#[derive(Debug, Default)]
pub(crate) struct Double;

impl Parse for Double {
    type Type = Float64Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<f64>, Rejected> {
        short_decimal(text).or_else(|| long_decimal(text)).map(Some).ok_or(Rejected)
    }

    // Without the attribute, the compiler calls this function for each value, because two types use it.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn quick(&mut self, text: &[u8], field: Span, style: Style) -> Option<(f64, bool)> {
        // Durations in seconds have three decimal places in Application Load Balancer logs, and six in Classic Load
        // Balancer logs.
        let word = last_eight(text, field)?;
        let length = field.len();
        let (value, digits, places) = if let Some((value, digits)) = fixed_point::<3>(word, length)
        {
            (value, digits, 3)
        } else {
            let (value, digits) = fixed_point::<6>(word, length)?;
            (value, digits, 6)
        };
        let has_places = match style {
            Style::Places(usual) => usual == places,
            Style::Shortest => (word >> 56) as u8 != b'0',
            _ => false,
        };
        // A single zero before the decimal point is allowed. The number of digits is one less than the length, because
        // the point is not a digit.
        let least =
            LEAST[length - 1] & u32::from(length == usize::from(places) + 2).wrapping_sub(1);
        Some((value, has_places && digits >= least))
    }

    fn value(native: f64) -> Value<'static> {
        Value::Double(native)
    }
}

/// Parses an HTTP status code: three digits.
#[derive(Debug, Default)]
pub(crate) struct HttpStatus;

impl Parse for HttpStatus {
    type Type = Int32Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i32>, Rejected> {
        if text.len() == 3 { Status.parse(text) } else { Err(Rejected) }
    }

    #[inline]
    fn quick(&mut self, text: &[u8], field: Span, style: Style) -> Option<(i32, bool)> {
        if field.len() == 3 { Int32.quick(text, field, style) } else { None }
    }

    fn value(native: i32) -> Value<'static> {
        Value::Integer(native.into())
    }
}

/// Parses an HTTP or gRPC status code: one to three digits.
#[derive(Debug, Default)]
pub(crate) struct Status;

impl Parse for Status {
    type Type = Int32Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<i32>, Rejected> {
        let is_code = text.len() <= 3 && text.iter().all(u8::is_ascii_digit);
        if is_code { Int32.parse(text) } else { Err(Rejected) }
    }

    #[inline]
    fn quick(&mut self, text: &[u8], field: Span, style: Style) -> Option<(i32, bool)> {
        if field.len() <= 3 { Int32.quick(text, field, style) } else { None }
    }

    fn value(native: i32) -> Value<'static> {
        Value::Integer(native.into())
    }
}

/// Parses a duration in seconds. Load balancers write a fraction, or -1 for no duration. Except for -1 and 0, whole
/// numbers are rejected, because they are status codes or sizes that belong to another column.
#[derive(Debug, Default)]
pub(crate) struct Seconds;

impl Parse for Seconds {
    type Type = Float64Type;

    #[inline]
    fn parse(&mut self, text: &[u8]) -> Result<Option<f64>, Rejected> {
        match Double.parse(text)? {
            Some(value) if !matches!(value, -1.0 | 0.0) && integer(text).is_ok() => Err(Rejected),
            value => Ok(value),
        }
    }

    #[inline]
    fn quick(&mut self, text: &[u8], field: Span, style: Style) -> Option<(f64, bool)> {
        Double.quick(text, field, style)
    }

    fn value(native: f64) -> Value<'static> {
        Value::Double(native)
    }
}

/// Parses an integer with an optional minus sign.
#[inline]
fn integer(text: &[u8]) -> Result<i64, Rejected> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 8 {
        return long_integer(text);
    }
    let mut value = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Rejected);
        }
        value = value * 10 + i64::from(digit);
    }
    Ok(if negative { -value } else { value })
}

#[cold]
fn long_integer(text: &[u8]) -> Result<i64, Rejected> {
    let plain = !text.starts_with(b"+");
    let text = std::str::from_utf8(text).map_err(|_| Rejected)?;
    text.parse().ok().filter(|_| plain).ok_or(Rejected)
}

pub(super) const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Returns a field of one to eight bytes as a word. The last byte of the field is the highest byte of the word, and the
/// bytes below the field contain the digit zero.
#[inline]
fn last_eight(text: &[u8], field: Span) -> Option<u64> {
    if field.len().wrapping_sub(1) >= 8 {
        return None;
    }
    // Always reads eight bytes, including bytes before the field: a loop over the field's length would be mispredicted.
    let last = text[..field.end as usize].last_chunk()?;
    Some(padded(u64::from_le_bytes(*last), field.len()))
}

/// Keeps the last `length` bytes of a word (0 to 8), and replaces the bytes before them with the digit zero.
#[inline]
fn padded(word: u64, length: usize) -> u64 {
    // Shifts in two steps, because a single shift by 64 bits would overflow.
    let half = 4 * length as u32;
    let before = (u64::MAX >> half) >> half;
    word & !before | ZEROS & before
}

/// The smallest number with as many digits as the index. A smaller number, padded to that length, has an unnecessary
/// leading zero.
const LEAST: [u32; 9] = [0, 0, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Returns whether all eight bytes are digits.
#[inline]
pub(super) fn are_digits(word: u64) -> bool {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const SIX: u64 = 0x0606_0606_0606_0606;
    word & HIGH == ZEROS && word.wrapping_add(SIX) & HIGH == ZEROS
}

/// Returns the value of eight digits. Combines adjacent digits into pairs, pairs into quads, and quads into the value.
#[inline]
pub(super) fn value_of(word: u64) -> u32 {
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    const QUADS: u64 = 0x0000_ffff_0000_ffff;
    let digits = word - ZEROS;
    let pairs = (digits * 10 + (digits >> 8)) & PAIRS;
    let quads = (pairs * 100 + (pairs >> 16)) & QUADS;
    (quads * 10_000 + (quads >> 32)) as u32
}

/// Parses a number with the given number of decimal places, such as `0.001` with three. `word` is the number as
/// [`last_eight`] returns it, and `length` is its length in bytes. Also returns the number without its decimal point.
#[inline]
fn fixed_point<const PLACES: usize>(word: u64, length: usize) -> Option<(f64, u32)> {
    // In a shorter field, the padding would be mistaken for the digit before the decimal point.
    if length < 1 + 1 + PLACES {
        return None;
    }
    let fraction = u64::MAX << (64 - 8 * PLACES);
    let whole = u64::MAX >> (8 * PLACES + 8);
    // The digits before the decimal point are shifted up by one byte, over the decimal point.
    let digits = word & fraction | (word & whole) << 8 | u64::from(b'0');
    let point = (word >> (56 - 8 * PLACES)) as u8;
    (point == b'.' && are_digits(digits)).then(|| {
        let digits = value_of(digits);
        (f64::from(digits) / POWERS[PLACES], digits)
    })
}

/// Powers of ten. A double represents each of them exactly.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Parses a decimal number of at most fifteen digits.
///
/// The digits as an integer and the power of ten that divides them are both exact doubles, so the single division
/// rounds correctly (Clinger, "How to Read Floating Point Numbers Accurately", 1990).
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

/// Parses a decimal number of any length, with an optional exponent.
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
mod tests;
