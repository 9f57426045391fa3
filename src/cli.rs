//! The program around the library: arguments in, text and exit codes out.

mod accept;
mod clean;
mod completions;
mod convert;
mod ddl;
mod excerpt;
mod hint;
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
use crate::cli::completions::Completions;
use crate::cli::convert::Convert;
use crate::cli::ddl::Ddl;
use crate::cli::inspect::Inspect;
use crate::cli::man::Manual;
use crate::cli::plan::PlanCommand;
use crate::cli::policy::Policy;
use crate::cli::progress::Voice;
use crate::cli::remove::Remove;
use crate::cli::repair::Repair;
use crate::cli::report::Report;
use crate::cli::signals::{GRACE, Signals};
use crate::cli::verify::Verify;
use crate::dataset::layout::FORMAT_VERSIONS;
use crate::logs::schema::LogType;
use crate::plan::PlanError;
use crate::report::ReportError;
use crate::util::escape::printable;
use crate::util::threads::{isolated, record_panics, unreported_panics};

/// Everything was converted.
const DONE: u8 = 0;
/// Too many lines are rejects.
const REJECTS: u8 = 1;
/// A verification found something.
const FINDINGS: u8 = 1;
/// Some object could not be read, or not whole.
const OBJECTS: u8 = 2;
/// Fatal error, or the output could not be written.
const FAILED: u8 = 3;
/// Objects named like logs were not converted.
const LEFT_OUT: u8 = 4;

const AFTER: &str = "\
Environment:
  Each flag but --yes can be given by the environment, too, as ALB2PARQUET_ and its name: ALB2PARQUET_THREADS=4,
  ALB2PARQUET_ACCOUNT=123456789012,210987654321, ALB2PARQUET_QUIET=1. Flags on the command line win. An empty variable is
  treated as unset.

Exit codes:
  0  it was done
  1  more lines are rejects than may be, or there are findings
  2  some object could not be read, or not whole
  3  fatal error, or the output could not be written to stdout
  4  objects named like logs were not converted
  130, 143  it was interrupted

Examples:
  alb2parquet plan s3://my-log-bucket
  alb2parquet convert s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet verify s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet help convert";

/// Turns Application Load Balancer logs into partitioned Parquet.
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
    Accept(Accept),
    Remove(Remove),
    Repair(Repair),
    Clean(Clean),
    Inspect(Inspect),
    /// Prints what AWS must be told, as JSON to paste
    #[command(subcommand, after_help = policy::AFTER)]
    Policy(Policy),
    Ddl(Ddl),
    Completions(Completions),
    Man(Manual),
}

/// Returns the grammar of the command line: flags, and the environment behind them.
fn command() -> clap::Command {
    all_by_environment(Args::command().long_version(long_version()))
}

/// Lets the flags of a command and of those below it be given by the environment, too.
fn all_by_environment(command: clap::Command) -> clap::Command {
    command.mut_args(with_environment).mut_subcommands(all_by_environment)
}

/// Says which lines and datasets this version knows.
fn long_version() -> String {
    let mut text = concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned();
    for log_type in LogType::ALL {
        let fields = &log_type.table().fields;
        let (count, era) = (fields.len(), fields.last().map_or("", |field| &field.era));
        let name = log_type.as_str();
        writeln!(text, "{name:<14}{count} fields, the last of {era}").expect("a string takes it");
    }
    let [plain, redacted] = FORMAT_VERSIONS;
    write!(text, "{:<14}format version {plain}, or {redacted} where redacted", "dataset")
        .expect("a string takes it");
    text
}

/// Lets a flag be given by the environment, too: `--log-format` by `ALB2PARQUET_LOG_FORMAT`.
fn with_environment(arg: Arg) -> Arg {
    /// Flags whose values can hold commas: settings of a store, and URLs.
    const WHOLE: [&str; 2] = ["option", "source"];
    let Some(long) = arg.get_long() else { return arg };
    if ONLY_TYPED.contains(&long) {
        return arg;
    }
    let splits = !WHOLE.contains(&long);
    let variable = format!("ALB2PARQUET_{}", long.replace('-', "_").to_uppercase());
    // An empty variable is treated as unset, because shells and job templates often leave one empty.
    let is_empty = env::var_os(&variable).is_some_and(|value| value.is_empty());
    let arg = if is_empty { arg } else { arg.env(variable).hide_env(true) };
    match arg.get_action() {
        ArgAction::Append if splits => arg.value_delimiter(','),
        ArgAction::SetTrue => arg.value_parser(FalseyValueParser::new()),
        _ => arg,
    }
}

impl Command {
    /// Whether stderr is JSON.
    fn speaks_json(&self) -> bool {
        matches!(self, Self::Convert(convert) if convert.voice() == Voice::Json)
    }

