//! After publishing, every Iceberg table contains exactly the rows of the claims that are done, even if publishers,
//! conversions, compactions and removals crash, fail, race or pause at any call to the store or the catalog.
//!
//! The catalog is a file for each table in the same store, which is compared and replaced in one call. Such a call can
//! fail before or after it takes effect, take effect later, or report a conflict for no reason.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use alb2parquet::Reader;
use alb2parquet::arrow::array::AsArray;
use alb2parquet::arrow::datatypes::Field;
use alb2parquet::internals::catalog::iceberg::{
    Committed, Files, IcebergError, Options, Pointer, PointerCatalog, Pointers, Publication,
    Publisher, without_compaction,
};
use alb2parquet::internals::dataset::claim::{Claim, Hints, Log, Output};
use alb2parquet::internals::dataset::layout::Dataset;
use alb2parquet::internals::dataset::ledger::Ledger;
use alb2parquet::internals::encode::{Format, TableEncoder};
use alb2parquet::internals::logs::key::Partition;
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::clean::clean;
use alb2parquet::internals::maintain::compact::{Compaction, Replacement};
use alb2parquet::internals::maintain::repair;
use alb2parquet::internals::maintain::verify::Verification;
use alb2parquet::internals::plan::Selection;
use alb2parquet::internals::redact::Redaction;
use alb2parquet::internals::store::{Bucket, Patience, Writing};
use futures::executor::block_on;
use futures::{FutureExt as _, StreamExt as _};
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestListWriter,
    ManifestStatus, TableMetadata, TableMetadataBuilder,
};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::simulation::random::Random;
use crate::simulation::store::{Fault, Rates, SimStore};
use crate::simulation::{PROGRAMS, World, expect_faults, ignore_faults};

/// Default number of seeds.
const SEEDS: u64 = 100;
/// URL of the dataset.
const ROOT: &str = "sim://lake";

/// A catalog that stores each table's pointer as a file.
struct SimPointers(SimStore);

impl SimPointers {
    /// Replaces a pointer, unless it differs from `from`.
    fn replace(
        &self,
        table: &str,
        from: Option<String>,
        to: &str,
    ) -> Result<Committed, IcebergError> {
        let (path, to) = (path_of(table), to.to_owned());
        let done = self.0.call(&format!("commit {to}"), true, true, move |store| {
            let current = read(store, &path);
            if current != from {
                return Ok(Committed::Conflict);
            }
            store.put(&path, to.into_bytes().into()).now_or_never().unwrap()?;
            Ok(Committed::Changed)
        });
        match done {
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Committed::Conflict),
            done => done.map_err(|error| transient(&error)),
        }
    }
}

fn path_of(table: &str) -> Path {
    Path::from(format!("catalog/{table}"))
}

fn transient(error: &object_store::Error) -> IcebergError {
    IcebergError::Catalog { name: "sim".to_owned(), why: error.to_string(), is_transient: true }
}

