//! `convert`: arguments in, a dataset and a summary out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;

use anyhow::bail;
use chrono::NaiveDate;
use clap::{Args, ValueEnum};

use crate::cli::log::Format;
use crate::cli::metrics::Metrics;
use crate::cli::options::{self, Layout, Partitions, Stores};
use crate::cli::progress::{self, Progress, Voice};
use crate::cli::signals::Signals;
use crate::cli::terminal::{counts, print_json};
use crate::cli::{DONE, FAILED, OBJECTS, REJECTS, resolve};
use crate::convert::Conversion;
use crate::dataset::{Dataset, Opening};
use crate::encode::Compression;
use crate::ledger::Ledger;
use crate::plan::{Listing, Plan, Selection};
use crate::schema::{self, Kind, Table};
use crate::store::{Network, Patience, Source};
use crate::tally::Tally;

const EXIT_CODES: &str = "\
Exit codes:
  0  every object was converted
  1  more than --max-rejects of the lines are rejects
  2  some object could not be read, or not to its end, or holds something else than its name says
  3  the run could not begin, or not go on
  130, 143  it was interrupted; the same command goes on";

const LONG_AFTER: &str = "\
Exit codes:
  0  every object was converted
  1  more than --max-rejects of the lines are rejects
  2  some object could not be read, or not to its end, or holds something else than its name says
  3  the run could not begin, or not go on
  130, 143  it was interrupted; the same command goes on

Examples:
  alb2parquet convert /mnt/logs --out lake
  alb2parquet convert s3://my-log-bucket --out s3://my-lake/alb --account 123456789012
  alb2parquet convert logs/AWSLogs/123456789012 --out lake --region eu-west-1 --from 2025-07-01 --to 2025-07-31
  alb2parquet convert logs --out lake --log-type access --log-type connection
  alb2parquet convert logs --out lake --json --quiet | jq .rejects";

/// Converts access, connection and health check logs to a dataset of Parquet files, partitioned by
/// account, region and day.
///
/// Every line becomes a row of the table of its log, such as alb_access_logs, or, with its reason, of
/// alb_rejects. The names of the objects tell which log they are of. The partition of a row is that of its
/// object's key, which AWS files by the day of delivery: rows of a day's last five minutes can stand under
/// the next day.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = LONG_AFTER)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(super) struct Convert {
    /// Directories or URLs (s3://, gs://, az://, abfss://, file://) at, above or below AWSLogs/
    #[arg(required = true, value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset; made if it is not there
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) partitions: Partitions,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Read the keys of SOURCE from a file instead of listing it: a key or URL a line, a manifest.json of an
    /// S3 Inventory (path or URL), or one of its CSV files; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) objects: Option<String>,

    /// Last day to convert, by key (UTC) [default: yesterday, since today still grows]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) to: Option<NaiveDate>,

    /// Only this load balancer: its name, or app/name/id (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(super) balancer: Vec<String>,

    /// Directories of partitions
    #[arg(long, value_enum, default_value_t = Layout::Hive)]
    pub(super) layout: Layout,

    /// Size of the Parquet files, about
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = options::size)]
    pub(super) target_file_size: u64,

    /// Compression of the Parquet files
    #[arg(long, value_enum, default_value_t = Codec::Zstd)]
    pub(super) compression: Codec,

    /// Text columns, separated by commas, that get Bloom filters: to look for single values, such as
    /// conn_trace_id,trace_id
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(super) bloom_filter: Vec<String>,

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
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(super) log_format: Format,
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

/// A run that may begin.
struct Run {
    pub(super) sources: Vec<Source>,
    pub(super) dataset: Dataset,
    pub(super) selection: Selection,
    pub(super) target_size: u64,
    pub(super) compression: Compression,
    pub(super) bloom_filters: Vec<String>,
    pub(super) threads: usize,
}

