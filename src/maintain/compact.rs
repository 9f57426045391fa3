//! Merges small files of a partition into larger ones for Iceberg tables.
//!
//! The small files remain in the table directories, so engines that read directories are not affected. The larger files
//! are below [`COMPACTED`], which these engines ignore. A [`Rewrite`] in the partition's log records which files a larger
//! file replaces. Publishing then replaces these files in the Iceberg tables.

mod combine;
mod merge;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::dataset::claim::{
    Appended, Hints, Log, Output, Record, Rewrite, State, TableFile, TableFiles,
};
use crate::dataset::file::INPUTS;
use crate::dataset::layout::{COMPACTED, Dataset, DatasetError};
use crate::dataset::publish;
use crate::encode::profile::Profile;
use crate::encode::{ArrowEncoder, Compression, Format, ROW_GROUP_ROWS, TableEncoder};
use crate::logs::key::Partition;
use crate::logs::reject;
use crate::logs::schema::SOURCE_KEY;
use crate::maintain::compact::merge::Merge;
use crate::maintain::groups::Groups;
use crate::plan::{PlanError, Selection};
use crate::store::{StagedFile, Writing};
use crate::util::hash::hex;
use crate::util::threads;

/// Maximum number of files that are merged at once.
const MAX_INPUTS: usize = 1000;
/// Maximum sum of [`memory`] of the files that are merged at once, in bytes.
const MAX_MEMORY: u64 = 768 << 20;
/// Memory in bytes that each open file needs besides its current row group.
const MEMORY_PER_FILE: u64 = 512 << 10;

/// A compaction that is ready to run.
pub struct Compaction<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// The partitions to compact.
    pub selection: &'a Selection,
    /// Approximate size of the new files in bytes. Files with less than three quarters of this size are small.
    pub target_file_size: u64,
    /// Minimum number of small files to replace with one file.
    pub min_files: usize,
    /// The Iceberg tables in which no files may be replaced, with the reasons.
    pub refused: &'a BTreeMap<String, String>,
    /// Whether to revert earlier compactions instead.
    pub revert: bool,
    /// Whether to write. Otherwise, only reports what would be done.
    pub write: bool,
    /// Number of files to open concurrently and of columns to encode concurrently; 0 for one per core.
    pub threads: usize,
    /// Stops the compaction when set. A file that is being written is discarded.
    pub stop: &'a AtomicBool,
}

/// Small files of a partition to replace with one file or, if the compaction is reverted, this one file. The JSON keys are
/// stable.
#[derive(Debug, Clone, Serialize)]
pub struct Replacement {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// Name of the table.
    pub table: String,
    /// Number of files that are replaced.
    pub files: u64,
    /// Number of rows in these files.
    pub rows: u64,
    /// Total size of these files in bytes.
    pub bytes: u64,
    /// Size of the new file in bytes, if it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_bytes: Option<u64>,
    /// Whether the change was recorded.
    pub done: bool,
    /// Why the files were not replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Files of one table to replace.
struct Group {
    table: String,
    files: Vec<Input>,
}

/// A file to replace.
#[derive(Clone)]
struct Input {
    output: Output,
    /// Names of the claims' files with the same rows.
    leaves: Vec<String>,
    /// Number of the last of these claims, and its settings.
    settings: (usize, String, Profile),
    /// Number of the entry that the file belongs to.
    number: usize,
}

impl Compaction<'_> {
    /// Compacts the selected partitions one by one, or reports what would be done. Partitions with unreadable claims are
    /// returned with an error. If `stop` is set, returns the replacements so far.
    ///
    /// # Errors
    ///
    /// Fails if the dataset cannot be read or written. All replacements that were recorded remain.
    pub fn run(&self) -> Result<Vec<Replacement>, PlanError> {
        threads::pool(self.threads)?.install(|| self.run_on_pool())
    }

