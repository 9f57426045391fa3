//! Compresses pages.

use std::cell::RefCell;
use std::io;

use parquet::basic;
use zstd::zstd_safe::{CParameter, ParamSwitch};

use crate::util::zeros;

/// How pages are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Zstandard.
    #[default]
    Zstd,
    /// Snappy.
    Snappy,
    /// No compression.
    None,
}

impl Compression {
    /// Returns the name that the command line and claims use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::None => "none",
        }
    }

    /// Returns the compression with a name that [`Self::as_str`] returns.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Zstd, Self::Snappy, Self::None].into_iter().find(|each| each.as_str() == name)
    }

    pub(super) fn codec(self) -> basic::Compression {
        match self {
            Self::Zstd => basic::Compression::ZSTD(basic::ZstdLevel::default()),
            Self::Snappy => basic::Compression::SNAPPY,
            Self::None => basic::Compression::UNCOMPRESSED,
        }
    }
}

/// Buffers that a worker reuses for each page.
#[derive(Default)]
pub(super) struct Scratch {
    /// The page before compression.
    pub(super) page: Vec<u8>,
    compressed: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Scratch {
    /// Returns the compressed page. Only Zstandard uses the level.
    pub(super) fn compress(&mut self, how: Compression, zstd_level: i32) -> io::Result<&[u8]> {
        let Self { page, compressed, zstd } = self;
        let room = match how {
            Compression::None => return Ok(page),
            Compression::Zstd => zstd::zstd_safe::compress_bound(page.len()),
            Compression::Snappy => snap::raw::max_compress_len(page.len()),
        };
        zeros::fill_to(compressed, room);
        let size = match how {
            Compression::Zstd => {
                let zstd = match zstd {
                    Some(zstd) => zstd,
                    None => zstd.insert(compressor()?),
                };
                zstd.set_compression_level(zstd_level)?;
                zstd.compress_to_buffer(page, compressed.as_mut_slice())?
            }
            _ => snap::raw::Encoder::new().compress(page, compressed).map_err(io::Error::other)?,
        };
        Ok(&compressed[..size])
    }
}

fn compressor() -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut zstd = zstd::bulk::Compressor::default();
    // Below level 1, Zstandard does not compress literals (bytes without a match) by default.
    zstd.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
    Ok(zstd)
}

thread_local! {
    /// One `Scratch` per worker instead of one per column, because a compressor uses one or two megabytes.
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}
