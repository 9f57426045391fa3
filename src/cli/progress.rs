//! Progress of a conversion: bars on a terminal (otherwise, a line every 10 seconds), and log events.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{
    DecimalBytes, HumanBytes, HumanCount, HumanDuration, MultiProgress, ProgressBar,
    ProgressDrawTarget, ProgressStyle,
};
use tracing::{Level, error, info, warn};

use crate::cli::log::{self, Format};
use crate::cli::summary;
use crate::cli::terminal::{self, print_line, warning};
use crate::convert::live::Watch;
use crate::convert::tally::Tally;
use crate::convert::{Observer, Read};
use crate::logs::key::{Key, Partition};
use crate::plan::Batch;
use crate::store::{Limiter, Traffic};
use crate::util::escape::printable;

const BAR: &str = "{percent:>3} % [{wide_bar}]";
/// Replaces the bar while the total is unknown.
const LISTING: &str = "{spinner} listing";
/// A line below the bar, truncated to the width of the terminal.
const LINE: &str = "{wide_msg}";
/// Interval at which the bars are redrawn.
const TICK: Duration = Duration::from_millis(200);
/// Interval between progress lines if stderr is not a terminal.
const PLAIN_TICK: Duration = Duration::from_secs(10);

/// Prints a conversion's progress and messages on stderr.
pub(super) struct Progress {
    messages: Messages,
    bars: MultiProgress,
    state: Arc<State>,
    tickers: Mutex<Vec<Ticker>>,
}

/// Which messages to print on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Messages {
    /// Only errors.
    Quiet,
    /// Errors, warnings, progress and the summary.
    Text,
    /// The same as `Text`, plus lines for each published batch, each failed request and the read rate.
    Verbose,
    /// The same messages as `Verbose`, but as JSON.
    Json,
}

/// Counters that several threads increment.
#[derive(Default)]
struct State {
    bytes: AtomicU64,
    objects: AtomicU64,
    partitions: AtomicU64,
    rejects: AtomicU64,
    /// Key of the most recently opened object.
    key: Mutex<String>,
    planned: Planned,
    /// Number of objects with a new ETag or time that were compared with their converted content.
    compared: Arc<AtomicU64>,
    /// Number of unpublished batches in each partition.
    open: Mutex<HashMap<Arc<Partition>, usize>>,
}

/// The work that is planned so far, for comparison with the counters.
#[derive(Default)]
struct Planned {
    /// Whether everything is planned, so that the totals are known.
    is_complete: AtomicBool,
    /// Number of objects that were listed.
    listed: AtomicU64,
    bytes: AtomicU64,
    objects: AtomicU64,
    partitions: AtomicU64,
    /// Number of objects to compare.
    compare: AtomicU64,
}

/// The thread that displays the counters.
struct Ticker {
    stop: Sender<()>,
    /// The thread, or `None` if the system could not start it. Without it, no progress is shown.
    thread: Option<JoinHandle<()>>,
}

/// Shows the counters.
struct Work {
    state: Arc<State>,
    began: Instant,
}

