//! Example lines: one reject for each reason, read from the smallest file with rejects for that reason.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::dataset::claim::Output;
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::Dataset;
use crate::util::corrupt::{self, contained};
use crate::util::escape::printable;

/// Maximum number of bytes of a line that an example shows.
const SHOWN: usize = 400;
/// Number of rejects to read per batch. The number is small because a reject can contain 64 KiB of text.
const BATCH: usize = 64;

/// An example of a rejected line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Log type of the line.
    pub log_type: String,
    /// Key of the object.
    pub source_key: String,
    /// Number of the line in the object, starting at 1.
    pub line_number: i64,
    /// Column whose value is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column_name: Option<String>,
    /// Length of the line in bytes.
    pub raw_length: i64,
    /// The first bytes of the line, escaped. `None` if the dataset is redacted and therefore does not contain the text
    /// of rejected lines.
    pub raw_line: Option<String>,
    /// Whether the line is longer than `raw_line`.
    pub truncated: bool,
}

/// For each reason, the file to read the example from: the smallest file, or the first by key among files of equal
/// size.
pub(super) type Candidates = BTreeMap<String, Output>;

/// Records a reject file as a candidate for one of the reasons in it.
pub(super) fn consider(candidates: &mut Candidates, reason: &str, output: &Output) {
    let order = |output: &Output| (output.file.size, output.file.key.clone());
    match candidates.get_mut(reason) {
        Some(before) if order(before) <= order(output) => {}
        Some(before) => before.clone_from(output),
        None => {
            candidates.insert(reason.to_owned(), output.clone());
        }
    }
}

/// Returns the examples by reason, and an error message for each file that cannot be read.
pub(super) fn read(
    dataset: &Dataset,
    candidates: &Candidates,
) -> (BTreeMap<String, Example>, Vec<String>) {
    let mut files: BTreeMap<&str, (&Output, BTreeSet<&str>)> = BTreeMap::new();
    for (reason, output) in candidates {
        files.entry(&output.file.key).or_insert((output, BTreeSet::new())).1.insert(reason);
    }
    let (mut examples, mut problems) = (BTreeMap::new(), Vec::new());
    for (output, mut wanted) in files.into_values() {
        if let Err(error) = read_file(dataset, output, &mut wanted, &mut examples) {
            let name = dataset.target().name(&output.file.key);
            problems.push(format!("{name} cannot be read: {error:#}"));
        }
    }
    (examples, problems)
}

fn read_file(
    dataset: &Dataset,
    output: &Output,
    wanted: &mut BTreeSet<&str>,
    examples: &mut BTreeMap<String, Example>,
) -> anyhow::Result<()> {
    let file = PublishedFile::new(dataset, output);
    let open = || ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH).build();
    for batch in corrupt::batches(contained(open)?) {
        let batch = batch?;
        let reasons = text(&batch, "reason")?;
        for row in 0..batch.num_rows() {
            if !reasons.is_null(row) && wanted.remove(reasons.value(row)) {
                examples.insert(reasons.value(row).to_owned(), example(&batch, row)?);
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    Ok(())
}

fn example(batch: &RecordBatch, row: usize) -> anyhow::Result<Example> {
    let string = |name| -> anyhow::Result<Option<String>> {
        let column = text(batch, name)?;
        Ok((!column.is_null(row)).then(|| column.value(row).to_owned()))
    };
    let number = |name| -> anyhow::Result<i64> {
        let column = column(batch, name)?.as_primitive_opt::<Int64Type>();
        Ok(column.ok_or_else(|| anyhow::anyhow!("{name} is not a number"))?.value(row))
    };
    let raw = column(batch, "raw_line")?.as_binary_opt::<i32>();
    let raw = raw.ok_or_else(|| anyhow::anyhow!("raw_line is not bytes"))?;
    let raw = (!raw.is_null(row)).then(|| raw.value(row));
    let raw_length = number("raw_length")?;
    Ok(Example {
        log_type: string("log_type")?.unwrap_or_default(),
        source_key: string("source_key")?.unwrap_or_default(),
        line_number: number("line_number")?,
        column_name: string("column_name")?,
        raw_length,
        raw_line: raw.map(|raw| printable(&raw[..raw.len().min(SHOWN)])),
        truncated: raw
            .is_some_and(|raw| raw.len().min(SHOWN) < usize::try_from(raw_length).unwrap_or(0)),
    })
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a dyn Array> {
    let column = batch.column_by_name(name);
    column.map(AsRef::as_ref).ok_or_else(|| anyhow::anyhow!("has no column {name}"))
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a arrow::array::StringArray> {
    let column = column(batch, name)?.as_string_opt::<i32>();
    column.ok_or_else(|| anyhow::anyhow!("{name} is not text"))
}
