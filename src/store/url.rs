//! Recognizes URLs that users paste: console URLs, presigned URLs, URLs with credentials, and malformed URLs.

use percent_encoding::percent_decode_str;
#[cfg(feature = "iceberg")]
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use crate::store::endpoint;
use crate::store::place::Kind;

/// All characters that are percent-encoded in a component of a URL.
#[cfg(feature = "iceberg")]
pub(crate) const UNRESERVED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Schemes that identify even a malformed URL, each with its canonical form.
const SCHEMES: [(&str, &str); 16] = [
    ("s3", "s3"),
    ("s3a", "s3a"),
    ("s3n", "s3"),
    ("gs", "gs"),
    ("gcs", "gs"),
    ("az", "az"),
    ("azure", "az"),
    ("adl", "abfss"),
    ("abfs", "abfss"),
    ("abfss", "abfss"),
    ("wasb", "abfss"),
    ("wasbs", "abfss"),
    ("file", "file"),
    ("http", "http"),
    ("https", "https"),
    ("hdfs", "hdfs"),
];

/// Query parameters that contain credentials or signatures.
const SECRETS: [&str; 12] = [
    "sig",
    "signature",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "awsaccesskeyid",
    "x-goog-signature",
    "x-goog-credential",
    "googleaccessid",
    "access_token",
    "token",
    "password",
];

/// A bucket and a key or prefix from an `https://` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// The kind of store that contains the bucket.
    pub kind: Kind,
    /// The name of the bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
}

impl Web {
    /// Parses an `https://` or `http://` URL for S3, Google Cloud Storage or Azure Blob Storage. The URL must not have
    /// a query.
    ///
    /// In an S3 URL, a plus sign represents a space, as in S3 itself.
    pub fn parse(url: &str) -> Option<Self> {
        let (host, path) = host_and_path(url)?;
        if let Some(account) = host.strip_suffix(".core.windows.net") {
            let service = account.rsplit('.').next();
            let (bucket, key) = first_segment(path);
            let known = matches!(service, Some("blob" | "dfs"));
            return known.then(|| Self { kind: Kind::Azure, bucket, key: decoded(key) });
        }
        for google in ["storage.googleapis.com", "storage.cloud.google.com"] {
            let Some(before) = host.strip_suffix(google) else { continue };
            let (bucket, key) = match before.strip_suffix('.') {
                Some(bucket) => (bucket.to_owned(), path),
                None if before.is_empty() => first_segment(path),
                None => continue,
            };
            return Some(Self { kind: Kind::Google, bucket, key: decoded(key) });
        }
        let labels: Vec<&str> = endpoint::before_suffix(&host)?.split('.').collect();
        let service =
            labels.iter().rposition(|label| *label == "s3" || label.starts_with("s3-"))?;
        if labels[service].starts_with("s3-accesspoint")
            || labels[service].starts_with("s3-website")
        {
            return None;
        }
        let (bucket, key) = match &labels[..service] {
            [] => first_segment(path),
            bucket => (bucket.join("."), path),
        };
        Some(Self { kind: Kind::S3, bucket, key: decoded(&key.replace('+', " ")) })
    }

    /// Parses a URL of any other server. The bucket is in the path, or is the first label of the host name.
    pub fn beside(url: &str, bucket: &str) -> Option<Self> {
        let (host, path) = host_and_path(url)?;
        let in_host = host.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.'));
        let (bucket, key) = if in_host { (bucket.to_owned(), path) } else { first_segment(path) };
        Some(Self { kind: Kind::S3, bucket, key: decoded(key) })
    }
}

/// Returns the host of a URL, in lower case and without the port, and the path without the leading slash.
fn host_and_path(url: &str) -> Option<(String, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.split(':').next().unwrap_or(authority).to_ascii_lowercase();
    (!host.is_empty()).then_some((host, path))
}

/// Returns the AWS service and the region of an `https://` URL, if its host name contains them.
#[cfg(feature = "iceberg")]
pub(crate) fn aws_service(url: &str) -> Option<(String, String)> {
    let (host, _) = host_and_path(url)?;
    let (service, region) = endpoint::service_and_region(&host)?;
    Some((service.to_owned(), region.to_owned()))
}

