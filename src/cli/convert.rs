//! `convert`: arguments in, a dataset and a summary out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::cli::hint::{self, OfFlag};
use crate::cli::log;
use crate::cli::metrics::Metrics;
use crate::cli::options::{self, Layout, Profile, Stores, Wanted};
use crate::cli::plan::{Form, Question};
use crate::cli::progress::{self, Progress, Voice};
use crate::cli::signals::Signals;
use crate::cli::terminal::{StdoutError, print_json};
use crate::cli::{DONE, FAILED, LEFT_OUT, OBJECTS, REJECTS, nothing, resolve};
use crate::convert::manifest::{self, Batches, Outcome};
use crate::convert::tally::Tally;
use crate::convert::touched::Comparison;
use crate::convert::{Conversion, Read, Watcher};
use crate::dataset::layout::{Dataset, Opening};
use crate::dataset::ledger::Ledger;
use crate::encode::{Compression, Format};
use crate::logs::schema::{self, Kind, Table};
use crate::plan::estimate::{Prices, Speed};
use crate::plan::{self, Batch, Failure, Listing, Plan, PlanError};
use crate::redact::{Redaction, Rules};
use crate::store::{Network, Patience, Place, Source};

const AFTER: &str = "\
Exit codes:
  0  every object was converted
  1  more than --max-rejects of the lines are rejects
  2  some object could not be read, or not to its end, or holds something else than its name says
  3  fatal error: nothing more was converted; SOURCE contains no logs; or stdout could not be written
  4  objects named like logs were not converted because of their endings or paths
  130, 143  it was interrupted; the same command goes on

Examples:
  alb2parquet convert /mnt/logs --out lake
  alb2parquet convert s3://my-log-bucket --out s3://my-lake/alb --account 123456789012
  alb2parquet convert logs/AWSLogs/123456789012 --out lake --region eu-west-1 --from 2025-07-01 --to 2025-07-31
  alb2parquet convert 'logs/**/*_app.my-lb.*.log.gz' --out lake --from 7d
  alb2parquet convert logs --out lake --log-type access --log-type connection
  alb2parquet convert logs --out lake --redact client_ip=truncate --redact client_port=drop --redact request_url=drop-query
  alb2parquet convert logs --out lake --json --quiet | jq .rejects";

/// What has a meaning for sources that are listed only.
const OF_SOURCES: [&str; 10] = [
    "sources",
    "objects",
    "log_type",
    "from",
    "to",
    "account",
    "region",
    "balancer",
    "target_file_size",
    "json",
];

