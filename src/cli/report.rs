//! The `report` command.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono::{NaiveDate, Utc};
use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use crate::catalog::ddl;
use crate::cli::options::{self, Partitions, Stores};
use crate::cli::signals::Signals;
use crate::cli::terminal::{MAX_SHOWN, counts, print_json, print_line, print_text};
use crate::cli::{DONE, resolve};
use crate::report::{self, Counts, Facts, IncompleteObjects, LoadBalancer, Request};
use crate::util::escape::printable;

const AFTER: &str = "\
Exit codes:
  0  the report was printed or written
  3  fatal error: the dataset cannot be read, or the page cannot be written

Examples:
  alb2parquet report lake
  alb2parquet report s3://my-lake/alb --html report.html
  alb2parquet report lake --from 2025-07-01 --account 123456789012 --json | jq .totals";

/// Report the contents and gaps of a dataset as a summary, HTML page or JSON
///
/// The command reads the claims, the footers of Parquet files, and one example line for each reason for rejection. It
/// does not check whether the files match the claims; use `verify` for that.
///
/// A day or window is missing if it has no object and is between the first and the last object of its load balancer. A
/// window has 5 minutes, or 60 for some Classic Load Balancers. AWS writes an object for a window only if there was
/// something to log, so a missing window may simply have had no traffic.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Report {
    /// Directory or URL of the dataset
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,

    /// Write a self-contained HTML page to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print the report as one JSON object on stdout, instead of a summary
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    partitions: Partitions,

    #[command(flatten)]
    stores: Stores,

    /// Last day (UTC): YYYY-MM-DD, or 1d for yesterday
    #[arg(long, value_name = "DAY", value_parser = options::day)]
    to: Option<NaiveDate>,
}

impl Report {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let selection = resolve::selection(&self.partitions, self.to)?;
        self.html.as_deref().map_or(Ok(()), can_be_written)?;
        let dataset =
            resolve::find_dataset(&self.dataset, &resolve::network(&self.stores, print_line)?)?;
        let name = self.dataset.to_string_lossy();
        let request = Request {
            dataset: &dataset,
            name: &name,
            selection: &selection,
            created_at: Utc::now(),
            locate: &|directory, dialect| ddl::locate(&name, directory, dialect).ok(),
            stop: signals.stop(),
        };
        let facts = request.gather()?;
        if let Some(file) = &self.html {
            let page = report::html(&facts).context("the page cannot be rendered")?;
            match fs::write(file, page) {
                // The file is a pipe, such as /dev/stdout, and the reader has closed it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written
                    .with_context(|| format!("--html {} cannot be written", file.display()))?,
            }
        }
        if self.json {
            print_json(&facts)?;
        } else if self.html.is_none() {
            print_text(&summary(&facts))?;
        }
        for problem in &facts.problems {
            print_line(&format!("warning: {problem}"));
        }
        Ok(DONE)
    }
}

/// Checks whether a page can be written to a path. Called before the dataset is read.
fn can_be_written(file: &Path) -> anyhow::Result<()> {
    let directory = match file.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        Some(directory) => directory,
        None => file,
    };
    if file.is_dir() {
        bail!("--html {} is a directory: specify a file", file.display());
    }
    if !directory.is_dir() {
        bail!("--html {}: the directory {} does not exist", file.display(), directory.display());
    }
    Ok(())
}

/// Returns the summary as text.
fn summary(facts: &Facts) -> String {
    let mut text = String::new();
    let mut fact = |name: &str, value: String| {
        writeln!(text, "{name:<12}{value}").expect("writing to a string cannot fail");
    };
    let (totals, all) = (&facts.totals, &facts.totals.counts);
    let days = match (facts.first_day, facts.last_day) {
        (Some(first), Some(last)) => format!("{}, {first} to {last}", HumanCount(totals.days)),
        _ => "none".to_owned(),
    };
    fact("days", days);
    let size = HumanBytes(all.source_bytes);
    fact("objects", format!("{}, {size}", HumanCount(all.objects)));
    if facts.retired.objects > 0 {
        let (objects, size) =
            (HumanCount(facts.retired.objects), HumanBytes(facts.retired.source_bytes));
        fact("retired", format!("{objects} objects, {size}: the dataset may hold their only copy"));
    }
    let rejects = facts.rejects.iter().map(|each| (each.reason.as_str(), each.lines));
    let rejects = counts(" (", rejects, ")");
    let Counts { lines, rows, rejects: number, .. } = *all;
    let (lines, rows, number) = (HumanCount(lines), HumanCount(rows), HumanCount(number));
    fact("lines", format!("{lines} = {rows} rows + {number} rejects{rejects}"));
    let written = &totals.written;
    let (files, of_rejects) = (written.all_files(), written.reject_files);
    let size = HumanBytes(written.all_bytes());
    let files = format!("{} files, {} of rejects", HumanCount(files), HumanCount(of_rejects));
    fact("dataset", format!("{size} in {files}"));
    let incomplete = &facts.incomplete_objects;
    if incomplete.objects > 0 {
        let (objects, accepted) = (HumanCount(incomplete.objects), HumanCount(incomplete.accepted));
        fact("incomplete", format!("{objects} objects, {accepted} of them accepted"));
        text += &list(incomplete);
    }
    if !facts.load_balancers.is_empty() {
        text.push('\n');
        text += &table(&facts.load_balancers);
    }
    text
}

/// Returns the list of incomplete objects, starting with those that have not been accepted.
fn list(incomplete: &IncompleteObjects) -> String {
    let mut text = String::new();
    for each in incomplete.list.iter().take(MAX_SHOWN) {
        let accepted = if each.accepted { "; accepted" } else { "" };
        let (lines, rows) = (HumanCount(each.lines), HumanCount(each.rows));
        let (object, reasons) = (&each.object, each.reasons());
        writeln!(
            text,
            "            {object}: {rows} of {lines} lines became rows ({reasons}){accepted}"
        )
        .expect("writing to a string cannot fail");
    }
    let more = incomplete.objects - incomplete.list.len().min(MAX_SHOWN) as u64;
    if more > 0 {
        writeln!(
            text,
            "            and {} more; `verify` lists those that are not accepted",
            HumanCount(more)
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// Returns a table of the load balancers, with right-aligned numbers.
fn table(balancers: &[LoadBalancer]) -> String {
    const HEAD: [&str; 12] = [
        "account",
        "region",
        "load balancer",
        "log",
        "first day",
        "last day",
        "days",
        "missing",
        "objects",
        "rows",
        "rejects",
        "source",
    ];
    const TEXT: usize = 6;
    let mut rows = vec![HEAD.map(str::to_owned)];
    for each in balancers {
        let LoadBalancer { account, region, log_type, counts, .. } = each;
        let number = |number: u64| HumanCount(number).to_string();
        rows.push([
            printable(account),
            printable(region),
            printable(each.name()),
            log_type.to_string(),
            each.first_day.to_string(),
            each.last_day.to_string(),
            number(each.days),
            number(each.missing_days.days),
            number(counts.objects),
            number(counts.rows),
            number(counts.rejects),
            HumanBytes(counts.source_bytes).to_string(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, (value, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let written = if column < TEXT {
                write!(text, "{gap}{value:<width$}")
            } else {
                write!(text, "{gap}{value:>width$}")
            };
            written.expect("writing to a string cannot fail");
        }
        text.push('\n');
    }
    text
}
