//! Renders the report as a self-contained HTML page.
//!
//! The template escapes all values that it inserts, because names and lines are untrusted. As a second line of defense,
//! the content security policy of the page allows only its own script, by its hash, and no requests.

mod calendar;
mod words;

use std::collections::BTreeSet;
use std::fmt;

use askama::Template;
use askama::filters::{Escaper, Html};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Datelike;
use sha2::{Digest, Sha256};

use crate::logs::schema::LogType;
use crate::report::html::calendar::{Background, Year};
use crate::report::{Counts, Facts, LoadBalancer, Month, Statement, Totals};
use crate::util::escape::{printable, printable_lines};

/// The style sheet.
const STYLE: &str = include_str!("html/report.css");
/// The script, which only shows the counts of a day on hover and focus.
const SCRIPT: &str = include_str!("html/report.js");

/// Escapes values in the template for HTML. Also applies the escapes for terminals, because control characters that
/// reverse the text direction can also deceive readers in a browser.
///
/// Newlines are kept, because statements have several lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Escaped;

impl Escaper for Escaped {
    fn write_escaped_str<W: fmt::Write>(&self, to: W, text: &str) -> fmt::Result {
        Html.write_escaped_str(to, &printable_lines(text))
    }
}

/// Returns the report as an HTML page.
///
/// # Errors
///
/// Fails only if the template engine fails.
pub fn html(facts: &Facts) -> Result<String, askama::Error> {
    let balancers = || facts.load_balancers.iter();
    let calendars: Vec<Calendar> =
        balancers().enumerate().map(|(id, each)| Calendar::new(id, each)).collect();
    let years = balancers().flat_map(|each| each.first_day.year()..=each.last_day.year());
    let years: BTreeSet<i32> = years.collect();
    let accounts: BTreeSet<&str> = balancers().map(|each| each.account.as_str()).collect();
    let names: BTreeSet<_> =
        balancers().map(|each| (&each.account, &each.region, &each.load_balancer)).collect();
    let size = |(log_type, totals): (&LogType, &Totals)| Size {
        log_type: *log_type,
        source: totals.counts.source_bytes,
        dataset: totals.written.all_bytes(),
    };
    let sizes: Vec<Size> = facts.log_types.iter().map(size).collect();
    let page = Page {
        facts,
        name: printable(&facts.dataset),
        style: STYLE,
        script: SCRIPT,
        policy: policy(),
        account_count: accounts.len() as u64,
        balancer_count: names.len() as u64,
        backgrounds: years.into_iter().map(calendar::background).collect(),
        places: calendars.chunk_by(|a, b| a.place() == b.place()).collect(),
        widest: sizes.iter().map(|size| size.source.max(size.dataset)).max().unwrap_or_default(),
        sizes,
        eras: facts.months.chunk_by(|a, b| a.log_type == b.log_type).collect(),
        tables: facts.statements.chunk_by(|a, b| a.table == b.table).collect(),
    };
    page.render()
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    facts: &'a Facts,
    /// The name of the dataset, on one line.
    name: String,
    style: &'static str,
    script: &'static str,
    /// The content security policy.
    policy: String,
    account_count: u64,
    balancer_count: u64,
    backgrounds: Vec<Background>,
    /// The calendars of each account and region.
    places: Vec<&'a [Calendar<'a>]>,
    sizes: Vec<Size>,
    /// The size in bytes that corresponds to the longest bar.
    widest: u64,
    /// The months of each log type.
    eras: Vec<&'a [Month]>,
    /// The statements of each table.
    tables: Vec<&'a [Statement]>,
}

/// The calendar figure and the tables of a load balancer.
struct Calendar<'a> {
    id: usize,
    balancer: &'a LoadBalancer,
    /// The name of the load balancer.
    name: &'a str,
    /// A label that is unique in the page.
    label: String,
    years: Vec<Year>,
    data: String,
    busy: u64,
    months: Vec<MonthOf>,
    /// Number of ranges of missing windows that are not listed.
    unlisted: u64,
}

/// The totals of a load balancer for one month.
struct MonthOf {
    month: String,
    days: u64,
    windows: u64,
    counts: Counts,
}

/// Sizes of a log type in the source and in the dataset, in bytes.
struct Size {
    log_type: LogType,
    source: u64,
    dataset: u64,
}

impl<'a> Calendar<'a> {
    fn new(id: usize, balancer: &'a LoadBalancer) -> Self {
        let mut months = Vec::<MonthOf>::new();
        for day in &balancer.calendar {
            let month = day.day.format("%Y-%m").to_string();
            if months.last().is_none_or(|last| last.month != month) {
                months.push(MonthOf { month, days: 0, windows: 0, counts: Counts::default() });
            }
            let month = months.last_mut().expect("was just made");
            month.days += 1;
            month.windows += u64::from(day.windows);
            month.counts.add(&day.counts);
        }
        let missing = &balancer.missing_windows;
        let LoadBalancer { account, region, load_balancer, log_type, .. } = balancer;
        let name = if load_balancer.is_empty() { "(no name)" } else { balancer.name() };
        let log = words::log_name(log_type);
        Self {
            id,
            balancer,
            name,
            label: format!("{load_balancer}, {log}, {account} {region}"),
            years: calendar::years(balancer),
            data: calendar::data(balancer),
            busy: calendar::busy(balancer),
            months,
            unlisted: missing.range_count - missing.ranges.len() as u64,
        }
    }

    fn place(&self) -> (&str, &str) {
        (&self.balancer.account, &self.balancer.region)
    }
}

/// Returns the content security policy, which allows only the style and script of the page.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}
