//! Runs a conversion for the `convert` command: of the listed objects, or of the batches in `--batches`.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::cli::convert::Convert;
use crate::cli::hint::{self, OfFlag};
use crate::cli::metrics::Metrics;
use crate::cli::options::Profile;
use crate::cli::progress::Progress;
use crate::cli::signals::Signals;
use crate::cli::terminal::{StdoutError, print_json};
use crate::cli::{nothing, resolve};
use crate::convert::live::{Live, Watch};
use crate::convert::manifest::{self, Batches, Outcome};
use crate::convert::tally::Tally;
use crate::convert::touched::Comparison;
use crate::convert::{Conversion, ConvertError, Observer, Read};
use crate::dataset::layout::Dataset;
use crate::dataset::ledger::Ledger;
use crate::plan::{Batch, Failure, Listing, Planner};
use crate::redact::Redaction;
use crate::store::{Network, Place, Source};

/// A conversion that is ready to run.
pub(super) struct Running<'a> {
    pub(super) convert: &'a Convert,
    pub(super) signals: &'a Signals,
    pub(super) progress: &'a Progress,
    pub(super) metrics: &'a Metrics,
    pub(super) network: &'a Network,
    pub(super) out: &'a Place,
    pub(super) redaction: &'a Redaction,
    pub(super) bloom_filters: &'a [String],
    pub(super) threads: usize,
}

/// The dataset and the tally of a conversion, and whether its outcomes were printed.
type Ended = (Dataset, Tally, Result<(), StdoutError>);

impl Running<'_> {
    /// Converts the batches in a file, and prints the outcome of each.
    pub(super) fn batches(&self, name: &str) -> anyhow::Result<Ended> {
        let (convert, progress, metrics) = (self.convert, self.progress, self.metrics);
        let batches = Batches::read(name, self.network, convert.wanted.shard)
            .map_err(|error| OfFlag::new("--batches", error))?;
        let sources: Vec<String> = batches.sources.iter().map(Source::address).collect();
        resolve::refuse_overlap(&sources, &convert.out, self.out)?;
        let dataset = convert.dataset(self.out, self.redaction, self.network)?;
        metrics.listed();
        let ledger = Ledger::of_few(&dataset);
        let (sources, manifest::Work { plan, begun, done }) =
            batches.plan(&ledger, self.signals.stop())?;
        for outcome in &done {
            print_json(outcome)?;
        }
        self.warn_of_profile(&dataset);
        plan.batches.iter().for_each(|batch| progress.plan(batch));
        metrics.planned();
        progress.is_planned();
        progress.begin(&self.network.limiter);
        let observer = Reporting::new(progress, metrics, Some(begun));
        let conversion = self.conversion(&sources, &dataset, &observer);
        let result = conversion.run(plan, &ledger, metrics.began);
        progress.end();
        let printed = observer.end();
        Ok((dataset, result?, printed))
    }

    /// Converts the objects in the sources while they are listed. Returns `None` if the sources contain no logs.
    pub(super) fn listed(&self) -> anyhow::Result<Option<Ended>> {
        let Self { convert, network, signals, threads, .. } = *self;
        let Convert { sources: names, wanted, .. } = convert;
        let mut selection = resolve::selected(wanted, names)?;
        resolve::refuse_overlap(names, &convert.out, self.out)?;
        let is_listed = wanted.objects.is_none();
        let sources = resolve::open_sources(names, is_listed, network, &mut selection)?;
        let dataset = convert.dataset(self.out, self.redaction, network)?;
        let gathering = resolve::gathering(wanted, &sources, &selection, network, signals)?;
        let ledger = Ledger::open(&dataset)?;
        self.warn_of_profile(&dataset);
        self.progress.begin(&network.limiter);
        let observer = Reporting::new(self.progress, self.metrics, None);
        let conversion = self.conversion(&sources, &dataset, &observer);
        let (stop, compared) = (signals.stop(), self.progress.compared());
        let live = Live {
            gathering,
            planner: Planner::new(&sources, wanted.target_file_size, Some(&ledger), stop),
            comparison: Comparison { sources: &sources, ledger: &ledger, threads, compared, stop },
            watch: &observer,
        };
        let result = conversion.run_live(|convert| live.run(convert), &ledger, self.metrics.began);
        self.progress.end();
        let (tally, listing) = result.map_err(|error| match error {
            ConvertError::Plan(error) => resolve::of_list(error),
            error => error.into(),
        })?;
        let is_failed = self.report_listing(&listing, &tally);
        let printed = observer.end();
        Ok((!is_failed).then_some((dataset, tally, printed)))
    }

    fn conversion<'c>(
        &'c self,
        sources: &'c [Source],
        dataset: &'c Dataset,
        observer: &'c Reporting,
    ) -> Conversion<'c> {
        Conversion {
            sources,
            dataset,
            format: self.convert.format(),
            bloom_filters: self.bloom_filters,
            redaction: self.redaction,
            threads: self.threads,
            observer,
            stop: self.signals.stop(),
        }
    }

    /// Reports selected names that no object has and, if there is nothing to convert, the reason. Returns `true` if
    /// this is an error.
    fn report_listing(&self, listing: &Listing, tally: &Tally) -> bool {
        if tally.interrupted {
            return false;
        }
        for line in nothing::unmatched(listing) {
            self.progress.warn(&line);
        }
        if listing.selected > 0 || listing.has_failures {
            return false;
        }
        let lines = nothing::to_convert(&self.convert.sources, &self.convert.wanted, listing);
        if nothing::is_explained(listing) {
            self.progress.print(|| lines);
            return false;
        }
        self.progress.fail(&lines);
        for Failure { object, error, .. } in &tally.failures {
            self.progress.fail(&[format!("{object}: {error}")]);
        }
        for hint in hint::of_failures(&tally.failures) {
            self.progress.fail(&[format!("hint: {hint}")]);
        }
        true
    }

    /// Warns if the dataset was created with a different profile.
    fn warn_of_profile(&self, dataset: &Dataset) {
        if dataset.profile() != resolve::profile(self.convert.profile) {
            self.progress.warn(&other_profile(dataset, self.convert.profile));
        }
    }
}

