//! Converts directories and buckets with one call, for users of the library.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use crate::convert::live::{Live, Watch};
use crate::convert::tally::Tally;
use crate::convert::touched::Comparison;
use crate::convert::{Conversion, ConvertError, Observer, Read};
use crate::dataset::layout::{Dataset, DatasetError, Layout, Opening, STAGING};
use crate::dataset::ledger::Ledger;
use crate::encode::Format;
use crate::plan::sources::{self, OpenError};
use crate::plan::{Batch, Gathering, PlanError, Planner, Selection};
use crate::redact::Redaction;
use crate::store::{Network, Patience, Place, StoreError};
use crate::util::hash;

/// Converts logs to a dataset: Parquet files partitioned by account, region and day.
///
/// Each object is converted only once, no matter how often the converter runs or how many runs write to the dataset at
/// the same time. The next run continues an interrupted run.
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use alb2parquet::{Converter, LogType, Selection};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let lake = concat!(env!("CARGO_MANIFEST_DIR"), "/target/converter-doctest");
/// # let _ = std::fs::remove_dir_all(lake);
/// let selection = Selection { log_types: vec![LogType::Access], ..Selection::default() };
/// let converter = Converter::new(lake).selection(selection);
/// let tally = converter.convert(&["tests/data"], &AtomicBool::new(false))?;
/// assert_eq!(tally.lines, tally.rows + tally.reject_count());
/// for failure in &tally.failures {
///     println!("{}: {}", failure.object, failure.error);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Converter {
    out: String,
    selection: Selection,
    layout: Layout,
    format: Format,
    redaction: Redaction,
    target_file_size: u64,
    threads: Option<usize>,
    max_requests: Option<usize>,
    settings: Vec<(String, String)>,
    single_writer: bool,
}

/// A conversion cannot start or continue. Objects that were already converted are kept, and the next run continues with
/// the remaining objects.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConverterError(#[from] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the dataset {out} and the source {source_name} overlap: choose separate directories")]
    Overlap { source_name: String, out: String },
    #[error("the system cannot provide random numbers")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

impl ConverterError {
    /// Returns whether the conversion failed because it was stopped before it converted any objects.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self.0,
            Cause::Plan(PlanError::Interrupted)
                | Cause::Convert(
                    ConvertError::Interrupted | ConvertError::Plan(PlanError::Interrupted)
                )
        )
    }
}

impl Converter {
    /// Returns a converter that writes to the dataset in a directory, or at a URL such as `s3://bucket/prefix`. The
    /// directory is created if it does not exist.
    pub fn new(out: impl Into<String>) -> Self {
        Self {
            out: out.into(),
            selection: Selection::default(),
            layout: Layout::default(),
            format: Format::default(),
            redaction: Redaction::default(),
            target_file_size: 256 << 20,
            threads: None,
            max_requests: None,
            settings: Vec::new(),
            single_writer: false,
        }
    }

    /// Selects the objects to convert. By default, all objects are converted, including those for the current day,
    /// whose logs are still incomplete.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Sets the directory layout of the dataset. All runs must use the same layout.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets the format of new files.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Redacts columns. All runs must use the same rules and key.
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// Sets the maximum compressed size, in bytes, of the objects in one file. A larger object gets a separate file.
    /// The default is 256 MiB.
    pub fn target_file_size(mut self, bytes: u64) -> Self {
        self.target_file_size = bytes;
        self
    }

    /// Sets the number of worker threads. The default is the number of cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Sets the maximum number of concurrent reads from object stores. The default is 1,024, or half of the open file
    /// limit if that is less. The converter sends only as many requests as needed to keep its threads busy, and fewer
    /// if a store throttles them.
    pub fn max_requests(mut self, max_requests: usize) -> Self {
        self.max_requests = Some(max_requests.max(1));
        self
    }

    /// Sets an option for the object stores, such as `region`. Options override the environment.
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Asserts that this is the only writer. Needed only for stores without conditional create.
    pub fn single_writer(mut self) -> Self {
        self.single_writer = true;
        self
    }

    /// Converts the objects in the given directories, files, patterns or URLs, except those that earlier runs
    /// converted.
    ///
    /// Set `stop` to end the conversion early. The tally is then marked as [interrupted](Tally::interrupted).
    ///
    /// # Errors
    ///
    /// Fails if a source cannot be read, if the dataset cannot be written, or if `stop` is set before the first object is
    /// planned. Unreadable objects and invalid lines do not cause an error; the tally counts them.
    pub fn convert<S: AsRef<str>>(
        &self,
        sources: &[S],
        stop: &AtomicBool,
    ) -> Result<Tally, ConverterError> {
        let names: Vec<String> = sources.iter().map(|name| name.as_ref().to_owned()).collect();
        Ok(self.run(&names, stop)?)
    }

    fn run(&self, names: &[String], stop: &AtomicBool) -> Result<Tally, Cause> {
        let began = Instant::now();
        let network = Network::new(self.settings.clone());
        let threads = || thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or_else(threads);
        network.limiter.configure(self.max_requests, threads);
        let out = Place::parse(&self.out)?;
        for name in names {
            if sources::overlap(name, &out)?.is_some() {
                return Err(Cause::Overlap { source_name: name.clone(), out: self.out.clone() });
            }
        }
        let (sources, scopes) = sources::open(names, true, &network)?;
        let dataset = self.dataset(&out, &network)?;
        let selection = Selection { scopes, ..self.selection.clone() };
        let gathering = Gathering::of(&sources, &selection, stop);
        let ledger = Ledger::open(&dataset)?;
        let compared = &AtomicU64::new(0);
        let live = Live {
            gathering,
            planner: Planner::new(&sources, self.target_file_size, Some(&ledger), stop),
            comparison: Comparison { sources: &sources, ledger: &ledger, threads, compared, stop },
            watch: &NoObserver,
        };
        let conversion = Conversion {
            sources: &sources,
            dataset: &dataset,
            format: self.format,
            bloom_filters: &[],
            redaction: &self.redaction,
            threads,
            observer: &NoObserver,
            stop,
        };
        let (mut tally, _) = conversion.run_live(|convert| live.run(convert), &ledger, began)?;
        tally.requests = network.traffic.requests();
        tally.requests_failed = network.traffic.failed();
        Ok(tally)
    }

    fn dataset(&self, out: &Place, network: &Network) -> Result<Dataset, Cause> {
        let run = hash::random_name()?;
        let target = out.target(STAGING, &run, network)?;
        let opening = Opening {
            layout: self.layout,
            run,
            single_writer: self.single_writer,
            patience: Patience::default(),
            redaction: self.redaction.agreement(),
            profile: self.format.profile,
        };
        Ok(Dataset::open(target, opening)?)
    }
}

/// An observer that ignores all events.
struct NoObserver;

impl Watch for NoObserver {}

impl Observer for NoObserver {
    fn read(&self, _segment: &Read) {}

    fn published(&self, _batch: &Batch, _tally: &Tally, _took: Duration) {}
}
