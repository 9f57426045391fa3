//! Catalogs, which record the current metadata of each table.

use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};

use crate::catalog::iceberg::IcebergError;
use crate::catalog::iceberg::metadata_files::{Files, new_url};

/// A table as its catalog describes it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Current metadata of the table.
    pub metadata: TableMetadata,
    /// Where the catalog stores this metadata.
    pub pointer: Pointer,
}

/// The location of a table's current metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// URL of the metadata file.
    pub location: String,
    /// Version of the catalog's entry, if the catalog has versions.
    pub version: Option<String>,
}

/// Result of creating or changing a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The table was changed.
    Changed,
    /// The table was not changed, because another program created or changed it first.
    Conflict,
}

/// A change to a table, in the two forms that catalogs accept.
#[derive(Debug, Clone)]
pub struct Change {
    /// Metadata of the table after the change.
    pub metadata: TableMetadata,
    /// The updates that lead to this metadata.
    pub updates: Vec<TableUpdate>,
    /// What the updates require of the current metadata.
    pub requirements: Vec<TableRequirement>,
}

/// A catalog of tables in one namespace.
pub trait Catalog: Send + Sync {
    /// Returns a table, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if it is unknown whether the table exists, or if its metadata cannot be read.
    fn load(&self, table: &str) -> Result<Option<Loaded>, IcebergError>;

    /// Creates a table without data.
    ///
    /// # Errors
    ///
    /// Fails if it is unknown whether the table was created.
    fn create(&self, table: &str, metadata: &TableMetadata) -> Result<Committed, IcebergError>;

    /// Changes a table, unless it was changed since it was loaded.
    ///
    /// # Errors
    ///
    /// Fails if it is unknown whether the table was changed.
    fn commit(
        &self,
        table: &str,
        base: &Loaded,
        change: &Change,
    ) -> Result<Committed, IcebergError>;
}

/// A catalog that stores the location of each table's metadata file, and replaces it by compare-and-swap.
pub trait Pointers: Send + Sync {
    /// Returns the location of a table's metadata, or `None` if the table does not exist.
    ///
    /// # Errors
    ///
    /// Fails if it is unknown whether the table exists.
    fn get(&self, table: &str) -> Result<Option<Pointer>, IcebergError>;

    /// Creates a table, unless it exists.
    ///
    /// # Errors
    ///
    /// Fails if it is unknown whether the table was created.
    fn insert(
        &self,
        table: &str,
        metadata: &TableMetadata,
        location: &str,
    ) -> Result<Committed, IcebergError>;

    /// Replaces the location of a table's metadata, unless it differs from `from`.
    ///
    /// # Errors
    ///
    /// Fails if it is unknown whether the location was replaced.
    fn swap(
        &self,
        table: &str,
        from: &Pointer,
        metadata: &TableMetadata,
        to: &str,
    ) -> Result<Committed, IcebergError>;
}

/// A catalog whose tables have metadata files that this program writes.
pub struct PointerCatalog<'f, P> {
    pointers: P,
    files: &'f Files,
}

impl<'f, P: Pointers> PointerCatalog<'f, P> {
    /// Returns a catalog that stores locations in `pointers`.
    pub fn new(pointers: P, files: &'f Files) -> Self {
        Self { pointers, files }
    }

    /// Writes a metadata file and returns its URL.
    fn write(&self, metadata: &TableMetadata, version: u64) -> Result<String, IcebergError> {
        let url = new_url(metadata.location(), &format!("{version:05}-"), ".metadata.json");
        let text = serde_json::to_vec(metadata).expect("metadata has plain values");
        self.files.create(&url, &text)?;
        Ok(url)
    }
}

impl<P: Pointers> Catalog for PointerCatalog<'_, P> {
    fn load(&self, table: &str) -> Result<Option<Loaded>, IcebergError> {
        let Some(pointer) = self.pointers.get(table)? else { return Ok(None) };
        let metadata = self.files.metadata(&pointer.location)?;
        Ok(Some(Loaded { metadata, pointer }))
    }

    fn create(&self, table: &str, metadata: &TableMetadata) -> Result<Committed, IcebergError> {
        let url = self.write(metadata, 0)?;
        self.pointers.insert(table, metadata, &url)
    }

    fn commit(
        &self,
        table: &str,
        base: &Loaded,
        change: &Change,
    ) -> Result<Committed, IcebergError> {
        let version = version_of(&base.pointer.location).map_or(0, |version| version + 1);
        let url = self.write(&change.metadata, version)?;
        self.pointers.swap(table, &base.pointer, &change.metadata, &url)
    }
}

/// Returns the number at the beginning of a metadata file's name.
fn version_of(location: &str) -> Option<u64> {
    let name = location.rsplit('/').next()?;
    name.split_once('-')?.0.parse().ok()
}
