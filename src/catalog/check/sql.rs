//! Generates the statements in each engine's SQL dialect.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::DateTime;

use crate::catalog::check::{Check, Condition, PartitionValues, Probe, Range, Test, Value, path};
use crate::logs::key::PARTITION_COLUMNS;
use crate::util::hash::hex;

/// Maximum number of partitions in a statement. Athena limits statements to 262,144 bytes.
const PARTITIONS: usize = 300;
/// Maximum number of aggregates in a statement. Engines compile the comparisons into one method of limited size.
const AGGREGATES: usize = 40;
/// Maximum number of filters in a statement. Each filter scans the table once, and engines limit the number of stages
/// in a query.
const FILTERS: usize = 8;
const MILLISECOND: i64 = 1000;

/// A SQL engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Amazon Athena and Trino.
    Trino,
    /// Spark, and engines based on it, such as Databricks and EMR.
    Spark,
    /// `DuckDB`.
    DuckDb,
    /// Google `BigQuery`.
    BigQuery,
    /// Amazon Redshift Spectrum.
    Redshift,
    /// Snowflake.
    Snowflake,
}

impl Engine {
    fn quoted(self, name: &str) -> String {
        let quote = match self {
            Self::Spark | Self::BigQuery => "`",
            // Snowflake converts unquoted names to upper case, so quoted lower-case names would not match.
            Self::Snowflake => "",
            _ => "\"",
        };
        let parts = name.split('.').map(|part| format!("{quote}{part}{quote}"));
        parts.collect::<Vec<_>>().join(".")
    }

    /// Returns an expression for a string. If the string is not printable ASCII, or contains characters that an engine
    /// could interpret inside a literal (escapes, variables, the end of a statement), the expression decodes the string
    /// from hexadecimal bytes.
    fn text(self, text: &str) -> String {
        let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !"'\\$;".contains(c);
        if text.chars().all(plain) {
            return format!("'{text}'");
        }
        let hex = hex(text.as_bytes());
        match self {
            Self::Trino => format!("from_utf8(X'{hex}')"),
            Self::Spark => format!("decode(unhex('{hex}'), 'UTF-8')"),
            Self::DuckDb => format!("decode(from_hex('{hex}'))"),
            Self::BigQuery => format!("SAFE_CONVERT_BYTES_TO_STRING(FROM_HEX('{hex}'))"),
            Self::Redshift => format!("FROM_VARBYTE(FROM_HEX('{hex}'), 'utf-8')"),
            Self::Snowflake => format!("HEX_DECODE_STRING('{hex}')"),
        }
    }

    fn time(self, micros: i64) -> String {
        let text = time_text(micros);
        match self {
            Self::DuckDb => format!("TIMESTAMPTZ '{text}+00'"),
            Self::Spark | Self::BigQuery => format!("TIMESTAMP '{text}+00:00'"),
            Self::Trino | Self::Redshift | Self::Snowflake => format!("TIMESTAMP '{text}'"),
        }
    }

    fn value(self, value: &Value) -> String {
        match value {
            Value::Integer(number) => number.to_string(),
            Value::Double(number) => {
                let name = match self {
                    Self::BigQuery => "FLOAT64",
                    Self::Redshift => "DOUBLE PRECISION",
                    _ => "DOUBLE",
                };
                format!("CAST('{number:?}' AS {name})")
            }
            Value::Text(text) => self.text(text),
            Value::Time(micros) => self.time(*micros),
        }
    }

    fn as_text(self, expression: &str) -> String {
        let name = if matches!(self, Self::Spark | Self::BigQuery) { "string" } else { "varchar" };
        format!("CAST({expression} AS {name})")
    }

    /// Returns a relation that consists of constant rows. Some strings require function calls, which Spark and
    /// Snowflake do not support in `VALUES`. BigQuery and Redshift do not support `VALUES` as a relation.
    fn rows(self, name: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
        match self {
            Self::Trino | Self::DuckDb => {
                let rows: Vec<_> = rows.iter().map(|row| format!("({})", row.join(", "))).collect();
                format!(
                    "(VALUES\n    {}\n  ) AS {name} ({})",
                    rows.join(",\n    "),
                    columns.join(", ")
                )
            }
            _ => {
                let select = |row: &Vec<String>| {
                    let named = row.iter().zip(columns);
                    let named: Vec<_> =
                        named.map(|(value, column)| format!("{value} AS {column}")).collect();
                    format!("SELECT {}", named.join(", "))
                };
                let selects: Vec<_> = rows.iter().map(select).collect();
                format!("(\n    {}\n  ) AS {name}", selects.join("\n    UNION ALL "))
            }
        }
    }

