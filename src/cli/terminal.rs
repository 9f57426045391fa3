//! Text for people on stderr, results on stdout. The only module that prints.

use std::io::{self, IsTerminal, Write};

use indicatif::HumanCount;
use serde::Serialize;

/// Failures and findings that are named; `--json` has all of them.
pub(super) const MAX_SHOWN: usize = 20;

/// Prints a result as one JSON object on stdout.
pub(super) fn print_json(result: &impl Serialize) -> io::Result<()> {
    print_text(&(serde_json::to_string(result)? + "\n"))
}

/// Prints text on stdout.
pub(super) fn print_text(text: &str) -> io::Result<()> {
    // A reader that closed its end of the pipe has seen enough.
    io::stdout().lock().write_all(text.as_bytes()).or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

/// Says what went wrong.
pub(super) fn error(error: &anyhow::Error) {
    print_line(&format!("error: {error:#}"));
}

/// Prints a warning on stderr.
pub(super) fn warning(text: &str) {
    print_line(&format!("warning: {text}"));
}

/// Prints a line on stderr; when nobody reads it, so be it.
pub(super) fn print_line(line: &str) {
    print_logged(format!("{line}\n").as_bytes());
}

/// Prints lines that are whole already on stderr.
pub(super) fn print_logged(lines: &[u8]) {
    let _ = io::stderr().write_all(lines);
}

/// Says how many lines of text were joined to others.
pub(super) fn joined(lines: u64) -> String {
    let lines = HumanCount(lines);
    format!("{lines} lines of text to the line before them: a quoted field holds a line feed")
}

/// Lists what was counted, or nothing at all.
pub(super) fn counts<'a>(
    before: &str,
    counts: impl Iterator<Item = (&'a str, u64)>,
    after: &str,
) -> String {
    let list: Vec<String> =
        counts.map(|(name, count)| format!("{} {name}", HumanCount(count))).collect();
    if list.is_empty() { String::new() } else { format!("{before}{}{after}", list.join(", ")) }
}

/// Tells whether stderr is a terminal, rather than a file or a pipe.
pub(super) fn stderr_is_seen() -> bool {
    io::stderr().is_terminal()
}

/// Returns the columns of the terminal that stdout is, if it is one.
pub(super) fn stdout_width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| columns.into())
}
