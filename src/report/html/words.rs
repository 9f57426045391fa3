//! Formats numbers, times and names for the page.

use std::borrow::Borrow;

use chrono::{DateTime, Utc};
use indicatif::{HumanBytes, HumanCount};

use crate::logs::reject::Reason;
use crate::logs::schema::LogType;
use crate::report::{Era, Month, RejectsOf, SlowBatch, WindowRange};

pub(super) fn count(number: impl Borrow<u64>) -> HumanCount {
    HumanCount(*number.borrow())
}

pub(super) fn bytes(number: impl Borrow<u64>) -> HumanBytes {
    HumanBytes(*number.borrow())
}

/// Formats a percentage. Shows `0 %` only for zero, and `100 %` only for the full amount.
pub(super) fn percent(part: impl Borrow<u64>, whole: impl Borrow<u64>) -> String {
    let (part, whole) = (*part.borrow(), *whole.borrow());
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    match share {
        _ if part == 0 => "0 %".to_owned(),
        share if share < 0.01 => "< 0.01 %".to_owned(),
        share if share < 1.0 => format!("{share:.2} %"),
        share if share > 99.0 && part < whole => "> 99 %".to_owned(),
        share => format!("{share:.0} %"),
    }
}

/// Returns the length of a bar, where 100 is the full length.
pub(super) fn of_hundred(part: impl Borrow<u64>, whole: impl Borrow<u64>) -> String {
    format!("{:.1}", 100.0 * *part.borrow() as f64 / (*whole.borrow()).max(1) as f64)
}

/// Returns the shade for the share of rows that have the fields of an era: 0 if there are no such rows, otherwise 1 to
/// 5.
pub(super) fn shade(era: &Era, month: &Month) -> u64 {
    (5 * era.rows).div_ceil(month.rows.max(1))
}

pub(super) fn minute(time: impl Borrow<DateTime<Utc>>) -> String {
    time.borrow().format("%Y-%m-%dT%H:%MZ").to_string()
}

pub(super) fn log_name(log_type: impl Borrow<LogType>) -> &'static str {
    match log_type.borrow() {
        LogType::Access => "access log",
        LogType::Connection => "connection log",
        LogType::HealthCheck => "health check log",
        LogType::NlbTls => "Network Load Balancer log",
        LogType::Classic => "Classic Load Balancer log",
    }
}

/// Formats lengths of windows, such as `5 minutes` or `5 or 60 minutes`.
pub(super) fn intervals(minutes: &[u32]) -> String {
    let minutes: Vec<String> = minutes.iter().map(ToString::to_string).collect();
    format!("{} minutes", minutes.join(" or "))
}

/// Formats a range of windows: the end times of the first and last window, the number of windows and, if the load
/// balancer has windows of several lengths, the window length.
pub(super) fn windows(range: &WindowRange, intervals: &[u32]) -> String {
    let WindowRange { first, last, count, interval_minutes } = *range;
    let is_same_day = first.date_naive() == last.date_naive();
    let (first, count) = (first.format("%Y-%m-%d %H:%M"), HumanCount(count));
    let length =
        if intervals.len() > 1 { format!(" of {interval_minutes} minutes") } else { String::new() };
    match range.count {
        1 if length.is_empty() => first.to_string(),
        1 => format!("{first}, {count}{length}"),
        _ if is_same_day => format!("{first} to {}, {count}{length}", last.format("%H:%M")),
        _ => format!("{first} to {}, {count}{length}", last.format("%Y-%m-%d %H:%M")),
    }
}

pub(super) fn seconds(batch: &SlowBatch) -> String {
    format!("{:.2}", batch.seconds)
}

/// Returns the meaning of a reason, phrased as a predicate whose subject is "the line".
pub(super) fn meaning(rejects: &RejectsOf) -> &'static str {
    let reason = Reason::ALL.into_iter().find(|reason| reason.code() == rejects.reason);
    reason.map_or("was rejected for a reason that this version does not know", Reason::meaning)
}
