//! What logs are: their types and columns, the keys of their objects, and rejected lines.

pub(crate) mod key;
pub(crate) mod reject;
pub(crate) mod schema;
