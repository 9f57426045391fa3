//! The key of a delivered object: what its path and name say about it.
//!
//! Grammar: `[prefix/]AWSLogs/<account>/elasticloadbalancing/<region>/yyyy/mm/dd/<name>`, as
//! documented at
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#access-log-file-format>.
//! A key is trusted only where it matches: partitions, and so output paths, are made from the parts
//! returned here, which hold digits, lower-case letters and hyphens and nothing else.

mod mismatch;

use std::fmt;

use chrono::{Datelike, Months, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use crate::key::mismatch::mismatch;

use crate::schema::LogType;

const ROOT: &str = "AWSLogs";
const SERVICE: &str = "elasticloadbalancing";
/// Names of the columns that partitions have in a table. All of them are text.
pub const PARTITION_COLUMNS: [&str; 5] = ["account", "region", "year", "month", "day"];

/// What the key of a log object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where the object belongs.
    pub partition: Partition,
    /// Resource id of the load balancer with dots for slashes: `app.<name>.<id>`.
    pub balancer: String,
    /// End of the five minutes that the object covers, `yyyymmddThhmmZ`.
    pub end_time: String,
    /// The delivered file name, which AWS makes unique.
    pub name: String,
}

/// Where an object belongs: its log type, told from its name, and account, region and delivery day, taken
/// from its path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Partition {
    /// The log type, which decides the table.
    pub log_type: LogType,
    /// Twelve digits; may begin with 0.
    pub account: String,
    /// AWS region, such as `eu-west-1`.
    pub region: String,
    /// Day of delivery (UTC).
    #[serde(serialize_with = "as_text")]
    pub day: NaiveDate,
}

/// A partition as a file describes it, before its parts are known to be valid in paths.
#[derive(Deserialize)]
struct Unchecked {
    log_type: LogType,
    account: String,
    region: String,
    #[serde(deserialize_with = "from_text")]
    day: NaiveDate,
}

/// Text that is no account, region or day, and so belongs in no path.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the account or region of a partition")]
pub struct PartitionError(String);

impl TryFrom<Unchecked> for Partition {
    type Error = PartitionError;

    fn try_from(text: Unchecked) -> Result<Self, PartitionError> {
        Self::new(text.log_type, &text.account, &text.region, text.day)
    }
}

/// Why an object is left aside, told from its key alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Other {
    /// `ELBAccessLogTestFile` and its kin, written when logging is switched on.
    TestFile,
    /// Log of a Network Load Balancer.
    NetworkLoadBalancer,
    /// Log of a Classic Load Balancer.
    ClassicLoadBalancer,
    /// Object of another service that delivers below `AWSLogs/`, by its kind.
    Service(&'static str),
    /// Named like a log of an Application Load Balancer, but not below `AWSLogs/`, so that nothing tells its
    /// partition.
    Misplaced,
    /// Anything else.
    Unknown,
}

/// Services that deliver below `AWSLogs/<account>/`: what their directories begin with, and the kind of their objects.
const SERVICES: [(&str, &str); 7] = [
    ("CloudTrail", "cloudtrail"),
    ("vpcflowlogs", "vpc_flow_logs"),
    ("Config", "config"),
    ("WAFLogs", "waf"),
    ("GuardDuty", "guardduty"),
    ("vpcdnsquerylogs", "route53_resolver"),
    ("network-firewall", "network_firewall"),
];

impl Other {
    /// Returns the name used in summaries and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TestFile => "test_file",
            Self::NetworkLoadBalancer => "network_load_balancer",
            Self::ClassicLoadBalancer => "classic_load_balancer",
            Self::Service(kind) => kind,
            Self::Misplaced => "misplaced",
            Self::Unknown => "unknown",
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn as_text<S: Serializer>(day: &NaiveDate, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("{text:?} is no day like 2025-07-19")))
}

