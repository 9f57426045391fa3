//! DDL statements and checks for query engines, Iceberg tables, and AWS policies.

pub(crate) mod check;
pub(crate) mod ddl;
#[cfg(feature = "iceberg")]
pub(crate) mod iceberg;
pub(crate) mod policy;