impl Run {
    fn resolve(args: &Convert, network: &Network) -> anyhow::Result<Self> {
        let bloom_filters = bloom_filters(&args.bloom_filter)?;
        let mut selection =
            resolve::selection(&args.partitions, args.to.or_else(resolve::yesterday))?;
        selection.balancers.clone_from(&args.balancer);
        if args.objects.is_some() && args.sources.len() > 1 {
            bail!("--objects names keys of one SOURCE, but there are {}", args.sources.len());
        }
        let out = resolve::place_of(&args.out)?;
        resolve::refuse_overlap(&args.sources, &args.out, &out)?;
        let sources = resolve::open_sources(&args.sources, network)?;
        let layout = resolve::layout(args.layout);
        let run = resolve::random_name()?;
        let target = resolve::target(&out, &run, network)?;
        let (single_writer, patience) = (args.single_writer, Patience::default());
        let dataset = Dataset::open(target, Opening { layout, run, single_writer, patience })?;
        Ok(Self {
            sources,
            dataset,
            selection,
            target_size: args.target_file_size,
            compression: match args.compression {
                Codec::Zstd => Compression::Zstd,
                Codec::Snappy => Compression::Snappy,
                Codec::None => Compression::None,
            },
            bloom_filters,
            threads: match args.threads {
                Some(threads) => threads.into(),
                None => thread::available_parallelism().map_or(1, usize::from),
            },
        })
    }
}

impl Convert {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let progress = Progress::new(self.voice());
        let mut metrics = Metrics::begin();
        let network = resolve::network(&self.stores)?;
        progress::watch(&network.traffic);
        let run = Run::resolve(self, &network)?;
        let listing = match (&self.objects, &*run.sources) {
            (Some(names), [source]) => {
                Listing::read(names, source, &network, &run.selection, signals.stop())
            }
            _ => Listing::take(&run.sources, &run.selection, signals.stop()),
        }?;
        if listing.objects.is_empty() {
            progress.say(|| nothing_to_do(&run.sources, &listing));
        }
        metrics.listed();
        let mut ledger = Ledger::open(&run.dataset)?;
        let plan = Plan::make(listing, &run.sources, run.target_size, &mut ledger)?;
        metrics.planned();
        progress.begin(&plan);
        let conversion = Conversion {
            sources: &run.sources,
            dataset: &run.dataset,
            compression: run.compression,
            bloom_filters: &run.bloom_filters,
            threads: run.threads,
            watcher: &progress,
            stop: signals.stop(),
        };
        let result = conversion.run(plan, &mut ledger, metrics.began);
        progress.end();
        let mut tally = result?;
        tally.requests = network.traffic.requests();
        tally.requests_failed = network.traffic.failed();
        progress.sum_up(&tally, self.max_rejects);
        if self.json {
            print_json(&metrics.beside(&tally, run.threads))?;
        }
        if tally.interrupted {
            return Ok(signals.exit_code().unwrap_or(FAILED));
        }
        Ok(exit_code(&tally, self.max_rejects))
    }

    /// Returns what is wanted on stderr.
    pub(super) fn voice(&self) -> Voice {
        match (self.log_format, self.quiet, self.verbose) {
            (Format::Json, ..) => Voice::Json,
            (_, true, _) => Voice::Quiet,
            (_, _, true) => Voice::Verbose,
            _ => Voice::Text,
        }
    }
}

fn exit_code(tally: &Tally, max_rejects: f64) -> u8 {
    if tally.objects.failed > 0 || !tally.failures.is_empty() {
        OBJECTS
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

/// Says why nothing will be converted.
fn nothing_to_do(sources: &[Source], listing: &Listing) -> String {
    let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
    format!(
        "nothing to convert: of {} objects in {} none is a selected log{}. Expected are \
         keys like AWSLogs/<account>/elasticloadbalancing/<region>/yyyy/mm/dd/<name>.log.gz",
        listing.listed,
        names.join(", "),
        counts(" (", listing.skipped.iter().map(|(kind, count)| (*kind, *count)), ")"),
    )
}
