//! Rewrites: larger files that replace small files of a partition in Iceberg tables.
//!
//! A rewrite names its inputs by key, and its output. The inputs remain where they are, for engines that read
//! directories. The output is below [`COMPACTED`], which these engines ignore. A rewrite is in effect if it is done and
//! each of its inputs is in effect, so a removal ends the rewrites before it. If two rewrites have an input in common,
//! only the first can be in effect. A rewrite without an output reverts earlier rewrites: their inputs are in effect
//! again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::dataset::claim::{Claim, Log, Output, Record, State};
use crate::dataset::layout::{COMPACTED, Dataset};
use crate::logs::key::Partition;
use crate::logs::reject;
use crate::store::{FileKey, Staged};

/// Replaces files with one file, or reverts earlier rewrites.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rewrite {
    /// Name of the run that created the rewrite.
    pub run: String,
    /// Version of the program that created the rewrite.
    pub version: String,
    /// Keys of the files to replace: files of claims, or outputs of earlier rewrites.
    pub inputs: Vec<FileKey>,
    /// The file that contains the rows of all inputs. Without it, each input is the output of an earlier rewrite, which
    /// is reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

/// A file in effect: the file of a claim, or the output of a rewrite.
#[derive(Debug, Clone)]
pub struct TableFile<'a> {
    /// The file.
    pub output: &'a Output,
    /// Number of the entry that the file belongs to.
    pub number: usize,
    /// The claim that the file belongs to. `None` for the output of a rewrite.
    pub claim: Option<&'a Claim>,
    /// Whether the file is published. A file that a rewrite replaces was published before.
    pub is_done: bool,
    /// The files that the output of a rewrite replaces.
    pub inputs: Vec<Self>,
}

/// The row and reject files of a log.
#[derive(Debug, Default)]
pub struct TableFiles<'a> {
    /// Files in effect, by key.
    pub current: BTreeMap<&'a str, TableFile<'a>>,
    /// Keys of files that are not in effect: those of removed or aborted claims, replaced files, and outputs of
    /// rewrites that are not in effect.
    pub former: BTreeSet<&'a str>,
    /// Numbers of the rewrites that are done but contradict the other entries. They have no effect.
    pub invalid: Vec<usize>,
}

impl Rewrite {
    /// Describes what is wrong with a rewrite by itself, if anything: files outside of the partition or of one table,
    /// or repeated inputs.
    pub(super) fn fault(&self, dataset: &Dataset, partition: &Partition) -> Option<String> {
        let own = partition.log_type.table().name.as_str();
        let directories = |table: &str| {
            let directory = dataset.partition(table, partition);
            [format!("{COMPACTED}/{directory}"), directory]
        };
        let is_in = |key: &FileKey, table: &str| {
            let (directory, name) = key.split();
            let is_own_reject =
                table != reject::TABLE || reject::log_type(name) == Some(partition.log_type);
            directories(table).iter().any(|each| each == directory) && is_own_reject
        };
        let table = match &self.output {
            Some(output) => [own, reject::TABLE].into_iter().find(|table| *table == output.table),
            None => [own, reject::TABLE]
                .into_iter()
                .find(|table| self.inputs.first().is_some_and(|key| is_in(key, table))),
        };
        let Some(table) = table else {
            return Some("it names no table of its partition".to_owned());
        };
        if let Some(key) = self.inputs.iter().find(|key| !is_in(key, table)) {
            return Some(format!("it names {key}, which is not a file of its partition"));
        }
        if self.inputs.iter().collect::<BTreeSet<_>>().len() != self.inputs.len() {
            return Some("it names a file twice".to_owned());
        }
        let Output { file, .. } = self.output.as_ref()?;
        if !is_in(&file.key, table) || !file.key.starts_with(COMPACTED) {
            return Some(format!("it writes {}, which is not a compacted file", file.key));
        }
        match &file.staged {
            Staged::Upload { key, .. } if *key != file.key => {
                Some(format!("it names an upload of {key} for {}", file.key))
            }
            _ => None,
        }
    }
}