/// Returns the text of a file, if it exists.
fn read(store: &object_store::memory::InMemory, path: &Path) -> Option<String> {
    let bytes = async { store.get(path).await.ok()?.bytes().await.ok() };
    let bytes = bytes.now_or_never().unwrap()?;
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

impl Pointers for SimPointers {
    fn get(&self, table: &str) -> Result<Option<Pointer>, IcebergError> {
        let path = path_of(table);
        let found = self.0.call("load", false, false, move |store| Ok(read(store, &path)));
        let found = found.map_err(|error| transient(&error))?;
        Ok(found.map(|location| Pointer { location, version: None }))
    }

    fn insert(
        &self,
        table: &str,
        _: &TableMetadata,
        location: &str,
    ) -> Result<Committed, IcebergError> {
        self.replace(table, None, location)
    }

    fn swap(
        &self,
        table: &str,
        from: &Pointer,
        _: &TableMetadata,
        to: &str,
    ) -> Result<Committed, IcebergError> {
        self.replace(table, Some(from.location.clone()), to)
    }
}

impl World {
    /// Returns the metadata files of an actor.
    fn files(&self, actor: usize, dead: &Arc<AtomicBool>) -> Files {
        let store = Arc::new(self.store(actor, false, dead));
        let patience = Patience { attempts: 4, pause: Duration::ZERO };
        Files::opened_by(patience, move |directory| {
            let path = directory.strip_prefix(ROOT).expect("metadata is in the dataset");
            let (store, uploads) = (Arc::clone(&store) as _, Arc::clone(&store) as _);
            Ok(Arc::new(Bucket::new(store, uploads, Path::from(path), directory, "staging")))
        })
    }

    /// Publishes the dataset.
    fn publish(&self, actor: usize, run: String) -> anyhow::Result<Publication> {
        self.publish_with(actor, run, false)
    }

    fn publish_with(
        &self,
        actor: usize,
        run: String,
        add_missing: bool,
    ) -> anyhow::Result<Publication> {
        let dead = Arc::default();
        let pointers = SimPointers(self.store(actor, false, &dead));
        self.publish_to(pointers, actor, run, add_missing, &dead)
    }

    fn publish_to(
        &self,
        pointers: impl Pointers,
        actor: usize,
        run: String,
        add_missing: bool,
        dead: &Arc<AtomicBool>,
    ) -> anyhow::Result<Publication> {
        let dataset = self.dataset(actor, run, dead)?;
        let files = self.files(actor, dead);
        let catalog = PointerCatalog::new(pointers, &files);
        let publisher = Publisher {
            dataset: &dataset,
            root: ROOT,
            catalog: &catalog,
            files: &files,
            warehouse: "sim://lake/_alb2parquet/iceberg",
            options: Options {
                add_missing,
                pause: Duration::ZERO,
                threads: 1,
                ..Options::default()
            },
            stop: &AtomicBool::new(false),
        };
        Ok(publisher.publish()?)
    }

    /// Returns the tables that must not contain compacted files, with the reasons.
    fn refused(&self, revert: bool) -> BTreeMap<String, String> {
        let dead = Arc::default();
        let files = self.files(0, &dead);
        let catalog = PointerCatalog::new(SimPointers(self.store(0, false, &dead)), &files);
        without_compaction(&catalog, &files, revert).unwrap()
    }

    /// Adds a claim with one data file to a partition. A third of the runs write files as an older version would, which
    /// did not have the last column.
    fn convert(&self, actor: usize, run: String, partition: &Partition) -> anyhow::Result<()> {
        let dataset = self.dataset(actor, run.clone(), &Arc::default())?;
        let ledger = Ledger::open(&dataset)?;
        let line = "http 2025-11-24T10:00:00.000000Z 0.0012 192.0.2.1:80 web PASS 200 -\n";
        let mut table = partition.log_type.table().clone();
        if is_old(&run) {
            table.fields.pop();
        }
        let mut file = TableEncoder::new(&table, Format::default(), Vec::new())?;
        // The key identifies the row.
        for batch in Reader::of_text(partition.log_type, &run, line.as_bytes()) {
            let batch = batch?;
            let fields = table.batch_schema();
            let index = |field: &Arc<_>| batch.schema().index_of(Field::name(field)).unwrap();
            let columns: Vec<usize> = fields.fields().iter().map(index).collect();
            file.write(&batch.project(&columns)?)?;
        }
        let bytes = file.finish(&[])?;
        let key = dataset.file(&table.name, partition, &format!("{run}.parquet"));
        let mut writing = Writing::begin(dataset.target(), key)?;
        writing.write_all(&bytes)?;
        let output = Output { table: table.name.clone(), rows: 1, file: writing.seal()? };
        let claim = Claim { run, lines: 1, rows: 1, outputs: vec![output], ..Claim::default() };
        ledger.commit(partition, claim, vec![writing])?;
        Ok(())
    }

    fn remove_partition(
        &self,
        actor: usize,
        run: String,
        partition: &Partition,
    ) -> anyhow::Result<()> {
        let dataset = self.dataset(actor, run, &Arc::default())?;
        Ledger::open(&dataset)?.remove(partition, false)?;
        Ok(())
    }

    /// Compacts the dataset, or reverts earlier compactions.
    fn compact(&self, actor: usize, run: String, revert: bool) -> anyhow::Result<Vec<Replacement>> {
        self.compact_with(actor, run, revert, &BTreeMap::new())
    }

    fn compact_with(
        &self,
        actor: usize,
        run: String,
        revert: bool,
        refused: &BTreeMap<String, String>,
    ) -> anyhow::Result<Vec<Replacement>> {
        let dataset = self.dataset(actor, run, &Arc::default())?;
        let compaction = Compaction {
            dataset: &dataset,
            selection: &Selection::default(),
            target_file_size: 1 << 20,
            min_files: 2,
            refused,
            revert,
            write: true,
            threads: 1,
            stop: &AtomicBool::new(false),
        };
        Ok(compaction.run()?)
    }

    /// Returns the keys in the rows of files.
    fn rows<'k>(&self, files: impl IntoIterator<Item = &'k String>) -> anyhow::Result<Vec<String>> {
        let state = self.scheduler.state();
        let mut rows = Vec::new();
        for file in files {
            let path = Path::from(file.as_str());
            let bytes = async { state.dataset.get(&path).await?.bytes().await };
            let bytes = bytes.now_or_never().unwrap()?;
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
                let batch = batch?;
                let keys = batch.column_by_name("source_key").unwrap().as_string::<i32>().clone();
                rows.extend(keys.iter().map(|key| key.unwrap().to_owned()));
            }
        }
        rows.sort();
        Ok(rows)
    }

    /// Returns the data files in the table, read with the Iceberg crate.
    fn published(&self) -> Vec<String> {
        let state = self.scheduler.state();
        let get = |url: &str| {
            let path = Path::from(url.strip_prefix(ROOT).unwrap());
            let bytes = async { state.dataset.get(&path).await.unwrap().bytes().await.unwrap() };
            bytes.now_or_never().unwrap()
        };
        let Some(location) = read(&state.dataset, &path_of(TABLE_OF_CHECKS)) else {
            return Vec::new();
        };
        let table: TableMetadata = serde_json::from_slice(&get(&location)).unwrap();
        let Some(snapshot) = table.current_snapshot() else { return Vec::new() };
        let list = get(snapshot.manifest_list());
        let list = ManifestList::parse_with_version(&list, FormatVersion::V2).unwrap();
        let mut files = Vec::new();
        let is_data = |manifest: &&ManifestFile| manifest.content == ManifestContentType::Data;
        for manifest in list.entries().iter().filter(is_data) {
            for entry in Manifest::parse_avro(&get(&manifest.manifest_path)).unwrap().entries() {
                if entry.status != ManifestStatus::Deleted {
                    files.push(entry.file_path().strip_prefix("sim://lake/").unwrap().to_owned());
                }
            }
        }
        files.sort();
        files
    }
}

/// Returns whether a run has an older version.
fn is_old(run: &str) -> bool {
    run.bytes().map(u32::from).sum::<u32>() % 3 == 0
}

/// Returns the rows that are in a table more than once. Ignores files that a removal has deleted.
fn doubled(world: &World) -> Vec<String> {
    let files = world.published();
    let rows = files.iter().filter_map(|file| world.rows([file]).ok()).flatten();
    let mut seen = BTreeSet::new();
    rows.filter(|row| !seen.insert(row.clone())).collect()
}

/// Loses each file of the claim logs whose name ends with `kind` with a probability, in thousandths.
fn lose(world: &World, random: &mut Random, kind: &str, probability: u64) -> u64 {
    let state = world.scheduler.state();
    let prefix = Path::from("_alb2parquet/claims");
    let paths = block_on(state.dataset.list(Some(&prefix)).collect::<Vec<_>>());
    let paths = paths.into_iter().map(|found| found.unwrap().location);
    let lost = paths.filter(|path| path.as_ref().ends_with(kind) && random.hits(probability));
    let mut count = 0;
    for path in lost.collect::<Vec<_>>() {
        block_on(state.dataset.delete(&path)).unwrap();
        count += 1;
    }
    count
}

