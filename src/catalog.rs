//! What engines and AWS need to know of a dataset: DDL statements, checks of engines, and policies.

pub(crate) mod check;
pub(crate) mod ddl;
pub(crate) mod policy;
