//! How a conversion goes: bars on a terminal, a line every ten seconds elsewhere, and events in the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
use crate::convert::tally::Tally;
use crate::convert::{Read, Watcher};
use crate::logs::key::{Key, Partition};
use crate::plan::{Batch, Plan};
use crate::store::Traffic;
use crate::util::escape::printable;

const BAR: &str = "{percent:>3} % [{wide_bar}]";
/// Cut where the terminal ends.
const LINE: &str = "{wide_msg}";
/// How often bars are drawn anew.
const TICK: Duration = Duration::from_millis(200);
/// How often a line is printed where there is no terminal.
const PLAIN_TICK: Duration = Duration::from_secs(10);

/// Shows how a conversion goes, as far as that is asked for.
pub(super) struct Progress {
    voice: Voice,
    bars: MultiProgress,
    state: Arc<State>,
    ticker: Mutex<Option<Ticker>>,
}

/// What is wanted on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// Only what went wrong.
    Quiet,
    /// Progress.
    Text,
    /// Besides, a line for each published batch and each request that failed.
    Verbose,
    /// All of that, and nothing else, as JSON.
    Json,
}

/// Counts that many threads add to.
#[derive(Default)]
struct State {
    bytes: AtomicU64,
    objects: AtomicU64,
    partitions: AtomicU64,
    rejects: AtomicU64,
    /// Key of the object that was read last.
    key: Mutex<String>,
    /// Batches of each partition that are not published yet.
    open: Mutex<HashMap<Arc<Partition>, usize>>,
}

/// The thread that shows the counts.
struct Ticker {
    stop: Sender<()>,
    /// `None` if the system refuses to start a thread. Then no progress is shown.
    thread: Option<JoinHandle<()>>,
}

/// What there is to do, to compare the counts with.
struct Work {
    bytes: u64,
    objects: u64,
    partitions: u64,
    began: Instant,
}

impl Progress {
    pub(super) fn new(voice: Voice) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        match voice {
            // JSON is logged from the beginning of the program on.
            Voice::Quiet | Voice::Text | Voice::Json => {}
            Voice::Verbose => log::begin(Format::Text, Level::INFO, &bars),
        }
        Self { voice, bars, state: Arc::default(), ticker: Mutex::default() }
    }

    /// Begins to show progress.
    pub(super) fn begin(&self, plan: &Plan) {
        for batch in &plan.batches {
            *lock(&self.state.open).entry(Arc::clone(&batch.partition)).or_default() += 1;
        }
        let work = Work {
            bytes: plan.bytes(),
            objects: plan.batches.iter().map(|batch| batch.objects.len() as u64).sum(),
            partitions: plan.partitions() as u64,
            began: Instant::now(),
        };
        let on_terminal = terminal::stderr_is_seen();
        let state = Arc::clone(&self.state);
        let ticker = match self.voice {
            Voice::Quiet => return,
            Voice::Json => Ticker::begin(PLAIN_TICK, move || work.log(&state)),
            Voice::Text | Voice::Verbose if on_terminal => {
                self.bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
                let shown = Bars::add(&self.bars, work.bytes);
                Ticker::begin(TICK, move || shown.draw(&work, &state))
            }
            Voice::Text | Voice::Verbose => {
                let line = move || print_line(&work.describe(&state).join("; "));
                Ticker::begin(PLAIN_TICK, line)
            }
        };
        *lock(&self.ticker) = Some(ticker);
    }

    /// Shows how many touched objects were compared. Returns the counter.
    pub(super) fn compare(&self, objects: u64) -> Arc<AtomicU64> {
        let compared = Arc::new(AtomicU64::new(0));
        let all = HumanCount(objects);
        self.say(|| {
            vec![format!(
                "{all} objects have a new ETag or time: comparing their contents with the converted ones"
            )]
        });
        let counted = Arc::clone(&compared);
        let now = move || counted.load(Ordering::Relaxed);
        let ticker = match self.voice {
            Voice::Quiet => return compared,
            Voice::Json => Ticker::begin(PLAIN_TICK, move || {
                info!(objects = now(), objects_planned = objects, "comparing");
            }),
            Voice::Text | Voice::Verbose => Ticker::begin(PLAIN_TICK, move || {
                print_line(&format!("{} of {all} objects compared", HumanCount(now())));
            }),
        };
        *lock(&self.ticker) = Some(ticker);
        compared
    }

    /// Says something that was found before the conversion.
    pub(super) fn say(&self, lines: impl FnOnce() -> Vec<String>) {
        match self.voice {
            Voice::Quiet => {}
            Voice::Text | Voice::Verbose => lines().iter().for_each(|line| print_line(line)),
            Voice::Json => warn!("{}", lines().join("\n")),
        }
    }

    /// Returns a callback that prints that a store does not respond.
    pub(super) fn say_waiting(&self) -> impl Fn(&str) + Send + use<> {
        let (voice, bars) = (self.voice, self.bars.clone());
        move |line| match voice {
            Voice::Quiet => {}
            Voice::Text | Voice::Verbose => bars.suspend(|| print_line(line)),
            Voice::Json => warn!("{line}"),
        }
    }

    /// Prints a multi-line error.
    pub(super) fn fail(&self, lines: &[String]) {
        match self.voice {
            Voice::Json => error!("{}", lines.join("\n")),
            _ => terminal::error_lines(lines),
        }
    }

    /// Prints a warning.
    pub(super) fn warn(&self, text: &str) {
        match self.voice {
            Voice::Quiet => {}
            Voice::Text | Voice::Verbose => warning(text),
            Voice::Json => warn!("{text}"),
        }
    }

    /// Says what came of the conversion.
    pub(super) fn sum_up(&self, tally: &Tally, max_rejects: f64) {
        if self.voice == Voice::Json {
            summary::log(tally);
            return;
        }
        if self.voice != Voice::Quiet {
            summary::print(tally, max_rejects);
        }
        summary::print_failures(&tally.failures);
        summary::print_left_out(&tally.objects);
    }

    /// Prints something while the display is out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// Ends the display of progress.
    pub(super) fn end(&self) {
        if let Some(Ticker { stop, thread }) = lock(&self.ticker).take() {
            drop(stop);
            // It has nothing to say any more, whatever became of it.
            let _ = thread.map(JoinHandle::join);
            let _ = self.bars.clear();
        }
    }
}

