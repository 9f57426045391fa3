//! Defines log types and their columns, the keys of log objects, rejects, and what it takes to restore the original
//! text.

pub(crate) mod form;
pub(crate) mod key;
pub(crate) mod original;
pub(crate) mod reject;
pub(crate) mod schema;
