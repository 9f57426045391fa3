//! `verify` compares days while later days are listed: on random trees, it finds the same as after listing everything,
//! and it holds only a few days in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use alb2parquet::internals::dataset::claim::{Hints, Log};
use alb2parquet::internals::dataset::layout::Dataset;
use alb2parquet::internals::logs::key::{from_root, identity};
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::maintain::verify::{Report, Verification};
use alb2parquet::internals::plan::{Listing, Selection};
use alb2parquet::internals::redact::Redaction;
use alb2parquet::internals::store::{Network, Source};
use chrono::{Days, NaiveDate};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gathering::{Trees, list, trees};
use crate::simulation::random::Random;
use crate::support::{self, ROWS, convert, good_lines, gzip, key_on, open_dataset, put, tree};
use crate::synthetic::Synthetic;

/// Returns the bytes of an object, whose size depends on `size`.
fn object(key: &str, size: u64) -> Vec<u8> {
    let text = good_lines(size as usize);
    if key.to_lowercase().ends_with(".gz") { gzip(text) } else { text }
}

/// A dataset and its sources, of which parts have changed since the conversion.
struct World {
    dir: TempDir,
    sources: Vec<PathBuf>,
}

impl World {
    fn new(random: &mut Random, trees: &Trees) -> Self {
        let dir = TempDir::new().unwrap();
        let named = |(number, _)| dir.path().join(format!("source-{number}"));
        let sources: Vec<PathBuf> = trees.iter().enumerate().map(named).collect();
        for (source, tree) in sources.iter().zip(trees) {
            for (key, size) in tree {
                put(source, key, object(key, *size));
            }
        }
        let world = Self { dir, sources };
        let sources: Vec<&Path> = world.sources.iter().map(PathBuf::as_path).collect();
        let run = convert(&sources, &world.out(), &["--max-rejects", "1"]);
        assert!([0, 2].contains(&run.code), "{run:?}");
        world.change_sources(random, trees);
        world.change_dataset(random);
        world
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Deletes, rewrites, touches and adds objects.
    fn change_sources(&self, random: &mut Random, trees: &Trees) {
        for (source, tree) in self.sources.iter().zip(trees) {
            for (key, size) in tree {
                match random.below(16) {
                    0 => fs::remove_file(source.join(key)).unwrap(),
                    1 => drop(put(source, key, object(key, 9))),
                    2 => drop(put(source, key, object(key, *size))),
                    3 => drop(put(source, &key.replace("192.0.2.1", "192.0.2.2"), object(key, 1))),
                    _ => {}
                }
            }
        }
    }

    /// Damages claims and files, and copies claims within their partition and to the next day's partition.
    fn change_dataset(&self, random: &mut Random) {
        let (out, claims) = (self.out(), "_alb2parquet/claims/");
        let files = tree(&out);
        for (key, bytes) in &files {
            let Some(claim) = key.strip_prefix(claims).filter(|key| key.ends_with("claim.json"))
            else {
                match random.below(33) {
                    _ if !key.starts_with(ROWS) => {}
                    0 | 1 => fs::remove_file(out.join(key)).unwrap(),
                    2 | 3 => drop(put(&out, &format!("{key}.copy.parquet"), bytes)),
                    _ => {}
                }
                continue;
            };
            let (directory, _) = claim.rsplit_once('/').unwrap();
            let (above, day) = directory.rsplit_once('/').unwrap();
            let next = day.parse::<NaiveDate>().unwrap() + Days::new(1);
            let mut copy: Value = serde_json::from_slice(bytes).unwrap();
            let add = |directory: &str, record: &Value| {
                let number = (1..1000).find(|number| {
                    !out.join(format!("{claims}{directory}/{number}.claim.json")).exists()
                });
                let number = number.unwrap();
                put(&out, &format!("{claims}{directory}/{number}.claim.json"), record.to_string());
                put(&out, &format!("{claims}{directory}/{number}.done.json"), "{}");
            };
            match random.below(24) {
                0 => fs::remove_file(out.join(key.replace("claim.json", "done.json"))).unwrap(),
                1 => fs::write(out.join(key), "{").unwrap(),
                2 => add(directory, &copy),
                3 | 4 => {
                    copy["outputs"] = json!([]);
                    add(&format!("{above}/{next}"), &copy);
                }
                5 | 6 => {
                    let name = |object: &Value| json!({ "claim": 1, "name": object["name"], "retired": true });
                    let objects: Vec<Value> =
                        copy["objects"].as_array().unwrap().iter().map(name).collect();
                    let record = json!({ "action": "amend", "run": "r", "objects": objects });
                    add(directory, &record);
                }
                _ => {}
            }
        }
    }

    fn open(&self) -> Vec<Source> {
        let open = |source: &PathBuf| {
            Source::open(source.to_str().unwrap(), &Network::default(), from_root).unwrap()
        };
        self.sources.iter().map(open).collect()
    }

    fn dataset(&self) -> Dataset {
        open_dataset(&self.out())
    }
}

/// Verifies a world whose sources list `whole` objects in any order. If `reads` is set, also reads the data and
/// restores the objects.
fn verify(world: &World, selection: &Selection, reads: bool, whole: u64) -> Report {
    let redaction = Redaction::default();
    let verification = Verification {
        sources: &world.open(),
        dataset: &world.dataset(),
        selection,
        read_data: reads.then_some(&redaction),
        restore: reads,
        reference: &LogType::table,
        stop: &AtomicBool::new(false),
    };
    verification.run_with_whole(whole).unwrap()
}

/// Returns the number of findings of some kinds, computed from a whole listing and all claims.
fn expected(world: &World, selection: &Selection) -> BTreeMap<&'static str, u64> {
    let (sources, dataset) = (world.open(), world.dataset());
    let listing = Listing::take(&sources, selection, &AtomicBool::new(false)).unwrap();
    let hints = Hints::list(&dataset).unwrap();
    let is_selected = |day: NaiveDate| {
        selection.from.is_none_or(|from| day >= from) && selection.to.is_none_or(|to| day <= to)
    };
    let partitions: BTreeSet<_> = hints.partitions().collect();
    let mut held: HashMap<String, bool> = HashMap::new();
    let mut twice = 0;
    for selected in [true, false] {
        for partition in &partitions {
            let is_beside = [partition.day - Days::new(1), partition.day + Days::new(1)];
            let is_beside = is_beside.into_iter().any(is_selected);
            if is_selected(partition.day) != selected || !selected && !is_beside {
                continue;
            }
            let Ok(log) = Log::read(&dataset, partition, &hints) else { continue };
            for object in log.holding().flat_map(|(_, claim)| &claim.objects) {
                match held.get(identity(&object.name)) {
                    Some(true) => twice += 1,
                    _ => drop(held.insert(identity(&object.name).to_owned(), selected)),
                }
            }
        }
    }
    let is_missing = |name: &str| !held.contains_key(identity(name));
    let missing = listing.objects.iter().filter(|object| is_missing(object.listed.name()));
    BTreeMap::from([("not_converted", missing.count() as u64), ("claimed_twice", twice)])
}

