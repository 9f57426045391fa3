//! Tests of numeric columns.

use super::*;
use crate::decode::columns::timestamp::Timestamp;

fn int32(text: &str) -> Result<Option<i32>, Rejected> {
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
        assert_eq!(int32(text), Err(Rejected), "{text:?}");
    }
}

#[test]
fn long_integers() {
    let int64 = |text: &str| Int64.parse(text.as_bytes());
    assert_eq!(int64("9223372036854775807"), Ok(Some(i64::MAX)));
    assert_eq!(int64("-9223372036854775808"), Ok(Some(i64::MIN)));
    assert_eq!(int64("00000000000000000000001"), Ok(Some(1)));
    for text in ["9223372036854775808", "+9223372036854775807", "999999999999999999x"] {
        assert_eq!(int64(text), Err(Rejected), "{text:?}");
    }
}

#[test]
fn decimals_equal_those_of_the_standard_library() {
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

/// Checks whether `quick` parses a field, and that it returns the same value as `parse`.
fn assert_quick<P: Parse>(field: &str, usual: bool)
where
    <P::Type as ArrowPrimitiveType>::Native: PartialEq,
{
    // `quick` must ignore the bytes before and after the field.
    let text = format!("7{field}7");
    let span = Span { start: 1, end: 1 + field.len() as u32 };
    let quick = P::default().quick(text.as_bytes(), span, Style::Plain).map(|(value, _)| value);
    assert_eq!(quick.is_some(), usual, "{field:?}");
    if quick.is_some() {
        assert_eq!(Ok(quick), P::default().parse(field.as_bytes()), "{field:?}");
    }
}

#[test]
fn quick_parses_the_usual_forms() {
    // Each field ends at least eight bytes after the start of the text, as nearly all fields of a line do.
    for digits in ["1234567", "12345678"] {
        assert_quick::<Int32>(digits, true);
        assert_quick::<Int64>(digits, true);
    }
    for field in ["", "-", "123456789", "1234567x", "+1234567"] {
        assert_quick::<Int32>(field, false);
        assert_quick::<Int64>(field, false);
    }
    for field in ["1234.567", "123.456", "0.000073", "9.999999"] {
        assert_quick::<Double>(field, true);
    }
    for field in ["0.1", "12345.678", "1234567", "1234.56x", "-123.456", ".000073", "x.000073"] {
        assert_quick::<Double>(field, false);
    }
    for field in ["192.0.2.1:443", "2001:db8::1:50718", "10.0.0.1:1"] {
        assert_quick::<Port>(field, true);
    }
    for field in ["192.0.2.1:", "192.0.2.1:-", "192.0.2.1:http", "192.0.2.1", "-"] {
        assert_quick::<Port>(field, false);
    }
    assert_quick::<Timestamp>("2018-07-02T22:22:48.364123Z", true);
    assert_quick::<Timestamp>("2018-07-02T22:22:48", true);
    for field in ["2018-07-02T22:22:48.364Z", "2018-07-02T22:22:48Z", "2018-07-02 22:22:48"] {
        assert_quick::<Timestamp>(field, false);
    }
}

proptest::proptest! {
    #[test]
    fn quick_agrees_with_parse(
        field in "[0-9.:T-]{0,12}|[0-9x]{0,2}\\.[0-9:]{6}\
            |2018-0[67]-0[0-9][T ][0-2][0-9][:.0-9][0-9]{2}:[0-9]{2}([.:][0-9/:]{6}[Z0])?",
        before in "[0-9a-f .:]{8}",
    ) {
        fn check<P: Parse>(text: &[u8], span: Span) -> bool {
            let quick = P::default().quick(text, span, Style::Plain).map(|(value, _)| value);
            quick.is_none() || Ok(quick) == P::default().parse(&text[span.range()])
        }
        let text = format!("{before}{field}");
        let span = Span { start: before.len() as u32, end: text.len() as u32 };
        let text = text.as_bytes();
        proptest::prop_assert!(check::<Int32>(text, span));
        proptest::prop_assert!(check::<Int64>(text, span));
        proptest::prop_assert!(check::<Double>(text, span));
        proptest::prop_assert!(check::<Seconds>(text, span));
        proptest::prop_assert!(check::<HttpStatus>(text, span));
        proptest::prop_assert!(check::<Status>(text, span));
        proptest::prop_assert!(check::<Port>(text, span));
        proptest::prop_assert!(check::<Timestamp>(text, span));
    }
}

proptest::proptest! {
    #[test]
    fn quick_durations_are_exact(
        field in "[0-9]{1,4}\\.[0-9]{3}|[0-9]\\.[0-9]{6}",
        before in "[0-9. ]{8}",
    ) {
        let text = format!("{before}{field}");
        let span = Span { start: before.len() as u32, end: text.len() as u32 };
        let value = Double.quick(text.as_bytes(), span, Style::Plain).map(|(value, _)| value.to_bits());
        proptest::prop_assert_eq!(value, field.parse().ok().map(f64::to_bits));
    }
}

#[test]
fn statuses_have_three_digits_at_most() {
    let http = |text: &str| HttpStatus.parse(text.as_bytes());
    assert_eq!(http("460"), Ok(Some(460)));
    assert_eq!(http("000"), Ok(Some(0)));
    for text in ["12", "0200", "-1", "1.5", ""] {
        assert_eq!(http(text), Err(Rejected), "{text}");
    }
    let any = |text: &str| Status.parse(text.as_bytes());
    assert_eq!(any("0"), Ok(Some(0)));
    assert_eq!(any("12"), Ok(Some(12)));
    for text in ["1000", "-1", "+12", ""] {
        assert_eq!(any(text), Err(Rejected), "{text}");
    }
}

#[test]
fn seconds_have_a_fraction() {
    let seconds = |text: &str| Seconds.parse(text.as_bytes()).ok().flatten();
    for text in ["0.001", "-1", "-1.0", "0", "1e-05", "1.0E-5", "-0.000", "12.0"] {
        assert_eq!(seconds(text), text.parse().ok(), "{text}");
    }
    for text in ["200", "588", "-2", "443", "12345678901", "x", ""] {
        assert_eq!(seconds(text), None, "{text}");
    }
}

#[test]
fn ports() {
    let port = |text: &str| Port.parse(text.as_bytes());
    assert_eq!(port("192.0.2.1:443"), Ok(Some(443)));
    assert_eq!(port("2001:db8::1:50718"), Ok(Some(50718)));
    assert_eq!(port("192.0.2.1:-"), Ok(None));
    assert_eq!(port("192.0.2.1"), Err(Rejected));
    assert_eq!(port("192.0.2.1:"), Err(Rejected));
    assert_eq!(port("192.0.2.1:http"), Err(Rejected));
}