/// Shows the progress of a conversion and, with `--batches`, prints the outcome of each batch.
struct Reporting<'a> {
    progress: &'a Progress,
    metrics: &'a Metrics,
    outcomes: Mutex<Outcomes>,
}

struct Outcomes {
    begun: Option<Vec<Outcome>>,
    /// The last error that occurred while printing an outcome.
    error: Option<StdoutError>,
}

impl<'a> Reporting<'a> {
    fn new(progress: &'a Progress, metrics: &'a Metrics, begun: Option<Vec<Outcome>>) -> Self {
        Self { progress, metrics, outcomes: Mutex::new(Outcomes { begun, error: None }) }
    }

    fn end(self) -> Result<(), StdoutError> {
        let outcomes = self.outcomes.into_inner().expect("no holder panics");
        outcomes.error.map_or(Ok(()), Err)
    }
}

impl Watch for Reporting<'_> {
    fn listed(&self, objects: u64) {
        self.progress.listed(objects);
    }

    fn compares(&self, objects: u64) {
        self.progress.compares(objects);
    }

    fn is_listed(&self) {
        self.metrics.listed();
    }

    fn is_planned(&self) {
        self.metrics.planned();
        self.progress.is_planned();
    }
}

impl Observer for Reporting<'_> {
    fn planned(&self, batch: &Batch) {
        self.metrics.converts();
        // The batches of `--batches` are known before the conversion.
        if lock(&self.outcomes).begun.is_none() {
            self.progress.plan(batch);
        }
    }

    fn read(&self, part: &Read) {
        self.progress.read(part);
    }

    fn published(&self, batch: &Batch, tally: &Tally, took: Duration) {
        self.progress.published(batch, tally, took);
    }

    fn lost(&self, batch: &Batch) {
        self.progress.lost(batch);
    }

    fn finished(&self, place: usize, tally: &Tally) {
        let Outcomes { begun, error } = &mut *lock(&self.outcomes);
        if let Some(outcome) = begun.as_mut().and_then(|begun| begun.get_mut(place)) {
            outcome.add(tally);
            *error = self.progress.suspend(|| print_json(outcome)).err().or(error.take());
        }
    }
}

fn lock(outcomes: &Mutex<Outcomes>) -> MutexGuard<'_, Outcomes> {
    outcomes.lock().expect("no holder panics")
}

/// Returns a warning that the dataset was created with a different profile.
fn other_profile(dataset: &Dataset, profile: Profile) -> String {
    format!(
        "the dataset was created with --profile {}; new files use the profile {}; existing files are unchanged",
        dataset.profile(),
        resolve::profile(profile)
    )
}
