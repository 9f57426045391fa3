//! Reads the rows, rejects and originals of a claim in order.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray,
};

use crate::dataset::claim::{Claim, Output};
use crate::dataset::layout::Dataset;
use crate::logs::form::{Row, Value, Writer};
use crate::logs::original::{self, OriginalLines};
use crate::logs::reject;
use crate::logs::schema::{EXTRA_FIELDS, Field, SOURCE_KEY, Table};
use crate::maintain::groups::Groups;

/// A position in one of a claim's files. `B` is a converted record batch.
pub(super) struct Cursor<B> {
    /// The file. `None` if the claim has no such file.
    groups: Option<Groups>,
    /// Name of the file, for error messages.
    name: String,
    parse: Parse<B>,
    batch: Option<(B, usize)>,
    /// Number of the first row of `batch`.
    first: u64,
    /// Number of the current row.
    row: u64,
    /// The last error. Because of it, rows before `groups.at()` that are not in `batch` are lost.
    problem: Option<String>,
}

/// Converts a record batch. Returns `None` if it does not have the expected columns.
type Parse<B> = Box<dyn Fn(&RecordBatch) -> Option<B>>;

impl<B> Cursor<B> {
    fn open(
        dataset: &Dataset,
        claim: &Claim,
        table: &str,
        open: impl Fn(&Output) -> anyhow::Result<Groups>,
        parse: impl FnOnce(Option<&Groups>) -> Parse<B>,
    ) -> Self {
        let output = claim.outputs.iter().find(|output| output.table == table);
        let name = output.map(|output| dataset.target().name(&output.file.key));
        let name = name.unwrap_or_default();
        let (groups, problem) = match output.map(open).transpose() {
            Ok(groups) => (groups, None),
            Err(error) => (None, Some(format!("{name} cannot be read: {error:#}"))),
        };
        let parse = parse(groups.as_ref());
        Self { groups, name, parse, batch: None, first: 0, row: 0, problem }
    }

    /// Returns the file, if the claim has one that can be opened.
    pub(super) fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// Returns the last error.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Moves to a row.
    pub(super) fn seek(&mut self, row: u64) {
        self.row = row;
        if let Some(groups) = &mut self.groups
            && row >= groups.at()
        {
            groups.skip_to(row);
        }
    }

    /// Reads the file up to the current row. Returns `false` if the file has no such row.
    ///
    /// # Errors
    ///
    /// Fails if the row cannot be read.
    pub(super) fn load(&mut self) -> Result<bool, String> {
        let Some(groups) = &mut self.groups else {
            return self.problem.clone().map_or(Ok(false), Err);
        };
        loop {
            if let Some((_, length)) = &self.batch
                && (self.first..self.first + *length as u64).contains(&self.row)
            {
                return Ok(true);
            }
            if self.row < groups.at() {
                return Err(self.problem.clone().unwrap_or_else(|| "is out of order".to_owned()));
            }
            self.batch = None;
            let Some(batch) = groups.next() else { return Ok(false) };
            let parsed = batch.and_then(|batch| {
                let parsed = (self.parse)(&batch);
                let parsed = parsed.ok_or_else(|| anyhow::anyhow!("has unexpected columns"))?;
                Ok((parsed, batch.num_rows()))
            });
            match parsed {
                Ok(batch) => {
                    self.first = groups.at() - batch.1 as u64;
                    self.batch = Some(batch);
                }
                Err(error) => {
                    self.problem = Some(format!("{} cannot be read: {error:#}", self.name));
                }
            }
        }
    }

    /// Returns the batch that contains the current row, and the row's index in the batch. [`Self::load`] must have
    /// returned `true`.
    pub(super) fn get(&self) -> (&B, usize) {
        let (batch, rows) = self.rest();
        (batch, rows.start)
    }

    /// Returns the batch that contains the current row, and the indices of this row and all rows after it.
    /// [`Self::load`] must have returned `true`.
    pub(super) fn rest(&self) -> (&B, Range<usize>) {
        let (batch, length) = self.batch.as_ref().expect("`load` has read the row");
        (batch, (self.row - self.first) as usize..*length)
    }

    /// Returns the number of the current row.
    pub(super) fn row(&self) -> u64 {
        self.row
    }

    /// Advances by the given number of rows.
    pub(super) fn advance(&mut self, rows: usize) {
        self.row += rows as u64;
    }

    /// Skips the rows that are lost because of an error. Returns whether there were any.
    pub(super) fn skip_lost(&mut self) -> bool {
        let next = self.groups.as_ref().map_or(0, Groups::at);
        let lost = self.row < next;
        self.row = self.row.max(next);
        lost
    }
}

/// The values of a column in a record batch.
pub(super) enum Column {
    Text(StringViewArray),
    Int32(Int32Array),
    Int64(Int64Array),
    Double(Float64Array),
    Time(TimestampMicrosecondArray),
}

