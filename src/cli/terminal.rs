//! What a person sees. The only module that prints.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::clean::Cleaned;
use crate::cli::args::Convert;
use crate::convert::Watcher;
use crate::plan::{Batch, Listing, Plan};
use crate::remove::Contents;
use crate::store::{Source, Traffic};
use crate::tally::{OfLogType, Tally};
use crate::verify::{Finding, Report};

/// Failures that a summary names; `--json` has all of them.
const MAX_SHOWN: usize = 20;
const TEMPLATE: &str = "{bytes}/{total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left";
const TICK: Duration = Duration::from_millis(200);

/// Prints text on stderr and results on stdout, as far as they were asked for.
pub(super) struct Terminal {
    quiet: bool,
    verbose: bool,
    json: bool,
    bar: ProgressBar,
}

impl Terminal {
    pub(super) fn new(args: &Convert) -> Self {
        let Convert { quiet, verbose, json, .. } = *args;
        Self { quiet, verbose, json, bar: ProgressBar::hidden() }
    }

    /// Tells of requests that fail, if such things are wanted.
    pub(super) fn watch(&self, traffic: &Traffic) {
        if self.verbose {
            let bar = self.bar.clone();
            traffic.observe(move |failure| {
                bar.suspend(|| print_line(&format!("request failed: {failure}")));
            });
        }
    }

    /// Says why nothing will be converted.
    pub(super) fn nothing_to_do(&self, sources: &[Source], listing: &Listing) {
        if self.quiet {
            return;
        }
        let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
        print_line(&format!(
            "nothing to convert: of {} objects in {} none is a selected log{}. Expected are \
             keys like AWSLogs/<account>/elasticloadbalancing/<region>/yyyy/mm/dd/<name>.log.gz",
            listing.listed,
            names.join(", "),
            counts(" (", listing.skipped.iter().map(|(kind, count)| (*kind, *count)), ")"),
        ));
    }

    /// Begins to show progress.
    pub(super) fn begin(&self, plan: &Plan) {
        if self.quiet || !io::stderr().is_terminal() {
            return;
        }
        let style = ProgressStyle::with_template(TEMPLATE).expect("a fixed template");
        self.bar.set_style(style.progress_chars("=> "));
        self.bar.set_length(plan.bytes());
        self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        self.bar.enable_steady_tick(TICK);
    }

    /// Ends the display of progress.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints the summary, and the tally as JSON if that was asked for.
    pub(super) fn summary(&self, tally: &Tally, max_rejects: f64) -> io::Result<()> {
        if !self.quiet {
            for line in summary(tally, max_rejects).lines() {
                print_line(line);
            }
        }
        for failure in tally.failures.iter().take(MAX_SHOWN) {
            print_line(&format!("failed: {}: {}", failure.object, failure.error));
        }
        let more = tally.failures.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            print_line(&format!("{more} more failed than are named here; --json names all"));
        }
        if self.json { print_json(tally) } else { Ok(()) }
    }
}

impl Watcher for Terminal {
    fn read(&self, bytes: u64, _rejects: u64) {
        self.bar.inc(bytes);
    }

    fn published(&self, batch: &Batch, tally: &Tally, took: Duration) {
        if self.verbose {
            let line = format!(
                "{}: {} objects, {} rows, {} rejects, {} in {:.1} s",
                batch.partition,
                tally.objects.converted,
                tally.rows,
                tally.reject_count(),
                HumanBytes(tally.bytes_out),
                took.as_secs_f64(),
            );
            self.bar.suspend(|| print_line(&line));
        }
    }
}

/// Prints what a verification found.
pub(super) fn verified(report: &Report, json: bool) -> io::Result<()> {
    let Report { objects, claims, files, lines, rows, rejects, compared, .. } = report;
    print_line(&format!("objects     {} in {} claims", HumanCount(*objects), HumanCount(*claims)));
    print_line(&format!("files       {} as they were claimed", HumanCount(*files)));
    print_line(&format!(
        "lines       {} = {} rows + {} rejects",
        HumanCount(*lines),
        HumanCount(*rows),
        HumanCount(*rejects)
    ));
    if compared + report.not_compared > 0 {
        print_line(&format!(
            "compared    {} objects row by row, {} are gone from the source",
            HumanCount(*compared),
            HumanCount(report.not_compared)
        ));
    }
    for finding in report.findings.iter().take(MAX_SHOWN) {
        let Finding { kind, name, problem, remedy } = finding;
        print_line(&format!("{kind}: {name}: {problem}; {remedy}"));
    }
    let more = report.findings.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        print_line(&format!("{more} more findings than are named here; --json names all"));
    }
    let findings = report.findings.len() as u64;
    print_line(&match findings {
        0 => "everything is as it should be".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{} findings", HumanCount(many)),
    });
    if json { print_json(report) } else { Ok(()) }
}

/// Prints what was, or would be, taken back.
pub(super) fn removed(contents: &[Contents], done: bool, json: bool) -> io::Result<()> {
    for contents in contents {
        let Contents { partition, objects, files, rows, rejects, bytes, .. } = contents;
        let what = match (&contents.error, done) {
            (Some(error), _) => format!("not taken back: {error}: "),
            (None, true) if !contents.removed => "interrupted before: ".to_owned(),
            (None, true) => "taken back: ".to_owned(),
            (None, false) => String::new(),
        };
        print_line(&format!(
            "{what}{partition}: {} objects, {} rows, {} rejects, {} in {} files",
            HumanCount(*objects),
            HumanCount(*rows),
            HumanCount(*rejects),
            HumanBytes(*bytes),
            HumanCount(*files)
        ));
    }
    print_line(match (contents.is_empty(), done) {
        (true, _) => "the dataset holds nothing of that",
        (false, true) => "their objects are new again; `convert` converts them",
        (false, false) => "nothing was taken back yet: say --yes to do it",
    });
    if json { print_json(&serde_json::json!({ "partitions": contents })) } else { Ok(()) }
}

