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
    Double, HttpStatus, Int32, Int64, NumberBuilder, Port, Seconds, Status,
};
use crate::decode::columns::string::{DictionaryBuilder, StringBuilder};
use crate::decode::columns::timestamp::Timestamp;
use crate::decode::columns::validity::{NotAfter, NotBefore};
use crate::decode::tokenizer::{Span, Spans};
use crate::logs::schema::{Column, Kind, Part, Shape, Stored};

/// Builds the Arrow array of one column.
pub trait ColumnBuilder: Send {
    /// Returns whether the column can reject a value. Such columns are built first, so that a rejected line never
    /// reaches the other columns.
    fn may_reject(&self) -> bool;

    /// Appends one value per line. `fields` are the spans of the column's field in `text`. Appends to `rejected` the
    /// indices of lines whose values are rejected.
    fn append(&mut self, text: &[u8], fields: Spans<'_>, rejected: &mut Vec<usize>);

    /// Returns whether [`append`](Self::append) would accept the value in one line.
    fn accepts(&mut self, text: &[u8], field: Span) -> bool;

    /// Truncates to the first `rows` values. `rows` must be the number of values before the last call to `append`.
    fn truncate(&mut self, rows: usize);

    /// Returns the values as an array, and resets the builder.
    fn finish(&mut self) -> ArrayRef;
}

/// Returns a builder for a column.
pub fn builder(column: &Column) -> Box<dyn ColumnBuilder> {
    match (column.kind, column.stored) {
        (Kind::Int32, _) if column.part == Part::Port => Box::new(NumberBuilder::<Port>::default()),
        (Kind::Int32, _) if column.shape == Some(Shape::HttpStatus) => {
            Box::new(NumberBuilder::<HttpStatus>::default())
        }
        (Kind::Int32, _) if column.shape == Some(Shape::Status) => {
            Box::new(NumberBuilder::<Status>::default())
        }
        (Kind::Int32, _) => Box::new(NumberBuilder::<Int32>::default()),
        (Kind::Int64, _) => Box::new(NumberBuilder::<Int64>::default()),
        (Kind::Double, _) if column.shape == Some(Shape::Seconds) => {
            Box::new(NumberBuilder::<Seconds>::default())
        }
        (Kind::Double, _) => Box::new(NumberBuilder::<Double>::default()),
        (Kind::Timestamp, _) if column.part == Part::NotBefore => {
            Box::new(NumberBuilder::<NotBefore>::default())
        }
        (Kind::Timestamp, _) if column.part == Part::NotAfter => {
            Box::new(NumberBuilder::<NotAfter>::default())
        }
        (Kind::Timestamp, _) => Box::new(NumberBuilder::<Timestamp>::default()),
        (Kind::String, Stored::Dictionary) => {
            Box::new(DictionaryBuilder::of_part(column.part, column.shape))
        }
        (Kind::String, Stored::Plain) => Box::new(StringBuilder::new(column.part, column.shape)),
    }
}
