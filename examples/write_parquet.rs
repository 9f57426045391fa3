//! Writes the rows of an object to a Parquet file.
//!
//! ```sh
//! cargo run --example write_parquet -- OBJECT FILE
//! ```

#![allow(clippy::print_stdout)] // a program, not the library

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read;

use alb2parquet::{Counts, Format, Key, LogType, Reader, TableEncoder};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(path), Some(file)) = (args.next(), args.next()) else {
        return Err("usage: write_parquet OBJECT FILE".into());
    };
    let key = Key::parse(&path).map_err(|reason| format!("{path}: {}", reason.as_str()))?;
    let (parquet, counts) = parquet_of(key.partition.log_type, &path, File::open(&path)?)?;
    fs::write(&file, &parquet)?;
    println!("{} rows, {} rejected lines, {} bytes", counts.rows, counts.rejects, parquet.len());
    Ok(())
}

/// Returns the bytes of a Parquet file with the rows of an object.
fn parquet_of(
    log_type: LogType,
    key: &str,
    object: impl Read + Send + 'static,
) -> Result<(Vec<u8>, Counts), Box<dyn Error>> {
    let mut reader = Reader::new(log_type, key, object)?;
    let mut encoder = TableEncoder::new(log_type.table(), Format::default(), Vec::new())?;
    for batch in &mut reader {
        encoder.write(&batch?)?;
    }
    Ok((encoder.finish(&[])?, reader.counts()))
}