impl Partition {
    /// Returns a partition.
    ///
    /// # Errors
    ///
    /// Fails when the account is not twelve digits, or the region cannot be one.
    pub fn new(
        log_type: LogType,
        account: &str,
        region: &str,
        day: NaiveDate,
    ) -> Result<Self, PartitionError> {
        if !is_account(account) {
            return Err(PartitionError(account.to_owned()));
        }
        if !is_region(region) {
            return Err(PartitionError(region.to_owned()));
        }
        Ok(Self { log_type, account: account.to_owned(), region: region.to_owned(), day })
    }

    /// Returns the values of [`PARTITION_COLUMNS`].
    pub fn values(&self) -> [String; 5] {
        let (year, month, day) = (self.day.year(), self.day.month(), self.day.day());
        let (year, month, day) = (format!("{year:04}"), format!("{month:02}"), format!("{day:02}"));
        [self.account.clone(), self.region.clone(), year, month, day]
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.log_type, self.account, self.region, self.day)
    }
}

impl Key {
    /// Parses the key of a log object.
    ///
    /// # Errors
    ///
    /// Returns what the object is instead, as far as its key tells.
    pub fn parse(key: &str) -> Result<Self, Other> {
        let name = key.rsplit('/').next().unwrap_or(key);
        let (log_type, rest) = log_type_of(name);
        let log = || {
            let partition = partition_of(log_type, key)?;
            let object = Name::parse(name)?;
            let same = object.account == partition.account && object.region == partition.region;
            same.then(|| Self {
                partition,
                balancer: object.balancer.to_owned(),
                end_time: object.end_time.to_owned(),
                name: name.to_owned(),
            })
        };
        if let Some(other) = kind_of(rest) {
            return Err(other);
        }
        log().ok_or_else(|| match from_root(key) {
            None if Name::parse(name).is_some() => Other::Misplaced,
            root => root.and_then(service).map_or(Other::Unknown, Other::Service),
        })
    }
}

/// Tells which other service delivers what lies at or below a path from `AWSLogs` on.
fn service(path: &str) -> Option<&'static str> {
    // The accounts of an organisation lie below its id.
    let mut parts = path.split('/').skip(1).filter(|part| !part.starts_with("o-"));
    parts.next().filter(|part| is_account(part))?;
    let directory = parts.next()?;
    SERVICES.into_iter().find(|(name, _)| directory.starts_with(name)).map(|(_, kind)| kind)
}

/// Returns the part of a path from its last `AWSLogs` component on, if it has one.
pub fn from_root(path: &str) -> Option<&str> {
    let mut end = path.len();
    while let Some(start) = path[..end].rfind(ROOT) {
        let before = start == 0 || path.as_bytes()[start - 1] == b'/';
        let after = path[start + ROOT.len()..].chars().next();
        if before && after.is_none_or(|c| c == '/') {
            return Some(&path[start..]);
        }
        end = start;
    }
    None
}

/// What the path of a directory says about the objects below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Directory<'a> {
    /// Their account.
    pub account: &'a str,
    /// Their region, if the path comes so far.
    pub region: Option<&'a str>,
    /// First and last day of their delivery, likewise.
    pub days: Option<(NaiveDate, NaiveDate)>,
    /// Whether it holds the logs of load balancers, or may.
    pub balancers: bool,
    /// The kind of what another service delivers there, if one does that is known.
    pub service: Option<&'static str>,
}

impl<'a> Directory<'a> {
    /// Parses a directory at or below an account's.
    pub fn parse(directory: &'a str) -> Option<Self> {
        let path = from_root(directory)?;
        let mut parts = path.split('/').skip(1);
        let account = parts.next().filter(|part| is_account(part))?;
        let balancers = parts.next().is_none_or(|part| part == SERVICE);
        let region = parts.next();
        let mut date = parts.map(|part| part.parse().ok());
        let mut days = || {
            let year = i32::try_from(date.next()??).ok()?;
            let (month, day): (Option<u32>, Option<u32>) =
                (date.next().flatten(), date.next().flatten());
            let first = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?;
            let last = match (month, day) {
                (Some(_), Some(_)) => Some(first),
                (Some(_), None) => first.checked_add_months(Months::new(1))?.pred_opt(),
                (None, _) => NaiveDate::from_ymd_opt(year, 12, 31),
            };
            Some((first, last?))
        };
        let days = days();
        Some(Self { account, region, days, balancers, service: service(path) })
    }
}

