//! Decodes the bytes of an object into Arrow record batches and rejects.
//!
//! [`gzip`] decompresses objects to whole lines of text, [`tokenizer`] finds lines and fields, [`columns`] converts the
//! fields, and [`decoder`] combines these steps. Nothing here reads a store, a file or the clock.

pub(crate) mod columns;
pub(crate) mod decoder;
pub(crate) mod forms;
pub(crate) mod gzip;
pub(crate) mod inspect;
pub(crate) mod locate;
pub(crate) mod reader;
pub(crate) mod sniff;
pub(crate) mod text_buffer;
pub(crate) mod tokenizer;