/// Logs requests that fail.
pub(super) fn watch(traffic: &Traffic) {
    traffic.observe(|failure| warn!(failure, "request failed"));
}

impl Watcher for Progress {
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
}

impl Ticker {
    /// Calls `show` again and again until it is told to stop.
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
    /// Says how far it is done, the most important first.
    fn describe(&self, state: &State) -> [String; 3] {
        let Now { bytes, rate, left } = self.now(state);
        let objects = state.objects.load(Ordering::Relaxed).min(self.objects);
        let left = left.map_or("?".to_owned(), |left| format!("{:#}", HumanDuration(left)));
        [
            format!(
                "{} of {}, {}/s, {left} left",
                HumanBytes(bytes),
                HumanBytes(self.bytes),
                DecimalBytes(rate)
            ),
            format!(
                "{} rejects, {}/{} objects, {}/{} partitions",
                HumanCount(state.rejects.load(Ordering::Relaxed)),
                HumanCount(objects),
                HumanCount(self.objects),
                HumanCount(state.partitions.load(Ordering::Relaxed)),
                HumanCount(self.partitions)
            ),
            place(&lock(&state.key)),
        ]
    }

    /// Logs how far it is done.
    fn log(&self, state: &State) {
        let Now { bytes, rate, left } = self.now(state);
        info!(
            bytes,
            bytes_planned = self.bytes,
            bytes_per_second = rate,
            seconds_left = left.map(|left| left.as_secs()),
            objects = state.objects.load(Ordering::Relaxed).min(self.objects),
            objects_planned = self.objects,
            partitions = state.partitions.load(Ordering::Relaxed),
            partitions_planned = self.partitions,
            rejects = state.rejects.load(Ordering::Relaxed),
            at = place(&lock(&state.key)),
            "progress"
        );
    }

    fn now(&self, state: &State) -> Now {
        // What is converted once more, because another run was faster, counts once.
        let bytes = state.bytes.load(Ordering::Relaxed).min(self.bytes);
        let rate = bytes as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        let left = (bytes > 0).then(|| (self.bytes - bytes) as f64 / rate);
        let left = left.and_then(|seconds| Duration::try_from_secs_f64(seconds.round()).ok());
        Now { bytes, rate: rate as u64, left }
    }
}

/// How far the work is at one moment, in compressed bytes.
struct Now {
    bytes: u64,
    rate: u64,
    left: Option<Duration>,
}

/// The bars on a terminal: one, and lines below it.
struct Bars {
    bar: ProgressBar,
    lines: [ProgressBar; 3],
}

impl Bars {
    fn add(bars: &MultiProgress, length: u64) -> Self {
        let style = |template| ProgressStyle::with_template(template).expect("a fixed template");
        let add = |style| bars.add(ProgressBar::new(length).with_style(style));
        let bar = add(style(BAR).progress_chars("=> "));
        Self { bar, lines: [(); 3].map(|()| add(style(LINE))) }
    }

    fn draw(&self, work: &Work, state: &State) {
        self.bar.set_position(work.now(state).bytes);
        for (line, text) in self.lines.iter().zip(work.describe(state)) {
            line.set_message(printable(text));
            line.tick();
        }
    }
}

/// Names the balancer and day of a key.
fn place(key: &str) -> String {
    let Ok(key) = Key::parse(key) else { return String::new() };
    let Partition { region, day, .. } = &key.partition;
    format!("{region} {day} {}", key.balancer)
}

/// Locks what holds no invariant that a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
