//! Publishes a dataset as Iceberg tables: one for each log type and for rejects, if they have files
//! (<https://iceberg.apache.org/spec/>).
//!
//! The tables refer to the dataset's own files, so nothing is copied, and engines that read the files directly are not
//! affected. After publishing, a table contains the files of all claims that are done. Publishing compares the claims
//! with the table, and commits the difference as one snapshot. It can therefore run at any time, any number of times and
//! concurrently, and it can be killed at any time.
//!
//! Each commit applies only if the table has not changed since it was loaded. Three rules make concurrent conversions
//! and removals safe:
//!
//! 1. Before files are removed from a table, their claims are read again. The table was loaded before that, so a file
//!    that another publisher has just added is known to be in a claim.
//! 2. After files are added to a table, their claims are read again. If they have changed, the tables are compared
//!    with them again.
//! 3. A file is removed from a table only if a removed or aborted claim names it, if a done rewrite replaces it, or if
//!    it does not exist. If claims are lost, tables keep their files.
//!
//! A compacted file contains the rows of other files. So if compacted files of a partition are added or removed, all
//! files of the partition change in one commit, or none do.

mod bounds;
mod claimed_files;
mod commit;
mod compacted;
mod definition;
pub(crate) mod glue_catalog;
mod manifests;
pub(crate) mod metadata_files;
mod metrics;
pub(crate) mod rest_catalog;
pub(crate) mod sql_catalog;
mod state;
mod summary;
pub(crate) mod table_catalog;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rayon::ThreadPoolBuildError;
use serde::Serialize;

use crate::catalog::iceberg::claimed_files::Contents;
use crate::catalog::iceberg::commit::{Attempt, Step};
use crate::catalog::iceberg::compacted::{deleted_rows, is_collected, unsafe_collection};
use crate::catalog::iceberg::definition::{Definition, definitions};
use crate::catalog::iceberg::metadata_files::Files;
use crate::catalog::iceberg::table_catalog::{Catalog, Loaded};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::Partition;
use crate::store::{StoreError, TargetError};
use crate::util::threads;

/// Maximum number of conflicts with other programs per table.
const MAX_CONFLICTS: u32 = 100;
/// Maximum number of failed requests to the catalog per table.
const MAX_ERRORS: u32 = 8;
/// Pause before a commit is repeated for the first time.
const PAUSE: Duration = Duration::from_millis(100);
/// Number of files to read concurrently. It exceeds the number of cores, because the threads mostly wait for the store.
const THREADS: usize = 16;
/// The pause before a commit is repeated doubles this many times.
const DOUBLINGS: u32 = 4;

/// Why a dataset cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum IcebergError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A metadata file cannot be read or written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A URL is invalid or its store cannot be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Threads cannot be started.
    #[error("threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
    /// A request to the catalog failed.
    #[error("the catalog {name} cannot be used: {why}")]
    Catalog {
        /// Name of the catalog.
        name: String,
        /// The reason.
        why: String,
        /// Whether the same request may succeed later. It may also have succeeded already.
        is_transient: bool,
    },
    /// A catalog refused access.
    #[error("the catalog {name} refuses access: {why}")]
    Refused {
        /// Name of the catalog.
        name: String,
        /// The reason.
        why: String,
    },
    /// A metadata file or a definition is invalid.
    #[error("{name} is invalid: {why}")]
    Invalid {
        /// URL of the file, or name of the table.
        name: String,
        /// The reason.
        why: String,
    },
    /// A metadata file is lost.
    #[error("{0} does not exist, but the table refers to it")]
    Absent(String),
    /// A table differs from its definition in a way that cannot be fixed by appending columns.
    #[error("the table {table} cannot be used: {why}")]
    Differs {
        /// Name of the table.
        table: String,
        /// The difference.
        why: String,
    },
    /// A table was not created by this program, or it belongs to another dataset.
    #[error("the table {table} belongs to {owner}, not to this dataset")]
    Owner {
        /// Name of the table.
        table: String,
        /// The actual owner.
        owner: String,
    },
    /// Another program has changed which of the dataset's files are in a table.
    #[error(
        "another program has changed which files of this dataset the table {table} contains: {found} now, {recorded} \
         after the last publication"
    )]
    Changed {
        /// Name of the table.
        table: String,
        /// Number of the dataset's files in the table.
        found: u64,
        /// Number of the dataset's files after the last publication.
        recorded: u64,
    },
    /// A table contains a file twice.
    #[error("{0} is in the table twice, so queries return its rows twice")]
    Twice(String),
    /// Other programs have changed a table too often.
    #[error(
        "other programs changed the table {0} {MAX_CONFLICTS} times while its snapshot was prepared"
    )]
    Conflicts(String),
    /// A signal interrupted the run.
    #[error("interrupted")]
    Interrupted,
}

impl IcebergError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Catalog { is_transient: true, .. })
    }
}

/// Adds the name of a file or table to errors about its content.
trait Detail<T> {
    fn detail(self, name: impl FnOnce() -> String) -> Result<T, IcebergError>;
}

impl<T, E: fmt::Display> Detail<T> for Result<T, E> {
    fn detail(self, name: impl FnOnce() -> String) -> Result<T, IcebergError> {
        self.map_err(|error| IcebergError::Invalid { name: name(), why: error.to_string() })
    }
}

/// What was published. Its JSON keys are stable.
#[derive(Debug, Default, Serialize)]
pub struct Publication {
    /// Name of the run.
    pub run: String,
    /// Number of claims that are done.
    pub claims: u64,
    /// The tables that were created, or that have files or failures.
    pub tables: Vec<Published>,
    /// Partitions with unreadable claims, with the reasons. Their files in the tables were left unchanged.
    pub unreadable: Vec<String>,
}

