//! Verifies a dataset without writing to it.
//!
//! A verification compares the claims with the source and with the files in the table directories, and checks the
//! files' footers. Optionally, it reads the source again and compares the rows.

mod orphans;
mod output;
pub(crate) mod reference;
mod restored;
mod rewrites;
mod rows;
mod sample;
mod skipped;
mod with_rejects;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::claim::{Amendments, Claim, Claimed, Hints, Log, Output, Record, State};
use crate::dataset::data_files::DataFiles;
use crate::dataset::held::{Change, HeldObject};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::{Partition, identity};
use crate::logs::schema::{LogType, Table};
use crate::maintain::verify::orphans::Orphans;
use crate::maintain::verify::rows::Absent;
use crate::maintain::verify::sample::Sample;
use crate::maintain::verify::with_rejects::Objects;
use crate::plan::{self, Listing, Object, PlanError, Remedy, Selection};
use crate::redact::Redaction;
use crate::store::Source;
use crate::util::threads;

pub(crate) use crate::maintain::verify::with_rejects::WithRejects;

/// A verification that is ready to run.
pub struct Verification<'a> {
    /// The sources from which the dataset was converted.
    pub sources: &'a [Source],
    /// The dataset.
    pub dataset: &'a Dataset,
    /// The objects and partitions to verify.
    pub selection: &'a Selection,
    /// The dataset's redaction, used to read the source again and compare rows. If `None`, rows are not compared.
    pub read_data: Option<&'a Redaction>,
    /// Whether to restore the text of all objects, and compare it with the checksums in the claims.
    pub restore: bool,
    /// Returns the reference decoder's schema for a log type. This is [`LogType::table`], except in tests, which use
    /// other schemas to show that differences are found.
    pub reference: &'a (dyn Fn(LogType) -> &'static Table + Sync),
    /// Stops the verification when set.
    pub stop: &'a AtomicBool,
}

/// The result of a verification. `--json` prints it as JSON; the keys are stable.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Number of selected objects in the sources.
    pub objects: u64,
    /// Number of claims in effect.
    pub claims: u64,
    /// Number of files that match their claims.
    pub files: u64,
    /// Number of compacted files that match their rewrites.
    pub compacted_files: u64,
    /// Number of lines that were read, according to the claims.
    pub lines: u64,
    /// Number of rows, according to the claims.
    pub rows: u64,
    /// Number of rejects, according to the claims.
    pub rejects: u64,
    /// Number of objects that were read again to compare their rows and rejects.
    pub compared: u64,
    /// Number of compared objects that the reference decoder also decoded.
    pub reference_decoded: u64,
    /// Number of objects that could not be compared because they changed or no longer exist in the source.
    pub not_compared: u64,
    /// Number of objects whose ETag or modification time changed after the conversion although their rows and rejects
    /// did not.
    pub touched: u64,
    /// Number of objects whose text was restored and matches their claim.
    pub restorable: u64,
    /// Number of objects that cannot be restored because they were damaged when they were converted.
    pub damaged: u64,
    /// Number of objects with rejects.
    pub objects_with_rejects: u64,
    /// The objects with the most rejects, excluding incomplete ones; at most ten.
    pub worst_objects: Vec<WithRejects>,
    /// Number of incomplete objects that the user accepted.
    pub accepted: u64,
    /// Number of objects that are recorded as retired: the dataset may hold their only copy.
    pub retired: u64,
    /// Number of retired objects that still exist in the source.
    pub retired_in_source: u64,
    /// The problems.
    pub findings: Vec<Finding>,
}

/// A problem that a verification found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The kind of problem.
    pub kind: &'static str,
    /// The object, claim or file with the problem.
    pub name: String,
    /// The problem, phrased as a predicate whose subject is the name.
    pub problem: String,
    /// How the user can fix the problem.
    pub remedy: Remedy,
}

impl Finding {
    fn new(kind: &'static str, name: impl Into<String>, problem: &str, remedy: Remedy) -> Self {
        Self { kind, name: name.into(), problem: problem.to_owned(), remedy }
    }

    fn unreadable(url: String, error: &anyhow::Error) -> Self {
        let problem = format!("cannot be read again: {error:#}");
        Self::new("unreadable", url, &problem, Remedy::Investigate)
    }
}

