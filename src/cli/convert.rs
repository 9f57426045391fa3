//! The `convert` command.

mod running;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::cli::convert::running::Running;
use crate::cli::hint::OfFlag;
use crate::cli::iceberg::{AfterConversion, Outcome};
use crate::cli::log;
use crate::cli::metrics::Metrics;
use crate::cli::options::{self, Layout, Profile, Stores, Wanted};
use crate::cli::plan::{Output, Planning};
use crate::cli::progress::{self, Messages, Progress};
use crate::cli::signals::Signals;
use crate::cli::terminal::print_json;
use crate::cli::{DONE, FAILED, LEFT_OUT, OBJECTS, REJECTS, limits, resolve};
use crate::convert::tally::Tally;
use crate::dataset::layout::{Dataset, Opening};
use crate::encode::{Compression, Format};
use crate::logs::schema::{self, Kind, Table};
use crate::plan;
use crate::plan::estimate::{Prices, Speed};
use crate::redact::{Redaction, Rules};
use crate::store::{Network, Patience, Place};

const AFTER: &str = "\
Exit codes:
  0  every object was converted
  1  more rejected lines than --max-rejects allows
  2  some objects could not be read completely, or are not the log that their name promises; or --iceberg could not
     publish some files
  3  fatal error: nothing more was converted; SOURCE contains no logs; or stdout could not be written
  4  objects named like logs were not converted because of their endings or paths
  130, 143  interrupted; the same command continues the conversion

Examples:
  alb2parquet convert /mnt/logs --out lake
  alb2parquet convert s3://my-log-bucket --out s3://my-lake/alb --account 123456789012
  alb2parquet convert logs/AWSLogs/123456789012 --out lake --region eu-west-1 --from 2025-07-01 --to 2025-07-31
  alb2parquet convert 'logs/**/*_app.my-lb.*.log.gz' --out lake --from 7d
  alb2parquet convert logs --out lake --log-type access --log-type connection
  alb2parquet convert logs --out lake --redact client_ip=truncate --redact client_port=drop --redact request_url=drop-query
  alb2parquet convert logs --out lake --json --quiet | jq .rejects";

/// Arguments that conflict with `--batches`, which replaces the sources and the selection.
const NOT_WITH_BATCHES: [&str; 10] = [
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

/// Convert logs to Parquet files, partitioned by account, region and day
///
/// Converts the access, connection and health check logs of Application Load Balancers, and the logs of Network and
/// Classic Load Balancers. Each line becomes a row of the table of its log type, such as alb_access_logs. A line that
/// cannot be parsed becomes a row of elb_rejects, with the reason.
///
/// The file name of an object determines its log type, account, region and load balancer, in any directory. Below
/// AWSLogs/ACCOUNT/elasticloadbalancing/REGION/yyyy/mm/dd/, where AWS delivers logs, the path determines the day;
/// elsewhere, the end time in the name does. AWS files logs under the day of delivery, so rows from the last five
/// minutes of a day can appear under the next day.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(super) struct Convert {
    /// Directories, files, patterns or URLs (s3://, gs://, az://, abfss://, file://)
    ///
    /// In a directory or prefix, the program converts every file that is named like a log of a load balancer and ends
    /// in .log.gz, or in .log if it is not compressed, in any layout. Quote a pattern so that the
    /// shell does not expand it: 's3://bucket/logs/2025/*/x*.log.gz', 'logs/**/*.log.gz'.
    #[arg(required_unless_present = "batches", value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset; created if it does not exist
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) wanted: Wanted,

    /// Convert the batches that `plan --jsonl` printed to a file (path, URL or -)
    ///
    /// Prints one line of JSON on stdout for each batch, when the batch is published or if it was converted before.
    /// Use - for stdin.
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_BATCHES)]
    pub(super) batches: Option<String>,

    /// Print the plan of the conversion, as `plan` does, without converting
    #[arg(long, conflicts_with = "batches")]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) stores: Stores,

    #[command(flatten)]
    pub(super) tables: AfterConversion,

    /// Layout of the partition directories
    #[arg(long, value_enum, default_value_t = Layout::Hive)]
    pub(super) layout: Layout,

    /// Parquet features of new files; see docs/profiles.md
    #[arg(long, value_enum, default_value_t = Profile::Portable)]
    pub(super) profile: Profile,

    /// Compression of the Parquet files
    #[arg(long, value_enum, default_value_t = Codec::Zstd)]
    pub(super) compression: Codec,

    /// Write Bloom filters for these text columns, separated by commas
    ///
    /// They speed up queries for single values, for example in conn_trace_id and trace_id.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(super) bloom_filter: Vec<String>,

    /// Redact a column, such as client_ip=truncate (repeatable)
    ///
    /// The actions are client_ip=truncate|hash|drop, client_port=drop, request_url=drop-query|drop,
    /// user_agent=hash|drop, and more in docs/redaction.md. All runs of a dataset must use the same actions. Rejects
    /// are then stored without the text of their lines. Hashing requires a key in ALB2PARQUET_REDACT_KEY.
    #[arg(long, value_name = "COLUMN=ACTION")]
    pub(super) redact: Vec<String>,

    /// Assert that this is the only writer
    ///
    /// Needed only for stores without conditional create.
    #[arg(long)]
    pub(super) single_writer: bool,

    /// Number of worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,

    /// Maximum number of concurrent reads from object stores [default: 1024]
    ///
    /// The program sends as many requests as keep its threads busy, and fewer if a store throttles them. The default
    /// is lower if the limit on open files (ulimit -n) is below 2048. See docs/scale.md.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32768))]
    pub(super) max_requests: Option<u16>,

    /// Maximum share of rejected lines; if it is exceeded, the exit code is 1
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = options::share)]
    pub(super) max_rejects: f64,

    /// Print the summary as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,

    /// Print only errors on stderr
    #[arg(long, short, conflicts_with_all = ["verbose", "log_format"])]
    pub(super) quiet: bool,

    /// Log each published batch, each failed request and the read rate
    #[arg(long, short)]
    pub(super) verbose: bool,

    /// Format of the messages on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = log::Format::Text)]
    pub(super) log_format: log::Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Codec {
    /// Zstandard
    Zstd,
    /// Snappy: larger files, a little faster
    Snappy,
    /// No compression
    None,
}

