//! Draws a load balancer's calendar for each year as a small SVG with one square per day.
//!
//! A single path draws all squares of the same shade. Consecutive days in a week form one stroke, which a dash pattern
//! divides into squares. A day therefore takes only a few bytes and needs no separate element. The counts of all days
//! are in one attribute, which the script reads on hover and focus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;

use chrono::{Datelike, NaiveDate};

use crate::report::{Day, LoadBalancer};

/// Number of shades for days with rows.
const SHADES: u64 = 5;
/// Quantile of the daily row counts that defines a busy day. Shades are relative to the row count of a busy day.
const BUSY: f64 = 0.95;
/// Abbreviations of the months.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The appearance of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// The day has no object, but earlier and later days do.
    Gap,
    /// The day has objects but no rows.
    Empty,
    /// The day has rows. The shade is from 1 to [`SHADES`].
    Rows(u64),
}

/// A load balancer's calendar for one year.
pub(super) struct Year {
    pub(super) number: i32,
    /// Text that states the number of days with objects.
    pub(super) label: String,
    pub(super) paths: Vec<Path>,
}

/// The days in a year that have the same appearance.
pub(super) struct Path {
    /// Class in the style sheet.
    pub(super) class: String,
    /// The `d` attribute. Coordinates are weeks and weekdays.
    pub(super) d: String,
}

