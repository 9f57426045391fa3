//! Joins lines that are split by a line feed in a quoted field, such as a user agent.
//!
//! A line that ends within a quoted field is joined with the lines after it up to the one that closes the field, if
//!
//! * the whole is a row,
//! * none of the lines after the first is a row by itself, so that a truncated line swallows no other line, and
//! * they are at most [`MAX_JOINED`] lines of [`MAX_LINE`] bytes together.
//!
//! Otherwise each line is parsed separately. `inflate` never splits text where lines may have to be joined.

use memchr::memchr;

use crate::decode::text_buffer::{MAX_JOINED, MAX_LINE};
use crate::decode::tokenizer::{Bounds, FieldCount, Fields};
use crate::logs::reject::Reason;

/// Lines of text that form one line.
pub(super) struct Joined {
    /// Their range, with the number of the first.
    pub(super) bounds: Bounds,
    /// Number of lines after the first.
    pub(super) lines: u64,
}

/// Returns the joined line that starts with a line that ends within a quoted field, if it is a row. `text` ends with
/// a line end.
#[cold]
pub(super) fn whole(
    text: &[u8],
    first: Bounds,
    count: FieldCount,
    is_row: &mut impl FnMut(&[u8]) -> bool,
) -> Option<Joined> {
    let start = first.start as usize;
    // After the line and its end, which a CR may precede.
    let mut at = first.end as usize + memchr(b'\n', &text[first.end as usize..])? + 1;
    for lines in 1..MAX_JOINED as u64 {
        let end = at + memchr(b'\n', &text[at..])?;
        // One more for a CR.
        if end - start > MAX_LINE + 1 || is_row(without_cr(&text[at..end])) {
            return None;
        }
        if memchr(b'"', &text[at..end]).is_some() {
            let whole = without_cr(&text[start..end]);
            let fault = Fields::of(whole, count.known).find_map(Result::err);
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