/// Returns the data files of the claims that are done.
fn claimed(dataset: &Dataset) -> anyhow::Result<BTreeSet<String>> {
    let hints = Hints::list(dataset)?;
    let mut keys = BTreeSet::new();
    for partition in hints.partitions() {
        for (_, claim) in Log::read(dataset, partition, &hints)?.holding() {
            keys.extend(claim.outputs.iter().map(|output| output.file.key.to_string()));
        }
    }
    Ok(keys)
}

/// Returns how the compacted files in the table differ from those of the rewrites in effect, or what `verify` finds.
fn compacted_problem(dataset: &Dataset, published: &[String]) -> anyhow::Result<Option<String>> {
    let compacted: Vec<&String> =
        published.iter().filter(|key| key.starts_with("_alb2parquet/compacted/")).collect();
    let redaction = Redaction::default();
    let verification = Verification {
        sources: &[],
        dataset,
        selection: &Selection::default(),
        read_data: Some(&redaction),
        restore: false,
        reference: &LogType::table,
        stop: &AtomicBool::new(false),
    };
    let report = verification.run()?;
    if report.compacted_files != compacted.len() as u64 {
        return Ok(Some(format!("{report:?}, but the table has {compacted:?}")));
    }
    // The simulated conversions embed no claims.
    let mut findings = report.findings.iter();
    let kinds = ["orphan", "invalid_state", "unpublished"];
    let found = findings
        .find(|finding| finding.name.contains("compacted/") || kinds.contains(&finding.kind));
    Ok(found.map(|finding| format!("{finding:?}")))
}

/// The table that the simulated conversions fill.
const TABLE_OF_CHECKS: &str = "alb_health_check_logs";

fn partition(day: u64) -> Partition {
    let day = chrono::NaiveDate::from_ymd_opt(2025, 11, 24 + day as u32).unwrap();
    Partition::new(LogType::HealthCheck, "012345678901", "eu-west-1", day).unwrap()
}

/// Actions: conversions, removals, compactions, publications and deletions of compacted files that no rewrite names.
const ACTIONS: u64 = 13;

/// Performs an action of an actor.
fn act(world: &World, actor: usize, action: u64, name: String, day: u64) -> anyhow::Result<()> {
    match action {
        0..4 => world.convert(actor, name, &partition(day))?,
        4 => world.remove_partition(actor, name, &partition(day))?,
        9 | 10 => drop(world.compact(actor, name, false)?),
        11 => drop(world.compact(actor, name, true)?),
        12 => {
            let dataset = world.dataset(actor, name, &Arc::default())?;
            let cleaned = clean(&dataset, Duration::from_hours(1))?;
            // No rewrite is ever lost.
            if !cleaned.removed.is_empty() {
                world.scheduler.state().violation = Some(format!("{cleaned:?}"));
            }
        }
        _ => {
            let publication = world.publish(actor, name)?;
            let mut failures = publication.tables.iter().flat_map(|table| &table.failures);
            // No claim is ever lost, so every file must be accounted for.
            if let Some(failure) = failures.find(|failure| failure.contains("no claim accounts")) {
                world.scheduler.state().violation = Some(failure.clone());
            }
            let doubled = doubled(world);
            if !doubled.is_empty() {
                world.scheduler.state().violation = Some(format!("{doubled:?} are doubled"));
            }
        }
    }
    Ok(())
}

/// Runs actors concurrently. Each performs its actions: a kind of action, and the day that it affects.
fn run_actors(world: &World, actors: &[Vec<(u64, u64)>]) {
    world.scheduler.start(actors.len());
    thread::scope(|scope| {
        for (actor, actions) in actors.iter().enumerate() {
            scope.spawn(move || {
                world.scheduler.enter(actor);
                // An actor that panics because of a bug must not block the other actors.
                let result = catch_unwind(AssertUnwindSafe(|| {
                    for (number, (action, day)) in actions.iter().enumerate() {
                        let name = format!("run-{actor}-{number}");
                        ignore_faults(|| act(world, actor, *action, name, *day));
                    }
                }));
                world.scheduler.leave(actor);
                if let Err(panic) = result {
                    resume_unwind(panic);
                }
            });
        }
    });
}

fn random_actions(random: &mut Random, actors: u64) -> Vec<Vec<(u64, u64)>> {
    let mut actions =
        || (0..2 + random.below(5)).map(|_| (random.below(ACTIONS), random.below(2))).collect();
    (0..actors).map(|_| actions()).collect()
}

/// Runs a seed. Returns the violation, if there is one, and the faults.
fn run_seed(seed: u64, trace: bool) -> (Option<String>, BTreeMap<&'static str, u64>) {
    let mut random = Random::new(seed);
    let mut rate = |most: u64| if random.hits(300) { 0 } else { random.below(most) };
    let rates = Rates {
        crash: rate(20),
        error: rate(20),
        conflict: rate(200),
        pause: rate(60),
        lag: rate(500),
        in_flight: 500,
        ..Rates::default()
    };
    let actors = 1 + random.below(3);
    let actors = random_actions(&mut random, actors);
    let world = World::new(random);
    {
        let mut state = world.scheduler.state();
        // Files may disappear, because of removals.
        (state.rates, state.trace, state.removing) = (rates, trace, true);
    }
    run_actors(&world, &actors);
    world.scheduler.apply_delayed();
    world.scheduler.state().rates = Rates::default();
    world.scheduler.start(1);
    let violation = check(&world).and_then(|violation| match violation {
        None => check_losses(&world, &mut Random::new(!seed)),
        violation => Ok(violation),
    });
    let violation = violation.unwrap_or_else(|error| Some(format!("{error:#}")));
    world.scheduler.leave(0);
    let violation = world.scheduler.state().violation.take().or(violation);
    let faults = world.scheduler.state().faults.clone();
    (violation, faults)
}

