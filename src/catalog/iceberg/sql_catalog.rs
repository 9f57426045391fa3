//! Catalogs in a SQLite database, with the tables of Iceberg's JDBC catalog
//! (<https://iceberg.apache.org/docs/latest/jdbc/>), which pyiceberg and Spark also read and write.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iceberg::spec::TableMetadata;
use rusqlite::{Connection, OptionalExtension, params};

use crate::catalog::iceberg::IcebergError;
use crate::catalog::iceberg::table_catalog::{Committed, Pointer, Pointers};

/// How long to wait for another process that writes to the database.
const BUSY: Duration = Duration::from_mins(1);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS iceberg_tables (
        catalog_name VARCHAR(255) NOT NULL,
        table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL,
        metadata_location VARCHAR(1000),
        previous_metadata_location VARCHAR(1000),
        iceberg_type VARCHAR(5),
        PRIMARY KEY (catalog_name, table_namespace, table_name)
    );
    CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
        catalog_name VARCHAR(255) NOT NULL,
        namespace VARCHAR(255) NOT NULL,
        property_key VARCHAR(255) NOT NULL,
        property_value VARCHAR(1000),
        PRIMARY KEY (catalog_name, namespace, property_key)
    );";

/// A namespace of a catalog in a SQLite database.
pub struct Sql {
    database: Mutex<Connection>,
    /// Name of the database, for messages.
    name: String,
    catalog: String,
    namespace: String,
    /// Whether the table of tables has a column for the type, which older programs omit.
    typed: bool,
}

impl Sql {
    /// Opens a database, which is created if it does not exist. If `read_only` is set, an absent database is treated as
    /// empty instead.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be opened or written.
    pub fn open(
        path: &Path,
        catalog: &str,
        namespace: &str,
        read_only: bool,
    ) -> Result<Self, IcebergError> {
        let name = path.display().to_string();
        let of = |source| error(&name, &source);
        let is_absent = read_only && !path.exists();
        let database =
            if is_absent { Connection::open_in_memory() } else { Connection::open(path) };
        let database = database.map_err(of)?;
        database.busy_timeout(BUSY).map_err(of)?;
        database.execute_batch(TABLES).map_err(of)?;
        let typed = database
            .prepare(
                "SELECT 1 FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type'",
            )
            .and_then(|mut query| query.exists([]))
            .map_err(of)?;
        let (catalog, namespace) = (catalog.to_owned(), namespace.to_owned());
        Ok(Self { database: Mutex::new(database), name, catalog, namespace, typed })
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, source: &rusqlite::Error) -> IcebergError {
        error(&self.name, source)
    }
}

impl Pointers for Sql {
    fn get(&self, table: &str) -> Result<Option<Pointer>, IcebergError> {
        let query = "SELECT metadata_location FROM iceberg_tables \
                     WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?";
        let key = params![self.catalog, self.namespace, table];
        let found = self.database().query_row(query, key, |row| row.get(0)).optional();
        let found = found.map_err(|source| self.error(&source))?;
        Ok(found.map(|location| Pointer { location, version: None }))
    }

    fn insert(
        &self,
        table: &str,
        _metadata: &TableMetadata,
        location: &str,
    ) -> Result<Committed, IcebergError> {
        let database = self.database();
        let namespace =
            "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?, ?, 'exists', 'true')";
        database
            .execute(namespace, params![self.catalog, self.namespace])
            .map_err(|source| self.error(&source))?;
        let (column, value) = if self.typed { (", iceberg_type", ", 'TABLE'") } else { ("", "") };
        let insert = format!(
            "INSERT OR IGNORE INTO iceberg_tables \
             (catalog_name, table_namespace, table_name, metadata_location{column}) VALUES (?, ?, ?, ?{value})"
        );
        let row = params![self.catalog, self.namespace, table, location];
        committed(database.execute(&insert, row)).map_err(|source| self.error(&source))
    }

    fn swap(
        &self,
        table: &str,
        from: &Pointer,
        _metadata: &TableMetadata,
        to: &str,
    ) -> Result<Committed, IcebergError> {
        let update = "UPDATE iceberg_tables SET metadata_location = ?1, previous_metadata_location = ?2 \
                      WHERE catalog_name = ?3 AND table_namespace = ?4 AND table_name = ?5 \
                      AND metadata_location = ?2";
        let row = params![to, from.location, self.catalog, self.namespace, table];
        committed(self.database().execute(update, row)).map_err(|source| self.error(&source))
    }
}

fn committed(rows: rusqlite::Result<usize>) -> rusqlite::Result<Committed> {
    Ok(if rows? == 1 { Committed::Changed } else { Committed::Conflict })
}

fn error(name: &str, source: &rusqlite::Error) -> IcebergError {
    IcebergError::Catalog {
        name: name.to_owned(),
        why: source.to_string(),
        is_transient: is_busy(source),
    }
}

/// Returns whether another process has locked the database.
fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::iceberg::definition::definitions;

    #[test]
    fn only_the_first_of_two_commits_to_the_same_metadata_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        let open = |catalog, namespace| Sql::open(&path, catalog, namespace, false).unwrap();
        let (one, other) = (open("default", "logs"), open("default", "logs"));
        let metadata = definitions()[0].create("file:///t", []).unwrap();
        assert_eq!(one.get("t").unwrap(), None);
        assert_eq!(one.insert("t", &metadata, "a").unwrap(), Committed::Changed);
        assert_eq!(other.insert("t", &metadata, "b").unwrap(), Committed::Conflict);
        let from = other.get("t").unwrap().unwrap();
        assert_eq!(from.location, "a");
        assert_eq!(one.swap("t", &from, &metadata, "c").unwrap(), Committed::Changed);
        assert_eq!(other.swap("t", &from, &metadata, "d").unwrap(), Committed::Conflict);
        assert_eq!(other.get("t").unwrap().unwrap().location, "c");
        for (catalog, namespace) in [("default", "other"), ("other", "logs")] {
            assert_eq!(open(catalog, namespace).get("t").unwrap(), None);
        }
    }

    #[test]
    fn a_database_of_an_older_program_is_used_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        let old = TABLES.replace("iceberg_type VARCHAR(5),", "");
        Connection::open(&path).unwrap().execute_batch(&old).unwrap();
        let sql = Sql::open(&path, "default", "logs", false).unwrap();
        let metadata = definitions()[0].create("file:///t", []).unwrap();
        assert_eq!(sql.insert("t", &metadata, "a").unwrap(), Committed::Changed);
        assert_eq!(sql.get("t").unwrap().unwrap().location, "a");
    }

    #[test]
    fn reading_creates_no_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        let sql = Sql::open(&path, "default", "logs", true).unwrap();
        assert_eq!(sql.get("t").unwrap(), None);
        assert!(!path.exists());
    }
}
