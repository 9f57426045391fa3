//! Delivery windows: which windows of a load balancer have objects, how long they are, and which are missing.
//!
//! An object name contains only the end of its window. The length of a window is the publishing interval, which the
//! type of the load balancer determines. Only Classic Load Balancers have a configurable interval. Users can change it
//! at any time, so it is derived from the end times.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

/// Minutes per unit of time: the shortest interval, of which all other intervals are multiples.
const UNIT: u32 = 5;
/// Number of units per day.
const UNITS: u32 = 24 * 60 / UNIT;
/// Minimum number of consecutive windows that are recognized as long. Each must end at the end of a long interval, and
/// be the only window in that interval.
///
/// A load balancer with a short interval and little traffic also has such windows. But only one in twelve of that load
/// balancer's windows ends on the full hour, so six such windows in a row are rare.
const MIN_LONG: usize = 6;
/// Maximum number of ranges of missing windows to list per load balancer. The longest ranges are listed.
const MAX_RANGES: usize = 100;

/// Windows without an object.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct MissingWindows {
    /// Number of windows.
    pub windows: u64,
    /// Number of ranges of consecutive windows.
    pub range_count: u64,
    /// The ranges. If there are too many, only the longest ones.
    pub ranges: Vec<WindowRange>,
}

/// A range of consecutive windows of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowRange {
    /// End time of the first window.
    pub first: DateTime<Utc>,
    /// End time of the last window.
    pub last: DateTime<Utc>,
    /// Number of windows.
    pub count: u64,
    /// Length of each window in minutes.
    pub interval_minutes: u32,
}

/// The distinct end times of windows. Windows can have several objects, because every node of a load balancer delivers
/// one.
#[derive(Debug, Default)]
pub(super) struct EndTimes(BTreeMap<NaiveDate, OfDay>);

/// The end times on a day, as a set of unit numbers.
#[derive(Debug, Clone, Copy, Default)]
struct OfDay([u64; UNITS.div_ceil(u64::BITS) as usize]);

/// The windows of a load balancer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// The lengths of the windows in minutes, in ascending order.
    pub(super) intervals: Vec<u32>,
    /// For each day, the number of windows that end on that day and have an object, and the total number of windows
    /// that end on that day.
    pub(super) days: BTreeMap<NaiveDate, (u32, u32)>,
    /// Windows without an object between the first and the last window with an object.
    pub(super) missing: MissingWindows,
}

/// Windows without an object: their end times, in units since day 0, are `first`, `first + step`, … up to `last`.
#[derive(Clone, Copy)]
struct Gap {
    first: i64,
    last: i64,
    step: i64,
}

impl OfDay {
    fn insert(&mut self, number: u32) {
        self.0[(number / u64::BITS) as usize] |= 1 << (number % u64::BITS);
    }

    fn contains(&self, number: u32) -> bool {
        self.0[(number / u64::BITS) as usize] & (1 << (number % u64::BITS)) != 0
    }
}

