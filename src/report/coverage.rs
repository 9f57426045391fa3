//! Coverage: the days and five-minute windows for which a load balancer has objects, and those that are missing.
//!
//! AWS writes an object only if there were requests in the window, so a missing window does not imply a lost log.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use crate::logs::schema::LogType;
use crate::report::Counts;

/// Number of windows per day.
const WINDOWS: u32 = 288;
/// Length of a window in minutes.
const MINUTES: u32 = 5;
/// Maximum number of ranges of missing windows to list per load balancer. The longest ranges are listed.
pub(super) const MAX_RANGES: usize = 100;

/// A load balancer's coverage for one log type.
#[derive(Debug, Serialize)]
pub struct LoadBalancer {
    /// Account ID.
    pub account: String,
    /// AWS region.
    pub region: String,
    /// Resource ID with dots instead of slashes: `app.name.id`.
    pub load_balancer: String,
    /// The log type.
    pub log_type: LogType,
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
    /// Number of windows that end on this day and have an object; at most 288.
    pub windows: u32,
}

/// Days without an object.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct MissingDays {
    /// Number of days.
    pub days: u64,
    /// All ranges of consecutive days.
    pub ranges: Vec<Span<NaiveDate>>,
}

/// Windows without an object.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct MissingWindows {
    /// Number of windows.
    pub windows: u64,
    /// Number of ranges of consecutive windows.
    pub range_count: u64,
    /// The ranges, each with the end times of its first and last window. If there are too many, only the longest ones.
    pub ranges: Vec<Span<DateTime<Utc>>>,
}

/// A range of consecutive days or windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span<T> {
    /// The first day or window.
    pub first: T,
    /// The last day or window.
    pub last: T,
    /// Number of days or windows in the range.
    pub count: u64,
}

/// The set of windows that end on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Windows([u64; WINDOWS.div_ceil(u64::BITS) as usize]);

impl Windows {
    /// Adds the window with this number, counted from midnight.
    fn insert(&mut self, number: u32) {
        self.0[(number / u64::BITS) as usize] |= 1 << (number % u64::BITS);
    }

    fn contains(&self, number: u32) -> bool {
        self.0[(number / u64::BITS) as usize] & (1 << (number % u64::BITS)) != 0
    }

    fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn union(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours |= theirs);
    }
}

/// Data on the objects read so far for a load balancer and log type.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    days: BTreeMap<NaiveDate, Counts>,
    windows: BTreeMap<NaiveDate, Windows>,
}

impl Gathered {
    /// Adds an object delivered on a day. `end_time` is the end of the object's window, in the format that object names
    /// use: `yyyymmddThhmmZ`.
    pub(super) fn add(&mut self, day: NaiveDate, end_time: &str, counts: &Counts) {
        self.days.entry(day).or_default().add(counts);
        // The digits in a name may not form a valid time. The object then counts toward its day but not toward any
        // window.
        if let Some((day, number)) = window(end_time) {
            self.windows.entry(day).or_default().insert(number);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (day, counts) in other.days {
            self.days.entry(day).or_default().add(&counts);
        }
        for (day, windows) in other.windows {
            self.windows.entry(day).or_default().union(&windows);
        }
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
        let day = |(day, counts): (&NaiveDate, &Counts)| Day {
            day: *day,
            counts: *counts,
            windows: self.windows.get(day).map_or(0, Windows::len),
        };
        Some(LoadBalancer {
            account,
            region,
            load_balancer,
            log_type,
            first_day,
            last_day,
            days: self.days.len() as u64,
            counts: total,
            missing_days: missing_days(self.days.keys().copied()),
            missing_windows: missing_windows(&self.windows),
            calendar: self.days.iter().map(day).collect(),
        })
    }
}

/// Returns the day and the number of the window that ends at the given time, or `None` if the time is invalid.
fn window(end_time: &str) -> Option<(NaiveDate, u32)> {
    let number = |from: usize, to: usize| end_time.get(from..to)?.parse::<u32>().ok();
    let year = i32::try_from(number(0, 4)?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(4, 6)?, number(6, 8)?)?;
    let (hour, minute) = (number(9, 11)?, number(11, 13)?);
    (hour < 24 && minute < 60).then_some((day, (hour * 60 + minute) / MINUTES))
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
                missing.ranges.push(Span { first, last, count });
            }
        }
        before = Some(day);
    }
    missing
}

