//! What logs are: their types and columns, the keys of their objects, and rejected lines.

pub mod key;
pub mod reject;
pub mod schema;
