//! Every row ends up in the dataset exactly once, even if runs crash, fail, race or pause at any call to their store.
//! The simulation uses the program's own code to plan, claim and publish. Only the conversion is simulated: it copies a
//! batch's lines. A seeded scheduler interleaves up to three threads, each of which performs one run after another. The
//! visible files are checked after every write. After a final run without faults, every object must be in the dataset
//! exactly once and complete.
//!
//! In a quarter of the seeds, claims are lost, or restored from an older state, during runs. Rows can then be
//! duplicated or missing, but only in partitions that the final run reports. The module `damage` covers state that is
//! lost or forged between runs.
//!
//! `ALB2PARQUET_SEEDS=10000` sets the number of seeds. `ALB2PARQUET_SEED=7` replays a single seed.

mod damage;
#[cfg(feature = "iceberg")]
mod iceberg;
pub(crate) mod random;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::env;
use std::io::{Read as _, Write};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use alb2parquet::internals::convert::tally::Tally;
use alb2parquet::internals::convert::touched::{Compared, Comparison};
use alb2parquet::internals::convert::{Conversion, Observer, Read};
use alb2parquet::internals::dataset::claim::{Claim, Hints, Log, Output, State};
use alb2parquet::internals::dataset::layout::{Dataset, Layout, Opening, STAGING};
use alb2parquet::internals::dataset::ledger::{Committed, Ledger};
use alb2parquet::internals::encode::profile::Profile;
use alb2parquet::internals::encode::{Compression, Format};
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::verify::Verification;
use alb2parquet::internals::plan::{Batch, Failure, Listing, Plan, Selection, TOUCHED};
use alb2parquet::internals::redact::{Agreement, Redaction};
use alb2parquet::internals::store::{Bucket, Patience, Source, Writing};
use flate2::{Compression as Level, Crc, GzBuilder, read::GzDecoder};
use futures::executor::block_on;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::simulation::random::Random;
use crate::simulation::store::{Crash, Fault, Rates, Scheduler, SimStore};
use crate::support::{good_lines, gzip, key_on};

/// Default number of seeds.
const SEEDS: u64 = 1000;
/// The tables in the order in which their files are published.
const TABLES: [&str; 3] = ["_alb2parquet/originals", "elb_rejects", "alb_access_logs"];
const DAYS: [&str; 2] = ["2025/07/18", "2025/07/19"];

/// A source object.
struct Object {
    key: String,
    number: usize,
}

/// Returns all objects: four in each of two partitions.
fn objects() -> Vec<Object> {
    let of_day = |day| (0..4).map(move |number| Object { key: key_on(day, number), number });
    DAYS.into_iter().flat_map(of_day).collect()
}

impl Object {
    fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap()
    }

    /// Returns the object's text in the given version. Versions differ only in the version number in each line. Lines
    /// with odd line numbers are rejects.
    fn text(&self, version: u64) -> String {
        let line = |line| format!("{}#{line} {version}\n", self.name());
        (0..=self.number % 3).map(line).collect()
    }

    /// Returns the object's bytes in the given version. The stamp changes the bytes and thus the ETag, but not the size
    /// or the text.
    fn bytes(&self, version: u64, stamp: u64) -> Vec<u8> {
        let mut gzip = GzBuilder::new().mtime(stamp as u32).write(Vec::new(), Level::none());
        gzip.write_all(self.text(version).as_bytes()).unwrap();
        gzip.finish().unwrap()
    }
}

/// A configuration of the program.
#[derive(Clone, Copy)]
struct Program {
    target_size: u64,
    /// Identifies the program version. Different versions write different bytes.
    settings: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program { target_size: 200, settings: "version 1" },
    Program { target_size: 100_000, settings: "version 2" },
];

/// The scheduler for a seed, and the properties of the stores.
struct World {
    scheduler: Arc<Scheduler>,
    /// Whether the dataset's store can abort uploads.
    aborts: bool,
}

fn put(store: &InMemory, key: &str, bytes: impl Into<object_store::PutPayload>) {
    block_on(store.put(&Path::from(key), bytes.into())).unwrap();
}

impl World {
    /// Returns a world with all objects in its source and an empty dataset.
    fn with_objects(random: Random) -> Self {
        let world = Self::new(random);
        for object in objects() {
            world.scheduler.state().write_source(&object, 0, 0);
        }
        world
    }

