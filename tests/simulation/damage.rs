//! Between runs of the real conversion, state is lost, restored from a backup, truncated or forged.
//!
//! The next run must report every partition whose claims do not account for its files, write nothing to these
//! partitions, and convert everything else. After `repair` and another run, every row must be in the dataset exactly
//! once, `verify` must have no findings, and one more run must write nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use alb2parquet::internals::dataset::ledger::Ledger;
use alb2parquet::internals::logs::key::{Partition, identity};
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::verify::{Finding, Verification};
use alb2parquet::internals::maintain::{clean, repair};
use alb2parquet::internals::plan::{Remedy, Selection};
use alb2parquet::internals::redact::Redaction;
use alb2parquet::internals::store::Source;
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use bytes::Bytes;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::simulation::random::Random;
use crate::simulation::store::{Crash, Fault, Rates};
use crate::simulation::{
    DAYS, PROGRAMS, World, convert, expect_faults, ignore_faults, objects, put,
};
use crate::support::{gzip, key_on};

const SEEDS: u64 = 40;
const CLAIMS: &str = "_alb2parquet/claims";
const ROWS: &str = "alb_health_check_logs";
const REJECTS: &str = "elb_rejects";
const ORIGINALS: &str = "_alb2parquet/originals";

/// A kind of damage to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    FirstClaimLost,
    MiddleClaimLost,
    LastClaimLost,
    LastClaimLostWithMarkers,
    AllClaimsLost,
    AllStateLost,
    ClaimsRestored,
    ClaimTruncated,
    ClaimEmpty,
    MarkerTruncated,
    MarkerLost,
    AbortForged,
    DoneForged,
    KeyOutside,
    KeyOfAnotherPartition,
    ClaimOfAnotherPartition,
    FileCopied,
    OriginalsLost,
    OriginalsAndClaimsLost,
    OriginalsCopied,
}

impl Damage {
    const ALL: [(&'static str, Self); 20] = [
        ("first claim lost", Self::FirstClaimLost),
        ("middle claim lost", Self::MiddleClaimLost),
        ("last claim lost", Self::LastClaimLost),
        ("last claim lost with its markers", Self::LastClaimLostWithMarkers),
        ("all claims lost", Self::AllClaimsLost),
        ("all state lost", Self::AllStateLost),
        ("claims restored from a backup", Self::ClaimsRestored),
        ("claim truncated", Self::ClaimTruncated),
        ("claim empty", Self::ClaimEmpty),
        ("marker truncated", Self::MarkerTruncated),
        ("marker lost", Self::MarkerLost),
        ("abort marker forged", Self::AbortForged),
        ("done forged", Self::DoneForged),
        ("key outside the dataset", Self::KeyOutside),
        ("key of another partition", Self::KeyOfAnotherPartition),
        ("claim of another partition", Self::ClaimOfAnotherPartition),
        ("data file copied", Self::FileCopied),
        ("originals lost", Self::OriginalsLost),
        ("originals and claims lost", Self::OriginalsAndClaimsLost),
        ("originals copied", Self::OriginalsCopied),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, each)| *each == self).unwrap().0
    }
}

/// A dataset with its source and history.
struct History {
    world: World,
    random: Random,
    /// Valid and invalid line counts for each source object, by key.
    lines: BTreeMap<String, (u64, u64)>,
    backup: InMemory,
    runs: u64,
    faults: BTreeMap<&'static str, u64>,
}

fn key(day: &str, number: usize) -> String {
    let key = key_on(day, number);
    let (directory, name) = key.rsplit_once('/').unwrap();
    format!("{directory}/health_check_log_{name}")
}

fn keys(store: &InMemory, directory: &str) -> Vec<String> {
    let listed = store.list(Some(&Path::from(directory))).collect::<Vec<_>>();
    let listed = listed.now_or_never().unwrap().into_iter();
    let mut keys: Vec<String> = listed.map(|meta| meta.unwrap().location.to_string()).collect();
    keys.sort();
    keys
}

