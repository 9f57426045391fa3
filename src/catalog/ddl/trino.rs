//! Statements for Trino's Hive connector.

use std::fmt::Write as _;

use arrow::datatypes::DataType;

use crate::catalog::ddl::projection::{self, Values};
use crate::catalog::ddl::{Dialect, External, literal, quoted};
use crate::logs::key::{PARTITION_COLUMNS, PartitionValues};

/// The last year of partition projection. Trino's date projection supports no interval longer than a day, so years are
/// integers with a fixed range.
const LAST_YEAR: &str = "2035";

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        // The connector's default precision. Files contain microseconds.
        DataType::Timestamp(..) => "timestamp(3)",
        DataType::Binary => "varbinary",
        _ => "varchar",
    }
}

fn array<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    let texts = texts.into_iter().map(|text| literal(text.as_ref()));
    format!("ARRAY[{}]", texts.collect::<Vec<_>>().join(", "))
}

/// Returns the partition projection properties of a partition column.
fn properties(table: &External, column: &str) -> String {
    let text = |text: &str| literal(text);
    let properties = match projection::values(table, column) {
        Values::Enum(known) => vec![("type", text("enum")), ("values", array(known))],
        Values::Injected => vec![("type", text("injected"))],
        Values::Years(first) => vec![
            ("type", text("integer")),
            ("range", array([first, LAST_YEAR])),
            ("digits", "4".to_owned()),
        ],
        Values::Numbers(last) => vec![
            ("type", text("integer")),
            ("range", array(["1", last])),
            ("digits", "2".to_owned()),
        ],
    };
    let properties =
        properties.iter().map(|(name, value)| format!("partition_projection_{name} = {value}"));
    properties.collect::<Vec<_>>().join(", ")
}

/// Returns the statement that creates a table.
pub(super) fn create(table: &External) -> String {
    let column = |name: &str, kind: &str, comment: &str, properties: &str| {
        format!("  {} {kind} COMMENT {}{properties}", quoted(name, '"'), literal(comment))
    };
    let columns = table
        .columns
        .iter()
        .map(|each| column(&each.name, type_name(&each.data_type), &each.description, ""));
    let partition = table.partition_columns(table.projection).map(|(name, comment)| {
        let properties = if table.projection {
            format!("\n    WITH ({})", properties(table, name))
        } else {
            String::new()
        };
        column(name, "varchar", &comment, &properties)
    });
    let columns = columns.chain(partition).collect::<Vec<_>>().join(",\n");
    let mut properties = vec![
        format!("external_location = {}", literal(&table.location)),
        "format = 'PARQUET'".to_owned(),
        format!("partitioned_by = {}", array(PARTITION_COLUMNS)),
    ];
    if table.projection {
        let template = literal(&projection::template(table));
        properties.push("partition_projection_enabled = true".to_owned());
        properties.push(format!("partition_projection_location_template = {template}"));
    }
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (\n{columns}\n)\nCOMMENT {comment}\nWITH (\n  {properties}\n);\n",
        name = quoted(&table.name, '"'),
        comment = literal(&table.comment(Dialect::Trino)),
        properties = properties.join(",\n  "),
    )
}

/// Splits a name into schema and table, which procedures take as separate arguments.
fn schema_and_table(name: &str) -> (&str, &str) {
    let (before, table) = name.rsplit_once('.').unwrap_or(("default", name));
    (before.rsplit('.').next().unwrap_or(before), table)
}

/// Returns the statement that discovers partitions.
pub(super) fn sync(table: &External) -> String {
    let (schema, name) = schema_and_table(&table.name);
    format!("CALL system.sync_partition_metadata('{schema}', '{name}', 'ADD');\n")
}

/// Returns the statements that add partitions. They require `hive.allow-register-partition-procedure=true` in the
/// catalog.
pub(super) fn register(table: &External, partitions: &[PartitionValues]) -> String {
    let (schema, name) = schema_and_table(&table.name);
    let mut text = String::new();
    for values in partitions {
        let location = literal(&table.directory(values));
        let (columns, values) = (array(PARTITION_COLUMNS), array(values));
        writeln!(
            text,
            "CALL system.register_partition('{schema}', '{name}', {columns}, {values}, {location});"
        )
        .expect("writing to a string cannot fail");
    }
    text
}
