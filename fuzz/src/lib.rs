//! Code that the fuzz targets share: the target functions of the integration tests, and a memory limit.

#[path = "../../tests/fuzz_lines.rs"]
mod fuzz_lines;
#[path = "../../tests/fuzz_objects.rs"]
mod fuzz_objects;
#[path = "../../tests/fuzz_state.rs"]
mod fuzz_state;
#[path = "../../tests/fuzz_targets.rs"]
mod fuzz_targets;
#[allow(dead_code)] // the tests use more of it
#[path = "../../tests/outcome.rs"]
mod outcome;
#[path = "../../tests/reference_objects.rs"]
mod reference_objects;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use fuzz_targets::{FuzzTarget, TARGETS};

/// Maximum number of bytes that a single input may hold at any time, not counting memory left over from earlier inputs.
const MAX_ALLOCATED: usize = 64 << 20;

/// An allocator that counts allocated bytes.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(added: usize, removed: usize) {
    let now = NOW.fetch_add(added, Ordering::Relaxed) + added;
    PEAK.fetch_max(now, Ordering::Relaxed);
    NOW.fetch_sub(removed, Ordering::Relaxed);
}

// SAFETY: all calls are forwarded to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller upholds the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn target(name: &str) -> FuzzTarget {
    TARGETS.into_iter().find(|target| target.name == name).expect("the target exists")
}

/// Returns a target's seeds.
///
/// # Panics
///
/// Panics when the sample logs cannot be read.
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    (target(name).seeds)(root)
}

/// Writes a target's seeds to the directory in `ALB2PARQUET_CORPUS`, if that variable is set.
///
/// # Panics
///
/// Panics when a file cannot be read or written.
pub fn write_seeds(name: &str) {
    let Some(directory) = std::env::var_os("ALB2PARQUET_CORPUS") else { return };
    fs::create_dir_all(&directory).expect("the corpus can be written");
    for (number, seed) in seeds(name).iter().enumerate() {
        let path = Path::new(&directory).join(format!("seed-{number:03}"));
        fs::write(path, seed).expect("the corpus can be written");
    }
}

/// Runs a target on an input.
///
/// # Panics
///
/// Panics if one of the target's assertions fails, or if the input holds more than [`MAX_ALLOCATED`] bytes.
pub fn run(name: &str, input: &[u8]) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    (target(name).run)(input);
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(peak <= MAX_ALLOCATED, "the input allocated {peak} bytes");
}
