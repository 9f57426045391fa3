//! `DuckDB`'s view of a table.

use std::fmt::Write as _;

use crate::dataset::Layout;
use crate::ddl::{External, literal, quoted};
use crate::key::PARTITION_COLUMNS;

/// Returns the statements that create a view, in which the values of partitions stay text: taken for
/// numbers, accounts would lose a leading 0.
pub(super) fn create(table: &External) -> String {
    let name = quoted(&table.name, '"');
    let types = PARTITION_COLUMNS.map(|column| format!("'{column}': VARCHAR")).join(", ");
    let select = match table.layout {
        Layout::Hive => format!(
            "SELECT *\nFROM read_parquet({files}, union_by_name = true, hive_partitioning = true,\n  \
             hive_types = {{{types}}})",
            files = literal(&format!("{}**/*.parquet", table.location)),
        ),
        Layout::Plain => {
            let values = (2..=6).rev().zip(PARTITION_COLUMNS);
            let values: Vec<_> = values
                .map(|(place, column)| format!("split_part(filename, '/', -{place}) AS {column}"))
                .collect();
            format!(
                "SELECT * EXCLUDE (filename),\n  {values}\nFROM read_parquet({files}, \
                 union_by_name = true, filename = true, hive_partitioning = false)",
                values = values.join(",\n  "),
                files = literal(&format!("{}*/*/*/*/*/*.parquet", table.location)),
            )
        }
    };
    let mut text = format!("CREATE OR REPLACE VIEW {name} AS\n{select};\n");
    let mut comment = |what: &str, comment: &str| {
        writeln!(text, "COMMENT ON {what} IS {};", literal(comment))
            .expect("a string takes everything");
    };
    comment(&format!("VIEW {name}"), &table.comment());
    for column in &table.columns {
        comment(&format!("COLUMN {name}.{}", quoted(&column.name, '"')), &column.description);
    }
    for (column, meaning) in table.partition_columns(false) {
        comment(&format!("COLUMN {name}.{}", quoted(column, '"')), &meaning);
    }
    text
}