/// Returns whether requests to a URL can be read on the network: they use plain HTTP, and leave this machine.
#[cfg(feature = "iceberg")]
pub(crate) fn is_exposed(url: &str) -> bool {
    let Some(uri) = url.parse::<http::Uri>().ok() else { return true };
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    uri.scheme_str() != Some("https") && !is_local
}

fn first_segment(path: &str) -> (String, &str) {
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (decoded(bucket), key)
}

/// Decodes percent-encoding such as `%41`. Invalid UTF-8 becomes the Unicode replacement character, which no key
/// contains.
pub fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Returns whether a URL contains a user name, with or without a password. Azure container URLs have the same syntax.
pub(super) fn has_user_info(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or(rest);
    let is_azure =
        matches!(scheme.to_ascii_lowercase().as_str(), "abfs" | "abfss" | "adl" | "az" | "azure");
    authority.split_once('@').is_some_and(|(user, _)| !is_azure || user.contains(':'))
}

/// Returns whether the text is a URL with a password, a key or a signature, which must not be printed.
pub fn has_secret(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme = scheme.to_ascii_lowercase();
    let is_url = SCHEMES.iter().any(|(known, _)| *known == scheme) || rest.starts_with("//");
    if !is_url {
        return false;
    }
    let rest = rest.trim_start_matches('/');
    if has_user_info(&format!("{scheme}://{rest}")) {
        return true;
    }
    // If a secret key contains a slash, the host appears to end there.
    let authority = rest.split('/').next().unwrap_or(rest);
    let after = authority.split_once(':').map(|(_, after)| after);
    let is_port = |after: &str| after.len() <= 5 && after.bytes().all(|b| b.is_ascii_digit());
    if !rest.starts_with("arn:") && rest.contains('@') && after.is_some_and(|after| !is_port(after))
    {
        return true;
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    query.split(['&', '?', ';', '#']).any(|parameter| {
        let name = parameter.split('=').next().unwrap_or(parameter);
        parameter.contains('=') && SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
    })
}

/// Returns what an unsupported or malformed URL probably means. Returns `None` if the text is not a URL.
pub fn meant(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("arn:") {
        let resource = rest.splitn(5, ':').nth(4).filter(|_| rest.contains(":s3:::"));
        return Some(
            resource.map_or_else(|| format!("s3://{name}"), |path| format!("s3://{path}")),
        );
    }
    let (scheme, rest) = name.split_once(':')?;
    let lower = scheme.to_ascii_lowercase();
    let (_, canonical) = SCHEMES.iter().find(|(known, _)| *known == lower)?;
    let rest = rest.trim_start_matches('/');
    if matches!(*canonical, "http" | "https") {
        let Web { kind, bucket, key } = Web::parse(&format!("{canonical}://{rest}"))?;
        return match kind {
            Kind::S3 => Some(format!("s3://{bucket}/{key}")),
            Kind::Google => Some(format!("gs://{bucket}/{key}")),
            Kind::Azure => Some(format!("az://{bucket}/{key}")),
        };
    }
    Some(match *canonical {
        "file" => format!("file:///{rest}"),
        canonical => format!("{canonical}://{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_urls_are_parsed_to_a_bucket_and_a_key() {
        let s3 = |bucket: &str, key: &str| (Kind::S3, bucket.to_owned(), key.to_owned());
        let cases = [
            ("https://logs.s3.amazonaws.com/a/b", s3("logs", "a/b")),
            ("https://my.logs.s3.eu-west-1.amazonaws.com/a%20b", s3("my.logs", "a b")),
            ("https://logs.s3-eu-west-1.amazonaws.com/a+b%2Bc", s3("logs", "a b+c")),
            ("https://logs.s3.dualstack.eu-west-1.amazonaws.com/a", s3("logs", "a")),
            ("https://logs.s3-fips.us-gov-west-1.amazonaws.com/a", s3("logs", "a")),
            ("https://s3.cn-north-1.amazonaws.com.cn/logs/a/b", s3("logs", "a/b")),
            ("https://LOGS.s3.eusc-de-east-1.amazonaws.eu/a", s3("logs", "a")),
            ("https://s3.amazonaws.com:443/logs/a", s3("logs", "a")),
            (
                "https://acct.blob.core.windows.net/c/a+b",
                (Kind::Azure, "c".to_owned(), "a+b".to_owned()),
            ),
            (
                "https://storage.googleapis.com/logs/a",
                (Kind::Google, "logs".to_owned(), "a".to_owned()),
            ),
            (
                "https://logs.storage.googleapis.com/a",
                (Kind::Google, "logs".to_owned(), "a".to_owned()),
            ),
        ];
        for (url, expected) in cases {
            let Web { kind, bucket, key } = Web::parse(url).expect(url);
            assert_eq!((kind, bucket, key), expected, "{url}");
        }
        for other in [
            "https://example.org/logs/a",
            "https://logs.s3-website.eu-west-1.amazonaws.com/a",
            "https://ec2.eu-west-1.amazonaws.com/a",
            "https://",
            "s3://logs/a",
        ] {
            assert_eq!(Web::parse(other), None, "{other}");
        }
        let beside = |url: &str| Web::beside(url, "logs").map(|web| (web.bucket, web.key));
        let found = Some(("logs".to_owned(), "a b+c".to_owned()));
        assert_eq!(beside("http://localhost:9000/logs/a%20b+c"), found);
        assert_eq!(beside("http://logs.localhost:9000/a%20b+c"), found);
    }

    #[cfg(feature = "iceberg")]
    #[test]
    fn plain_http_is_exposed_unless_it_is_local() {
        for url in [
            "http://example.org/a",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "http://128.0.0.1",
            "http://[2001:db8::1]:80",
            "HTTP://example.org",
            "https:/example.org",
            "",
        ] {
            assert!(is_exposed(url), "{url}");
        }
        for url in [
            "https://example.org",
            "http://localhost:8181/a",
            "http://127.0.0.1:80",
            "http://127.9.8.7",
            "http://[::1]:80/a",
            "HTTP://localhost",
        ] {
            assert!(!is_exposed(url), "{url}");
        }
    }

    #[test]
    fn secrets_are_detected() {
        for secret in [
            "s3://AKIAEXAMPLE:topsecret@logs/p",
            "s3://AKIAEXAMPLE:top/sec+ret@logs/p",
            "s3://AKIAEXAMPLE@logs",
            "s3:/AKIAEXAMPLE:topsecret@logs",
            "S3://AKIAEXAMPLE:topsecret@logs",
            "https://user:topsecret@store.example.org/logs",
            "az://logs/p?sv=2024-01-01&sig=topsecret",
            "abfss://logs:topsecret@acct.dfs.core.windows.net/p",
            "https://acct.blob.core.windows.net/logs?sig=topsecret",
            "https://logs.s3.amazonaws.com/k?X-Amz-Signature=topsecret",
            "postgres://user:topsecret@db/x",
        ] {
            assert!(has_secret(secret), "{secret}");
        }
        for plain in [
            "s3://logs/a:b@c/d",
            "s3://logs/a?b=c",
            "abfss://logs@acct.dfs.core.windows.net/p",
            "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/logs/a@b",
            "http://localhost:9000/logs/a@b",
            "/a:b@c?sig=x",
            "a:b@c",
            "",
        ] {
            assert!(!has_secret(plain), "{plain}");
        }
    }

    #[test]
    fn a_supported_url_is_suggested_for_a_malformed_one() {
        let cases = [
            ("s3:/lake/x", Some("s3://lake/x")),
            ("s3:lake", Some("s3://lake")),
            ("S3://lake", Some("s3://lake")),
            ("arn:aws:s3:::lake/x", Some("s3://lake/x")),
            (
                "arn:aws:s3:eu-west-1:123456789012:accesspoint/lake",
                Some("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/lake"),
            ),
            ("https://lake.s3.eu-west-1.amazonaws.com/x", Some("s3://lake/x")),
            ("https://example.org/x", None),
            ("file:/x", Some("file:///x")),
            ("gcs://lake", Some("gs://lake")),
            ("./s3:/lake", None),
            ("C:/lake", None),
            ("lake", None),
        ];
        for (name, expected) in cases {
            assert_eq!(meant(name).as_deref(), expected, "{name}");
        }
    }
}
