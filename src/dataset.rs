//! Datasets: the files below `--out`, the claims that name them, and the protocol by which runs change them.

pub mod claim;
pub mod contents;
pub mod data_files;
pub mod file;
pub mod held;
pub mod layout;
pub mod ledger;
pub mod publish;
pub mod shard;
