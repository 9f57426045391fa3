//! The program around the library: arguments in, text and exit codes out.

mod args;
mod resolve;
mod terminal;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::cli::args::{Args, Command};
use crate::cli::resolve::Run;
use crate::cli::terminal::Terminal;
use crate::convert::Conversion;
use crate::plan::Plan;
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
    let Command::Convert(convert) = args.command;
    let terminal = Terminal::new(&convert);
    let code = Run::resolve(&convert).and_then(|run| convert_all(&run, &terminal));
    ExitCode::from(code.unwrap_or_else(|error| {
        terminal::error(&error);
        FAILED
    }))
}

fn convert_all(run: &Run, terminal: &Terminal) -> anyhow::Result<u8> {
    let started = Instant::now();
    let plan = Plan::make(&run.sources, &run.selection, run.target_size)?;
    if plan.batches.is_empty() {
        terminal.nothing_to_do(&run.sources, &plan);
    }
    terminal.begin(&plan);
    let conversion = Conversion {
        table: Table::access(),
        sources: &run.sources,
        dataset: &run.dataset,
        compression: run.compression,
        threads: run.threads,
        watcher: terminal,
    };
    let result = conversion.run(plan, started);
    terminal.end();
    let tally = result?;
    terminal.summary(&tally, run.max_rejects)?;
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