/// A published table. Its JSON keys are stable.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Published {
    /// Name of the table.
    pub table: String,
    /// Whether the table was created.
    pub created: bool,
    /// The columns that were appended to an existing table.
    pub added_columns: Vec<String>,
    /// Number of files that were added.
    pub added_files: u64,
    /// Number of rows in these files.
    pub added_rows: u64,
    /// Number of files that were removed.
    pub removed_files: u64,
    /// Number of rows in these files.
    pub removed_rows: u64,
    /// Number of the dataset's files in the table.
    pub files: u64,
    /// Number of other files in the table. They are never changed.
    pub foreign_files: u64,
    /// Number of commits that were repeated because another program changed the table.
    pub conflicts: u32,
    /// Files that could not be added or removed, with the reasons.
    pub failures: Vec<String>,
}

impl Publication {
    /// Returns whether the tables contain exactly the files of the claims that are done.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty() && self.tables.iter().all(|table| table.failures.is_empty())
    }
}

/// Returns the tables that must not be compacted, with the reasons. If `revert` is set, returns those whose compactions
/// must not be reverted.
///
/// # Errors
///
/// Fails if a table cannot be loaded.
pub fn without_compaction(
    catalog: &dyn Catalog,
    files: &Files,
    revert: bool,
) -> Result<BTreeMap<String, String>, IcebergError> {
    let mut refused = BTreeMap::new();
    for Definition { name, .. } in definitions() {
        let Some(Loaded { metadata, .. }) = catalog.load(&name)? else { continue };
        let manifests =
            metadata.current_snapshot().map(|snapshot| manifests::list(files, snapshot));
        let why = if manifests::delete_rows(&manifests.transpose()?.unwrap_or_default()) {
            deleted_rows(&name)
        } else if !revert && is_collected(&metadata) {
            unsafe_collection(&name)
        } else {
            continue;
        };
        refused.insert(name, why);
    }
    Ok(refused)
}

/// How to publish.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether to change nothing, and only to report what would be changed.
    pub dry_run: bool,
    /// Whether to publish even if another program has removed files of the dataset from a table. These files are added
    /// again.
    pub add_missing: bool,
    /// Pause before a commit is repeated for the first time. The pause doubles with each further attempt, at most four
    /// times.
    pub pause: Duration,
    /// Number of claims, footers and manifests to read concurrently.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { dry_run: false, add_missing: false, pause: PAUSE, threads: THREADS }
    }
}

/// Publishes a dataset.
pub struct Publisher<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// URL of the dataset, as engines read it.
    pub root: &'a str,
    /// The catalog.
    pub catalog: &'a dyn Catalog,
    /// The stores that contain metadata files.
    pub files: &'a Files,
    /// URL of the directory in which new tables are created.
    pub warehouse: &'a str,
    /// How to publish.
    pub options: Options,
    /// Set to interrupt the run.
    pub stop: &'a AtomicBool,
}

impl Publisher<'_> {
    /// Makes every table contain exactly the files of the claims that are done.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, or if a table cannot be changed. The tables that precede it have been
    /// changed; every table is in a consistent state.
    pub fn publish(&self) -> Result<Publication, IcebergError> {
        threads::pool(self.options.threads)?.install(|| self.publish_on_pool())
    }

    fn publish_on_pool(&self) -> Result<Publication, IcebergError> {
        let mut contents = Contents::read(self.dataset, self.stop)?;
        let definitions = definitions();
        let of = |definition: &Definition| Published {
            table: definition.name.clone(),
            ..Published::default()
        };
        let mut tables: Vec<Published> = definitions.iter().map(of).collect();
        loop {
            let mut touched = BTreeSet::new();
            for (definition, published) in definitions.iter().zip(&mut tables) {
                self.table(definition, &mut contents, published, &mut touched)?;
            }
            let is_final = self.options.dry_run || touched.is_empty();
            if is_final || !contents.refresh(self.dataset, &touched, self.stop)? {
                break;
            }
        }
        self.dataset.confirm()?;
        tables.retain(|table| {
            table.created
                || table.files + table.removed_files + table.foreign_files > 0
                || !table.failures.is_empty()
        });
        let unreadable = contents.broken().iter();
        Ok(Publication {
            run: self.dataset.run().to_owned(),
            claims: contents.claims(),
            tables,
            unreadable: unreadable.map(|(partition, why)| format!("{partition}: {why}")).collect(),
        })
    }

    /// Publishes a table. Adds the partitions of added files to `touched`.
    fn table(
        &self,
        definition: &Definition,
        contents: &mut Contents,
        published: &mut Published,
        touched: &mut BTreeSet<Partition>,
    ) -> Result<(), IcebergError> {
        let mut attempt = Attempt::new(self, definition);
        let (mut conflicts, mut errors) = (0, 0);
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(IcebergError::Interrupted);
            }
            match attempt.run(contents, published, touched) {
                Ok(Step::Finished) => return Ok(()),
                Ok(Step::Created) => continue,
                Ok(Step::Conflict) if conflicts == MAX_CONFLICTS => {
                    return Err(IcebergError::Conflicts(definition.name.clone()));
                }
                Ok(Step::Conflict) => {
                    conflicts += 1;
                    published.conflicts += 1;
                }
                Err(error) if error.is_transient() && errors < MAX_ERRORS => errors += 1,
                Err(error) => return Err(error),
            }
            let doublings = (conflicts + errors - 1).min(DOUBLINGS);
            thread::sleep(self.options.pause * 2_u32.pow(doublings));
        }
    }
}
