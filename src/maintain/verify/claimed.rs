//! Checks the files of a claim, and compares their rows with the source.

use std::sync::atomic::Ordering;

use crate::dataset::claim::{Claimed, Output, State};
use crate::dataset::held::{Change, HeldObject};
use crate::logs::key::identity;
use crate::logs::schema::LogType;
use crate::maintain::verify::around::{ActiveClaim, Around};
use crate::maintain::verify::rows::Absent;
use crate::maintain::verify::sample::{self, Sample};
use crate::maintain::verify::{Checked, Finding, Verification, output, restored, rows};
use crate::plan::{Object, PlanError, Remedy};
use crate::redact::Redaction;

impl Verification<'_> {
    /// Checks the files of a claim and, if the source is read again, compares the rows.
    pub(super) fn check(
        &self,
        active: &ActiveClaim,
        around: &Around,
        sample: &Sample,
    ) -> Result<Checked, PlanError> {
        let ActiveClaim { partition, number, claim, state, amendments, name } = active;
        let mut checked = Checked::default();
        if let Some(problem) = claim.contradiction() {
            checked.report("inconsistent_counts", name, &problem, Remedy::Remove);
        }
        if claim.lacks_originals() {
            let problem = "has lost its originals file, so some of its objects cannot be restored";
            checked.report("originals_lost", name, problem, Remedy::RemoveIfInSource);
        }
        if **state != State::Done {
            return Ok(checked);
        }
        let is_readable = self.check_files(active, &mut checked)?;
        if let Some(redaction) = self.read_data.filter(|_| is_readable) {
            self.compare_rows(active, (around, sample), redaction, &mut checked);
        }
        if self.restore {
            let restored = restored::check(self.dataset, partition, (*claim, name), self.stop)?;
            checked.report.restorable += restored.restorable;
            checked.report.damaged += restored.damaged;
            checked.report.findings.extend(restored.findings);
        }
        if claim.objects.iter().any(|object| amendments.is_retired(*number, object)) {
            checked.keep_retired();
        }
        Ok(checked)
    }

    /// Compares the rows of late objects. Everything else about their claim was checked before.
    pub(super) fn check_late(
        &self,
        active: &ActiveClaim,
        around: &Around,
        sample: &Sample,
    ) -> Result<Checked, PlanError> {
        let ActiveClaim { number, claim, state, amendments, .. } = active;
        let mut checked = Checked::default();
        let is_late = |object: &Claimed| around.object(identity(&object.name)).is_some();
        let Some(redaction) = self.read_data.filter(|_| **state == State::Done) else {
            return Ok(checked);
        };
        if claim.objects.iter().any(is_late) && self.check_files(active, &mut Checked::default())? {
            self.compare_rows(active, (around, sample), redaction, &mut checked);
        }
        if claim.objects.iter().any(|object| amendments.is_retired(*number, object)) {
            checked.keep_retired();
        }
        Ok(checked)
    }

    /// Checks the files of a claim. Returns whether the rows and rejects can be read.
    fn check_files(&self, active: &ActiveClaim, checked: &mut Checked) -> Result<bool, PlanError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(PlanError::Interrupted);
        }
        let mut is_readable = true;
        let whole = self.restore || self.read_data.is_some();
        for output in &active.claim.outputs {
            match output::check(self.dataset, active.claim, output, whole)? {
                None => checked.report.files += 1,
                Some(problem) => {
                    let of_originals = output.has_originals();
                    is_readable &= of_originals;
                    let remedy =
                        if of_originals { Remedy::RemoveIfInSource } else { Remedy::Remove };
                    let file = self.dataset.target().name(&output.file.key);
                    checked.report("file_mismatch", file, &problem, remedy);
                }
            }
        }
        Ok(is_readable)
    }

    /// Reads the listed objects of a claim again and compares their rows and rejects with those in the dataset.
    fn compare_rows(
        &self,
        active: &ActiveClaim,
        (around, sample): (&Around, &Sample),
        redaction: &Redaction,
        checked: &mut Checked,
    ) {
        let ActiveClaim { partition, number, claim, amendments, .. } = active;
        let table = partition.log_type.table();
        let is_late = around.day.is_late;
        let outputs: Vec<&Output> = claim.outputs.iter().collect();
        let written = match rows::of_files(self.dataset, table, &outputs, Absent::Error) {
            Ok(written) => written,
            Err(_) if is_late => return,
            Err(error) => {
                let name = claim.outputs.first().map_or("", |output| &output.file.key);
                let (name, problem) = (self.dataset.target().name(name), format!("{error:#}"));
                return checked.report("file_mismatch", name, &problem, Remedy::Remove);
            }
        };
        for (claimed, before) in HeldObject::of(*number, claim, amendments) {
            // Retired objects that are gone are counted separately.
            let expected = i64::from(!amendments.is_retired(*number, claimed));
            // If the object is late, this count is corrected when it is listed.
            checked.not_compared += if is_late { 0 } else { expected };
            let Some(object) = around.object(identity(&claimed.name)) else { continue };
            checked.not_compared -= expected;
            let Some((url, change)) = self.comparable(object, &before) else {
                checked.not_compared += 1;
                continue;
            };
            let read = match rows::of_object(table, &self.sources[object.source], object, redaction)
            {
                Ok(read) => read,
                Err(error) => {
                    checked.report.findings.push(Finding::unreadable(url, &error));
                    continue;
                }
            };
            checked.report.compared += 1;
            let written = written.get(claimed.name.as_str()).copied().unwrap_or_default();
            let problem = read.difference(written);
            let problem = problem.or_else(|| read.other_text(claimed));
            match (problem, change) {
                (None, Change::Touched) => checked.report.touched += 1,
                (None, _) if sample.contains(table, claimed) => {
                    self.decode_again(partition.log_type, object, url, checked);
                }
                (None, _) => {}
                (Some(problem), Change::Touched) => {
                    let problem = format!("was rewritten since it was converted: {problem}");
                    checked.report("changed", url, &problem, Remedy::Remove);
                }
                (Some(problem), _) => {
                    checked.report("row_mismatch", url, &problem, Remedy::Remove);
                }
            }
        }
    }

    /// Decodes an object with both decoders.
    fn decode_again(&self, log_type: LogType, object: &Object, url: String, checked: &mut Checked) {
        let source = &self.sources[object.source];
        let difference = match sample::difference((self.reference)(log_type), source, object) {
            Ok(difference) => difference,
            Err(error) => return checked.report.findings.push(Finding::unreadable(url, &error)),
        };
        checked.report.reference_decoded += 1;
        if let Some(difference) = difference {
            let problem = format!("the reference decoder returns a different result: {difference}");
            checked.report("decoder_mismatch", url, &problem, Remedy::ReportBug);
        }
    }

    /// Returns the URL of a listed object, and whether it was touched since it was claimed. Returns `None` if it was
    /// rewritten.
    fn comparable(&self, object: &Object, before: &HeldObject) -> Option<(String, Change)> {
        let url = self.sources[object.source].url(&object.listed);
        match before.change(&url, &object.listed) {
            Change::Rewritten(_) => None,
            change => Some((url, change)),
        }
    }

    /// Offers the unchanged objects of a day to the sample of objects that the reference decoder also decodes.
    pub(super) fn offer(&self, around: &Around, sample: &mut Sample) {
        for claims in around.day.partitions.iter().filter(|claims| claims.is_selected) {
            let table = claims.log.partition().log_type.table();
            if self.read_data.is_none() || sample.has_first(table) {
                continue;
            }
            let done = claims.active(self.dataset).filter(|active| *active.state == State::Done);
            for ActiveClaim { number, claim, amendments, .. } in done {
                for (claimed, before) in HeldObject::of(number, claim, &amendments) {
                    let object = around.object(identity(&claimed.name));
                    let change = object.and_then(|object| self.comparable(object, &before));
                    if change.is_some_and(|(_, change)| change == Change::None) {
                        sample.offer(table, claimed);
                    }
                }
            }
        }
    }
}
