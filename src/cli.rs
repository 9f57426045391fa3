//! The command-line program: parses the arguments, runs a command and returns its exit code.

mod accept;
mod clean;
mod compact;
mod completions;
mod convert;
mod ddl;
mod excerpt;
mod hint;
mod iceberg;
mod inspect;
mod limits;
mod log;
mod man;
mod metrics;
mod nothing;
mod options;
mod plan;
mod policy;
mod progress;
mod remove;
mod repair;
mod report;
mod resolve;
mod restore;
mod retire;
mod signals;
mod summary;
mod terminal;
mod verify;
mod waiting;

use std::env;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use clap::builder::FalseyValueParser;
use clap::error::ContextValue;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::accept::Accept;
use crate::cli::clean::Clean;
use crate::cli::compact::Compact;
use crate::cli::completions::Completions;
use crate::cli::convert::Convert;
use crate::cli::ddl::Ddl;
use crate::cli::iceberg::Iceberg;
use crate::cli::inspect::Inspect;
use crate::cli::man::Manual;
use crate::cli::plan::PlanCommand;
use crate::cli::policy::Policy;
use crate::cli::progress::Messages;
use crate::cli::remove::Remove;
use crate::cli::repair::Repair;
use crate::cli::report::Report;
use crate::cli::restore::Restore;
use crate::cli::retire::Retire;
use crate::cli::signals::{GRACE, Signals};
use crate::cli::verify::Verify;
use crate::dataset::layout::FORMAT_VERSIONS;
use crate::logs::schema::LogType;
use crate::maintain::retire::RetireError;
use crate::plan::PlanError;
use crate::report::ReportError;
use crate::util::escape::printable;
use crate::util::threads::{isolated, record_panics, unreported_panics};

/// Success.
const DONE: u8 = 0;
/// More lines were rejected than `--max-rejects` allows.
const REJECTS: u8 = 1;
/// `verify` or `repair` found problems.
const FINDINGS: u8 = 1;
/// Some objects or partitions could not be fully processed.
const OBJECTS: u8 = 2;
/// A fatal error occurred, or stdout could not be written to.
const FAILED: u8 = 3;
/// Some objects that are named like logs were not converted.
const LEFT_OUT: u8 = 4;

const AFTER: &str = "\
Environment:
  Flags (except --yes, --delete, --including-retired and --revert) can also be set by environment variables, which are
  named ALB2PARQUET_ and the name of the flag:
  ALB2PARQUET_THREADS=4, ALB2PARQUET_ACCOUNT=123456789012,210987654321, ALB2PARQUET_QUIET=1. Flags on the command line
  take precedence. An empty variable is treated as unset.

Exit codes:
  0  success
  1  more rejected lines than --max-rejects allows, or verify or repair found problems
  2  some objects or partitions could not be processed completely
  3  fatal error, or stdout could not be written
  4  objects named like logs were not converted
  130, 143  interrupted

Examples:
  alb2parquet plan s3://my-log-bucket
  alb2parquet convert s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet verify s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet help convert";

/// Convert AWS load balancer logs to partitioned Parquet
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, after_help = AFTER)]
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
    Restore(Restore),
    Retire(Retire),
    Accept(Accept),
    Remove(Remove),
    Repair(Repair),
    Clean(Clean),
    Inspect(Inspect),
    /// Print AWS policies and lifecycle configurations as JSON
    #[command(subcommand, after_help = policy::AFTER)]
    Policy(Policy),
    Ddl(Ddl),
    /// Publish a dataset as Apache Iceberg tables
    #[command(subcommand, after_help = iceberg::AFTER)]
    Iceberg(Iceberg),
    Compact(Compact),
    Completions(Completions),
    Man(Manual),
}

/// Returns the command-line parser, with an environment variable for each flag.
fn command() -> clap::Command {
    all_by_environment(Args::command().long_version(long_version()))
}

/// Adds environment variables for the flags of a command and its subcommands.
fn all_by_environment(command: clap::Command) -> clap::Command {
    command.mut_args(with_environment).mut_subcommands(all_by_environment)
}

/// Returns the output of `--version`, including the supported log fields and dataset format versions.
fn long_version() -> String {
    let mut text = concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned();
    for log_type in LogType::ALL {
        let fields = &log_type.table().fields;
        let (count, era) = (fields.len(), fields.last().map_or("", |field| &field.era));
        let name = log_type.as_str();
        writeln!(text, "{name:<14}{count} fields, the last added in {era}")
            .expect("writing to a string cannot fail");
    }
    let [plain, redacted] = FORMAT_VERSIONS;
    write!(text, "{:<14}format version {plain}, or {redacted} if redacted", "dataset")
        .expect("writing to a string cannot fail");
    text
}