/// Finishes all claims, publishes, and compares the table with the claims.
fn check(world: &World) -> anyhow::Result<Option<String>> {
    // A run without objects finishes the claims of the other runs.
    world.run(0, "last".to_owned(), PROGRAMS[0])?;
    let publication = world.publish(0, "last publication".to_owned())?;
    let dataset = world.dataset(0, "reader".to_owned(), &Arc::default())?;
    let (claimed, published) = (claimed(&dataset)?, world.published());
    if !publication.is_complete() {
        return Ok(Some(format!("the last publication is not complete: {publication:?}")));
    }
    if world.rows(&published)? != world.rows(&claimed)? {
        return Ok(Some(format!("the table has {published:?}, but the claims have {claimed:?}")));
    }
    if let Some(problem) = compacted_problem(&dataset, &published)? {
        return Ok(Some(problem));
    }
    let again = world.publish(0, "one more".to_owned())?;
    let is_changed = again.tables.iter().any(|table| table.added_files + table.removed_files > 0);
    Ok(is_changed.then(|| format!("another publication changes the table: {again:?}")))
}

/// Loses parts of the claim logs of a dataset that is published. Whatever is lost, the table keeps each row once.
fn check_losses(world: &World, random: &mut Random) -> anyhow::Result<Option<String>> {
    let rows = world.rows(&world.published())?;
    let check_rows = |lost: &str, count: u64| -> anyhow::Result<Option<String>> {
        *world.scheduler.state().faults.entry("lost state file").or_insert(0) += count;
        // It is incomplete if claims are lost.
        let published = world.publish(0, format!("after the loss of {lost}"))?;
        let now = world.rows(&world.published())?;
        let violation = format!("after the loss of {lost}: {rows:?}, now {now:?}: {published:?}");
        Ok((now != rows).then_some(violation))
    };
    // A failure of the machine can lose markers. The next run that finishes the claims creates them again.
    let count = lose(world, random, ".done.json", 300);
    if let Some(violation) = check_rows("markers", count)? {
        return Ok(Some(violation));
    }
    if let Some(violation) = check(world)? {
        return Ok(Some(format!("after lost markers: {violation}")));
    }
    let count = lose(world, random, ".json", 300);
    check_rows("entries", count)
}

/// Minimum count of each kind of fault for the default number of seeds.
const AT_LEAST: [(&str, u64); 7] = [
    ("conflict without a file", 50),
    ("crash", 40),
    ("error", 40),
    ("lagging list", 250),
    ("late write", 8),
    ("lost state file", 120),
    ("pause", 120),
];

#[test]
fn simulation_of_publishers() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(seed) = number("ALB2PARQUET_SEED") {
        assert_eq!(run_seed(seed, true).0, None);
        return;
    }
    let seeds = number("ALB2PARQUET_SEEDS").unwrap_or(SEEDS);
    let mut faults = BTreeMap::new();
    for seed in 0..seeds {
        let (violation, of_seed) = run_seed(seed, false);
        assert_eq!(violation, None, "seed {seed}");
        for (fault, count) in of_seed {
            *faults.entry(fault).or_insert(0) += count;
        }
    }
    println!("{faults:?}");
    expect_faults(&faults, &AT_LEAST, seeds, SEEDS);
}

/// Number of seeds for removals during a publication.
const RACES: u64 = 100;

#[test]
fn a_removal_during_a_publication_is_published() {
    const REMOVE: u64 = 4;
    const PUBLISH: u64 = 5;
    for seed in 0..RACES {
        let world = World::new(Random::new(seed));
        world.scheduler.start(1);
        world.convert(0, "a".to_owned(), &partition(1)).unwrap();
        world.publish(0, "first".to_owned()).unwrap();
        world.convert(0, "b".to_owned(), &partition(0)).unwrap();
        {
            let mut state = world.scheduler.state();
            state.rates = Rates { pause: 100, conflict: 50, ..Rates::default() };
            state.removing = true;
        }
        // The second publication finds nothing to change, so the first one gets no conflict.
        run_actors(&world, &[vec![(PUBLISH, 0)], vec![(REMOVE, 0), (PUBLISH, 0)]]);
        world.scheduler.state().rates = Rates::default();
        world.scheduler.start(1);
        let dataset = world.dataset(0, "reader".to_owned(), &Arc::default()).unwrap();
        let claimed: Vec<String> = claimed(&dataset).unwrap().into_iter().collect();
        assert_eq!((world.published(), claimed.len()), (claimed, 1), "seed {seed}");
        assert_eq!(world.scheduler.state().violation.take(), None, "seed {seed}");
    }
}

/// Returns a world in which one actor makes calls without faults.
fn quiet() -> World {
    let world = World::new(Random::new(1));
    world.scheduler.state().removing = true;
    world.scheduler.start(1);
    world
}

/// Returns a world without faults, with three files in one partition.
fn with_three_files() -> World {
    let world = quiet();
    for run in ["a", "b", "c"] {
        world.convert(0, run.to_owned(), &partition(0)).unwrap();
    }
    world
}

#[test]
fn every_call_of_a_publication_can_fail() {
    let prepare = || {
        let world = quiet();
        world.convert(0, "a".to_owned(), &partition(0)).unwrap();
        world.convert(0, "b".to_owned(), &partition(1)).unwrap();
        world.publish(0, "first".to_owned()).unwrap();
        world.convert(0, "c".to_owned(), &partition(0)).unwrap();
        world.compact(0, "compaction".to_owned(), false).unwrap();
        world.remove_partition(0, "removal".to_owned(), &partition(1)).unwrap();
        world
    };
    let world = prepare();
    let before = world.scheduler.state().calls;
    world.publish(0, "second".to_owned()).unwrap();
    let calls = world.scheduler.state().calls - before;
    assert!(calls > 20, "{calls}");
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::ErrorBefore, Fault::ErrorAfter] {
        for call in 1..=calls {
            let world = prepare();
            world.scheduler.state().fail_at = Some((before + call, fault));
            ignore_faults(|| world.publish(0, "second".to_owned()).map(drop));
            world.scheduler.state().fail_at = None;
            assert_eq!(check(&world).unwrap(), None, "{fault:?} at call {call}");
        }
    }
}

