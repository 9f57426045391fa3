//! Parses the key of a log object: its path and its name.
//!
//! AWS documents `[prefix/]AWSLogs/<account>/elasticloadbalancing/<region>/yyyy/mm/dd/<name>`:
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#access-log-file-format>.
//! Users copy, move and rearrange these objects, so the name is authoritative: it contains the account, the region, the
//! load balancer and the end of the time window. The path contributes only the day of delivery, and only if it has the
//! documented form. docs/layouts.md explains the rule to users.
//!
//! Keys are untrusted. Partitions, and therefore output paths, are built only from the parts that this module returns,
//! which contain only digits, lowercase letters and hyphens.

mod directory;
mod mismatch;
mod name;
mod position;

use std::fmt;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use crate::logs::key::directory::Directory;
pub(crate) use crate::logs::key::directory::is_real_region;
pub use crate::logs::key::mismatch::mismatch;
pub use crate::logs::key::name::identity;
pub(crate) use crate::logs::key::name::{Form, Name, has_size_of, is_text};
pub use crate::logs::key::position::Position;

use crate::logs::schema::LogType;

const ROOT: &str = "AWSLogs";
const SERVICE: &str = "elasticloadbalancing";
/// Names of the partition columns. All are text columns.
pub(crate) const PARTITION_COLUMNS: [&str; 5] = ["account", "region", "year", "month", "day"];
/// Values of [`PARTITION_COLUMNS`].
pub(crate) type PartitionValues = [String; 5];

/// The parsed key of a log object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// Partition of the object.
    pub partition: Partition,
    /// Resource ID of the load balancer, with dots instead of slashes: `app.<name>.<id>` or `net.<name>.<id>`. The name
    /// of a Classic Load Balancer.
    pub balancer: String,
    /// End of the window that the object covers, `yyyymmddThhmmZ`.
    pub end_time: String,
    /// Day of the end time in UTC. The partition has the same day or the following day.
    pub end_day: NaiveDate,
    /// File name of the object.
    pub name: String,
    /// Whether the path contains a day on which AWS cannot have delivered the object.
    pub is_moved: bool,
    /// Whether the path has the documented form, with a day on which AWS can have delivered the object.
    pub is_delivered: bool,
    /// The day that determines the object's shard: the day in the path if the object was moved, otherwise the
    /// partition's day. A shard lists the directories for its own days.
    pub shard_day: NaiveDate,
}

/// The partition of an object: the log type, account and region from its name, and its day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Partition {
    /// Log type, which determines the table.
    pub log_type: LogType,
    /// AWS account: twelve digits, possibly with leading zeros.
    pub account: String,
    /// AWS region, such as `eu-west-1`.
    pub region: String,
    /// Day in UTC: the day of delivery for a documented path, otherwise the day of the end time.
    #[serde(serialize_with = "as_text")]
    pub day: NaiveDate,
}

/// A partition read from a file, before its parts are validated for use in paths.
#[derive(Deserialize)]
struct Unchecked {
    log_type: LogType,
    account: String,
    region: String,
    #[serde(deserialize_with = "from_text")]
    day: NaiveDate,
}

/// The error for text that is not an account or region, and therefore must not be used in a path.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not the account or region of a partition")]
pub struct PartitionError(String);

impl TryFrom<Unchecked> for Partition {
    type Error = PartitionError;

    fn try_from(text: Unchecked) -> Result<Self, PartitionError> {
        Self::new(text.log_type, &text.account, &text.region, text.day)
    }
}

/// Why an object is skipped because of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SkipReason {
    /// Test file such as `ELBAccessLogTestFile`, which AWS writes when logging is enabled.
    TestFile,
    /// Object from another service that delivers below `AWSLogs/`. Contains the object's kind.
    Service(&'static str),
    /// Named like a log, but with an unsupported ending.
    UnsupportedEnding,
    /// Named like a log, but the path contains another account, region or service.
    ContradictoryPath,
    /// Named similarly to a log, but the name does not parse.
    InvalidName,
    /// Anything else.
    Unknown,
}

