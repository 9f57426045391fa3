//! Partition projection: the engine computes partitions from properties of the table.

use crate::catalog::ddl::External;
use crate::logs::key::PARTITION_COLUMNS;

/// The possible values of a partition column.
pub(super) enum Values<'a> {
    /// A list of values.
    Enum(&'a [String]),
    /// The values that each query must specify.
    Injected,
    /// Years from this one to the current one.
    Years(&'a str),
    /// Two-digit numbers from 01 to this number.
    Numbers(&'static str),
}

/// Returns the possible values of a partition column.
pub(super) fn values<'a>(table: &'a External, column: &str) -> Values<'a> {
    let known = match column {
        "account" => &table.accounts,
        "region" => &table.regions,
        "year" => return Values::Years(&table.first_year),
        "month" => return Values::Numbers("12"),
        _ => return Values::Numbers("31"),
    };
    if known.is_empty() { Values::Injected } else { Values::Enum(known) }
}

/// Returns whether queries must specify the value of a column.
pub(super) fn is_injected(table: &External, column: &str) -> bool {
    matches!(values(table, column), Values::Injected)
}

/// Returns the location template for partitions, with a reference to each partition column.
pub(super) fn template(table: &External) -> String {
    table.directory(&PARTITION_COLUMNS.map(|column| format!("${{{column}}}")))
}

/// Returns the table properties that configure partition projection in Athena.
pub(super) fn properties(table: &External) -> Vec<(String, String)> {
    let mut all = vec![("projection.enabled".to_owned(), "true".to_owned())];
    for column in PARTITION_COLUMNS {
        let properties: &[(&str, &str)] = match values(table, column) {
            Values::Enum(known) => &[("type", "enum"), ("values", &known.join(","))],
            Values::Injected => &[("type", "injected")],
            Values::Years(first) => &[
                ("type", "date"),
                ("format", "yyyy"),
                ("range", &format!("{first},NOW")),
                ("interval", "1"),
                ("interval.unit", "YEARS"),
            ],
            Values::Numbers(last) => {
                &[("type", "integer"), ("range", &format!("1,{last}")), ("digits", "2")]
            }
        };
        let named = |(name, value): &(&str, &str)| {
            (format!("projection.{column}.{name}"), (*value).to_owned())
        };
        all.extend(properties.iter().map(named));
    }
    all.push(("storage.location.template".to_owned(), template(table)));
    all
}
