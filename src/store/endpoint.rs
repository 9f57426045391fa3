//! Resolves the URL of a bucket in the same way as the AWS CLI.
//!
//! The code follows the S3 endpoint rule set in the AWS SDKs. `tests/endpoints.tsv`, which `scripts/endpoints-table`
//! generates, contains the endpoints that botocore resolves for the same buckets and settings.

/// Settings that affect the endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// Use only endpoints with FIPS 140 validated cryptography.
    pub(super) fips: bool,
    /// Use endpoints that support both IPv4 and IPv6.
    pub(super) dual_stack: bool,
    /// Use S3 Transfer Acceleration.
    pub(super) accelerate: bool,
    /// Where the bucket name appears in the URL.
    pub(super) style: Style,
}

/// Where the bucket name appears in a URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// On AWS, in the host name if the bucket name is valid there. Otherwise, in the path.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host name if the bucket name is valid there.
    Virtual,
}

/// The endpoint of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The URL. The host name includes the bucket name if `virtual_hosted` is set.
    pub(super) url: String,
    /// The signing region.
    pub(super) region: String,
    /// Whether the host name includes the bucket name.
    pub(super) virtual_hosted: bool,
}

/// A group of regions that share a DNS suffix.
struct Partition {
    name: &'static str,
    /// Prefix of the region names.
    regions: &'static str,
    suffix: &'static str,
    fips: bool,
    dual_stack: bool,
}

impl Partition {
    const fn new(name: &'static str, regions: &'static str, suffix: &'static str) -> Self {
        Self { name, regions, suffix, fips: true, dual_stack: true }
    }
}

/// A region belongs to the first partition with a matching prefix. The prefix of the last partition matches every
/// region.
const PARTITIONS: [Partition; 8] = [
    Partition { fips: false, ..Partition::new("aws-cn", "cn-", "amazonaws.com.cn") },
    Partition::new("aws-us-gov", "us-gov-", "amazonaws.com"),
    Partition::new("aws-iso", "us-iso-", "c2s.ic.gov"),
    Partition::new("aws-iso-b", "us-isob-", "sc2s.sgov.gov"),
    Partition { dual_stack: false, ..Partition::new("aws-iso-e", "eu-isoe-", "cloud.adc-e.uk") },
    Partition { dual_stack: false, ..Partition::new("aws-iso-f", "us-isof-", "csp.hci.ic.gov") },
    Partition::new("aws-eusc", "eusc-", "amazonaws.eu"),
    Partition::new("aws", "", "amazonaws.com"),
];

fn partition_of(region: &str) -> &'static Partition {
    let own = PARTITIONS.iter().find(|partition| region.starts_with(partition.regions));
    own.expect("the last partition matches every region")
}

/// Returns the part of a host name before the AWS DNS suffix.
pub(super) fn before_suffix(host: &str) -> Option<&str> {
    let before = |partition: &Partition| host.strip_suffix(partition.suffix)?.strip_suffix('.');
    PARTITIONS.iter().find_map(before)
}

/// Returns the AWS service and the region in the host name of a regional endpoint, such as
/// `glue.eu-west-1.amazonaws.com`. FIPS, dual-stack and VPC endpoints are recognized as well.
#[cfg(feature = "iceberg")]
pub(super) fn service_and_region(host: &str) -> Option<(&str, &str)> {
    let before = host.strip_suffix(".api.aws").or_else(|| before_suffix(host))?;
    let before = before.strip_suffix(".vpce").unwrap_or(before);
    let (above, region) = before.rsplit_once('.')?;
    let service = above.rsplit('.').next().unwrap_or(above);
    let is_region = region.contains('-') && region.ends_with(|c: char| c.is_ascii_digit());
    is_region.then(|| (service.strip_suffix("-fips").unwrap_or(service), region))
}

/// An access point, parsed from its ARN.
struct AccessPoint<'a> {
    region: &'a str,
    account: &'a str,
    name: &'a str,
}

impl<'a> AccessPoint<'a> {
    /// Parses `arn:<partition>:s3:<region>:<account>:accesspoint/<name>`. A colon is also accepted in place of the
    /// slash.
    fn parse(arn: &'a str) -> Result<Self, String> {
        let mut parts = arn.splitn(6, ':').skip(1);
        let mut next = || parts.next().unwrap_or_default();
        let (_, service, region, account, resource) = (next(), next(), next(), next(), next());
        match service {
            "s3" => {}
            "s3-outposts" => return Err("S3 on Outposts is not supported".to_owned()),
            "s3-object-lambda" => {
                return Err(
                    "Object Lambda access points are not supported: specify the access point \
                            or the bucket behind it"
                        .to_owned(),
                );
            }
            _ => return Err("it is not the ARN of an access point".to_owned()),
        }
        let Some(name) = resource.strip_prefix("accesspoint").and_then(|rest| rest.get(1..)) else {
            return Err(
                "it is not the ARN of an access point: write a bucket as s3://bucket/prefix"
                    .to_owned(),
            );
        };
        if region.is_empty() {
            return Err("multi-region access points need Signature Version 4A, which is not \
                        supported: specify the bucket in one region"
                .to_owned());
        }
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if !is_account || !is_label(name) || !is_label(region) {
            return Err("an access point is written like \
                        s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/name/prefix"
                .to_owned());
        }
        Ok(Self { region, account, name })
    }
}

