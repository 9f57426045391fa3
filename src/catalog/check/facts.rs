//! Reads the expected values of columns from footers and rows.

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use crate::catalog::check::{
    ColumnFacts, PartitionValues, Probe, Random, Range, Unreadable, Value, filters, is_comparable,
};
use crate::catalog::ddl::Column;
use crate::dataset::claim::Output;
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::Dataset;
use crate::util::corrupt::{self, contained};

/// Number of rows per batch.
const BATCH: usize = 16_384;
/// Number of rows from which filters are derived.
const SAMPLES: u64 = 2_048;

/// The column values of one row, from which filters are derived.
pub(super) type Row = Vec<Option<Value>>;

/// The values of a column in a batch, converted to one of the few types that can be compared.
pub(super) enum Values {
    Integers(Int64Array),
    Doubles(Float64Array),
    Texts(StringArray),
    /// Microseconds since 1970.
    Times(Int64Array),
}

impl Probe {
    pub(super) fn read(
        dataset: &Dataset,
        partition: &PartitionValues,
        outputs: &[Output],
        columns: &[Column],
        random: &mut Random,
    ) -> anyhow::Result<Self> {
        let (mut facts, row_groups) = footers(dataset, outputs, columns)?;
        let rows: u64 = outputs.iter().map(|output| output.rows).sum();
        let step = (rows / SAMPLES).max(1);
        let mut sums = vec![None; columns.len()];
        let mut samples: Vec<Row> = Vec::new();
        let (mut at, mut next) = (0, 0);
        let all: Vec<usize> = (0..columns.len()).collect();
        scan(dataset, outputs, columns, &all, |Batch { rows, values, .. }| {
            for (sum, values) in sums.iter_mut().zip(&values) {
                if let Some(Values::Integers(array)) = values {
                    let values = array.iter().flatten().map(i128::from);
                    *sum = values.chain(*sum).reduce(|one, other| one + other);
                }
            }
            while next < at + rows as u64 {
                let row = values.iter().map(|values| values.as_ref()?.get((next - at) as usize));
                samples.push(row.collect());
                next += 1 + random.next() % (2 * step - 1);
            }
            at += rows as u64;
            Ok(())
        })?;
        for (facts, sum) in facts.iter_mut().zip(sums) {
            facts.sum = sum.and_then(|sum| i64::try_from(sum).ok());
        }
        let candidates = filters::candidates(columns, &samples, random);
        let filters = filters::count(dataset, outputs, columns, candidates)?;
        Ok(Self { partition: partition.clone(), rows, row_groups, columns: facts, filters })
    }
}

/// Reads file footers. Returns the expected values of each column, without sums, and the number of row groups.
fn footers(
    dataset: &Dataset,
    outputs: &[Output],
    columns: &[Column],
) -> anyhow::Result<(Vec<ColumnFacts>, usize)> {
    let empty = |column: &Column| ColumnFacts {
        name: column.name.clone(),
        values: Some(0),
        range: Range::Empty,
        sum: None,
    };
    let mut facts: Vec<_> = columns.iter().map(empty).collect();
    let mut row_groups = 0;
    for output in outputs {
        let footer = PublishedFile::new(dataset, output).footer();
        let footer = footer.with_context(|| unreadable(dataset, output))?;
        row_groups += footer.num_row_groups();
        for group in footer.row_groups() {
            for (facts, column) in facts.iter_mut().zip(columns) {
                facts.add(column, group);
            }
        }
    }
    Ok((facts, row_groups))
}

fn unreadable(dataset: &Dataset, output: &Output) -> Unreadable {
    Unreadable(dataset.target().name(&output.file.key))
}

impl ColumnFacts {
    /// Adds the statistics of a row group.
    fn add(&mut self, column: &Column, group: &RowGroupMetaData) {
        let rows = group.num_rows().cast_unsigned();
        let chunk = group.columns().iter().find(|chunk| chunk.column_descr().name() == column.name);
        // A file written by an older version may lack the column. Engines then read NULL.
        let Some(chunk) = chunk else { return };
        let statistics = chunk.statistics();
        let nulls = statistics.and_then(Statistics::null_count_opt);
        let values = nulls.and_then(|nulls| rows.checked_sub(nulls));
        self.values = self.values.zip(values).map(|(all, of_group)| all + of_group);
        if values == Some(0) || self.range == Range::Unknown {
            return;
        }
        let of_group = if is_comparable(&column.data_type) {
            statistics.and_then(|statistics| exact_range(&column.data_type, statistics))
        } else {
            None
        };
        let old = std::mem::replace(&mut self.range, Range::Unknown);
        self.range = match (old, of_group) {
            (Range::Empty, Some((min, max))) => Range::Exact(min, max),
            (Range::Exact(least, greatest), Some((min, max))) => Range::Exact(
                if min < least { min } else { least },
                if max > greatest { max } else { greatest },
            ),
            _ => Range::Unknown,
        };
    }
}

