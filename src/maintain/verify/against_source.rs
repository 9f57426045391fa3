//! Compares the listed objects of a day with the claims.

use std::collections::BTreeMap;

use crate::dataset::held::{Change, HeldObject};
use crate::logs::key::identity;
use crate::maintain::verify::around::{ActiveClaim, Around, Claims};
use crate::maintain::verify::{Checked, Finding, Verification};
use crate::plan::Remedy;

impl Verification<'_> {
    /// Reports listed objects that are not in exactly one claim or that changed after the conversion.
    ///
    /// An object may have copies in two directories: one for its day of delivery, and one for the day of its end time.
    /// Either copy may be claimed, so claims for adjacent days also count, even if these are not selected.
    pub(super) fn compare_with_source(&self, around: &Around, checked: &mut Checked) {
        let findings = &mut checked.report.findings;
        for object in &around.day.objects {
            let url = self.sources[object.source].url(&object.listed);
            let Some(before) = around.held(object.partition.log_type, object.identity()) else {
                let remedy = around.day.unknown.get(&object.partition.log_type).copied();
                let (remedy, problem) = (remedy.unwrap_or(Remedy::Convert), "is in no claim");
                findings.push(Finding::new("not_converted", url, problem, remedy));
                continue;
            };
            match before.change(&url, &object.listed) {
                Change::None => {}
                Change::Rewritten(problem) => {
                    findings.push(Finding::new("changed", url, &problem, Remedy::Remove));
                }
                // `compare_rows` compares the object's rows later.
                Change::Touched if self.read_data.is_some() => {}
                Change::Touched => {
                    let problem =
                        "has a new ETag or time since the conversion; its content was not compared";
                    findings.push(Finding::new("touched", url, problem, Remedy::Compare));
                }
            }
        }
    }

    /// Reports objects in the claims of a selected partition that another claim also holds.
    pub(super) fn find_claimed_twice(
        &self,
        around: &Around,
        claims: &Claims,
        checked: &mut Checked,
    ) {
        let name = |claims: &Claims, held: &HeldObject| claims.log.name(self.dataset, held.claim);
        let mut report = |held: &HeldObject, first: String, second: String| {
            let (url, problem) = (held.url(), format!("is claimed twice, by {first} and {second}"));
            let finding = Finding::new("claimed_twice", url, &problem, Remedy::Remove);
            checked.report.findings.push(finding);
        };
        let log_type = claims.log.partition().log_type;
        let before = around.before(log_type).filter(|before| before.is_selected);
        let mut last: Option<&HeldObject> = None;
        for held in &claims.held {
            let own = identity(&held.name);
            let first = match last.filter(|last| identity(&last.name) == own) {
                Some(last) => Some(name(claims, last)),
                None => before.and_then(|before| Some(name(before, before.get(own)?))),
            };
            if let Some(first) = first {
                report(held, first, name(claims, held));
            }
            last = Some(held);
        }
        // Selected partitions report their copies themselves.
        for beside in around.beside(log_type).filter(|beside| !beside.is_selected) {
            for held in &beside.held {
                if let Some(first) = claims.get(identity(&held.name)) {
                    report(held, name(claims, first), name(beside, held));
                }
            }
        }
    }

    /// Reports claims that hold objects which belong to other partitions. Copies of these objects are not compared
    /// with them, because only the claims of adjacent days are in memory.
    pub(super) fn find_misplaced(&self, claims: &Claims) -> Vec<Finding> {
        let mut misplaced = BTreeMap::<usize, (u64, &HeldObject)>::new();
        for held in claims.misplaced() {
            misplaced.entry(held.claim).or_insert((0, held)).0 += 1;
        }
        let finding = |(number, (count, first)): (usize, (u64, &HeldObject))| {
            let name = claims.log.name(self.dataset, number);
            let problem = format!(
                "contains objects whose names belong to another partition: {count}, such as {}",
                first.url()
            );
            Finding::new("invalid_state", name, &problem, Remedy::Investigate)
        };
        misplaced.into_iter().map(finding).collect()
    }

    /// Counts the retired objects of a claim, and those that still exist in the source.
    pub(super) fn count_retired(
        &self,
        active: &ActiveClaim,
        around: &Around,
        checked: &mut Checked,
    ) {
        let ActiveClaim { number, claim, amendments, .. } = active;
        let retired = claim.objects.iter().filter(|object| amendments.is_retired(*number, object));
        for claimed in retired {
            let is_found = around.object(identity(&claimed.name)).is_some_and(|object| {
                self.sources[object.source].url(&object.listed) == claim.url(claimed)
            });
            checked.report.retired += u64::from(!around.day.is_late);
            checked.report.retired_in_source += u64::from(is_found);
        }
    }
}
