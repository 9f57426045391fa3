//! Utilities that have nothing to do with logs: arenas, hashes, threads, pools, and escaping of untrusted text.

pub(crate) mod arena;
#[cfg(feature = "parquet")]
pub(crate) mod corrupt;
pub(crate) mod escape;
#[cfg(feature = "parquet")]
pub(crate) mod hash;
pub(crate) mod pool;
#[cfg(feature = "convert")]
pub(crate) mod process_limit;
#[cfg(feature = "parquet")]
pub(crate) mod threads;
pub(crate) mod zeros;
