//! Decompresses every `.log.gz` file under a directory and discards the result. The elapsed time is a lower bound for
//! converting the same files.
//!
//! `cargo run --release --example inflate_floor -- DIRECTORY [--threads N] [--stream]`

#![allow(clippy::print_stdout)] // a program, not the library

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use flate2::bufread::MultiGzDecoder;
use rayon::prelude::*;

#[derive(Parser)]
struct Args {
    /// Directory of objects
    directory: PathBuf,
    /// Worker threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Stream with flate2 instead of decompressing entire objects with libdeflate
    #[arg(long)]
    stream: bool,
}

#[derive(Default)]
struct Worker {
    gzip: Vec<u8>,
    text: Vec<u8>,
}

impl Worker {
    fn inflate(&mut self, path: &PathBuf, stream: bool) -> Result<usize> {
        if stream {
            return self.stream(path);
        }
        self.gzip.clear();
        std::fs::File::open(path)?.read_to_end(&mut self.gzip)?;
        let length = self.gzip.last_chunk::<4>().context("not gzip")?;
        let length = u32::from_le_bytes(*length) as usize;
        if self.text.len() < length {
            self.text.resize(length, 0);
        }
        Ok(libdeflater::Decompressor::new().gzip_decompress(&self.gzip, &mut self.text)?)
    }

    fn stream(&mut self, path: &PathBuf) -> Result<usize> {
        self.text.resize(4 << 20, 0);
        let file = std::io::BufReader::with_capacity(256 << 10, std::fs::File::open(path)?);
        let mut decoder = MultiGzDecoder::new(file);
        let mut total = 0;
        loop {
            match decoder.read(&mut self.text)? {
                0 => return Ok(total),
                count => total += count,
            }
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut paths = Vec::new();
    let mut open = vec![args.directory];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(".log.gz") {
                paths.push(path);
            }
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    let started = Instant::now();
    let total: usize = pool.install(|| {
        paths
            .par_iter()
            .map_init(Worker::default, |worker, path| worker.inflate(path, args.stream))
            .sum::<Result<usize>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{total} bytes of {} objects in {seconds:.3} s", paths.len());
    Ok(())
}
