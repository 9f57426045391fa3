//! Checks at startup whether the process limits are sufficient for a run.

use std::fs;
use std::thread;

use anyhow::bail;
use indicatif::BinaryBytes;

/// Address space per thread in bytes: the stack, and the heap that glibc reserves for the thread.
const PER_THREAD: u64 = 66 << 20;
/// Number of threads in addition to the workers.
const OTHER_THREADS: u64 = 40;
/// Maximum number of heaps that glibc reserves per core (`M_ARENA_MAX` in mallopt(3)).
const HEAPS_PER_CORE: u64 = 8;
/// Memory that a run needs, in bytes: a base amount, and an amount per worker.
const BASE: u64 = 512 << 20;
const PER_WORKER: u64 = 32 << 20;

/// Checks that there is enough address space for the given number of workers. Otherwise, a failed allocation would
/// abort the process during the run.
///
/// # Errors
///
/// Fails if the limit on the address space (RLIMIT_AS) is too low.
pub(super) fn check(workers: u64) -> anyhow::Result<()> {
    let Some(limit) = address_space() else { return Ok(()) };
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let heaps = (workers + OTHER_THREADS).min(cores * HEAPS_PER_CORE);
    let need = BASE + workers * PER_WORKER + heaps * PER_THREAD;
    if limit < need {
        let [limit, need] = [limit, need].map(BinaryBytes);
        bail!(
            "the limit on address space (ulimit -v) is {limit}; {workers} threads need {need}: raise it, or convert \
             with fewer --threads"
        );
    }
    Ok(())
}

/// Returns the limit on the address space of this process in bytes, if the system sets one (proc_pid_limits(5)).
fn address_space() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}