/// Converts access, connection and health check logs to a dataset of Parquet files, partitioned by
/// account, region and day.
///
/// Every line becomes a row of the table of its log, such as alb_access_logs, or, with its reason, of
/// alb_rejects. The file name of an object determines its log, account, region and load balancer, in any directory.
/// Below AWSLogs/ACCOUNT/elasticloadbalancing/REGION/yyyy/mm/dd/, where AWS delivers logs, the path determines the
/// day; elsewhere, the end time in the name does. AWS files logs under the day of delivery, so rows from the last
/// five minutes of a day can appear under the next day.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(super) struct Convert {
    /// Directories, files, URLs (s3://, gs://, az://, abfss://, file://), or patterns
    ///
    /// In a directory or prefix, the program converts every file that is named like a log of an Application Load
    /// Balancer and ends with .log.gz, or with .log if it is decompressed, in any layout. Quote a pattern so that the
    /// shell does not expand it: 's3://bucket/logs/2025/*/x*.log.gz', 'logs/**/*.log.gz'.
    #[arg(required_unless_present = "batches", value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset; made if it is not there
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) wanted: Wanted,

    /// Convert what the lines of `plan --jsonl` in a file (path or URL; - is standard input) describe, and print
    /// a line of JSON on stdout for each batch, as it is published or found converted before
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_SOURCES)]
    pub(super) batches: Option<String>,

    /// Tell what would be done, as `plan` does, and do nothing
    #[arg(long, conflicts_with = "batches")]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Directories of partitions
    #[arg(long, value_enum, default_value_t = Layout::Hive)]
    pub(super) layout: Layout,

    /// Parquet features of new files; see docs/profiles.md
    #[arg(long, value_enum, default_value_t = Profile::Portable)]
    pub(super) profile: Profile,

    /// Compression of the Parquet files
    #[arg(long, value_enum, default_value_t = Codec::Zstd)]
    pub(super) compression: Codec,

    /// Text columns, separated by commas, that get Bloom filters: to look for single values, such as
    /// conn_trace_id,trace_id
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(super) bloom_filter: Vec<String>,

    /// Take what is known of clients out of a column (repeatable): client_ip=truncate|hash|drop,
    /// client_port=drop, request_url=drop-query|drop, user_agent=hash|drop, and more in docs/redaction.md. The same for all
    /// runs of a dataset; rejects are kept without their lines then. Hashes need a key in ALB2PARQUET_REDACT_KEY
    #[arg(long, value_name = "COLUMN=ACTION")]
    pub(super) redact: Vec<String>,

    /// Vouch that no other run writes to the dataset meanwhile; only stores that cannot keep runs
    /// apart need it
    #[arg(long)]
    pub(super) single_writer: bool,

    /// Worker threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,

    /// Share of lines that may be rejects before the exit code is 1
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = options::share)]
    pub(super) max_rejects: f64,

    /// Print the summary as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,

    /// Print nothing on stderr but errors
    #[arg(long, short, conflicts_with_all = ["verbose", "log_format"])]
    pub(super) quiet: bool,

    /// Log each published file, and each request that failed
    #[arg(long, short)]
    pub(super) verbose: bool,

    /// How stderr is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = log::Format::Text)]
    pub(super) log_format: log::Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Codec {
    /// Zstandard
    Zstd,
    /// Snappy: larger files, a little faster
    Snappy,
    /// None
    None,
}

/// What is to be done, and what is known of it.
struct Work<'a> {
    sources: Vec<Source>,
    ledger: Ledger<'a>,
    plan: Plan,
    /// What is known of each batch of the plan, if somebody wants to know what comes of it.
    begun: Option<Vec<Outcome>>,
}

impl Convert {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let bloom_filters = bloom_filters(&self.bloom_filter)?;
        let rules = Rules::parse(&self.redact).map_err(|error| OfFlag::new("--redact", error))?;
        let redaction = Redaction::new(rules, resolve::redact_key()?.as_deref())?;
        if self.dry_run {
            return self.foretell(&redaction, signals);
        }
        let progress = Progress::new(self.voice());
        let mut metrics = Metrics::begin();
        let network = resolve::network(&self.stores, progress.say_waiting())?;
        progress::watch(&network.traffic);
        let out = resolve::place_of(&self.out)?;
        let dataset;
        let Work { sources, ledger, mut plan, begun } = if let Some(name) = &self.batches {
            let batches = Batches::read(name, &network, self.wanted.shard)
                .map_err(|error| OfFlag::new("--batches", error))?;
            let sources: Vec<String> = batches.sources.iter().map(Source::address).collect();
            resolve::refuse_overlap(&sources, &self.out, &out)?;
            dataset = self.dataset(&out, &redaction, &network)?;
            metrics.listed();
            described(batches, &dataset, signals)?
        } else {
            let mut selection = resolve::selected(&self.wanted, &self.sources)?;
            resolve::refuse_overlap(&self.sources, &self.out, &out)?;
            let is_listed = self.wanted.objects.is_none();
            let sources =
                resolve::open_sources(&self.sources, is_listed, &network, &mut selection)?;
            dataset = self.dataset(&out, &redaction, &network)?;
            let listing = resolve::listing(&self.wanted, &sources, &selection, &network, signals)?;
            metrics.listed();
            for line in nothing::unmatched(&listing) {
                progress.warn(&line);
            }
            let is_nothing = listing.objects.is_empty() && listing.failures.is_empty();
            let nothing =
                is_nothing.then(|| nothing::to_convert(&self.sources, &self.wanted, &listing));
            let is_explained = nothing::is_explained(&listing);
            // What other runs have begun is finished in any case.
            let work = self.listed(listing, sources, &dataset, signals)?;
            match nothing {
                Some(lines) if !is_explained => {
                    progress.fail(&lines);
                    for Failure { object, error, .. } in &work.plan.failures {
                        progress.fail(&[format!("{object}: {error}")]);
                    }
                    for hint in hint::of_failures(&work.plan.failures) {
                        progress.fail(&[format!("hint: {hint}")]);
                    }
                    return Ok(FAILED);
                }
                Some(lines) => progress.say(|| lines),
                None => {}
            }
            work
        };
        if dataset.profile() != resolve::profile(self.profile) {
            progress.warn(&other_profile(&dataset, self.profile));
        }
        let threads = match self.threads {
            Some(threads) => threads.into(),
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        compare(&mut plan, &sources, &ledger, threads, &progress, signals)?;
        metrics.planned();
        progress.begin(&plan);
        let watcher = Reporting::new(&progress, begun);
        let conversion = Conversion {
            sources: &sources,
            dataset: &dataset,
            format: self.format(),
            bloom_filters: &bloom_filters,
            redaction: &redaction,
            threads,
            watcher: &watcher,
            stop: signals.stop(),
        };
        let result = conversion.run(plan, &ledger, metrics.began);
        progress.end();
        let mut tally = result?;
        let printed = watcher.end();
        tally.requests = network.traffic.requests();
        tally.requests_failed = network.traffic.failed();
        progress.sum_up(&tally, self.max_rejects);
        let printed = printed.and_then(|()| {
            if self.json { print_json(&metrics.beside(&tally, threads)) } else { Ok(()) }
        });
        printed.map_err(|error| error.after(ended(&tally)))?;
        if tally.interrupted {
            return Ok(signals.exit_code().unwrap_or(FAILED));
        }
        Ok(exit_code(&tally, self.max_rejects))
    }