    /// Returns a world with an empty source and an empty dataset.
    fn new(random: Random) -> Self {
        let scheduler = Arc::new(Scheduler::new(random, Rates::default()));
        let description = serde_json::json!({
            "format_version": 4, "layout": "hive", "conditional_creates": true
        });
        let text = description.to_string();
        put(&scheduler.state().dataset, "_alb2parquet/dataset.json", text);
        Self { scheduler, aborts: true }
    }

    fn store(&self, actor: usize, is_source: bool, dead: &Arc<AtomicBool>) -> SimStore {
        let (scheduler, dead) = (Arc::clone(&self.scheduler), Arc::clone(dead));
        SimStore { scheduler, actor, dead, is_source, aborts: self.aborts }
    }

    fn dataset(
        &self,
        actor: usize,
        run: String,
        dead: &Arc<AtomicBool>,
    ) -> anyhow::Result<Dataset> {
        let store = Arc::new(self.store(actor, false, dead));
        let target = Bucket::new(store.clone(), store, Path::default(), "memory:", STAGING);
        let target = if self.aborts { target } else { target.without_abort() };
        let patience = Patience { attempts: 4, pause: Duration::ZERO };
        let (layout, single_writer) = (Layout::Hive, false);
        let (redaction, profile) = (Agreement::default(), Profile::Portable);
        let opening = Opening { layout, run, single_writer, patience, redaction, profile };
        Ok(Dataset::open(Arc::new(target), opening)?)
    }

    /// Runs the program once, until it completes or a fault stops it. Returns the failures that it reports.
    fn run(&self, actor: usize, run: String, program: Program) -> anyhow::Result<Vec<String>> {
        let dead = Arc::default();
        let dataset = self.dataset(actor, run, &dead)?;
        let sources = [Source::over(Arc::new(self.store(actor, true, &dead)), "memory://source")];
        let selection = Selection::default();
        let listing = Listing::take(&sources, &selection, &AtomicBool::new(false))?;
        let ledger = Ledger::open(&dataset)?;
        let stop = AtomicBool::new(false);
        let mut plan = Plan::make(listing, &sources, program.target_size, &ledger, &stop)?;
        let touched = mem::take(&mut plan.touched);
        let Compared { equal, failures, .. } = comparison(&sources, &ledger, &stop).run(touched)?;
        for _ in 0..equal.objects {
            self.scheduler.state().count("touched object recorded");
        }
        plan.failures.extend(failures);
        let name = |failure: Failure| format!("{}: {}", failure.object, failure.error);
        let mut failures: Vec<String> = plan.failures.into_iter().map(name).collect();
        let mut batches = VecDeque::from(plan.batches);
        while let Some(mut batch) = batches.pop_front() {
            let (claim, writings) = stage(&dataset, &sources, &batch, program)?;
            if claim.objects.is_empty() {
                continue;
            }
            match ledger.commit(&batch.partition, claim, writings)? {
                Committed::Claimed(State::Aborted) if batch.lost_files.len() < 3 => {
                    self.scheduler.state().count("batch converted again");
                    batch.lost_files.push(Vec::new());
                    batches.push_back(batch);
                }
                Committed::Claimed(state) => failures.push(format!("{state:?}")),
                Committed::Lost(taken) => {
                    batch.objects.retain(|object| !taken.contains(object.identity()));
                    batches.extend((!batch.objects.is_empty()).then_some(batch));
                }
            }
        }
        Ok(failures)
    }

    /// Runs the program and ignores injected errors and crashes. Other panics are propagated.
    fn run_with_faults(&self, actor: usize, run: String, program: Program) {
        ignore_faults(|| self.run(actor, run, program).map(drop));
    }

    /// Removes all partitions.
    fn remove(&self, actor: usize, run: String) -> anyhow::Result<()> {
        let dataset = self.dataset(actor, run, &Arc::default())?;
        let ledger = Ledger::open(&dataset)?;
        for partition in ledger.partitions() {
            ledger.remove(&partition, false)?;
        }
        Ok(())
    }
}

/// Returns a single-threaded comparison for touched objects.
fn comparison<'a>(
    sources: &'a [Source],
    ledger: &'a Ledger<'a>,
    stop: &'a AtomicBool,
) -> Comparison<'a> {
    static COMPARED: AtomicU64 = AtomicU64::new(0);
    Comparison { sources, ledger, threads: 1, compared: &COMPARED, stop }
}

