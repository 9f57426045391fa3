//! Decides where to cut text into segments: never between lines that may have to be joined.

use memchr::{memchr_iter, memrchr};

use crate::decode::text_buffer::{MAX_JOINED, MAX_LINE};

/// Returns the position at which to cut text that ends within a line. `lines` is the end of the last whole line.
///
/// A line that ends within a quoted field may have to be joined with lines in the next segment. Therefore, the cut is
/// before the first such line near the end or, if there is none, at `lines`. Only a line with an odd number of quotes
/// can end within a quoted field.
pub(super) fn before_open_line(text: &[u8], lines: usize) -> usize {
    let mut cut = lines;
    let mut end = lines;
    for _ in 1..MAX_JOINED {
        let Some(line_end) = end.checked_sub(1) else { break };
        let start = memrchr(b'\n', &text[..line_end]).map_or(0, |at| at + 1);
        // If this line were joined with a line from the next segment, it would be too long. The two extra bytes are CR
        // and LF.
        if text.len() - start > MAX_LINE + 2 {
            break;
        }
        if memchr_iter(b'"', &text[start..line_end]).count() % 2 == 1 {
            cut = start;
        }
        end = start;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_before_its_open_lines() {
        let cut = |text: &str| {
            let lines = text.rfind('\n').map_or(0, |at| at + 1);
            before_open_line(text.as_bytes(), lines)
        };
        assert_eq!(cut("a \"b\"\nc\nd"), 8);
        assert_eq!(cut("a \"b\"\nc \"d\ne"), 6);
        assert_eq!(cut("a \"b\nc\" \"d\ne\nf"), 0);
        assert_eq!(cut("a \"b\" \"c\n"), 0);
        assert_eq!(cut("\n\n"), 2);
        assert_eq!(cut("a"), 0);
    }

    #[test]
    fn a_line_that_is_too_far_away_does_not_move_the_cut() {
        let far = format!("a \"b\n{}", "c\n".repeat(MAX_JOINED));
        assert_eq!(before_open_line(far.as_bytes(), far.len()), far.len());
        let long = format!("a\nb \"c\n{}", "d".repeat(MAX_LINE));
        assert_eq!(before_open_line(long.as_bytes(), 7), 7);
        assert_eq!(before_open_line(&long.as_bytes()[..MAX_LINE], 7), 2);
    }
}
