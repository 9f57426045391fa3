//! The first rows of an object, either as a table that fits into a given width or as JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row, TableStyle, Width,
};
use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr;

use crate::logs::schema::LogType;
use crate::util::escape::printable;

/// Time format, as in log lines.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";
const NULL: &str = "-";
const UNDERLINED: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
/// Number of spaces around a cell.
const PADDING: usize = 2;
/// Minimum width of a default column, unless its values are narrower.
const MIN_WIDTH: usize = 28;
/// Minimum width of a column that `--columns` selects. This is less than [`MIN_WIDTH`], so that more of these columns
/// fit.
const MIN_SELECTED_WIDTH: usize = 12;
/// Maximum number of lines per value if columns are stacked.
const STACKED_LINES: usize = 5;
/// Minimum number of default columns that must fit side by side. Otherwise, columns are stacked.
const MIN_COLUMNS: usize = 3;

/// Returns the default columns, starting with the most useful ones. Only those that fit are shown.
fn default_columns(log_type: LogType) -> &'static [&'static str] {
    match log_type {
        LogType::Access => &[
            "time",
            "elb_status_code",
            "request_verb",
            "request_url",
            "client_ip",
            "target_processing_time",
            "user_agent",
            "target_status_code",
            "target_ip",
            "sent_bytes",
            "type",
            "domain_name",
        ],
        LogType::Connection => &[
            "time",
            "client_ip",
            "listener_port",
            "tls_protocol",
            "tls_handshake_latency",
            "tls_verify_status",
            "tls_cipher",
            "leaf_client_cert_subject",
            "conn_trace_id",
        ],
        LogType::HealthCheck => &[
            "time",
            "target_addr",
            "status",
            "status_code",
            "reason_code",
            "latency",
            "target_group_id",
            "type",
        ],
        LogType::NlbTls => &[
            "time",
            "client_ip",
            "domain_name",
            "tls_protocol_version",
            "tls_handshake_time_ms",
            "tcp_connection_time_ms",
            "tls_cipher_suite",
            "sent_bytes",
            "target_ip",
        ],
        LogType::Classic => &[
            "timestamp",
            "elb_response_code",
            "request_verb",
            "url",
            "request_ip",
            "backend_processing_time",
            "user_agent",
            "backend_response_code",
            "backend_ip",
            "sent_bytes",
        ],
    }
}

/// A column, with its values as text.
struct Column {
    name: String,
    is_number: bool,
    values: Vec<String>,
}

impl Column {
    /// Returns the width of the widest value or of the name, whichever is larger.
    fn width(&self) -> usize {
        let values = self.values.iter().map(|value| value.width());
        values.chain([self.name.width()]).max().unwrap_or_default()
    }
}

/// Returns rows as a table of the given width: columns are side by side if enough of them fit, and otherwise stacked.
/// Also returns the number of columns in the table.
pub(super) fn table(
    log_type: LogType,
    rows: &RecordBatch,
    wanted: Option<&[String]>,
    width: usize,
) -> Result<(String, usize), ArrowError> {
    let mut columns = match wanted {
        Some(names) => columns_of(rows, names)?,
        None => columns_of(rows, default_columns(log_type))?,
    };
    let min_width = if wanted.is_some() { MIN_SELECTED_WIDTH } else { MIN_WIDTH };
    let mut left = width;
    let fits = columns.iter().take_while(|column| {
        let needed = column.width().min(min_width) + PADDING;
        left.checked_sub(needed).map(|rest| left = rest).is_some()
    });
    let fit = fits.count();
    let enough = if wanted.is_some() { fit == columns.len() } else { fit >= MIN_COLUMNS };
    if enough {
        columns.truncate(fit);
        return Ok((side_by_side(&columns, width), fit));
    }
    Ok((stacked(&columns, rows.num_rows(), width), columns.len()))
}

fn side_by_side(columns: &[Column], width: usize) -> String {
    let mut table = empty(width);
    table.load_style(UNDERLINED);
    table.set_header(row(columns.iter().map(|column| column.name.as_str()), 1));
    let count = columns.first().map_or(0, |column| column.values.len());
    for index in 0..count {
        table.add_row(row(columns.iter().map(|column| column.values[index].as_str()), 1));
    }
    for (column, of_table) in columns.iter().zip(table.column_iter_mut()) {
        of_table.set_delimiter('\0');
        if column.is_number {
            of_table.set_cell_alignment(CellAlignment::Right);
        }
    }
    text_of(&table)
}

