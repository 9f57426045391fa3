//! `man`: the manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use clap_mangen::Man;

use crate::cli::terminal::{print_document, print_line};
use crate::cli::{DONE, command};

const AFTER: &str = "\
Exit codes:
  0  it was printed, or they were written
  3  there is no such command, or a page cannot be written

Examples:
  alb2parquet man | man -l -
  alb2parquet man convert | man -l -
  alb2parquet man --dir ~/.local/share/man/man1";

/// How the sections begin that follow the options, in help and in manuals.
const SECTIONS: [(&str, &str); 3] =
    [("Environment:", "ENVIRONMENT"), ("Exit codes:", "EXIT STATUS"), ("Examples:", "EXAMPLES")];

/// Prints the manual page of the program or of a command, or writes all of them to a directory.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Manual {
    /// The command, such as `convert` or `policy lifecycle` [default: the program itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Write all pages to this directory instead, which is made if it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Manual {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        // Of the version, a page only needs the number.
        let program = command().long_version(env!("CARGO_PKG_VERSION"));
        let mut program = program.disable_help_subcommand(true);
        program.build();
        if let Some(dir) = &self.dir {
            fs::create_dir_all(dir)
                .with_context(|| format!("--dir {} cannot be made", dir.display()))?;
            let count = write_all(&program, dir)?;
            print_line(&format!("{count} pages are in {}", dir.display()));
            return Ok(DONE);
        }
        let mut of = &program;
        for name in &self.command {
            let Some(command) = of.find_subcommand(name) else {
                bail!("there is no command {}", self.command.join(" "))
            };
            of = command;
        }
        print_document(&page(of)?)?;
        Ok(DONE)
    }
}

/// Writes the pages of a command and those below it, and returns how many.
fn write_all(command: &clap::Command, dir: &Path) -> anyhow::Result<u64> {
    let file = dir.join(Man::new(command.clone()).get_filename());
    fs::write(&file, page(command)?)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let mut count = 1;
    for below in command.get_subcommands() {
        count += write_all(below, dir)?;
    }
    Ok(count)
}

/// Returns the page of a command.
fn page(command: &clap::Command) -> anyhow::Result<String> {
    const SOURCE: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    Man::new(command.clone()).source(SOURCE).render(&mut page)?;
    let mut page = String::from_utf8(page)?.replace("\n.SH EXTRA\n", "\n");
    for (heading, section) in SECTIONS {
        page = page.replace(&format!("\n{heading}\n"), &format!("\n.SH {section:?}\n"));
    }
    Ok(page)
}
