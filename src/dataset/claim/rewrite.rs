//! Rewrites: larger files that replace small files of a partition in Iceberg tables.
//!
//! A rewrite names its inputs by key, and its output. The inputs remain where they are, for engines that read
//! directories. The output is below [`COMPACTED`], which these engines ignore. A rewrite takes effect if it is not
//! aborted, each of its inputs is in effect when the rewrite is appended, and the numbers of rows match. Its output then
//! replaces the inputs, so of two rewrites with a common input, only the first can take effect. A removal ends all
//! rewrites before it. A rewrite without an output reverts earlier rewrites: their inputs are in effect
//! again. Until a rewrite is done, tables contain its inputs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::dataset::claim::record::MAX_SUM;
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

/// A row or reject file of a claim, or the output of a rewrite.
#[derive(Debug, Clone, Copy)]
pub struct TableFile<'a> {
    /// The file.
    pub output: &'a Output,
    /// Number of the entry that the file belongs to.
    pub number: usize,
    /// The claim that the file belongs to. `None` for the output of a rewrite.
    pub claim: Option<&'a Claim>,
    /// Whether the file is published. A file that a rewrite replaces was published before.
    pub is_done: bool,
}

/// The row and reject files of a log.
#[derive(Debug, Default)]
pub struct TableFiles<'a> {
    /// Files in effect, by key.
    current: BTreeMap<&'a str, TableFile<'a>>,
    /// Files that rewrites in effect replace, by the keys of the rewrites' outputs. The lists are not nested, because a
    /// forged log can contain any number of rewrites of rewrites.
    replaced: BTreeMap<&'a str, Vec<TableFile<'a>>>,
    /// Keys of files that are not in effect.
    former: BTreeSet<&'a str>,
    /// Numbers of the rewrites that contradict the entries before them. They have no effect.
    invalid: Vec<usize>,
}

impl Rewrite {
    /// Describes why a rewrite is invalid by itself, if it is: a file outside its partition or table, a repeated input, or
    /// an impossible size.
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
        let Output { file, rows, .. } = self.output.as_ref()?;
        if file.size.saturating_add(*rows) > MAX_SUM {
            return Some("its counts are impossible".to_owned());
        }
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

impl<'a> TableFiles<'a> {
    /// Returns the files in effect. A file of the list might not be published yet.
    pub fn current(&self) -> impl Iterator<Item = &TableFile<'a>> {
        self.current.values()
    }

    /// Returns the keys of files that are not in effect: those of removed or aborted claims, replaced files, and outputs
    /// of rewrites that are not in effect.
    pub fn former(&self) -> impl Iterator<Item = &'a str> {
        self.former.iter().copied()
    }

    /// Returns the numbers of the rewrites that contradict the entries before them. They have no effect.
    pub fn invalid(&self) -> &[usize] {
        &self.invalid
    }

    /// Returns the claims' files whose rows a file contains, with the numbers of their claims. For a claim's
    /// file, returns the file itself.
    pub fn leaves(&self, file: &TableFile<'a>) -> Vec<TableFile<'a>> {
        let (mut leaves, mut open) = (Vec::new(), vec![*file]);
        while let Some(file) = open.pop() {
            match self.replaced.get(&*file.output.file.key) {
                Some(inputs) => open.extend(inputs.iter().rev()),
                None => leaves.push(file),
            }
        }
        leaves
    }

    /// Replaces the outputs of rewrites that are not done with their inputs, so that all files in effect are published,
    /// except those of claims that are not done.
    #[must_use]
    pub fn published(mut self) -> Self {
        let open = self.current.values().filter(|file| file.claim.is_none() && !file.is_done);
        let open: Vec<&str> = open.map(|file| &*file.output.file.key).collect();
        for key in open {
            self.current.remove(key);
            self.former.insert(key);
            self.restore(key);
        }
        self
    }

    /// Returns whether a rewrite could be in effect after the current entries.
    fn allows(&self, rewrite: &Rewrite) -> bool {
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

    /// Returns whether a rewrite in effect replaces a file.
    fn replaces(&self, key: &str) -> bool {
        self.replaced.values().flatten().any(|input| *input.output.file.key == *key)
    }

    fn apply(&mut self, number: usize, rewrite: &'a Rewrite, is_done: bool) {
        let mut inputs = Vec::new();
        for key in &rewrite.inputs {
            let input = self.current.remove(&**key).expect("`allows` has found it");
            // Only files that were published are replaced, even if their `done` markers are lost.
            inputs.push(TableFile { is_done: true, ..input });
            self.former.insert(key);
        }
        match &rewrite.output {
            Some(output) => {
                let key = &*output.file.key;
                self.replaced.insert(key, inputs);
                self.current.insert(key, TableFile { output, number, claim: None, is_done });
            }
            None => rewrite.inputs.iter().for_each(|key| self.restore(key)),
        }
    }

    /// Restores the files that the output of a rewrite replaces.
    fn restore(&mut self, output: &str) {
        for input in self.replaced.remove(output).unwrap_or_default() {
            let key = &*input.output.file.key;
            self.former.remove(key);
            self.current.insert(key, input);
        }
    }
}

impl Log {
    /// Returns the files that Iceberg tables contain when all entries of the log are done. Originals files are not
    /// included.
    ///
    /// A rewrite that is not done is in effect too: a later rewrite may replace its output, and then only its `done`
    /// marker is lost. `TableFiles::published` returns what tables contain in the meantime.
    pub fn table_files(&self) -> TableFiles<'_> {
        let mut files = TableFiles::default();
        for (number, entry) in (1..).zip(self.entries()) {
            let is_done = entry.state == State::Done;
            match &entry.record {
                Record::Add(claim) => {
                    for output in claim.outputs.iter().filter(|output| !output.has_originals()) {
                        let key = &*output.file.key;
                        if entry.state == State::Aborted {
                            files.former.insert(key);
                            continue;
                        }
                        // A forged claim can name the file of another claim.
                        if files.replaces(key) {
                            continue;
                        }
                        files.former.remove(key);
                        let file = TableFile { output, number, claim: Some(claim), is_done };
                        files.current.insert(key, file);
                    }
                }
                Record::Remove(_) => {
                    files.former.extend(std::mem::take(&mut files.current).into_keys());
                    files.replaced.clear();
                    files.invalid.clear();
                }
                Record::Amend(_) => {}
                Record::Rewrite(rewrite) => {
                    if entry.state != State::Aborted {
                        if files.allows(rewrite) {
                            files.apply(number, rewrite, is_done);
                            continue;
                        }
                        files.invalid.push(number);
                    }
                    let output = rewrite.output.iter().map(|output| &*output.file.key);
                    files.former.extend(output.filter(|key| !files.current.contains_key(key)));
                }
            }
        }
        files
    }

    /// Returns whether a rewrite could be in effect after the current entries.
    pub(super) fn allows(&self, rewrite: &Rewrite) -> bool {
        self.table_files().allows(rewrite)
    }
}
