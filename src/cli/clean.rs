//! The `clean` command.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use crate::cli::options::{self, Stores};
use crate::cli::terminal::{StdoutError, print_json, print_line};
use crate::cli::{DONE, OBJECTS, resolve, summary};
use crate::maintain::clean;

const AFTER: &str = "\
Exit codes:
  0  the files were removed
  2  some files could not be removed; each is listed
  3  fatal error: the dataset cannot be read or written

Examples:
  alb2parquet clean --out lake
  alb2parquet clean --out lake --older-than 36h --json";

/// Remove staged files and uploads of crashed runs
///
/// Files and uploads that belong to a claim are kept. The command also removes originals files
/// (`_alb2parquet/originals/`) that belong to no claim and to no file of rows or rejects, and compacted files
/// (`_alb2parquet/compacted/`) that no rewrite names. After `repair`, run `iceberg publish` before this command, because
/// tables may refer to such compacted files.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Clean {
    /// Directory or URL of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Minimum age of the files; must be longer than any run takes
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = options::age)]
    pub(super) older_than: Duration,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

impl Clean {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let dataset =
            resolve::find_dataset(&self.out, &resolve::network(&self.stores, print_line)?)?;
        let cleaned = clean::clean(&dataset, self.older_than)?;
        print_line(&format!(
            "{} files removed ({}), {} kept",
            HumanCount(cleaned.removed.len() as u64),
            HumanBytes(cleaned.bytes),
            HumanCount(cleaned.kept)
        ));
        summary::print_failures(&cleaned.failures);
        if self.json {
            print_json(&cleaned).map_err(StdoutError::finished)?;
        }
        Ok(if cleaned.failures.is_empty() { DONE } else { OBJECTS })
    }
}