/// Tells the log type of an object from what its name begins with, and returns the rest of the name.
fn log_type_of(name: &str) -> (LogType, &str) {
    let prefixes = |log_type: LogType| {
        let prefixes = log_type.table().object_prefixes.iter();
        prefixes.filter_map(move |prefix| Some((log_type, name.strip_prefix(prefix.as_str())?)))
    };
    let matches = LogType::ALL.into_iter().flat_map(prefixes);
    // Names of access logs begin with nothing, which all names do.
    matches.min_by_key(|(_, rest)| rest.len()).unwrap_or((LogType::Access, name))
}

/// Tells what a file is that is no log object of an Application Load Balancer, by its name.
fn kind_of(name: &str) -> Option<Other> {
    if name.ends_with("TestFile") {
        return Some(Other::TestFile);
    }
    let balancer = name.split('_').nth(3)?;
    if balancer.starts_with("net.") {
        return Some(Other::NetworkLoadBalancer);
    }
    let classic =
        name.contains(SERVICE) && name.rsplit_once('.').is_some_and(|(_, end)| end == "log");
    classic.then_some(Other::ClassicLoadBalancer)
}

fn partition_of(log_type: LogType, key: &str) -> Option<Partition> {
    let mut parts = from_root(key)?.split('/').skip(1);
    let account = parts.next().filter(|part| is_account(part))?;
    parts.next().filter(|part| *part == SERVICE)?;
    let region = parts.next().filter(|part| is_region(part))?;
    let year = parts.next().and_then(|part| digits(part, 4))?;
    let month = parts.next().and_then(|part| digits(part, 2))?;
    let day = parts.next().and_then(|part| digits(part, 2))?;
    let day = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    parts.next()?;
    parts.next().is_none().then(|| Partition {
        log_type,
        account: account.to_owned(),
        region: region.to_owned(),
        day,
    })
}

/// What the name of a delivered file says by itself, wherever the file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The log type.
    pub log_type: LogType,
    /// Twelve digits.
    pub account: &'a str,
    /// AWS region.
    pub region: &'a str,
    /// Resource id of the load balancer with dots for slashes: `app.<name>.<id>`.
    pub balancer: &'a str,
    /// End of the five minutes that the file covers, `yyyymmddThhmmZ`.
    pub end_time: &'a str,
    /// Address of the load balancer node.
    pub node: &'a str,
    /// What makes the name unique.
    pub random: &'a str,
}

impl<'a> Name<'a> {
    /// Parses `[prefix]<account>_elasticloadbalancing_<region>_app.<name>.<id>_<end>_<ip>_<random>.log.gz`.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (log_type, rest) = log_type_of(name);
        let mut parts = rest.strip_suffix(".log.gz")?.split('_');
        let account = parts.next().filter(|part| is_account(part))?;
        parts.next().filter(|part| *part == SERVICE)?;
        let region = parts.next().filter(|part| is_region(part))?;
        let balancer = parts.next().filter(|part| is_balancer(part))?;
        let end_time = parts.next().filter(|part| is_end_time(part))?;
        // The node's address is zero-padded in AWS's own example; it is not read as one.
        let node = parts.next().filter(|part| is_word(part, ".:-"))?;
        let random = parts.next().filter(|part| is_word(part, ""))?;
        let name = Self { log_type, account, region, balancer, end_time, node, random };
        parts.next().is_none().then_some(name)
    }
}

fn is_account(text: &str) -> bool {
    digits(text, 12).is_some()
}

fn is_region(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (4..=32).contains(&text.len()) && text.bytes().all(allowed) && text.contains('-')
}

