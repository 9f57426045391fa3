//! Redacts single values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Maximum length of a request method in bytes. Longer text is not treated as a method.
const MAX_METHOD: usize = 32;

/// Returns the network of an address: /24 for IPv4, /48 for IPv6. Returns `None` if the text is not an address. An IPv4
/// address embedded in an IPv6 address is truncated like other IPv4 addresses.
pub(super) fn truncated(address: &str) -> Option<String> {
    let address =
        address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let network: IpAddr = match address.parse().ok()? {
        IpAddr::V4(address) => of_v4(address).into(),
        IpAddr::V6(address) => of_v6(address).into(),
    };
    Some(network.to_string())
}

/// Returns the /48 prefix of an address, or a shorter prefix if the first 48 bits contain an IPv4 address.
///
/// With network-specific NAT64 prefixes (RFC 6052), a /48 contains at most the /16 of the IPv4 address. IPv4 addresses
/// in the last 64 bits (RFC 4291, ISATAP) are removed.
fn of_v6(address: Ipv6Addr) -> Ipv6Addr {
    let host = Ipv6Addr::from_bits(0xff);
    match address.segments() {
        // Well-known 96-bit prefixes, after which the /24 of the IPv4 address is kept: mapped (RFC 4291), translated
        // (RFC 2765) and NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            Ipv6Addr::from_bits(address.to_bits() & !host.to_bits())
        }
        // 6to4 (RFC 3056): the IPv4 address is in the second and third groups.
        [0x2002, high, low, ..] => Ipv6Addr::new(0x2002, high, low & 0xff00, 0, 0, 0, 0, 0),
        // Teredo (RFC 4380): the server's IPv4 address starts in the third group, and the client's IPv4 address is in
        // the last two groups.
        [0x2001, 0, ..] => Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        [a, b, c, ..] => Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0),
    }
}

fn of_v4(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 0)
}

/// Returns a URL without its query and fragment.
pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Returns whether the text is a request method rather than another part of a malformed request line.
pub(super) fn is_method(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    text.len() <= MAX_METHOD && text.bytes().all(allowed)
}

/// Returns whether the text is an HTTP version, such as `HTTP/1.1`.
pub(super) fn is_protocol(text: &str) -> bool {
    let version = text.strip_prefix("HTTP/").unwrap_or("x");
    version.len() <= 3 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_truncated_to_their_network() {
        let cases = [
            ("192.0.2.17", Some("192.0.2.0")),
            ("255.255.255.255", Some("255.255.255.0")),
            ("2001:db8:514:7::f35", Some("2001:db8:514::")),
            ("[2001:db8:514:7::f35]", Some("2001:db8:514::")),
            ("::1", Some("::")),
            ("::ffff:192.0.2.17", Some("::ffff:192.0.2.0")),
            ("::ffff:0:192.0.2.17", Some("::ffff:0:c000:200")),
            ("::192.0.2.17", Some("::")),
            ("64:ff9b::192.0.2.17", Some("64:ff9b::c000:200")),
            ("64:ff9b:1:2::192.0.2.17", Some("64:ff9b:1::")),
            ("2002:c000:211:7::f35", Some("2002:c000:200::")),
            ("2001:0:c633:6401:8000:63bf:3fff:fdee", Some("2001::")),
            ("fe80::200:5efe:192.0.2.17", Some("fe80::")),
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

    /// Embeds an IPv4 address in IPv6 addresses in every way that the RFCs define.
    fn embedded(address: Ipv4Addr, other: u128) -> Vec<Ipv6Addr> {
        let v4 = u128::from(address.to_bits());
        let low = |prefix: u128| Ipv6Addr::from_bits(prefix << 32 | v4);
        let mut all = vec![
            low(0),                                                      // RFC 4291, compatible
            low(0xffff),                                                 // RFC 4291, mapped
            low(0xffff_0000),                                            // RFC 2765, translated
            low(0x0064_ff9b << 64),                                      // RFC 6052, well-known
            low(0x0064_ff9b_0001 << 48 | other >> 80 & 0xffff_ffff),     // RFC 8215
            low(0xfe80 << 80 | 0x5efe),                                  // ISATAP
            Ipv6Addr::from_bits(0x2002 << 112 | v4 << 80 | other >> 48), // RFC 3056
            // RFC 4380, as the server and, with inverted bits, as the client.
            Ipv6Addr::from_bits(0x2001 << 112 | v4 << 64 | other >> 64),
            Ipv6Addr::from_bits(0x2001 << 112 | (other >> 64) << 32 | (!v4 & 0xffff_ffff)),
        ];
        // RFC 6052: after a network-specific prefix, skipping bits 64 to 71.
        for length in [32, 40, 48, 56, 64, 96_u32] {
            let prefix = (0x2001_0db8 << 96 | other >> 32) >> (128 - length) << (128 - length);
            let bits = match length {
                96 => v4,
                64 => v4 << 24,
                _ => {
                    let before = 64 - length;
                    let high = v4 >> (32 - before) << 64;
                    high | (v4 & ((1 << (32 - before)) - 1)) << (56 - (32 - before))
                }
            };
            all.push(Ipv6Addr::from_bits(prefix & !(0xff << 56) | bits));
        }
        all
    }

    proptest! {
        #[test]
        fn truncation_removes_the_host_of_embedded_ipv4_addresses(
            v4: u32, hosts: (u8, u8), other: u128
        ) {
            let of = |host: u8| {
                let v4 = Ipv4Addr::from_bits(v4 & 0xffff_ff00 | u32::from(host));
                let all = embedded(v4, other).into_iter();
                all.map(|address| truncated(&address.to_string()).unwrap()).collect::<Vec<_>>()
            };
            let networks = of(hosts.0);
            prop_assert_eq!(&networks, &of(hosts.1));
            for network in networks {
                prop_assert_eq!(truncated(&network), Some(network));
            }
        }
    }

    #[test]
    fn queries_and_fragments_of_urls_are_removed() {
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
    fn methods_and_protocols_are_distinguished_from_parts_of_a_url() {
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
