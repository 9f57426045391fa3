//! The README's tables of columns say what the schema files say.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use alb2parquet::reject::Reason;
use alb2parquet::schema::{Kind, LogType, OWN_COLUMNS, Table};

const END: &str = "<!-- end of columns -->";

fn table_of_columns(table: &Table) -> String {
    let mut text = String::from("| column | type | since | meaning |\n|---|---|---|---|\n");
    let mut row = |name: &str, kind: &str, since: &str, meaning: &str| {
        writeln!(text, "| `{name}` | {kind} | {since} | {meaning} |").unwrap();
    };
    for (field, column) in table.columns() {
        let kind = match column.kind {
            Kind::String => "string",
            Kind::Int32 => "int",
            Kind::Int64 => "bigint",
            Kind::Double => "double",
            Kind::Timestamp => "timestamp (UTC, µs)",
        };
        row(&column.name, kind, &table.fields[field].era, &column.description);
    }
    for (name, meaning) in OWN_COLUMNS {
        row(name, "string", "", meaning);
    }
    text
}

#[test]
fn the_columns_are_those_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let mut fresh = readme.clone();
    for log_type in LogType::ALL {
        let begin = format!("<!-- columns: made from schemas/{log_type}.toml -->\n");
        let (before, rest) = fresh.split_once(&begin).expect("the README has a table of columns");
        let (_, after) = rest.split_once(END).expect("the table of columns has an end");
        fresh = format!("{before}{begin}{}{END}{after}", table_of_columns(log_type.table()));
    }
    if env::var_os("UPDATE_README").is_some() {
        fs::write(&path, &fresh).unwrap();
    } else {
        let stale = "README.md is stale; run: UPDATE_README=1 cargo test readme";
        assert!(readme == fresh, "{stale}");
    }
}

#[test]
fn the_reasons_are_those_of_the_rejects() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    for reason in Reason::ALL {
        let row = format!("| `{reason}` | {}", reason.meaning());
        assert!(readme.contains(&row), "README.md has a row that begins with {row}");
    }
}
