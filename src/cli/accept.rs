//! The `accept` command.

use anyhow::bail;
use clap::Args;
use indicatif::HumanCount;

use crate::cli::options::Held;
use crate::cli::signals::Signals;
use crate::cli::terminal::{MAX_SHOWN, StdoutError, print_json, print_line};
use crate::cli::{DONE, FAILED, OBJECTS, resolve};
use crate::maintain::accept::{self, Incomplete};

const AFTER: &str = "\
Exit codes:
  0  the objects were accepted, or listed
  2  some partitions cannot be read; each is listed
  3  fatal error: the dataset cannot be read or written, or an OBJECT is not incomplete

Examples:
  alb2parquet accept --out lake --from 2025-07-19 --to 2025-07-19
  alb2parquet accept --out s3://my-lake/alb --account 123456789012 --region eu-west-1 --yes";

/// Accept incomplete objects that have no good copy
///
/// `verify` no longer reports accepted objects.
///
/// An object is incomplete if it was damaged (for example, truncated_gzip), or if none of its lines became a row.
/// Accepting an object does not change its rows and rejects, and `report` still lists it. Without --yes, the command
/// only lists the objects. `remove` ends the acceptance, so it does not apply if the object is converted again.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Accept {
    /// URLs or file names of the objects [default: all selected incomplete objects]
    #[arg(value_name = "OBJECT")]
    pub(super) objects: Vec<String>,

    #[command(flatten)]
    pub(super) held: Held,

    /// Accept the objects
    #[arg(long)]
    pub(super) yes: bool,
}

impl Accept {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let (dataset, selection) = resolve::held(&self.held)?;
        let (mut objects, problems) = accept::incomplete(&dataset, &selection, signals.stop())?;
        if !self.objects.is_empty() {
            let is = |object: &Incomplete, named: &String| {
                [&object.object, object.name()].contains(&named.as_str())
            };
            if let Some(other) =
                self.objects.iter().find(|named| !objects.iter().any(|object| is(object, named)))
            {
                bail!("{other} is not an incomplete object of the selected partitions");
            }
            objects.retain(|object| self.objects.iter().any(|named| is(object, named)));
        }
        if self.yes {
            accept::accept(&dataset, &mut objects, signals.stop())?;
        }
        for problem in problems.iter().take(MAX_SHOWN) {
            print_line(&format!("failed: {problem}"));
        }
        print(&objects, self.yes);
        if self.held.json {
            print_json(&serde_json::json!({ "objects": objects }))
                .map_err(StdoutError::finished)?;
        }
        if self.yes && objects.iter().any(|object| !object.accepted) {
            return Ok(signals.exit_code().unwrap_or(FAILED));
        }
        Ok(if problems.is_empty() { DONE } else { OBJECTS })
    }
}

/// Prints the objects that were accepted or, if `done` is not set, would be accepted.
fn print(objects: &[Incomplete], done: bool) {
    for Incomplete { object, outcome, accepted, .. } in objects.iter().take(MAX_SHOWN) {
        let what = match (accepted, done) {
            (true, _) => "accepted: ",
            (false, true) => "not accepted, interrupted: ",
            (false, false) => "",
        };
        print_line(&format!("{what}{object}: {outcome}"));
    }
    let more = objects.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        print_line(&format!("and {more} more; --json lists all"));
    }
    let count = HumanCount(objects.len() as u64);
    print_line(&match (objects.is_empty(), done) {
        (true, _) => "no incomplete objects to accept".to_owned(),
        (false, true) => {
            let accepted = objects.iter().filter(|object| object.accepted).count() as u64;
            format!("{} of {count} incomplete objects accepted", HumanCount(accepted))
        }
        (false, false) => format!("{count} incomplete objects; --yes accepts them"),
    });
}
