//! The `repair` command.

use clap::Args;
use indicatif::HumanCount;

use crate::cli::options::Held;
use crate::cli::terminal::{StdoutError, print_json, print_line};
use crate::cli::{DONE, FINDINGS, OBJECTS, resolve};
use crate::maintain::repair::{self, Repair as Found};

const AFTER: &str = "\
Exit codes:
  0  the claims account for all files, or were repaired
  1  partitions need repair; nothing was changed
  2  some partitions cannot be repaired
  3  fatal error: the dataset cannot be read or written

Examples:
  alb2parquet repair --out lake
  alb2parquet repair --out lake --yes
  alb2parquet repair --out s3://my-lake/alb --account 123456789012 --from 2025-07-01 --yes";

/// Rebuild lost or damaged claims from the files of their partitions
///
/// `convert` writes nothing into a partition whose claims are damaged or do not account for all of its files. Every
/// data file contains a copy of its claim, so lost claims can be rebuilt. Without --yes, the command only lists the
/// claims that it would rebuild. With --yes, no other run may write to the dataset at the same time.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Repair {
    #[command(flatten)]
    pub(super) held: Held,

    /// Write the rebuilt claims
    #[arg(long)]
    pub(super) yes: bool,
}

impl Repair {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let (dataset, selection) = resolve::held(&self.held)?;
        let mut found = repair::find(&dataset, &selection)?;
        if self.yes {
            repair::apply(&dataset, &mut found)?;
        }
        found.iter().for_each(print);
        print_line(match (found.is_empty(), self.yes) {
            (true, _) => "the claims account for all files",
            (false, true) => {
                "`verify --read-data` compares the repaired partitions with their source"
            }
            (false, false) => "nothing was changed: specify --yes to write the rebuilt claims",
        });
        if self.held.json {
            print_json(&serde_json::json!({ "partitions": found }))
                .map_err(StdoutError::finished)?;
        }
        Ok(if found.iter().any(|each| each.error.is_some()) {
            OBJECTS
        } else if found.iter().all(|each| each.repaired) {
            DONE
        } else {
            FINDINGS
        })
    }
}

fn print(found: &Found) {
    let Found { partition, problem, error, .. } = found;
    print_line(&format!("{partition}: {problem}"));
    if let Some(error) = error {
        print_line(&format!("  cannot be repaired: {error}"));
        return;
    }
    print_line(&format!(
        "  {}: {} claims kept, {} rebuilt with {} objects, {} rows and {} rejects",
        if found.repaired { "repaired" } else { "can be repaired" },
        HumanCount(found.claims_kept),
        HumanCount(found.claims_rebuilt),
        HumanCount(found.objects),
        HumanCount(found.rows),
        HumanCount(found.rejects)
    ));
    if found.originals_lost > 0 {
        print_line(&format!(
            "  {} of these claims have lost their originals file: some of their objects cannot be restored",
            HumanCount(found.originals_lost)
        ));
    }
    if found.claims_dropped > 0 {
        print_line(&format!(
            "  {} claims dropped because their files were never published or are gone: `convert` converts their \
             objects again",
            HumanCount(found.claims_dropped)
        ));
    }
}
