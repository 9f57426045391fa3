//! Ctrl-C and SIGTERM: the first requests a clean shutdown, the second ends the program immediately.
//!
//! While the program waits for a store, it cannot check for signals, so a separate thread ends the program if it does
//! not shut down within a few seconds. This is safe, because a run can be killed at any time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[cfg(target_os = "linux")]
use signal_hook::consts::SIGXFSZ;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator;
use signal_hook::low_level;

/// Signals and their exit codes. As in shells, the exit code is 128 plus the signal number.
const SIGNALS: [(i32, usize); 2] = [(SIGINT, 130), (SIGTERM, 143)];

/// Maximum time for a clean shutdown.
pub(super) const GRACE: Duration = Duration::from_secs(4);

/// The signals that the program has received.
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    code: Arc<AtomicUsize>,
}

impl Signals {
    /// Starts listening for signals. If the program is still running `grace` after the first signal, calls `before_end`
    /// and ends the program.
    pub(super) fn listen(
        grace: Duration,
        before_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let signals = Self { stop: Arc::default(), code: Arc::default() };
        for (signal, code) in SIGNALS {
            // The order matters: the first signal must find the flag unset, so that it does not end the program.
            flag::register_conditional_shutdown(signal, code as i32, Arc::clone(&signals.stop))?;
            flag::register_usize(signal, Arc::clone(&signals.code), code)?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        // By default, SIGXFSZ kills the process without a message when a file exceeds `ulimit -f`. If a handler is
        // installed, the write fails instead.
        #[cfg(target_os = "linux")]
        flag::register(SIGXFSZ, Arc::default())?;
        let mut arrived = iterator::Signals::new(SIGNALS.map(|(signal, _)| signal))?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let Some(first) = arrived.forever().next() else { return };
            thread::sleep(grace);
            before_end();
            let code = SIGNALS.iter().find(|(signal, _)| *signal == first);
            low_level::exit(code.map_or(1, |(_, code)| *code as i32));
        })?;
        Ok(signals)
    }

    /// Returns the flag that the first signal sets. Once it is set, the program stops as soon as possible.
    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Returns the exit code for the received signal, if any.
    pub(super) fn exit_code(&self) -> Option<u8> {
        match self.code.load(Ordering::Relaxed) {
            0 => None,
            code => u8::try_from(code).ok(),
        }
    }
}
