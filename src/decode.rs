//! Decoding: from the bytes of an object to Arrow record batches and rejects.
//!
//! [`gzip`] decompresses objects to text of whole lines, [`tokenizer`] finds lines and fields, [`columns`] convert
//! the fields, and [`decoder`] combines them. Nothing here reads a store, a file or the clock.

pub mod columns;
pub mod decoder;
pub mod gzip;
pub mod inspect;
pub mod locate;
pub mod reader;
pub mod sniff;
pub mod text_buffer;
pub mod tokenizer;
