//! Reads the Parquet files of an S3 Inventory.

use std::fs::File;
use std::io::{self, Read, Seek};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::plan::inventory::Found;
use crate::plan::inventory::table::Columns;
use crate::util::corrupt::{self, contained};

/// Number of rows per batch.
const ROWS: usize = 4096;

/// An error in an inventory file.
pub(super) enum Fault<E> {
    /// The file cannot be read, or is not an inventory file.
    Read(io::Error),
    /// The function that consumes the rows failed.
    Taker(E),
}

/// Calls `take` with every current object and its row number, starting at 1.
pub(super) fn read<E>(
    mut input: impl Read,
    mut take: impl FnMut(u64, Found<'_>) -> Result<(), E>,
) -> Result<(), Fault<E>> {
    let file = spooled(&mut input).map_err(Fault::Read)?;
    let bad = |why: String| Fault::Read(io::Error::new(io::ErrorKind::InvalidData, why));
    let failed = |error: &dyn std::error::Error| bad(error.to_string());
    let open = || ParquetRecordBatchReaderBuilder::try_new(file);
    let builder = contained(open).map_err(|error| failed(&error))?;
    let names: Vec<String> =
        builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let all = Columns::of(&names).ok_or_else(|| bad(format!("its columns are {names:?}")))?;
    let wanted = [
        all.bucket,
        Some(all.key),
        all.size,
        all.e_tag,
        all.is_latest,
        all.is_delete_marker,
        all.storage_class,
        all.access_tier,
    ];
    let wanted: Vec<usize> = wanted.into_iter().flatten().collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let build = || builder.with_projection(mask).with_batch_size(ROWS).build();
    let reader = contained(build).map_err(|error| failed(&error))?;
    let mut row = 0;
    for batch in corrupt::batches(reader) {
        let batch = batch.map_err(|error| failed(&error))?;
        let names: Vec<String> =
            batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        let columns =
            Columns::of(&names).ok_or_else(|| bad(format!("its columns are {names:?}")))?;
        let texts = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let texts: Vec<_> = texts.collect::<Result<_, _>>().map_err(|error| failed(&error))?;
        let texts: Vec<_> = texts.iter().map(AsArray::as_string::<i32>).collect();
        for place in 0..batch.num_rows() {
            row += 1;
            let field = |column: usize| {
                let column = texts[column];
                (!column.is_null(place)).then(|| column.value(place))
            };
            if let Some(found) = columns.read(field) {
                take(row, found).map_err(Fault::Taker)?;
            }
        }
    }
    Ok(())
}

/// Copies the input to an anonymous file, because reading Parquet requires seeking: the footer is at the end.
fn spooled(input: &mut impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(input, &mut file)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn inventory() -> Vec<u8> {
        let text = |value: &str| Arc::new(StringArray::from(vec![value; 3]));
        let batch = RecordBatch::try_from_iter([
            ("bucket", text("logs") as _),
            ("key", text("a/b.log.gz") as _),
            ("size", Arc::new(Int64Array::from(vec![1, 2, 3])) as _),
        ])
        .unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    #[test]
    fn a_corrupt_inventory_is_an_error_not_a_panic() {
        let valid = inventory();
        let (mut read_well, mut refused, mut panicked) = (0, 0, 0);
        for at in 0..valid.len() {
            for bit in 0..8 {
                let mut corrupt = valid.clone();
                corrupt[at] ^= 1 << bit;
                match read(corrupt.as_slice(), |_, _| Ok::<_, ()>(())) {
                    Ok(()) => read_well += 1,
                    Err(Fault::Read(error)) if error.to_string().contains("is corrupt") => {
                        panicked += 1;
                    }
                    Err(Fault::Read(_)) => refused += 1,
                    Err(Fault::Taker(())) => unreachable!(),
                }
            }
        }
        // The test is meaningful only if the crate panics on some of the files.
        assert!(read_well > 0 && refused > 0 && panicked > 0, "{read_well} {refused} {panicked}");
    }
}
