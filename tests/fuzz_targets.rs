//! The fuzz targets and their seeds. Each target panics if an invariant does not hold for its input.
//!
//! `fuzz/` runs the targets under libFuzzer, and `tests/fuzz.rs` runs them on random inputs from a fixed seed. Random
//! bytes almost never have a valid checksum or field count. For a target whose code checks either of them, an input is
//! therefore a short program that builds the bytes to parse.

use std::fs;
use std::io;
use std::path::Path;

use crate::fuzz_lines::{line_seeds, lines};
use crate::fuzz_objects::{object_seeds, objects};
use crate::fuzz_state::{state, state_seeds};

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FuzzTarget {
    /// Name of the target.
    pub(crate) name: &'static str,
    /// Runs the target on one input.
    pub(crate) run: fn(&[u8]),
    /// Returns the seeds, given the repository's root directory.
    pub(crate) seeds: fn(&Path) -> Vec<Vec<u8>>,
}

/// All targets.
pub(crate) const TARGETS: [FuzzTarget; 3] = [
    FuzzTarget { name: "lines", run: lines, seeds: line_seeds },
    FuzzTarget { name: "objects", run: objects, seeds: object_seeds },
    FuzzTarget { name: "state", run: state, seeds: state_seeds },
];

/// Reads bytes from an input, and returns zeros past the end.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Reads a count and then that many bytes.
    pub(crate) fn counted(&mut self) -> &'a [u8] {
        let count = self.byte();
        self.take(count.into())
    }
}

/// Returns the paths of the files below a directory, relative to it.
pub(crate) fn sample_paths(directory: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = sample_paths(&entry.path());
            paths.extend(below.iter().map(|path| format!("{name}/{path}")));
        } else {
            paths.push(name);
        }
    }
    paths.sort();
    paths
}

pub(crate) fn sample_objects(root: &Path) -> Vec<Vec<u8>> {
    let data = root.join("tests/data/AWSLogs");
    sample_paths(&data).iter().map(|path| fs::read(data.join(path)).unwrap()).collect()
}

pub(crate) fn sample_texts(root: &Path) -> Vec<Vec<u8>> {
    let text = |object: &Vec<u8>| {
        // Classic Load Balancers deliver plain text.
        if !object.starts_with(b"\x1f\x8b") {
            return object.clone();
        }
        let mut text = Vec::new();
        let mut reader = flate2::read::MultiGzDecoder::new(&object[..]);
        let _ = io::copy(&mut reader, &mut text);
        text
    };
    sample_objects(root).iter().map(text).collect()
}
