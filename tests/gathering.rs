//! Listings in the order of partitions: on random trees, they yield the same days as listings in any order, and each
//! object once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use alb2parquet::internals::logs::key::{Key, from_root, identity};
use alb2parquet::internals::plan::{Gathering, Listing, Selection};
use alb2parquet::internals::store::{Network, Source};
use chrono::{Days, NaiveDate};
use tempfile::TempDir;

use crate::memory::{Memory, Reply};
use crate::server::{command, network};
use crate::simulation::random::Random;
use crate::support::{gzip, run_command};

/// Random sources: for each, the sizes of its objects by key.
pub(crate) type Trees = Vec<BTreeMap<String, u64>>;

fn date(day: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 12, 20).unwrap() + Days::new(day)
}

/// Returns random sources with several layouts and log types. Some objects have copies on the following day, below
/// other prefixes, in other sources and with other endings or sizes. If `moved` is set, some are in the directories of
/// other days.
pub(crate) fn trees(random: &mut Random, moved: bool) -> Trees {
    let mut trees = vec![BTreeMap::new(); 1 + random.below(3) as usize];
    let (accounts, regions, days) =
        (1 + random.below(2), 1 + random.below(2), 1 + random.below(20));
    for number in 0..random.below(120) {
        let account = format!("{:012}", random.below(accounts));
        let region = ["eu-west-1", "us-gov-east-1"][random.below(regions) as usize];
        let day = random.below(days);
        let log_type = ["", "conn_log."][random.below(2) as usize];
        let name = format!(
            "{account}_elasticloadbalancing_{region}_app.lb-{}.50dc6c495c0c9188_{}T1405Z_192.0.2.1_{number:08x}",
            random.below(3),
            date(day).format("%Y%m%d"),
        );
        let name = format!("{}{name}", log_type.replace('.', "_"));
        for _ in 0..=random.below(8) / 6 {
            let in_day = day + random.below(2);
            let in_day = if moved && random.hits(200) { random.below(days) } else { in_day };
            let directory = match random.below(20) {
                0 => "loose".to_owned(),
                1 => format!("AWSLogs/{account}/own"),
                2 => format!(
                    "h/aws-account-id={account}/region={region}/{}",
                    date(in_day).format("year=%Y/month=%m/day=%d")
                ),
                place => format!(
                    "{}AWSLogs/{account}/elasticloadbalancing/{region}/{}",
                    ["", "lb-1/"][usize::from(place > 14)],
                    date(in_day).format("%Y/%m/%d")
                ),
            };
            let ending = match random.below(30) {
                0 => ".log",
                1 => ".log.gz.md5",
                2 => ".LOG.GZ",
                _ => ".log.gz",
            };
            let size = if random.hits(50) { 8 } else { 5 };
            let tree = random.below(trees.len() as u64) as usize;
            trees[tree].insert(format!("{directory}/{name}{ending}"), size);
        }
    }
    for tree in &mut trees {
        tree.insert("notes.txt".to_owned(), 1);
    }
    trees
}

/// Writes the trees to directories, and opens these as sources.
fn open(trees: &Trees, dir: &Path) -> Vec<Source> {
    let open = |(number, tree): (usize, &BTreeMap<String, u64>)| {
        let dir = dir.join(number.to_string());
        for (key, size) in tree {
            let path = dir.join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; *size as usize]).unwrap();
        }
        Source::open(dir.to_str().unwrap(), &Network::default(), from_root).unwrap()
    };
    trees.iter().enumerate().map(open).collect()
}

/// Starts a server with the trees, each below a prefix, and opens the prefixes as sources.
fn serve(trees: &Trees) -> (Memory, Vec<Source>) {
    let of_tree = |(number, tree): (usize, &BTreeMap<String, u64>)| {
        let object =
            |(key, size): (&String, &u64)| (format!("{number}/{key}"), vec![0; *size as usize]);
        tree.iter().map(object).collect::<Vec<_>>()
    };
    let server = Memory::start(trees.iter().enumerate().flat_map(of_tree), |_| Reply::Usual);
    let network = network(&server.address);
    let open = |number| Source::open(&format!("s3://logs/{number}/"), &network, from_root).unwrap();
    let sources = (0..trees.len()).map(open).collect();
    (server, sources)
}

/// What a listing yields: the days with their keys, and the other counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Yield {
    pub(crate) days: Vec<(String, Vec<String>)>,
    skipped: BTreeMap<&'static str, u64>,
    failures: BTreeSet<String>,
}

pub(crate) fn list(sources: &[Source], whole: u64) -> (Yield, Listing) {
    let (selection, stop) = (Selection::default(), AtomicBool::new(false));
    let mut gathering = Gathering::with_whole(sources, &selection, &stop, whole);
    let mut days = Vec::new();
    while let Some(day) = gathering.next_day().unwrap() {
        let keys = day.objects.iter().map(|o| format!("{} {}", o.source, o.listed.key()));
        let name = format!("{} {} {}", day.position.account, day.position.region, day.position.day);
        days.push((name, keys.collect()));
    }
    let listing = gathering.end().unwrap();
    let failures = listing.failures.iter().map(|f| format!("{} {}", f.object, f.error)).collect();
    (Yield { days, skipped: listing.skipped.clone(), failures }, listing)
}

