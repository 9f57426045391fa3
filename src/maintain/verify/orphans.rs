//! Reports files in the dataset that belong to no claim.

use std::collections::{BTreeMap, BTreeSet};

use crate::dataset::claim::{Hints, Log};
use crate::dataset::data_files::DataFiles;
use crate::dataset::layout::{Dataset, DatasetError, is_hidden};
use crate::logs::key::Partition;
use crate::maintain::verify::{Finding, Report};
use crate::plan::Remedy;

/// The claims of a dataset, sorted by partition. They must be read after the dataset's files are listed.
pub(super) struct Orphans<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) logs: &'a [Log],
}

impl Orphans<'_> {
    /// Reports files in the table directories that belong to no claim. Adds their partitions to `unknown`.
    pub(super) fn find(
        &self,
        files: &DataFiles,
        unknown: &mut BTreeMap<Partition, Remedy>,
        report: &mut Report,
    ) -> Result<(), DatasetError> {
        let mut partitions = BTreeSet::new();
        for key in files.keys() {
            let partition = self.dataset.partition_of(&key).filter(|_| !is_hidden(&key));
            if let Some(partition) = partition {
                partitions.insert(partition);
            } else {
                let problem = "is in a table's directory, but is not a file of a partition";
                self.report(&key, problem, Remedy::Move, report);
            }
        }
        partitions.retain(|partition| !unknown.contains_key(partition));
        for partition in partitions {
            let orphans = |log: &Log| files.unaccounted(self.dataset, log, false);
            for key in self.confirmed(&partition, orphans)? {
                let problem = "is in a table's directory, but in no claim";
                self.report(&key, problem, Remedy::RepairOrMove, report);
                unknown.insert(partition.clone(), Remedy::Repair);
            }
        }
        Ok(())
    }

    /// Reports originals files that belong to no claim and to no other file. Skips partitions in `unknown`.
    pub(super) fn find_originals(
        &self,
        originals: &DataFiles,
        unknown: &BTreeMap<Partition, Remedy>,
        report: &mut Report,
    ) -> Result<(), DatasetError> {
        let mut partitions = BTreeSet::new();
        for key in originals.keys() {
            if let Some(partition) = self.dataset.partition_of(&key) {
                partitions.insert(partition);
            } else {
                let problem = "is in the directory of originals, but belongs to no partition";
                self.report(&key, problem, Remedy::Investigate, report);
            }
        }
        partitions.retain(|partition| !unknown.contains_key(partition));
        for partition in partitions {
            let orphans = |log: &Log| originals.orphan_originals(self.dataset, log);
            for key in self.confirmed(&partition, orphans)? {
                let problem = "is an originals file that belongs to no claim, and to no file of rows or rejects";
                self.report(&key, problem, Remedy::Clean, report);
            }
        }
        Ok(())
    }

    /// Reports compacted files that no rewrite names. Skips partitions in `unknown`.
    pub(super) fn find_compacted(
        &self,
        compacted: &DataFiles,
        unknown: &BTreeMap<Partition, Remedy>,
        report: &mut Report,
    ) -> Result<(), DatasetError> {
        let partitions: BTreeSet<Partition> =
            compacted.keys().filter_map(|key| self.dataset.partition_of(&key)).collect();
        for partition in partitions.into_iter().filter(|each| !unknown.contains_key(each)) {
            let orphans = |log: &Log| compacted.orphan_compacted(self.dataset, log);
            for key in self.confirmed(&partition, orphans)? {
                let problem = "is a compacted file that no rewrite names";
                self.report(&key, problem, Remedy::Clean, report);
            }
        }
        Ok(())
    }

    /// Returns the orphan files of a partition. If the log in memory shows any, reads the log again, because another
    /// run may have published files since.
    fn confirmed(
        &self,
        partition: &Partition,
        orphans: impl Fn(&Log) -> Result<Vec<String>, DatasetError>,
    ) -> Result<Vec<String>, DatasetError> {
        let empty = Log::empty(partition);
        let found = self.logs.binary_search_by_key(&partition, Log::partition);
        let log = found.map_or(&empty, |index| &self.logs[index]);
        if orphans(log)?.is_empty() {
            return Ok(Vec::new());
        }
        match Log::read(self.dataset, partition, &Hints::default()) {
            Err(error) if error.is_of_partition() => orphans(&empty),
            log => orphans(&log?),
        }
    }

    fn report(&self, key: &str, problem: &str, remedy: Remedy, report: &mut Report) {
        let name = self.dataset.target().name(key);
        report.findings.push(Finding::new("orphan", name, problem, remedy));
    }
}