/// Calls a function, ignoring errors and simulated crashes. Propagates other panics.
fn ignore_faults(run: impl FnOnce() -> anyhow::Result<()>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run))
        && !panic.is::<Crash>()
    {
        resume_unwind(panic);
    }
}

/// Copies the lines of a batch to staged files. Skips objects that cannot be read.
fn stage(
    dataset: &Dataset,
    sources: &[Source],
    batch: &Batch,
    program: Program,
) -> anyhow::Result<(Claim, Vec<Writing>)> {
    let mut claim = Claim { run: dataset.run().to_owned(), ..Claim::default() };
    let mut tables = BTreeMap::<&str, String>::new();
    for object in &batch.objects {
        let source = &sources[object.source];
        let mut bytes = Vec::new();
        if source.read(&object.listed, &mut bytes).is_err() {
            continue;
        }
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text)?;
        for (number, line) in text.lines().enumerate() {
            let table = TABLES[2 - number % 2];
            let text = tables.entry(table).or_default();
            text.push_str(line);
            text.push('\n');
        }
        if has_originals(object.listed.name()) {
            tables.entry(TABLES[0]).or_default().push_str("original\n");
            claim.originals += 1;
        }
        let lines = text.lines().count() as u64;
        let url = source.url(&object.listed);
        let claimed = claim.add(&url, &object.listed, lines, BTreeMap::new());
        let mut crc = Crc::new();
        crc.update(text.as_bytes());
        (claimed.crc32, claimed.uncompressed_size) = (Some(crc.sum()), Some(text.len() as u64));
    }
    let name = batch.file_name(program.settings, dataset.run());
    let mut writings = Vec::new();
    for table in TABLES {
        let Some(text) = tables.remove(table) else { continue };
        let prefix = if table == TABLES[0] { "access-" } else { "" };
        let key = dataset.file(table, &batch.partition, &format!("{prefix}{name}"));
        let mut writing = Writing::begin(dataset.target(), key)?;
        writing.write_all(text.as_bytes())?;
        let rows = text.lines().count() as u64;
        claim.outputs.push(Output { table: table.to_owned(), rows, file: writing.seal()? });
        writings.push(writing);
    }
    Ok((claim, writings))
}

/// Returns whether the simulated conversion writes an original for an object with this name. About half of the objects
/// have one.
fn has_originals(name: &str) -> bool {
    name.bytes().map(u64::from).sum::<u64>().is_multiple_of(2)
}

/// Describes how the originals files differ from those in the claims. A claim must have such a file if and only if
/// it has an object with originals.
fn compare_originals(world: &World) -> anyhow::Result<Option<String>> {
    let dataset = world.dataset(0, "reader".to_owned(), &Arc::default())?;
    let hints = Hints::list(&dataset)?;
    let mut claimed = BTreeSet::new();
    for partition in hints.partitions() {
        for (_, claim) in Log::read(&dataset, partition, &hints)?.holding() {
            let count = claim.objects.iter().filter(|object| has_originals(&object.name)).count();
            let rows: u64 =
                claim.outputs.iter().filter(|o| o.has_originals()).map(|o| o.rows).sum();
            if (rows, claim.originals) != (count as u64, count as u64) {
                return Ok(Some(format!("a claim has {rows} originals instead of {count}")));
            }
            let outputs = claim.outputs.iter().filter(|output| output.has_originals());
            claimed.extend(outputs.map(|output| output.file.key.to_string()));
        }
    }
    let listed = dataset.target().list(TABLES[0])?;
    let listed: BTreeSet<String> = listed.into_iter().map(|stored| stored.key).collect();
    let differ = format!("originals files: {listed:?}, but the claims name {claimed:?}");
    Ok((listed != claimed).then_some(differ))
}

/// The result of running a seed.
struct Outcome {
    violation: Option<String>,
    calls: u64,
    faults: BTreeMap<&'static str, u64>,
}

