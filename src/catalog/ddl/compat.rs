//! A view with the columns of the access log table in AWS's documentation.
//!
//! That table (<https://docs.aws.amazon.com/athena/latest/ug/create-alb-access-logs-table.html>) parses lines with a
//! regular expression. Most of its columns are strings that contain the text of the field.

use arrow::datatypes::DataType;

use crate::catalog::ddl::{Column, External, quoted};
use crate::logs::schema::LogType;

/// The last column of AWS's table.
const LAST: &str = "conn_trace_id";
/// Columns that are numeric in this program's table but strings in AWS's table.
const TEXTS: [&str; 2] = ["target_status_code", "matched_rule_priority"];
/// Columns that contain empty strings in AWS's table where this program writes NULL. If no target was reached, the
/// regular expression mistakes the `-` for the delimiter before the port, so the address is empty. Missing fields are
/// also empty.
const EMPTY: [&str; 2] = ["target_ip", LAST];

/// Returns the statement that creates the view. Returns `None` if the table is not the access log table.
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

/// Returns an expression that gives a column the type and values that it has in AWS's table.
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
