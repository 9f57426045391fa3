//! What is logged during a run on stderr: a line an event, as text or as JSON.

use std::io;

use clap::ValueEnum;
use indicatif::MultiProgress;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{fmt, registry};

use crate::cli::terminal;

/// How stderr is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object a line, and nothing else
    Json,
}

/// Begins to log what this program says of itself, down to a level, above the bars that are shown.
pub(super) fn begin(format: Format, level: Level, bars: &MultiProgress) {
    let stderr = Stderr(bars.clone());
    // The crates that talk to stores log, too, and more than a person wants to know.
    let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let layer = fmt::layer().with_writer(stderr).with_target(false);
    // Tests may have begun before, in the same process.
    let _ = match format {
        Format::Text => registry().with(layer.with_ansi(false).with_filter(own)).try_init(),
        Format::Json => {
            registry().with(layer.json().flatten_event(true).with_filter(own)).try_init()
        }
    };
}

/// Stderr without the bars, which are drawn anew below each line.
#[derive(Clone)]
struct Stderr(MultiProgress);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| terminal::print_logged(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
