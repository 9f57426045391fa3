//! Maintenance: verifying, repairing and cleaning a dataset, and removing partitions.

pub mod accept;
pub mod clean;
pub mod remove;
pub mod repair;
pub mod verify;
