//! DDL statements and checks for query engines, and AWS policies.

pub(crate) mod check;
pub(crate) mod ddl;
pub(crate) mod policy;
