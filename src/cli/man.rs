//! The `man` command: manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use clap_mangen::Man;

use crate::cli::terminal::{print_document, print_line};
use crate::cli::{DONE, command};

const AFTER: &str = "\
Exit codes:
  0  the page was printed, or all pages were written
  3  the command does not exist, or a page cannot be written

Examples:
  alb2parquet man | man -l -
  alb2parquet man convert | man -l -
  alb2parquet man --dir ~/.local/share/man/man1";

/// Headings of the sections that follow the options, in help and in manual pages.
const SECTIONS: [(&str, &str); 3] =
    [("Environment:", "ENVIRONMENT"), ("Exit codes:", "EXIT STATUS"), ("Examples:", "EXAMPLES")];

/// Print the manual page of the program or of a command, or write all pages
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Manual {
    /// Command, such as `convert` or `policy lifecycle` [default: the program itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Write all pages to this directory; created if it does not exist
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Manual {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        // Pages contain only the version number, not the supported formats.
        let program = command().long_version(env!("CARGO_PKG_VERSION"));
        let mut program = program.disable_help_subcommand(true);
        program.build();
        if let Some(dir) = &self.dir {
            fs::create_dir_all(dir)
                .with_context(|| format!("--dir {} cannot be created", dir.display()))?;
            let count = write_all(&program, dir)?;
            print_line(&format!("{count} pages written to {}", dir.display()));
            return Ok(DONE);
        }
        let mut of = &program;
        for name in &self.command {
            let Some(command) = of.find_subcommand(name) else {
                bail!("unknown command: {}", self.command.join(" "))
            };
            of = command;
        }
        print_document(&page(of)?)?;
        Ok(DONE)
    }
}

/// Writes the pages of a command and its subcommands. Returns the number of pages.
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

/// Returns the manual page of a command.
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