#[test]
fn every_call_of_a_compaction_can_fail() {
    for revert in [false, true] {
        let prepare = || {
            let world = quiet();
            for run in ["a", "b", "c"] {
                world.convert(0, run.to_owned(), &partition(0)).unwrap();
            }
            if revert {
                world.compact(0, "first".to_owned(), false).unwrap();
            }
            world
        };
        let files = if revert { 3 } else { 1 };
        let world = prepare();
        let before = world.scheduler.state().calls;
        world.compact(0, "compaction".to_owned(), revert).unwrap();
        let calls = world.scheduler.state().calls - before;
        assert!(calls > 10, "{calls}");
        assert_eq!(check(&world).unwrap(), None);
        assert_eq!(world.published().len(), files);
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::ErrorBefore, Fault::ErrorAfter]
        {
            for call in 1..=calls {
                let world = prepare();
                world.scheduler.state().fail_at = Some((before + call, fault));
                ignore_faults(|| world.compact(0, "compaction".to_owned(), revert).map(drop));
                world.scheduler.state().fail_at = None;
                assert_eq!(check(&world).unwrap(), None, "{fault:?} at call {call}");
                // The next compaction finishes what the failed one has begun.
                world.compact(0, "next".to_owned(), revert).unwrap();
                world.publish(0, "next publication".to_owned()).unwrap();
                assert_eq!(world.published().len(), files, "{fault:?} at call {call}");
            }
        }
    }
}

#[test]
fn of_concurrent_compactions_and_removals_each_row_is_published_once() {
    const COMPACT: u64 = 9;
    const REMOVE: u64 = 4;
    const PUBLISH: u64 = 5;
    let (mut lost, mut won) = (0, 0);
    for seed in 0..RACES {
        let world = World::new(Random::new(seed));
        world.scheduler.start(1);
        for run in ["a", "b", "c"] {
            world.convert(0, run.to_owned(), &partition(0)).unwrap();
        }
        {
            let mut state = world.scheduler.state();
            state.rates = Rates { pause: 100, conflict: 50, ..Rates::default() };
            state.removing = true;
        }
        let second = if seed % 2 == 0 { COMPACT } else { REMOVE };
        run_actors(&world, &[vec![(COMPACT, 0), (PUBLISH, 0)], vec![(second, 0), (PUBLISH, 0)]]);
        world.scheduler.state().rates = Rates::default();
        world.scheduler.start(1);
        assert_eq!(check(&world).unwrap(), None, "seed {seed}");
        let files = world.published().len();
        assert_eq!(files, usize::from(second == COMPACT), "seed {seed}");
        let rewrites = entries(&world, "\"action\":\"rewrite\"");
        assert!(rewrites <= 1, "seed {seed}: two compactions replaced the same files");
        *(if rewrites == 1 { &mut won } else { &mut lost }) += 1;
    }
    assert!(won > RACES / 2 && lost > 0, "{won} {lost}");
}

/// Returns the number of entries in the log of the first partition that contain a text.
fn entries(world: &World, text: &str) -> usize {
    let state = world.scheduler.state();
    let path = |number| Path::from(format!("{CLAIMS}/{number}.claim.json"));
    let each = (1..).map_while(|number| read(&state.dataset, &path(number)));
    each.filter(|entry| entry.contains(text)).count()
}

#[test]
fn a_compacted_partition_whose_claims_are_lost_keeps_each_row_once() {
    let prepare = || {
        let world = with_three_files();
        world.publish(0, "first".to_owned()).unwrap();
        world.compact(0, "compaction".to_owned(), false).unwrap();
        world.publish(0, "second".to_owned()).unwrap();
        assert_eq!((world.published().len(), entries(&world, "")), (1, 4));
        world
    };
    let rows = ["a", "b", "c"].map(ToOwned::to_owned);
    // The rewrite is lost: its inputs replace its output.
    let world = prepare();
    delete(&world, &["4.claim.json", "4.done.json"]);
    let publication = world.publish(0, "third".to_owned()).unwrap();
    assert!(publication.is_complete(), "{publication:?}");
    assert_eq!(
        (world.published().len(), world.rows(&world.published()).unwrap()),
        (3, rows.to_vec())
    );
    // The rewrite and one of its inputs are lost, or all entries: the table keeps the compacted file.
    for lost in [3, 2, 1] {
        let world = prepare();
        for number in lost..=4 {
            delete(&world, &[&format!("{number}.claim.json"), &format!("{number}.done.json")]);
        }
        let publication = world.publish(0, "third".to_owned()).unwrap();
        let failure = &publication.tables[0].failures[0];
        assert!(failure.contains("exists, but no claim accounts for it"), "{failure}");
        assert_eq!(world.published().len(), 1);
        assert_eq!(world.rows(&world.published()).unwrap(), rows);
    }
}

/// Returns a world with a rewrite of three files, and a rewrite of its output and a fourth file.
fn compacted_twice() -> World {
    let world = with_three_files();
    world.compact(0, "first".to_owned(), false).unwrap();
    world.convert(0, "d".to_owned(), &partition(0)).unwrap();
    world.compact(0, "second".to_owned(), false).unwrap();
    world.publish(0, "publication".to_owned()).unwrap();
    assert_eq!((world.published().len(), entries(&world, "")), (1, 6));
    world
}

#[test]
fn a_rewrite_whose_done_marker_is_lost_takes_effect_again() {
    let world = compacted_twice();
    let (before, rows) = (world.published(), world.rows(&world.published()).unwrap());
    // The marker of a rewrite whose output is replaced is not needed.
    delete(&world, &["4.done.json"]);
    world.publish(0, "third".to_owned()).unwrap();
    assert_eq!(world.published(), before);
    // Until the other rewrite is done again, the table contains its inputs.
    delete(&world, &["6.done.json"]);
    world.publish(0, "fourth".to_owned()).unwrap();
    assert_eq!(world.published().len(), 2);
    assert_eq!(world.rows(&world.published()).unwrap(), rows);
    assert_eq!(doubled(&world), [""; 0]);
    assert_eq!(check(&world).unwrap(), None);
    assert_eq!(world.published(), before);
}

