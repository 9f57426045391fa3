//! Columns: the values of fields, converted a tile at a time into Arrow arrays.
//!
//! One file per kind of value; [`builder`] is the only place that tells them apart.

mod dictionary;
pub mod number;
pub mod part;
mod shape;
pub mod string;
pub mod timestamp;
pub mod validity;

use arrow::array::ArrayRef;

use crate::decode::columns::number::{
    Double, HttpStatus, Int32, Int64, Numbers, Port, Seconds, Status,
};
use crate::decode::columns::string::{Interned, Texts};
use crate::decode::columns::timestamp::Timestamp;
use crate::decode::columns::validity::{NotAfter, NotBefore};
use crate::decode::tokenizer::{Span, Spans};
use crate::logs::schema::{Column, Kind, Part, Shape, Stored};

/// Collects the values of one column.
pub trait ColumnBuilder: Send {
    /// Tells whether a value may fail to parse. Such columns are built first, so that a line they
    /// refuse never reaches the others.
    fn may_refuse(&self) -> bool;

    /// Appends the column's value of every line, given where its field stands in `text`, and to
    /// `refused` the indices of the lines whose value does not parse.
    fn append(&mut self, text: &[u8], fields: Spans<'_>, refused: &mut Vec<usize>);

    /// Returns whether [`append`](Self::append) would accept the value of one line.
    fn accepts(&mut self, text: &[u8], field: Span) -> bool;

    /// Truncates to the first `rows` values, the state before the last call of `append`.
    fn truncate(&mut self, rows: usize);

    /// Returns the values as an array and begins anew.
    fn finish(&mut self) -> ArrayRef;
}

/// Returns the builder of a column.
pub fn builder(column: &Column) -> Box<dyn ColumnBuilder> {
    match (column.kind, column.stored) {
        (Kind::Int32, _) if column.part == Part::Port => Box::new(Numbers::<Port>::default()),
        (Kind::Int32, _) if column.shape == Some(Shape::HttpStatus) => {
            Box::new(Numbers::<HttpStatus>::default())
        }
        (Kind::Int32, _) if column.shape == Some(Shape::Status) => {
            Box::new(Numbers::<Status>::default())
        }
        (Kind::Int32, _) => Box::new(Numbers::<Int32>::default()),
        (Kind::Int64, _) => Box::new(Numbers::<Int64>::default()),
        (Kind::Double, _) if column.shape == Some(Shape::Seconds) => {
            Box::new(Numbers::<Seconds>::default())
        }
        (Kind::Double, _) => Box::new(Numbers::<Double>::default()),
        (Kind::Timestamp, _) if column.part == Part::NotBefore => {
            Box::new(Numbers::<NotBefore>::default())
        }
        (Kind::Timestamp, _) if column.part == Part::NotAfter => {
            Box::new(Numbers::<NotAfter>::default())
        }
        (Kind::Timestamp, _) => Box::new(Numbers::<Timestamp>::default()),
        (Kind::String, Stored::Dictionary) => {
            Box::new(Interned::of_part(column.part, column.shape))
        }
        (Kind::String, Stored::Plain) => Box::new(Texts::new(column.part, column.shape)),
    }
}

/// Maximum capacity in bytes that is kept for the next record batch.
const MAX_ROOM: usize = 4 << 20;

/// Takes what was collected, and leaves room for about as much: the next batch is like this one, and
/// growing by doubling would copy everything once more.
fn renew<T>(collected: &mut Vec<T>) -> Vec<T> {
    let room = (collected.len() + collected.len() / 8).min(MAX_ROOM / size_of::<T>());
    std::mem::replace(collected, Vec::with_capacity(room))
}
