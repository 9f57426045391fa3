//! Utilities that know nothing of logs: hashes, threads, pools, and the escaping of untrusted text.

#[cfg(feature = "parquet")]
pub(crate) mod corrupt;
pub(crate) mod escape;
#[cfg(feature = "parquet")]
pub(crate) mod hash;
pub(crate) mod pool;
#[cfg(feature = "parquet")]
pub(crate) mod threads;
