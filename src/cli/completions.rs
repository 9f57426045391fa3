//! The `completions` command.

use clap::Args;
use clap_complete::Shell;

use crate::cli::terminal::print_document;
use crate::cli::{DONE, command};

const AFTER: &str = "\
Exit codes:
  0  the script was printed
  3  the shell is not supported

Examples:
  alb2parquet completions bash > ~/.local/share/bash-completion/completions/alb2parquet
  alb2parquet completions zsh > ~/.zfunc/_alb2parquet
  alb2parquet completions fish > ~/.config/fish/completions/alb2parquet.fish";

/// Print a script that makes a shell complete the command line
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Completions {
    /// Shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), env!("CARGO_PKG_NAME"), &mut script);
        print_document(&String::from_utf8(script)?)?;
        Ok(DONE)
    }
}