impl Convert {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let bloom_filters = bloom_filters(&self.bloom_filter)?;
        let rules = Rules::parse(&self.redact).map_err(|error| OfFlag::new("--redact", error))?;
        let redaction = Redaction::new(rules, resolve::redact_key()?.as_deref())?;
        self.max_requests.map_or(Ok(()), |requests| limits::check_files(requests.into()))?;
        if self.dry_run {
            return self.plan(&redaction, signals);
        }
        let progress = Progress::new(self.messages());
        let metrics = Metrics::begin();
        let network = resolve::network(&self.stores, progress.report_waiting())?;
        progress::watch(&network.traffic);
        self.tables.check(&self.out, &network)?;
        let threads = match self.threads {
            Some(threads) => threads.into(),
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        network.limiter.configure(self.max_requests.map(usize::from), threads);
        let out = resolve::place_of(&self.out)?;
        let running = Running {
            convert: self,
            signals,
            progress: &progress,
            metrics: &metrics,
            network: &network,
            out: &out,
            redaction: &redaction,
            bloom_filters: &bloom_filters,
            threads,
        };
        let result = match &self.batches {
            Some(name) => Some(running.batches(name)?),
            None => running.listed()?,
        };
        let Some((dataset, mut tally, printed)) = result else { return Ok(FAILED) };
        progress::log_reads(&network.limiter);
        tally.requests = network.traffic.requests();
        tally.requests_failed = network.traffic.failed();
        progress.print_summary(&tally, self.max_rejects);
        let published = self.publish(&tally, &dataset, &network, &progress, signals);
        let printed = printed.and_then(|()| {
            let tables = published.as_ref().ok().and_then(Option::as_ref).map(Outcome::json);
            if self.json { print_json(&metrics.summary(&tally, threads, tables)) } else { Ok(()) }
        });
        printed.map_err(|error| error.after(ended(&tally)))?;
        if tally.interrupted {
            return Ok(signals.exit_code().unwrap_or(FAILED));
        }
        Ok(exit_code(&tally, self.max_rejects, published?.as_ref()))
    }

    /// Publishes the dataset as Iceberg tables if a catalog is specified and the conversion was not interrupted.
    fn publish(
        &self,
        tally: &Tally,
        dataset: &Dataset,
        network: &Network,
        progress: &Progress,
        signals: &Signals,
    ) -> anyhow::Result<Option<Outcome>> {
        if tally.interrupted {
            return Ok(None);
        }
        let published = self.tables.publish(&self.out, dataset, network, signals)?;
        if let Some(tables) = &published {
            progress.print(|| tables.lines(false));
            tables.failures().iter().for_each(|failure| progress.warn(failure));
        }
        Ok(published)
    }

    /// Prints the plan, like the `plan` command.
    fn plan(&self, redaction: &Redaction, signals: &Signals) -> anyhow::Result<u8> {
        let planning = Planning {
            sources: &self.sources,
            out: Some(&self.out),
            wanted: &self.wanted,
            stores: &self.stores,
            layout: self.layout,
            threads: self.threads,
            rate: Speed::RATE,
            prices: Prices::default(),
            redaction: Some(redaction.agreement()),
            output: if self.json { Output::Json } else { Output::Text },
            quiet: self.quiet,
        };
        planning.run(signals)
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

    /// Returns which messages to print on stderr.
    pub(super) fn messages(&self) -> Messages {
        match (self.log_format, self.quiet, self.verbose) {
            (log::Format::Json, ..) => Messages::Json,
            (_, true, _) => Messages::Quiet,
            (_, _, true) => Messages::Verbose,
            _ => Messages::Text,
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
}

/// Describes how the conversion ended, for the error message if printing the summary fails.
fn ended(tally: &Tally) -> &'static str {
    if tally.interrupted {
        "the conversion was interrupted; run the same command again to continue it"
    } else if tally.failures.is_empty() {
        "the conversion is complete"
    } else {
        "the conversion is complete, except for the objects named above"
    }
}

fn exit_code(tally: &Tally, max_rejects: f64, tables: Option<&Outcome>) -> u8 {
    if tally.objects.failed > 0 || !tally.failures.is_empty() {
        OBJECTS
    } else if plan::left_out(&tally.objects.skipped_by_kind) > 0 {
        LEFT_OUT
    } else if tally.reject_share() > max_rejects {
        REJECTS
    } else {
        tables.map_or(DONE, Outcome::exit_code)
    }
}

/// Checks the columns of `--bloom-filter`. Returns them sorted and without duplicates, because file names depend on the
/// columns.
fn bloom_filters(names: &[String]) -> anyhow::Result<Vec<String>> {
    let is_text = |name: &str| {
        let tables = schema::LogType::ALL.into_iter().map(schema::LogType::table);
        tables
            .flat_map(Table::columns)
            .any(|(_, column)| column.name == name && column.kind == Kind::String)
    };
    if let Some(wrong) = names.iter().find(|name| !is_text(name)) {
        bail!("--bloom-filter {wrong}: expected a text column such as trace_id");
    }
    let names: BTreeSet<String> = names.iter().cloned().collect();
    Ok(names.into_iter().collect())
}