/// The directory prefix and the object kind of each service that delivers below `AWSLogs/<account>/`.
const SERVICES: [(&str, &str); 10] = [
    ("CloudTrail", "cloudtrail"),
    ("vpcflowlogs", "vpc_flow_logs"),
    ("Config", "config"),
    ("WAFLogs", "waf"),
    ("GuardDuty", "guardduty"),
    ("vpcdnsquerylogs", "route53_resolver"),
    ("network-firewall", "network_firewall"),
    ("globalaccelerator", "global_accelerator"),
    ("redshift", "redshift"),
    ("CloudFront", "cloudfront"),
];

impl SkipReason {
    /// Returns the name used in summaries and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TestFile => "test_file",
            Self::Service(kind) => kind,
            Self::UnsupportedEnding => "unsupported_ending",
            Self::ContradictoryPath => "contradictory_path",
            Self::InvalidName => "invalid_name",
            Self::Unknown => "unknown",
        }
    }

    /// Kinds of objects that are named like logs but are not converted.
    pub(crate) const LOGS: [&str; 3] = [
        Self::UnsupportedEnding.as_str(),
        Self::ContradictoryPath.as_str(),
        Self::InvalidName.as_str(),
    ];
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn as_text<S: Serializer>(day: &NaiveDate, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(day)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| de::Error::custom(format!("\"{text}\" is not a day such as 2025-07-19")))
}

