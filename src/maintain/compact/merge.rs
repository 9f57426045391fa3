//! Merges the rows of several files in the order of their objects' names, which is the order within each file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Context, ensure};
use arrow::array::{Array, AsArray, RecordBatch, StringViewArray};

use crate::maintain::groups::Groups;

/// A file, and the rows that have been read but not returned yet.
struct Input {
    groups: Groups,
    batch: RecordBatch,
    keys: StringViewArray,
    /// Index of the next row in `batch`.
    at: usize,
}

/// The rows of several files. Each item contains rows of one object.
pub(super) struct Merge {
    inputs: Vec<Input>,
    /// The name of each input's next object, and the index of the input.
    next: BinaryHeap<Reverse<(String, usize)>>,
    /// Name of the column with the key of each row's object.
    key_column: &'static str,
}

impl Input {
    /// Reads the next record batch. Returns `false` at the end of the file.
    fn load(&mut self, key_column: &str) -> anyhow::Result<bool> {
        while let Some(batch) = self.groups.next() {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            let keys = batch.column_by_name(key_column).context("has no column with keys")?;
            let keys = keys.as_string_view_opt().context("its keys are not text")?;
            (self.keys, self.at) = (keys.clone(), 0);
            self.batch = batch;
            return Ok(true);
        }
        Ok(false)
    }

    fn key(&self, row: usize) -> &str {
        if self.keys.is_null(row) { "" } else { self.keys.value(row) }
    }
}

fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

impl Merge {
    /// Starts reading the files.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, or has no column with this name.
    pub(super) fn new(groups: Vec<Groups>, key_column: &'static str) -> anyhow::Result<Self> {
        let mut merge = Self { inputs: Vec::new(), next: BinaryHeap::new(), key_column };
        for groups in groups {
            let batch = RecordBatch::new_empty(groups.schema());
            let keys = StringViewArray::new_null(0);
            merge.inputs.push(Input { groups, batch, keys, at: 0 });
            merge.schedule(merge.inputs.len() - 1)?;
        }
        Ok(merge)
    }

    /// Determines when the next rows of an input are returned.
    fn schedule(&mut self, index: usize) -> anyhow::Result<()> {
        let input = &mut self.inputs[index];
        if input.at < input.batch.num_rows() || input.load(self.key_column)? {
            let name = name_of(input.key(input.at)).to_owned();
            self.next.push(Reverse((name, index)));
        }
        Ok(())
    }

    /// Returns the next rows, or `None` if all rows of all files have been returned.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        let Some(Reverse((_, index))) = self.next.pop() else { return Ok(None) };
        let input = &mut self.inputs[index];
        let (start, rows) = (input.at, input.batch.num_rows());
        let key = input.key(start).to_owned();
        let end = (start + 1..rows).find(|row| input.key(*row) != key).unwrap_or(rows);
        ensure!(start < end, "has no next row");
        input.at = end;
        let batch = input.batch.slice(start, end - start);
        self.schedule(index)?;
        Ok(Some(batch))
    }
}
