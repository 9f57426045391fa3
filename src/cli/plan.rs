//! `plan`: what `convert` would do, and nothing done.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::batch::Description;
use crate::cli::options::{Layout, Stores, Wanted};
use crate::cli::signals::Signals;
use crate::cli::terminal::{print_json, print_line};
use crate::cli::{DONE, OBJECTS, resolve, summary};
use crate::dataset::Dataset;
use crate::ledger::Ledger;
use crate::plan::{Listing, Plan};
use crate::store::{Network, Source};

const AFTER: &str = "\
Exit codes:
  0  everything can be converted
  2  something cannot be listed, or contradicts itself or what was converted before
  3  there can be no plan

Examples:
  alb2parquet plan s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet plan /mnt/logs --out lake --jsonl | alb2parquet convert --batches - --out lake";

/// Tells what `convert` would do, and does nothing: objects, files, requests, their price, and the time.
///
/// Nothing is written anywhere. With --out, what the dataset holds already is left out.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct PlanCommand {
    /// Directories or URLs (s3://, gs://, az://, abfss://, file://) at, above or below AWSLogs/
    #[arg(required = true, value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset; need not be there
    #[arg(long, value_name = "DATASET")]
    pub(super) out: Option<PathBuf>,

    #[command(flatten)]
    pub(super) wanted: Wanted,

    /// Directories of partitions, as for `convert`
    #[arg(long, value_enum, default_value_t = Layout::Hive)]
    pub(super) layout: Layout,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Print the batches on stdout, a line of JSON each, for `convert --batches`
    #[arg(long)]
    pub(super) jsonl: bool,
}

impl PlanCommand {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let network = resolve::network(&self.stores)?;
        let selection = resolve::selected(&self.wanted, self.sources.len())?;
        let dataset = match &self.out {
            Some(out) => self.dataset(out, &network)?,
            None => None,
        };
        let sources = resolve::open_sources(&self.sources, &network)?;
        let listing = resolve::listing(&self.wanted, &sources, &selection, &network, signals)?;
        let plan = self.plan(listing, &sources, dataset.as_ref())?;
        if self.jsonl {
            for batch in &plan.batches {
                print_json(&Description::of(batch, &sources))?;
            }
        }
        print_line(&format!("batches     {}", plan.batches.len()));
        summary::print_failures(&plan.failures);
        Ok(if plan.failures.is_empty() { DONE } else { OBJECTS })
    }

    /// Opens the dataset, if it is there.
    fn dataset(&self, out: &Path, network: &Network) -> anyhow::Result<Option<Dataset>> {
        let place = resolve::place_of(out)?;
        resolve::refuse_overlap(&self.sources, out, &place)?;
        let run = resolve::random_name()?;
        let target = resolve::target(&place, &run, network)?;
        Ok(Dataset::find_as(target, run, resolve::layout(self.layout))?)
    }

    fn plan(
        &self,
        listing: Listing,
        sources: &[Source],
        dataset: Option<&Dataset>,
    ) -> anyhow::Result<Plan> {
        let size = self.wanted.target_file_size;
        let Some(dataset) = dataset else { return Ok(Plan::anew(listing, sources, size)) };
        let mut ledger = Ledger::look(dataset)?;
        Ok(Plan::make(listing, sources, size, &mut ledger)?)
    }
}
