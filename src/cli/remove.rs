//! `remove`: arguments in, what was taken back out.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use crate::cli::options::Held;
use crate::cli::signals::Signals;
use crate::cli::terminal::{StdoutError, print_json, print_line};
use crate::cli::{DONE, FAILED, OBJECTS, resolve};
use crate::dataset::contents::Contents;
use crate::maintain::remove::{self, PartitionRemoval};

const AFTER: &str = "\
Exit codes:
  0  it was done, or listed
  2  some partition could not be taken back
  3  the dataset cannot be read or written

Examples:
  alb2parquet remove --out lake --account 123456789012 --from 2025-07-19 --to 2025-07-19
  alb2parquet remove --out lake --region eu-west-1 --yes";

/// Takes back whole partitions: their rows disappear, and their objects are new again.
///
/// Without --yes, only what would be taken back is listed. When it is interrupted, the next run of
/// `convert` or `remove` that comes by finishes it.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Remove {
    #[command(flatten)]
    pub(super) held: Held,

    /// Do it
    #[arg(long)]
    pub(super) yes: bool,
}

impl Remove {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let (dataset, selection) = resolve::held(&self.held)?;
        let mut contents = remove::contents(&dataset, &selection)?;
        if self.yes {
            remove::remove(&dataset, &mut contents, signals.stop())?;
        }
        print(&contents, self.yes);
        if self.held.json {
            print_json(&serde_json::json!({ "partitions": contents }))
                .map_err(StdoutError::finished)?;
        }
        if self.yes && contents.iter().any(|contents| !contents.removed && contents.error.is_none())
        {
            return Ok(signals.exit_code().unwrap_or(FAILED));
        }
        Ok(if contents.iter().any(|contents| contents.error.is_some()) { OBJECTS } else { DONE })
    }
}

/// Prints what was, or would be, taken back.
fn print(all: &[PartitionRemoval], done: bool) {
    for PartitionRemoval { contents, removed, error } in all {
        let Contents { partition, objects, files, rows, rejects, bytes, .. } = contents;
        let what = match (error, done) {
            (Some(error), _) => format!("not taken back: {error}: "),
            (None, true) if !removed => "interrupted before: ".to_owned(),
            (None, true) => "taken back: ".to_owned(),
            (None, false) => String::new(),
        };
        print_line(&format!(
            "{what}{partition}: {} objects, {} rows, {} rejects, {} in {} files",
            HumanCount(*objects),
            HumanCount(*rows),
            HumanCount(*rejects),
            HumanBytes(*bytes),
            HumanCount(*files)
        ));
    }
    print_line(match (all.is_empty(), done) {
        (true, _) => "the dataset holds nothing of that",
        (false, true) => "their objects are new again; `convert` converts them",
        (false, false) => "nothing was taken back yet: say --yes to do it",
    });
}
