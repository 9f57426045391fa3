//! DDL statements and checks for query engines, and policies for AWS.

pub(crate) mod check;
pub(crate) mod ddl;
pub(crate) mod policy;
