//! Checks whether a value matches the shape of its column.
//!
//! A log can be delivered with fields omitted or reordered, and its lines may still have enough fields. Values that do
//! not match the shapes of their columns reveal such lines. Each rule is broader than what load balancers are known to
//! write, so that lines with a new cipher or reason are accepted. Placeholders in published examples, such as
//! `my-redirect-url`, also match.

use memchr::memchr_iter;
use memchr::memmem::find;

use crate::decode::columns::part;
use crate::logs::schema::Shape;

/// Types of requests and health checks. No other column contains these values.
const TYPES: [&[u8]; 8] = [b"http", b"https", b"h2", b"grpcs", b"ws", b"wss", b"grpc", b"lambda"];
/// Actions of listener rules.
const ACTIONS: [&[u8]; 8] = [
    b"authenticate",
    b"fixed-response",
    b"forward",
    b"jwt-validation",
    b"redirect",
    b"rewrite",
    b"waf",
    b"waf-failed",
];
/// Other words that only one column contains.
const WORDS: [&[u8]; 7] =
    [b"Acceptable", b"Ambiguous", b"Severe", b"PASS", b"FAIL", b"Success", b"session-reused"];

impl Shape {
    /// Returns whether a value is known to match without calling [`Self::fits`]. This is true for nearly all values in
    /// columns whose values do not repeat. It costs one comparison per row instead of a call.
    #[inline]
    pub(super) fn is_usual(self, value: &[u8]) -> bool {
        match self {
            Self::Trace => value.starts_with(b"Root="),
            Self::ConnectionId => value.starts_with(b"TID_"),
            _ => false,
        }
    }

