//! Reads the properties of a table from a dataset.

use std::collections::BTreeSet;

use crate::catalog::ddl::External;
use crate::dataset::contents::Contents;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::PartitionValues;
use crate::logs::schema::LogType;

/// The value of `--log-type` that selects the rejects table.
pub(crate) const REJECTS: &str = "rejects";

impl External {
    /// Returns the table for a log type, or the rejects table, given its name. The caller sets the location, layout and
    /// partitions.
    pub fn named(name: &str) -> Option<Self> {
        if name == REJECTS {
            return Some(Self::rejects());
        }
        LogType::named(name).map(|log_type| Self::rows(log_type.table()))
    }

    /// Reads the layout, accounts, regions and partitions from a dataset.
    ///
    /// # Errors
    ///
    /// Fails if the dataset cannot be read.
    pub fn learn(&mut self, dataset: &Dataset) -> Result<(), DatasetError> {
        self.layout = dataset.layout();
        let is_own = |each: &Contents| match self.log_type {
            Some(log_type) => each.rows > 0 && each.partition.log_type == log_type,
            None => each.rejects > 0,
        };
        let all = Contents::list(dataset, |_| true)?.into_iter().map(|(contents, _)| contents);
        let own: Vec<Contents> = all.filter(is_own).collect();
        // Reject files have neither delta encodings nor a column index in any profile.
        self.compact = self.log_type.is_some() && own.iter().any(|each| each.compact);
        // Files for several log types can share a partition, because all rejects are in one table.
        let partitions: BTreeSet<PartitionValues> =
            own.iter().map(|each| each.partition.values()).collect();
        let distinct = |column: usize| {
            let values: BTreeSet<&String> = partitions.iter().map(|each| &each[column]).collect();
            values.into_iter().cloned().collect()
        };
        (self.accounts, self.regions) = (distinct(0), distinct(1));
        // Engines silently omit partitions that are older than the first year.
        let earliest = partitions.iter().map(|[_, _, year, ..]| year).min();
        if let Some(year) = earliest.filter(|year| **year < self.first_year) {
            self.first_year.clone_from(year);
        }
        self.partitions = Some(partitions.into_iter().collect());
        Ok(())
    }
}
