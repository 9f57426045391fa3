//! Files of text that a user names: a path, a URL, or standard input, gzip or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::store::{Network, Place, Source, StoreError};

/// Opens a file of text, decompressed if it is gzip; `-` is standard input.
///
/// # Errors
///
/// Fails when it is not there, or cannot be reached.
pub fn open_text(name: &str, network: &Network) -> Result<Box<dyn BufRead>, StoreError> {
    let raw: Box<dyn Read> = if name == "-" {
        Box::new(io::stdin())
    } else {
        match Place::parse(name)? {
            Place::Local(path) => Box::new(File::open(path)?),
            Place::Bucket(_) => Source::read_one(name, network)?,
        }
    };
    let mut raw = BufReader::new(raw);
    let is_gzip = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(raw))) } else { Box::new(raw) })
}