fn get(store: &InMemory, key: &str) -> Bytes {
    block_on(async { store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap() })
}

fn delete(store: &InMemory, key: &str) {
    block_on(store.delete(&Path::from(key))).unwrap();
}

fn delete_all(store: &InMemory, keys: &[String]) {
    for key in keys {
        delete(store, key);
    }
}

/// Returns the number in a log entry's file name.
fn number(key: &str) -> usize {
    let name = key.rsplit('/').next().unwrap();
    name.split('.').next().unwrap().parse().unwrap()
}

/// Returns the directory of a day's log.
fn log_of(day: &str) -> String {
    format!("{CLAIMS}/health_check/012345678901/eu-west-1/{}", day.replace('/', "-"))
}

/// Returns the name of a day's partition as it appears in messages.
fn partition_of(day: &str) -> String {
    format!("health_check 012345678901 eu-west-1 {}", day.replace('/', "-"))
}

/// Returns the directories that contain a day's files.
fn directories(day: &str) -> [String; 2] {
    let parts: Vec<&str> = day.split('/').collect();
    [ROWS, REJECTS].map(|table| {
        let [year, month, day] = parts[..] else { panic!("{day} is not a day") };
        format!("{table}/account=012345678901/region=eu-west-1/year={year}/month={month}/day={day}")
    })
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let world = World::new(Random::new(random.next()));
        world.scheduler.start(1);
        Self {
            world,
            random,
            lines: BTreeMap::new(),
            backup: InMemory::new(),
            runs: 0,
            faults: BTreeMap::new(),
        }
    }

    fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn dataset(&self) -> InMemory {
        self.world.scheduler.state().dataset.clone()
    }

    /// Returns a random value, or `None` if there are no values.
    fn pick<T: Clone>(&mut self, values: &[T]) -> Option<T> {
        let count = values.len() as u64;
        (count > 0).then(|| values[self.random.below(count) as usize].clone())
    }

    /// Adds objects for a day to the source.
    fn add(&mut self, day: &str) {
        for _ in 0..=self.random.below(2) {
            let number = self.lines.len();
            // `verify` would report an object that has rejects but no rows.
            let good = self.random.below(4);
            let bad = u64::from(good > 0 && self.random.hits(300));
            let mut text = String::new();
            for line in 0..good {
                let time = format!("2025-11-24T10:00:{line:02}.{number:06}Z");
                text.extend(["http ", &time, " 0.0012 192.0.2.1:80 web PASS 200 -\n"]);
            }
            text += &"bad\n".repeat(bad as usize);
            if self.random.hits(400) {
                // Lines that end with CRLF have originals.
                text = text.replace('\n', "\r\n");
            }
            let key = key(day, number);
            put(&self.world.scheduler.state().source, &key, gzip(text));
            self.lines.insert(key, (good, bad));
        }
    }

    /// Runs a conversion, and returns the failures that it reports.
    fn convert(&mut self) -> anyhow::Result<Vec<String>> {
        self.runs += 1;
        let tally = convert(&self.world, &format!("run-{}", self.runs))?;
        Ok(tally.failures.into_iter().map(|f| format!("{}: {}", f.object, f.error)).collect())
    }

    /// Runs the program several times with injected faults. Adds objects and removes partitions between runs.
    fn run_several(&mut self, runs: u64) {
        for _ in 0..runs {
            let day = DAYS[self.runs as usize % 2];
            self.add(day);
            if self.random.hits(400) {
                let (fault, name) = match self.random.below(2) {
                    0 => (Fault::ErrorBefore, "error before a call"),
                    _ => (Fault::ErrorAfter, "error after a call"),
                };
                let mut state = self.world.scheduler.state();
                let call = state.calls + 1 + self.random.below(40);
                state.fail_at = Some((call, fault));
                drop(state);
                self.count(name);
            }
            if self.random.hits(300) {
                self.world.scheduler.state().rates = Rates { short: 300, ..Rates::default() };
            }
            // The next run finishes any work that a fault interrupted.
            let _ = self.convert();
            let mut state = self.world.scheduler.state();
            (state.fail_at, state.rates) = (None, Rates::default());
            let short = state.faults.remove("short read").unwrap_or(0);
            drop(state);
            *self.faults.entry("short read").or_default() += short;
            if self.random.hits(150) {
                self.runs += 1;
                ignore_faults(|| self.world.remove(0, format!("removal-{}", self.runs)));
                self.count("removal");
            }
            if self.random.hits(300) {
                self.backup = self.dataset().fork();
            }
        }
    }

    /// Damages the state. Returns whether there was anything to damage.
    fn damage(&mut self, damage: Damage) -> bool {
        let store = self.dataset();
        let mut logs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let all = keys(&store, CLAIMS);
        for key in all.iter().filter(|key| key.ends_with(".claim.json")) {
            logs.entry(key.rsplit_once('/').unwrap().0.to_owned()).or_default().push(key.clone());
        }
        for claims in logs.values_mut() {
            claims.sort_by_key(|key| number(key));
        }
        let days: Vec<Vec<String>> = logs.values().cloned().collect();
        let middle: Vec<_> = days.iter().filter(|log| log.len() > 2).cloned().collect();
        let Some(log) = self.pick(if damage == Damage::MiddleClaimLost { &middle } else { &days })
        else {
            return false;
        };
        let claim = self.pick(&log).unwrap();
        let own = |kind: &str, key: &str| key.replace(".claim.json", kind);
        let markers: Vec<String> =
            all.iter().filter(|key| !key.ends_with(".claim.json")).cloned().collect();
        match damage {
            Damage::FirstClaimLost => delete(&store, &log[0]),
            Damage::MiddleClaimLost => {
                let at = 1 + self.random.below(log.len() as u64 - 2) as usize;
                delete(&store, &log[at]);
            }
            Damage::LastClaimLost => delete(&store, log.last().unwrap()),
            Damage::LastClaimLostWithMarkers => {
                for kind in [".claim.json", ".done.json", ".aborted.json"] {
                    let key = own(kind, log.last().unwrap());
                    if all.contains(&key) {
                        delete(&store, &key);
                    }
                }
            }
            Damage::AllClaimsLost => delete_all(&store, &all),
            Damage::AllStateLost => delete_all(&store, &keys(&store, "_alb2parquet")),
            Damage::ClaimsRestored => {
                let backup = keys(&self.backup, CLAIMS);
                if backup == all {
                    return false;
                }
                delete_all(&store, &all);
                for key in backup {
                    put(&store, &key, get(&self.backup, &key));
                }
            }
            Damage::ClaimTruncated => {
                let text = get(&store, &claim);
                let end = self.random.below(text.len() as u64) as usize;
                put(&store, &claim, text.slice(..end));
            }
            Damage::ClaimEmpty => put(&store, &claim, ""),
            Damage::MarkerTruncated => {
                let Some(marker) = self.pick(&markers) else { return false };
                put(&store, &marker, "");
            }
            Damage::MarkerLost => {
                let Some(marker) = self.pick(&markers) else { return false };
                // If the marker of an aborted claim is lost, the claim is aborted again.
                delete(&store, &marker);
            }
            Damage::AbortForged => put(&store, &own(".aborted.json", &claim), "{}"),
            Damage::DoneForged => {
                // If the claim is open, a forged marker turns it into a done claim without files, which `verify`
                // reports.
                if !all.contains(&own(".done.json", &claim)) {
                    return false;
                }
                put(&store, &own(".done.json", &claim), "{}");
            }
            Damage::OriginalsLost | Damage::OriginalsAndClaimsLost => {
                let Some(file) = self.pick(&keys(&store, ORIGINALS)) else { return false };
                delete(&store, &file);
                if damage == Damage::OriginalsAndClaimsLost {
                    delete_all(&store, &all);
                }
            }
            Damage::OriginalsCopied => {
                let Some(file) = self.pick(&keys(&store, ORIGINALS)) else { return false };
                put(&store, &copy_of(&file), get(&store, &file));
            }
            _ => return self.forge(damage, &claim, &days),
        }
        true
    }

    /// Forges a claim or copies a data file. Returns whether this was possible.
    fn forge(&mut self, damage: Damage, claim: &str, logs: &[Vec<String>]) -> bool {
        let store = self.dataset();
        match damage {
            Damage::KeyOutside | Damage::KeyOfAnotherPartition => {
                let mut json: Value = serde_json::from_slice(&get(&store, claim)).unwrap();
                let Some(output) = json.pointer_mut("/outputs/0/key") else { return false };
                let forged = match damage {
                    Damage::KeyOutside => self
                        .pick(&["../victim", "/victim", "_alb2parquet/dataset.json", "a//b", ".."])
                        .unwrap()
                        .to_owned(),
                    _ => output.as_str().unwrap().replace("/region=eu-west-1", "/region=eu-west-2"),
                };
                *output = forged.into();
                put(&store, claim, json.to_string());
            }
            Damage::ClaimOfAnotherPartition => {
                let is_other = |log: &&Vec<String>| !log.iter().any(|key| key == claim);
                let others: Vec<_> = logs.iter().filter(is_other).cloned().collect();
                let Some(other) = self.pick(&others) else { return false };
                let text = get(&store, claim);
                let json: Value = serde_json::from_slice(&text).unwrap();
                if json["outputs"].as_array().is_none_or(Vec::is_empty) {
                    return false;
                }
                let last = other.last().unwrap();
                let next = last
                    .replace(&format!("/{}.", number(last)), &format!("/{}.", number(last) + 1));
                put(&store, &next, text);
            }
            Damage::FileCopied => {
                let files = [keys(&store, ROWS), keys(&store, REJECTS)].concat();
                let Some(file) = self.pick(&files) else { return false };
                put(&store, &copy_of(&file), get(&store, &file));
            }
            _ => unreachable!("{damage:?} loses state"),
        }
        true
    }

    /// Returns how many times each row and reject is visible, keyed by the object and the time or line number.
    fn rows(&self) -> BTreeMap<(String, String), u64> {
        let store = self.dataset();
        let mut rows = BTreeMap::new();
        for (table, column) in [(ROWS, "time"), (REJECTS, "line_number")] {
            for key in keys(&store, table) {
                let reader = ParquetRecordBatchReaderBuilder::try_new(get(&store, &key)).unwrap();
                for batch in reader.build().unwrap() {
                    let batch = batch.unwrap();
                    let of = |name, to| cast(batch.column_by_name(name).unwrap(), to).unwrap();
                    let objects = of("source_key", &DataType::Utf8);
                    let lines = of(column, &DataType::Int64);
                    for row in 0..batch.num_rows() {
                        let object = objects.as_string::<i32>().value(row);
                        let line = lines.as_primitive::<Int64Type>().value(row);
                        let name = identity(object.rsplit('/').next().unwrap()).to_owned();
                        *rows.entry((name, format!("{table} {line}"))).or_default() += 1;
                    }
                }
            }
        }
        rows
    }

    /// Asserts that no row is visible twice, and that all rows of the objects from the given days are visible.
    fn expect_rows(&self, days: &[&str], what: &str) {
        let rows = self.rows();
        let twice: Vec<_> = rows.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{what}: these rows are visible twice: {twice:?}");
        for (key, (good, bad)) in &self.lines {
            if days.iter().any(|day| key.contains(day)) {
                let own = identity(key.rsplit('/').next().unwrap());
                let visible = rows.keys().filter(|(object, _)| object == own).count() as u64;
                assert_eq!(visible, good + bad, "{what}: visible rows of {key}");
            }
        }
    }

    /// Returns a day's data files.
    fn files(&self, day: &str) -> Vec<String> {
        let store = self.dataset();
        directories(day).iter().flat_map(|directory| keys(&store, directory)).collect()
    }

    /// Returns whether a day's claims are broken, or do not account for the day's files. Reads the state directly,
    /// without the program's code.
    fn is_unknown(&self, day: &str) -> bool {
        let store = self.dataset();
        let log = keys(&store, &log_of(day));
        let is =
            |number: usize, kind: &str| log.contains(&format!("{}/{number}.{kind}", log_of(day)));
        let last = log.iter().map(|key| number(key)).max().unwrap_or(0);
        let mut allowed = directories(day).to_vec();
        let (_, below) = allowed[0].split_once('/').unwrap();
        allowed.push(format!("{ORIGINALS}/{below}"));
        let mut claimed = BTreeSet::new();
        for number in 1..=last {
            if !is(number, "claim.json") {
                return true;
            }
            let text = get(&store, &format!("{}/{number}.claim.json", log_of(day)));
            let Ok(claim) = serde_json::from_slice::<Value>(&text) else { return true };
            if claim["action"] == "remove" && is(number, "done.json") {
                claimed.clear();
            }
            for output in claim["outputs"].as_array().into_iter().flatten() {
                let key = output["key"].as_str().unwrap();
                let directory = key.rsplit_once('/').map_or("", |(directory, _)| directory);
                if !allowed.iter().any(|own| own == directory) {
                    return true;
                }
                if !is(number, "aborted.json") {
                    claimed.insert(key.to_owned());
                }
            }
        }
        self.files(day).iter().any(|file| !claimed.contains(file))
    }

    /// Returns the days with a published claim whose files are missing because the backup predates their removal.
    fn days_without_files(&self) -> Vec<&'static str> {
        let verify = self.verify();
        let gone = verify.iter().filter(|finding| finding.problem == "is gone");
        let gone: Vec<&str> = gone.map(|finding| finding.name.as_str()).collect();
        let is_of = |day: &&str| {
            gone.iter().any(|name| directories(day).iter().any(|own| name.contains(own.as_str())))
        };
        DAYS.into_iter().filter(|day| is_of(day)).collect()
    }

    fn verify(&self) -> Vec<Finding> {
        let (dead, stop) = (Arc::default(), AtomicBool::new(false));
        let store = self.world.store(0, true, &dead);
        let verification = Verification {
            sources: &[Source::over(Arc::new(store), "memory://source")],
            dataset: &self.world.dataset(0, "verify".to_owned(), &dead).unwrap(),
            selection: &Selection::default(),
            read_data: Some(&Redaction::default()),
            restore: true,
            reference: &LogType::table,
            stop: &stop,
        };
        verification.run().unwrap().findings
    }

    /// Deletes orphan originals files. Returns how many of them `verify` reported.
    fn clean(&mut self) -> usize {
        let mut orphans = self.verify();
        orphans.retain(|finding| finding.remedy == Remedy::Clean);
        let dataset = self.world.dataset(0, "clean".to_owned(), &Arc::default()).unwrap();
        let cleaned = clean::clean(&dataset, Duration::from_secs(1 << 30)).unwrap();
        let mut removed: Vec<String> = cleaned.removed.into_iter().map(|each| each.name).collect();
        removed.sort();
        let orphans: Vec<String> = orphans.into_iter().map(|finding| finding.name).collect();
        assert_eq!(removed, orphans);
        orphans.len()
    }

    /// Repairs the dataset, sometimes after an attempt that was killed. Returns the partitions that cannot be repaired.
    fn repair(&mut self) -> Vec<String> {
        if self.random.hits(500) {
            let kill = [Fault::CrashBefore, Fault::CrashAfter][self.random.below(2) as usize];
            let mut state = self.world.scheduler.state();
            state.fail_at = Some((state.calls + 1 + self.random.below(60), kill));
            drop(state);
            // If the repair needs fewer calls, it is not killed.
            let repaired = catch_unwind(AssertUnwindSafe(|| self.repair_once()));
            self.world.scheduler.state().fail_at = None;
            if let Err(panic) = repaired {
                if !panic.is::<Crash>() {
                    resume_unwind(panic);
                }
                self.count("killed repair");
            }
        }
        self.repair_once()
    }

    fn repair_once(&mut self) -> Vec<String> {
        self.runs += 1;
        let run = format!("repair-{}", self.runs);
        let dataset = self.world.dataset(0, run, &Arc::default()).unwrap();
        let mut found = repair::find(&dataset, &Selection::default()).unwrap();
        repair::apply(&dataset, &mut found).unwrap();
        let failed = found.into_iter().filter(|each| !each.repaired);
        failed.map(|each| format!("{}: {}", each.partition, each.error.unwrap())).collect()
    }
}

