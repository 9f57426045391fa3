//! What is logged during a run on stderr: a line an event, as text or as JSON.

use std::io;

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressDrawTarget};
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
    let stderr = Stderr { bars: bars.clone(), format };
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

/// Begins to log as JSON. No bars are shown then.
pub(super) fn begin_json() {
    let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    begin(Format::Json, Level::INFO, &hidden);
}

/// Stderr without the bars, which are drawn anew below each line.
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
    /// Writes an event, which is one line.
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
