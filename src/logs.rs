//! Defines log types and their columns, the keys of log objects, rejects, and the data from which the original text is
//! restored.

pub(crate) mod form;
pub(crate) mod key;
pub(crate) mod original;
pub(crate) mod reject;
pub(crate) mod schema;
