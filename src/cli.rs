//! The program around the library: arguments in, text and exit codes out.

mod args;
mod resolve;
mod signals;
mod terminal;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::clean;
use crate::cli::args::{Args, Clean, Command, Convert, Ddl, Policy, Remove, Verify};
use crate::cli::resolve::Run;
use crate::cli::signals::Signals;
use crate::cli::terminal::Terminal;
use crate::convert::Conversion;
use crate::ledger::Ledger;
use crate::plan::{Listing, Plan};
use crate::policy;
use crate::remove;
use crate::tally::Tally;
use crate::verify::Verification;

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
        Command::Convert(convert) => {
            let terminal = Terminal::new(convert);
            convert_all(convert, &terminal, &signals)
        }
        Command::Verify(args) => verify(args, &signals),
        Command::Remove(args) => remove(args, &signals),
        Command::Clean(args) => clean(args),
        Command::Policy(args) => print_policy(args),
        Command::Ddl(args) => print_ddl(args),
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        terminal::error(&error);
        signals.exit_code().unwrap_or(FAILED)
    }))
}

fn convert_all(args: &Convert, terminal: &Terminal, signals: &Signals) -> anyhow::Result<u8> {
    let started = Instant::now();
    let network = resolve::network(&args.stores)?;
    terminal.watch(&network.traffic);
    let run = Run::resolve(args, &network)?;
    let listing = match (&args.objects, &*run.sources) {
        (Some(names), [source]) => {
            Listing::read(names, source, &network, &run.selection, signals.stop())
        }
        _ => Listing::take(&run.sources, &run.selection, signals.stop()),
    }?;
    if listing.objects.is_empty() {
        terminal.nothing_to_do(&run.sources, &listing);
    }
    let mut ledger = Ledger::open(&run.dataset)?;
    let plan = Plan::make(listing, &run.sources, run.target_size, &mut ledger)?;
    terminal.begin(&plan);
    let conversion = Conversion {
        sources: &run.sources,
        dataset: &run.dataset,
        compression: run.compression,
        bloom_filters: &run.bloom_filters,
        threads: run.threads,
        watcher: terminal,
        stop: signals.stop(),
    };
    let result = conversion.run(plan, &mut ledger, started);
    terminal.end();
    let mut tally = result?;
    tally.requests = network.traffic.requests();
    tally.requests_failed = network.traffic.failed();
    terminal.summary(&tally, run.max_rejects)?;
    if tally.interrupted {
        return Ok(signals.exit_code().unwrap_or(FAILED));
    }
    Ok(exit_code(&tally, run.max_rejects))
}

fn verify(args: &Verify, signals: &Signals) -> anyhow::Result<u8> {
    let network = resolve::network(&args.stores)?;
    let verification = Verification {
        sources: &resolve::open_sources(&args.sources, &network)?,
        dataset: &resolve::find_dataset(&args.out, &network)?,
        selection: &resolve::selection(&args.partitions, args.to.or_else(resolve::yesterday))?,
        read_data: args.read_data,
        stop: signals.stop(),
    };
    let report = verification.run()?;
    terminal::verified(&report, args.json)?;
    Ok(if report.findings.is_empty() { DONE } else { FINDINGS })
}

fn remove(args: &Remove, signals: &Signals) -> anyhow::Result<u8> {
    let selection = resolve::selection(&args.partitions, args.to)?;
    let dataset = resolve::find_dataset(&args.out, &resolve::network(&args.stores)?)?;
    let mut contents = remove::contents(&dataset, &selection)?;
    if args.yes {
        remove::remove(&dataset, &mut contents, signals.stop())?;
    }
    terminal::removed(&contents, args.yes, args.json)?;
    if args.yes && contents.iter().any(|contents| !contents.removed && contents.error.is_none()) {
        return Ok(signals.exit_code().unwrap_or(FAILED));
    }
    Ok(if contents.iter().any(|contents| contents.error.is_some()) { OBJECTS } else { DONE })
}

fn clean(args: &Clean) -> anyhow::Result<u8> {
    let dataset = resolve::find_dataset(&args.out, &resolve::network(&args.stores)?)?;
    let cleaned = clean::clean(&dataset, args.older_than)?;
    terminal::cleaned(&cleaned, args.json)?;
    Ok(DONE)
}

fn print_policy(args: &Policy) -> anyhow::Result<u8> {
    terminal::policy(&match args {
        Policy::LogDelivery { bucket, prefix, account, aws } => {
            policy::log_delivery(aws.as_str(), bucket, prefix, account)
        }
        Policy::Convert { source, out, kms_key, aws } => {
            policy::convert(aws.as_str(), source, out.as_deref(), kms_key)?
        }
        Policy::Lifecycle { out, days } => policy::lifecycle(out, *days)?,
    })?;
    Ok(DONE)
}

fn print_ddl(args: &Ddl) -> anyhow::Result<u8> {
    let (table, dialect) = resolve::external(args)?;
    let text = match &args.compat_view {
        Some(view) => table.compat_view(view, dialect)?,
        None if args.partitions => table.add_partitions(dialect)?,
        None => table.create(dialect)?,
    };
    terminal::ddl(&text, &table.must_name())?;
    Ok(DONE)
}

fn exit_code(tally: &Tally, max_rejects: f64) -> u8 {
    if tally.objects.failed > 0 || !tally.failures.is_empty() {
        OBJECTS
    } else if tally.reject_share() > max_rejects {
        REJECTS
    } else {
        DONE
    }
}
