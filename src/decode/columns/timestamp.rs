//! Parses ISO 8601 times in UTC to microseconds.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::NaiveDate;

use crate::decode::columns::number::{Parse, Rejected, ZEROS, are_digits, value_of};
use crate::decode::tokenizer::Span;
use crate::logs::form::{Style, Value};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Length of `2018-07-02T22:22:48.364000Z`, the form in the logs of Application and Classic Load Balancers.
const WITH_MICROS: usize = 27;
/// Length of `2018-07-02T22:22:48`, the form in the logs of Network Load Balancers.
const WITHOUT_FRACTION: usize = 19;
/// Mask of the bytes in `HH:MM:SS` that are not digits, in little-endian order.
const COLONS: u64 = 0x0000_ff00_00ff_0000;
/// Mask of the bytes in `.ffffffZ` that are not digits, in little-endian order.
const ENDS: u64 = 0xff00_0000_0000_00ff;

/// Parses times. Caches the last day, because nearly all lines in an object are from the same day.
#[derive(Debug)]
pub(crate) struct Timestamp {
    day: [u8; 10],
    day_start: i64,
}

impl Default for Timestamp {
    fn default() -> Self {
        Self { day: *b"1970-01-01", day_start: 0 }
    }
}

impl Parse for Timestamp {
    type Type = TimestampMicrosecondType;

    fn parse(&mut self, text: &[u8]) -> Result<Option<i64>, Rejected> {
        let text = text.strip_suffix(b"Z").unwrap_or(text);
        let (whole, after) = text.split_first_chunk().ok_or(Rejected)?;
        let fraction = match after {
            [] => after,
            [b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => fraction,
            _ => return Err(Rejected),
        };
        let mut padded = *b".000000Z";
        padded[1..=fraction.len()].copy_from_slice(fraction);
        Ok(Some(self.seconds(whole)? + micros(padded)?))
    }

    #[inline]
    fn quick(&mut self, text: &[u8], field: Span, style: Style) -> Option<(i64, bool)> {
        let (whole, fraction) = text[field.range()].split_first_chunk()?;
        let (micros, written) = match field.len() {
            WITH_MICROS => {
                (micros(*fraction.first_chunk()?).ok()?, Style::Time { places: 6, zulu: true })
            }
            WITHOUT_FRACTION => (0, Style::Time { places: 0, zulu: false }),
            _ => return None,
        };
        Some((self.seconds(whole).ok()? + micros, written == style))
    }

    fn value(native: i64) -> Value<'static> {
        Value::Time(native)
    }

    fn array(array: PrimitiveArray<TimestampMicrosecondType>) -> ArrayRef {
        Arc::new(array.with_timezone("UTC"))
    }
}

impl Timestamp {
    /// Parses a time without a fraction. Returns microseconds since 1970.
    #[inline]
    fn seconds(&mut self, text: &[u8; WITHOUT_FRACTION]) -> Result<i64, Rejected> {
        let (date, time) = text.split_first_chunk().expect("the text is longer than a date");
        if *date != self.day {
            self.set_day(date)?;
        }
        let clock = time.last_chunk().expect("a clock follows the `T`");
        // XOR with the zero digit turns each digit into its value.
        let clock = u64::from_le_bytes(*clock) ^ u64::from_le_bytes(*b"00:00:00");
        // Bytes that are not digits must match the pattern.
        if time[0] != b'T' || !are_digits(clock ^ ZEROS) || clock & COLONS != 0 {
            return Err(Rejected);
        }
        let pairs = clock * 10 + (clock >> 8);
        let [hour, _, _, minute, _, _, second, _] = pairs.to_le_bytes().map(u32::from);
        if hour > 23 || minute > 59 || second > 59 {
            return Err(Rejected);
        }
        let seconds = hour * 3600 + minute * 60 + second;
        Ok(self.day_start + i64::from(seconds) * MICROS_PER_SECOND)
    }

