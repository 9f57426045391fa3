//! The program around the library: arguments in, text and exit codes out.

mod clean;
mod convert;
mod ddl;
mod options;
mod plan;
mod policy;
mod progress;
mod remove;
mod resolve;
mod signals;
mod summary;
mod terminal;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::clean::Clean;
use crate::cli::convert::Convert;
use crate::cli::ddl::Ddl;
use crate::cli::plan::PlanCommand;
use crate::cli::policy::Policy;
use crate::cli::remove::Remove;
use crate::cli::signals::Signals;
use crate::cli::verify::Verify;

/// Everything was converted.
const DONE: u8 = 0;
/// Too many lines are rejects.
const REJECTS: u8 = 1;
/// A verification found something.
const FINDINGS: u8 = 1;
/// Some object could not be read, or not whole.
const OBJECTS: u8 = 2;
/// The run could not begin, or not go on.
const FAILED: u8 = 3;

/// Turns Application Load Balancer logs into partitioned Parquet.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(PlanCommand),
    Convert(Convert),
    Verify(Verify),
    Remove(Remove),
    Clean(Clean),
    /// Prints what AWS must be told, as JSON to paste
    #[command(subcommand)]
    Policy(Policy),
    Ddl(Ddl),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { FAILED } else { DONE };
            // A reader that closed its end of the pipe wants no more help.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            terminal::error(&error.into());
            return ExitCode::from(FAILED);
        }
    };
    let code = match &args.command {
        Command::Plan(plan) => plan.run(&signals),
        Command::Convert(convert) => convert.run(&signals),
        Command::Verify(verify) => verify.run(&signals),
        Command::Remove(remove) => remove.run(&signals),
        Command::Clean(clean) => clean.run(),
        Command::Policy(policy) => policy.run(),
        Command::Ddl(ddl) => ddl.run(),
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        terminal::error(&error);
        signals.exit_code().unwrap_or(FAILED)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
