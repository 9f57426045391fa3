//! The `compact` command.

use std::sync::atomic::Ordering;

use chrono::NaiveDate;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use crate::cli::iceberg::{self, Destination};
use crate::cli::options::{self, Partitions, Stores};
use crate::cli::signals::Signals;
use crate::cli::terminal::{StdoutError, print_json, print_line, warning};
use crate::cli::{DONE, OBJECTS, resolve};
use crate::maintain::compact::{Compaction, Replacement};
use crate::plan::PlanError;

const AFTER: &str = "\
Exit codes:
  0  the files were replaced, or listed
  2  some files could not be replaced or published; each is listed
  3  fatal error: the dataset, the catalog or a table cannot be used
  130, 143  interrupted; the same command continues

Examples:
  alb2parquet compact s3://my-lake/alb --catalog glue --namespace logs
  alb2parquet compact s3://my-lake/alb --catalog glue --namespace logs --yes
  alb2parquet compact lake --catalog sql:sqlite:////srv/catalog.db --from 2025-07-19 --to 2025-07-19 --revert --yes";

/// Replace small files with larger ones in Iceberg tables
///
/// Merges the small files of each partition into files of about the target size, in `_alb2parquet/compacted/`. Then
/// replaces the small files with these files in the Iceberg tables, in one snapshot per table. Without --yes, the command
/// only lists what it would replace. See docs/iceberg.md.
///
/// The small files are not deleted: engines that read the directories of the dataset, `verify`, `restore` and time travel
/// still need them. Compaction therefore needs additional storage.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Compact {
    #[command(flatten)]
    destination: Destination,

    #[command(flatten)]
    partitions: Partitions,

    /// Last day (UTC): YYYY-MM-DD, or 1d for yesterday [default: all days]
    #[arg(long, value_name = "DAY", value_parser = options::day)]
    to: Option<NaiveDate>,

    /// Approximate size of the new files; files smaller than 3/4 of it are merged
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = options::size)]
    target_file_size: u64,

    /// Minimum number of small files to replace with one file
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    min_files: u32,

    /// Restore the small files in the tables instead
    #[arg(long)]
    revert: bool,

    /// Write the new files and change the tables
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    stores: Stores,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl Compact {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let network = resolve::network(&self.stores, print_line)?;
        let selection = resolve::selection(&self.partitions, self.to)?;
        let dataset = resolve::find_dataset(&self.destination.out, &network)?;
        let tables = self.destination.tables(false, !self.yes);
        let refused = iceberg::check_compaction(&tables, &network, self.revert)?;
        let compaction = Compaction {
            dataset: &dataset,
            selection: &selection,
            target_file_size: self.target_file_size,
            min_files: self.min_files as usize,
            refused: &refused,
            revert: self.revert,
            write: self.yes,
            threads: 0,
            stop: signals.stop(),
        };
        let replacements = compaction.run()?;
        self.print_each(&replacements);
        if signals.stop().load(Ordering::Relaxed) {
            return Err(PlanError::Interrupted.into());
        }
        self.print_total(&replacements);
        let mut code = DONE;
        if replacements.iter().any(|each| each.error.is_some()) {
            code = OBJECTS;
        }
        let mut result = json!({ "replacements": replacements });
        if self.yes {
            let published = iceberg::publish(&tables, &dataset, &network, signals)?;
            published.lines(false).iter().for_each(|line| print_line(line));
            published.failures().iter().for_each(|failure| warning(failure));
            code = code.max(published.exit_code());
            result["iceberg"] = published.json();
        }
        if self.json {
            print_json(&result).map_err(StdoutError::finished)?;
        }
        Ok(code)
    }

    fn print_each(&self, all: &[Replacement]) {
        for replacement in all {
            let Replacement { partition, table, files, rows, bytes, new_bytes, error, .. } =
                replacement;
            let (rows, bytes) = (HumanCount(*rows), HumanBytes(*bytes));
            let what = match (error, new_bytes, self.revert) {
                (Some(error), _, false) => format!("not replaced: {error}"),
                (Some(error), _, true) => format!("not reverted: {error}"),
                (None, _, true) => format!("compacted file with {rows} rows, {bytes}"),
                (None, None, false) => {
                    format!("{} files with {rows} rows, {bytes}", HumanCount(*files))
                }
                (None, Some(new), false) => {
                    let (files, new) = (HumanCount(*files), HumanBytes(*new));
                    format!("{files} files with {rows} rows, {bytes} to {new}")
                }
            };
            print_line(&format!("{partition}: {table}: {what}"));
        }
    }

    fn print_total(&self, all: &[Replacement]) {
        let done = all.iter().filter(|each| each.done).count() as u64;
        print_line(&match (all.is_empty(), self.revert, self.yes) {
            (true, false, _) => "the selected partitions have too few small files".to_owned(),
            (true, true, _) => "the selected partitions have no compacted files".to_owned(),
            (false, false, true) => format!("{} new files were written", HumanCount(done)),
            (false, true, true) => format!("{} compacted files were reverted", HumanCount(done)),
            (false, false, false) => {
                "nothing was written: specify --yes to replace each line's files with one file"
                    .to_owned()
            }
            (false, true, false) => {
                "nothing was reverted: specify --yes to restore the small files in the tables"
                    .to_owned()
            }
        });
    }
}