impl EndTimes {
    /// Adds an end time in the format that object names use, `yyyymmddThhmmZ`. Ignores digits that do not form a time.
    pub(super) fn add(&mut self, end_time: &str) {
        if let Some((day, number)) = parse(end_time) {
            self.0.entry(day).or_default().insert(number);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (day, theirs) in other.0 {
            let ours = &mut self.0.entry(day).or_default().0;
            ours.iter_mut().zip(theirs.0).for_each(|(ours, theirs)| *ours |= theirs);
        }
    }

    /// Returns the windows of a load balancer that can deliver logs at the given intervals, in minutes and ascending
    /// order. Windows before the first end time and after the last one are counted for the given days, but not as
    /// missing.
    pub(super) fn windows(&self, intervals: &[u32], days: RangeInclusive<NaiveDate>) -> Windows {
        let ends: Vec<i64> = self.units().collect();
        let intervals: Vec<i64> = intervals.iter().map(|minutes| units(*minutes)).collect();
        let lengths = lengths(&ends, &intervals);
        let windows = || ends.iter().copied().zip(lengths.iter().copied());
        let gaps =
            windows().zip(windows().skip(1)).filter_map(|((before, long), (end, length))| {
                // If the interval changed within the gap, the time of the change is unknown.
                let (step, last) = (length.min(long), end - length);
                (before < last).then_some(Gap { first: before + step, last, step })
            });
        let gaps: Vec<Gap> = gaps.collect();
        let mut counted = BTreeMap::<i64, (u32, u32)>::new();
        for end in &ends {
            let (present, all) = counted.entry(day_of(*end)).or_default();
            *present += 1;
            *all += 1;
        }
        let outside = outside(windows(), *intervals.last().unwrap_or(&1), &days);
        for (day, count) in gaps.iter().chain(&outside).flat_map(Gap::by_day) {
            counted.entry(day).or_default().1 += count;
        }
        let known = if lengths.is_empty() { &intervals } else { &lengths };
        let known: BTreeSet<i64> = known.iter().copied().collect();
        Windows {
            intervals: known.into_iter().map(minutes).collect(),
            days: counted.into_iter().map(|(day, counts)| (date(day), counts)).collect(),
            missing: missing(&gaps),
        }
    }

    /// Iterates over the end times in units since day 0.
    fn units(&self) -> impl Iterator<Item = i64> {
        self.0.iter().flat_map(|(day, of_day)| {
            let midnight = i64::from(day.num_days_from_ce()) * i64::from(UNITS);
            let numbers = (0..UNITS).filter(|number| of_day.contains(*number));
            numbers.map(move |number| midnight + i64::from(number))
        })
    }
}

impl Gap {
    fn count(&self) -> i64 {
        (self.last - self.first) / self.step + 1
    }

