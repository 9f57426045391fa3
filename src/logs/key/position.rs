//! Positions: the order in which a listing yields partitions.

use chrono::NaiveDate;

use crate::logs::key::{Directory, Partition};

/// Forms of the date below a region's directory. Text in the same form sorts by date.
const PLAIN: &str = "%Y/%m/%d";
const NAMED: &str = "year=%Y/month=%m/day=%d";
const YEAR: &str = "year=";
/// Added to the number of a day, so that it is positive.
const BEFORE_ALL: i32 = 1_000_000_000;

/// The account, region and day of partitions. Partitions of different log types share a position, because their objects
/// share a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// AWS account.
    pub account: String,
    /// AWS region.
    pub region: String,
    /// Day in UTC.
    pub day: NaiveDate,
}

impl Position {
    /// Returns the position of a partition.
    pub fn of(partition: &Partition) -> Self {
        let Partition { account, region, day, .. } = partition;
        Self { account: account.clone(), region: region.clone(), day: *day }
    }

    /// Returns a position at or before the partitions of all objects in a directory whose keys are not less than `key`,
    /// which must be in the directory. Ignores objects that were moved to the directory of a later day. Returns `None`
    /// if the path contains no account, so that the objects can belong to any partition.
    pub fn from(directory: &str, key: &str) -> Option<Self> {
        let found = Directory::parse(directory)?;
        let account = found.account?.to_owned();
        let Some(region) = found.region else {
            return Some(Self { account, region: String::new(), day: NaiveDate::MIN });
        };
        // Both are parts of the same string.
        let end = region.as_ptr() as usize - directory.as_ptr() as usize + region.len();
        let below = key.get(end..).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
        // The directory of a day contains logs of the day before, because only a log's name determines its exact day.
        let day = last_day(below).and_then(|day| day.pred_opt()).unwrap_or(NaiveDate::MIN);
        Some(Self { account, region: region.to_owned(), day })
    }

    /// Returns the rank of the position: a text with the same order.
    pub fn rank(&self) -> String {
        let Self { account, region, day } = self;
        format!("{account}\0{region}\0{:010}", days(*day) + BEFORE_ALL)
    }

    /// Returns the position with a rank.
    pub fn of_rank(rank: &str) -> Option<Self> {
        let mut parts = rank.split('\0').map(ToOwned::to_owned);
        let (account, region) = (parts.next()?, parts.next()?);
        let day = parts.next()?.parse::<i32>().ok()? - BEFORE_ALL;
        Some(Self { account, region, day: NaiveDate::from_num_days_from_ce_opt(day)? })
    }

    /// Returns whether this day and the following day come before another position.
    pub fn precedes(&self, other: &Self) -> bool {
        let Self { account, region, day } = self;
        let next = day.succ_opt().unwrap_or(NaiveDate::MAX);
        (account, region, next) < (&other.account, &other.region, other.day)
    }

    /// Returns the position of the following day.
    #[must_use]
    pub fn next_day(&self) -> Self {
        Self { day: self.day.succ_opt().unwrap_or(NaiveDate::MAX), ..self.clone() }
    }
}

/// Returns the last day whose directory is not greater than `path`, which is relative to the region's directory.
fn last_day(path: &str) -> Option<NaiveDate> {
    let form = if path.starts_with(YEAR) { NAMED } else { PLAIN };
    let day = |number: i32| NaiveDate::from_num_days_from_ce_opt(number);
    let (first, last) = (NaiveDate::from_ymd_opt(1, 1, 1)?, NaiveDate::from_ymd_opt(9999, 12, 31)?);
    let is_reached =
        |number| day(number).is_some_and(|day| day.format(form).to_string().as_str() <= path);
    let (mut reached, mut beyond) = (days(first) - 1, days(last) + 1);
    while beyond - reached > 1 {
        let middle = reached + (beyond - reached) / 2;
        if is_reached(middle) { reached = middle } else { beyond = middle }
    }
    day(reached).filter(|day| *day >= first)
}

fn days(day: NaiveDate) -> i32 {
    chrono::Datelike::num_days_from_ce(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(path: &str) -> Option<String> {
        last_day(path).map(|day| day.to_string())
    }

    #[test]
    fn paths_are_placed_between_days() {
        for (path, expected) in [
            ("", None),
            ("-", None),
            ("2025/07/19/x.log.gz", Some("2025-07-19")),
            ("2025/07/19", Some("2025-07-19")),
            ("2025/07/", Some("2025-06-30")),
            ("2025/", Some("2024-12-31")),
            ("2024/\u{10FFFF}", Some("2024-12-31")),
            ("2024/02/30/x", Some("2024-02-29")),
            ("2025/07/old/x", Some("2025-07-31")),
            ("backup/x", Some("9999-12-31")),
            ("year=2025/month=07/day=19/hour=03/x", Some("2025-07-19")),
            ("year=2025/month=07/", Some("2025-06-30")),
        ] {
            assert_eq!(day(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_position_is_a_limit_for_later_keys() {
        let region = "p/AWSLogs/012345678901/elasticloadbalancing/eu-west-1/";
        let key = format!("{region}2025/07/19/x.log.gz");
        let found = Position::from(region, &key).unwrap();
        assert_eq!((found.account.as_str(), found.region.as_str()), ("012345678901", "eu-west-1"));
        assert_eq!(found.day.to_string(), "2025-07-18");
        let account = Position::from("p/AWSLogs/012345678901/", &key).unwrap();
        assert_eq!((account.region.as_str(), account.day), ("", NaiveDate::MIN));
        assert!(account < found && account.rank() < found.rank());
        for position in [account, found] {
            assert_eq!(Position::of_rank(&position.rank()), Some(position));
        }
        assert_eq!(Position::from("p/AWSLogs/", &key), None);
        assert_eq!(Position::from("p/x/2025/07/19", "p/x/2025/07/19/x.log.gz"), None);
    }
}