/// Adds the environment variable for a flag, such as `ALB2PARQUET_LOG_FORMAT` for `--log-format`.
fn with_environment(arg: Arg) -> Arg {
    /// Flags whose values may contain commas: store settings and URLs.
    const WHOLE: [&str; 2] = ["option", "source"];
    let Some(long) = arg.get_long() else { return arg };
    if NO_VARIABLE.contains(&long) {
        return arg;
    }
    let splits = !WHOLE.contains(&long);
    let variable = format!("ALB2PARQUET_{}", long.replace('-', "_").to_uppercase());
    // An empty variable is treated as unset, because shells and job templates often leave variables empty.
    let is_empty = env::var_os(&variable).is_some_and(|value| value.is_empty());
    let arg = if is_empty { arg } else { arg.env(variable).hide_env(true) };
    match arg.get_action() {
        ArgAction::Append if splits => arg.value_delimiter(','),
        ArgAction::SetTrue => arg.value_parser(FalseyValueParser::new()),
        _ => arg,
    }
}

impl Command {
    /// Returns whether messages on stderr are JSON.
    fn logs_json(&self) -> bool {
        matches!(self, Self::Convert(convert) if convert.messages() == Messages::Json)
    }

    /// Returns the number of worker threads, or `None` if the command does not use any.
    fn workers(&self) -> Option<u64> {
        let all = || thread::available_parallelism().map_or(1, usize::from) as u64;
        match self {
            Self::Convert(convert) => Some(convert.threads.map_or_else(all, u64::from)),
            Self::Plan(_)
            | Self::Verify(_)
            | Self::Report(_)
            | Self::Restore(_)
            | Self::Retire(_)
            | Self::Accept(_)
            | Self::Remove(_)
            | Self::Repair(_)
            | Self::Clean(_)
            | Self::Iceberg(_)
            | Self::Compact(_) => Some(all()),
            _ => None,
        }
    }

    /// Prints a fatal error with its hint or, after a signal, a message that states what was interrupted.
    fn print_error(&self, error: &anyhow::Error) {
        if is_interruption(error) {
            print_message(self.interrupted(), self.logs_json());
            return;
        }
        let hint = hint::of(error);
        if self.logs_json() {
            tracing::error!(hint = hint.as_deref(), "{error:#}");
        } else {
            terminal::error(error);
            if let Some(hint) = hint {
                terminal::hint(&hint);
            }
        }
    }

    /// Returns the message to print after a signal: what was interrupted, and what to do next.
    fn interrupted(&self) -> &'static str {
        match self {
            Self::Plan(_) => "planning interrupted",
            Self::Convert(_) => "conversion interrupted; the same command continues it",
            Self::Verify(_) => "verification interrupted",
            Self::Report(_) => "report interrupted",
            Self::Restore(_) => "restoration interrupted; the same command continues it",
            Self::Retire(_) => "retirement interrupted; the same command finishes it",
            Self::Remove(_) => "removal interrupted; the same command finishes it",
            Self::Clean(_) => "cleaning interrupted; the same command finishes it",
            Self::Repair(_) => "repair interrupted; the same command finishes it",
            Self::Inspect(_) => "inspection interrupted",
            Self::Iceberg(_) => "publication interrupted; the same command continues it",
            Self::Compact(_) => "compaction interrupted; the same command continues it",
            _ => "interrupted",
        }
    }

    /// Returns how long the command may take to shut down after a signal. Commands that do not check for signals end
    /// immediately.
    fn grace(&self) -> Duration {
        match self {
            Self::Plan(_)
            | Self::Convert(_)
            | Self::Verify(_)
            | Self::Report(_)
            | Self::Restore(_)
            | Self::Retire(_)
            | Self::Remove(_)
            | Self::Iceberg(_)
            | Self::Compact(_) => GRACE,
            _ => Duration::ZERO,
        }
    }
}

/// Returns whether a signal interrupted the run.
fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(PlanError::Interrupted))
        || matches!(error.downcast_ref(), Some(ReportError::Interrupted))
        || matches!(error.downcast_ref(), Some(RetireError::Interrupted))
        || iceberg::is_interruption(error)
}

fn print_message(message: &str, json: bool) {
    if json {
        tracing::error!("{message}");
    } else {
        terminal::print_line(message);
    }
}

/// Flags that have no environment variable, because it would also affect later commands.
const NO_VARIABLE: [&str; 6] = ["yes", "delete", "including-retired", "revert", "help", "version"];

