//! Datasets: the files under `--out`, the claims that list them, and the protocol for changing them.

pub(crate) mod claim;
pub(crate) mod contents;
pub(crate) mod data_files;
pub(crate) mod file;
pub(crate) mod held;
pub(crate) mod layout;
pub(crate) mod ledger;
pub(crate) mod publish;
pub(crate) mod shard;