impl Partition {
    /// Returns a partition.
    ///
    /// # Errors
    ///
    /// Fails if the account is not twelve digits, or if the region is invalid.
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
    pub(crate) fn values(&self) -> PartitionValues {
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
    /// Fails with the reason if an object with this key is skipped.
    pub fn parse(key: &str) -> Result<Self, SkipReason> {
        let (directory, name) = key.rsplit_once('/').unwrap_or(("", key));
        let Some(object) = Name::parse(name) else { return Err(other(directory, name)) };
        let end_day = object.end_day().ok_or(SkipReason::InvalidName)?;
        let path = from_root(directory);
        let delivered = path.and_then(|path| delivery_day(path, &object));
        // Nearly all paths have the documented form below an arbitrary prefix, and agree with the object's name.
        let above = &directory[..directory.len() - path.unwrap_or_default().len()];
        let is_plain =
            delivered.is_some() && (above.is_empty() || Directory::parse(above).is_none());
        let found = if is_plain { None } else { Directory::parse(directory) };
        let found = found.unwrap_or_default();
        if found.contradiction(object.account, object.region).is_some() {
            return Err(SkipReason::ContradictoryPath);
        }
        // AWS delivers an object after the end of its window, at most a few hours later.
        let is_near = |day: NaiveDate| day == end_day || day.pred_opt() == Some(end_day);
        let delivered_near = delivered.filter(|day| is_near(*day));
        let (day, is_delivered) = (delivered_near.unwrap_or(end_day), delivered_near.is_some());
        let is_moved = delivered.is_some_and(|day| !is_near(day))
            || found.days.is_some_and(|(first, last)| day < first || day > last);
        let path_day = found.days.and_then(|(first, _)| first.succ_opt()).or(delivered);
        let shard_day = path_day.filter(|_| is_moved).unwrap_or(day);
        Ok(Self { is_moved, is_delivered, shard_day, ..Self::of(&object, name, end_day, day) })
    }

    /// Parses the name of a log without its path. The name can have any ending.
    pub fn of_name(name: &str) -> Option<Self> {
        let (object, _) = Name::split(name)?;
        let end_day = object.end_day()?;
        Some(Self::of(&object, name, end_day, end_day))
    }

    fn of(object: &Name, name: &str, end_day: NaiveDate, day: NaiveDate) -> Self {
        let (log_type, account, region) =
            (object.log_type, object.account.to_owned(), object.region.to_owned());
        Self {
            partition: Partition { log_type, account, region, day },
            balancer: object.balancer.to_owned(),
            end_time: object.end_time.to_owned(),
            end_day,
            name: name.to_owned(),
            is_moved: false,
            is_delivered: false,
            shard_day: day,
        }
    }
}

/// Returns the day in the path of an object, if the path has the documented form. `path` must begin with `AWSLogs`.
fn delivery_day(path: &str, object: &Name) -> Option<NaiveDate> {
    let mut parts = path.split('/').skip(1);
    for wanted in [object.account, SERVICE, object.region] {
        parts.next().filter(|part| *part == wanted)?;
    }
    let year = parts.next().and_then(|part| digits(part, 4))?;
    let month = parts.next().and_then(|part| digits(part, 2))?;
    let day = parts.next().and_then(|part| digits(part, 2))?;
    parts.next().is_none().then_some(())?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

/// Classifies an object that is not a supported log.
fn other(directory: &str, name: &str) -> SkipReason {
    if name.ends_with("TestFile") {
        return SkipReason::TestFile;
    }
    if Name::split(name).is_some() {
        return SkipReason::UnsupportedEnding;
    }
    if name.contains("_elasticloadbalancing_") {
        return SkipReason::InvalidName;
    }
    Directory::parse(directory)
        .and_then(|found| found.service)
        .map_or(SkipReason::Unknown, SkipReason::Service)
}

/// Returns the kind of the service that delivers to a directory below an account, if the service is known.
fn service_kind(directory: &str) -> Option<&'static str> {
    SERVICES.into_iter().find(|(name, _)| directory.starts_with(name)).map(|(_, kind)| kind)
}

/// Returns the rest of a path from its last `AWSLogs` component on, if it has one.
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

fn is_account(text: &str) -> bool {
    digits(text, 12).is_some()
}

fn is_region(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (4..=32).contains(&text.len()) && text.bytes().all(allowed) && text.contains('-')
}

fn is_word(text: &str, also: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// Parses a number of exactly `count` digits. The value is valid only for fewer than 10 digits, because longer numbers
/// wrap.
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
    fn a_key_is_parsed() {
        let key = Key::parse(&format!("some/prefix/{DAY}/{NAME}")).unwrap();
        assert_eq!(key.partition.account, "012345678901");
        assert_eq!(key.partition.region, "eu-west-1");
        assert_eq!(key.partition.day, NaiveDate::from_ymd_opt(2025, 7, 19).unwrap());
        assert_eq!(key.balancer, "app.my-lb.50dc6c495c0c9188");
        assert_eq!(key.end_time, "20250719T1405Z");
        assert_eq!(key.name, NAME);
    }

    #[test]
    fn other_partitions_of_aws_have_the_same_keys() {
        for region in ["cn-north-1", "us-gov-west-1", "ap-southeast-3"] {
            let key = format!("{DAY}/{NAME}").replace("eu-west-1", region);
            assert_eq!(Key::parse(&key).unwrap().partition.region, region);
        }
    }

    #[test]
    fn the_prefix_of_a_name_determines_the_log_type() {
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
                Err(SkipReason::InvalidName),
                "{prefix}"
            );
        }
    }

    #[test]
    fn the_form_of_the_balancer_determines_the_log_type() {
        let cases = [
            ("app.my-lb.50dc6c495c0c9188", ".log.gz", LogType::Access),
            ("app.my-lb.50dc6c495c0c9188", ".log", LogType::Access),
            ("net.my-lb.50dc6c495c0c9188", ".log.gz", LogType::NlbTls),
            ("net.my-lb.50dc6c495c0c9188", ".log", LogType::NlbTls),
            ("my-lb", ".log", LogType::Classic),
            ("my-lb", ".log.gz", LogType::Classic),
            ("a2e8277e0e09143fbb06db5dcd2a14c2", ".log", LogType::Classic),
        ];
        for (balancer, ending, log_type) in cases {
            let name =
                NAME.replace("app.my-lb.50dc6c495c0c9188", balancer).replace(".log.gz", ending);
            let key = Key::parse(&format!("{DAY}/{name}")).unwrap();
            assert_eq!((key.partition.log_type, key.balancer.as_str()), (log_type, balancer));
        }
        for balancer in ["net.my-lb.50dc6c495c0c9188", "my-lb"] {
            let name = NAME.replace("app.my-lb.50dc6c495c0c9188", balancer);
            let key = format!("{DAY}/conn_log_{name}");
            assert_eq!(Key::parse(&key), Err(SkipReason::InvalidName), "{key}");
        }
    }

    #[test]
    fn other_objects_are_classified() {
        let cases = [
            ("AWSLogs/012345678901/ELBAccessLogTestFile".to_owned(), SkipReason::TestFile),
            ("AWSLogs/012345678901/ELBConnectionLogTestFile".to_owned(), SkipReason::TestFile),
            (format!("{DAY}/{}", NAME.replace("app.", "gwy.")), SkipReason::InvalidName),
            (
                format!("{DAY}/{}", NAME.replace("app.my-lb.50dc6c495c0c9188", "")),
                SkipReason::InvalidName,
            ),
            (format!("{DAY}/README.txt"), SkipReason::Unknown),
            (String::new(), SkipReason::Unknown),
            (
                format!("{DAY}/{}", NAME.replace(".log.gz", ".log.gz.part")),
                SkipReason::UnsupportedEnding,
            ),
            (format!("AWSLogs/012345678901/CloudTrail/{NAME}"), SkipReason::ContradictoryPath),
            (
                "AWSLogs/012345678901/CloudTrail/eu-west-1/2025/07/19/x.json.gz".to_owned(),
                SkipReason::Service("cloudtrail"),
            ),
            (
                "p/AWSLogs/o-abc/012345678901/CloudTrail-Insight/x.json.gz".to_owned(),
                SkipReason::Service("cloudtrail"),
            ),
            (
                "AWSLogs/012345678901/vpcflowlogs/eu-west-1/x.log.gz".to_owned(),
                SkipReason::Service("vpc_flow_logs"),
            ),
        ];
        for (key, other) in cases {
            assert_eq!(Key::parse(&key), Err(other), "{key}");
        }
    }

    #[test]
    fn a_name_that_does_not_match_is_not_trusted() {
        let good = format!("{DAY}/{NAME}");
        assert!(Key::parse(&good).is_ok());
        let bad = [
            (
                good.replace("AWSLogs/012345678901", "AWSLogs/999999999999"),
                SkipReason::ContradictoryPath,
            ),
            (good.replace("/eu-west-1/", "/us-east-1/"), SkipReason::ContradictoryPath),
            (good.replace("eu-west-1", "../../etc"), SkipReason::Unknown),
            (good.replace("eu-west-1", "EU-WEST-1"), SkipReason::InvalidName),
            (good.replace("20250719T1405Z", "20250719T14:05Z"), SkipReason::InvalidName),
            (good.replace("20250719T1405Z", "20250230T1405Z"), SkipReason::InvalidName),
            (
                good.replace("app.my-lb.50dc6c495c0c9188", "app.my lb.50dc6c495c0c9188"),
                SkipReason::InvalidName,
            ),
            (good.replace("app.my-lb.50dc6c495c0c9188", "app.my-lb"), SkipReason::InvalidName),
            (good.replace(".log.gz", ".gz"), SkipReason::UnsupportedEnding),
            (good.replace("39xza92o", "39xza92o_x"), SkipReason::UnsupportedEnding),
            (good.replace("39xza92o", ""), SkipReason::InvalidName),
        ];
        for (key, other) in bad {
            assert_eq!(Key::parse(&key), Err(other), "{key}");
        }
    }

    /// The path contributes only the day, and only if it has the documented form and its day is close to the end time.
    #[test]
    fn the_day_is_that_of_a_documented_path_or_of_the_end_time() {
        let good = format!("{DAY}/{NAME}");
        let day = |key: &str| {
            let key = Key::parse(key).unwrap_or_else(|other| panic!("{key}: {other:?}"));
            (key.partition.day.to_string(), key.is_moved)
        };
        let of_name = ("2025-07-19".to_owned(), false);
        for key in [
            good.clone(),
            NAME.to_owned(),
            good.replace("AWSLogs/", "awslogs/"),
            good.replace("AWSLogs/012345678901", "AWSLogs/12345678901"),
            good.replace("AWSLogs/012345678901", "AWSLogs/.."),
            good.replace("/2025/07/19", "/2025/02/30"),
            good.replace("/2025/07/19", "/2025/7/22"),
            good.replace("/2025/07/19", "/2025/07"),
            good.replace("/2025/07/19", "/2025/07/20/20"),
            good.replace("/2025/07/19", "/year=2025/month=07/day=20"),
            good.replace("AWSLogs/", "AWSLogs/o-a1b2c3d4e5/").replace("07/19", "07/20"),
            format!("logs/2025/07/29/{NAME}"),
        ] {
            assert_eq!(day(&key), of_name, "{key}");
        }
        let of_path = |path: &str| day(&good.replace("/2025/07/19", path));
        assert_eq!(of_path("/2025/07/20"), ("2025-07-20".to_owned(), false));
        for far in ["/2025/07/18", "/2025/07/21", "/2024/07/19", "/2026/11/26"] {
            assert_eq!(of_path(far), ("2025-07-19".to_owned(), true), "{far}");
        }
    }

    proptest::proptest! {
        /// An object has the same partition in any directory, except that the partition's day may be one day later. A
        /// listing never skips the object's directory, and no path changes the account or region.
        #[test]
        fn an_object_has_one_partition_in_every_layout(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "AWSLogs", "awslogs", "AWSLogs-Partitioned", "AWSLogs.bak", "o-a1b2c3d4e5", "012345678901",
                    "aws-account-id=012345678901", "elasticloadbalancing", "eu-west-1", "region=eu-west-1", "2025",
                    "07", "19", "20", "18", "year=2025", "month=07", "day=19", "day=20", "hour=14", "14", "myFolder",
                    "us-east-1", "999999999999", "CloudTrail",
                ]),
                0..9,
            ),
            (balancer, ending, log_type) in proptest::sample::select(vec![
                ("app.my-lb.50dc6c495c0c9188", ".log.gz", LogType::Access),
                ("net.my-lb.50dc6c495c0c9188", ".log.gz", LogType::NlbTls),
                ("my-lb", ".log", LogType::Classic),
            ]),
        ) {
            let name = NAME.replace("app.my-lb.50dc6c495c0c9188", balancer).replace(".log.gz", ending);
            let directory = parts.join("/");
            let key = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            let end: NaiveDate = "2025-07-19".parse().unwrap();
            match Key::parse(&key) {
                Ok(key) => {
                    proptest::prop_assert_eq!((key.partition.log_type, key.balancer.as_str()), (log_type, balancer));
                    let Partition { account, region, day, .. } = &key.partition;
                    proptest::prop_assert_eq!((account.as_str(), region.as_str()), ("012345678901", "eu-west-1"));
                    proptest::prop_assert!(*day == end || *day == end.succ_opt().unwrap(), "{}", day);
                    for (at, _) in format!("{directory}/").match_indices('/') {
                        let above = Directory::parse(&directory[..at]).unwrap_or_default();
                        proptest::prop_assert_eq!(above.service, None);
                        proptest::prop_assert!(above.account.is_none_or(|own| own == account));
                        proptest::prop_assert!(above.region.is_none_or(|own| own == region));
                        let holds = |(first, last): (NaiveDate, NaiveDate)| first <= *day && *day <= last;
                        proptest::prop_assert!(key.is_moved || above.days.is_none_or(holds), "{:?}", above.days);
                    }
                }
                Err(other) => {
                    proptest::prop_assert_eq!(other, SkipReason::ContradictoryPath);
                    proptest::prop_assert!(mismatch(&key).unwrap().starts_with("its path names "));
                }
            }
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