impl Progress {
    pub(super) fn new(messages: Messages) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        match messages {
            // `main` has already initialized the JSON logger.
            Messages::Quiet | Messages::Text | Messages::Json => {}
            Messages::Verbose => log::begin(Format::Text, Level::INFO, &bars),
        }
        Self { messages, bars, state: Arc::default(), tickers: Mutex::default() }
    }

    /// Starts showing progress.
    pub(super) fn begin(&self, limiter: &Arc<Limiter>) {
        let work = Work { state: Arc::clone(&self.state), began: Instant::now() };
        let on_terminal = terminal::stderr_is_terminal();
        let ticker = match self.messages {
            Messages::Quiet => return,
            Messages::Json => Ticker::begin(PLAIN_TICK, move || work.log()),
            Messages::Text | Messages::Verbose if on_terminal => {
                self.bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
                let mut shown = Bars::add(&self.bars);
                Ticker::begin(TICK, move || shown.draw(&work))
            }
            Messages::Text | Messages::Verbose => Ticker::begin(PLAIN_TICK, move || {
                print_line(&work.describe(&work.state.planned.now()).join("; "));
            }),
        };
        lock(&self.tickers).push(ticker);
        if matches!(self.messages, Messages::Verbose | Messages::Json) {
            let limiter = Arc::clone(limiter);
            lock(&self.tickers).push(Ticker::begin(PLAIN_TICK, move || log_reads(&limiter)));
        }
    }

    /// Adds a batch to the work.
    pub(super) fn plan(&self, batch: &Batch) {
        let Planned { bytes, objects, partitions, .. } = &self.state.planned;
        match lock(&self.state.open).entry(Arc::clone(&batch.partition)) {
            Entry::Vacant(open) => {
                open.insert(1);
                partitions.fetch_add(1, Ordering::Relaxed);
            }
            Entry::Occupied(mut open) => {
                // A partition without unpublished batches was counted as finished.
                if *open.get() == 0 {
                    self.state.partitions.fetch_sub(1, Ordering::Relaxed);
                }
                *open.get_mut() += 1;
            }
        }
        bytes.fetch_add(batch.bytes(), Ordering::Relaxed);
        objects.fetch_add(batch.objects.len() as u64, Ordering::Relaxed);
    }

    /// Returns the counter of compared objects, for the caller to increment.
    pub(super) fn compared(&self) -> &AtomicU64 {
        &self.state.compared
    }

    /// Prints lines, such as findings before the conversion.
    pub(super) fn print(&self, lines: impl FnOnce() -> Vec<String>) {
        match self.messages {
            Messages::Quiet => {}
            Messages::Text | Messages::Verbose => lines().iter().for_each(|line| print_line(line)),
            Messages::Json => warn!("{}", lines().join("\n")),
        }
    }

    /// Returns a callback that prints reports about stores that do not respond.
    pub(super) fn report_waiting(&self) -> impl Fn(&str) + Send + use<> {
        let (messages, bars) = (self.messages, self.bars.clone());
        move |line| match messages {
            Messages::Quiet => {}
            Messages::Text | Messages::Verbose => bars.suspend(|| print_line(line)),
            Messages::Json => warn!("{line}"),
        }
    }

    /// Prints a multi-line error.
    pub(super) fn fail(&self, lines: &[String]) {
        match self.messages {
            Messages::Json => error!("{}", lines.join("\n")),
            _ => terminal::error_lines(lines),
        }
    }

    /// Prints a warning.
    pub(super) fn warn(&self, text: &str) {
        match self.messages {
            Messages::Quiet => {}
            Messages::Text | Messages::Verbose => warning(text),
            Messages::Json => warn!("{text}"),
        }
    }

    /// Prints the summary of the conversion, the failures, and the skipped objects that are named like logs.
    pub(super) fn print_summary(&self, tally: &Tally, max_rejects: f64) {
        if self.messages == Messages::Json {
            summary::log(tally);
            return;
        }
        if self.messages != Messages::Quiet {
            summary::print(tally, max_rejects);
        }
        summary::print_failures(&tally.failures);
        summary::print_left_out(&tally.objects);
    }

    /// Hides the bars while `print` runs.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// Stops showing progress.
    pub(super) fn end(&self) {
        for Ticker { stop, thread } in lock(&self.tickers).drain(..) {
            drop(stop);
            // A panic in this thread does not affect the conversion.
            let _ = thread.map(JoinHandle::join);
            let _ = self.bars.clear();
        }
    }
}

/// Logs failed requests.
pub(super) fn watch(traffic: &Traffic) {
    traffic.observe(|failure| warn!(failure, "request failed"));
}

/// Logs how objects were read from remote stores, if any were.
pub(super) fn log_reads(limiter: &Limiter) {
    let load = limiter.load();
    let Some(latency) = load.latency else { return };
    info!(
        in_flight = load.in_flight,
        most_in_flight = load.most_in_flight,
        max_requests = load.limit,
        window = load.window,
        bytes = load.bytes,
        objects_per_second = load.rate.round(),
        latency_ms = (latency * 1e3).round(),
        throttled = load.throttled,
        "reads"
    );
}

impl Watch for Progress {
    fn listed(&self, objects: u64) {
        self.state.planned.listed.store(objects, Ordering::Relaxed);
    }

    fn compares(&self, objects: u64) {
        self.state.planned.compare.fetch_add(objects, Ordering::Relaxed);
        let objects = HumanCount(objects);
        self.bars.suspend(|| {
            self.print(|| {
                vec![format!(
                    "{objects} objects have a new ETag or time: comparing their contents with the converted ones"
                )]
            });
        });
    }

    fn is_planned(&self) {
        self.state.planned.is_complete.store(true, Ordering::Relaxed);
    }
}

impl Observer for Progress {
    fn planned(&self, batch: &Batch) {
        self.plan(batch);
    }

    fn read(&self, part: &Read) {
        self.state.bytes.fetch_add(part.bytes, Ordering::Relaxed);
        self.state.rejects.fetch_add(part.rejects, Ordering::Relaxed);
        if part.begins {
            self.state.objects.fetch_add(1, Ordering::Relaxed);
            part.key.clone_into(&mut lock(&self.state.key));
        }
    }

    fn published(&self, batch: &Batch, tally: &Tally, took: Duration) {
        if let Some(open) = lock(&self.state.open).get_mut(&batch.partition) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.state.partitions.fetch_add(1, Ordering::Relaxed);
            }
        }
        let Partition { log_type, account, region, day } = &*batch.partition;
        info!(
            %log_type,
            account,
            region,
            %day,
            objects = tally.objects.converted,
            failed = tally.objects.failed,
            lines = tally.lines,
            rows = tally.rows,
            rejects = tally.reject_count(),
            bytes_in = tally.bytes_in,
            bytes_out = tally.bytes_out,
            seconds = (took.as_secs_f64() * 1e3).round() / 1e3,
            "batch published"
        );
    }

    fn lost(&self, batch: &Batch) {
        let Partition { log_type, account, region, day } = &*batch.partition;
        let objects = batch.objects.len();
        warn!(%log_type, account, region, %day, objects, "batch files lost");
    }
}