/// A row of the table, in a record batch.
pub(super) struct RowOf<'a> {
    pub(super) columns: &'a [Column],
    pub(super) row: usize,
}

impl Column {
    fn of(array: &ArrayRef) -> Option<Self> {
        let array = array.as_any();
        None.or_else(|| array.downcast_ref().cloned().map(Self::Text))
            .or_else(|| array.downcast_ref().cloned().map(Self::Int32))
            .or_else(|| array.downcast_ref().cloned().map(Self::Int64))
            .or_else(|| array.downcast_ref().cloned().map(Self::Double))
            .or_else(|| array.downcast_ref().cloned().map(Self::Time))
    }
}

impl Row for RowOf<'_> {
    fn value(&self, column: usize) -> Value<'_> {
        let row = self.row;
        match &self.columns[column] {
            Column::Text(array) if array.is_valid(row) => Value::Text(array.value(row).as_bytes()),
            Column::Int32(array) if array.is_valid(row) => Value::Integer(array.value(row).into()),
            Column::Int64(array) if array.is_valid(row) => Value::Integer(array.value(row)),
            Column::Double(array) if array.is_valid(row) => Value::Double(array.value(row)),
            Column::Time(array) if array.is_valid(row) => Value::Time(array.value(row)),
            _ => Value::Null,
        }
    }
}

/// Opens the rows of a claim. Returns the rows and a writer for their lines.
pub(super) fn rows(
    dataset: &Dataset,
    claim: &Claim,
    table: &Table,
) -> (Cursor<Vec<Column>>, Writer) {
    let open = |output: &Output| Groups::open(dataset, output, true, |name| name != SOURCE_KEY);
    let (name, mut table) = (&table.name, table.clone());
    let parse = |groups: Option<&Groups>| -> Parse<Vec<Column>> {
        if let Some(groups) = groups {
            // Files from older versions lack the fields that were added later.
            let schema = groups.footer().file_metadata().schema_descr();
            let has = |name: &str| schema.columns().iter().any(|column| column.name() == name);
            let is_in = |field: &&Field| field.columns.iter().all(|column| has(&column.name));
            let fields = table.fields.iter().take_while(is_in).count();
            table.fields.truncate(fields);
        }
        let names = table.columns().map(|(_, column)| column.name.clone());
        let names: Vec<String> = names.chain([EXTRA_FIELDS.to_owned()]).collect();
        Box::new(move |batch| {
            names.iter().map(|name| Column::of(batch.column_by_name(name)?)).collect()
        })
    };
    let rows = Cursor::open(dataset, claim, name, open, parse);
    (rows, Writer::new(&table))
}

/// The line numbers and bytes of rejects.
pub(super) struct RejectedLines {
    numbers: Int64Array,
    lines: BinaryArray,
}

impl RejectedLines {
    pub(super) fn number(&self, row: usize) -> Option<u64> {
        u64::try_from(self.numbers.value(row)).ok().filter(|_| self.numbers.is_valid(row))
    }

    /// Returns the line's first bytes, without the line ending. They are absent in redacted datasets.
    pub(super) fn line(&self, row: usize) -> &[u8] {
        if self.lines.is_valid(row) { self.lines.value(row) } else { b"" }
    }
}

/// Opens the rejects of a claim.
pub(super) fn rejects(dataset: &Dataset, claim: &Claim) -> Cursor<RejectedLines> {
    let wanted = |name: &str| matches!(name, "line_number" | "raw_line");
    let open = |output: &Output| Groups::open(dataset, output, false, wanted);
    let parse = |batch: &RecordBatch| {
        let numbers = batch.column_by_name("line_number")?.as_any().downcast_ref();
        let lines = batch.column_by_name("raw_line")?.as_any().downcast_ref();
        Some(RejectedLines { numbers: numbers.cloned()?, lines: lines.cloned()? })
    };
    Cursor::open(dataset, claim, reject::TABLE, open, |_| Box::new(parse))
}

/// Originals, each with the key of its object.
pub(super) type Originals = Vec<(String, OriginalLines)>;

/// Opens the originals of a claim.
pub(super) fn originals(dataset: &Dataset, claim: &Claim) -> Cursor<Originals> {
    let open = |output: &Output| Groups::open(dataset, output, false, |_| true);
    let parse = |batch: &RecordBatch| {
        let parsed = original::parse(batch)?.into_iter();
        Some(parsed.map(|(key, lines)| (key.to_owned(), lines)).collect())
    };
    let mut cursor = Cursor::open(dataset, claim, original::TABLE, open, |_| Box::new(parse));
    if claim.lacks_originals() {
        cursor.problem = Some("the claim has lost its originals file".to_owned());
    }
    cursor
}
