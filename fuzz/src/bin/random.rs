//! Runs a fuzz target on random mutations of its seeds. It does not measure coverage, so it runs far more inputs than
//! libFuzzer does in the same time.
//!
//!     random TARGET INPUTS [SEED]
//!
//! Prints how many inputs were run. If an input fails, prints its number; the same seed reproduces it.

#[allow(dead_code)] // the simulation uses more of it
#[path = "../../../tests/simulation/random.rs"]
mod random;

use std::env;
use std::process::ExitCode;

use random::Random;

/// Bytes that delimit values in keys, JSON, CSV, XML and URLs.
const DELIMITERS: &[u8] = b" \"\n\r\0/.:{}[],-0129<>&;=%?_\\'";
const MAX_LENGTH: usize = 2048;

fn byte(random: &mut Random) -> u8 {
    match random.below(2) {
        0 => random.next() as u8,
        _ => DELIMITERS[place(random, DELIMITERS.len())],
    }
}

fn place(random: &mut Random, end: usize) -> usize {
    random.below(end as u64) as usize
}

fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = place(random, input.len() + 1);
    match random.below(8) {
        0 | 1 if at < input.len() => input[at] = byte(random),
        2 if at < input.len() => input[at] ^= 1 << random.below(8),
        0..=3 => input.insert(at, byte(random)),
        4 => {
            let end = input.len().min(at + 1 + place(random, 20));
            input.drain(at..end);
        }
        5 => {
            let end = at + place(random, (input.len() - at).min(200) + 1);
            input.extend_from_within(at..end);
        }
        6 => {
            let from = place(random, other.len() + 1);
            let to = from + place(random, other.len() - from + 1);
            input.splice(at..at, other[from..to].iter().copied());
        }
        _ => input.truncate(at),
    }
    input.truncate(MAX_LENGTH);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (target, count, seed) = match &arguments[..] {
        [target, count] => (target, count.parse(), Ok(1)),
        [target, count, seed] => (target, count.parse(), seed.parse()),
        _ => (&String::new(), Ok(0), Ok(0)),
    };
    let is_target = ["lines", "objects", "state"].contains(&target.as_str());
    let (Ok(count), Ok(seed), true) = (count, seed, is_target) else {
        eprintln!("usage: random lines|objects|state INPUTS [SEED]");
        return ExitCode::from(3);
    };
    let seeds = alb2parquet_fuzz::seeds(target);
    let mut random = Random::new(seed);
    let mut input = Vec::new();
    for number in 0..count {
        // Most inputs are mutated again, so that mutations accumulate.
        if number % 16 == 0 {
            input.clone_from(&seeds[place(&mut random, seeds.len())]);
        }
        for _ in 0..=random.below(3) {
            let other = &seeds[place(&mut random, seeds.len())];
            mutate(&mut random, &mut input, other);
        }
        let outcome = std::panic::catch_unwind(|| alb2parquet_fuzz::run(target, &input));
        if outcome.is_err() {
            eprintln!(
                "{target}: input {number} of seed {seed} fails: {:?}",
                input.escape_ascii().to_string()
            );
            return ExitCode::FAILURE;
        }
    }
    println!("{target}: {count} inputs executed from seed {seed}, no failure");
    ExitCode::SUCCESS
}
