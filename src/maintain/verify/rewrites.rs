//! Checks compacted files: their bytes, their footers and, optionally, that they contain the same rows as the files that
//! they replace.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use parquet::file::metadata::ParquetMetaData;

use crate::dataset::claim::{Log, Output, Record, State, TableFile};
use crate::dataset::file::INPUTS;
use crate::dataset::layout::Dataset;
use crate::maintain::verify::rows::Absent;
use crate::maintain::verify::{Checked, Verification, output, rows};
use crate::plan::{PlanError, Remedy};

impl Verification<'_> {
    /// Checks the compacted files of a partition that are in effect.
    pub(super) fn check_rewrites(&self, log: &Log) -> Result<Checked, PlanError> {
        let mut checked = Checked::default();
        let files = log.table_files();
        for number in files.invalid() {
            let problem = "is a rewrite that contradicts the entries before it";
            let name = log.name(self.dataset, *number);
            checked.report("invalid_state", name, problem, Remedy::Repair);
        }
        for (number, entry) in log.unremoved() {
            let is_open = matches!(entry.state, State::Open | State::Stuck(_));
            if is_open && matches!(entry.record, Record::Rewrite(_)) {
                let problem = "is a rewrite whose file may not be published yet";
                let name = log.name(self.dataset, number);
                checked.report("unpublished", name, problem, Remedy::Publish);
            }
        }
        let files = files.published();
        let compacted = files.current().filter(|file| file.claim.is_none());
        for file in compacted {
            if self.stop.load(Ordering::Relaxed) {
                return Err(PlanError::Interrupted);
            }
            let whole = self.restore || self.read_data.is_some();
            let leaves: Vec<&Output> =
                files.leaves(file).into_iter().map(|leaf| leaf.output).collect();
            let contradiction = |footer: &_| contradiction(footer, self.dataset, file, &leaves);
            let problem = output::check_with(self.dataset, file.output, whole, contradiction)?;
            let problem = match problem {
                None if self.read_data.is_some() => self.other_rows(log, file, &leaves)?,
                problem => problem,
            };
            match problem {
                None => checked.report.compacted_files += 1,
                Some(problem) => {
                    let name = self.dataset.target().name(&file.output.file.key);
                    checked.report("file_mismatch", name, &problem, Remedy::Revert);
                }
            }
        }
        Ok(checked)
    }

    /// Compares the rows of a compacted file with those of the files that it replaces. Describes the difference, if
    /// there is one. If a replaced file is damaged, its claim is reported, and not the compacted file.
    fn other_rows(
        &self,
        log: &Log,
        file: &TableFile,
        leaves: &[&Output],
    ) -> Result<Option<String>, PlanError> {
        let table = log.partition().log_type.table();
        // A file that replaces older files has columns that they lack.
        let rows = |files: &[&Output]| rows::of_files(self.dataset, table, files, Absent::IsNull);
        let (read, written) = (rows(leaves), rows(&[file.output]));
        let (read, written) = match (read, written) {
            (Ok(read), Ok(written)) => (read, written),
            (_, Err(error)) => return Ok(Some(format!("{error:#}"))),
            (Err(_), _) => return Ok(None),
        };
        let names: BTreeSet<&String> = read.keys().chain(written.keys()).collect();
        let difference = names.into_iter().find_map(|name| {
            let of = |rows: &HashMap<_, _>| rows.get(name).copied().unwrap_or_default();
            let difference = of(&read).difference(of(&written))?;
            Some(format!("differs from the files that it replaces: {name} {difference}"))
        });
        if difference.is_some() {
            for leaf in leaves {
                if output::check_with(self.dataset, leaf, true, |_| None)?.is_some() {
                    return Ok(None);
                }
            }
        }
        Ok(difference)
    }
}

/// Describes how the footer of a compacted file contradicts its rewrite. Returns `None` if the footer is valid.
fn contradiction(
    footer: &ParquetMetaData,
    dataset: &Dataset,
    file: &TableFile,
    leaves: &[&Output],
) -> Option<String> {
    let metadata = footer.file_metadata();
    let (rows, expected) = (metadata.num_rows().cast_unsigned(), file.output.rows);
    if rows != expected {
        return Some(format!("has {rows} rows instead of {expected}"));
    }
    let fact = |key: &str| {
        let facts = metadata.key_value_metadata().into_iter().flatten();
        facts.into_iter().find(|fact| fact.key == key).and_then(|fact| fact.value.as_deref())
    };
    if !dataset.redaction().is_empty() && fact("alb2parquet.redaction").is_none() {
        return Some("does not state its redaction in its footer".to_owned());
    }
    let leaves: BTreeSet<&str> = leaves.iter().map(|output| output.file.key.split().1).collect();
    let stated: BTreeSet<&str> =
        fact(INPUTS).into_iter().flat_map(|names| names.split(',')).collect();
    (stated != leaves).then(|| "names other files in its footer than in its rewrite".to_owned())
}
