//! Ctrl-C and SIGTERM: the first asks the program to end in order, the second ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit codes as shells have them: 128 and the signal's number.
const SIGNALS: [(i32, usize); 2] = [(SIGINT, 130), (SIGTERM, 143)];

/// What signals have asked for.
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    code: Arc<AtomicUsize>,
}

impl Signals {
    /// Begins to listen for signals.
    pub(super) fn listen() -> io::Result<Self> {
        let signals = Self { stop: Arc::default(), code: Arc::default() };
        for (signal, code) in SIGNALS {
            // In this order: the first signal finds the flag not yet set.
            flag::register_conditional_shutdown(signal, code as i32, Arc::clone(&signals.stop))?;
            flag::register_usize(signal, Arc::clone(&signals.code), code)?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    /// Returns the flag that is set when the program is to end.
    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Returns the exit code that the signal asks for, if there was one.
    pub(super) fn exit_code(&self) -> Option<u8> {
        match self.code.load(Ordering::Relaxed) {
            0 => None,
            code => u8::try_from(code).ok(),
        }
    }
}
