//! Maintenance: verifying, repairing and cleaning a dataset, and removing partitions.

pub(crate) mod accept;
pub(crate) mod clean;
pub(crate) mod remove;
pub(crate) mod repair;
pub(crate) mod verify;
