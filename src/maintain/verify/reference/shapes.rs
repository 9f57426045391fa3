//! Shapes of values, implemented from the rules in `docs/lines.md` with only the standard library.

use crate::logs::schema::Shape;

const TYPES: [&str; 8] = ["http", "https", "h2", "grpcs", "ws", "wss", "grpc", "lambda"];
const ACTIONS: [&str; 8] = [
    "authenticate",
    "fixed-response",
    "forward",
    "jwt-validation",
    "redirect",
    "rewrite",
    "waf",
    "waf-failed",
];
const WORDS: [&str; 7] =
    ["Acceptable", "Ambiguous", "Severe", "PASS", "FAIL", "Success", "session-reused"];

/// Returns whether a value matches a shape. The value must not be `-` and must not include quotes around it. An empty
/// value matches every shape.
pub(super) fn fits(shape: Shape, value: &str) -> bool {
    if value.is_empty() {
        return true;
    }
    match shape {
        Shape::RequestType => {
            value.starts_with(|c: char| c.is_ascii_lowercase())
                && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                && !ACTIONS.contains(&value)
                && !is_tls_version_without_a_dot(value)
                && value != "session-reused"
        }
        Shape::LoadBalancer => {
            value.chars().all(|c| c.is_ascii_alphanumeric() || "-_/".contains(c))
                && value.contains(|c: char| c.is_ascii_alphabetic())
                && !elsewhere(value)
        }
        Shape::Host => is_host(value),
        Shape::IpAddress => is_ip_address(value),
        Shape::Seconds => value.parse::<i64>().map_or(true, |n| n == 0 || n == -1),
        Shape::HttpStatus => value.len() == 3 && made_of(value, "0123456789"),
        Shape::Status => value.len() <= 3 && made_of(value, "0123456789"),
        Shape::Cipher => is_name(value) && !is_tls_version_without_a_dot(value),
        Shape::TlsVersion => {
            let lower = value.to_ascii_lowercase();
            (lower.starts_with("tls") || lower.starts_with("ssl"))
                && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        }
        Shape::KeyExchange => {
            is_name(value)
                && !value.to_ascii_lowercase().starts_with("tls")
                && !value.contains("SHA")
                && !value.chars().all(|c| c.is_ascii_hexdigit())
        }
        Shape::TargetGroup => is_arn(value, ":targetgroup/"),
        Shape::Trace => value.contains("Root=") || value.contains("Self="),
        Shape::Certificate => value == "session-reused" || is_arn(value, "certificate/"),
        Shape::Actions => value.split(',').all(|action| {
            action.starts_with(|c: char| c.is_ascii_lowercase())
                && action.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                && !TYPES.contains(&action)
                && action != "session-reused"
        }),
        Shape::Url => {
            has_scheme(value)
                || value.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !elsewhere(value)
        }
        Shape::Reason => is_reason(value),
        Shape::Targets => value.split(' ').all(is_endpoint),
        Shape::TargetAddress => value.starts_with("arn:") || is_endpoint(value),
        Shape::Statuses => value.split(' ').all(|status| {
            let name = status.trim_end_matches(|c: char| c.is_ascii_digit());
            let digits = status.len() - name.len();
            status == "-"
                || name.is_empty() && (1..=3).contains(&digits)
                || !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_lowercase())
                    && digits > 0
                    && status != "h2"
        }),
        Shape::Classification => {
            let mut rest = value.chars();
            rest.next().is_some_and(|c| c.is_ascii_alphabetic())
                && rest.all(|c| c.is_ascii_lowercase())
                && !TYPES.contains(&value)
                && !ACTIONS.contains(&value)
                && value != "Success"
        }
        Shape::ConnectionId => {
            value.starts_with("TID_")
                || value.contains(' ') && value.chars().all(|c| c.is_ascii_alphabetic() || c == ' ')
        }
        Shape::HostName => is_host_header(value),
        Shape::Path => value.starts_with('/') || has_scheme(value),
        Shape::ErrorCode => {
            value.strip_prefix("0x").unwrap_or(value).chars().all(|c| c.is_ascii_hexdigit())
                || value.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !elsewhere(value)
        }
        Shape::Subject => value.contains('='),
        Shape::Validity => value.contains("NotBefore=") || value.contains("NotAfter="),
        Shape::SerialNumber => value.chars().all(|c| c.is_ascii_hexdigit() || c == ':'),
        Shape::VerifyStatus => value == "Success" || value.starts_with("Failed"),
        Shape::CheckStatus => value.chars().all(|c| c.is_ascii_uppercase() || c == '_'),
        Shape::Version => value.contains('.') && made_of(value, "0123456789."),
        Shape::AlpnProtocol => {
            let digit = value.strip_prefix('h').and_then(|rest| rest.chars().next());
            digit.is_some_and(|c| c.is_ascii_digit()) || value.starts_with("http/")
        }
        Shape::AlpnList => value.starts_with('"') || value.starts_with("%22"),
    }
}