/// Returns the min and max if the statistics are exact.
fn exact_range(data_type: &DataType, statistics: &Statistics) -> Option<(Value, Value)> {
    if !statistics.min_is_exact() || !statistics.max_is_exact() {
        return None;
    }
    let number = |number: i64| match data_type {
        DataType::Timestamp(..) => Value::Time(number),
        _ => Value::Integer(number),
    };
    let text = |bytes: &[u8]| Some(Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()));
    Some(match statistics {
        Statistics::Int32(of) => (number((*of.min_opt()?).into()), number((*of.max_opt()?).into())),
        Statistics::Int64(of) => (number(*of.min_opt()?), number(*of.max_opt()?)),
        Statistics::Double(of) => (Value::Double(*of.min_opt()?), Value::Double(*of.max_opt()?)),
        Statistics::ByteArray(of) => (text(of.min_opt()?.data())?, text(of.max_opt()?.data())?),
        _ => return None,
    })
}

/// The values of selected columns in consecutive rows of a row group.
pub(super) struct Batch {
    /// Indices of the file and of the row group in the file.
    pub(super) group: (usize, usize),
    pub(super) rows: usize,
    /// `None` for columns that the file lacks or that cannot be compared.
    pub(super) values: Vec<Option<Values>>,
}

/// Reads the columns with the indices in `wanted`, one row group at a time.
pub(super) fn scan(
    dataset: &Dataset,
    outputs: &[Output],
    columns: &[Column],
    wanted: &[usize],
    mut each: impl FnMut(Batch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (file, output) in outputs.iter().enumerate() {
        let open = || {
            contained(|| {
                ParquetRecordBatchReaderBuilder::try_new(PublishedFile::new(dataset, output))
            })
        };
        let groups =
            open().with_context(|| unreadable(dataset, output))?.metadata().num_row_groups();
        for group in 0..groups {
            let builder = open()?;
            let names = wanted.iter().map(|index| columns[*index].name.as_str());
            let mask = ProjectionMask::columns(builder.parquet_schema(), names);
            let reader = builder.with_projection(mask).with_row_groups(vec![group]);
            let reader = contained(|| reader.with_batch_size(BATCH).build())?;
            for batch in corrupt::batches(reader) {
                let batch = batch.with_context(|| unreadable(dataset, output))?;
                let values = wanted.iter().map(|index| Values::of(&batch, &columns[*index]));
                let values = values.collect::<anyhow::Result<Vec<_>>>()?;
                each(Batch { group: (file, group), rows: batch.num_rows(), values })?;
            }
        }
    }
    Ok(())
}

impl Values {
    fn of(batch: &RecordBatch, column: &Column) -> anyhow::Result<Option<Self>> {
        let Some(array) = batch.column_by_name(&column.name) else { return Ok(None) };
        let as_type =
            |data_type: &DataType| -> anyhow::Result<ArrayRef> { Ok(cast(array, data_type)?) };
        Ok(match column.data_type {
            DataType::Int32 | DataType::Int64 => {
                Some(Self::Integers(as_type(&DataType::Int64)?.as_primitive::<Int64Type>().clone()))
            }
            // SQL treats 0.0 and -0.0 as equal, but Arrow does not.
            DataType::Float64 => Some(Self::Doubles(
                as_type(&DataType::Float64)?
                    .as_primitive::<Float64Type>()
                    .unary(|value| value + 0.0),
            )),
            DataType::Timestamp(..) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                let array = cast(&as_type(&micros)?, &DataType::Int64)?;
                Some(Self::Times(array.as_primitive::<Int64Type>().clone()))
            }
            DataType::Utf8 => {
                Some(Self::Texts(as_type(&DataType::Utf8)?.as_string::<i32>().clone()))
            }
            _ => None,
        })
    }

    fn get(&self, index: usize) -> Option<Value> {
        match self {
            Self::Integers(array) => {
                array.is_valid(index).then(|| Value::Integer(array.value(index)))
            }
            Self::Times(array) => array.is_valid(index).then(|| Value::Time(array.value(index))),
            Self::Doubles(array) => {
                array.is_valid(index).then(|| Value::Double(array.value(index)))
            }
            Self::Texts(array) => {
                array.is_valid(index).then(|| Value::Text(array.value(index).to_owned()))
            }
        }
    }
}
