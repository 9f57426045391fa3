//! Runs a fuzz target on random mutations of its seeds. It measures no coverage, so it runs far more inputs than
//! libFuzzer does in the same time.
//!
//!     random TARGET INPUTS [SEED]
//!
//! Prints the number of inputs. If one fails, it prints the number of the input, which the same seed reproduces.

use std::env;
use std::process::ExitCode;

/// Bytes that delimit values in keys, JSON, CSV, XML and URLs.
const DELIMITERS: &[u8] = b" \"\n\r\0/.:{}[],-0129<>&;=%?_\\'";
const MAX_LENGTH: usize = 2048;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        match self.below(2) {
            0 => self.next() as u8,
            _ => DELIMITERS[self.below(DELIMITERS.len())],
        }
    }

    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        match self.below(8) {
            0 | 1 if at < input.len() => input[at] = self.byte(),
            2 if at < input.len() => input[at] ^= 1 << self.below(8),
            0..=3 => input.insert(at, self.byte()),
            4 => {
                let end = input.len().min(at + 1 + self.below(20));
                input.drain(at..end);
            }
            5 => {
                let end = at + self.below((input.len() - at).min(200) + 1);
                input.extend_from_within(at..end);
            }
            6 => {
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => input.truncate(at),
        }
        input.truncate(MAX_LENGTH);
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (target, count, seed) = match &arguments[..] {
        [target, count] => (target, count.parse(), Ok(1)),
        [target, count, seed] => (target, count.parse(), seed.parse()),
        _ => (&String::new(), "".parse::<u64>(), Ok(0)),
    };
    let (Ok(count), Ok(seed)) = (count, seed) else {
        eprintln!("usage: random lines|objects|state INPUTS [SEED]");
        return ExitCode::from(3);
    };
    let seeds = alb2parquet_fuzz::seeds(target);
    let mut random = Random(seed);
    let mut input = Vec::new();
    for number in 0..count {
        // Most inputs are mutated once more, so that mutations accumulate.
        if number % 16 == 0 {
            input.clone_from(&seeds[random.below(seeds.len())]);
        }
        for _ in 0..=random.below(3) {
            let other = &seeds[random.below(seeds.len())];
            random.mutate(&mut input, other);
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
