//! The `restore` command.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use chrono::NaiveDate;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use crate::cli::options::{self, Partitions, Stores};
use crate::cli::signals::Signals;
use crate::cli::terminal::{self, MAX_SHOWN, StdoutError, hint, print_json, print_line};
use crate::cli::{DONE, OBJECTS, resolve};
use crate::maintain::restore::{Failed, Restoration, Summary};
use crate::store::Place;

const AFTER: &str = "\
Exit codes:
  0  all selected objects exist in the destination
  2  some objects could not be restored; each is listed with the reason
  3  fatal error: the dataset is redacted or cannot be read, nothing is selected, or --out cannot be written

Examples:
  alb2parquet restore lake --out logs
  alb2parquet restore s3://my-lake/alb --out s3://my-restored-logs --from 2025-07-01 --to 2025-07-31
  alb2parquet restore lake --out - --account 123456789012 --from 2025-07-19 --to 2025-07-19 | grep /login";

/// Directory of unfinished files, relative to the destination.
const STAGING: &str = ".alb2parquet-restore";

/// Restore the original objects from a dataset
///
/// Each object is written under its original key. It is compressed with gzip if the original was compressed. Its text
/// equals the original text byte for byte: the object appears only after its text has been compared with the CRC-32 and
/// the length in the dataset.
///
/// The command never overwrites an object. To continue an interrupted restore, run the same command again: objects
/// that exist with the same text are skipped. Objects that cannot be restored are listed with the reason, for example
/// because they were damaged when they were converted. A redacted dataset cannot be restored.
///
/// See docs/archive.md.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Restore {
    /// Directory or URL of the dataset
    #[arg(value_name = "DATASET")]
    pub(super) dataset: PathBuf,

    /// Directory or URL for the objects, or - to write their text to stdout
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,

    /// URL, key or file name of an object to restore (repeatable) [default: all]
    #[arg(long, value_name = "KEY")]
    pub(super) object: Vec<String>,

    #[command(flatten)]
    pub(super) partitions: Partitions,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Last day (UTC): YYYY-MM-DD, or 1d for yesterday
    #[arg(long, value_name = "DAY", value_parser = options::day)]
    pub(super) to: Option<NaiveDate>,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// What to do about failures, by reason.
const REMEDIES: [(&str, &str); 4] = [
    ("faulty", "run `verify --restore`, which lists the damaged files of the dataset"),
    ("unpublished", "run `convert`, which publishes the files"),
    ("invalid_state", "run `repair`"),
    (
        "not_found",
        "specify the URL, the key or the file name of an object in the selected partitions",
    ),
];

impl Restore {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let to_stdout = self.out.as_os_str() == "-";
        if to_stdout && self.json {
            bail!("--json cannot be combined with --out -, because both write to stdout");
        }
        let selection = resolve::selection(&self.partitions, self.to)?;
        let network = resolve::network(&self.stores, print_line)?;
        let place = resolve::place_of(&self.out)?;
        if !to_stdout && resolve::place_of(&self.dataset)?.holds(&place) {
            let (out, dataset) = (self.out.display(), self.dataset.display());
            bail!("--out {out} is inside the dataset {dataset}: choose another --out");
        }
        let dataset = resolve::find_dataset(&self.dataset, &network)?;
        resolve::refuse_redacted(&dataset)?;
        let restoration = Restoration {
            dataset: &dataset,
            selection: &selection,
            objects: &self.object,
            stop: signals.stop(),
        };
        let summary = if to_stdout {
            let mut stdout = terminal::stdout();
            let (summary, written) = restoration.to_stream(&mut stdout)?;
            terminal::printed(written)?;
            summary
        } else {
            let target = place.target(STAGING, &resolve::random_name()?, &network)?;
            // One error for the destination, instead of one for each object.
            target.list(STAGING)?;
            if let Place::Local(directory) = &place {
                let create = fs::create_dir_all(directory);
                create
                    .with_context(|| format!("--out {} cannot be created", directory.display()))?;
            }
            let restored = restoration.to_target(&target);
            if let Place::Local(directory) = &place {
                // This fails if another run uses the directory, because the directory is then not empty.
                let _ = fs::remove_dir(directory.join(STAGING));
            }
            restored?
        };
        if summary.objects == 0 && summary.failures.is_empty() {
            bail!("the dataset contains no objects in the selected partitions");
        }
        print(&summary);
        if self.json {
            print_json(&summary).map_err(StdoutError::finished)?;
        }
        Ok(if summary.failures.is_empty() { DONE } else { OBJECTS })
    }
}

fn print(summary: &Summary) {
    let Summary { objects, restored, existed, bytes, failures } = summary;
    print_line(&format!(
        "objects     {} selected, {} restored, {} existed, {} failed",
        HumanCount(*objects),
        HumanCount(*restored),
        HumanCount(*existed),
        HumanCount(failures.len() as u64)
    ));
    print_line(&format!("text        {} restored", HumanBytes(*bytes)));
    for Failed { object, reason, error } in failures.iter().take(MAX_SHOWN) {
        print_line(&format!("{reason}: {object}: {error}"));
    }
    for (reason, remedy) in REMEDIES {
        if failures.iter().any(|failed| failed.reason == reason) {
            hint(remedy);
        }
    }
    let more = failures.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        print_line(&format!("and {more} more failures; --json lists all"));
    }
}