impl Ticker {
    /// Starts a thread that calls `show` at regular intervals until `stop` is dropped.
    fn begin(every: Duration, mut show: impl FnMut() + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                show();
            }
        };
        Self { stop, thread: thread::Builder::new().spawn(watch).ok() }
    }
}

impl Work {
    /// Returns three lines that describe the progress, the most important one first.
    fn describe(&self, planned: &Totals) -> [String; 3] {
        let state = &self.state;
        let Now { bytes, rate, left } = self.now(planned);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let objects = HumanCount(count(&state.objects).min(planned.objects));
        let rate = DecimalBytes(rate);
        let first = if planned.is_complete {
            let left = left.map_or("?".to_owned(), |left| format!("{:#}", HumanDuration(left)));
            format!("{} of {}, {rate}/s, {left} left", HumanBytes(bytes), HumanBytes(planned.bytes))
        } else {
            let listed = HumanCount(planned.listed);
            format!("{}, {rate}/s, {listed} objects listed so far", HumanBytes(bytes))
        };
        let mut second = format!(
            "{} rejects, {objects}/{} objects, {}/{} partitions",
            HumanCount(count(&state.rejects)),
            HumanCount(planned.objects),
            HumanCount(count(&state.partitions)),
            HumanCount(planned.partitions)
        );
        if planned.compare > 0 {
            let (compared, all) = (HumanCount(count(&state.compared)), HumanCount(planned.compare));
            second = format!("{second}, {compared}/{all} compared");
        }
        [first, second, place(&lock(&state.key))]
    }

    /// Logs the progress.
    fn log(&self) {
        let (state, planned) = (&self.state, self.state.planned.now());
        let Now { bytes, rate, left } = self.now(&planned);
        info!(
            objects_listed = planned.listed,
            is_planned = planned.is_complete,
            bytes,
            bytes_planned = planned.bytes,
            bytes_per_second = rate,
            seconds_left = left.map(|left| left.as_secs()),
            objects = state.objects.load(Ordering::Relaxed).min(planned.objects),
            objects_planned = planned.objects,
            partitions = state.partitions.load(Ordering::Relaxed),
            partitions_planned = planned.partitions,
            compared = state.compared.load(Ordering::Relaxed),
            compared_planned = planned.compare,
            rejects = state.rejects.load(Ordering::Relaxed),
            at = place(&lock(&state.key)),
            "progress"
        );
    }

    fn now(&self, planned: &Totals) -> Now {
        // Objects of a batch that is converted again are read again, so the counter may exceed the plan.
        let bytes = self.state.bytes.load(Ordering::Relaxed).min(planned.bytes);
        let rate = bytes as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        let left =
            (bytes > 0 && planned.is_complete).then(|| (planned.bytes - bytes) as f64 / rate);
        let left = left.and_then(|seconds| Duration::try_from_secs_f64(seconds.round()).ok());
        Now { bytes, rate: rate as u64, left }
    }
}

impl Planned {
    fn now(&self) -> Totals {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            is_complete: self.is_complete.load(Ordering::Relaxed),
            listed: count(&self.listed),
            bytes: count(&self.bytes),
            objects: count(&self.objects),
            partitions: count(&self.partitions),
            compare: count(&self.compare),
        }
    }
}

/// The planned work at a given moment.
struct Totals {
    is_complete: bool,
    listed: u64,
    bytes: u64,
    objects: u64,
    partitions: u64,
    compare: u64,
}

/// The progress at a given moment, in compressed bytes.
struct Now {
    bytes: u64,
    rate: u64,
    /// `None` while the total is unknown.
    left: Option<Duration>,
}

/// The display on a terminal: a bar with lines below it.
struct Bars {
    bar: ProgressBar,
    /// Whether the bar shows a percentage.
    has_total: bool,
    lines: [ProgressBar; 3],
}

impl Bars {
    fn add(bars: &MultiProgress) -> Self {
        let add = |template| bars.add(ProgressBar::new(0).with_style(style(template)));
        Self { bar: add(LISTING), has_total: false, lines: [(); 3].map(|()| add(LINE)) }
    }

    fn draw(&mut self, work: &Work) {
        let planned = work.state.planned.now();
        // The lines are updated first: when the bar shows a percentage, they must not show the state before the total
        // was known.
        for (line, text) in self.lines.iter().zip(work.describe(&planned)) {
            line.set_message(printable(text));
            line.tick();
        }
        if planned.is_complete && !self.has_total {
            self.has_total = true;
            self.bar.set_style(style(BAR).progress_chars("=> "));
            self.bar.set_length(planned.bytes);
        }
        self.bar.set_position(work.now(&planned).bytes);
        self.bar.tick();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a fixed template")
}

/// Returns the region, day and load balancer in a key.
fn place(key: &str) -> String {
    let Ok(key) = Key::parse(key) else { return String::new() };
    let Partition { region, day, .. } = &key.partition;
    format!("{region} {day} {}", key.balancer)
}

/// Locks a mutex even if it is poisoned. No panic can leave this data in an inconsistent state.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
