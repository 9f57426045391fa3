//! Defines log types and their columns, the keys of log objects, and rejects.

pub(crate) mod key;
pub(crate) mod reject;
pub(crate) mod schema;
