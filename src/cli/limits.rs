//! Checks at startup whether the process limits are sufficient for a run.

use std::thread;

use anyhow::bail;
use indicatif::BinaryBytes;

use crate::util::process_limit;

/// Address space per thread in bytes: the stack, and the heap that glibc reserves for the thread.
const PER_THREAD: u64 = 66 << 20;
/// Number of threads in addition to the workers.
const OTHER_THREADS: u64 = 40;
/// Maximum number of heaps that glibc reserves per core (`M_ARENA_MAX` in mallopt(3)).
const HEAPS_PER_CORE: u64 = 8;
/// Memory that a run needs, in bytes: a base amount, and an amount per worker.
const BASE: u64 = 512 << 20;
const PER_WORKER: u64 = 32 << 20;
/// Number of open files for listings, uploads and local files, in addition to one connection per request.
const OTHER_FILES: u64 = 256;

/// Checks that there is enough address space for the given number of workers. Without enough, a failed allocation would
/// abort the process during the run.
///
/// # Errors
///
/// Fails if the limit on the address space (RLIMIT_AS) is too low.
pub(super) fn check(workers: u64) -> anyhow::Result<()> {
    let Some(limit) = process_limit::soft("Max address space") else { return Ok(()) };
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

/// Checks that the process may open enough files for the given number of concurrent requests.
///
/// # Errors
///
/// Fails if the limit on open files (RLIMIT_NOFILE) is too low.
pub(super) fn check_files(requests: u64) -> anyhow::Result<()> {
    let need = requests + OTHER_FILES;
    match process_limit::soft("Max open files") {
        // The default is half of the limit, so this number of requests is always allowed.
        Some(limit) if limit < need && requests > limit / 2 => bail!(
            "the limit on open files (ulimit -n) is {limit}; --max-requests {requests} needs {need}: raise the limit, \
             or lower --max-requests"
        ),
        _ => Ok(()),
    }
}
