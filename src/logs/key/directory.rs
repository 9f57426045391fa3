//! Parses the path of a directory to determine which logs it can contain.
//!
//! A listing skips directories that cannot contain a selected log. The key parser detects names that contradict their
//! path. A component is recognized only where AWS, or a tool that arranges AWS's files, puts it: below `AWSLogs`,
//! `aws-account-id=…` or `elasticloadbalancing`.

use chrono::{Months, NaiveDate};

use crate::logs::key::{ROOT, SERVICE, digits, is_account, is_region, service_kind};

/// Properties of the logs below a directory, according to its path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Directory<'a> {
    /// Account, if the path contains one.
    pub account: Option<&'a str>,
    /// Region, if the path contains one.
    pub region: Option<&'a str>,
    /// First and last day of the logs, if the path contains a date: the days in the path, extended by one day on each
    /// side. Only the name of a log determines its exact day.
    pub days: Option<(NaiveDate, NaiveDate)>,
    /// Kind of another service that delivers to the directory, if it is known.
    pub service: Option<&'static str>,
}

/// The year, month and day in a path. A path can end after the year or the month.
#[derive(Default)]
struct Date([Option<u32>; 3]);

impl Date {
    /// Parses a component as the next part of the date, such as `year=2025`, or `2025` if `plain` is true.
    fn take(&mut self, part: &str, plain: bool) {
        const PARTS: [(&str, usize); 3] = [("year=", 4), ("month=", 2), ("day=", 2)];
        let Some(next) = self.0.iter().position(Option::is_none) else { return };
        let (name, count) = PARTS[next];
        let value = match part.strip_prefix(name) {
            Some(value) => value,
            None if plain => part,
            None => return,
        };
        self.0[next] = digits(value, count);
    }

    fn is_empty(&self) -> bool {
        self.0 == [None; 3]
    }

    fn days(&self) -> Option<(NaiveDate, NaiveDate)> {
        let [year, month, day] = self.0;
        let year = i32::try_from(year?).ok()?;
        let first = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?;
        let last = match (month, day) {
            (Some(_), Some(_)) => Some(first),
            (Some(_), None) => first.checked_add_months(Months::new(1))?.pred_opt(),
            (None, _) => NaiveDate::from_ymd_opt(year, 12, 31),
        };
        Some((first, last?))
    }
}

impl<'a> Directory<'a> {
    /// Parses the path of a directory. Returns `None` if no component of the path is recognized. The result also
    /// applies to all paths below the directory.
    pub fn parse(directory: &'a str) -> Option<Self> {
        let directory = directory.strip_suffix('/').unwrap_or(directory);
        let mut parts = directory.split('/').peekable();
        let mut found = Self::default();
        let mut date = Date::default();
        // Position of the component relative to the start of the recognized part of the path; `None` before that part.
        let mut place = None;
        let mut is_ours = false;
        while let Some(part) = parts.next() {
            let next_is_service = parts.peek() == Some(&SERVICE);
            if found == Self::default() && date.is_empty() && is_root(part) {
                (place, is_ours) = (Some(0), false);
                continue;
            }
            let Some(at) = place.or_else(|| is_start(part, next_is_service).then_some(0)) else {
                continue;
            };
            place = Some(at + 1);
            if at == 0
                && !is_ours
                && let Some(account) = account_of(part)
            {
                found.account = Some(account);
            } else if at == 0 && part.starts_with("o-") {
                // An organization ID. The directories of the organization's accounts are below it.
                place = Some(0);
            } else if part == SERVICE {
                is_ours = true;
            } else if at == 1
                && !is_ours
                && let Some(kind) = service_kind(part)
            {
                found.service = Some(kind);
                break;
            } else if found.region.is_none()
                && let Some(region) = region_of(part)
            {
                found.region = Some(region);
            } else {
                date.take(part, is_ours);
            }
        }
        found.days = date.days().and_then(|(first, last)| first.pred_opt().zip(last.succ_opt()));
        (found != Self::default()).then_some(found)
    }

    /// Describes how the path contradicts the name of a log with this account and region. Returns `None` if it does
    /// not.
    pub(super) fn contradiction(&self, account: &str, region: &str) -> Option<String> {
        let differs = |own: Option<&str>, other| own.is_some_and(|own| own != other);
        if differs(self.account, account) {
            let own = self.account.unwrap_or_default();
            return Some(format!("its path names account {own}, its name {account}"));
        }
        if differs(self.region, region) {
            let own = self.region.unwrap_or_default();
            return Some(format!("its path names region {own}, its name {region}"));
        }
        let kind = self.service?;
        Some(format!("its path names another service ({kind}), its name a load balancer"))
    }
}

/// Returns whether a component is recognized without `AWSLogs` above it.
fn is_start(part: &str, next_is_service: bool) -> bool {
    part == SERVICE
        || part.contains('=') && account_of(part).is_some()
        || next_is_service && is_account(part)
}

