//! Compares a table with the claims, and commits the difference as one snapshot.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use iceberg::TableRequirement;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestFile, Schema, Snapshot, Summary, TableMetadata,
};
use rayon::prelude::*;
use uuid::Uuid;

use crate::catalog::iceberg::claimed_files::{Claimed, Contents, DataFiles, Fingerprint};
use crate::catalog::iceberg::compacted::{
    compacted_inputs, deleted_rows, is_collected, table_of, unsafe_collection,
};
use crate::catalog::iceberg::definition::{Definition, mapping, values};
use crate::catalog::iceberg::manifests::{self, NewSnapshot};
use crate::catalog::iceberg::metrics::Footer;
use crate::catalog::iceberg::state::{DATASET, LOCATION, Recorded, State};
use crate::catalog::iceberg::summary::{self, Difference};
use crate::catalog::iceberg::table_catalog::{Change, Committed, Loaded};
use crate::catalog::iceberg::{Detail, IcebergError, Published, Publisher};
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::{DatasetError, below_compacted};
use crate::logs::key::Partition;
use crate::store::FileKey;

/// Number of data files per manifest. Their entries take up about 4 MB. Iceberg merges manifests that are smaller than
/// 8 MB (<https://iceberg.apache.org/docs/latest/configuration/>, `commit.manifest.target-size-bytes`).
const FILES_PER_MANIFEST: usize = 3000;

/// Result of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The table is up to date.
    Finished,
    /// The table was created without data, or another program created it.
    Created,
    /// Another program changed the table first.
    Conflict,
}

/// The attempts to publish one table.
pub(super) struct Attempt<'a> {
    publisher: &'a Publisher<'a>,
    definition: &'a Definition,
    /// The last snapshot that was committed with an unknown result, and what it adds and removes.
    unknown: Option<(i64, Difference)>,
}

/// What to change in a table.
struct Plan {
    state: State,
    /// Keys of the files to add, with their sizes and rows.
    added: BTreeMap<String, Claimed>,
    /// Keys of the files to remove.
    removed: BTreeSet<String>,
    /// Files that could not be added or removed, with the reasons.
    failures: Vec<String>,
    schema: Option<Schema>,
    /// Partitions in which compacted files are added or removed. Their files change together or not at all, because the
    /// same rows are in several files.
    indivisible: BTreeSet<Partition>,
}

impl Plan {
    /// Leaves a partition's files in the table unchanged.
    fn exclude(&mut self, partition: &Partition, of: impl Fn(&str) -> Option<Partition>) {
        let is_other = |key: &String| of(key).as_ref() != Some(partition);
        self.added.retain(|key, _| is_other(key));
        self.removed.retain(is_other);
    }
}

/// The content of a new snapshot, as far as it has been written.
struct Written<'p> {
    difference: Difference,
    /// The partitions that have changed.
    partitions: BTreeSet<Partition>,
    /// Keys of the dataset's files in the snapshot.
    own: BTreeSet<&'p str>,
    manifests: Vec<ManifestFile>,
}

impl<'p> Written<'p> {
    /// Returns the files of the current snapshot, without manifests.
    fn of(state: &'p State) -> Self {
        let own = state.own.keys().map(String::as_str).collect();
        let (difference, partitions) = (Difference::default(), BTreeSet::new());
        Self { difference, partitions, own, manifests: Vec::new() }
    }
}

impl<'a> Attempt<'a> {
    pub(super) fn new(publisher: &'a Publisher<'a>, definition: &'a Definition) -> Self {
        Self { publisher, definition, unknown: None }
    }

