//! The program around the library: arguments in, text and exit codes out.

mod clean;
mod convert;
mod ddl;
mod inspect;
mod log;
mod metrics;
mod nothing;
mod options;
mod plan;
mod policy;
mod progress;
mod remove;
mod report;
mod resolve;
mod shown;
mod signals;
mod summary;
mod terminal;
mod verify;

use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::clean::Clean;
use crate::cli::convert::Convert;
use crate::cli::ddl::Ddl;
use crate::cli::inspect::Inspect;
use crate::cli::plan::PlanCommand;
use crate::cli::policy::Policy;
use crate::cli::progress::Voice;
use crate::cli::remove::Remove;
use crate::cli::report::Report;
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

const ENVIRONMENT: &str = "\
Each flag but --yes can be given by the environment, too, as ALB2PARQUET_ and its name: ALB2PARQUET_THREADS=4,
ALB2PARQUET_ACCOUNT=123456789012,210987654321, ALB2PARQUET_QUIET=1. What is typed wins.";

/// Turns Application Load Balancer logs into partitioned Parquet.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, after_help = ENVIRONMENT)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(PlanCommand),
    Convert(Convert),
    Verify(Verify),
    Report(Report),
    Remove(Remove),
    Clean(Clean),
    Inspect(Inspect),
    /// Prints what AWS must be told, as JSON to paste
    #[command(subcommand)]
    Policy(Policy),
    Ddl(Ddl),
}

/// Returns the grammar of the command line: flags, and the environment behind them.
fn command() -> clap::Command {
    Args::command().mut_subcommands(|command| command.mut_args(with_environment))
}

/// Lets a flag be given by the environment, too: `--log-format` by `ALB2PARQUET_LOG_FORMAT`.
fn with_environment(arg: Arg) -> Arg {
    let Some(long) = arg.get_long() else { return arg };
    if ONLY_TYPED.contains(&long) {
        return arg;
    }
    let variable = format!("ALB2PARQUET_{}", long.replace('-', "_").to_uppercase());
    let arg = arg.env(variable).hide_env(true);
    match arg.get_action() {
        // A setting of a store can hold commas.
        ArgAction::Append if arg.get_long() != Some("option") => arg.value_delimiter(','),
        ArgAction::SetTrue => arg.value_parser(FalseyValueParser::new()),
        _ => arg,
    }
}

impl Command {
    /// Says why the run could not begin, or not go on.
    fn complain(&self, error: &anyhow::Error) {
        match self {
            Self::Convert(convert) if convert.voice() == Voice::Json => {
                tracing::error!("{error:#}");
            }
            _ => terminal::error(error),
        }
    }
}

/// Flags that the environment cannot give, since they would be meant for another run.
const ONLY_TYPED: [&str; 3] = ["yes", "help", "version"];

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args =
        match command().try_get_matches().and_then(|matches| Args::from_arg_matches(&matches)) {
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
        Command::Report(report) => report.run(&signals),
        Command::Remove(remove) => remove.run(&signals),
        Command::Clean(clean) => clean.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Policy(policy) => policy.run(),
        Command::Ddl(ddl) => ddl.run(),
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        args.command.complain(&error);
        signals.exit_code().unwrap_or(FAILED)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }
}
