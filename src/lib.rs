//! Reads the logs of AWS load balancers.
//!
//! Application Load Balancers write access, connection and health check logs. Network Load Balancers write a log of TLS
//! connections, and Classic Load Balancers write an access log. A log consists of text objects, usually
//! gzip-compressed, that each cover a few minutes. This library reads these objects as Arrow record batches, writes the
//! batches to Parquet, and converts whole buckets to a partitioned dataset. The program `alb2parquet` is built on this
//! library.
//!
//! # Read an object
//!
//! [`Reader`] reads one object, or any stream, as record batches. [`Key`] parses the object's name, which contains the
//! log type. A line that does not parse is a [`Reject`], not an error: it is returned with the reason, the line number
//! and the bytes.
//!
//! ```
//! use std::fs::File;
//!
//! use alb2parquet::{Key, Reader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = concat!(
//! #     "tests/data/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2016/09/14/",
//! #     "123456789012_elasticloadbalancing_eu-west-1_app.archive.75d2b90a6705c041_",
//! #     "20160914T1005Z_203.0.113.40_8567f577.log.gz",
//! # );
//! let key = Key::parse(path).expect("the name of a log");
//! let mut reader = Reader::new(key.partition.log_type, path, File::open(path)?)?;
//! for batch in &mut reader {
//!     let batch = batch?;
//!     println!("{} rows of {} columns", batch.num_rows(), batch.num_columns());
//! }
//! assert_eq!(reader.counts().lines, reader.counts().rows + reader.counts().rejects);
//! for reject in reader.take_rejects() {
//!     println!("line {}: {}", reject.line_number, reject.reason.meaning());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Look up a schema
//!
//! [`LogType::table`] returns the fields of a log type and the columns derived from them. [`Table::batch_schema`]
//! returns the schema of record batches, in which repeated text is dictionary-encoded. [`Table::file_schema`] returns
//! the schema of Parquet files.
//!
//! ```
//! use alb2parquet::{Kind, LogType};
//!
//! let table = LogType::Access.table();
//! assert_eq!(table.name, "alb_access_logs");
//! let (field, column) = table.columns().find(|(_, column)| column.name == "client_ip").expect("a column");
//! assert_eq!(table.fields[field].name, "client:port");
//! assert_eq!(column.kind, Kind::String);
//! ```
//!
#![cfg_attr(
    feature = "parquet",
    doc = r#"
# Write Parquet

[`TableEncoder`] writes record batches to a Parquet file, here in memory. It encodes them faster than the writer of
[`parquet`], because it knows how the values of each column repeat.

```
use alb2parquet::{Format, LogType, Reader, TableEncoder};

# fn main() -> Result<(), Box<dyn std::error::Error>> {
let line = "http 2025-11-24T10:00:00.000000Z 0.0012 192.0.2.1:80 web PASS 200 -\n";
let reader = Reader::of_text(LogType::HealthCheck, "source_key", line.as_bytes());
let mut encoder = TableEncoder::new(LogType::HealthCheck.table(), Format::default(), Vec::new())?;
for batch in reader {
    encoder.write(&batch?)?;
}
let file = encoder.finish(&[])?;
assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
# Ok(())
# }
```
"#
)]
#![cfg_attr(
    feature = "convert",
    doc = r#"
# Convert a bucket

[`Converter`] converts all objects in directories and buckets to a dataset that query engines read. Each object is
converted once, however often it runs.

```no_run
use std::sync::atomic::AtomicBool;

use alb2parquet::{Converter, Selection};

# fn main() -> Result<(), Box<dyn std::error::Error>> {
let selection = Selection { accounts: vec!["123456789012".to_owned()], ..Selection::default() };
let converter = Converter::new("s3://my-lake/alb").selection(selection);
let tally = converter.convert(&["s3://my-log-bucket"], &AtomicBool::new(false))?;
assert!(tally.failures.is_empty(), "{:?}", tally.failures);
# Ok(())
# }
```
"#
)]
//! # Examples
//!
//! The directory `examples` contains a program for each of these tasks:
//!
//! | example | purpose |
//! |---|---|
//! | `print_rows` | prints the rows of an object |
//! | `count_statuses` | counts the status codes in a directory of objects |
//! | `write_parquet` | writes an object to a Parquet file |
//! | `arrow_stream` | streams an object to DuckDB or any other engine that reads Arrow |
//!
//! # Features
//!
//! Each feature includes the one before it.
//!
//! | feature | adds |
//! |---|---|
//! | none | [`Reader`] and the schemas |
//! | `parquet` | `TableEncoder`, which writes Parquet files, and `Redaction`, which removes personal data |
//! | `convert` | `Converter`, which converts directories and buckets to a dataset |
//! | `cli` (default) | the program |
//! | `iceberg` | publishing Iceberg tables, in the program |
//!
//! `convert` adds cloud SDKs to the build, and `cli` adds a command line parser.

// Without the `cli` feature, some internal functions are never called.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unreachable_pub, unused_imports))]

mod util;
mod logs;
mod decode;
#[cfg(feature = "parquet")]
mod encode;
#[cfg(feature = "parquet")]
mod redact;
#[cfg(feature = "convert")]
mod store;
#[cfg(feature = "convert")]
mod dataset;
#[cfg(feature = "convert")]
mod plan;
#[cfg(feature = "convert")]
mod convert;
#[cfg(feature = "cli")]
mod maintain;
#[cfg(feature = "cli")]
mod catalog;
#[cfg(feature = "cli")]
mod report;
#[cfg(feature = "cli")]
mod cli;
#[doc(hidden)]
pub mod internals;

pub use arrow;
#[cfg(feature = "parquet")]
pub use parquet;

pub use crate::decode::gzip::Note;
pub use crate::decode::locate::fault_range;
pub use crate::decode::reader::{Counts, Reader};
pub use crate::logs::key::{Key, Partition, PartitionError, SkipReason};
pub use crate::logs::reject::{Reason, Reject};
pub use crate::logs::schema::{
    Column, Era, Field, Kind, LoadBalancerType, LogType, Part, Quotes, Shape, Stored, Table,
};

#[cfg(feature = "parquet")]
pub use crate::encode::profile::Profile;
#[cfg(feature = "parquet")]
pub use crate::encode::{Compression, Format, TableEncoder};
#[cfg(feature = "parquet")]
pub use crate::redact::{Action, RedactError, Redaction, Rules};

#[cfg(feature = "convert")]
pub use crate::convert::converter::{Converter, ConverterError};
#[cfg(feature = "convert")]
pub use crate::convert::tally::{Objects, OfLogType, Tally};
#[cfg(feature = "convert")]
pub use crate::dataset::layout::Layout;
#[cfg(feature = "convert")]
pub use crate::dataset::shard::{Shard, ShardError};
#[cfg(feature = "convert")]
pub use crate::plan::{Balancer, BalancerError, Failure, Moved, Remedy, Selection};

/// Compiles the Rust examples in the documentation.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/library.md")]
struct Documentation;
