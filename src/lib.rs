//! Reads Application Load Balancer logs and writes them as partitioned Parquet.
//!
//! The program `alb2parquet` is this library with arguments. What is useful by itself is [`decode::reader::Reader`],
//! which turns one object, or any stream, into Arrow record batches:
//!
//! ```
//! use alb2parquet::decode::reader::Reader;
//! use alb2parquet::logs::schema::LogType;
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
//! Each module is one stage of the data's path, in this order. ARCHITECTURE.md has the rule of imports.

pub mod util;
pub mod logs;
pub mod decode;
pub mod encode;
pub mod redact;
pub mod store;
pub mod dataset;
pub mod plan;
pub mod convert;
pub mod maintain;
pub mod catalog;
pub mod report;
pub mod cli;
#[doc(hidden)]
pub mod internals;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