    fn run_on_pool(&self) -> Result<Vec<Replacement>, PlanError> {
        let hints = Hints::list(self.dataset)?;
        let mut all = Vec::new();
        for partition in hints.partitions().filter(|each| self.selection.wants_partition(each)) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            match self.partition(partition, &hints, &mut all) {
                Err(PlanError::Interrupted) => break,
                Err(PlanError::Dataset(error)) if error.is_of_partition() => {
                    let group =
                        Group { table: partition.log_type.table().name.clone(), files: Vec::new() };
                    let error = Some(error.with_source());
                    all.push(Replacement { error, ..group.replacement(partition) });
                }
                result => result?,
            }
        }
        self.dataset.confirm()?;
        Ok(all)
    }

    fn partition(
        &self,
        partition: &Partition,
        hints: &Hints,
        all: &mut Vec<Replacement>,
    ) -> Result<(), PlanError> {
        let mut log = Log::read(self.dataset, partition, hints)?;
        log.forget_objects(1..=log.entries().len());
        if self.write {
            publish::finish(self.dataset, &mut log)?;
        }
        loop {
            let groups = if self.revert { reverted(&log) } else { self.groups(&log) };
            let are_any = !groups.is_empty();
            for group in groups {
                self.check_stop()?;
                let mut replacement = group.replacement(partition);
                if let Some(why) = self.refused.get(&group.table) {
                    replacement.error = Some(why.clone());
                } else if self.write {
                    match self.replace(&mut log, &group) {
                        Ok(size) => (replacement.done, replacement.new_bytes) = (true, size),
                        Err(error) => match error.downcast::<PlanError>() {
                            Ok(error) => return Err(error),
                            Err(error) => replacement.error = Some(format!("{error:#}")),
                        },
                    }
                }
                all.push(replacement);
            }
            // Reverting a compaction can restore files that are themselves results of a compaction.
            if !(self.write && self.revert && are_any && all.last().is_some_and(|last| last.done)) {
                return Ok(());
            }
        }
    }

    fn check_stop(&self) -> Result<(), PlanError> {
        if self.stop.load(Ordering::Relaxed) { Err(PlanError::Interrupted) } else { Ok(()) }
    }

    /// Returns the groups of small files to replace. Neighboring files in a group were claimed one after the other.
    fn groups(&self, log: &Log) -> Vec<Group> {
        let table_files = log.table_files().published();
        let is_small = |file: &&TableFile| {
            file.is_done && file.output.file.size < self.target_file_size / 4 * 3
        };
        let mut small: BTreeMap<&str, Vec<Input>> = BTreeMap::new();
        for file in table_files.current().filter(is_small) {
            small.entry(&file.output.table).or_default().push(Input::of(&table_files, file));
        }
        let mut groups = Vec::new();
        for (table, mut files) in small {
            files.sort_by(|a, b| (a.number, &a.leaves).cmp(&(b.number, &b.leaves)));
            let mut group = Group { table: table.to_owned(), files: Vec::new() };
            let (mut size, mut used) = (0, 0);
            for input in files {
                let (bytes, needed) = (input.output.file.size, memory(&input.output));
                let is_full = size + bytes > self.target_file_size
                    || used + needed > MAX_MEMORY
                    || group.files.len() == MAX_INPUTS;
                if is_full {
                    let next = Group { table: table.to_owned(), files: Vec::new() };
                    groups.push(std::mem::replace(&mut group, next));
                    (size, used) = (0, 0);
                }
                size += bytes;
                used += needed;
                group.files.push(input);
            }
            groups.push(group);
        }
        groups.retain(|group| group.files.len() >= self.min_files.max(2));
        groups
    }

    /// Writes and records a replacement. Returns the size of the new file, if there is one.
    ///
    /// # Errors
    ///
    /// Fails with a [`PlanError`] if the dataset cannot be used or `stop` is set, or with another error if the files
    /// cannot be replaced.
    fn replace(&self, log: &mut Log, group: &Group) -> anyhow::Result<Option<u64>> {
        let inputs = group.files.iter().map(|input| input.output.file.key.clone()).collect();
        let (run, version) = (self.dataset.run().to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let mut rewrite = Rewrite { run, version, inputs, output: None };
        let mut staged: Option<StagedFile> = None;
        if !self.revert {
            let (output, writing) = self.write(log.partition(), group)?;
            staged = Some(output.file.clone());
            rewrite.output = Some(output);
            // As soon as the rewrite might exist, any run can complete its output, so this run must not abort it.
            writing.keep();
        }
        let size = staged.as_ref().map(|file| file.size);
        let appended = log.append(self.dataset, Record::Rewrite(rewrite));
        match appended.map_err(PlanError::from)? {
            Appended::At(number) => {
                publish::publish(self.dataset, log, number).map_err(PlanError::from)?;
                match &log.entry(number).state {
                    State::Done => Ok(size),
                    State::Stuck(why) => anyhow::bail!("{why}"),
                    State::Open | State::Aborted => {
                        anyhow::bail!("the new file was lost before it was published")
                    }
                }
            }
            Appended::Lost => {
                if let Some(file) = staged {
                    // If this fails, `clean` deletes the file, because no entry names it.
                    let _ = self.dataset.target().discard(&file.staged);
                }
                anyhow::bail!("another run has replaced or removed some of these files")
            }
        }
    }

    /// Stages the file that replaces a group.
    fn write(&self, partition: &Partition, group: &Group) -> anyhow::Result<(Output, Writing)> {
        let dataset = self.dataset;
        let are_rejects = group.table == reject::TABLE;
        let table = partition.log_type.table();
        let file_schema = if are_rejects { reject::schema() } else { table.file_schema() };
        let open = |input: &Input| {
            let name = || dataset.target().name(&input.output.file.key);
            let groups = Groups::open(dataset, &input.output, true, |_| true).with_context(name)?;
            combine::check_columns(&groups.schema(), &file_schema).with_context(name)?;
            Ok(groups)
        };
        let opened = group.files.par_iter().map(open).collect::<anyhow::Result<Vec<_>>>()?;
        let mut merge = Merge::new(opened, SOURCE_KEY)?;
        let next = || {
            self.check_stop()?;
            merge.next()
        };
        let (format, bloom_filters) = group.format()?;
        let key = dataset.file(
            &format!("{COMPACTED}/{}", group.table),
            partition,
            &group.file_name(partition, dataset.run()),
        );
        let of_dataset = |error| PlanError::from(DatasetError::from(error));
        let writing = Writing::begin(dataset.target(), key).map_err(of_dataset)?;
        let facts = self.facts(partition, group);
        let (written, mut writing) = if are_rejects {
            let mut encoder = ArrowEncoder::new(reject::schema(), format, writing)?;
            let written = combine::copy(next, &file_schema, |batch| encoder.write(batch))?;
            (written, encoder.finish(&facts)?)
        } else {
            let encoder = TableEncoder::new(table, format, writing)?;
            let mut encoder = encoder.with_bloom_filters(&bloom_filters)?;
            let written = combine::copy(next, &table.batch_schema(), |batch| encoder.write(batch))?;
            (written, encoder.finish(&facts)?)
        };
        let rows = group.rows();
        ensure!(written == rows, "the files have {written} rows instead of {rows}");
        let file = writing.seal().map_err(of_dataset)?;
        Ok((Output { table: group.table.clone(), rows, file }, writing))
    }

    /// Returns the footer metadata of the new file.
    fn facts(&self, partition: &Partition, group: &Group) -> Vec<(&'static str, String)> {
        let leaves: Vec<&str> =
            group.files.iter().flat_map(|input| &input.leaves).map(String::as_str).collect();
        let mut facts = vec![
            ("alb2parquet.log_type", partition.log_type.to_string()),
            ("alb2parquet.rows", group.rows().to_string()),
            (INPUTS, leaves.join(",")),
        ];
        let redaction = self.dataset.redaction();
        if !redaction.is_empty() {
            facts.push(("alb2parquet.redaction", redaction.to_string()));
        }
        facts
    }
}