/// Returns a key for a copy of a data file.
fn copy_of(file: &str) -> String {
    file.replace(".parquet", "-copy.parquet")
}

/// Runs the test for one seed. Returns how often each kind of fault and damage occurred.
fn run_seed(seed: u64) -> BTreeMap<&'static str, u64> {
    let (name, damage) = Damage::ALL[(seed % Damage::ALL.len() as u64) as usize];
    let what = format!("ALB2PARQUET_SEED={seed}: {name}");
    let mut history = History::new(seed);
    // Only removals delete data files.
    history.world.scheduler.state().removing = true;
    let runs = 2 + history.random.below(4);
    history.run_several(runs);
    // Some kinds of damage require several claims, or an open entry that an interrupted run left behind.
    while !history.damage(damage) {
        history.run_several(1);
    }
    history.count(damage.name());
    let unknown: Vec<&str> = DAYS.into_iter().filter(|day| history.is_unknown(day)).collect();
    let before: Vec<_> = DAYS.into_iter().map(|day| history.files(day)).collect();
    for day in DAYS {
        history.add(day);
    }
    let failures = history.convert().unwrap();
    for (day, before) in DAYS.into_iter().zip(before) {
        if unknown.contains(&day) {
            let is_named = failures.iter().any(|text| text.contains(&partition_of(day)));
            assert!(is_named, "{what}: {day} is not named: {failures:?}");
            assert_eq!(history.files(day), before, "{what}: files of {day}");
        }
    }
    let lost = history.days_without_files();
    let known: Vec<&str> =
        DAYS.into_iter().filter(|day| !unknown.contains(day) && !lost.contains(day)).collect();
    if damage != Damage::FileCopied {
        history.expect_rows(&known, &what);
    }
    if !unknown.is_empty() {
        history.count("partition blocked");
    }
    let mut failed = history.repair();
    if damage == Damage::FileCopied {
        assert!(failed.len() == 1 && failed[0].contains("both contain"), "{what}: {failed:?}");
        let store = history.dataset();
        let tables = [keys(&store, ROWS), keys(&store, REJECTS)].concat();
        for copy in tables.iter().filter(|key| key.contains("-copy")) {
            delete(&store, copy);
        }
        failed = history.repair();
    }
    let is_alone = |text: &&String| text.contains("a file of rows or rejects is lost");
    for text in failed.iter().filter(is_alone) {
        // An interrupted run published only its reject file, which comes first, and the claim is lost. Apply the
        // remedy.
        let (_, named) = text.split_once("memory:/").unwrap();
        let key = named.split(' ').next().unwrap();
        assert!(key.starts_with(REJECTS), "{what}: {text}");
        delete(&history.dataset(), key);
    }
    if failed.iter().any(|text| is_alone(&text)) {
        failed = history.repair();
    }
    assert!(failed.is_empty(), "{what}: {failed:?}");
    let mut failures = history.convert().unwrap();
    if damage == Damage::OriginalsLost && failures.iter().any(|f| f.contains("already exists")) {
        // The claim's rows were published, but an injected fault prevented its marker. Apply the reported remedy.
        history.count("stuck claim");
        history.world.remove(0, "removal".to_owned()).unwrap();
        failures = history.convert().unwrap();
    }
    assert!(failures.is_empty(), "{what}: {failures:?}");
    if !history.days_without_files().is_empty() {
        // A removal deleted the rows of the objects in these claims, but its record was lost. `verify` reports that the
        // claims must be removed.
        history.count("claims without files");
        let is_of_backup = [Damage::ClaimsRestored, Damage::LastClaimLostWithMarkers];
        assert!(is_of_backup.contains(&damage), "{what}");
        history.world.remove(0, "removal".to_owned()).unwrap();
        assert!(history.convert().unwrap().is_empty(), "{what}");
    }
    history.expect_rows(&DAYS, &what);
    let orphans = history.clean();
    assert!(orphans > 0 || damage != Damage::OriginalsCopied, "{what}");
    if orphans > 0 {
        history.count("orphan originals");
    }
    let findings = history.verify();
    if !findings.is_empty() {
        // The rows are complete, but originals are lost, so the partitions must be removed and converted again.
        history.count("lost originals");
        let of_originals = |finding: &Finding| {
            ["originals_lost", "not_restorable"].contains(&finding.kind)
                || finding.problem == "is gone" && finding.name.contains(ORIGINALS)
        };
        assert!(findings.iter().all(of_originals), "{what}: {findings:?}");
        let is_lost = [Damage::AllStateLost, Damage::OriginalsLost, Damage::OriginalsAndClaimsLost];
        assert!(is_lost.contains(&damage), "{what}: {findings:?}");
        history.world.remove(0, "removal".to_owned()).unwrap();
        assert!(history.convert().unwrap().is_empty(), "{what}");
        history.expect_rows(&DAYS, &what);
    }
    assert_eq!(history.verify(), [], "{what}");
    let state = keys(&history.dataset(), "");
    assert!(history.convert().unwrap().is_empty(), "{what}");
    assert_eq!(keys(&history.dataset(), ""), state, "{what}: a rerun writes nothing");
    history.faults
}