/// Returns the region in a bucket name, if the name is an access point ARN.
pub(super) fn region_of(bucket: &str) -> Option<&str> {
    AccessPoint::parse(bucket).ok().filter(|_| bucket.starts_with("arn:")).map(|arn| arn.region)
}

/// Resolves the endpoint of a bucket, an access point alias or an access point ARN.
///
/// A custom endpoint is used unchanged, even if the FIPS, dual-stack or acceleration flag is set.
///
/// # Errors
///
/// Returns the reason if the bucket has no endpoint with these settings.
pub(super) fn resolve(
    bucket: &str,
    region: &str,
    custom: Option<&str>,
    flags: Flags,
) -> Result<Endpoint, String> {
    if bucket.ends_with("--x-s3") {
        return Err("S3 Express directory buckets are not supported".to_owned());
    }
    if bucket.ends_with("--op-s3") {
        return Err("S3 on Outposts is not supported".to_owned());
    }
    let point = if bucket.starts_with("arn:") { Some(AccessPoint::parse(bucket)?) } else { None };
    let region = point.as_ref().map_or(region, |point| point.region);
    let host = point.as_ref().map(|point| format!("{}-{}", point.name, point.account));
    if host.is_some() && flags.accelerate {
        return Err("access points cannot be used with use_accelerate_endpoint".to_owned());
    }
    if let Some(custom) = custom {
        return beside(custom, bucket, host, region, flags.style);
    }
    let pseudo = region.starts_with("fips-") || region.ends_with("-fips");
    if pseudo || region == "aws-global" || !is_label(region) {
        let hint = if pseudo { ": set AWS_USE_FIPS_ENDPOINT=true instead" } else { "" };
        return Err(format!("\"{region}\" is not the name of a region{hint}"));
    }
    let partition = partition_of(region);
    if flags.fips && !partition.fips {
        return Err(format!("partition {} has no FIPS endpoints", partition.name));
    }
    if flags.dual_stack && !partition.dual_stack {
        return Err(format!("partition {} has no dual-stack endpoints", partition.name));
    }
    let fips = if flags.fips { "-fips" } else { "" };
    let dual_stack = if flags.dual_stack { ".dualstack" } else { "" };
    let suffix = partition.suffix;
    let in_host = is_label(bucket) && flags.style != Style::Path;
    let (url, virtual_hosted) = if let Some(host) = host {
        (format!("https://{host}.s3-accesspoint{fips}{dual_stack}.{region}.{suffix}"), true)
    } else if flags.accelerate {
        if flags.fips {
            return Err("use_accelerate_endpoint cannot be combined with FIPS endpoints".to_owned());
        }
        if partition.name != "aws" {
            return Err(format!("partition {} has no Transfer Acceleration", partition.name));
        }
        if !is_label(bucket) {
            return Err("buckets with dots have no Transfer Acceleration".to_owned());
        }
        (format!("https://{bucket}.s3-accelerate{dual_stack}.{suffix}"), true)
    } else if in_host {
        (format!("https://{bucket}.s3{fips}{dual_stack}.{region}.{suffix}"), true)
    } else {
        (format!("https://s3{fips}{dual_stack}.{region}.{suffix}"), false)
    };
    Ok(Endpoint { url, region: region.to_owned(), virtual_hosted })
}

