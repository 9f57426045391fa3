//! Coverage: the days and delivery windows for which a load balancer has objects, and those for which it has none.
//!
//! AWS writes an object only if there were requests in the window, so a missing window does not imply a lost log.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use serde::Serialize;

use crate::logs::schema::LogType;
use crate::report::Counts;
use crate::report::windows::{EndTimes, MissingWindows};

/// A load balancer's coverage for one log type.
#[derive(Debug, Serialize)]
pub struct LoadBalancer {
    /// Account ID.
    pub account: String,
    /// AWS region.
    pub region: String,
    /// Resource ID, such as `app/name/id`. The name of a Classic Load Balancer.
    pub load_balancer: String,
    /// The log type.
    pub log_type: LogType,
    /// Lengths of the windows in minutes. A Classic Load Balancer has two lengths if its publishing interval has
    /// changed.
    pub interval_minutes: Vec<u32>,
    /// First day with an object.
    pub first_day: NaiveDate,
    /// Last day with an object.
    pub last_day: NaiveDate,
    /// Number of days with an object.
    pub days: u64,
    /// Counts for all days.
    #[serde(flatten)]
    pub counts: Counts,
    /// Days without an object between the first and the last day.
    pub missing_days: MissingDays,
    /// Windows without an object between the first and the last window.
    pub missing_windows: MissingWindows,
    /// The days with an object, in order.
    pub calendar: Vec<Day>,
}

/// A day for which a load balancer has objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The day (UTC).
    pub day: NaiveDate,
    /// Counts for the day.
    #[serde(flatten)]
    pub counts: Counts,
    /// Number of windows that end on this day and have an object.
    pub windows: u32,
    /// Number of windows that end on this day, with or without an object: 288 five-minute windows or 24 hourly windows,
    /// or a mix if the interval changed.
    pub possible_windows: u32,
}

/// Days without an object.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct MissingDays {
    /// Number of days.
    pub days: u64,
    /// All ranges of consecutive days.
    pub ranges: Vec<DayRange>,
}

/// A range of consecutive days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DayRange {
    /// The first day.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
    /// Number of days.
    pub count: u64,
}

/// Totals over the objects read so far for a load balancer and log type.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    days: BTreeMap<NaiveDate, Counts>,
    end_times: EndTimes,
}

impl Gathered {
    /// Adds an object delivered on a day. `end_time` is the end of the object's window, in the format that object names
    /// use: `yyyymmddThhmmZ`.
    pub(super) fn add(&mut self, day: NaiveDate, end_time: &str, counts: &Counts) {
        self.days.entry(day).or_default().add(counts);
        // The digits in a name may not form a valid time. The object then counts toward its day but not toward any
        // window.
        self.end_times.add(end_time);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (day, counts) in other.days {
            self.days.entry(day).or_default().add(&counts);
        }
        self.end_times.merge(other.end_times);
    }

    /// Returns the coverage, or `None` if there are no objects.
    pub(super) fn describe(
        self,
        account: String,
        region: String,
        load_balancer: String,
        log_type: LogType,
    ) -> Option<LoadBalancer> {
        let (&first_day, _) = self.days.first_key_value()?;
        let (&last_day, _) = self.days.last_key_value()?;
        let mut total = Counts::default();
        self.days.values().for_each(|counts| total.add(counts));
        let intervals = log_type.table().load_balancer.intervals();
        let windows = self.end_times.windows(intervals, first_day..=last_day);
        let day = |(day, counts): (&NaiveDate, &Counts)| {
            let (present, possible_windows) = windows.days.get(day).copied().unwrap_or_default();
            Day { day: *day, counts: *counts, windows: present, possible_windows }
        };
        let calendar = self.days.iter().map(day).collect();
        Some(LoadBalancer {
            account,
            region,
            load_balancer,
            log_type,
            interval_minutes: windows.intervals,
            first_day,
            last_day,
            days: self.days.len() as u64,
            counts: total,
            missing_days: missing_days(self.days.keys().copied()),
            missing_windows: windows.missing,
            calendar,
        })
    }
}

impl LoadBalancer {
    /// Returns the name of the load balancer, which its resource ID contains.
    pub fn name(&self) -> &str {
        self.load_balancer.split('/').nth(1).unwrap_or(&self.load_balancer)
    }
}

