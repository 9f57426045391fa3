//! Runs the fuzz targets on random inputs from a fixed seed, so that every test run executes them.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

use crate::fuzz_targets::{FuzzTarget, TARGETS};

/// A mutation of a seed.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    Repeat(Index, Index),
    Truncate(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = || prop_oneof![any::<u8>(), select(&b" \"\n\0/.:{}[],-09"[..])];
    prop_oneof![
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        2 => (any::<Index>(), 1_usize..20).prop_map(|(at, count)| Mutation::Remove(at, count)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
    ]
}

impl Mutation {
    fn apply(&self, input: &mut Vec<u8>) {
        let place = |at: &Index, input: &Vec<u8>| at.index(input.len() + 1);
        match self {
            Self::Replace(at, byte) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *byte;
            }
            Self::Insert(at, byte) => input.insert(place(at, input), *byte),
            Self::Remove(at, count) => {
                let at = place(at, input);
                input.drain(at..input.len().min(at + count));
            }
            Self::Repeat(from, to) => {
                let (from, to) = (place(from, input), place(to, input));
                input.extend_from_within(from.min(to)..from.max(to));
            }
            Self::Truncate(at) => input.truncate(place(at, input)),
            Self::Replace(..) => {}
        }
    }
}

/// Runs a target on its seeds and on `cases` other inputs, most of which are mutated seeds. Minimizes any failing
/// input.
fn run(name: &str, cases: u32) {
    let FuzzTarget { run, seeds, .. } =
        TARGETS.into_iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(seeds.len() > 10);
    for seed in &seeds {
        run(seed);
    }
    let mutated = (select(seeds), vec(mutation(), 1..6)).prop_map(|(mut input, mutations)| {
        for mutation in &mutations {
            mutation.apply(&mut input);
        }
        input
    });
    let input = prop_oneof![4 => mutated, 1 => vec(any::<u8>(), 0..200)];
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRunner::deterministic().new_rng();
    let mut runner = TestRunner::new_with_rng(config, random);
    let outcome = runner.run(&input, |input| {
        run(&input);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

#[test]
fn the_decoder_agrees_with_the_reference_on_random_lines() {
    run("lines", 1500);
}

#[test]
fn both_inflaters_agree_with_the_reference_on_random_objects() {
    run("objects", 300);
}

#[test]
fn random_keys_and_state_files_cause_no_panic_and_stay_in_their_directory() {
    run("state", 3000);
}