#[test]
fn a_repair_drops_a_rewrite_whose_input_is_lost() {
    let world = compacted_twice();
    let rows = world.rows(&world.published()).unwrap();
    let first = {
        let state = world.scheduler.state();
        let text = read(&state.dataset, &Path::from(format!("{CLAIMS}/4.claim.json"))).unwrap();
        let entry: serde_json::Value = serde_json::from_str(&text).unwrap();
        let key = Path::from(entry["output"]["key"].as_str().unwrap());
        state.dataset.delete(&key).now_or_never().unwrap().unwrap();
        key
    };
    delete(&world, &["4.done.json"]);
    let problem = check(&world).unwrap().unwrap();
    assert!(problem.contains("contradicts the entries before it"), "{problem}");
    assert_eq!(world.rows(&world.published()).unwrap(), rows);
    assert_eq!(world.published().len(), 4);
    let dataset = world.dataset(0, "repair".to_owned(), &Arc::default()).unwrap();
    let mut repairs = repair::find(&dataset, &Selection::default()).unwrap();
    assert_eq!((repairs.len(), repairs[0].claims_kept), (1, 4), "{repairs:?}");
    repair::apply(&dataset, &mut repairs).unwrap();
    assert!(repairs[0].repaired, "{repairs:?}");
    assert_eq!(repair::find(&dataset, &Selection::default()).unwrap().len(), 0);
    // The output of the second rewrite is left.
    let cleaned = clean(&dataset, Duration::from_hours(1)).unwrap();
    assert_eq!(cleaned.removed.len(), 1, "{cleaned:?} {first}");
    assert_eq!(check(&world).unwrap(), None);
    assert_eq!(world.rows(&world.published()).unwrap(), rows);
    // The partition can be compacted again.
    world.compact(0, "third".to_owned(), false).unwrap();
    assert_eq!(check(&world).unwrap(), None);
    assert_eq!((world.published().len(), world.rows(&world.published()).unwrap()), (1, rows));
}

#[test]
fn a_table_whose_snapshots_delete_files_gets_no_compacted_files() {
    let world = with_three_files();
    world.publish(0, "first".to_owned()).unwrap();
    let before = world.published();
    let set = |value: &str| {
        let properties = [("gc.enabled".to_owned(), value.to_owned())];
        change(&world, |metadata| metadata.set_properties(properties.into()).unwrap());
    };
    // A compaction refuses such a table before it writes.
    assert_eq!(world.refused(false), BTreeMap::new());
    set("true");
    assert_eq!(world.refused(true), BTreeMap::new());
    let refused = world.refused(false);
    let replacements = world.compact_with(0, "refused".to_owned(), false, &refused).unwrap();
    assert_eq!(replacements.len(), 1);
    assert!(!replacements[0].done && replacements[0].error.as_ref() == refused.values().next());
    // Another program can set the property during the compaction.
    world.compact(0, "compaction".to_owned(), false).unwrap();
    let failure = |run: &str| {
        let publication = world.publish(0, run.to_owned()).unwrap();
        publication.tables[0].failures.first().cloned()
    };
    for value in [Some("true"), None] {
        change(&world, |metadata| match value {
            Some(value) => {
                let properties = [("gc.enabled".to_owned(), value.to_owned())];
                metadata.set_properties(properties.into()).unwrap()
            }
            None => metadata.remove_properties(&["gc.enabled".to_owned()]).unwrap(),
        });
        let failure = failure(&format!("with {value:?}")).unwrap();
        assert!(failure.contains("does not have the property gc.enabled=false"), "{failure}");
        assert_eq!(world.published(), before, "{value:?}");
    }
    let publication = world.publish(0, "named".to_owned()).unwrap();
    let held = format!("not changed: {}: ", partition(0));
    assert!(publication.tables[0].failures[1].starts_with(&held), "{publication:?}");
    set("false");
    assert_eq!(failure("without deletion"), None);
    assert_eq!(world.published().len(), 1);
    // If the property changes later, each publication reports it, until the compaction is reverted.
    set("true");
    assert!(failure("later").unwrap().contains("gc.enabled"));
    world.compact(0, "reversion".to_owned(), true).unwrap();
    assert_eq!(failure("after the reversion"), None);
    assert_eq!(world.published(), before);
}

/// A catalog in which something else has the name of the table, such as a view.
struct Occupied;

impl Pointers for Occupied {
    fn get(&self, _: &str) -> Result<Option<Pointer>, IcebergError> {
        Ok(None)
    }

    fn insert(&self, _: &str, _: &TableMetadata, _: &str) -> Result<Committed, IcebergError> {
        Ok(Committed::Conflict)
    }

    fn swap(
        &self,
        _: &str,
        _: &Pointer,
        _: &TableMetadata,
        _: &str,
    ) -> Result<Committed, IcebergError> {
        unreachable!("the table does not exist")
    }
}

#[test]
fn a_name_that_is_taken_is_an_error() {
    let world = with_three_files();
    let published = world.publish_to(Occupied, 0, "run".to_owned(), false, &Arc::default());
    let error = published.unwrap_err().to_string();
    assert!(error.contains(TABLE_OF_CHECKS), "{error}");
}

/// Row-level deletes refer to the files that contain the rows.
#[test]
fn files_of_a_table_with_deleted_rows_are_not_replaced() {
    for is_compacted in [false, true] {
        let world = with_three_files();
        if is_compacted {
            world.compact(0, "first".to_owned(), false).unwrap();
        }
        world.publish(0, "publication".to_owned()).unwrap();
        let before = world.published();
        delete_rows(&world);
        // A compaction or its reversion refuses such a table before it writes.
        let refused = world.refused(is_compacted);
        let replacements =
            world.compact_with(0, "refused".to_owned(), is_compacted, &refused).unwrap();
        let [replacement] = &replacements[..] else { panic!("{replacements:?}") };
        assert!(!replacement.done && replacement.error.as_ref() == refused.values().next());
        // Another program can delete rows during the compaction.
        world.compact(0, "second".to_owned(), is_compacted).unwrap();
        world.convert(0, "e".to_owned(), &partition(1)).unwrap();
        let publication = world.publish(0, "later".to_owned()).unwrap();
        let [failure, held] = &publication.tables[0].failures[..] else {
            panic!("{publication:?}")
        };
        assert!(failure.contains("contains row-level deletes"), "{failure}");
        assert!(held.starts_with(&format!("not changed: {}: ", partition(0))), "{held}");
        let mut published = world.published();
        published.retain(|file| !file.contains("day=25"));
        assert_eq!((published, world.published().len()), (before.clone(), before.len() + 1));
    }
}