fn missing_days(days: impl Iterator<Item = NaiveDate>) -> MissingDays {
    let mut missing = MissingDays::default();
    let mut before: Option<NaiveDate> = None;
    for day in days {
        if let Some(before) = before {
            let count = (day - before).num_days() as u64 - 1;
            if count > 0 {
                let first = before.checked_add_days(Days::new(1)).expect("is before another day");
                let last = day.checked_sub_days(Days::new(1)).expect("is after another day");
                missing.days += count;
                missing.ranges.push(DayRange { first, last, count });
            }
        }
        before = Some(day);
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn described(objects: &[(&str, &str)]) -> LoadBalancer {
        let mut gathered = Gathered::default();
        let counts = Counts { objects: 1, lines: 3, rows: 2, rejects: 1, source_bytes: 10 };
        for (day, end_time) in objects {
            gathered.add(date(day), end_time, &counts);
        }
        let [account, region, balancer] = ["1", "eu", "app/a/b"].map(str::to_owned);
        gathered.describe(account, region, balancer, LogType::Access).unwrap()
    }

    #[test]
    fn missing_days_are_between_days_with_objects() {
        let days = ["2024-02-27", "2024-02-28", "2024-03-02", "2024-03-04"].map(date);
        let missing = missing_days(days.into_iter());
        assert_eq!(missing.days, 3);
        let spans = [("2024-02-29", "2024-03-01", 2), ("2024-03-03", "2024-03-03", 1)];
        let spans = spans.map(|(first, last, count)| DayRange {
            first: date(first),
            last: date(last),
            count,
        });
        assert_eq!(missing.ranges, spans);
        assert_eq!(missing_days(std::iter::empty()), MissingDays::default());
    }

    #[test]
    fn objects_count_for_their_day_of_delivery_and_windows_for_the_day_they_end_on() {
        let balancer = described(&[
            ("2025-07-18", "20250718T2350Z"),
            ("2025-07-18", "20250718T2350Z"),
            ("2025-07-19", "20250718T2355Z"),
            ("2025-07-19", "20250719T0005Z"),
            ("2025-07-21", "20250721T0010Z"),
        ]);
        let days: Vec<_> = balancer
            .calendar
            .iter()
            .map(|d| (d.counts.objects, d.windows, d.possible_windows))
            .collect();
        assert_eq!(days, [(2, 2, 288), (2, 1, 288), (1, 1, 288)]);
        assert_eq!((balancer.days, balancer.missing_days.days), (3, 1));
        assert_eq!((balancer.counts.objects, balancer.counts.rows), (5, 10));
        assert_eq!(balancer.missing_windows.windows, 1 + 2 * 288);
    }

    #[test]
    fn the_type_of_the_load_balancer_determines_its_windows() {
        for log_type in LogType::ALL {
            let mut gathered = Gathered::default();
            for end_time in ["20250719T1400Z", "20250719T1600Z"] {
                gathered.add(date("2025-07-19"), end_time, &Counts::default());
            }
            let found = gathered.describe(String::new(), String::new(), String::new(), log_type);
            let found = found.unwrap();
            let expected = if log_type == LogType::Classic { (60, 1, 24) } else { (5, 23, 288) };
            let day = found.calendar[0];
            let windows = found.missing_windows.windows;
            assert_eq!(
                (found.interval_minutes[0], windows, day.possible_windows),
                expected,
                "{log_type}"
            );
        }
    }

    #[test]
    fn a_load_balancer_is_named() {
        for (resource, name) in
            [("app/shop/0a", "shop"), ("net/n/1", "n"), ("old", "old"), ("", "")]
        {
            let mut gathered = Gathered::default();
            gathered.add(date("2025-07-19"), "", &Counts::default());
            let (account, region) = (String::new(), String::new());
            let found = gathered.describe(account, region, resource.to_owned(), LogType::Access);
            assert_eq!(found.unwrap().name(), name);
        }
    }

    #[test]
    fn an_object_with_an_invalid_end_time_counts_for_its_day() {
        let balancer = described(&[("2025-07-19", "20250719T2460Z")]);
        assert_eq!((balancer.days, balancer.calendar[0].windows), (1, 0));
        assert_eq!(balancer.missing_windows, MissingWindows::default());
    }
}