    /// Returns whether a value matches the shape. An empty value matches every shape.
    ///
    /// [`super::number`] checks numbers when it parses them.
    pub(crate) fn fits(self, value: &[u8]) -> bool {
        if value.is_empty() {
            return true;
        }
        match self {
            Self::Seconds | Self::HttpStatus | Self::Status => true,
            Self::RequestType => {
                value[0].is_ascii_lowercase()
                    && all(value, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && !ACTIONS.contains(&value)
                    && !is_short_tls_version(value)
                    && value != b"session-reused"
            }
            Self::LoadBalancer => {
                all(value, |b| is_name(b) || b == b'/')
                    && value.iter().any(u8::is_ascii_alphabetic)
                    && !is_of_another_column(value)
            }
            Self::Host => is_host(value),
            Self::IpAddress => is_ip_address(value),
            Self::Cipher => is_plain_name(value) && !is_short_tls_version(value),
            Self::TlsVersion => {
                (has_prefix(value, *b"tls") || has_prefix(value, *b"ssl"))
                    && all(value, |b| b.is_ascii_alphanumeric() || b == b'.')
            }
            Self::KeyExchange => {
                is_plain_name(value)
                    && !has_prefix(value, *b"tls")
                    && find(value, b"SHA").is_none()
                    && !all(value, |b| b.is_ascii_hexdigit())
            }
            Self::TargetGroup => is_arn(value, b":targetgroup/"),
            Self::Certificate => value == b"session-reused" || is_arn(value, b"certificate/"),
            Self::Trace => {
                value.starts_with(b"Root=")
                    || value.starts_with(b"Self=")
                    || find(value, b"Root=").is_some()
                    || find(value, b"Self=").is_some()
            }
            Self::Actions => {
                let is_action = |action: &[u8]| {
                    action.first().is_some_and(u8::is_ascii_lowercase)
                        && all(action, |b| b.is_ascii_lowercase() || b == b'-')
                        && !TYPES.contains(&action)
                        && action != b"session-reused"
                };
                value.split(|&b| b == b',').all(is_action)
            }
            Self::Url => {
                let is_placeholder = all(value, |b| b.is_ascii_lowercase() || b == b'-');
                has_scheme(value) || is_placeholder && !is_of_another_column(value)
            }
            Self::HostName => is_host_header(value),
            Self::Path => value[0] == b'/' || has_scheme(value),
            Self::Reason => is_reason(value),
            Self::Targets => value.split(|&b| b == b' ').all(is_endpoint),
            Self::TargetAddress => value.starts_with(b"arn:") || is_endpoint(value),
            Self::Statuses => {
                let is_status = |status: &[u8]| {
                    let digits = status.iter().rev().take_while(|b| b.is_ascii_digit()).count();
                    let name = &status[..status.len() - digits];
                    let is_code = name.is_empty() && (1..=3).contains(&digits);
                    let is_placeholder = digits > 0 && all(name, |b| b.is_ascii_lowercase());
                    status == b"-"
                        || is_code
                        || is_placeholder && !name.is_empty() && status != b"h2"
                };
                value.split(|&b| b == b' ').all(is_status)
            }
            Self::Classification => {
                value[0].is_ascii_alphabetic()
                    && all(&value[1..], |b| b.is_ascii_lowercase())
                    && !TYPES.contains(&value)
                    && !ACTIONS.contains(&value)
                    && value != b"Success"
            }
            Self::ConnectionId => {
                let is_placeholder = || all(value, |b| b.is_ascii_alphabetic() || b == b' ');
                value.starts_with(b"TID_") || value.contains(&b' ') && is_placeholder()
            }
            Self::ErrorCode => {
                let digits = value.strip_prefix(b"0x").unwrap_or(value);
                all(digits, |b| b.is_ascii_hexdigit())
                    || all(value, |b| b.is_ascii_uppercase() || b == b'_')
                        && !is_of_another_column(value)
            }
            Self::Subject => value.contains(&b'='),
            Self::Validity => {
                find(value, b"NotBefore=").is_some() || find(value, b"NotAfter=").is_some()
            }
            Self::SerialNumber => all(value, |b| b.is_ascii_hexdigit() || b == b':'),
            Self::VerifyStatus => value == b"Success" || value.starts_with(b"Failed"),
            Self::CheckStatus => all(value, |b| b.is_ascii_uppercase() || b == b'_'),
            Self::Version => {
                value.contains(&b'.') && all(value, |b| b.is_ascii_digit() || b == b'.')
            }
            Self::AlpnProtocol => {
                value.starts_with(b"http/") || matches!(value, [b'h', b'0'..=b'9', ..])
            }
            // AWS encodes the list that the client sent, and puts each protocol in quotes.
            Self::AlpnList => value[0] == b'"' || value.starts_with(b"%22"),
        }
    }
}

fn all(value: &[u8], allowed: impl Fn(u8) -> bool) -> bool {
    value.iter().all(|&byte| allowed(byte))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn has_prefix(value: &[u8], prefix: [u8; 3]) -> bool {
    value.first_chunk::<3>().is_some_and(|head| head.eq_ignore_ascii_case(&prefix))
}

/// Returns whether a value is a word that occurs only in other columns.
fn is_of_another_column(value: &[u8]) -> bool {
    TYPES.contains(&value)
        || ACTIONS.contains(&value)
        || WORDS.contains(&value)
        || value.starts_with(b"TID_")
}

/// Matches `ECDHE-RSA-AES128-GCM-SHA256` and `x25519`.
fn is_plain_name(value: &[u8]) -> bool {
    value[0].is_ascii_alphabetic() && all(value, is_name) && !is_of_another_column(value)
}

/// Matches `tlsv13`, a TLS version as Network Load Balancers write it. Other load balancers write `TLSv1.3`.
fn is_short_tls_version(value: &[u8]) -> bool {
    value.strip_prefix(b"tlsv").is_some_and(|version| all(version, |b| b.is_ascii_digit()))
}

/// Matches `LambdaUnhandled` and `Target.Timeout`, but no cipher or TLS version.
fn is_reason(value: &[u8]) -> bool {
    let is_valid = |pair: &[u8]| match pair {
        [b'.', next] => next.is_ascii_uppercase(),
        [b'-' | b'_', next] => next.is_ascii_lowercase(),
        _ => true,
    };
    value[0].is_ascii_alphabetic()
        && all(value, |b| is_name(b) || b == b'.')
        && value.windows(2).all(is_valid)
        && !has_prefix(value, *b"tls")
        && !is_of_another_column(value)
}

/// Returns whether a value could be a Host header: a name or an address, with or without a port.
fn is_host_header(value: &[u8]) -> bool {
    let (host, port) = value.split_at(part::colon(value).unwrap_or(value.len()));
    let is_name = all(value, is_of_host)
        && value.iter().any(u8::is_ascii_alphabetic)
        && !value.starts_with(b"TLSv")
        && !is_of_another_column(value);
    let is_port = port.len() > 1 && all(port, |b| b.is_ascii_digit() || b == b':');
    is_name || is_ip_address(value) || is_port && (all(host, is_of_host) || is_host(host))
}

/// Returns whether a byte may be part of the host name in a Host header, which clients choose freely (RFC 3986, 3.2.2).
fn is_of_host(b: u8) -> bool {
    is_name(b) || b".~%!$&'()*+;".contains(&b) || !b.is_ascii()
}

/// Matches an IP address, or a name without colons.
fn is_host(value: &[u8]) -> bool {
    if value.contains(&b':') {
        is_ip_version_6(value)
    } else {
        all(value, |b| is_name(b) || b == b'.')
    }
}

fn is_ip_address(value: &[u8]) -> bool {
    let count = |byte| memchr_iter(byte, value).count();
    let is_version_4 = all(value, |b| b.is_ascii_digit() || b == b'.') && count(b'.') == 3;
    is_version_4 || count(b':') > 1 && is_ip_version_6(value)
}

/// Matches `2001:db8::1` and `fe80::1%eth0`.
fn is_ip_version_6(value: &[u8]) -> bool {
    let (address, zone) = match value.iter().position(|&b| b == b'%') {
        Some(at) => value.split_at(at),
        None => (value, &b""[..]),
    };
    all(address, |b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        && all(zone, |b| is_name(b) || matches!(b, b'%' | b'.'))
}

/// Matches `192.0.2.1:80`, `[2001:db8::1]:80` and `target:port1`.
fn is_endpoint(value: &[u8]) -> bool {
    let Some(colon) = part::colon(value) else { return false };
    let (host, port) = (&value[..colon], &value[colon + 1..]);
    let host = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host);
    !port.is_empty() && all(port, is_name) && is_host(host)
}

/// Matches an ARN that contains `kind`, or a placeholder such as `my-cert-arn`.
fn is_arn(value: &[u8], kind: &[u8]) -> bool {
    let is_placeholder = || {
        let is_arn = value.last_chunk::<3>().is_some_and(|end| end.eq_ignore_ascii_case(b"arn"));
        is_arn && all(value, |b| b.is_ascii_alphabetic() || b == b'-')
    };
    value.starts_with(b"arn:") && find(value, kind).is_some() || is_placeholder()
}

/// Matches text that contains `://` after a scheme of letters, such as `https://example.com/`.
fn has_scheme(value: &[u8]) -> bool {
    find(value, b"://").is_some_and(|at| at > 0 && all(&value[..at], |b| b.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each shape: values that match it, and values from other columns that do not.
    const CASES: [(Shape, &[&str], &[&str]); 29] = [
        (
            Shape::RequestType,
            &["h2", "wss", "h3-new", "tls"],
            &["forward", "app/a/b", "PASS", "192.0.2.1", "tlsv13"],
        ),
        (
            Shape::LoadBalancer,
            &["app/my-lb/50dc6c495c0c9188", "my_lb"],
            &["192.0.2.1:80", "200", "https", "TID_0123", "0.001"],
        ),
        (
            Shape::Host,
            &["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "i-0123456789abcdef0", "-"],
            &["arn:aws:lambda:eu-west-1:012345678901:function:f", "2025-07-19T14:03", "a/b"],
        ),
        (
            Shape::IpAddress,
            &["192.0.2.1", "2001:db8::1", "::"],
            &["192.0.2.1:80", "0x7", "200", "0.001", "2025-07-19T14:03:21Z", "www.example.com"],
        ),
        (
            Shape::Cipher,
            &["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"],
            &["TLSv1.3", "tlsv13", "arn:aws:acm:x", "TID_01", "200", "www.example.com"],
        ),
        (Shape::TlsVersion, &["TLSv1.3", "TLSv1", "ssl2"], &["TLS_AES_128", "ECDHE-RSA", "h2"]),
        (
            Shape::KeyExchange,
            &["x25519", "secp256r1", "X25519MLKEM768", "P-256"],
            &["TLS_AES_128_GCM_SHA256", "AES128-SHA", "Success", "AB12", "app/a/b"],
        ),
        (
            Shape::TargetGroup,
            &[
                "arn:aws-cn:elasticloadbalancing:cn-north-1:012345678901:targetgroup/web/01",
                "anARN",
            ],
            &["arn:aws:acm:eu-west-1:012345678901:certificate/0", "Root=1-2-3", "forward"],
        ),
        (
            Shape::Certificate,
            &["arn:aws:iam::012345678901:server-certificate/a", "session-reused", "cert-arn"],
            &["arn:aws:elasticloadbalancing:x:0:targetgroup/a/0", "www.example.arn", "0"],
        ),
        (
            Shape::Trace,
            &["Root=1-2-3", "Self=1-2-3;Root=1-2-3;a=b c", "x=y;Root=1-2-3"],
            &["www.example.com", "2025-07-19T14:03:21.036000Z", "-1", "https://h/?a=b"],
        ),
        (
            Shape::Actions,
            &["waf,forward", "jwt-validation", "a-new-one"],
            &["https", "LambdaUnhandled", "https://h/", "192.0.2.1:80", "session-reused"],
        ),
        (
            Shape::Url,
            &["https://example.com:443/new place", "HTTP://h", "my-url"],
            &["GET https://h/ HTTP/1.1", "forward", "LambdaUnhandled", "192.0.2.1:80"],
        ),
        (
            Shape::HostName,
            &[
                "internal.example.com",
                "backend",
                "h.example:8080",
                "192.0.2.1",
                "2001:db8::1",
                "a~b",
                "a%20b:80",
            ],
            &[
                "/new/a",
                "200",
                "0.001",
                "TID_01",
                "TLSv1.3",
                "2025-07-19T14:03:21.03Z",
                "https",
                "a b",
            ],
        ),
        (Shape::Subject, &["C=NO,O=Example AS", "CN=a b"], &["0D9F3A", "Success", "TLSv1.3"]),
        (Shape::Path, &["/new?a", "https://h/a"], &["TransformSuccess", "curl/8.5.0", "h.example"]),
        (
            Shape::Reason,
            &["LambdaUnhandled", "JWTHeaderNotPresent", "Target.Timeout", "some_reason"],
            &["192.0.2.1:80", "forward", "Severe", "TLSv1", "AES128-SHA", "TLS_AES_128", "FAIL"],
        ),
        (
            Shape::Targets,
            &["192.0.2.1:80", "[2001:db8::1]:80 2001:db8::1:80", "target:port1"],
            &["200", "Acceptable", "2025-07-19T14:03:21.036000Z", "https://h:443/"],
        ),
        (Shape::Statuses, &["200", "200 - 0", "target1"], &["Severe", "0x7", "10429", "h2", "a:1"]),
        (
            Shape::Classification,
            &["Acceptable", "Severe", "class"],
            &["SpaceInUri", "TID_01", "200", "forward", "https", "PASS"],
        ),
        (
            Shape::ConnectionId,
            &["TID_0123456789abcdef0123456789abcdef", "TWO WORDS"],
            &["internal.example.com", "/a", "Severe", "curl/8.5.0 (x86_64)"],
        ),
        (
            Shape::ErrorCode,
            &["0x7", "2", "INTERNAL_ERROR"],
            &["TransformSuccess", "192.0.2.1", "PASS", "TID_01", "0.001"],
        ),
        (
            Shape::Validity,
            &["NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z", "NotAfter=x"],
            &["C=NO,O=Example AS", "0D9F3A", "Success"],
        ),
        (Shape::SerialNumber, &["0D9F3A", "0d:9f"], &["Success", "Failed:a", "x25519"]),
        (Shape::VerifyStatus, &["Success", "Failed:ClientCertExpired"], &["0D9F3A", "x25519"]),
        (
            Shape::TargetAddress,
            &["192.0.2.1:80", "arn:aws:lambda:eu-west-1:012345678901:function:f"],
            &["web", "PASS", "0.002"],
        ),
        (Shape::CheckStatus, &["PASS", "FAIL"], &["web", "200", "TimedOut"]),
        (Shape::Version, &["1.0", "2.0", "2.10"], &["2", "tls", "2025-07-19T14:03:21"]),
        (
            Shape::AlpnProtocol,
            &["h2", "http/1.1", "http/1.0", "h3"],
            &["www.example.com", "host.example", "\"h2\"", "x25519"],
        ),
        (
            Shape::AlpnList,
            &["\"h2\",\"http/1.1\"", "\"", "%22h2%22"],
            &["h2", "www.example.com", "2025-07-19T14:03:21"],
        ),
    ];

    #[test]
    fn shapes_match_values_of_their_column_and_not_of_others() {
        for (shape, own, others) in CASES {
            for value in own {
                assert!(shape.fits(value.as_bytes()), "{shape:?}: {value}");
            }
            for value in others {
                assert!(!shape.fits(value.as_bytes()), "{shape:?}: {value}");
            }
            assert!(shape.fits(b""), "{shape:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_makes_a_shape_panic(value in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            for (shape, ..) in CASES {
                shape.fits(&value);
            }
        }
    }
}