#[test]
fn days_are_verified_as_if_everything_had_been_listed_before() {
    let (mut late, mut found) = (0, BTreeMap::<&str, u64>::new());
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let mut trees = trees(&mut random, seed % 2 == 0);
        if seed % 2 == 0 {
            // Of the copies of a late object, the listing yields another one.
            let mut known = BTreeSet::new();
            for tree in &mut trees {
                let name = |key: &str| identity(key.rsplit('/').next().unwrap()).to_owned();
                tree.retain(|key, _| known.insert(name(key)));
            }
        }
        let world = World::new(&mut random, &trees);
        let is_late = !list(&world.open(), 0).0.days.is_sorted_by_key(|(name, _)| name.clone());
        late += usize::from(is_late);
        let day = |random: &mut Random| {
            NaiveDate::from_ymd_opt(2024, 12, 20).unwrap() + Days::new(random.below(20))
        };
        let some = Selection { from: Some(day(&mut random)), ..Selection::default() };
        let few = Selection { to: Some(some.from.unwrap() + Days::new(2)), ..some.clone() };
        for selection in [Selection::default(), some, few] {
            for reads in [false, true] {
                let report = |whole| {
                    let report = verify(&world, &selection, reads, whole);
                    let mut json = serde_json::to_value(&report).unwrap();
                    // The sample begins with the first object that is verified.
                    if is_late {
                        json["reference_decoded"].take();
                    }
                    (report, json)
                };
                let (whole, json) = report(u64::MAX);
                for unordered in [0, random.below(100)] {
                    assert_eq!(report(unordered).1, json, "seed {seed}, after {unordered}");
                }
                let mut kinds = BTreeMap::<&str, u64>::new();
                whole.findings.iter().for_each(|one| *kinds.entry(one.kind).or_default() += 1);
                for (kind, count) in expected(&world, &selection) {
                    let found = kinds.get(kind).copied().unwrap_or_default();
                    assert_eq!(found, count, "{kind}, seed {seed}, {selection:?}");
                }
                for (kind, count) in kinds {
                    *found.entry(kind).or_default() += count;
                }
                let is_misplaced = |problem: &str| problem.contains("belong to another partition");
                let misplaced = whole.findings.iter().filter(|one| is_misplaced(&one.problem));
                *found.entry("misplaced").or_default() += misplaced.count() as u64;
                *found.entry("compared").or_default() += whole.compared;
                *found.entry("not_compared").or_default() += whole.not_compared;
                *found.entry("retired_in_source").or_default() += whole.retired_in_source;
            }
        }
    }
    assert!(late > 2, "in some trees, objects are late: {late}");
    for kind in [
        "not_converted",
        "changed",
        "touched",
        "claimed_twice",
        "unpublished",
        "file_mismatch",
        "orphan",
        "invalid_state",
        "row_mismatch",
        "misplaced",
        "compared",
        "not_compared",
        "retired_in_source",
    ] {
        assert!(found.get(kind).is_some_and(|count| *count > 0), "no {kind} in {found:?}");
    }
}