fn is_balancer(text: &str) -> bool {
    text.strip_prefix("app.")
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(name, id)| is_word(name, "-") && is_word(id, ""))
}

fn is_end_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 14
        && bytes[8] == b'T'
        && bytes[13] == b'Z'
        && bytes[..8].iter().chain(&bytes[9..13]).all(u8::is_ascii_digit)
}

fn is_word(text: &str, also: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// Reads a number of exactly `count` digits; its value is only meaningful below 10 digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    let all = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| {
        text.bytes().fold(0_u32, |n, b| n.wrapping_mul(10).wrapping_add(u32::from(b - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19";
    const NAME: &str = "012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T1405Z_10.0.0.1_39xza92o.log.gz";

    #[test]
    fn a_key_is_taken_apart() {
        let key = Key::parse(&format!("some/prefix/{DAY}/{NAME}")).unwrap();
        assert_eq!(key.partition.account, "012345678901");
        assert_eq!(key.partition.region, "eu-west-1");
        assert_eq!(key.partition.day, NaiveDate::from_ymd_opt(2025, 7, 19).unwrap());
        assert_eq!(key.balancer, "app.my-lb.50dc6c495c0c9188");
        assert_eq!(key.end_time, "20250719T1405Z");
        assert_eq!(key.name, NAME);
    }

    #[test]
    fn a_name_alone_tells_the_balancer() {
        for prefix in ["", "conn_log_", "health_check_log_"] {
            let name = format!("{prefix}{NAME}");
            let Name { balancer, end_time, .. } = Name::parse(&name).unwrap();
            assert_eq!((balancer, end_time), ("app.my-lb.50dc6c495c0c9188", "20250719T1405Z"));
        }
        assert_eq!(Name::parse("README.txt"), None);
    }

    #[test]
    fn directories_tell_what_lies_below() {
        let root = "p/AWSLogs/012345678901";
        let date = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
        let days = |path: &str| {
            let path = format!("{root}/elasticloadbalancing/eu-west-1{path}");
            let directory = Directory::parse(&path).unwrap();
            assert_eq!(directory.region, Some("eu-west-1"));
            assert!(directory.balancers);
            directory.days
        };
        assert_eq!(days(""), None);
        assert_eq!(days("/2024"), Some((date(2024, 1, 1), date(2024, 12, 31))));
        assert_eq!(days("/2024/02"), Some((date(2024, 2, 1), date(2024, 2, 29))));
        assert_eq!(days("/2024/02/03"), Some((date(2024, 2, 3), date(2024, 2, 3))));
        for odd in ["/latest", "/2024/13", "/99999999999/01"] {
            assert_eq!(days(odd), None, "{odd}");
        }
        assert!(Directory::parse(root).unwrap().balancers);
        let trail = format!("{root}/CloudTrail-Digest");
        let trail = Directory::parse(&trail).unwrap();
        assert!(!trail.balancers && trail.service == Some("cloudtrail"));
        assert_eq!(Directory::parse("p/AWSLogs"), None);
        assert_eq!(Directory::parse("p/AWSLogs/o-12345"), None);
    }

    #[test]
    fn other_partitions_of_aws_have_the_same_keys() {
        for region in ["cn-north-1", "us-gov-west-1", "ap-southeast-3"] {
            let key = format!("{DAY}/{NAME}").replace("eu-west-1", region);
            assert_eq!(Key::parse(&key).unwrap().partition.region, region);
        }
    }

    #[test]
    fn names_tell_the_log_type() {
        let cases = [
            ("", LogType::Access),
            ("conn_log_", LogType::Connection),
            ("conn_log.", LogType::Connection),
            ("health_check_log_", LogType::HealthCheck),
        ];
        for (prefix, log_type) in cases {
            let name = format!("{prefix}{NAME}");
            let key = Key::parse(&format!("{DAY}/{name}")).unwrap();
            assert_eq!((key.partition.log_type, key.name), (log_type, name));
            assert_eq!(key.balancer, "app.my-lb.50dc6c495c0c9188");
        }
        for prefix in ["conn_log", "health_check_log.", "x_", "conn_log_conn_log_"] {
            assert_eq!(
                Key::parse(&format!("{DAY}/{prefix}{NAME}")),
                Err(Other::Unknown),
                "{prefix}"
            );
        }
    }

    #[test]
    fn what_is_not_a_log_is_named() {
        let cases = [
            ("AWSLogs/012345678901/ELBAccessLogTestFile".to_owned(), Other::TestFile),
            ("AWSLogs/012345678901/ELBConnectionLogTestFile".to_owned(), Other::TestFile),
            (format!("{DAY}/{}", NAME.replace("app.", "net.")), Other::NetworkLoadBalancer),
            (
                format!(
                    "{DAY}/012345678901_elasticloadbalancing_eu-west-1_my-lb_20250719T1405Z_10.0.0.1_39xza92o.log"
                ),
                Other::ClassicLoadBalancer,
            ),
            (format!("{DAY}/README.txt"), Other::Unknown),
            (String::new(), Other::Unknown),
            (NAME.to_owned(), Other::Misplaced),
            (format!("logs/2025/07/19/{NAME}"), Other::Misplaced),
            (
                "AWSLogs/012345678901/CloudTrail/eu-west-1/2025/07/19/x.json.gz".to_owned(),
                Other::Service("cloudtrail"),
            ),
            (
                "p/AWSLogs/o-abc/012345678901/CloudTrail-Insight/x.json.gz".to_owned(),
                Other::Service("cloudtrail"),
            ),
            (
                "AWSLogs/012345678901/vpcflowlogs/eu-west-1/x.log.gz".to_owned(),
                Other::Service("vpc_flow_logs"),
            ),
        ];
        for (key, other) in cases {
            assert_eq!(Key::parse(&key), Err(other), "{key}");
        }
    }

    #[test]
    fn a_key_that_does_not_match_is_not_trusted() {
        let good = format!("{DAY}/{NAME}");
        assert!(Key::parse(&good).is_ok());
        assert_eq!(Key::parse(&good.replace("AWSLogs/", "awslogs/")), Err(Other::Misplaced));
        let bad = [
            good.replace("AWSLogs/012345678901", "AWSLogs/12345678901"),
            good.replace("AWSLogs/012345678901", "AWSLogs/999999999999"),
            good.replace("AWSLogs/012345678901", "AWSLogs/.."),
            good.replace("/eu-west-1/", "/us-east-1/"),
            good.replace("eu-west-1", "../../etc"),
            good.replace("eu-west-1", "EU-WEST-1"),
            good.replace("/2025/07/19", "/2025/02/30"),
            good.replace("/2025/07/19", "/2025/7/19"),
            good.replace("/2025/07/19", "/2025/07"),
            good.replace("/2025/07/19", "/2025/07/19/20"),
            good.replace("20250719T1405Z", "20250719T14:05Z"),
            good.replace("app.my-lb.50dc6c495c0c9188", "app.my lb.50dc6c495c0c9188"),
            good.replace("app.my-lb.50dc6c495c0c9188", "app.my-lb"),
            good.replace(".log.gz", ".gz"),
            good.replace("39xza92o", "39xza92o_x"),
            good.replace("39xza92o", ""),
        ];
        for key in bad {
            assert_eq!(Key::parse(&key), Err(Other::Unknown), "{key}");
        }
    }

    #[test]
    fn the_root_is_a_whole_component() {
        assert_eq!(from_root("a/AWSLogs/1"), Some("AWSLogs/1"));
        assert_eq!(from_root("AWSLogs"), Some("AWSLogs"));
        assert_eq!(from_root("AWSLogs/x/AWSLogs/y"), Some("AWSLogs/y"));
        assert_eq!(from_root("AWSLogs/x/AWSLogs-old/y"), Some("AWSLogs/x/AWSLogs-old/y"));
        assert_eq!(from_root("MyAWSLogs/x"), None);
    }
}
