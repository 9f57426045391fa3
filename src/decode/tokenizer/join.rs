//! Joins lines that are split by a line feed in a quoted field, such as a user agent.
//!
//! A line that ends within a quoted field is joined with the lines after it, up to the line that closes the field, if
//!
//! * the joined line is a row,
//! * none of the lines after the first is a row by itself, so that a truncated line never absorbs a valid row, and
//! * there are at most [`MAX_JOINED`] lines with at most [`MAX_LINE`] bytes in total.
//!
//! Otherwise each line is parsed separately. [`gzip`](crate::decode::gzip) never cuts text between lines that may have
//! to be joined.

use memchr::memchr;

use crate::decode::text_buffer::{MAX_JOINED, MAX_LINE};
use crate::decode::tokenizer::{Bounds, Fields, Grammar};
use crate::logs::reject::Reason;

/// A line that was joined from several lines of text.
pub(super) struct Joined {
    /// Position of the joined line, with the number of its first line.
    pub(super) bounds: Bounds,
    /// Number of lines after the first.
    pub(super) lines: u64,
}

/// Joins `first`, a line that ends within a quoted field, with the lines after it. Returns `None` if they must not be
/// joined. `text` must end with a line ending.
#[cold]
pub(super) fn whole(
    text: &[u8],
    first: Bounds,
    grammar: Grammar,
    is_row: &mut impl FnMut(&[u8]) -> bool,
) -> Option<Joined> {
    let start = first.start as usize;
    // Starts after the line ending, which may include a CR.
    let mut at = first.end as usize + memchr(b'\n', &text[first.end as usize..])? + 1;
    for lines in 1..MAX_JOINED as u64 {
        let end = at + memchr(b'\n', &text[at..])?;
        // The extra byte allows for a CR.
        if end - start > MAX_LINE + 1 || is_row(without_cr(&text[at..end])) {
            return None;
        }
        if memchr(b'"', &text[at..end]).is_some() {
            let whole = without_cr(&text[start..end]);
            let fault = Fields::of(whole, grammar).find_map(Result::err);
            if fault.is_none_or(|fault| fault.reason != Reason::UnterminatedQuote) {
                let bounds = Bounds { end: end as u32, ..first };
                return is_row(whole).then_some(Joined { bounds, lines });
            }
        }
        at = end + 1;
    }
    None
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
