//! What engines and AWS need to know of a dataset: DDL statements, checks of engines, and policies.

pub mod check;
pub mod ddl;
pub mod policy;