/// Minimum number of occurrences of each kind of fault and damage, for the default number of seeds.
const AT_LEAST: [(&str, u64); 8] = [
    ("error before a call", 5),
    ("error after a call", 5),
    ("killed repair", 5),
    ("lost originals", 2),
    ("orphan originals", 2),
    ("partition blocked", 15),
    ("removal", 5),
    ("short read", 10),
];

#[test]
fn lost_or_forged_state_neither_duplicates_nor_loses_rows() {
    if let Some(seed) = env::var("ALB2PARQUET_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run_seed(seed);
        return;
    }
    let seeds = env::var("ALB2PARQUET_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds: u64 = seeds.unwrap_or(SEEDS);
    let began = Instant::now();
    let mut faults = BTreeMap::<&str, u64>::new();
    for seed in 0..seeds {
        for (fault, count) in run_seed(seed) {
            *faults.entry(fault).or_default() += count;
        }
    }
    println!("{seeds} seeds, {faults:?}, {:.1} s", began.elapsed().as_secs_f64());
    expect_faults(&faults, &AT_LEAST, seeds, SEEDS);
    expect_faults(&faults, &Damage::ALL.map(|(name, _)| (name, 2)), seeds, SEEDS);
}

// ---- copies

/// Returns keys for copies of an object, with different names, directories, or days.
fn places(key: &str) -> [String; 6] {
    let (directory, name) = key.rsplit_once('/').unwrap();
    let (above, day) = directory.rsplit_once('/').unwrap();
    let next = format!("{:02}", day.parse::<u32>().unwrap() + 1);
    [
        key.to_owned(),
        format!("copies/{key}"),
        format!("{key}.1"),
        format!("{above}/{next}/{name}"),
        // AWS could not have delivered the object on this day, so the end time determines the partition.
        format!("{above}/{:02}/{name}", day.parse::<u32>().unwrap() + 7),
        format!("old/{name}"),
    ]
}

/// Objects are copied and moved between runs, and runs can fail at any call. No run sees all copies.
#[test]
fn copies_and_moved_objects_are_converted_once() {
    let mut faults = BTreeMap::<&str, u64>::new();
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let world = World::new(Random::new(random.next()));
        world.scheduler.start(1);
        let (runs, mut copies) = (2 + random.below(3), 0);
        for run in 0..runs {
            for object in objects() {
                let bytes = object.bytes(0, 0);
                let state = world.scheduler.state();
                let mut there = 0;
                for place in places(&object.key) {
                    let path = Path::from(place.as_str());
                    // In the last run, every object must exist at least once.
                    if random.hits(300) || run + 1 == runs && there == 0 && place.starts_with("old")
                    {
                        put(&state.source, &place, bytes.clone());
                        there += 1;
                    } else {
                        let _ = block_on(state.source.delete(&path));
                    }
                }
                copies += u64::from(there > 1);
                drop(state);
            }
            let mut state = world.scheduler.state();
            state.rates = Rates::default();
            if run + 1 < runs {
                state.rates = Rates { crash: 10, error: 10, short: 100, ..Rates::default() };
            }
            drop(state);
            let program = PROGRAMS[random.below(2) as usize];
            world.run_with_faults(0, format!("run-{run}"), program);
        }
        let mut state = world.scheduler.state();
        state.check_visible();
        assert_eq!(state.violation, None, "seed {seed}");
        let mut rows = state.rows();
        rows.sort();
        let mut expected = Vec::new();
        for object in objects() {
            expected.extend(object.text(0).lines().map(str::to_owned));
        }
        expected.sort();
        assert_eq!(rows, expected, "seed {seed}");
        *faults.entry("object with copies").or_default() += copies;
        for (fault, count) in &state.faults {
            *faults.entry(fault).or_default() += count;
        }
    }
    println!("{faults:?}");
    let at_least = [("object with copies", 500), ("crash", 50), ("error", 50), ("short read", 50)];
    expect_faults(&faults, &at_least, 200, 200);
}

