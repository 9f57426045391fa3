//! Eras: the fields in the lines of each month, derived from the NULL counts in file footers.
//!
//! A field that AWS wrote as `-` is NULL, like a field that AWS did not write, so lines may have more fields than this
//! module detects.

use chrono::{Datelike, NaiveDate};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde::Serialize;

use crate::logs::schema::{EXTRA_FIELDS, LogType, Table};

/// The rows of a log type that were delivered in a month.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names)] // the names are keys of the JSON
pub struct Month {
    /// The log type.
    pub log_type: LogType,
    /// The month, as `yyyy-mm`.
    pub month: String,
    /// Number of rows according to the file footers.
    pub rows: u64,
    /// Name (as in the AWS documentation) of the last field that has a value in at least one row.
    pub last_field: Option<String>,
    /// Number of rows with more fields than this version knows.
    pub rows_with_extra_fields: u64,
    /// The eras of the log type, in the order in which AWS appended their fields.
    pub eras: Vec<Era>,
}

/// The fields that AWS added at the same time.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Era {
    /// Year, or year and month, in which load balancers began to write the fields.
    pub since: String,
    /// Number of rows with a value in the most frequently used of the fields.
    pub rows: u64,
}

/// Number of months since year 0.
pub(super) type MonthNumber = i32;

/// Returns the month number of a day.
pub(super) fn month(day: NaiveDate) -> MonthNumber {
    day.year() * 12 + day.month0().cast_signed()
}

/// Totals over the footers read so far for a log type and month.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    rows: u64,
    /// Number of rows with a value, indexed by column position in the table's file schema.
    values: Vec<u64>,
}

impl Gathered {
    /// Adds a row file.
    pub(super) fn add(&mut self, table: &Table, footer: &ParquetMetaData) {
        let schema = table.file_schema();
        self.values.resize(schema.fields().len(), 0);
        for row_group in footer.row_groups() {
            let rows = row_group.num_rows().cast_unsigned();
            self.rows += rows;
            for chunk in row_group.columns() {
                // A newer version may have written columns that this version does not recognize.
                let Ok(place) = schema.index_of(chunk.column_descr().name()) else { continue };
                let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
                self.values[place] += rows.saturating_sub(nulls.unwrap_or(rows));
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.values.resize(self.values.len().max(other.values.len()), 0);
        self.values.iter_mut().zip(&other.values).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// Returns the facts about the month.
    pub(super) fn describe(&self, log_type: LogType, month: MonthNumber) -> Month {
        let table = log_type.table();
        let values = |place: usize| self.values.get(place).copied().unwrap_or_default();
        let mut eras: Vec<Era> = Vec::new();
        let mut last_field = None;
        for (place, (index, _)) in table.columns().enumerate() {
            let (field, rows) = (&table.fields[index], values(place));
            if rows > 0 {
                last_field = Some(field.name.clone());
            }
            match eras.iter_mut().find(|era| era.since == field.era) {
                Some(era) => era.rows = era.rows.max(rows),
                None => eras.push(Era { since: field.era.clone(), rows }),
            }
        }
        let extra = table.file_schema().index_of(EXTRA_FIELDS).map_or(0, values);
        let month = format!("{:04}-{:02}", month.div_euclid(12), month.rem_euclid(12) + 1);
        let rows_with_extra_fields = extra;
        Month { log_type, month, rows: self.rows, last_field, rows_with_extra_fields, eras }
    }
}