fn is_ip_address(value: &str) -> bool {
    value.matches('.').count() == 3 && made_of(value, "0123456789.")
        || value.matches(':').count() > 1 && is_ip_version_6(value)
}

/// Returns whether a value can be the name of a cipher or a key exchange.
fn is_name(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        && !elsewhere(value)
}

fn is_tls_version_without_a_dot(value: &str) -> bool {
    value.strip_prefix("tlsv").is_some_and(|version| made_of(version, "0123456789"))
}

fn is_endpoint(value: &str) -> bool {
    value.rsplit_once(':').is_some_and(|(host, port)| {
        !port.is_empty()
            && port.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && is_host(unbracketed(host))
    })
}

fn is_host_header(value: &str) -> bool {
    let of_host =
        |c: char| c.is_ascii_alphanumeric() || "-_.~%!$&'()*+;".contains(c) || !c.is_ascii();
    let (host, port) = value.rsplit_once(':').unwrap_or((value, "none"));
    let is_name = value.chars().all(of_host)
        && value.contains(|c: char| c.is_ascii_alphabetic())
        && !value.starts_with("TLSv")
        && !elsewhere(value);
    let is_port = !port.is_empty() && made_of(port, "0123456789");
    is_name || is_ip_address(value) || is_port && (host.chars().all(of_host) || is_host(host))
}

fn made_of(value: &str, characters: &str) -> bool {
    value.chars().all(|c| characters.contains(c))
}

/// Returns whether a value is a word or an ID that can only belong to another field.
fn elsewhere(value: &str) -> bool {
    [&TYPES[..], &ACTIONS, &WORDS].concat().contains(&value) || value.starts_with("TID_")
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_host(host: &str) -> bool {
    if host.contains(':') {
        return is_ip_version_6(host);
    }
    host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_ip_version_6(value: &str) -> bool {
    let (address, zone) = value.split_once('%').unwrap_or((value, ""));
    address.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c))
        && zone.chars().all(|c| c.is_ascii_alphanumeric() || "-_%.".contains(c))
}

fn is_arn(value: &str, kind: &str) -> bool {
    value.starts_with("arn:") && value.contains(kind)
        || value.to_ascii_lowercase().ends_with("arn")
            && value.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
}

fn has_scheme(value: &str) -> bool {
    value.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphabetic())
    })
}

fn is_reason(value: &str) -> bool {
    let characters: Vec<char> = value.chars().collect();
    characters[0].is_ascii_alphabetic()
        && characters.iter().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        && characters.windows(2).all(|pair| match pair[0] {
            '.' => pair[1].is_ascii_uppercase(),
            '-' | '_' => pair[1].is_ascii_lowercase(),
            _ => true,
        })
        && !value.to_ascii_lowercase().starts_with("tls")
        && !elsewhere(value)
}
