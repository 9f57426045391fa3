//! Adds Bloom filters to text columns.
//!
//! If nearly all values of a column are distinct, its statistics prune nothing. With a Bloom filter, a reader that
//! searches for a single value can skip row groups that do not contain the value
//! (<https://parquet.apache.org/docs/file-format/bloomfilter/>).

use std::mem;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int32Type;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;

use crate::encode::ROW_GROUP_ROWS;
use crate::encode::chunk::{ColumnEncoder, Pages};

/// Target false positive rate: the share of absent values that a filter fails to rule out.
const FALSE_POSITIVES: f64 = 0.01;

/// A text column encoder that adds a Bloom filter to each row group.
pub(super) struct Filtered {
    column: Box<dyn ColumnEncoder>,
    filter: Sbbf,
}

impl Filtered {
    pub(super) fn new(column: Box<dyn ColumnEncoder>) -> Result<Self> {
        Ok(Self { column, filter: empty()? })
    }
}

/// Returns an empty filter with room for one value per row of a row group. The filter is folded to a smaller size when
/// the row group ends.
fn empty() -> Result<Sbbf> {
    Sbbf::new_with_ndv_fpp(ROW_GROUP_ROWS as u64, FALSE_POSITIVES)
}

impl ColumnEncoder for Filtered {
    fn write(&mut self, array: &ArrayRef) -> Result<()> {
        let strings = match array.as_dictionary_opt::<Int32Type>() {
            Some(dictionary) => dictionary.values().as_string::<i32>(),
            None => array.as_string::<i32>(),
        };
        for value in strings.iter().flatten() {
            self.filter.insert(value);
        }
        self.column.write(array)
    }

    fn size(&self) -> usize {
        self.column.size()
    }

    fn finish(&mut self) -> Result<(Pages, ColumnCloseResult)> {
        let (pages, mut close) = self.column.finish()?;
        let mut filter = mem::replace(&mut self.filter, empty()?);
        filter.fold_to_target_fpp(FALSE_POSITIVES);
        close.bloom_filter = Some(filter);
        Ok((pages, close))
    }
}