    /// Does what `plan` does.
    fn foretell(&self, redaction: &Redaction, signals: &Signals) -> anyhow::Result<u8> {
        let question = Question {
            sources: &self.sources,
            out: Some(&self.out),
            wanted: &self.wanted,
            stores: &self.stores,
            layout: self.layout,
            threads: self.threads,
            rate: Speed::RATE,
            prices: Prices::default(),
            redaction: Some(redaction.agreement()),
            form: if self.json { Form::Json } else { Form::Text },
            quiet: self.quiet,
        };
        question.answer(signals)
    }

    /// Returns the format of new files.
    fn format(&self) -> Format {
        let compression = match self.compression {
            Codec::Zstd => Compression::Zstd,
            Codec::Snappy => Compression::Snappy,
            Codec::None => Compression::None,
        };
        Format { profile: resolve::profile(self.profile), compression }
    }

    /// Returns what is wanted on stderr.
    pub(super) fn voice(&self) -> Voice {
        match (self.log_format, self.quiet, self.verbose) {
            (log::Format::Json, ..) => Voice::Json,
            (_, true, _) => Voice::Quiet,
            (_, _, true) => Voice::Verbose,
            _ => Voice::Text,
        }
    }

    fn dataset(
        &self,
        out: &Place,
        redaction: &Redaction,
        network: &Network,
    ) -> anyhow::Result<Dataset> {
        let (layout, run) = (resolve::layout(self.layout), resolve::random_name()?);
        let target = resolve::target(out, &run, network)?;
        let (single_writer, patience) = (self.single_writer, Patience::default());
        let redaction = redaction.agreement();
        let profile = resolve::profile(self.profile);
        let opening = Opening { layout, run, single_writer, patience, redaction, profile };
        Ok(Dataset::open(target, opening)?)
    }

    /// Plans what was listed.
    fn listed<'a>(
        &self,
        listing: Listing,
        sources: Vec<Source>,
        dataset: &'a Dataset,
        signals: &Signals,
    ) -> anyhow::Result<Work<'a>> {
        let mut ledger = Ledger::open(dataset)?;
        let size = self.wanted.target_file_size;
        let plan = Plan::make(listing, &sources, size, &mut ledger, signals.stop())?;
        Ok(Work { sources, ledger, plan, begun: None })
    }
}