    #[cold]
    fn set_day(&mut self, date: &[u8; 10]) -> Result<(), Rejected> {
        let digits = |from: usize, to: usize| {
            let text = &date[from..to];
            let all = text.iter().all(u8::is_ascii_digit);
            all.then(|| text.iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0')))
                .ok_or(Rejected)
        };
        if date[4] != b'-' || date[7] != b'-' {
            return Err(Rejected);
        }
        let year = digits(0, 4)?.cast_signed();
        let day = NaiveDate::from_ymd_opt(year, digits(5, 7)?, digits(8, 10)?).ok_or(Rejected)?;
        let since_epoch = day.signed_duration_since(NaiveDate::default()).num_days();
        self.day_start = since_epoch * SECONDS_PER_DAY * MICROS_PER_SECOND;
        self.day = *date;
        Ok(())
    }
}

/// Parses a fraction of a second, `.ffffffZ`.
#[inline]
fn micros(text: [u8; 8]) -> Result<i64, Rejected> {
    let fraction = u64::from_le_bytes(text) ^ u64::from_le_bytes(*b".000000Z");
    if !are_digits(fraction ^ ZEROS) || fraction & ENDS != 0 {
        return Err(Rejected);
    }
    Ok(value_of((fraction << 8) ^ ZEROS).into())
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn parse(text: &str) -> Option<i64> {
        Timestamp::default().parse(text.as_bytes()).unwrap_or(None)
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(parse("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(parse("1970-01-01T00:00:00.000001Z"), Some(1));
        assert_eq!(parse("1969-12-31T23:59:59.999999Z"), Some(-1));
        assert_eq!(parse("2018-07-02T22:22:48.364123Z"), Some(1_530_570_168_364_123));
        assert_eq!(parse("2018-07-02T22:22:48.364Z"), Some(1_530_570_168_364_000));
        assert_eq!(parse("2018-07-02T22:22:48Z"), Some(1_530_570_168_000_000));
        assert_eq!(parse("2018-07-02T22:22:48"), Some(1_530_570_168_000_000));
        assert_eq!(parse("2018-07-02T22:22:48.364123"), Some(1_530_570_168_364_123));
        assert_eq!(parse("2024-02-29T00:00:00.000000Z"), Some(1_709_164_800_000_000));
    }

    proptest::proptest! {
        #[test]
        fn times_agree_with_chrono(
            text in "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,6})?Z?",
        ) {
            let plain = text.strip_suffix('Z').unwrap_or(&text);
            let expected = NaiveDateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M:%S%.f")
                .ok()
                // Load balancers never write leap seconds.
                .filter(|_| !plain[17..].starts_with("60"))
                .map(|time| time.and_utc().timestamp_micros());
            proptest::prop_assert_eq!(parse(&text), expected);
            let field = Span { start: 0, end: text.len() as u32 };
            let is_quick = [WITHOUT_FRACTION, WITH_MICROS].contains(&text.len());
            let quick = Timestamp::default().quick(text.as_bytes(), field, Style::Plain).map(|(time, _)| time);
            proptest::prop_assert_eq!(quick, expected.filter(|_| is_quick));
        }
    }

    #[test]
    fn invalid_times_are_rejected() {
        let texts = [
            "",
            "Z",
            "2018-07-02",
            "2018-07-02 22:22:48.364000Z",
            "2018-13-02T22:22:48.364000Z",
            "2023-02-29T00:00:00.000000Z",
            "2018-07-02T24:00:00.000000Z",
            "2018-07-02T22:60:00.000000Z",
            "2018-07-02T22:22:60.000000Z",
            "2018-07-02T22:22:48.36400xZ",
            "2018-07-02T22:22:48.3640000Z",
            "2018-07-02T22:22:48.Z",
            "2018-07-02T22:22:48.364000+",
            "+018-07-02T22:22:48.364000Z",
        ];
        for text in texts {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_rejected_day_is_not_cached() {
        let mut timestamp = Timestamp::default();
        assert!(timestamp.parse(b"2018-07-02T00:00:00.000000Z").is_ok());
        assert_eq!(timestamp.parse(b"2018-99-99T00:00:00.000000Z"), Err(Rejected));
        assert_eq!(timestamp.parse(b"1970-01-02T00:00:00.000000Z"), Ok(Some(86_400_000_000)));
    }
}