/// Resolves a bucket at a custom endpoint. The bucket name is part of the path unless virtual hosting is selected.
fn beside(
    custom: &str,
    bucket: &str,
    host: Option<String>,
    region: &str,
    style: Style,
) -> Result<Endpoint, String> {
    let custom = custom.trim_end_matches('/');
    let region = region.to_owned();
    let Some((scheme, rest)) = custom.split_once("://").filter(|(scheme, rest)| {
        matches!(*scheme, "http" | "https") && !rest.is_empty() && !rest.starts_with('/')
    }) else {
        return Err("the endpoint is not a URL that begins with https:// or http://".to_owned());
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let is_address = authority.starts_with('[')
        || authority
            .split(':')
            .next()
            .is_some_and(|name| name.parse::<std::net::Ipv4Addr>().is_ok());
    let wanted = style == Style::Virtual && is_label(bucket) && !is_address;
    let Some(host) = host.or_else(|| wanted.then(|| bucket.to_owned())) else {
        return Ok(Endpoint { url: custom.to_owned(), region, virtual_hosted: false });
    };
    // If the endpoint already contains the bucket name, the name must not be added again.
    let url = match authority.strip_prefix(&host) {
        Some(after) if after.starts_with('.') => custom.to_owned(),
        _ => format!("{scheme}://{host}.{rest}"),
    };
    Ok(Endpoint { url, region, virtual_hosted: true })
}

/// Returns whether the text is a valid label of a host name.
fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(good)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The endpoints that botocore resolves, one per row; see `scripts/endpoints-table`.
    const TABLE: &str = include_str!("../../tests/endpoints.tsv");

    #[test]
    fn endpoints_are_those_of_the_aws_cli() {
        let mut rows = 0;
        for line in TABLE.lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [bucket, region, fips, dual_stack, accelerate, style, custom, url, signed] =
                fields[..]
            else {
                panic!("{line}");
            };
            let style = match style {
                "path" => Style::Path,
                "virtual" => Style::Virtual,
                _ => Style::Auto,
            };
            let flags = Flags {
                fips: !fips.is_empty(),
                dual_stack: !dual_stack.is_empty(),
                accelerate: !accelerate.is_empty(),
                style,
            };
            let custom = (!custom.is_empty()).then_some(custom);
            let found = resolve(bucket, region, custom, flags);
            let (own, own_region) = match found {
                Ok(Endpoint { url, region, virtual_hosted: true }) => (url, region),
                Ok(Endpoint { url, region, .. }) => (format!("{url}/{bucket}"), region),
                Err(_) => ("refused".to_owned(), String::new()),
            };
            assert_eq!((own.as_str(), own_region.as_str()), (url, signed), "{line}");
            rows += 1;
        }
        assert!(rows >= 100, "{rows}");
    }

    #[test]
    fn unsupported_buckets_and_endpoints_are_refused_with_the_reason() {
        let why = |bucket: &str, region: &str| {
            resolve(bucket, region, None, Flags::default()).expect_err(bucket)
        };
        let account = "123456789012";
        let mrap = format!("arn:aws:s3::{account}:accesspoint/mfzwi23gnjvgw.mrap");
        assert!(why(&mrap, "eu-west-1").contains("multi-region"));
        assert!(why("logs--use1-az4--x-s3", "us-east-1").contains("S3 Express"));
        assert!(why("logs--op-s3", "us-east-1").contains("Outposts"));
        let outpost = format!("arn:aws:s3-outposts:eu-west-1:{account}:outpost/op-1/accesspoint/x");
        assert!(why(&outpost, "eu-west-1").contains("Outposts"));
        let lambda = format!("arn:aws:s3-object-lambda:eu-west-1:{account}:accesspoint/x");
        assert!(why(&lambda, "eu-west-1").contains("Object Lambda"));
        assert!(why("arn:aws:s3:::logs", "eu-west-1").contains("s3://bucket/prefix"));
        assert!(why("logs", "fips-us-east-1").contains("AWS_USE_FIPS_ENDPOINT=true"));
        assert!(why("logs", "evil.example.org/").contains("not the name of a region"));
        for custom in ["store.example.org", "ftp://store.example.org", "https://", "https:///x"] {
            let found = resolve("logs", "eu-west-1", Some(custom), Flags::default());
            assert!(found.is_err(), "{custom}");
        }
    }

    #[cfg(feature = "iceberg")]
    #[test]
    fn the_host_of_an_aws_endpoint_names_its_service_and_region() {
        for (host, expected) in [
            ("glue.eu-west-1.amazonaws.com", Some(("glue", "eu-west-1"))),
            ("glue-fips.us-gov-west-1.amazonaws.com", Some(("glue", "us-gov-west-1"))),
            ("glue.cn-north-1.amazonaws.com.cn", Some(("glue", "cn-north-1"))),
            ("s3tables.us-east-1.api.aws", Some(("s3tables", "us-east-1"))),
            ("vpce-0a1-2b.glue.eu-west-1.vpce.amazonaws.com", Some(("glue", "eu-west-1"))),
            ("a1b2.execute-api.eu-west-1.amazonaws.com", Some(("execute-api", "eu-west-1"))),
            ("glue.amazonaws.com", None),
            ("glue.eu-west-1.amazonaws.com.example.org", None),
            ("glue.eu-west-1.example.org", None),
            ("amazonaws.com", None),
        ] {
            assert_eq!(service_and_region(host), expected, "{host}");
        }
    }

    #[test]
    fn the_bucket_is_not_added_twice_to_an_endpoint() {
        let flags = Flags { style: Style::Virtual, ..Flags::default() };
        let found = resolve("logs", "eu-west-1", Some("https://logs.store.example.org"), flags);
        assert_eq!(found.unwrap().url, "https://logs.store.example.org");
    }
}
