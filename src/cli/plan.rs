//! The `plan` command, and `convert --dry-run`.

use std::cell::RefCell;
use std::fmt::Write;
use std::iter;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{DecimalBytes, HumanBytes, HumanCount, HumanDuration};

use crate::cli::options::{self, Layout, Stores, Wanted};
use crate::cli::signals::Signals;
use crate::cli::terminal::{counts, error_lines, print_json, print_line, print_text, warning};
use crate::cli::{DONE, FAILED, LEFT_OUT, OBJECTS, nothing, resolve, summary};
use crate::convert::manifest::Description;
use crate::dataset::layout::Dataset;
use crate::dataset::ledger::Ledger;
use crate::plan::estimate::{Estimate, Estimation, For, OfLoadBalancer, Prices, Speed, of_listing};
use crate::plan::{self, Amount, PlanError, Planner};
use crate::redact::Agreement;
use crate::store::{Calls, Network, Source};

const AFTER: &str = "\
Exit codes:
  0  everything can be converted
  2  some objects cannot be listed, or conflict with each other or with converted ones
  3  fatal error: there is no plan; or SOURCE contains no logs
  4  objects named like logs would not be converted

Examples:
  alb2parquet plan s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet plan s3://my-log-bucket --from 2025-01-01 --rate 45MB --threads 64 --json | jq .seconds
  alb2parquet plan /mnt/logs --out lake --jsonl | alb2parquet convert --batches - --out lake";

/// Maximum number of load balancers to show in the table; `--json` lists all of them.
const MAX_SHOWN: usize = 40;

/// Estimate a conversion (dry run): objects, files, requests, price and time
///
/// Writes nothing. With --out, the plan excludes objects that the dataset already contains, and includes the requests
/// to the dataset.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct PlanCommand {
    /// Directories, files, patterns or URLs, as for `convert`
    #[arg(required = true, value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset, which need not exist
    #[arg(long, value_name = "DATASET")]
    pub(super) out: Option<PathBuf>,

    #[command(flatten)]
    pub(super) wanted: Wanted,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Layout of the partition directories, as for `convert`
    #[arg(long, value_enum, default_value_t = Layout::Hive)]
    pub(super) layout: Layout,

    /// Number of worker threads of the conversion [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: Option<u16>,

    /// Compressed bytes that a thread converts per second
    #[arg(long, value_name = "SIZE", default_value = "60MB", value_parser = options::size)]
    pub(super) rate: u64,

    /// Price in USD of 1,000 read requests [default: 0.0004]
    ///
    /// The default is the price of S3 Standard in us-east-1.
    #[arg(long, value_name = "USD", value_parser = options::price)]
    pub(super) price_get: Option<f64>,

    /// Price in USD of 1,000 write or list requests [default: 0.005]
    ///
    /// The default is the price of S3 Standard in us-east-1.
    #[arg(long, value_name = "USD", value_parser = options::price)]
    pub(super) price_put: Option<f64>,

    /// Print the plan as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,

    /// Print the batches on stdout, one JSON object per line, for `convert --batches`
    #[arg(long, conflicts_with = "json")]
    pub(super) jsonl: bool,

    /// Print only errors on stderr
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// Arguments for planning a conversion.
pub(super) struct Planning<'a> {
    pub(super) sources: &'a [String],
    pub(super) out: Option<&'a Path>,
    pub(super) wanted: &'a Wanted,
    pub(super) stores: &'a Stores,
    pub(super) layout: Layout,
    pub(super) threads: Option<u16>,
    pub(super) rate: u64,
    pub(super) prices: Prices,
    /// The run's redaction, or `None` if it is unknown.
    pub(super) redaction: Option<Agreement>,
    pub(super) output: Output,
    pub(super) quiet: bool,
}

/// What to print on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Text,
    Json,
    Batches,
}

impl PlanCommand {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let default = Prices::default();
        let planning = Planning {
            sources: &self.sources,
            out: self.out.as_deref(),
            wanted: &self.wanted,
            stores: &self.stores,
            layout: self.layout,
            threads: self.threads,
            rate: self.rate,
            prices: Prices {
                get: self.price_get.unwrap_or(default.get),
                put: self.price_put.unwrap_or(default.put),
            },
            redaction: None,
            output: match (self.json, self.jsonl) {
                (true, _) => Output::Json,
                (_, true) => Output::Batches,
                _ => Output::Text,
            },
            quiet: self.quiet,
        };
        planning.run(signals)
    }
}