/// Checks that each object is yielded once, and that all others are counted.
fn check(trees: &Trees, found: &Yield, listing: &Listing) {
    let keys = || trees.iter().flat_map(BTreeMap::keys);
    let logs = keys().filter(|key| Key::parse(key).is_ok());
    let identities: BTreeSet<&str> =
        logs.map(|key| identity(key.rsplit('/').next().unwrap())).collect();
    let yielded = || found.days.iter().flat_map(|(_, keys)| keys);
    let names: Vec<&str> = yielded().map(|key| identity(key.rsplit('/').next().unwrap())).collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), identities);
    assert_eq!(names.len(), identities.len(), "each object once");
    let skipped: u64 = found.skipped.values().sum();
    let all = names.len() as u64 + skipped + listing.failures.len() as u64;
    assert_eq!((listing.listed, all), (keys().count() as u64, keys().count() as u64));
    assert_eq!(listing.selected, names.len() as u64);
    for (name, keys) in &found.days {
        for key in keys {
            let key = Key::parse(key.split_once(' ').unwrap().1).unwrap().partition;
            assert_eq!(*name, format!("{} {} {}", key.account, key.region, key.day));
        }
    }
}

#[test]
fn a_listing_in_order_yields_the_same_days_as_one_in_any_order() {
    let mut repeated = 0;
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let (trees, dir) = (trees(&mut random, false), TempDir::new().unwrap());
        let sources = open(&trees, dir.path());
        let (whole, listing) = list(&sources, u64::MAX);
        check(&trees, &whole, &listing);
        repeated += whole.skipped.get("duplicate").copied().unwrap_or_default();
        assert!(whole.days.is_sorted_by_key(|(name, _)| name.clone()), "seed {seed}");
        for unordered in [0, random.below(100)] {
            let (found, listing) = list(&sources, unordered);
            check(&trees, &found, &listing);
            assert_eq!(found, whole, "seed {seed}, after {unordered}");
        }
    }
    assert!(repeated > 100, "the trees contain copies: {repeated}");
}

#[test]
fn objects_in_directories_of_later_days_are_yielded_once_too() {
    let mut late = 0;
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let (trees, dir) = (trees(&mut random, true), TempDir::new().unwrap());
        let sources = open(&trees, dir.path());
        let (whole, _) = list(&sources, u64::MAX);
        let (found, listing) = list(&sources, 0);
        check(&trees, &found, &listing);
        assert_eq!(
            found.skipped.get("sidecar"),
            whole.skipped.get("sidecar"),
            "seed {seed}: the same files belong to logs"
        );
        late += usize::from(!found.days.is_sorted_by_key(|(name, _)| name.clone()));
        assert_eq!(found, list(&sources, 0).0, "seed {seed}: the order is fixed");
        // In buckets, only some directories are listed again.
        let (_server, sources) = serve(&trees);
        let (found, listing) = list(&sources, 0);
        check(&trees, &found, &listing);
    }
    assert!(late > 10, "in some trees, objects are yielded late: {late}");
}

/// Returns the key of an object in the directory of a day.
fn key_in(region: &str, directory: u64, day: u64, number: u64) -> String {
    format!(
        "AWSLogs/012345678901/elasticloadbalancing/{region}/{}/012345678901_elasticloadbalancing_{region}_app.my-lb.50dc6c495c0c9188_{}T1405Z_192.0.2.1_{number:08x}.log.gz",
        date(directory).format("%Y/%m/%d"),
        date(day).format("%Y%m%d")
    )
}

/// An object has no copy in the directory of its own day. In a large bucket, only some directories are listed again.
#[test]
fn a_late_object_is_dropped_if_its_copy_is_in_the_directory_of_an_earlier_day() {
    let object = || vec![0; 5];
    let all =
        (0..15_000).map(|number| (key_in("eu-west-1", number / 50, number / 50, number), object()));
    let copies =
        [5, 290].map(|directory| (key_in("eu-west-1", directory, 100, 0xffff_ffff), object()));
    let server = Memory::start(all.chain(copies), |_| Reply::Usual);
    let source = Source::open("s3://logs", &network(&server.address), from_root).unwrap();
    let (found, listing) = list(&[source], 0);
    let keys = found.days.iter().flat_map(|(_, keys)| keys);
    assert_eq!(keys.filter(|key| key.ends_with("_ffffffff.log.gz")).count(), 1);
    assert_eq!((listing.selected, found.skipped["duplicate"]), (15_001, 1));
}

/// A bucket with several regions, with more objects than are listed in any order.
#[test]
fn a_large_bucket_is_listed_in_order_with_few_requests() {
    let object = gzip("");
    let mut objects = BTreeMap::new();
    for region in ["eu-west-1", "us-east-1"] {
        for number in 0..15_000_u64 {
            let key = key_in(region, number / 50, number / 50, number);
            objects.insert(key, object.clone());
        }
    }
    let server = Memory::start(objects, |_| Reply::Usual);
    let args = ["plan", "s3://logs", "--to", "2099-12-31", "--jsonl"];
    let run = run_command(&mut command(&server.address, &args)).expect(0);
    assert_eq!(run.stdout.lines().count(), 600);
    let partition = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        ["account", "region", "day"].map(|name| line[name].as_str().unwrap().to_owned())
    };
    assert!(run.stdout.lines().map(partition).is_sorted());
    // All objects fit on 30 pages.
    assert!(server.lists() <= 40, "{} pages", server.lists());
}
