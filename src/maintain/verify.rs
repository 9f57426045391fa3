//! Verifies a dataset without writing to it.
//!
//! A verification compares the claims with the source and with the files in the table directories, and checks the
//! files' footers. Optionally, it reads the source again and compares the rows.

mod against_source;
mod around;
mod claimed;
mod days;
mod orphans;
mod output;
pub(crate) mod reference;
mod restored;
mod rewrites;
mod rows;
mod sample;
mod skipped;
mod with_rejects;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::claim::{Hints, Log, Record, State};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::{Partition, Position};
use crate::logs::schema::{LogType, Table};
use crate::maintain::verify::around::{ActiveClaim, Around, Claims, Contents};
use crate::maintain::verify::days::{Days, Partitions};
use crate::maintain::verify::orphans::Files;
use crate::maintain::verify::sample::Sample;
use crate::maintain::verify::with_rejects::Objects;
use crate::maintain::verify::workers::Workers;
use crate::plan::{self, Day, Gathering, PlanError, Remedy, Selection, WHOLE};
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
    /// Number of objects that could not be compared because they changed or were not listed.
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
    /// Number of retired objects that are still listed in the source.
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

/// The result of checking some days or claims.
#[derive(Default)]
struct Checked {
    /// All counts except those in the other fields.
    report: Report,
    /// Number of objects that could not be compared. Negative for late objects, which were counted before.
    not_compared: i64,
    with_rejects: Objects,
}

impl Checked {
    fn add(&mut self, other: Self) {
        let (own, other_report) = (&mut self.report, other.report);
        own.claims += other_report.claims;
        own.files += other_report.files;
        own.compacted_files += other_report.compacted_files;
        own.lines += other_report.lines;
        own.rows += other_report.rows;
        own.rejects += other_report.rejects;
        own.compared += other_report.compared;
        own.reference_decoded += other_report.reference_decoded;
        own.touched += other_report.touched;
        own.restorable += other_report.restorable;
        own.damaged += other_report.damaged;
        own.retired += other_report.retired;
        own.retired_in_source += other_report.retired_in_source;
        own.findings.extend(other_report.findings);
        self.not_compared += other.not_compared;
        self.with_rejects.append(other.with_rejects);
    }

    fn report(
        &mut self,
        kind: &'static str,
        name: impl Into<String>,
        problem: &str,
        remedy: Remedy,
    ) {
        self.report.findings.push(Finding::new(kind, name, problem, remedy));
    }

    /// Replaces the remedy `remove`, because the removal of a claim with retired objects would lose their rows.
    fn keep_retired(&mut self) {
        let findings = self.report.findings.iter_mut();
        for finding in findings.filter(|finding| finding.remedy == Remedy::Remove) {
            finding.remedy = Remedy::RemoveIfInSource;
        }
    }

    /// Returns the report.
    fn end(self) -> Report {
        let Self { mut report, not_compared, with_rejects } = self;
        report.not_compared = u64::try_from(not_compared).unwrap_or(0);
        report.objects_with_rejects = with_rejects.with_rejects;
        report.worst_objects = with_rejects.worst;
        report.accepted = with_rejects.accepted;
        report.findings.extend(with_rejects.findings);
        report.findings.sort();
        report
    }
}

