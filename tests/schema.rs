//! A new field is one stanza in the schema file and nothing else.

use alb2parquet::decode::Decoder;
use alb2parquet::encode::{Compression, TableEncoder};
use alb2parquet::schema::{SchemaError, Table};

use crate::support::{Line, OBJECT, Row, decode_as, get, piece_of, read_file, text_of};

const ACCESS: &str = include_str!("../schemas/access.toml");

/// The schema file with two stanzas more: what it takes when AWS appends two fields.
fn grown() -> Table {
    const STANZAS: &str = r#"
[[field]]
name = "tls_keyexchange"
era = "2027"
columns = [{ name = "tls_keyexchange", type = "string", stored = "dictionary", description = "Group of the key exchange" }]

[[field]]
name = "hops"
era = "2027-03"
columns = [{ name = "hops", type = "int32", stored = "plain", description = "Proxies on the way" }]
"#;
    Table::parse(&format!("{ACCESS}{STANZAS}")).unwrap()
}

/// The columns that are new, and the one that holds what is still unknown.
fn new(row: &Row) -> [Option<&str>; 3] {
    ["tls_keyexchange", "hops", "extra_fields"].map(|column| get(row, column))
}

fn lines() -> Vec<u8> {
    let line = |count: usize| Line::of(count).text();
    text_of([
        line(17),
        line(36),
        format!("{} \"x25519\"", line(36)),
        format!("{} x25519 3", line(36)),
        format!("{} - - \"next one\" 4", line(36)),
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
fn a_new_field_is_one_stanza() {
    let table = grown();
    let names: Vec<&str> = table.columns().map(|(_, column)| column.name.as_str()).collect();
    assert_eq!(names[names.len() - 3..], ["elb_error_code", "tls_keyexchange", "hops"]);
    let outcome = decode_as(&table, lines());
    assert_eq!(outcome.rejects, []);
    assert_eq!(outcome.rows.iter().map(new).collect::<Vec<_>>(), EXPECTED);
    // Without the stanzas the same text is kept, as text.
    let before = decode_as(Table::access(), lines());
    let extra: Vec<_> = before.rows.iter().map(|row| get(row, "extra_fields")).collect();
    let expected = [None, None, Some("\"x25519\""), Some("x25519 3"), Some("- - \"next one\" 4")];
    assert_eq!(extra, expected);
}

#[test]
fn a_new_field_is_checked_like_the_others() {
    let text = text_of([format!("{} x25519 many", Line::of(36).text())]);
    let outcome = decode_as(&grown(), text);
    assert_eq!(outcome.reject().column.as_deref(), Some("hops"));
}

#[test]
fn a_new_field_reaches_the_file() {
    let table = grown();
    let text = lines();
    let decoded = Decoder::new(&table).decode(&mut piece_of(&[&text]), |_| OBJECT);
    let file = tempfile::NamedTempFile::new().unwrap();
    let out = file.reopen().unwrap();
    let mut encoder = TableEncoder::new(&table, Compression::Zstd, out).unwrap();
    encoder.write(&decoded.batch).unwrap();
    encoder.finish(&[]).unwrap();
    let rows = read_file(file.path());
    assert_eq!(rows.iter().map(new).collect::<Vec<_>>(), EXPECTED);
    assert_eq!(rows, decode_as(&table, lines()).rows);
    assert_eq!(rows[0].len(), 44);
}

#[test]
fn a_table_may_have_few_fields() {
    let first = ACCESS.split_inclusive("\n\n").take(4).collect::<String>();
    let table =
        Table::parse(&first.replace("required_fields = 17", "required_fields = 1")).unwrap();
    let names: Vec<&str> = table.columns().map(|(_, column)| column.name.as_str()).collect();
    assert_eq!(names, ["type", "time"]);
    let outcome = decode_as(&table, "http\nws 2025-07-19T00:00:00Z x y\n\n");
    assert_eq!((outcome.rows.len(), outcome.rejects.len()), (2, 1));
    assert_eq!(get(&outcome.rows[1], "extra_fields"), Some("x y"));
}

#[test]
fn a_file_that_says_nonsense_is_refused() {
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