impl Planning<'_> {
    /// Plans the conversion, prints the estimate and returns the exit code.
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let network = resolve::network(self.stores, self.report_waiting())?;
        let mut selection = resolve::selected(self.wanted, self.sources)?;
        let dataset = self.out.map(|out| self.dataset(out, &network)).transpose()?;
        let before = network.traffic.sent();
        let is_listed = self.wanted.objects.is_none();
        let sources = resolve::open_sources(self.sources, is_listed, &network, &mut selection)?;
        let opened = network.traffic.sent() - before;
        let mut gathering =
            resolve::gathering(self.wanted, &sources, &selection, &network, signals)?;
        let read = network.traffic.sent() - before;
        let ledger = match &dataset {
            Some((dataset, _)) => Some(Ledger::open_read_only(dataset)?),
            None => None,
        };
        let made_for = dataset
            .as_ref()
            .zip(ledger.as_ref())
            .map(|((dataset, begun), ledger)| For { dataset, begun: *begun, ledger });
        let estimation = RefCell::new(Estimation::new(&sources, made_for));
        let size = self.wanted.target_file_size;
        let mut planner = Planner::new(&sources, size, ledger.as_ref(), signals.stop());
        let mut days = iter::from_fn(|| {
            let day = gathering.next_day().transpose();
            if let Some(Ok(day)) = &day {
                estimation.borrow_mut().select(day);
            }
            day
        });
        let mut printed = Ok(());
        planner
            .each_day(&mut days, |planned| {
                estimation.borrow_mut().add(&planned);
                if self.output == Output::Batches && printed.is_ok() {
                    let mut batches = planned.batches.iter();
                    printed =
                        batches.try_for_each(|batch| print_json(&Description::of(batch, &sources)));
                }
                if printed.is_ok() { Ok(()) } else { Err(PlanError::Interrupted) }
            })
            .or_else(|error| if printed.is_ok() { Err(error) } else { Ok(()) })?;
        printed?;
        let mut listing = gathering.end().map_err(resolve::of_list)?;
        let listed = opened + sources.iter().map(Source::listing_requests).sum::<u64>();
        let listing_calls = of_listing(is_listed, if is_listed { listed } else { read });
        if !self.quiet {
            for line in nothing::unmatched(&listing) {
                warning(&line);
            }
        }
        if listing.selected == 0 && listing.failures.is_empty() {
            let lines = nothing::to_convert(self.sources, self.wanted, &listing);
            if !nothing::is_explained(&listing) {
                error_lines(&lines);
                return Ok(FAILED);
            }
            if !self.quiet {
                for line in lines {
                    print_line(&line);
                }
            }
        }
        let threads = match self.threads {
            Some(threads) => threads.into(),
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        let speed = Speed { rate: self.rate, threads };
        let plan = planner.end(&mut listing)?;
        let estimation = estimation.into_inner();
        let estimate = estimation.end(plan, listing.archived, listing_calls, self.prices, speed);
        self.print(&estimate)?;
        summary::print_failures(&estimate.failures);
        let skipped = &estimate.skipped_by_kind;
        for line in nothing::left_out(skipped.iter(), |kind| estimate.examples.get(kind)) {
            warning(&line);
        }
        Ok(if !estimate.failures.is_empty() {
            OBJECTS
        } else if plan::left_out(skipped) > 0 {
            LEFT_OUT
        } else {
            DONE
        })
    }

    /// Returns a callback that prints reports about stores that do not respond.
    fn report_waiting(&self) -> impl Fn(&str) + Send + use<> {
        let quiet = self.quiet;
        move |line| {
            if !quiet {
                print_line(line);
            }
        }
    }

    /// Opens the dataset, which need not exist. Returns the dataset and whether it exists.
    fn dataset(&self, out: &Path, network: &Network) -> anyhow::Result<(Dataset, bool)> {
        let place = resolve::place_of(out)?;
        resolve::refuse_overlap(self.sources, out, &place)?;
        let run = resolve::random_name()?;
        let target = resolve::target(&place, &run, network)?;
        let redaction = self.redaction.clone();
        Ok(Dataset::open_read_only(target, run, resolve::layout(self.layout), redaction)?)
    }

    fn print(&self, estimate: &Estimate) -> anyhow::Result<()> {
        let text = text(estimate, self.out.is_some());
        match self.output {
            Output::Text => print_text(&text)?,
            Output::Json => print_json(estimate)?,
            Output::Batches => {}
        }
        if self.output != Output::Text && !self.quiet {
            text.lines().for_each(print_line);
        }
        Ok(())
    }
}

