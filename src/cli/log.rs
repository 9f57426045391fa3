//! Logs events on stderr, one line per event, as text or JSON.

use std::io;

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{fmt, registry};

use crate::cli::terminal;

/// Format of the messages on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Human-readable text
    Text,
    /// One JSON object per line
    Json,
}

/// Initializes the logger. It prints the program's events, up to the given level of detail, above the progress bars.
pub(super) fn begin(format: Format, level: Level, bars: &MultiProgress) {
    let stderr = Stderr { bars: bars.clone(), format };
    // Events from the crates that access stores are too detailed, so they are omitted.
    let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let layer = fmt::layer().with_writer(stderr).with_target(false);
    // An earlier test in the same process may already have initialized the logger.
    let _ = match format {
        Format::Text => registry().with(layer.with_ansi(false).with_filter(own)).try_init(),
        Format::Json => {
            registry().with(layer.json().flatten_event(true).with_filter(own)).try_init()
        }
    };
}

/// Initializes the JSON logger, without progress bars.
pub(super) fn begin_json() {
    let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    begin(Format::Json, Level::INFO, &hidden);
}

/// Writes to stderr above the progress bars, which are redrawn below each line.
#[derive(Clone)]
struct Stderr {
    bars: MultiProgress,
    format: Format,
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Stderr {
    /// Writes one event, which is a single line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let event = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        self.bars.suspend(|| match self.format {
            Format::Text => terminal::print_line(&event),
            Format::Json => terminal::print_json_line(&event),
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
