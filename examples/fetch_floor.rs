//! Reads every `.log.gz` object of a bucket and discards the bytes. The elapsed time is a lower bound for converting the
//! same objects from this bucket, if enough reads are in flight.
//!
//! `cargo run --release --example fetch_floor -- s3://BUCKET [--reads N] [--threads N]`

#![allow(clippy::print_stdout)] // a program, not the library

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use futures::{TryStreamExt, future};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

#[derive(Parser)]
struct Args {
    /// URL of the bucket
    bucket: String,
    /// Reads in flight
    #[arg(long, default_value_t = 256)]
    reads: usize,
    /// Threads that send requests
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // reqwest needs a provider, even for unencrypted connections.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = Arc::new(AmazonS3Builder::from_env().with_url(&args.bucket).build()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads)
        .enable_all()
        .build()?;
    let started = Instant::now();
    let (objects, bytes) = runtime.block_on(async {
        let logs = store
            .list(None)
            .try_filter(|object| future::ready(object.location.as_ref().ends_with(".log.gz")));
        let read = |path: Path| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { anyhow::Ok(store.get(&path).await?.bytes().await?.len()) })
        };
        logs.map_err(anyhow::Error::from)
            .map_ok(|object| async { read(object.location).await? })
            .try_buffer_unordered(args.reads)
            .try_fold((0_u64, 0), async |(objects, bytes), read| Ok((objects + 1, bytes + read)))
            .await
    })?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{bytes} bytes of {objects} objects in {seconds:.3} s");
    Ok(())
}
