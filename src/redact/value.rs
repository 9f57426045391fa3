//! What is left of single values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest method that is taken for one, in bytes.
const MAX_METHOD: usize = 32;

/// Returns the network of an address, /24 or /48; `None` if it is no address.
pub(super) fn truncated(address: &str) -> Option<String> {
    let address =
        address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let network: IpAddr = match address.parse().ok()? {
        IpAddr::V4(address) => of_v4(address).into(),
        IpAddr::V6(address) => {
            if let Some(mapped) = address.to_ipv4_mapped() {
                // Its first 48 bits say nothing but that.
                of_v4(mapped).to_ipv6_mapped().into()
            } else {
                let [a, b, c, ..] = address.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
        }
    };
    Some(network.to_string())
}

fn of_v4(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 0)
}

/// Returns a URL up to its query, or its fragment.
pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Tells whether a text is a method, and not some other part of a request line that is none.
pub(super) fn is_method(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    text.len() <= MAX_METHOD && text.bytes().all(allowed)
}

/// Tells whether a text is a version of HTTP.
pub(super) fn is_protocol(text: &str) -> bool {
    let version = text.strip_prefix("HTTP/").unwrap_or("x");
    version.len() <= 3 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_host() {
        let cases = [
            ("192.0.2.17", Some("192.0.2.0")),
            ("255.255.255.255", Some("255.255.255.0")),
            ("2001:db8:514:7::f35", Some("2001:db8:514::")),
            ("[2001:db8:514:7::f35]", Some("2001:db8:514::")),
            ("::1", Some("::")),
            ("::ffff:192.0.2.17", Some("::ffff:192.0.2.0")),
            ("", None),
            ("nobody", None),
            ("192.0.2.17:80", None),
            ("192.0.2", None),
            ("fe80::1%eth0", None),
        ];
        for (address, network) in cases {
            assert_eq!(truncated(address).as_deref(), network, "{address}");
        }
    }

    #[test]
    fn urls_lose_their_query() {
        let cases = [
            ("https://h:443/a?b=c?d", "https://h:443/a"),
            ("https://h:443/a#b?c", "https://h:443/a"),
            ("https://h:443/a", "https://h:443/a"),
            ("?b", ""),
            ("", ""),
        ];
        for (url, rest) in cases {
            assert_eq!(without_query(url), rest);
        }
    }

    #[test]
    fn what_stands_beside_a_url_is_told_from_it() {
        for method in ["GET", "PROPFIND", "VERSION-CONTROL", "-"] {
            assert!(is_method(method), "{method}");
        }
        for other in ["get", "/path?x", "GET1", &"A".repeat(33), "ä"] {
            assert!(!is_method(other), "{other}");
        }
        for protocol in ["HTTP/1.1", "HTTP/2.0", "HTTP/3"] {
            assert!(is_protocol(protocol), "{protocol}");
        }
        for other in ["", "-", "HTTP", "HTTP/1.1x", "HTTP/12345", "token=1", "http/1.1"] {
            assert!(!is_protocol(other), "{other}");
        }
    }
}