/// A claim in effect, with its state and amendments.
struct ActiveClaim<'a> {
    partition: &'a Partition,
    number: usize,
    claim: &'a Claim,
    state: &'a State,
    /// Facts about the claim's objects that are recorded in later log entries.
    amendments: Arc<Amendments<'a>>,
    /// Path or URL of the claim.
    name: String,
}

/// The result of checking the files and rows of claims.
#[derive(Default)]
struct Checked {
    files: u64,
    compacted_files: u64,
    compared: u64,
    reference_decoded: u64,
    not_compared: u64,
    touched: u64,
    restorable: u64,
    damaged: u64,
    findings: Vec<Finding>,
}

impl Checked {
    fn add(mut self, other: Self) -> Self {
        self.files += other.files;
        self.compacted_files += other.compacted_files;
        self.compared += other.compared;
        self.reference_decoded += other.reference_decoded;
        self.not_compared += other.not_compared;
        self.touched += other.touched;
        self.restorable += other.restorable;
        self.damaged += other.damaged;
        self.findings.extend(other.findings);
        self
    }
}

impl Verification<'_> {
    /// Verifies the selection and returns a report with the findings.
    ///
    /// # Errors
    ///
    /// Fails if the source or the dataset cannot be read, or if `stop` is set.
    pub fn run(&self) -> Result<Report, PlanError> {
        let listing = Listing::take(self.sources, self.selection, self.stop)?;
        let mut report = Report { objects: listing.objects.len() as u64, ..Report::default() };
        for failure in &listing.failures {
            let finding =
                Finding::new("listing_failed", &failure.object, &failure.error, Remedy::Rename);
            report.findings.push(finding);
        }
        skipped::find(&listing, &mut report);
        // The remedy for each partition whose converted objects are unknown.
        let mut unknown = BTreeMap::new();
        let files = DataFiles::list(self.dataset)?;
        let originals = DataFiles::originals(self.dataset)?;
        let compacted = DataFiles::compacted(self.dataset)?;
        let logs = self.logs(&listing, &mut unknown, &mut report)?;
        let orphans = Orphans { dataset: self.dataset, logs: &logs };
        orphans.find(&files, &mut unknown, &mut report)?;
        orphans.find_originals(&originals, &unknown, &mut report)?;
        orphans.find_compacted(&compacted, &unknown, &mut report)?;
        let claims = self.claims(&logs, &mut report);
        self.compare_with_source(&listing, (&logs, &unknown), &claims, &mut report);
        find_incomplete(&claims, &mut report);
        let objects: HashMap<&str, &Object> =
            listing.objects.iter().map(|object| (object.identity(), object)).collect();
        self.count_retired(&claims, &objects, &mut report);
        let sample = self.sample(&claims, &objects);
        let selected: Vec<&Log> =
            logs.iter().filter(|log| self.selection.wants_partition(log.partition())).collect();
        let checked: Result<Vec<Checked>, PlanError> = threads::pool(0)?.install(|| {
            let of_claims = claims.par_iter().map(|claim| self.check(claim, &objects, &sample));
            let of_rewrites = selected.par_iter().map(|log| self.check_rewrites(log));
            of_claims.chain(of_rewrites).collect()
        });
        let checked = checked?.into_iter().fold(Checked::default(), Checked::add);
        report.compacted_files = checked.compacted_files;
        report.files = checked.files;
        report.compared = checked.compared;
        report.reference_decoded = checked.reference_decoded;
        report.not_compared = checked.not_compared;
        report.touched = checked.touched;
        report.restorable = checked.restorable;
        report.damaged = checked.damaged;
        report.findings.extend(checked.findings);
        report.findings.sort();
        Ok(report)
    }

    /// Reads the logs of all partitions. Adds partitions whose logs cannot be read to `unknown`.
    fn logs(
        &self,
        listing: &Listing,
        unknown: &mut BTreeMap<Partition, Remedy>,
        report: &mut Report,
    ) -> Result<Vec<Log>, DatasetError> {
        let hints = Hints::list(self.dataset)?;
        for key in hints.unknown() {
            let name = self.dataset.target().name(key);
            let problem = "is in the directory of the claims, but belongs to no partition";
            report.findings.push(Finding::new("invalid_state", name, problem, Remedy::Investigate));
        }
        let listed = listing.objects.iter().map(|object| &*object.partition);
        let partitions: BTreeSet<&Partition> = hints.partitions().chain(listed).collect();
        let mut logs = Vec::new();
        for partition in partitions {
            match Log::read(self.dataset, partition, &hints) {
                Ok(log) => logs.push(log),
                Err(error) => {
                    let Some(remedy) = Remedy::of(&error) else { return Err(error) };
                    let problem = error.with_source();
                    let name = partition.to_string();
                    report.findings.push(Finding::new("invalid_state", name, &problem, remedy));
                    unknown.insert(partition.clone(), remedy);
                }
            }
        }
        Ok(logs)
    }

    /// Returns the selected claims in effect, and adds their counts to the report.
    fn claims<'l>(&self, logs: &'l [Log], report: &mut Report) -> Vec<ActiveClaim<'l>> {
        let mut claims = Vec::new();
        for log in logs.iter().filter(|log| self.selection.wants_partition(log.partition())) {
            let amendments = Arc::new(log.amendments());
            for (number, entry) in log.unremoved() {
                let name = log.name(self.dataset, number);
                if matches!(entry.record, Record::Remove(_)) && entry.state != State::Done {
                    let problem = "is an unfinished removal";
                    report.findings.push(Finding::new(
                        "unfinished_removal",
                        &name,
                        problem,
                        Remedy::Convert,
                    ));
                }
                let Record::Add(claim) = &entry.record else { continue };
                if entry.state == State::Aborted {
                    continue;
                }
                report.claims += 1;
                report.lines += claim.lines;
                report.rows += claim.rows;
                report.rejects += claim.rejects.values().sum::<u64>();
                if entry.state != State::Done {
                    let problem = "is claimed, but its files may not be published yet";
                    report.findings.push(Finding::new(
                        "unpublished",
                        &name,
                        problem,
                        Remedy::Publish,
                    ));
                }
                let partition = log.partition();
                let (state, amendments) = (&entry.state, Arc::clone(&amendments));
                claims.push(ActiveClaim { partition, number, claim, state, amendments, name });
            }
        }
        claims
    }

    /// Reports listed objects that are not in exactly one claim or that changed after the conversion.
    ///
    /// An object may have copies in two directories: one for its day of delivery, and one for the day of its end time.
    /// Either copy may be claimed, so claims for days adjacent to the selection also count.
    fn compare_with_source(
        &self,
        listing: &Listing,
        (logs, unknown): (&[Log], &BTreeMap<Partition, Remedy>),
        claims: &[ActiveClaim],
        report: &mut Report,
    ) {
        let mut held = HashMap::new();
        for ActiveClaim { number, claim, amendments, name, .. } in claims {
            for (object, before) in HeldObject::of(*number, claim, amendments) {
                if let Some((_, first)) = held.insert(identity(&object.name), (before, name)) {
                    let problem = format!("is claimed twice, by {first} and {name}");
                    report.findings.push(Finding::new(
                        "claimed_twice",
                        claim.url(object),
                        &problem,
                        Remedy::Remove,
                    ));
                }
            }
        }
        let is_beside = |log: &&Log| {
            let wants = |partition: &Partition| self.selection.wants_partition(partition);
            !wants(log.partition()) && plan::beside(log.partition()).any(|beside| wants(&beside))
        };
        let mut beside = HashMap::new();
        for log in logs.iter().filter(is_beside) {
            let amendments = log.amendments();
            for (number, claim) in log.holding() {
                for (object, before) in HeldObject::of(number, claim, &amendments) {
                    let own = identity(&object.name);
                    if let Some((_, first)) = held.get(own) {
                        let name = log.name(self.dataset, number);
                        let problem = format!("is claimed twice, by {first} and {name}");
                        let url = claim.url(object);
                        report.findings.push(Finding::new(
                            "claimed_twice",
                            url,
                            &problem,
                            Remedy::Remove,
                        ));
                    }
                    beside.insert(own, before);
                }
            }
        }
        for object in &listing.objects {
            let url = self.sources[object.source].url(&object.listed);
            let own = object.identity();
            match held.get(own).map(|(before, _)| before).or_else(|| beside.get(own)) {
                None => {
                    let remedy = unknown.get(&*object.partition).copied();
                    let remedy = remedy.unwrap_or(Remedy::Convert);
                    let problem = "is in no claim";
                    report.findings.push(Finding::new("not_converted", url, problem, remedy));
                }
                Some(before) => match before.change(&url, &object.listed) {
                    Change::None => {}
                    Change::Rewritten(problem) => {
                        report.findings.push(Finding::new(
                            "changed",
                            url,
                            &problem,
                            Remedy::Remove,
                        ));
                    }
                    // `compare_rows` compares the object's rows later.
                    Change::Touched if self.read_data.is_some() => {}
                    Change::Touched => {
                        let problem = "has a new ETag or time since the conversion; its content was not compared";
                        report.findings.push(Finding::new(
                            "touched",
                            url,
                            problem,
                            Remedy::Compare,
                        ));
                    }
                },
            }
        }
    }

    /// Checks the files of a claim and, if the source is read again, compares the rows.
    fn check(
        &self,
        active: &ActiveClaim,
        objects: &HashMap<&str, &Object>,
        sample: &Sample,
    ) -> Result<Checked, PlanError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(PlanError::Interrupted);
        }
        let ActiveClaim { claim, state, name, .. } = active;
        let mut checked = Checked::default();
        if let Some(problem) = claim.contradiction() {
            checked.findings.push(Finding::new(
                "inconsistent_counts",
                name,
                &problem,
                Remedy::Remove,
            ));
        }
        if claim.lacks_originals() {
            let problem = "has lost its originals file, so some of its objects cannot be restored";
            let remedy = Remedy::RemoveIfInSource;
            checked.findings.push(Finding::new("originals_lost", name, problem, remedy));
        }
        if **state != State::Done {
            return Ok(checked);
        }
        let mut readable = true;
        let whole = self.restore || self.read_data.is_some();
        for output in &claim.outputs {
            let file = self.dataset.target().name(&output.file.key);
            match output::check(self.dataset, claim, output, whole)? {
                None => checked.files += 1,
                Some(problem) => {
                    let (of_originals, kind) = (output.has_originals(), "file_mismatch");
                    readable &= of_originals;
                    let remedy =
                        if of_originals { Remedy::RemoveIfInSource } else { Remedy::Remove };
                    checked.findings.push(Finding::new(kind, file, &problem, remedy));
                }
            }
        }
        if let Some(redaction) = self.read_data.filter(|_| readable) {
            self.compare_rows(active, (objects, sample), redaction, &mut checked);
        }
        if self.restore {
            let ActiveClaim { partition, claim, name, .. } = active;
            let restored = restored::check(self.dataset, partition, (*claim, name), self.stop)?;
            checked.restorable += restored.restorable;
            checked.damaged += restored.damaged;
            checked.findings.extend(restored.findings);
        }
        let ActiveClaim { number, claim, amendments, .. } = active;
        if claim.objects.iter().any(|object| amendments.is_retired(*number, object)) {
            let findings = checked.findings.iter_mut();
            for finding in findings.filter(|finding| finding.remedy == Remedy::Remove) {
                finding.remedy = Remedy::RemoveIfInSource;
            }
        }
        Ok(checked)
    }

    /// Reads the objects of a claim again and compares their rows and rejects with those in the dataset.
    fn compare_rows(
        &self,
        active: &ActiveClaim,
        (objects, sample): (&HashMap<&str, &Object>, &Sample),
        redaction: &Redaction,
        checked: &mut Checked,
    ) {
        let ActiveClaim { partition, number, claim, amendments, .. } = active;
        let table = partition.log_type.table();
        let outputs: Vec<&Output> = claim.outputs.iter().collect();
        let written = match rows::of_files(self.dataset, table, &outputs, Absent::Error) {
            Ok(written) => written,
            Err(error) => {
                let name = claim.outputs.first().map_or("", |output| &output.file.key);
                let (name, problem) = (self.dataset.target().name(name), format!("{error:#}"));
                checked.findings.push(Finding::new(
                    "file_mismatch",
                    name,
                    &problem,
                    Remedy::Remove,
                ));
                return;
            }
        };
        for (claimed, before) in HeldObject::of(*number, claim, amendments) {
            let Some((object, url, change)) = self.comparable(claimed, &before, objects) else {
                let is_gone = !objects.contains_key(identity(&claimed.name));
                // Retired objects are counted separately.
                let is_retired = amendments.is_retired(*number, claimed);
                checked.not_compared += u64::from(!(is_gone && is_retired));
                continue;
            };
            let source = &self.sources[object.source];
            match rows::of_object(table, source, object, redaction) {
                Ok(read) => {
                    checked.compared += 1;
                    let written = written.get(claimed.name.as_str()).copied().unwrap_or_default();
                    let problem = read.difference(written);
                    let problem = problem.or_else(|| read.other_text(claimed));
                    match (problem, change) {
                        (None, Change::Touched) => checked.touched += 1,
                        (None, _) if sample.contains(table, claimed) => {
                            self.decode_again(partition.log_type, object, url, checked);
                        }
                        (None, _) => {}
                        (Some(problem), Change::Touched) => {
                            let problem =
                                format!("was rewritten since it was converted: {problem}");
                            checked.findings.push(Finding::new(
                                "changed",
                                url,
                                &problem,
                                Remedy::Remove,
                            ));
                        }
                        (Some(problem), _) => {
                            checked.findings.push(Finding::new(
                                "row_mismatch",
                                url,
                                &problem,
                                Remedy::Remove,
                            ));
                        }
                    }
                }
                Err(error) => checked.findings.push(Finding::unreadable(url, &error)),
            }
        }
    }

    /// Decodes an object with both decoders.
    fn decode_again(&self, log_type: LogType, object: &Object, url: String, checked: &mut Checked) {
        let source = &self.sources[object.source];
        let difference = match sample::difference((self.reference)(log_type), source, object) {
            Ok(difference) => difference,
            Err(error) => return checked.findings.push(Finding::unreadable(url, &error)),
        };
        checked.reference_decoded += 1;
        if let Some(difference) = difference {
            let problem = format!("the reference decoder returns a different result: {difference}");
            checked.findings.push(Finding::new(
                "decoder_mismatch",
                url,
                &problem,
                Remedy::ReportBug,
            ));
        }
    }

    /// Returns the listed object to compare with a claimed object, its URL, and whether it was touched. Returns `None`
    /// if the object no longer exists or was rewritten.
    fn comparable<'o>(
        &self,
        claimed: &Claimed,
        before: &HeldObject,
        objects: &HashMap<&str, &'o Object>,
    ) -> Option<(&'o Object, String, Change)> {
        let object = objects.get(identity(&claimed.name))?;
        let url = self.sources[object.source].url(&object.listed);
        match before.change(&url, &object.listed) {
            Change::Rewritten(_) => None,
            change => Some((object, url, change)),
        }
    }

    /// Counts the retired objects, and those that still exist in the source.
    fn count_retired(
        &self,
        claims: &[ActiveClaim],
        objects: &HashMap<&str, &Object>,
        report: &mut Report,
    ) {
        for ActiveClaim { number, claim, amendments, .. } in claims {
            let retired =
                claim.objects.iter().filter(|object| amendments.is_retired(*number, object));
            for claimed in retired {
                let found = objects.get(identity(&claimed.name));
                let url = |object: &&Object| self.sources[object.source].url(&object.listed);
                let is_found = found.is_some_and(|object| url(object) == claim.url(claimed));
                report.retired += 1;
                report.retired_in_source += u64::from(is_found);
            }
        }
    }

    /// Returns the sample of objects that the reference decoder also decodes.
    fn sample<'c>(
        &self,
        claims: &[ActiveClaim<'c>],
        objects: &HashMap<&str, &Object>,
    ) -> Sample<'c> {
        let mut sample = Sample::default();
        for ActiveClaim { partition, number, claim, state, amendments, .. } in claims {
            let table = partition.log_type.table();
            if self.read_data.is_none() || **state != State::Done || sample.has_first(table) {
                continue;
            }
            for (claimed, before) in HeldObject::of(*number, claim, amendments) {
                let found = self.comparable(claimed, &before, objects);
                if found.is_some_and(|(_, _, change)| change == Change::None) {
                    sample.offer(table, claimed);
                }
            }
        }
        sample
    }
}

/// Reports incomplete objects: objects that were not read to the end, or that have lines but no rows.
fn find_incomplete(claims: &[ActiveClaim], report: &mut Report) {
    let mut objects = Objects::default();
    for ActiveClaim { number, claim, amendments, .. } in claims {
        objects.add(*number, claim, amendments);
    }
    objects.cut();
    report.objects_with_rejects = objects.with_rejects;
    report.worst_objects = objects.worst;
    report.accepted = objects.accepted;
    report.findings.extend(objects.findings);
}