/// The files of a removed partition no longer exist, so they must leave the table even if it contains row-level deletes.
#[test]
fn a_removed_partition_leaves_a_table_with_deleted_rows() {
    let world = with_three_files();
    world.compact(0, "compaction".to_owned(), false).unwrap();
    world.publish(0, "first".to_owned()).unwrap();
    delete_rows(&world);
    world.remove_partition(0, "removal".to_owned(), &partition(0)).unwrap();
    world.convert(0, "d".to_owned(), &partition(0)).unwrap();
    let publication = world.publish(0, "second".to_owned()).unwrap();
    assert_eq!(publication.tables[0].failures, [""; 0]);
    assert_eq!((world.published().len(), check(&world).unwrap()), (1, None));
}

/// Adds a manifest of delete files to the current snapshot, as another program would.
fn delete_rows(world: &World) {
    let state = world.scheduler.state();
    let location = read(&state.dataset, &path_of(TABLE_OF_CHECKS)).unwrap();
    let path = |url: &str| Path::from(url.strip_prefix(ROOT).unwrap());
    let table: TableMetadata =
        serde_json::from_str(&read(&state.dataset, &path(&location)).unwrap()).unwrap();
    let snapshot = table.current_snapshot().unwrap();
    let list = path(snapshot.manifest_list());
    let bytes = async { state.dataset.get(&list).await.unwrap().bytes().await.unwrap() };
    let bytes = bytes.now_or_never().unwrap();
    let manifests = ManifestList::parse_with_version(&bytes, FormatVersion::V2).unwrap();
    let mut manifests: Vec<_> = manifests.consume_entries().into_iter().collect();
    let mut deletes = manifests[0].clone();
    deletes.content = ManifestContentType::Deletes;
    manifests.push(deletes);
    let io = FileIO::new_with_memory();
    let output = io.new_output("memory:/list").unwrap();
    let (id, sequence) = (snapshot.snapshot_id(), snapshot.sequence_number());
    let mut writer = ManifestListWriter::v2(block_on(output.writer()).unwrap(), id, None, sequence);
    writer.add_manifests(manifests.into_iter()).unwrap();
    block_on(writer.close()).unwrap();
    let bytes = block_on(io.new_input("memory:/list").unwrap().read()).unwrap();
    state.dataset.put(&list, bytes.into()).now_or_never().unwrap().unwrap();
}

/// Changes the metadata of the table, as another program would.
fn change(world: &World, edit: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) {
    let state = world.scheduler.state();
    let location = read(&state.dataset, &path_of(TABLE_OF_CHECKS)).unwrap();
    let path = Path::from(location.strip_prefix(ROOT).unwrap());
    let table: TableMetadata = serde_json::from_str(&read(&state.dataset, &path).unwrap()).unwrap();
    let table = edit(table.into_builder(Some(location.clone()))).build().unwrap().metadata;
    let text = serde_json::to_vec(&table).unwrap();
    state.dataset.put(&path, text.into()).now_or_never().unwrap().unwrap();
}

#[test]
fn forged_rewrites_remove_no_row() {
    let directory = "account=012345678901/region=eu-west-1/year=2025/month=11/day=24";
    let file = |run: &str| format!("{TABLE_OF_CHECKS}/{directory}/{run}.parquet");
    let other = file("c").replace("day=24", "day=25");
    let output = |key: &str, rows: u64| {
        serde_json::json!({
            "table": TABLE_OF_CHECKS, "rows": rows, "key": key, "size": 1, "sha256": "",
            "staged": { "upload": { "key": key, "id": "", "parts": [] } }
        })
    };
    let key = format!("_alb2parquet/compacted/{}", file("x"));
    let (a, b) = (file("a"), file("b"));
    let cases = [
        // Files of another partition or in a table's directory, and repeated files.
        (vec![&a, &other], Some(output(&key, 2)), false),
        (vec![&a, &b], Some(output(&file("x"), 2)), false),
        (vec![&a, &b], Some(output(&key.replace("day=24", "day=25"), 2)), false),
        (vec![&a, &a], Some(output(&key, 2)), false),
        // Another number of rows, no inputs, and a reversion of what is no rewrite.
        (vec![&a, &b], Some(output(&key, 1)), true),
        (vec![], Some(output(&key, 0)), true),
        (vec![&a, &b], None, true),
    ];
    for (number, (inputs, output, is_readable)) in cases.into_iter().enumerate() {
        let world = quiet();
        for (run, day) in [("a", 0), ("b", 0), ("c", 1)] {
            world.convert(0, run.to_owned(), &partition(day)).unwrap();
        }
        world.publish(0, "first".to_owned()).unwrap();
        let before = world.published();
        assert_eq!(before, [a.clone(), b.clone(), other.clone()]);
        let entry = serde_json::json!({
            "action": "rewrite", "run": "forger", "version": "", "inputs": inputs, "output": output
        });
        for (name, text) in [("3.claim.json", entry.to_string()), ("3.done.json", "{}".to_owned())]
        {
            let state = world.scheduler.state();
            let path = Path::from(format!("{CLAIMS}/{name}"));
            state.dataset.put(&path, text.into_bytes().into()).now_or_never().unwrap().unwrap();
        }
        let publication = world.publish(0, "second".to_owned()).unwrap();
        assert_eq!(publication.unreadable.is_empty(), is_readable, "{number} {publication:?}");
        assert_eq!(world.published(), before, "{number}");
    }
}

#[test]
fn a_forged_claim_of_a_replaced_file_doubles_no_row() {
    let world = compacted_twice();
    let rows = world.rows(&world.published()).unwrap();
    for (from, to) in [("1.claim.json", "7.claim.json"), ("1.done.json", "7.done.json")] {
        let state = world.scheduler.state();
        let text = read(&state.dataset, &Path::from(format!("{CLAIMS}/{from}"))).unwrap();
        let path = Path::from(format!("{CLAIMS}/{to}"));
        state.dataset.put(&path, text.into_bytes().into()).now_or_never().unwrap().unwrap();
    }
    for revert in [false, true] {
        if revert {
            world.compact(0, "reversion".to_owned(), true).unwrap();
        }
        world.publish(0, format!("with a forged claim {revert}")).unwrap();
        assert_eq!(world.rows(&world.published()).unwrap(), rows, "{revert}");
        assert_eq!(doubled(&world), [""; 0]);
    }
}

