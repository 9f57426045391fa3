//! Manifests and manifest lists: Avro files that list the data files of a snapshot.
//!
//! The Iceberg crate writes to asynchronous files. Here, these files are in memory, so their futures never wait, and
//! the bytes are then stored like any other file.

use std::sync::Arc;

use futures::executor::block_on;
use iceberg::io::{FileIO, OutputFile};
use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestList,
    ManifestListWriter, ManifestMetadata, ManifestStatus, ManifestWriter, ManifestWriterBuilder,
    PartitionSpec, SchemaRef, Snapshot,
};

use crate::catalog::iceberg::metadata_files::{Files, new_url};
use crate::catalog::iceberg::{Detail, IcebergError};

/// Name of a file in memory.
const MEMORY: &str = "memory:/file";

/// A data file in a manifest of the current snapshot.
#[derive(Debug, Clone)]
pub(super) struct Live {
    /// The data file.
    pub(super) file: DataFile,
    /// ID of the snapshot that added the file.
    snapshot_id: i64,
    sequence_number: i64,
    file_sequence_number: i64,
}

/// IDs of a new snapshot, and where its files are stored.
#[derive(Clone, Copy)]
pub(super) struct NewSnapshot<'a> {
    /// The stores.
    pub(super) files: &'a Files,
    /// Location of the table.
    pub(super) location: &'a str,
    /// ID of the snapshot.
    pub(super) id: i64,
    /// ID of the snapshot that it replaces.
    pub(super) parent: Option<i64>,
    /// Sequence number of the snapshot.
    pub(super) sequence_number: i64,
}

/// Reads the manifest list of a snapshot.
///
/// # Errors
///
/// Fails if the manifest list cannot be read.
pub(super) fn list(files: &Files, snapshot: &Snapshot) -> Result<Vec<ManifestFile>, IcebergError> {
    let url = snapshot.manifest_list();
    let bytes = files.read(url)?;
    let list = ManifestList::parse_with_version(&bytes, FormatVersion::V2);
    Ok(list.detail(|| url.to_owned())?.consume_entries().into_iter().collect())
}

/// Returns whether a manifest lists data files, rather than delete files.
pub(super) fn has_data(manifest: &ManifestFile) -> bool {
    manifest.content == ManifestContentType::Data
}

/// Returns whether a snapshot contains row-level deletes (<https://iceberg.apache.org/spec/#row-level-deletes>).
pub(super) fn delete_rows(manifests: &[ManifestFile]) -> bool {
    manifests.iter().any(|manifest| !has_data(manifest) && is_live(manifest))
}

/// Returns whether a manifest lists files that are part of the table.
pub(super) fn is_live(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

/// Parses a manifest. Returns its data files that are part of the table, and the manifest's metadata.
///
/// # Errors
///
/// Fails if the manifest is invalid.
pub(super) fn parse(
    manifest: &ManifestFile,
    bytes: &[u8],
) -> Result<(Vec<Live>, ManifestMetadata), IcebergError> {
    let parsed = Manifest::parse_avro(bytes).detail(|| manifest.manifest_path.clone())?;
    let (entries, metadata) = parsed.into_parts();
    let mut live = Vec::new();
    for entry in entries {
        if entry.status == ManifestStatus::Deleted {
            continue;
        }
        // New entries inherit these numbers from the manifest list
        // (<https://iceberg.apache.org/spec/#sequence-number-inheritance>).
        let inherited = manifest.sequence_number;
        live.push(Live {
            snapshot_id: entry.snapshot_id.unwrap_or(manifest.added_snapshot_id),
            sequence_number: entry.sequence_number.unwrap_or(inherited),
            file_sequence_number: entry.file_sequence_number.unwrap_or(inherited),
            file: Arc::unwrap_or_clone(entry).data_file,
        });
    }
    Ok((live, metadata))
}

impl NewSnapshot<'_> {
    /// Writes a manifest of added data files.
    ///
    /// # Errors
    ///
    /// Fails if the manifest cannot be written.
    pub(super) fn add(
        &self,
        schema: &SchemaRef,
        spec: &PartitionSpec,
        added: Vec<DataFile>,
    ) -> Result<ManifestFile, IcebergError> {
        // The sequence number is inherited, because it changes if the commit is repeated.
        const INHERITED: i64 = -1;
        self.write(schema, spec, |writer| {
            added.into_iter().try_for_each(|file| writer.add_file(file, INHERITED))
        })
    }

    /// Writes a manifest again, with some of its data files removed.
    ///
    /// # Errors
    ///
    /// Fails if the manifest cannot be read or written.
    pub(super) fn rewrite(
        &self,
        manifest: &ManifestFile,
        mut is_removed: impl FnMut(&DataFile) -> bool,
    ) -> Result<ManifestFile, IcebergError> {
        let (live, metadata) = parse(manifest, &self.files.read(&manifest.manifest_path)?)?;
        self.write(&metadata.schema, &metadata.partition_spec, |writer| {
            for Live { file, snapshot_id, sequence_number, file_sequence_number } in live {
                let file_sequence_number = Some(file_sequence_number);
                if is_removed(&file) {
                    writer.add_delete_file(file, sequence_number, file_sequence_number)?;
                } else {
                    writer.add_existing_file(
                        file,
                        snapshot_id,
                        sequence_number,
                        file_sequence_number,
                    )?;
                }
            }
            Ok(())
        })
    }

    fn write(
        &self,
        schema: &SchemaRef,
        spec: &PartitionSpec,
        add: impl FnOnce(&mut ManifestWriter) -> iceberg::Result<()>,
    ) -> Result<ManifestFile, IcebergError> {
        let url = new_url(self.location, "", "-m0.avro");
        let (io, output) = memory(&url)?;
        let (schema, spec) = (SchemaRef::clone(schema), spec.clone());
        let mut writer =
            ManifestWriterBuilder::new(output, Some(self.id), schema, spec).build_v2_data();
        add(&mut writer).detail(|| url.clone())?;
        let mut manifest = block_on(writer.write_manifest_file()).detail(|| url.clone())?;
        self.store(&io, &url)?;
        manifest.manifest_path = url;
        Ok(manifest)
    }

    /// Writes the manifest list of the snapshot and returns its URL.
    ///
    /// # Errors
    ///
    /// Fails if the list cannot be written.
    pub(super) fn list(&self, manifests: Vec<ManifestFile>) -> Result<String, IcebergError> {
        let url = new_url(self.location, &format!("snap-{}-1-", self.id), ".avro");
        let (io, output) = memory(&url)?;
        let writer = block_on(output.writer()).detail(|| url.clone())?;
        let mut list = ManifestListWriter::v2(writer, self.id, self.parent, self.sequence_number);
        list.add_manifests(manifests.into_iter()).detail(|| url.clone())?;
        block_on(list.close()).detail(|| url.clone())?;
        self.store(&io, &url)?;
        Ok(url)
    }

    /// Stores a file that was written to memory.
    fn store(&self, io: &FileIO, url: &str) -> Result<(), IcebergError> {
        let read = async { io.new_input(MEMORY)?.read().await };
        let bytes = block_on(read).detail(|| url.to_owned())?;
        self.files.create(url, &bytes)
    }
}

/// Returns an empty file in memory.
fn memory(url: &str) -> Result<(FileIO, OutputFile), IcebergError> {
    let io = FileIO::new_with_memory();
    let output = io.new_output(MEMORY).detail(|| url.to_owned())?;
    Ok((io, output))
}
