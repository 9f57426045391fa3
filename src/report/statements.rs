//! Statements that register the tables of the dataset in engines.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::catalog::ddl::{Dialect, External};
use crate::dataset::layout::Layout;
use crate::logs::schema::LogType;
use crate::report::Region;

/// The dialects, and the names of their engines.
const DIALECTS: [(Dialect, &str); 4] = [
    (Dialect::Athena, "Athena"),
    (Dialect::Trino, "Trino"),
    (Dialect::Spark, "Spark"),
    (Dialect::DuckDb, "DuckDB"),
];

/// A function that returns the location of a table's directory for a dialect, or `None` if the dialect does not support
/// the location.
pub(super) type Locate<'a> = dyn Fn(&str, Dialect) -> Option<String> + Sync + 'a;

/// A statement that registers a table in an engine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// Name of the table.
    pub table: String,
    /// Name of the engine.
    pub engine: &'static str,
    /// The SQL text.
    pub text: String,
}

/// Returns the statements for all tables that have files, for each engine that can read the table's location.
///
/// The statements do not list partitions, because there can be thousands of them. The engines compute or discover the
/// partitions.
pub(super) fn of(regions: &[Region], layout: Layout, locate: &Locate) -> Vec<Statement> {
    let mut statements = Vec::new();
    for log_type in LogType::ALL {
        let has_rows = |each: &&Region| each.log_type == log_type && each.totals.written.files > 0;
        let of_type = regions.iter().filter(has_rows);
        add(&mut statements, External::rows(log_type.table()), of_type, layout, locate);
    }
    let rejects = regions.iter().filter(|each| each.totals.written.reject_files > 0);
    add(&mut statements, External::rejects(), rejects, layout, locate);
    statements
}

fn add<'r>(
    statements: &mut Vec<Statement>,
    mut table: External,
    regions: impl Iterator<Item = &'r Region>,
    layout: Layout,
    locate: &Locate,
) {
    let (mut accounts, mut names) = (BTreeSet::new(), BTreeSet::new());
    for Region { account, region, totals, .. } in regions {
        accounts.insert(account.clone());
        names.insert(region.clone());
        table.compact |= table.log_type.is_some() && totals.written.compact_files > 0;
    }
    if accounts.is_empty() {
        return;
    }
    table.layout = layout;
    table.accounts = accounts.into_iter().collect();
    table.regions = names.into_iter().collect();
    let directory = table.location.clone();
    for (dialect, engine) in DIALECTS {
        let Some(location) = locate(&directory, dialect) else { continue };
        table.location = location;
        table.projection = dialect.computes_partitions();
        // Statements that the dialect does not support for this dataset are omitted.
        if let Ok(text) = table.create(dialect) {
            statements.push(Statement { table: table.name.clone(), engine, text });
        }
    }
}