/// Prints what was cleaned.
pub(super) fn cleaned(cleaned: &Cleaned, json: bool) -> io::Result<()> {
    print_line(&format!(
        "{} staged files removed ({}), {} kept",
        HumanCount(cleaned.removed.len() as u64),
        HumanBytes(cleaned.bytes),
        HumanCount(cleaned.kept)
    ));
    if json { print_json(cleaned) } else { Ok(()) }
}

/// Prints a policy, to be pasted.
pub(super) fn policy(policy: &Value) -> io::Result<()> {
    print_text(&format!("{policy:#}\n"))
}

/// Prints what an engine is to be told, and what its users must know.
pub(super) fn ddl(text: &str, must_name: &[&str]) -> io::Result<()> {
    if !must_name.is_empty() {
        print_line(&format!(
            "every query must say which {} it is about, as in WHERE {} = '…': to let it ask for all, add \
             --account and --region, or --from-dataset",
            must_name.join(" and "),
            must_name.join(" = '…' AND ")
        ));
    }
    print_text(text)
}

/// Prints a result as one JSON object on stdout.
fn print_json(result: &impl Serialize) -> io::Result<()> {
    print_text(&(serde_json::to_string(result)? + "\n"))
}

/// Prints text on stdout.
fn print_text(text: &str) -> io::Result<()> {
    // A reader that closed its end of the pipe has seen enough.
    io::stdout().lock().write_all(text.as_bytes()).or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

fn summary(tally: &Tally, max_rejects: f64) -> String {
    let mut text = String::new();
    let objects = &tally.objects;
    let line = &mut text;
    let skipped = objects.skipped_by_kind.iter().map(|(kind, count)| (*kind, *count));
    let rejects = tally.rejects.iter().map(|(reason, count)| (*reason, *count));
    let rate = tally.bytes_decompressed as f64 / 1e6 / tally.seconds.max(1e-9);
    let mut fact = |name: &str, value: String| {
        writeln!(line, "{name:<12}{value}").expect("a string takes everything");
    };
    fact(
        "objects",
        format!(
            "{} listed, {} converted, {} skipped{}, {} failed",
            HumanCount(objects.listed),
            HumanCount(objects.converted),
            HumanCount(objects.skipped),
            counts(" (", skipped, ")"),
            HumanCount(objects.failed),
        ),
    );
    if tally.bytes_archived > 0 {
        let archived = HumanBytes(tally.bytes_archived);
        fact(
            "archived",
            format!("{archived}: restore these objects, then run the same command again"),
        );
    }
    fact("partitions", HumanCount(tally.partitions).to_string());
    fact(
        "lines",
        format!(
            "{} = {} rows + {} rejects{}",
            HumanCount(tally.lines),
            HumanCount(tally.rows),
            HumanCount(tally.reject_count()),
            counts(" (", rejects, ")"),
        ),
    );
    if tally.log_types.len() > 1 {
        for (log_type, OfLogType { objects, lines, rows, rejects, .. }) in &tally.log_types {
            let (lines, rows, rejects) =
                (HumanCount(*lines), HumanCount(*rows), HumanCount(*rejects));
            let objects = HumanCount(*objects);
            let counts = format!("{lines} = {rows} rows + {rejects} rejects of {objects} objects");
            fact("", format!("{log_type}: {counts}"));
        }
    }
    fact(
        "read",
        format!(
            "{} gzip, {} text",
            HumanBytes(tally.bytes_in),
            HumanBytes(tally.bytes_decompressed),
        ),
    );
    fact(
        "written",
        format!(
            "{} in {} files, {} of rejects",
            HumanBytes(tally.bytes_out),
            HumanCount(tally.files + tally.reject_files),
            HumanCount(tally.reject_files),
        ),
    );
    if tally.requests > 0 {
        let (requests, failed) = (HumanCount(tally.requests), HumanCount(tally.requests_failed));
        fact("requests", format!("{requests}, {failed} failed and were repeated or given up"));
    }
    if tally.interrupted {
        fact(
            "interrupted",
            format!(
                "{} objects are left. What is published stays; the same command converts the rest",
                HumanCount(objects.left)
            ),
        );
    }
    fact("took", format!("{:.2} s, {rate:.0} MB/s of text", tally.seconds));
    if tally.reject_share() > max_rejects {
        fact(
            "warning",
            format!(
                "{:.2} % of the lines are rejects, more than --max-rejects allows; see the table alb_rejects",
                tally.reject_share() * 100.0
            ),
        );
    }
    text
}

/// Lists what was counted, or nothing at all.
fn counts<'a>(before: &str, counts: impl Iterator<Item = (&'a str, u64)>, after: &str) -> String {
    let list: Vec<String> =
        counts.map(|(name, count)| format!("{} {name}", HumanCount(count))).collect();
    if list.is_empty() { String::new() } else { format!("{before}{}{after}", list.join(", ")) }
}

/// Says what went wrong.
pub(super) fn error(error: &anyhow::Error) {
    print_line(&format!("error: {error:#}"));
}

/// Prints a line on stderr; when nobody reads it, so be it.
fn print_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