fn text(estimate: &Estimate, with_dataset: bool) -> String {
    let mut facts = Vec::new();
    let mut fact = |name: &'static str, value: String| facts.push((name, value));
    let skipped = estimate.skipped_by_kind.iter().map(|(kind, count)| (*kind, *count));
    let (listed, selected) = (HumanCount(estimate.listed), amount(estimate.selected));
    let skipped = counts("; skipped: ", skipped, "");
    fact("objects", format!("{listed} listed, {selected} selected{skipped}"));
    if estimate.converted_before.objects > 0 {
        fact("", format!("{} converted before", amount(estimate.converted_before)));
    }
    if estimate.touched.objects > 0 {
        let touched = amount(estimate.touched);
        fact("", format!("{touched} with a new ETag or time, whose content must be compared"));
    }
    fact("", format!("{} to convert", amount(estimate.to_convert)));
    let (kinds, examples) = (&estimate.skipped_by_kind, &estimate.examples);
    for line in nothing::left_out(kinds.iter(), |kind| examples.get(kind)) {
        fact("left out", line);
    }
    if let Some(line) = nothing::moved(&estimate.moved) {
        fact("moved", line);
    }
    if estimate.open_claims > 0 {
        let claims = HumanCount(estimate.open_claims);
        fact("open claims", format!("{claims} claims of other runs, counted as converted"));
    }
    if estimate.batches > 0 {
        fact("archived", archived(estimate.archived));
        let (batches, days) = (HumanCount(estimate.batches), HumanCount(estimate.partitions));
        let files = "each writes a file of rows, and a file of rejects if there are any";
        fact("batches", format!("{batches} in {days} partitions; {files}"));
        fact("size", format!("about {} of Parquet", HumanBytes(estimate.bytes_out)));
    }
    let Calls { list, get, put, .. } = estimate.requests;
    if estimate.requests.sum() == 0 {
        fact("requests", "none: all files are local".to_owned());
    } else {
        let (list, get, put) = (HumanCount(list), HumanCount(get), HumanCount(put));
        let part =
            if with_dataset { "" } else { " to the source; specify --out to include the dataset" };
        fact("requests", format!("{list} LIST, {get} GET, {put} PUT{part}"));
        let Prices { get, put } = estimate.usd_per_1000_requests;
        let price = dollars(estimate.price_usd);
        fact(
            "price",
            format!(
                "{price} for the requests, at {put} USD per 1,000 PUT or LIST and {get} USD per 1,000 GET"
            ),
        );
        fact("", "transfer, storage and compute are not included".to_owned());
    }
    if estimate.batches > 0 {
        let time = HumanDuration(Duration::from_secs_f64(estimate.seconds.max(1.0)));
        let (threads, rate) =
            (estimate.threads, DecimalBytes(estimate.bytes_per_second_per_thread));
        fact(
            "time",
            format!("about {time} with {threads} threads that each read {rate}/s of gzip"),
        );
    }
    let mut text = String::new();
    for (name, value) in facts {
        writeln!(text, "{name:<12}{value}").expect("writing to a string cannot fail");
    }
    text.push_str(&balancers(estimate));
    text
}

fn archived(archived: Option<Amount>) -> String {
    match archived {
        Some(Amount { objects: 0, .. }) => "none, according to the inventory".to_owned(),
        Some(archived) => {
            format!("{}, according to the inventory: restore them first", amount(archived))
        }
        None => {
            "unknown (listings omit the storage class); archived objects are skipped during conversion"
                .to_owned()
        }
    }
}

fn amount(amount: Amount) -> String {
    format!("{} ({})", HumanCount(amount.objects), HumanBytes(amount.bytes))
}

fn dollars(price: f64) -> String {
    if price < 0.01 { "less than 0.01 USD".to_owned() } else { format!("about {price:.2} USD") }
}

/// Returns a table of the load balancers.
fn balancers(estimate: &Estimate) -> String {
    const HEAD: [&str; 9] = [
        "account",
        "region",
        "load balancer",
        "objects",
        "size",
        "days",
        "first",
        "last",
        "to convert",
    ];
    /// Which columns contain numbers and are therefore right-aligned.
    const NUMBERS: [bool; 9] = [false, false, false, true, true, true, false, false, true];
    let row = |balancer: &OfLoadBalancer| {
        [
            balancer.account.clone(),
            balancer.region.clone(),
            balancer.load_balancer.clone(),
            HumanCount(balancer.objects).to_string(),
            HumanBytes(balancer.bytes).to_string(),
            HumanCount(balancer.days as u64).to_string(),
            balancer.first_day.to_string(),
            balancer.last_day.to_string(),
            HumanCount(balancer.to_convert.objects).to_string(),
        ]
    };
    let shown = estimate.load_balancers.iter().take(MAX_SHOWN);
    let rows: Vec<[String; 9]> = shown.map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = HEAD.map(ToOwned::to_owned);
    let mut widths = head.each_ref().map(String::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = "\n".to_owned();
    for row in [&head].into_iter().chain(&rows) {
        let cells = row.iter().zip(widths).zip(NUMBERS).map(|((cell, width), number)| {
            if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    let more = estimate.load_balancers.len() - rows.len();
    if more > 0 {
        let line =
            format!("and {} more load balancers; --json lists all\n", HumanCount(more as u64));
        text += &line;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_help() {
        assert_eq!(options::size("60MB"), Ok(Speed::RATE));
        let Prices { get, put } = Prices::default();
        assert_eq!((get, put), (0.0004, 0.005));
    }
}