/// Estimates the memory that is needed to read a file, in bytes. All files are open at the same time. Each holds the bytes
/// of its current row group, and a decompressed page of each column. Together, they take up about three times the size of
/// the row group.
fn memory(output: &Output) -> u64 {
    let (rows, per_group) = (output.rows, ROW_GROUP_ROWS as u64);
    let group = output.file.size.saturating_mul(per_group) / rows.max(per_group);
    MEMORY_PER_FILE + group.saturating_mul(3)
}

/// Returns the results of compactions that are in effect, even if they are not published yet.
fn reverted(log: &Log) -> Vec<Group> {
    let files = log.table_files();
    let compacted = files.current().filter(|file| file.claim.is_none());
    let group = |file: &TableFile| {
        let (table, files) = (file.output.table.clone(), vec![Input::of(&files, file)]);
        Group { table, files }
    };
    compacted.map(group).collect()
}

impl Input {
    fn of<'a>(files: &TableFiles<'a>, file: &TableFile<'a>) -> Self {
        let leaves = files.leaves(file);
        let last = leaves.iter().max_by_key(|leaf| leaf.number);
        let settings = last.and_then(|leaf| {
            leaf.claim.map(|claim| (leaf.number, claim.settings.clone(), claim.profile))
        });
        Self {
            output: file.output.clone(),
            leaves: leaves.iter().map(|leaf| leaf.output.file.key.split().1.to_owned()).collect(),
            settings: settings.unwrap_or_default(),
            number: file.number,
        }
    }
}

impl Group {
    fn rows(&self) -> u64 {
        self.files.iter().map(|input| input.output.rows).sum()
    }

    fn replacement(&self, partition: &Partition) -> Replacement {
        Replacement {
            partition: partition.clone(),
            table: self.table.clone(),
            files: self.files.len() as u64,
            rows: self.rows(),
            bytes: self.files.iter().map(|input| input.output.file.size).sum(),
            new_bytes: None,
            done: false,
            error: None,
        }
    }

    /// Returns the format and the Bloom filters of the last claim in the group.
    fn format(&self) -> anyhow::Result<(Format, Vec<String>)> {
        let last =
            self.files.iter().map(|input| &input.settings).max_by_key(|(number, ..)| *number);
        let (_, settings, profile) = last.cloned().unwrap_or_default();
        let setting = |name: &str| {
            let pairs = settings.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let compression = match setting("compression") {
            None => Compression::default(),
            Some(name) => Compression::named(name)
                .with_context(|| format!("a claim has the unknown compression {name}"))?,
        };
        let filters = setting("bloom_filters")
            .map_or_else(Vec::new, |columns| columns.split(',').map(ToOwned::to_owned).collect());
        Ok((Format { profile, compression }, filters))
    }

    /// Returns the name of the new file: a hash of its inputs and the name of the run.
    fn file_name(&self, partition: &Partition, run: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(run.as_bytes());
        for input in &self.files {
            hash.update([0]);
            hash.update(input.output.file.key.as_bytes());
        }
        let name = hex(&hash.finalize()[..16]) + ".parquet";
        let are_rejects = self.table == reject::TABLE;
        if are_rejects { reject::file_name(partition.log_type, &name) } else { name }
    }
}