fn stacked(columns: &[Column], rows: usize, width: usize) -> String {
    let names = columns.iter().map(|column| column.name.width()).max().unwrap_or_default();
    let names = Width::Fixed((names + PADDING).min(width / 2) as u16);
    let mut text = String::new();
    for index in 0..rows {
        let mut table = empty(width);
        table.load_style(TableStyle::new());
        for column in columns {
            let cells = [column.name.as_str(), column.values[index].as_str()];
            table.add_row(row(cells.into_iter(), STACKED_LINES));
        }
        for column in table.column_iter_mut() {
            column.set_delimiter('\0');
        }
        if let Some(column) = table.column_mut(0) {
            column.set_constraint(ColumnConstraint::Absolute(names));
        }
        let gap = if index > 0 { "\n" } else { "" };
        write!(text, "{gap} row {}\n{}", index + 1, text_of(&table))
            .expect("writing to a string cannot fail");
    }
    text
}

/// Returns an empty table that truncates cells that do not fit.
fn empty(width: usize) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table
}

/// Returns a row of cells, each truncated to `max_lines` lines.
fn row<'a>(cells: impl Iterator<Item = &'a str>, max_lines: usize) -> Row {
    let mut row = Row::from(cells.collect::<Vec<_>>());
    row.max_height(max_lines);
    row
}

fn text_of(table: &comfy_table::Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn columns_of<S: AsRef<str>>(rows: &RecordBatch, names: &[S]) -> Result<Vec<Column>, ArrowError> {
    let of = |name: &S| {
        let name = name.as_ref().to_owned();
        let (values, is_number) = values(rows, &name)?;
        let text = |value: Option<String>| value.map_or_else(|| NULL.to_owned(), printable);
        let values = values.into_iter().map(text).collect();
        Ok(Column { name, is_number, values })
    };
    names.iter().map(of).collect()
}

/// Returns rows as JSON objects with the columns in `wanted`, or with all columns if it is `None`.
pub(super) fn json(
    rows: &RecordBatch,
    wanted: Option<&[String]>,
) -> Result<Vec<Value>, ArrowError> {
    let schema = rows.schema();
    let all = || schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut objects = vec![Map::new(); rows.num_rows()];
    for name in wanted.map_or_else(all, <[String]>::to_vec) {
        let (values, is_number) = values(rows, &name)?;
        for (object, value) in objects.iter_mut().zip(values) {
            let value = match value {
                // The text that Arrow writes for a number is also valid JSON.
                Some(number) if is_number => {
                    serde_json::from_str(&number).unwrap_or(Value::String(number))
                }
                value => value.map_or(Value::Null, Value::String),
            };
            object.insert(name.clone(), value);
        }
    }
    Ok(objects.into_iter().map(Value::Object).collect())
}

/// Returns the values of a column as text, and whether they are numbers.
fn values(rows: &RecordBatch, name: &str) -> Result<(Vec<Option<String>>, bool), ArrowError> {
    let array = &rows[name];
    let is_number =
        matches!(array.data_type(), DataType::Int32 | DataType::Int64 | DataType::Float64);
    let array = match array.as_primitive_opt::<TimestampMicrosecondType>() {
        // Arrow can format named time zones only with a time zone database. All times are in UTC anyway.
        Some(times) => &(Arc::new(times.clone().with_timezone_utc()) as ArrayRef),
        None => array,
    };
    let options = FormatOptions::new().with_timestamp_tz_format(Some(TIME));
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let nulls = array.logical_nulls();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let value = |row| (!is_null(row)).then(|| formatter.value(row).to_string());
    Ok(((0..rows.num_rows()).map(value).collect(), is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_columns_exist() {
        for log_type in LogType::ALL {
            let schema = log_type.table().batch_schema();
            for name in default_columns(log_type) {
                assert!(schema.column_with_name(name).is_some(), "{log_type} has {name}");
            }
        }
    }
}
