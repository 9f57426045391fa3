//! The summary of a conversion, as text and as log events.

use std::fmt::Write;

use indicatif::{HumanBytes, HumanCount};
use tracing::{info, warn};

use crate::cli::terminal::{self, MAX_SHOWN, counts, joined, print_line, warning};
use crate::cli::{hint, nothing};
use crate::convert::tally::{Objects, OfLogType, Tally};
use crate::logs::key::{SkipReason, mismatch};
use crate::plan::{Failure, Moved};

/// Prints the summary of a conversion.
pub(super) fn print(tally: &Tally, max_rejects: f64) {
    for line in summary(tally, max_rejects).lines() {
        print_line(line);
    }
}

/// Logs the summary of a conversion and each object that failed.
pub(super) fn log(tally: &Tally) {
    for Failure { object, error, remedy } in &tally.failures {
        let hint = remedy.map(hint::of_remedy);
        warn!(object, error, hint, "object failed");
    }
    for kind in SkipReason::LOGS {
        let Some(count) = tally.objects.skipped_by_kind.get(kind) else { continue };
        let example = tally.objects.examples.get(kind).map_or("", String::as_str);
        let reason = mismatch(example).unwrap_or_default();
        warn!(kind, objects = count, example, reason, "logs left out");
    }
    if let Moved { objects, example: Some(example) } = &tally.objects.moved {
        warn!(objects, example, "logs are in the directory of another day");
    }
    let Tally { objects, partitions, lines, rows, bytes_in, bytes_out, seconds, .. } = tally;
    info!(
        listed = objects.listed,
        converted = objects.converted,
        skipped = objects.skipped,
        failed = objects.failed,
        not_processed = objects.not_processed,
        partitions,
        lines,
        rows,
        rejects = tally.reject_count(),
        bytes_in,
        bytes_out,
        seconds,
        incomplete_before = tally.incomplete_before,
        batches_with_lost_files = tally.batches_with_lost_files,
        interrupted = tally.interrupted,
        "conversion ended"
    );
}

/// Prints one line per kind of skipped object, limited to objects that are named like logs.
pub(super) fn print_left_out(objects: &Objects) {
    let example = |kind: &str| objects.examples.get(kind);
    for line in nothing::left_out(objects.skipped_by_kind.iter(), example) {
        warning(&line);
    }
}

/// Prints the first failures, and the hints for all failures.
pub(super) fn print_failures(failures: &[Failure]) {
    for failure in failures.iter().take(MAX_SHOWN) {
        print_line(&format!("failed: {}: {}", failure.object, failure.error));
    }
    let more = failures.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        print_line(&format!("and {more} more failures; --json lists all"));
    }
    hint::of_failures(failures).into_iter().for_each(terminal::hint);
}

fn counted(objects: &Objects) -> String {
    let skipped = objects.skipped_by_kind.iter().map(|(kind, count)| (*kind, *count));
    format!(
        "{} listed, {} converted, {} skipped{}, {} failed",
        HumanCount(objects.listed),
        HumanCount(objects.converted),
        HumanCount(objects.skipped),
        counts(" (", skipped, ")"),
        HumanCount(objects.failed),
    )
}

fn summary(tally: &Tally, max_rejects: f64) -> String {
    let mut text = String::new();
    let objects = &tally.objects;
    let line = &mut text;
    let rejects = tally.rejects.iter().map(|(reason, count)| (*reason, *count));
    let rate = tally.bytes_decompressed as f64 / 1e6 / tally.seconds.max(1e-9);
    let mut fact = |name: &str, value: String| {
        writeln!(line, "{name:<12}{value}").expect("writing to a string cannot fail");
    };
    fact("objects", counted(objects));
    if let Some(line) = nothing::moved(&objects.moved) {
        fact("moved", line);
    }
    if tally.bytes_archived > 0 {
        let archived = HumanBytes(tally.bytes_archived);
        fact(
            "archived",
            format!("{archived}: restore these objects, then run the same command again"),
        );
    }
    if tally.incomplete_before > 0 {
        let objects = HumanCount(tally.incomplete_before);
        fact("incomplete", format!("{objects} objects of earlier runs; `verify` lists them"));
    }
    if !tally.notes.is_empty() {
        let notes = tally.notes.iter().map(|(note, count)| (*note, *count));
        fact("notes", counts("", notes, ""));
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
    if tally.joined_lines > 0 {
        fact("joined", joined(tally.joined_lines));
    }
    if tally.verbatim_lines > 0 {
        let lines = HumanCount(tally.verbatim_lines);
        fact("verbatim", format!("the bytes of {lines} lines are also stored, for `restore`"));
    }
    if tally.log_types.len() > 1 {
        for (log_type, OfLogType { objects, lines, rows, rejects, .. }) in &tally.log_types {
            let (lines, rows, rejects) =
                (HumanCount(*lines), HumanCount(*rows), HumanCount(*rejects));
            let objects = HumanCount(*objects);
            let counts = format!("{lines} = {rows} rows + {rejects} rejects of {objects} objects");
            fact("", format!("{log_type}: {counts}"));
        }
    }
    let (read, decompressed) = (HumanBytes(tally.bytes_in), HumanBytes(tally.bytes_decompressed));
    fact("read", format!("{read} compressed, {decompressed} decompressed"));
    fact(
        "written",
        format!(
            "{} in {} files, {} of rejects, {} of originals",
            HumanBytes(tally.bytes_out),
            HumanCount(tally.files + tally.reject_files + tally.original_files),
            HumanCount(tally.reject_files),
            HumanCount(tally.original_files),
        ),
    );
    if tally.requests > 0 {
        let (requests, failed) = (HumanCount(tally.requests), HumanCount(tally.requests_failed));
        fact("requests", format!("{requests}, {failed} failed (retried or given up)"));
    }
    if tally.batches_with_lost_files > 0 {
        let batches = HumanCount(tally.batches_with_lost_files);
        fact("lost files", format!("batches converted again: {batches}"));
    }
    if tally.interrupted {
        fact(
            "interrupted",
            format!(
                "{} listed objects remain. Published files are complete; the same command converts the rest",
                HumanCount(objects.not_processed)
            ),
        );
    }
    fact("took", format!("{:.2} s, {rate:.0} MB/s decompressed", tally.seconds));
    if tally.reject_share() > max_rejects {
        fact(
            "warning",
            format!(
                "{:.2} % of the lines were rejected, more than --max-rejects allows; see the table elb_rejects",
                tally.reject_share() * 100.0
            ),
        );
    }
    text
}
