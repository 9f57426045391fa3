//! Reads Application Load Balancer logs and writes them as partitioned Parquet.

pub mod cli;
pub mod columns;
pub mod convert;
pub mod dataset;
pub mod decode;
pub mod encode;
pub mod feed;
pub mod fields;
pub mod inflate;
pub mod key;
pub mod plan;
pub mod pool;
pub mod reject;
pub mod schema;
pub mod store;
pub mod tally;
pub mod text;
