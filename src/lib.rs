//! Reads Application Load Balancer logs and writes them as partitioned Parquet.
//!
//! The program `alb2parquet` is this library with arguments. A part of it that is useful by itself
//! is the decoder, which needs neither files nor threads:
//!
//! ```
//! use alb2parquet::decode::Decoder;
//! use alb2parquet::inflate::{Piece, Stream};
//! use alb2parquet::schema::Table;
//! use alb2parquet::text::Text;
//!
//! # fn main() -> std::io::Result<()> {
//! let path = concat!(
//!     "tests/data/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2016/09/14/",
//!     "123456789012_elasticloadbalancing_eu-west-1_app.archive.75d2b90a6705c041_",
//!     "20160914T1005Z_203.0.113.40_8567f577.log.gz",
//! );
//! let file = std::fs::File::open(path)?;
//! let mut stream = Stream::new(0, file.metadata()?.len(), Box::new(file))?;
//! let mut decoder = Decoder::new(Table::access());
//! while let Some(mut piece) = stream.next(Text::default())? {
//!     let decoded = decoder.decode(&mut piece, |_| "the object's key");
//!     assert!(decoded.batch.num_rows() > 0);
//!     assert_eq!(decoded.batch.num_columns(), 42);
//!     for part in &decoded.parts {
//!         assert_eq!(part.lines, part.rows + part.rejects.len() as u64);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! Data flows one way, and so do imports: a module uses only those listed before it.

// What batches share while they are converted.
pub mod hash;
pub mod pool;
pub mod text;
// What lines, tables and keys are.
pub mod schema;
pub mod reject;
pub mod key;
pub mod shard;
// Where things are, and which objects a dataset holds.
pub mod store;
pub mod dataset;
pub mod claim;
pub mod publish;
pub mod ledger;
// From a listing to text.
pub mod objects;
pub mod plan;
pub mod inflate;
pub mod feed;
// From text to record batches.
pub mod fields;
pub mod columns;
pub mod decode;
pub mod foreign;
// From record batches to files that are there.
pub mod encode;
pub mod tally;
pub mod batch;
pub mod convert;
// What else is done with a dataset.
pub mod verify;
pub mod remove;
pub mod clean;
// The program around it.
pub mod policy;
pub mod ddl;
pub mod cli;