/// Escapes the arguments that are quoted in an error message, before clap prints the message in color.
fn escaped(mut error: clap::Error) -> clap::Error {
    let typed: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in typed {
        let escaped = match value {
            ContextValue::String(text) => ContextValue::String(printable(text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.into_iter().map(printable).collect())
            }
            // clap's suggestions quote the arguments, one suggestion per line.
            ContextValue::StyledStrs(texts) => ContextValue::StyledStrs(
                texts.iter().map(|text| printable(text.to_string()).into()).collect(),
            ),
            other => other,
        };
        error.insert(kind, escaped);
    }
    error
}

/// Prints help or the version on stdout, or an argument error on stderr. Returns the exit code.
fn print_usage(error: clap::Error) -> u8 {
    let is_error = error.use_stderr();
    match terminal::print_usage(&escaped(error)) {
        _ if is_error => FAILED,
        Ok(()) => DONE,
        Err(error) => {
            terminal::error(&error.into());
            FAILED
        }
    }
}

/// Runs the program with the command-line arguments of the process.
pub fn main() -> ExitCode {
    let args =
        match command().try_get_matches().and_then(|matches| Args::from_arg_matches(&matches)) {
            Ok(args) => args,
            Err(error) => {
                return ExitCode::from(print_usage(error));
            }
        };
    let (message, json) = (args.command.interrupted(), args.command.logs_json());
    if json {
        // Initialize the JSON logger first, so that it logs every error.
        log::begin_json();
    }
    if let Err(error) = args.command.workers().map_or(Ok(()), limits::check) {
        args.command.print_error(&error);
        return ExitCode::from(FAILED);
    }
    let signals = match Signals::listen(args.command.grace(), move || print_message(message, json))
    {
        Ok(signals) => signals,
        Err(error) => {
            args.command.print_error(&anyhow!(error).context("cannot start a thread"));
            return ExitCode::from(FAILED);
        }
    };
    record_panics();
    let code = isolated(|| match &args.command {
        Command::Plan(plan) => plan.run(&signals),
        Command::Convert(convert) => convert.run(&signals),
        Command::Verify(verify) => verify.run(&signals),
        Command::Report(report) => report.run(&signals),
        Command::Restore(restore) => restore.run(&signals),
        Command::Retire(retire) => retire.run(&signals),
        Command::Accept(accept) => accept.run(&signals),
        Command::Remove(remove) => remove.run(&signals),
        Command::Repair(repair) => repair.run(),
        Command::Clean(clean) => clean.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Policy(policy) => policy.run(),
        Command::Ddl(ddl) => ddl.run(),
        Command::Iceberg(iceberg) => iceberg.run(&signals),
        Command::Compact(compact) => compact.run(&signals),
        Command::Completions(completions) => completions.run(),
        Command::Man(manual) => manual.run(),
    });
    let fault = |panic| anyhow!("a bug in alb2parquet; please report it: {panic}");
    let code = code.map_err(fault).flatten().unwrap_or_else(|error| {
        args.command.print_error(&error);
        signals.exit_code().unwrap_or(FAILED)
    });
    // Report panics in threads that are not joined.
    for panic in unreported_panics() {
        args.command.print_error(&fault(panic));
    }
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }

    /// Calls `each` for a command and all of its subcommands.
    fn visit(command: &clap::Command, each: &mut impl FnMut(&clap::Command)) {
        each(command);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            visit(below, each);
        }
    }

    #[test]
    fn every_help_has_exit_codes_and_valid_examples() {
        let (mut commands, mut examples) = (0, 0);
        visit(&command(), &mut |of| {
            let name = of.get_name();
            let long = of.get_after_long_help().or(of.get_after_help());
            let help = long.unwrap_or_else(|| panic!("{name} has exit codes")).to_string();
            let (before, after) = help.split_once("Examples:\n").expect("there are examples");
            assert!(before.contains("Exit codes:\n  0  "), "{name}: {before}");
            for line in after.lines() {
                let ours = |part: &&str| part.trim_start().starts_with("alb2parquet ");
                let parts = line.split(['|', '>']).find(ours);
                let words = parts.unwrap_or_else(|| panic!("{name}: {line}")).split_whitespace();
                match command().try_get_matches_from(words) {
                    Ok(matches) => {
                        Args::from_arg_matches(&matches).unwrap();
                    }
                    Err(error) => assert_eq!(error.exit_code(), 0, "{line}: {error}"),
                }
                examples += 1;
            }
            commands += 1;
        });
        assert!(commands >= 12 && examples > 2 * commands, "{commands} {examples}");
    }
}
