//! Statements that define a `DuckDB` view of a table.

use std::fmt::Write as _;

use crate::catalog::ddl::{Dialect, External, literal, quoted};
use crate::dataset::layout::Layout;
use crate::logs::key::PARTITION_COLUMNS;

/// Returns the statements that create a view.
///
/// The view parses the partition columns from the last directories in each file's path. `DuckDB`'s own partitioning
/// reads `key=value` from the whole path, including directories above the dataset, and reads accounts as numbers
/// without leading zeros.
pub(super) fn create(table: &External) -> String {
    let name = quoted(&table.name, '"');
    // Indices from the end of the path: -1 is the file, -2 the day directory.
    let columns = (2..=6).rev().zip(PARTITION_COLUMNS).map(|(place, column)| {
        let directory = format!("split_part(filename, '/', -{place})");
        match table.layout {
            Layout::Hive => format!("split_part({directory}, '=', 2) AS {column}"),
            Layout::Plain => format!("{directory} AS {column}"),
        }
    });
    let directories = match table.layout {
        Layout::Hive => PARTITION_COLUMNS.map(|column| format!("{column}=*")).join("/"),
        Layout::Plain => ["*"; 5].join("/"),
    };
    let select = format!(
        "SELECT * EXCLUDE (filename),\n  {columns}\nFROM read_parquet({files}, union_by_name = true, \
         filename = true, hive_partitioning = false)",
        columns = columns.collect::<Vec<_>>().join(",\n  "),
        files = literal(&format!("{}{directories}/*.parquet", verbatim(&table.location))),
    );
    let mut text = format!("CREATE OR REPLACE VIEW {name} AS\n{select};\n");
    let mut comment = |what: &str, comment: &str| {
        writeln!(text, "COMMENT ON {what} IS {};", literal(comment))
            .expect("writing to a string cannot fail");
    };
    comment(&format!("VIEW {name}"), &table.comment(Dialect::DuckDb));
    for column in &table.columns {
        comment(&format!("COLUMN {name}.{}", quoted(&column.name, '"')), &column.description);
    }
    for (column, meaning) in table.partition_columns(false) {
        comment(&format!("COLUMN {name}.{}", quoted(column, '"')), &meaning);
    }
    text
}

/// Returns a pattern that matches only this path. No pattern can match a backslash, so `External::check` rejects paths
/// that contain one.
fn verbatim(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            _ => pattern.push(c),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_one_directory_and_derives_partition_columns_from_the_path_below_it() {
        let location = "/lake/year=1999/a*?[b]'/t/".to_owned();
        let table = External { location, ..External::rejects() };
        let text = create(&table);
        let files = "'/lake/year=1999/a[*][?][[]b]\'\'/t/account=*/region=*/year=*/month=*/day=*/*.parquet'";
        assert!(text.contains(files), "{text}");
        let year = "split_part(split_part(filename, '/', -4), '=', 2) AS year";
        assert!(text.contains(year) && text.contains("hive_partitioning = false"), "{text}");
        let text = create(&External { layout: Layout::Plain, ..table });
        assert!(text.contains("  split_part(filename, '/', -4) AS year,\n"), "{text}");
        assert!(text.contains("/t/*/*/*/*/*/*.parquet'"), "{text}");
    }
}