impl TableFile<'_> {
    /// Returns the claims' files whose rows the file contains, with their claims.
    pub fn leaves(&self) -> Vec<(&Output, &Claim)> {
        match self.claim {
            Some(claim) => vec![(self.output, claim)],
            None => self.inputs.iter().flat_map(TableFile::leaves).collect(),
        }
    }
}

impl<'a> TableFiles<'a> {
    /// Returns whether a rewrite could be in effect after the current entries.
    pub fn allows(&self, rewrite: &Rewrite) -> bool {
        let inputs = rewrite.inputs.iter().map(|key| self.current.get(&**key));
        let Some(inputs) = inputs.collect::<Option<Vec<_>>>() else { return false };
        match &rewrite.output {
            Some(output) => {
                let rows =
                    inputs.iter().map(|input| input.output.rows).fold(0, u64::saturating_add);
                let is_new = !self.current.contains_key(&*output.file.key)
                    && !self.former.contains(&*output.file.key);
                !inputs.is_empty() && is_new && rows == output.rows
            }
            None => inputs.iter().all(|input| input.claim.is_none()),
        }
    }

    fn apply(&mut self, number: usize, rewrite: &'a Rewrite) {
        let take = |key: &FileKey| self.current.remove(&**key).expect("`allows` has found it");
        let mut inputs: Vec<TableFile> = rewrite.inputs.iter().map(take).collect();
        self.former.extend(rewrite.inputs.iter().map(|key| &**key));
        match &rewrite.output {
            Some(output) => {
                for input in &mut inputs {
                    input.is_done = true;
                }
                let file = TableFile { output, number, claim: None, is_done: true, inputs };
                self.current.insert(&output.file.key, file);
            }
            None => {
                for input in inputs.into_iter().flat_map(|input| input.inputs) {
                    let key = &*input.output.file.key;
                    self.former.remove(key);
                    self.current.insert(key, input);
                }
            }
        }
    }
}

impl Log {
    /// Returns the files that Iceberg tables contain according to the entries of the log. Originals files are not
    /// included.
    pub fn table_files(&self) -> TableFiles<'_> {
        self.files_with(|state| *state == State::Done)
    }

    /// Returns whether a rewrite could be in effect after the current entries, whichever of the open rewrites before it
    /// are done.
    pub(super) fn allows(&self, rewrite: &Rewrite) -> bool {
        self.files_with(|state| *state != State::Aborted).allows(rewrite)
    }

    /// Returns the files in effect if the rewrites whose state `counts` are done.
    fn files_with(&self, counts: impl Fn(&State) -> bool) -> TableFiles<'_> {
        let mut files = TableFiles::default();
        for (number, entry) in (1..).zip(self.entries()) {
            match &entry.record {
                Record::Add(claim) => {
                    for output in claim.outputs.iter().filter(|output| !output.has_originals()) {
                        let key = &*output.file.key;
                        if entry.state == State::Aborted {
                            files.former.insert(key);
                            continue;
                        }
                        let is_done = entry.state == State::Done;
                        let (claim, inputs) = (Some(claim), Vec::new());
                        files.former.remove(key);
                        let file = TableFile { output, number, claim, is_done, inputs };
                        files.current.insert(key, file);
                    }
                }
                Record::Remove(_) => {
                    files.former.extend(std::mem::take(&mut files.current).into_keys());
                    files.invalid.clear();
                }
                Record::Amend(_) => {}
                Record::Rewrite(rewrite) => {
                    if counts(&entry.state) && files.allows(rewrite) {
                        files.apply(number, rewrite);
                        continue;
                    }
                    if entry.state == State::Done {
                        files.invalid.push(number);
                    }
                    let output = rewrite.output.iter().map(|output| &*output.file.key);
                    let output: Vec<_> =
                        output.filter(|key| !files.current.contains_key(key)).collect();
                    files.former.extend(output);
                }
            }
        }
        files
    }
}
