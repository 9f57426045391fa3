//! Starts threads and catches their panics.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Mutex;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// Recorded panics that have not been reported yet. Each is a pair of messages: without and with the panic's location.
static PANICS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Calls `work` concurrently on `count` threads, including the current one, and returns the results. If the system
/// cannot start a thread, fewer threads call `work`.
///
/// # Panics
///
/// Panics if `work` panics.
pub(crate) fn on_threads<R: Send>(count: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, &work).ok();
        let others: Vec<_> = (1..count).map_while(start).collect();
        let mut results = vec![work()];
        for other in others {
            results.push(other.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
        results
    })
}

/// Starts a pool of worker threads. 0 starts one thread per core.
///
/// # Errors
///
/// Fails if the system cannot start the threads.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new().num_threads(threads).build()
}

/// Calls `work`. If it panics, returns a description of the panic as an error.
///
/// `work` must not leave shared data inconsistent if it panics.
///
/// # Errors
///
/// Fails if `work` panics.
pub(crate) fn isolated<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| describe(&*panic))
}

/// Records panics for [`isolated`] instead of printing them.
pub(crate) fn record_panics() {
    panic::set_hook(Box::new(|info: &PanicHookInfo| {
        let message = message(info.payload());
        let location = info.location().map(|at| format!(" ({}:{})", at.file(), at.line()));
        let described = format!("{message}{}", location.unwrap_or_default());
        if let Ok(mut panics) = PANICS.lock() {
            panics.push((message, described));
        }
    }));
}

/// Returns the recorded panics that [`isolated`] has not yet returned.
pub(crate) fn unreported_panics() -> Vec<String> {
    let Ok(mut panics) = PANICS.lock() else { return Vec::new() };
    panics.drain(..).map(|(_, described)| described).collect()
}

/// Returns the message of a panic, with its location if the panic was recorded.
fn describe(panic: &(dyn Any + Send)) -> String {
    let message = message(panic);
    let Ok(mut panics) = PANICS.lock() else { return message };
    match panics.iter().position(|(recorded, _)| *recorded == message) {
        Some(at) => panics.remove(at).1,
        None => message,
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_threads_work_and_a_panic_reaches_the_caller() {
        let calls = AtomicUsize::new(0);
        let work = || calls.fetch_add(1, Ordering::Relaxed);
        let mut numbers = on_threads(5, work);
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);

        let fails = || assert!(calls.fetch_add(1, Ordering::Relaxed) != 7, "the eighth call");
        let error = isolated(|| on_threads(5, fails)).unwrap_err();
        assert!(error.starts_with("the eighth call"), "{error}");
    }
}
