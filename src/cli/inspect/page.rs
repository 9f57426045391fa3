//! The text form of an inspection.

use std::fmt::Write as _;

use arrow::error::ArrowError;
use indicatif::{HumanBytes, HumanCount};

use crate::cli::excerpt::Excerpt;
use crate::cli::inspect::rows;
use crate::cli::terminal::{counts, joined};
use crate::decode::inspect::{About, DeterminedBy, Inspected, Named, ObjectFormat};
use crate::decode::locate;
use crate::logs::schema::Table;
use crate::util::escape::printable;

/// Indentation of the lines about rejects.
const INDENT: usize = 4;

/// Returns an inspection as text that is at most `width` columns wide.
pub(super) fn of(
    object: &str,
    found: &Inspected,
    columns: Option<&[String]>,
    width: usize,
) -> Result<String, ArrowError> {
    let mut page = String::new();
    facts(&mut page, object, found);
    let (shown, all) = (found.first_rows.num_rows() as u64, found.counts.rows);
    if shown > 0 {
        let about = &found.about;
        let (table, count) = rows::table(about.log_type, &found.first_rows, columns, width)?;
        let known = found.first_rows.num_columns();
        line(&mut page, format_args!(""));
        let hint = if columns.is_none() { "; --columns selects others" } else { "" };
        let which = first(shown, all, "row");
        line(&mut page, format_args!("{which}, {count} of {known} columns{hint}"));
        line(&mut page, format_args!(""));
        page += &table;
    }
    rejects(&mut page, found, width);
    Ok(page)
}

fn facts(page: &mut String, object: &str, found: &Inspected) {
    let mut fact = |name: &str, value: String| line(page, format_args!("{name:<12}{value}"));
    let Inspected { about, counts: read, .. } = found;
    fact("object", printable(object));
    if let Some(named) = &about.named {
        let Named { account, region, load_balancer, end_time, node, .. } = named;
        let day = named.day.as_ref().map(|day| format!(", partition {day}")).unwrap_or_default();
        let node = node.as_ref().map(|node| format!(", from node {node}")).unwrap_or_default();
        fact("key", format!("{} log of {load_balancer}", named.log_type));
        fact("", format!("account {account}, {region}{day}"));
        let window = match named.log_type.table().load_balancer.intervals() {
            [minutes] => format!("{minutes} minutes"),
            // The file name does not determine the length of the window.
            _ => "window".to_owned(),
        };
        fact("", format!("the {window} until {end_time}{node}"));
    }
    if let Some(mismatch) = &about.mismatch {
        fact("no key", format!("{mismatch}; convert skips it"));
    }
    fact("read as", read_as(about));
    fact("content", content(found));
    let mut name = "notes";
    for note in &found.notes {
        fact(name, format!("{}: the object {}", note.code(), note.meaning()));
        name = "";
    }
    if let Some(foreign) = found.foreign {
        fact("instead", format!("contains {foreign}; convert does not convert it"));
    }
    let by_reason = found.rejects.iter().map(|(reason, count)| (*reason, *count));
    let by_reason = counts(" (", by_reason, ")");
    let (rows, rejects) = (HumanCount(read.rows), HumanCount(read.rejects));
    fact(
        "lines",
        format!("{} = {rows} rows + {rejects} rejects{by_reason}", HumanCount(read.lines)),
    );
    if read.joined_lines > 0 {
        fact("joined", joined(read.joined_lines));
    }
    let mut name = "fields";
    for (&fields, &lines) in &found.fields {
        let lines = format!("{} {}", HumanCount(lines), plural(lines, "line"));
        fact(name, format!("{} in {lines}", era(about.log_type.table(), fields)));
        name = "";
    }
}

fn read_as(about: &About) -> String {
    let why = match about.determined_by {
        DeterminedBy::Argument => "specified by --log-type",
        DeterminedBy::Name => "according to its name",
        DeterminedBy::Lines => "according to its first lines",
        DeterminedBy::Default => "the default",
    };
    format!("{} log, {why}", about.log_type)
}

fn content(found: &Inspected) -> String {
    let counts = &found.counts;
    let (read, text) = (HumanBytes(counts.bytes_in), HumanBytes(counts.bytes_decompressed));
    match found.about.format {
        ObjectFormat::Gzip => {
            let members = format!("{} {}", counts.members, plural(counts.members, "member"));
            let ratio = counts.bytes_decompressed as f64 / counts.bytes_in.max(1) as f64;
            format!("gzip, {members}: {read}, decompressed {text}, ratio {ratio:.1}")
        }
        ObjectFormat::Text => {
            let load_balancer = found.about.log_type.table().load_balancer;
            let other = if load_balancer.delivers_gzip() { ", not gzip" } else { "" };
            format!("text{other}: {read}")
        }
        ObjectFormat::Empty => "nothing".to_owned(),
        ObjectFormat::Binary(name) => format!("{name}, {read}: it has no lines"),
    }
}

/// Describes a field count and the period in which AWS wrote lines with that many fields.
fn era(table: &Table, fields: usize) -> String {
    let known = table.fields.len();
    match table.era(fields) {
        Some(era) => match era.until {
            Some(until) if until != era.since => {
                format!("{fields}, as written from {} to {until},", era.since)
            }
            _ => format!("{fields}, as written since {},", era.since),
        },
        None if fields > known => format!("more than the {known} known fields"),
        None => format!("{fields}, fewer than any version of the log,"),
    }
}

fn rejects(page: &mut String, found: &Inspected, width: usize) {
    let (shown, all) = (found.first_rejects.len() as u64, found.counts.rejects);
    if shown == 0 {
        return;
    }
    line(page, format_args!(""));
    line(page, format_args!("{}", first(shown, all, "reject")));
    for reject in &found.first_rejects {
        let (number, offset) = (HumanCount(reject.line_number), HumanCount(reject.byte_offset));
        let column = reject.column.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        line(page, format_args!(""));
        line(page, format_args!("line {number} at byte {offset}: {}{column}", reject.reason));
        if reject.raw_length == 0 {
            continue;
        }
        let place = locate::fault_range(found.about.log_type.table(), reject);
        let Excerpt { line: text, carets } =
            Excerpt::of(&reject.raw, place, width.saturating_sub(INDENT));
        line(page, format_args!("{:INDENT$}{text}", ""));
        if let Some(carets) = carets {
            line(page, format_args!("{:INDENT$}{carets}", ""));
        }
    }
}

/// Returns a heading with the number of items shown and their total number.
fn first(shown: u64, all: u64, what: &str) -> String {
    let (some, total) = (HumanCount(shown), HumanCount(all));
    if shown == all {
        format!("{total} {}", plural(all, what))
    } else {
        format!("the first {some} of {total} {}", plural(all, what))
    }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { what.to_owned() } else { format!("{what}s") }
}

fn line(page: &mut String, text: std::fmt::Arguments) {
    writeln!(page, "{text}").expect("writing to a string cannot fail");
}
