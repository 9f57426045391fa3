//! The `remove` command.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use crate::cli::options::Held;
use crate::cli::signals::Signals;
use crate::cli::terminal::{StdoutError, hint, print_json, print_line};
use crate::cli::{DONE, FAILED, OBJECTS, resolve};
use crate::dataset::contents::Contents;
use crate::maintain::remove::{self, PartitionRemoval};

const AFTER: &str = "\
Exit codes:
  0  the partitions were removed, or listed
  2  some partitions could not be removed
  3  fatal error: the dataset cannot be read or written

Examples:
  alb2parquet remove --out lake --account 123456789012 --from 2025-07-19 --to 2025-07-19
  alb2parquet remove --out lake --region eu-west-1 --yes";

/// Remove whole partitions, so that their objects can be converted again
///
/// The rows of the partitions disappear, and their objects become eligible for conversion again. Without --yes, the
/// command only lists the partitions. If a removal is interrupted, any later run of `convert` or `remove` finishes it.
///
/// Partitions with retired objects (see `retire`) are not removed unless --including-retired is specified, because the
/// dataset may hold the only copy of these objects.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Remove {
    #[command(flatten)]
    pub(super) held: Held,

    /// Also remove partitions that may hold the only copy of retired objects
    #[arg(long)]
    pub(super) including_retired: bool,

    /// Remove the partitions
    #[arg(long)]
    pub(super) yes: bool,
}

impl Remove {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let (dataset, selection) = resolve::held(&self.held)?;
        let mut contents = remove::contents(&dataset, &selection, self.including_retired)?;
        if self.yes {
            remove::remove(&dataset, &mut contents, self.including_retired, signals.stop())?;
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

/// Prints the partitions that were removed or, if `done` is not set, would be removed.
fn print(all: &[PartitionRemoval], done: bool) {
    for PartitionRemoval { contents, removed, error } in all {
        let Contents { partition, objects, files, rows, rejects, bytes, .. } = contents;
        let what = match (error, done) {
            (Some(error), _) => format!("not removed: {error}: "),
            (None, true) if !removed => "not removed, interrupted: ".to_owned(),
            (None, true) => "removed: ".to_owned(),
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
    if all.iter().any(|each| each.contents.retired > 0 && each.error.is_some()) {
        hint(
            "`restore` the retired objects first; --including-retired then also removes these partitions",
        );
    }
    print_line(match (all.is_empty(), done) {
        (true, _) => "the dataset contains none of the selected partitions",
        (false, true) if all.iter().any(|each| each.removed) => {
            "`convert` converts the objects of removed partitions again, if they still exist in SOURCE"
        }
        (false, _) if done || all.iter().all(|each| each.error.is_some()) => "nothing was removed",
        (false, _) => "nothing was removed: specify --yes to remove these partitions",
    });
}
