//! Adding a field requires only a stanza in a schema file.

use alb2parquet::Quotes;
use alb2parquet::internals::decode::decoder::Decoder;
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::encode::{Compression, Format, TableEncoder};
use alb2parquet::internals::logs::schema::{LogType, SchemaError, Table};

use crate::support::{OBJECT, Row, decode_as, get, read_file, segments_of, text_of};

const FILES: [(LogType, &str); 5] = [
    (LogType::Access, include_str!("../schemas/access.toml")),
    (LogType::Connection, include_str!("../schemas/connection.toml")),
    (LogType::HealthCheck, include_str!("../schemas/health_check.toml")),
    (LogType::NlbTls, include_str!("../schemas/nlb_tls.toml")),
    (LogType::Classic, include_str!("../schemas/classic.toml")),
];
const ACCESS: &str = FILES[0].1;

/// Stanzas for two fields that AWS could append to any log.
const STANZAS: &str = r#"
[[field]]
name = "new_words"
era = "2027"
columns = [{ name = "new_words", type = "string", stored = "dictionary", description = "Something that repeats" }]

[[field]]
name = "hops"
era = "2027-03"
columns = [{ name = "hops", type = "int32", stored = "plain", description = "Proxies on the way" }]
"#;

/// Returns the table that a schema file defines when the two stanzas are appended to the file.
fn grown(file: &str) -> Table {
    Table::parse(&format!("{file}{STANZAS}")).unwrap()
}

/// Returns a row's values in the new columns and in the column for unknown fields.
fn new(row: &Row) -> [Option<&str>; 3] {
    ["new_words", "hops", "extra_fields"].map(|column| get(row, column))
}

/// Returns a line with `count` fields, or with all of the table's fields if it has fewer.
fn line(table: &Table, count: usize) -> String {
    vec!["-"; count.min(table.fields.len())].join(" ")
}

/// Returns a value as load balancers log it: in quotes, unless quotes are part of the values in this log.
fn quoted(table: &Table, value: &str) -> String {
    if table.quotes == Quotes::Literal { value.to_owned() } else { format!("\"{value}\"") }
}

/// Returns lines with the fields of the first era, lines with the current fields, and lines with the new fields.
fn lines(table: &Table) -> Vec<u8> {
    let today = line(table, usize::MAX);
    text_of([
        line(table, table.required_fields),
        today.clone(),
        format!("{today} {}", quoted(table, "x25519")),
        format!("{today} x25519 3"),
        format!("{today} - - \"next one\" 4"),
    ])
}

const EXPECTED: [[Option<&str>; 3]; 5] = [
    [None, None, None],
    [None, None, None],
    [Some("x25519"), None, None],
    [Some("x25519"), Some("3"), None],
    [None, None, Some("\"next one\" 4")],
];

#[test]
fn one_stanza_adds_a_field() {
    for (log_type, file) in FILES {
        let (table, today) = (grown(file), log_type.table());
        let names: Vec<&str> = table.columns().map(|(_, column)| column.name.as_str()).collect();
        let before: Vec<&str> = today.columns().map(|(_, column)| column.name.as_str()).collect();
        assert_eq!(names, [&before[..], &["new_words", "hops"]].concat());
        let outcome = decode_as(&table, lines(today));
        assert_eq!(outcome.rejects, []);
        assert_eq!(outcome.rows.iter().map(new).collect::<Vec<_>>(), EXPECTED, "{log_type}");
        // Without the stanzas, the values of the new fields are preserved as text.
        let outcome = decode_as(today, lines(today));
        let extra: Vec<_> = outcome.rows.iter().map(|row| get(row, "extra_fields")).collect();
        let first = quoted(today, "x25519");
        let expected = [&first[..], "x25519 3", "- - \"next one\" 4"].map(Some);
        assert_eq!(extra, [&[None, None], &expected[..]].concat(), "{log_type}");
    }
}

#[test]
fn a_new_field_is_validated_like_the_others() {
    for (log_type, file) in FILES {
        let text = text_of([format!("{} x25519 many", line(log_type.table(), usize::MAX))]);
        let outcome = decode_as(&grown(file), text);
        assert_eq!(outcome.reject().column.as_deref(), Some("hops"), "{log_type}");
    }
}

#[test]
fn a_new_field_is_written_to_the_file() {
    for (log_type, file) in FILES {
        let (table, text) = (grown(file), lines(log_type.table()));
        let decoded = Decoder::new(&table).decode(&mut segments_of(&[&text]), |_| OBJECT);
        let file = tempfile::NamedTempFile::new().unwrap();
        let out = file.reopen().unwrap();
        let format = Format { profile: Profile::Portable, compression: Compression::Zstd };
        let mut encoder = TableEncoder::new(&table, format, out).unwrap();
        encoder.write(&decoded.batch).unwrap();
        encoder.finish(&[]).unwrap();
        let rows = read_file(file.path());
        assert_eq!(rows.iter().map(new).collect::<Vec<_>>(), EXPECTED);
        assert_eq!(rows, decode_as(&table, text).rows);
        assert_eq!(rows[0].len(), log_type.table().columns().count() + 4);
    }
}

#[test]
fn a_table_can_have_few_fields() {
    let first = ACCESS.split_inclusive("\n\n").take(4).collect::<String>();
    let table =
        Table::parse(&first.replace("required_fields = 17", "required_fields = 1")).unwrap();
    let names: Vec<&str> = table.columns().map(|(_, column)| column.name.as_str()).collect();
    assert_eq!(names, ["type", "time"]);
    let outcome = decode_as(&table, "http\n\nws 2025-07-19T00:00:00Z x y\n");
    assert_eq!((outcome.rows.len(), outcome.rejects.len()), (2, 1));
    assert_eq!(get(&outcome.rows[1], "extra_fields"), Some("x y"));
}

#[test]
fn an_invalid_schema_file_is_refused() {
    let wrong = |from: &str, to: &str| {
        assert!(ACCESS.contains(from));
        Table::parse(&ACCESS.replacen(from, to, 1)).unwrap_err()
    };
    assert!(matches!(wrong("type = \"int32\"", "type = \"int33\""), SchemaError::Syntax(_)));
    assert!(matches!(wrong("era =", "eras ="), SchemaError::Syntax(_)));
    assert!(matches!(
        wrong("name = \"elb\", type", "name = \"source_key\", type"),
        SchemaError::DuplicateColumn(_)
    ));
    assert!(matches!(wrong("part = \"verb\"", "part = \"port\""), SchemaError::PartType(_)));
    assert!(matches!(
        wrong("required_fields = 17", "required_fields = 37"),
        SchemaError::Required { .. }
    ));
}
