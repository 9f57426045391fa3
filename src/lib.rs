//! Reads Application Load Balancer logs and writes them as partitioned Parquet.
//!
//! The program `alb2parquet` is this library with arguments. What is useful by itself is [`read::Reader`],
//! which turns one object, or any stream, into Arrow record batches:
//!
//! ```
//! use alb2parquet::read::Reader;
//! use alb2parquet::schema::LogType;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let line = "http 2025-11-24T10:00:00.000000Z 0.0012 192.0.2.1:80 web PASS 200 -\n";
//! let mut reader = Reader::of_text(LogType::HealthCheck, "source_key", line.as_bytes());
//! let batch = reader.next().expect("there is text")?;
//! assert_eq!(batch.num_rows(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! Data flows one way, and so do imports: a module uses only those listed before it.

// What batches share while they are converted.
pub mod hash;
pub mod threads;
pub mod corrupt;
pub mod pool;
pub mod text;
pub mod escape;
// What lines, tables and keys are.
pub mod schema;
pub mod reject;
pub mod key;
pub mod redact;
pub mod shard;
pub mod profile;
// Where things are, and which objects a dataset holds.
pub mod store;
pub mod dataset;
pub mod claim;
pub mod data_files;
pub mod publish;
pub mod ledger;
// From a listing to text.
pub mod objects;
pub mod plan;
pub mod inflate;
pub mod feed;
pub mod touched;
pub mod estimate;
// From text to record batches.
pub mod fields;
pub mod columns;
pub mod decode;
pub mod fault;
pub mod foreign;
pub mod read;
pub mod inspect;
// From record batches to files that are there.
pub mod encode;
pub mod tally;
pub mod batch;
pub mod convert;
// What else is done with a dataset.
pub mod published;
pub mod verify;
pub mod remove;
pub mod repair;
pub mod accept;
pub mod clean;
// The program around it.
pub mod policy;
pub mod ddl;
pub mod check;
pub mod report;
pub mod cli;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
