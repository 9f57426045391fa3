//! Runs skip bucket directories that they do not need. Together, the runs for all shards or all days still find every
//! log.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use tempfile::TempDir;

use crate::memory::{Memory, Reply};
use crate::server::command;
use crate::support::{Run, good_lines, gzip, key_of, run_command};

const ACCOUNTS: [&str; 2] = ["012345678901", "123456789012"];

/// Directories of objects, in layouts with and without a directory per day.
const LAYOUTS: [&str; 12] = [
    "AWSLogs/ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM/DD",
    "own/prefix/AWSLogs/ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM/DD",
    "AWSLogs/ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM/DD/00",
    "AWSLogs/ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM",
    "AWSLogs/ACCOUNT/elasticloadbalancing/my-folder/YYYY/MM/DD",
    "AWSLogs/o-a1b2c3d4e5/ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM/DD",
    "AWSLogs/aws-account-id=ACCOUNT/elasticloadbalancing/region=eu-west-1/year=YYYY/month=MM/day=DD",
    "own/aws-account-id=ACCOUNT/region=eu-west-1/year=YYYY/month=MM/day=DD/hour=23",
    "AWSLogs-Partitioned/year=YYYY/month=MM/day=DD/hour=14",
    "ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM/DD",
    "AWSLogs/ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM/DD/AWSLogs/ACCOUNT/elasticloadbalancing/eu-west-1/YYYY/MM/DD",
    "flat",
];

fn day(number: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 6, 29).unwrap() + Days::new(number)
}

/// Returns objects in all layouts, in the directories for four days around the end of a month. For each number in
/// `later`, includes objects whose end time is that many days after the date in the path.
fn bucket(later: &[i64]) -> BTreeMap<String, Vec<u8>> {
    let object = gzip(good_lines(1));
    let mut objects = BTreeMap::new();
    for (layout, account) in LAYOUTS.iter().flat_map(|layout| ACCOUNTS.map(|a| (layout, a))) {
        for (path_day, later) in
            (0..4).flat_map(|number| later.iter().map(move |l| (day(number), l)))
        {
            let end = path_day.checked_add_signed(chrono::TimeDelta::days(*later)).unwrap();
            let end = end.format("%Y/%m/%d").to_string();
            let key = key_of(account, "eu-west-1", &end, "my-lb.50dc6c495c0c9188", objects.len());
            let path = path_day.format("%Y %m %d").to_string();
            let directory = layout.replace("ACCOUNT", account);
            let directory = ["YYYY", "MM", "DD"]
                .into_iter()
                .zip(path.split(' '))
                .fold(directory, |directory, (part, value)| directory.replace(part, value));
            let name = key.rsplit('/').next().unwrap();
            objects.insert(format!("{directory}/{name}"), object.clone());
        }
    }
    objects
}

fn convert(server: &Memory, out: &TempDir, args: &[&str]) -> Run {
    let out = out.path().to_str().unwrap();
    let fixed = ["convert", "s3://logs", "--out", out, "--json"];
    run_command(&mut command(&server.address, &[&fixed[..], args].concat())).expect(0)
}

/// Converts in several runs, and asserts that each object is converted by exactly one of them.
fn convert_all(objects: &BTreeMap<String, Vec<u8>>, runs: &[Vec<String>]) {
    let (server, out) = (Memory::start(objects.clone(), |_| Reply::Usual), TempDir::new().unwrap());
    let (mut converted, mut before) = (0, 0);
    for args in runs {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let run = convert(&server, &out, &args);
        converted += run.count("/objects/converted");
        let kinds = &run.json()["objects"]["skipped_by_kind"];
        before += kinds["converted_before"].as_u64().unwrap_or_default();
    }
    let all = objects.len() as u64;
    if (converted, before) != (all, 0) {
        let run = convert(&server, &out, &["--to", "2099-12-31", "--dry-run"]);
        panic!("{converted} of {all} converted, {before} twice: {run:#?}");
    }
}

#[test]
fn shards_of_a_bucket_find_every_log_in_every_layout() {
    let objects = bucket(&[-40, -9, -1, 0, 1, 3]);
    for count in [1, 2, 7] {
        let shards = (0..count).map(|shard| format!("{shard}/{count}"));
        let args =
            |shard: String| ["--to", "2099-12-31", "--shard", &shard].map(str::to_owned).to_vec();
        convert_all(&objects, &shards.map(args).collect::<Vec<_>>());
    }
}

#[test]
fn runs_of_one_day_each_find_every_log_in_every_layout() {
    // In a month's directory, end times are at most one day outside the month.
    let objects = bucket(&[-1, 0, 1]);
    let runs: Vec<Vec<String>> = (0..7)
        .map(|number| day(number) - Days::new(2))
        .map(|day| {
            ["--from", &day.to_string(), "--to", &day.to_string()].map(str::to_owned).to_vec()
        })
        .collect();
    convert_all(&objects, &runs);
    for turn in 0..4 {
        let (last, first) = (day(turn).to_string(), day(turn + 1).to_string());
        let runs = [vec!["--to", &last], vec!["--from", &first, "--to", "2099-12-31"]];
        convert_all(&objects, &runs.map(|run| run.into_iter().map(str::to_owned).collect()));
    }
}

/// Only the selected day and the adjacent days are listed.
#[test]
fn a_run_of_one_day_lists_three_days() {
    const OF_A_DAY: usize = 1500;
    let mut objects = BTreeMap::new();
    for number in 0..30 {
        let day = day(number).format("%Y/%m/%d").to_string();
        for number in 0..OF_A_DAY {
            let key = key_of(ACCOUNTS[0], "eu-west-1", &day, "my-lb.50dc6c495c0c9188", number);
            objects.insert(key, b"x".to_vec());
        }
    }
    let (server, out) = (Memory::start(objects, |_| Reply::Usual), TempDir::new().unwrap());
    let day = day(15).to_string();
    let run = convert(&server, &out, &["--from", &day, "--to", &day, "--dry-run"]);
    let listed = (run.count("/listed"), run.count("/selected/objects"));
    assert_eq!(listed, (3 * OF_A_DAY as u64, OF_A_DAY as u64));
    // Each of the three days has two pages, and the directories above them have more.
    assert!(server.lists() <= 18, "{} pages", server.lists());
}

#[test]
fn a_pattern_that_matches_nothing_in_a_bucket_is_an_error() {
    let objects = bucket(&[0]);
    let server = Memory::start(objects, |_| Reply::Usual);
    let plan = |source: &str, args: &[&str]| {
        let fixed = ["plan", source];
        run_command(&mut command(&server.address, &[&fixed[..], args].concat()))
    };
    let mistyped = "s3://logs/AWSLogs/*/elasticloadbalancing/eu-wst-1/**/*.log.gz";
    plan(mistyped, &[]).expect(3).says(&["error: nothing to convert", "contains no objects"]);
    // The pattern matches directories, but the selection excludes all of them.
    let right = mistyped.replace("wst", "west");
    plan(&right, &[]).expect(0);
    let run = plan(&right, &["--from", "2024-01-01", "--to", "2024-01-31"]).expect(0);
    run.says(&["directories outside the selection are skipped"]);
}
