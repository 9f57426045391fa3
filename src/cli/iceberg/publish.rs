//! Publishes a dataset, and prints the result.

use std::collections::BTreeMap;

use anyhow::bail;
use indicatif::HumanCount;
use serde_json::Value;

use crate::catalog::ddl::{Dialect, locate};
use crate::catalog::iceberg::glue_catalog::Glue;
use crate::catalog::iceberg::metadata_files::Files;
use crate::catalog::iceberg::rest_catalog::Rest;
use crate::catalog::iceberg::sql_catalog::Sql;
use crate::catalog::iceberg::table_catalog::{Catalog, PointerCatalog};
use crate::catalog::iceberg::{
    IcebergError, Options, Publication, Published, Publisher, without_compaction,
};
use crate::cli::iceberg::access::Settings;
use crate::cli::iceberg::{CatalogName, Tables};
use crate::cli::signals::Signals;
use crate::cli::{DONE, OBJECTS};
use crate::dataset::layout::Dataset;
use crate::logs::schema::LogType;
use crate::store::Network;

/// The result of a publication.
pub(in crate::cli) struct Outcome(pub(in crate::cli) Publication);

/// Checks before a conversion that the catalog answers, and that the locations of the tables are unambiguous.
pub(in crate::cli) fn check(tables: &Tables, network: &Network) -> anyhow::Result<()> {
    locations(tables)?;
    let files = Files::new(network, "");
    open(tables, &files, network)?.load(&LogType::Access.table().name)?;
    Ok(())
}

/// Checks, before `compact` or `compact --revert`, that the catalog answers, and that the locations of the tables are
/// unambiguous. Returns the tables that cannot be changed in this way, with the reasons.
pub(in crate::cli) fn check_compaction(
    tables: &Tables,
    network: &Network,
    revert: bool,
) -> anyhow::Result<BTreeMap<String, String>> {
    locations(tables)?;
    let files = Files::new(network, "");
    Ok(without_compaction(&*open(tables, &files, network)?, &files, revert)?)
}

/// Publishes a dataset as Iceberg tables.
pub(in crate::cli) fn publish(
    tables: &Tables,
    dataset: &Dataset,
    network: &Network,
    signals: &Signals,
) -> anyhow::Result<Outcome> {
    let (root, warehouse) = locations(tables)?;
    let files = Files::new(network, dataset.run());
    let catalog = open(tables, &files, network)?;
    let publisher = Publisher {
        dataset,
        root: &root,
        catalog: &*catalog,
        files: &files,
        warehouse: &warehouse,
        options: Options {
            dry_run: tables.dry_run,
            add_missing: tables.add_missing,
            ..Options::default()
        },
        stop: signals.stop(),
    };
    Ok(Outcome(publisher.publish()?))
}

/// Returns the URLs of the dataset and of the directory for metadata of new tables.
fn locations(tables: &Tables) -> anyhow::Result<(String, String)> {
    let Some(out) = tables.out.to_str() else {
        bail!("the path of the dataset is not valid UTF-8")
    };
    let root = url_of(out)?;
    let warehouse = match tables.warehouse {
        Some(warehouse) => url_of(warehouse)?,
        None => format!("{root}/_alb2parquet/iceberg"),
    };
    Ok((root, warehouse))
}

fn open<'a>(
    tables: &Tables,
    files: &'a Files,
    network: &Network,
) -> anyhow::Result<Box<dyn Catalog + 'a>> {
    Ok(match tables.catalog {
        CatalogName::Sql { path, catalog } => {
            let sql = Sql::open(path, catalog, tables.namespace, tables.dry_run)?;
            Box::new(PointerCatalog::new(sql, files))
        }
        CatalogName::Rest { url, warehouse } => {
            let warehouse = warehouse.as_deref();
            let access = Settings::from_environment()?.access(url, warehouse)?;
            Box::new(Rest::open(url, access, warehouse, tables.namespace, network)?)
        }
        CatalogName::Glue(account) => {
            let glue = Glue::open(account.as_deref(), tables.namespace, network)?;
            Box::new(PointerCatalog::new(glue, files))
        }
    })
}

/// Returns the URL of a directory, as it appears in metadata files. Fails if engines could interpret the URL
/// differently.
fn url_of(directory: &str) -> anyhow::Result<String> {
    let url = locate(directory, "", Dialect::Trino)?;
    let url = url.trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/:=+@,".contains(c);
    if let Some(c) = url.chars().find(|c| !is_plain(*c)) {
        bail!(
            "{url} cannot be the location of a table: it contains {c:?}, which engines interpret differently"
        );
    }
    Ok(url.to_owned())
}

impl Outcome {
    pub(in crate::cli) fn exit_code(&self) -> u8 {
        if self.0.is_complete() { DONE } else { OBJECTS }
    }

    /// Returns the result for `--json`.
    pub(in crate::cli) fn json(&self) -> Value {
        serde_json::to_value(&self.0).expect("plain values")
    }

    /// Returns a line for each table: what was published or, for a dry run, what would be published.
    pub(in crate::cli) fn lines(&self, dry_run: bool) -> Vec<String> {
        let lines: Vec<String> = self.0.tables.iter().map(|table| line(table, dry_run)).collect();
        if lines.is_empty() { vec!["the dataset has no files".to_owned()] } else { lines }
    }

    /// Returns what could not be published, with the reasons.
    pub(in crate::cli) fn failures(&self) -> Vec<String> {
        let of_table = |table: &Published| {
            let name = table.table.clone();
            table.failures.clone().into_iter().map(move |failure| format!("{name}: {failure}"))
        };
        let unreadable = self.0.unreadable.iter().map(|why| format!("not published: {why}"));
        self.0.tables.iter().flat_map(of_table).chain(unreadable).collect()
    }
}

fn line(table: &Published, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let mut parts = Vec::new();
    if table.created {
        parts.push(format!("{would}created"));
    }
    if !table.added_columns.is_empty() {
        parts.push(format!("columns {would}added: {}", table.added_columns.join(", ")));
    }
    if table.added_files > 0 {
        let (files, rows) = (HumanCount(table.added_files), HumanCount(table.added_rows));
        parts.push(format!("{files} files with {rows} rows {would}added"));
    }
    if table.removed_files > 0 {
        parts.push(format!("{} files {would}removed", HumanCount(table.removed_files)));
    }
    if parts.is_empty() {
        let state = if table.failures.is_empty() { "up to date" } else { "unchanged" };
        parts.push(format!("{state}, {} files", HumanCount(table.files)));
    }
    if table.foreign_files > 0 {
        parts.push(format!("{} files of other programs", HumanCount(table.foreign_files)));
    }
    format!("{}: {}", table.table, parts.join("; "))
}

/// Returns whether a signal interrupted a publication.
pub(in crate::cli) fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(IcebergError::Interrupted))
}