    /// Returns the number of workers of a command that starts threads.
    fn workers(&self) -> Option<u64> {
        let all = || thread::available_parallelism().map_or(1, usize::from) as u64;
        match self {
            Self::Convert(convert) => Some(convert.threads.map_or_else(all, u64::from)),
            Self::Plan(_)
            | Self::Verify(_)
            | Self::Report(_)
            | Self::Accept(_)
            | Self::Remove(_)
            | Self::Repair(_)
            | Self::Clean(_) => Some(all()),
            _ => None,
        }
    }

    /// Says why the run could not begin, or not go on.
    fn complain(&self, error: &anyhow::Error) {
        if is_interruption(error) {
            say(self.interrupted(), self.speaks_json());
            return;
        }
        let hint = hint::of(error);
        if self.speaks_json() {
            tracing::error!(hint = hint.as_deref(), "{error:#}");
        } else {
            terminal::error(error);
            if let Some(hint) = hint {
                terminal::hint(&hint);
            }
        }
    }

    /// Returns the message after a signal: what was interrupted, and what to do next.
    fn interrupted(&self) -> &'static str {
        match self {
            Self::Plan(_) => "planning interrupted",
            Self::Convert(_) => "conversion interrupted; the same command continues it",
            Self::Verify(_) => "verification interrupted",
            Self::Report(_) => "report interrupted",
            Self::Remove(_) => "removal interrupted; the same command finishes it",
            Self::Clean(_) => "cleaning interrupted; the same command finishes it",
            Self::Repair(_) => "repair interrupted; the same command finishes it",
            Self::Inspect(_) => "inspection interrupted",
            _ => "interrupted",
        }
    }

    /// Returns how long the command may take to shut down after a signal. Commands that do not check for signals are
    /// ended immediately.
    fn grace(&self) -> Duration {
        match self {
            Self::Plan(_)
            | Self::Convert(_)
            | Self::Verify(_)
            | Self::Report(_)
            | Self::Remove(_) => GRACE,
            _ => Duration::ZERO,
        }
    }
}

/// Returns whether the user has ended the run.
fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(PlanError::Interrupted))
        || matches!(error.downcast_ref(), Some(ReportError::Interrupted))
}

fn say(sentence: &str, json: bool) {
    if json {
        tracing::error!("{sentence}");
    } else {
        terminal::print_line(sentence);
    }
}

/// Flags that the environment cannot give, since they would be meant for another run.
const ONLY_TYPED: [&str; 3] = ["yes", "help", "version"];

/// Escapes the arguments that an error quotes. clap prints the error in color.
fn escaped(mut error: clap::Error) -> clap::Error {
    let typed: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in typed {
        let escaped = match value {
            ContextValue::String(text) => ContextValue::String(printable(text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.into_iter().map(printable).collect())
            }
            // Suggestions, one per line, that quote the arguments.
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

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args =
        match command().try_get_matches().and_then(|matches| Args::from_arg_matches(&matches)) {
            Ok(args) => args,
            Err(error) => {
                return ExitCode::from(print_usage(error));
            }
        };
    let (sentence, json) = (args.command.interrupted(), args.command.speaks_json());
    if json {
        // Before anything can fail: an error that nobody logs is lost.
        log::begin_json();
    }
    if let Err(error) = args.command.workers().map_or(Ok(()), limits::check) {
        args.command.complain(&error);
        return ExitCode::from(FAILED);
    }
    let signals = match Signals::listen(args.command.grace(), move || say(sentence, json)) {
        Ok(signals) => signals,
        Err(error) => {
            args.command.complain(&anyhow!(error).context("no thread can be started"));
            return ExitCode::from(FAILED);
        }
    };
    record_panics();
    let code = isolated(|| match &args.command {
        Command::Plan(plan) => plan.run(&signals),
        Command::Convert(convert) => convert.run(&signals),
        Command::Verify(verify) => verify.run(&signals),
        Command::Report(report) => report.run(&signals),
        Command::Accept(accept) => accept.run(&signals),
        Command::Remove(remove) => remove.run(&signals),
        Command::Repair(repair) => repair.run(),
        Command::Clean(clean) => clean.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Policy(policy) => policy.run(),
        Command::Ddl(ddl) => ddl.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(manual) => manual.run(),
    });
    let fault = |panic| anyhow!("a bug in alb2parquet; please report it: {panic}");
    let code = code.map_err(fault).flatten().unwrap_or_else(|error| {
        args.command.complain(&error);
        signals.exit_code().unwrap_or(FAILED)
    });
    // Panics of threads whose result nobody needs.
    for panic in unreported_panics() {
        args.command.complain(&fault(panic));
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

    /// Calls back with every command there is.
    fn visit(command: &clap::Command, each: &mut impl FnMut(&clap::Command)) {
        each(command);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            visit(below, each);
        }
    }

    #[test]
    fn every_help_has_exit_codes_and_examples_that_are_understood() {
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