/// The parts that all calendars of the same year share: an empty square for each day, and the names of the months.
pub(super) struct Background {
    pub(super) year: i32,
    pub(super) d: String,
    pub(super) months: Vec<(u32, &'static str)>,
}

/// Returns the column (week) and row (weekday, Monday first) of a day.
fn place(day: NaiveDate) -> (u32, u32) {
    let first = NaiveDate::from_ymd_opt(day.year(), 1, 1).expect("every year has January 1");
    let number = day.ordinal0() + first.weekday().num_days_from_monday();
    (number / 7, number % 7)
}

/// Returns the background of a year.
pub(super) fn background(year: i32) -> Background {
    let first = NaiveDate::from_ymd_opt(year, 1, 1).expect("the year of an existing day");
    let days: Vec<_> = first.iter_days().take_while(|day| day.year() == year).collect();
    let months = days.iter().filter(|day| day.day() == 1);
    // The name of a month is above the first complete week of that month.
    let months = months.map(|day| {
        let (week, weekday) = place(*day);
        let week = if weekday == 0 { week } else { week + 1 };
        (week, MONTHS[day.month0() as usize])
    });
    let months = months.collect();
    Background { year, d: strokes(days.into_iter()), months }
}

/// Returns the number of rows on a busy day, to which shades are relative. This is not the maximum, which can be an
/// outlier.
pub(super) fn busy(balancer: &LoadBalancer) -> u64 {
    let mut rows: Vec<u64> = balancer.calendar.iter().map(|day| day.counts.rows).collect();
    rows.sort_unstable();
    let place = (rows.len() as f64 * BUSY) as usize;
    rows.get(place.min(rows.len().saturating_sub(1))).copied().unwrap_or_default().max(1)
}

/// Returns the calendars of a load balancer, one per year.
pub(super) fn years(balancer: &LoadBalancer) -> Vec<Year> {
    let busy = busy(balancer);
    let mut years: BTreeMap<i32, BTreeMap<Look, Vec<NaiveDate>>> = BTreeMap::new();
    let mut rejects: BTreeMap<i32, Vec<NaiveDate>> = BTreeMap::new();
    for (day, known) in days(balancer) {
        let look = match known {
            None => Look::Gap,
            Some(Day { counts, .. }) if counts.rows == 0 => Look::Empty,
            Some(Day { counts, .. }) => {
                Look::Rows((counts.rows * SHADES).div_ceil(busy).clamp(1, SHADES))
            }
        };
        years.entry(day.year()).or_default().entry(look).or_default().push(day);
        if known.is_some_and(|day| day.counts.rejects > 0) {
            rejects.entry(day.year()).or_default().push(day);
        }
    }
    let year = |(year, looks): (i32, BTreeMap<Look, Vec<NaiveDate>>)| {
        let missing = looks.get(&Look::Gap).map_or(0, Vec::len);
        let present = looks.values().map(Vec::len).sum::<usize>() - missing;
        let label = format!("{year}: {present} days with objects, {missing} missing");
        let mut paths: Vec<Path> = looks.into_iter().map(|(look, days)| path(look, days)).collect();
        if let Some(days) = rejects.remove(&year) {
            paths.push(Path { class: "rejects".to_owned(), d: dots(days) });
        }
        Year { number: year, label, paths }
    };
    years.into_iter().map(year).collect()
}

/// Returns the counts of all days for the script: `objects,rows,bytes,windows,possible windows,rejects` for each day,
/// separated by `;`. `rejects` is omitted if it is 0. The entry for a day without objects is empty.
pub(super) fn data(balancer: &LoadBalancer) -> String {
    let mut text = String::new();
    for (number, (_, day)) in days(balancer).enumerate() {
        if number > 0 {
            text.push(';');
        }
        let Some(Day { counts, windows, possible_windows, .. }) = day else { continue };
        let (objects, rows, bytes) = (counts.objects, counts.rows, counts.source_bytes);
        write!(text, "{objects},{rows},{bytes},{windows},{possible_windows}")
            .expect("writing to a string cannot fail");
        if counts.rejects > 0 {
            write!(text, ",{}", counts.rejects).expect("writing to a string cannot fail");
        }
    }
    text
}

/// Iterates over all days from the first to the last, with their counts if they have objects.
fn days(balancer: &LoadBalancer) -> impl Iterator<Item = (NaiveDate, Option<&Day>)> {
    let mut known = balancer.calendar.iter().peekable();
    let days = balancer.first_day.iter_days().take_while(|day| *day <= balancer.last_day);
    days.map(move |day| (day, known.next_if(|known| known.day == day)))
}

fn path(look: Look, days: Vec<NaiveDate>) -> Path {
    let (class, d) = match look {
        Look::Gap => ("gap".to_owned(), boxes(days)),
        Look::Empty => ("l0".to_owned(), boxes(days)),
        Look::Rows(shade) => (format!("l{shade}"), strokes(days.into_iter())),
    };
    Path { class, d }
}

/// Returns a path that draws days as strokes, one for each run of consecutive days in a week.
fn strokes(days: impl Iterator<Item = NaiveDate>) -> String {
    let mut d = String::new();
    for (week, weekday, count) in runs(days) {
        write!(d, "M{week} {weekday}v{count}").expect("writing to a string cannot fail");
    }
    d
}

/// Returns a path that draws days as boxes, one around each run of consecutive days in a week.
fn boxes(days: Vec<NaiveDate>) -> String {
    let mut d = String::new();
    for (week, weekday, count) in runs(days.into_iter()) {
        write!(d, "M{week}.1 {weekday}.1h.8v{}.8h-.8z", count - 1)
            .expect("writing to a string cannot fail");
    }
    d
}

/// Returns a path that draws days as dots.
fn dots(days: Vec<NaiveDate>) -> String {
    let mut d = String::new();
    for (week, weekday) in days.into_iter().map(place) {
        write!(d, "M{week} {weekday}h0").expect("writing to a string cannot fail");
    }
    d
}

/// Groups days into runs of consecutive days in a week. Returns the week, first weekday and number of days of each run.
fn runs(days: impl Iterator<Item = NaiveDate>) -> impl Iterator<Item = (u32, u32, u32)> {
    let mut places = days.map(place).peekable();
    iter::from_fn(move || {
        let (week, weekday) = places.next()?;
        let mut count = 1;
        while places.next_if(|next| *next == (week, weekday + count)).is_some() {
            count += 1;
        }
        Some((week, weekday, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::schema::LogType;
    use crate::report::{Counts, MissingDays, MissingWindows};

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn balancer(days: &[(&str, u64, u64)]) -> LoadBalancer {
        let calendar: Vec<_> = days
            .iter()
            .map(|&(day, rows, rejects)| {
                let counts =
                    Counts { objects: 2, lines: rows + rejects, rows, rejects, source_bytes: 9 };
                Day { day: date(day), counts, windows: 7, possible_windows: 24 }
            })
            .collect();
        LoadBalancer {
            account: String::new(),
            region: String::new(),
            load_balancer: String::new(),
            log_type: LogType::Classic,
            interval_minutes: vec![60],
            first_day: calendar[0].day,
            last_day: calendar[calendar.len() - 1].day,
            days: calendar.len() as u64,
            counts: Counts::default(),
            missing_days: MissingDays::default(),
            missing_windows: MissingWindows::default(),
            calendar,
        }
    }

    #[test]
    fn weeks_begin_on_monday() {
        // 2024 began on a Monday, 2023 on a Sunday.
        assert_eq!(place(date("2024-01-01")), (0, 0));
        assert_eq!(place(date("2024-01-08")), (1, 0));
        assert_eq!(place(date("2023-01-01")), (0, 6));
        assert_eq!(place(date("2023-01-02")), (1, 0));
        assert_eq!(place(date("2028-12-31")), (52, 6));
        assert_eq!(place(date("2012-12-31")), (53, 0));
    }

    #[test]
    fn a_year_has_a_place_for_each_day() {
        let leap = background(2024);
        let days: u32 = leap
            .d
            .split('v')
            .skip(1)
            .map(|run| run.split('M').next().unwrap())
            .map(|count| count.parse::<u32>().unwrap())
            .sum();
        assert_eq!(days, 366);
        assert_eq!(leap.months.len(), 12);
        assert_eq!((leap.months[0], leap.months[1].1), ((0, "Jan"), "Feb"));
    }

    #[test]
    fn shades_show_rows_and_gaps_are_marked() {
        // Starting on Wednesday, 2025-07-16.
        let balancer = balancer(&[
            ("2025-07-16", 100, 0),
            ("2025-07-17", 100, 0),
            ("2025-07-18", 10, 3),
            ("2025-07-21", 0, 1),
            ("2025-07-22", 100, 0),
        ]);
        let years = years(&balancer);
        assert_eq!(years.len(), 1);
        assert_eq!(years[0].label, "2025: 5 days with objects, 2 missing");
        let paths: Vec<_> =
            years[0].paths.iter().map(|path| (path.class.as_str(), path.d.as_str())).collect();
        assert_eq!(
            paths,
            [
                ("gap", "M28.1 5.1h.8v1.8h-.8z"),
                ("l0", "M29.1 0.1h.8v0.8h-.8z"),
                ("l1", "M28 4v1"),
                ("l5", "M28 2v2M29 1v1"),
                ("rejects", "M28 4h0M29 0h0"),
            ]
        );
        assert_eq!(
            data(&balancer),
            "2,100,9,7,24;2,100,9,7,24;2,10,9,7,24,3;;;2,0,9,7,24,1;2,100,9,7,24"
        );
    }

    #[test]
    fn an_outlier_does_not_lighten_the_shades_of_other_days() {
        let days: Vec<(String, u64, u64)> = (1..=30)
            .map(|day| (format!("2025-06-{day:02}"), if day == 9 { 1_000_000 } else { 100 }, 0))
            .collect();
        let days: Vec<_> = days.iter().map(|(day, rows, _)| (day.as_str(), *rows, 0)).collect();
        assert_eq!(busy(&balancer(&days)), 100);
        assert_eq!(years(&balancer(&days))[0].paths.len(), 1);
    }
}
