//! Finds the forms of lines, so that their text can be restored from the rows.
//!
//! Nearly all lines have their table's usual form, which the columns check while they read the fields. For any other
//! line, this module finds a form that reproduces the line from the values of its row. If there is no such form, it
//! keeps the bytes of the line.

use std::sync::Arc;

use crate::decode::decoder::FieldColumn;
use crate::decode::tokenizer::{Fields, Grammar, unquoted};
use crate::logs::form::{MAX_FORM, Row, Style, Token, Value, Writer};
use crate::logs::schema::{Quotes, Table};

/// How consecutive lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// In the usual form, with this number of fields.
    Usual(usize),
    /// In another form.
    Form(Arc<str>),
    /// No form reproduces the line. Contains the bytes of the line or of a part of it, including the line ending.
    Bytes(Vec<u8>),
}

/// Consecutive lines that are written in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLines {
    /// Number of the first line, relative to the segment, from 1.
    pub line_number: u64,
    /// Number of lines, excluding any rejects between them.
    pub lines: u64,
    /// How they are written.
    pub written: Written,
}

impl WrittenLines {
    /// Returns the approximate size in memory in bytes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>()
            + match &self.written {
                Written::Usual(_) => 0,
                Written::Form(form) => form.len(),
                Written::Bytes(bytes) => bytes.len(),
            }
    }
}

/// Adds lines to the end of a list, and joins them with the preceding lines if they are written in the same way.
pub(crate) fn push(all: &mut Vec<WrittenLines>, line_number: u64, lines: u64, written: Written) {
    match all.last_mut() {
        Some(last) if last.written == written && !matches!(written, Written::Bytes(_)) => {
            last.lines += lines;
        }
        _ => all.push(WrittenLines { line_number, lines, written }),
    }
}

/// Finds the forms of lines.
pub(crate) struct Forms {
    writer: Writer,
    grammar: Grammar,
    /// The form that was found last.
    last: Arc<str>,
}

/// A row in the columns that are being built.
struct Built<'a> {
    columns: &'a [FieldColumn],
    row: usize,
}

impl Row for Built<'_> {
    fn value(&self, column: usize) -> Value<'_> {
        self.columns[column].builder.value(self.row)
    }
}

impl Forms {
    pub(super) fn new(table: &Table) -> Self {
        Self { writer: Writer::new(table), grammar: Grammar::of(table), last: Arc::default() }
    }

    /// Returns how a line is written. `line` includes the line ending, and `row` is the index of the line's row.
    pub(super) fn find(&mut self, line: &[u8], columns: &[FieldColumn], row: usize) -> Written {
        let Some((form, fields)) = self.form(line, &Built { columns, row }) else {
            return Written::Bytes(line.to_vec());
        };
        if *form == *self.last {
            return Written::Form(Arc::clone(&self.last));
        }
        if form == self.writer.usual_form(fields) {
            return Written::Usual(fields);
        }
        self.last = form.into();
        Written::Form(Arc::clone(&self.last))
    }

    /// Returns a form that reproduces a line, and the number of fields in the line.
    fn form(&self, line: &[u8], row: &impl Row) -> Option<(String, usize)> {
        let line = line.strip_suffix(b"\n")?;
        let (line, ending) = match line.strip_suffix(b"\r") {
            Some(line) => (line, "\r\n"),
            None => (line, "\n"),
        };
        let (mut form, mut at, mut fields) = (String::new(), 0, 0);
        let mut written = Vec::new();
        for field in Fields::of(line, self.grammar) {
            let span = field.ok()?;
            form.extend(std::iter::repeat_n(' ', span.start as usize - at));
            let is_known = fields < self.grammar.known;
            let is_literal = self.grammar.quotes == Quotes::Literal || !is_known;
            let value = if is_literal { span } else { unquoted(line, span) };
            let text = &line[value.range()];
            let quoted = value != span;
            // A request line can end with a space.
            let spaces = ["", " "].into_iter();
            let (style, space) =
                spaces.filter(|space| quoted || space.is_empty()).find_map(|space| {
                    let text = text.strip_suffix(space.as_bytes())?;
                    Some((self.style(fields, text, row, &mut written)?, space))
                })?;
            Token { style, space: !space.is_empty(), quoted }.push_to(&mut form);
            at = span.end as usize;
            fields += 1;
            if form.len() > MAX_FORM {
                return None;
            }
        }
        form.extend(std::iter::repeat_n(' ', line.len() - at));
        form.push_str(ending);
        (form.len() <= MAX_FORM).then_some((form, fields))
    }

    /// Returns a style that reproduces a field.
    fn style(
        &self,
        field: usize,
        text: &[u8],
        row: &impl Row,
        written: &mut Vec<u8>,
    ) -> Option<Style> {
        let usual = self.writer.usual(field).style;
        let places = || {
            let fraction =
                text.rsplit(|&byte| byte == b'.').next().filter(|f| f.len() < text.len());
            fraction.map_or(0, |f| f.iter().take_while(|byte| byte.is_ascii_digit()).count())
        };
        let places = || u8::try_from(places()).ok();
        let others = match usual {
            Style::Plain | Style::Bracketed | Style::Parts(_) => [
                Some(Style::Bracketed),
                Some(Style::Parts(0)),
                Some(Style::Parts(1)),
                Some(Style::Parts(2)),
            ],
            Style::Places(_) | Style::Shortest => {
                [places().and_then(Style::of_places), Some(Style::Shortest), None, None]
            }
            Style::Time { .. } => {
                let zulu = text.ends_with(b"Z");
                [places().map(|places| Style::Time { places, zulu }), None, None, None]
            }
        };
        [Some(usual)].into_iter().chain(others).flatten().find(|style| {
            written.clear();
            self.writer.write_field(field, *style, row, written);
            written == text
        })
    }
}