    /// Returns a condition that all rows of the partitions satisfy. The condition has one term per column, so rows with
    /// other combinations of the same values also satisfy it.
    fn partitions<'a>(
        self,
        partitions: &(impl Iterator<Item = &'a PartitionValues> + Clone),
        columns: usize,
    ) -> String {
        let column = |(index, name): (usize, &&str)| {
            let values: BTreeSet<&str> = partitions.clone().map(|values| &*values[index]).collect();
            let texts: Vec<_> = values.iter().map(|value| self.text(value)).collect();
            let name = self.quoted(name);
            match &texts[..] {
                [text] => format!("{name} = {text}"),
                _ => format!("{name} IN ({})", texts.join(", ")),
            }
        };
        let all = PARTITION_COLUMNS.iter().enumerate().take(columns).map(column);
        all.collect::<Vec<_>>().join(" AND ")
    }

    fn condition(self, condition: &Condition) -> String {
        let column = self.quoted(&condition.column);
        let value = |value: &Value| self.value(value);
        match &condition.test {
            Test::Equal(constant) => format!("{column} = {}", value(constant)),
            Test::Less(constant) => format!("{column} < {}", value(constant)),
            Test::Between(first, last) => {
                format!("{column} BETWEEN {} AND {}", value(first), value(last))
            }
            Test::In(some) => {
                let some: Vec<_> = some.iter().map(value).collect();
                format!("{column} IN ({})", some.join(", "))
            }
            Test::Null => format!("{column} IS NULL"),
        }
    }
}