// ---- single safeguards

/// Read requests are conditional on the listed ETag.
#[test]
fn an_object_that_was_replaced_after_the_listing_is_not_read() {
    let world = World::with_objects(Random::new(1));
    world.scheduler.start(1);
    let source = Source::over(Arc::new(world.store(0, true, &Arc::default())), "memory://source");
    let listed: Vec<_> = source.list().map(Result::unwrap).collect();
    let objects = objects();
    world.scheduler.state().write_source(&objects[0], 1, 0);
    for object in &listed {
        let is_replaced = object.key() == objects[0].key;
        assert_eq!(source.read(object, &mut Vec::new()).is_err(), is_replaced, "{}", object.key());
    }
}

/// A run that covers few partitions reads a partition's log while it processes an adjacent day, and lists the
/// partition's files later.
#[test]
fn a_file_of_a_claim_that_is_newer_than_the_log_blocks_nothing() {
    let mut history = History::new(1);
    let dataset = history.world.dataset(0, "reader".to_owned(), &Arc::default()).unwrap();
    let ledger = Ledger::of_few(&dataset);
    let [account, region] = ["012345678901", "eu-west-1"];
    let day = DAYS[0].replace('/', "-").parse().unwrap();
    let partition = Partition::new(LogType::HealthCheck, account, region, day).unwrap();
    assert!(ledger.held(&partition).unwrap().is_empty());
    history.add(DAYS[0]);
    history.convert().unwrap();
    let held = ledger.accounted(&partition).unwrap();
    assert_eq!(held.len(), history.lines.len());
}
