//! Parses one line byte by byte: for irregular lines, and to find the positions of faults.

use crate::decode::tokenizer::{Grammar, Span};
use crate::logs::reject::Reason;
use crate::logs::schema::Quotes;

/// A violation of the grammar in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// [`Reason::UnterminatedQuote`] or [`Reason::MisplacedQuote`].
    pub reason: Reason,
    /// Position of the quote in the line.
    pub at: usize,
}

/// An iterator over the fields of one line, including quotes. Ends after the first fault.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    line: &'a [u8],
    at: usize,
    /// Number of known fields left to read. The text after them is one more field, unchanged.
    known: usize,
    quotes: Quotes,
}

impl<'a> Fields<'a> {
    /// Returns the fields of `line`, which must not include the line ending.
    pub(crate) fn of(line: &'a [u8], grammar: Grammar) -> Self {
        let Grammar { known, quotes, .. } = grammar;
        Self { line, at: 0, known, quotes }
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Span, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.line[self.at..];
        let start = self.at + rest.iter().take_while(|&&byte| byte == b' ').count();
        let rest = &self.line[start..];
        // Ends the iterator after a fault or the last field.
        self.at = self.line.len();
        if rest.is_empty() {
            return None;
        }
        let length = match self.known.checked_sub(1) {
            None => rest.len(),
            Some(known) => {
                self.known = known;
                match field_length(rest, self.quotes) {
                    Ok(length) => length,
                    Err(fault) => return Some(Err(Fault { at: start + fault.at, ..fault })),
                }
            }
        };
        self.at = start + length;
        Some(Ok(Span { start: start as u32, end: self.at as u32 }))
    }
}

/// Returns the length of the field at the start of `rest`.
fn field_length(rest: &[u8], quotes: Quotes) -> Result<usize, Fault> {
    if quotes == Quotes::Literal {
        return Ok(memchr::memchr(b' ', rest).unwrap_or(rest.len()));
    }
    let misplaced = |at| Fault { reason: Reason::MisplacedQuote, at };
    if rest[0] == b'"' {
        let unterminated = Fault { reason: Reason::UnterminatedQuote, at: 0 };
        let next = || memchr::memchr(b'"', &rest[1..]);
        let inner = match quotes {
            Quotes::Escaped => unescaped_quote(&rest[1..]).or_else(next),
            _ => next(),
        };
        let inner = inner.ok_or(unterminated)?;
        let length = inner + 2;
        return match rest.get(length) {
            None | Some(b' ') => Ok(length),
            Some(_) => Err(misplaced(length - 1)),
        };
    }
    match memchr::memchr2(b' ', b'"', rest) {
        Some(at) if rest[at] == b'"' => Err(misplaced(at)),
        Some(at) => Ok(at),
        None => Ok(rest.len()),
    }
}

/// Returns the position of the first quote without a backslash before it.
fn unescaped_quote(text: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'"', text).find(|&at| at == 0 || text[at - 1] != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str, known: usize) -> Vec<Result<&str, Fault>> {
        let grammar = Grammar { required: 0, known, quotes: Quotes::Plain };
        let fields = Fields::of(line.as_bytes(), grammar);
        fields.map(|field| field.map(|field| &line[field.range()])).collect()
    }

    #[test]
    fn a_line_is_split_into_fields() {
        assert_eq!(fields("", 9), []);
        assert_eq!(fields("  ", 9), []);
        assert_eq!(fields(" a  \"b c\" d ", 9), [Ok("a"), Ok("\"b c\""), Ok("d")]);
        assert_eq!(fields("a b \"c d ", 2), [Ok("a"), Ok("b"), Ok("\"c d ")]);
        assert_eq!(fields("a b", 0), [Ok("a b")]);
    }

    #[test]
    fn literal_quotes_belong_to_the_values() {
        let grammar = Grammar { required: 0, known: 4, quotes: Quotes::Literal };
        let line = br#"h2 "h2","http/1.1" "a b" c"#;
        let fields = Fields::of(line, grammar).map(|field| &line[field.unwrap().range()]);
        let expected: [&[u8]; 5] = [b"h2", br#""h2","http/1.1""#, br#""a"#, br#"b""#, b"c"];
        assert_eq!(fields.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_backslash_makes_a_quote_part_of_the_value() {
        let fields = |line: &'static str| {
            let grammar = Grammar { required: 0, known: 4, quotes: Quotes::Escaped };
            let fields = Fields::of(line.as_bytes(), grammar);
            fields.map(|field| field.map(|field| &line[field.range()])).collect::<Vec<_>>()
        };
        assert_eq!(fields(r#""\"a b\"" -"#), [Ok(r#""\"a b\"""#), Ok("-")]);
        assert_eq!(fields(r#""x\" S T y" -"#), [Ok(r#""x\" S T y""#), Ok("-")]);
        // A client can send a backslash as the last character.
        assert_eq!(fields(r#""x\" - -"#), [Ok(r#""x\""#), Ok("-"), Ok("-")]);
        assert_eq!(fields(r#""" """#), [Ok(r#""""#), Ok(r#""""#)]);
    }

    #[test]
    fn a_fault_has_a_position_and_ends_the_line() {
        let fault = |reason, at| Err(Fault { reason, at });
        assert_eq!(fields("a \"b c", 9), [Ok("a"), fault(Reason::UnterminatedQuote, 2)]);
        assert_eq!(fields("a b\"c d", 9), [Ok("a"), fault(Reason::MisplacedQuote, 3)]);
        assert_eq!(fields("a \"b\"c d", 9), [Ok("a"), fault(Reason::MisplacedQuote, 4)]);
        assert_eq!(fields("\"", 9), [fault(Reason::UnterminatedQuote, 0)]);
    }
}