/// Runs a seed. `aborts` specifies whether the store can abort uploads.
fn run_seed(seed: u64, trace: bool, aborts: bool) -> Outcome {
    let mut random = Random::new(seed);
    // Seeds that lose claims do not remove rows.
    let loses = random.hits(250);
    // Each seed disables some kinds of faults, so that some runs last long enough for the other kinds to occur.
    let mut rate = |most: u64| if random.hits(300) { 0 } else { random.below(most) };
    let rates = Rates {
        crash: rate(30),
        error: rate(30),
        conflict: rate(300),
        not_found: rate(60),
        pause: rate(40),
        // If a claim is lost, a stale listing could hide a file that no claim lists.
        lag: if loses { 0 } else { rate(1000) },
        lifecycle: rate(8),
        source: rate(15),
        in_flight: 333,
        short: rate(60),
        loss: if loses { rate(24) } else { 0 },
    };
    let (actors, runs) = (1 + random.below(3) as usize, 1 + random.below(3));
    let first = random.below(2) as usize;
    // In some seeds, a run removes all partitions. Rows can then disappear, but can never exist twice.
    let removal = (!loses && random.hits(333))
        .then(|| (random.below(actors as u64) as usize, random.below(runs)));
    let world = World { aborts, ..World::with_objects(random) };
    world.scheduler.state().rates = rates;
    world.scheduler.state().trace = trace;
    world.scheduler.start(actors);
    thread::scope(|scope| {
        for actor in 0..actors {
            let world = &world;
            scope.spawn(move || {
                world.scheduler.enter(actor);
                // An actor that panics because of a bug must not block the other actors.
                let result = catch_unwind(AssertUnwindSafe(|| {
                    for run in 0..runs {
                        let program = PROGRAMS[(first + actor + run as usize) % 2];
                        world.run_with_faults(actor, format!("run-{actor}-{run}"), program);
                        if removal == Some((actor, run)) {
                            world.scheduler.state().removing = true;
                            ignore_faults(|| world.remove(actor, format!("removal-{actor}-{run}")));
                        }
                    }
                }));
                world.scheduler.leave(actor);
                if let Err(panic) = result {
                    resume_unwind(panic);
                }
            });
        }
    });
    world.scheduler.apply_delayed();
    world.scheduler.state().rates = Rates::default();
    world.scheduler.start(1);
    let is_damaged = world.scheduler.state().damaged;
    let mut violation = None;
    let last = |run: &str| world.run(0, run.to_owned(), PROGRAMS[first]);
    let mut failures = Vec::new();
    match last("last") {
        Ok(lost) if !is_damaged && lost.iter().any(|text| text.contains("was lost")) => {
            // One of a claim's two uploads was published, and the lifecycle rule aborted the other. The remedy that the
            // run reports must work.
            world.scheduler.state().removing = true;
            match world.remove(0, "removal".to_owned()).and_then(|()| last("after")) {
                Ok(left) => failures = left,
                Err(error) => violation = Some(format!("the last run fails: {error:#}")),
            }
        }
        Ok(left) => failures = left,
        Err(error) => violation = Some(format!("the last run fails: {error:#}")),
    }
    if !is_damaged && violation.is_none() {
        violation = compare_originals(&world).unwrap();
    }
    world.scheduler.leave(0);
    let mut state = world.scheduler.state();
    state.check_visible();
    let violation = state.violation.take().or(violation).or_else(|| compare(&state, &failures));
    Outcome { violation, calls: state.calls, faults: state.faults.clone() }
}

/// Returns whether a failure message names an object.
fn is_of(failure: &str, object: &Object) -> bool {
    failure.contains(object.name())
}

/// Returns whether a failure message names the partition of an object, or a claim in the partition.
fn is_of_partition(failure: &str, object: &Object) -> bool {
    let day = DAYS.into_iter().find(|day| object.key.contains(day)).unwrap().replace('/', "-");
    ["access 012345678901 eu-west-1", "access/012345678901/eu-west-1"].into_iter().any(
        |partition| {
            failure.contains(&format!("{partition} {day}"))
                || failure.contains(&format!("{partition}/{day}"))
        },
    )
}

/// Compares the visible rows with the source. The dataset must contain all rows of exactly one version of every object.
/// Only deleted objects may be absent. The version must be the current one, unless the last run reported a failure for
/// the object.
fn compare(state: &store::State, failures: &[String]) -> Option<String> {
    let mut rows = state.rows();
    rows.sort();
    for object in objects() {
        let prefix = format!("{}#", object.name());
        let own: Vec<&String> = rows.iter().filter(|row| row.starts_with(&prefix)).collect();
        if state.damaged && failures.iter().any(|text| is_of_partition(text, &object)) {
            continue;
        }
        let is_there = state.version(&object).is_some();
        let whole = (0..3).any(|version| own.iter().copied().eq(object.text(version).lines()));
        if !(whole || own.is_empty() && !is_there) {
            return Some(format!("object {} has the rows {own:?}", object.key));
        }
        let Some(version) = state.version(&object) else { continue };
        let is_known =
            state.is_ambiguous(&object) || failures.iter().any(|failure| is_of(failure, &object));
        if !(is_known || own.iter().copied().eq(object.text(version).lines())) {
            return Some(format!(
                "object {} has the rows {own:?}, but its version is {version}, and the last run complained only about \
                 {failures:?}",
                object.key
            ));
        }
    }
    None
}