    /// Loads the table, and commits what differs from the claims. Adds the partitions of added files to `touched`.
    pub(super) fn run(
        &mut self,
        contents: &mut Contents,
        published: &mut Published,
        touched: &mut BTreeSet<Partition>,
    ) -> Result<Step, IcebergError> {
        let Publisher { catalog, options, .. } = *self.publisher;
        let name = &self.definition.name;
        let wanted = contents.of_table(name);
        published.failures.clear();
        let Some(loaded) = catalog.load(name)? else {
            if wanted.is_empty() {
                return Ok(Step::Finished);
            }
            if options.dry_run {
                published.created = true;
                published.added_files = wanted.len() as u64;
                published.added_rows = wanted.values().map(|claimed| claimed.rows).sum();
                return Ok(Step::Finished);
            }
            return Ok(match catalog.create(name, &self.create()?)? {
                Committed::Changed => {
                    published.created = true;
                    Step::Created
                }
                Committed::Conflict => Step::Conflict,
            });
        };
        let table = &loaded.metadata;
        if let Some((id, difference)) = self.unknown.take()
            && table.snapshot_by_id(id).is_some()
        {
            published.add(&difference);
        }
        self.check(table)?;
        let schema = self.definition.evolve(table)?;
        let recorded = Recorded::of(table);
        if let Some(Recorded { files, foreign, snapshot }) = recorded
            && schema.is_none()
            && snapshot == table.current_snapshot_id()
            && files == Fingerprint::of(wanted.keys().map(String::as_str))
        {
            (published.files, published.foreign_files) = (files.files(), foreign);
            if is_collected(table) && wanted.keys().any(|key| below_compacted(key).is_some()) {
                published.failures.push(unsafe_collection(name));
            }
            return Ok(Step::Finished);
        }
        let plan = self.plan(table, wanted, schema, contents)?;
        touched.extend(plan.added.keys().filter_map(|key| self.partition(key)));
        published.failures.clone_from(&plan.failures);
        published.foreign_files = plan.state.foreign;
        published.files = plan.state.own.len() as u64;
        if options.dry_run {
            published.added_files = plan.added.len() as u64;
            published.added_rows = plan.added.values().map(|claimed| claimed.rows).sum();
            published.removed_files = plan.removed.len() as u64;
            published.files += published.added_files;
            published.files -= published.removed_files;
            published.added_columns = added_columns(table, plan.schema.as_ref());
            return Ok(Step::Finished);
        }
        self.commit(&loaded, plan, contents.claims(), published)
    }

    fn partition(&self, key: &str) -> Option<Partition> {
        self.publisher.dataset.partition_of(key)
    }

