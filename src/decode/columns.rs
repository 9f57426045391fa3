//! Converts the fields in a tile of lines to Arrow array values, column by column.
//!
//! Each kind of value has its own file. Only [`builder`] chooses between them.

mod dictionary;
pub(crate) mod number;
pub(crate) mod part;
mod shape;
pub(crate) mod string;
pub(crate) mod timestamp;
pub(crate) mod validity;

use arrow::array::ArrayRef;

use crate::decode::columns::number::{
    Double, HttpStatus, Int32, Int64, NumberBuilder, Parse, Port, Seconds, Status,
};
use crate::decode::columns::part::Usual;
use crate::decode::columns::string::{DictionaryBuilder, StringBuilder};
use crate::decode::columns::timestamp::Timestamp;
use crate::decode::columns::validity::{NotAfter, NotBefore};
use crate::decode::tokenizer::{Span, Spans};
use crate::logs::form::{Token, Value};
use crate::logs::schema::{Column, Field, Kind, Part, Shape, Stored};

/// Indices of the lines that need special treatment, collected while a column appends their values.
#[derive(Debug, Default)]
pub struct Found {
    /// Lines whose values are rejected.
    pub rejected: Vec<usize>,
    /// All lines with a field that is not in its usual form, and possibly other lines.
    pub unusual: Vec<usize>,
}

/// Builds the Arrow array of one column.
pub trait ColumnBuilder: Send {
    /// Returns whether the column can reject a value. Such columns are built first, so that a rejected line never
    /// reaches the other columns.
    fn may_reject(&self) -> bool;

    /// Appends one value per line. `fields` are the spans of the column's field in `text`.
    fn append(&mut self, text: &[u8], fields: Spans<'_>, found: &mut Found);

    /// Returns the value of a row that was appended since the last call to [`finish`](Self::finish).
    fn value(&self, row: usize) -> Value<'_>;

    /// Returns whether [`append`](Self::append) would accept the value in one line.
    fn accepts(&mut self, text: &[u8], field: Span) -> bool;

    /// Truncates to the first `rows` values. `rows` must be the number of values before the last call to `append`.
    fn truncate(&mut self, rows: usize);

    /// Returns the values as an array, and resets the builder.
    fn finish(&mut self) -> ArrayRef;
}

/// Returns the builder for a column that is derived from a field.
pub fn builder(field: &Field, column: &Column) -> Box<dyn ColumnBuilder> {
    fn number<P: Parse + 'static>(token: Token) -> Box<dyn ColumnBuilder> {
        Box::new(NumberBuilder::<P>::new(token))
    }
    let token = Token::of(field).expect("the schema files are checked by a test");
    match (column.kind, column.stored) {
        (Kind::Int32, _) if column.part == Part::Port => number::<Port>(token),
        (Kind::Int32, _) if column.shape == Some(Shape::HttpStatus) => number::<HttpStatus>(token),
        (Kind::Int32, _) if column.shape == Some(Shape::Status) => number::<Status>(token),
        (Kind::Int32, _) => number::<Int32>(token),
        (Kind::Int64, _) => number::<Int64>(token),
        (Kind::Double, _) if column.shape == Some(Shape::Seconds) => number::<Seconds>(token),
        (Kind::Double, _) => number::<Double>(token),
        (Kind::Timestamp, _) if column.part == Part::NotBefore => number::<NotBefore>(token),
        (Kind::Timestamp, _) if column.part == Part::NotAfter => number::<NotAfter>(token),
        (Kind::Timestamp, _) => number::<Timestamp>(token),
        (Kind::String, Stored::Dictionary) => Box::new(DictionaryBuilder::of_part(
            column.part,
            column.shape,
            Usual::of(field, column, token),
        )),
        (Kind::String, Stored::Plain) => {
            Box::new(StringBuilder::new(column.part, column.shape, Usual::of(field, column, token)))
        }
    }
}
