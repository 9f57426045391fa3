//! Prints results on stdout and messages on stderr. No other module prints.
//!
//! All output is escaped here ([`crate::util::escape`]), so it cannot control the terminal. Each message is a single
//! line: newlines are escaped like other control characters, so an object name cannot start a new line.

use std::io::{self, IsTerminal, StdoutLock, Write};

use indicatif::HumanCount;
use serde::Serialize;

use crate::util::escape::{printable, printable_json, printable_lines};

/// Maximum number of failures or findings to print; `--json` includes all of them.
pub(super) const MAX_SHOWN: usize = 20;

/// Writing to stdout failed, for example because the disk is full.
#[derive(Debug, thiserror::Error)]
#[error("stdout: {error}{}", .done.map_or(String::new(), |done| format!("; {done}")))]
pub(super) struct StdoutError {
    error: io::Error,
    /// What the command did before printing the result.
    done: Option<&'static str>,
}

impl StdoutError {
    /// Adds to the message what the command did before the output failed, because only the output was lost.
    pub(super) fn after(self, done: &'static str) -> Self {
        Self { done: Some(done), ..self }
    }

    /// Adds a note that the command has finished and has reported its result on stderr.
    pub(super) fn finished(self) -> Self {
        self.after("the command has finished, and its result is on stderr")
    }
}

/// Prints a result as one JSON object on stdout.
pub(super) fn print_json(result: &impl Serialize) -> Result<(), StdoutError> {
    let json = serde_json::to_string(result).expect("plain values");
    print_bytes(printable_json(&(json + "\n")).as_bytes())
}

/// Prints multi-line text on stdout. Values that are inserted into the text must not contain newlines.
pub(super) fn print_text(text: &str) -> Result<(), StdoutError> {
    print_bytes(printable_lines(text).as_bytes())
}

/// Prints a generated document, such as a script, unchanged. The document must not contain untrusted text.
pub(super) fn print_document(text: &str) -> Result<(), StdoutError> {
    print_bytes(text.as_bytes())
}

/// Returns stdout, for writing the text of restored objects unchanged.
pub(super) fn stdout() -> StdoutLock<'static> {
    io::stdout().lock()
}

/// Prints help or the version on stdout, or an argument error on stderr.
pub(super) fn print_usage(usage: &clap::Error) -> Result<(), StdoutError> {
    printed(usage.print().and_then(|()| io::stdout().flush()))
}

fn print_bytes(bytes: &[u8]) -> Result<(), StdoutError> {
    let mut stdout = io::stdout().lock();
    // Without a flush, the text after the last newline would be written at exit, where errors are ignored.
    printed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Converts an error from writing to stdout. A closed pipe is not an error: the reader, such as `head`, needs no more
/// output.
pub(super) fn printed(result: io::Result<()>) -> Result<(), StdoutError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(StdoutError { error, done: None })
        }
        _ => Ok(()),
    }
}

/// Prints an error with its causes on stderr.
pub(super) fn error(error: &anyhow::Error) {
    print_line(&format!("error: {error:#}"));
}

/// Prints a hint on stderr.
pub(super) fn hint(text: &str) {
    print_line(&format!("hint: {text}"));
}

/// Prints a multi-line error on stderr.
pub(super) fn error_lines(lines: &[String]) {
    for (number, line) in lines.iter().enumerate() {
        print_line(&if number == 0 { format!("error: {line}") } else { line.clone() });
    }
}

/// Prints a warning on stderr.
pub(super) fn warning(text: &str) {
    print_line(&format!("warning: {text}"));
}

/// Prints a line on stderr. Ignores errors, because there is nowhere to report them.
pub(super) fn print_line(line: &str) {
    let _ = io::stderr().write_all((printable(line) + "\n").as_bytes());
}

/// Prints a line of JSON on stderr.
pub(super) fn print_json_line(line: &str) {
    let _ = io::stderr().write_all((printable_json(line) + "\n").as_bytes());
}

/// Returns text that states how many lines were joined.
pub(super) fn joined(lines: u64) -> String {
    let lines = HumanCount(lines);
    format!("{lines} lines to the previous line: a quoted field contains a line feed")
}

/// Returns a list of counts, such as `2 a, 1 b`, between `before` and `after`. Returns an empty string if there are no
/// counts.
pub(super) fn counts<'a>(
    before: &str,
    counts: impl Iterator<Item = (&'a str, u64)>,
    after: &str,
) -> String {
    let list: Vec<String> =
        counts.map(|(name, count)| format!("{} {name}", HumanCount(count))).collect();
    if list.is_empty() { String::new() } else { format!("{before}{}{after}", list.join(", ")) }
}

/// Returns whether stderr is a terminal.
pub(super) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Returns the width of the terminal, if stdout is a terminal.
pub(super) fn stdout_width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns.into())
}
