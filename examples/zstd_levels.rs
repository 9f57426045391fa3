//! Compares Zstandard levels on PLAIN-encoded columns of a Parquet file.
//!
//! ```text
//! cargo run --release --example zstd_levels -- FILE.parquet COLUMN...
//! ```
//! Splits each column into pages as the encoder does, and compresses the pages with Huffman-coded literals. For each
//! level, prints the compressed bytes and the CPU time in nanoseconds, both per row. Requires Linux.

#![allow(clippy::print_stdout)] // a program, not the library

use std::fs::{self, File};

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch};

const PAGE_ROWS: usize = 20_000;
const LEVELS: [i32; 9] = [-60, -7, -5, -3, -2, -1, 1, 2, 3];
/// Number of times to compress each column. The kernel updates CPU times only every few milliseconds, so a single round
/// would be too short to measure.
const ROUNDS: u64 = 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: zstd_levels FILE.parquet COLUMN...")?;
    print!("| column | PLAIN |");
    for level in LEVELS {
        print!(" {level} |");
    }
    println!("\n| --- |{}", " --: |".repeat(1 + LEVELS.len()));
    for column in arguments {
        let (pages, rows) = pages(&path, &column)?;
        let plain: usize = pages.iter().map(Vec::len).sum();
        print!("| `{column}` | {:.2} B |", plain as f64 / rows as f64);
        for level in LEVELS {
            let (bytes, nanoseconds) = compress(&pages, level)?;
            let [bytes, time] = [bytes as f64, nanoseconds as f64].map(|sum| sum / rows as f64);
            print!(" {bytes:.2} B, {time:.0} ns |");
        }
        println!();
    }
    Ok(())
}

/// Returns a column's pages in PLAIN encoding, and the number of rows.
fn pages(path: &str, column: &str) -> Result<(Vec<Vec<u8>>, usize)> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let reader = builder.with_projection(mask).with_batch_size(PAGE_ROWS).build()?;
    let (mut pages, mut rows) = (Vec::new(), 0);
    for batch in reader {
        let batch = batch?;
        rows += batch.num_rows();
        pages.push(plain(batch.columns().first().context("no such column")?));
    }
    Ok((pages, rows))
}

/// Returns an array's values in PLAIN encoding.
fn plain(array: &ArrayRef) -> Vec<u8> {
    macro_rules! numbers {
        ($kind:ty) => {
            array.as_primitive::<$kind>().iter().flatten().flat_map(|v| v.to_le_bytes()).collect()
        };
    }
    match array.data_type() {
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Timestamp(..) => numbers!(TimestampMicrosecondType),
        DataType::Float64 => numbers!(Float64Type),
        _ => {
            let mut page = Vec::new();
            for text in array.as_string::<i32>().iter().flatten() {
                page.extend_from_slice(&(text.len() as u32).to_le_bytes());
                page.extend_from_slice(text.as_bytes());
            }
            page
        }
    }
}

/// Compresses pages. Returns the compressed size in bytes and the CPU time in nanoseconds.
fn compress(pages: &[Vec<u8>], level: i32) -> Result<(usize, u64)> {
    let mut compressor = Compressor::new(level)?;
    compressor.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
    let mut size = 0;
    let start = cpu_time()?;
    for _ in 0..ROUNDS {
        size = 0;
        for page in pages {
            size += compressor.compress(page)?.len();
        }
    }
    Ok((size, (cpu_time()? - start) / ROUNDS))
}

/// Returns the CPU time of this thread in nanoseconds.
fn cpu_time() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().context("the kernel has no scheduler statistics")?.parse()?)
}