impl Verification<'_> {
    /// Verifies the selection and returns a report with the findings.
    ///
    /// Days are verified while later days are listed. A listed object is compared with the claims of its day and of the
    /// adjacent days, so only a few days are in memory.
    ///
    /// # Errors
    ///
    /// Fails if the source or the dataset cannot be read, or if `stop` is set.
    pub fn run(&self) -> Result<Report, PlanError> {
        self.run_with_whole(WHOLE)
    }

    /// Like [`Self::run`], but each source lists `whole` objects in any order, and the rest in the order of partitions.
    #[doc(hidden)] // for tests
    pub fn run_with_whole(&self, whole: u64) -> Result<Report, PlanError> {
        let (mut partitions, mut findings) = (Partitions::default(), Vec::new());
        let files = Files::list(self.dataset)?;
        files.add_partitions(&mut partitions, &mut findings);
        let hints = Hints::list(self.dataset)?;
        hints.partitions().for_each(|partition| partitions.add(partition));
        for key in hints.unknown() {
            let name = self.dataset.target().name(key);
            let problem = "is in the directory of the claims, but belongs to no partition";
            findings.push(Finding::new("invalid_state", name, problem, Remedy::Investigate));
        }
        let gathering = Gathering::with_whole(self.sources, self.selection, self.stop, whole);
        let mut days = Days::new(gathering, &partitions);
        let pool = threads::pool(0)?;
        let checked = pool.in_place_scope(|scope| {
            let mut reader = Reader {
                verification: self,
                partitions: &partitions,
                files: &files,
                hints: &hints,
                unknown: BTreeMap::new(),
                sample: Sample::default(),
                findings,
                workers: Workers::new(scope, pool.current_num_threads()),
            };
            reader.read(&mut iter::from_fn(|| days.next().transpose()), false)?;
            reader.read(&mut with_beside(days.take_late()).map(Ok), true)?;
            let mut checked = reader.workers.end()?;
            checked.report.findings.append(&mut reader.findings);
            Ok::<_, PlanError>(checked)
        })?;
        let (listing, mut report) = (days.end(), checked.end());
        report.objects = listing.selected;
        for failure in &listing.failures {
            let finding =
                Finding::new("listing_failed", &failure.object, &failure.error, Remedy::Rename);
            report.findings.push(finding);
        }
        skipped::find(&listing, &mut report);
        report.findings.sort();
        Ok(report)
    }

    /// Checks a day. If its objects are late, everything else was checked before.
    fn check_day(&self, around: &Around, sample: &Sample) -> Result<Checked, PlanError> {
        let (mut checked, is_late) = (Checked::default(), around.day.is_late);
        self.compare_with_source(around, &mut checked);
        let mut all = Vec::new();
        for claims in around.day.partitions.iter().filter(|claims| claims.is_selected) {
            let active: Vec<ActiveClaim> = claims.active(self.dataset).collect();
            for active in &active {
                self.count_retired(active, around, &mut checked);
                if !is_late {
                    count(active, &mut checked);
                }
            }
            if !is_late {
                self.find_claimed_twice(around, claims, &mut checked);
                self.find_unfinished(claims, &mut checked);
                checked.add(self.check_rewrites(&claims.log)?);
            }
            all.extend(active);
        }
        let check = |active: &ActiveClaim| {
            if is_late {
                self.check_late(active, around, sample)
            } else {
                self.check(active, around, sample)
            }
        };
        let results: Result<Vec<_>, _> = all.par_iter().map(check).collect();
        results?.into_iter().for_each(|result| checked.add(result));
        Ok(checked)
    }

    /// Reports unfinished removals.
    fn find_unfinished(&self, claims: &Claims, checked: &mut Checked) {
        for (number, entry) in claims.log.unremoved() {
            if matches!(entry.record, Record::Remove(_)) && entry.state != State::Done {
                let name = claims.log.name(self.dataset, number);
                let problem = "is an unfinished removal";
                checked.report("unfinished_removal", name, problem, Remedy::Convert);
            }
        }
    }
}

/// Adds the counts of a claim. Reports it if it is not published, and its incomplete objects: objects that were not read
/// to the end, or that have lines but no rows.
fn count(active: &ActiveClaim, checked: &mut Checked) {
    let ActiveClaim { number, claim, state, amendments, name, .. } = active;
    checked.report.claims += 1;
    checked.report.lines += claim.lines;
    checked.report.rows += claim.rows;
    checked.report.rejects += claim.rejects.values().sum::<u64>();
    if **state != State::Done {
        let problem = "is claimed, but its files may not be published yet";
        checked.report("unpublished", name, problem, Remedy::Publish);
    }
    checked.with_rejects.add(*number, claim, amendments);
}

/// Returns the days of late objects and the days beside them, in order.
fn with_beside(late: Vec<Day>) -> impl Iterator<Item = Day> {
    let mut days = BTreeMap::<Position, Vec<_>>::new();
    for Day { position, objects } in late {
        let beside = [position.day.pred_opt(), position.day.succ_opt()].into_iter().flatten();
        for day in beside {
            days.entry(Position { day, ..position.clone() }).or_default();
        }
        days.entry(position).or_default().extend(objects);
    }
    days.into_iter().map(|(position, objects)| Day { position, objects })
}