fn time_text(micros: i64) -> String {
    // Chrono can represent every time in a file: the program accepts only four-digit years.
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A statement and its description.
struct Statement {
    about: String,
    text: String,
}

impl Check {
    /// Returns the statements for a table name, with comments.
    pub(crate) fn statements(&self, table: &str, engine: Engine) -> String {
        let from = engine.quoted(table);
        let mut statements = Vec::new();
        if !self.partitions.is_empty() {
            // Unchecked partitions may also contain rows, so the total is unknown.
            if self.unfinished == 0 {
                statements.push(self.total(&from, engine));
            }
            statements.extend(self.counts(&from, engine));
        }
        for probe in &self.probes {
            statements.extend(probe.columns(&from, engine));
            statements.extend(probe.filters(&from, engine));
        }
        let mut text = self.head(table);
        for (number, Statement { about, text: statement }) in (1..).zip(&statements) {
            write!(text, "\n-- {number} of {}: {about}\n{statement};\n", statements.len())
                .expect("writing to a string cannot fail");
        }
        text
    }

    /// Returns the header comment.
    fn head(&self, table: &str) -> String {
        let rows: u64 = self.partitions.values().sum();
        let mut text = format!(
            "-- Checks whether an engine reads {table} correctly: {rows} rows in {} partitions.\n\
             -- Each statement returns no rows if it does, otherwise a row for each difference: what, expected, seen.\n\
             -- Columns and filters are checked in {} partitions, selected by seed {}; another seed selects others:\n",
            self.partitions.len(),
            self.probes.len(),
            self.seed
        );
        for Probe { partition, rows, row_groups, .. } in &self.probes {
            let about = format!("{}: {rows} rows in {row_groups} row groups", path(partition));
            writeln!(text, "--   {about}").expect("writing to a string cannot fail");
        }
        if self.unfinished > 0 {
            writeln!(
                text,
                "-- {} partitions and the total number of rows are not checked because of unfinished claims, \
                 which the next conversion finishes.",
                self.unfinished
            )
            .expect("writing to a string cannot fail");
        }
        text
    }

    /// Compares the total number of rows, which also detects rows in partitions that should be empty.
    fn total(&self, from: &str, engine: Engine) -> Statement {
        let rows: u64 = self.partitions.values().sum();
        let text = format!(
            "SELECT 'rows of the table' AS what, '{rows}' AS expected, {seen} AS seen\n\
             FROM (SELECT count(*) AS n FROM {from} WHERE {of}) AS s\nWHERE n <> {rows}",
            seen = engine.as_text("n"),
            // Engines that compute partitions may require values for accounts, regions and years.
            of = engine.partitions(&self.partitions.keys(), 3),
        );
        Statement { about: "rows of the table".to_owned(), text }
    }

    /// Compares the number of rows in each partition.
    fn counts(&self, from: &str, engine: Engine) -> Vec<Statement> {
        let all: Vec<_> = self.partitions.iter().collect();
        let statement = |some: &[(&PartitionValues, &u64)]| {
            let columns = PARTITION_COLUMNS.map(|column| engine.quoted(column));
            let names: Vec<&str> =
                ["what", "n"].into_iter().chain(columns.iter().map(String::as_str)).collect();
            let row = |(partition, rows): &(&PartitionValues, &u64)| {
                let values = partition.iter().map(|value| engine.text(value));
                [engine.text(&format!("rows of {}", path(partition))), rows.to_string()]
                    .into_iter()
                    .chain(values)
                    .collect::<Vec<_>>()
            };
            let rows: Vec<_> = some.iter().map(row).collect();
            let same = columns.iter().map(|column| format!("s.{column} = e.{column}"));
            let text = format!(
                "SELECT what, expected, seen\nFROM (\n  SELECT e.what AS what, {expected} AS expected, \
                 {seen} AS seen\n  FROM {rows}\n  LEFT JOIN (\n    SELECT {columns}, count(*) AS n\n    FROM \
                 {from}\n    WHERE {of}\n    GROUP BY {columns}\n  ) AS s\n  ON {same}\n) AS c\n\
                 WHERE seen <> expected",
                expected = engine.as_text("e.n"),
                seen = engine.as_text("COALESCE(s.n, 0)"),
                rows = engine.rows("e", &names, &rows),
                columns = columns.join(", "),
                of = engine.partitions(&some.iter().map(|(partition, _)| *partition), 5),
                same = same.collect::<Vec<_>>().join(" AND "),
            );
            Statement { about: format!("rows of {} partitions", some.len()), text }
        };
        all.chunks(PARTITIONS).map(statement).collect()
    }
}

/// An aggregate and its expected value.
struct Aggregate {
    what: String,
    expression: String,
    /// The expected value as text, or `None` for NULL.
    expected: Option<String>,
    /// Returns a SQL condition that is true if the named result is wrong. NULL is handled separately.
    differs: Box<dyn Fn(&str) -> String>,
}

impl Probe {
    /// Compares the counts, sums, min and max of columns.
    fn columns(&self, from: &str, engine: Engine) -> Vec<Statement> {
        let aggregates = self.aggregates(engine);
        let of = engine.partitions(&std::iter::once(&self.partition), 5);
        let statement = |some: &[Aggregate]| {
            let (mut selected, mut rows, mut cases) = (Vec::new(), Vec::new(), String::new());
            for (index, Aggregate { what, expression, expected, differs }) in (1..).zip(some) {
                let result = format!("a{index}");
                selected.push(format!("{expression} AS {result}"));
                let shown = expected.as_deref().unwrap_or("NULL");
                rows.push(vec![index.to_string(), engine.text(what), engine.text(shown)]);
                let differs = match expected {
                    Some(_) => {
                        format!("({} OR s.{result} IS NULL)", differs(&format!("s.{result}")))
                    }
                    None => format!("s.{result} IS NOT NULL"),
                };
                let seen = engine.as_text(&format!("s.{result}"));
                write!(
                    cases,
                    "\n      WHEN e.i = {index} AND {differs} THEN COALESCE({seen}, 'NULL')"
                )
                .expect("writing to a string cannot fail");
            }
            let text = format!(
                "SELECT what, expected, seen\nFROM (\n  SELECT e.what AS what, e.expected AS expected, \
                 CASE{cases}\n    END AS seen\n  FROM (\n    SELECT {selected}\n    FROM {from}\n    WHERE \
                 {of}\n  ) AS s\n  CROSS JOIN {rows}\n) AS c\nWHERE seen IS NOT NULL",
                selected = selected.join(",\n      "),
                rows = engine.rows("e", &["i", "what", "expected"], &rows),
            );
            Statement { about: format!("columns of {}", path(&self.partition)), text }
        };
        aggregates.chunks(AGGREGATES).map(statement).collect()
    }

    fn aggregates(&self, engine: Engine) -> Vec<Aggregate> {
        let number = |what: String, expression: String, expected: Option<String>| {
            let right = expected.clone().unwrap_or_default();
            let differs = Box::new(move |result: &str| format!("{result} <> {right}"));
            Aggregate { what, expression, expected, differs }
        };
        let mut all = vec![number("rows".into(), "count(*)".into(), Some(self.rows.to_string()))];
        for column in &self.columns {
            let name = engine.quoted(&column.name);
            let of = |function: &str| {
                (format!("{function}({})", column.name), format!("{function}({name})"))
            };
            if let Some(values) = column.values {
                let (what, expression) = of("count");
                all.push(number(what, expression, Some(values.to_string())));
            }
            if let Some(sum) = column.sum {
                let (what, expression) = of("sum");
                all.push(number(what, expression, Some(sum.to_string())));
            }
            let ends = match &column.range {
                Range::Unknown => continue,
                Range::Empty => [("min", None), ("max", None)],
                Range::Exact(min, max) => [("min", Some(min)), ("max", Some(max))],
            };
            for (function, value) in ends {
                let (what, expression) = of(function);
                all.push(Aggregate {
                    what,
                    expression,
                    expected: value.map(shown),
                    differs: differs(value, engine),
                });
            }
        }
        all
    }

    /// Compares the number of rows that each filter matches.
    fn filters(&self, from: &str, engine: Engine) -> Vec<Statement> {
        let of = engine.partitions(&std::iter::once(&self.partition), 5);
        let numbered: Vec<_> = (1..).zip(&self.filters).collect();
        let statement = |some: &[(usize, &super::Filter)]| {
            let selects = some.iter().map(|(number, filter)| {
                let [one, other] = &filter.conditions;
                format!(
                    "SELECT {what} AS what, '{rows}' AS expected, {seen} AS seen\n  FROM {from} WHERE {of}\n    \
                     AND {} AND {}",
                    engine.condition(one),
                    engine.condition(other),
                    what = engine.text(&format!("filter {number}: rows by {}, {}", one.column, other.column)),
                    rows = filter.rows,
                    seen = engine.as_text("count(*)"),
                )
            });
            let text = format!(
                "SELECT what, expected, seen\nFROM (\n  {}\n) AS c\nWHERE seen <> expected",
                selects.collect::<Vec<_>>().join("\n  UNION ALL\n  ")
            );
            Statement { about: format!("filters in {}", path(&self.partition)), text }
        };
        numbered.chunks(FILTERS).map(statement).collect()
    }
}

/// Returns the display form of a value.
fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Double(number) => format!("{number:?}"),
        Value::Text(text) => text.clone(),
        Value::Time(micros) => time_text(*micros),
    }
}

