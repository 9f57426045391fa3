//! The JSON form of an inspection. The keys are stable and documented in docs/json.md.

use std::collections::BTreeMap;

use arrow::error::ArrowError;
use serde::Serialize;
use serde_json::Value;

use crate::cli::inspect::rows;
use crate::decode::inspect::{DeterminedBy, Inspected, Named, ObjectFormat};
use crate::decode::locate;
use crate::logs::reject::Reject;
use crate::logs::schema::{LogType, Table};
use crate::util::escape::printable;

/// The result of `inspect --json`.
#[derive(Serialize)]
pub(super) struct Inspection<'a> {
    object: &'a str,
    key: Option<&'a Named>,
    key_problem: Option<&'a str>,
    log_type: LogType,
    determined_by: DeterminedBy,
    format: ObjectFormat,
    detected_content: Option<String>,
    notes: Vec<&'static str>,
    gzip_members: u64,
    bytes_in: u64,
    bytes_decompressed: u64,
    lines: u64,
    joined_lines: u64,
    rows: u64,
    rejects: &'a BTreeMap<&'static str, u64>,
    fields: Vec<Fields<'a>>,
    first_rows: Vec<Value>,
    first_rejects: Vec<Rejected<'a>>,
}

#[derive(Serialize)]
struct Fields<'a> {
    count: usize,
    lines: u64,
    since: Option<&'a str>,
    until: Option<&'a str>,
}

#[derive(Serialize)]
struct Rejected<'a> {
    line_number: u64,
    byte_offset: u64,
    reason: &'static str,
    column_name: Option<&'a str>,
    raw_length: u64,
    raw_line: String,
    /// Offsets in the line of the fault's first byte and of the first byte after the fault.
    fault_range: Option<[usize; 2]>,
}

/// Returns the JSON form of an inspection.
pub(super) fn of<'a>(
    object: &'a str,
    found: &'a Inspected,
    columns: Option<&[String]>,
) -> Result<Inspection<'a>, ArrowError> {
    let Inspected { about, counts, .. } = found;
    let table = about.log_type.table();
    let fields = found.fields.iter().map(|(&count, &lines)| {
        let era = table.era(count);
        Fields {
            count,
            lines,
            since: era.map(|era| era.since),
            until: era.and_then(|era| era.until),
        }
    });
    Ok(Inspection {
        object,
        key: about.named.as_ref(),
        key_problem: about.mismatch.as_deref(),
        log_type: about.log_type,
        determined_by: about.determined_by,
        format: about.format,
        detected_content: found.foreign.map(|foreign| foreign.to_string()),
        notes: found.notes.iter().map(|note| note.code()).collect(),
        gzip_members: counts.members,
        bytes_in: counts.bytes_in,
        bytes_decompressed: counts.bytes_decompressed,
        lines: counts.lines,
        joined_lines: counts.joined_lines,
        rows: counts.rows,
        rejects: &found.rejects,
        fields: fields.collect(),
        first_rows: rows::json(&found.first_rows, columns)?,
        first_rejects: found.first_rejects.iter().map(|reject| rejected(table, reject)).collect(),
    })
}

fn rejected<'a>(table: &Table, reject: &'a Reject) -> Rejected<'a> {
    Rejected {
        line_number: reject.line_number,
        byte_offset: reject.byte_offset,
        reason: reject.reason.code(),
        column_name: reject.column.as_deref(),
        raw_length: reject.raw_length,
        raw_line: printable(&reject.raw),
        fault_range: locate::fault_range(table, reject).map(|range| [range.start, range.end]),
    }
}
