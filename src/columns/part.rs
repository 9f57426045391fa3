//! Parts of composite fields: `address:port` and the request line.

use memchr::{memchr, memrchr};

use crate::schema::Part;

/// Returns a part of a field, or `None` where it is missing or `-`.
///
/// The port is not text; see [`split_port`].
#[inline]
pub fn of(part: Part, field: &[u8]) -> Option<&[u8]> {
    match part {
        Part::Whole | Part::Port => Some(field),
        Part::Address => address(field),
        Part::Verb => verb(field),
        Part::Url => url(field),
        Part::Protocol => protocol(field),
    }
}

/// Splits `address:port` at the last colon: IPv6 addresses are logged without brackets.
#[inline]
pub fn split_port(field: &[u8]) -> Option<(&[u8], &[u8])> {
    // Nearly every port has five digits at most, so the colon is close to the end.
    let colon = field.iter().rposition(|&b| b == b':')?;
    Some((&field[..colon], &field[colon + 1..]))
}

fn address(field: &[u8]) -> Option<&[u8]> {
    let (address, _) = split_port(field)?;
    match address {
        [b'[', inner @ .., b']'] => Some(inner),
        _ => unless_dash(address),
    }
}

fn verb(request: &[u8]) -> Option<&[u8]> {
    let verb = &request[..memchr(b' ', request).unwrap_or(request.len())];
    unless_dash(verb).filter(|verb| !verb.is_empty())
}

fn url(request: &[u8]) -> Option<&[u8]> {
    let first = memchr(b' ', request)?;
    let last = memrchr(b' ', request)?;
    if first == last {
        // No protocol: what follows the verb is the URL.
        return unless_dash(&request[first + 1..]).filter(|url| !url.is_empty());
    }
    unless_dash(&request[first + 1..last])
}

fn protocol(request: &[u8]) -> Option<&[u8]> {
    let first = memchr(b' ', request)?;
    let last = memrchr(b' ', request)?;
    let protocol = (first < last).then(|| &request[last + 1..])?;
    unless_dash(protocol).filter(|protocol| !protocol.is_empty())
}

fn unless_dash(text: &[u8]) -> Option<&[u8]> {
    (text != b"-").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_of_every_shape() {
        let cases: [(&str, [Option<&str>; 3]); 14] = [
            (
                "GET https://h:443/x HTTP/1.1",
                [Some("GET"), Some("https://h:443/x"), Some("HTTP/1.1")],
            ),
            ("- http://h:80- -", [None, Some("http://h:80-"), None]),
            ("- http://h:80- ", [None, Some("http://h:80-"), None]),
            ("- http://h:80-/ ", [None, Some("http://h:80-/"), None]),
            ("- - -", [None, None, None]),
            ("- - - ", [None, Some("- -"), None]),
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
            let parts = [Part::Verb, Part::Url, Part::Protocol]
                .map(|part| of(part, request.as_bytes()).map(|text| str::from_utf8(text).unwrap()));
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
            let address = of(Part::Address, field.as_bytes());
            let port = split_port(field.as_bytes()).map(|(_, port)| port);
            assert_eq!(address, expected.map(|(address, _)| address.as_bytes()), "{field}");
            assert_eq!(port, expected.map(|(_, port)| port.as_bytes()), "{field}");
        }
    }
}
