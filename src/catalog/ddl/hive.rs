//! Hive statements for Athena and Spark.

use std::fmt::Write as _;

use arrow::datatypes::DataType;

use crate::catalog::ddl::{Dialect, External, quoted};
use crate::logs::key::{PARTITION_COLUMNS, PartitionValues};

/// Maximum number of partitions in a statement. Athena limits statements to 262,144 bytes, and a location has at most
/// about 1,100 bytes.
const PARTITIONS: usize = 200;

/// Returns the Hive name of a type.
pub(super) fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Timestamp(..) => "timestamp",
        DataType::Binary => "binary",
        _ => "string",
    }
}

/// Returns a string literal. A quote is escaped with a backslash, because Hive reads a doubled quote as the end of one
/// string and the start of another.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Returns the function that quotes text for a dialect. Spark substitutes variables (`${env:HOME}`) in a statement
/// before it parses literals, so `$` must be escaped. Athena does not substitute variables in statements, and its
/// projection templates need the `$`.
fn quote(dialect: Dialect) -> impl Fn(&str) -> String {
    move |text| {
        let text = literal(text);
        if dialect == Dialect::Spark { text.replace("${", "\\u0024{") } else { text }
    }
}

/// Returns the statement that creates a table. `projection` contains the partition projection properties, if any.
pub(super) fn create(
    table: &External,
    dialect: Dialect,
    projection: &[(String, String)],
) -> String {
    let literal = quote(dialect);
    let column = |name: &str, kind: &str, comment: &str| {
        format!("  {} {kind} COMMENT {}", quoted(name, '`'), literal(comment))
    };
    let columns = table
        .columns
        .iter()
        .map(|each| column(&each.name, type_name(&each.data_type), &each.description));
    let columns = columns.collect::<Vec<_>>().join(",\n");
    let partition = table.partition_columns(!projection.is_empty());
    let partition = partition.map(|(name, comment)| column(name, "string", &comment)).join(",\n");
    let properties = [("classification".to_owned(), "parquet".to_owned())];
    let properties = properties.iter().chain(projection);
    let properties = properties
        .map(|(name, value)| format!("  {} = {}", literal(name), literal(value)))
        .collect::<Vec<_>>()
        .join(",\n");
    format!(
        "CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{columns}\n)\nCOMMENT {comment}\n\
         PARTITIONED BY (\n{partition}\n)\nSTORED AS PARQUET\nLOCATION {location}\n\
         TBLPROPERTIES (\n{properties}\n);\n",
        name = quoted(&table.name, '`'),
        comment = literal(&table.comment(dialect)),
        location = literal(&table.location),
    )
}

/// Returns the statement that discovers partitions.
pub(super) fn repair(table: &External) -> String {
    format!("MSCK REPAIR TABLE {};\n", quoted(&table.name, '`'))
}

/// Returns the statements that add partitions.
pub(super) fn add_partitions(
    table: &External,
    dialect: Dialect,
    partitions: &[PartitionValues],
) -> String {
    let literal = quote(dialect);
    let mut text = String::new();
    for some in partitions.chunks(PARTITIONS) {
        write!(text, "ALTER TABLE {} ADD IF NOT EXISTS", quoted(&table.name, '`'))
            .expect("writing to a string cannot fail");
        for values in some {
            let pairs = PARTITION_COLUMNS.iter().zip(values);
            let pairs: Vec<_> =
                pairs.map(|(column, value)| format!("`{column}` = {}", literal(value))).collect();
            let location = literal(&table.directory(values));
            write!(text, "\n  PARTITION ({}) LOCATION {location}", pairs.join(", "))
                .expect("writing to a string cannot fail");
        }
        text.push_str(";\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::key::Partition;
    use crate::logs::schema::LogType;

    #[test]
    fn quotes_are_escaped_as_hive_does() {
        assert_eq!(literal(r"target's \d"), r"'target\'s \\d'");
    }

    #[test]
    fn text_is_escaped_from_variable_substitution_in_spark() {
        assert_eq!(quote(Dialect::Spark)("a$1\\${env:HOME}"), r"'a$1\\\u0024{env:HOME}'");
        assert_eq!(quote(Dialect::Athena)("${year}"), "'${year}'");
    }

    #[test]
    fn statements_that_add_partitions_have_a_bounded_size() {
        let day = chrono::NaiveDate::from_ymd_opt(2025, 7, 19).unwrap();
        let days = day.iter_days().take(PARTITIONS + 1);
        let log_type = LogType::Access;
        let partition = |day| {
            let (account, region) = ("012345678901".into(), "r".into());
            Partition { log_type, account, region, day }.values()
        };
        let partitions: Vec<_> = days.map(partition).collect();
        let location = format!("s3://lake/{}/", "x".repeat(1000));
        let text = add_partitions(
            &External { location, ..External::rejects() },
            Dialect::Athena,
            &partitions,
        );
        let statements: Vec<_> = text.split_inclusive(";\n").collect();
        assert_eq!(statements.len(), 2);
        assert!(statements.iter().all(|statement| statement.len() < 262_144));
        assert!(statements[0].contains(
            "\n  PARTITION (`account` = '012345678901', `region` = 'r', `year` = '2025', \
             `month` = '07', `day` = '19') LOCATION 's3://lake/xxx"
        ));
    }
}
