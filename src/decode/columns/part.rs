//! Finds the parts of composite fields: `address:port` and the request line.

use std::ops::Range;

use memchr::{memchr, memrchr};

use crate::decode::tokenizer::{self, Span};
use crate::logs::form::Token;
use crate::logs::schema::{Column, Field, Part};

/// The request field that Classic Load Balancers log for connections without HTTP
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html>).
const NO_REQUEST: &[u8] = b"- - - ";

/// How a text field is usually written.
#[derive(Debug, Clone)]
pub(crate) struct Usual {
    quoted: bool,
    /// The text of a field whose columns are all NULL, without surrounding quotes.
    null: Box<[u8]>,
}

impl Usual {
    /// Returns how a column's field is usually written.
    pub(crate) fn of(field: &Field, column: &Column, token: Token) -> Self {
        let null = match column.part {
            Part::Verb | Part::Url | Part::Protocol => field.null.as_deref().unwrap_or("- - -"),
            _ => "-",
        };
        Self { quoted: token.quoted, null: null.as_bytes().into() }
    }

    /// Returns the form for a column that contains its field unchanged.
    pub(crate) fn unchanged() -> Self {
        Self { quoted: false, null: Box::default() }
    }

    /// Returns whether a part of a field is written in its usual form. May return a false negative.
    #[allow(clippy::inline_always)] // like `of`
    #[inline(always)]
    pub(super) fn is_usual(
        &self,
        part: Part,
        text: &[u8],
        field: Span,
        value: Option<Span>,
    ) -> bool {
        let quote = u32::from(self.quoted);
        match (part, value) {
            // The checks of the verb and the protocol, which surround the URL, also cover the URL's position.
            (Part::Verbatim, _) | (Part::Url, Some(_)) => true,
            (_, None) => self.is_usual_null(part, &text[field.range()]),
            // If the address is in brackets, it starts one byte later.
            (Part::Whole | Part::Address | Part::Verb, Some(value)) => {
                value.start - field.start == quote
            }
            (Part::Protocol, Some(value)) => field.end - value.end == quote,
            (Part::Port | Part::NotBefore | Part::NotAfter, Some(_)) => false,
        }
    }

    fn is_usual_null(&self, part: Part, field: &[u8]) -> bool {
        let inner = match field {
            [] => return true,
            [b'"', inner @ .., b'"'] if self.quoted => inner,
            inner if !self.quoted => inner,
            _ => return false,
        };
        *inner == *self.null
            || match part {
                Part::Verb => inner.starts_with(b"- "),
                Part::Protocol => inner.ends_with(b" -"),
                _ => false,
            }
    }
}

/// Returns a part of a field, or `None` if it is missing or `-`.
///
/// For ports and times, which are not text, returns the entire value. [`colon`] and [`super::validity`] find those
/// parts.
#[allow(clippy::inline_always)] // a call for each row would be a third of the cost of a text column
#[inline(always)]
pub(crate) fn of(part: Part, text: &[u8], field: Span) -> Option<Span> {
    match part {
        Part::Whole | Part::Port | Part::NotBefore | Part::NotAfter => {
            tokenizer::value(text, field)
        }
        Part::Verbatim => verbatim(text, field),
        Part::Address => within(text, field, address),
        Part::Verb => within(text, field, verb),
        Part::Url => within(text, field, url),
        Part::Protocol => within(text, field, protocol),
    }
}

/// Returns a field with any quotes around it, or `None` if it is absent or `-`.
#[inline]
pub(super) fn verbatim(text: &[u8], field: Span) -> Option<Span> {
    let is_null = field.is_empty() || text[field.range()] == *b"-";
    (!is_null).then_some(field)
}

/// Returns the span that `find` locates in a field's value.
#[inline]
pub(super) fn within(
    text: &[u8],
    field: Span,
    find: impl Fn(&[u8]) -> Option<Range<usize>>,
) -> Option<Span> {
    let value = tokenizer::value(text, field)?;
    let part = find(&text[value.range()])?;
    let (from, to) = (part.start as u32, part.end as u32);
    Some(Span { start: value.start + from, end: value.start + to })
}

/// Returns the position of the last colon of `address:port`. IPv6 addresses are logged without brackets, so the address
/// can contain colons.
#[inline]
pub(crate) fn colon(field: &[u8]) -> Option<usize> {
    // Nearly every port has at most five digits, so the colon is in the last eight bytes.
    match field.last_chunk().and_then(|last| last_equal(*last, b':')) {
        Some(at) => Some(field.len() - CHUNK + at),
        None => memrchr(b':', field),
    }
}

#[inline]
pub(super) fn address(field: &[u8]) -> Option<Range<usize>> {
    let address = 0..colon(field)?;
    match field[address.clone()] {
        [b'[', .., b']'] => Some(1..address.end - 1),
        [b'-'] => None,
        _ => Some(address),
    }
}

#[inline]
pub(super) fn verb(request: &[u8]) -> Option<Range<usize>> {
    let verb = 0..first_space(request).unwrap_or(request.len());
    unless_dash(request, verb).filter(|verb| !verb.is_empty())
}