/// Minimum count of each kind of fault for the default number of seeds.
const AT_LEAST: [(&str, u64); 17] = [
    ("all claims lost", 20),
    ("claim lost", 40),
    ("claims restored", 10),
    ("conflict without a file", 600),
    ("crash", 600),
    ("error", 600),
    ("lagging list", 2500),
    ("late write", 190),
    ("lifecycle", 130),
    ("pause", 900),
    ("rename", 100),
    ("rewrite", 60),
    ("short read", 150),
    ("touch", 100),
    ("touched object recorded", 50),
    ("upload not found though there", 70),
    ("vanish", 60),
];

/// Asserts the minimum count of each kind of fault, unless fewer seeds than the default ran.
fn expect_faults(faults: &BTreeMap<&str, u64>, at_least: &[(&str, u64)], seeds: u64, default: u64) {
    for (fault, count) in at_least {
        let happened = faults.get(fault).copied().unwrap_or(0);
        assert!(seeds < default || happened >= *count, "only {happened} faults of kind {fault}");
    }
}

#[test]
fn every_row_exists_once_after_any_faults() {
    run_seeds(true, SEEDS);
}

#[test]
fn every_row_exists_once_in_a_store_that_cannot_abort_uploads() {
    run_seeds(false, SEEDS / 4);
}