/// Verifies a synthetic store without reading the objects.
fn verify_synthetic(
    store: &Arc<Synthetic>,
    is_with_source: bool,
    stop: &AtomicBool,
) -> Result<Report, String> {
    verify_selected(store, is_with_source, &Selection::default(), stop)
}

fn verify_selected(
    store: &Arc<Synthetic>,
    is_with_source: bool,
    selection: &Selection,
    stop: &AtomicBool,
) -> Result<Report, String> {
    let verification = Verification {
        sources: if is_with_source { &[store.source()] } else { &[] },
        dataset: &store.dataset(1),
        selection,
        read_data: None,
        restore: false,
        reference: &LogType::table,
        stop,
    };
    verification.run_with_whole(0).map_err(|error| error.to_string())
}

/// The store counts the objects that were listed and whose claims were not read yet. Their number is limited, however
/// slowly claims are read: the listing waits when 50,000 objects are found ahead of an incomplete day, 16 pages of 1000
/// objects are requested and 4096 objects are queued. When a day is complete, the listing requests 16 further pages.
#[test]
fn claims_are_read_while_objects_are_listed() {
    let objects = 120_000;
    let store = Synthetic::new(objects, 400, Duration::ZERO);
    store.claim_all();
    let report = verify_synthetic(&store, true, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.objects, report.claims, report.findings), (objects, 400, Vec::new()));
    assert!(store.ahead() < 90_000, "{} objects", store.ahead());
}

#[test]
fn an_interrupted_verification_returns_no_report() {
    // The claims of other partitions than the selected ones are read, too, because their files may be orphans.
    let nothing = Selection { accounts: vec!["000000000000".to_owned()], ..Selection::default() };
    for (is_with_source, selection) in
        [(true, Selection::default()), (false, Selection::default()), (false, nothing)]
    {
        let store = Synthetic::new(8000, 400, Duration::ZERO);
        store.claim_all();
        let stop = Arc::new(AtomicBool::new(false));
        store.stop_at(800, Arc::clone(&stop));
        let error = verify_selected(&store, is_with_source, &selection, &stop).unwrap_err();
        assert_eq!((error.as_str(), store.claims_read()), ("interrupted", 800));
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_the_only_finding() {
    let store = Synthetic::new(8000, 400, Duration::ZERO);
    store.claim_all();
    let unlisted = store.refuse_first_account();
    let report = verify_synthetic(&store, true, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.objects, report.claims, unlisted), (7600, 400, 400));
    let kinds: Vec<&str> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["listing_failed"], "{:?}", report.findings);
}

/// A claim with an object of another partition hides neither this object nor itself.
#[test]
fn misplaced_objects_are_reported() {
    let world = support::World::new();
    for number in 1..=4 {
        world.put(&key_on(&format!("2025/07/{}", 18 + number), number), gzip(good_lines(1)));
    }
    convert(&[&world.source()], &world.out(), &[]).expect(0);
    let claims = world.out().join("_alb2parquet/claims/access/012345678901/eu-west-1");
    let [first, third] =
        ["2025-07-19", "2025-07-21"].map(|day| claims.join(format!("{day}/1.claim.json")));
    // The third day holds the object of the first day.
    let mut claim: Value = serde_json::from_slice(&fs::read(&first).unwrap()).unwrap();
    claim["outputs"] = json!([]);
    fs::write(third, claim.to_string()).unwrap();
    fs::remove_dir_all(first.parent().unwrap()).unwrap();
    let kinds = |from: &str| {
        let run = world.run("verify", true, &["--from", from, "--to", "2025-07-22", "--json"]);
        let findings = run.expect(1).json()["findings"].take();
        let mut kinds = Vec::new();
        for finding in findings.as_array().unwrap() {
            let problem = finding["problem"].as_str().unwrap();
            let is_misplaced = problem.contains("belong to another partition: 1, such as");
            let kind = finding["kind"].as_str().unwrap();
            kinds.push(if is_misplaced { "misplaced".to_owned() } else { kind.to_owned() });
        }
        kinds.sort();
        kinds
    };
    // The files of the first and the third day are in no claim. `verify` reports them whichever days are selected.
    let always = ["misplaced", "orphan", "orphan"];
    let with = |others: &[&'static str]| {
        let mut kinds = [others, &always].concat();
        kinds.sort_unstable();
        kinds
    };
    // The objects of the first and the third day are in no claim of their days.
    let missing = "not_converted";
    assert_eq!(kinds("2025-07-19"), with(&["inconsistent_counts", missing, missing]));
    assert_eq!(kinds("2025-07-21"), with(&["inconsistent_counts", missing]));
    // The third day is beside the selection.
    assert_eq!(kinds("2025-07-22"), with(&[]));
}
