//! Progress of a conversion, on a terminal.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::terminal::{self, print_line};
use crate::convert::Watcher;
use crate::plan::{Batch, Plan};
use crate::store::Traffic;
use crate::tally::Tally;

const TEMPLATE: &str = "{bytes}/{total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left";
const TICK: Duration = Duration::from_millis(200);

/// Shows how a conversion goes, as far as that is asked for.
pub(super) struct Progress {
    quiet: bool,
    verbose: bool,
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(quiet: bool, verbose: bool) -> Self {
        Self { quiet, verbose, bar: ProgressBar::hidden() }
    }

    /// Tells of requests that fail, if such things are wanted.
    pub(super) fn watch(&self, traffic: &Traffic) {
        if self.verbose {
            let bar = self.bar.clone();
            traffic.observe(move |failure| {
                bar.suspend(|| print_line(&format!("request failed: {failure}")));
            });
        }
    }

    /// Begins to show progress.
    pub(super) fn begin(&self, plan: &Plan) {
        if self.quiet || !terminal::stderr_is_seen() {
            return;
        }
        let style = ProgressStyle::with_template(TEMPLATE).expect("a fixed template");
        self.bar.set_style(style.progress_chars("=> "));
        self.bar.set_length(plan.bytes());
        self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        self.bar.enable_steady_tick(TICK);
    }

    /// Prints something while the display is out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Ends the display of progress.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Progress {
    fn read(&self, bytes: u64, _rejects: u64) {
        self.bar.inc(bytes);
    }

    fn published(&self, batch: &Batch, tally: &Tally, took: Duration) {
        if self.verbose {
            let line = format!(
                "{}: {} objects, {} rows, {} rejects, {} in {:.1} s",
                batch.partition,
                tally.objects.converted,
                tally.rows,
                tally.reject_count(),
                HumanBytes(tally.bytes_out),
                took.as_secs_f64(),
            );
            self.bar.suspend(|| print_line(&line));
        }
    }
}