fn missing_windows(windows: &BTreeMap<NaiveDate, Windows>) -> MissingWindows {
    let (mut missing, mut ranges) = (MissingWindows::default(), Vec::new());
    let mut before: Option<DateTime<Utc>> = None;
    let length = TimeDelta::minutes(MINUTES.into());
    for (day, windows) in windows {
        let midnight = day.and_time(NaiveTime::MIN).and_utc();
        for number in (0..WINDOWS).filter(|number| windows.contains(*number)) {
            let end = midnight + length * number.cast_signed();
            if let Some(before) = before {
                let count = ((end - before).num_minutes() / length.num_minutes() - 1) as u64;
                if count > 0 {
                    missing.windows += count;
                    ranges.push(Span { first: before + length, last: end - length, count });
                }
            }
            before = Some(end);
        }
    }
    missing.range_count = ranges.len() as u64;
    if ranges.len() > MAX_RANGES {
        ranges.sort_by_key(|range| (std::cmp::Reverse(range.count), range.first));
        ranges.truncate(MAX_RANGES);
        ranges.sort_by_key(|range| range.first);
    }
    missing.ranges = ranges;
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
        let [account, region, balancer] = ["1", "eu", "app.a.b"].map(str::to_owned);
        gathered.describe(account, region, balancer, LogType::Access).unwrap()
    }

    #[test]
    fn missing_days_are_between_days_with_objects() {
        let days = ["2024-02-27", "2024-02-28", "2024-03-02", "2024-03-04"].map(date);
        let missing = missing_days(days.into_iter());
        assert_eq!(missing.days, 3);
        let spans = [("2024-02-29", "2024-03-01", 2), ("2024-03-03", "2024-03-03", 1)];
        let spans =
            spans.map(|(first, last, count)| Span { first: date(first), last: date(last), count });
        assert_eq!(missing.ranges, spans);
        assert_eq!(missing_days(std::iter::empty()), MissingDays::default());
    }

    #[test]
    fn ranges_of_missing_windows_span_midnight_and_missing_days() {
        let balancer = described(&[
            ("2025-07-18", "20250718T2350Z"),
            ("2025-07-18", "20250718T2350Z"),
            ("2025-07-19", "20250719T0000Z"),
            ("2025-07-19", "20250719T0005Z"),
            ("2025-07-21", "20250721T0010Z"),
        ]);
        let missing = balancer.missing_windows;
        let spans: Vec<_> = missing
            .ranges
            .iter()
            .map(|s| (s.first.to_string(), s.last.to_string(), s.count))
            .collect();
        let span = |first: &str, last: &str, count| (first.to_owned(), last.to_owned(), count);
        assert_eq!(
            spans,
            [
                span("2025-07-18 23:55:00 UTC", "2025-07-18 23:55:00 UTC", 1),
                span("2025-07-19 00:10:00 UTC", "2025-07-21 00:05:00 UTC", 2 * 288),
            ]
        );
        assert_eq!((missing.windows, missing.range_count), (577, 2));
        let days: Vec<_> =
            balancer.calendar.iter().map(|d| (d.counts.objects, d.windows)).collect();
        assert_eq!(days, [(2, 1), (2, 2), (1, 1)]);
        assert_eq!((balancer.days, balancer.missing_days.days), (3, 1));
        assert_eq!((balancer.counts.objects, balancer.counts.rows), (5, 10));
    }

    #[test]
    fn only_the_longest_ranges_are_listed() {
        let mut gathered = Gathered::default();
        let day = date("2025-07-19");
        for number in (0..WINDOWS).step_by(2).filter(|number| *number != 100) {
            let (hour, minute) = (number * MINUTES / 60, number * MINUTES % 60);
            gathered.add(day, &format!("20250719T{hour:02}{minute:02}Z"), &Counts::default());
        }
        let missing = missing_windows(&gathered.windows);
        assert_eq!((missing.range_count, missing.windows), (142, 144));
        assert_eq!(missing.ranges.len(), MAX_RANGES);
        assert_eq!(missing.ranges.iter().map(|range| range.count).max(), Some(3));
        assert!(missing.ranges.is_sorted_by_key(|range| range.first));
    }

    #[test]
    fn an_object_with_an_invalid_end_time_counts_for_its_day() {
        let times = ["20250719T9999Z", "20251319T0000Z", "99999999T0000Z", "", "2025071é"];
        for time in times {
            assert_eq!(window(time), None, "{time}");
        }
        let balancer = described(&[("2025-07-19", "20250719T2460Z")]);
        assert_eq!((balancer.days, balancer.calendar[0].windows), (1, 0));
        assert_eq!(balancer.missing_windows, MissingWindows::default());
    }
}
