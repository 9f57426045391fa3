//! Counts the status codes in the access logs below a directory.
//!
//! ```sh
//! cargo run --example count_statuses -- DIRECTORY
//! ```

#![allow(clippy::print_stdout)] // a program, not the library

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use alb2parquet::arrow::array::AsArray;
use alb2parquet::arrow::datatypes::Int32Type;
use alb2parquet::{Key, LogType, Reader};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args().nth(1).ok_or("usage: count_statuses DIRECTORY")?;
    let mut counts = BTreeMap::new();
    let mut rejects = 0;
    for path in files(Path::new(&directory))? {
        let Some(path) = path.to_str() else { continue };
        // Skip files that are not named like access logs.
        if !Key::parse(path).is_ok_and(|key| key.partition.log_type == LogType::Access) {
            continue;
        }
        let mut reader = Reader::new(LogType::Access, path, File::open(path)?)?;
        for batch in &mut reader {
            let batch = batch?;
            let statuses = batch["elb_status_code"].as_primitive::<Int32Type>();
            for status in statuses {
                *counts.entry(status).or_insert(0_u64) += 1;
            }
        }
        rejects += reader.counts().rejects;
    }
    for (status, count) in counts {
        match status {
            Some(status) => println!("{status} {count}"),
            None => println!("none {count}"),
        }
    }
    println!("rejected lines {rejects}");
    Ok(())
}

/// Returns all files in a directory and its subdirectories.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}