/// Runs the seed in `ALB2PARQUET_SEED`. If the variable is not set, runs `ALB2PARQUET_SEEDS` seeds, or `default` seeds
/// if that variable is not set either.
fn run_seeds(aborts: bool, default: u64) {
    if let Some(seed) = env::var("ALB2PARQUET_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let outcome = run_seed(seed, true, aborts);
        assert_eq!(outcome.violation, None, "seed {seed}, after {:?}", outcome.faults);
        return;
    }
    let seeds = env::var("ALB2PARQUET_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds: u64 = seeds.unwrap_or(default);
    let began = Instant::now();
    let (mut calls, mut faults) = (0, BTreeMap::<&str, u64>::new());
    for seed in 0..seeds {
        let outcome = run_seed(seed, false, aborts);
        calls += outcome.calls;
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_default() += count;
        }
        if let Some(violation) = outcome.violation {
            panic!("{violation}\nseed {seed} fails: replay it with ALB2PARQUET_SEED={seed}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{seeds} seeds, {calls} calls, {faults:?}, {seconds:.1} s, aborts: {aborts}");
    let at_least = AT_LEAST.map(|(fault, count)| (fault, count * default / SEEDS));
    expect_faults(&faults, &at_least, seeds, default);
    // A store that cannot abort uploads rarely loses one.
    if aborts {
        expect_faults(&faults, &[("batch converted again", 40)], seeds, default);
    }
}

// ---- one fault at a time

/// Simulates a run with a fault at the given call, and then two more runs. Returns whether the first run reached that
/// call. The objects are new or, if `touched` is set, were converted and then touched.
fn run_with_fault_at(call: u64, fault: Fault, touched: bool, aborts: bool) -> bool {
    let world = World { aborts, ..World::with_objects(Random::new(call)) };
    world.scheduler.start(1);
    if touched {
        world.run(0, "earlier".to_owned(), PROGRAMS[0]).unwrap();
        for object in objects() {
            world.scheduler.state().touch(&object);
        }
        // One object has different content with the same size.
        world.scheduler.state().write_source(&objects()[1], 1, 1);
    }
    let mut state = world.scheduler.state();
    let call = state.calls + call;
    state.fail_at = Some((call, fault));
    drop(state);
    world.run_with_faults(0, "first".to_owned(), PROGRAMS[0]);
    let mut state = world.scheduler.state();
    let reached = state.calls >= call;
    state.fail_at = None;
    drop(state);
    world.scheduler.apply_delayed();
    let failures = world.run(0, "second".to_owned(), PROGRAMS[1]).unwrap();
    assert_eq!(
        failures.iter().filter(|text| is_of(text, &objects()[1])).count(),
        usize::from(touched)
    );
    assert_eq!(compare_originals(&world).unwrap(), None, "after {fault:?} of call {call}");
    let mut state = world.scheduler.state();
    state.check_visible();
    let violation = state.violation.take().or_else(|| compare(&state, &failures));
    assert_eq!(violation, None, "after {fault:?} of call {call}");
    state.faults.clear();
    drop(state);
    world.run(0, "third".to_owned(), PROGRAMS[1]).unwrap();
    let recorded = world.scheduler.state().faults.remove("touched object recorded");
    assert_eq!(recorded, None, "after {fault:?} of call {call}");
    reached
}

const FAULTS: [Fault; 6] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::CrashInFlight,
    Fault::ErrorBefore,
    Fault::ErrorAfter,
    Fault::ErrorInFlight,
];

#[test]
fn any_call_can_fail() {
    for fault in FAULTS {
        for (touched, aborts, expected) in
            [(false, true, 80), (true, true, 20), (false, false, 80), (true, false, 20)]
        {
            let mut calls = 0;
            while run_with_fault_at(calls + 1, fault, touched, aborts) {
                calls += 1;
            }
            assert!(calls > expected, "only {calls} calls were made");
            println!("{calls} calls, {fault:?} of each, touched: {touched}, aborts: {aborts}");
        }
    }
}

/// `remove` can remove everything that a failed run left behind, whether or not the run's claims were published.
#[test]
fn any_call_can_fail_before_a_removal() {
    for (aborts, fault) in [true, false].into_iter().flat_map(|aborts| FAULTS.map(|f| (aborts, f)))
    {
        for call in 1.. {
            let world = World { aborts, ..World::with_objects(Random::new(call)) };
            world.scheduler.start(1);
            world.scheduler.state().fail_at = Some((call, fault));
            world.run_with_faults(0, "first".to_owned(), PROGRAMS[0]);
            let mut state = world.scheduler.state();
            let reached = state.calls >= call;
            state.fail_at = None;
            state.removing = true;
            drop(state);
            world.remove(0, "removal".to_owned()).unwrap();
            world.scheduler.apply_delayed();
            let context = format!("after {fault:?} of call {call}, aborts: {aborts}");
            assert_eq!(world.scheduler.state().rows(), [""; 0], "{context}");
            let failures = world.run(0, "second".to_owned(), PROGRAMS[1]).unwrap();
            assert_eq!(compare_originals(&world).unwrap(), None, "{context}");
            let mut state = world.scheduler.state();
            state.check_visible();
            let violation = state.violation.take().or_else(|| compare(&state, &failures));
            assert_eq!(violation, None, "{context}");
            assert_eq!(failures, ["Done", "Done"], "{context}");
            if !reached {
                assert!(call > 80, "only {call} calls were made");
                break;
            }
        }
    }
}

#[test]
fn an_interrupted_comparison_records_only_compared_objects() {
    let world = World::with_objects(Random::new(1));
    world.scheduler.start(1);
    world.run(0, "first".to_owned(), PROGRAMS[0]).unwrap();
    for object in objects() {
        world.scheduler.state().touch(&object);
    }
    let dead = Arc::default();
    let dataset = world.dataset(0, "interrupted".to_owned(), &dead).unwrap();
    let sources = [Source::over(Arc::new(world.store(0, true, &dead)), "memory://source")];
    let stop = AtomicBool::new(false);
    let listing = Listing::take(&sources, &Selection::default(), &stop).unwrap();
    let ledger = Ledger::open(&dataset).unwrap();
    let plan = Plan::make(listing, &sources, 1000, &ledger, &stop).unwrap();
    assert_eq!((plan.touched.len(), plan.batches.len()), (8, 0));
    stop.store(true, Ordering::Relaxed);
    let compared = comparison(&sources, &ledger, &stop).run(plan.touched).unwrap();
    assert_eq!((compared.left, compared.equal.objects, compared.failures.len()), (8, 0, 0));
    let recorded = || world.scheduler.state().faults.remove("touched object recorded");
    world.run(0, "second".to_owned(), PROGRAMS[0]).unwrap();
    assert_eq!(recorded(), Some(8));
    world.run(0, "third".to_owned(), PROGRAMS[0]).unwrap();
    assert_eq!(recorded(), None);
}

// ---- the real conversion

struct Silent;

impl Observer for Silent {
    fn read(&self, _: &Read) {}
    fn published(&self, _: &Batch, _: &Tally, _: Duration) {}
}

/// Runs the real conversion on the same store.
fn convert(world: &World, run: &str) -> anyhow::Result<Tally> {
    convert_arranged(world, run, 1000, |_| ())
}

/// Runs the real conversion with batches of the given size in compressed bytes, after `arrange` has reordered them.
fn convert_arranged(
    world: &World,
    run: &str,
    target_size: u64,
    arrange: impl FnOnce(&mut Vec<Batch>),
) -> anyhow::Result<Tally> {
    let (dead, stop) = (Arc::default(), AtomicBool::new(false));
    let dataset = world.dataset(0, run.to_owned(), &dead)?;
    let sources = [Source::over(Arc::new(world.store(0, true, &dead)), "memory://source")];
    let listing = Listing::take(&sources, &Selection::default(), &stop)?;
    let ledger = Ledger::open(&dataset)?;
    let mut plan = Plan::make(listing, &sources, target_size, &ledger, &AtomicBool::new(false))?;
    arrange(&mut plan.batches);
    let touched = mem::take(&mut plan.touched);
    let compared = comparison(&sources, &ledger, &stop).run(touched)?;
    plan.skip(TOUCHED, compared.equal.objects);
    plan.failures.extend(compared.failures);
    let conversion = Conversion {
        sources: &sources,
        dataset: &dataset,
        format: Format { profile: Profile::Portable, compression: Compression::None },
        bloom_filters: &[],
        redaction: &Redaction::default(),
        threads: 1,
        observer: &Silent,
        stop: &stop,
    };
    Ok(conversion.run(plan, &ledger, Instant::now())?)
}

#[test]
fn a_partition_counts_once_even_if_its_batches_are_not_adjacent() {
    let world = World::new(Random::new(1));
    for number in 0..2 {
        for day in DAYS {
            put(&world.scheduler.state().source, &key_on(day, number), gzip(good_lines(3)));
        }
    }
    world.scheduler.start(1);
    let converted = convert_arranged(&world, "first", 1, |batches| {
        assert_eq!(batches.len(), 2 * DAYS.len());
        let (first, second) =
            mem::take(batches).into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
        let halves: [Vec<(usize, Batch)>; 2] = [first, second];
        *batches = halves.into_iter().flatten().map(|(_, batch)| batch).collect();
    });
    let converted = converted.unwrap();
    assert_eq!(converted.objects.converted, 2 * DAYS.len() as u64);
    assert_eq!(converted.partitions, DAYS.len() as u64);
}

#[test]
fn any_call_of_the_real_conversion_can_fail() {
    for fault in [Fault::ErrorBefore, Fault::ErrorAfter] {
        for call in 1.. {
            let world = World::new(Random::new(call));
            for number in 0..2 {
                for day in DAYS {
                    let good = String::from_utf8(good_lines(3 + number)).unwrap();
                    // Lines that end with CRLF have originals.
                    let text = format!("{good}bad\n").replacen('\n', "\r\n", number * 9);
                    put(&world.scheduler.state().source, &key_on(day, number), gzip(text));
                }
            }
            world.scheduler.state().fail_at = Some((call, fault));
            world.scheduler.start(1);
            // A store error ends the run or makes an object fail. The next run completes the dataset.
            let _ = convert(&world, "first");
            let mut state = world.scheduler.state();
            let reached = state.calls >= call;
            state.fail_at = None;
            drop(state);
            convert(&world, "second").unwrap();
            let (dead, stop) = (Arc::default(), AtomicBool::new(false));
            let verification = Verification {
                sources: &[Source::over(Arc::new(world.store(0, true, &dead)), "memory://source")],
                dataset: &world.dataset(0, "verify".to_owned(), &dead).unwrap(),
                selection: &Selection::default(),
                read_data: Some(&Redaction::default()),
                restore: true,
                reference: &LogType::table,
                stop: &stop,
            };
            let report = verification.run().unwrap();
            assert_eq!(report.findings, [], "after {fault:?} of call {call}");
            assert_eq!((report.rows, report.rejects, report.compared), (14, 4, 4));
            assert_eq!(
                report.files, 10,
                "each object has rows and rejects, and two have originals"
            );
            if !reached {
                println!("{} calls, {fault:?} of each", call - 1);
                break;
            }
        }
    }
}