#[inline]
pub(super) fn url(request: &[u8]) -> Option<Range<usize>> {
    let first = first_space(request)?;
    let last = last_space(request)?;
    if first == last {
        // Without a protocol, the URL is everything after the verb.
        return unless_dash(request, first + 1..request.len()).filter(|url| !url.is_empty());
    }
    if request == NO_REQUEST {
        return None;
    }
    unless_dash(request, first + 1..last)
}

#[inline]
pub(super) fn protocol(request: &[u8]) -> Option<Range<usize>> {
    let last = last_space(request)?;
    let protocol = unless_dash(request, last + 1..request.len())?;
    (first_space(request)? < last && !protocol.is_empty()).then_some(protocol)
}

fn unless_dash(text: &[u8], part: Range<usize>) -> Option<Range<usize>> {
    (text[part.clone()] != *b"-").then_some(part)
}

/// Finds the first space. Verbs are short, so the first eight bytes are searched first.
#[inline]
fn first_space(request: &[u8]) -> Option<usize> {
    let found = request.first_chunk().and_then(|first| first_equal(*first, b' '));
    found.or_else(|| memchr(b' ', request))
}

/// Finds the last space. It nearly always precedes an eight-byte protocol, such as `HTTP/1.1`.
#[inline]
fn last_space(request: &[u8]) -> Option<usize> {
    const PROTOCOL: usize = 8;
    match request.split_last_chunk::<PROTOCOL>() {
        Some((head @ [.., b' '], protocol)) if equal(*protocol, b' ') == 0 => Some(head.len() - 1),
        _ => memrchr(b' ', request),
    }
}

/// Number of bytes to search at a time.
pub(super) const CHUNK: usize = 8;

/// Returns a word in which the highest bit of each byte is set if that byte equals `wanted`.
#[inline]
fn equal(bytes: [u8; CHUNK], wanted: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differences = u64::from_le_bytes(bytes) ^ u64::from_le_bytes([wanted; CHUNK]);
    !(((differences & LOW) + LOW) | differences | LOW)
}

#[inline]
fn first_equal(bytes: [u8; CHUNK], wanted: u8) -> Option<usize> {
    let equal = equal(bytes, wanted);
    (equal != 0).then(|| equal.trailing_zeros() as usize / 8)
}

#[inline]
pub(super) fn last_equal(bytes: [u8; CHUNK], wanted: u8) -> Option<usize> {
    let equal = equal(bytes, wanted);
    (equal != 0).then(|| CHUNK - 1 - equal.leading_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_of_every_shape() {
        let cases: [(&str, [Option<&str>; 3]); 15] = [
            (
                "GET https://h:443/x HTTP/1.1",
                [Some("GET"), Some("https://h:443/x"), Some("HTTP/1.1")],
            ),
            ("- http://h:80- -", [None, Some("http://h:80-"), None]),
            ("- http://h:80- ", [None, Some("http://h:80-"), None]),
            ("- http://h:80-/ ", [None, Some("http://h:80-/"), None]),
            ("- - -", [None, None, None]),
            ("- - - ", [None, None, None]),
            ("- - - -", [None, Some("- -"), None]),
            ("GET http://h:80/ HTTP/1.0 ", [Some("GET"), Some("http://h:80/ HTTP/1.0"), None]),
            (
                "GET http://h:80/a b c HTTP/1.1",
                [Some("GET"), Some("http://h:80/a b c"), Some("HTTP/1.1")],
            ),
            (
                "SSTP_DUPLEX_POST http://h/ HTTP/1.1",
                [Some("SSTP_DUPLEX_POST"), Some("http://h/"), Some("HTTP/1.1")],
            ),
            ("GET  HTTP/1.1", [Some("GET"), Some(""), Some("HTTP/1.1")]),
            ("GET http://h/", [Some("GET"), Some("http://h/"), None]),
            ("GET ", [Some("GET"), None, None]),
            ("GET", [Some("GET"), None, None]),
            ("", [None, None, None]),
        ];
        for (request, expected) in cases {
            let value = Span { start: 0, end: request.len() as u32 };
            let parts = [Part::Verb, Part::Url, Part::Protocol]
                .map(|part| of(part, request.as_bytes(), value).map(|part| &request[part.range()]));
            assert_eq!(parts, expected, "{request:?}");
        }
    }

    #[test]
    fn addresses_end_at_the_last_colon() {
        let cases: [(&str, Option<(&str, &str)>); 5] = [
            ("192.0.2.1:443", Some(("192.0.2.1", "443"))),
            ("2001:db8::1:50718", Some(("2001:db8::1", "50718"))),
            ("[2001:db8::1]:50718", Some(("2001:db8::1", "50718"))),
            (":80", Some(("", "80"))),
            ("192.0.2.1", None),
        ];
        for (field, expected) in cases {
            let value = Span { start: 0, end: field.len() as u32 };
            let address = of(Part::Address, field.as_bytes(), value);
            let port = colon(field.as_bytes()).map(|colon| &field[colon + 1..]);
            assert_eq!(
                address.map(|part| &field[part.range()]),
                expected.map(|(address, _)| address),
                "{field}"
            );
            assert_eq!(port, expected.map(|(_, port)| port), "{field}");
        }
    }
}