    /// Iterates over the days on which the windows end, with the number of windows.
    fn by_day(&self) -> impl Iterator<Item = (i64, u32)> {
        let Self { mut first, last, step } = *self;
        std::iter::from_fn(move || {
            let day = day_of(first);
            let last = last.min((day + 1) * i64::from(UNITS) - 1);
            let count = (first <= last).then(|| (last - first) / step + 1)?;
            first += count * step;
            Some((day, count as u32))
        })
    }
}

/// Returns the lengths of windows with the given end times.
///
/// With two intervals, a window can be long only if no other window ends within its long interval. Such a window is
/// considered long if it is one of several in a row, or if no window has to be short.
fn lengths(ends: &[i64], intervals: &[i64]) -> Vec<i64> {
    let (Some(&short), Some(&long)) = (intervals.first(), intervals.last()) else {
        return Vec::new();
    };
    let can_be_long =
        |at: usize| ends[at] % long == 0 && (at == 0 || ends[at] - ends[at - 1] >= long);
    let places: Vec<usize> = (0..ends.len()).collect();
    let all_can = places.iter().all(|at| can_be_long(*at));
    let sequences = places.chunk_by(|one, next| can_be_long(*one) == can_be_long(*next));
    sequences
        .flat_map(|sequence| {
            let is_long = can_be_long(sequence[0]) && (all_can || sequence.len() >= MIN_LONG);
            std::iter::repeat_n(if is_long { long } else { short }, sequence.len())
        })
        .collect()
}

/// Returns the gaps between the start of the first day and the first window, and between the last window and the end of
/// the last day. If there are no windows, returns a single gap with windows of the default length.
fn outside(
    mut windows: impl DoubleEndedIterator<Item = (i64, i64)>,
    default: i64,
    days: &RangeInclusive<NaiveDate>,
) -> Vec<Gap> {
    let midnight = |day: &NaiveDate| i64::from(day.num_days_from_ce()) * i64::from(UNITS);
    let (start, last) = (midnight(days.start()), midnight(days.end()) + i64::from(UNITS) - 1);
    let Some((first_end, length)) = windows.next() else {
        return vec![Gap { first: start, last, step: default }];
    };
    let before = first_end - length;
    let first = before - (before - start).div_euclid(length) * length;
    let (last_end, step) = windows.next_back().unwrap_or((first_end, length));
    let after = Gap { first: last_end + step, last, step };
    vec![Gap { first, last: before, step: length }, after]
}

fn missing(gaps: &[Gap]) -> MissingWindows {
    let windows = gaps.iter().map(|gap| gap.count().cast_unsigned()).sum();
    let range_count = gaps.len() as u64;
    let range = |gap: &Gap| WindowRange {
        first: time(gap.first),
        last: time(gap.last),
        count: gap.count().cast_unsigned(),
        interval_minutes: minutes(gap.step),
    };
    let mut ranges: Vec<WindowRange> = gaps.iter().map(range).collect();
    if ranges.len() > MAX_RANGES {
        let length = |range: &WindowRange| range.count * u64::from(range.interval_minutes);
        ranges.sort_by_key(|range| (std::cmp::Reverse(length(range)), range.first));
        ranges.truncate(MAX_RANGES);
        ranges.sort_by_key(|range| range.first);
    }
    MissingWindows { windows, range_count, ranges }
}

/// Returns the day that contains an end time and the number of the unit within that day, or `None` if the
/// time is invalid.
fn parse(end_time: &str) -> Option<(NaiveDate, u32)> {
    let number = |from: usize, to: usize| end_time.get(from..to)?.parse::<u32>().ok();
    let year = i32::try_from(number(0, 4)?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(4, 6)?, number(6, 8)?)?;
    let (hour, minute) = (number(9, 11)?, number(11, 13)?);
    (hour < 24 && minute < 60).then_some((day, (hour * 60 + minute) / UNIT))
}

fn units(minutes: u32) -> i64 {
    i64::from(minutes / UNIT)
}

fn minutes(units: i64) -> u32 {
    units as u32 * UNIT
}

/// Returns the number of the day on which a window ends.
fn day_of(end: i64) -> i64 {
    end.div_euclid(UNITS.into())
}

fn date(day: i64) -> NaiveDate {
    NaiveDate::from_num_days_from_ce_opt(day as i32).expect("is near the day of an object")
}

fn time(end: i64) -> DateTime<Utc> {
    let midnight = date(day_of(end)).and_time(NaiveTime::MIN).and_utc();
    midnight + TimeDelta::minutes(end.rem_euclid(UNITS.into()) * i64::from(UNIT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::schema::LogType;

    const NETWORK: &[u32] = &[5];
    const CLASSIC: &[u32] = &[5, 60];

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// Returns the windows with the given end times, `ddThhmm` in July 2025, for the days from the first to the last.
    fn windows(intervals: &[u32], end_times: &[&str]) -> Windows {
        let mut found = EndTimes::default();
        for time in end_times {
            found.add(&format!("202507{time}Z"));
        }
        let days: Vec<NaiveDate> = found.0.keys().copied().collect();
        found.windows(intervals, days[0]..=days[days.len() - 1])
    }

    /// Returns the ranges of missing windows as `first last count`, each with its interval.
    fn ranges(windows: &Windows) -> Vec<(String, u32)> {
        let text = |range: &WindowRange| {
            let WindowRange { first, last, count, interval_minutes } = range;
            let (first, last) = (first.format("%dT%H%M"), last.format("%dT%H%M"));
            (format!("{first} {last} {count}"), *interval_minutes)
        };
        windows.missing.ranges.iter().map(text).collect()
    }

    fn hours(day: u32, from: u32, to: u32) -> Vec<String> {
        (from..=to).map(|hour| format!("{day}T{hour:02}00")).collect()
    }

    fn strs(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }

    #[test]
    fn every_interval_is_a_multiple_of_the_unit() {
        for log_type in LogType::ALL {
            let intervals = log_type.table().load_balancer.intervals();
            assert!(!intervals.is_empty() && intervals.is_sorted(), "{log_type}");
            assert!(
                intervals.iter().all(|each| each % UNIT == 0 && 1440 % each == 0),
                "{log_type}"
            );
        }
    }

    #[test]
    fn ranges_of_missing_windows_span_midnight_and_missing_days() {
        let found = windows(NETWORK, &["18T2350", "18T2350", "19T0000", "19T0005", "21T0010"]);
        let expected = [("18T2355 18T2355 1", 5), ("19T0010 21T0005 576", 5)];
        assert_eq!(ranges(&found), expected.map(|(range, minutes)| (range.to_owned(), minutes)));
        assert_eq!((found.missing.windows, found.missing.range_count), (577, 2));
        let counts: Vec<_> = found.days.values().copied().collect();
        assert_eq!(counts, [(1, 288), (2, 288), (0, 288), (1, 288)]);
        assert_eq!(found.intervals, [5]);
    }

    #[test]
    fn a_classic_load_balancer_with_windows_on_full_hours_has_24_windows_a_day() {
        let found = windows(CLASSIC, &["18T2200", "19T0000", "19T0300"]);
        assert_eq!(found.intervals, [60]);
        let expected = [("18T2300 18T2300 1", 60), ("19T0100 19T0200 2", 60)];
        assert_eq!(ranges(&found), expected.map(|(range, minutes)| (range.to_owned(), minutes)));
        assert_eq!(found.days[&day("2025-07-18")], (1, 24));
        assert_eq!(found.days[&day("2025-07-19")], (2, 24));
        // For a Network Load Balancer, the same end times belong to five-minute windows.
        let found = windows(NETWORK, &["18T2200", "19T0000", "19T0300"]);
        assert_eq!((found.missing.windows, found.days[&day("2025-07-19")]), (23 + 35, (2, 288)));
    }

    #[test]
    fn a_few_windows_on_full_hours_among_others_are_five_minutes_long() {
        let found = windows(CLASSIC, &["19T1400", "19T1500", "19T1605", "19T1700"]);
        assert_eq!(found.intervals, [5]);
        assert_eq!(
            (found.missing.windows, found.days[&day("2025-07-19")]),
            (11 + 12 + 10, (4, 288))
        );
    }

    #[test]
    fn a_change_of_the_interval_is_not_a_gap() {
        // From 60 to 5 minutes at noon, and back at 13:00.
        let short = (1..=12).map(|number| format!("19T12{:02}", number * 5 % 60));
        let short = short.map(|time| if time == "19T1200" { "19T1300".to_owned() } else { time });
        let all = [hours(19, 1, 12), short.collect(), hours(19, 14, 20)].concat();
        let found = windows(CLASSIC, &strs(&all));
        assert_eq!((ranges(&found), found.intervals.as_slice()), (vec![], &[5, 60][..]));
        // The windows that end at 00:00, or at 21:00 or later, are before the first or after the last end time.
        assert_eq!(found.days[&day("2025-07-19")], (31, 1 + 31 + 3));
    }

    #[test]
    fn a_gap_with_a_change_of_the_interval_consists_of_short_windows() {
        let all = [hours(19, 1, 6), vec!["19T0705".to_owned()]].concat();
        let found = windows(CLASSIC, &strs(&all));
        assert_eq!(ranges(&found), [("19T0605 19T0700 12".to_owned(), 5)]);
        assert_eq!(found.intervals, [5, 60]);
    }

    #[test]
    fn only_the_longest_ranges_are_listed() {
        let times: Vec<String> = (0..UNITS)
            .step_by(2)
            .filter(|number| *number != 100)
            .map(|number| format!("19T{:02}{:02}", number / 12, number % 12 * 5))
            .collect();
        let MissingWindows { windows, range_count, ranges } =
            windows(NETWORK, &strs(&times)).missing;
        assert_eq!((range_count, windows, ranges.len()), (142, 144, MAX_RANGES));
        assert_eq!(ranges.iter().map(|range| range.count).max(), Some(3));
        assert!(ranges.is_sorted_by_key(|range| range.first));
    }

    #[test]
    fn days_without_a_valid_end_time_have_windows() {
        let mut found = EndTimes::default();
        for time in ["20250719T9999Z", "20251319T0000Z", "99999999T0000Z", "", "2025071é"] {
            found.add(time);
        }
        let days = day("2025-07-19")..=day("2025-07-20");
        let windows = found.windows(NETWORK, days.clone());
        assert_eq!(windows.days.values().collect::<Vec<_>>(), [&(0, 288), &(0, 288)]);
        assert_eq!((windows.missing, windows.intervals), (MissingWindows::default(), vec![5]));
        let windows = found.windows(CLASSIC, days);
        assert_eq!(windows.days.values().collect::<Vec<_>>(), [&(0, 24), &(0, 24)]);
    }

    /// Generates a sequence of settings, each with its interval and duration in hours, and a number for each window
    /// that decides whether the window is missing.
    fn history() -> impl Strategy<Value = (Vec<(bool, u8)>, Vec<u8>)> {
        let settings = proptest::collection::vec((any::<bool>(), 10_u8..60), 1..6);
        (settings, proptest::collection::vec(any::<u8>(), 6 * 60 * 12))
    }

    proptest! {
        /// For any history of settings, exactly the missing windows are reported, and each day's windows add up.
        #[test]
        fn exactly_the_missing_windows_are_reported(
            (settings, lots) in history(),
            start in 0_u32..24,
            rate in 0_u8..40,
        ) {
            let first = i64::from(day("2025-07-19").num_days_from_ce()) * i64::from(UNITS);
            let mut end = first + i64::from(start) * 12;
            let (mut all, mut present) = (Vec::new(), EndTimes::default());
            let (mut lots, mut missing) = (lots.into_iter(), BTreeMap::<u32, u64>::new());
            for (is_long, count) in settings {
                let (step, windows) = if is_long { (12, i64::from(count)) } else { (1, i64::from(count) * 12) };
                for number in 0..windows {
                    end += step;
                    // The windows next to a change always exist, so that the time of the change is known.
                    let is_inner = (MIN_LONG as i64..windows - MIN_LONG as i64).contains(&number);
                    let is_missing = is_inner && lots.next().unwrap_or(u8::MAX) < rate;
                    all.push(end);
                    if is_missing {
                        *missing.entry(minutes(step)).or_default() += 1;
                    } else {
                        present.add(&time(end).format("%Y%m%dT%H%MZ").to_string());
                    }
                }
            }
            let (first, last) = (date(day_of(all[0])), date(day_of(end)));
            let found = present.windows(CLASSIC, first..=last);
            let mut reported = BTreeMap::<u32, u64>::new();
            let gaps = found.missing.range_count;
            prop_assert!(gaps <= found.missing.windows);
            if gaps <= MAX_RANGES as u64 {
                for range in &found.missing.ranges {
                    *reported.entry(range.interval_minutes).or_default() += range.count;
                }
                prop_assert_eq!(&reported, &missing);
            }
            prop_assert_eq!(found.missing.windows, missing.values().sum::<u64>());
            let present: u32 = found.days.values().map(|(present, _)| present).sum();
            prop_assert_eq!(u64::from(present) + found.missing.windows, all.len() as u64);
            for (day, (present, of_day)) in &found.days {
                prop_assert!(present <= of_day && (24..=288).contains(of_day), "{}: {}", day, of_day);
                // All windows are known for days between the first and the last day.
                if first < *day && *day < last {
                    let ends = all.iter().filter(|end| date(day_of(**end)) == *day).count();
                    prop_assert_eq!(*of_day as usize, ends, "{}", day);
                }
            }
        }
    }
}
