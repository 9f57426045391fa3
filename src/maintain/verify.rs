//! Verification: what a dataset must be, looked at from outside.
//!
//! The claims are compared with the source and with the files that stand in the tables, the files with
//! what their footers say, and on demand the rows with those that the source gives when it is read again.
//! Nothing is written.

mod output;
pub(crate) mod reference;
mod rows;
mod sample;
mod with_rejects;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::claim::{Amendments, Claim, Claimed, Hints, Log, Record, State};
use crate::dataset::data_files::DataFiles;
use crate::dataset::held::{Change, HeldObject};
use crate::dataset::layout::{Dataset, DatasetError, is_hidden};
use crate::logs::key::{Partition, SkipReason, identity, mismatch};
use crate::logs::schema::{LogType, Table};
use crate::maintain::verify::sample::Sample;
use crate::maintain::verify::with_rejects::Objects;
use crate::plan::{self, Listing, Object, PlanError, Remedy, Selection};
use crate::redact::Redaction;
use crate::store::Source;
use crate::util::threads;

pub(crate) use crate::maintain::verify::with_rejects::WithRejects;

/// A verification that is ready to run.
pub struct Verification<'a> {
    /// What the dataset was made from.
    pub sources: &'a [Source],
    /// The dataset.
    pub dataset: &'a Dataset,
    /// Which part of them.
    pub selection: &'a Selection,
    /// The dataset's redaction, if the source is to be read again and its rows are to be compared.
    pub read_data: Option<&'a Redaction>,
    /// The schemas of the reference decoder: [`LogType::table`]. Tests use others, to see that differences are found.
    pub reference: &'a (dyn Fn(LogType) -> &'static Table + Sync),
    /// Set when the user wants the program to end.
    pub stop: &'a AtomicBool,
}

/// What a verification found. As JSON, it is what `--json` prints; its keys are stable.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Objects that the sources list and the selection wants.
    pub objects: u64,
    /// Claims that hold objects.
    pub claims: u64,
    /// Files of rows and of rejects that stand as they were claimed.
    pub files: u64,
    /// Lines that were read, as the claims say.
    pub lines: u64,
    /// Rows, as the claims say.
    pub rows: u64,
    /// Rejects, as the claims say.
    pub rejects: u64,
    /// Objects that were read again and whose rows and rejects were compared.
    pub compared: u64,
    /// Compared objects that were also decoded with the reference decoder.
    pub reference_decoded: u64,
    /// Objects that could not be compared, because the source has them no more.
    pub not_compared: u64,
    /// Objects whose ETag or time, but not rows and rejects, changed since they were converted.
    pub touched: u64,
    /// Objects with rejects.
    pub objects_with_rejects: u64,
    /// The objects with the most rejects, except incomplete ones; at most ten.
    pub worst_objects: Vec<WithRejects>,
    /// Incomplete objects that the user accepted.
    pub accepted: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of finding it is.
    pub kind: &'static str,
    /// The object, claim or file.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
    /// What ends it.
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

/// A claim with what is known of it.
struct Standing<'a> {
    log_type: LogType,
    number: usize,
    claim: &'a Claim,
    state: &'a State,
    /// Facts about its objects that became known later.
    amendments: Arc<Amendments<'a>>,
    /// Its path or URL.
    name: String,
}

/// What the files and rows of claims came to.
#[derive(Default)]
struct Looked {
    files: u64,
    compared: u64,
    reference_decoded: u64,
    not_compared: u64,
    touched: u64,
    findings: Vec<Finding>,
}

impl Looked {
    fn add(mut self, other: Self) -> Self {
        self.files += other.files;
        self.compared += other.compared;
        self.reference_decoded += other.reference_decoded;
        self.not_compared += other.not_compared;
        self.touched += other.touched;
        self.findings.extend(other.findings);
        self
    }
}

