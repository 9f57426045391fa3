//! Maintenance: verifies, repairs, compacts and cleans a dataset, and removes partitions.

pub(crate) mod accept;
pub(crate) mod clean;
pub(crate) mod compact;
mod groups;
pub(crate) mod remove;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod retire;
pub(crate) mod verify;
