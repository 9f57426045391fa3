//! The view that has the columns of the table in AWS's documentation.
//!
//! That table (<https://docs.aws.amazon.com/athena/latest/ug/create-alb-access-logs-table.html>) reads
//! lines through a regular expression: nearly everything is text, as it stands in the line.

use arrow::datatypes::DataType;

use crate::catalog::ddl::{Column, External, quoted};
use crate::logs::schema::LogType;

/// The last column that AWS's table has.
const LAST: &str = "conn_trace_id";
/// Numbers that are text there.
const TEXTS: [&str; 2] = ["target_status_code", "matched_rule_priority"];
/// Texts that are empty there where this program has NULL: the expression takes the `-` of a target that
/// was not reached for the border before the port, and fields that a line does not have are empty.
const EMPTY: [&str; 2] = ["target_ip", LAST];

/// Returns the statement that creates the view; `None` for a table that AWS does not document so.
pub(super) fn view(table: &External, view: &str) -> Option<String> {
    let last = table.columns.iter().position(|column| column.name == LAST)?;
    let access = External::rows(LogType::Access.table());
    if table.columns != access.columns {
        return None;
    }
    let columns: Vec<_> = table.columns[..=last].iter().map(column).collect();
    Some(format!(
        "CREATE OR REPLACE VIEW {view} AS\nSELECT\n{columns},\n  \
         \"year\" || '/' || \"month\" || '/' || \"day\" AS \"day\"\nFROM {name};\n",
        view = quoted(view, '"'),
        columns = columns.join(",\n"),
        name = quoted(&table.name, '"'),
    ))
}

/// Returns a column as AWS's table has it.
fn column(column: &Column) -> String {
    let name = quoted(&column.name, '"');
    let missing = if EMPTY.contains(&column.name.as_str()) { "''" } else { "'-'" };
    let text = match &column.data_type {
        DataType::Timestamp(..) => format!("date_format({name}, '%Y-%m-%dT%H:%i:%s.%fZ')"),
        DataType::Utf8 => name.clone(),
        _ if TEXTS.contains(&column.name.as_str()) => format!("CAST({name} AS varchar)"),
        _ => return format!("  {name}"),
    };
    format!("  coalesce({text}, {missing}) AS {name}")
}