/// Returns a function that maps the name of a result to a SQL condition. The condition is true if the result differs
/// from `value`. It accepts times rounded up or down to a millisecond, because engines round differently.
fn differs(value: Option<&Value>, engine: Engine) -> Box<dyn Fn(&str) -> String> {
    let Some(value) = value else { return Box::new(|_| String::new()) };
    if let Value::Time(micros) = value {
        let below = micros.div_euclid(MILLISECOND) * MILLISECOND;
        let (below, above) = (engine.time(below), engine.time(below + MILLISECOND));
        return Box::new(move |result| format!("{result} NOT BETWEEN {below} AND {above}"));
    }
    let right = engine.value(value);
    Box::new(move |result| format!("{result} <> {right}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENGINES: [Engine; 6] = [
        Engine::Trino,
        Engine::Spark,
        Engine::DuckDb,
        Engine::BigQuery,
        Engine::Redshift,
        Engine::Snowflake,
    ];

    #[test]
    fn a_text_that_an_engine_could_interpret_is_written_as_bytes() {
        for engine in ENGINES {
            assert_eq!(engine.text("curl/8.0 (a-b) \"x\" %_?"), "'curl/8.0 (a-b) \"x\" %_?'");
            for (text, hex) in [
                ("o'neil", "6f276e65696c"),
                ("a\\b", "615c62"),
                ("${env:HOME}", "247b656e763a484f4d457d"),
                ("a;\nDROP", "613b0a44524f50"),
                ("\0", "00"),
                ("日", "e697a5"),
                ("é\u{202e}", "c3a9e280ae"),
            ] {
                let written = engine.text(text);
                assert!(written.contains(&format!("'{hex}'")), "{text:?}: {written}");
                assert!(!written.contains(text), "{written}");
            }
        }
        assert_eq!(Engine::Trino.text("é"), "from_utf8(X'c3a9')");
        assert_eq!(Engine::Spark.text("é"), "decode(unhex('c3a9'), 'UTF-8')");
        assert_eq!(Engine::DuckDb.text("é"), "decode(from_hex('c3a9'))");
    }

    proptest! {
        #[test]
        fn no_text_ends_its_literal(text in any::<String>()) {
            for engine in ENGINES {
                let written = engine.text(&text);
                prop_assert_eq!(written.matches('\'').count() % 2, 0);
                prop_assert!(written.is_ascii() && !written.contains(['\\', ';', '$', '\n']));
                // The text between the quotes is the value, or its bytes in hexadecimal.
                let inner = written.split('\'').nth(1).unwrap();
                let hex = hex(text.as_bytes());
                prop_assert!(inner == text || inner == hex, "{}", written);
            }
        }
    }

    #[test]
    fn values_are_written_as_each_engine_reads_them() {
        let time = Value::Time(1_752_883_200_123_456);
        for (engine, expected) in [
            (Engine::Trino, "TIMESTAMP '2025-07-19 00:00:00.123'"),
            (Engine::DuckDb, "TIMESTAMPTZ '2025-07-19 00:00:00.123+00'"),
            (Engine::Spark, "TIMESTAMP '2025-07-19 00:00:00.123+00:00'"),
        ] {
            assert_eq!(engine.value(&time), expected);
        }
        assert_eq!(Engine::Trino.value(&Value::Double(-0.001)), "CAST('-0.001' AS DOUBLE)");
        assert_eq!(Engine::BigQuery.value(&Value::Double(1e-7)), "CAST('1e-7' AS FLOAT64)");
        assert_eq!(Engine::Trino.value(&Value::Integer(i64::MIN)), "-9223372036854775808");
        assert_eq!(Engine::Spark.quoted("logs.t"), "`logs`.`t`");
        assert_eq!(Engine::Trino.quoted("logs.t"), "\"logs\".\"t\"");
    }

    #[test]
    fn constant_rows_use_values_only_if_it_may_call_functions() {
        let rows =
            [vec!["1".to_owned(), Engine::Spark.text("é")], vec!["2".to_owned(), "''".to_owned()]];
        let of = |engine: Engine| engine.rows("e", &["i", "what"], &rows);
        for engine in ENGINES {
            let is_values = matches!(engine, Engine::Trino | Engine::DuckDb);
            assert_eq!(of(engine).contains("VALUES"), is_values, "{engine:?}");
        }
        let select = "SELECT 1 AS i, decode(unhex('c3a9'), 'UTF-8') AS what";
        assert_eq!(
            of(Engine::Spark),
            format!("(\n    {select}\n    UNION ALL SELECT 2 AS i, '' AS what\n  ) AS e")
        );
    }

    #[test]
    fn a_time_may_be_rounded_to_a_millisecond() {
        let test = differs(Some(&Value::Time(1_752_883_200_123_456)), Engine::Trino)("s.a1");
        let range = "TIMESTAMP '2025-07-19 00:00:00.123' AND TIMESTAMP '2025-07-19 00:00:00.124'";
        assert_eq!(test, format!("s.a1 NOT BETWEEN {range}"));
    }
}
