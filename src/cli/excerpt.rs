//! An excerpt of a line around a fault, with carets that mark the fault.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use crate::util::escape::pieces;

/// Marker for an omitted part of a line.
const MORE: &str = "…";

/// The part of a line around a position, with a second line that marks the position.
pub(super) struct Excerpt {
    /// The excerpt, with `…` at each end where the line continues.
    pub(super) line: String,
    /// Spaces and carets. `None` if there is no position to mark.
    pub(super) carets: Option<String>,
}

/// A character or an escape, with the offset of its first byte in the line.
struct Cell {
    at: usize,
    text: String,
    width: usize,
}

impl Excerpt {
    /// Returns an excerpt of at most `width` columns around the bytes at `place`. If text is missing at the end of the
    /// line, `place` is an empty range at that position.
    pub(super) fn of(line: &[u8], place: Option<Range<usize>>, width: usize) -> Self {
        let mut cells = Vec::new();
        pieces(line, |at, piece| {
            cells.push(Cell { at, text: piece.to_owned(), width: piece.width() });
        });
        let place = place.map(|place| {
            let before = |byte| cells.partition_point(|cell| cell.at < byte);
            before(place.start)..before(place.end)
        });
        let visible = window(&cells, place.as_ref().map_or(0, |place| place.start), width);
        let cut = |is_cut| if is_cut { MORE } else { "" };
        let mut text = cut(visible.start > 0).to_owned();
        let columns = |cells: &[Cell]| cells.iter().map(|cell| cell.width).sum::<usize>();
        let carets = place.map(|place| {
            let start = text.width() + columns(&cells[visible.start..place.start]);
            let seen = place.start..place.end.clamp(place.start, visible.end.max(place.start));
            " ".repeat(start) + &"^".repeat(columns(&cells[seen]).max(1))
        });
        text.extend(cells[visible.clone()].iter().map(|cell| cell.text.as_str()));
        text += cut(visible.end < cells.len());
        Self { line: text, carets }
    }
}

/// Returns a range of cells that fits into `width` columns, with `focus` near the center.
fn window(cells: &[Cell], focus: usize, width: usize) -> Range<usize> {
    // A caret at the end of the line needs one more column after the last character.
    let end_column = usize::from(focus == cells.len());
    if cells.iter().map(|cell| cell.width).sum::<usize>() + end_column <= width {
        return 0..cells.len();
    }
    let room = width.saturating_sub(2 + end_column).max(1);
    let (mut start, mut end, mut used) = (focus, focus, 0);
    let fits = |used: usize, cell: Option<&Cell>, room: usize| {
        cell.filter(|cell| used + cell.width <= room).map(|cell| used + cell.width)
    };
    let before = |start: usize| start.checked_sub(1).map(|at| &cells[at]);
    while let Some(more) = fits(used, before(start), room / 2) {
        (start, used) = (start - 1, more);
    }
    while let Some(more) = fits(used, cells.get(end), room) {
        (end, used) = (end + 1, more);
    }
    while let Some(more) = fits(used, before(start), room) {
        (start, used) = (start - 1, more);
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(line: &str, place: Range<usize>, width: usize) -> [String; 2] {
        let Excerpt { line, carets } = Excerpt::of(line.as_bytes(), Some(place), width);
        [line, carets.unwrap()]
    }

    #[test]
    fn a_short_line_is_shown_whole() {
        assert_eq!(excerpt("a five b", 2..6, 8), ["a five b", "  ^^^^"]);
        assert_eq!(excerpt("a b", 3..3, 4), ["a b", "   ^"]);
        assert_eq!(excerpt("", 0..0, 4), ["", "^"]);
        let nowhere = Excerpt::of(b"a b", None, 3);
        assert_eq!((nowhere.line.as_str(), nowhere.carets), ("a b", None));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = "0123456789abcdefghijklmnopqrstuvwxyz";
        assert_eq!(excerpt(line, 0..2, 10), ["01234567…", "^^"]);
        assert_eq!(excerpt(line, 18..20, 10), ["…efghijkl…", "     ^^"]);
        assert_eq!(excerpt(line, 35..36, 10), ["…stuvwxyz", "        ^"]);
        assert_eq!(excerpt(line, 36..36, 10), ["…tuvwxyz", "        ^"]);
        // If the range is wider than the excerpt, only its visible part is marked.
        assert_eq!(excerpt(line, 10..30, 10), ["…6789abcd…", "     ^^^^"]);
    }

    #[test]
    fn carets_account_for_wide_characters_and_escapes() {
        assert_eq!(excerpt("ä\x1b日本 x", 10..11, 40), ["ä\\x1b日本 x", "          ^"]);
        assert_eq!(excerpt("a \u{1b} b", 2..3, 40), ["a \\x1b b", "  ^^^^"]);
        let broken = Excerpt::of(b"a \xe2\x82 b", Some(2..4), 40);
        assert_eq!(broken.line, "a \\xe2\\x82 b");
        assert_eq!(broken.carets.unwrap(), "  ^^^^^^^^");
    }

    proptest::proptest! {
        /// The excerpt fits into the width, and the carets are inside the excerpt.
        #[test]
        fn an_excerpt_fits(
            line in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            place in (0_usize..300, 0_usize..40),
            width in 20_usize..120,
        ) {
            let start = place.0.min(line.len());
            let place = start..(start + place.1).min(line.len());
            let Excerpt { line, carets } = Excerpt::of(&line, Some(place), width);
            let carets = carets.unwrap();
            proptest::prop_assert!(line.width() <= width, "{line:?}");
            proptest::prop_assert!(carets.ends_with('^') && carets.len() <= width, "{carets:?}");
            proptest::prop_assert!(!line.contains(char::is_control));
        }
    }
}