impl Verification<'_> {
    /// Looks at everything, and returns what it found.
    ///
    /// # Errors
    ///
    /// Fails when the source or the dataset cannot be read, so that nothing can be said.
    pub fn run(&self) -> Result<Report, PlanError> {
        let listing = Listing::take(self.sources, self.selection, self.stop)?;
        let mut report = Report { objects: listing.objects.len() as u64, ..Report::default() };
        for failure in &listing.failures {
            let finding = Finding::new("listing", &failure.object, &failure.error, Remedy::Rename);
            report.findings.push(finding);
        }
        find_left_out(&listing, &mut report);
        // What ends the problem of each partition whose objects are unknown.
        let mut unknown = BTreeMap::new();
        let files = DataFiles::list(self.dataset)?;
        let logs = self.logs(&listing, &mut unknown, &mut report)?;
        self.find_unaccounted(&files, &logs, &mut unknown, &mut report)?;
        let standing = self.standing(&logs, &mut report);
        self.compare_with_source(&listing, (&logs, &unknown), &standing, &mut report);
        find_incomplete(&standing, &mut report);
        let objects: HashMap<&str, &Object> =
            listing.objects.iter().map(|object| (object.identity(), object)).collect();
        let sample = self.sample(&standing, &objects);
        let looked: Result<Vec<Looked>, PlanError> = threads::pool(0)?.install(|| {
            let look = |standing| self.look_at(standing, &objects, &sample);
            standing.par_iter().map(look).collect()
        });
        let looked = looked?.into_iter().fold(Looked::default(), Looked::add);
        report.files = looked.files;
        report.compared = looked.compared;
        report.reference_decoded = looked.reference_decoded;
        report.not_compared = looked.not_compared;
        report.touched = looked.touched;
        report.findings.extend(looked.findings);
        report.findings.sort();
        Ok(report)
    }

    /// Reads the logs of all partitions there are.
    fn logs(
        &self,
        listing: &Listing,
        unknown: &mut BTreeMap<Partition, Remedy>,
        report: &mut Report,
    ) -> Result<Vec<Log>, DatasetError> {
        let hints = Hints::list(self.dataset)?;
        for key in hints.unknown() {
            let name = self.dataset.target().name(key);
            let problem = "lies among the claims, but belongs to no partition";
            report.findings.push(Finding::new("state", name, problem, Remedy::Investigate));
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
                    report.findings.push(Finding::new("state", name, &problem, remedy));
                    unknown.insert(partition.clone(), remedy);
                }
            }
        }
        Ok(logs)
    }

    /// Returns the claims of the selection that hold their objects, and counts them.
    fn standing<'l>(&self, logs: &'l [Log], report: &mut Report) -> Vec<Standing<'l>> {
        let mut standing = Vec::new();
        for log in logs.iter().filter(|log| self.selection.wants_partition(log.partition())) {
            let amendments = Arc::new(log.amendments());
            for (number, entry) in log.standing() {
                let name = log.name(self.dataset, number);
                if matches!(entry.record, Record::Remove(_)) && entry.state != State::Done {
                    let problem = "is a removal that is not finished";
                    report.findings.push(Finding::new(
                        "unfinished",
                        &name,
                        problem,
                        Remedy::Convert,
                    ));
                }
                let Record::Add(claim) = &entry.record else { continue };
                if entry.state == State::Void {
                    continue;
                }
                report.claims += 1;
                report.lines += claim.lines;
                report.rows += claim.rows;
                report.rejects += claim.rejects.values().sum::<u64>();
                if entry.state != State::Done {
                    let problem = "is claimed, but its files may not be published yet";
                    report.findings.push(Finding::new(
                        "unfinished",
                        &name,
                        problem,
                        Remedy::Publish,
                    ));
                }
                let log_type = log.partition().log_type;
                let (state, amendments) = (&entry.state, Arc::clone(&amendments));
                standing.push(Standing { log_type, number, claim, state, amendments, name });
            }
        }
        standing
    }

    /// Every listed object must be in one claim, unchanged.
    ///
    /// Copies of an object can be below its day of delivery and below the day of its end time, and either can be
    /// claimed. So the claims of days adjacent to the selection also count.
    fn compare_with_source(
        &self,
        listing: &Listing,
        (logs, unknown): (&[Log], &BTreeMap<Partition, Remedy>),
        standing: &[Standing],
        report: &mut Report,
    ) {
        let mut held = HashMap::new();
        for Standing { number, claim, amendments, name, .. } in standing {
            for (object, before) in HeldObject::of(*number, claim, amendments) {
                if let Some((_, first)) = held.insert(identity(&object.name), (before, name)) {
                    let problem = format!("is claimed twice, by {first} and {name}");
                    report.findings.push(Finding::new(
                        "twice",
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
                        report.findings.push(Finding::new("twice", url, &problem, Remedy::Remove));
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
                    // Its rows are compared later.
                    Change::Touched if self.read_data.is_some() => {}
                    Change::Touched => {
                        let problem = "was touched since it was converted (new ETag or time); its content was not compared";
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

    /// Claims must account for all files in the tables' directories.
    fn find_unaccounted(
        &self,
        files: &DataFiles,
        logs: &[Log],
        unknown: &mut BTreeMap<Partition, Remedy>,
        report: &mut Report,
    ) -> Result<(), DatasetError> {
        let logs: HashMap<&Partition, &Log> =
            logs.iter().map(|log| (log.partition(), log)).collect();
        let mut partitions = BTreeSet::new();
        for key in files.keys() {
            let partition = self.dataset.partition_of(&key).filter(|_| !is_hidden(&key));
            if let Some(partition) = partition {
                partitions.insert(partition);
            } else {
                let name = self.dataset.target().name(&key);
                let problem = "is in a table's directory, but is not a file of a partition";
                report.findings.push(Finding::new("orphan", name, problem, Remedy::Move));
            }
        }
        partitions.retain(|partition| !unknown.contains_key(partition));
        for partition in &partitions {
            let empty = Log::empty(partition);
            let log = logs.get(partition).copied().unwrap_or(&empty);
            if files.unaccounted(self.dataset, log, false)?.is_empty() {
                continue;
            }
            // Another run may have published files since the log was read.
            let log = match Log::read(self.dataset, partition, &Hints::default()) {
                Err(error) if error.is_of_partition() => empty,
                log => log?,
            };
            for key in files.unaccounted(self.dataset, &log, false)? {
                let name = self.dataset.target().name(&key);
                let problem = "is in a table's directory, but no claim names it";
                report.findings.push(Finding::new("orphan", name, problem, Remedy::RepairOrMove));
                unknown.insert(partition.clone(), Remedy::Repair);
            }
        }
        Ok(())
    }

    /// Looks at the files of a claim, and at their rows if that is wanted.
    fn look_at(
        &self,
        standing: &Standing,
        objects: &HashMap<&str, &Object>,
        sample: &Sample,
    ) -> Result<Looked, PlanError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(PlanError::Interrupted);
        }
        let Standing { claim, state, name, .. } = standing;
        let mut looked = Looked::default();
        if let Some(problem) = claim.contradiction() {
            looked.findings.push(Finding::new("counts", name, &problem, Remedy::Remove));
        }
        if **state != State::Done {
            return Ok(looked);
        }
        let mut readable = true;
        for output in &claim.outputs {
            let file = self.dataset.target().name(&output.file.key);
            match output::check(self.dataset, claim, output, self.read_data.is_some())? {
                None => looked.files += 1,
                Some(problem) => {
                    readable = false;
                    looked.findings.push(Finding::new("file", file, &problem, Remedy::Remove));
                }
            }
        }
        if let Some(redaction) = self.read_data.filter(|_| readable) {
            self.compare_rows(standing, (objects, sample), redaction, &mut looked);
        }
        Ok(looked)
    }

    /// Reads the objects of a claim again and compares their rows and rejects with those that stand.
    fn compare_rows(
        &self,
        standing: &Standing,
        (objects, sample): (&HashMap<&str, &Object>, &Sample),
        redaction: &Redaction,
        looked: &mut Looked,
    ) {
        let Standing { log_type, number, claim, amendments, .. } = standing;
        let standing = match rows::of_claim(self.dataset, log_type.table(), claim) {
            Ok(standing) => standing,
            Err(error) => {
                let name = claim.outputs.first().map_or("", |output| &output.file.key);
                let (name, problem) = (self.dataset.target().name(name), format!("{error:#}"));
                looked.findings.push(Finding::new("file", name, &problem, Remedy::Remove));
                return;
            }
        };
        for (claimed, before) in HeldObject::of(*number, claim, amendments) {
            let Some((object, url, change)) = self.comparable(claimed, &before, objects) else {
                looked.not_compared += 1;
                continue;
            };
            let source = &self.sources[object.source];
            match rows::of_object(log_type.table(), source, object, redaction) {
                Ok(read) => {
                    looked.compared += 1;
                    let stands = standing.get(claimed.name.as_str()).copied().unwrap_or_default();
                    match (read.difference(stands), change) {
                        (None, Change::Touched) => looked.touched += 1,
                        (None, _) if sample.contains(log_type.table(), claimed) => {
                            self.decode_again(*log_type, object, url, looked);
                        }
                        (None, _) => {}
                        (Some(problem), Change::Touched) => {
                            let problem =
                                format!("was rewritten since it was converted: {problem}");
                            looked.findings.push(Finding::new(
                                "changed",
                                url,
                                &problem,
                                Remedy::Remove,
                            ));
                        }
                        (Some(problem), _) => {
                            looked.findings.push(Finding::new(
                                "rows",
                                url,
                                &problem,
                                Remedy::Remove,
                            ));
                        }
                    }
                }
                Err(error) => looked.findings.push(Finding::unreadable(url, &error)),
            }
        }
    }

    /// Decodes an object with both decoders.
    fn decode_again(&self, log_type: LogType, object: &Object, url: String, looked: &mut Looked) {
        let source = &self.sources[object.source];
        let difference = match sample::difference((self.reference)(log_type), source, object) {
            Ok(difference) => difference,
            Err(error) => return looked.findings.push(Finding::unreadable(url, &error)),
        };
        looked.reference_decoded += 1;
        if let Some(difference) = difference {
            let problem = format!("the reference decoder returns a different result: {difference}");
            looked.findings.push(Finding::new("decoder", url, &problem, Remedy::ReportBug));
        }
    }

    /// Returns the listed object whose rows are to be compared with those of a claimed object, its URL, and whether it
    /// was touched. `None` if it is gone or was rewritten.
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

    /// Returns the sample of objects that the reference decoder also decodes.
    fn sample<'c>(
        &self,
        standing: &[Standing<'c>],
        objects: &HashMap<&str, &Object>,
    ) -> Sample<'c> {
        let mut sample = Sample::default();
        for Standing { log_type, number, claim, state, amendments, .. } in standing {
            let table = log_type.table();
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

/// Reports objects that are named like logs and are not converted, by kind.
fn find_left_out(listing: &Listing, report: &mut Report) {
    for kind in SkipReason::LOGS {
        let (Some(count), Some(key)) = (listing.skipped.get(kind), listing.examples.get(kind))
        else {
            continue;
        };
        let why = mismatch(key).unwrap_or_default();
        let problem = match count {
            1 => format!("is named like a log and is not converted: {why}"),
            many => format!(
                "is one of {many} objects that are named like logs and are not converted: {why}"
            ),
        };
        report.findings.push(Finding::new(kind, key, &problem, Remedy::RestoreName));
    }
}

/// Every object must have been read to its end, and have at least one row if it has lines.
fn find_incomplete(standing: &[Standing], report: &mut Report) {
    let mut objects = Objects::default();
    for Standing { number, claim, amendments, .. } in standing {
        objects.add(*number, claim, amendments);
    }
    objects.cut();
    report.objects_with_rejects = objects.with_rejects;
    report.worst_objects = objects.worst;
    report.accepted = objects.accepted;
    report.findings.extend(objects.findings);
}
