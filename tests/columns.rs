//! docs/columns.md matches the schema files.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use alb2parquet::internals::logs::reject::{self, MEANINGS};
use alb2parquet::internals::logs::schema::{LogType, OWN_COLUMNS, Table};
use arrow::datatypes::DataType;

const END: &str = "<!-- end -->";

/// Returns the Athena name of a type, as used in docs/columns.md.
fn name_of(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 => "string",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Timestamp(..) => "timestamp",
        DataType::Binary => "binary",
        other => panic!("unexpected column type {other}"),
    }
}

/// Returns the documentation for a table's columns.
fn table(table: &Table) -> String {
    let mut text = String::new();
    let mut add = |line: std::fmt::Arguments| writeln!(text, "{line}").unwrap();
    add(format_args!("{}, as [AWS documents them]({}).\n", table.description, table.reference));
    add(format_args!("| column | type | field | since | meaning |\n|---|---|---|---|---|"));
    let schema = table.file_schema();
    for (index, column) in table.columns() {
        let field = &table.fields[index];
        let data_type = schema.field_with_name(&column.name).unwrap().data_type();
        add(format_args!(
            "| `{}` | {} | {} `{}` | {} | {} |",
            column.name,
            name_of(data_type),
            index + 1,
            field.name,
            field.era,
            column.description
        ));
    }
    for (name, meaning) in OWN_COLUMNS {
        add(format_args!("| `{name}` | string |  |  | {meaning} |"));
    }
    add(format_args!("\n| fields per line | since | added fields |\n|---|---|---|"));
    // Fields of the same era share one row.
    let mut added: Vec<&str> = Vec::new();
    for (index, field) in table.fields.iter().enumerate() {
        added.push(&field.name);
        let count = index + 1;
        let next = table.fields.get(count).map(|next| &next.era);
        if next != Some(&field.era) {
            let names: Vec<String> = added.drain(..).map(|name| format!("`{name}`")).collect();
            let names = match names.len() {
                many if many == table.required_fields => "all".to_owned(),
                _ => names.join(", "),
            };
            add(format_args!("| {count} | {} | {names} |", field.era));
        }
    }
    text
}

fn rejects() -> String {
    let mut text = "| column | type | meaning |\n|---|---|---|\n".to_owned();
    for (field, meaning) in reject::schema().fields().iter().zip(MEANINGS) {
        let data_type = name_of(field.data_type());
        writeln!(text, "| `{}` | {data_type} | {meaning} |", field.name()).unwrap();
    }
    text
}

/// Returns the documentation for the shapes of a table's values.
fn shapes(table: &Table) -> String {
    let mut text = "| field | column | shape |\n|---|---|---|\n".to_owned();
    for (index, column) in table.columns() {
        if let Some(shape) = column.shape {
            let (number, name) = (index + 1, &column.name);
            writeln!(text, "| {number} | `{name}` | {} |", shape.meaning()).unwrap();
        }
    }
    text
}

/// Checks the generated blocks of a page. If UPDATE_DOCS is set, writes them instead.
fn check(page: &str, blocks: impl IntoIterator<Item = (String, String)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap();
    let mut fresh = text.clone();
    for (file, block) in blocks {
        let begin = format!("<!-- made from {file} -->\n");
        let (before, rest) =
            fresh.split_once(&begin).expect("the page has a marker for each table");
        let (_, after) = rest.split_once(END).expect("each marker has an end marker");
        fresh = format!("{before}{begin}{block}{END}{after}");
    }
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &fresh).unwrap();
    } else {
        assert!(text == fresh, "{page} is stale; run: UPDATE_DOCS=1 cargo test columns");
    }
}

#[test]
fn the_documented_shapes_match_the_schemas() {
    let of = |log_type: LogType| (format!("schemas/{log_type}.toml"), shapes(log_type.table()));
    check("docs/lines.md", LogType::ALL.map(of));
}

#[test]
fn the_column_reference_matches_the_schemas() {
    let of = |log_type: LogType| (format!("schemas/{log_type}.toml"), table(log_type.table()));
    let mut blocks = LogType::ALL.map(of).to_vec();
    blocks.push(("src/logs/reject.rs".to_owned(), rejects()));
    check("docs/columns.md", blocks);
}
