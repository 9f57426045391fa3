//! The program around the library: arguments in, text and exit codes out.

mod args;
mod resolve;
mod signals;
mod terminal;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::cli::args::{Args, Command};
use crate::cli::resolve::Run;
use crate::cli::signals::Signals;
use crate::cli::terminal::Terminal;
use crate::convert::Conversion;
use crate::ledger::Ledger;
use crate::plan::{Listing, Plan};
use crate::schema::Table;
use crate::tally::Tally;

/// Everything was converted.
const DONE: u8 = 0;
/// Too many lines are rejects.
const REJECTS: u8 = 1;
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
            Run::resolve(convert).and_then(|run| convert_all(&run, &terminal, &signals))
        }
    };
    ExitCode::from(code.unwrap_or_else(|error| {
        terminal::error(&error);
        signals.exit_code().unwrap_or(FAILED)
    }))
}

fn convert_all(run: &Run, terminal: &Terminal, signals: &Signals) -> anyhow::Result<u8> {
    let started = Instant::now();
    let table = Table::access();
    let listing = Listing::take(&run.sources, &run.selection, signals.stop())?;
    if listing.objects.is_empty() {
        terminal.nothing_to_do(&run.sources, &listing);
    }
    let mut ledger = Ledger::open(&run.dataset, &table.log_type)?;
    let plan = Plan::make(listing, &run.sources, run.target_size, &mut ledger)?;
    terminal.begin(&plan);
    let conversion = Conversion {
        table,
        sources: &run.sources,
        dataset: &run.dataset,
        compression: run.compression,
        threads: run.threads,
        watcher: terminal,
        stop: signals.stop(),
    };
    let result = conversion.run(plan, &mut ledger, started);
    terminal.end();
    let tally = result?;
    terminal.summary(&tally, run.max_rejects)?;
    if tally.interrupted {
        return Ok(signals.exit_code().unwrap_or(FAILED));
    }
    Ok(exit_code(&tally, run.max_rejects))
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
