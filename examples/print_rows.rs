//! Prints the rows of an object as tab-separated values, and its rejected lines on stderr.
//!
//! ```sh
//! cargo run --example print_rows -- OBJECT
//! ```

#![allow(clippy::print_stderr)] // a program, not the library

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use alb2parquet::arrow::array::{ArrayRef, RecordBatchReader};
use alb2parquet::arrow::compute::cast;
use alb2parquet::arrow::datatypes::{DataType, TimeUnit};
use alb2parquet::arrow::error::ArrowError;
use alb2parquet::arrow::util::display::{ArrayFormatter, FormatOptions};
use alb2parquet::{Key, Reader};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: print_rows OBJECT")?;
    // The name of an object contains its log type. If your object's name does not, pass a `LogType`.
    let key = Key::parse(&path).map_err(|reason| format!("{path}: {}", reason.as_str()))?;
    let mut reader = Reader::new(key.partition.log_type, path.as_str(), File::open(&path)?)?;

    let mut out = BufWriter::new(io::stdout().lock());
    let schema = reader.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    writeln!(out, "{}", names.join("\t"))?;
    let options = FormatOptions::default();
    for batch in &mut reader {
        let batch = batch?;
        let columns: Vec<_> = batch.columns().iter().map(printable).collect::<Result<_, _>>()?;
        let columns = columns.iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let values: Vec<_> =
                columns.iter().map(|column| column.value(row).to_string()).collect();
            writeln!(out, "{}", values.join("\t"))?;
        }
    }
    out.flush()?;
    for reject in reader.take_rejects() {
        eprintln!("line {} {}", reject.line_number, reject.reason.meaning());
    }
    Ok(())
}

/// Returns a column that Arrow can print. Without its `chrono-tz` feature, Arrow does not support named time zones.
fn printable(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(..) => {
            cast(column, &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())))
        }
        _ => Ok(ArrayRef::clone(column)),
    }
}