    fn create(&self) -> Result<TableMetadata, IcebergError> {
        let Publisher { dataset, root, warehouse, .. } = *self.publisher;
        let own = [(DATASET, dataset.id()), (LOCATION, root)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let empty = Recorded { files: Fingerprint::default(), foreign: 0, snapshot: None };
        let location = format!("{warehouse}/{}", self.definition.name);
        self.definition.create(&location, own.into_iter().chain(empty.properties()))
    }

    /// Checks that a table belongs to the dataset.
    fn check(&self, table: &TableMetadata) -> Result<(), IcebergError> {
        let Publisher { dataset, root, .. } = *self.publisher;
        let name = || self.definition.name.clone();
        let property = |name| table.properties().get(name).map(String::as_str);
        let owner = match (property(DATASET), property(LOCATION)) {
            (Some(id), Some(location)) if id == dataset.id() && location == root => None,
            (Some(id), Some(location)) if id == dataset.id() => {
                Some(format!("a copy of this dataset in {location}"))
            }
            (Some(_), Some(location)) => Some(format!("the dataset in {location}")),
            _ => Some("another program".to_owned()),
        };
        if let Some(owner) = owner {
            return Err(IcebergError::Owner { table: name(), owner });
        }
        if table.format_version() != FormatVersion::V2 {
            let why = format!("its format version is {}, not v2", table.format_version());
            return Err(IcebergError::Differs { table: name(), why });
        }
        Ok(())
    }

    /// Compares a table with the claims.
    fn plan(
        &self,
        table: &TableMetadata,
        mut wanted: DataFiles,
        schema: Option<Schema>,
        contents: &mut Contents,
    ) -> Result<Plan, IcebergError> {
        let Publisher { dataset, files, root, options, .. } = *self.publisher;
        let name = &self.definition.name;
        let below = format!("{root}/");
        let key_of = |url: &str| {
            let key = url.strip_prefix(&below)?;
            (table_of(key) == Some(name.as_str()) && dataset.partition_of(key).is_some())
                .then(|| key.to_owned())
        };
        let state = State::read(files, table, key_of)?;
        let recorded = Recorded::of(table).map(|recorded| recorded.files);
        if recorded != Some(state.fingerprint()) && !options.add_missing {
            return Err(IcebergError::Changed {
                table: name.clone(),
                found: state.own.len() as u64,
                recorded: recorded.unwrap_or_default().files(),
            });
        }
        let superfluous = |wanted: &DataFiles| {
            let keys = state.own.keys().filter(|key| !wanted.contains_key(*key));
            keys.cloned().collect::<Vec<_>>()
        };
        let partitions = superfluous(&wanted);
        let partitions: BTreeSet<_> =
            partitions.iter().filter_map(|key| dataset.partition_of(key)).collect();
        if !partitions.is_empty() {
            contents.refresh(dataset, &partitions, self.publisher.stop)?;
            wanted = contents.of_table(name);
        }
        let (mut removed, mut failures, mut kept) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        let superfluous = superfluous(&wanted);
        for key in superfluous.iter().cloned() {
            let Some(partition) = dataset.partition_of(&key) else { continue };
            if contents.is_broken(&partition) {
                // The partition is reported as unreadable.
            } else if self.may_remove(contents, &partition, &key)? {
                removed.insert(key);
            } else {
                let file = dataset.target().name(&key);
                failures.push(format!("not removed: {file} exists, but no claim accounts for it"));
                kept.insert(partition);
            }
        }
        let added: BTreeMap<_, _> =
            wanted.into_iter().filter(|(key, _)| !state.own.contains_key(key)).collect();
        let all = superfluous.iter().chain(added.keys());
        let compacted = all.filter(|key| below_compacted(key).is_some());
        let indivisible = compacted.filter_map(|key| dataset.partition_of(key)).collect();
        let mut plan = Plan { state, added, removed, failures, schema, indivisible };
        for partition in kept.intersection(&plan.indivisible.clone()) {
            plan.exclude(partition, |key| self.partition(key));
        }
        self.check_collection(table, &mut plan);
        self.check_deletes(&mut plan)?;
        Ok(plan)
    }

    /// Excludes compactions from the plan if the table has row-level deletes, and reports them.
    fn check_deletes(&self, plan: &mut Plan) -> Result<(), DatasetError> {
        if plan.indivisible.is_empty() || !manifests::delete_rows(&plan.state.manifests) {
            return Ok(());
        }
        // A compaction keeps the files that it replaces. The files of a removed partition no longer exist, so the table
        // must not contain them.
        let mut compacted = BTreeSet::new();
        for key in &plan.removed {
            let Some(partition) = self.partition(key) else { continue };
            let is_open = plan.indivisible.contains(&partition) && !compacted.contains(&partition);
            if is_open && self.publisher.dataset.target().size(key)?.is_some() {
                compacted.insert(partition);
            }
        }
        if !compacted.is_empty() {
            plan.failures.push(deleted_rows(&self.definition.name));
        }
        for partition in compacted {
            plan.failures.push(format!(
                "not changed: {partition}: its compaction and its new files are not published while the table contains \
                 row-level deletes"
            ));
            plan.exclude(&partition, |key| self.partition(key));
        }
        Ok(())
    }

    /// Adds no compacted files to a table whose properties allow engines to delete the files that they replace, and
    /// reports such a table.
    fn check_collection(&self, table: &TableMetadata, plan: &mut Plan) {
        if !is_collected(table) {
            return;
        }
        let is_compacted = |key: &&String| below_compacted(key).is_some();
        let added: Vec<_> = plan.added.keys().filter(is_compacted).cloned().collect();
        let own = plan.state.own.keys().filter(is_compacted);
        let held = added.iter().filter_map(|key| self.partition(key)).collect::<BTreeSet<_>>();
        if own.filter(|key| !plan.removed.contains(*key)).count() + added.len() > 0 {
            plan.failures.push(unsafe_collection(&self.definition.name));
        }
        for partition in held {
            plan.failures.push(format!(
                "not changed: {partition}: its files, including new ones, are not published until the property is set, \
                 or the compaction is reverted"
            ));
            plan.exclude(&partition, |key| self.partition(key));
        }
    }

    /// Returns whether a file that the table need not contain can be removed from it.
    fn may_remove(
        &self,
        contents: &Contents,
        partition: &Partition,
        key: &str,
    ) -> Result<bool, DatasetError> {
        let target = self.publisher.dataset.target();
        if contents.is_former(partition, key) {
            return Ok(true);
        }
        let Some(size) = target.size(key)? else { return Ok(true) };
        // If the entry of a rewrite is lost, its inputs must be accounted for, because their rows are in its output.
        let Some(inputs) = compacted_inputs(self.publisher.dataset, key, size) else {
            return Ok(false);
        };
        for input in inputs {
            let is_accounted_for =
                contents.is_wanted(partition, &input) || contents.is_former(partition, &input);
            if !is_accounted_for && target.size(&input)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Commits a plan.
    fn commit(
        &mut self,
        loaded: &Loaded,
        mut plan: Plan,
        claims: u64,
        published: &mut Published,
    ) -> Result<Step, IcebergError> {
        let Publisher { dataset, catalog, files, .. } = *self.publisher;
        let name = &self.definition.name;
        let table = &loaded.metadata;
        let of_table = || format!("table {name}");
        let columns = added_columns(table, plan.schema.as_ref());
        let builder = table.clone().into_builder(Some(loaded.pointer.location.clone()));
        let builder = match &plan.schema {
            Some(schema) => builder.add_current_schema(schema.clone()).detail(of_table)?,
            None => builder,
        };
        // Manifests need the ID that the builder has assigned to the schema.
        let built = builder.build().detail(of_table)?;
        let (evolved, mut updates) = (built.metadata, built.changes);
        let id = (Uuid::new_v4().as_u64_pair().0 >> 1) as i64;
        let new = NewSnapshot {
            files,
            location: table.location(),
            id,
            parent: table.current_snapshot_id(),
            sequence_number: table.next_sequence_number(),
        };
        let mut written = Written::of(&plan.state);
        let failures = self.add(&new, &evolved, &plan.added, &mut written)?;
        let failed = failures.iter().map(|(partition, _)| partition);
        let excluded: BTreeSet<_> =
            failed.filter(|each| plan.indivisible.contains(each)).cloned().collect();
        if !excluded.is_empty() {
            drop(written);
            for partition in &excluded {
                plan.exclude(partition, |key| self.partition(key));
            }
            let of_excluded = failures.into_iter().filter(|(each, _)| excluded.contains(each));
            published.failures.extend(of_excluded.map(|(partition, why)| {
                format!("{why}; {partition} is not changed, because a compaction changes all of its files at once")
            }));
            return self.commit(loaded, plan, claims, published);
        }
        published.failures.extend(failures.into_iter().map(|(_, why)| why));
        self.keep(&new, &plan, &mut written)?;
        let Written { difference, partitions, own, manifests } = written;
        let is_changed = difference.added.files + difference.removed.files > 0;
        let fingerprint = Fingerprint::of(own.iter().copied());
        let (files, foreign) = (fingerprint, plan.state.foreign);
        let snapshot = if is_changed { Some(id) } else { table.current_snapshot_id() };
        let record = Recorded { files, foreign, snapshot };
        if !is_changed && columns.is_empty() && Recorded::of(table) == Some(record) {
            return Ok(Step::Finished);
        }
        let mut builder = evolved.clone().into_builder(None);
        if is_changed {
            let mut summary = summary::of(table, &difference, partitions.len());
            let own = [
                ("alb2parquet.run", dataset.run()),
                ("alb2parquet.version", env!("CARGO_PKG_VERSION")),
            ];
            summary.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
            summary.insert("alb2parquet.claims".to_owned(), claims.to_string());
            let snapshot = Snapshot::builder()
                .with_snapshot_id(id)
                .with_parent_snapshot_id(new.parent)
                .with_sequence_number(new.sequence_number)
                // The clock of another machine may be ahead.
                .with_timestamp_ms(Utc::now().timestamp_millis().max(table.last_updated_ms()))
                .with_manifest_list(new.list(manifests)?)
                .with_summary(Summary {
                    operation: summary::operation(&difference),
                    additional_properties: summary,
                })
                .with_schema_id(evolved.current_schema_id())
                .build();
            builder = builder.set_branch_snapshot(snapshot, MAIN_BRANCH).detail(of_table)?;
        }
        let properties = record.properties().into_iter();
        let properties =
            properties.chain((!columns.is_empty()).then(|| mapping(evolved.current_schema())));
        let builder = builder.set_properties(properties.collect()).detail(of_table)?;
        let built = builder.build().detail(of_table)?;
        updates.extend(built.changes);
        let requirements = requirements(table);
        let change = Change { metadata: built.metadata, updates, requirements };
        self.unknown = is_changed.then_some((id, difference));
        let committed = catalog.commit(name, loaded, &change)?;
        if committed == Committed::Conflict {
            // The conflict may be with this very commit, if a server repeated it. So `unknown` stays set.
            return Ok(Step::Conflict);
        }
        self.unknown = None;
        published.add(&difference);
        published.added_columns.extend(columns);
        published.files = fingerprint.files();
        Ok(Step::Finished)
    }

    /// Writes manifests of the added files. Returns the files whose footers cannot be read, with their partitions.
    fn add<'p>(
        &self,
        new: &NewSnapshot,
        table: &TableMetadata,
        added: &'p BTreeMap<String, Claimed>,
        written: &mut Written<'p>,
    ) -> Result<Vec<(Partition, String)>, IcebergError> {
        let mut failures = Vec::new();
        for chunk in self.in_order(added).chunks(FILES_PER_MANIFEST) {
            let read = |(partition, key, claimed): &(Partition, &String, &Claimed)| {
                self.entry(table, partition, key, claimed)
            };
            let read: Vec<Result<DataFile, String>> = chunk.par_iter().map(read).collect();
            let mut entries = Vec::new();
            for ((partition, key, _), entry) in chunk.iter().zip(read) {
                match entry {
                    Ok(entry) => {
                        written.difference.added.add(&entry);
                        written.partitions.insert(partition.clone());
                        written.own.insert(key);
                        entries.push(entry);
                    }
                    Err(why) => failures.push((partition.clone(), format!("not added: {why}"))),
                }
            }
            if !entries.is_empty() {
                let (schema, spec) = (table.current_schema(), table.default_partition_spec());
                written.manifests.push(new.add(schema, spec, entries)?);
            }
        }
        Ok(failures)
    }

    /// Keeps the manifests of the current snapshot, and writes those again that list removed files.
    fn keep(
        &self,
        new: &NewSnapshot,
        plan: &Plan,
        written: &mut Written,
    ) -> Result<(), IcebergError> {
        let rewritten = plan.state.manifests_of(&plan.removed);
        let below = format!("{}/", self.publisher.root);
        for (index, manifest) in plan.state.manifests.iter().enumerate() {
            if rewritten.contains(&index) {
                let manifest = new.rewrite(manifest, |file| {
                    let key = file.file_path().strip_prefix(&below);
                    let Some(key) = key.filter(|key| plan.removed.contains(*key)) else {
                        return false;
                    };
                    written.difference.removed.add(file);
                    written.partitions.extend(self.partition(key));
                    written.own.remove(key);
                    true
                })?;
                written.manifests.push(manifest);
            } else if !manifests::has_data(manifest) || manifests::is_live(manifest) {
                written.manifests.push(manifest.clone());
            }
        }
        Ok(())
    }

    /// Returns the files to add, with their partitions, ordered by day: most queries select days.
    fn in_order<'k>(
        &self,
        added: &'k BTreeMap<String, Claimed>,
    ) -> Vec<(Partition, &'k String, &'k Claimed)> {
        let each = added.iter();
        let mut files: Vec<_> =
            each.filter_map(|(key, claimed)| Some((self.partition(key)?, key, claimed))).collect();
        let order = |(partition, key, _): &(Partition, &'k String, &'k Claimed)| {
            (partition.day, partition.account.clone(), partition.region.clone(), *key)
        };
        files.sort_by_cached_key(order);
        files
    }

    /// Reads the footer of a data file, and returns the file's entry in a manifest.
    fn entry(
        &self,
        table: &TableMetadata,
        partition: &Partition,
        key: &str,
        claimed: &Claimed,
    ) -> Result<DataFile, String> {
        let Publisher { dataset, root, .. } = *self.publisher;
        let name = dataset.target().name(key);
        let parsed = FileKey::parse(key).map_err(|error| error.to_string())?;
        let file = PublishedFile::of(dataset, parsed, claimed.size);
        let metadata =
            file.footer().map_err(|error| format!("{name}: its footer cannot be read: {error}"))?;
        let url = format!("{root}/{key}");
        let footer = Footer { url: &url, size: claimed.size, metadata: &metadata };
        if footer.rows() != claimed.rows {
            return Err(format!(
                "{name} has {} rows, but its claim has {}",
                footer.rows(),
                claimed.rows
            ));
        }
        let spec = table.default_partition_spec_id();
        let entry = footer.entry(table.current_schema(), spec, values(partition));
        entry.map_err(|why| format!("{name} {why}"))
    }
}

impl Published {
    fn add(&mut self, difference: &Difference) {
        self.added_files += difference.added.files;
        self.added_rows += difference.added.rows;
        self.removed_files += difference.removed.files;
        self.removed_rows += difference.removed.rows;
    }
}

/// Returns the columns that a new schema adds to a table.
fn added_columns(table: &TableMetadata, schema: Option<&Schema>) -> Vec<String> {
    let fields = schema.map_or(&[][..], |schema| schema.as_struct().fields());
    let is_new = |name: &str| table.current_schema().field_id_by_name(name).is_none();
    fields.iter().filter(|field| is_new(&field.name)).map(|field| field.name.clone()).collect()
}

/// Returns what a commit requires of the table: that it has not changed since it was loaded.
fn requirements(table: &TableMetadata) -> Vec<TableRequirement> {
    vec![
        TableRequirement::UuidMatch { uuid: table.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_owned(),
            snapshot_id: table.current_snapshot_id(),
        },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: table.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch {
            last_assigned_field_id: table.last_column_id(),
        },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: table.default_partition_spec_id() },
    ]
}
