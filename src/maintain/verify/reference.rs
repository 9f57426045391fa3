//! The reference decoder: a second, slow and simple decoder for log lines, written from the documented rules.
//!
//! It imports nothing from `decode`, so it does not share that module's bugs. `verify` also decodes a sample of the
//! objects with this decoder, and tests compare both decoders on random text. Simplicity comes first: the reference
//! decoder splits lines character by character, and parses values with the standard library and chrono.

mod shapes;
mod values;

use std::io::{self, Read};
use std::iter;

use flate2::read::MultiGzDecoder;

use crate::logs::reject::{MAX_RAW, Reason, Reject};
use crate::logs::schema::{Column, Part, Quotes, Table};

pub use crate::maintain::verify::reference::values::Value;

/// Maximum length of a line in bytes.
const MAX_LINE: usize = 1 << 20;
/// Maximum number of lines of text in a joined line.
const MAX_JOINED: usize = 16;

/// The values of a line: one for each column of the table, then `extra_fields`. `None` is NULL.
pub type Row = Vec<Option<Value>>;

/// A decoded line.
#[derive(Debug)]
pub struct Line {
    /// Number of the first line of text in this log line, starting at 1.
    pub number: u64,
    /// Number of further lines of text that were joined to the first.
    pub joined: u64,
    /// The row, or why the line has none.
    pub outcome: Result<Row, Reject>,
}

/// Why a line has no row, and the column whose value is invalid.
type Refusal<'t> = (Reason, Option<&'t Column>);

/// Returns the decompressed bytes of an object, which consists of any number of gzip members or of plain text.
///
/// # Errors
///
/// Fails if the gzip data is damaged, or decompresses to more than `limit` bytes.
pub(super) fn decompress(object: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    if !object.starts_with(b"\x1f\x8b") {
        return Ok(object.to_vec());
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(object).take(limit + 1).read_to_end(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::other(format!("more than {limit} decompressed bytes")));
    }
    Ok(text)
}

/// Returns the text without the blank lines at its end, which are not log lines.
pub fn without_blank_end(mut text: &[u8]) -> &[u8] {
    let ends = [&b"\r\n"[..], b"\n", b"\r"];
    let is_line = |text: &[u8]| text.is_empty() || text.ends_with(b"\n");
    while let Some(before) =
        ends.iter().find_map(|end| text.strip_suffix(*end).filter(|text| is_line(text)))
    {
        text = before;
    }
    text
}

/// Decodes the lines in `text`. `offset` is the position of the text in the decompressed object.
pub fn lines<'t>(table: &'t Table, text: &'t [u8], offset: u64) -> impl Iterator<Item = Line> {
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let (mut at, mut byte_offset) = (0, offset);
    iter::from_fn(move || {
        let rest = lines.get(at..).filter(|rest| !rest.is_empty())?;
        let count = joined(table, rest);
        let whole = rest[..count].join(&b'\n');
        let (number, joined) = (at as u64 + 1, count as u64 - 1);
        let line = without_cr(&whole);
        let outcome = row(table, line).map_err(|(reason, column)| Reject {
            line_number: number,
            byte_offset,
            reason,
            column: column.map(|column| column.name.as_str().into()),
            raw_length: line.len() as u64,
            raw: line[..line.len().min(MAX_RAW)].to_vec(),
        });
        at += count;
        byte_offset += whole.len() as u64 + 1;
        Some(Line { number, joined, outcome })
    })
}

/// Returns how many of the lines, starting with the first, form a single log line.
fn joined(table: &Table, lines: &[&[u8]]) -> usize {
    let is_open = |line: &[u8]| matches!(row(table, line), Err((Reason::UnterminatedQuote, _)));
    let is_row = |line: &[u8]| row(table, line).is_ok();
    if !is_open(without_cr(lines[0])) {
        return 1;
    }
    for count in 2..=lines.len().min(MAX_JOINED) {
        let whole = lines[..count].join(&b'\n');
        if is_row(without_cr(lines[count - 1])) {
            return 1;
        }
        if !is_open(without_cr(&whole)) {
            return if is_row(without_cr(&whole)) { count } else { 1 };
        }
    }
    1
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn row<'t>(table: &'t Table, line: &[u8]) -> Result<Row, Refusal<'t>> {
    if line.len() > MAX_LINE {
        return Err((Reason::LineTooLong, None));
    }
    let line = std::str::from_utf8(line).map_err(|_| (Reason::InvalidUtf8, None))?;
    let (fields, extra) = split(line, table).map_err(|reason| (reason, None))?;
    if fields.len() < table.required_fields {
        return Err((Reason::TooFewFields, None));
    }
    let mut row = Row::new();
    for (index, column) in table.columns() {
        let field = fields.get(index).map(|field| match column.part {
            Part::Verbatim => field,
            _ => unquoted(field),
        });
        row.push(match field {
            Some(field) if field != "-" => {
                values::parse(column, field).map_err(|_| (Reason::InvalidValue, Some(column)))?
            }
            _ => None,
        });
    }
    row.push(extra.map(Value::Text));
    Ok(row)
}

/// Removes the quotes around a field, if it has any. Only tables with literal quotes have fields with quotes.
fn unquoted(field: &str) -> &str {
    field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field)
}

/// Splits a line into the fields that the table describes and the unchanged rest. Removes the quotes around fields
/// unless the table has literal quotes.
fn split(line: &str, table: &Table) -> Result<(Vec<String>, Option<String>), Reason> {
    let characters: Vec<char> = line.chars().collect();
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        while characters.get(at) == Some(&' ') {
            at += 1;
        }
        if at == characters.len() {
            return Ok((fields, None));
        }
        if fields.len() == table.fields.len() {
            return Ok((fields, Some(characters[at..].iter().collect())));
        }
        let mut field = String::new();
        if characters[at] == '"' && table.quotes != Quotes::Literal {
            at += 1;
            let quotes = (at..characters.len()).filter(|&at| characters[at] == '"');
            let is_escaped =
                |at: &usize| table.quotes == Quotes::Escaped && characters[at - 1] == '\\';
            let end = quotes.clone().find(|quote| *quote == at || !is_escaped(quote));
            let end = end.or(quotes.clone().next()).ok_or(Reason::UnterminatedQuote)?;
            field.extend(&characters[at..end]);
            at = end;
            at += 1;
            if !matches!(characters.get(at), None | Some(' ')) {
                return Err(Reason::MisplacedQuote);
            }
        } else {
            while let Some(&character) = characters.get(at).filter(|c| **c != ' ') {
                if character == '"' && table.quotes != Quotes::Literal {
                    return Err(Reason::MisplacedQuote);
                }
                field.push(character);
                at += 1;
            }
        }
        fields.push(field);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn an_object_is_decompressed_up_to_the_limit() {
        let members = [gzip(b"one\n"), gzip(b"two\n")].concat();
        assert_eq!(decompress(&members, 8).unwrap(), b"one\ntwo\n");
        assert_eq!(
            decompress(&members, 7).unwrap_err().to_string(),
            "more than 7 decompressed bytes"
        );
        assert_eq!(decompress(b"plain\n", 6).unwrap(), b"plain\n");
        assert!(decompress(&members[..members.len() - 1], 8).is_err());
    }
}
