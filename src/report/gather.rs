//! Reads the claims of all partitions and the footers of their files in parallel, and combines them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, NaiveDate, Utc};
use rayon::prelude::*;

use crate::dataset::claim::{Claim, Hints, Log, Record, State};
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::{Name, Partition};
use crate::logs::reject;
use crate::logs::schema::LogType;
use crate::plan::Selection;
use crate::report::eras::{self, MonthNumber};
use crate::report::examples::{self, Candidates};
use crate::report::incomplete;
use crate::report::statements::{self, Locate};
use crate::report::{
    Counts, Facts, LoadBalancer, MAX_PROBLEMS, Region, RejectsOf, ReportError, Retired, SLOWEST,
    SlowBatch, Totals, Written, coverage,
};
use crate::util::threads;

/// Number of partitions to read concurrently. It may exceed the number of cores, because the threads mostly wait for
/// the store.
const THREADS: usize = 16;

/// What to report, and how.
pub(crate) struct Request<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// The path or URL of the dataset as the user specified it.
    pub name: &'a str,
    /// The partitions to report.
    pub selection: &'a Selection,
    /// The time of the report.
    pub created_at: DateTime<Utc>,
    /// Returns the location of a table's directory for an engine.
    pub locate: &'a Locate<'a>,
    /// Set to interrupt the report.
    pub stop: &'a AtomicBool,
}

/// The data read so far.
#[derive(Default)]
struct Gathered {
    regions: BTreeMap<(String, String, LogType), Totals>,
    balancers: BTreeMap<(String, String, String, LogType), coverage::Gathered>,
    months: BTreeMap<(LogType, MonthNumber), eras::Gathered>,
    rejects: BTreeMap<String, u64>,
    retired: Retired,
    incomplete: incomplete::Gathered,
    candidates: Candidates,
    /// The slowest batches so far.
    slowest: Vec<SlowBatch>,
    unfinished: u64,
    problems: Problems,
}

/// Problems found so far: the first few in alphabetical order, and the total number.
#[derive(Default)]
struct Problems {
    named: BTreeSet<String>,
    count: u64,
}

impl Problems {
    fn add(&mut self, problem: String) {
        self.count += 1;
        self.named.insert(problem);
        if self.named.len() > MAX_PROBLEMS {
            self.named.pop_last();
        }
    }

    fn merge(&mut self, other: Self) {
        let unnamed = other.count - other.named.len() as u64;
        for problem in other.named {
            self.add(problem);
        }
        self.count += unnamed;
    }

    fn list(self) -> Vec<String> {
        let more = self.count - self.named.len() as u64;
        let mut list: Vec<String> = self.named.into_iter().collect();
        if more > 0 {
            list.push(format!("{more} more files cannot be read"));
        }
        list
    }
}

