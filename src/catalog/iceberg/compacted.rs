//! Compacted files: which table they belong to, which data files they replace, and which tables may contain them.

use iceberg::spec::TableMetadata;

use crate::catalog::iceberg::definition::GC_ENABLED;
use crate::dataset::file::{INPUTS, PublishedFile};
use crate::dataset::layout::{Dataset, below_compacted, tables};
use crate::store::{FileKey, FileName};

/// Returns the table that a row, reject or compacted file with this key belongs to, if the dataset has such a table.
pub(super) fn table_of(key: &str) -> Option<&'static str> {
    let (first, _) = below_compacted(key).unwrap_or(key).split_once('/')?;
    tables().find(|table| *table == first)
}

/// Returns the keys of the claims' files that contain the same rows as a compacted file, according to its footer. Returns
/// `None` if the footer cannot be read or does not name them.
pub(super) fn compacted_inputs(dataset: &Dataset, key: &str, size: u64) -> Option<Vec<String>> {
    let (directory, _) = below_compacted(key)?.rsplit_once('/')?;
    let footer = PublishedFile::of(dataset, FileKey::parse(key).ok()?, size).footer().ok()?;
    let facts = footer.file_metadata().key_value_metadata()?;
    let names = facts.iter().find(|fact| fact.key == INPUTS)?.value.as_deref()?;
    let parse = |name: &str| Some(format!("{directory}/{}", FileName::parse(name).ok()?));
    names.split(',').map(parse).collect()
}

/// Returns whether engines may delete data files that leave a table. Such a table must not contain compacted files, because
/// the dataset still needs the files that they replace.
pub(super) fn is_collected(table: &TableMetadata) -> bool {
    table.properties().get(GC_ENABLED).is_none_or(|value| value != "false")
}

/// Returns the error for a table with row-level deletes, whose files must not be replaced. A delete applies to a specific
/// file, or to files that were added before it.
pub(super) fn deleted_rows(table: &str) -> String {
    format!(
        "table {table} contains row-level deletes (from DELETE, UPDATE or MERGE), which would not apply to files that \
         replace others: deleted rows would reappear"
    )
}

/// Returns why a table must not contain compacted files.
pub(super) fn unsafe_collection(table: &str) -> String {
    format!(
        "table {table} does not have the property {GC_ENABLED}=false: expiring its snapshots would delete the small \
         files that compacted files replace, but the dataset still needs them"
    )
}
