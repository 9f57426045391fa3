//! Overlapping runs: a ledger compares batches with every claim that was added since the batches were planned.

use std::fs;

use alb2parquet::internals::dataset::claim::{Claim, Hints, Log, State};
use alb2parquet::internals::dataset::layout::Dataset;
use alb2parquet::internals::dataset::ledger::{Committed, Ledger};
use alb2parquet::internals::logs::key::Partition;
use alb2parquet::internals::logs::schema::LogType;
use chrono::NaiveDate;

use crate::exactly_once::CLAIMS;
use crate::support::{ROWS, World, files, good_lines, gzip, key_on, open_dataset};

fn partition(day: u32) -> Partition {
    let day = NaiveDate::from_ymd_opt(2025, 7, day).unwrap();
    Partition::new(LogType::Access, "012345678901", "eu-west-1", day).unwrap()
}

/// Adds an object to the partition of the 18th, and converts it.
fn convert_one(world: &World, number: usize) {
    world.put(&key_on("2025/07/18", number), gzip(good_lines(1)));
    world.convert().expect(0);
}

/// Returns a copy of the last claim, as if this run had claimed the same objects.
fn claim_of_the_same(dataset: &Dataset) -> Claim {
    let log = Log::read(dataset, &partition(18), &Hints::default()).unwrap();
    let (_, theirs) = log.holding().last().unwrap();
    Claim { run: "ours".to_owned(), outputs: Vec::new(), ..theirs.clone() }
}

/// A partition is read again if a listing finds objects after it has yielded their day. In the meantime, another run may
/// have claimed the objects of a batch that was planned before.
#[test]
fn a_batch_is_compared_with_claims_that_a_second_reading_found() {
    let world = World::new();
    convert_one(&world, 1);
    let dataset = open_dataset(&world.out());
    let ledger = Ledger::open(&dataset).unwrap();
    let own = partition(18);
    assert_eq!(ledger.held(&own).unwrap().len(), 1);
    convert_one(&world, 2);
    // The ledger keeps only the objects of the last days that it used.
    ledger.held(&partition(25)).unwrap();
    assert_eq!(ledger.held(&own).unwrap().len(), 2);
    let committed = ledger.commit(&own, claim_of_the_same(&dataset), Vec::new()).unwrap();
    assert!(matches!(committed, Committed::Lost(names) if names.len() == 1));
}

/// Another run claims an object of this run, and is killed before it publishes the object's rows.
#[test]
fn claims_of_killed_concurrent_runs_are_finished() {
    for is_lost in [false, true] {
        let world = World::new();
        convert_one(&world, 1);
        let dataset = open_dataset(&world.out());
        let ledger = Ledger::open(&dataset).unwrap();
        let own = partition(18);
        ledger.held(&own).unwrap();
        let before = files(&world.out(), ROWS);
        convert_one(&world, 2);
        let done = world.out().join(CLAIMS.replace("07-19", "07-18")).join("2.done.json");
        fs::remove_file(&done).unwrap();
        if is_lost {
            let new = files(&world.out(), ROWS).into_iter().find(|file| !before.contains(file));
            fs::remove_file(new.unwrap()).unwrap();
        }
        let committed = ledger.commit(&own, claim_of_the_same(&dataset), Vec::new()).unwrap();
        assert!(matches!(committed, Committed::Lost(_)));
        let failed = ledger.finish_added().unwrap();
        assert_eq!(failed.len(), usize::from(is_lost), "{failed:?}");
        assert!(
            failed.iter().all(|(name, state)| {
                name.ends_with("/2.claim.json") && *state == State::Aborted
            })
        );
        assert_eq!(done.exists(), !is_lost);
        assert_eq!(ledger.finish_added().unwrap(), []);
        world.convert().expect(0);
        assert_eq!(world.rows().len(), 2);
    }
}
