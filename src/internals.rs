//! What tests, benches and fuzz targets use. It is not part of the public API.

pub use crate::{
    catalog, cli, convert, dataset, decode, encode, logs, maintain, plan, redact, report, store,
    util,
};