/// Reads the claims of the days, and passes the days to the workers.
struct Reader<'v, 's, 'e> {
    verification: &'e Verification<'v>,
    partitions: &'s Partitions,
    files: &'s Files<'s>,
    hints: &'s Hints,
    /// The remedy for each partition whose converted objects are unknown.
    unknown: BTreeMap<Partition, Remedy>,
    sample: Sample,
    findings: Vec<Finding>,
    workers: Workers<'s, 'e, Contents>,
}

impl<'e> Reader<'_, '_, 'e> {
    /// Reads days, which must be in order.
    fn read(
        &mut self,
        days: &mut dyn Iterator<Item = Result<Day, PlanError>>,
        is_late: bool,
    ) -> Result<(), PlanError> {
        let (mut before, mut day): (Option<Arc<Contents>>, Option<Arc<Contents>>) = (None, None);
        loop {
            self.workers.wait()?;
            // After the listing has ended, only checks of files read `stop`, and claims can have no files.
            if self.verification.stop.load(Ordering::Relaxed) {
                return Err(PlanError::Interrupted);
            }
            let after = match days.next().transpose()? {
                Some(after) => {
                    let contents = self.contents(after, is_late)?;
                    let weight = contents.weight();
                    Some(self.workers.add(contents, weight))
                }
                None => None,
            };
            if let Some(day) = &day {
                self.check(Around::new(before.as_ref(), day, after.as_ref()));
            }
            if after.is_none() {
                return Ok(());
            }
            before = day;
            day = after;
        }
    }

    fn check(&mut self, around: Around) {
        let verification: &'e Verification = self.verification;
        verification.offer(&around, &mut self.sample);
        let sample = self.sample.clone();
        self.workers.check(move || verification.check_day(&around, &sample));
    }

    /// Reads the claims of a day. If its objects are late, its claims were read before, so they are not reported again.
    fn contents(&mut self, day: Day, is_late: bool) -> Result<Contents, DatasetError> {
        let mut partitions: BTreeSet<Partition> = self.partitions.on(&day.position).collect();
        for object in &day.objects {
            if !partitions.contains(&object.partition) {
                partitions.insert(Partition::clone(&object.partition));
            }
        }
        let selection = self.verification.selection;
        let is_selected = |partition: &Partition| selection.wants_partition(partition);
        let mut contents = Contents::new(day.position, day.objects, is_late);
        for partition in partitions {
            match Log::read(self.verification.dataset, &partition, self.hints) {
                Ok(log) => {
                    if !is_late {
                        self.find_orphans(&log)?;
                    }
                    let is_beside = || plan::beside(&partition).any(|beside| is_selected(&beside));
                    let is_selected = is_selected(&partition);
                    // Nothing is compared with the other claims, so they need no memory.
                    if is_selected || is_beside() {
                        let claims = Claims::new(log, is_selected);
                        if !is_late {
                            self.findings.extend(self.verification.find_misplaced(&claims));
                        }
                        contents.partitions.push(claims);
                    }
                }
                Err(error) => {
                    let Some(remedy) = Remedy::of(&error) else { return Err(error) };
                    if !is_late {
                        let (name, problem) = (partition.to_string(), error.with_source());
                        let finding = Finding::new("invalid_state", name, &problem, remedy);
                        self.findings.push(finding);
                        self.unknown.insert(partition.clone(), remedy);
                    }
                }
            }
            if let Some(remedy) = self.unknown.get(&partition) {
                contents.unknown.insert(partition.log_type, *remedy);
            }
        }
        Ok(contents)
    }

    /// Reports orphan files of a partition.
    fn find_orphans(&mut self, log: &Log) -> Result<(), DatasetError> {
        let orphans = self.files.orphans(log)?;
        if orphans.is_empty() {
            self.findings.extend(self.files.orphan_originals(log)?);
            self.findings.extend(self.files.orphan_compacted(log)?);
        } else {
            self.unknown.insert(log.partition().clone(), Remedy::Repair);
        }
        self.findings.extend(orphans);
        Ok(())
    }
}
