//! Reports files in the dataset that belong to no claim or rewrite.

use crate::dataset::claim::{Hints, Log};
use crate::dataset::data_files::DataFiles;
use crate::dataset::layout::{Dataset, DatasetError, is_hidden};
use crate::maintain::verify::Finding;
use crate::maintain::verify::days::Partitions;
use crate::plan::Remedy;

/// The files of a dataset, from a listing.
pub(super) struct Files<'a> {
    dataset: &'a Dataset,
    data: DataFiles,
    originals: DataFiles,
    compacted: DataFiles,
}

impl<'a> Files<'a> {
    /// Lists the files. This must precede reading the logs: a file is claimed before it is published.
    ///
    /// # Errors
    ///
    /// Fails if the files cannot be listed.
    pub(super) fn list(dataset: &'a Dataset) -> Result<Self, DatasetError> {
        let (data, originals) = (DataFiles::list(dataset)?, DataFiles::originals(dataset)?);
        let compacted = DataFiles::compacted(dataset)?;
        Ok(Self { dataset, data, originals, compacted })
    }

    /// Adds the partitions that have files. Reports files that belong to no partition.
    pub(super) fn add_partitions(&self, partitions: &mut Partitions, findings: &mut Vec<Finding>) {
        for key in self.data.keys() {
            let partition = self.dataset.partition_of(&key).filter(|_| !is_hidden(&key));
            if let Some(partition) = partition {
                partitions.add(&partition);
            } else {
                let problem = "is in a table's directory, but is not a file of a partition";
                findings.push(self.orphan(&key, problem, Remedy::Move));
            }
        }
        for (files, kind) in [(&self.originals, "originals"), (&self.compacted, "compacted files")]
        {
            for key in files.keys() {
                if let Some(partition) = self.dataset.partition_of(&key) {
                    partitions.add(&partition);
                } else {
                    let problem =
                        format!("is in the directory of {kind}, but belongs to no partition");
                    findings.push(self.orphan(&key, &problem, Remedy::Investigate));
                }
            }
        }
    }

    /// Returns a finding for each file of a partition in the table directories that belongs to no claim.
    pub(super) fn orphans(&self, log: &Log) -> Result<Vec<Finding>, DatasetError> {
        let keys = self.confirmed(log, |log| self.data.unaccounted(self.dataset, log, false))?;
        let problem = "is in a table's directory, but in no claim";
        Ok(keys.iter().map(|key| self.orphan(key, problem, Remedy::RepairOrMove)).collect())
    }

    /// Returns a finding for each originals file of a partition that belongs to no claim and to no other file.
    pub(super) fn orphan_originals(&self, log: &Log) -> Result<Vec<Finding>, DatasetError> {
        let keys = self.confirmed(log, |log| self.originals.orphan_originals(self.dataset, log))?;
        let problem =
            "is an originals file that belongs to no claim, and to no file of rows or rejects";
        Ok(keys.iter().map(|key| self.orphan(key, problem, Remedy::Clean)).collect())
    }

    /// Returns a finding for each compacted file of a partition that no rewrite names.
    pub(super) fn orphan_compacted(&self, log: &Log) -> Result<Vec<Finding>, DatasetError> {
        let keys = self.confirmed(log, |log| self.compacted.orphan_compacted(self.dataset, log))?;
        let problem = "is a compacted file that no rewrite names; publish the Iceberg tables before you delete it";
        Ok(keys.iter().map(|key| self.orphan(key, problem, Remedy::Clean)).collect())
    }

    /// Returns the orphan files of a partition. If the log in memory shows any, reads the log again, because another
    /// run may have published files since.
    fn confirmed(
        &self,
        log: &Log,
        orphans: impl Fn(&Log) -> Result<Vec<String>, DatasetError>,
    ) -> Result<Vec<String>, DatasetError> {
        if orphans(log)?.is_empty() {
            return Ok(Vec::new());
        }
        match Log::read(self.dataset, log.partition(), &Hints::default()) {
            Err(error) if error.is_of_partition() => orphans(&Log::empty(log.partition())),
            log => orphans(&log?),
        }
    }

    fn orphan(&self, key: &str, problem: &str, remedy: Remedy) -> Finding {
        Finding::new("orphan", self.dataset.target().name(key), problem, remedy)
    }
}