/// Returns whether a component is `AWSLogs`, or begins with that word: `AWSLogs-Partitioned`, `awslogs.bak`. Ignores
/// case.
fn is_root(part: &str) -> bool {
    let root = part.get(..ROOT.len()).is_some_and(|root| root.eq_ignore_ascii_case(ROOT));
    root && !part[ROOT.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn account_of(part: &str) -> Option<&str> {
    let account = part.strip_prefix("aws-account-id=").unwrap_or(part);
    is_account(account).then_some(account)
}

/// Returns the region in a component. A component without `region=` can be a folder with any name, so it must have the
/// form of a real region, such as `eu-west-1` or `us-gov-east-1`.
fn region_of(part: &str) -> Option<&str> {
    if let Some(region) = part.strip_prefix("region=") {
        return is_region(region).then_some(region);
    }
    is_real_region(part).then_some(part)
}

/// Returns whether `text` has the form of an AWS region: two to four letters, one to three words, and a number.
pub(crate) fn is_real_region(text: &str) -> bool {
    let mut words: Vec<&str> = text.split('-').collect();
    let number = words.pop().unwrap_or_default();
    let letters = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
        && (2..=4).contains(&words.len())
        && (2..=4).contains(&words[0].len())
        && words.iter().all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn days(path: &str) -> Option<(NaiveDate, NaiveDate)> {
        Directory::parse(path).unwrap().days
    }

    #[test]
    fn documented_directories_determine_what_is_below_them() {
        let root = "p/AWSLogs/012345678901";
        let of = |path: &str| days(&format!("{root}/elasticloadbalancing/eu-west-1{path}"));
        assert_eq!(of(""), None);
        assert_eq!(of("/2024"), Some((date("2023-12-31"), date("2025-01-01"))));
        assert_eq!(of("/2024/02"), Some((date("2024-01-31"), date("2024-03-01"))));
        assert_eq!(of("/2024/02/03"), Some((date("2024-02-02"), date("2024-02-04"))));
        for odd in ["/latest", "/2024/13", "/99999999999/01"] {
            assert_eq!(of(odd), None, "{odd}");
        }
        let path = format!("{root}/elasticloadbalancing/eu-west-1");
        let found = Directory::parse(&path).unwrap();
        assert_eq!((found.account, found.region), (Some("012345678901"), Some("eu-west-1")));
        let trail = format!("{root}/CloudTrail-Digest");
        assert_eq!(Directory::parse(&trail).unwrap().service, Some("cloudtrail"));
        for nothing in ["", "p", "p/AWSLogs", "p/AWSLogs/o-12345", "MyLogs/eu-west-1/2025/07/19"] {
            assert_eq!(Directory::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn other_layouts_are_understood_to_within_a_day() {
        let (account, region) = (Some("012345678901"), Some("eu-west-1"));
        let around = Some((date("2025-07-18"), date("2025-07-20")));
        for (path, account, region) in [
            (
                "AWSLogs/aws-account-id=012345678901/elasticloadbalancing/region=eu-west-1/year=2025/month=07/day=19",
                account,
                region,
            ),
            (
                "own/aws-account-id=012345678901/region=eu-west-1/year=2025/month=07/day=19/hour=14",
                account,
                region,
            ),
            ("AWSLogs-Partitioned/year=2025/month=07/day=19/hour=14", None, None),
            ("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19/14", account, region),
            ("AWSLogs/012345678901/elasticloadbalancing/myFolder/2025/07/19", account, None),
            (
                "AWSLogs/o-a1b2c3d4e5/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
                account,
                region,
            ),
            (
                "o-a1b2c3d4e5/awslogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
                account,
                region,
            ),
            (
                "b/AWSLogs.bak/012345678901/elasticloadbalancing/eu-west-1/2025/07/19",
                account,
                region,
            ),
            ("012345678901/elasticloadbalancing/eu-west-1/2025/07/19", account, region),
            ("elasticloadbalancing/eu-west-1/2025/07/19", None, region),
        ] {
            let found = Directory::parse(path).unwrap();
            assert_eq!(
                (found.account, found.region, found.days),
                (account, region, around),
                "{path}"
            );
        }
    }

    #[test]
    fn components_without_a_meaning_are_ignored() {
        for path in [
            "backup/2025/11/26",
            "202507191405/x",
            "AWSLogs/012345678901/own-folder",
            "year=2025/month=07",
            "MyAWSLogs/012345678901/CloudTrail",
        ] {
            let found = Directory::parse(path).unwrap_or_default();
            assert_eq!((found.region, found.days, found.service), (None, None, None), "{path}");
        }
    }

    #[test]
    fn regions_look_like_those_of_aws() {
        for region in
            ["eu-west-1", "us-gov-west-1", "ap-southeast-3", "eusc-de-east-1", "us-isob-east-1"]
        {
            assert!(is_real_region(region), "{region}");
        }
        for text in [
            "",
            "eu-west",
            "EU-WEST-1",
            "eu_west_1",
            "eu-west-1a",
            "my-folder",
            "backup-eu-1",
            "1",
            "-1",
        ] {
            assert!(!is_real_region(text), "{text}");
        }
    }
}