impl Request<'_> {
    /// Reads the dataset and returns the report.
    ///
    /// # Errors
    ///
    /// Fails if the dataset cannot be listed or accessed, or if `stop` is set. A claim or file that cannot be read does
    /// not cause an error; the report lists it as a problem.
    pub(crate) fn gather(&self) -> Result<Facts, ReportError> {
        let hints = Hints::list(self.dataset)?;
        let partitions: Vec<&Partition> =
            hints.partitions().filter(|each| self.selection.wants_partition(each)).collect();
        let pool = threads::pool(THREADS)?;
        let mut gathered = pool.install(|| {
            partitions
                .par_iter()
                .try_fold(Gathered::default, |mut gathered, partition| {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(ReportError::Interrupted);
                    }
                    self.read(partition, &hints, &mut gathered)?;
                    Ok(gathered)
                })
                .try_reduce(Gathered::default, |one, other| Ok(one.merge(other)))
        })?;
        for key in hints.unknown() {
            let name = self.dataset.target().name(key);
            gathered.problems.add(format!(
                "{name} is in the directory of the claims, but belongs to no partition"
            ));
        }
        Ok(self.describe(gathered))
    }

    /// Reads the log of a partition and the footers of its files, and adds them to `gathered`.
    fn read(
        &self,
        partition: &Partition,
        hints: &Hints,
        gathered: &mut Gathered,
    ) -> Result<(), DatasetError> {
        let log = match Log::read(self.dataset, partition, hints) {
            Ok(log) => log,
            Err(error) if error.is_of_partition() => {
                gathered.problems.add(error.with_source());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut total = Totals::default();
        let amendments = log.amendments();
        for (number, entry) in log.unremoved() {
            let finished = matches!(entry.state, State::Done | State::Aborted);
            // An amendment takes effect before it is marked done, so it never counts as unfinished.
            let is_amendment = matches!(entry.record, Record::Amend(_));
            gathered.unfinished += u64::from(!finished && !is_amendment);
            let Record::Add(claim) = &entry.record else { continue };
            if entry.state == State::Aborted {
                continue;
            }
            total.days = 1;
            let counts = gathered.add_objects(partition, claim);
            total.counts.add(&counts);
            for object in &claim.objects {
                if amendments.is_retired(number, object) {
                    gathered.retired.objects += 1;
                    gathered.retired.source_bytes += object.size;
                }
            }
            gathered.incomplete.add(partition, number, claim, &amendments);
            total.written.batches += 1;
            if let Some(seconds) = claim.seconds {
                let partition = partition.clone();
                let batch = SlowBatch { seconds, partition, claim: number, counts };
                gathered.slowest.push(batch);
            }
            for (reason, lines) in &claim.rejects {
                *gathered.rejects.entry(reason.clone()).or_default() += lines;
            }
            if finished {
                self.add_files(partition, claim, &mut total.written, gathered);
            }
        }
        if total.days > 0 {
            let Partition { log_type, account, region, .. } = partition;
            let key = (account.clone(), region.clone(), *log_type);
            add(gathered.regions.entry(key).or_default(), &total);
        }
        keep_slowest(&mut gathered.slowest);
        Ok(())
    }

    /// Adds the published files of a claim.
    fn add_files(
        &self,
        partition: &Partition,
        claim: &Claim,
        written: &mut Written,
        gathered: &mut Gathered,
    ) {
        for output in &claim.outputs {
            if output.has_originals() {
                written.original_files += 1;
                written.original_bytes += output.file.size;
                continue;
            }
            if output.table == reject::TABLE {
                written.reject_files += 1;
                written.reject_bytes += output.file.size;
                for reason in claim.rejects.keys() {
                    examples::consider(&mut gathered.candidates, reason, output);
                }
                continue;
            }
            written.files += 1;
            written.compact_files += u64::from(claim.profile.is_compact());
            written.bytes += output.file.size;
            match PublishedFile::new(self.dataset, output).footer() {
                Ok(footer) => {
                    let key = (partition.log_type, eras::month(partition.day));
                    let month = gathered.months.entry(key).or_default();
                    month.add(partition.log_type.table(), &footer);
                }
                Err(error) => {
                    let name = self.dataset.target().name(&output.file.key);
                    gathered.problems.add(format!("{name} cannot be read: {error}"));
                }
            }
        }
    }

    /// Returns the report, including values that depend on all partitions.
    fn describe(&self, gathered: Gathered) -> Facts {
        let (mut examples, unread) = examples::read(self.dataset, &gathered.candidates);
        let mut problems = gathered.problems;
        for problem in unread {
            problems.add(problem);
        }
        let mut problems = problems.list();
        let months: Vec<_> = gathered
            .months
            .iter()
            .map(|((log_type, month), gathered)| gathered.describe(*log_type, *month))
            .collect();
        let load_balancers: Vec<LoadBalancer> = gathered
            .balancers
            .into_iter()
            .filter_map(|((account, region, balancer, log_type), gathered)| {
                gathered.describe(account, region, balancer, log_type)
            })
            .collect();
        let (totals, log_types) = totals(&gathered.regions, &load_balancers);
        for log_type in LogType::ALL {
            let of_type = months.iter().filter(|month| month.log_type == log_type);
            let extra: u64 = of_type.map(|month| month.rows_with_extra_fields).sum();
            if extra > 0 {
                let table = &log_type.table().name;
                problems.push(format!(
                    "{table} has fields that this version does not know, in {extra} of its rows; they are in \
                     extra_fields. A newer version may have columns for them"
                ));
            }
        }
        let incomplete_objects = gathered.incomplete.describe();
        if incomplete_objects.open() > 0 {
            let objects = incomplete_objects.open();
            problems.push(format!(
                "{objects} objects are incomplete: they are damaged, or none of their lines became a row"
            ));
        }
        if gathered.unfinished > 0 {
            let claims = gathered.unfinished;
            problems
                .push(format!("{claims} claims are unfinished; the next conversion finishes them"));
        }
        let regions: Vec<Region> = gathered
            .regions
            .into_iter()
            .map(|((account, region, log_type), totals)| Region {
                account,
                region,
                log_type,
                totals,
            })
            .collect();
        let rejects = gathered.rejects.into_iter().map(|(reason, lines)| {
            let example = examples.remove(&reason);
            RejectsOf { reason, lines, example }
        });
        Facts {
            dataset: self.name.to_owned(),
            created_at: self.created_at,
            version: env!("CARGO_PKG_VERSION"),
            layout: self.dataset.layout(),
            first_day: load_balancers.iter().map(|each| each.first_day).min(),
            last_day: load_balancers.iter().map(|each| each.last_day).max(),
            totals,
            log_types,
            rejects: rejects.collect(),
            retired: gathered.retired,
            incomplete_objects,
            statements: statements::of(&regions, self.dataset.layout(), self.locate),
            regions,
            load_balancers,
            months,
            slowest_batches: gathered.slowest,
            problems,
        }
    }
}

impl Gathered {
    /// Adds the objects of a claim, and returns their counts.
    fn add_objects(&mut self, partition: &Partition, claim: &Claim) -> Counts {
        let mut total = Counts::default();
        let mut balancers: BTreeMap<&str, coverage::Gathered> = BTreeMap::new();
        for object in &claim.objects {
            let rejects: u64 = object.rejects.values().sum();
            let counts = Counts {
                objects: 1,
                lines: object.lines,
                rows: object.lines.saturating_sub(rejects),
                rejects,
                source_bytes: object.size,
            };
            total.add(&counts);
            let name = Name::parse(&object.name);
            let (balancer, end_time) = name.map_or(("", ""), |name| (name.balancer, name.end_time));
            balancers.entry(balancer).or_default().add(partition.day, end_time, &counts);
        }
        let Partition { log_type, account, region, .. } = partition;
        for (balancer, gathered) in balancers {
            let key = (account.clone(), region.clone(), balancer.replace('.', "/"), *log_type);
            self.balancers.entry(key).or_default().merge(gathered);
        }
        total
    }

    fn merge(mut self, other: Self) -> Self {
        for (key, totals) in other.regions {
            add(self.regions.entry(key).or_default(), &totals);
        }
        for (key, gathered) in other.balancers {
            self.balancers.entry(key).or_default().merge(gathered);
        }
        for (key, gathered) in other.months {
            self.months.entry(key).or_default().merge(&gathered);
        }
        for (reason, lines) in other.rejects {
            *self.rejects.entry(reason).or_default() += lines;
        }
        for (reason, output) in &other.candidates {
            examples::consider(&mut self.candidates, reason, output);
        }
        self.slowest.extend(other.slowest);
        keep_slowest(&mut self.slowest);
        self.unfinished += other.unfinished;
        self.retired.objects += other.retired.objects;
        self.retired.source_bytes += other.retired.source_bytes;
        self.incomplete.merge(other.incomplete);
        self.problems.merge(other.problems);
        self
    }
}

fn add(totals: &mut Totals, other: &Totals) {
    totals.days += other.days;
    totals.counts.add(&other.counts);
    totals.written.add(&other.written);
}

/// Truncates the list to the slowest batches. The order does not depend on thread timing.
fn keep_slowest(batches: &mut Vec<SlowBatch>) {
    batches.sort_by(|a, b| {
        let slowest_first = b.seconds.total_cmp(&a.seconds);
        slowest_first.then_with(|| (&a.partition, a.claim).cmp(&(&b.partition, b.claim)))
    });
    batches.truncate(SLOWEST);
}

/// Returns the totals of all regions and of each log type. A day with objects in more than one region counts once.
fn totals(
    regions: &BTreeMap<(String, String, LogType), Totals>,
    balancers: &[LoadBalancer],
) -> (Totals, BTreeMap<LogType, Totals>) {
    let (mut all, mut log_types) = (Totals::default(), BTreeMap::<LogType, Totals>::new());
    for ((.., log_type), totals) in regions {
        add(&mut all, totals);
        add(log_types.entry(*log_type).or_default(), totals);
    }
    let distinct = |wanted: Option<LogType>| {
        let of_type = balancers.iter().filter(|each| wanted.is_none_or(|it| it == each.log_type));
        let days: BTreeSet<NaiveDate> =
            of_type.flat_map(|each| each.calendar.iter().map(|day| day.day)).collect();
        days.len() as u64
    };
    all.days = distinct(None);
    for (log_type, totals) in &mut log_types {
        totals.days = distinct(Some(*log_type));
    }
    (all, log_types)
}