/// Compares touched objects with the converted ones, and shows progress.
fn compare(
    plan: &mut Plan,
    sources: &[Source],
    ledger: &Ledger,
    threads: usize,
    progress: &Progress,
    signals: &Signals,
) -> Result<(), PlanError> {
    if plan.touched.is_empty() {
        return Ok(());
    }
    let compared = progress.compare(plan.touched.len() as u64);
    let stop = signals.stop();
    let comparison = Comparison { sources, ledger, threads, compared: &compared, stop };
    let result = comparison.update(plan);
    progress.end();
    result
}

/// Plans what others have planned, and says what needs no work.
fn described<'a>(
    batches: Batches,
    dataset: &'a Dataset,
    signals: &Signals,
) -> anyhow::Result<Work<'a>> {
    let mut ledger = Ledger::of_few(dataset);
    let (sources, manifest::Work { plan, begun, done }) =
        batches.plan(&mut ledger, signals.stop())?;
    for outcome in &done {
        print_json(outcome)?;
    }
    Ok(Work { sources, ledger, plan, begun: Some(begun) })
}

/// Shows how a conversion goes, and says what came of each batch that somebody described.
struct Reporting<'a> {
    progress: &'a Progress,
    outcomes: Mutex<Outcomes>,
}

struct Outcomes {
    begun: Option<Vec<Outcome>>,
    /// Why the last one could not be printed.
    error: Option<StdoutError>,
}

impl<'a> Reporting<'a> {
    fn new(progress: &'a Progress, begun: Option<Vec<Outcome>>) -> Self {
        Self { progress, outcomes: Mutex::new(Outcomes { begun, error: None }) }
    }

    fn end(self) -> Result<(), StdoutError> {
        let outcomes = self.outcomes.into_inner().expect("no holder panics");
        outcomes.error.map_or(Ok(()), Err)
    }
}

impl Watcher for Reporting<'_> {
    fn read(&self, part: &Read) {
        self.progress.read(part);
    }

    fn published(&self, batch: &Batch, tally: &Tally, took: Duration) {
        self.progress.published(batch, tally, took);
    }

    fn settled(&self, place: usize, tally: &Tally) {
        let Outcomes { begun, error } = &mut *self.outcomes.lock().expect("no holder panics");
        if let Some(outcome) = begun.as_mut().and_then(|begun| begun.get_mut(place)) {
            outcome.add(tally);
            *error = self.progress.aside(|| print_json(outcome)).err().or(error.take());
        }
    }
}

/// Describes how a conversion ended whose summary could not be written.
fn ended(tally: &Tally) -> &'static str {
    if tally.interrupted {
        "the conversion was interrupted; run the same command again to continue it"
    } else if tally.failures.is_empty() {
        "the conversion is complete"
    } else {
        "the conversion is complete, except for the objects named above"
    }
}

/// Warns if the dataset was created with another profile.
fn other_profile(dataset: &Dataset, profile: Profile) -> String {
    format!(
        "the dataset was created with --profile {}; new files use the profile {}; existing files are unchanged",
        dataset.profile(),
        resolve::profile(profile)
    )
}

fn exit_code(tally: &Tally, max_rejects: f64) -> u8 {
    if tally.objects.failed > 0 || !tally.failures.is_empty() {
        OBJECTS
    } else if plan::left_out(&tally.objects.skipped_by_kind) > 0 {
        LEFT_OUT
    } else if tally.reject_share() > max_rejects {
        REJECTS
    } else {
        DONE
    }
}

/// Returns the columns that are to have Bloom filters, sorted, since they decide the names of files.
fn bloom_filters(names: &[String]) -> anyhow::Result<Vec<String>> {
    let is_text = |name: &str| {
        let tables = schema::LogType::ALL.into_iter().map(schema::LogType::table);
        tables
            .flat_map(Table::columns)
            .any(|(_, column)| column.name == name && column.kind == Kind::String)
    };
    if let Some(wrong) = names.iter().find(|name| !is_text(name)) {
        bail!("--bloom-filter {wrong}: no table has a text column of that name, such as trace_id");
    }
    let names: BTreeSet<String> = names.iter().cloned().collect();
    Ok(names.into_iter().collect())
}