#[test]
fn a_removal_deletes_compacted_files() {
    let world = with_three_files();
    world.compact(0, "compaction".to_owned(), false).unwrap();
    world.publish(0, "first".to_owned()).unwrap();
    let compacted = Path::from(world.published().remove(0));
    let exists = |world: &World| {
        let state = world.scheduler.state();
        state.dataset.head(&compacted).now_or_never().unwrap().is_ok()
    };
    assert!(exists(&world));
    world.remove_partition(0, "removal".to_owned(), &partition(0)).unwrap();
    assert!(!exists(&world));
    assert_eq!(check(&world).unwrap(), None);
}

#[test]
fn a_damaged_compacted_file_replaces_nothing() {
    let world = with_three_files();
    world.publish(0, "first".to_owned()).unwrap();
    let before = world.published();
    world.compact(0, "compaction".to_owned(), false).unwrap();
    let compacted = {
        let state = world.scheduler.state();
        let text = read(&state.dataset, &Path::from(format!("{CLAIMS}/4.claim.json"))).unwrap();
        let entry: serde_json::Value = serde_json::from_str(&text).unwrap();
        let key = entry["output"]["key"].as_str().unwrap().to_owned();
        let size = entry["output"]["size"].as_u64().unwrap() as usize;
        let zeros = vec![0; size];
        state.dataset.put(&Path::from(key.as_str()), zeros.into()).now_or_never().unwrap().unwrap();
        key
    };
    let publication = world.publish(0, "second".to_owned()).unwrap();
    let failures = &publication.tables[0].failures;
    assert!(failures.len() == 1 && failures[0].contains(&compacted), "{failures:?}");
    assert_eq!(world.published(), before);
    // A reverted compaction leaves nothing to publish.
    world.compact(0, "reversion".to_owned(), true).unwrap();
    assert!(world.publish(0, "third".to_owned()).unwrap().is_complete());
    assert_eq!(world.published(), before);
}

/// Directory of the claims in the first partition.
const CLAIMS: &str = "_alb2parquet/claims/health_check/012345678901/eu-west-1/2025-11-24";

/// Deletes state files of the first partition.
fn delete(world: &World, names: &[&str]) {
    let state = world.scheduler.state();
    for name in names {
        let path = Path::from(format!("{CLAIMS}/{name}"));
        state.dataset.delete(&path).now_or_never().unwrap().unwrap();
    }
}

#[test]
fn only_claims_that_are_done_are_published() {
    let world = quiet();
    world.convert(0, "a".to_owned(), &partition(0)).unwrap();
    delete(&world, &["1.done.json"]);
    world.publish(0, "first".to_owned()).unwrap();
    assert_eq!(world.published(), [""; 0]);
    assert_eq!(check(&world).unwrap(), None);
    assert_eq!(world.published().len(), 1);
    // A removal that has not finished deletes files.
    world.remove_partition(0, "removal".to_owned(), &partition(0)).unwrap();
    delete(&world, &["2.done.json"]);
    world.publish(0, "second".to_owned()).unwrap();
    assert_eq!(world.published(), [""; 0]);
}

#[test]
fn a_lost_claim_removes_no_file_from_the_table() {
    let world = quiet();
    world.convert(0, "a".to_owned(), &partition(0)).unwrap();
    world.publish(0, "first".to_owned()).unwrap();
    let before = world.published();
    delete(&world, &["1.claim.json", "1.done.json"]);
    let publication = world.publish(0, "second".to_owned()).unwrap();
    assert!(!publication.is_complete(), "{publication:?}");
    let failure = &publication.tables[0].failures[0];
    assert!(failure.contains("a.parquet exists, but no claim accounts for it"), "{failure}");
    assert_eq!(world.published(), before);
    assert_eq!(before.len(), 1);
}

#[test]
fn files_that_another_program_removed_are_not_added_again_unless_asked() {
    let world = quiet();
    world.convert(0, "a".to_owned(), &partition(0)).unwrap();
    world.publish(0, "first".to_owned()).unwrap();
    let pointer =
        |world: &World| read(&world.scheduler.state().dataset, &path_of(TABLE_OF_CHECKS)).unwrap();
    let first = pointer(&world);
    world.convert(0, "b".to_owned(), &partition(1)).unwrap();
    world.publish(0, "second".to_owned()).unwrap();
    // Another program sets the current snapshot to the first one, and keeps the properties.
    {
        let mut state = world.scheduler.state();
        let of = |state: &crate::simulation::store::State, url: &str| {
            let path = Path::from(url.strip_prefix(ROOT).unwrap());
            serde_json::from_str::<TableMetadata>(&read(&state.dataset, &path).unwrap()).unwrap()
        };
        let second = read(&state.dataset, &path_of(TABLE_OF_CHECKS)).unwrap();
        let snapshot = of(&state, &first).current_snapshot().unwrap().clone();
        let rolled_back = of(&state, &second).into_builder(Some(second.clone()));
        let reference = iceberg::spec::SnapshotReference {
            snapshot_id: snapshot.snapshot_id(),
            retention: iceberg::spec::SnapshotRetention::branch(None, None, None),
        };
        let rolled_back = rolled_back.set_ref("main", reference).unwrap().build().unwrap().metadata;
        let text = serde_json::to_vec(&rolled_back).unwrap();
        let path = Path::from(second.strip_prefix(ROOT).unwrap());
        state.dataset.put(&path, text.into()).now_or_never().unwrap().unwrap();
        state.removing = true;
    }
    let error = world.publish(0, "third".to_owned()).unwrap_err().to_string();
    assert!(error.contains("contains: 1 now, 2 after the last publication"), "{error}");
    assert_eq!(world.published().len(), 1);
    world.publish_with(0, "fourth".to_owned(), true).unwrap();
    assert_eq!(check(&world).unwrap(), None);
    assert_eq!(world.published().len(), 2);
}
