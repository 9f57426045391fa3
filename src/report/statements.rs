//! Statements: what makes the tables of the dataset known to engines, ready to paste.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::catalog::ddl::{Dialect, External};
use crate::dataset::layout::Layout;
use crate::logs::schema::LogType;
use crate::report::Region;

/// The dialects, and the names that people know them by.
const DIALECTS: [(Dialect, &str); 4] = [
    (Dialect::Athena, "Athena"),
    (Dialect::Trino, "Trino"),
    (Dialect::Spark, "Spark"),
    (Dialect::DuckDb, "DuckDB"),
];

/// Says where the directory of a table is, as an engine is to be told of it; `None` where it cannot be.
pub(super) type Locate<'a> = dyn Fn(&str, Dialect) -> Option<String> + Sync + 'a;

/// A statement that makes a table known to an engine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// Name of the table.
    pub table: String,
    /// Name of the engine.
    pub engine: &'static str,
    /// What it is to be told.
    pub text: String,
}

/// Returns the statements for the tables that have files, of the engines that can read them there.
///
/// Partitions are left to the engines: named one by one they would be thousands.
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
        // What an engine cannot be told of this dataset is left out.
        if let Ok(text) = table.create(dialect) {
            statements.push(Statement { table: table.name.clone(), engine, text });
        }
    }
}
