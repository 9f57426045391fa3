//! Holds back blank lines at the end of the text until the next line or the end of the object is read.

use std::collections::VecDeque;

use crate::decode::text_buffer::Text;

/// Maximum number of runs of identical blank lines to hold back.
///
/// Only this many runs at the end of an object are ignored. Editors and tools write far fewer. The limit bounds memory
/// use even for an object that contains only blank lines.
const MAX_RUNS: usize = 1024;

/// Blank lines, as runs of lines with the same line ending.
#[derive(Debug, Default)]
pub struct BlankLines {
    /// The runs, in the order of the text.
    runs: VecDeque<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    line: &'static [u8],
    count: u64,
}

impl BlankLines {
    /// Splits the trailing blank lines, up to the limit, off `text`, which must end with a line ending.
    pub(super) fn cut_off(text: &[u8]) -> (&[u8], Self) {
        let (mut rest, mut blank) = (text, Self::default());
        while let Some((before, line)) = last_blank_line(rest) {
            let count = blank.runs.len();
            match blank.runs.front_mut() {
                Some(run) if run.line == line => run.count += 1,
                _ if count == MAX_RUNS => break,
                _ => blank.runs.push_front(Run { line, count: 1 }),
            }
            rest = before;
        }
        (rest, blank)
    }

    /// Returns whether there are no blank lines.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns the runs. Each consists of a blank line and the number of its repetitions.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let text = |line: &'static [u8]| if line.len() == 1 { "\n" } else { "\r\n" };
        self.runs.iter().map(move |run| (text(run.line), run.count))
    }

    /// Returns the total length of the lines in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.count * run.line.len() as u64).sum()
    }

    /// Appends lines. If there are too many runs afterwards, removes and returns the first ones.
    pub(super) fn append(&mut self, more: Self) -> Self {
        for run in more.runs {
            match self.runs.back_mut() {
                Some(last) if last.line == run.line => last.count += run.count,
                _ => self.runs.push_back(run),
            }
        }
        let surplus = self.runs.len().saturating_sub(MAX_RUNS);
        Self { runs: self.runs.drain(..surplus).collect() }
    }

    /// Moves lines from the front to `text` until it is about `room` bytes long.
    pub(super) fn move_to(&mut self, text: &mut Text, room: usize) {
        while let Some(run) = self.runs.front_mut() {
            let fit = (room.saturating_sub(text.len()) / run.line.len()) as u64;
            let count = run.count.min(fit);
            for _ in 0..count {
                text.extend(run.line);
            }
            run.count -= count;
            if run.count > 0 {
                break;
            }
            self.runs.pop_front();
        }
    }
}

/// Splits off the last line if it is blank.
fn last_blank_line(text: &[u8]) -> Option<(&[u8], &'static [u8])> {
    let lines: [&'static [u8]; 2] = [b"\n", b"\r\n"];
    lines.into_iter().find_map(|line| {
        let before = text.strip_suffix(line)?;
        matches!(before.last(), None | Some(b'\n')).then_some((before, line))
    })
}
